"""What every way to an endpoint has in common: a `Dialer`, its time limits, and the journal it keeps.

Room: probe. Opens nothing by itself; judges nothing.

A `Dialer` connects a protocol to an endpoint and writes what it learns into a `Journal` as it goes, so that whoever
gives up waiting still has the facts up to that moment. Failures are `RouteError`, which carries an `Outcome` and no
text.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from detector.model import Endpoint, Outcome, ProxyObservation, Record, Route
from detector.model.validate import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

ProtocolFactory = Callable[[], asyncio.Protocol]
Address = tuple[str, int]
"""Host (name or literal) and port."""
ResolveMap = Mapping[Address, Address]
"""Where to connect instead, by host (lower case) and port; like curl's --connect-to."""

HTTP_PORT: Final = 80
"""Default port of an http URL (RFC 9110 section 4.2.1)."""

PORT_MAX: Final = 65535
"""Largest TCP port (RFC 9293 section 3.1)."""


_HOSTS_REMEMBERED: Final = 1024
"""Hosts of which it is remembered whether they are addresses: one look asks several times."""


class Timeouts(Record, frozen=True, kw_only=True):
    """Seconds each phase of one connection may take.

    `resolve` bounds name resolution; `connect` all address attempts together; `proxy` the CONNECT exchange;
    `handshake` the whole TLS handshake, so that a peer sending one octet at a time gains nothing; and `witness` the
    question to a witness. Some interceptors need seconds for their first certificate.
    """

    resolve: float = 5.0
    connect: float = 5.0
    proxy: float = 8.0
    handshake: float = 8.0
    witness: float = 5.0

    def __post_init__(self) -> None:
        """Validate. Raises `InputError` for a negative value or NaN."""
        for phase in self.__struct_fields__:
            seconds(f"timeouts: {phase}", getattr(self, phase))


DEFAULT_TIMEOUTS: Final = Timeouts()


class RouteError(Exception):
    """The endpoint was not reached. Internal to this room: `client` turns it into an observation."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class Journal:
    """What is known of one connection so far: `address` (peer, as `host:port`) and `timings_ms` by phase.

    `route`, where a dialer that chooses says which way it took, `proxy`, `asked_for` and `proxy_file`, where there were
    such, go into the observation as they are. `deadline` is the event loop's time past which no phase may go on,
    `clock` gives seconds for the timings.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        deadline: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.timeouts = timeouts or DEFAULT_TIMEOUTS
        self.deadline = deadline
        self.clock = clock
        self.address: str | None = None
        self.route: Route | None = None
        self.proxy: ProxyObservation | None = None
        self.asked_for: str | None = None
        self.proxy_file: str | None = None
        self.timings_ms: dict[str, float] = {}

    @contextlib.contextmanager
    def timing(self, phase: str) -> Iterator[None]:
        """Record how long the body took, however it ends."""
        begun = self.clock()
        try:
            yield
        finally:
            self.note(phase, begun)

    def note(self, phase: str, begun: float) -> None:
        """Record how long this took until now; `begun` is the clock's time when it did."""
        self.timings_ms[phase] = round((self.clock() - begun) * 1000, 3)

    def phase(self, name: str, seconds: float, late: Outcome) -> _Phase:
        """Bound the body of an `async with` to `seconds` and to the deadline, and record how long it took.

        Raises `RouteError`: DEADLINE when the deadline passed, `late` when only this phase's time did.
        """
        return _Phase(self, name, seconds, late)


class _Phase:
    """What `Journal.phase` gives. A class, because three of them in every look make a generator's cost show."""

    __slots__ = ("_begun", "_journal", "_late", "_limit", "_name", "_seconds")

    def __init__(self, journal: Journal, name: str, seconds: float, late: Outcome) -> None:
        self._journal = journal
        self._name = name
        self._seconds = seconds
        self._late = late

    async def __aenter__(self) -> None:
        journal = self._journal
        until = asyncio.get_running_loop().time() + self._seconds
        if journal.deadline is not None and journal.deadline <= until:
            until, self._late = journal.deadline, Outcome.DEADLINE
        self._limit = asyncio.timeout_at(until)
        self._begun = journal.clock()
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError as late:  # of this limit: one of the body's own goes on as it came
            raise RouteError(self._late) from late
        finally:
            self._journal.note(self._name, self._begun)


class Dialer(Protocol):
    """A way to reach endpoints."""

    @property
    def route(self) -> Route:
        """What to call this way in an observation."""

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:
        """Connect the protocol that `factory` makes to `endpoint`.

        Whatever is learned goes into `journal` at once. Raises `RouteError`; when it raises or is cancelled,
        nothing stays open.
        """


class NoWay:
    """Where there is no way to take: every dial ends in `outcome`. `proxy_file` is the file that should have told."""

    def __init__(self, outcome: Outcome, *, proxy_file: str | None = None) -> None:
        self._outcome = outcome
        self._proxy_file = proxy_file

    @property
    def route(self) -> Route:
        """What to call this way in an observation."""
        return Route.NONE

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, journal: Journal) -> asyncio.Transport:  # noqa: ARG002 - as `Dialer.dial`
        """Fail as `Dialer.dial` does."""
        journal.proxy_file = self._proxy_file
        raise RouteError(self._outcome)


@functools.lru_cache(maxsize=_HOSTS_REMEMBERED)
def literal(host: str) -> str | None:
    """Return `host` without brackets when it is an IP address, perhaps with a zone (RFC 4007 section 11)."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return bare


def normalised(resolve: ResolveMap | None) -> dict[Address, Address]:
    """Rules by host in lower case without the final dot."""
    return {(host.rstrip(".").lower(), port): target for (host, port), target in (resolve or {}).items()}


def mapped(resolve: Mapping[Address, Address], endpoint: Endpoint) -> Address | None:
    """Return where the caller's rules, then the pin file, send this endpoint."""
    return resolve.get((endpoint.host.rstrip(".").lower(), endpoint.port)) or endpoint.address
