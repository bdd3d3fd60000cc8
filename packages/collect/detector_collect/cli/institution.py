"""`detector-collect institution`: who may send.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.cli import common, options
from detector.session.seams import utc_now
from detector_collect.store import keys
from detector_collect.store.keys import Institution

from .common import NAME, database, listed, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.store.database import Store


@options.group(
    'detector-collect institution add north "North University"', sections={"Set up": ("add",), "Read": ("list",)}
)
def institution() -> None:
    """Add or list institutions."""


@institution.subcommand('detector-collect institution add north "North University"')
def add(
    *,
    name: str = options.argument(type=NAME, metavar="NAME"),
    title: str = options.argument(metavar="TITLE"),
    database: str | None = database,
) -> int:
    """Add an institution.

    NAME is what its submissions say; TITLE is what people read.
    """

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            await keys.add_institution(connection, Institution(name, title, utc_now()))

    with_store(database, work)
    return common.CLEAN


@institution.subcommand("detector-collect institution list", "detector-collect institution list --json", name="list")
def list_(*, database: str | None = database, out: options.Output = listed) -> int:
    """List the institutions."""

    async def work(store: Store) -> list[Institution]:
        async with store.connect() as connection:
            return await keys.list_institutions(connection)

    return write_rows([one._asdict() for one in with_store(database, work)], out)
