"""`detector bundle`: look into an evidence bundle, take parts out of it, sign it.

Room: cli.
"""

from __future__ import annotations

import json

import click
import msgspec

from detector.errors import BundleError
from detector.trust.envelope import key_identifier
from detector.trust.key_files import load_signing_key

from . import common
from .verify import naming, printable, read_file


@click.group()
def bundle() -> None:
    """Look into an evidence bundle, take parts out of it, sign it. `detector verify` judges one."""


@bundle.command()
@click.argument("file", metavar="BUNDLE")
@click.argument("part", required=False, metavar="[PART]")
def show(file: str, part: str | None) -> int:
    """List the parts of a bundle, or print what one of them holds as JSON. Nothing is judged."""
    from detector.bundle import form  # noqa: PLC0415 - no other command needs it

    data = read_file(file)
    with naming(file):
        read = form.read(data)
    if part is None:
        manifest = read.manifest
        click.echo(f"detector {printable(manifest.detector_version)}, {manifest.started:%Y-%m-%d %H:%M:%S %Z}")
        for signer in read.signers:
            click.echo(f"signature by {key_identifier(signer.key)}: {'right' if signer.verifies else 'WRONG'}")
        for entry, state, content in read.parts:
            endpoint = f"  {content.expected.name}" if isinstance(content, form.RecordedEndpoint) else ""
            click.echo(f"{entry.name:<20}{state}{endpoint}")
        return common.CLEAN
    content = next((p.content for p in read.parts if p.entry.name == part), None)
    if content is None:
        raise BundleError(
            f"{file}: no part {part!r} is there unchanged.", advice="`detector bundle show BUNDLE` lists the parts."
        )
    click.echo(json.dumps(json.loads(msgspec.json.encode(content)), indent=2))
    return common.CLEAN


@bundle.command()
@click.argument("file", metavar="BUNDLE")
@click.argument("parts", nargs=-1, required=True, metavar="PART...")
@click.option("-o", "--output", metavar="FILE", help="Write the bundle there instead of to standard output.")
def redact(file: str, parts: tuple[str, ...], output: str | None) -> int:
    """Take parts out of a bundle, for good. Signatures stay right, and everybody sees that something is missing."""
    from detector.bundle import redact as take_out  # noqa: PLC0415 - as above

    data = read_file(file)
    with naming(file):
        data = take_out(data, parts)
    with common.result_stream(output) as stream:
        stream.write(data.decode())
    return common.CLEAN


@bundle.command()
@click.argument("file", metavar="BUNDLE")
@click.option("--signing-key", "keys", multiple=True, required=True, metavar="PEM", help="Ed25519 key; repeatable.")
@click.option("-o", "--output", metavar="FILE", help="Write the bundle there instead of to standard output.")
def sign(file: str, keys: tuple[str, ...], output: str | None) -> int:
    """Sign a bundle, beside whoever signed it already. Whoever signs vouches for what rests on the recorder's word."""
    from detector.bundle import sign as add  # noqa: PLC0415 - as above

    loaded = [load_signing_key(key) for key in keys]
    data = read_file(file)
    with naming(file):
        data = add(data, loaded)
    with common.result_stream(output) as stream:
        stream.write(data.decode())
    return common.CLEAN
