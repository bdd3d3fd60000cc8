"""What the checks look at: one endpoint (`EndpointEvidence`) and what several endpoints show together (`NetworkEvidence`).

Room: evidence, between trust and checks. Pure: everything it needs comes in as an argument. Derived facts are
computed once, on demand. Nothing is judged here.

Several looks at one endpoint
=============================
An interceptor may decrypt only one way to a host: TCP but not QUIC, what goes through the proxy, what looks like a
browser. Whoever looked by several ways gives the further observations to `EndpointEvidence` as `others`; each says by its `route`,
`hello` and `address` which way it was. `EndpointEvidence.looks` are the same observations as cases of their own, every one of which
has all the others as *its* looks, so a check that compares is written once, from the point of view of one look:

    for other in case.looks:
        if other.observation.route is not case.observation.route:
            compared = compare(case, other)

`compare` says what two looks show together; a check decides which pairs are its business and what a difference may
mean on that way. The look that differs is judged like any other (`assess.assess_endpoint`): an endpoint is `middleware` if any
look at it is, and the other looks clear nothing.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from detector.model import Endpoint
from detector.trust import hostname, transparency
from detector.trust import paths as path_building
from detector.trust.certificate import Certificate
from detector.trust.roots import NO_ROOTS, Roots, from_der
from detector.trust.signature import Signed, verify_issued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detector.model import Observation, PortalObservation, ServerDate
    from detector.trust.logs import LogList

_VARYING: Final = re.compile(r"\b[0-9a-f]{8,}\b|\d+")
"""Serial numbers, dates and hashes inside an issuer's name."""
CLOCK_OPERATORS_LEAST: Final = 2
"""Operators whose certificates must all be off before the clock is blamed rather than one forgetful server."""
CLOCK_TOLERANCE: Final = dt.timedelta(hours=1)
"""How far in the future a valid CT timestamp may lie before the clock is called wrong: CAs and logs keep time to
seconds, and a certificate is rarely served within its first hour."""

DATES_AGREE_WITHIN: Final = dt.timedelta(minutes=5)
"""How far Date headers of different servers may lie apart and still mean the same time; servers keep time by NTP."""

OTHERS_MAX: Final = 32
"""Further looks kept for one endpoint: every route with every hello, and the addresses of a large host."""

K = TypeVar("K")

IssuerIdentity = tuple[str, ...]
"""One way to recognise an issuer again: ("key", hash), ("identifier", name, key id) or ("name", name)."""


def no_machine_roots() -> Roots:
    """For chains that were not captured on this machine: its trust store says nothing about them."""
    return NO_ROOTS


def never_installed(sha256: bytes) -> dt.datetime | None:  # noqa: ARG001 - the signature of what knows
    """For when nothing is known of when a root came to this machine."""
    return None


class Context(NamedTuple):
    """What everything is judged against.

    `machine_roots` is called at most when a chain has no public path, and `installed_at`, with the SHA-256 of a root,
    when one of those signed; it says when that root came to this machine, if the machine says so. `portal` and
    `dates` are what control requests got on this network, where they were made.
    """

    at: dt.datetime
    roots: Roots
    logs: LogList
    machine_roots: Callable[[], Roots] = no_machine_roots
    installed_at: Callable[[bytes], dt.datetime | None] = never_installed
    portal: PortalObservation | None = None
    dates: tuple[ServerDate, ...] = ()


class EndpointEvidence:
    """One endpoint, what was observed, and what can be derived from it without judging."""

    def __init__(
        self,
        endpoint: Endpoint,
        observation: Observation,
        context: Context,
        fetched: Sequence[bytes] = (),
        others: Sequence[Observation] = (),
    ) -> None:
        self.endpoint: Final = endpoint
        self.observation: Final = observation
        self.context: Final = context
        self.fetched: Final = tuple(fetched)
        """Issuers in DER, fetched from where the leaf says they are. Never trusted by themselves."""
        self.others: Final = tuple(others[:OTHERS_MAX])
        """Other looks at the same endpoint: by another route, with another hello, at another address."""
        self._looks: tuple[EndpointEvidence, ...] | None = None

    @property
    def looks(self) -> tuple[EndpointEvidence, ...]:
        """The other looks as cases, in the order of `others`. What is derived from each is shared by all of them."""
        if self._looks is None:
            every = [self.observation, *self.others]
            group = [self]
            for number, observation in enumerate(self.others, start=1):
                rest = every[:number] + every[number + 1 :]
                group.append(EndpointEvidence(self.endpoint, observation, self.context, self.fetched, rest))
            for look in group:
                look._looks = tuple(other for other in group if other is not look)  # noqa: SLF001 - its own class
        return self._looks or ()

    def with_more(self, context: Context, fetched: Sequence[bytes]) -> EndpointEvidence:
        """The same looks in another context, with fetched issuers."""
        return EndpointEvidence(self.endpoint, self.observation, context, fetched, self.others)

    def with_observation(self, observation: Observation) -> EndpointEvidence:
        """The same case with more observed."""
        return EndpointEvidence(self.endpoint, observation, self.context, self.fetched, self.others)

    @cached_property
    def presented(self) -> tuple[Certificate, ...]:
        """The certificates as presented, leaf first."""
        return tuple(Certificate.read(c.der) for c in self.observation.chain)

    @property
    def leaf(self) -> Certificate | None:
        """Certificate 0, the only one whose key the handshake can prove."""
        return self.presented[0] if self.presented else None

    @cached_property
    def declared_roots(self) -> Roots:
        """The private roots that the pin file declares for this endpoint."""
        return from_der(self.endpoint.private_roots, name="declared private roots")

    @cached_property
    def paths(self) -> path_building.Paths | None:
        """Verified paths from the leaf over presented certificates, public roots and declared private roots."""
        if self.leaf is None:
            return None
        return path_building.build(self.presented, (self.context.roots, self.declared_roots), self.extra)

    @cached_property
    def extra(self) -> tuple[Certificate, ...]:
        """Certificates that were not presented but may stand above the leaf."""
        return tuple(map(Certificate.read, self.fetched))

    @cached_property
    def public_paths(self) -> tuple[path_building.Path, ...]:
        """The paths that end in a public root."""
        return self.paths.ending_in(self.context.roots) if self.paths else ()

    @cached_property
    def declared_paths(self) -> tuple[path_building.Path, ...]:
        """The paths that end in a root declared for this endpoint."""
        return self.paths.ending_in(self.declared_roots) if self.paths else ()

    @cached_property
    def machine_paths(self) -> tuple[path_building.Path, ...]:
        """The paths that end in a root installed on this machine that is not a public one."""
        if self.leaf is None or not self.is_private:
            return ()
        installed = self.context.machine_roots().without(self.context.roots.keys)
        return path_building.build(self.presented, (installed,), self.extra).ending_in(installed)

    @cached_property
    def logging_assessment(self) -> transparency.Assessment:
        """Whether the leaf was publicly logged, and by which timestamps."""
        if self.leaf is None or self.paths is None or self.looks_incomplete:
            return transparency.Assessment(transparency.Logging.UNKNOWABLE, ())
        carriers = (
            (transparency.SCTSource.TLS_EXTENSION, self.observation.sct_list),
            (transparency.SCTSource.OCSP, self.observation.ocsp_response),
        )
        outside = [(source, data) for source, data in carriers if data is not None]
        return transparency.assess(self.leaf, self.paths.issuers, self.context.logs, self.context.at, outside=outside)

    @property
    def scts(self) -> tuple[transparency.CheckedSCT, ...]:
        """The timestamps of the leaf, checked against its verified issuers."""
        return self.logging_assessment.scts

    @property
    def logging(self) -> transparency.Logging:
        """Whether the leaf was publicly logged."""
        return self.logging_assessment.logging

    @property
    def is_private(self) -> bool:
        """Whether the leaf has neither a public path nor a public log to show for itself."""
        return self.leaf is not None and not self.public_paths and self.logging is not transparency.Logging.LOGGED

    @property
    def publicly_vouched(self) -> bool:
        """Whether the key that signed the handshake is publicly known as this host's.

        Stricter than `looks_genuine`: a declared root does not count, nor a public path without the log entries that
        there should be.
        """
        vouched = self.logging is transparency.Logging.LOGGED or (
            bool(self.public_paths) and self.logging is transparency.Logging.UNKNOWABLE
        )
        return vouched and self.observation.key_proved and self.name_match is not hostname.NameMatch.MISMATCH

    @cached_property
    def pinned(self) -> Certificate | None:
        """The leaf or else a certificate on a verified path that is pinned here, whether the pins expired or not."""
        keys = frozenset((*self.endpoint.pins, *self.endpoint.backup_pins))
        certificates = frozenset(self.endpoint.certificates)
        paths = self.paths.paths if self.paths is not None else ()
        above = (certificate for path in paths for certificate in path.certificates[1:])
        candidates = () if self.leaf is None else (self.leaf, *above)
        return next((c for c in candidates if c.spki_sha256 in keys or c.sha256 in certificates), None)

    @property
    def trusted_here(self) -> bool:
        """Whether an ordinary client on this machine would go on: key, name and dates right, and a root it trusts."""
        if self.leaf is None or not self.observation.key_proved or self.leaf.validity is None:
            return False
        in_date = self.leaf.validity[0] <= self.context.at <= self.leaf.validity[1]
        named = self.name_match is not hostname.NameMatch.MISMATCH
        return in_date and named and bool(self.public_paths or self.machine_paths)

    @cached_property
    def proxy(self) -> EndpointEvidence | None:
        """The connection to the proxy itself, where that was TLS."""
        seen = self.observation.proxy
        if seen is None or seen.tls is None:
            return None
        return EndpointEvidence(Endpoint(host=seen.host, port=seen.port), seen.tls, self.context)

    @cached_property
    def name_match(self) -> hostname.NameMatch:
        """Whether the leaf is for this host, and the CAs on some path may name it."""
        if self.leaf is None:
            return hostname.NameMatch.MISMATCH
        matched = hostname.match(self.leaf, self.endpoint.host)
        trusted = (*self.public_paths, *self.declared_paths)
        if trusted and not any(self._allows_name(path) for path in trusted):
            return hostname.NameMatch.MISMATCH
        return matched

    def _allows_name(self, path: path_building.Path) -> bool:
        return all(
            c.name_constraints is None or hostname.permitted(self.endpoint.host, c.name_constraints)
            for c in path.certificates[1:]
        )

    @property
    def looks_genuine(self) -> bool:
        """Whether the leaf is vouched for in public, or by a declared root, and for this host."""
        vouched = not self.is_private or bool(self.declared_paths)
        return self.leaf is not None and vouched and self.name_match is not hostname.NameMatch.MISMATCH

    @cached_property
    def issuer_missing(self) -> bool:
        """Whether the leaf's issuer is nowhere to be had, although the leaf says where it should be fetched."""
        if self.leaf is None or self.paths is None or self.paths.issuer_known:
            return False
        return bool(self.leaf.issuer_urls)

    @cached_property
    def looks_incomplete(self) -> bool:
        """Whether this can be a public certificate whose server forgot the intermediate."""
        return (
            self.issuer_missing
            and self.leaf is not None
            and transparency.claims_logging(self.leaf, self.context.logs, self.context.at)
        )

    @cached_property
    def signed_by_own_key(self) -> bool:
        """Whether the leaf's own key made the leaf's signature."""
        return (
            self.leaf is not None
            and self.leaf.spki is not None
            and verify_issued(self.leaf, self.leaf.spki) is Signed.VALID
        )

    @cached_property
    def issuer_identities(self) -> frozenset[IssuerIdentity]:
        """The ways to recognise the leaf's issuer on another endpoint. Empty for self-issued leaves.

        By key where a certificate of the issuer is at hand, by name and key identifier where the leaf gives one, by
        name alone only where there is nothing better.
        """
        leaf = self.leaf
        if leaf is None or self.paths is None or leaf.issuer is None or leaf.is_self_issued:
            return frozenset()
        name = repr(leaf.issuer.canonical)
        found: set[IssuerIdentity] = {("key", c.spki_sha256.hex()) for c in self.paths.issuers if c.spki_sha256}
        if self.signed_by_own_key and leaf.spki_sha256:
            found.add(("key", leaf.spki_sha256.hex()))
        if leaf.authority_key_identifier is not None:
            found.add(("identifier", name, leaf.authority_key_identifier.hex()))
        return frozenset(found or {("name", name)})

    @cached_property
    def issuer_shape(self) -> str | None:
        """The issuer's name with what differs from certificate to certificate taken out: numbers and the host."""
        leaf = self.leaf
        if leaf is None or leaf.issuer is None:
            return None
        host = self.endpoint.host.lower()
        parts = []
        for kind, value in leaf.issuer.canonical:
            shaped = value.replace(host, "{host}")
            parts.append(f"{kind}={_VARYING.sub('#', shaped)}")
        return ",".join(parts) or None


class Comparison(enum.Enum):
    """What two looks at one endpoint show together."""

    SAME = "same"
    BOTH_VOUCHED = "both-vouched"
    PRIVATE_HERE = "private-here"
    PRIVATE_THERE = "private-there"
    UNDECIDED = "undecided"
    NOT_COMPARABLE = "not-comparable"


def compare(here: EndpointEvidence, there: EndpointEvidence) -> Comparison:
    """Compare two looks at one endpoint, both from finished handshakes.

    `SAME` certificate; two certificates, `BOTH_VOUCHED` in public for this host (a CDN has several); no public path or
    log on one side (`PRIVATE_HERE`, `PRIVATE_THERE`), although the other side shows that this host is vouched for in
    public; `UNDECIDED` where they differ and neither shows that; `NOT_COMPARABLE` without a certificate or its key's
    proof on either side. Where a root is declared for the endpoint, a chain to it is never called private.
    """
    if here.leaf is None or there.leaf is None or not (here.observation.key_proved and there.observation.key_proved):
        return Comparison.NOT_COMPARABLE
    if here.leaf.sha256 == there.leaf.sha256:
        return Comparison.SAME
    if here.publicly_vouched and there.publicly_vouched:
        return Comparison.BOTH_VOUCHED
    if there.publicly_vouched and here.is_private and not here.declared_paths:
        return Comparison.PRIVATE_HERE
    if here.publicly_vouched and there.is_private and not there.declared_paths:
        return Comparison.PRIVATE_THERE
    return Comparison.UNDECIDED


def same_place(here: EndpointEvidence, there: EndpointEvidence) -> bool:
    """Whether two looks were answered at one address and port.

    Then no resolver can have sent them to different servers. Through a proxy the address is the proxy's, which is the
    same place only for looks that both went through it.
    """
    return here.observation.address is not None and here.observation.address == there.observation.address


def difference(here: EndpointEvidence, there: EndpointEvidence) -> str | None:
    """What the comparison of two looks is called in a finding about `here`; None where they cannot be compared.

    `same`, `both-vouched`, `differs`; `forged` where `here` is private while the same address shows that this host is
    vouched for in public, `genuine-elsewhere` where another address does; `other-forged` the other way round.
    """
    compared = compare(here, there)
    if compared is Comparison.PRIVATE_HERE and not same_place(here, there):
        return "genuine-elsewhere"
    return _DIFFERENCES[compared]


_DIFFERENCES: Final[dict[Comparison, str | None]] = {
    Comparison.SAME: "same",
    Comparison.BOTH_VOUCHED: "both-vouched",
    Comparison.PRIVATE_HERE: "forged",
    Comparison.PRIVATE_THERE: "other-forged",
    Comparison.UNDECIDED: "differs",
    Comparison.NOT_COMPARABLE: None,
}


class _Sighting(NamedTuple):
    """One endpoint on which something was met. Its operator is worked out only when it matters."""

    name: str
    host: str
    declared_operator: str | None
    certificate: bytes

    @property
    def operator(self) -> str:
        return self.declared_operator or hostname.operator_of(self.host)


_SIGHTINGS_MAX: Final = 64
"""Endpoints remembered per issuer or key: two of unrelated operators decide, the rest is for the reader."""


class _Windows:
    """The validity of all publicly vouched leaves together: where the first and the last begin and end.

    Kept up to date with every leaf, because every endpoint of a scan is judged by it.
    """

    def __init__(self, validity: tuple[dt.datetime, dt.datetime]) -> None:
        self.first_begins, self.first_ends = self.last_begins, self.last_ends = validity
        self._sightings: set[_Sighting] = set()

    def add(self, validity: tuple[dt.datetime, dt.datetime], sighting: _Sighting) -> None:
        """Take note of one leaf."""
        begins, ends = validity
        self.first_begins, self.last_begins = min(self.first_begins, begins), max(self.last_begins, begins)
        self.first_ends, self.last_ends = min(self.first_ends, ends), max(self.last_ends, ends)
        if len(self._sightings) < _SIGHTINGS_MAX:
            self._sightings.add(sighting)

    @property
    def operators(self) -> int:
        """How many operators the leaves are of."""
        return len({sighting.operator for sighting in self._sightings})


STREAM_REMEMBERS: Final = 65536
"""Issuers and keys of each kind that a stream of any number of endpoints remembers; each costs about 1 KiB."""
_EVICTION_SEARCH: Final = 64
"""Of the keys met longest ago, how many are looked through for one met on one endpoint only. A bound keeps forgetting
cheap; when none of them is such a key, the oldest goes."""


class NetworkEvidence:
    """What several endpoints show together: issuers and leaf keys met on unrelated operators, shapes already accused.

    Holds hashes and names only, never cases, so that a stream of endpoints can feed it. `remembered` bounds the issuers
    and keys of each kind: of those met on one endpoint only, the one met longest ago is forgotten first. None forgets
    nothing.
    """

    def __init__(self, *, remembered: int | None = None) -> None:
        self._remembered = remembered
        self._issuers: dict[IssuerIdentity, set[_Sighting]] = {}
        self._unlogged: dict[IssuerIdentity, set[_Sighting]] = {}
        self._leaf_keys: dict[bytes, set[_Sighting]] = {}
        self._windows: _Windows | None = None
        self._latest_timestamp: dt.datetime | None = None
        self._misnamed: dict[bytes, set[_Sighting]] = {}
        self.accused_shapes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, cases: Iterable[EndpointEvidence]) -> NetworkEvidence:
        """A network of these cases."""
        network = cls()
        for case in cases:
            network.add(case)
        return network

    def add(self, case: EndpointEvidence) -> None:
        """Take note of one endpoint, of every look at it."""
        for look in (case, *case.looks):
            self._add(look)

    def _add(self, case: EndpointEvidence) -> None:
        leaf = case.leaf
        if leaf is None:
            return
        if case.name_match is hostname.NameMatch.MISMATCH:
            self._note(self._misnamed, leaf.sha256, _sighting(case))
        if not case.is_private:
            self._add_vouched(case, leaf)
        elif not case.declared_paths:
            self._add_private(case, leaf)

    def _add_private(self, case: EndpointEvidence, leaf: Certificate) -> None:
        sighting = _sighting(case)
        if leaf.spki_sha256 is not None:
            self._note(self._leaf_keys, leaf.spki_sha256, sighting)
        if not case.looks_incomplete:
            for identity in case.issuer_identities:
                self._note(self._issuers, identity, sighting)

    def _add_vouched(self, case: EndpointEvidence, leaf: Certificate) -> None:
        sighting = _sighting(case)
        if case.logging is transparency.Logging.UNLOGGED:
            for identity in case.issuer_identities:
                self._note(self._unlogged, identity, sighting)
        if leaf.validity is not None:
            self._windows = self._windows or _Windows(leaf.validity)
            self._windows.add(leaf.validity, sighting)
        for sct in case.scts:
            signed = sct.status in {transparency.SCTStatus.VALID, transparency.SCTStatus.IN_THE_FUTURE}
            if signed and sct.timestamp is not None:
                self._latest_timestamp = max(self._latest_timestamp or sct.timestamp, sct.timestamp)

    def _note(self, index: dict[K, set[_Sighting]], key: K, sighting: _Sighting) -> None:
        seen = index.pop(key, None) or set()
        index[key] = seen  # at the end: met last
        if len(seen) < _SIGHTINGS_MAX:
            seen.add(sighting)
        if self._remembered is not None and len(index) > self._remembered:
            lonely = (known for known, where in islice(index.items(), _EVICTION_SEARCH) if len(where) == 1)
            del index[next(lonely, next(iter(index)))]

    def unrelated_with_issuer(self, case: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators whose leaf has the same private issuer as this one."""
        return _unrelated(self._issuers, case.issuer_identities, _sighting(case))

    def unrelated_with_unlogged_issuer(self, case: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators whose unlogged leaf has the same issuer with a public path."""
        return _unrelated(self._unlogged, case.issuer_identities, _sighting(case))

    def unrelated_with_leaf_key(self, case: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators that present the same leaf key without public path or log.

        One certificate for several operators, whose server forgot the intermediate, is how a CDN looks: where the
        chain looks incomplete, only another certificate with the same key counts.
        """
        if case.leaf is None or case.leaf.spki_sha256 is None:
            return ()
        own = _sighting(case)
        others = self._leaf_keys.get(case.leaf.spki_sha256, set())
        if case.looks_incomplete:
            others = {other for other in others if other.certificate != own.certificate}
        return _unrelated({0: others}, (0,), own)

    def unrelated_with_same_wrong_certificate(self, case: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators that present this very certificate, which is for neither of them."""
        if case.leaf is None:
            return ()
        return _unrelated(self._misnamed, (case.leaf.sha256,), _sighting(case))

    def clock_offset(self, at: dt.datetime) -> dt.timedelta | None:
        """How far the clock that gave `at` must be off, at least; None when nothing says it is.

        Two independent signs, both resting on publicly vouched certificates only: a valid CT timestamp from the
        future; or certificates of at least two operators, all of them outside their validity on the same side, for
        which one common correction would put every one of them right.
        """
        if self._latest_timestamp is not None and self._latest_timestamp - at > CLOCK_TOLERANCE:
            return self._latest_timestamp - at
        windows = self._windows
        if windows is None or windows.last_begins > windows.first_ends:
            return None
        all_early, all_late = at < windows.first_begins, at > windows.last_ends
        if not (all_early or all_late) or windows.operators < CLOCK_OPERATORS_LEAST:
            return None
        return (windows.last_begins if all_early else windows.first_ends) - at


def http_offset(dates: Sequence[ServerDate]) -> dt.timedelta | None:
    """How far our clock is off by the Date headers of at least two operators that agree; None when it is not.

    The headers are unauthenticated, so they only ever explain dates that are wrong anyway.
    """
    by_operator = {hostname.operator_of(date.host): date.said - date.ours for date in dates}
    offsets = sorted(by_operator.values())
    if len(offsets) < CLOCK_OPERATORS_LEAST or offsets[-1] - offsets[0] > DATES_AGREE_WITHIN:
        return None
    middle = offsets[len(offsets) // 2]
    return middle if abs(middle) > CLOCK_TOLERANCE else None


def _sighting(case: EndpointEvidence) -> _Sighting:
    certificate = case.leaf.sha256 if case.leaf is not None else b""
    return _Sighting(case.endpoint.name, case.endpoint.host, case.endpoint.operator, certificate)


def _unrelated(index: Mapping[K, set[_Sighting]], keys: Iterable[K], own: _Sighting) -> tuple[str, ...]:
    others = {s for key in keys for s in index.get(key, ()) if s.name != own.name}
    return tuple(sorted(s.name for s in others if s.operator != own.operator))
