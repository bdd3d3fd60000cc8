"""What is probed of an endpoint: the routes to it, and the variants on the first route, as a tuple of `ProbeSpec`.

Room: session. Reads the proxy settings of the environment and of this machine; connects only to fetch a proxy
auto-configuration file and to ask a second resolver. Assesses nothing: whether a proxy may be given credentials, and
whether a file that came over TLS is genuine, is decided by `trusts`.

The first probe of an endpoint is the usual one: what a browser on this machine would do, or what the caller asked for.
The others are further routes and variants to the same host, each an observation of its own (`detector.judge.evidence`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import math
import os
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from urllib.parse import urljoin

import msgspec

from detector.aio.lazy import LazyModule
from detector.aio.tasks import Group, run_in_thread
from detector.errors import MissingExtraError, ProxyError, TargetError
from detector.model import (
    PROXIED,
    Address,
    Endpoint,
    Hello,
    KeyKind,
    Observation,
    Outcome,
    ResolutionObservation,
    ResolutionOutcome,
    Route,
    UnfollowedProxy,
)
from detector.pins.target import quoted

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from detector import probe
    from detector.knowledge.client_hellos import HelloProfiles
    from detector.probe import Dialer, Proxy, routes
    from detector.probe.http import client, doh, https, issuers
    from detector.probe.routes import ResolveMap, Resolver, pac, system
    from detector.probe.routes.system import SystemProxies

    from . import machine_proxy
    from .follow_up import Control

    Trusts = Callable[[str, int, Observation], bool]
else:
    probe = LazyModule("detector.probe")
    client = LazyModule("detector.probe.http.client")
    doh = LazyModule("detector.probe.http.doh")
    https = LazyModule("detector.probe.http.https")
    issuers = LazyModule("detector.probe.http.issuers")
    machine_proxy = LazyModule("detector.session.machine_proxy")
    pac = LazyModule("detector.probe.routes.pac")
    routes = LazyModule("detector.probe.routes")
    system = LazyModule("detector.probe.routes.system")

LOG: Final = logging.getLogger("detector.session")

FURTHER_PROBES_MAX: Final = 24
"""Further probes of one endpoint: every route, both kinds of keys, and most hosts' addresses; the rest is left out."""

SETTINGS_SECONDS: Final = 10.0
"""Age at which this machine's proxy settings are read again, a few hundredths of a second's work: for programs that run
on, while their machine moves between networks."""

FILE_PREFIX: Final = "pac:"
"""Precedes the URL or path of a proxy auto-configuration file."""

DIRECT_ROUTES: Final = frozenset(route for route in Route if route.value.startswith("direct"))
"""The routes on which the address in an observation is the endpoint's own, not a proxy's."""

REDIRECTS_MAX: Final = 5  # from one server of a proxy file to the next: a name, its official one, another path
_OK: Final = 200
_REDIRECTIONS: Final = frozenset({301, 302, 303, 307, 308})  # RFC 9110 section 15.4
_KIND_UNKNOWN: Final = UnfollowedProxy.KIND_UNKNOWN

USUAL: Final = "usual"
ALL: Final = "all"
DIRECT: Final = "direct"
DIRECT4: Final = "direct4"
DIRECT6: Final = "direct6"
PROXY: Final = "proxy"
ROUTES: Final = (USUAL, ALL, DIRECT, DIRECT4, DIRECT6, PROXY)
"""Names of routes; several are separated by commas, and the first of them is that of the first probe. `usual` is what a
browser on this machine would do: use the proxy where the proxy setting gives one, else connect directly."""

MACHINE: Final = "system"
"""The default proxy setting: that of browsers on this machine, which on managed ones is seldom the environment's."""

HELLO_CHOICES: Final = (*map(str, (Hello.BROWSER, Hello.FIREFOX, Hello.OPENSSL)), "both")
"""Which ClientHello profile is sent; `both` sends a browser's and OpenSSL's, one after the other."""


class RouteSettings(NamedTuple):
    """Which routes are taken, and what `proxy` means: `system`, `env`, `none`, `pac:` and a file, or a proxy URL."""

    routes: tuple[str, ...]
    proxy: str


class ProbeSettings(NamedTuple):
    """The variants in which each endpoint is probed: hello profile (`HELLO_CHOICES`), and QUIC besides TCP."""

    hello: str = HELLO_CHOICES[0]
    quic: bool = False

    @property
    def first_hello(self) -> Hello:
        """The hello profile of the first probe."""
        return Hello.BROWSER if self.hello == "both" else Hello(self.hello)

    @property
    def per_endpoint(self) -> int:
        """The number of probes at once to the address of the first one: that one and its variants."""
        return 1 + (self.hello == "both") + self.quic

    def check(self) -> None:
        """Raise `MissingExtraError` where the library for a variant is not installed."""
        if self.quic and importlib.util.find_spec("aioquic") is None:
            raise MissingExtraError(
                "Probing over QUIC needs the package aioquic, which is not installed.", extra="quic"
            )


DEFAULT_VARIANTS: Final = ProbeSettings()
"""One probe over TCP, with a browser's hello."""


class _Machine(NamedTuple):
    """What of this machine determines the default route: its proxy settings, and the networks it is in."""

    proxies: SystemProxies
    networks: Mapping[str, str]


def _read_machine() -> _Machine:
    """Read them; blocks for as long as a program may take."""
    return _Machine(machine_proxy.read_system_proxies(), routes.local_networks())


class ProbeSpec(NamedTuple):
    """One probe: an endpoint (with the address to connect to, where that is fixed), a route, a hello and a transport.

    `same_address` is a variant of the first probe, made at the address that one found. `mapped` is where the caller
    maps the endpoint, for a transport that does not use the dialer. `profiles` are what browsers send.
    """

    endpoint: Endpoint
    dialer: Dialer
    hello: Hello = Hello.BROWSER
    key_kind: KeyKind | None = None
    quic: bool = False
    same_address: bool = False
    mapped: tuple[str, int] | None = None
    profiles: HelloProfiles | None = None


class AddressProbes(NamedTuple):
    """Probes of the addresses of a host, and the number of addresses beyond the bounds of one run."""

    specs: tuple[ProbeSpec, ...] = ()
    left_out: int = 0


def read_route(route: str, proxy: str = MACHINE) -> RouteSettings:
    """Parse names of routes (`ROUTES`, separated by commas); `proxy` is passed on. Raises `ProxyError`."""
    words = tuple(dict.fromkeys(word.strip().lower() for word in route.split(",")))
    if unknown := [word for word in words if word not in ROUTES]:
        raise ProxyError(
            f"route: {quoted(unknown[0])} is not a route.",
            advice=f"Name one of {', '.join(ROUTES)}, or several separated by commas; a proxy is given as proxy.",
        )
    if proxy == "none" and words == (PROXY,):
        raise ProxyError("route: only proxy is to be used, and there is no proxy.", advice="Name a proxy.")
    return RouteSettings((USUAL, DIRECT4, DIRECT6, PROXY) if ALL in words else words, proxy)


def read_resolver(url: str) -> str:
    """Return the URL of a second resolver if it can be used. Raises `TargetError`, `MissingExtraError`."""
    if client.parse_url(url.removesuffix("{?dns}"), "https") is None:
        raise TargetError(
            "doh: is not the https URL of a resolver.", advice="Write it as https://resolver.example/dns-query."
        )
    if importlib.util.find_spec("dns") is None:
        raise MissingExtraError("doh: asking a resolver over HTTPS needs dnspython.", extra="doh")
    return url


def check_control(control: Control) -> None:
    """Raise `TargetError` for a control request whose URLs cannot be requested."""
    urls: tuple[tuple[str, str | None, Literal["http", "https"]], ...] = (
        ("url", control.url, "http"),
        ("api_url", control.api_url, "https"),  # RFC 8908 section 4 requires TLS
    )
    for field, url, scheme in urls:
        if url is not None and client.parse_url(url, scheme) is None:
            raise TargetError(
                f"control.{field}: is not a URL to request.",
                advice=f"Write it as {scheme}://HOST/PATH, without credentials.",
            )


def variants(
    endpoint: Endpoint, dialer: Dialer, settings: ProbeSettings, mapped: ResolveMap | None = None
) -> tuple[ProbeSpec, ...]:
    """The first probe of an endpoint and its variants at the same address."""
    specs = [ProbeSpec(endpoint, dialer, settings.first_hello)]
    if settings.hello == "both":
        specs.append(ProbeSpec(endpoint, dialer, Hello.OPENSSL, same_address=True))
    if settings.quic:
        where = (mapped or {}).get((endpoint.host, endpoint.port))
        specs.append(ProbeSpec(endpoint, dialer, quic=True, same_address=True, mapped=where))
    return tuple(specs)


class Planner:
    """Plans the probes of endpoints from settings that are checked once.

    `resolve` maps (host, port) to where to connect instead. `dialer` replaces every route, `resolver` name resolution.
    `trusts` says whether an ordinary client on this machine would accept an observation of host and port, `clock` gives
    the time in UTC. `profiles` gives what browsers send. With `all_addresses` every address of a host is probed, and
    each kind of server key. Use one planner per event loop. Raises `ProxyError`.
    """

    def __init__(  # noqa: PLR0913 - keyword-only past the dialer; each is one part of a plan
        self,
        settings: RouteSettings,
        resolve: Mapping[tuple[str, int], tuple[str, int]],
        dialer: Dialer | None,
        *,
        trusts: Trusts,
        clock: Callable[[], dt.datetime],
        resolver: Resolver | None = None,
        variants: ProbeSettings = DEFAULT_VARIANTS,
        all_addresses: bool = False,
        profiles: Callable[[], HelloProfiles | None] = lambda: None,
    ) -> None:
        self._profiles: Final = profiles
        self.all_addresses: Final = all_addresses
        self._given: Final = dialer
        self._settings: Final = settings
        self._resolve: Final = resolve
        self._trusts: Final = trusts
        self._clock: Final = clock
        self._variants: Final = variants
        self._resolver: Final = resolver or routes.Resolver()
        self._direct: Final = probe.DirectDialer(resolve, resolver=self._resolver)
        self._families: Final[dict[str, Dialer]] = {
            word: probe.DirectDialer(resolve, resolver=self._resolver, family=family)
            for word, family in ((DIRECT4, probe.Family.IPV4), (DIRECT6, probe.Family.IPV6))
        }
        self._by_proxy: Final[dict[Proxy, Dialer]] = {}
        self._public: Dialer | None = None
        self._found: _Machine | None = None
        self._reading: Final = asyncio.Lock()
        self._read_again = -math.inf  # loop time
        self._choose = None if settings.proxy == MACHINE else self._chooser(settings.proxy)

    def plan(self, endpoint: Endpoint) -> tuple[ProbeSpec, ...]:
        """The probes of an endpoint: the first one, its variants, the other routes, and each kind of server key."""
        dialers = self.routes_to(endpoint)
        LOG.debug("%s: routes %s", endpoint.name, ", ".join(each.route for each in dialers))
        specs = variants(endpoint, dialers[0], self._variants, self._resolve)
        if len(dialers) == 1 and not self.all_addresses:
            return self._with_profiles(specs)
        hello = self._variants.first_hello
        further = [ProbeSpec(endpoint, dialer, hello) for dialer in dialers[1:]]
        if self.all_addresses:
            further += [ProbeSpec(endpoint, dialers[0], Hello.WIDEST, key_kind=kind) for kind in KeyKind]
        return self._with_profiles((*specs, *further))

    def _with_profiles(self, specs: Sequence[ProbeSpec]) -> tuple[ProbeSpec, ...]:
        profiles = self._profiles()
        return tuple(spec._replace(profiles=profiles) for spec in specs)

    @property
    def has_further(self) -> bool:
        """Whether an endpoint can have further probes than the first and its variants."""
        return self.all_addresses or len(self._settings.routes) > 1

    async def plan_addresses(self, endpoint: Endpoint, until: float) -> AddressProbes:
        """Plan probes of every address of an endpoint that is reached directly, unless its address is given."""
        dialers = self.routes_to(endpoint)
        if not self.all_addresses or all(each.route in PROXIED for each in dialers) or self._has_address(endpoint):
            return AddressProbes()
        found = await routes.lookup(endpoint.host, endpoint.port, resolver=self._resolver, until=until)
        room = FURTHER_PROBES_MAX - len(dialers) + 1 - len(KeyKind)
        specs = tuple(
            ProbeSpec(
                msgspec.structs.replace(endpoint, address=(address, endpoint.port)),
                self._direct,
                self._variants.first_hello,
            )
            for address in found.hosts[:room]
        )
        return AddressProbes(self._with_profiles(specs), found.left_out + len(found.hosts) - len(specs))

    def plan_comparisons(self, endpoint: Endpoint, seen: Sequence[Observation]) -> tuple[ProbeSpec, ...]:
        """Probes through each proxy that showed another certificate than a direct route, at the address seen directly.

        A difference that remains does not come from another name resolution. `seen` begins with an observation by each
        route.
        """
        if self._has_address(endpoint):
            return ()
        direct = [o for o in seen if o.route not in PROXIED and o.key_proved and _public_address(o) is not None]
        specs = []
        for dialer, observed in zip(self.routes_to(endpoint), seen, strict=False):
            if observed.route in PROXIED and observed.key_proved and observed.chain:
                differing = (o for o in direct if o.chain[0].sha256 != observed.chain[0].sha256)
                address = next((_public_address(o) for o in differing), None)
                if address is not None:
                    at_address = msgspec.structs.replace(endpoint, address=address)
                    specs.append(ProbeSpec(at_address, dialer, self._variants.first_hello))
        return self._with_profiles(specs)

    def first_route(self, endpoint: Endpoint) -> Dialer:
        """The route of the first probe."""
        return self.routes_to(endpoint)[0]

    def issuer_route(self, endpoint: Endpoint) -> Dialer:
        """The usual route, but directly only to public addresses: a certificate must not send us anywhere else."""
        usual = self.first_route(endpoint)
        if usual is self._given or (endpoint.host, endpoint.port) in self._resolve:
            return usual
        if usual.route is Route.NONE and isinstance(usual, pac.PacDialer):
            return usual.replacing(self._to_public)
        return self._to_public(usual)

    def _to_public(self, dialer: Dialer) -> Dialer:
        """The dialer, or one to public addresses alone where it connects directly."""
        if dialer.route not in DIRECT_ROUTES:
            return dialer
        if self._public is None:
            self._public = probe.DirectDialer(resolver=issuers.PublicResolver())
        return self._public

    def local_networks(self) -> Callable[[], Mapping[str, str]] | None:
        """The function that reads this machine's networks; None where the dialer was given."""
        return None if self._given is not None else routes.local_networks

    def routes_to(self, endpoint: Endpoint) -> tuple[Dialer, ...]:
        """The routes that apply to an endpoint, that of the first probe first; at least one."""
        if self._given is not None:
            return (self._given,)
        proxied = self._proxied(endpoint)
        by_word = {USUAL: proxied or self._direct, PROXY: proxied, DIRECT: self._direct, **self._families}
        found = (by_word[word] for word in self._settings.routes)
        return tuple(dict.fromkeys(dialer for dialer in found if dialer is not None)) or (
            routes.NoRoute(Outcome.NO_ROUTE),
        )

    async def read_machine_settings(self) -> None:
        """Read this machine's proxy settings in a thread before a route is chosen: that may start a program.

        They are read again where that was a while ago: a machine moves between networks, and policies change.
        """
        if self._settings.proxy != MACHINE or self._given is not None:
            return
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if now >= self._read_again:
                self._apply(await run_in_thread(_read_machine))
                self._read_again = now + SETTINGS_SECONDS

    def _apply(self, found: _Machine) -> Callable[[Endpoint], Dialer | None]:
        """Use these settings of the machine from now on.

        What was learned, such as the answers of a proxy file, holds while they and the networks are the same.
        """
        if self._choose is None or found != self._found:
            self._found, self._choose = found, self._by_machine(found.proxies)
        return self._choose

    def _proxied(self, endpoint: Endpoint) -> Dialer | None:
        """The route that the proxy setting gives for this endpoint; None for a direct one."""
        choose = self._choose or self._apply(_read_machine())
        return choose(endpoint)

    def _chooser(self, setting: str) -> Callable[[Endpoint], Dialer | None]:
        """The function that applies a proxy setting. Raises `ProxyError`."""
        if setting == "none":
            return lambda _: None
        if setting.startswith(FILE_PREFIX):
            return self._except_mapped(self._by_file(setting.removeprefix(FILE_PREFIX)))
        if setting == "env":
            return self._by_environment
        fixed = self.through(probe.parse_proxy(setting))
        return lambda _: fixed

    def _except_mapped(self, dialer: Dialer) -> Callable[[Endpoint], Dialer | None]:
        return lambda endpoint: None if endpoint.address is not None else dialer

    def _by_environment(self, endpoint: Endpoint) -> Dialer | None:
        if endpoint.address is not None:
            return None
        proxy = probe.proxy_for(endpoint.host, endpoint.port, "env", os.environ)
        return None if proxy is None else self.through(proxy)

    def _by_machine(self, found: SystemProxies) -> Callable[[Endpoint], Dialer | None]:
        """The function that applies this machine's settings. Precedence: PAC file, then fixed proxy, then WPAD.

        Where the machine sets nothing, the environment's settings apply; also where a setting cannot be followed, as
        browsers go on then, and the observation says so. They, too, go on from a file to the fixed proxy.
        """
        fixed = self._by_environment if found.proxy is None else self._by_server(found, found.proxy)
        if found.file is None and (found.proxy is not None or not found.detect):
            return fixed
        location, optional = (system.WPAD, True) if found.file is None else (found.file, False)
        return self._except_mapped(self._by_file(location, lambda e: self._remaining(fixed, e), optional=optional))

    def _remaining(self, choose: Callable[[Endpoint], Dialer | None], endpoint: Endpoint) -> Dialer:
        """The route where a setting of this machine cannot be followed: what `choose` gives, else a direct one."""
        try:
            return choose(endpoint) or self._direct
        except ProxyError:  # of the environment
            return routes.RemainingRoute(self._direct, _KIND_UNKNOWN)

    def _by_server(self, found: SystemProxies, server: str) -> Callable[[Endpoint], Dialer | None]:
        """The function that applies this machine's fixed proxy and the exceptions from it."""
        try:
            proxy = probe.parse_proxy(server)
        except ProxyError:
            return lambda e: routes.RemainingRoute(self._remaining(self._by_environment, e), _KIND_UNKNOWN)
        dialer = self.through(proxy)
        return lambda endpoint: None if endpoint.address or found.excepts(endpoint.host, endpoint.port) else dialer

    def _by_file(
        self, location: str, remaining: Callable[[Endpoint], Dialer] | None = None, *, optional: bool = False
    ) -> Dialer:
        file = pac.ProxyFile(
            location, download=self._download, resolver=self._resolver, clock=self._clock, optional=optional
        )
        return pac.PacDialer(file, self._direct, self.through, remaining)

    async def _download(self, url: str, until: float) -> bytes | None:
        """Fetch a proxy file, directly: it says how to reach anything else. An http server may redirect."""
        limits = client.Limits(body_bytes=pac.FILE_BYTES_MAX)
        for _ in range(REDIRECTS_MAX + 1):
            if url.lower().startswith("https:"):
                async with https.connect(url, dialer=self._direct, deadline=until) as server:
                    if server is None or not self._trusts_server(server):
                        return None
                    return (await server.get(limits=limits))[0]
            fetched = await client.fetch(url, dialer=self._direct, limits=limits, deadline=until)
            if fetched.outcome is not client.FetchOutcome.ANSWERED:
                return None
            if fetched.location is None or fetched.status not in _REDIRECTIONS:
                return fetched.body if fetched.status == _OK else None
            try:
                url = urljoin(url, fetched.location)
            except ValueError:  # an unfinished IPv6 address
                return None
        return None

    def _trusts_server(self, server: https.HTTPSServer) -> bool:
        return self._trusts(server.endpoint.host, server.endpoint.port, server.observation)

    def through(self, proxy: Proxy) -> Dialer:
        """The route through a proxy."""
        if proxy not in self._by_proxy:
            self._by_proxy[proxy] = probe.ProxyDialer(
                proxy,
                self._resolve,
                resolver=self._resolver,
                trusts=lambda seen, observation: self._trusts(seen.host, seen.port, observation),
            )
        return self._by_proxy[proxy]

    async def compare_resolvers(
        self, url: str, endpoints: Sequence[Endpoint], until: float
    ) -> tuple[Endpoint, Observation, dict[str, ResolutionObservation]] | None:
        """Ask a second resolver, and the system's, for every host that is looked up here.

        Returns the resolver as an endpoint, what the connection to it showed, and the answers by host; None where
        nothing can be asked at `url`.
        """
        target = client.parse_url(url.removesuffix("{?dns}"), "https")
        if target is None:
            return None
        await self.read_machine_settings()
        names = [e.host for e in endpoints if not self._has_address(e) and routes.literal(e.host) is None]
        resolver = Endpoint(host=target.host, port=target.port)
        async with Group() as group:
            asking = group.create_task(self._ask_resolver(url, names, self.first_route(resolver), until))
            own = {
                name: group.create_task(routes.addresses_of(name, resolver.port, resolver=self._resolver, until=until))
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
        """Return the resolver's observation and its answers by name; it is asked only if it is trusted."""
        async with https.connect(url.removesuffix("{?dns}"), dialer=dialer, deadline=until) as server:
            if server is None:
                return None
            if not self._trusts_server(server):
                return server.observation, dict.fromkeys(names, (ResolutionOutcome.NOT_VOUCHED, ()))
            return server.observation, await doh.resolve(server, names)

    def _has_address(self, endpoint: Endpoint) -> bool:
        """Whether the caller or the pin file gives the endpoint's address."""
        return endpoint.address is not None or (endpoint.host.rstrip(".").lower(), endpoint.port) in self._resolve


def _public_address(observed: Observation) -> Address | None:
    """The address and port of an observation, where that is a public address."""
    peer = observed.peer
    return peer if peer is not None and peer.ip is not None and peer.ip.is_global else None
