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
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from detector.errors import InputError
from detector.knowledge.data_set import shipped
from detector.model import Record
from detector.origin.assess import Judgment, judge
from detector.origin.claims import Claims
from detector.origin.logs import LogFormat, LogReader
from detector.origin.offer import Offer, OfferError
from detector.origin.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.knowledge.browser_offers import BrowserOffers, Family

    Headers = Iterable[tuple[str, str]]
    """Names in lower case and values, in the order in which they came."""

ASSESSED_MAX: Final = 4096
"""Assessments remembered, each with a hello and its lists, about 5 KiB: 20 MiB."""

ASSESSED_BYTES_MAX: Final = ASSESSED_MAX * 2048
"""Bytes of the hellos and headers of those: browsers' hellos have 2 KiB. Parsed, one takes up to 20 times as much."""

FORWARDED_CHARACTERS_MAX: Final = 8 * 1024
"""Characters of a proxy's header that is read; HAProxy's has about 2 KiB where OpenSSL offers everything it has."""

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


Form = Literal["ja4", "nginx", "haproxy", "jsonl"]
"""What a proxy's header holds."""


class Proxy(Record, frozen=True, kw_only=True):
    """A CDN, load balancer or reverse proxy of the site's own, which ends its clients' TLS.

    Attributes:
        peers: networks or addresses that it connects from, and `unix` for a Unix socket. Nobody else may be able to
            connect from there: what comes from there is believed.
        header: the header in which it passes what its client offered. It must replace what a client sends.
        form: what is in that header: a JA4 fingerprint, or the fields that `detector origin judge` reads in a log of
            nginx or HAProxy, as one JSON object.
    """

    peers: tuple[str, ...]
    header: str
    form: Form = "ja4"


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


class _Seen(NamedTuple):
    """Where an offer was seen: a ClientHello, or a header's value in this form."""

    form: Form | None
    content: bytes


class _Read:
    """What matters of one request's headers."""

    __slots__ = ("added", "agent", "forwarded", "hints")

    def __init__(self) -> None:
        self.agent: str | None = None
        self.hints: str | None = None
        self.added: list[str] = []
        self.forwarded: list[tuple[str, str]] = []

    def forwarded_by(self, proxy: Proxy) -> _Seen | None:
        """The offer in this proxy's header; None where it is missing, too long, or there are several of it."""
        values = [value for name, value in self.forwarded if name == proxy.header.lower()]
        if len(values) != 1 or len(values[0]) > FORWARDED_CHARACTERS_MAX:
            return None
        return _Seen(proxy.form, values[0].encode("utf-8", "surrogateescape"))


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
        self._assessed: dict[tuple[_Seen, Claims, tuple[str, ...]], Assessment | None] = {}
        self._bytes = 0
        self._networks = [(network, proxy) for proxy in proxies for network in _networks(proxy)]
        self._forwarded = {*JA4_HEADERS, *(proxy.header.lower() for _, proxy in self._networks)}
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
        seen = None if hello is None else _Seen(None, hello)
        if (proxy := self._proxy_of(peer)) is not None:
            seen = read.forwarded_by(proxy)
        elif read.forwarded and not self._warned:
            self._warn(read.forwarded[0][0])
        if seen is None:
            return None
        key = seen, Claims.of(read.agent, read.hints), tuple(read.added)
        if key not in self._assessed:
            self._assessed[key] = self._assessment(*key)
            self._forget(len(seen.content))
        return self._assessed[key]

    def _forget(self, added: int) -> None:
        """Make room for the newest assessment, which has `added` bytes; it stays."""
        self._bytes += added
        while len(self._assessed) > ASSESSED_MAX or (self._bytes > ASSESSED_BYTES_MAX and len(self._assessed) > 1):
            oldest = next(iter(self._assessed))
            del self._assessed[oldest]
            self._bytes -= len(oldest[0].content)

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

    def _assessment(self, seen: _Seen, claims: Claims, added: tuple[str, ...]) -> Assessment | None:
        try:
            offer = self._offer(seen)
        except OfferError:  # OpenSSL accepts more than is parsed here; a proxy may write no fingerprint
            return None
        if offer is None:
            return None
        found = judge(offer, claims, headers=added, nothing_in_between=self._nothing_in_between, data=self._data)
        return Assessment(judgment=found, offer=offer, claims=claims, headers=added)

    def _offer(self, seen: _Seen) -> Offer | None:
        if seen.form is None:
            return Offer.of_hello(seen.content)
        if seen.form == "ja4":
            return Offer.of_ja4(seen.content.decode("latin-1"), data=self._data)
        return next((entry.offer for entry in LogReader(LogFormat(seen.form)).entries([seen.content])), None)

    def _proxy_of(self, peer: str | None) -> Proxy | None:
        """The proxy that connects from there."""
        if peer is None or not self._networks:
            return None
        try:
            address = None if peer == UNIX_SOCKET else _address(peer)
        except ValueError:  # a test client's name
            return None
        for network, proxy in self._networks:
            if network is None if address is None else network is not None and address in network:
                return proxy
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
    if proxy.form not in get_args(Form):
        raise InputError(f"proxies: {proxy.form!r} is no form.", advice=f"Give one of {', '.join(get_args(Form))}.")
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
