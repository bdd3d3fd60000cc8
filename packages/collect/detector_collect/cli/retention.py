"""`detector-collect retention`: how long each kind of evidence is kept.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from detector.cli import common, options
from detector.outbox.submission import Kind
from detector_collect.store import retention as kept

from .common import database, listed, with_store, write_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector_collect.store.database import Store


@options.group(
    "detector-collect retention show",
    "detector-collect retention set watch-event 90",
    sections={"Read": ("show",), "Change": ("set",)},
)
def retention() -> None:
    """Show or set how long evidence is kept."""


@retention.subcommand("detector-collect retention show", "detector-collect retention show --json")
def show(*, database: str | None = database, out: options.Output = listed) -> int:
    """Show the days that each kind is kept."""

    async def work(store: Store) -> Mapping[Kind, int]:
        async with store.connect() as connection:
            return await kept.days_kept(connection)

    rows = [{"kind": kind.value, "days": days} for kind, days in with_store(database, work).items()]
    return write_rows(rows, out)


@retention.subcommand("detector-collect retention set watch-event 90", name="set")
def set_(
    *,
    kind: Kind = options.argument(type=options.Choice(Kind)),
    days: int = options.argument(type=click.IntRange(1, 36500)),
    database: str | None = database,
) -> int:
    """Keep a kind of evidence for so many days after it was received.

    What is older goes with the next expiry, unless it is under a hold.
    """

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await kept.keep(connection, kind, days)

    with_store(database, work)
    return common.CLEAN
