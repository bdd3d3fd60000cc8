"""A pool of worker processes on this machine, for scans that one processor is too slow for.

Room: scan. Starts processes and ends every one of them. They probe (`worker`); rate limits, retries and assessment stay
here, so that all else is as with one process. When a worker dies or hangs, the others get its endpoints and it is
started again, a few times; endpoints that no worker is left for, or that workers die of, are reported as not probed
(`resources`). `concurrent.futures.ProcessPoolExecutor` would give up as a whole instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Final, Self

from detector.aio.tasks import cancel_and_wait
from detector.errors import DetectorError, InputError
from detector.frozen import child_command, host
from detector.session.stream import StreamSettings

from .work import (
    BEAT,
    BEAT_SECONDS,
    NOT_PROBED,
    ErrorResponse,
    ProbedEndpoint,
    Request,
    WorkerConfig,
    decode_response,
    encode_request,
)

if TYPE_CHECKING:
    from detector.model import Endpoint, Observation

LOG: Final = logging.getLogger("detector.scan")

CRASHES_MAX: Final = 3
"""Worker crashes per endpoint before it is reported as `resources`."""

STARTS_MAX: Final = 5
"""Starts of each worker; a program that cannot run is not started for ever."""

GRACE_SECONDS: Final = 30.0
"""Beyond an endpoint's time until a worker that lives but does not respond is killed; a busy machine takes its time."""

START_TICKS: Final = 10
"""Seconds until a worker is heard of for the first time, and one more for each worker that starts with it, before it is
killed: imports take one of processor time, and as many processes as there are workers may want the same processor."""

SILENT_TICKS: Final = 5
"""Seconds without a sign of life (`work.BEAT_SECONDS`) after which a worker is killed; its endpoints go to another.
They are counted, not measured: where this process is stopped as well, as by Ctrl-Z, none pass."""

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of one response; observations are bounded far below, by `detector.probe`."""

_SEPARATE_GROUP: Final[dict[str, Any]] = (
    {"creationflags": 0x200} if os.name == "nt" else {"process_group": 0}  # CREATE_NEW_PROCESS_GROUP of Windows
)
"""Ctrl-C is for the process that scans; it ends the others."""


class ProcessError(DetectorError, RuntimeError):
    """No process could be started."""


class _WorkerLostError(Exception):
    """The worker with this request died, or does not respond."""


class _Worker:
    """A running process, and the responses that are waited for. `silent` counts the seconds since it was heard of."""

    def __init__(self, process: asyncio.subprocess.Process, patience: int) -> None:
        self.process: Final = process
        self.waiting: Final[dict[int, asyncio.Future[ProbedEndpoint]]] = {}
        self.silent = 0
        self.patience = patience
        self.reading: Final = asyncio.create_task(_read(self))


class WorkerPool:
    """`count` worker processes that probe as `config` says, from entering the context until leaving it.

    Entering raises `ProcessError`.
    """

    def __init__(self, count: int, config: WorkerConfig) -> None:
        self._config = config
        self._workers: list[_Worker | None] = [None] * count
        self._starts = [0] * count
        self._starting = asyncio.Lock()
        self._number = 0

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_exit(self)
            for place in range(len(self._workers)):
                await self._start(place)
            stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill all workers."""
        running = [worker for worker in self._workers if worker is not None]
        for worker in running:
            _kill(worker.process)
        await asyncio.gather(*(worker.reading for worker in running))

    async def probe(self, endpoint: Endpoint, *, timeout: float) -> tuple[Observation, ...]:  # noqa: ASYNC109 - enforced by the worker
        """Probe one endpoint in the worker that has least to do.

        Raises `InputError` where it cannot be probed with these settings.
        """
        probed = NOT_PROBED
        for _ in range(CRASHES_MAX):
            await self._restart()
            running = [worker for worker in self._workers if worker is not None]
            if not running:
                break
            with contextlib.suppress(_WorkerLostError):
                probed = await self._request(min(running, key=lambda worker: len(worker.waiting)), endpoint, timeout)
                break
        return (probed.observation, *probed.others)

    async def _request(self, worker: _Worker, endpoint: Endpoint, timeout: float) -> ProbedEndpoint:  # noqa: ASYNC109 - as `probe`
        assert worker.process.stdin is not None  # noqa: S101 - for type checkers: it is a pipe
        if worker.process.stdin.is_closing():  # it is ending; asyncio logs what is written to it nevertheless
            _kill(worker.process)
            await asyncio.wait((worker.reading,))
            raise _WorkerLostError
        self._number += 1
        request = Request(
            number=self._number,
            endpoints=(endpoint,),
            config=self._config,
            settings=StreamSettings(concurrency=1, retries=0, timeout=timeout),
            machine_roots=False,
        )
        response: asyncio.Future[ProbedEndpoint] = asyncio.get_running_loop().create_future()
        worker.waiting[request.number] = response
        try:
            worker.process.stdin.write(encode_request(request) + b"\n")
            async with asyncio.timeout(timeout + GRACE_SECONDS):
                await worker.process.stdin.drain()
                return await response
        except (TimeoutError, ConnectionError) as error:
            LOG.info("worker %d does not respond: killing it", worker.process.pid)
            _kill(worker.process)
            raise _WorkerLostError from error
        finally:
            worker.waiting.pop(request.number, None)
            response.cancel()

    async def _restart(self) -> None:
        """Start workers in place of those that ended."""
        async with self._starting:
            for place, worker in enumerate(self._workers):
                if worker is not None and worker.reading.done():
                    LOG.info("worker %d ended", worker.process.pid)
                    self._workers[place] = None
                    if self._starts[place] < STARTS_MAX:
                        with contextlib.suppress(ProcessError):
                            await self._start(place)

    async def _start(self, place: int) -> None:
        command = child_command("detector.scan.worker")
        if command is None:
            raise ProcessError(
                f"A scan can have no further processes here: this is {host()}.",
                advice="Leave out --processes, or use the program `detector`.",
            )
        self._starts[place] += 1
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("DETECTOR_LOG") else subprocess.DEVNULL,
                limit=LINE_BYTES_MAX,
                **_SEPARATE_GROUP,
            )
        except NotImplementedError as error:  # Windows' SelectorEventLoop
            raise ProcessError(
                "The event loop of this program cannot start processes.",
                advice="Scan with one process, or on Windows with asyncio.ProactorEventLoop.",
            ) from error
        except OSError as error:
            raise ProcessError(
                f"A process of the scan cannot be started ({error.strerror}).", advice="Give a smaller --processes."
            ) from error
        LOG.info("worker %d started (start %d of place %d)", process.pid, self._starts[place], place)
        self._workers[place] = _Worker(process, START_TICKS + len(self._workers))


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process that has not been waited for.

    `Process.kill` asks the system first whether it has ended, and takes its exit code from the loop if it has.
    """
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if os.name == "nt":
            process.kill()
        else:
            os.kill(process.pid, signal.SIGKILL)


async def _watch(worker: _Worker) -> None:
    """Kill a worker that gives no sign of life."""
    while worker.silent < worker.patience:
        await asyncio.sleep(BEAT_SECONDS)
        worker.silent += 1
    LOG.info("worker %d gives no sign of life: killing it", worker.process.pid)
    _kill(worker.process)


async def _read(worker: _Worker) -> None:
    """Pass on responses until the process ends or writes something else; what still waits then is lost."""
    process = worker.process
    assert process.stdout is not None  # noqa: S101 - for type checkers: both are pipes
    assert process.stdin is not None  # noqa: S101 - for type checkers: both are pipes
    watching = asyncio.create_task(_watch(worker))
    try:
        with contextlib.suppress(ConnectionError, ValueError):  # ValueError: a line without end
            while line := await process.stdout.readline():
                worker.silent, worker.patience = 0, SILENT_TICKS
                if line == BEAT:
                    continue
                response = decode_response(line, expected=1)
                if response is None:
                    break
                future = worker.waiting.get(response.number)
                if future is None or future.done():
                    continue
                if isinstance(response, ErrorResponse):
                    future.set_exception(InputError(response.message, advice=response.advice))
                else:
                    future.set_result(response.probed[0])
    finally:
        await cancel_and_wait((watching,))
        _kill(process)
        process.stdin.close()
        await process.communicate()
        for future in worker.waiting.values():
            if not future.done():
                future.set_exception(_WorkerLostError())
