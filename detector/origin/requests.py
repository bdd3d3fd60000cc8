"""From one request to its assessment: which offer belongs to it, and whether its browser can have sent that.

Room: origin. Pure: a ClientHello, an address and headers in, an `Assessment` out.

    requests = Requests(proxies=[Proxy(peers=("192.0.2.0/24",), header="cloudfront-viewer-ja4-fingerprint")])
    requests.assess(hello, peer, headers)

Two sources of an offer exclude each other. A connection from a peer that is configured as a proxy of the site's own
ends there: its ClientHello is the proxy's and says nothing about anybody, so the offer is what the proxy wrote into a
header. On every other connection the ClientHello is the client's, and such headers are ignored: a client can write
anything into them.

The middlewares of this room (`aiohttp`, `asgi`) extract the arguments, and nothing else.
"""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING, Final

from detector.errors import InputError
from detector.knowledge.data_set import shipped
from detector.model import Record
from detector.origin.assess import Judgment, judge
from detector.origin.claims import Claims
from detector.origin.offer import Offer, OfferError
from detector.origin.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from detector.knowledge.browser_offers import BrowserOffers, Family

    Headers = Iterable[tuple[str, str]]
    """Names in lower case and values, in the order in which they came."""

ASSESSED_MAX: Final = 4096
"""Assessments remembered, each with a hello and its lists, about 5 KiB: 20 MiB."""

UNIX_SOCKET: Final = "unix"
"""The peer at the other end of a Unix socket, which has no address."""

JA4_HEADERS: Final[dict[str, str]] = {
    "cloudfront-viewer-ja4-fingerprint": "Amazon CloudFront",
    "cdn-ja4": "bunny.net",
}
"""Headers in which a CDN passes the JA4 of its client, by its documentation of November 2026. With others (Fastly,
Cloudflare, Google Cloud, Envoy) the operator chooses the name."""

LOG: Final = logging.getLogger("detector.origin")

_USER_AGENT: Final = "user-agent"
_HINTS: Final = "sec-ch-ua"


class Proxy(Record, frozen=True, kw_only=True):
    """A CDN, load balancer or reverse proxy of the site's own, which ends its clients' TLS.

    Attributes:
        peers: networks or addresses that it connects from, and `unix` for a Unix socket. Nobody else may be able to
            connect from there: what comes from there is believed.
        header: the header in which it passes the JA4 fingerprint of its client. It must replace what a client sends.
    """

    peers: tuple[str, ...]
    header: str


class Assessment(Record, frozen=True, kw_only=True):
    """What is known of one request: what was offered, the browser it names, and what follows from that alone.

    `headers` are the names of those headers that only interceptors add. Holds nothing about a person.
    """

    judgment: Judgment
    offer: Offer
    claims: Claims
    headers: tuple[str, ...] = ()

    def session(self, network: str, account: str | None = None, *, engine: Family | None = None) -> Session:
        """Return the session of this request for `detector.origin.sessions`, which explains the arguments."""
        return Session(
            network=network,
            account=account,
            offer=self.offer,
            claims=self.claims,
            headers=self.headers,
            engine=engine,
        )


class _Read:
    """What matters of one request's headers."""

    __slots__ = ("added", "agent", "forwarded", "hints")

    def __init__(self) -> None:
        self.agent: str | None = None
        self.hints: str | None = None
        self.added: list[str] = []
        self.forwarded: list[tuple[str, str]] = []


class Requests:
    """Assesses the requests of one server.

    Args:
        proxies: what ends TLS in front of this server.
        nothing_in_between: the operator states that nothing else of the site's own does (`detector.origin.judge`).
        data: what browsers ever offered; what the package ships unless given.

    Raises:
        InputError: a proxy whose `peers` are no networks, or whose `header` is no name of one.
    """

    def __init__(
        self, *, proxies: Iterable[Proxy] = (), nothing_in_between: bool = False, data: BrowserOffers | None = None
    ) -> None:
        self._nothing_in_between = nothing_in_between
        self._data = shipped().browser_offers if data is None else data
        self._assessed: dict[Hashable, Assessment | None] = {}
        self._networks = [(network, proxy.header.lower()) for proxy in proxies for network in _networks(proxy)]
        self._forwarded = {*JA4_HEADERS, *(header for _, header in self._networks)}
        self._warned = False

    def assess(self, hello: bytes | None, peer: str | None, headers: Headers) -> Assessment | None:
        """Return what is found in one request; None where there is no offer to compare.

        Args:
            hello: the ClientHello of its connection, None without TLS.
            peer: the address at the other end of the TCP connection, `UNIX_SOCKET` for a Unix socket; None where it is
                not known, which is no proxy's.
            headers: the request's headers.
        """
        read = self._read(headers)
        header = self._header_of(peer) if self._networks and peer is not None else None
        offer: bytes | str | None = hello
        if header is not None:
            values = [value for name, value in read.forwarded if name == header]
            offer = values[0] if len(values) == 1 else None
        elif read.forwarded and not self._warned:
            self._warn(read.forwarded[0][0])
        if offer is None:
            return None
        claims = Claims.of(read.agent, read.hints)
        key = offer, claims, tuple(read.added)
        if key not in self._assessed:
            if len(self._assessed) >= ASSESSED_MAX:
                del self._assessed[next(iter(self._assessed))]
            self._assessed[key] = self._assessment(offer, claims, tuple(read.added))
        return self._assessed[key]

    def _read(self, headers: Headers) -> _Read:
        """Take what matters from the headers, in one pass; of the browser's own the first value."""
        read = _Read()
        for name, value in headers:
            if name == _USER_AGENT:
                read.agent = read.agent or value
            elif name == _HINTS:
                read.hints = read.hints or value
            elif name in self._data.headers:
                read.added.append(name)
            elif name in self._forwarded:
                read.forwarded.append((name, value))
        return read

    def _assessment(self, seen: bytes | str, claims: Claims, added: tuple[str, ...]) -> Assessment | None:
        try:
            offer = Offer.of_hello(seen) if isinstance(seen, bytes) else Offer.of_ja4(seen, data=self._data)
        except OfferError:  # OpenSSL accepts more than is parsed here; a proxy may write no fingerprint
            return None
        found = judge(offer, claims, headers=added, nothing_in_between=self._nothing_in_between, data=self._data)
        return Assessment(judgment=found, offer=offer, claims=claims, headers=added)

    def _header_of(self, peer: str) -> str | None:
        """The header of the proxy that connects from there; None where no proxy does."""
        address = None if peer == UNIX_SOCKET else _address(peer)
        for network, header in self._networks:
            if network is None if address is None else network is not None and address in network:
                return header
        return None

    def _warn(self, name: str) -> None:
        """Say once that a header was ignored: it is forged, or somebody forgot to configure a proxy."""
        self._warned = True
        LOG.warning(
            "The header %s came from an address that is not among the peers of a configured proxy, and is ignored. "
            "If a CDN or proxy of your own sends it, configure that: until then, that proxy's ClientHello is compared "
            "with its clients' browsers.",
            name,
        )


def _networks(proxy: Proxy) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network | None]:
    """The networks of a proxy; None stands for Unix sockets."""
    header = proxy.header
    if not header or not header.replace("-", "").replace("_", "").isalnum() or not header.isascii():
        raise InputError(f"proxies: {header[:100]!r} is not the name of a header.", advice="Give a name like CDN-JA4.")
    found: list[ipaddress.IPv4Network | ipaddress.IPv6Network | None] = []
    for peer in proxy.peers:
        try:
            found.append(None if peer == UNIX_SOCKET else ipaddress.ip_network(peer))
        except ValueError:  # it repeats the whole text
            raise InputError(
                f"proxies: {peer[:100]!r} is no network that proxies connect from.",
                advice="Give addresses, networks like 192.0.2.0/24 (no bits of a host), or 'unix' for a Unix socket.",
            ) from None
    return found


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The peer's address, which a socket for both versions has in the notation of IPv6 (RFC 4291 section 2.5.5.2)."""
    address = ipaddress.ip_address(peer)
    return getattr(address, "ipv4_mapped", None) or address
