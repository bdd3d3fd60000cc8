"""Accepts connections one by one, and no more than there is room for: the others wait in the system's queue.

Room: aio. Opens listening sockets where its caller says.

A server that accepts everything has to reset what it cannot serve, and a client takes that for an attack or an outage.
One that stops accepting lets it wait: in the backlog, and past that by sending its SYN again (RFC 9293 section 3.8.3).
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from .tasks import cancel_and_wait, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Serve = Callable[[socket.socket], Awaitable[None]]

BACKLOG: Final = 4096
"""Connections that the kernel queues until they are accepted: Linux's own limit (net.core.somaxconn since 5.4)."""

PORT_MAX: Final = 65535
"""Largest TCP port number (RFC 9293 section 3.1)."""

RETRY_SECONDS: Final = 0.1
"""Wait after the system refused a connection, as without free file descriptors: until another one ends."""


async def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for each address of `host`. Raises `OSError`, `OverflowError` or `UnicodeError`."""
    if not 0 <= port <= PORT_MAX:
        raise OverflowError("port")  # getaddrinfo would take it modulo 65536
    infos = await run_in_thread(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    )
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((info[0], info[4]) for info in infos):
            sockets.append(socket.create_server(address, family=family, backlog=BACKLOG))
            sockets[-1].setblocking(False)  # noqa: FBT003 - socket.setblocking takes its flag by position
    except OSError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


class Accepting:
    """Accepts from listening sockets until `stop`: each connection is passed to `serve`, which waits for room for it.

    No other connection is accepted meanwhile. `refused` is called where the system has no room: for a connection that
    it could not give us.
    """

    def __init__(self, sockets: list[socket.socket], serve: Serve, *, refused: Callable[[], None]) -> None:
        self._sockets: Final = sockets
        self._serve: Final = serve
        self._refused: Final = refused
        self._one_at_a_time: Final = asyncio.Lock()
        self._tasks: Final = [asyncio.create_task(self._accept(listening)) for listening in sockets]

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:
                self._refused()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                async with self._one_at_a_time:
                    await self._serve(connection)
            except OSError:  # the client is gone already
                connection.close()
            except BaseException:  # cancellation too: the socket must not outlive this; nothing is swallowed
                connection.close()
                raise

    async def stop(self) -> None:
        """Accept no more, and close the listening sockets."""
        await cancel_and_wait(self._tasks)
        for listening in self._sockets:
            listening.close()
