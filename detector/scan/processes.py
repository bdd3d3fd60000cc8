"""Looks made by several processes of this machine, for scans that one processor is too slow for.

Room: scan. Starts processes and ends every one of them. They observe (`child`); who scans paces, retries and judges, so
that all else is as with one process. A process that dies gives its targets to the others and is started again, a few
times; targets that nobody is left for, or that processes die of, are told as not looked at (`resources`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from detector.errors import DetectorError, InputError
from detector.judge.evidence import EndpointEvidence
from detector.model import Endpoint, Record

from .work import NOT_LOOKED, Seen, bare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from detector.session.session import Detector

TRIES: Final = 3
"""Processes that may die with a target in hand before it is told as not looked at."""

STARTS: Final = 5
"""Times that one place among the processes is filled; a program that cannot run is not started for ever."""

GRACE_SECONDS: Final = 30.0
"""Beyond a target's time until a process that does not answer is given up; a busy machine takes its time."""

LINE_MAX: Final = 16 * 1024 * 1024
"""Octets of one answer; a look is bounded far below, `detector.probe` sees to that."""

_APART: Final[dict[str, Any]] = (
    {"creationflags": 0x200} if os.name == "nt" else {"process_group": 0}  # CREATE_NEW_PROCESS_GROUP of Windows
)
"""Ctrl-C is for the process that scans; it ends the others."""


class Setup(Record, frozen=True, kw_only=True):
    """How a child looks: proxy setting, where to connect instead (host, port, address, port), and how it resolves."""

    route: str = "env"
    resolve: tuple[tuple[str, int, str, int], ...] = ()
    c_ares: bool = False


class Errand(Record, frozen=True, kw_only=True):
    """An endpoint to look at within `timeout` seconds; `number` is given back."""

    number: int
    endpoint: Endpoint
    timeout: float


class Refusal(Record, frozen=True, kw_only=True):
    """Why none can be looked at, as with a proxy that cannot be used."""

    message: str
    advice: str


class Brought(Record, frozen=True, kw_only=True):
    """What an errand brought: what was seen, or why nothing could be."""

    number: int
    seen: Seen | None = None
    refusal: Refusal | None = None


class ProcessError(DetectorError, RuntimeError):
    """No process could be started."""


class _LostError(Exception):
    """The process that had this target is gone, or does not answer."""


class _Child(NamedTuple):
    """A running process, and the answers that are waited for."""

    process: asyncio.subprocess.Process
    waiting: dict[int, asyncio.Future[Seen]]
    reading: asyncio.Task[None]


class Processes:
    """Processes that look. Made by `processes`."""

    def __init__(self, detector: Detector, setup: Setup, count: int) -> None:
        self._detector = detector
        self._setup = setup
        self._children: list[_Child | None] = [None] * count
        self._starts = [0] * count
        self._starting = asyncio.Lock()
        self._number = 0

    @property
    def identifiers(self) -> tuple[int, ...]:
        """The process identifiers of those that run."""
        return tuple(child.process.pid for child in self._children if child is not None)

    async def start(self) -> None:
        """Start all. Raises `ProcessError`."""
        for place in range(len(self._children)):
            await self._fill(place)

    async def look(self, endpoint: Endpoint, *, timeout: float) -> EndpointEvidence:  # noqa: ASYNC109 - enforced by the child
        """Look at one endpoint, in whichever process has least to do.

        Raises `InputError` where it cannot be looked at with these settings.
        """
        seen = NOT_LOOKED
        for _ in range(TRIES):
            await self._refill()
            running = [child for child in self._children if child is not None]
            if not running:
                break
            with contextlib.suppress(_LostError):
                seen = await self._ask(min(running, key=lambda child: len(child.waiting)), endpoint, timeout)
                break
        return EndpointEvidence(endpoint, seen.observation, self._detector.context(), others=seen.others)

    async def end(self) -> None:
        """End all, with what they are at."""
        for child in self._children:
            if child is not None:
                _kill(child)
        await asyncio.gather(*(child.reading for child in self._children if child is not None))

    async def _ask(self, child: _Child, endpoint: Endpoint, timeout: float) -> Seen:  # noqa: ASYNC109 - as `look`
        self._number += 1
        number = self._number
        answer: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        child.waiting[number] = answer
        errand = Errand(number=number, endpoint=bare(endpoint), timeout=timeout)
        try:
            assert child.process.stdin is not None  # noqa: S101 - for type checkers: it was asked for
            child.process.stdin.write(msgspec.json.encode(errand) + b"\n")
            async with asyncio.timeout(timeout + GRACE_SECONDS):
                await child.process.stdin.drain()
                return await answer
        except (TimeoutError, ConnectionError) as error:
            _kill(child)
            raise _LostError from error
        finally:
            child.waiting.pop(number, None)
            answer.cancel()

    async def _refill(self) -> None:
        async with self._starting:
            for place, child in enumerate(self._children):
                if child is not None and child.reading.done():
                    self._children[place] = None
                    if self._starts[place] < STARTS:
                        with contextlib.suppress(ProcessError):
                            await self._fill(place)

    async def _fill(self, place: int) -> None:
        self._starts[place] += 1
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "detector.scan.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("DETECTOR_LOG") else subprocess.DEVNULL,
                limit=LINE_MAX,
                **_APART,
            )
        except OSError as error:
            raise ProcessError(
                f"A process of the scan cannot be started ({error.strerror}).", advice="Give a smaller --processes."
            ) from error
        assert process.stdin is not None  # noqa: S101 - as above
        process.stdin.write(msgspec.json.encode(self._setup) + b"\n")
        waiting: dict[int, asyncio.Future[Seen]] = {}
        self._children[place] = _Child(process, waiting, asyncio.create_task(_read(process, waiting)))


@contextlib.asynccontextmanager
async def processes(
    count: int, detector: Detector, *, route: str, resolve: Mapping[tuple[str, int], tuple[str, int]], c_ares: bool
) -> AsyncIterator[Processes]:
    """Run `count` processes until the block ends; looks are made as `route`, `resolve` and `c_ares` say.

    Raises `ProcessError`.
    """
    rules = tuple((*asked, *instead) for asked, instead in resolve.items())
    crew = Processes(detector, Setup(route=route, resolve=rules, c_ares=c_ares), count)
    try:
        await crew.start()
        yield crew
    finally:
        await crew.end()


def _kill(child: _Child) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.process.kill()


async def _read(process: asyncio.subprocess.Process, waiting: dict[int, asyncio.Future[Seen]]) -> None:
    """Hand out answers until the process ends; who still waits then is told that it is lost."""
    assert process.stdout is not None  # noqa: S101 - for type checkers: both were asked for
    assert process.stdin is not None  # noqa: S101 - as above
    try:
        # A line without end is none of ours: ValueError, as for one that cannot be read.
        with contextlib.suppress(ConnectionError, msgspec.MsgspecError, ValueError):
            while line := await process.stdout.readline():
                brought = msgspec.json.decode(line, type=Brought)
                if (answer := waiting.get(brought.number)) is None or answer.done():
                    continue
                if brought.refusal is not None:
                    answer.set_exception(InputError(brought.refusal.message, advice=brought.refusal.advice))
                else:
                    answer.set_result(brought.seen or NOT_LOOKED)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.communicate()
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(_LostError())
