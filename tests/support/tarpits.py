"""Servers in a process of their own that cost their clients time: silent ones, and ones that drip.

    python tests/tarpits.py silent|drip

The port is said on standard output; each line on standard input is answered with how many connections were accepted and
how many of them are still open. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from detector_testing import tls_wire as wire
from detector_testing.tls_wire import ContentType, Extension, HandshakeType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = "127.0.0.1"
BACKLOG = 4096
"""Connections that may wait to be accepted: as many as come at once, so that none waits for another try of TCP."""
DRIP_SECONDS = 0.05


def server_hello() -> bytes:
    """A ServerHello for TLS 1.3 in its record (RFC 8446 section 4.1.3); well over a hundred bytes."""
    shares = wire.extension(Extension.SUPPORTED_VERSIONS, b"\x03\x04") + wire.extension(
        Extension.KEY_SHARE, b"\x00\x1d" + wire.vector(bytes(range(32)), 2)
    )
    body = wire.LEGACY_VERSION + bytes(range(32, 64)) + wire.vector(bytes(32), 1) + b"\x13\x01\x00"
    whole = wire.message(HandshakeType.SERVER_HELLO, body + wire.vector(shares, 2))
    return wire.record(ContentType.HANDSHAKE, whole)


class Tarpit(asyncio.Protocol):
    """One connection: it reads, and sends its bytes when it is asked to."""

    accepted = 0
    open: set[Tarpit] = set()  # noqa: RUF012 - one process has one tarpit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport, self._left = transport, server_hello()
        Tarpit.accepted += 1
        Tarpit.open.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        Tarpit.open.discard(self)

    def drip(self) -> None:
        """Send one byte more, while there is one."""
        byte, self._left = self._left[:1], self._left[1:]
        self._transport.write(byte)


async def serve(kind: str) -> None:
    """Serve until the input ends."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def reported() -> None:
        sys.stdout.write(f"{Tarpit.accepted} {len(Tarpit.open)}\n")
        sys.stdout.flush()

    def read() -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(reported)
        loop.call_soon_threadsafe(over.set)

    server = await loop.create_server(Tarpit, LOOPBACK, 0, backlog=BACKLOG)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=read, daemon=True).start()
    async with server:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), DRIP_SECONDS)
            for tarpit in tuple(Tarpit.open) if kind == "drip" else ():
                tarpit.drip()


class Count(NamedTuple):
    """Connections that were accepted, and those still open."""

    accepted: int
    open: int


class Tarpits:
    """A running process of them."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.address = (LOOPBACK, port)

    async def count(self) -> Count:
        """Ask it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"?\n")
        accepted, still = (await self._process.stdout.readline()).split()
        return Count(int(accepted), int(still))

    async def settled(self) -> Count:
        """Wait until none is open."""
        while (found := await self.count()).open:  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(DRIP_SECONDS)
        return found


@contextlib.asynccontextmanager
async def serve_tarpits(kind: str) -> AsyncIterator[Tarpits]:
    """Run them until the block ends."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, kind, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        yield Tarpits(process, int(await process.stdout.readline()))
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.communicate()


if __name__ == "__main__":
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(sys.argv[1]))
