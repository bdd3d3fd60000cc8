"""How bytes get to an endpoint: name resolution, address racing, HTTP CONNECT proxies.

Room: probe. Opens sockets and starts resolver threads; judges nothing.

A `Dialer` connects a protocol to an endpoint and writes what it learns into a `Journal` as it goes, so that whoever
gives up waiting still has the facts up to that moment. Failures are `RouteError`, which carries an `Outcome` and no
text. Nothing here reads the environment: `proxy_for` gets it as an argument.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs
import h11

from detector.errors import ProxyError
from detector.model import Endpoint, Outcome, Record, Route

from . import outcomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

ProtocolFactory = Callable[[], asyncio.Protocol]
Address = tuple[str, int]
"""Host (name or literal) and port."""
ResolveMap = Mapping[Address, Address]
"""Where to connect instead, by host (lower case) and port; like curl's --connect-to."""
SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddressInfo = tuple[int, int, int, str, SocketAddress]
"""One answer of `socket.getaddrinfo`."""

HAPPY_EYEBALLS_DELAY_SECONDS: Final = 0.25
"""Connection Attempt Delay recommended by RFC 8305 section 5."""

ADDRESSES_MAX: Final = 16
"""Addresses tried for one name; a resolver on the way may answer with any number of them."""

LOOKUPS_MAX: Final = 64
"""Resolver threads at once. A thread that hangs cannot be stopped, only left behind; more of them would help nobody."""

PROXY_HEAD_OCTETS_MAX: Final = 16 * 1024
"""Octets of a proxy's answer before its head must be complete. Common servers allow 8 KiB, browsers more."""

INTERIM_RESPONSES_MAX: Final = 8
"""Responses of class 1xx accepted before the real one (RFC 9110 section 15.2 sets no bound)."""

HTTP_PORT: Final = 80
"""Default port of an http URL (RFC 9110 section 4.2.1)."""

PORT_MAX: Final = 65535
"""Largest TCP port (RFC 9293 section 3.1)."""

_SUCCESS: Final = range(200, 300)
_AUTHENTICATION_REQUIRED: Final = 407
"""Proxy Authentication Required (RFC 9110 section 15.5.8)."""


class Timeouts(Record, frozen=True, kw_only=True):
    """Seconds each phase of one connection may take.

    `resolve` bounds name resolution; `connect` all address attempts together; `proxy` the CONNECT exchange;
    `handshake` the whole TLS handshake, so that a peer sending one octet at a time gains nothing; and `witness` the
    question to a witness. Some interceptors need seconds for their first certificate.
    """

    resolve: float = 5.0
    connect: float = 5.0
    proxy: float = 8.0
    handshake: float = 8.0
    witness: float = 5.0


class RouteError(Exception):
    """The endpoint was not reached. Internal to this room: `client` turns it into an observation."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class Journal:
    """What is known of one connection so far: `address` (peer, as `host:port`) and `timings_ms` by phase.

    `deadline` is the event loop's time past which no phase may go on, `clock` gives seconds for the timings.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        deadline: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.deadline = deadline
        self.clock = clock
        self.address: str | None = None
        self.timings_ms: dict[str, float] = {}

    @contextlib.contextmanager
    def timing(self, phase: str) -> Iterator[None]:
        """Record how long the body took, however it ends."""
        begun = self.clock()
        try:
            yield
        finally:
            self.timings_ms[phase] = round((self.clock() - begun) * 1000, 3)

    @contextlib.asynccontextmanager
    async def phase(self, name: str, seconds: float, late: Outcome) -> AsyncIterator[None]:
        """Bound the body to `seconds` and to the deadline, and record how long it took.

        Raises `RouteError`: DEADLINE when the deadline passed, `late` when only this phase's time did.
        """
        until = asyncio.get_running_loop().time() + seconds
        by_deadline = self.deadline is not None and self.deadline <= until
        limit = asyncio.timeout_at(self.deadline if by_deadline else until)
        with self.timing(name):
            try:
                async with limit:
                    yield
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise RouteError(Outcome.DEADLINE if by_deadline else late) from error


class Dialer(Protocol):
    """A way to reach endpoints."""

    @property
    def route(self) -> Route:
        """What to call this way in an observation."""

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect the protocol that `factory` makes to `endpoint`.

        Whatever is learned goes into `journal` at once. Raises `RouteError`; when it raises or is cancelled,
        nothing stays open.
        """


class Resolver:
    """Name resolution by the system's own resolver, in one daemon thread for each lookup.

    Not in the event loop's executor: a resolver that hangs would keep `asyncio.run` from returning. One event loop
    uses one resolver.
    """

    def __init__(self, *, lookups_max: int = LOOKUPS_MAX) -> None:
        self._slots = asyncio.Semaphore(lookups_max)

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Addresses of `host`, at most `ADDRESSES_MAX`. A literal address costs no thread.

        Raises `OSError` (`socket.gaierror` among them).
        """
        if (literal := _literal(host)) is not None:
            return _look_up(literal, port, socket.AI_NUMERICHOST)
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

        def work() -> None:
            found: Sequence[AddressInfo] = ()
            failure: OSError | None = None
            try:
                found = _look_up(host, port, 0)
            except OSError as error:
                failure = error
            # The loop may be gone by the time a hanging resolver answers: nobody is waiting then.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(deliver, found, failure)

        def deliver(found: Sequence[AddressInfo], failure: OSError | None) -> None:
            self._slots.release()
            if answer.done():
                return
            if failure is None:
                answer.set_result(found)
            else:
                answer.set_exception(failure)

        try:
            threading.Thread(target=work, name="detector-resolve", daemon=True).start()
        except RuntimeError as error:
            self._slots.release()
            raise RouteError(Outcome.RESOURCES) from error
        return await answer


def _look_up(host: str, port: int, flags: int) -> Sequence[AddressInfo]:
    """Ask the system's resolver; blocks. A name or port that cannot be one is as unknown as any other."""
    if not 0 < port <= PORT_MAX:
        raise socket.gaierror(socket.EAI_SERVICE, "not a TCP port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags)
    except ValueError as error:
        # UnicodeError: a label of more than 63 octets; ValueError: a null octet.
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return found[:ADDRESSES_MAX]


def _literal(host: str) -> str | None:
    """Return `host` without brackets when it is an IP address, perhaps with a zone (RFC 4007 section 11)."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return bare


class DirectDialer:
    """Straight to the endpoint, over IPv4 or IPv6, whichever answers first (RFC 8305).

    `resolve` maps (host, port) to where to connect instead and goes before `Endpoint.address`. One event loop uses
    one dialer.
    """

    def __init__(self, resolve: ResolveMap | None = None, *, resolver: Resolver | None = None) -> None:
        self._resolve = _normalised(resolve)
        self._resolver = resolver or Resolver()

    @property
    def route(self) -> Route:
        """What to call this way in an observation."""
        return Route.DIRECT

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect as `Dialer.dial` says."""
        host, port = _mapped(self._resolve, endpoint) or (endpoint.host, endpoint.port)
        return await open_connection(host, port, factory, journal, resolver=self._resolver)


async def open_connection(
    host: str, port: int, factory: ProtocolFactory, journal: Journal, *, resolver: Resolver
) -> asyncio.Transport:
    """Resolve `host`, race its addresses, and connect the protocol that `factory` makes.

    Raises `RouteError`.
    """
    timeouts = journal.timeouts
    try:
        async with journal.phase("resolve", timeouts.resolve, Outcome.DNS_FAILURE):
            addresses = await resolver.resolve(host, port)
        async with journal.phase("connect", timeouts.connect, Outcome.CONNECT_TIMEOUT):
            return await _race(addresses, factory, journal)
    except OSError as error:
        raise RouteError(outcomes.of_os_error(error)) from error


async def _race(addresses: Sequence[AddressInfo], factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
    try:
        connected = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_SECONDS, interleave=1
        )
    except RuntimeError as error:
        # uvloop reports some refusals of the operating system like this.
        raise RouteError(Outcome.UNREACHABLE) from error
    try:
        # The socket may be reset between connecting and being asked.
        with contextlib.suppress(OSError):
            journal.address = _peer_name(connected.getpeername())
        transport, _ = await asyncio.get_running_loop().create_connection(factory, sock=connected)
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connected.close()
        raise
    return transport


def _peer_name(peer: tuple[Any, ...]) -> str:
    """Write an AF_INET or AF_INET6 socket address as `host:port`."""
    host, port = str(peer[0]), int(peer[1])
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _normalised(resolve: ResolveMap | None) -> dict[Address, Address]:
    return {(host.rstrip(".").lower(), port): target for (host, port), target in (resolve or {}).items()}


def _mapped(resolve: Mapping[Address, Address], endpoint: Endpoint) -> Address | None:
    """Return where the caller's rules, then the pin file, send this endpoint."""
    return resolve.get((endpoint.host.rstrip(".").lower(), endpoint.port)) or endpoint.address


class Proxy(Record, frozen=True, kw_only=True):
    """An HTTP proxy that opens tunnels with CONNECT. Credentials never show when it is printed."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self!s})"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", str(self))]

    def authorization(self) -> bytes | None:
        """Return the Proxy-Authorization value for Basic authentication (RFC 7617), if there are credentials."""
        if self.username is None:
            return None
        return b"Basic " + base64.b64encode(f"{self.username}:{self.password or ''}".encode())


def parse_proxy(text: str) -> Proxy:
    """Read a proxy URL: `http://[user[:password]@]host[:port]`, or `host:port` alone, as environments have it.

    Percent-encoding in the credentials is undone. Raises `ProxyError`, whose text never repeats the credentials.
    """
    url = text.strip()
    if "://" not in url:
        url = f"http://{url}"
    scheme = url.partition("://")[0].lower()
    if scheme != "http":
        known = scheme if scheme in {"https", "socks", "socks4", "socks4a", "socks5", "socks5h"} else "this kind of"
        raise ProxyError(
            f"The proxy URL names a {known} proxy, which is not supported yet.",
            advice="Give an HTTP proxy as http://host:port, or 'none' to connect directly.",
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        username = None if parts.username is None else unquote(parts.username, errors="strict")
        password = None if parts.password is None else unquote(parts.password, errors="strict")
    except ValueError:
        # Not chained: the library's text may repeat a part of the password.
        raise _unreadable_proxy() from None
    if not host or port == 0 or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _unreadable_proxy()
    if any(character.isspace() or not character.isprintable() for character in host):
        raise _unreadable_proxy()
    if username is not None and ":" in username:
        # RFC 7617 section 2: a user-id with a colon cannot be sent.
        raise ProxyError(
            "The user name in the proxy URL contains a colon, which HTTP Basic authentication cannot carry.",
            advice="Use another account for the proxy.",
        )
    return Proxy(host=host, port=port or HTTP_PORT, username=username, password=password)


def _unreadable_proxy() -> ProxyError:
    return ProxyError(
        "The proxy URL cannot be read.",
        advice="Write it as http://host:port or http://user:password@host:port, with ':', '/', '@' and '%' in the "
        "credentials percent-encoded.",
    )


def proxy_for(host: str, port: int, setting: str, environ: Mapping[str, str]) -> Proxy | None:
    """Choose the proxy for `host` and `port`: None means to connect directly.

    `setting` is `none`, `env`, or a proxy URL. With `env`, the variables HTTPS_PROXY, ALL_PROXY and NO_PROXY (lower
    case first, as curl reads them) of `environ` decide. Raises `ProxyError`.
    """
    if setting == "none":
        return None
    if setting != "env":
        return parse_proxy(setting)
    if _bypassed(host, port, _variable(environ, "no_proxy")):
        return None
    for name in ("https_proxy", "all_proxy"):
        if value := _variable(environ, name):
            return parse_proxy(value)
    return None


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _bypassed(host: str, port: int, rules: str) -> bool:
    """Whether NO_PROXY names this host: `*`, a domain and what is under it, an address, a network; perhaps a port."""
    name = host.strip("[]").rstrip(".").lower()
    return any(_bypass_rule_fits(rule.strip().lower(), name, port) for rule in rules.split(",") if rule.strip())


def _bypass_rule_fits(rule: str, name: str, port: int) -> bool:
    if rule == "*":
        return True
    with contextlib.suppress(ValueError):
        network = ipaddress.ip_network(rule.strip("[]"), strict=False)
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(name.partition("%")[0]) in network
        return False
    domain, separator, rule_port = rule.rpartition(":")
    if separator and rule_port.isdecimal():
        return int(rule_port) == port and _bypass_rule_fits(domain, name, port)
    domain = rule.removeprefix("*").lstrip(".").rstrip(".")
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))


class ConnectDialer:
    """Through an HTTP proxy's CONNECT tunnel (RFC 9110 section 9.3.6).

    The endpoint's name is resolved by the proxy, not here, unless `resolve` or `Endpoint.address` says where it is.
    The address in the observation is the proxy's. One event loop uses one dialer.
    """

    def __init__(self, proxy: Proxy, resolve: ResolveMap | None = None, *, resolver: Resolver | None = None) -> None:
        self._proxy = proxy
        self._resolve = _normalised(resolve)
        self._resolver = resolver or Resolver()

    @property
    def route(self) -> Route:
        """What to call this way in an observation."""
        return Route.HTTP_CONNECT

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect as `Dialer.dial` says."""
        host, port = _mapped(self._resolve, endpoint) or (endpoint.host, endpoint.port)
        try:
            request = _connect_request(host, port, self._proxy.authorization())
        except (UnicodeError, h11.LocalProtocolError) as error:
            # No proxy could resolve it either, and it must not end up in a header.
            raise RouteError(Outcome.DNS_FAILURE) from error
        established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tunnel = functools.partial(_Tunnel, request, factory, established)
        try:
            transport = await open_connection(
                self._proxy.host, self._proxy.port, tunnel, journal, resolver=self._resolver
            )
        except RouteError as error:
            raise RouteError(outcomes.through_proxy(error.outcome)) from error
        try:
            async with journal.phase("proxy", journal.timeouts.proxy, Outcome.PROXY_UNREACHABLE):
                await established
        except BaseException:  # as in `_race`
            transport.abort()
            raise
        return transport


def _connect_request(host: str, port: int, authorization: bytes | None) -> h11.Request:
    """Make the CONNECT request; its target is in authority-form (RFC 9112 section 3.2.3).

    Raises `UnicodeError` or `h11.LocalProtocolError` for what no host name can be.
    """
    bare = _literal(host) or host
    name = bare.encode("ascii" if bare.isascii() else "idna")
    authority = b"[%b]:%d" % (name, port) if b":" in name else b"%b:%d" % (name, port)
    headers = [(b"Host", authority)]
    if authorization is not None:
        headers.append((b"Proxy-Authorization", authorization))
    return h11.Request(method=b"CONNECT", target=authority, headers=headers)


class _Tunnel(asyncio.Protocol):
    """The CONNECT exchange.

    On success it puts the inner protocol in its own place within the same callback, so that no octet behind the
    proxy's answer can get lost.
    """

    def __init__(
        self,
        request: h11.Request,
        factory: ProtocolFactory,
        established: asyncio.Future[None],
    ) -> None:
        self._factory = factory
        self._established = established
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=PROXY_HEAD_OCTETS_MAX)
        self._request = request
        self._interim_responses = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the tunnel."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            request = self._http.send(self._request) or b""
            transport.write(request + (self._http.send(h11.EndOfMessage()) or b""))

    def data_received(self, data: bytes) -> None:
        """Read the proxy's answer."""
        if self._established.done():
            return
        try:
            self._http.receive_data(data)
            self._read_answer()
        except h11.RemoteProtocolError:
            self._fail(Outcome.PROXY_PROTOCOL)

    def eof_received(self) -> None:
        """Give up: the proxy hung up before it answered."""
        self._fail(Outcome.PROXY_PROTOCOL)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Give up: the proxy is gone."""
        self._fail(Outcome.PROXY_PROTOCOL)

    def _read_answer(self) -> None:
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.InformationalResponse):
                self._interim_responses += 1
                if self._interim_responses > INTERIM_RESPONSES_MAX:
                    self._fail(Outcome.PROXY_PROTOCOL)
                    return
                continue
            if not isinstance(event, h11.Response):
                self._fail(Outcome.PROXY_PROTOCOL)
            elif event.status_code in _SUCCESS:
                self._hand_over()
            elif event.status_code == _AUTHENTICATION_REQUIRED:
                self._fail(Outcome.PROXY_AUTH_REQUIRED)
            else:
                self._fail(Outcome.PROXY_REFUSED)
            return

    def _hand_over(self) -> None:
        if self._transport is None or self._established.done():
            return
        first_bytes, _ = self._http.trailing_data
        inner = self._factory()
        self._transport.set_protocol(inner)
        inner.connection_made(self._transport)
        if first_bytes:
            inner.data_received(first_bytes)
        self._established.set_result(None)

    def _fail(self, outcome: Outcome) -> None:
        if not self._established.done():
            self._established.set_exception(RouteError(outcome))
