"""The bounded HTTP client: one plain-HTTP request, or requests over a connection that is already open.

Room: probe. Opens connections through a `Dialer`. The reader itself (`Answer`) is pure.

What keeps it safe against a peer that loops, hangs, drips or floods: redirects are never followed, one connection
carries one request, the head, the body and everything on the wire have limits in bytes, and one limit in seconds spans
name resolution, connecting, tunnelling and reading. Plain HTTP is unauthenticated: anybody on the path may have written
the answer. Nothing here is evidence until something else (a signature, a second source) confirms it.
"""

from __future__ import annotations

import asyncio
import email.utils
import enum
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast
from urllib.parse import urlsplit

import h11

from detector.model import Endpoint, Outcome, Record
from detector.model.validate import HTTPS_PORT
from detector.probe.routes import (
    HTTP_PORT,
    INTERIM_RESPONSES_MAX,
    ConnectionRecord,
    RouteError,
    Timeouts,
    literal,
)
from detector.version import VERSION

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from detector.probe.routes import Dialer

Method = Literal["GET", "HEAD", "POST"]

URL_CHARACTERS_MAX: Final = 2048  # of a URL requested or reported; what browsers and the sitemap protocol agree on
HEAD_BYTES_DEFAULT: Final = 16 * 1024  # common servers send under 2 KiB and accept 8 KiB themselves
BODY_BYTES_DEFAULT: Final = 64 * 1024  # a certificate has about 1.5 KiB, a PKCS #7 of a large PKI 30 KiB
SECONDS_DEFAULT: Final = 3.0  # from name to last byte: a slow portal answers within two, people wait about ten in all

FRAMING_FACTOR: Final = 2
"""Bytes on the wire as a multiple of head and body limits together. Chunk headers, trailers and interim responses
(RFC 9112 section 7.1) cost a genuine server a few percent; a hostile one could send nothing else."""

PIECES_MAX: Final = 4096
"""Pieces of one body: chunks (RFC 9112 section 7.1), and parts of them as they arrive. Each costs about 4 microseconds,
so that a body of the largest size in chunks of one byte would take 1.4 seconds. Servers write some KiB at a time: a PAC
file of 1 MiB arrives in under 1000."""

SLICE_BYTES: Final = 4096  # passed to the HTTP parser at a time; a head limit is exceeded by no more than this
AGE_SECONDS_MAX: Final = 2**31  # largest Age; RFC 9111 section 1.2.2 has recipients treat anything greater as this

USER_AGENT: Final = f"tls-middleware-detector/{VERSION}"
"""Some servers refuse requests without one. Nothing about the machine is in it."""

OK: Final = 200  # RFC 9110 section 15.3.1
_HEAD_TOO_LARGE: Final = 431  # the status h11 suggests when a head exceeds its limit (RFC 6585 section 5)
_FIRST_BYTES: Final = b"HTTP/"  # of every response (RFC 9112 section 2.3)

_HOST_NAME: Final = re.compile(r"(?=.{1,253}\.?\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
"""A name in DNS form (RFC 1035 section 2.3.4 for the lengths), underscores tolerated because they exist."""

_IMF_FIXDATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} [1-9]\d{3} \d{2}:\d{2}:\d{2} GMT", re.ASCII
)


class FetchOutcome(enum.StrEnum):
    """How one request ended.

    `answered`: a complete HTTP response arrived. `too-large`: it exceeded a limit in bytes. `not-http`: what arrived is
    not HTTP/1.x or breaks its framing. `timeout`: time ran out. `unreachable`: there was no connection, or it closed
    before a complete response. `refused-url`: not a URL this module requests; nothing was sent.
    """

    ANSWERED = "answered"
    TOO_LARGE = "too-large"
    NOT_HTTP = "not-http"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    REFUSED_URL = "refused-url"


class Limits(Record, frozen=True, kw_only=True):
    """What one response may cost: seconds from name to last byte, bytes of its head and of its body."""

    seconds: float = SECONDS_DEFAULT
    head_bytes: int = HEAD_BYTES_DEFAULT
    body_bytes: int = BODY_BYTES_DEFAULT


DEFAULT_LIMITS: Final = Limits()


class Fetched(Record, frozen=True, kw_only=True):
    """The result of one request. Fields past `outcome` hold what was known when it ended, whatever the outcome.

    `location` is as sent, bounded, and printable. `date` is the Date header (RFC 9110 section
    6.6.1), `age_seconds` the Age header of a cache on the path (RFC 9111 section 5.1). `body` is at most the limit, and
    complete only when the outcome is `answered`. `exchange_ms` runs from sending the request until the end (None when
    none was sent).
    """

    url: str
    outcome: FetchOutcome
    status: int | None = None
    location: str | None = None
    date: dt.datetime | None = None
    age_seconds: int | None = None
    body: bytes = b""
    exchange_ms: float | None = None


class Content(NamedTuple):
    """What a request carries: its media type, and its bytes."""

    media_type: str
    data: bytes

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that announce it."""
        return ("Content-Type", self.media_type), ("Content-Length", str(len(self.data)))


class Target(NamedTuple):
    """The parts of a URL: host without brackets, port, Host header, and origin-form (RFC 9112 section 3.2.1)."""

    host: str
    port: int
    authority: str
    path: str


def parse_url(url: str, scheme: Literal["http", "https"] = "http") -> Target | None:
    """Parse an absolute URL of this scheme (RFC 9110 section 4.2); None when it is anything else.

    Refused on purpose: other schemes, credentials, characters outside printable ASCII (on which parsers differ), and
    host names that cannot be DNS names. The fragment is left out.
    """
    # Checked first: urlsplit silently strips tabs and line ends, with which a URL can pass for another.
    if len(url) > URL_CHARACTERS_MAX or not url.isascii() or any(c <= " " or c in '\x7f\\"<>' for c in url):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme != scheme or not host or "@" in parts.netloc or port == 0:
        return None
    if "[" in parts.netloc:
        # A zone (RFC 6874) names an interface of this machine and has no place in a request.
        if "%" in host or ":" not in (literal(host) or ""):
            return None
    elif not _HOST_NAME.fullmatch(host):
        return None
    authority = f"[{host}]" if ":" in host else host
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    default = HTTP_PORT if scheme == "http" else HTTPS_PORT
    return Target(host, port or default, authority if port in {None, default} else f"{authority}:{port}", path)


def parse_date(text: str) -> dt.datetime | None:
    """Parse a Date header in IMF-fixdate, the only form that may be sent (RFC 9110 section 5.6.7); None otherwise."""
    if not _IMF_FIXDATE.fullmatch(text.strip()):  # email.utils alone accepts much more
        return None
    try:
        return email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None


def printable(text: str | bytes) -> str:
    """Percent-encode everything outside printable ASCII, and cut to `URL_CHARACTERS_MAX` characters."""
    data = text if isinstance(text, bytes) else text[:URL_CHARACTERS_MAX].encode("utf-8", "replace")
    shown = (chr(o) if ord(" ") <= o <= ord("~") else f"%{o:02X}" for o in data[:URL_CHARACTERS_MAX])
    return "".join(shown)[:URL_CHARACTERS_MAX]


class Answer:
    """The parser of one HTTP/1.x response (RFC 9112). Pure: no sockets, no clock; raises nothing.

    `outcome` is None until it is settled; nothing is read after that.
    """

    def __init__(self, request: h11.Request, limits: Limits, content: bytes = b"") -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.head_bytes)
        self._limits = limits
        self._wire_bytes_left = FRAMING_FACTOR * (limits.head_bytes + limits.body_bytes)
        self._interim_responses = 0
        self._pieces = 0
        self._first_bytes = b""
        self._body = bytearray()
        self.head: h11.Response | None = None
        self.outcome: FetchOutcome | None = None
        events = (request, *([h11.Data(data=content)] if content else []), h11.EndOfMessage())
        self.request: Final = b"".join(self._http.send(event) or b"" for event in events)

    @property
    def body(self) -> bytes:
        """The body as far as it arrived, at most the limit."""
        return bytes(self._body)

    @property
    def leaves_reusable(self) -> bool:
        """Whether the connection may carry another request (RFC 9112 section 9.3): nothing came unasked."""
        idle = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        return self.outcome is FetchOutcome.ANSWERED and idle and not self._http.trailing_data[0]

    def receive(self, data: bytes) -> None:
        """Parse bytes of the peer."""
        room = self._wire_bytes_left
        self._wire_bytes_left -= min(len(data), room)
        for start in range(0, min(len(data), room), SLICE_BYTES):
            self._read_slice(data[start : min(start + SLICE_BYTES, room)])
        if len(data) > room and self.outcome is None:
            self.outcome = FetchOutcome.TOO_LARGE

    def _read_slice(self, part: bytes) -> None:
        if self.outcome is not None:
            return
        self._first_bytes += part[: len(_FIRST_BYTES) - len(self._first_bytes)]
        if _FIRST_BYTES.startswith(self._first_bytes):
            self._feed(part)
        else:
            self.outcome = FetchOutcome.NOT_HTTP

    def connection_closed(self) -> None:
        """Note that the peer sends no more: the end of a body without a length, or an early end."""
        if self.outcome is not None:
            return
        if self._first_bytes:
            self._feed(b"")
        # Whatever the framing still missed: the connection closed before the response was complete.
        if self.outcome in {None, FetchOutcome.NOT_HTTP}:
            self.outcome = FetchOutcome.UNREACHABLE

    def _feed(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            self._read()
        except h11.RemoteProtocolError as error:
            large = error.error_status_hint == _HEAD_TOO_LARGE
            self.outcome = FetchOutcome.TOO_LARGE if large else FetchOutcome.NOT_HTTP
        except ValueError:
            # h11 before 0.16 converts a Content-Length of any number of digits; Python refuses above 4300.
            self.outcome = FetchOutcome.NOT_HTTP

    def _read(self) -> None:
        while self.outcome is None and (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.InformationalResponse):
                self._interim_responses += 1
                if self._interim_responses > INTERIM_RESPONSES_MAX:
                    self.outcome = FetchOutcome.NOT_HTTP
            elif isinstance(event, h11.Response):
                self.head = event
            elif isinstance(event, h11.Data):
                room = self._limits.body_bytes - len(self._body)
                self._pieces += 1
                self._body += event.data[:room]
                if len(event.data) > room or self._pieces > PIECES_MAX:
                    self.outcome = FetchOutcome.TOO_LARGE
            elif isinstance(event, h11.EndOfMessage):
                self.outcome = FetchOutcome.ANSWERED
            else:
                self.outcome = FetchOutcome.NOT_HTTP


def request_for(
    authority: str, path: str, *headers: tuple[str, str], method: Method = "GET", encoding: str = "identity"
) -> h11.Request:
    """Make a request; `authority` is the Host header, `path` is in origin-form. Raises `h11.LocalProtocolError`."""
    always = [("Host", authority), ("User-Agent", USER_AGENT), ("Accept-Encoding", encoding)]
    return h11.Request(method=method, target=path, headers=[*always, *headers])


async def fetch(  # noqa: PLR0913 - keyword-only past the URL; each is one part of a request
    url: str,
    *,
    dialer: Dialer,
    limits: Limits = DEFAULT_LIMITS,
    deadline: float | None = None,
    method: Method = "GET",
    content: Content | None = None,
) -> Fetched:
    """Request `url` once, over plain HTTP through `dialer`, and report what came.

    `deadline` is a time of the running event loop (`loop.time()`); it or `limits.seconds`, whichever is earlier, ends
    the request. Redirects are reported, never followed. Raises nothing for reasons of URL, network, proxy or peer;
    cancelling closes the connection at once. An HTTP CONNECT proxy is asked for a tunnel to port 80, which many proxies
    refuse: that is `unreachable`.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    target = parse_url(url)
    request = None if target is None else _closing_request(target, method, content)
    if target is None or request is None:
        return Fetched(url=printable(url), outcome=FetchOutcome.REFUSED_URL)
    until = begun + limits.seconds if deadline is None else min(begun + limits.seconds, deadline)
    session = _Session(Answer(request, limits, b"" if content is None else content.data))
    outcome = FetchOutcome.TIMEOUT
    if begun < until:
        outcome = await _converse(session, Endpoint(host=target.host, port=target.port), dialer, until)
    return _fetched(url, outcome, session.answer, None if session.sent is None else loop.time() - session.sent)


def _closing_request(target: Target, method: Method, content: Content | None) -> h11.Request | None:
    """Make the only request of a connection; None when the URL cannot be put into one."""
    headers = (("Accept", "*/*"), ("Cache-Control", "no-cache"), ("Connection", "close"))
    announced = () if content is None else content.headers
    try:
        return request_for(target.authority, target.path, *headers, *announced, method=method)
    except h11.LocalProtocolError:
        return None


async def ask_over(
    transport: asyncio.Transport, request: h11.Request, *, limits: Limits, until: float, content: bytes = b""
) -> Answer:
    """Send a request over an open connection, and read its answer no longer than loop time `until`.

    The connection stays open and belongs to the caller. It can carry another request only when the outcome is
    `answered` and it is not closing; an answer without outcome took too long. `limits.seconds` is ignored. Raises
    nothing for reasons of the peer.
    """
    session = _Session(Answer(request, limits, content))
    transport.set_protocol(session)
    session.connection_made(transport)
    await session.wait(until)
    return session.answer


async def _converse(session: _Session, endpoint: Endpoint, dialer: Dialer, until: float) -> FetchOutcome:
    """Connect, wait for the answer no longer than loop time `until`, and close the connection."""
    remaining = max(until - asyncio.get_running_loop().time(), 0.0)
    timeouts = Timeouts(resolve=remaining, connect=remaining, proxy=remaining, handshake=remaining)
    record = ConnectionRecord(timeouts=timeouts, deadline=until)
    try:
        transport = await dialer.dial(endpoint, lambda: session, record)
    except RouteError as error:
        late = error.outcome in {Outcome.DEADLINE, Outcome.CONNECT_TIMEOUT}
        return FetchOutcome.TIMEOUT if late else FetchOutcome.UNREACHABLE
    try:
        await session.wait(until)
    finally:
        # The request has been answered or given up: nothing that is still to be sent or read matters.
        transport.abort()
    outcome = session.answer.outcome or FetchOutcome.TIMEOUT
    await session.closed.wait()
    return outcome


def _fetched(url: str, outcome: FetchOutcome, answer: Answer, exchange_seconds: float | None) -> Fetched:
    """Make the record of what was read."""
    head, exchange_ms = answer.head, None if exchange_seconds is None else round(exchange_seconds * 1000, 3)
    if head is None:
        return Fetched(url=url, outcome=outcome, exchange_ms=exchange_ms)
    date, age, location = (_single(head.headers, name) for name in (b"date", b"age", b"location"))
    return Fetched(
        url=url,
        outcome=outcome,
        status=head.status_code,
        location=None if location is None else printable(location),
        date=None if date is None else parse_date(date.decode("latin-1")),
        age_seconds=None if age is None else _age(age),
        body=answer.body,
        exchange_ms=exchange_ms,
    )


def _single(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of a header that is there exactly once: of two that contradict, neither can be believed."""
    values = [value for key, value in headers if key == name]
    return values[0] if len(values) == 1 else None


def _age(digits: bytes) -> int | None:
    """Parse delta-seconds (RFC 9111 section 1.2.2); None when it is not a number."""
    if not digits.isdigit():
        return None
    significant = digits.lstrip(b"0") or b"0"
    # Bounded before it is converted: Python refuses more than 4300 digits.
    return AGE_SECONDS_MAX if len(significant) > len(str(AGE_SECONDS_MAX)) else min(int(significant), AGE_SECONDS_MAX)


class _Session(asyncio.Protocol):
    """Carries an `Answer` over a transport.

    `sent` is the loop's time of the request, `settled` is set when there is an outcome, `closed` when the connection is
    gone.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: float | None = None
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()

    async def wait(self, until: float) -> None:
        """Wait for an outcome, no longer than loop time `until`."""
        try:
            async with asyncio.timeout_at(until):
                await self.settled.wait()
        except TimeoutError:
            return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self.sent = asyncio.get_running_loop().time()
        cast("asyncio.Transport", transport).write(self.answer.request)  # not every loop's derives from asyncio's class

    def data_received(self, data: bytes) -> None:
        """Parse the answer."""
        self.answer.receive(data)
        self._check()

    def eof_received(self) -> None:
        """End the answer; returning None closes the transport."""
        self.answer.connection_closed()
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer. A reset does not end a body that has no length: it truncates it."""
        if exc is None:
            self.answer.connection_closed()
        elif self.answer.outcome is None:
            self.answer.outcome = FetchOutcome.UNREACHABLE
        self.closed.set()
        self._check()

    def _check(self) -> None:
        if self.answer.outcome is not None:
            self.settled.set()
