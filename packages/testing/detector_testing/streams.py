"""Streams, servers that end cleanly, and TLS over them: what every part of the hostile world stands on.

Room: testing. Opens sockets, on the address it is given and on no other. TLS is pyOpenSSL over memory BIOs, because it
still speaks TLS 1.0 and RSA-1024 when told to, needs no key files, and lets a middlebox look at the first bytes.
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
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from .pki import Issued

LOOPBACK: Final = "127.0.0.1"

Address = tuple[str, int]
"""Host and port."""

CHUNK: Final = 1 << 16
"""Octets moved at a time: four TLS records of the largest size (RFC 8446 section 5.1)."""

NO_EXTENDED_MASTER_SECRET: Final = 0x1
"""SSL_OP_NO_EXTENDED_MASTER_SECRET (SSL_CTX_set_options(3)), which pyOpenSSL has no name for."""

PEER_MISBEHAVED: Final = (
    ConnectionError,
    SSL.Error,
    TimeoutError,
    asyncio.IncompleteReadError,
    h11.RemoteProtocolError,
)
"""What a client may do to a server without that being the server's failure."""


class Stream(Protocol):
    """A connection, encrypted or not."""

    async def read(self) -> bytes:
        """Return what is there, waiting for at least one octet; nothing at the end."""

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""

    async def close(self) -> None:
        """Say that no more will be sent, then close."""

    def abort(self) -> None:
        """Close at once, whatever has not been sent; does nothing once closed. Cannot be cancelled halfway."""


class RereadableStream(Stream, Protocol):
    """A connection to which what was read too much can be given back."""

    def unread(self, data: bytes) -> None:
        """Put `data` back, to be read again first."""


class PlainStream:
    """A TCP connection. `received` is what was already read from it and has yet to be seen."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: bytes = b"") -> None:
        self._reader = reader
        self._writer = writer
        self._received = received

    async def read(self) -> bytes:
        """Return what is there, waiting for at least one octet; nothing at the end."""
        received, self._received = self._received, b""
        return received or await self._reader.read(CHUNK)

    @property
    def socket(self) -> socket.socket:
        """The socket below, to ask it things; asyncio reads and writes it."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        return raw

    def unread(self, data: bytes) -> None:
        """Put `data` back, to be read again first."""
        self._received = data + self._received

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        if not self._writer.is_closing():  # asyncio's transports bear being written to then, not every loop's do
            self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Close the connection once everything written has been sent."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Close at once, whatever has not been sent; does nothing once closed. Cannot be cancelled halfway."""
        self._writer.transport.abort()

    async def reset(self) -> None:
        """Close with RST instead of FIN (RFC 9293 section 3.6.1): lingering for zero seconds is how to ask for it."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


# struct linger is two ints on POSIX and two unsigned shorts on Windows.
_LINGER_ZERO: Final = struct.pack("hh" if hasattr(socket, "SIO_RCVALL") else "ii", 1, 0)


class TLSStream:
    """One side of a TLS connection over another stream. `connection` is set to accept or to connect."""

    def __init__(self, connection: SSL.Connection, below: Stream) -> None:
        self.connection = connection
        self._below = below
        self._received = b""

    async def handshake(self) -> None:
        """Shake hands. Raises `SSL.Error` when TLS fails, ConnectionError when the peer goes away."""
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
        """Return decrypted octets, waiting for at least one; nothing once the peer has closed."""
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
        """Put `data` back, to be read again first."""
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
        """Close at once, whatever has not been sent; does nothing once closed. Cannot be cancelled halfway."""
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
    """TLS settings of a server that presents `issued`. `ciphers` is an OpenSSL cipher list for TLS 1.2 and older.

    `also` are certificates with keys of other kinds (RSA, ECDSA), between which the client's offer chooses; the
    intermediates of all of them are sent with each. Without `extended_master_secret` it behaves as what was built
    before RFC 7627. `ocsp_response` (DER) is stapled for clients that ask.

    Raises ValueError for a certificate that `cryptography` cannot load, `SSL.Error` for one that does not fit its key.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    # Security level 0: this world has servers with RSA-1024, SHA-1 and TLS 1.0, and weak ones must be servable.
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


def server_name_of(connection: SSL.Connection) -> str | None:
    """Name the client asked for (RFC 6066 section 3), lower case; None when it named none."""
    name = connection.get_servername()
    return None if name is None else name.decode("ascii", "replace").lower()


async def connect(address: Address) -> PlainStream:
    """Connect to `address`. Raises OSError."""
    return PlainStream(*await asyncio.open_connection(*address))


async def accepts(port: int) -> bool:
    """Whether somebody on loopback takes connections to `port`."""
    try:
        stream = await connect((LOOPBACK, port))
    except OSError:
        return False
    await stream.close()
    return True


class Listener:
    """A listening server: its address and the connections it has."""

    def __init__(self) -> None:
        self.host = ""
        self.port = 0
        self.running: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        """Host and port to connect to."""
        return self.host, self.port

    async def settled(self) -> None:
        """Wait until every connection so far has ended, so that what was counted and recorded is final."""
        while self.running:
            await asyncio.wait(tuple(self.running))
            await asyncio.sleep(0)  # let the tasks leave the set


@contextlib.asynccontextmanager
async def listen(
    serve: Callable[[PlainStream], Awaitable[None]], listener: Listener, *, host: str = LOOPBACK, port: int = 0
) -> AsyncIterator[None]:
    """Serve every connection to `host` with `serve` until the block ends; `listener` learns the address.

    Port 0 is any free one.

    What clients do wrong ends their connection only. A failure of `serve` itself is raised when the block ends, so that
    no test passes over it. On leaving, every connection is cut and nothing is left open.
    """
    running = listener.running
    failures: list[BaseException] = []

    async def run(writer: asyncio.StreamWriter, stream: PlainStream) -> None:
        try:
            with contextlib.suppress(*PEER_MISBEHAVED):
                await serve(stream)
                await stream.close()
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def ended(writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        writer.transport.abort()  # a task that was cancelled before its first step has no `finally` that would
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
        await asyncio.sleep(0)  # aborted transports close their sockets in the next turn of the loop
    if failures:
        raise failures[0]


async def _stop_accepting(server: asyncio.Server) -> None:
    """Have a server take no more connections, and those that it took be known to it.

    `asyncio.Server.close` forgets what was accepted in the same turn of the loop (CPython issue 109564): nobody serves
    it, and nobody closes it.
    """
    loop = server.get_loop()
    for listening in server.sockets:
        with contextlib.suppress(NotImplementedError):  # Windows' loop accepts in another way
            loop.remove_reader(listening.fileno())
    for _ in range(2):  # in the first turn a connection gets its transport, in the second its protocol is told
        await asyncio.sleep(0)


def as_it_is(data: bytes) -> bytes:
    """Change nothing."""
    return data


async def relay(
    client: Stream,
    server: Stream,
    overhear: Callable[[bytes], None] | None = None,
    rewrite: Callable[[bytes], bytes] = as_it_is,
) -> None:
    """Carry octets both ways until either side ends, then close both.

    `overhear` is shown what the client sends, `rewrite` says what the client gets instead of what the server sends.

    Whoever opened a side aborts it afterwards as well: cancellation can cut the closing short.
    """

    def shown(data: bytes) -> bytes:
        if overhear is not None:
            overhear(data)
        return data

    async def carry(source: Stream, sink: Stream, change: Callable[[bytes], bytes]) -> None:
        while data := await source.read():
            await sink.write(change(data))

    tasks = [
        asyncio.ensure_future(carry(client, server, shown)),
        asyncio.ensure_future(carry(server, client, rewrite)),
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
