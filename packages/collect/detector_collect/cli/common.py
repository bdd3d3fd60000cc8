"""What the commands share: the database, names, and how lists are written.

Room: detector_collect.cli.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from detector.cli import common, options
from detector.cli.options import Format
from detector.cli.streams import printable
from detector.outbox.submission import Name
from detector_collect.store.database import Store
from detector_collect.worker import MaterialConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")


class _Name(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """A name as submissions may have it."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; fails as options do."""
        try:
            return msgspec.convert(value, Name)
        except msgspec.ValidationError:
            return self.fail(
                f"{value[:80]!r} is no name: up to 64 lower-case letters, digits, dots, dashes and underscores.",
                param,
                ctx,
            )


NAME: Final = _Name()
NUMBER: Final = click.IntRange(1, 2**63 - 1)
"""The number of a row."""

database: Final = options.service(
    "--database",
    "The database: postgresql://user@host/name or sqlite:///file. Keep the password in ~/.pgpass or PGPASSWORD: others "
    "can read a command line.  [env: DETECTOR_COLLECT_DATABASE]",
    envvar="DETECTOR_COLLECT_DATABASE",
    metavar="URL",
)
institution: Final = options.target("--institution", "Only what is of this institution.", type=NAME, metavar="NAME")
listed: Final = options.written(Format.TABLE, Format.JSONL, quiet=False)


def with_store(url: str | None, work: Callable[[Store], Awaitable[T]], *, migrate: bool = False) -> T:
    """What `work` returns for the opened database. Raises `StoreError`, and click.UsageError where none is named."""
    if url is None:
        raise click.UsageError("Name the database: --database URL, or set DETECTOR_COLLECT_DATABASE.")

    async def run() -> T:
        async with await Store.open(url, migrate=migrate) as store:
            return await work(store)

    return asyncio.run(run())


def material(settings: dict[str, Any]) -> MaterialConfig:
    """What to assess with, by the options --data and --pins."""
    return MaterialConfig(data=settings.get("data"), pins=tuple(settings.get("pins") or ()))


def write_rows(rows: Sequence[dict[str, Any]], out: options.Output) -> int:
    """Write records, one a line: as JSON, or as their values in columns."""
    with common.result_stream(out.file) as stream:
        for row in rows:
            if out.form is Format.JSONL:
                stream.write(f"{msgspec.json.encode(row).decode()}\n")
            else:
                stream.write(printable("  ".join(_shown(value) for value in row.values())).rstrip() + "\n")
    return common.CLEAN


def _shown(value: object) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "-" if value is None else str(value)
