"""A witness: ends TLS itself and signs what it sees of each connection (docs/witness.md).

Room: witness. Opens sockets, reads the clock it is given, judges nothing.

    witness = Witness(keys)
    async with serve(witness, tls=tls_context("chain.pem", "key.pem"), port=8443) as server: ...
    async with serve(witness, tls=…, application=exam_platform): ...        # an application of its own behind it

From a client's first octet to its last:

    TCP ─▶ _Handshaking (OpenSSL on memory buffers, ClientHello kept) ─▶ TLSTransport ─▶ _Serving (limits) ─▶ aiohttp

TLS has to end here: what is signed is this process's side of the session. The answer of the witness comes before any
route and middleware of the application, so that none of them can change or refuse it.

Nobody is waited for without a limit (`Limits`), and every limit is one that an honest client on a bad line keeps. A
connection is *waiting* while the next step is its client's: its handshake, the head of a request, the next request.
When there are as many connections as may be, a newcomer takes the place of the one that has been waiting the longest,
if that has been long; so clients that only hold connections open keep nobody out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from detector.errors import ServingError
from detector.model import Record
from detector.probe.tls.codepoints import CIPHER_SUITES, GROUPS, TLS_1_2, TLS_1_3, VERSIONS
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.reader import WireError
from detector.probe.tls.transport import TLSTransport
from detector.probe.tls.wire import Wire
from detector.session.session import utc_now
from detector.trust import witness_statement
from detector.trust.witness_statement import HelloSeen, Negotiated, Statement

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SIGNING_KEYS_MAX: Final = 2
"""Keys at once: the one in use, and the one it is being exchanged with or for."""

CIPHERS_TLS_1_2: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Forward secret and authenticated (RFC 9325 section 4.2); TLS 1.3 suites are OpenSSL's default."""

PEM_OCTETS_MAX: Final = 1024 * 1024
"""Octets read of a certificate or key file; a chain has under 20 KiB."""

SERVER_NAME_OCTETS_MAX: Final = 255
"""Octets of a server name that are repeated in a statement: no DNS name is longer (RFC 1035 section 2.3.4)."""

PROXY_HEADERS_MAX: Final = 16
PROXY_HEADER_CHARACTERS_MAX: Final = 256
"""How many proxy headers a statement repeats, and how much of each: it must stay far below what a client reads."""

READ_OCTETS: Final = 64 * 1024
"""Octets taken from OpenSSL's output buffer at once; only a buffer size."""

BACKLOG: Final = 1024
"""Connections that the kernel holds until they are accepted: as many as a whole exam hall opens in one second."""

LOG: Final = logging.getLogger("detector.witness")
"""Faults of the application. What clients do wrong is counted, not logged, and no address is ever written."""

_TELLS_OF_THE_CLIENT: Final = frozenset(
    {
        "forwarded",  # RFC 7239: holds the client's address
        "x-real-ip",
        "x-client-ip",
        "client-ip",
        "true-client-ip",
        "x-cluster-client-ip",
        "x-originating-ip",
        "x-remote-ip",
        "z-forwarded-for",
        "x-authenticated-user",
        "x-authenticated-groups",
    }
)
"""Headers written by intermediaries whose values are addresses or names of people: they are named, not repeated."""

_FORWARDED: Final = "x-forwarded-"
"""What the rest of the second kind begin with."""

_HEAD_ENDS: Final = (b"\r\n\r\n", b"\n\n")
"""The empty line behind a head (RFC 9112 section 2.1), and what some clients make of it (section 2.2)."""

_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
"""RFC 6585 section 5."""

_SEEN: Final = "detector_witness_seen"
_SERVING: Final = "detector_witness_serving"
"""Extra facts of our transports, by which a request finds its connection."""


class Limits(Record, frozen=True, kw_only=True):
    """What clients may cost. Seconds unless the name says otherwise.

    `connections` at once, below the usual limit of 1024 open files. `patience` is how long a connection may be waiting
    before a newcomer may take its place. `handshake` bounds the whole TLS handshake and `handshake_octets` what a
    client may send for it (a ClientHello has 2 KiB); `head` a request's head from its first octet to its last, and
    `head_octets` its size; `idle` the time between requests; `stall` the time in which a client that is being answered
    takes nothing, or sends nothing of a body that it announced. `requests` is the number on one connection. `shutdown`
    is how long requests that are being answered may take once the server stops.
    """

    connections: int = 900
    patience: float = 2.0
    handshake: float = 10.0
    handshake_octets: int = 32 * 1024
    head: float = 10.0
    head_octets: int = 64 * 1024
    idle: float = 60.0
    stall: float = 20.0
    requests: int = 1000
    shutdown: float = 10.0


DEFAULT_LIMITS: Final = Limits()


class Seen(NamedTuple):
    """What the witness's end of one connection is: what every statement about it says.

    `exporter` is empty where the session has none that is unique, and None where that could not be found out.
    """

    exporter: bytes | None
    client_hello: HelloSeen
    tls: Negotiated
    server_name: str | None
    peer: str | None


class Counts:
    """What happened since the server started. Numbers only; nothing about anybody."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0
        self.displaced = 0
        self.failed_handshakes = 0
        self.timed_out = 0
        self.requests = 0


class Witness:
    """Answers for the connections it sees, with one or two signing keys: during a rotation both sign.

    The address of the client goes into statements only with `peer_address`. `clock` gives the time (aware, UTC).

    Raises ValueError for another number of keys.
    """

    def __init__(
        self,
        keys: Sequence[Ed25519PrivateKey],
        *,
        peer_address: bool = False,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        if not 1 <= len(keys) <= SIGNING_KEYS_MAX:
            raise ValueError(f"a witness signs with one key, or with two during a rotation; {len(keys)} were given")
        self._keys = tuple(keys)
        self._peer_address = peer_address
        self._clock = clock

    def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer a request for `protocol.PATH` on a connection of this server."""
        if request.method != hdrs.METH_GET:
            return _refusal(405, "A witness is asked with GET.", {hdrs.ALLOW: hdrs.METH_GET})
        nonces = request.query.getall("nonce", [])
        if len(nonces) != 1 or witness_statement.read_nonce(nonces[0]) is None:
            return _refusal(
                400,
                f"A witness is asked with one nonce of {witness_statement.NONCE_OCTETS} bytes, as unpadded base64url.",
            )
        seen = None if request.transport is None else request.transport.get_extra_info(_SEEN)
        if not isinstance(seen, Seen):
            return _refusal(404, "There is no witness here: TLS of this connection ends somewhere else.")
        if seen.exporter is None:
            return _refusal(503, "This witness could not read its own handshake; nothing is said about it.")
        statement = Statement(
            nonce=nonces[0],
            exporter=seen.exporter,
            client_hello=seen.client_hello,
            tls=seen.tls,
            server_name=seen.server_name,
            proxy_headers=proxy_headers(request.headers.items()),
            time=self._clock(),
            peer=seen.peer if self._peer_address else None,
        )
        body = witness_statement.sign(statement, self._keys)
        return web.Response(body=body, content_type="application/json", headers=_NOT_KEPT)


_NOT_KEPT: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-store", hdrs.SERVER: "tls-witness"}
"""What every answer of the witness says: it is for this connection and this moment."""


def _refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{sentence}\n", headers={**_NOT_KEPT, **(headers or {})})


def proxy_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers that only intermediaries write: names in lower case, values bounded and printable.

    Values that would tell of the client, such as the address inside a school's network, are left empty.
    """
    found = []
    for name, value in headers:
        lower = name.lower()
        if lower in witness_statement.NAMES_A_PROXY:
            printable = value.encode("ascii", "backslashreplace").decode("ascii")
            found.append((lower, printable[:PROXY_HEADER_CHARACTERS_MAX]))
        elif lower in _TELLS_OF_THE_CLIENT or lower.startswith(_FORWARDED):
            found.append((lower[:PROXY_HEADER_CHARACTERS_MAX], ""))
    return tuple(found[:PROXY_HEADERS_MAX])


# TLS


class _NoCommonProtocolError(Exception):
    """The client offers protocols, and HTTP/1.1 is not among them."""


def _choose_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Speak HTTP/1.1 only; raising makes OpenSSL send no_application_protocol (RFC 7301 section 3.2)."""
    if b"http/1.1" not in offered:
        raise _NoCommonProtocolError
    return b"http/1.1"


def tls_context(certificate: str | Path, key: str | Path) -> SSL.Context:
    """TLS settings of a witness: TLS 1.3 and 1.2, no resumption, no renegotiation, HTTP/1.1 only.

    `certificate` is a PEM file with the chain, leaf first; `key` a PEM file with its private key. Raises
    `ServingError` that names the file.
    """
    chain_pem, key_pem = _read(certificate, "Certificate"), _read(key, "Key")
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
    except ValueError:
        raise _unusable("Certificate", certificate, "no PEM certificate in it, or a damaged one") from None
    try:
        private_key = load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise _unusable("Key", key, "encrypted with a passphrase, which a server cannot ask for") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable("Key", key, "no PEM private key in it") from None
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS_TLS_1_2)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_choose_protocol)
    try:
        context.use_certificate(chain[0])
        for above in chain[1:]:
            context.add_extra_chain_cert(above)
    except SSL.Error:
        raise _unusable("Certificate", certificate, "not one that OpenSSL serves") from None
    try:
        context.use_privatekey(private_key)  # type: ignore[arg-type] # a key of a kind that no certificate has fails below
        context.check_privatekey()
    except (SSL.Error, TypeError):
        raise _unusable("Key", key, f"not the key of the first certificate in {certificate}") from None
    return context


def _read(path: str | Path, what: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(PEM_OCTETS_MAX)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        reason = getattr(error, "strerror", None) or "the name cannot be one"
        raise _unusable(what, path, f"cannot be read ({reason})") from None


def _unusable(what: str, path: str | Path, why: str) -> ServingError:
    return ServingError(
        f"{what} {path}: {why}.",
        advice="Give PEM files: the certificate's chain, leaf first, and the private key of the leaf, not encrypted.",
    )


# Connections


class _Client:
    """One connection from accept to end, whatever it is doing: what the server counts and limits."""

    def __init__(self, server: WitnessServer, transport: asyncio.Transport) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.transport = transport
        self.waiting_since = 0.0

    def waits(self, seconds: float) -> None:
        """The next step is the client's; it has this long for it."""
        self._end_timer()
        self.waiting_since = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._too_late)
        self._server.waiting.pop(self, None)
        self._server.waiting[self] = None

    def works(self) -> None:
        """The next step is ours."""
        self._end_timer()
        self._server.waiting.pop(self, None)

    def gone(self) -> None:
        """The connection is no more."""
        self.works()
        self._server.clients.pop(self, None)
        if not self._server.clients:
            self._server.empty.set()

    def _too_late(self) -> None:
        self._server.counts.timed_out += 1
        self._server.waiting.pop(self, None)
        self.transport.abort()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Handshaking(asyncio.Protocol):
    """The first part of a connection: TLS 1.3 or 1.2 as OpenSSL makes it, and what was said as `wire` reads it."""

    def __init__(self, server: WitnessServer) -> None:
        self._server = server
        self._limits = server.limits
        self._connection = SSL.Connection(server.tls, None)
        self._connection.set_accept_state()
        self._wire = Wire()
        self._octets = 0
        self._client: _Client | None = None
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, or refuse it."""
        stream = cast("asyncio.Transport", transport)  # not every loop's derives from asyncio's class
        self._client = self._server.admit(stream)
        if self._client is None:
            stream.abort()
            return
        self._client.waits(self._limits.handshake)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake."""
        client = self._client
        if client is None or self._over:
            return
        before, self._octets = self._octets, self._octets + len(data)
        with contextlib.suppress(WireError):
            if not self._wire.client_hellos:
                self._wire.client(data)
        # What comes in one piece with the end of the handshake may be a request, and is not counted.
        most = self._octets if not self._wire.client_hellos else before
        if most > self._limits.handshake_octets or (self._wire.error is not None and not self._wire.client_hellos):
            self._give_up(client)
            return
        self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush(client)
        except (SSL.Error, _NoCommonProtocolError):
            self._flush(client)  # the alert that says why
            self._give_up(client)
        else:
            self._flush(client)
            self._established(client)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Take note that the client has gone before its handshake was complete."""
        if self._client is not None:
            self._server.counts.failed_handshakes += 0 if self._over else 1
            self._client.gone()

    def _give_up(self, client: _Client) -> None:
        """Close; a client that does not read the alert is cut off when its time is over."""
        self._over = True
        self._server.counts.failed_handshakes += 1
        client.transport.close()

    def _flush(self, client: _Client) -> None:
        """Send what OpenSSL says, and read it along: what was agreed on is in it."""
        while True:
            try:
                output = self._connection.bio_read(READ_OCTETS)
            except SSL.WantReadError:
                return
            client.transport.write(output)
            with contextlib.suppress(WireError):  # OpenSSL's own words; were they not readable, less would be known
                self._wire.server(output)

    def _established(self, client: _Client) -> None:
        """Hand the connection to HTTP."""
        self._over = True
        serving = _Serving(client, self._server)
        extra = {_SEEN: self._seen(client.transport), _SERVING: serving}
        transport = TLSTransport(self._connection, client.transport, extra=extra)
        client.transport = transport
        serving.begin(transport)

    def _seen(self, transport: asyncio.Transport) -> Seen:
        wire, connection = self._wire, self._connection
        message = wire.client_hellos[0]
        ja3 = name = None
        with contextlib.suppress(WireError):  # OpenSSL bears with more than we can read
            hello = parse_client_hello(message)
            ja3, name = hello.ja3, hello.server_name
        address = transport.get_extra_info("peername")
        return Seen(
            exporter=self._exporter(),
            client_hello=HelloSeen(sha256=hashlib.sha256(message).hexdigest(), ja3=ja3),
            tls=Negotiated(
                version=None if wire.version is None else VERSIONS.get(wire.version),
                cipher=None if wire.suite is None else CIPHER_SUITES.get(wire.suite),
                group=None if wire.group is None else GROUPS.get(wire.group),
                alpn=connection.get_alpn_proto_negotiated().decode("ascii") or None,
                extended_master_secret=wire.extended_master_secret,
            ),
            server_name=None if name is None else name[:SERVER_NAME_OCTETS_MAX],
            peer=str(address[0]) if isinstance(address, tuple) else None,
        )

    def _exporter(self) -> bytes | None:
        """Our side of the binding; empty where there is none; None where that is not known.

        An empty one says to a client that has a binding that its session is another one. So it is never a guess.
        """
        version, wire = self._connection.get_protocol_version(), self._wire
        if version != TLS_1_3 and (version != TLS_1_2 or wire.version != TLS_1_2):
            return None
        if version == TLS_1_2 and not wire.extended_master_secret:
            return b""
        return self._connection.export_keying_material(
            witness_statement.EXPORTER_LABEL, witness_statement.EXPORTER_OCTETS, witness_statement.EXPORTER_CONTEXT
        )


class _Serving(asyncio.Protocol):
    """The second part of a connection: passes on to aiohttp's protocol, and keeps clients to the limits."""

    def __init__(self, client: _Client, server: WitnessServer) -> None:
        self._client = client
        self._server = server
        self._limits = server.limits
        self._http = server.http()
        self._loop = asyncio.get_running_loop()
        self._transport: TLSTransport
        self._watch: asyncio.TimerHandle | None = None
        self._request: web.BaseRequest | None = None
        self._head_octets = 0
        self._head_tail = b""
        self._head_complete = False
        self._progress = (0, 0)
        self.requests = 0

    def begin(self, transport: TLSTransport) -> None:
        """Take over; the first request is due."""
        self._transport = transport
        self._client.waits(self._limits.head)
        self._watch = self._loop.call_later(self._limits.stall, self._look)
        transport.set_protocol(self)
        self._http.connection_made(transport)

    def started(self, request: web.BaseRequest) -> None:
        """A request's head is complete: what comes next is ours to do."""
        self.requests += 1
        self._server.counts.requests += 1
        self._request = request
        self._head_complete = True
        self._client.works()

    def finished(self) -> None:
        """A request was answered: the next one may come."""
        self._request = None
        self._head_octets, self._head_tail, self._head_complete = 0, b"", False
        if not self._transport.closed.is_set():
            self._client.waits(self._limits.idle)

    @property
    def is_last(self) -> bool:
        """Whether the request that is being answered is the last this connection may make."""
        return self.requests >= self._limits.requests

    # From the transport

    def data_received(self, data: bytes) -> None:
        """Pass on, unless a request's head has become too large."""
        if self._request is None and not self._head_complete:
            if self._head_octets == 0 and self.requests:
                self._client.waits(self._limits.head)
            self._head_octets += len(data)
            window = self._head_tail + data
            self._head_complete = any(end in window for end in _HEAD_ENDS)
            self._head_tail = window[-len(_HEAD_ENDS[0]) :]
            if not self._head_complete and self._head_octets > self._limits.head_octets:
                self._transport.write(_HEAD_TOO_LARGE)
                self._transport.close()
                return
        self._http.data_received(data)

    def eof_received(self) -> None:
        """Pass on; returning None closes."""
        self._http.eof_received()

    def pause_writing(self) -> None:
        """Pass on."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._http.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on, and leave."""
        if self._watch is not None:
            self._watch.cancel()
        self._client.gone()
        self._http.connection_lost(exc)

    # Stalls

    def _look(self) -> None:
        """Cut off a client that was to take or to send something and did neither since the last look."""
        progress = (self._transport.bytes_sent, self._transport.bytes_received)
        takes_nothing = self._transport.get_write_buffer_size() > 0 and progress[0] == self._progress[0]
        sends_nothing = self._owes_a_body and self._transport.is_reading() and progress[1] == self._progress[1]
        if takes_nothing or sends_nothing:
            self._server.counts.timed_out += 1
            self._transport.abort()
            return
        self._progress = progress
        self._watch = self._loop.call_later(self._limits.stall, self._look)

    @property
    def _owes_a_body(self) -> bool:
        return self._request is not None and self._request.body_exists and not self._request.content.is_eof()


class _Finished(AbstractAccessLogger):
    """aiohttp's way of telling that a request was answered to the end. Nothing is logged."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:  # noqa: ARG002 - aiohttp's interface
        """Tell the connection."""
        if (serving := _serving(request)) is not None:
            serving.finished()


def _serving(request: web.BaseRequest) -> _Serving | None:
    found = None if request.transport is None else request.transport.get_extra_info(_SERVING)
    return found if isinstance(found, _Serving) else None


def _without_the_client(record: logging.LogRecord) -> bool:
    """Let faults of the application be logged, without the address that aiohttp adds; drop what clients did wrong."""
    fault = record.exc_info[0] if record.exc_info else None
    if fault is not None and issubclass(fault, HttpProcessingError):
        return False
    if fault is not None or record.args:
        record.msg, record.args = "The application failed to answer a request.", ()
    return True


_APPLICATION_LOG: Final = LOG.getChild("application")
_APPLICATION_LOG.addFilter(_without_the_client)


class WitnessServer:
    """A running witness; made by `serve`."""

    def __init__(self, witness: Witness, application: web.Application, tls: SSL.Context, limits: Limits) -> None:
        self.tls: Final = tls
        self.limits: Final = limits
        self.counts: Final = Counts()
        self.clients: Final[dict[_Client, None]] = {}
        self.waiting: Final[dict[_Client, None]] = {}
        self.empty: Final = asyncio.Event()
        self.address: tuple[str, int] = ("", 0)
        self._loop = asyncio.get_running_loop()
        self._listening: asyncio.Server | None = None
        self._runner = web.AppRunner(
            _fronted(witness, application),
            access_log_class=_Finished,
            access_log=LOG,
            logger=_APPLICATION_LOG,
            keepalive_timeout=limits.idle,
            shutdown_timeout=limits.shutdown,
        )

    def http(self) -> web.RequestHandler:
        """A protocol of aiohttp's for one more connection."""
        if self._runner.server is None:
            raise RuntimeError("the server has not been started")
        return self._runner.server()

    def admit(self, transport: asyncio.Transport) -> _Client | None:
        """Take a connection in, if need be in the place of the one that has been waiting the longest; None: full."""
        self.counts.accepted += 1
        if len(self.clients) >= self.limits.connections:
            longest = next(iter(self.waiting), None)
            if longest is None or self._loop.time() - longest.waiting_since < self.limits.patience:
                self.counts.refused += 1
                return None
            self.counts.displaced += 1
            longest.gone()
            longest.transport.abort()
        client = _Client(self, transport)
        self.clients[client] = None
        self.empty.clear()
        return client

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `ServingError` when the address cannot be had."""
        await self._runner.setup()
        try:
            self._listening = await self._loop.create_server(
                lambda: _Handshaking(self), host, port, backlog=BACKLOG, reuse_address=True
            )
        except (OSError, OverflowError, UnicodeError) as error:
            await self._runner.cleanup()
            reason = getattr(error, "strerror", None) or "it cannot be an address"
            raise ServingError(
                f"{host}:{port}: cannot listen there ({reason}).",
                advice="Name an address of this machine, and a port that is free and that you may use.",
            ) from None
        self.address = self._listening.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Accept nobody any more, let requests be answered for a while, then close whatever is left."""
        if self._listening is not None:
            self._listening.close()
        try:
            await self._runner.cleanup()
        finally:
            for client in tuple(self.clients):
                client.transport.abort()
            if self.clients:
                await self.empty.wait()
        if self._listening is not None:
            await self._listening.wait_closed()


def _fronted(witness: Witness, application: web.Application) -> web.Application:
    """Put the witness in front of an application. Raises ValueError for one that runs elsewhere already."""

    @web.middleware
    async def before_everything(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (serving := _serving(request)) is not None:
            serving.started(request)
        if request.path == witness_statement.PATH:
            return witness.answer(request)
        return await handler(request)

    async def last_of_its_connection(request: web.Request, response: web.StreamResponse) -> None:
        serving = _serving(request)
        if serving is not None and serving.is_last:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"

    if application.frozen:
        raise ValueError("the application runs already; give serve() one that nobody has started")
    application.middlewares.insert(0, before_everything)
    application.on_response_prepare.append(last_of_its_connection)
    return application


@contextlib.asynccontextmanager
async def serve(  # noqa: PLR0913 - keyword-only past the witness; each is one choice of who runs it
    witness: Witness,
    *,
    tls: SSL.Context,
    host: str = "127.0.0.1",
    port: int = 0,
    application: web.Application | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> AsyncIterator[WitnessServer]:
    """Run a witness until the block ends; `address` of what is given says where it listens.

    `tls` are settings as `tls_context` makes them. `application` is what answers everything else on the same
    connections: an exam platform's own aiohttp application, not started yet (default: 404). Its startup and cleanup
    are run; its access log is its own business, in a middleware. Port 0 is any free one.

    Raises `ServingError` when the address cannot be had.
    """
    server = WitnessServer(witness, web.Application() if application is None else application, tls, limits)
    await server.start(host, port)
    try:
        yield server
    finally:
        await server.stop()
