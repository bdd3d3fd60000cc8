"""Proxies on loopback that decrypt nothing: HTTP CONNECT over TCP or TLS, SOCKS4a, SOCKS5; honest, refusing, or lying.

Room: testing. Opens sockets on loopback through `streams`, and connects only to addresses in the `upstream` it is given
and to loopback itself: a name is never resolved, so nothing can leave the machine.
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
from OpenSSL import SSL

from .streams import LOOPBACK, Address, Listener, PlainStream, TLSStream, connect, listen, relay, server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from .pki import Issued
    from .streams import RereadableStream, Stream

ENDLESS_HEADER_CHUNK: Final = 1 << 12
"""Octets of header written at a time by a proxy that never ends its header."""


class Lie(enum.StrEnum):
    """What a proxy does instead of answering.

    `BODY_WITH_200` sends content behind the answer that grants the tunnel, which RFC 9110 section 9.3.6 forbids, and
    then tunnels. `OTHER_PROTOCOL` answers HTTP as a SOCKS5 server does, and SOCKS as an HTTP server does.
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
    """A running proxy. `targets` are the host and port of every request, `tunnels` counts those that were opened.

    `connected` is set with the first connection.
    """

    def __init__(self, scheme: str = "http") -> None:
        super().__init__()
        self.scheme = scheme
        self.connections = 0
        self.connected = asyncio.Event()
        self.targets: list[Address] = []
        self.tunnels = 0

    @property
    def url(self) -> str:
        """What to give a client as its proxy."""
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

    `upstream` maps (host, port) as asked for to where it really is; a loopback address needs no entry, everything else
    that has none is answered 502. `require_auth` is `user:password` for Basic authentication, without which the answer
    is 407 with `challenges` as Proxy-Authenticate headers; `refuse` is the status with which everything is answered
    (403, 502, …); `lie` is one of `Lie`. With `tls` clients speak TLS to the proxy, which presents that certificate.
    """
    proxy = Proxy("http" if tls is None else "https")
    kind = None if lie is None else Lie(lie)
    context = None if tls is None else server_context(tls, alpn=("http/1.1",))

    async def serve(plain: PlainStream) -> None:
        proxy.connections += 1
        proxy.connected.set()
        client: RereadableStream = plain
        if context is not None:
            connection = SSL.Connection(context, None)
            connection.set_accept_state()
            client = TLSStream(connection, plain)
            await client.handshake()
        request = await receive_connect(client)
        if request is None:
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

    `upstream` and `lie` as in `serve_proxy`. `require_auth` is `user:password` (RFC 1929), in version 4 the user id
    alone; `refuse` is the reply code that everything gets. `methods` are authentication methods of which the proxy
    insists on the first, whether it was offered or not.
    """
    proxy = Proxy("socks5" if version == _SOCKS5 else "socks4a")
    kind = None if lie is None else Lie(lie)

    async def serve(client: PlainStream) -> None:
        proxy.connections += 1
        proxy.connected.set()
        if kind is not None and kind is not Lie.BODY_WITH_200:
            await _exactly(client, 1)
            await _lie(client, kind, other=b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            return
        if (first := await _exactly(client, 1)) != bytes((version,)):
            return  # as real ones do with what is not for them
        client.unread(first)
        receive = _receive_socks5 if version == _SOCKS5 else _receive_socks4
        target = await receive(client, require_auth, methods)
        if target is None:
            return
        proxy.targets.append(target)
        destination = None if refuse is not None else locate(target, upstream or {})
        try:
            server = await connect(destination) if destination is not None else None
        except OSError:
            server = None
        if server is None:
            await client.write(_socks_reply(version, _FAILED[version] if refuse is None else refuse))
            return
        proxy.tunnels += 1
        try:
            await client.write(_socks_reply(version, _GRANTED[version]))
            if kind is Lie.BODY_WITH_200:
                await client.write(b"hello\n")
            await relay(client, server)
        finally:
            server.abort()

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
    """Greet, authenticate and read the request (RFC 1928, RFC 1929); None once it was refused."""
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


async def _receive_socks4(client: PlainStream, require_auth: str | None, methods: Sequence[int]) -> Address | None:  # noqa: ARG001 - as the other version
    """Read the request (SOCKS4a); None once it was refused."""
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
    """Answer a request; the bound address says nothing."""
    return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)) if version == _SOCKS5 else bytes((0, code, 0, 0, 0, 0, 0, 0))


async def _exactly(client: PlainStream, count: int) -> bytes:
    """Read `count` octets. Raises ConnectionAbortedError when the client closes before."""
    data = b""
    while len(data) < count:
        if not (more := await client.read()):
            raise ConnectionAbortedError("the client closed the connection within a SOCKS message")
        data += more
    client.unread(data[count:])
    return data[:count]


async def _until_null(client: PlainStream) -> str:
    text = b""
    while (octet := await _exactly(client, 1)) != b"\0":
        text += octet
    return text.decode("utf-8", "replace")


def locate(target: Address, upstream: Mapping[Address, Address]) -> Address | None:
    """Say where `target` is: as `upstream` has it, else itself if it is a loopback address, else nowhere."""
    if target in upstream:
        return upstream[target]
    with contextlib.suppress(ValueError):
        return target if ipaddress.ip_address(target[0]).is_loopback else None
    return None


async def receive_connect(client: RereadableStream) -> ConnectRequest | None:
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


async def respond(client: Stream, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
    """Answer with a status, a short page that names it, and the end of the connection."""
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
            while True:  # ends when the client closes: writing fails then
                await client.write(b"a" * ENDLESS_HEADER_CHUNK)
        case Lie.HANG:
            while await client.read():
                pass
        case Lie.CLOSE | Lie.BODY_WITH_200:
            pass
