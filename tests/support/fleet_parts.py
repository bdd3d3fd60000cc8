"""The parts of a fleet, each a process of its own, on loopback or in the namespaces of a lab."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from detector_testing import Namespace

INHERITED = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
LOOPBACK = "127.0.0.1"
LIMIT = 120.0
"""Seconds that a part may take to start, and a scan to end, on a busy machine."""


class Part:
    """One running part, and what it says on standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._reported = asyncio.Condition()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._reported:
                self.said.append(line.decode())
                self._reported.notify_all()
        async with self._reported:
            self._reported.notify_all()

    async def reports(self, words: str) -> str:
        """Wait until a line with these words comes; gives it."""
        async with asyncio.timeout(LIMIT), self._reported:
            while not (found := [line.strip() for line in self.said if words in line]):
                assert not self.reading.done(), "".join(self.said)
                await self._reported.wait()
        return found[0]

    async def kill(self) -> None:
        """End it as a power failure would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self.reading


class Fleet:
    """A scheduler, and workers started and ended one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.parts: list[Part] = []

    async def start(self, *words: str, inside: Namespace | None = None, **environment: str) -> Part:
        """Start one part."""
        there = () if inside is None else ("ip", "netns", "exec", inside.name)
        process = await asyncio.create_subprocess_exec(
            *(*there, sys.executable, "-m", "detector", "fleet", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,  # Python searches for modules where it is started, before anywhere else
            env=INHERITED | environment,
        )
        part = Part(process)
        self.parts.append(part)
        return part

    async def schedule(self, inside: Namespace | None = None) -> Part:
        """Start the scheduler."""
        host = LOOPBACK if inside is None else inside.ipv4
        part = await self.start("scheduler", "--tls", str(self.folder), "--host", host, "--port", "0", inside=inside)
        self.address = await part.reports("tls://")
        return part

    async def worker(self, vantage: str, inside: Namespace | None = None, **environment: str) -> Part:
        """Start a worker, and wait until it is one."""
        words = ("--tls", str(self.folder), "--scheduler", self.address, "--vantage", vantage)
        part = await self.start("worker", *words, inside=inside, **environment)
        await part.reports("probes from")
        return part

    async def scan(
        self, *words: str, inside: Namespace | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a scan over the fleet."""
        there = () if inside is None else ("ip", "netns", "exec", inside.name)
        given = ("--tls", str(self.folder), "--scheduler", self.address, *words)
        command = (*there, sys.executable, "-m", "detector", "fleet", "scan", *given)
        return await run(*command, **environment)


async def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=INHERITED | environment,
    )
    try:
        async with asyncio.timeout(LIMIT):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return subprocess.CompletedProcess(command, process.returncode or 0, output.decode(), errors.decode())


@contextlib.asynccontextmanager
async def a_fleet(folder: Path, inside: Namespace | None = None) -> AsyncIterator[Fleet]:
    """A fleet with a scheduler; whatever of it still runs at the end is ended."""
    fleet = Fleet(folder)
    try:
        await fleet.schedule(inside)
        yield fleet
    finally:
        for part in fleet.parts:
            await part.kill()


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The lines of a scan."""
    return [json.loads(line) for line in done.stdout.splitlines()]
