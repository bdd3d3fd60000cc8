"""`detector bundle`: inspect, redact and sign an evidence bundle.

Room: cli.
"""

from __future__ import annotations

import json

import click
import msgspec

from detector import bundle as bundles
from detector.bundle import form
from detector.errors import BundleError
from detector.model.private_files import OWNER_ONLY
from detector.trust.envelope import key_identifier
from detector.trust.key_files import load_signing_key

from . import common, options, streams
from .streams import put
from .verify import naming, printable, read_file


@click.group(cls=options.Group)
def bundle() -> None:
    """Inspect, redact or sign an evidence bundle. `detector verify` assesses one."""


@bundle.command()
@click.argument("file", metavar="BUNDLE")
@click.argument("part", required=False, metavar="[PART]")
def show(file: str, part: str | None) -> int:
    """List the parts of a bundle, or print the content of one of them as JSON. Nothing is assessed."""
    data = read_file(file)
    with naming(file):
        read = form.read(data)
    if part is None:
        manifest = read.manifest
        put(f"detector {printable(manifest.detector_version)}, {manifest.started:%Y-%m-%d %H:%M:%S %Z}")
        for signer in read.signers:
            put(f"signature by {key_identifier(signer.key)}: {'right' if signer.verifies else 'WRONG'}")
        for entry, state, content in read.parts:
            endpoint = f"  {content.expected.name}" if isinstance(content, form.RecordedEndpoint) else ""
            put(f"{entry.name:<20}{state}{endpoint}")
        return common.CLEAN
    content = next((p.content for p in read.parts if p.entry.name == part), None)
    if content is None:
        raise BundleError(
            f"{file}: has no unchanged part {part!r}.", advice="`detector bundle show BUNDLE` lists the parts."
        )
    put(json.dumps(json.loads(msgspec.json.encode(content)), indent=2))
    return common.CLEAN


@bundle.command()
@click.argument("file", metavar="BUNDLE")
@click.argument("parts", nargs=-1, required=True, metavar="PART...")
@options.output
def redact(file: str, parts: tuple[str, ...], output: str | None) -> int:
    """Remove parts from a bundle. Signatures stay valid, and everyone can see that something is missing."""
    streams.for_programs()
    data = read_file(file)
    with naming(file):
        data = bundles.redact(data, parts)
    with common.result_stream(output, mode=OWNER_ONLY) as stream:
        stream.write(data.decode())
    return common.CLEAN


@bundle.command()
@click.argument("file", metavar="BUNDLE")
@options.option("--signing-key keys", "Ed25519 key; repeatable.", multiple=True, required=True, metavar="PEM")
@options.output
def sign(file: str, keys: tuple[str, ...], output: str | None) -> int:
    """Add signatures to a bundle. A signer asserts the recorder's claims that cannot be verified from the bundle."""
    streams.for_programs()
    loaded = [load_signing_key(key) for key in keys]
    data = read_file(file)
    with naming(file):
        data = bundles.sign(data, loaded)
    with common.result_stream(output, mode=OWNER_ONLY) as stream:
        stream.write(data.decode())
    return common.CLEAN
