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
import struct
from typing import TYPE_CHECKING, Final

from detector.aio.tasks import WorkerThread
from detector.errors import InputError, RequestError

from .protocol import REQUEST_BYTES_MAX, ErrorCode, ErrorResponse, Task, error_response, id_of, read_request
from .protocol import split as split_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from .protocol import Observed, Request, Response

    Answer = Callable[[Request], Awaitable[Response | Observed]]

TO_BROWSER_MAX: Final = 1024 * 1024
"""Bytes of one message to the browser; a longer one ends the session (Chrome's documentation, native messaging)."""

REQUESTS_MAX: Final = 4
"""Requests served at a time. An exam start needs one; each may open a connection to every endpoint."""

WRITE_SECONDS_MAX: Final = 10.0
"""How long a browser may take to read a message before it counts as gone."""

READ_BYTES: Final = 64 * 1024
"""Bytes read at once: the usual size of a pipe."""

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
    try:
        # Threads of their own, because not every event loop can wait for a browser's pipe, and neither a read nor a
        # write that hangs may keep the other, or the end of the program, waiting.
        with WorkerThread(never_on_loop=True) as writer:
            async with contextlib.aclosing(read_frames(reading)) as frames:
                await _Session(answer, writing, writer).serve(frames)
    except* BrowserGoneError:
        pass  # how every session may end


class _Session:
    """The requests in flight, by id. `writer` is the thread that writes to the file descriptor `writing`."""

    def __init__(self, answer: Answer, writing: int, writer: WorkerThread) -> None:
        self._answer: Final = answer
        self._writing: Final = writing
        self._writer: Final = writer
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
        data = b"".join(map(frame, split_message(message, TO_BROWSER_MAX)))
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await self._writer.run(lambda: _write(self._writing, data))
        except OSError as error:  # the system's, or that of the timeout
            raise BrowserGoneError from error


async def read_frames(descriptor: int) -> AsyncGenerator[bytes, None]:
    """Yield the payloads of frames until the other end closes. Raises `FrameError`."""
    reader = FrameReader(REQUEST_BYTES_MAX)
    with WorkerThread(never_on_loop=True) as thread, contextlib.suppress(OSError):  # a broken pipe ends the stream
        while chunk := await thread.run(lambda: os.read(descriptor, READ_BYTES)):
            reader.feed(chunk)
            while (payload := reader.next()) is not None:
                yield payload


def _write(descriptor: int, data: bytes) -> None:
    """Write all of `data`. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
