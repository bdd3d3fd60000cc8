"""Through a proxy: connects to it, over TLS where its URL says so, and has the exchange that opens the tunnel.

Room: probe. Opens sockets through `direct`; judges nothing. TLS to a proxy is captured like TLS to an endpoint, and
what that showed is written into the journal before anything is sent over it. Whether credentials may be sent over it is
for `vouch` to say, which is given by whoever judges; without it none are.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Final, cast

import msgspec

from detector.model import Endpoint, Outcome, ProxyScheme, Route
from detector.probe import outcomes
from detector.probe.tls.carrier import HTTP_1_1, Carrier, observe

from .connect import ConnectExchange
from .dialing import Journal, RouteError, mapped, normalised
from .direct import Resolver, open_connection, spell
from .socks import Socks4aExchange, Socks5Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.model import Observation

    from .dialing import ProtocolFactory, ResolveMap
    from .negotiation import Exchange
    from .proxies import Proxy

    Vouch = Callable[[Proxy, Observation], bool]
    """Whether the observation shows the proxy itself, so that credentials may be sent to it."""

_ROUTES: Final = {
    ProxyScheme.HTTP: Route.HTTP_CONNECT,
    ProxyScheme.HTTPS: Route.HTTPS_CONNECT,
    ProxyScheme.SOCKS4A: Route.SOCKS4A,
    ProxyScheme.SOCKS5: Route.SOCKS5,
}


def vouch_for_nobody(proxy: Proxy, observation: Observation) -> bool:  # noqa: ARG001 - the signature of who judges
    """For when nobody judges the proxy's certificate."""
    return False


class ProxyDialer:
    """Through a proxy's tunnel: HTTP CONNECT over TCP or TLS, SOCKS4a or SOCKS5.

    The endpoint's name is resolved by the proxy, not here, unless `resolve` or `Endpoint.address` says where it is.
    The address in the observation is the proxy's. One event loop uses one dialer.
    """

    def __init__(
        self,
        proxy: Proxy,
        resolve: ResolveMap | None = None,
        *,
        resolver: Resolver | None = None,
        vouch: Vouch = vouch_for_nobody,
    ) -> None:
        self._proxy = proxy
        self._resolve = normalised(resolve)
        self._resolver = resolver or Resolver()
        self._vouch = vouch

    @property
    def route(self) -> Route:
        """What to call this way in an observation."""
        return _ROUTES[self._proxy.scheme]

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect as `Dialer.dial` says."""
        host, port = mapped(self._resolve, endpoint) or (endpoint.host, endpoint.port)
        journal.route, journal.proxy, journal.asked_for = self.route, self._proxy.shown, spell(host, port)
        exchange = self._exchange(host, port)
        try:
            if self._proxy.scheme is ProxyScheme.HTTPS:
                return await self._over_tls(exchange, factory, journal)
            return await self._over_tcp(exchange, factory, journal)
        finally:
            journal.proxy = msgspec.structs.replace(
                journal.proxy, status=exchange.status, auth_schemes=exchange.auth_schemes
            )

    def _exchange(self, host: str, port: int) -> Exchange:
        proxy = self._proxy
        if proxy.scheme is ProxyScheme.SOCKS4A:
            return Socks4aExchange(host, port, proxy.username or "")
        if proxy.scheme is ProxyScheme.SOCKS5:
            credentials = None if proxy.username is None else (proxy.username, proxy.password or "")
            return Socks5Exchange(host, port, credentials)
        return ConnectExchange(host, port, proxy.authorization())

    async def _connect(self, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect to the proxy itself."""
        proxy = self._proxy
        try:
            return await open_connection(proxy.host, proxy.port, factory, journal, resolver=self._resolver)
        except RouteError as error:
            raise RouteError(outcomes.through_proxy(error.outcome)) from error

    async def _over_tcp(self, exchange: Exchange, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        transport = await self._connect(functools.partial(_Tunnel, exchange, factory, established), journal)
        try:
            async with journal.phase("proxy", journal.timeouts.proxy, Outcome.PROXY_UNREACHABLE):
                await established
        except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
            transport.abort()
            raise
        return transport

    async def _over_tls(self, exchange: Exchange, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        from detector.probe.tls.handshake import Handshake  # noqa: PLC0415 - OpenSSL is loaded for an HTTPS proxy
        from detector.probe.tls.transport import TLSTransport  # noqa: PLC0415 - as above

        handshake = Handshake(self._proxy.host, alpn=HTTP_1_1)
        aside = Journal(timeouts=journal.timeouts, deadline=journal.deadline, clock=journal.clock)
        carrier = Carrier(handshake, aside)
        transport = await self._connect(lambda: carrier, journal)
        aside.address = journal.address
        try:
            async with journal.phase("proxy", journal.timeouts.proxy, Outcome.PROXY_UNREACHABLE):
                try:
                    await carrier.settled.wait()
                finally:
                    carrier.note("handshake")
                    seen = observe(handshake, Route.DIRECT, aside, Outcome.HANDSHAKE_TIMEOUT)
                    journal.proxy = msgspec.structs.replace(self._proxy.shown, tls=seen)
                self._require(seen)
                established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                tunnel = _Tunnel(exchange, factory, established)
                tls = TLSTransport(handshake.connection, transport)
                tls.set_protocol(tunnel)
                tunnel.connection_made(tls)
                await established
        except BaseException:  # as above
            transport.abort()
            raise
        return tls

    def _require(self, seen: Observation) -> None:
        """Raise `RouteError` unless this connection may carry what is to be sent to the proxy."""
        if seen.outcome is not Outcome.COMPLETE or not seen.key_proved:
            raise RouteError(Outcome.PROXY_TLS)
        if self._proxy.username is not None and not self._vouch(self._proxy, seen):
            raise RouteError(Outcome.PROXY_UNTRUSTED)


ConnectDialer = ProxyDialer
"""The name from when HTTP was the only kind of proxy."""


class _Tunnel(asyncio.Protocol):
    """Carries an `Exchange` over a transport.

    On success it puts the inner protocol in its own place within the same callback, so that no octet behind the
    proxy's answer can get lost.
    """

    def __init__(self, exchange: Exchange, factory: ProtocolFactory, established: asyncio.Future[None]) -> None:
        self._exchange = exchange
        self._factory = factory
        self._established = established
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the tunnel."""
        self._transport = cast("asyncio.Transport", transport)  # not every loop's derives from asyncio's class
        self._transport.write(self._exchange.start())

    def data_received(self, data: bytes) -> None:
        """Read the proxy's answer."""
        if self._established.done() or self._transport is None:
            return
        if answer := self._exchange.receive(data):
            self._transport.write(answer)
        self._check()

    def eof_received(self) -> None:
        """Give up: the proxy hung up before it answered."""
        self._exchange.ended()
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Give up: the proxy is gone."""
        self._exchange.ended()
        self._check()

    def _check(self) -> None:
        if self._established.done() or self._transport is None:
            return
        if self._exchange.failure is not None:
            self._established.set_exception(RouteError(self._exchange.failure))
        elif self._exchange.established:
            inner = self._factory()
            self._transport.set_protocol(inner)
            inner.connection_made(self._transport)
            if self._exchange.leftover:
                inner.data_received(self._exchange.leftover)
            self._established.set_result(None)
