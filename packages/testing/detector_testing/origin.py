"""Honest servers on loopback: HTTPS with any certificate and any TLS version, and files over plain HTTP.

Room: testing. Opens sockets on loopback through `streams`. By default an origin answers every HTTP/1.1 request with a
small page that names the host; it counts connections and records requests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import h11

from .pki import Issued
from .streams import LOOPBACK, Listener, PlainStream, Stream, accept_tls, listen, server_context, server_name_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Sequence

    from OpenSSL import SSL

MAXIMUM_BODY: Final = 1 << 20
"""Bytes of a request body that an origin accepts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Response:
    """An HTTP response of a handler."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html; charset=utf-8"),)
    body: bytes = b""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """An HTTP request. Header names are lower case; `host` is the Host header, `server_name` the name in TLS.

    `export_keying_material(label, length, context)` is the connection's TLS exporter (RFC 5705, RFC 8446 section 7.5);
    None over plain HTTP.
    """

    method: str
    target: str
    host: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    server_name: str | None = None
    export_keying_material: Callable[[bytes, int, bytes | None], bytes] | None = None


class Origin(Listener):
    """A running server: its address, and the `requests` so far. `handshakes` counts completed TLS handshakes."""

    def __init__(self) -> None:
        super().__init__()
        self.handshakes = 0
        self.requests: list[Request] = []


def greet(request: Request) -> Response:
    """Answer with a small page that names the host."""
    name = request.host or request.server_name or "nobody"
    return Response(body=f"<!doctype html><title>{name}</title><p>This is {name}.\n".encode())


@contextlib.asynccontextmanager
async def serve_origin(  # noqa: PLR0913 - every option is a property of real servers
    issued: Issued | Sequence[Issued] | Mapping[str, Issued],
    *,
    host: str = LOOPBACK,
    port: int = 0,
    min_version: ssl.TLSVersion | None = None,
    max_version: ssl.TLSVersion | None = None,
    alpn: Sequence[str] = ("http/1.1",),
    ciphers: str = "DEFAULT",
    also: Sequence[Issued] = (),
    ocsp_response: bytes | None = None,
    handler: Callable[[Request], Response] = greet,
) -> AsyncIterator[Origin]:
    """Serve HTTPS on `host` until the block ends.

    `issued` is one certificate; or several, which connections get in turn, as from a CDN; or a mapping from server name
    to certificate, whose first is for unknown names. `min_version` and `max_version` are members of `ssl.TLSVersion`
    from TLS 1.0 up (default: OpenSSL's range). `alpn` are protocol names in order of preference (only http/1.1 is
    implemented). `ciphers`, `also` and `ocsp_response` are those of `server_context`. (For SCTs in the TLS extension
    use `serve_script`: pyOpenSSL cannot send them in TLS 1.3.)

    Raises OSError when the port is taken. An exception of `handler` is raised when the block ends.
    """
    if isinstance(issued, Issued):
        issued = [issued]
    by_name = isinstance(issued, Mapping)
    certificates = issued if isinstance(issued, Mapping) else {str(at): one for at, one in enumerate(issued)}
    if not certificates:
        raise ValueError("an origin needs at least one certificate, as PrivatePKI.issue returns them")
    contexts = {
        name: server_context(
            one,
            min_version=min_version,
            max_version=max_version,
            alpn=alpn,
            ciphers=ciphers,
            also=also,
            ocsp_response=ocsp_response,
        )
        for name, one in certificates.items()
    }
    turns = itertools.cycle(contexts.values())
    first = next(iter(contexts.values()))

    def choose(connection: SSL.Connection) -> None:
        connection.set_context(contexts.get(server_name_of(connection) or "", first))

    if by_name:
        for context in contexts.values():
            context.set_tlsext_servername_callback(choose)
    origin = Origin()

    async def serve(plain: PlainStream) -> None:
        stream = await accept_tls(first if by_name else next(turns), plain)
        origin.handshakes += 1
        await answer(stream, handler, origin.requests, stream.connection)

    async with listen(serve, origin, host=host, port=port):
        yield origin


@contextlib.asynccontextmanager
async def serve_files(
    files: Mapping[str, bytes], *, host: str = LOOPBACK, port: int = 0, content_type: str = "application/pkix-cert"
) -> AsyncIterator[Origin]:
    """Serve `files` (path, such as `/issuer.crt`, to contents) over plain HTTP, as AIA and CRL servers do."""
    origin = Origin()

    def find(request: Request) -> Response:
        if (body := files.get(request.target)) is None:
            return Response(status=404)
        return Response(headers=(("Content-Type", content_type),), body=body)

    async def serve(stream: PlainStream) -> None:
        await answer(stream, find, origin.requests)

    async with listen(serve, origin, host=host, port=port):
        yield origin


async def answer(
    stream: Stream,
    handler: Callable[[Request], Response],
    requests: list[Request],
    connection: SSL.Connection | None = None,
) -> None:
    """Answer HTTP/1.1 requests (RFC 9112) on `stream` until it closes; append each to `requests`."""
    http = h11.Connection(h11.SERVER)
    while (request := await _receive(stream, http, connection)) is not None:
        requests.append(request)
        response = handler(request)
        # A server with a clock sends the time (RFC 9110 section 6.6.1).
        date = email.utils.formatdate(usegmt=True)
        headers = [*response.headers, ("Date", date), ("Content-Length", str(len(response.body)))]
        await stream.write(
            http.send(h11.Response(status_code=response.status, headers=headers))
            + (http.send(h11.Data(data=response.body)) if request.method != "HEAD" else b"")
            + http.send(h11.EndOfMessage())
        )
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            break
        http.start_next_cycle()
    await stream.close()


async def _receive(stream: Stream, http: h11.Connection, connection: SSL.Connection | None) -> Request | None:
    """Read one request with its body; None when the client has closed."""
    head: h11.Request | None = None
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.read())
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAXIMUM_BODY:
                raise h11.RemoteProtocolError("the request body is larger than a test origin accepts", 413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
            return Request(
                method=head.method.decode("ascii"),
                target=head.target.decode("latin-1"),
                host=dict(headers).get("host", ""),
                headers=headers,
                body=body,
                server_name=None if connection is None else server_name_of(connection),
                export_keying_material=None if connection is None else connection.export_keying_material,
            )
        else:
            return None
