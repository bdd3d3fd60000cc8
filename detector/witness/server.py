"""A witness: terminates TLS and signs what it observes of each connection (docs/witness.md).

Room: witness. Opens sockets, reads the clock it is given, assesses nothing.

    witness = Witness(keys)
    async with serve(witness, tls=tls_context("chain.pem", "key.pem"), port=8443) as server: ...
    async with serve(witness, tls=…, application=exam_platform): ...        # with an application behind it

The layers of a connection:

    TCP ─▶ _Handshake (OpenSSL on memory buffers, ClientHello kept) ─▶ TLSTransport ─▶ _HTTP (limits) ─▶ aiohttp

TLS must terminate here: what is signed is this process's end of the session. The witness responds before any route and
middleware of the application, so that none of them can change or refuse its response.

Every wait is limited (`Limits`), and an honest client on a bad line stays within every limit. A connection is *waiting*
while the next step is its client's: the handshake, the head of a request, the next request. At the maximum number of
connections, a new one replaces the one that has been waiting longest, as soon as that has been long: so clients that
only hold connections open lock nobody out. Until then no more are accepted: new ones wait in the system's queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import msgspec
from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from detector.aio.accepting import Accepting, listen
from detector.errors import InputError, ServingError
from detector.knowledge.data_set import shipped
from detector.model import Record
from detector.origin import Claims, Family, Offer, OfferError
from detector.origin.assess import contradicted
from detector.probe.tls.codepoints import CIPHER_SUITES, GROUPS, TLS_1_2, TLS_1_3, VERSIONS
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.reader import WireError
from detector.probe.tls.transport import TLSTransport
from detector.probe.tls.wire import Wire
from detector.session.seams import utc_now
from detector.trust import witness_statement
from detector.trust.witness_statement import BrowserClaim, HelloSeen, Negotiated, OfferSeen, Statement

if TYPE_CHECKING:
    import datetime as dt
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.probe.tls.hello import ClientHello

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SIGNING_KEYS_MAX: Final = 2
"""Keys at once: two during a rotation."""

CIPHERS_TLS_1_2: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Forward secret and authenticated (RFC 9325 section 4.2); TLS 1.3 suites are OpenSSL's default."""

PEM_BYTES_MAX: Final = 1024 * 1024
"""Bytes read of a certificate or key file; a chain has under 20 KiB."""

SERVER_NAME_CHARACTERS_MAX: Final = 255
"""Characters of a server name in a statement: no DNS name is longer (RFC 1035 section 2.3.4)."""

PROXY_HEADERS_MAX: Final = 16
PROXY_HEADER_CHARACTERS_MAX: Final = 256
"""Proxy headers in a statement, and characters of each: it must stay far below what a client reads."""

READ_BYTES: Final = 64 * 1024
"""Bytes taken from OpenSSL's output buffer at once; only a buffer size."""

LOOP_TURNS: Final = 2
"""Turns of the event loop in which what a client has sent is read before it counts as waiting: under load the bytes may
be there, and the server late."""

LOG: Final = logging.getLogger("detector.witness")
"""Faults of the application. Clients' errors are counted, not logged, and no address is ever logged."""

_PERSONAL_HEADERS: Final = frozenset(
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
"""Headers of intermediaries whose values are addresses or names of people: statements have their names only."""

_FORWARDED: Final = "x-forwarded-"
"""The prefix of further such headers."""

_HEAD_ENDS: Final = (b"\r\n\r\n", b"\n\n")
"""The empty line after a head (RFC 9112 section 2.1), and its lenient form (section 2.2)."""

_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
"""RFC 6585 section 5."""

_SESSION_KEY: Final = "detector_witness_seen"
_HTTP_KEY: Final = "detector_witness_serving"
"""Keys of a transport's extra info, by which a request finds its connection."""


LIMIT_MAX: Final = 10**9
"""Largest limit: more seconds than a server runs, and as much memory as one machine has."""


class Limits(Record, frozen=True, kw_only=True):
    """Resource limits for clients, in seconds unless the name says otherwise.

    Attributes:
        connections: connections at once, below the usual limit of 1024 open files.
        patience: how long a connection may wait before a new one may replace it.
        handshake: the whole TLS handshake; `handshake_bytes` is what a client may send in it; a ClientHello has 2 KiB.
        head: a request's head from its first byte to its last; `head_bytes` is its size.
        idle: the time between requests.
        stall: how long a client may read nothing of a response, or send nothing of a body that it announced.
        requests: the number of requests on one connection.
        shutdown: how long requests in progress may take once the server stops.
    """

    connections: int = 900
    patience: float = 10.0
    handshake: float = 10.0
    handshake_bytes: int = 32 * 1024
    head: float = 10.0
    head_bytes: int = 64 * 1024
    idle: float = 60.0
    stall: float = 20.0
    requests: int = 1000
    shutdown: float = 10.0


DEFAULT_LIMITS: Final = Limits()


def read_limits(changes: Iterable[str]) -> Limits:
    """Return the default limits with changes of the form NAME=NUMBER. Raises `InputError` that names the change."""
    chosen = msgspec.structs.asdict(DEFAULT_LIMITS)
    for change in changes:
        name, _, number = change.partition("=")
        try:
            value = msgspec.convert(number, type(chosen[name]), strict=False)
        except (KeyError, msgspec.ValidationError):
            value = 0
        if not 0 < value <= LIMIT_MAX:
            raise InputError(
                f"{change[:100]}: is not a limit.",
                advice=f"Write NAME=NUMBER with a positive number and one of {', '.join(chosen)}.",
            )
        chosen[name] = value
    return Limits(**chosen)


class ServerSession(NamedTuple):
    """The witness's end of one connection, as every statement about it describes it.

    `exporter` is empty where the session has no unique one, and None where that could not be determined. `hello` is the
    first ClientHello.
    """

    exporter: bytes | None
    hello: bytes
    tls: Negotiated
    peer: str | None


class Counts:
    """Counters since the server started; nothing about individual clients.

    `held` had to wait for a place, `refused` could not be accepted because the system had no room, as for open files.
    """

    accepted = 0
    held = 0
    refused = 0
    displaced = 0
    failed_handshakes = 0
    timed_out = 0
    requests = 0


class Witness:
    """Signs statements about connections, with one key, or with two during a rotation.

    Statements have the client's address only with `peer_address`. `clock` gives the time (aware, UTC). Raises
    ValueError for another number of keys.
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
        self._browsers = shipped().browser_offers

    def answer(self, request: web.BaseRequest) -> web.Response:
        """Respond to a request for `witness_statement.PATH` on a connection of this server."""
        if request.method != hdrs.METH_GET:
            return _refusal(405, "A witness is asked with GET.", {hdrs.ALLOW: hdrs.METH_GET})
        nonces = request.query.getall("nonce", [])
        if len(nonces) != 1 or witness_statement.decode_nonce(nonces[0]) is None:
            return _refusal(
                400,
                f"A witness is asked with one nonce of {witness_statement.NONCE_BYTES} bytes, as unpadded base64url.",
            )
        seen = None if request.transport is None else request.transport.get_extra_info(_SESSION_KEY)
        if not isinstance(seen, ServerSession):
            return _refusal(404, "There is no witness here: TLS of this connection ends somewhere else.")
        if seen.exporter is None:
            return _refusal(503, "This witness could not read its own handshake; nothing is said about it.")
        client_hello, server_name = _hello_seen(seen.hello)
        statement = Statement(
            nonce=nonces[0],
            exporter=seen.exporter,
            client_hello=client_hello,
            tls=seen.tls,
            server_name=server_name,
            proxy_headers=proxy_headers(request.headers.items()),
            browser=self._browser(request, seen.hello),
            time=self._clock(),
            peer=seen.peer if self._peer_address else None,
        )
        body = witness_statement.sign(statement, self._keys)
        return web.Response(body=body, content_type="application/json", headers=_HEADERS)

    def _browser(self, request: web.BaseRequest, hello: bytes) -> BrowserClaim | None:
        """The browser that the request claims, and what of the ClientHello contradicts it."""
        claims = Claims.of(request.headers.get(hdrs.USER_AGENT), request.headers.get("Sec-CH-UA"))
        if claims.family is Family.UNKNOWN:
            return None
        found: tuple[str, ...] = ()
        with contextlib.suppress(OfferError):  # OpenSSL accepts more than is parsed here
            broken = contradicted(Offer.of_hello(hello), claims, self._browsers)
            found = tuple(one.rule for one in broken)
        return BrowserClaim(family=claims.family, major=claims.major, contradictions=found)


_HEADERS: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-store", hdrs.SERVER: "tls-witness"}
"""Headers of every response: it is for this connection and this moment."""


def _refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{sentence}\n", headers={**_HEADERS, **(headers or {})})


def proxy_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the headers that only intermediaries write: names in lower case, values bounded and printable.

    Values about the client, such as its address inside a school's network, are left empty.
    """
    found = []
    for name, value in headers:
        lower = name.lower()
        if lower in witness_statement.NAMES_A_PROXY:
            printable = value.encode("ascii", "backslashreplace").decode("ascii")
            found.append((lower, printable[:PROXY_HEADER_CHARACTERS_MAX]))
        elif lower in _PERSONAL_HEADERS or lower.startswith(_FORWARDED):
            found.append((lower[:PROXY_HEADER_CHARACTERS_MAX], ""))
    return tuple(found[:PROXY_HEADERS_MAX])


def _hello_seen(message: bytes) -> tuple[HelloSeen, str | None]:
    """Return what a statement has of a ClientHello, and the server name in it."""
    seen = HelloSeen(sha256=hashlib.sha256(message).hexdigest())
    try:
        hello = parse_client_hello(message)
    except WireError:  # OpenSSL accepts more than is parsed here
        return seen, None
    name = None if hello.server_name is None else hello.server_name[:SERVER_NAME_CHARACTERS_MAX]
    return msgspec.structs.replace(seen, ja4=hello.ja4, offer=_offer(hello)), name


def _offer(hello: ClientHello) -> OfferSeen | None:
    """The lists of a ClientHello, where they are as short as those of clients are."""
    names = ("cipher_suites", "groups", "signature_schemes", "versions")
    lists = {name: getattr(hello, name) for name in names}
    lists["extensions"] = tuple(kind for kind, _ in hello.extensions)
    is_short = (
        max(map(len, lists.values())) <= witness_statement.OFFER_NUMBERS_MAX
        and len(hello.alpn) <= witness_statement.OFFER_PROTOCOLS_MAX
        and max(map(len, hello.alpn), default=0) <= witness_statement.OFFER_PROTOCOL_CHARACTERS_MAX
    )
    return OfferSeen(alpn=hello.alpn, **lists) if is_short else None


class _NoCommonProtocolError(Exception):
    """The client offers protocols without HTTP/1.1."""


def _choose_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Select HTTP/1.1; raising makes OpenSSL send no_application_protocol (RFC 7301 section 3.2)."""
    if b"http/1.1" not in offered:
        raise _NoCommonProtocolError
    return b"http/1.1"


def tls_context(certificate: str | Path, key: str | Path) -> SSL.Context:
    """Return the TLS settings of a witness: TLS 1.3 and 1.2, no resumption, no renegotiation, HTTP/1.1 only.

    `certificate` is a PEM file with the chain, leaf first; `key` a PEM file with its private key. Raises
    `ServingError`, which names the file.
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
            return file.read(PEM_BYTES_MAX)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        reason = getattr(error, "strerror", None) or "the name cannot be one"
        raise _unusable(what, path, f"cannot be read ({reason})") from None


def _unusable(what: str, path: str | Path, why: str) -> ServingError:
    return ServingError(
        f"{what} {path}: {why}.",
        advice="Give PEM files: the certificate's chain, leaf first, and the private key of the leaf, not encrypted.",
    )


class _ClientConnection:
    """One connection from accept to close, as the server counts and limits it."""

    def __init__(self, server: WitnessServer, transport: asyncio.Transport) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.transport = transport
        self.waiting_since = 0.0

    def waits(self, seconds: float) -> None:
        """The next step is the client's, within these seconds."""
        self._end_timer()
        self.waiting_since = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._too_late)
        self._server.waiting.pop(self, None)
        self._server.waiting[self] = None
        self._server.changed.set()

    def works(self) -> None:
        """The next step is the server's."""
        self._end_timer()
        self._server.waiting.pop(self, None)

    def gone(self) -> None:
        """The connection has ended."""
        self.works()
        self._server.clients.pop(self, None)
        self._server.changed.set()
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


class _Handshake(asyncio.Protocol):
    """The handshake: TLS 1.3 or 1.2 by OpenSSL, and its messages as `probe.tls.wire` parses them."""

    def __init__(self, server: WitnessServer) -> None:
        self._server = server
        self._limits = server.limits
        self._connection = SSL.Connection(server.tls, None)
        self._connection.set_accept_state()
        self._wire = Wire()
        self._bytes = 0
        self._client: _ClientConnection | None = None
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the client's hello."""
        # Not every loop's transport derives from asyncio's class.
        self._client = self._server.admit(cast("asyncio.Transport", transport))
        self._client.waits(self._limits.handshake)

    def data_received(self, data: bytes) -> None:
        """Advance the handshake."""
        client = self._client
        if client is None or self._over:
            return
        before, self._bytes = self._bytes, self._bytes + len(data)
        with contextlib.suppress(WireError):
            if not self._wire.client_hellos:
                self._wire.client(data)
        # Data in one chunk with the end of the handshake may be a request, and is not counted.
        most = self._bytes if not self._wire.client_hellos else before
        if most > self._limits.handshake_bytes or (self._wire.error is not None and not self._wire.client_hellos):
            self._give_up(client)
            return
        self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush(client)
        except (SSL.Error, _NoCommonProtocolError):
            self._flush(client)  # the alert
            self._give_up(client)
        else:
            self._flush(client)
            self._serve_http(client)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Count a client that left before its handshake was complete."""
        if self._client is not None:
            self._server.counts.failed_handshakes += 0 if self._over else 1
            self._client.gone()

    def _give_up(self, client: _ClientConnection) -> None:
        """Close; a client that does not read the alert is aborted when its time is over."""
        self._over = True
        self._server.counts.failed_handshakes += 1
        client.transport.close()

    def _flush(self, client: _ClientConnection) -> None:
        """Send OpenSSL's output, and parse it: the negotiated parameters are in it."""
        while True:
            try:
                output = self._connection.bio_read(READ_BYTES)
            except SSL.WantReadError:
                return
            client.transport.write(output)
            with contextlib.suppress(WireError):  # unparsable output of OpenSSL would only mean fewer facts
                self._wire.server(output)

    def _serve_http(self, client: _ClientConnection) -> None:
        """Pass the connection to HTTP."""
        self._over = True
        http = _HTTP(client, self._server)
        extra = {_SESSION_KEY: self._session(client.transport), _HTTP_KEY: http}
        transport = TLSTransport(self._connection, client.transport, extra=extra)
        client.transport = transport
        http.begin(transport)

    def _session(self, transport: asyncio.Transport) -> ServerSession:
        wire, connection = self._wire, self._connection
        address = transport.get_extra_info("peername")
        return ServerSession(
            exporter=self._exporter(),
            hello=wire.client_hellos[0],
            tls=Negotiated(
                version=None if wire.version is None else VERSIONS.get(wire.version),
                cipher=None if wire.suite is None else CIPHER_SUITES.get(wire.suite),
                group=None if wire.group is None else GROUPS.get(wire.group),
                alpn=connection.get_alpn_proto_negotiated().decode("ascii") or None,
                extended_master_secret=wire.extended_master_secret,
            ),
            peer=str(address[0]) if isinstance(address, tuple) else None,
        )

    def _exporter(self) -> bytes | None:
        """Return our exporter; empty where the session has none; None where that is unknown.

        An empty one means to a client that has one that its session is another one: it is never guessed.
        """
        version, wire = self._connection.get_protocol_version(), self._wire
        if version != TLS_1_3 and (version != TLS_1_2 or wire.version != TLS_1_2):
            return None
        if version == TLS_1_2 and not wire.extended_master_secret:
            return b""
        return self._connection.export_keying_material(
            witness_statement.EXPORTER_LABEL, witness_statement.EXPORTER_BYTES, witness_statement.EXPORTER_CONTEXT
        )


class _HTTP(asyncio.Protocol):
    """HTTP: forwards to aiohttp's protocol, and enforces the limits."""

    def __init__(self, client: _ClientConnection, server: WitnessServer) -> None:
        self._client = client
        self._server = server
        self._limits = server.limits
        self._http = server.http()
        self._loop = asyncio.get_running_loop()
        self._transport: TLSTransport
        self._watch: asyncio.TimerHandle | None = None
        self._request: web.BaseRequest | None = None
        self._head_bytes = 0
        self._head_tail = b""
        self._head_complete = False
        self._progress = (0, 0)
        self.requests = 0

    def begin(self, transport: TLSTransport) -> None:
        """Start; the first request is due."""
        self._transport = transport
        self._client.waits(self._limits.head)
        self._watch = self._loop.call_later(self._limits.stall, self._check_progress)
        transport.set_protocol(self)
        self._http.connection_made(transport)

    def started(self, request: web.BaseRequest) -> None:
        """A request's head is complete."""
        self.requests += 1
        self._server.counts.requests += 1
        self._request = request
        self._head_complete = True
        self._client.works()

    def finished(self) -> None:
        """A request was answered; the next one may follow."""
        self._request = None
        self._head_bytes, self._head_tail, self._head_complete = 0, b"", False
        if not self._transport.closed.is_set():
            self._client.waits(self._limits.idle)

    def data_received(self, data: bytes) -> None:
        """Forward, unless a request's head has become too large."""
        if self._request is None and not self._head_complete:
            if self._head_bytes == 0 and self.requests:
                self._client.waits(self._limits.head)
            self._head_bytes += len(data)
            window = self._head_tail + data
            self._head_complete = any(end in window for end in _HEAD_ENDS)
            self._head_tail = window[-len(_HEAD_ENDS[0]) :]
            if not self._head_complete and self._head_bytes > self._limits.head_bytes:
                self._transport.write(_HEAD_TOO_LARGE)
                self._transport.close()
                return
        self._http.data_received(data)

    def eof_received(self) -> None:
        """Forward; returning None closes."""
        self._http.eof_received()

    def pause_writing(self) -> None:
        """Forward."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """Forward."""
        self._http.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forward, and end."""
        if self._watch is not None:
            self._watch.cancel()
        self._client.gone()
        self._http.connection_lost(exc)

    def _check_progress(self) -> None:
        """Abort a client that was to read or to send something and did not since the last check."""
        progress = (self._transport.bytes_sent, self._transport.bytes_received)
        takes_nothing = self._transport.get_write_buffer_size() > 0 and progress[0] == self._progress[0]
        sends_nothing = self._owes_a_body and self._transport.is_reading() and progress[1] == self._progress[1]
        if takes_nothing or sends_nothing:
            self._server.counts.timed_out += 1
            self._transport.abort()
            return
        self._progress = progress
        self._watch = self._loop.call_later(self._limits.stall, self._check_progress)

    @property
    def _owes_a_body(self) -> bool:
        return self._request is not None and self._request.body_exists and not self._request.content.is_eof()


class _RequestEnd(AbstractAccessLogger):
    """Called by aiohttp when a request was answered. Logs nothing."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:  # noqa: ARG002 - aiohttp's interface
        """Notify the connection."""
        if (http := _http_of(request)) is not None:
            http.finished()


def hello_of(transport: asyncio.BaseTransport) -> bytes | None:
    """Return the first ClientHello of a connection of this server, for `detector.origin.aiohttp.middleware`."""
    seen = transport.get_extra_info(_SESSION_KEY)
    return seen.hello if isinstance(seen, ServerSession) else None


def _http_of(request: web.BaseRequest) -> _HTTP | None:
    found = None if request.transport is None else request.transport.get_extra_info(_HTTP_KEY)
    return found if isinstance(found, _HTTP) else None


def _without_the_client(record: logging.LogRecord) -> bool:
    """Pass faults of the application, without the address that aiohttp adds; drop errors of clients."""
    fault = record.exc_info[0] if record.exc_info else None
    if fault is not None and issubclass(fault, HttpProcessingError):
        return False
    if fault is not None or record.args:
        record.msg, record.args = "The application failed to answer a request.", ()
    return True


_APPLICATION_LOG: Final = LOG.getChild("application")
_APPLICATION_LOG.addFilter(_without_the_client)


class WitnessServer:
    """A running witness, made by `serve`."""

    def __init__(self, witness: Witness, application: web.Application, tls: SSL.Context, limits: Limits) -> None:
        self.tls: Final = tls
        self.limits: Final = limits
        self.counts: Final = Counts()
        self.clients: Final[dict[_ClientConnection, None]] = {}
        self.waiting: Final[dict[_ClientConnection, None]] = {}
        self.empty: Final = asyncio.Event()
        self.changed: Final = asyncio.Event()
        self.address: tuple[str, int] = ("", 0)
        self._loop = asyncio.get_running_loop()
        self._accepting: Accepting | None = None
        self._runner = web.AppRunner(
            _with_witness(witness, application, limits),
            access_log_class=_RequestEnd,
            access_log=LOG,
            logger=_APPLICATION_LOG,
            keepalive_timeout=limits.idle,
            shutdown_timeout=limits.shutdown,
        )

    def http(self) -> web.RequestHandler:
        """Return aiohttp's protocol for one more connection."""
        if self._runner.server is None:
            raise RuntimeError("the server has not been started")
        return self._runner.server()

    async def _serve(self, connection: socket.socket) -> None:
        """Serve a new connection once there is a place for it."""
        self.counts.accepted += 1
        if len(self.clients) >= self.limits.connections:
            self.counts.held += 1
            await self._place()
        await self._loop.connect_accepted_socket(lambda: _Handshake(self), connection)

    async def _place(self) -> None:
        """Wait until a connection ends, or the one that has been waiting longest may be replaced."""
        while len(self.clients) >= self.limits.connections:
            self.changed.clear()
            longest = next(iter(self.waiting), None)
            until = None if longest is None else longest.waiting_since + self.limits.patience
            if longest is None or until is None or self._loop.time() < until:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await self.changed.wait()
                continue
            for _ in range(LOOP_TURNS):
                await asyncio.sleep(0)
            if longest in self.waiting and longest.waiting_since + self.limits.patience <= until:
                self.counts.displaced += 1
                longest.gone()
                longest.transport.abort()

    def admit(self, transport: asyncio.Transport) -> _ClientConnection:
        """Count a connection that is served from now on."""
        client = _ClientConnection(self, transport)
        self.clients[client] = None
        self.empty.clear()
        return client

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `ServingError` when the address is not available."""
        await self._runner.setup()
        try:
            listening = await listen(host, port)
        except (OSError, OverflowError, UnicodeError) as error:
            await self._runner.cleanup()
            reason = getattr(error, "strerror", None) or "it cannot be an address"
            raise ServingError(
                f"{host}:{port}: cannot listen there ({reason}).",
                advice="Name an address of this machine, and a port that is free and that you may use.",
            ) from None
        self.address = listening[0].getsockname()[:2]

        def count() -> None:
            self.counts.refused += 1

        self._accepting = Accepting(listening, self._serve, refused=count)

    async def stop(self) -> None:
        """Stop accepting, let requests in progress be answered for a while, then close the rest."""
        if self._accepting is not None:
            await self._accepting.stop()
        try:
            await self._runner.cleanup()
        finally:
            for client in tuple(self.clients):
                client.transport.abort()
            if self.clients:
                await self.empty.wait()


def _with_witness(witness: Witness, application: web.Application, limits: Limits) -> web.Application:
    """Put the witness in front of an application. Raises ValueError for one that was started already."""

    @web.middleware
    async def witness_first(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (http := _http_of(request)) is not None:
            http.started(request)
        if request.path == witness_statement.PATH:
            return witness.answer(request)
        return await handler(request)

    async def last_of_its_connection(request: web.Request, response: web.StreamResponse) -> None:
        http = _http_of(request)
        if http is not None and http.requests >= limits.requests:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"

    if application.frozen:
        raise ValueError("the application runs already; give serve() one that nobody has started")
    application.middlewares.insert(0, witness_first)
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
    """Run a witness until the block ends; the server's `address` is where it listens.

    `tls` is made by `tls_context`. `application` responds to everything else on the same connections: an exam
    platform's own aiohttp application, not started yet (default: 404). Its startup and cleanup are run; it must keep an
    access log itself, in a middleware. Port 0 is any free one. Raises `ServingError` when the address is not available.
    """
    server = WitnessServer(witness, web.Application() if application is None else application, tls, limits)
    await server.start(host, port)
    try:
        yield server
    finally:
        await server.stop()
