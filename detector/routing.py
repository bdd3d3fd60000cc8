"""Which ways lead to an endpoint, and the looks that are taken by them.

Room: session. Reads the environment's proxy settings; starts tasks and ends every one of them. Judges nothing: whether
a proxy may be given credentials is asked of `vouch`.

The first look at an endpoint is the usual one: what a browser on this machine would do, or what the caller asked for.
The others are further ways to the same host, each an observation of its own: see "Several looks at one endpoint" in
`detector.evidence`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from .errors import ProxyError
from .model import PROXIED, KeyKind, Observation, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .model import Endpoint
    from .probe import Dialer, Proxy

    Vouch = Callable[[Proxy, Observation], bool]

AT_ONCE: Final = 4
"""Connections to one endpoint at once: with 64 endpoints at once, below the 256 open files that are a usual limit."""

LOOKS_MAX: Final = 24
"""Further looks at one endpoint: every way, both kinds of keys, and most hosts' addresses; the rest is left out."""

USUAL: Final = "usual"
ALL: Final = "all"
DIRECT: Final = "direct"
DIRECT4: Final = "direct4"
DIRECT6: Final = "direct6"
PROXY: Final = "proxy"
WORDS: Final = (ALL, DIRECT, DIRECT4, DIRECT6, PROXY)
"""How ways are named; several are separated by commas, the first of them gives the first look."""


class Settings(NamedTuple):
    """Which ways to take, and what `proxy` means: `env`, `none` or a proxy URL."""

    ways: tuple[str, ...]
    proxy: str


def read_route(route: str, proxy: str | None = None) -> Settings:
    """Read the choice of ways.

    `route` is one or several of `WORDS`, separated by commas; or, as before there were several ways, the proxy setting
    itself. `proxy` is the proxy setting where `route` is not. Raises `ProxyError`.
    """
    words = tuple(dict.fromkeys(word.strip().lower() for word in route.split(",")))
    if not set(words) <= set(WORDS):
        if proxy not in {None, route} and route != "env":
            raise ProxyError(
                f"The ways to take cannot be read: each is one of {', '.join(WORDS)}.",
                advice="Name one or several of them with commas between, and the proxy apart from them.",
            )
        # `env` is what callers who choose nothing have.
        return Settings((USUAL,), route if proxy is None else proxy)
    setting = "env" if proxy is None else proxy
    if setting == "none" and words == (PROXY,):
        raise ProxyError("Only the way through the proxy is to be taken, and there is none.", advice="Name a proxy.")
    return Settings((USUAL, DIRECT4, DIRECT6, PROXY) if ALL in words else words, setting)


class Routing:
    """The ways to endpoints, and looks by them. Built from settings once; the proxy setting is checked at once.

    `resolve` maps (host, port) to where to connect instead. `dialer` replaces every way. `all_addresses` looks at every
    address of a host, and asks for both kinds of server keys. One event loop uses one of it. Raises `ProxyError`.
    """

    def __init__(
        self,
        settings: Settings,
        resolve: Mapping[tuple[str, int], tuple[str, int]],
        dialer: Dialer | None,
        *,
        vouch: Vouch,
        all_addresses: bool = False,
    ) -> None:
        from .probe import DirectDialer, Family, parse_proxy  # noqa: PLC0415 - as in `_take`
        from .probe.routes import Resolver  # noqa: PLC0415 - as in `_take`

        self._given: Final = dialer
        self._settings: Final = settings
        self._resolve: Final = resolve
        self._vouch: Final = vouch
        self._all_addresses: Final = all_addresses
        self._resolver: Final = Resolver()
        self._direct: Final = DirectDialer(resolve, resolver=self._resolver)
        self._families: Final[dict[str, Dialer]] = {
            DIRECT4: DirectDialer(resolve, resolver=self._resolver, family=Family.IPV4),
            DIRECT6: DirectDialer(resolve, resolver=self._resolver, family=Family.IPV6),
        }
        self._by_proxy: Final[dict[Proxy, Dialer]] = {}
        self._public: Dialer | None = None
        self._fixed: Final = None if settings.proxy in {"env", "none"} else self._through(parse_proxy(settings.proxy))

    def for_endpoint(self, endpoint: Endpoint) -> Dialer:
        """The way of the first look."""
        return self.ways_to(endpoint)[0]

    def for_issuer(self, endpoint: Endpoint) -> Dialer:
        """Take the usual way, but directly only to public addresses: a certificate must not send us anywhere else."""
        usual = self.for_endpoint(endpoint)
        if usual.route in PROXIED or usual is self._given or (endpoint.host, endpoint.port) in self._resolve:
            return usual
        if self._public is None:
            from .probe import DirectDialer  # noqa: PLC0415 - as in `_take`
            from .probe.issuers import PublicResolver  # noqa: PLC0415 - loaded when first needed

            self._public = DirectDialer(resolver=PublicResolver())
        return self._public

    def ways_to(self, endpoint: Endpoint) -> tuple[Dialer, ...]:
        """The ways that apply to an endpoint, that of the first look first; at least one."""
        if self._given is not None:
            return (self._given,)
        proxied = self._proxied(endpoint)
        ways: dict[Dialer, None] = {}
        for word in self._settings.ways:
            if word == USUAL:
                ways[proxied or self._direct] = None
            elif word == PROXY and proxied is not None:
                ways[proxied] = None
            elif word == DIRECT:
                ways[self._direct] = None
            elif word in self._families:
                ways[self._families[word]] = None
        if not ways:
            from .probe.routes import NoWay  # noqa: PLC0415 - as in `_take`

            return (NoWay(Outcome.NO_ROUTE),)
        return tuple(ways)

    def _proxied(self, endpoint: Endpoint) -> Dialer | None:
        """The way through the proxy that is set for this endpoint, if one is."""
        if self._fixed is not None:
            return self._fixed
        if self._settings.proxy == "none" or endpoint.address is not None:
            return None
        from .probe import proxy_for  # noqa: PLC0415 - as in `_take`

        proxy = proxy_for(endpoint.host, endpoint.port, self._settings.proxy, os.environ)
        return None if proxy is None else self._through(proxy)

    def _through(self, proxy: Proxy) -> Dialer:
        from .probe import ProxyDialer  # noqa: PLC0415 - as in `_take`

        if proxy not in self._by_proxy:
            self._by_proxy[proxy] = ProxyDialer(proxy, self._resolve, resolver=self._resolver, vouch=self._vouch)
        return self._by_proxy[proxy]

    async def look(self, endpoint: Endpoint, until: float) -> tuple[Observation, ...]:
        """Every look at an endpoint that is asked for, no later than loop time `until`; at least one.

        Raises nothing for reasons of network, proxy or peer.
        """
        ways = self.ways_to(endpoint)
        looks = [_Look(way, endpoint) for way in ways]
        if self._all_addresses:
            looks += [_Look(ways[0], endpoint, kind) for kind in KeyKind]
            looks += [_Look(self._direct, at) for at in await self._addresses(endpoint, ways, until)]
        seen = await _take(looks[: LOOKS_MAX + 1], until)
        return (*seen, *await _take(self._by_address(endpoint, ways, seen), until))

    async def _addresses(self, endpoint: Endpoint, ways: Sequence[Dialer], until: float) -> list[Endpoint]:
        """The endpoint at each of its addresses, where it is gone to directly and nobody says where it is."""
        if all(way.route in PROXIED for way in ways) or self._says_where(endpoint):
            return []
        from .probe.routes import addresses_of  # noqa: PLC0415 - as in `_take`

        found = await addresses_of(endpoint.host, endpoint.port, resolver=self._resolver, until=until)
        return [msgspec.structs.replace(endpoint, address=(address, endpoint.port)) for address in found]

    def _by_address(self, endpoint: Endpoint, ways: Sequence[Dialer], seen: Sequence[Observation]) -> list[_Look]:
        """Further looks through each proxy that showed another certificate than a direct way.

        The proxy is asked for the very address that was seen directly: what then still differs does not differ because
        the name was resolved elsewhere.
        """
        if self._says_where(endpoint):
            return []
        direct = [o for o in seen if o.route not in PROXIED and o.key_proved and _public_place(o) is not None]
        looks = []
        for way, observed in zip(ways, seen, strict=False):
            if observed.route in PROXIED and observed.key_proved and observed.chain:
                differing = (o for o in direct if o.chain[0].sha256 != observed.chain[0].sha256)
                place = next((_public_place(o) for o in differing), None)
                if place is not None:
                    looks.append(_Look(way, msgspec.structs.replace(endpoint, address=place)))
        return looks

    def _says_where(self, endpoint: Endpoint) -> bool:
        """Whether the caller or the pin file says where this endpoint is."""
        return endpoint.address is not None or (endpoint.host.rstrip(".").lower(), endpoint.port) in self._resolve


class _Look(NamedTuple):
    dialer: Dialer
    endpoint: Endpoint
    key_kind: KeyKind | None = None


async def _take(looks: Sequence[_Look], until: float) -> list[Observation]:
    """The observations of these looks, in their order."""
    from .probe import probe  # noqa: PLC0415 - OpenSSL is loaded when first used, not to judge files

    slots = asyncio.Semaphore(AT_ONCE)

    async def one(look: _Look) -> Observation:
        async with slots:
            return await probe(look.endpoint, dialer=look.dialer, deadline=until, key_kind=look.key_kind)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(look)) for look in looks]
    return [task.result() for task in tasks]


def _public_place(observed: Observation) -> tuple[str, int] | None:
    """The address and port of a look, where that is a public address."""
    host, _, port = (observed.address or "").rpartition(":")
    host = host.strip("[]")
    try:
        public = ipaddress.ip_address(host).is_global
    except ValueError:
        return None
    return (host, int(port)) if public else None
