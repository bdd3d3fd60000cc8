"""`detector-collect grant`: the first two administrators, and the roles of everybody.

Room: detector_collect.cli.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from detector.cli import common, options
from detector.session.seams import utc_now
from detector_collect.review.access import people
from detector_collect.review.access.permissions import COMMAND, GRANT_LIFE_MAX, Grant, in_force

from .common import NUMBER, database, listed, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.store.database import Store


@options.group(
    "detector-collect grant bootstrap 1 2",
    "detector-collect grant list",
    sections={"Change": ("bootstrap", "revoke"), "Read": ("list",)},
)
def grant() -> None:
    """List and revoke grants.

    And name the first administrators. All other grants are requested and approved in the review room, by two of them.
    """


@grant.subcommand("detector-collect grant bootstrap 1 2 --days 90")
def bootstrap(
    *,
    first: int = options.argument(type=NUMBER),
    second: int = options.argument(type=NUMBER),
    days: int = options.service(
        "--days", "Days that it counts.", type=click.IntRange(1, GRANT_LIFE_MAX.days), default=GRANT_LIFE_MAX.days
    ),
    database: str | None = database,
) -> int:
    """Make two people administrators.

    They are named by their numbers, and administer all institutions. Only while there is no such administrator. It is
    recorded.
    """
    now = utc_now()

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            expires = now + dt.timedelta(days=days)
            await people.bootstrap(connection, first=first, second=second, expires=expires, now=now)

    with_store(database, work)
    return common.CLEAN


@grant.subcommand("detector-collect grant revoke 12")
def revoke(*, number: int = options.argument(type=NUMBER), database: str | None = database) -> int:
    """Revoke a grant, or decline its request."""

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await people.revoke_grant(connection, by=COMMAND, grant=number, now=utc_now())

    with_store(database, work)
    return common.CLEAN


@grant.subcommand("detector-collect grant list --json", name="list")
def list_(*, database: str | None = database, out: options.Output = listed) -> int:
    """List grants, also those that do not count."""
    now = utc_now()

    async def work(store: Store) -> tuple[Grant, ...]:
        async with store.connect() as connection:
            return await people.grants_of(connection)

    rows = [{**one._asdict(), "counts": in_force(one, now=now)} for one in with_store(database, work)]
    return write_rows(rows, out)
