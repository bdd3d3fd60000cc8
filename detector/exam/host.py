"""The native-messaging host: a program that a browser starts and asks, for an extension, whether the exam may begin.

Room: exam. Reads and writes the two file descriptors it is given, starts tasks and ends every one of them.

Each request is answered exactly once, by a decision or by an error; requests run side by side and are told apart by
their `id`. The conversation ends when the browser closes its end, when it announces a message longer than a request
can be, or when it does not take what it asked for. What still runs then is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import InputError, RequestError

from . import framing
from .exchange import REQUEST_OCTETS_MAX, ErrorCode, Failure, Request, Task, answer, failure, id_of, read_request, split

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from .decision import Decision
    from .exchange import Answer

    Decide = Callable[[Request], Awaitable[Decision]]
    Send = Callable[[bytes], Awaitable[None]]

REQUESTS_MAX: Final = 4
"""Requests answered at a time. An exam start needs one; each may open a connection to every endpoint."""

WRITE_PATIENCE: Final = 10.0
"""Seconds that a browser may take to read an answer before it is taken for gone."""

READ_OCTETS: Final = 64 * 1024
"""Octets read at once: the usual size of a pipe."""

READ_AHEAD: Final = 2
"""Pieces read before the conversation has dealt with them."""


class BrowserGoneError(Exception):
    """Nobody takes what is written."""


async def serve(decide: Decide, *, reading: int, writing: int) -> None:
    """Answer requests from the file descriptor `reading` on `writing` until the conversation ends."""
    writer = Writer(writing)
    try:
        async with contextlib.aclosing(read_frames(reading)) as frames:
            await _Conversation(decide, writer.send).hold(frames)
    except* BrowserGoneError:
        pass  # how every conversation may end
    finally:
        writer.close()


class _Conversation:
    """Requests in flight, and how their answers get out."""

    def __init__(self, decide: Decide, send: Send) -> None:
        self._decide: Final = decide
        self._send: Final = send
        self._running: Final[dict[str | int | None, asyncio.Task[None]]] = {}

    async def hold(self, frames: AsyncIterator[bytes]) -> None:
        """Take requests until there are no more, then end what still runs.

        Raises an exception group of `BrowserGoneError` when an answer cannot be delivered.
        """
        async with asyncio.TaskGroup() as tasks:
            try:
                async for payload in frames:
                    await self._receive(payload, tasks)
            except framing.FrameError as error:
                said = f"This is no native message: {error}."
                await self._say(Failure(code=ErrorCode.BAD_FRAME, message=said, advice="Send smaller requests."))
            for task in self._running.values():
                task.cancel()

    async def _receive(self, payload: bytes, tasks: asyncio.TaskGroup) -> None:
        try:
            request = read_request(payload)
        except RequestError as error:
            await self._say(failure(error, ErrorCode.BAD_REQUEST, id_of(payload)))
            return
        if request.task is Task.CANCEL:
            await self._cancel(request)
        elif request.id in self._running:
            await self._refuse(request, ErrorCode.BAD_REQUEST, "A request with this id is being answered.", "Count up.")
        elif len(self._running) >= REQUESTS_MAX:
            said = f"{REQUESTS_MAX} requests are being answered already."
            await self._refuse(request, ErrorCode.BUSY, said, "Wait for an answer, or cancel one of them.")
        else:
            self._running[request.id] = tasks.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        try:
            message: Answer | Failure = answer(await self._decide(request), request)
        except InputError as error:
            message = failure(error, ErrorCode.BAD_INPUT, request.id)
        finally:
            self._running.pop(request.id, None)  # from here on it cannot be cancelled, and its id is free
        await self._say(message)

    async def _cancel(self, request: Request) -> None:
        task = self._running.pop(request.id, None)
        if task is None:
            said = "No request with this id is being answered."
            await self._refuse(request, ErrorCode.BAD_REQUEST, said, "It may have been answered in the meantime.")
            return
        task.cancel()
        await asyncio.wait([task])
        await self._refuse(request, ErrorCode.CANCELLED, "The request was cancelled.", "")

    async def _refuse(self, request: Request, code: ErrorCode, message: str, advice: str) -> None:
        await self._say(Failure(id=request.id, code=code, message=message, advice=advice))

    async def _say(self, message: Answer | Failure) -> None:
        await self._send(b"".join(map(framing.frame, split(message, framing.TO_BROWSER_MAX))))


class _Job(NamedTuple):
    """Octets to write, and who waits for it."""

    data: bytes
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]


class Writer:
    """Writes to a file descriptor in a thread of its own: a browser that reads slowly holds up nothing else.

    A thread, because a pipe that a browser made can be waited for by the event loop on some systems only; of its own,
    because a thread of the loop's executor would keep the program from ending while a write hangs.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor
        self._jobs: Final[queue.SimpleQueue[_Job | None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="native-messaging-writer", daemon=True).start()

    async def send(self, data: bytes) -> None:
        """Write all of `data`, in one piece. Raises `BrowserGoneError` when nobody takes it."""
        loop = asyncio.get_running_loop()
        job = _Job(data, loop, loop.create_future())
        self._jobs.put(job)
        try:
            async with asyncio.timeout(WRITE_PATIENCE):
                await job.written
        except OSError as error:  # the system's, or that of the timeout
            raise BrowserGoneError from error

    def close(self) -> None:
        """End the thread once it has nothing more to write."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            problem = self._write(job.data)
            with contextlib.suppress(RuntimeError):  # the event loop has ended: nobody waits any more
                job.loop.call_soon_threadsafe(_settle, job.written, problem)

    def _write(self, data: bytes) -> OSError | None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            return error
        return None


def _settle(written: asyncio.Future[None], problem: OSError | None) -> None:
    if written.done():
        return
    if problem is None:
        written.set_result(None)
    else:
        written.set_exception(problem)


async def read_frames(descriptor: int) -> AsyncGenerator[bytes, None]:
    """The payloads of the frames that come, until the other end closes. Raises `FrameError`.

    Read in a thread of its own, for the reasons of `Writer`.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    ahead = threading.Semaphore(READ_AHEAD)

    def work() -> None:
        piece = b"unread"
        while piece:
            ahead.acquire()
            try:
                piece = os.read(descriptor, READ_OCTETS)
            except OSError:
                piece = b""  # a pipe that is gone has no more to give
            try:
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            except RuntimeError:  # the event loop has ended: nobody listens any more
                return

    threading.Thread(target=work, name="native-messaging-reader", daemon=True).start()
    reader = framing.FrameReader(REQUEST_OCTETS_MAX)
    while piece := await pieces.get():
        reader.feed(piece)
        while (payload := reader.next()) is not None:
            yield payload
        ahead.release()
