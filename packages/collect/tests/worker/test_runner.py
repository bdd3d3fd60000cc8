"""The worker: every submission is assessed once, whatever happens to whoever assesses it. Room: tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from detector_collect.store.database import Store
from detector_collect.store.schema import evidence, findings, handshakes, verifications, work
from detector_collect.worker import Worker
from support.collect_evidence import EXAM, SEARCH, recorder
from support.collect_worker import config, open_institutions, receive, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """A store with the institution `college`."""
    async with await Store.open(database, migrate=True) as opened:
        await open_institutions(opened, "college")
        yield opened


async def states(store: Store) -> list[tuple[str, str | None]]:
    """State and reason of every piece of evidence, in its order."""
    async with store.connect() as connection:
        asked = sa.select(evidence.c.state, evidence.c.reason).order_by(evidence.c.id)
        return [(state, reason) for state, reason in await connection.execute(asked)]


async def count(store: Store, table: sa.Table) -> int:
    """The number of rows of a table."""
    async with store.connect() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


async def test_what_is_received_is_assessed_and_leaves_the_queue(store: Store) -> None:
    """Clean and intercepted evidence become findings, with the assessment that found them."""
    client = recorder()
    ca = client.pki.private_ca("Campus Filter")
    await receive(store, client.submission(client.bundle(client.case(SEARCH))))
    await receive(store, client.submission(client.bundle(*client.intercepted(ca, SEARCH, EXAM))))
    async with Worker(store, config(), settings()) as worker:
        assert await worker.drain() == 2
    assert await states(store) == [("verified", None)] * 2
    assert [await count(store, one) for one in (findings, verifications, handshakes, work)] == [3, 2, 3, 0]


async def test_one_handshake_counts_once(store: Store) -> None:
    """The same evidence under other names of students is quarantined."""
    client = recorder()
    data = client.bundle(*client.intercepted(client.pki.private_ca("Campus Filter"), SEARCH))
    for number in range(5):
        await receive(store, client.submission(data, student=f"{number}" * 64))
    async with Worker(store, config(), settings()) as worker:
        await worker.drain()
    assert sorted(await states(store)) == [("quarantined", "repeated-evidence")] * 4 + [("verified", None)]
    assert await count(store, findings) == await count(store, handshakes) == 1
