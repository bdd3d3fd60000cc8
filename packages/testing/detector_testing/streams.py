"""Byte streams, TLS over them, and servers that stop cleanly: the basis of every server of the kit.

Room: testing. Opens sockets only on the addresses it is given. TLS is pyOpenSSL over memory BIOs: it still speaks
TLS 1.0 and RSA-1024, needs no key files, and lets a middlebox read the first bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol

import h11
from cryptography import x509
from OpenSSL import SSL

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from .pki import Issued

LOOPBACK: Final = "127.0.0.1"

Address = tuple[str, int]
"""Host and port."""

CHUNK: Final = 1 << 16
"""Bytes moved at a time: four TLS records of the largest size (RFC 8446 section 5.1)."""

NO_EXTENDED_MASTER_SECRET: Final = 0x1
"""SSL_OP_NO_EXTENDED_MASTER_SECRET (SSL_CTX_set_options(3)), which pyOpenSSL does not name."""

PEER_MISBEHAVED: Final = (
    ConnectionError,
    SSL.Error,
    TimeoutError,
    asyncio.IncompleteReadError,
    h11.RemoteProtocolError,
)
"""Exceptions caused by the peer, which are no failure of the server."""


class Stream(Protocol):
    """A connection, encrypted or not."""

    async def read(self) -> bytes:
        """Return the bytes available, at least one; no bytes at the end of the stream."""

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""

    async def close(self) -> None:
        """Send the end of the stream, then close."""

    def abort(self) -> None:
        """Close at once and discard unsent data; idempotent, and cannot be cancelled halfway."""


class RereadableStream(Stream, Protocol):
    """A stream that takes back bytes it has returned."""

    def unread(self, data: bytes) -> None:
        """Put `data` back; the next `read` returns it."""


class PlainStream:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received = b""

    async def read(self) -> bytes:
        """Return the bytes available, at least one; no bytes at the end of the stream."""
        received, self._received = self._received, b""
        return received or await self._reader.read(CHUNK)

    @property
    def socket(self) -> socket.socket:
        """The socket, for options; asyncio reads and writes it."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        return raw

    def unread(self, data: bytes) -> None:
        """Put `data` back; the next `read` returns it."""
        self._received = data + self._received

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        if not self._writer.is_closing():  # asyncio's transports accept writes then, other loops' do not
            self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Close the connection once everything written has been sent."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Close at once and discard unsent data; idempotent, and cannot be cancelled halfway."""
        self._writer.transport.abort()

    async def reset(self) -> None:
        """Close with RST instead of FIN (RFC 9293 section 3.6.1), which lingering for zero seconds does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


# struct linger is two ints on POSIX and two unsigned shorts on Windows.
_LINGER_ZERO: Final = struct.pack("hh" if hasattr(socket, "SIO_RCVALL") else "ii", 1, 0)


class TLSStream:
    """One side of a TLS connection over another stream; `connection` is in accept or connect state."""

    def __init__(self, connection: SSL.Connection, below: Stream) -> None:
        self.connection = connection
        self._below = below
        self._received = b""

    async def handshake(self) -> None:
        """Perform the handshake. Raises `SSL.Error` when TLS fails, ConnectionError when the peer closes."""
        while True:
            try:
                self.connection.do_handshake()
            except SSL.WantReadError:
                await self._flush()
                if not await self._fill():
                    raise ConnectionAbortedError("the peer closed the connection during the TLS handshake") from None
            except SSL.Error:
                await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return

    async def read(self) -> bytes:
        """Return decrypted bytes, at least one; no bytes once the peer has closed."""
        if received := self._received:
            self._received = b""
            return received
        while True:
            try:
                data = self.connection.recv(CHUNK)
            except SSL.WantReadError:
                await self._flush()
                if not await self._fill():
                    return b""
            except SSL.ZeroReturnError:
                return b""
            else:
                await self._flush()
                return data

    def unread(self, data: bytes) -> None:
        """Put `data` back; the next `read` returns it."""
        self._received = data + self._received

    async def write(self, data: bytes) -> None:
        """Encrypt and send all of `data`."""
        for start in range(0, len(data), CHUNK):
            self.connection.sendall(data[start : start + CHUNK])
            await self._flush()

    async def close(self) -> None:
        """Send close_notify (RFC 8446 section 6.1), then close."""
        with contextlib.suppress(SSL.Error, ConnectionError):
            self.connection.shutdown()
            await self._flush()
        await self._below.close()

    def abort(self) -> None:
        """Close at once and discard unsent data; idempotent, and cannot be cancelled halfway."""
        self._below.abort()

    async def _flush(self) -> None:
        while True:
            try:
                data = self.connection.bio_read(CHUNK)
            except SSL.WantReadError:
                return
            await self._below.write(data)

    async def _fill(self) -> bool:
        data = await self._below.read()
        if data:
            self.connection.bio_write(data)
        return bool(data)


def server_context(  # noqa: PLR0913 - keyword-only past the certificate; each is a property of real servers
    issued: Issued,
    *,
    min_version: ssl.TLSVersion | None = None,
    max_version: ssl.TLSVersion | None = None,
    alpn: Sequence[str] = (),
    ciphers: str = "DEFAULT",
    also: Sequence[Issued] = (),
    extended_master_secret: bool = True,
    ocsp_response: bytes | None = None,
) -> SSL.Context:
    """Configure a TLS server that presents `issued`. `ciphers` is an OpenSSL cipher list for TLS 1.2 and older.

    `also` are certificates with keys of other kinds (RSA, ECDSA), of which the client's offer selects one; each is
    sent with the intermediates of all. Without `extended_master_secret` the server predates RFC 7627.
    `ocsp_response` (DER) is stapled on request.

    Raises ValueError for a certificate that `cryptography` cannot load, `SSL.Error` for one that its key does not fit.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    # Security level 0 permits RSA-1024, SHA-1 and TLS 1.0.
    context.set_cipher_list(f"{ciphers}:@SECLEVEL=0".encode())
    context.set_min_proto_version(0 if min_version is None else int(min_version))
    context.set_max_proto_version(0 if max_version is None else int(max_version))
    if not extended_master_secret:
        context.set_options(NO_EXTENDED_MASTER_SECRET)
    for one in (issued, *also):
        context.use_certificate(x509.load_der_x509_certificate(one.leaf))
        for certificate in one.chain[1:]:
            context.add_extra_chain_cert(x509.load_der_x509_certificate(certificate))
        context.use_privatekey(one.key)
    if ocsp_response is not None:
        context.set_ocsp_server_callback(lambda _connection, _data: ocsp_response)
    served = [name.encode() for name in alpn]
    context.set_alpn_select_callback(
        lambda _connection, offered: next((name for name in served if name in offered), SSL.NO_OVERLAPPING_PROTOCOLS)
    )
    return context


async def accept_tls(context: SSL.Context, below: Stream) -> TLSStream:
    """Perform the server's side of a handshake over `below`."""
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    stream = TLSStream(connection, below)
    await stream.handshake()
    return stream


def server_name_of(connection: SSL.Connection) -> str | None:
    """Return the server name the client asked for (RFC 6066 section 3) in lower case; None without one."""
    name = connection.get_servername()
    return None if name is None else name.decode("ascii", "replace").lower()


async def connect(address: Address) -> PlainStream:
    """Connect to `address`. Raises OSError."""
    return PlainStream(*await asyncio.open_connection(*address))


async def accepts(port: int) -> bool:
    """Whether `port` on loopback accepts connections."""
    try:
        stream = await connect((LOOPBACK, port))
    except OSError:
        return False
    await stream.close()
    return True


class Listener:
    """A listening server. `connections` counts accepted TCP connections; `running` are those still open."""

    def __init__(self) -> None:
        self.host = ""
        self.port = 0
        self.connections = 0
        self.running: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        """Host and port to connect to."""
        return self.host, self.port

    async def settled(self) -> None:
        """Wait until every connection so far has ended, so that counts and records are final."""
        while self.running:
            await asyncio.wait(tuple(self.running))
            await asyncio.sleep(0)  # let the tasks leave the set


@contextlib.asynccontextmanager
async def listen(
    serve: Callable[[PlainStream], Awaitable[None]], listener: Listener, *, host: str = LOOPBACK, port: int = 0
) -> AsyncIterator[None]:
    """Serve every connection to `host` with `serve` until the block ends; sets the address of `listener`.

    Port 0 is any free one. An error of the peer ends its connection only. An exception of `serve` itself is raised when
    the block ends, so that no test misses it. At the end every connection is aborted.
    """
    running = listener.running
    failures: list[BaseException] = []

    async def run(writer: asyncio.StreamWriter, stream: PlainStream) -> None:
        try:
            with contextlib.suppress(*PEER_MISBEHAVED):
                listener.connections += 1
                await serve(stream)
                await stream.close()
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def ended(writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        writer.transport.abort()  # a task that is cancelled before its first step runs no `finally`
        running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            failures.append(failure)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)  # so that what was written has left before a reset follows
        task = asyncio.get_running_loop().create_task(run(writer, PlainStream(reader, writer)))
        running.add(task)
        task.add_done_callback(functools.partial(ended, writer))

    server = await asyncio.start_server(accept, host, port)
    try:
        listener.host, listener.port = server.sockets[0].getsockname()[:2]
        yield
    finally:
        await _stop_accepting(server)
        server.close()
        cut = tuple(running)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)  # aborted transports close their sockets in the next iteration of the loop
    if failures:
        raise failures[0]


async def _stop_accepting(server: asyncio.Server) -> None:
    """Stop accepting connections, and let the server register those it has accepted.

    `asyncio.Server.close` loses connections accepted in the same iteration of the loop (CPython issue 109564): they are
    neither served nor closed.
    """
    loop = server.get_loop()
    for listening in server.sockets:
        with contextlib.suppress(NotImplementedError):  # Windows' loop has no readers
            loop.remove_reader(listening.fileno())
    for _ in range(2):  # a connection gets its transport in the first iteration, its protocol in the second
        await asyncio.sleep(0)


def unchanged(data: bytes) -> bytes:
    """Return `data` unchanged."""
    return data


@contextlib.contextmanager
def aborting(stream: Stream) -> Iterator[None]:
    """Abort `stream` when the block ends."""
    try:
        yield
    finally:
        stream.abort()


async def relay(
    client: Stream,
    server: Stream,
    to_server: Callable[[bytes], bytes] = unchanged,
    to_client: Callable[[bytes], bytes] = unchanged,
) -> None:
    """Relay bytes both ways, each chunk as the function for its direction returns it, until either side ends.

    Closes both sides. The caller must abort the ones it opened as well, because cancellation can interrupt the closing.
    """

    async def carry(source: Stream, sink: Stream, change: Callable[[bytes], bytes]) -> None:
        while data := await source.read():
            await sink.write(change(data))

    tasks = [
        asyncio.ensure_future(carry(client, server, to_server)),
        asyncio.ensure_future(carry(server, client, to_client)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await server.close()
        await client.close()
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, PEER_MISBEHAVED):
            raise outcome
