"""`detector-collect token`: tokens of the vendor's own programs.

Room: detector_collect.cli.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from detector.cli import common, options
from detector.cli.streams import put
from detector.session.seams import utc_now
from detector_collect.review.access import people
from detector_collect.review.access.permissions import GRANT_LIFE_MAX, SCOPES, Permission

from .common import NAME, NUMBER, database, institution, listed, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.review.access.people import Token
    from detector_collect.store.database import Store

DAYS_DEFAULT = 90
"""Days of a token: programs can change it every quarter."""


@options.group(
    "detector-collect token issue 7 dashboard --scope view",
    "detector-collect token list",
    sections={"Change": ("issue", "revoke"), "Read": ("list",)},
)
def token() -> None:
    """Manage tokens of programs.

    Each has a person who answers for it, and opens no more than that person may.
    """


@token.subcommand("detector-collect token issue 7 dashboard --scope view --institution north --days 30")
def issue(  # noqa: PLR0913 - one parameter per option
    *,
    person: int = options.argument(type=NUMBER),
    name: str = options.argument(type=NAME),
    scopes: tuple[str, ...] = options.service(
        "--scope",
        "What it is for; repeatable.",
        type=click.Choice(sorted(one.value for one in SCOPES)),
        multiple=True,
        required=True,
    ),
    institution: str | None = institution,
    days: int = options.service(
        "--days", "Days that it counts.", type=click.IntRange(1, GRANT_LIFE_MAX.days), default=DAYS_DEFAULT
    ),
    database: str | None = database,
) -> int:
    """Make a token for a program.

    PERSON, by number, answers for it. Prints it once: the database has only its hash.
    """
    now = utc_now()

    async def work(store: Store) -> str:
        async with store.begin() as connection:
            return await people.issue_token(
                connection,
                person=person,
                name=name,
                scopes=frozenset(map(Permission, scopes)),
                institution=institution,
                expires=now + dt.timedelta(days=days),
                now=now,
            )

    put(with_store(database, work))
    return common.CLEAN


@token.subcommand("detector-collect token revoke dashboard")
def revoke(*, name: str = options.argument(type=NAME), database: str | None = database) -> int:
    """Revoke a token."""

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await people.revoke_token(connection, name=name, now=utc_now())

    with_store(database, work)
    return common.CLEAN


@token.subcommand("detector-collect token list --json", name="list")
def list_(*, database: str | None = database, out: options.Output = listed) -> int:
    """List tokens, also those that do not count."""

    async def work(store: Store) -> list[Token]:
        async with store.connect() as connection:
            return await people.list_tokens(connection)

    rows = [{**one._asdict(), "scopes": " ".join(sorted(one.scopes))} for one in with_store(database, work)]
    return write_rows(rows, out)
