"""The worker: every submission is assessed once, whatever happens to the process that assesses it. Room: tests."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from detector_collect.assessment import Assessed, Detail, State, Why
from detector_collect.service.metrics import Metrics
from detector_collect.store import keys, queue
from detector_collect.store.database import Store
from detector_collect.store.errors import LeaseLostError
from detector_collect.store.schema import evidence, findings, handshakes, verifications, work
from detector_collect.worker import MaterialConfig, Worker
from support.collect_evidence import EXAM, SEARCH, recorder
from support.collect_worker import NAME, NOW, config, open_institutions, receive, settings

from detector.errors import PinFileError
from detector.model import encode

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


async def test_a_copy_elsewhere_displaces_nothing(store: Store) -> None:
    """Who ends connections sends their handshakes first: for another institution or exam, or for no student."""
    client = recorder()
    ca = client.pki.private_ca("Campus Filter")
    data = client.bundle(*client.intercepted(ca, SEARCH))
    async with store.begin() as connection:
        await keys.add_institution(connection, keys.Institution("elsewhere", "Elsewhere", NOW))
    copies: list[dict[str, Any]]
    copies = [{"institution": "elsewhere"}, {"exam": "none"}, {"student": None}, {"exam": None, "student": None}, {}]
    for copy in copies:
        await receive(store, client.submission(data, **copy))
    async with Worker(store, config(), settings()) as worker:
        await worker.drain()
    assert (await states(store))[1:] == [("verified", None)] * 4


async def test_handshakes_that_race_have_one_owner(store: Store) -> None:
    """Two workers with several processes on the same copies: exactly one copy counts."""
    client = recorder()
    data = client.bundle(*client.intercepted(client.pki.private_ca("Campus Filter"), SEARCH, EXAM))
    for number in range(12):
        await receive(store, client.submission(data, student=f"{number:x}" * 64))
    many = settings(processes=2, claimed=6)
    async with Worker(store, config(), many) as one, Worker(store, config(), many) as two:
        await asyncio.gather(one.drain(), two.drain())
    assert Counter(state for state, _ in await states(store)) == {"verified": 1, "quarantined": 11}
    assert await count(store, findings) == await count(store, handshakes) == 2
    assert await count(store, verifications) == 12


async def test_what_takes_too_long_is_quarantined_in_the_end(store: Store) -> None:
    """Its process is killed each time; other evidence is assessed meanwhile."""
    client = recorder()
    clock = [NOW]
    await receive(store, client.submission(client.bundle(client.case(SEARCH))))
    async with Worker(store, config(), settings(seconds=1e-6, clock=lambda: clock[0])) as worker:
        for _ in range(queue.ATTEMPTS):
            assert await worker.work_once() == 1
            clock[0] += dt.timedelta(hours=1)
        assert await worker.work_once() == 0
    [(state, reason)] = await states(store)
    assert (state, (reason or "").partition(":")[0]) == ("quarantined", "too-costly")
    assert [await count(store, one) for one in (work, findings)] == [0, 0]


async def test_other_knowledge_assesses_again(store: Store) -> None:
    """Pins that the vendor learns later: an accusation is taken back or made, and the earlier assessments stay."""
    client = recorder()
    ca = client.pki.private_ca("Campus Filter")
    await receive(store, client.submission(client.bundle(*client.intercepted(ca, EXAM))))
    poor = MaterialConfig(data="shipped")
    for known, expected in ((poor, "possible"), (config(), "proven"), (poor, "possible")):
        async with Worker(store, known, settings()) as worker:
            assert await worker.drain() == 1
        assert await confidences(store) == [expected]
    assert [await count(store, one) for one in (verifications, findings, handshakes, work)] == [3, 1, 1, 0]


async def test_copies_of_what_is_disregarded_are_assessed_again(store: Store) -> None:
    """A thief who sent a student's handshakes first under another name displaces them no longer."""
    client = recorder()
    data = client.bundle(*client.intercepted(client.pki.private_ca("Campus Filter"), SEARCH))
    hour = dt.timedelta(hours=1)
    await receive(store, client.submission(data, student="0" * 64))
    async with Worker(store, config(), settings()) as worker:
        await worker.drain()
        await receive(store, client.submission(data, student="1" * 64), received=NOW + hour)
        late = settings(clock=lambda: NOW + 2 * hour)
        async with Worker(store, config(), late) as later:
            await later.drain()
            assert await states(store) == [("verified", None), ("quarantined", Why.REPEATED_EVIDENCE)]
            async with store.begin() as connection:
                await queue.disregard(connection, NAME, since=NOW, until=NOW + hour, now=NOW + hour)
            assert await later.drain() == 1
    assert await states(store) == [("quarantined", "key-disregarded"), ("verified", None)]


async def test_pins_that_break_leave_the_last_good_ones(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A refresh says so in the log and the metrics; processes that start later still assess with the good ones."""
    client = recorder()
    pins = tmp_path / "pins.toml"
    pins.write_text(PINS)
    known = MaterialConfig(data="shipped", pins=(str(pins),))
    await receive(store, client.submission(client.bundle(client.case(SEARCH))))
    async with Worker(store, known, settings()) as worker:
        await worker.refresh()
        pins.write_text("endpoints = 3")
        with caplog.at_level(logging.ERROR, "detector_collect.worker"):
            assert await worker.drain() == 1  # its process starts after the pins broke
        assert worker._digest == await digest_of_the_assessment(store)
        pins.write_text(PINS.replace("chat.example.edu", "talk.example.edu"))
        assert await worker.drain() == 1  # good again, and others
    assert [record.message for record in caplog.records] == ["knowledge not refreshed"]
    metrics = (await Metrics().exposition(store, now=NOW)).decode()
    assert "detector_collect_refreshes_failed 1.0" in metrics
    pins.write_text("endpoints = 3")
    async with Worker(store, known, settings()) as worker:
        with pytest.raises(PinFileError):
            await worker.refresh()


PINS = """schema = 1
name = "own"
updated = 2026-11-23

[[endpoint]]
host = "chat.example.edu"
category = "other"
"""


async def digest_of_the_assessment(store: Store) -> bytes | None:
    """The digest of the knowledge of the only assessment."""
    async with store.connect() as connection:
        digest: bytes | None = await connection.scalar(sa.select(verifications.c.knowledge))
        return digest


async def confidences(store: Store) -> list[str | None]:
    """The confidence of every finding."""
    async with store.connect() as connection:
        return list(await connection.scalars(sa.select(findings.c.confidence)))


async def test_evidence_that_is_erased_meanwhile_is_discarded(store: Store) -> None:
    """A worker that comes too late stores nothing."""
    client = recorder()
    number = await receive(store, client.submission(client.bundle(client.case(SEARCH))))
    async with Worker(store, config(), settings()) as worker:
        async with store.begin() as connection:
            claimed = await queue.claim(connection, now=NOW, lease=dt.timedelta(minutes=1), limit=1)
            await connection.execute(sa.delete(evidence).where(evidence.c.id == number))
        assessed = Assessed(
            state=State.VERIFIED,
            handshakes=(b"1" * 32,),
            detail=Detail(detector_version="0", knowledge=(), digest=b"2" * 32),
        )
        with pytest.raises(LeaseLostError):
            await worker._store_assessment(claimed[0], assessed)
    assert [await count(store, one) for one in (verifications, handshakes, work)] == [0, 0, 0]


KILLS = 3


async def test_killed_workers_lose_nothing_and_store_nothing_twice(store: Store, database: str) -> None:
    """Workers that are killed (SIGKILL) in the middle of their work, one after the other."""
    client = recorder()
    ca = client.pki.private_ca("Campus Filter")
    sent = 40
    for number in range(sent):
        data = client.bundle(*client.intercepted(ca, SEARCH, EXAM))
        await receive(store, client.submission(data, student=f"{number:064x}"))
    program = [sys.executable, "-m", "support.collect_worker", database, encode(config()).decode()]
    places = os.pathsep.join([str(Path(__file__).parents[4] / "tests"), str(Path(__file__).parents[4])])
    for kill in range(KILLS + 1):
        process = subprocess.Popen(program, env=os.environ | {"PYTHONPATH": places})  # noqa: S603, ASYNC220 - our own program
        try:
            wanted = sent if kill == KILLS else await count(store, verifications) + 1 + 3 * kill
            while await count(store, verifications) < wanted:
                assert process.poll() is None
                await asyncio.sleep(0.01)
        finally:
            process.kill()
            process.wait()
    assert await states(store) == [("verified", None)] * sent
    assert [await count(store, one) for one in (verifications, findings, handshakes)] == [sent, 2 * sent, 2 * sent]
    assert await count(store, work) == 0
