"""`detector-collect hold`: legal holds, which keep evidence from expiring and from being erased.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from detector.cli import common, options
from detector.cli.streams import put
from detector.session.seams import utc_now
from detector_collect.store import retention

from .common import NAME, database, listed, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from detector_collect.store.retention import Hold


@options.group(
    'detector-collect hold place north --exam algebra --reason "case 12"',
    "detector-collect hold list",
    sections={"Change": ("place", "release"), "Read": ("list",)},
)
def hold() -> None:
    """Place, release or list legal holds."""


@hold.subcommand('detector-collect hold place north --exam algebra --reason "case 12"')
def place(
    *,
    institution: str = options.argument(type=NAME, metavar="INSTITUTION"),
    exam: str | None = options.target("--exam", "Only the evidence of this exam.", type=NAME, metavar="NAME"),
    reason: str = options.target(
        "--reason", "Why, for those who read the list; nothing about a student.", required=True, metavar="TEXT"
    ),
    database: str | None = database,
) -> int:
    """Keep the evidence of an institution, or of one exam.

    It covers what is there and what comes: until the hold is released, nothing of it expires or is erased. Prints the
    number of the hold.
    """

    async def work(store: Store) -> tuple[int, int]:
        async with store.begin() as connection:
            return await retention.place(connection, institution, exam, reason=reason, now=utc_now())

    number, pieces = with_store(database, work)
    put(f"Hold {number}: {pieces} pieces of evidence.")
    return common.CLEAN


@hold.subcommand("detector-collect hold release 1")
def release(
    *,
    number: int = options.argument(type=click.IntRange(1, 2**63 - 1)),
    database: str | None = database,
) -> int:
    """Release a hold.

    What is kept no longer goes with the next expiry.
    """

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await retention.release(connection, number, now=utc_now())

    with_store(database, work)
    return common.CLEAN


@hold.subcommand("detector-collect hold list", "detector-collect hold list --json", name="list")
def list_(*, database: str | None = database, out: options.Output = listed) -> int:
    """List holds, released ones too."""

    async def work(store: Store) -> list[Hold]:
        async with store.connect() as connection:
            return await retention.list_holds(connection)

    return write_rows([one._asdict() for one in with_store(database, work)], out)
