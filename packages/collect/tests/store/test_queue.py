"""Each piece of evidence is assessed by one worker at a time, and by another one when that died. Room: tests."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest
from detector_collect.store import evidence, findings, queue
from detector_collect.store.errors import LeaseLostError
from detector_collect.store.findings import NewFinding, NewVerification
from support.collect_stores import NOW, new_evidence

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from detector_collect.store.queue import Claimed

LEASE = dt.timedelta(minutes=5)
VERIFICATION = NewVerification(NOW, "0.1.0", bytes(32), b"{}")
FINDING = NewFinding(
    NOW, "exam.example.edu", 443, "exam", "middleware", "proven", "identity-substituted", "A\0B", bytes(32)
)


async def fill(store: Store, count: int) -> None:
    async with store.begin() as connection:
        for number in range(count):
            await evidence.add(connection, new_evidence(number))


async def claim(store: Store, limit: int = 3, *, now: dt.datetime = NOW) -> list[Claimed]:
    async with store.begin() as connection:
        return await queue.claim(connection, now=now, lease=LEASE, limit=limit)


async def finish(store: Store, claimed: Claimed) -> None:
    async with store.begin() as connection:
        await findings.replace(connection, claimed.evidence, VERIFICATION, [FINDING, FINDING], "verified")
        await queue.finish(connection, claimed)


async def test_workers_at_once_claim_each_row_once(store: Store) -> None:
    """Eight workers claim until nothing is left: every row once."""
    await fill(store, 40)

    async def work() -> list[int]:
        mine: list[int] = []
        while batch := await claim(store):
            mine += [one.evidence for one in batch]
        return mine

    claimed = [number for mine in await asyncio.gather(*(work() for _ in range(8))) for number in mine]
    assert len(claimed) == len(set(claimed)) == 40


async def test_the_rows_of_a_dead_worker_return(store: Store) -> None:
    """Claimed and not finished: not before the lease ends, and then with a new one that the first cannot use."""
    await fill(store, 1)
    (first,) = await claim(store)
    assert await claim(store, now=NOW + LEASE - dt.timedelta(seconds=1)) == []
    (second,) = await claim(store, now=NOW + LEASE)
    assert (second.work, second.attempt) == (first.work, 2)
    with pytest.raises(LeaseLostError):
        await finish(store, first)
    await finish(store, second)
    assert await claim(store, now=NOW + 9 * LEASE) == []
