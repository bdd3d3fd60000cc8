"""The `Dialer` interface: how a protocol is connected to an endpoint, within time limits, and what is recorded of it.

Room: probe. Opens nothing by itself.

A dialer writes what it learns into a `ConnectionRecord` at once, so that a caller that gives up waiting still has the
facts up to that moment. Failures are `RouteError`, which carries an `Outcome` and no text.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from detector.model import Endpoint, Outcome, ProxyObservation, Record, Route, UnfollowedProxy
from detector.model.validate import seconds

if TYPE_CHECKING:
    from types import TracebackType

    from detector.model import Observation

LOG: Final = logging.getLogger("detector.probe")

ProtocolFactory = Callable[[], asyncio.Protocol]
Address = tuple[str, int]  # host (name or literal) and port
ResolveMap = Mapping[Address, Address]
"""Where to connect instead, by host (lower case) and port; like curl's --connect-to."""

HTTP_PORT: Final = 80  # default port of an http URL (RFC 9110 section 4.2.1)
_HOSTS_CACHED: Final = 1024  # hosts for which it is cached whether they are addresses: one probe asks several times


HANDSHAKE_SHARE: Final = 0.8
"""Share of the time left that a silent proxy or server may take: the rest is for follow-up probes, which another
endpoint may need."""
CONNECT_SHARE: Final = 0.4
"""Share of the time left that a silent resolver, or silent addresses, may take: half of a silent server's. The system
repeats what is lost (a query after 5 s, resolv.conf(5); a SYN after 1, 3 and 7 s, RFC 6298)."""
PATIENCE_SECONDS: Final = 3.0
"""Seconds after which a silent server is tried again, on a second connection alongside the first: a segment that is
lost has been sent twice more by then (after 1 and 3 s, RFC 6298 section 2), and few servers ever take as long."""
PATIENCE_SHARE: Final = 0.4
"""At most this share of the time left passes before that: of a gate's 2.5 s it leaves 1.5 s, two round trips between
any two continents with a segment lost."""


class Timeouts(Record, frozen=True, kw_only=True):
    """Seconds each phase of one connection may take.

    `resolve` bounds name resolution; `connect` all address attempts together; `proxy` the negotiation with a proxy;
    `handshake` the whole TLS handshake, so that a peer sending one byte at a time gains nothing; `witness` the request
    to a witness. Some interceptors need seconds for their first certificate. A caller that gives none gets those of
    `within` its deadline.
    """

    resolve: float = 5.0
    connect: float = 5.0
    proxy: float = 8.0
    handshake: float = 8.0
    witness: float = 5.0

    @classmethod
    def within(cls, left: float | None) -> Timeouts:
        """Return the limits of a connection that has `left` seconds until its deadline, None for no deadline.

        The defaults are the least, whatever the deadline, which bounds every phase anyway. A long one is used:
        `HANDSHAKE_SHARE` of it for a server or a proxy, `CONNECT_SHARE` for resolving and connecting.
        """
        if left is None or left <= _SHORT:
            return _LEAST
        for_server, for_network = HANDSHAKE_SHARE * left, CONNECT_SHARE * left
        return cls(
            resolve=max(_LEAST.resolve, for_network),
            connect=max(_LEAST.connect, for_network),
            proxy=max(_LEAST.proxy, for_server),
            handshake=max(_LEAST.handshake, for_server),
        )

    def __post_init__(self) -> None:
        """Validate. Raises `InputError` for a negative value or NaN."""
        for phase in self.__struct_fields__:
            seconds(f"timeouts: {phase}", getattr(self, phase))


_LEAST: Final = Timeouts()
_SHORT: Final = _LEAST.handshake / HANDSHAKE_SHARE  # seconds: up to here no share exceeds a default


def patience(left: float) -> float:
    """Return the seconds after which a silent server is tried again, where `left` seconds remain for it to answer.

    The first connection goes on meanwhile, so a slow server, or an interceptor that is, loses nothing.
    """
    return min(PATIENCE_SECONDS, PATIENCE_SHARE * max(left, 0.0))


class RouteError(Exception):
    """The endpoint was not reached. Internal to this room: `client` turns it into an observation."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class ConnectionRecord(msgspec.Struct, kw_only=True):
    """What is known of one connection so far, and its limits.

    `deadline` is the event loop's time past which no phase may go on, `clock` gives seconds for `timings_ms`. `order`
    is the key by which a dialer sorts addresses (`host:port`) that it may choose from, None for their own order.
    `address` is the peer as `host:port`; `route` is set by a dialer that chooses one. `route`, `proxy`, `asked_for`,
    `proxy_file` and `unfollowed_proxy` go into the observation unchanged.
    """

    timeouts: Timeouts = Timeouts()
    deadline: float | None = None
    clock: Callable[[], float] = time.perf_counter
    order: Callable[[str], int] | None = None
    address: str | None = None
    route: Route | None = None
    proxy: ProxyObservation | None = None
    asked_for: str | None = None
    proxy_file: str | None = None
    unfollowed_proxy: UnfollowedProxy | None = None
    timings_ms: dict[str, float] = {}

    def note(self, phase: str, begun: float) -> None:
        """Record the time since the clock showed `begun`."""
        self.timings_ms[phase] = round((self.clock() - begun) * 1000, 3)

    def phase(self, name: str, seconds: float, late: Outcome) -> _Phase:
        """Bound the body of an `async with` to `seconds` and to the deadline, and record how long it took.

        Raises `RouteError`: DEADLINE when the deadline passed, `late` when only this phase's time did.
        """
        return _Phase(self, name, seconds, late)

    def complete(self, observation: Observation, route: Route) -> Observation:
        """Return the observation with what is recorded here; `route` holds where none was chosen."""
        return msgspec.structs.replace(
            observation,
            route=self.route or route,
            proxy=self.proxy,
            proxy_file=self.proxy_file,
            unfollowed_proxy=self.unfollowed_proxy,
            address=self.address,
            asked_for=self.asked_for,
            timings_ms=dict(self.timings_ms),
        )


class _Phase:
    """Returned by `ConnectionRecord.phase`. A class: with three in every probe, the cost of generators shows."""

    __slots__ = ("_begun", "_late", "_limit", "_name", "_record", "_seconds")

    def __init__(self, record: ConnectionRecord, name: str, seconds: float, late: Outcome) -> None:
        self._record = record
        self._name = name
        self._seconds = seconds
        self._late = late

    async def __aenter__(self) -> None:
        record = self._record
        until = asyncio.get_running_loop().time() + self._seconds
        if record.deadline is not None and record.deadline <= until:
            until, self._late = record.deadline, Outcome.DEADLINE
        self._limit = asyncio.timeout_at(until)
        self._begun = record.clock()
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError as late:  # of this limit: one of the body's own passes unchanged
            raise RouteError(self._late) from late
        finally:
            self._record.note(self._name, self._begun)


class Dialer(Protocol):
    """A route to endpoints."""

    @property
    def route(self) -> Route:
        """The route's name in an observation."""

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect the protocol that `factory` makes to `endpoint`, and note in `record` what is learned.

        Raises `RouteError`; when it raises or is cancelled, nothing stays open.
        """


class NoRoute:
    """A dialer without a route: every dial ends in `outcome`."""

    def __init__(self, outcome: Outcome) -> None:
        self.route: Final = Route.NONE
        self._outcome = outcome

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:  # noqa: ARG002 - as `Dialer.dial`
        """Fail as `Dialer.dial` does."""
        raise RouteError(self._outcome)


class RemainingRoute:
    """The route that remains where a proxy setting of this machine cannot be followed; `why` goes into the record."""

    def __init__(self, dialer: Dialer, why: UnfollowedProxy) -> None:
        self.route: Final = dialer.route
        self._dialer = dialer
        self._why = why

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as `Dialer.dial` says."""
        record.unfollowed_proxy = record.unfollowed_proxy or self._why  # the first setting counts
        return await self._dialer.dial(endpoint, factory, record)


@functools.lru_cache(maxsize=_HOSTS_CACHED)
def literal(host: str) -> str | None:
    """Return `host` without brackets when it is an IP address, possibly with a zone (RFC 4007 section 11)."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return bare


def host_port(host: str, port: int) -> str:
    """Format a host and port as `host:port`, an IPv6 address in brackets."""
    bare = literal(host) or host
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def normalised(resolve: ResolveMap | None) -> dict[Address, Address]:
    """Return the rules by host in lower case without the final dot."""
    return {(host.rstrip(".").lower(), port): target for (host, port), target in (resolve or {}).items()}


def destination(resolve: Mapping[Address, Address], endpoint: Endpoint) -> Address:
    """Return where to connect: where the caller's rules, then the pin file, then the endpoint itself say."""
    rule = resolve.get((endpoint.host.rstrip(".").lower(), endpoint.port))
    return rule or endpoint.address or (endpoint.host, endpoint.port)
