"""`detector-collect audit`: access records, their verification, and their signed heads.

Room: detector_collect.cli.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from detector.cli import common, options
from detector.cli.streams import printable, put
from detector.errors import InputError
from detector.model.files import read_file
from detector.pins.encoding import parse_witness_key
from detector.session.seams import utc_now
from detector.trust.key_files import load_signing_key
from detector_collect.review.access import records
from detector_collect.review.access.chain import open_head

from .common import database, listed, with_store, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector_collect.review.access.chain import Head
    from detector_collect.review.access.records import Numbered, Verification
    from detector_collect.store.database import Store

HEADS_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of a file of heads: one a day has 0.2 MiB a year."""
ROWS_DEFAULT: Final = 100
ROWS_MAX: Final = 1_000_000


class _Key(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """An Ed25519 public key as encoded in pin files."""

    name = "key"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the raw key; fails as options do."""
        try:
            return parse_witness_key(value)
        except ValueError as error:
            return self.fail(f"{value[:80]!r}: this key {error}.", param, ctx)


@options.group(
    "detector-collect audit verify",
    "detector-collect audit list",
    sections={"Verify": ("verify",), "Heads": ("sign-head", "export-heads"), "Read": ("list",)},
)
def audit() -> None:
    """Verify and read access records."""


@audit.subcommand(
    "detector-collect audit verify",
    "detector-collect audit verify --heads heads.jsonl --key ed25519/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
)
def verify(
    *,
    files: tuple[Path, ...] = options.target(
        "--heads",
        "Signed heads that were kept elsewhere, one a line; repeatable.",
        type=click.Path(dir_okay=False, path_type=Path),
        multiple=True,
        metavar="FILE",
    ),
    keys: tuple[bytes, ...] = options.target(
        "--key", "A public key that signed heads; repeatable.", type=_Key(), multiple=True, metavar="KEY"
    ),
    database: str | None = database,
) -> int:
    """Find access records that were changed.

    Names the first one that was changed, removed, added or moved, and exits with 1. Only heads that were kept elsewhere
    show that all records were made up together, or that the last ones were cut off. With --key, heads in the database
    count too.
    """
    if files and not keys:
        raise click.UsageError("Give the public key that signed the heads: --key ed25519/…")
    kept = [head for file in files for head in _read_heads(file, keys)]

    async def work(store: Store) -> tuple[Verification, list[Head]]:
        try:
            stored = await records.stored_heads(store, keys) if keys else []
        except ValueError as problem:
            raise InputError(
                "A head in the database is signed by none of the keys.",
                advice="Name every key that the service signed with, or verify without --key.",
            ) from problem
        return await records.verify(store, [*kept, *stored]), stored

    found, stored = with_store(database, work)
    if found.broken is not None:
        put(f"Record {found.broken.number} {found.broken.reason}. Records before it are unchanged.")
        return common.MIDDLEWARE
    put(f"{found.number} records follow each other, up to hash {found.hash.hex()}.")
    if kept:
        last = max(head.number for head in kept)
        put(f"Heads kept elsewhere agree: up to record {last}, none was changed or cut off.")
    if stored:
        put(f"Heads in the database agree: {len(stored)}.")
    if not kept:
        put("Not found this way: records that were all made up again, or cut off at the end. Compare kept --heads.")
    return common.CLEAN


@audit.subcommand("detector-collect audit sign-head --signing-key service.key", name="sign-head")
def sign_head(
    *,
    signing_key: str = options.service(
        "--signing-key", "Sign with this Ed25519 key (PKCS #8).", required=True, metavar="PEM"
    ),
    database: str | None = database,
) -> int:
    """Sign the latest record's hash.

    Stores and prints it. The service does this once a day. Keep what is printed where nobody who can write the database
    can write.
    """
    key = load_signing_key(signing_key)

    async def work(store: Store) -> bytes | None:
        return await records.sign_head(store, key, now=utc_now())

    envelope = with_store(database, work)
    if envelope is None:
        raise InputError("There are no access records.", advice="Sign in to the review room first.")
    put(envelope.decode("ascii"))
    return common.CLEAN


@audit.subcommand("detector-collect audit export-heads --since 120000 -o heads.jsonl", name="export-heads")
def export_heads(
    *,
    since: int = options.target(
        "--since", "Only heads of records after this number.", type=click.IntRange(0, 2**63 - 1), default=0
    ),
    database: str | None = database,
    output: str | None = options.output,
) -> int:
    """Write the signed heads, to be kept elsewhere."""

    async def work(store: Store) -> list[bytes]:
        return await records.heads(store, since=since)

    with common.result_stream(output) as stream:
        for envelope in with_store(database, work):
            stream.write(printable(envelope.decode("utf-8", "replace")) + "\n")
    return common.CLEAN


@audit.subcommand("detector-collect audit list --rows 20 --json", name="list")
def list_(
    *,
    rows: int = options.target(
        "--rows", "How many, the latest first.", type=click.IntRange(1, ROWS_MAX), default=ROWS_DEFAULT
    ),
    database: str | None = database,
    out: options.Output = listed,
) -> int:
    """List the latest records."""

    async def work(store: Store) -> list[Numbered]:
        return await records.listed(store, limit=rows)

    return write_rows([_row(one) for one in with_store(database, work)], out)


def _row(one: Numbered) -> dict[str, object]:
    fields = {name: getattr(one.record, name) for name in one.record.__struct_fields__}
    return {"number": one.number, **fields, "outcome": one.record.outcome.value}


def _read_heads(path: Path, keys: Sequence[bytes]) -> list[Head]:
    """The heads in a file. Raises `InputError`."""
    content = read_file(path, most=HEADS_BYTES_MAX, kind="file of heads", error=InputError)
    heads: list[Head] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            heads.append(open_head(line, keys))
        except ValueError as problem:
            raise InputError(
                f"{path}: line {number} is no head that one of the keys signed.",
                advice="Name the key that the service signed with, or restore the file.",
            ) from problem
    return heads
