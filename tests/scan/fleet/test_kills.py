"""Parts of a fleet killed at random moments, again and again: every target has one result, and the right one.

The moments are drawn from a seed. A scan is given targets as long as kills go on, so every kill falls into one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
from detector_testing import serve_origin
from support.fleet_parts import INHERITED, LOOPBACK, Fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector_testing import PrivatePKI

pytestmark = pytest.mark.lab

LIMIT: Final = 240.0
"""Seconds for a scan on a busy machine; it takes a tenth of that."""
VANTAGES: Final = ("hall", "library")
WORKERS_EACH: Final = 2
KILLS: Final = 24
KILLS_OF_OTHERS: Final = 6
PATIENT: Final = ("--timeout", "30", "--retries", "2", "--lost-after", "120", "--fail-on", "possible")


@contextlib.asynccontextmanager
async def servers(pki: PrivatePKI) -> AsyncIterator[dict[int, str]]:
    """Ports of this machine, with the verdict of each: a genuine server, a private chain, and nobody."""
    async with (
        serve_origin(pki.issue([LOOPBACK])) as genuine,
        serve_origin(pki.private_ca("Filter CA").issue([LOOPBACK])) as forged,
    ):
        yield {genuine.port: "clean", forged.port: "middleware", 1: "inconclusive"}


class Scan:
    """A scan that is given its targets one by one, and whose lines are read as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.said = b""
        self.begun = asyncio.Event()
        self.reading = asyncio.gather(self._read(), self._listen())

    @classmethod
    async def start(cls, fleet: Fleet, *words: str) -> Scan:
        """Start it, with its targets from standard input, and wait until it says which workers there are."""
        given = ("--tls", str(fleet.folder), "--scheduler", fleet.address, "--targets", "-", *PATIENT, *words)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "detector", "fleet", "scan", *given),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**22,
            env=INHERITED,
        )
        scan = cls(process)
        await scan.begun.wait()
        return scan

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))  # a line that is there is a whole one, however the scan ended

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said += line
            self.begun.set()

    async def give(self, ports: list[int]) -> None:
        """Give it some targets."""
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it has been killed
            self.process.stdin.write("".join(f"{LOOPBACK}:{port}\n" for port in ports).encode())
            await self.process.stdin.drain()

    async def end(self) -> int:
        """Give it no more, and wait until it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(LIMIT):
            await self.reading
            return await self.process.wait()


def verdicts(lines: list[dict[str, Any]]) -> set[tuple[int, str]]:
    """The port and the verdict of each result."""
    return {(line["result"]["endpoint"]["port"], line["result"]["verdict"]) for line in lines}


async def start_worker(fleet: Fleet, vantage: str) -> Any:  # noqa: ANN401 - a process of the fleet, whose class the fixture defines
    """Start a worker without waiting for it."""
    return await fleet.start("worker", "--tls", str(fleet.folder), "--scheduler", fleet.address, "--vantage", vantage)


@pytest.mark.parametrize("seed", [16])
async def test_workers_killed_at_random_moments(
    seed: int, fleet: Fleet, fleet_trust: tuple[str, ...], pki: PrivatePKI
) -> None:
    """Kills of starting, idle and busy workers of both vantages, while they are given one target after another."""
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    slots = [(vantage, await fleet.worker(vantage)) for vantage in VANTAGES for _ in range(WORKERS_EACH)]
    given: list[int] = []
    async with servers(pki) as expected:
        scan = await Scan.start(fleet, *fleet_trust, "--mode", "every")
        feeding = asyncio.create_task(_feed(scan, list(expected), given))
        try:
            for _ in range(KILLS):
                number = moments.randrange(len(slots))
                vantage, worker = slots[number]
                await asyncio.sleep(moments.uniform(0, 0.8))
                await worker.kill()
                slots[number] = vantage, await start_worker(fleet, vantage)
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
        code = await scan.end()
    assert code == 1, scan.said
    found = [(line["vantage"], line["result"]["number"]) for line in scan.lines if not line["result"]["amends"]]
    assert sorted(found) == [(vantage, number) for vantage in VANTAGES for number in range(len(given))], scan.said
    assert {line["result"]["endpoint"]["port"] for line in scan.lines} == set(expected)
    assert verdicts(scan.lines) == set(expected.items()), scan.said


async def _feed(scan: Scan, ports: list[int], given: list[int]) -> None:
    """Give a scan a batch of targets several times a second, until cancelled."""
    while True:
        given += (batch := ports * 8)
        await scan.give(batch)
        await asyncio.sleep(0.15)


@pytest.mark.parametrize("seed", [16])
async def test_scheduler_and_client_killed_at_random_moments(
    seed: int, fleet: Fleet, fleet_trust: tuple[str, ...], pki: PrivatePKI
) -> None:
    """What a scan has written counts; another one takes the rest, from the workers that found their scheduler again."""
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    workers = [await fleet.worker("hall") for _ in range(WORKERS_EACH)]
    port = fleet.address.rpartition(":")[2]
    async with servers(pki) as expected:
        wanted, results = list(expected) * 100, list[dict[str, Any]]()
        for kill in range(KILLS_OF_OTHERS):
            scan = await Scan.start(fleet, *fleet_trust, "--mode", "spread")
            feeding = asyncio.create_task(scan.give(wanted))
            await asyncio.sleep(moments.uniform(0, 2))
            if kill % 2:
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    scan.process.kill()
            else:
                await fleet.parts[0].kill()
            await asyncio.wait([feeding])
            code = await scan.end()
            assert code in ({-9, 0, 1} if kill % 2 else {0, 1, 2}), scan.said
            _take(scan, wanted, results)
            if not kill % 2:
                for worker in workers:
                    worker.said.clear()
                words = ("scheduler", "--tls", str(fleet.folder), "--host", LOOPBACK, "--port", port)
                fleet.parts[0] = await fleet.start(*words)
                await fleet.parts[0].reports("tls://")
                for worker in workers:
                    await worker.reports("probes from")
        if wanted:
            scan = await Scan.start(fleet, *fleet_trust, "--mode", "spread")
            await scan.give(wanted)
            assert await scan.end() == 1, scan.said
            _take(scan, wanted, results)
    assert wanted == []
    assert len(results) == 300
    assert verdicts(results) == set(expected.items())


def _take(scan: Scan, wanted: list[int], results: list[dict[str, Any]]) -> None:
    """Keep the results of a scan, and strike its targets out."""
    numbers = [line["result"]["number"] for line in scan.lines if not line["result"]["amends"]]
    assert len(set(numbers)) == len(numbers)
    results += [line for line in scan.lines if not line["result"]["amends"]]
    wanted[:] = [port for number, port in enumerate(wanted) if number not in set(numbers)]
