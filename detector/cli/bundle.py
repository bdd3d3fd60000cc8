"""`detector bundle`: inspect, redact and sign an evidence bundle.

Room: cli.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click
import msgspec

from detector import bundle as bundles
from detector.bundle import form
from detector.errors import BundleError
from detector.model.private_files import OWNER_ONLY
from detector.model.validate import naming
from detector.session.session import Detector
from detector.trust.envelope import key_identifier
from detector.trust.key_files import load_signing_key

from . import common, options, streams
from .verify import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator


@options.group("detector bundle show evidence.json", sections={"Read": ("show",), "Change": ("redact", "sign")})
def bundle() -> None:
    """Inspect, redact or sign an evidence bundle. `detector verify` assesses one."""


@bundle.subcommand("detector bundle show evidence.json", "detector bundle show evidence.json endpoint-1 -o part.json")
def show(
    *,
    file: str = options.argument(metavar="BUNDLE"),
    part: str | None = options.argument(required=False, metavar="[PART]"),
    output: str | None = options.output,
) -> int:
    """List the parts of a bundle, or print one of them.

    A part is printed as JSON. Nothing is assessed.
    """
    with common.result_stream(output) as stream:
        stream.writelines(f"{line}\n" for line in _contents(file, part))
    return common.CLEAN


def _contents(file: str, part: str | None) -> Iterator[str]:
    """The lines of a bundle's list of parts, or of one part. Raises `BundleError`."""
    data = read_file(file)
    with naming(file):
        read = form.read(data)
    if part is None:
        manifest = read.manifest
        yield f"detector {streams.printable(manifest.detector_version)}, {manifest.started:%Y-%m-%d %H:%M:%S %Z}"
        for signer in read.signers:
            yield f"signature by {key_identifier(signer.key)}: {'right' if signer.verifies else 'WRONG'}"
        if stamps := read.file.timestamps:
            yield f"{len(stamps)} timestamp(s), not checked; `detector verify --tsa-root` checks them"
        for entry, state, content in read.parts:
            endpoint = f"  {content.expected.name}" if isinstance(content, form.RecordedEndpoint) else ""
            yield f"{entry.name:<20}{state}{endpoint}"
        return
    content = next((p.content for p in read.parts if p.entry.name == part), None)
    if content is None:
        raise BundleError(
            f"{file}: has no unchanged part {part!r}.", advice="`detector bundle show BUNDLE` lists the parts."
        )
    yield json.dumps(json.loads(msgspec.json.encode(content)), indent=2)


@bundle.subcommand("detector bundle redact evidence.json endpoint-1 -o redacted.json")
def redact(
    *,
    file: str = options.argument(metavar="BUNDLE"),
    parts: tuple[str, ...] = options.argument(nargs=-1, required=True, metavar="PART..."),
    output: str | None = options.output,
) -> int:
    """Remove parts from a bundle.

    Signatures stay valid, and everyone can see that something is missing.
    """
    streams.for_programs()
    data = read_file(file)
    with naming(file):
        data = bundles.redact(data, parts)
    with common.result_stream(output, mode=OWNER_ONLY) as stream:
        stream.write(data.decode())
    return common.CLEAN


@bundle.subcommand("detector bundle sign evidence.json --signing-key key.pem -o signed.json")
def sign(  # noqa: PLR0913 - one parameter per option
    *,
    file: str = options.argument(metavar="BUNDLE"),
    keys: tuple[str, ...] = options.result(
        "--signing-key",
        "Sign with this Ed25519 key (PKCS #8); repeatable.",
        multiple=True,
        metavar="PEM",
    ),
    tsa: tuple[str, ...] = options.probing(
        "--tsa",
        "Have this time-stamping authority (RFC 3161) confirm that the bundle exists; repeatable (extra timestamp).",
        multiple=True,
        metavar="URL",
    ),
    deadline: float = options.deadline("Wait this long for each authority."),
    settings: dict[str, Any] = options.settings(only={"proxy", "resolve", "connect-to"}),
    output: str | None = options.output,
) -> int:
    """Add signatures, timestamps, or both to a bundle.

    A signer asserts the recorder's claims that cannot be verified from the bundle. A time-stamping authority is sent a
    hash of the manifest, and asserts that it existed by then.
    """
    if not keys and not tsa:
        raise click.UsageError("Say who signs (--signing-key), which authority confirms the time (--tsa), or both.")
    streams.for_programs()
    loaded = [load_signing_key(key) for key in keys]
    data = read_file(file)
    with naming(file):
        data = bundles.sign(data, loaded) if loaded else data
        payload = form.read_unchanged(data).payload
    for url in tsa:
        response = asyncio.run(Detector(**settings).timestamp(payload, url, timeout=deadline))
        with naming(file):
            data = bundles.add_timestamp(data, response)
    with common.result_stream(output, mode=OWNER_ONLY) as stream:
        stream.write(data.decode())
    return common.CLEAN
