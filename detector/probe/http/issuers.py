"""Issuer certificates fetched from where a certificate says they are: AIA caIssuers (RFC 5280 section 4.2.2.1).

Room: probe. Opens connections through a `Dialer`; judges nothing and trusts nothing. What comes back is unauthenticated
bytes that read as certificates: only a signature verified by the caller makes one an issuer. It exists so that a server
that forgot its intermediate is not accused.

The URLs come from certificates that an attacker may have written, so that every fetch is a request somebody else chose
(server-side request forgery). What holds therefore:

* http only, port 80 only, no credentials, no IP literals in any spelling, no bare or private-network names;
* on a direct route no octet is sent to an address that is not public unicast. `PublicResolver` keeps such addresses
  from being connected to at all; `PublicAddressesOnly`, which `IssuerFetcher` puts around its dialer, looks at
  the address the connection really has, so that a name that changes its mind between two lookups gains nothing;
* no redirects; bounded octets, seconds, URLs a certificate, levels, and fetches altogether.

What remains: through a proxy the proxy resolves the name, and its own rules decide what it reaches; whoever runs the
server of such a URL learns that somebody at this address met the certificate, as with any browser that fetches issuers.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import re
from typing import TYPE_CHECKING, Final, cast

from detector.model import PROXIED, Endpoint, Outcome, Route
from detector.probe.routes import HTTP_PORT, Resolver, RouteError
from detector.trust import der
from detector.trust.certificate import Certificate
from detector.trust.hostname import NETWORK_SUFFIXES

from .client import FetchOutcome, Limits, fetch, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from detector.probe.routes import Address, AddressInfo, Dialer, Journal, ProtocolFactory

URLS_MAX: Final = 2
"""Locations tried for the issuers of one certificate, and on one level of `complete`. Public leaves name one; two
allow for a mirror."""

LEVELS_MAX: Final = 3
"""Issuers above the leaf that are followed. Public paths have at most three certificates above the leaf, and the last
of them is a root that is at hand."""

FETCHES_MAX: Final = 32
"""Requests of one fetcher in all, and so the entries of its cache. A run meets some twenty issuers; a network that
made every certificate name a new location would otherwise be asked for each."""

CERTIFICATES_MAX: Final = 16
"""Certificates read from one answer. A certs-only PKCS #7 holds the cross-signed forms of one CA: fewer than ten."""

FETCH_LIMITS: Final = Limits(seconds=1.5, head_octets=16 * 1024, body_octets=64 * 1024)
"""Of one fetch. CAs answer from CDNs within 0.2 s; 64 KiB hold `CERTIFICATES_MAX` certificates of usual size twice."""

_OK: Final = 200
_OID_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
"""id-signedData (RFC 5652 section 5.1)."""
_TAG_EXPLICIT_CONTENT: Final = 0xA0
"""ContentInfo.content, [0] EXPLICIT (RFC 5652 section 3)."""
_TAG_CERTIFICATES: Final = 0xA0
"""SignedData.certificates, [0] IMPLICIT (RFC 5652 section 5.1)."""
_PEM: Final = re.compile(
    rb"-----BEGIN (?P<label>CERTIFICATE|X509 CERTIFICATE|PKCS7|CMS)-----"  # RFC 7468 sections 5, 8, 9
    rb"(?P<base64>[A-Za-z0-9+/=\s]+)-----END (?P=label)-----"
)
_GLOBAL_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
"""The only IPv6 space that IANA gives out for use on the Internet (RFC 4291 section 2.4)."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 as seen from an IPv6-only network (RFC 6052 section 2.1): the embedded address decides."""


def is_public_address(address: str) -> bool:
    """Whether an IP address, perhaps with a zone, is public unicast: not private, loopback, link-local or multicast.

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) is what is looked at. Text that is no address is not one.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        embedded = parsed.ipv4_mapped or parsed.sixtofour
        if embedded is None and parsed in _NAT64:
            embedded = ipaddress.IPv4Address(parsed.packed[-4:])
        if embedded is None:
            return parsed in _GLOBAL_UNICAST_V6 and parsed.is_global
        parsed = embedded
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def is_public_name(host: str) -> bool:
    """Whether a host is a name of the public DNS, by its form: no IP literal, bare name, private or reserved suffix.

    A last label that begins with a digit would be read as an IPv4 address by some resolvers (127.1, 0x7f000001).
    """
    labels = host.rstrip(".").lower().split(".")
    suffix = labels[-1]
    return ":" not in host and len(labels) > 1 and not suffix[:1].isdigit() and suffix not in NETWORK_SUFFIXES


class PublicResolver(Resolver):
    """The system's resolver without the answers that are not public addresses (see `is_public_address`).

    For the `DirectDialer` of an `IssuerFetcher`: what it leaves out is not even connected to.
    """

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Addresses of `host` as `Resolver.resolve`; raises `RouteError` when there are only private ones."""
        found = [info for info in await super().resolve(host, port) if is_public_address(str(info[4][0]))]
        if not found:
            raise RouteError(Outcome.UNREACHABLE)
        return found


class PublicAddressesOnly:
    """A dialer that closes a direct connection to anything but a public address before an octet is sent.

    The address is the connected socket's own; one that cannot be told is refused. Other routes pass: there the far
    end of the connection is the proxy.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    @property
    def route(self) -> Route:
        """What to call this way in an observation."""
        return self._dialer.route

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect as `Dialer.dial` says. Raises `RouteError` UNREACHABLE for an address that is not public."""
        if self._dialer.route in PROXIED:
            return await self._dialer.dial(endpoint, factory, journal)
        gate = _Gate(factory, journal)
        transport = await self._dialer.dial(endpoint, lambda: gate, journal)
        if not gate.passed:
            transport.abort()
            raise RouteError(Outcome.UNREACHABLE)
        return transport


class _Gate(asyncio.Protocol):
    """Looks at the peer's address, then puts the inner protocol in its own place within the same callback."""

    def __init__(self, factory: ProtocolFactory, journal: Journal) -> None:
        self._factory = factory
        self._journal = journal
        self.passed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        proxied = self._journal.proxy is not None  # by a dialer that chooses: the peer is the proxy
        self.passed = proxied or (isinstance(peer, tuple) and is_public_address(str(peer[0])))
        if self.passed:
            inner = self._factory()
            cast("asyncio.Transport", transport).set_protocol(inner)  # not every loop's derives from asyncio's class
            inner.connection_made(transport)


class IssuerFetcher:
    """Fetches issuers for one run. One event loop uses one fetcher; nothing of it runs between calls.

    `dialer` is the way to every location, or a function that chooses one for a location's host and port; on a direct
    route it should be `DirectDialer(..., resolver=PublicResolver())`. `exempt` are hosts (lower case) and ports that
    may be asked wherever they lead, because the caller's own rules lead there. `allow_private_addresses` is for
    laboratories: every port, literal addresses and private networks are then asked.

    Answers are kept by URL, empty ones too: what was answered with nonsense is not asked for again. A fetch that was
    cut short by a caller's deadline is not an answer and is not kept.
    """

    def __init__(
        self,
        dialer: Dialer | Callable[[Endpoint], Dialer],
        *,
        allow_private_addresses: bool = False,
        exempt: Container[Address] = frozenset(),
        limits: Limits = FETCH_LIMITS,
        fetches_max: int = FETCHES_MAX,
    ) -> None:
        self._dialer_for = dialer if callable(dialer) else lambda _endpoint: dialer
        self._allow_private = allow_private_addresses
        self._exempt = exempt
        self._limits = limits
        self._fetches_left = fetches_max
        self._answers: dict[str, tuple[bytes, ...]] = {}
        self._running: dict[str, _Shared] = {}

    async def fetch(self, urls: Sequence[str], *, deadline: float | None = None) -> tuple[bytes, ...]:
        """Certificates (DER) from the first `URLS_MAX` usable ones of `urls`, without repetitions.

        `deadline` is a time of the running event loop. Calls for one URL at the same time share one request. Raises
        nothing for reasons of URL, network or content: what could not be had is not there.
        """
        routes = [(url, dialer) for url in dict.fromkeys(urls) if (dialer := self._way_to(url)) is not None][:URLS_MAX]
        answers = await asyncio.gather(*(self._certificates(url, dialer, deadline) for url, dialer in routes))
        return tuple(dict.fromkeys(certificate for answer in answers for certificate in answer))

    async def complete(self, leaf_urls: Sequence[str], *, deadline: float | None = None) -> tuple[bytes, ...]:
        """Certificates as `fetch` gives them, and their issuers in turn, up to `LEVELS_MAX` levels.

        A certificate whose subject is its issuer has none further up and is not followed.
        """
        found: dict[bytes, None] = {}
        urls: Sequence[str] = leaf_urls
        asked: set[str] = set()
        for _ in range(LEVELS_MAX):
            asked.update(urls)
            new = [c for c in await self.fetch(urls, deadline=deadline) if c not in found]
            found.update(dict.fromkeys(new))
            certificates = [Certificate.read(c) for c in new]
            urls = [u for c in certificates if not c.is_self_issued for u in c.issuer_urls if u not in asked]
            if not urls:
                break
        return tuple(found)

    def _way_to(self, url: str) -> Dialer | None:
        """Choose how to reach a location; None when it must not be asked."""
        target = parse_url(url)
        if target is None:
            return None
        free = self._allow_private or (target.host, target.port) in self._exempt
        if not free and not (target.port == HTTP_PORT and is_public_name(target.host)):
            return None
        dialer = self._dialer_for(Endpoint(host=target.host, port=target.port))
        return dialer if free else PublicAddressesOnly(dialer)

    async def _certificates(self, url: str, dialer: Dialer, deadline: float | None) -> tuple[bytes, ...]:
        """One URL's certificates: kept, being fetched, or to be fetched."""
        if (kept := self._answers.get(url)) is not None:
            return kept
        if deadline is not None and asyncio.get_running_loop().time() >= deadline:
            return ()
        shared = self._running.get(url)
        if shared is None:
            if self._fetches_left <= 0:
                return ()
            self._fetches_left -= 1
            shared = self._running[url] = _Shared(asyncio.create_task(self._ask(url, dialer)))
        shared.waiting += 1
        try:
            # Not cancelled with this caller: others may wait for the same answer.
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(shared.task)
        except TimeoutError:
            return ()
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                await self._leave(url, shared)

    async def _leave(self, url: str, shared: _Shared) -> None:
        """End a fetch that nobody waits for any more."""
        if self._running.get(url) is shared:
            del self._running[url]
        if not shared.task.done():
            shared.task.cancel()
            await asyncio.wait([shared.task])

    async def _ask(self, url: str, dialer: Dialer) -> tuple[bytes, ...]:
        answer = await fetch(url, dialer=dialer, limits=self._limits)
        whole = answer.outcome is FetchOutcome.ANSWERED and answer.status == _OK
        certificates = certificates_in(answer.body) if whole else ()
        self._answers[url] = certificates
        return certificates


class _Shared:
    """One running fetch and how many callers wait for it."""

    def __init__(self, task: asyncio.Task[tuple[bytes, ...]]) -> None:
        self.task = task
        self.waiting = 0


def certificates_in(body: bytes) -> tuple[bytes, ...]:
    """The certificates (DER) in what a caIssuers location served, at most `CERTIFICATES_MAX`; raises nothing.

    RFC 5280 section 4.2.2.1 wants one DER certificate or a certs-only CMS message (RFC 2797, RFC 5652) in DER; PEM of
    either is served as well. The form is told from the octets: the media type is often wrong. What does not read as a
    certificate with a public key is left out.
    """
    found: dict[bytes, None] = {}
    for block in _blocks(body):
        for certificate in _certificates_in_der(block):
            if len(found) == CERTIFICATES_MAX:
                return tuple(found)
            if Certificate.read(certificate).spki is not None:
                found[certificate] = None
    return tuple(found)


def _blocks(body: bytes) -> Iterator[bytes]:
    """DER: what PEM armour holds, or the body as it is."""
    armoured = False
    for block in _PEM.finditer(body):
        armoured = True
        try:
            yield base64.b64decode(b"".join(block["base64"].split()), validate=True)
        except binascii.Error:
            continue
    if not armoured:
        yield body


def _certificates_in_der(data: bytes) -> Iterator[bytes]:
    """A certificate, or those of a SignedData, as far as it can be walked. Octets behind the outer element are cut."""
    try:
        outer = der.expect(data, 0, len(data), der.SEQUENCE)
        first = der.element(data, outer.content, outer.end)
        if first.tag == der.SEQUENCE:
            yield der.whole(data, outer)
        elif der.oid(data, first) == _OID_SIGNED_DATA:
            content = der.expect(data, first.end, outer.end, _TAG_EXPLICIT_CONTENT)
            signed_data = der.expect(data, content.content, content.end, der.SEQUENCE)
            for part in der.children(data, signed_data):
                if part.tag == _TAG_CERTIFICATES:
                    # CertificateChoices: everything but a Certificate is obsolete and tagged (RFC 5652 10.2.2).
                    yield from (der.whole(data, c) for c in der.children(data, part) if c.tag == der.SEQUENCE)
    except der.DERError:
        return
