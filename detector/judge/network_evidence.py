"""What the endpoints of one network show together: shared signers and keys, substituted canaries, a wrong clock.

Room: judge. Pure. Holds hashes and names only, never evidence, so that a stream of endpoints can feed it.

Everything is kept by route: what goes through a proxy is another network than what goes directly. Two kinds of facts:

* What was presented (`add`): who signed, with which leaf key, for which operators.
* What was concluded (`conclude`): which endpoints are substituted, by which keys, and which canaries are middleware.
  Conclusions only ever add to each other, so a few passes over any number of endpoints settle all of them.

What may change an earlier result is collected as tags (`changed`); `tags_of` gives those that a result depends on.
"""

from __future__ import annotations

import datetime as dt
import statistics
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from detector.knowledge import operators
from detector.model import Confidence, Reason, Verdict
from detector.trust.acceptance import DATE_REFUSALS
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch
from detector.trust.transparency import Logging, SCTStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detector.model import Endpoint, ServerDate
    from detector.trust.certificate import Certificate

    from .decision import Decision
    from .evidence import EndpointEvidence

CLOCK_OPERATORS_LEAST: Final = 2
"""Operators whose certificates must all be off before the clock is blamed rather than one forgetful server."""
CLOCK_TOLERANCE: Final = dt.timedelta(hours=1)
"""How far in the future a valid CT timestamp may lie before the clock is called wrong: CAs and logs keep time to
seconds, and a certificate is rarely served within its first hour."""
DATES_AGREE_WITHIN: Final = dt.timedelta(minutes=5)
"""How far Date headers of different servers may lie apart and still mean the same time; servers keep time by NTP."""
OCCURRENCES_MAX: Final = 64
"""Endpoints remembered per signer or key, and one more of another operator than all of these: two of unrelated
operators decide, the rest is for the reader."""
STREAM_REMEMBERS: Final = 65536
"""Signers and keys of each kind that a stream of any number of endpoints remembers; each costs about 1 KiB."""
_NAMES_MATTER: Final = 2
"""Endpoints of which something is concluded, up to which one more changes what is known of the others: each has another
one then."""
_EVICTION_SEARCH: Final = 64
"""Of the keys met longest ago, how many are searched for one met on one endpoint only. A bound keeps forgetting cheap;
when none of them is such a key, the oldest goes."""

K = TypeVar("K")

Tag = tuple[str, bytes]
"""A route, and a hash of what was met on it; with an empty hash, the route as a whole."""

CLOCK: Final[Tag] = ("", b"clock")
"""What the clock is measured by."""

_PRIVATE: Final = (ChainClass.PRIVATE, ChainClass.ADDED)
_WITHOUT_PUBLIC_SIGNER: Final = (*_PRIVATE, ChainClass.UNFAMILIAR, ChainClass.UNREADABLE)
"""Classes whose issuing key is no public CA's as far as is known."""


class Occurrence(NamedTuple):
    """One endpoint on which a signer or key was met.

    `host` is None where its name does not say who operates it. `rival` is the operator of a canary whose operator runs
    a CA of its own.
    """

    name: str
    host: str | None
    declared_operator: str | None
    certificate: bytes
    rival: str | None

    @classmethod
    def of(cls, evidence: EndpointEvidence) -> Occurrence:
        """The endpoint that this evidence is about."""
        endpoint, leaf = evidence.endpoint, evidence.leaf
        return cls(
            endpoint.name,
            evidence.telling_host,
            endpoint.operator,
            leaf.sha256 if leaf is not None else b"",
            _rival(endpoint),
        )

    @property
    def operator(self) -> str:
        """Who operates it, where nothing is declared. Worked out when it is asked for: it takes the suffix list."""
        return operators.ONE_NETWORK if self.host is None else operators.operator_of(self.host)

    def is_unrelated_to(self, other: Occurrence) -> bool:
        """Different registrable domains under a public suffix, or different declared operators."""
        if self.name == other.name:
            return False
        if self.declared_operator is not None and other.declared_operator is not None:
            return self.declared_operator != other.declared_operator
        return self.operator != other.operator

    def lacks_the_same_as(self, other: Occurrence) -> bool:
        """Whether an intermediate that both lack says anything: of unrelated endpoints, with two certificates."""
        return self.certificate != other.certificate and self.is_unrelated_to(other)


class _Validity:
    """The validity of all genuine leaves together: where the first and the last begin and end."""

    def __init__(self, validity: tuple[dt.datetime, dt.datetime]) -> None:
        self.first_begins, self.first_ends = self.last_begins, self.last_ends = validity
        self._operators: set[str] = set()

    def add(self, validity: tuple[dt.datetime, dt.datetime], one: EndpointEvidence) -> bool:
        """Include one leaf. Whether that changes anything.

        Whose it is matters only if it is out of date when it is assessed: one that is in date acquits the clock.
        """
        before = (self.first_begins, self.last_begins, self.first_ends, self.last_ends, len(self._operators))
        begins, ends = validity
        self.first_begins, self.last_begins = min(self.first_begins, begins), max(self.last_begins, begins)
        self.first_ends, self.last_ends = min(self.first_ends, ends), max(self.last_ends, ends)
        if len(self._operators) < CLOCK_OPERATORS_LEAST and not begins <= one.context.at <= ends:
            self._operators.add(Occurrence.of(one).operator)
        return before != (self.first_begins, self.last_begins, self.first_ends, self.last_ends, len(self._operators))

    @property
    def operators(self) -> int:
        """How many operators the leaves are of, counted up to as many as matter."""
        return len(self._operators)


class NetworkEvidence:
    """What was seen on one vantage so far.

    `remembered` bounds the signers and keys of each kind: of those met on one endpoint only, the one met longest ago is
    forgotten first. None forgets nothing.
    """

    def __init__(self, *, remembered: int | None = None) -> None:
        self._remembered = remembered
        self._signers: dict[tuple[str, bytes], set[Occurrence]] = {}
        self._leaf_keys: dict[tuple[str, bytes], set[Occurrence]] = {}
        self._rival_keys: dict[tuple[str, bytes], set[Occurrence]] = {}
        self._unlogged: dict[tuple[str, bytes], set[Occurrence]] = {}
        self._missing: dict[tuple[str, bytes], set[Occurrence]] = {}
        self._misnamed: dict[tuple[str, bytes], set[Occurrence]] = {}
        self._substituted_keys: dict[tuple[str, bytes], set[str]] = {}
        self._substituted_roots: dict[tuple[str, bytes], set[str]] = {}
        self._substituted: dict[str, set[str]] = {}
        self._substituted_canaries: dict[str, set[str]] = {}
        self._accused_canaries: dict[str, set[str]] = {}
        self._substituted_above: dict[tuple[str, bytes], set[str]] = {}
        self._validity: _Validity | None = None
        self._latest_timestamp: dt.datetime | None = None
        self._connect_ms: list[float] = []
        self._changed: set[Tag] = set()

    @classmethod
    def of(cls, evidences: Iterable[EndpointEvidence]) -> NetworkEvidence:
        """A network of these endpoints."""
        network = cls()
        for evidence in evidences:
            network.add(evidence)
        return network

    def changed(self) -> frozenset[Tag]:
        """What changed since this was asked last, as tags."""
        found, self._changed = frozenset(self._changed), set()
        return found

    # What was presented

    def add(self, evidence: EndpointEvidence) -> None:
        """Take in every observation of one endpoint."""
        for one in (evidence, *evidence.siblings):
            if one.leaf is not None:
                self._add(one, one.leaf)

    def _add(self, one: EndpointEvidence, leaf: Certificate) -> None:
        route = one.route
        if one.name_match is NameMatch.MISMATCH:
            self._note(self._misnamed, (route, leaf.sha256), one)
            return
        if _rival(one.endpoint) is not None:
            self._note_rival(one, route)
        if one.is_a(*_PRIVATE):
            for key in one.issuing_keys:
                self._note(self._signers, (route, key), one)
            if one.leaf_key is not None:
                self._note(self._leaf_keys, (route, one.leaf_key), one)
        elif one.is_a(ChainClass.INCOMPLETE) and (missing := missing_issuer(leaf)) is not None:
            self._note(self._missing, (route, missing), one, Occurrence.lacks_the_same_as)
        elif one.is_a(ChainClass.ACCEPTED):
            self._add_accepted(one)
        self._add_validity(one, leaf)

    def _note_rival(self, one: EndpointEvidence, route: str) -> None:
        keys = set(one.issuing_keys) if one.is_a(*_WITHOUT_PUBLIC_SIGNER) else set()
        if one.leaf_key is not None:
            keys.add(one.leaf_key)
        for key in keys:
            self._note(self._rival_keys, (route, key), one)

    def _add_accepted(self, one: EndpointEvidence) -> None:
        if one.logging is Logging.UNLOGGED:
            for key in one.issuing_keys:
                self._note(self._unlogged, (one.route, key), one)
        for sct in () if one.transparency is None else one.transparency.scts:
            if sct.status is not SCTStatus.VALID or sct.timestamp is None:
                continue
            if self._latest_timestamp is None or sct.timestamp > self._latest_timestamp:
                self._latest_timestamp = sct.timestamp
                self._changed.add(CLOCK)

    def _add_validity(self, one: EndpointEvidence, leaf: Certificate) -> None:
        """Only chains that a client would take but for their dates say what time it is."""
        chain = one.chain
        if chain is None or leaf.validity is None or not chain.public:
            return
        if all(refused.refusal in DATE_REFUSALS for refused in chain.refused):
            self._validity = self._validity or _Validity(leaf.validity)
            if self._validity.add(leaf.validity, one):
                self._changed.add(CLOCK)

    def _note(
        self,
        index: dict[Tag, set[Occurrence]],
        key: Tag,
        one: EndpointEvidence,
        differ: Callable[[Occurrence, Occurrence], bool] = Occurrence.is_unrelated_to,
    ) -> None:
        """Remember where a key was met; `differ` says which two places mean something for each other."""
        occurrence = Occurrence.of(one)
        seen = index.pop(key, None) or set()
        index[key] = seen  # at the end: met last
        strangers = [other for other in seen if differ(occurrence, other)]
        # However many of one operator there are, the first of another is kept.
        if occurrence not in seen and (len(seen) < OCCURRENCES_MAX or len(strangers) == OCCURRENCES_MAX):
            if any(not any(differ(stranger, other) for other in seen) for stranger in strangers):
                self._changed.add(key)
            seen.add(occurrence)
        if self._remembered is not None and len(index) > self._remembered:
            lonely = (known for known, where in islice(index.items(), _EVICTION_SEARCH) if len(where) == 1)
            del index[next(lonely, next(iter(index)))]

    # What was concluded

    def conclude(self, evidence: EndpointEvidence, decision: Decision) -> None:
        """Take in what the table says of one observation."""
        endpoint, route = evidence.endpoint, evidence.route
        if decision.verdict is Verdict.CLEAN:
            connected = evidence.observation.timings_ms.get("connect")
            if connected is not None and len(self._connect_ms) < OCCURRENCES_MAX:
                self._connect_ms.append(connected)
        if decision.verdict is not Verdict.MIDDLEWARE or not evidence.name_right:
            return
        if decision.has_fired(Reason.IDENTITY_SUBSTITUTED, Confidence.PROVEN):
            self._conclude(self._substituted, route, endpoint.name, (route, b""))
            if endpoint.canary:
                self._conclude(self._substituted_canaries, route, endpoint.name, (route, b""))
            for key in _keys(evidence):
                self._conclude(self._substituted_keys, (route, key), endpoint.name, (route, key))
            for root in evidence.added_roots:
                self._conclude(self._substituted_roots, (route, root), endpoint.name, (route, root))
            for key in evidence.keys_above:
                self._conclude(self._substituted_above, (route, key), endpoint.name, (route, key))
        if endpoint.canary and decision.reason is not Reason.UNREADABLE_PERSISTS:
            self._conclude(self._accused_canaries, route, endpoint.name, (route, b""))

    def _conclude(self, index: dict[K, set[str]], key: K, name: str, tag: Tag) -> None:
        names = index.setdefault(key, set())
        if name not in names and len(names) < OCCURRENCES_MAX:
            names.add(name)
            if len(names) <= _NAMES_MATTER:
                self._changed.add(tag)

    # Questions

    @property
    def concluded(self) -> bool:
        """Whether any endpoint is substituted, or any canary middleware: before that, there is nothing to ask for."""
        return bool(self._substituted or self._accused_canaries)

    def unrelated_with_signer(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators whose private chain was signed by the same key as this one."""
        return _unrelated(self._signers, [(one.route, key) for key in one.issuing_keys], Occurrence.of(one))

    def unrelated_with_leaf_key(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators that present the same leaf key in a private chain."""
        return _unrelated(self._leaf_keys, [(one.route, one.leaf_key or b"")], Occurrence.of(one))

    def unrelated_with_unlogged_signer(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators whose unlogged leaf has the same public issuer."""
        return _unrelated(self._unlogged, [(one.route, key) for key in one.issuing_keys], Occurrence.of(one))

    def unrelated_with_missing_issuer(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators that lack the same intermediate, each with a certificate of its own."""
        missing = None if one.leaf is None else missing_issuer(one.leaf)
        own = Occurrence.of(one)
        others = self._missing.get((one.route, missing or b""), ())
        return tuple(sorted(other.name for other in others if other.lacks_the_same_as(own)))

    def unrelated_with_same_wrong_certificate(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators that present this very certificate, which is for neither of them."""
        if one.leaf is None:
            return ()
        return _unrelated(self._misnamed, [(one.route, one.leaf.sha256)], Occurrence.of(one))

    def rivals_of(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Canaries of other operators with CAs of their own that share an issuing or leaf key with this one."""
        rival = _rival(one.endpoint)
        if rival is None:
            return ()
        keys = [*(one.issuing_keys if one.is_a(*_WITHOUT_PUBLIC_SIGNER) else ()), one.leaf_key or b""]
        others = {o for key in keys for o in self._rival_keys.get((one.route, key), ())}
        return tuple(sorted(o.name for o in others if o.rival is not None and o.rival != rival))

    def substituted_with_same_key(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Other endpoints of this route, substituted beyond doubt, that share an issuing or leaf key with this one."""
        names = {name for key in _keys(one) for name in self._substituted_keys.get((one.route, key), ())}
        return tuple(sorted(names - {one.endpoint.name}))

    def substituted_with_same_root(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Other endpoints of this route, substituted beyond doubt, below the same root that was added to this machine.

        Of a chain to a declared root, any key above its leaf counts, whoever else it signs for.
        """
        names = {name for root in one.added_roots for name in self._substituted_roots.get((one.route, root), ())}
        if one.is_a(ChainClass.DECLARED):
            names |= {name for key in one.keys_above for name in self._substituted_above.get((one.route, key), ())}
        return tuple(sorted(names - {one.endpoint.name}))

    def any_substituted(self, one: EndpointEvidence) -> bool:
        """Whether another endpoint of this route is substituted beyond doubt."""
        return bool(self._substituted.get(one.route, set()) - {one.endpoint.name})

    def canary_substituted(self, one: EndpointEvidence) -> bool:
        """Whether another endpoint of this route, a canary, is substituted beyond doubt."""
        return bool(self._substituted_canaries.get(one.route, set()) - {one.endpoint.name})

    def has_company(self, one: EndpointEvidence) -> bool:
        """Whether a canary of this route, not this endpoint, came out as middleware with a right name."""
        return bool(self._accused_canaries.get(one.route, set()) - {one.endpoint.name})

    def clock_offset(self, at: dt.datetime) -> dt.timedelta | None:
        """How far the clock that gave `at` must be off, at least; None when nothing says it is.

        Two independent signs, both resting on chains that a client would take but for their dates: a valid CT timestamp
        from the future; or certificates of at least two operators, all of them outside their validity on the same side,
        for which one common correction would put every one of them right.
        """
        if self._latest_timestamp is not None and self._latest_timestamp - at > CLOCK_TOLERANCE:
            return self._latest_timestamp - at
        found = self._validity
        if found is None or found.last_begins > found.first_ends:
            return None
        all_early, all_late = at < found.first_begins, at > found.last_ends
        if not (all_early or all_late) or found.operators < CLOCK_OPERATORS_LEAST:
            return None
        return (found.last_begins if all_early else found.first_ends) - at

    def typical_connect_ms(self) -> float | None:
        """Median milliseconds in which connections to clean endpoints were made; None without any."""
        return statistics.median(self._connect_ms) if self._connect_ms else None


def _rival(endpoint: Endpoint) -> str | None:
    """The operator, where this is a canary of an operator that runs a CA of its own."""
    return endpoint.operator if endpoint.canary and endpoint.runs_ca else None


def _keys(one: EndpointEvidence) -> frozenset[bytes]:
    """SHA-256 of the leaf's key and of every key that signed the leaf."""
    return one.issuing_keys | ({one.leaf_key} if one.leaf_key else frozenset())


def tags_of(evidence: EndpointEvidence) -> frozenset[Tag]:
    """What the result of this endpoint depends on, of what other endpoints show."""
    tags: set[Tag] = set()
    for one in (evidence, *evidence.siblings):
        if one.chain is not None and one.chain.refused:
            tags.add(CLOCK)
        hashes = {b"", *_keys(one), *one.added_roots, *one.keys_above}
        if one.leaf is not None:
            hashes |= {one.leaf.sha256, missing_issuer(one.leaf) or b""}
        tags |= {(one.route, value) for value in hashes}
    return frozenset(tags)


def missing_issuer(leaf: Certificate) -> bytes | None:
    """What an issuer that was not presented is recognised by: its name and the key identifier in the leaf."""
    if leaf.issuer is None:
        return None
    return b"\0".join((leaf.issuer.der, leaf.authority_key_identifier or b""))


def http_offset(dates: Sequence[ServerDate]) -> dt.timedelta | None:
    """How far our clock is off by the Date headers of at least two operators that agree; None when it is not.

    The headers are unauthenticated, so they only ever explain dates that are wrong anyway.
    """
    by_operator = {operators.operator_of(date.host): date.said - date.ours for date in dates}
    offsets = sorted(by_operator.values())
    if len(offsets) < CLOCK_OPERATORS_LEAST or offsets[-1] - offsets[0] > DATES_AGREE_WITHIN:
        return None
    middle = offsets[len(offsets) // 2]
    return middle if abs(middle) > CLOCK_TOLERANCE else None


def _unrelated(index: Mapping[K, set[Occurrence]], keys: Iterable[K], own: Occurrence) -> tuple[str, ...]:
    others = {o for key in keys for o in index.get(key, ())}
    return tuple(sorted(o.name for o in others if o.is_unrelated_to(own)))
