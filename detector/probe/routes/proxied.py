"""The route through a proxy: connects to it, over TLS where its URL says so, and negotiates the tunnel.

Room: probe. Opens sockets through `direct`. TLS to a proxy is captured like TLS to an endpoint, and recorded before
anything is sent over it.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Final, Protocol, cast

import msgspec

from detector.aio.lazy import LazyModule
from detector.model import Endpoint, Outcome, ProxyScheme, Route
from detector.probe import outcomes
from detector.probe.tls.engine import HTTP_1_1
from detector.probe.tls.protocol import HandshakeProtocol

from .connect import ConnectNegotiation
from .dialing import LOG, ConnectionRecord, RouteError, destination, host_port, normalised
from .direct import Resolver, open_connection
from .socks import Socks4aNegotiation, Socks5Negotiation

if TYPE_CHECKING:
    from detector.model import Observation
    from detector.probe.tls import openssl

    from .dialing import ProtocolFactory, ResolveMap
    from .negotiation import Negotiation
    from .proxies import Proxy
else:
    openssl = LazyModule("detector.probe.tls.openssl")  # for an HTTPS proxy only


class ProxyTrust(Protocol):
    """Decides whether credentials may be sent to an HTTPS proxy; the one question that this room asks its caller.

    It cannot wait for the observation to be returned: the answer is needed in the middle of dialing, on the connection
    that was assessed, and a second connection may end at another certificate. Without an answer none are sent.
    """

    def __call__(self, proxy: Proxy, observation: Observation, /) -> bool:
        """Whether the observation of the TLS connection to it shows the proxy itself."""


_ROUTES: Final = {
    ProxyScheme.HTTP: Route.HTTP_CONNECT,
    ProxyScheme.HTTPS: Route.HTTPS_CONNECT,
    ProxyScheme.SOCKS4A: Route.SOCKS4A,
    ProxyScheme.SOCKS5: Route.SOCKS5,
}


class ProxyDialer:
    """Through a proxy's tunnel: HTTP CONNECT over TCP or TLS, SOCKS4a or SOCKS5.

    The proxy resolves the endpoint's name, unless `resolve` or `Endpoint.address` says where it is. The address in the
    observation is the proxy's. `trusts` decides about credentials for an HTTPS proxy. One event loop uses one dialer.
    """

    def __init__(
        self,
        proxy: Proxy,
        resolve: ResolveMap | None = None,
        *,
        resolver: Resolver | None = None,
        trusts: ProxyTrust | None = None,
    ) -> None:
        self._proxy = proxy
        self._resolve = normalised(resolve)
        self._resolver = resolver or Resolver()
        self._trusts = trusts
        self.route: Final = _ROUTES[proxy.scheme]

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as `Dialer.dial` says."""
        host, port = destination(self._resolve, endpoint)
        record.route, record.proxy, record.asked_for = self.route, self._proxy.shown, host_port(host, port)
        negotiation = self._negotiation(host, port)
        over = self._over_tls if self._proxy.scheme is ProxyScheme.HTTPS else self._over_tcp
        try:
            return await over(negotiation, factory, record)
        finally:
            record.proxy = msgspec.structs.replace(
                record.proxy, status=negotiation.status, auth_schemes=negotiation.auth_schemes
            )
            ended = negotiation.failure or ("established" if negotiation.established else "not negotiated")
            LOG.debug("%s: proxy %s: %s (status %s)", endpoint.name, self._proxy, ended, negotiation.status)

    def _negotiation(self, host: str, port: int) -> Negotiation:
        proxy = self._proxy
        if proxy.scheme is ProxyScheme.SOCKS4A:
            return Socks4aNegotiation(host, port, proxy.username or "")
        if proxy.scheme is ProxyScheme.SOCKS5:
            credentials = None if proxy.username is None else (proxy.username, proxy.password or "")
            return Socks5Negotiation(host, port, credentials)
        return ConnectNegotiation(host, port, proxy.authorization())

    async def _connect(self, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect to the proxy itself."""
        proxy = self._proxy
        try:
            return await open_connection(proxy.host, proxy.port, factory, record, resolver=self._resolver)
        except RouteError as error:
            raise RouteError(outcomes.through_proxy(error.outcome)) from error

    async def _over_tcp(
        self, negotiation: Negotiation, factory: ProtocolFactory, record: ConnectionRecord
    ) -> asyncio.Transport:
        established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        transport = await self._connect(functools.partial(_Tunnel, negotiation, factory, established), record)
        try:
            async with record.phase("proxy", record.timeouts.proxy, Outcome.PROXY_UNREACHABLE):
                await established
        except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
            if established.done() and not established.cancelled():
                established.exception()  # a refusal that came as time ran out; asyncio would print it otherwise
            transport.abort()
            raise
        return transport

    async def _over_tls(
        self, negotiation: Negotiation, factory: ProtocolFactory, record: ConnectionRecord
    ) -> asyncio.Transport:
        handshake = openssl.OpenSSLHandshake(self._proxy.host, alpn=HTTP_1_1)
        to_proxy = ConnectionRecord(timeouts=record.timeouts, deadline=record.deadline, clock=record.clock)
        carrier = HandshakeProtocol(handshake, to_proxy)
        transport = await self._connect(lambda: carrier, record)
        to_proxy.address = record.address
        try:
            async with record.phase("proxy", record.timeouts.proxy, Outcome.PROXY_UNREACHABLE):
                try:
                    await carrier.settled.wait()
                finally:
                    carrier.note("handshake")
                    seen = to_proxy.complete(handshake.observation(Outcome.HANDSHAKE_TIMEOUT), Route.DIRECT)
                    record.proxy = msgspec.structs.replace(self._proxy.shown, tls=seen)
                self._require(seen)
                established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                tunnel = _Tunnel(negotiation, factory, established)
                tls = handshake.transport_over(transport)
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
        if self._proxy.username is not None and (self._trusts is None or not self._trusts(self._proxy, seen)):
            raise RouteError(Outcome.PROXY_UNTRUSTED)


class _Tunnel(asyncio.Protocol):
    """Carries a `Negotiation` over a transport.

    On success it installs the inner protocol in its own place within the same callback, so that no byte after the
    proxy's answer is lost.
    """

    def __init__(self, negotiation: Negotiation, factory: ProtocolFactory, established: asyncio.Future[None]) -> None:
        self._negotiation = negotiation
        self._factory = factory
        self._established = established
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the negotiation."""
        self._transport = cast("asyncio.Transport", transport)  # not every loop's derives from asyncio's class
        self._transport.write(self._negotiation.start())

    def data_received(self, data: bytes) -> None:
        """Parse the proxy's answer."""
        if self._established.done() or self._transport is None:
            return
        if answer := self._negotiation.receive(data):
            self._transport.write(answer)
        self._check()

    def eof_received(self) -> None:
        """End the negotiation: the proxy closed before it answered."""
        self._negotiation.connection_closed()
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """End the negotiation: the proxy is gone."""
        self.eof_received()

    def _check(self) -> None:
        if self._established.done() or self._transport is None:
            return
        if self._negotiation.failure is not None:
            self._established.set_exception(RouteError(self._negotiation.failure))
        elif self._negotiation.established:
            inner = self._factory()
            self._transport.set_protocol(inner)
            inner.connection_made(self._transport)
            if self._negotiation.leftover:
                inner.data_received(self._negotiation.leftover)
            self._established.set_result(None)
