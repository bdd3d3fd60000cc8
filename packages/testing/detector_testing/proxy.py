"""Proxies on loopback that decrypt nothing: HTTP CONNECT over TCP or TLS, SOCKS4a, SOCKS5; honest, refusing, or lying.

Room: testing. Opens sockets on loopback through `streams`, and connects only to the addresses in `upstream` and to
loopback. It resolves no name, so nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import enum
import ipaddress
from typing import TYPE_CHECKING, Final

import h11

from .streams import (
    LOOPBACK,
    Address,
    Listener,
    PlainStream,
    aborting,
    accept_tls,
    connect,
    listen,
    relay,
    server_context,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from .pki import Issued
    from .streams import RereadableStream, Stream

ENDLESS_HEADER_CHUNK: Final = 1 << 12
"""Bytes of header written at a time by a proxy that never ends its header."""


class Lie(enum.StrEnum):
    """What a proxy does instead of answering correctly.

    `BODY_WITH_200` sends content after the response that grants the tunnel, which RFC 9110 section 9.3.6 forbids, and
    then tunnels. `OTHER_PROTOCOL` answers HTTP like a SOCKS5 server, and SOCKS like an HTTP server.
    """

    GARBAGE = "garbage"
    BODY_BEFORE_STATUS = "body-before-status"
    BODY_WITH_200 = "body-with-200"
    HANG = "hang"
    CLOSE = "close"
    ENDLESS_HEADER = "endless-header"
    OTHER_PROTOCOL = "other-protocol"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConnectRequest:
    """A CONNECT request (RFC 9110 section 9.3.6); header names are lower case."""

    target: Address
    headers: tuple[tuple[bytes, bytes], ...]


class Proxy(Listener):
    """A running proxy. `targets` are the host and port of every request, `tunnels` counts the tunnels opened.

    `connected` is set by the first connection.
    """

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.scheme = scheme
        self.connected = asyncio.Event()
        self.targets: list[Address] = []
        self.tunnels = 0

    @property
    def url(self) -> str:
        """The URL to configure a client with."""
        return f"{self.scheme}://{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def serve_proxy(  # noqa: PLR0913 - every option is a property of real proxies
    *,
    upstream: Mapping[Address, Address] | None = None,
    require_auth: str | None = None,
    refuse: int | None = None,
    lie: Lie | str | None = None,
    challenges: Sequence[str] = ('Basic realm="exemplar"',),
    tls: Issued | None = None,
    host: str = LOOPBACK,
) -> AsyncIterator[Proxy]:
    """Run an HTTP proxy until the block ends.

    `upstream` maps a requested (host, port) to its real address; loopback addresses need no entry, everything else
    without one gets 502. `require_auth` is `user:password` for Basic authentication, without which the response is 407
    with `challenges` as Proxy-Authenticate headers. `refuse` is the status of every response (403, 502, …). With `tls`
    clients speak TLS to the proxy, which presents that certificate.
    """
    proxy = Proxy("http" if tls is None else "https")
    kind = None if lie is None else Lie(lie)
    context = None if tls is None else server_context(tls, alpn=("http/1.1",))

    async def serve(plain: PlainStream) -> None:
        proxy.connected.set()
        client: RereadableStream = plain if context is None else await accept_tls(context, plain)
        if (request := await receive_connect(client)) is None:
            return
        proxy.targets.append(request.target)
        if require_auth is not None and not _authorized(request, require_auth):
            await respond(client, 407, tuple(("Proxy-Authenticate", challenge) for challenge in challenges))
            return
        if refuse is not None:
            await respond(client, refuse)
            return
        if kind is not None and kind is not Lie.BODY_WITH_200:
            await _lie(client, kind, other=bytes((5, 0xFF)))
            return
        if (server := await _reach(request.target, upstream)) is None:
            await respond(client, 502)
            return
        proxy.tunnels += 1
        body = b"Content-Length: 6\r\n\r\nhello\n" if kind is Lie.BODY_WITH_200 else b"\r\n"
        with aborting(server):
            await client.write(b"HTTP/1.1 200 Connection established\r\n" + body)
            await relay(client, server)

    async with listen(serve, proxy, host=host):
        yield proxy


@contextlib.asynccontextmanager
async def serve_socks(  # noqa: PLR0913 - as `serve_proxy`
    version: int = 5,
    *,
    upstream: Mapping[Address, Address] | None = None,
    require_auth: str | None = None,
    refuse: int | None = None,
    lie: Lie | str | None = None,
    methods: Sequence[int] = (),
    host: str = LOOPBACK,
) -> AsyncIterator[Proxy]:
    """Run a SOCKS proxy until the block ends: `version` 5 (RFC 1928), or 4 with names (SOCKS4a).

    `upstream` and `lie` are those of `serve_proxy`. `require_auth` is `user:password` (RFC 1929), in version 4 only the
    user id; `refuse` is the code of every reply. The proxy insists on the first of the authentication `methods`,
    offered or not.
    """
    proxy = Proxy("socks5" if version == _SOCKS5 else "socks4a")
    kind = None if lie is None else Lie(lie)

    async def serve(client: PlainStream) -> None:
        proxy.connected.set()
        if kind is not None and kind is not Lie.BODY_WITH_200:
            await _exactly(client, 1)
            await _lie(client, kind, other=b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            return
        if (first := await _exactly(client, 1)) != bytes((version,)):
            return  # as real proxies do with other protocols
        client.unread(first)
        receive = _receive_socks5 if version == _SOCKS5 else _receive_socks4
        if (target := await receive(client, require_auth, methods)) is None:
            return
        proxy.targets.append(target)
        server = await _reach(target, upstream) if refuse is None else None
        if server is None:
            await client.write(_socks_reply(version, _FAILED[version] if refuse is None else refuse))
            return
        proxy.tunnels += 1
        with aborting(server):
            await client.write(_socks_reply(version, _GRANTED[version]))
            if kind is Lie.BODY_WITH_200:
                await client.write(b"hello\n")
            await relay(client, server)

    async with listen(serve, proxy, host=host):
        yield proxy


_SOCKS5: Final = 5
_SOCKS4: Final = 4
_GRANTED: Final = {_SOCKS5: 0, _SOCKS4: 90}
_FAILED: Final = {_SOCKS5: 1, _SOCKS4: 91}
_IDENTITY_REFUSED: Final = 93
_USERNAME_PASSWORD: Final = 2
_NO_ACCEPTABLE_METHOD: Final = 0xFF


async def _receive_socks5(client: PlainStream, require_auth: str | None, methods: Sequence[int]) -> Address | None:
    """Negotiate, authenticate and read the request (RFC 1928, RFC 1929); None if it was refused."""
    _, count = await _exactly(client, 2)
    offered = await _exactly(client, count)
    wanted = methods[0] if methods else 0 if require_auth is None else _USERNAME_PASSWORD
    acceptable = bool(methods) or wanted in offered
    await client.write(bytes((_SOCKS5, wanted if acceptable else _NO_ACCEPTABLE_METHOD)))
    if not acceptable:
        return None
    if wanted == _USERNAME_PASSWORD:
        _, length = await _exactly(client, 2)
        name = await _exactly(client, length)
        password = await _exactly(client, (await _exactly(client, 1))[0])
        right = f"{name.decode()}:{password.decode()}" == require_auth
        await client.write(bytes((1, 0 if right else 1)))
        if not right:
            return None
    _, _, _, kind = await _exactly(client, 4)
    if kind == 3:  # noqa: PLR2004 - DOMAINNAME, RFC 1928 section 5
        host = (await _exactly(client, (await _exactly(client, 1))[0])).decode("ascii")
    else:
        host = str(ipaddress.ip_address(await _exactly(client, 4 if kind == 1 else 16)))
    return host, int.from_bytes(await _exactly(client, 2))


async def _receive_socks4(client: PlainStream, require_auth: str | None, methods: Sequence[int]) -> Address | None:  # noqa: ARG001 - the signature of the other version
    """Read the request (SOCKS4a); None if it was refused."""
    _, _, *port = await _exactly(client, 4)
    address = await _exactly(client, 4)
    user = await _until_null(client)
    by_name = address[:3] == bytes(3) and address[3] != 0
    name = await _until_null(client) if by_name else str(ipaddress.ip_address(address))
    if require_auth is not None and user != require_auth:
        await client.write(_socks_reply(_SOCKS4, _IDENTITY_REFUSED))
        return None
    return name, int.from_bytes(bytes(port))


def _socks_reply(version: int, code: int) -> bytes:
    """Encode a reply; its bound address is all zeros."""
    return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)) if version == _SOCKS5 else bytes((0, code, 0, 0, 0, 0, 0, 0))


async def _exactly(client: PlainStream, count: int) -> bytes:
    """Read `count` bytes. Raises ConnectionAbortedError when the client closes before."""
    data = b""
    while len(data) < count:
        if not (more := await client.read()):
            raise ConnectionAbortedError("the client closed the connection within a SOCKS message")
        data += more
    client.unread(data[count:])
    return data[:count]


async def _until_null(client: PlainStream) -> str:
    text = b""
    while (byte := await _exactly(client, 1)) != b"\0":
        text += byte
    return text.decode("utf-8", "replace")


def locate(target: Address, upstream: Mapping[Address, Address]) -> Address | None:
    """Return the real address of `target`: its entry in `upstream`, else itself if on loopback, else None."""
    if target in upstream:
        return upstream[target]
    with contextlib.suppress(ValueError):
        return target if ipaddress.ip_address(target[0]).is_loopback else None
    return None


async def _reach(target: Address, upstream: Mapping[Address, Address] | None) -> PlainStream | None:
    """Connect to `target`; None where it has no address or the connection fails."""
    destination = locate(target, upstream or {})
    with contextlib.suppress(OSError):
        return None if destination is None else await connect(destination)
    return None


async def receive_connect(client: RereadableStream) -> ConnectRequest | None:
    """Read a CONNECT request, and nothing of what follows it.

    Answers any other request with 400 or 405 and returns None. Raises `h11.RemoteProtocolError` for other protocols.
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


async def respond(client: Stream, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
    """Answer with a status and a short page that names it, and announce the end of the connection."""
    body = f"<!doctype html><title>{status}</title>\n".encode()
    fields = (("Content-Type", "text/html"), ("Content-Length", str(len(body))), ("Connection", "close"), *headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    await client.write(f"HTTP/1.1 {status} Refused\r\n{head}\r\n".encode() + body)


def _authorized(request: ConnectRequest, credentials: str) -> bool:
    """Check Basic credentials (RFC 7617)."""
    expected = b"Basic " + base64.b64encode(credentials.encode())
    return (b"proxy-authorization", expected) in request.headers


async def _lie(client: Stream, kind: Lie, other: bytes) -> None:
    match kind:
        case Lie.OTHER_PROTOCOL:
            await client.write(other)
        case Lie.GARBAGE:
            await client.write(bytes(range(256)) * 4)
        case Lie.BODY_BEFORE_STATUS:
            await client.write(b"<!doctype html><title>Sign in</title>\r\nHTTP/1.1 200 OK\r\n\r\n")
        case Lie.ENDLESS_HEADER:
            await client.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
            while True:  # until the client closes and writing fails
                await client.write(b"a" * ENDLESS_HEADER_CHUNK)
        case Lie.HANG:
            while await client.read():
                pass
        case Lie.CLOSE | Lie.BODY_WITH_200:
            pass
