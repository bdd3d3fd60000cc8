"""The native messaging host: a program that a browser starts, and that answers its extension's requests.

Room: exam. Reads and writes the two file descriptors it is given; starts tasks and ends every one of them.

A frame is a 32-bit length in native byte order and that many bytes of JSON. A message to the browser has at most 1 MiB,
one from the browser 64 MiB; this host reads far less, because a request is small (Chrome, Edge and Firefox alike).

Each request gets exactly one response, what was asked for or an error. Requests run concurrently and are matched by
their `id`.
The session ends when the browser closes its end, announces a message longer than a request can be, or stops reading.
Requests that still run then are cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import struct
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import InputError, RequestError

from .protocol import REQUEST_BYTES_MAX, ErrorCode, ErrorResponse, Task, error_response, id_of, read_request
from .protocol import split as split_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from .protocol import Observed, Request, Response

    Answer = Callable[[Request], Awaitable[Response | Observed]]
    Send = Callable[[bytes], Awaitable[None]]

TO_BROWSER_MAX: Final = 1024 * 1024
"""Bytes of one message to the browser; a longer one ends the session (Chrome's documentation, native messaging)."""

REQUESTS_MAX: Final = 4
"""Requests served at a time. An exam start needs one; each may open a connection to every endpoint."""

WRITE_SECONDS_MAX: Final = 10.0
"""How long a browser may take to read a message before it counts as gone."""

READ_BYTES: Final = 64 * 1024
"""Bytes read at once: the usual size of a pipe."""

READ_AHEAD: Final = 2
"""Chunks read before the session has processed them."""

_LENGTH: Final = struct.Struct("=I")


class FrameError(ValueError):
    """A length that no frame may have. The start of the next frame is then unknown."""


class FrameReader:
    """Splits a stream of bytes into the payloads of frames, each of at most `limit` bytes.

    Take every payload before feeding more: what was fed is buffered.
    """

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._received = bytearray()

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._received += data

    def next(self) -> bytes | None:
        """Return the payload of the next complete frame, or None. Raises `FrameError`."""
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if length > self._limit:
            raise FrameError(f"a message of {length} bytes was announced; at most {self._limit} are read")
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        payload = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        return payload


def frame(payload: bytes) -> bytes:
    """Return one frame to the browser. Raises `FrameError` when the payload is longer than the browser accepts."""
    if len(payload) > TO_BROWSER_MAX:
        raise FrameError(f"a message of {len(payload)} bytes; the browser takes at most {TO_BROWSER_MAX}")
    return _LENGTH.pack(len(payload)) + payload


class BrowserGoneError(Exception):
    """The browser does not read what is written."""


async def serve(answer: Answer, *, reading: int, writing: int) -> None:
    """Serve requests from the file descriptor `reading` on `writing` until the session ends."""
    writer = Writer(writing)
    try:
        async with contextlib.aclosing(read_frames(reading)) as frames:
            await _Session(answer, writer.send).serve(frames)
    except* BrowserGoneError:
        pass  # how every session may end
    finally:
        writer.close()


class _Session:
    """The requests in flight, by id."""

    def __init__(self, answer: Answer, send: Send) -> None:
        self._answer: Final = answer
        self._send_frames: Final = send
        self._running: Final[dict[str | int | None, asyncio.Task[None]]] = {}

    async def serve(self, frames: AsyncIterator[bytes]) -> None:
        """Serve requests until there are no more, then cancel those that still run.

        Raises an exception group of `BrowserGoneError` when a response cannot be delivered.
        """
        async with asyncio.TaskGroup() as tasks:
            try:
                async for payload in frames:
                    await self._receive(payload, tasks)
            except FrameError as error:
                message = f"This is no native message: {error}."
                await self._send(
                    ErrorResponse(code=ErrorCode.BAD_FRAME, message=message, advice="Send smaller requests.")
                )
            for task in self._running.values():
                task.cancel()

    async def _receive(self, payload: bytes, tasks: asyncio.TaskGroup) -> None:
        try:
            request = read_request(payload)
        except RequestError as error:
            await self._send(error_response(error, ErrorCode.BAD_REQUEST, id_of(payload)))
            return
        if request.task is Task.CANCEL:
            await self._cancel(request)
        elif request.id in self._running:
            await self._refuse(request, ErrorCode.BAD_REQUEST, "A request with this id is being answered.", "Count up.")
        elif len(self._running) >= REQUESTS_MAX:
            message = f"{REQUESTS_MAX} requests are being answered already."
            await self._refuse(request, ErrorCode.BUSY, message, "Wait for an answer, or cancel one of them.")
        else:
            self._running[request.id] = tasks.create_task(self._respond(request))

    async def _respond(self, request: Request) -> None:
        try:
            message: Response | Observed | ErrorResponse = await self._answer(request)
        except InputError as error:
            message = error_response(error, ErrorCode.BAD_INPUT, request.id)
        finally:
            self._running.pop(request.id, None)  # from here on it cannot be cancelled, and its id is free
        await self._send(message)

    async def _cancel(self, request: Request) -> None:
        task = self._running.pop(request.id, None)
        if task is None:
            message = "No request with this id is being answered."
            await self._refuse(request, ErrorCode.BAD_REQUEST, message, "It may have been answered in the meantime.")
            return
        task.cancel()
        await asyncio.wait([task])
        await self._refuse(request, ErrorCode.CANCELLED, "The request was cancelled.", "")

    async def _refuse(self, request: Request, code: ErrorCode, message: str, advice: str) -> None:
        await self._send(ErrorResponse(id=request.id, code=code, message=message, advice=advice))

    async def _send(self, message: Response | Observed | ErrorResponse) -> None:
        await self._send_frames(b"".join(map(frame, split_message(message, TO_BROWSER_MAX))))


class _Write(NamedTuple):
    """Bytes to write, and the future that is set once they are."""

    data: bytes
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]


class Writer:
    """Writes to a file descriptor in a thread of its own, so that a browser that reads slowly delays nothing else.

    A thread, because not every event loop can wait for a browser's pipe; not one of the loop's executor, because that
    would keep the program from ending while a write hangs.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor
        self._queue: Final[queue.SimpleQueue[_Write | None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="native-messaging-writer", daemon=True).start()

    async def send(self, data: bytes) -> None:
        """Write all of `data`. Raises `BrowserGoneError` when it is not read in time."""
        loop = asyncio.get_running_loop()
        write = _Write(data, loop, loop.create_future())
        self._queue.put(write)
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await write.written
        except OSError as error:  # the system's, or that of the timeout
            raise BrowserGoneError from error

    def close(self) -> None:
        """End the thread once everything is written."""
        self._queue.put(None)

    def _run(self) -> None:
        while (write := self._queue.get()) is not None:
            problem: OSError | None = None
            rest = memoryview(write.data)
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                write.loop.call_soon_threadsafe(_settle, write.written, problem)


def _settle(written: asyncio.Future[None], problem: OSError | None) -> None:
    if written.done():
        return
    if problem is None:
        written.set_result(None)
    else:
        written.set_exception(problem)


async def read_frames(descriptor: int) -> AsyncGenerator[bytes, None]:
    """Yield the payloads of frames until the other end closes. Raises `FrameError`.

    Reads in a thread of its own, for the reasons of `Writer`.
    """
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    ahead = threading.Semaphore(READ_AHEAD)

    def read() -> None:
        chunk = b"unread"
        while chunk:
            ahead.acquire()
            try:
                chunk = os.read(descriptor, READ_BYTES)
            except OSError:
                chunk = b""  # a broken pipe ends the stream
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:  # the event loop has ended
                return

    threading.Thread(target=read, name="native-messaging-reader", daemon=True).start()
    reader = FrameReader(REQUEST_BYTES_MAX)
    while chunk := await chunks.get():
        reader.feed(chunk)
        while (payload := reader.next()) is not None:
            yield payload
        ahead.release()
