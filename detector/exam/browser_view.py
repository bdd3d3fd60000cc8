"""The browser's own view: what its connections to the exam's servers showed, as an extension reported it.

Room: exam. Pure: reports and the time come in, observations go out; no socket, file or clock.

Neither the extension nor the pages that it sees are trusted. A report is believed as far as it accuses, and then as
`probable` at most; that all is well clears nothing (`detector.judge`). Reports on other hosts than the policy's are
refused and not kept, and a report has no field for anything about the student: no URL, path, tab or cookie.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec

from detector.errors import TargetError
from detector.model import (
    Confidence,
    Engine,
    Hello,
    Observation,
    Outcome,
    ProxyObservation,
    ProxyScheme,
    Reason,
    Record,
    Route,
    Verdict,
)
from detector.model.validate import HTTPS_PORT, PORT_MAX
from detector.pins import parse_address
from detector.trust.certificate import Certificate

from .manifest import Browser

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Result

CONNECTIONS_MAX: Final = 64
"""Connections of one report. A page loads from a few hosts by a few connections each."""

CERTIFICATES_MAX: Final = 16
"""Certificates of one chain; genuine ones have two to four."""

KEPT_SECONDS_MAX: Final = 600.0
"""Seconds for which a connection counts: a student opens the exam's page, and the gate follows within minutes. After
that the device may be on another network."""

CLOCK_SECONDS_MAX: Final = 60.0
"""Seconds by which a connection may lie in the future: browser and host read one clock, which may be set meanwhile."""

KEPT_PER_ENDPOINT_MAX: Final = 8
"""Chains kept for one endpoint, the latest ones; a large host has two or three at a time."""

KEPT_MAX: Final = 256
"""Chains kept in all. Each fits a request of 128 KiB, so that they take at most 32 MiB, and usually 1."""

NAME_CHARACTERS_MAX: Final = 64
"""Characters of the name of a protocol, group or cipher suite; the longest of RFC 8446 and RFC 5246 have 45."""

HOST_CHARACTERS_MAX: Final = 300
"""Characters of `HOST:PORT`: a DNS name has 253."""

_Name = Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9._+-]{{1,{NAME_CHARACTERS_MAX}}}\Z")]
Host = Annotated[str, msgspec.Meta(min_length=1, max_length=HOST_CHARACTERS_MAX)]


class NotReported(enum.StrEnum):
    """Why a browser gave no certificate for a connection.

    `no-api`: it has no interface for extensions that shows certificates, or that is switched off. `no-certificate`: it
    gave an answer without one, as for a connection that is not secure. `cached`: there was no connection.
    """

    NO_API = "no-api"
    NO_CERTIFICATE = "no-certificate"
    CACHED = "cached"


class BrowserProxy(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The proxy that a browser used for a connection."""

    scheme: ProxyScheme
    host: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]{1,255}\Z")]
    port: Annotated[int, msgspec.Meta(ge=1, le=PORT_MAX)]


class BrowserConnection(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One connection of the browser to `host` (`HOST[:PORT]`) at `time`, as its extension reports it.

    `chain` are certificates in DER (base64), leaf first: all that the browser gives, which may be the leaf alone; or
    else `not_reported` says why there are none. `protocol`, `group` and `cipher` are the browser's names, `address` is
    the IP address that it connected to, `proxy` the proxy that it used, each where the browser gives it.
    """

    host: Host
    time: Annotated[dt.datetime, msgspec.Meta(tz=True)]
    chain: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=CERTIFICATES_MAX)] = ()
    not_reported: NotReported | None = None
    protocol: _Name | None = None
    group: _Name | None = None
    cipher: _Name | None = None
    address: Annotated[str, msgspec.Meta(max_length=HOST_CHARACTERS_MAX)] | None = None
    proxy: BrowserProxy | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError`, which msgspec turns into its own."""
        if bool(self.chain) is (self.not_reported is not None):
            raise ValueError("give either `chain` or `not_reported`")
        if self.address is not None and str(ipaddress.ip_address(self.address)).partition("%")[1]:
            raise ValueError("`address` has a zone")  # which may be any text


class RefusalCode(enum.StrEnum):
    """Why a connection of a report was not kept.

    `not-listed`: the host is neither an endpoint of the policy nor a pinned one of category `exam`. `out-of-date`: more
    than ten minutes ago, or in the future. `unreadable`: the leaf has no key that could be read.
    """

    NOT_LISTED = "not-listed"
    OUT_OF_DATE = "out-of-date"
    UNREADABLE = "unreadable"


class Refused(Record, frozen=True, kw_only=True):
    """A connection that was not kept: its place in the report, from 0, and why."""

    index: int
    code: RefusalCode


class Viewed(Record, frozen=True, kw_only=True):
    """What is kept of the browser's connections to one endpoint (`host:port`).

    `chains` is how many different ones; `not_reported` says why the browser gave no certificate, where it gave none.
    """

    endpoint: str
    chains: int
    not_reported: tuple[NotReported, ...] = ()


class BrowserResult(Record, frozen=True, kw_only=True):
    """What the browser's connections to one endpoint show by themselves; never that it is clean."""

    endpoint: str
    verdict: Verdict
    confidence: Confidence | None
    reason: Reason

    @classmethod
    def of(cls, result: Result) -> BrowserResult:
        """Return the conclusion of a result without what it rests on."""
        return cls(
            endpoint=result.endpoint.name,
            verdict=result.verdict,
            confidence=result.confidence,
            reason=result.reason,
        )


_ROUTES: Final[dict[ProxyScheme, Route]] = {
    ProxyScheme.HTTP: Route.HTTP_CONNECT,
    ProxyScheme.HTTPS: Route.HTTPS_CONNECT,
    ProxyScheme.SOCKS4A: Route.SOCKS4A,
    ProxyScheme.SOCKS5: Route.SOCKS5,
}


class _Key(NamedTuple):
    """What makes a connection another one than those that are kept."""

    endpoint: str
    chain: tuple[bytes, ...] | NotReported
    proxy: BrowserProxy | None


class _Kept(NamedTuple):
    """When a connection was made, and what it showed; None where the browser reported nothing."""

    time: dt.datetime
    observation: Observation | None


class BrowserView:
    """What a browser reported of the endpoints that `listed` has. Bounded in number, size and time."""

    def __init__(self, listed: Iterable[Endpoint]) -> None:
        self._listed: Final = {endpoint.name: endpoint for endpoint in listed}
        self._kept: Final[OrderedDict[_Key, _Kept]] = OrderedDict()

    def add(
        self, connections: Sequence[BrowserConnection], *, browser: Browser | None, now: dt.datetime
    ) -> tuple[tuple[Endpoint, ...], tuple[Refused, ...]]:
        """Keep connections; return the endpoints that they were made to, and those that were not kept. Raises nothing.

        `now` is the time (aware).
        """
        named: dict[str, Endpoint] = {}
        refused = []
        for index, connection in enumerate(connections):
            found = self._add(connection, browser, now)
            if isinstance(found, RefusalCode):
                refused.append(Refused(index=index, code=found))
            else:
                named[found.name] = found
        return tuple(named.values()), tuple(refused)

    def _add(self, connection: BrowserConnection, browser: Browser | None, now: dt.datetime) -> Endpoint | RefusalCode:
        endpoint = self._endpoint(connection.host)
        if endpoint is None:
            return RefusalCode.NOT_LISTED
        if not _is_current(connection.time, now):
            return RefusalCode.OUT_OF_DATE
        observation = _observation(connection, endpoint, browser) if connection.chain else None
        if observation is not None and Certificate.read(connection.chain[0]).spki is None:
            return RefusalCode.UNREADABLE
        key = _Key(endpoint.name, connection.not_reported or connection.chain, connection.proxy)
        self._kept[key] = _Kept(connection.time, observation)
        self._kept.move_to_end(key)
        same = [known for known in self._kept if known.endpoint == endpoint.name]
        for oldest in same[:-KEPT_PER_ENDPOINT_MAX]:
            del self._kept[oldest]
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return endpoint

    def _endpoint(self, host: str) -> Endpoint | None:
        try:
            name, port = parse_address(host, port=HTTPS_PORT)
        except TargetError:
            return None
        return next((e for e in self._listed.values() if (e.host, e.port) == (name, port)), None)

    def forget(self, now: dt.datetime) -> None:
        """Forget connections that no longer count."""
        for key in [key for key, kept in self._kept.items() if not _is_current(kept.time, now)]:
            del self._kept[key]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of which the browser reported certificates."""
        names = dict.fromkeys(key.endpoint for key, kept in self._kept.items() if kept.observation is not None)
        return tuple(self._listed[name] for name in names)

    def of(self, endpoint: str) -> tuple[Observation, ...]:
        """Return the observations of one endpoint (`host:port`), the latest last."""
        every = (kept.observation for key, kept in self._kept.items() if key.endpoint == endpoint)
        return tuple(observation for observation in every if observation is not None)

    def join(self, observed: Iterable[EndpointEvidence]) -> tuple[EndpointEvidence, ...]:
        """Return the evidence of a gate's probes with what the browser reported of the same endpoints."""
        return tuple(one.with_further(self.of(one.endpoint.name)) for one in observed)

    def viewed(self) -> tuple[Viewed, ...]:
        """Return what is kept, by endpoint."""
        names = dict.fromkeys(key.endpoint for key in self._kept)
        return tuple(
            Viewed(
                endpoint=name,
                chains=len(self.of(name)),
                not_reported=tuple(
                    dict.fromkeys(
                        key.chain for key in self._kept if key.endpoint == name and isinstance(key.chain, NotReported)
                    )
                ),
            )
            for name in names
        )


def _is_current(time: dt.datetime, now: dt.datetime) -> bool:
    return -CLOCK_SECONDS_MAX <= (now - time).total_seconds() <= KEPT_SECONDS_MAX


def _observation(connection: BrowserConnection, endpoint: Endpoint, browser: Browser | None) -> Observation:
    """Return what a connection showed. That the key was proved is the browser's word, by which nothing is proved."""
    proxy = connection.proxy
    port = endpoint.port if proxy is None else proxy.port
    address = connection.address
    return Observation(
        outcome=Outcome.COMPLETE,
        key_proved=True,
        hello=Hello.FIREFOX if browser is Browser.FIREFOX else Hello.BROWSER,
        engine=Engine.BROWSER,
        route=Route.NONE if proxy is None else _ROUTES[proxy.scheme],
        proxy=None if proxy is None else ProxyObservation(scheme=proxy.scheme, host=proxy.host, port=proxy.port),
        address=None if address is None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}",
        asked_for=None if proxy is None else endpoint.name,
        tls_version=connection.protocol,
        group=connection.group,
        cipher=connection.cipher,
        chain=tuple(Certificate.read(der).presented() for der in connection.chain),
    )
