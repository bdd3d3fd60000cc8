"""A collector whose parts are killed while clients submit to it, and what must be true of it afterwards.

Room: tests. Starts processes on loopback. What is killed when is drawn from a seed, by the number of answers so far: so
every kill falls into the middle of the work, however fast a machine is.
"""

from __future__ import annotations

import asyncio
import enum
import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa
from detector_collect.store.database import Store
from detector_collect.store.schema import contents, evidence, findings, verifications, work
from support.collect_load import Answer, read_answers, read_receipt
from support.collect_processes import Collector, Part

from detector.outbox.submission import PAYLOAD_TYPE, digest
from detector.trust.envelope import unseal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from support.collect_world import CollectWorld, Reported
    from support.postgres import Postgres

LIMIT: Final = 600.0
"""Seconds for everything to be received and assessed on a busy machine; it takes a tenth of that."""
DELAY: Final = 0.05
"""Seconds after the answer that a kill waits for, at most: the moment within a request is random."""
DOWN: Final = 0.3
"""Seconds that PostgreSQL stays away, at most."""


class Victim(enum.StrEnum):
    """What is killed."""

    SERVICE = "service"
    CLIENT = "client"
    POSTGRES = "PostgreSQL"


class Survived(NamedTuple):
    """What came of it: kills made, seconds until all was received and until all was assessed, and the answers."""

    kills: Counter[Victim]
    received: float
    assessed: float
    answers: dict[str, Answer]


class _Client:
    """A process of clients, and the number of answers that it has."""

    def __init__(self, collector: Collector, number: int, reports: Sequence[Reported], clients: int) -> None:
        self.reports = reports
        folder = collector.folder
        given, self.answers = folder / f"client-{number}.jsonl", folder / f"client-{number}.answers"
        given.write_bytes(b"\n".join(report.envelope for report in reports))
        urls = [part.url for part in collector.parts if part.url]
        command = [sys.executable, "-m", "support.collect_load", "--clients", str(clients), *urls]
        self.part = Part([*command, str(given), str(self.answers)], folder / f"client-{number}.log", urls[0])
        self.done, self._read = 0, 0

    def count(self) -> int:
        """The answers so far."""
        if self.answers.exists():
            with self.answers.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self.done, self._read = self.done + new.count(b"\n"), self._read + len(new)
        return self.done


class Kills:
    """Kills parts of a collector by a schedule."""

    def __init__(
        self, collector: Collector, server: Postgres | None, seed: int, kills: Mapping[Victim, int], expected: int
    ) -> None:
        self._collector, self._server = collector, server
        self._draw = random.Random(seed)  # noqa: S311 - moments, not secrets
        victims = [victim for victim, number in kills.items() for _ in range(number)]
        self._draw.shuffle(victims)
        moments = sorted(int(self._draw.uniform(0.02, 0.9) * expected) for _ in victims)
        self.schedule = list(zip(moments, victims, strict=True))
        self.made: Counter[Victim] = Counter()

    async def make(self, victim: Victim, clients: Sequence[_Client]) -> None:
        """Kill one, and start it again."""
        await asyncio.sleep(self._draw.uniform(0, DELAY))
        if victim is Victim.POSTGRES:
            assert self._server is not None
            self._server.kill()
            await asyncio.sleep(self._draw.uniform(0, DOWN))
            await asyncio.to_thread(self._server.start)
        else:
            parts = self._collector.parts if victim is Victim.SERVICE else [one.part for one in clients]
            part = self._draw.choice([one for one in parts if one.process.poll() is None and one.url])
            part.kill()
            part.start()
        self.made[victim] += 1

    async def supervise(self) -> None:
        """Start what ended by itself: a service that does not find its database ends, as its supervisor expects."""
        while True:
            for part in self._collector.parts:
                if part.process.poll() is not None:
                    part.start()
            await asyncio.sleep(0.2)


async def submit_and_kill(  # noqa: PLR0913 - keyword-only past the collector; each is a number of the scene
    collector: Collector,
    server: Postgres | None,
    reports: Sequence[Reported],
    *,
    seed: int,
    kills: Mapping[Victim, int],
    processes: int = 2,
    clients: int = 32,
) -> Survived:
    """Submit all reports from `processes` of so many clients each, kill as scheduled, wait until all is assessed."""
    for part in collector.parts:
        if part.url:
            await part.ready()
    killing = Kills(collector, server, seed, kills, len(reports))
    sending = [_Client(collector, number, reports[number::processes], clients) for number in range(processes)]
    supervising = asyncio.create_task(killing.supervise())
    try:
        return await _run(collector, killing, sending)
    finally:
        supervising.cancel()
        for one in sending:
            one.part.stop()


async def _run(collector: Collector, killing: Kills, sending: Sequence[_Client]) -> Survived:
    began = time.monotonic()
    async with asyncio.timeout(LIMIT):
        for moment, victim in killing.schedule:
            await _answered(sending, moment)
            await killing.make(victim, sending)
        for one in sending:
            assert await asyncio.to_thread(one.part.process.wait) == 0, one.part.log.read_text()[-4000:]
        received = time.monotonic() - began
        await assessed(collector.database)
    answers = {
        one.reports[place].digest: answer for one in sending for place, answer in read_answers(one.answers).items()
    }
    return Survived(killing.made, received, time.monotonic() - began, answers)


async def _answered(sending: Sequence[_Client], number: int) -> None:
    """Wait until there are so many answers."""
    while True:
        if sum(one.count() for one in sending) >= number:
            return
        await asyncio.sleep(0.005)


async def assessed(database: str) -> None:
    """Wait until the queue is empty."""
    async with await Store.open(database) as store:
        while True:
            async with store.connect() as connection:
                if await connection.scalar(sa.select(sa.func.count()).select_from(work)) == 0:
                    return
            await asyncio.sleep(0.1)


async def check_receipts(collector: Collector, reports: Sequence[Reported], answers: Mapping[str, Answer]) -> None:
    """Fail where a submission has no receipt, a receipt is not true, or the database has anything else."""
    async with await Store.open(collector.database) as store, store.connect() as connection:
        columns = evidence.c.digest, evidence.c.institution, evidence.c.received, contents.c.body
        rows = (await connection.execute(sa.select(*columns).join(contents))).all()
    stored = {row.digest.hex(): row for row in rows}
    assert len(stored) == len(rows)
    assert stored.keys() == answers.keys() == {report.digest for report in reports}
    for report in reports:
        receipt, row = read_receipt(answers[report.digest], collector.public_key), stored[report.digest]
        assert receipt.digest == report.digest == digest(unseal(row.body, payload_type=PAYLOAD_TYPE).payload)
        assert receipt.institution == report.institution == row.institution
        assert receipt.received == row.received


async def check_assessments(collector: Collector, world: CollectWorld, reports: Sequence[Reported]) -> None:
    """Fail where something was not assessed once, or otherwise than its truth."""
    async with await Store.open(collector.database) as store, store.connect() as connection:
        states = Counter((await connection.scalars(sa.select(evidence.c.state))).all())
        assert states == {"verified": len(reports)}, (
            states,
            (await connection.execute(sa.select(evidence.c.reason, sa.func.count()).group_by(evidence.c.reason))).all(),
        )
        said = (await connection.execute(sa.select(evidence.c.digest, findings.c.verdict).join(findings))).all()
        times = Counter((await connection.scalars(sa.select(verifications.c.evidence))).all())
    found = Counter((row.digest.hex(), row.verdict) for row in said)
    assert found == {
        (report.digest, "middleware" if report.intercepted else "clean"): len(world.endpoints) for report in reports
    }
    assert set(times.values()) == {1}
