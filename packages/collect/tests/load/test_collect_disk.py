"""The disk fills up under the database, and clients send a byte at a time: what was received stays, and others go on.

Room: tests of the collector. Mounts a small filesystem, which takes root.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import pytest
from support.collect_kills import assessed, check_assessments, check_receipts
from support.collect_load import Client, read_answers, request
from support.collect_processes import Collector, Part, running_collector
from support.collect_world import CollectWorld
from support.postgres import running_postgres, running_server
from support.small_disk import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.lab

SMALL: Final = ("-c", "max_wal_size=4MB", "-c", "min_wal_size=2MB")
"""Options of a server that reaches its disk soon."""

REPORTS: Final = 1000
"""More than a full disk takes: SQLite's log has 4 MiB before it grows, and each has 15 KiB."""
FURTHER: Final = 100
"""Sent after the first refusals, while there is still no room."""


async def fill_up(collector: Collector, world: CollectWorld, disk: SmallDisk, revive: Callable[[], object]) -> None:
    """Submit while the disk fills up, make room after some refusals, and check that everything is there in the end."""
    part = collector.serve("--no-worker")
    await part.ready()
    reports = list(world.reports(REPORTS))
    given, answered = collector.folder / "envelopes", collector.folder / "answers"
    client = Client(part.url)
    assert (await client.send(request(part.url, reports[0].envelope)))[0] == 201
    disk.fill()
    refused = []
    sent = 0
    for report in reports:
        sent += 1
        status, body = await client.send(request(part.url, report.envelope))
        if status == 503:
            refused.append(body)
        if len(refused) == 3:
            break
    client.close()
    assert len(refused) == 3
    reports = reports[: sent + FURTHER]
    given.write_bytes(b"\n".join(report.envelope for report in reports))
    assert all(b"urn:tls-interception:refusal:" in body for body in refused), refused
    words = [sys.executable, "-m", "support.collect_load", "--clients", "16", part.url, str(given), str(answered)]
    clients = Part(words, collector.folder / "clients.log")
    await asyncio.sleep(1)  # some requests while there is no room
    disk.free()
    revive()
    async with asyncio.timeout(120):
        assert await asyncio.to_thread(clients.process.wait) == 0, clients.log.read_text()
        async with collector.working():
            await assessed(collector.database)
    answers = {reports[place].digest: answer for place, answer in read_answers(answered).items()}
    await check_receipts(collector, reports, answers)
    await check_assessments(collector, world, reports)
    assert part.process.poll() is None


async def test_a_full_disk_under_postgresql(tmp_path: Path) -> None:
    """A service answers 503 while PostgreSQL has no room, and goes on when it has; what had a receipt is there."""
    world = CollectWorld(institutions=4, endpoints=6)
    with small_disk(64) as disk, running_server(SMALL, data=disk.path / "data") as server:

        def revive() -> None:
            """Start the server again where running out of room has ended it, as its supervisor would."""
            if server.process.poll() is not None:
                server.start()

        async with running_collector(server.url, tmp_path, world) as collector:
            await fill_up(collector, world, disk, revive)


async def test_a_full_disk_under_sqlite(tmp_path: Path) -> None:
    """The same with a file on a filesystem that is full."""
    world = CollectWorld(institutions=4, endpoints=6)
    with small_disk(32) as disk:
        async with running_collector(f"sqlite:///{disk.path}/collect.sqlite", tmp_path, world) as collector:
            await fill_up(collector, world, disk, lambda: None)


async def test_slow_clients_hold_up_nobody(tmp_path: Path) -> None:
    """While 64 clients send a byte at a time, others are received, and the service cuts the slow ones off."""
    world = CollectWorld(institutions=2)
    with running_postgres() as url:
        async with running_collector(url, tmp_path, world) as collector:
            part = collector.serve("--no-worker")
            await part.ready()
            host, _, port = part.url.removeprefix("http://").partition(":")
            reports = list(world.reports(80))
            slow = [await asyncio.open_connection(host, int(port)) for _ in range(64)]
            stop = asyncio.Event()

            async def trickle(number: int) -> None:
                """Send half of a head, or a head and the beginning of a body, byte by byte."""
                writer = slow[number][1]
                asked = request(part.url, reports[number].envelope)
                writer.write(asked[: 20 if number % 2 else 400])
                for at in range(400, len(asked)):
                    if stop.is_set() or writer.is_closing():
                        return
                    writer.write(asked[at : at + 1])
                    await asyncio.sleep(0.1)

            async with asyncio.TaskGroup() as group:
                for number in range(64):
                    group.create_task(trickle(number))
                client = Client(part.url)
                async with asyncio.timeout(60):
                    for report in reports[64:]:
                        assert (await client.send(request(part.url, report.envelope)))[0] == 201
                    cut_off = await asyncio.gather(*(reader.read() for reader, _ in slow), return_exceptions=True)
                stop.set()
            client.close()
            for _, writer in slow:
                writer.close()
            assert len(cut_off) == 64
            assert not any(isinstance(answer, bytes) and b" 201 " in answer for answer in cut_off)
