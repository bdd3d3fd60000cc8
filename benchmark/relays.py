"""Two relays in front of the origin: one holds all handshakes until released, one adds a delay.

    python -m benchmark.relays hold COUNT PORT
    python -m benchmark.relays late SECONDS PORT

A process of its own, which listens on every IPv4 address of this machine and prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

from .attempts import raise_file_limit
from .origin import BACKLOG

AT_ONCE: Final = 64
"""Held connections that are completed concurrently, so that the origin is not flooded."""


class _Below(asyncio.Protocol):
    """The connection to the origin."""

    def __init__(self, above: _Late | _Held) -> None:
        self._above = above

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._above.answer(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._above.finish()


class _Late(asyncio.Protocol):
    """Relays bytes half a round trip late, each way, in order."""

    def __init__(self, seconds: float, port: int) -> None:
        self._half = seconds / 2
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._waiting = [b""]
        self._below: _Below | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        _, self._below = await self._loop.create_connection(lambda: _Below(self), "127.0.0.1", self._port)
        self._below.transport.write(b"".join(self._waiting))
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._half, self._pass, data)

    def _pass(self, data: bytes) -> None:
        if self._below is None:
            self._waiting.append(data)
        else:
            self._below.transport.write(data)

    def answer(self, data: bytes) -> None:
        self._loop.call_later(self._half, self._transport.write, data)

    def finish(self) -> None:
        self._loop.call_later(self._half, self._transport.close)

    def connection_lost(self, _: Exception | None) -> None:
        self._task.cancel()
        if self._below is not None:
            self._below.transport.close()


class _Room:
    """The state that held connections share."""

    def __init__(self, count: int, port: int) -> None:
        self.missing = count
        self.port = port
        self.full = asyncio.Event()
        self.open = asyncio.Event()
        self.turns = asyncio.Semaphore(AT_ONCE)

    def entered(self) -> None:
        self.missing -= 1
        if self.missing == 0:
            self.full.set()


class _Held(asyncio.Protocol):
    """Receives a hello and sends nothing until released; then relays."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self._hello = bytearray()
        self._below: _Below | None = None
        self._task: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if self._below is not None:
            self._below.transport.write(data)
            return
        self._hello += data
        if self._task is None:
            self._room.entered()
            self._task = asyncio.get_running_loop().create_task(self._carry())

    async def _carry(self) -> None:
        await self._room.open.wait()
        async with self._room.turns:
            _, below = await asyncio.get_running_loop().create_connection(
                lambda: _Below(self), "127.0.0.1", self._room.port
            )
            below.transport.write(bytes(self._hello))
            self._below = below
            await self._gone.wait()

    def answer(self, data: bytes) -> None:
        self._transport.write(data)

    def finish(self) -> None:
        self._gone.set()
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._gone.set()
        if self._below is not None:
            self._below.transport.close()


async def late(seconds: float, port: int) -> None:
    """Relay until standard input ends."""
    await _listen(lambda: _Late(seconds, port))
    await _line()


async def hold(count: int, port: int) -> None:
    """Hold `count` connections, print `full`, and release them after a line on standard input."""
    room = _Room(count, port)
    await _listen(lambda: _Held(room))
    await room.full.wait()
    print("full", flush=True)
    await _line()
    room.open.set()
    await _line()


async def _listen(make: Any) -> None:  # noqa: ANN401 - a factory of protocols, whose type asyncio keeps to itself
    server = await asyncio.get_running_loop().create_server(make, "0.0.0.0", 0, backlog=BACKLOG)  # noqa: S104 - all addresses of 127/8 are listened on, in a benchmark alone
    print(server.sockets[0].getsockname()[1], flush=True)


async def _line() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def main() -> None:
    """Run from the command line."""
    raise_file_limit()
    what, number, port = sys.argv[1:]
    asyncio.run(late(float(number), int(port)) if what == "late" else hold(int(number), int(port)))


if __name__ == "__main__":
    main()
