"""Which ways lead to an endpoint, and the looks that are taken by them.

Room: session. Reads the proxy settings of the environment and the machine; starts tasks and ends every one of them.
Judges nothing: whether a proxy may be given credentials, and whether a file that came over TLS is from where it should
be, is asked of `trusts`.

The first look at an endpoint is the usual one: what a browser on this machine would do, or what the caller asked for.
The others are further ways to the same host, each an observation of its own: see "Several looks at one endpoint" in
`detector.judge.evidence`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import os
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.tasks import Group, off_loop
from detector.errors import MissingExtraError, ProxyError, TargetError
from detector.model import (
    PROXIED,
    Endpoint,
    Hello,
    KeyKind,
    Observation,
    Outcome,
    ResolutionObservation,
    ResolutionOutcome,
    Route,
)

from .probing import Ways, ask_readable, look_at

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from detector.probe import Dialer, Proxy
    from detector.probe.routes import Resolver
    from detector.probe.routes.system import SystemProxies

    Trusts = Callable[[str, int, Observation], bool]

AT_ONCE: Final = 4
"""Connections to one endpoint at once: with 64 endpoints at once, below the 256 open files that are a usual limit."""

DEFAULT_WAYS: Final = Ways()
"""One look over TCP, with our own hello."""

LOOKS_MAX: Final = 24
"""Further looks at one endpoint: every way, both kinds of keys, and most hosts' addresses; the rest is left out."""

FILE_PREFIX: Final = "pac:"
"""Before the URL or path of a proxy auto-configuration file."""

_OK: Final = 200
_DIRECTLY: Final = frozenset({Route.DIRECT, Route.DIRECT_IPV4, Route.DIRECT_IPV6})

USUAL: Final = "usual"
ALL: Final = "all"
DIRECT: Final = "direct"
DIRECT4: Final = "direct4"
DIRECT6: Final = "direct6"
PROXY: Final = "proxy"
WORDS: Final = (ALL, DIRECT, DIRECT4, DIRECT6, PROXY)
"""How ways are named; several are separated by commas, the first of them gives the first look."""


MACHINE: Final = "system"
"""The proxy setting of callers who choose nothing: what browsers here go by, which on managed machines is seldom the
environment."""


class Settings(NamedTuple):
    """Which ways to take, and what `proxy` means: `system`, `env`, `none`, `pac:` and a file, or a proxy URL."""

    ways: tuple[str, ...]
    proxy: str


def read_route(route: str, proxy: str | None = None) -> Settings:
    """Read the choice of ways.

    `route` is one or several of `WORDS`, separated by commas; or, as before there were several ways, the proxy setting
    itself. `proxy` is the proxy setting where `route` is not. Raises `ProxyError`.
    """
    words = tuple(dict.fromkeys(word.strip().lower() for word in route.split(",")))
    if not set(words) <= set(WORDS):
        if proxy not in {None, route} and route != MACHINE:
            raise ProxyError(
                f"The ways to take cannot be read: each is one of {', '.join(WORDS)}.",
                advice="Name one or several of them with commas between, and the proxy apart from them.",
            )
        return Settings((USUAL,), route if proxy is None else proxy)
    setting = MACHINE if proxy is None else proxy
    if setting == "none" and words == (PROXY,):
        raise ProxyError("Only the way through the proxy is to be taken, and there is none.", advice="Name a proxy.")
    return Settings((USUAL, DIRECT4, DIRECT6, PROXY) if ALL in words else words, setting)


def read_resolver(url: str) -> str:
    """Check the URL of a second resolver, and that the extra it needs is there.

    Raises `TargetError`, `MissingExtraError`.
    """
    from detector.probe.http.client import parse_url  # noqa: PLC0415 - as in `_take`

    if parse_url(url.removesuffix("{?dns}"), "https") is None:
        raise TargetError(
            "The URL of the resolver cannot be read.", advice="Write it as https://resolver.example/dns-query."
        )
    if importlib.util.find_spec("dns") is None:
        raise MissingExtraError("Asking a resolver over HTTPS needs dnspython.", extra="doh")
    return url


class Routing:
    """The ways to endpoints, and looks by them. Built from settings once; the proxy setting is checked at once.

    `resolve` maps (host, port) to where to connect instead. `dialer` replaces every way, `resolver` name resolution.
    `trusts` says whether an ordinary client on this machine would believe an observation of host and port, `clock`
    gives the time in UTC. `ways` are the hellos and transports of the first look. `all_addresses` looks at every
    address of a host, and asks for both kinds of server keys. One event loop uses one of it. Raises `ProxyError`.
    """

    def __init__(  # noqa: PLR0913 - what ways are made of
        self,
        settings: Settings,
        resolve: Mapping[tuple[str, int], tuple[str, int]],
        dialer: Dialer | None,
        *,
        trusts: Trusts,
        clock: Callable[[], dt.datetime],
        resolver: Resolver | None = None,
        ways: Ways = DEFAULT_WAYS,
        all_addresses: bool = False,
    ) -> None:
        from detector.probe import DirectDialer, Family  # noqa: PLC0415 - as in `_take`
        from detector.probe.routes import Resolver  # noqa: PLC0415 - as in `_take`

        self._given: Final = dialer
        self._settings: Final = settings
        self._resolve: Final = resolve
        self._trusts: Final = trusts
        self._clock: Final = clock
        self._all_addresses: Final = all_addresses
        self._ways: Final = ways
        self._resolver: Final = resolver or Resolver()
        self._direct: Final = DirectDialer(resolve, resolver=self._resolver)
        self._families: Final[dict[str, Dialer]] = {
            DIRECT4: DirectDialer(resolve, resolver=self._resolver, family=Family.IPV4),
            DIRECT6: DirectDialer(resolve, resolver=self._resolver, family=Family.IPV6),
        }
        self._by_proxy: Final[dict[Proxy, Dialer]] = {}
        self._public: Dialer | None = None
        self._choose = None if settings.proxy == MACHINE else self._chooser(settings.proxy)

    def for_endpoint(self, endpoint: Endpoint) -> Dialer:
        """The way of the first look."""
        return self.ways_to(endpoint)[0]

    def for_issuer(self, endpoint: Endpoint) -> Dialer:
        """Take the usual way, but directly only to public addresses: a certificate must not send us anywhere else."""
        usual = self.for_endpoint(endpoint)
        if usual.route not in _DIRECTLY or usual is self._given or (endpoint.host, endpoint.port) in self._resolve:
            return usual
        if self._public is None:
            from detector.probe import DirectDialer  # noqa: PLC0415 - as in `_take`
            from detector.probe.http.issuers import PublicResolver  # noqa: PLC0415 - loaded when first needed

            self._public = DirectDialer(resolver=PublicResolver())
        return self._public

    def networks(self) -> Callable[[], Mapping[str, str]] | None:
        """What tells by which networks this machine reaches others; None where the dialer was given."""
        if self._given is not None:
            return None
        from detector.probe.routes import local_networks  # noqa: PLC0415 - as in `_take`

        return local_networks

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
            from detector.probe.routes import NoRoute  # noqa: PLC0415 - as in `_take`

            return (NoRoute(Outcome.NO_ROUTE),)
        return tuple(ways)

    def _proxied(self, endpoint: Endpoint) -> Dialer | None:
        """The way that the proxy setting gives for this endpoint; None for a direct one."""
        if self._choose is None:
            from .machine_proxy import read_system_proxies  # noqa: PLC0415 - starts programs

            self._choose = self._by_machine(read_system_proxies())
        return self._choose(endpoint)

    async def _settle(self) -> None:
        """Read the settings of the machine in a thread, before the first way is asked for: that may start a program."""
        if self._is_unread and self._given is None:
            from .machine_proxy import read_system_proxies  # noqa: PLC0415 - starts programs

            system = await off_loop(read_system_proxies)
            if self._is_unread:  # another probe may have waited for the same
                self._choose = self._by_machine(system)

    @property
    def _is_unread(self) -> bool:
        return self._choose is None

    def _chooser(self, setting: str) -> Callable[[Endpoint], Dialer | None]:
        """How the proxy setting is read. Raises `ProxyError`."""
        if setting == "none":
            return lambda _: None
        if setting.startswith(FILE_PREFIX):
            return self._except_mapped(self._file(setting.removeprefix(FILE_PREFIX)))
        if setting == "env":
            return self._by_environment
        from detector.probe import parse_proxy  # noqa: PLC0415 - as in `_take`

        fixed = self._through(parse_proxy(setting))
        return lambda _: fixed

    def _except_mapped(self, way: Dialer) -> Callable[[Endpoint], Dialer | None]:
        return lambda endpoint: None if endpoint.address is not None else way

    def _by_environment(self, endpoint: Endpoint) -> Dialer | None:
        if endpoint.address is not None:
            return None
        from detector.probe import proxy_for  # noqa: PLC0415 - as in `_take`

        proxy = proxy_for(endpoint.host, endpoint.port, "env", os.environ)
        return None if proxy is None else self._through(proxy)

    def _by_machine(self, system: SystemProxies) -> Callable[[Endpoint], Dialer | None]:
        """The machine's settings: a file goes before a proxy, and detection applies where there is neither.

        Where the machine sets nothing, the environment says. A setting that cannot be read is no direct way.
        """
        from detector.probe import parse_proxy  # noqa: PLC0415 - as in `_take`
        from detector.probe.routes import NoRoute  # noqa: PLC0415 - as in `_take`
        from detector.probe.routes.system import WPAD  # noqa: PLC0415 - as in `_take`

        if not system.is_set:
            return self._by_environment
        if system.file is not None:
            return self._except_mapped(self._file(system.file))
        if system.proxy is None:
            return self._except_mapped(self._file(WPAD, optional=True))
        try:
            way: Dialer = self._through(parse_proxy(system.proxy))
        except ProxyError:
            way = NoRoute(Outcome.PROXY_UNKNOWN)

        def choose(endpoint: Endpoint) -> Dialer | None:
            return None if endpoint.address or system.excepts(endpoint.host, endpoint.port) else way

        return choose

    def _file(self, location: str, *, optional: bool = False) -> Dialer:
        from detector.probe.routes.pac import PacDialer, ProxyFile  # noqa: PLC0415 - as in `_take`

        file = ProxyFile(
            location, download=self._download, resolver=self._resolver, clock=self._clock, optional=optional
        )
        return PacDialer(file, self._direct, self._through)

    async def _download(self, url: str, until: float) -> bytes | None:
        """The proxy file at `url`, which is gone to directly: it is what says how to go anywhere."""
        from detector.probe.http.client import FetchOutcome, Limits, fetch  # noqa: PLC0415 - as in `_take`
        from detector.probe.http.https import connect  # noqa: PLC0415 - as in `_take`
        from detector.probe.routes.pac import FILE_BYTES_MAX  # noqa: PLC0415 - as in `_take`

        limits = Limits(body_bytes=FILE_BYTES_MAX)
        if url.lower().startswith("https:"):
            async with connect(url, dialer=self._direct, deadline=until) as server:
                if server is None or not self._trusts_endpoint(server.endpoint, server.observation):
                    return None
                return (await server.get(limits=limits))[0]
        fetched = await fetch(url, dialer=self._direct, limits=limits, deadline=until)
        return fetched.body if fetched.outcome is FetchOutcome.ANSWERED and fetched.status == _OK else None

    def _trusts_endpoint(self, endpoint: Endpoint, observation: Observation) -> bool:
        return self._trusts(endpoint.host, endpoint.port, observation)

    def _through(self, proxy: Proxy) -> Dialer:
        from detector.probe import ProxyDialer  # noqa: PLC0415 - as in `_take`

        if proxy not in self._by_proxy:
            self._by_proxy[proxy] = ProxyDialer(
                proxy,
                self._resolve,
                resolver=self._resolver,
                trusts=lambda seen, observation: self._trusts(seen.host, seen.port, observation),
            )
        return self._by_proxy[proxy]

    async def compare_resolvers(
        self, url: str, endpoints: Sequence[Endpoint], until: float
    ) -> tuple[Endpoint, Observation, dict[str, ResolutionObservation]] | None:
        """Ask a second resolver about every host that is looked up here, and the system's, too.

        The resolver as an endpoint, what the connection to it showed, and the answers by host. None where `url` cannot
        be asked for.
        """
        from detector.probe.http.client import parse_url  # noqa: PLC0415 - as in `_take`
        from detector.probe.routes import addresses_of, literal  # noqa: PLC0415 - as in `_take`

        target = parse_url(url.removesuffix("{?dns}"), "https")
        if target is None:
            return None
        await self._settle()
        names = [e.host for e in endpoints if not self._says_where(e) and literal(e.host) is None]
        resolver = Endpoint(host=target.host, port=target.port)
        async with Group() as group:
            asking = group.create_task(self._ask_resolver(url, names, self.for_endpoint(resolver), until))
            own = {
                name: group.create_task(addresses_of(name, resolver.port, resolver=self._resolver, until=until))
                for name in dict.fromkeys(names)
            }
        if (asked := asking.result()) is None:
            return None
        observation, answers = asked
        shown = f"https://{target.authority}{target.path.partition('?')[0]}"
        compared = {
            name: ResolutionObservation(resolver=shown, outcome=outcome, system=own[name].result(), other=addresses)
            for name, (outcome, addresses) in answers.items()
        }
        return resolver, observation, compared

    async def _ask_resolver(
        self, url: str, names: Sequence[str], dialer: Dialer, until: float
    ) -> tuple[Observation, dict[str, tuple[ResolutionOutcome, tuple[str, ...]]]] | None:
        """What the connection to the resolver showed, and its answers by name; it is asked only where it is trusted."""
        from detector.probe.http.doh import resolve  # noqa: PLC0415 - needs an extra
        from detector.probe.http.https import connect  # noqa: PLC0415 - as in `_take`

        async with connect(url.removesuffix("{?dns}"), dialer=dialer, deadline=until) as server:
            if server is None:
                return None
            if not self._trusts_endpoint(server.endpoint, server.observation):
                return server.observation, dict.fromkeys(names, (ResolutionOutcome.NOT_VOUCHED, ()))
            return server.observation, await resolve(server, names)

    async def look(self, endpoint: Endpoint, until: float) -> tuple[Observation, ...]:
        """Every look at an endpoint that is asked for, no later than loop time `until`; at least one.

        Raises nothing for reasons of network, proxy or peer.
        """
        await self._settle()
        ways = self.ways_to(endpoint)
        if len(ways) == 1 and not self._all_addresses:  # nothing to compare with: no tasks for it
            return await look_at(endpoint, dialer=ways[0], ways=self._ways, until=until, mapped=self._resolve)
        async with Group() as group:
            first = group.create_task(
                look_at(endpoint, dialer=ways[0], ways=self._ways, until=until, mapped=self._resolve)
            )
            further = group.create_task(self._further(endpoint, ways, until))
        seen = [first.result()[0], *further.result()]
        again = await self._take(self._by_address(endpoint, ways, seen), until)
        return (*seen[:1], *first.result()[1:], *seen[1:], *again)

    async def _further(self, endpoint: Endpoint, ways: Sequence[Dialer], until: float) -> list[Observation]:
        """Looks by the other ways, in their order, and then at every address and with each kind of key."""
        looks = [_Look(way, endpoint) for way in ways[1:]]
        if self._all_addresses:
            looks += [_Look(ways[0], endpoint, kind) for kind in KeyKind]
            looks += [_Look(self._direct, at) for at in await self._addresses(endpoint, ways, until)]
        return await self._take(looks[:LOOKS_MAX], until)

    async def _take(self, looks: Sequence[_Look], until: float) -> list[Observation]:
        """The observations of these looks, in their order, and behind them what `ask_readable` brought."""
        from detector.probe import probe  # noqa: PLC0415 - OpenSSL is loaded when first used, not to judge files

        slots = asyncio.Semaphore(AT_ONCE)

        async def one(look: _Look) -> tuple[Observation, ...]:
            hello = self._ways.first if look.key_kind is None else Hello.DEFAULT
            async with slots:
                outcome = await probe(
                    look.endpoint, dialer=look.dialer, deadline=until, hello=hello, key_kind=look.key_kind
                )
                seen = outcome.single
                return (seen, *await ask_readable(look.endpoint, (seen,), dialer=look.dialer, until=until))

        async with Group() as group:
            tasks = [group.create_task(one(look)) for look in looks]
        results = [task.result() for task in tasks]
        return [seen for seen, *_ in results] + [again for _, *more in results for again in more]

    async def _addresses(self, endpoint: Endpoint, ways: Sequence[Dialer], until: float) -> list[Endpoint]:
        """The endpoint at each of its addresses, where it is gone to directly and nobody says where it is."""
        if all(way.route in PROXIED for way in ways) or self._says_where(endpoint):
            return []
        from detector.probe.routes import addresses_of  # noqa: PLC0415 - as in `_take`

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


def _public_place(observed: Observation) -> tuple[str, int] | None:
    """The address and port of a look, where that is a public address."""
    host, _, port = (observed.address or "").rpartition(":")
    host = host.strip("[]")
    try:
        public = ipaddress.ip_address(host).is_global
    except ValueError:
        return None
    return (host, int(port)) if public else None
