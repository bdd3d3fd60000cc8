"""What the endpoints of one network show together: shared signers and keys, substituted canaries, a wrong clock.

Room: judge. Pure. Holds hashes and names only, never evidence, so that a stream of endpoints can feed it.

Everything is kept by route: what goes through a proxy is another network than what goes directly. Two kinds of facts:

* What was presented (`add`): which keys were met, as what, on which endpoints.
* What was concluded (`conclude`): which endpoints are substituted, by which keys, and which canaries are middleware.
  Conclusions only ever add to each other, so a few passes over any number of endpoints settle all of them.

What may change an earlier result is collected as tags (`changed`); `tags_of` gives those that a result depends on.
"""

from __future__ import annotations

import datetime as dt
import enum
import statistics
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.knowledge import operators
from detector.model import Verdict
from detector.trust.acceptance import DATE_REFUSALS
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch
from detector.trust.transparency import Logging, SCTStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from detector.model import Endpoint, ServerDate
    from detector.trust.certificate import Certificate

    from .evidence import EndpointEvidence

CLOCK_OPERATORS_LEAST: Final = 2
"""Operators whose certificates must all be out of date before the clock is blamed rather than one forgetful server."""
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
"""Endpoints with the same conclusion, up to which one more changes what is known of the others: each has another one
then."""
_EVICTION_SEARCH: Final = 64
"""Of the keys met longest ago, how many are searched for one met on one endpoint only. A bound keeps forgetting cheap;
when none of them is such a key, the oldest goes."""

Tag = tuple[str, bytes]
"""A route, and a hash of what was met on it; with an empty hash, the route as a whole."""

CLOCK: Final[Tag] = ("", b"clock")
"""The tag of everything that measures the clock."""

_PRIVATE: Final = (ChainClass.PRIVATE, ChainClass.ADDED)
_WITHOUT_PUBLIC_SIGNER: Final = (*_PRIVATE, ChainClass.UNFAMILIAR, ChainClass.UNREADABLE)
"""Classes whose issuing key is no public CA's as far as is known."""


class Shared(enum.Enum):
    """What endpoints may have in common: the role of a key, or of another hash, on an endpoint."""

    PRIVATE_SIGNER = "a key that signed a private chain"
    LEAF_KEY = "the leaf key of a private chain"
    RIVAL_KEY = "a signing or leaf key of canaries whose operators run CAs"
    UNLOGGED_SIGNER = "a key that signed an accepted, unlogged leaf"
    MISSING_ISSUER = "an intermediate that was not sent"
    WRONG_CERTIFICATE = "a certificate for another name"


class Concluded(enum.Enum):
    """What may be concluded of an endpoint, or of a key on its path."""

    SUBSTITUTED = "the endpoint is substituted"
    CANARY_SUBSTITUTED = "the canary is substituted"
    CANARY_ACCUSED = "the canary came out as middleware"
    BY_KEY = "substituted by this issuing or leaf key"
    BY_ROOT = "substituted below this added root"
    BELOW_KEY = "substituted below this key"


_OF_SUBSTITUTED: Final = (Concluded.SUBSTITUTED, Concluded.BY_KEY, Concluded.BY_ROOT, Concluded.BELOW_KEY)


class Occurrence(NamedTuple):
    """One endpoint on which a signer or key was met.

    `host` is None where its name does not identify its operator. `rival` is the operator of a canary whose operator
    runs a CA of its own.
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
        certificate = leaf.sha256 if leaf is not None else b""
        return cls(endpoint.name, evidence.identifying_host, endpoint.operator, certificate, _rival(endpoint))

    @property
    def operator(self) -> str:
        """The operator by the host name. Computed on demand: it takes the suffix list."""
        return operators.ONE_NETWORK if self.host is None else operators.operator_of(self.host)

    def is_unrelated_to(self, other: Occurrence) -> bool:
        """Different registrable domains under a public suffix, or different declared operators."""
        if self.name == other.name:
            return False
        if self.declared_operator is not None and other.declared_operator is not None:
            return self.declared_operator != other.declared_operator
        return self.operator != other.operator

    def differs_from(self, other: Occurrence, shared: Shared) -> bool:
        """Whether it means something that both have this in common: both lack an issuer only with two certificates."""
        if shared is Shared.MISSING_ISSUER and self.certificate == other.certificate:
            return False
        return self.is_unrelated_to(other)


class _Validity:
    """The validity of all genuine leaves together: where the first and the last begin and end."""

    def __init__(self, validity: tuple[dt.datetime, dt.datetime]) -> None:
        self.first_begins, self.first_ends = self.last_begins, self.last_ends = validity
        self._operators: set[str] = set()

    def add(self, validity: tuple[dt.datetime, dt.datetime], one: EndpointEvidence) -> bool:
        """Include one leaf; return whether that changes anything.

        Its operator matters only if it is out of date when it is assessed: one that is in date acquits the clock.
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
        self._met: dict[Shared, dict[Tag, set[Occurrence]]] = {shared: {} for shared in Shared}
        self._concluded: dict[Concluded, dict[Tag, set[str]]] = {kind: {} for kind in Concluded}
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
        """What changed since the last call, as tags."""
        found, self._changed = frozenset(self._changed), set()
        return found

    # What was presented

    def add(self, evidence: EndpointEvidence) -> None:
        """Add every observation of one endpoint."""
        for one in (evidence, *evidence.siblings):
            if one.leaf is not None:
                self._add(one, one.leaf)

    def _add(self, one: EndpointEvidence, leaf: Certificate) -> None:
        if one.name_match is NameMatch.MISMATCH:
            self._note(Shared.WRONG_CERTIFICATE, one)
            return
        if _rival(one.endpoint) is not None:
            self._note(Shared.RIVAL_KEY, one)
        if one.is_a(*_PRIVATE):
            self._note(Shared.PRIVATE_SIGNER, one)
            self._note(Shared.LEAF_KEY, one)
        elif one.is_a(ChainClass.INCOMPLETE):
            self._note(Shared.MISSING_ISSUER, one)
        elif one.is_a(ChainClass.ACCEPTED):
            self._add_accepted(one)
        self._add_validity(one, leaf)

    def _add_accepted(self, one: EndpointEvidence) -> None:
        if one.logging is Logging.UNLOGGED:
            self._note(Shared.UNLOGGED_SIGNER, one)
        for sct in () if one.transparency is None else one.transparency.scts:
            if sct.status is not SCTStatus.VALID or sct.timestamp is None:
                continue
            if self._latest_timestamp is None or sct.timestamp > self._latest_timestamp:
                self._latest_timestamp = sct.timestamp
                self._changed.add(CLOCK)

    def _add_validity(self, one: EndpointEvidence, leaf: Certificate) -> None:
        """Only chains that a client would accept but for their dates show what time it is."""
        chain = one.chain
        if chain is None or leaf.validity is None or not chain.public:
            return
        if all(refused.refusal in DATE_REFUSALS for refused in chain.refused):
            self._validity = self._validity or _Validity(leaf.validity)
            if self._validity.add(leaf.validity, one):
                self._changed.add(CLOCK)

    def _note(self, shared: Shared, one: EndpointEvidence) -> None:
        """Remember where the hashes of this kind were met."""
        index, occurrence = self._met[shared], Occurrence.of(one)
        for tag in _tags(shared, one):
            seen = index.pop(tag, None) or set()
            index[tag] = seen  # at the end: met last
            strangers = [other for other in seen if occurrence.differs_from(other, shared)]
            # However many of one operator there are, the first of another is kept.
            if occurrence not in seen and (len(seen) < OCCURRENCES_MAX or len(strangers) == OCCURRENCES_MAX):
                if any(not any(stranger.differs_from(other, shared) for other in seen) for stranger in strangers):
                    self._changed.add(tag)
                seen.add(occurrence)
            if self._remembered is not None and len(index) > self._remembered:
                lonely = (known for known, where in islice(index.items(), _EVICTION_SEARCH) if len(where) == 1)
                del index[next(lonely, next(iter(index)))]

    # What was concluded

    def conclude(
        self, evidence: EndpointEvidence, verdict: Verdict, *, is_substituted: bool = False, is_company: bool = False
    ) -> None:
        """Add what the table decided on one observation.

        `is_substituted`: beyond doubt; `is_company`: as a canary, it is company for other endpoints.
        """
        endpoint = evidence.endpoint
        if verdict is Verdict.CLEAN:
            connected = evidence.observation.timings_ms.get("connect")
            if connected is not None and len(self._connect_ms) < OCCURRENCES_MAX:
                self._connect_ms.append(connected)
        if verdict is not Verdict.MIDDLEWARE or not evidence.name_right:
            return
        kinds = [*_OF_SUBSTITUTED] if is_substituted else []
        if endpoint.canary and is_substituted:
            kinds.append(Concluded.CANARY_SUBSTITUTED)
        if endpoint.canary and is_company:
            kinds.append(Concluded.CANARY_ACCUSED)
        for kind in kinds:
            for tag in _tags_concluded(kind, evidence):
                names = self._concluded[kind].setdefault(tag, set())
                if endpoint.name not in names and len(names) < OCCURRENCES_MAX:
                    names.add(endpoint.name)
                    if len(names) <= _NAMES_MATTER:
                        self._changed.add(tag)

    # Questions

    @property
    def concluded(self) -> bool:
        """Whether any endpoint is substituted, or any canary middleware: before that, every question has no answer."""
        return bool(self._concluded[Concluded.SUBSTITUTED] or self._concluded[Concluded.CANARY_ACCUSED])

    def unrelated_with(self, shared: Shared, one: EndpointEvidence) -> tuple[str, ...]:
        """Endpoints of other operators that have this in common with this one."""
        index = self._met[shared]
        others = {other for tag in _tags(shared, one) for other in index.get(tag, ())} if index else ()
        if not others:
            return ()
        own = Occurrence.of(one)
        return tuple(sorted(other.name for other in others if other.differs_from(own, shared)))

    def rivals_of(self, one: EndpointEvidence) -> tuple[str, ...]:
        """Canaries of other operators with CAs of their own that share an issuing or leaf key with this one."""
        rival, index = _rival(one.endpoint), self._met[Shared.RIVAL_KEY]
        if rival is None:
            return ()
        others = {other for tag in _tags(Shared.RIVAL_KEY, one) for other in index.get(tag, ())}
        return tuple(sorted(other.name for other in others if other.rival is not None and other.rival != rival))

    def others(self, kind: Concluded, one: EndpointEvidence) -> set[str]:
        """Names of the other endpoints of this route of which this was concluded, by what this one has in common."""
        index = self._concluded[kind]
        tags = _tags_concluded(kind, one) if index else ()
        return {name for tag in tags for name in index.get(tag, ())} - {one.endpoint.name}

    def clock_offset(self, at: dt.datetime) -> dt.timedelta | None:
        """How far the clock that gave `at` must be off, at least; None when nothing shows that it is.

        Two independent signs, both resting on chains that a client would accept but for their dates: a valid CT
        timestamp from the future; or certificates of at least two operators, all of them outside their validity on the
        same side, for which one common correction would put every one of them right.
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


def _tags(shared: Shared, one: EndpointEvidence) -> Iterable[Tag]:
    """The tags of what this endpoint may have in common with others."""
    return [(one.route, value) for value in _HASHES[shared](one) if value]


_HASHES: Final[dict[Shared, Callable[[EndpointEvidence], Iterable[bytes | None]]]] = {
    Shared.PRIVATE_SIGNER: lambda one: one.issuing_keys,
    Shared.UNLOGGED_SIGNER: lambda one: one.issuing_keys,
    Shared.LEAF_KEY: lambda one: (one.leaf_key,),
    Shared.RIVAL_KEY: lambda one: _keys(one) if one.is_a(*_WITHOUT_PUBLIC_SIGNER) else (one.leaf_key,),
    Shared.MISSING_ISSUER: lambda one: (None if one.leaf is None else missing_issuer(one.leaf),),
    Shared.WRONG_CERTIFICATE: lambda one: (None if one.leaf is None else one.leaf.sha256,),
}


_KEYS: Final[dict[Concluded, Callable[[EndpointEvidence], Iterable[bytes]]]] = {
    Concluded.BY_KEY: _keys,
    Concluded.BY_ROOT: lambda one: one.added_roots,
    Concluded.BELOW_KEY: lambda one: one.keys_above,
}
"""The keys of which a conclusion is drawn; the others are of the route as a whole."""


def _tags_concluded(kind: Concluded, one: EndpointEvidence) -> list[Tag]:
    return [(one.route, key) for key in (_KEYS[kind](one) if kind in _KEYS else (b"",))]


def tags_of(evidence: EndpointEvidence) -> frozenset[Tag]:
    """Everything that other endpoints may show and the result of this endpoint depends on."""
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
    """What identifies an issuer that was not presented: its name and the key identifier in the leaf."""
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
