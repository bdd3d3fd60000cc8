"""`detector-collect person`: the staff who may sign in to the review room.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.cli import common, options
from detector.cli.streams import put
from detector.session.seams import utc_now
from detector_collect.review.access import people
from detector_collect.review.access.permissions import COMMAND

from .common import NUMBER, database, listed, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.review.access.people import Account
    from detector_collect.store.database import Store


@options.group("detector-collect person list", sections={"Change": ("add", "revoke"), "Read": ("list",)})
def person() -> None:
    """Manage people.

    Everybody who signs in at the identity provider is added; roles are granted in the review room.
    """


@person.subcommand('detector-collect person add https://identity.example.com 8d41f2 "Ada Lovelace"')
def add(
    *,
    issuer: str = options.argument(metavar="ISSUER"),
    subject: str = options.argument(metavar="SUBJECT"),
    name: str = options.argument(metavar="NAME"),
    database: str | None = database,
) -> int:
    """Add somebody before their first sign-in.

    SUBJECT is what the identity provider ISSUER calls them (`sub`). Prints their number.
    """

    async def work(store: Store) -> int:
        async with store.begin() as connection:
            return await people.add_person(connection, issuer=issuer, subject=subject, name=name, now=utc_now())

    put(str(with_store(database, work)))
    return common.CLEAN


@person.subcommand("detector-collect person revoke 7")
def revoke(*, number: int = options.argument(type=NUMBER), database: str | None = database) -> int:
    """Shut somebody out.

    Ends every session and token, and revokes every grant: for those who leave, and for accounts that were taken over.
    """

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await people.sign_out_everywhere(connection, by=COMMAND, person=number, now=utc_now())

    with_store(database, work)
    return common.CLEAN


@person.subcommand("detector-collect person list --json", name="list")
def list_(*, database: str | None = database, out: options.Output = listed) -> int:
    """List people."""

    async def work(store: Store) -> list[Account]:
        async with store.connect() as connection:
            return await people.accounts(connection)

    return write_rows([one._asdict() for one in with_store(database, work)], out)
