"""Issuer certificates fetched from the AIA caIssuers URLs of a certificate (RFC 5280 section 4.2.2.1).

Room: probe. Opens connections through a `Dialer`, and trusts nothing: what comes back are unauthenticated bytes that
parse as certificates, and only a signature verified by the caller makes one an issuer. It exists so that a server that
omits its intermediate is not accused.

The URLs come from certificates that an attacker may have written: every fetch is a request chosen by somebody else
(server-side request forgery). Therefore:

* http only, port 80 only, no credentials, no IP literals in any form, no bare or private-network names;
* on a direct route no byte is sent to an address that is not public unicast. `PublicResolver` leaves such addresses
  out; `PublicAddressesOnly`, which `IssuerFetcher` puts around its dialer, checks the address the connection really
  has, so that a name that resolves differently the second time gains nothing;
* no redirects; bounded bytes, seconds, URLs per certificate, levels, and fetches in all.

What remains: through a proxy the proxy resolves the name, and its own rules decide what it reaches; the operator of
such a URL's server learns that somebody at this address met the certificate, as with any browser that fetches issuers.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import re
from typing import TYPE_CHECKING, Final

from detector.model import PROXIED, Endpoint, Outcome
from detector.probe.routes import HTTP_PORT, Addresses, Resolver, RouteError
from detector.trust import der, signed_data
from detector.trust.certificate import Certificate
from detector.trust.hostname import NETWORK_SUFFIXES
from detector.trust.roots import WHITE_SPACE

from .client import OK, FetchOutcome, Limits, fetch, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from detector.probe.routes import Address, ConnectionRecord, Dialer, ProtocolFactory

URLS_MAX: Final = 2  # for the issuers of one certificate. Public leaves name one; two allow for a mirror

LEVELS_MAX: Final = 3
"""Issuers above the leaf that are followed. Public paths have at most three certificates above the leaf, the last of
them a known root."""

FETCHES_MAX: Final = 32
"""Requests of one fetcher in all, and so the entries of its cache. A run meets some twenty issuers; this bounds a
network that puts a new URL into every certificate."""

CERTIFICATES_MAX: Final = 16  # of one answer. A PKCS #7 holds the cross-signed forms of one CA: fewer than ten

FETCH_LIMITS: Final = Limits(seconds=1.5, head_bytes=16 * 1024, body_bytes=64 * 1024)
"""CAs answer from CDNs within 0.2 s; 64 KiB hold `CERTIFICATES_MAX` certificates of usual size twice."""

_PEM: Final = re.compile(
    rb"-----BEGIN (?P<label>CERTIFICATE|X509 CERTIFICATE|PKCS7|CMS)-----"  # RFC 7468 sections 5, 8, 9
    rb"(?P<base64>[A-Za-z0-9+/=\s]+)-----END (?P=label)-----"
)
_GLOBAL_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
"""The only IPv6 space that IANA allocates for use on the Internet (RFC 4291 section 2.4)."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 seen from an IPv6-only network (RFC 6052 section 2.1): the embedded address decides."""


def is_public_address(address: str) -> bool:
    """Whether an IP address, perhaps with a zone, is public unicast: not private, loopback, link-local or multicast.

    Of an IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) the IPv4 address counts. Other text is not public.
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
    """Whether a host has the form of a public DNS name: not an IP literal, bare name, private or reserved suffix.

    Some resolvers take a last label that begins with a digit for an IPv4 address (127.1, 0x7f000001).
    """
    labels = host.rstrip(".").lower().split(".")
    suffix = labels[-1]
    return ":" not in host and len(labels) > 1 and not suffix[:1].isdigit() and suffix not in NETWORK_SUFFIXES


class PublicResolver(Resolver):
    """The system's resolver restricted to public addresses, for the `DirectDialer` of an `IssuerFetcher`."""

    async def resolve(self, host: str, port: int) -> Addresses:
        """Resolve as `Resolver.resolve`. Raises `RouteError` when there are only private addresses."""
        found = [info for info in await super().resolve(host, port) if is_public_address(str(info[4][0]))]
        if not found:
            raise RouteError(Outcome.UNREACHABLE)
        return Addresses.bounded(found)


class PublicAddressesOnly:
    """A dialer that closes a direct connection to anything but a public address before a byte is sent.

    The address is that of the connected socket; an unknown one is refused. Other routes pass: there the peer is the
    proxy.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self.route: Final = dialer.route

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as `Dialer.dial` says. Raises `RouteError` UNREACHABLE for an address that is not public."""

        def checked() -> asyncio.Protocol:
            if self.route not in PROXIED and record.proxy is None:  # a proxy may also be chosen while dialing
                address = (record.address or "").rpartition(":")[0]
                if not is_public_address(address.strip("[]")):
                    raise RouteError(Outcome.UNREACHABLE)
            return factory()

        return await self._dialer.dial(endpoint, checked, record)


class IssuerFetcher:
    """Fetches issuers for one run. One event loop uses one fetcher; nothing of it runs between calls.

    Answers are cached by URL, including empty ones. A fetch that was cut short by a caller's deadline is not cached.

    Args:
        dialer: The route to every URL, or a function that chooses one for a host and port. For a direct route use
            `DirectDialer(..., resolver=PublicResolver())`.
        allow_private_addresses: For laboratories: every port, literal addresses and private networks are allowed.
        exempt: Hosts (lower case) and ports that are allowed wherever they lead, because the caller's rules lead there.
        limits: Of one fetch.
        fetches_max: Requests in all.
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
        """Return the certificates (DER) from the first `URLS_MAX` usable ones of `urls`, without repetitions.

        `deadline` is a time of the running event loop. Concurrent calls for one URL share one request. Raises nothing
        for reasons of URL, network or content.
        """
        routes = [(url, dialer) for url in dict.fromkeys(urls) if (dialer := self._route_to(url)) is not None][
            :URLS_MAX
        ]
        answers = await asyncio.gather(*(self._certificates(url, dialer, deadline) for url, dialer in routes))
        return tuple(dict.fromkeys(certificate for answer in answers for certificate in answer))

    async def complete(self, leaf_urls: Sequence[str], *, deadline: float | None = None) -> tuple[bytes, ...]:
        """Return certificates as `fetch` does, and their issuers in turn, up to `LEVELS_MAX` levels.

        A self-issued certificate is not followed.
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

    def _route_to(self, url: str) -> Dialer | None:
        """Choose the route to a URL; None when it must not be fetched."""
        target = parse_url(url)
        if target is None:
            return None
        allowed = self._allow_private or (target.host, target.port) in self._exempt
        if not allowed and not (target.port == HTTP_PORT and is_public_name(target.host)):
            return None
        dialer = self._dialer_for(Endpoint(host=target.host, port=target.port))
        return dialer if allowed else PublicAddressesOnly(dialer)

    async def _certificates(self, url: str, dialer: Dialer, deadline: float | None) -> tuple[bytes, ...]:
        """Return one URL's certificates: cached, being fetched, or fetched now."""
        if (cached := self._answers.get(url)) is not None:
            return cached
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
        """Cancel a fetch that no caller waits for any more."""
        if self._running.get(url) is shared:
            del self._running[url]
        if not shared.task.done():
            shared.task.cancel()
            await asyncio.wait([shared.task])

    async def _ask(self, url: str, dialer: Dialer) -> tuple[bytes, ...]:
        answer = await fetch(url, dialer=dialer, limits=self._limits)
        whole = answer.outcome is FetchOutcome.ANSWERED and answer.status == OK
        certificates = certificates_in(answer.body) if whole else ()
        self._answers[url] = certificates
        return certificates


class _Shared:
    """One running fetch and how many callers wait for it."""

    def __init__(self, task: asyncio.Task[tuple[bytes, ...]]) -> None:
        self.task = task
        self.waiting = 0


def certificates_in(body: bytes) -> tuple[bytes, ...]:
    """Return the certificates (DER) in the answer of a caIssuers URL, at most `CERTIFICATES_MAX`; raises nothing.

    RFC 5280 section 4.2.2.1 requires one DER certificate or a certs-only CMS message (RFC 2797, RFC 5652) in DER; PEM
    of either is served as well. The form is recognized by content: the media type is often wrong. What does not parse
    as a certificate with a public key is left out.
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
    """Yield DER: the content of PEM blocks, or the body unchanged."""
    armoured = False
    for block in _PEM.finditer(body):
        armoured = True
        try:
            yield base64.b64decode(block["base64"].translate(None, WHITE_SPACE), validate=True)
        except binascii.Error:
            continue
    if not armoured:
        yield body


def _certificates_in_der(data: bytes) -> Iterator[bytes]:
    """Yield a certificate, or those of a SignedData as far as it parses. Bytes after the outer element are ignored."""
    try:
        outer = der.expect(data, 0, len(data), der.SEQUENCE)
        first = der.element(data, outer.content, outer.end)
        if first.tag == der.SEQUENCE:
            yield der.whole(data, outer)
        else:
            yield from signed_data.certificates(data)
    except der.DERError:
        return
