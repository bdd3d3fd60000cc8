"""Processes that assess, each of which is killed when it takes too long and started again.

Room: detector_collect.worker. Starts processes and ends every one of them.

The sender of evidence chooses how much work it is: certificates can be made whose signatures take seconds each. A
thread cannot be stopped, so assessing runs in processes of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from typing import TYPE_CHECKING, Final

import msgspec

from detector.aio.tasks import reap
from detector.errors import DetectorError
from detector.frozen import child_command, host
from detector.model import encode
from detector_collect.assessment import Assessed

from .work import READY

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from detector.model import Record

    from .work import MaterialConfig, Request

RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of one response: at most 1,024 endpoints, each with sentences of a few kilobytes."""


START_SECONDS: Final = 120.0
"""Until a process has read its knowledge: two seconds of processor time, on a machine that may be busy."""


class ProcessError(DetectorError, RuntimeError):
    """No process could be started."""


class LostError(Exception):
    """The process ended, or was killed, before it had assessed the submission."""


class Processes:
    """Up to `count` processes that assess with what `config` names, from the first submission until `end`."""

    def __init__(self, count: int, config: MaterialConfig, *, seconds: float) -> None:
        self._config = config
        self._seconds = seconds
        self._free: Final[asyncio.LifoQueue[Process | None]] = asyncio.LifoQueue()
        self._running: Final[set[Process]] = set()
        for _ in range(count):
            self._free.put_nowait(None)

    async def end(self) -> None:
        """Kill all processes. They start again for the next submission."""
        for process in tuple(self._running):
            await self._end(process)

    async def restart(self, config: MaterialConfig) -> None:
        """Kill all processes, and assess with `config` from the next submission on."""
        self._config = config
        await self.end()

    async def assess(self, request: Request) -> Assessed:
        """Assess one submission in a process that is free. Raises `LostError`, `ProcessError`."""
        process = await self._free.get()
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            try:
                async with asyncio.timeout(self._seconds):
                    return await _ask(process, request)
            except TimeoutError:
                raise LostError(f"took longer than {self._seconds:g} seconds") from None
            except (ConnectionError, ValueError, EOFError) as error:
                raise LostError("the process that assessed it ended") from error
        except BaseException:
            # What it would still answer is not awaited any more: the next request must not get it.
            if process is not None:
                await self._end(process)
                process = None
            raise
        finally:
            self._free.put_nowait(process)

    async def _start(self) -> Process:
        command = child_command("detector_collect.worker.child")
        if command is None:
            raise ProcessError(
                f"No process can be started to assess evidence: this is {host()}.",
                advice="Run `detector-collect` with a Python interpreter.",
            )
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=RESPONSE_BYTES_MAX
            )
        except OSError as error:
            raise ProcessError(
                f"A process to assess evidence cannot be started ({error.strerror}).",
                advice="Check the limits on processes and memory.",
            ) from error
        self._running.add(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                is_ready = await _exchange(process, self._config) == READY
        except (TimeoutError, ConnectionError):
            is_ready = False
        if not is_ready:
            await self._end(process)
            raise ProcessError(
                "The process that assesses evidence did not start.", advice="Check --data, --pins and the memory."
            )
        return process

    async def _end(self, process: Process) -> None:
        self._running.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await reap(process)


async def _ask(process: Process, request: Request) -> Assessed:
    line = await _exchange(process, request)
    if not line.endswith(b"\n"):
        raise EOFError
    return msgspec.json.decode(line, type=Assessed)


async def _exchange(process: Process, record: Record) -> bytes:
    """Send a line and return the next one, which lacks its end where the process has ended."""
    assert process.stdin is not None  # noqa: S101 - for type checkers: both are pipes
    assert process.stdout is not None  # noqa: S101 - for type checkers: both are pipes
    process.stdin.write(encode(record) + b"\n")
    await process.stdin.drain()
    return await process.stdout.readline()
