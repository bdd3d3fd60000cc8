"""An HTTP CONNECT proxy on loopback that decrypts nothing: honest, refusing, or lying.

Room: testing. Opens sockets on loopback through `streams`, and connects only to addresses in the `upstream` it is given
and to loopback itself: a name is never resolved, so nothing can leave the machine.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import enum
import ipaddress
from typing import TYPE_CHECKING, Final

import h11

from .streams import LOOPBACK, Address, Listener, PlainStream, connect, listen, relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ENDLESS_HEADER_CHUNK: Final = 1 << 12
"""Octets of header written at a time by a proxy that never ends its header."""


class Lie(enum.StrEnum):
    """What a proxy does instead of answering CONNECT.

    `BODY_WITH_200` sends content behind the 200, which RFC 9110 section 9.3.6 forbids, and then tunnels.
    """

    GARBAGE = "garbage"
    BODY_BEFORE_STATUS = "body-before-status"
    BODY_WITH_200 = "body-with-200"
    HANG = "hang"
    CLOSE = "close"
    ENDLESS_HEADER = "endless-header"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConnectRequest:
    """A CONNECT request (RFC 9110 section 9.3.6); header names are lower case."""

    target: Address
    headers: tuple[tuple[bytes, bytes], ...]


class Proxy(Listener):
    """A running proxy. `targets` are the host and port of every CONNECT, `tunnels` counts those that were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = 0
        self.targets: list[Address] = []
        self.tunnels = 0

    @property
    def url(self) -> str:
        """What to give a client as its proxy."""
        return f"http://{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def serve_proxy(
    *,
    upstream: Mapping[Address, Address] | None = None,
    require_auth: str | None = None,
    refuse: int | None = None,
    lie: Lie | str | None = None,
    host: str = LOOPBACK,
) -> AsyncIterator[Proxy]:
    """Run a proxy until the block ends.

    `upstream` maps (host, port) as asked for to where it really is; a loopback address needs no entry, everything else
    that has none is answered 502. `require_auth` is `user:password` for Basic authentication, without which the answer
    is 407; `refuse` is the status with which everything is answered (403, 502, …); `lie` is one of `Lie`.
    """
    proxy = Proxy()
    kind = None if lie is None else Lie(lie)

    async def serve(client: PlainStream) -> None:
        proxy.connections += 1
        request = await receive_connect(client)
        if request is None:
            return
        proxy.targets.append(request.target)
        if require_auth is not None and not _authorized(request, require_auth):
            await respond(client, 407, (("Proxy-Authenticate", 'Basic realm="exemplar"'),))
            return
        if refuse is not None:
            await respond(client, refuse)
            return
        if kind is not None and kind is not Lie.BODY_WITH_200:
            await _lie(client, kind)
            return
        destination = locate(request.target, upstream or {})
        try:
            server = await connect(destination) if destination is not None else None
        except OSError:
            server = None
        if server is None:
            await respond(client, 502)
            return
        proxy.tunnels += 1
        body = b"Content-Length: 6\r\n\r\nhello\n" if kind is Lie.BODY_WITH_200 else b"\r\n"
        try:
            await client.write(b"HTTP/1.1 200 Connection established\r\n" + body)
            await relay(client, server)
        finally:
            server.abort()

    async with listen(serve, proxy, host=host):
        yield proxy


def locate(target: Address, upstream: Mapping[Address, Address]) -> Address | None:
    """Say where `target` is: as `upstream` has it, else itself if it is a loopback address, else nowhere."""
    if target in upstream:
        return upstream[target]
    with contextlib.suppress(ValueError):
        return target if ipaddress.ip_address(target[0]).is_loopback else None
    return None


async def receive_connect(client: PlainStream) -> ConnectRequest | None:
    """Read a CONNECT request; what the client sent behind it stays to be read.

    Anything else is answered with 400 or 405 and None. Raises `h11.RemoteProtocolError` for what is not HTTP.
    """
    http = h11.Connection(h11.SERVER)
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await client.read())
    if not isinstance(event, h11.Request):
        return None
    if event.method != b"CONNECT":
        await respond(client, 405)
        return None
    name, separator, port = event.target.decode("latin-1").lower().rpartition(":")
    if not separator or not port.isascii() or not port.isdigit():
        await respond(client, 400)
        return None
    client.unread(http.trailing_data[0])
    return ConnectRequest(target=(name.strip("[]"), int(port)), headers=tuple(event.headers))


async def respond(client: PlainStream, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
    """Answer with a status, a short page that names it, and the end of the connection."""
    body = f"<!doctype html><title>{status}</title>\n".encode()
    fields = (("Content-Type", "text/html"), ("Content-Length", str(len(body))), ("Connection", "close"), *headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    await client.write(f"HTTP/1.1 {status} Refused\r\n{head}\r\n".encode() + body)


def _authorized(request: ConnectRequest, credentials: str) -> bool:
    """Check Basic credentials (RFC 7617)."""
    expected = b"Basic " + base64.b64encode(credentials.encode())
    return (b"proxy-authorization", expected) in request.headers


async def _lie(client: PlainStream, kind: Lie) -> None:
    match kind:
        case Lie.GARBAGE:
            await client.write(bytes(range(256)) * 4)
        case Lie.BODY_BEFORE_STATUS:
            await client.write(b"<!doctype html><title>Sign in</title>\r\nHTTP/1.1 200 OK\r\n\r\n")
        case Lie.ENDLESS_HEADER:
            await client.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
            while True:  # ends when the client closes: writing fails then
                await client.write(b"a" * ENDLESS_HEADER_CHUNK)
        case Lie.HANG:
            while await client.read():
                pass
        case Lie.CLOSE | Lie.BODY_WITH_200:
            pass
