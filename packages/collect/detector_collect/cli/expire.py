"""`detector-collect expire`: delete what is kept no longer.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.cli import common, options
from detector.cli.streams import put
from detector.session.seams import utc_now
from detector_collect.worker import expire as expire_all

from .common import database, with_store

if TYPE_CHECKING:
    from detector_collect.store.database import Store


@options.command("detector-collect expire")
def expire(*, database: str | None = database) -> int:
    """Delete evidence that is kept no longer.

    Many small transactions do it, alongside the service. Workers do the same from time to time. What is under a hold
    stays.
    """

    async def work(store: Store) -> int:
        gone = await expire_all(store, now=utc_now())
        await store.clean()
        return gone

    put(f"Deleted: {with_store(database, work)}.")
    return common.CLEAN
