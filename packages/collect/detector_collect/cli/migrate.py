"""`detector-collect migrate`: create the tables, or bring them to what this version needs.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.cli import common, options
from detector.cli.streams import put
from detector_collect.store import migrations

from .common import database, with_store

if TYPE_CHECKING:
    from detector_collect.store.database import Store


@options.command("detector-collect migrate --database sqlite:///collect.sqlite")
def migrate(*, database: str | None = database) -> int:
    """Create the tables, or migrate them to this version.

    A file that does not exist is created for its owner alone. Every step is taken completely or not at all; services
    that run meanwhile wait for it, and lose nothing.
    """

    async def name(store: Store) -> str:
        return store.name

    put(f"{with_store(database, name, migrate=True)} has version {migrations.REVISION}.")
    return common.CLEAN
