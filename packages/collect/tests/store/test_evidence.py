"""Submissions are stored once, however often they are sent. Room: tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector_collect.store import evidence
from support.collect_stores import new_evidence

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from detector_collect.store.evidence import Added


async def test_the_same_submission_at_once_is_one_row(store: Store) -> None:
    """Twenty tasks add one digest: one of them is the first, all get the same row."""

    async def add() -> Added:
        async with store.begin() as connection:
            return await evidence.add(connection, new_evidence())

    added = await asyncio.gather(*(add() for _ in range(20)))
    assert [one.is_new for one in added].count(True) == 1
    assert len({(one.id, one.received) for one in added}) == 1


async def test_what_was_added_is_read(store: Store) -> None:
    """Bytes in, the same bytes out, with the time in UTC."""
    new = new_evidence()
    async with store.begin() as connection:
        added = await evidence.add(connection, new)
    async with store.connect() as connection:
        read = await evidence.content(connection, added.id)
    assert read is not None
    assert (read.digest, read.body, read.kind, read.received) == (new.digest, new.body, "bundle", new.received)
