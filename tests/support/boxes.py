"""Boxes before a server, on loopback: one that reads one TCP segment of a ClientHello, one that treats each connection
in another way.

Room: tests. Opens sockets on loopback.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from detector_testing.streams import LOOPBACK, Address, Listener, PlainStream, aborting, connect, listen, relay

from .addresses import SEGMENT, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from detector_testing.streams import Stream


async def fail(stream: PlainStream, fault: Fault, alert: int = 50) -> None:
    """End a connection so."""
    if fault is Fault.RESET:
        await stream.reset()
    elif fault is Fault.ALERT:
        await stream.write(bytes((0x15, 3, 1, 0, 2, 2, alert)))
    elif fault is Fault.SILENCE:
        while await stream.read():
            pass


@contextlib.asynccontextmanager
async def serve_box(upstream: Address, fault: Fault, *, alert: int = 50) -> AsyncIterator[Listener]:
    """Relay to `upstream` what begins with a whole TLS record in one segment; end everything else with this fault."""

    async def serve(client: PlainStream) -> None:
        first = await client.read()
        client.unread(first)
        if min(len(first), SEGMENT) < 5 + int.from_bytes(first[3:5], "big"):
            await fail(client, fault, alert)
            return
        server: Stream = await connect(upstream)
        with aborting(server):
            await relay(client, server)

    box = Listener()
    async with listen(serve, box):
        yield box


@contextlib.asynccontextmanager
async def serve_fault(fault: Fault, *, host: str = LOOPBACK, port: int = 0) -> AsyncIterator[Listener]:
    """Take connections, and end them so once something arrives."""

    async def serve(client: PlainStream) -> None:
        await client.read()
        await fail(client, fault)

    server = Listener()
    async with listen(serve, server, host=host, port=port):
        yield server


PASS, FORGE, DROP = "pass", "forge", "drop"
"""What becomes of a connection."""


class Fickle(Listener):
    """Something in the middle; `served` says what became of each connection."""

    def __init__(self) -> None:
        super().__init__()
        self.served: list[str] = []


@contextlib.asynccontextmanager
async def fickle(genuine: Address, forged: Address, script: Sequence[str]) -> AsyncIterator[Fickle]:
    """Treat connection after connection as the script says, the last word of which holds for all further ones."""
    box = Fickle()

    async def serve(client: PlainStream) -> None:
        word = script[min(len(box.served), len(script) - 1)]
        box.served.append(word)
        if word == DROP:
            client.abort()
            return
        server = await connect(genuine if word == PASS else forged)
        with aborting(server):
            await relay(client, server)

    async with listen(serve, box):
        yield box
