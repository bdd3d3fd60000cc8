"""A worker of a fleet: registers with its scheduler, and runs the requests that it is sent (`detector.scan.work`).

Room: fleet. Opens the connections of the probes, and one to the scheduler; starts tasks and ends every one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import WSMsgType

from detector.aio.tasks import cancel_and_wait
from detector.errors import InputError
from detector.scan import work

from .certificates import WORKER
from .connection import connected
from .messages import Parcel, Registration, own_identity

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import aiohttp

LOG: Final = logging.getLogger("detector.scan")

RECONNECT_SECONDS: Final = 60.0
"""How long a worker tries to reach a scheduler that is gone before it ends; its supervisor starts it again."""
RETRY_SECONDS: Final = 1.0
"""Between two tries."""

CONFIGURATIONS_MAX: Final = 16
"""Configurations of clients whose detectors are kept: each scan has one."""


async def serve(
    scheduler: str, context: ssl.SSLContext, *, vantage: str, threads: int, on_registered: Callable[[], None]
) -> None:
    """Work for a scheduler until it has been gone for a minute. `on_registered` is called after each registration.

    Raises `InputError` where the scheduler cannot be reached in the first place, or refuses this worker.
    """
    loop = asyncio.get_running_loop()
    registration = Registration(vantage=vantage, identity=own_identity(), threads=threads)
    give_up = loop.time()
    while True:
        try:
            async with connected(scheduler, WORKER, context) as socket:
                await socket.send_str(msgspec.json.encode(registration).decode())
                on_registered()
                await _Jobs(socket, threads).run()
                LOG.info("the scheduler is gone")
                give_up = loop.time() + RECONNECT_SECONDS
        except InputError:
            if loop.time() >= give_up:
                raise
        await asyncio.sleep(RETRY_SECONDS)


class _Jobs:
    """The jobs of one connection, `threads` of them at once."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, threads: int) -> None:
        self._socket: Final = socket
        self._room: Final = asyncio.Semaphore(threads)
        self._running: Final[dict[int, asyncio.Task[None]]] = {}
        self._detector_for: Final = functools.lru_cache(CONFIGURATIONS_MAX)(work.make_detector)

    async def run(self) -> None:
        """Run jobs until the connection ends."""
        try:
            async for message in self._socket:
                parcel = Parcel.decode(message.data) if message.type is WSMsgType.BINARY else None
                if parcel is None:
                    return
                if parcel.content:
                    self._start(parcel)
                elif parcel.job in self._running:
                    self._running[parcel.job].cancel()
        finally:
            await cancel_and_wait(self._running.values())

    def _start(self, parcel: Parcel) -> None:
        task = asyncio.create_task(self._answer(parcel))
        self._running[parcel.job] = task
        task.add_done_callback(lambda _: self._running.pop(parcel.job, None))

    async def _answer(self, parcel: Parcel) -> None:
        answer = b""
        try:
            async with self._room:
                answer = await work.run(parcel.content, self._detector_for)
        finally:
            with contextlib.suppress(ConnectionError):  # the scheduler is gone, and its clients know
                await self._socket.send_bytes(Parcel(parcel.job, 0, answer).encode())
