"""The evidence on one endpoint: what was observed, what it is compared with, and everything derived from the two.

Room: judge. Pure: everything comes in as an argument. Derived facts are computed once, on demand. What several
endpoints show together is `network_evidence`; what the facts mean is for the decision table to say.

Several observations of one endpoint
====================================
An interceptor may decrypt only one route to a host: TCP but not QUIC, what goes through the proxy, what has a browser's
hello. `EndpointEvidence` holds the observation it is about and the endpoint's `others`. `siblings` are the same
observations as evidence of their own, each with all the others as *its* siblings, so that a check that compares is
written once, from the point of view of one observation. Each is assessed by itself; the gravest decides
(`assess.assess_endpoint`).

What the user's own browser reported is such an observation too, on a route of its own. It proves no key, so it shows no
genuine certificate, clears nothing, and accuses at most as `probable`.
"""

from __future__ import annotations

import enum
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import PROXIED, Address, Endpoint, Engine, Hello, RecordedIdentity, Route
from detector.trust import classes, hostname
from detector.trust import transparency as ct
from detector.trust.acceptance import Refusal, refusals
from detector.trust.certificate import Certificate
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch
from detector.trust.roots import NO_ROOTS, ROOTS_HORIZON, Roots, from_der
from detector.trust.signature import Signed, verify_issued
from detector.trust.transparency import Logging, SCTSource

from .witness_answer import WitnessResult, read_answer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from detector.knowledge.data_set import DataSet
    from detector.model import Finding, Knowledge, Observation, PortalObservation, ServerDate
    from detector.trust.budget import Budget
    from detector.trust.ct_logs import LogList
    from detector.trust.paths import Path, Paths

OTHERS_MAX: Final = 80
"""Further observations kept for one endpoint: eight probes (`session.settings.PROBES_MAX`) of at most six each (the
hellos, QUIC, and those for what cannot be read and for the witness), the 24 further probes of `session.plan`, and eight
that a browser reported."""

_RIGHT_NAMES: Final = frozenset({NameMatch.MATCH, NameMatch.COMMON_NAME_ONLY, NameMatch.UNFINISHED})
"""Matches that count as right for accusing; lists of names that are longer than what is read are among them."""


def no_machine_roots() -> Roots:
    """No roots: for chains that were not captured on this machine, whose trust store does not apply to them."""
    return NO_ROOTS


class Context(NamedTuple):
    """What observations are compared with.

    `data` is what is known beforehand; `roots` and `logs` are its own, or those that the caller gave instead.
    `machine_roots` is called only where a chain leads to no root that is trusted for it: the roots of this machine that
    were never public, each with its origin. `installed_at` gives the time at which a root (by its SHA-256) came to this
    machine, None where that is not known. `portal` and `dates` are the results of control requests, if any were made.
    `given` are the endpoints (`host:port`) whose address the caller gave. `shared_pins` are keys (SHA-256 of the SPKI)
    that are pinned for endpoints of several operators, `vendor_pins` identify the vendors' pins in use. `seen_before`
    are endpoints (`host:port`) that a history has as genuine. `budget` bounds the processor time of the run.
    """

    at: dt.datetime
    data: DataSet
    roots: Roots
    logs: LogList
    machine_roots: Callable[[], Roots] = no_machine_roots
    installed_at: Callable[[bytes], dt.datetime | None] = lambda _: None
    portal: PortalObservation | None = None
    dates: tuple[ServerDate, ...] = ()
    given: Container[str] = frozenset()
    shared_pins: Container[bytes] = frozenset()
    vendor_pins: tuple[Knowledge, ...] = ()
    seen_before: Container[str] = frozenset()
    budget: Budget | None = None


_Chain = tuple[tuple[Certificate, ...], tuple[bytes, ...]]
"""A chain as presented, and what was fetched for it."""

_CLASSIFIED_BY: Final = ("at", "data", "roots", "logs", "machine_roots")
"""Fields of the context that decide a chain's class, whatever is left of the budget."""


class Identity(enum.StrEnum):
    """What is known of an endpoint's genuine certificate."""

    STATED = "stated"
    PINNED_PUBLIC = "pinned-public"
    SEEN = "seen"
    DECLARED = "declared"


class PinMatch(enum.StrEnum):
    """How the pins of an endpoint compare with what it presented (RFC 7469)."""

    NOTHING_PINNED = "none"
    EXPIRED = "expired"
    LEAF = "leaf"
    PATH = "path"
    MISMATCH = "mismatch"


class Place(enum.StrEnum):
    """Where an observation was answered."""

    GIVEN = "given"  # at an address that the caller or the pin file gave
    PUBLIC = "public"
    PRIVATE = "private"  # an address that is another machine on every network
    UNKNOWN = "unknown"  # behind a proxy, or a chain that was captured elsewhere


class Asked(NamedTuple):
    """What an endpoint is asked for its certificate with: two that differ may meet different servers."""

    route: str
    hello: Hello
    is_quic: bool


class EndpointEvidence:
    """One endpoint, one observation of it, and what can be derived from it without deciding anything.

    `fetched` are issuers in DER from the URLs that the leaf gives: never trusted by themselves. `others` are further
    observations of the same endpoint: on another route, with another hello, at another address.
    """

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
        self.others: Final = tuple(others[:OTHERS_MAX])
        self.findings: Final[dict[str, tuple[Finding, ...]]] = {}
        """What the checks that need no other endpoint have found, by check."""
        self._siblings: tuple[EndpointEvidence, ...] | None = None
        self._classified: dict[_Chain, classes.Classified] = {}

    @property
    def siblings(self) -> tuple[EndpointEvidence, ...]:
        """The other observations as evidence of their own, in the order of `others`."""
        if self._siblings is None:
            every = [self.observation, *self.others]
            group = [self]
            for number, observation in enumerate(self.others, start=1):
                rest = every[:number] + every[number + 1 :]
                group.append(self._like(observation, self.context, self._issuers_for(observation), rest))
            for one in group:
                one._siblings = tuple(other for other in group if other is not one)  # noqa: SLF001 - its own class
        return self._siblings or ()

    def _issuers_for(self, observation: Observation) -> tuple[bytes, ...]:
        """The issuers to verify another observation with, in DER.

        A browser may report the leaf alone: what this machine's own probes were sent may have its issuer. What the
        browser reports is of no use to them.
        """
        if observation.engine is not Engine.BROWSER:
            return self.fetched
        probed = (one for one in (self.observation, *self.others) if one.engine is not Engine.BROWSER)
        return tuple(dict.fromkeys((*self.fetched, *(c.der for one in probed for c in one.chain[1:]))))

    def with_more(self, context: Context, fetched: Sequence[bytes] = ()) -> EndpointEvidence:
        """A copy in another context, with fetched issuers."""
        return self._like(self.observation, context, fetched, self.others)

    def with_observation(self, observation: Observation) -> EndpointEvidence:
        """A copy with another observation in place of the first."""
        return self._like(observation, self.context, self.fetched, self.others)

    def with_further(self, observations: Sequence[Observation]) -> EndpointEvidence:
        """A copy with further observations of the same endpoint."""
        return self._like(self.observation, self.context, self.fetched, (*self.others, *observations))

    def _like(
        self, observation: Observation, context: Context, fetched: Sequence[bytes], others: Sequence[Observation]
    ) -> EndpointEvidence:
        """Evidence on the same endpoint. The classes of a chain are kept as long as they rest on the same context.

        Classifying may have spent the run's budget: the second time, a chain that exceeded its share would pass for one
        that others left no time for.
        """
        like = EndpointEvidence(self.endpoint, observation, context, fetched, others)
        if all(getattr(self.context, name) is getattr(context, name) for name in _CLASSIFIED_BY):
            like._classified = self._classified
        return like

    # What was presented, and what it is

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
    def chain(self) -> classes.Classified | None:
        """The classes of the presented chain and what they rest on; None without a certificate."""
        if self.leaf is None:
            return None
        context, known = self.context, self._classified.get((self.presented, self.fetched))
        if known is None:
            known = self._classified[self.presented, self.fetched] = classes.classify(
                self.presented,
                classes.Stores(context.roots, self.declared_roots, context.machine_roots, context.data.revocations),
                context.at,
                extra=map(Certificate.read, self.fetched),
                claims_logging=self._claims_logging,
                budget=context.budget,
            )
        return known

    def is_a(self, *wanted: ChainClass) -> bool:
        """Whether the presented chain is of one of these classes."""
        return self.chain is not None and self.chain.is_a(*wanted)

    @property
    def paths(self) -> Paths | None:
        """The paths of verified signatures, read leniently: who signed."""
        return None if self.chain is None else self.chain.paths

    @property
    def verified(self) -> Iterator[Certificate]:
        """The certificates of all paths of verified signatures, the leaf first on each."""
        paths = () if self.paths is None else self.paths.paths
        return (certificate for path in paths for certificate in path.certificates)

    @property
    def machine_paths(self) -> tuple[Path, ...]:
        """The paths that end in a root of this machine that is not public."""
        return () if self.chain is None else self.chain.machine

    @cached_property
    def added_roots(self) -> frozenset[bytes]:
        """SHA-256 of the roots, added by a person or a policy, that this chain leads to."""
        anchors = (path.anchor for path in self.machine_paths)
        return frozenset(a.certificate.sha256 for a in anchors if a is not None and a.origin in classes.ADDED_BY)

    def _claims_logging(self) -> bool:
        return self.leaf is not None and ct.claims_logging(self.leaf, self.context.logs, self.context.at)

    @property
    def issuer_missing(self) -> bool:
        """Whether no issuer certificate is available, or a revoked one, although the leaf has an AIA URL."""
        leaf, chain = self.leaf, self.chain
        if leaf is None or chain is None or not leaf.issuer_urls:
            return False
        return not chain.paths.issuer_known or any(one.refusal is Refusal.REVOKED for one in chain.refused)

    @property
    def issuer_is_named(self) -> bool:
        """Whether the leaf names a publicly known intermediate as its issuer, and no public identity speaks against it.

        The leaf is its sender's: the name says that a forgotten intermediate is possible, and nothing else.
        """
        leaf = self.leaf
        if leaf is None or leaf.issuer is None or Identity.STATED in self.identities:
            return False
        return self.context.data.intermediates.has_name(leaf.issuer)

    @property
    def from_browser(self) -> bool:
        """Whether the user's own browser reported this observation."""
        return self.observation.engine is Engine.BROWSER

    @property
    def issuer_not_reported(self) -> bool:
        """Whether a browser reported a leaf alone whose issuer is not known here, and which may well be genuine."""
        return self.from_browser and len(self.presented) == 1 and self.is_a(ChainClass.INCOMPLETE)

    @cached_property
    def name_match(self) -> NameMatch:
        """Whether the leaf is for this host (RFC 9525)."""
        return NameMatch.MISMATCH if self.leaf is None else hostname.match(self.leaf, self.endpoint.host)

    @property
    def name_right(self) -> bool:
        """Whether the name counts as right for accusing."""
        return self.name_match in _RIGHT_NAMES

    @cached_property
    def signed_by_own_key(self) -> bool:
        """Whether the leaf's own key made the leaf's signature."""
        leaf = self.leaf
        return leaf is not None and leaf.spki is not None and verify_issued(leaf, leaf.spki) is Signed.VALID

    @cached_property
    def issuing_keys(self) -> frozenset[bytes]:
        """SHA-256 of every key that is known to have signed the leaf. A signer is one key, never a name."""
        if self.leaf is None or self.paths is None:
            return frozenset()
        keys = frozenset(c.spki_sha256 for c in self.paths.issuers if c.spki_sha256)
        if not keys and self.leaf.spki_sha256 and self.signed_by_own_key:
            return frozenset({self.leaf.spki_sha256})
        return keys

    @property
    def leaf_key(self) -> bytes | None:
        """SHA-256 of the leaf's SubjectPublicKeyInfo."""
        return None if self.leaf is None else self.leaf.spki_sha256

    @cached_property
    def keys_above(self) -> frozenset[bytes]:
        """SHA-256 of every key above the leaf on a path of verified signatures to no public root."""
        if self.paths is None or self.is_a(ChainClass.ACCEPTED, ChainClass.RETIRED, ChainClass.DEFECTIVE):
            return frozenset()
        above = (c.spki_sha256 for path in self.paths.paths for c in path.certificates[1:])
        return frozenset(key for key in above if key is not None)

    # Logging

    @cached_property
    def transparency(self) -> ct.Assessment | None:
        """Whether the leaf was publicly logged, by the issuers on its accepted paths; None without one."""
        chain = self.chain
        if chain is None or self.leaf is None or not chain.accepted:
            return None
        issuers = [path.certificates[1] for path in chain.accepted if len(path.certificates) > 1]
        return self._logging(tuple(dict.fromkeys(issuers)), until=chain.accepted_until)

    def _logging(self, issuers: Sequence[Certificate], *, until: dt.date | None = None) -> ct.Assessment | None:
        """Verify the timestamps of this leaf, from every observation of it, with these issuers, up to this day."""
        leaf = self.leaf
        if leaf is None:
            return None
        same = [s.observation for s in (self, *self.siblings) if s.leaf is not None and s.leaf.sha256 == leaf.sha256]
        outside = [(SCTSource.TLS_EXTENSION, o.sct_list) for o in same if o.sct_list is not None]
        outside += [(SCTSource.OCSP, o.ocsp_response) for o in same if o.ocsp_response is not None]
        return ct.assess(
            leaf,
            issuers,
            self.context.logs,
            self.context.at,
            outside=tuple(dict.fromkeys(outside)),
            carried=any(o.scts_carried for o in same),
            until=until,
        )

    @property
    def logging(self) -> Logging:
        """Whether the leaf was publicly logged. Without an accepted path no timestamp is worth anything."""
        return Logging.UNLOGGED if self.transparency is None else self.transparency.logging

    @cached_property
    def stale_roots(self) -> bool:
        """Whether this may be a genuine chain that the root list is too old to know.

        The list is too old for the leaf and for the moment, and the leaf carries timestamps, valid over the presented
        issuer's key or of logs that the list cannot know yet, that reach what browsers ask for.
        """
        leaf, date, paths = self.leaf, self.context.roots.date, self.paths
        if leaf is None or leaf.not_before is None or date is None or paths is None:
            return False
        if not self.is_a(ChainClass.PRIVATE, ChainClass.UNFAMILIAR, ChainClass.INCOMPLETE, ChainClass.ADDED):
            return False
        if min(leaf.not_before.date() - date, self.context.at.date() - date) <= ROOTS_HORIZON:
            return False
        found = self._logging(paths.issuers)
        return found is not None and not found.not_carried and found.logging is not Logging.UNLOGGED

    # Expectations

    @cached_property
    def _pinned_keys(self) -> frozenset[bytes]:
        return frozenset((*self.endpoint.pins, *self.endpoint.backup_pins))

    def _is_pinned(self, certificate: Certificate) -> bool:
        return certificate.spki_sha256 in self._pinned_keys or certificate.sha256 in self.endpoint.certificates

    @cached_property
    def pin_match(self) -> PinMatch:
        """How the endpoint's pins compare with the leaf and with every path that its signatures lead to."""
        endpoint = self.endpoint
        if not self._pinned_keys and not endpoint.certificates:
            return PinMatch.NOTHING_PINNED
        if endpoint.expires is not None and self.context.at.date() > endpoint.expires:
            return PinMatch.EXPIRED
        if self.leaf is not None and self._is_pinned(self.leaf):
            return PinMatch.LEAF
        return PinMatch.MISMATCH if self.pinned_above is None else PinMatch.PATH

    @cached_property
    def pinned_above(self) -> Certificate | None:
        """A pinned certificate above the leaf on a path of verified signatures, whether the pins expired or not."""
        paths = () if self.paths is None else self.paths.paths
        return next((c for path in paths for c in path.certificates[1:] if self._is_pinned(c)), None)

    @cached_property
    def leaf_pinned(self) -> bool:
        """Whether the leaf's own key is pinned for this endpoint, or for one operator, and is no catalogue key."""
        if self.pin_match is not PinMatch.LEAF or self.leaf_key is None or self.leaf_key in self.context.shared_pins:
            return False
        return not self.context.data.catalogue.match_digests(digests_of(self.presented[:1]))

    @cached_property
    def ca_pinned(self) -> bool:
        """Whether a CA of an accepted path is pinned. A public root's key clears nothing (ADR 3)."""
        if self.chain is None or self.pin_match in {PinMatch.NOTHING_PINNED, PinMatch.EXPIRED}:
            return False
        roots = self.context.data.known_roots.keys | self.context.roots.keys
        cas = (c for path in self.chain.accepted for c in path.certificates[1:])
        return any(self._is_pinned(c) and c.spki_sha256 not in roots for c in cas)

    @cached_property
    def identities(self) -> frozenset[Identity]:
        """What is known of the endpoint's genuine certificate; empty where nothing is."""
        endpoint = self.endpoint
        found = set()
        if endpoint.roots or endpoint.canary:
            found.add(Identity.STATED)
        if recorded_identity(endpoint, self.context.data) is RecordedIdentity.PUBLIC:
            found.add(Identity.PINNED_PUBLIC)
        if self.seen_in_run or endpoint.name in self.context.seen_before:
            found.add(Identity.SEEN)
        if endpoint.private_roots:
            found.add(Identity.DECLARED)
        return frozenset(found)

    @cached_property
    def is_genuine(self) -> bool:
        """Whether this observation shows the genuine key: clean as witnessed, pinned or logged, key proved."""
        if not self.observation.key_proved or self.from_browser or self.witness_result is WitnessResult.DIFFERS:
            return False
        if self.witness_result is WitnessResult.EQUAL or self.is_of_witnessed_key or self.leaf_pinned:
            return True
        if not self.is_a(ChainClass.ACCEPTED) or self.name_match is not NameMatch.MATCH:
            return False
        return self.logging is Logging.LOGGED or (self.ca_pinned and self.logging is Logging.UNKNOWABLE)

    def may_share_signer(self, other: EndpointEvidence) -> bool:
        """Whether one key signed both leaves, or both are private and no other key than the leaf's is known to have.

        The members of a server farm may each sign for themselves, or leave out the CA that they have in common.
        """
        if self.issuing_keys & other.issuing_keys:
            return True
        both = (self, other)
        are_alone = all(one.is_a(ChainClass.PRIVATE) and one.issuing_keys <= {one.leaf_key} for one in both)
        return are_alone and self.signed_by_own_key == other.signed_by_own_key

    @cached_property
    def _seen(self) -> tuple[EndpointEvidence, ...]:
        """The probes of this run that saw the genuine key, but not those whose signer made this leaf, too.

        A private CA may serve an endpoint whose witness proves one of its keys: its other keys substitute nothing.
        """
        return tuple(one for one in self.siblings if one.is_genuine and not self.may_share_signer(one))

    @cached_property
    def seen_in_run(self) -> bool:
        """Whether another probe of this run saw the genuine key."""
        return bool(self._seen)

    @cached_property
    def seen_at_same_address(self) -> bool:
        """Whether another probe of this run saw the genuine key at the very address of this observation."""
        genuine_at = {one.answered_at for one in self._seen} - {None}
        return bool(genuine_at) and self.answered_at in genuine_at

    @cached_property
    def mismatch_excused(self) -> bool:
        """Whether another probe of this run matched the pins, and this leaf is accepted and logged."""
        if not self.is_a(ChainClass.ACCEPTED) or self.logging is not Logging.LOGGED:
            return False
        return any(s.pin_match in {PinMatch.LEAF, PinMatch.PATH} and s.is_genuine for s in self.siblings)

    @cached_property
    def witness_answer(self) -> Finding | None:
        """What the endpoint's witness saw of this session; None where none is pinned or none could be asked."""
        return read_answer(self.endpoint, self.observation)

    @cached_property
    def witness_result(self) -> WitnessResult | None:
        """The result of `witness_answer`."""
        return None if self.witness_answer is None else WitnessResult(self.witness_answer.outcome)

    # Where

    @cached_property
    def is_of_witnessed_key(self) -> bool:
        """Whether this leaf's key is that of another session, whose end the witness is and in which it was proved.

        Where it was proved here, too, both ended at its holder; a browser's report shows the key alone.
        """
        if self.leaf_key is None or not (self.observation.key_proved or self.from_browser):
            return False
        witnessed = (s for s in self.siblings if s.witness_result is WitnessResult.EQUAL and s.observation.key_proved)
        return any(s.leaf_key == self.leaf_key for s in witnessed)

    @property
    def route(self) -> str:
        """The route that is one network with others of its name: `direct`, `browser`, or a proxy's URL."""
        observation = self.observation
        if self.from_browser:
            return "browser"
        if observation.route not in PROXIED:
            return "direct"
        return observation.proxy.url if observation.proxy is not None else observation.route.value

    @cached_property
    def place(self) -> Place:
        """Where the observation was answered."""
        given = self.endpoint.address is not None or self.endpoint.name in self.context.given
        if given and not self.from_browser:  # a browser resolves names itself
            return Place.GIVEN
        if self._address is None:
            return Place.UNKNOWN
        return Place.PUBLIC if self._address.is_global else Place.PRIVATE

    @property
    def answered_at(self) -> tuple[str, str] | None:
        """Where the observation was answered: equal for the same place.

        That is the address, also where a proxy was asked for it. Where a proxy was asked for a name, it is the name as
        this proxy resolves it: the first value is the route then, and empty otherwise.
        """
        if self.place_name is None:
            return None
        return "" if self._address is not None else self.route, self.place_name

    @property
    def place_name(self) -> str | None:
        """`host:port` at which the endpoint was reached; the name where a proxy was asked for a name."""
        observation = self.observation
        return observation.asked_for if observation.route in PROXIED else observation.address

    @property
    def public_address(self) -> str | None:
        """`place_name` where it is a public address: one of a private network is another machine on every network."""
        return self.place_name if self._address is not None and self._address.is_global else None

    @cached_property
    def _address(self) -> IPv4Address | IPv6Address | None:
        """The address in `place_name`; None where its host is a name."""
        address = Address.parse(self.place_name)
        return None if address is None else address.ip

    @cached_property
    def identifying_host(self) -> str | None:
        """The host, where its name identifies its operator; None at a private address, which is one network's."""
        is_private = self.place is Place.PRIVATE and Identity.STATED not in self.identities
        return None if is_private else self.endpoint.host

    # Which observations count

    @property
    def is_stand_in(self) -> bool:
        """Whether the probe sent this hello because another one got no certificate: it answers for that one nothing."""
        return any(failed.hello is not self.observation.hello for failed in self.observation.earlier)

    @property
    def asked(self) -> Asked:
        """What the probe asked with at first, on which route: further connections may have sent another hello."""
        observation = self.observation
        hello = observation.earlier[0].hello if observation.earlier else observation.hello
        return Asked(self.route, hello, self.is_quic)

    def answers(self, asked: Asked) -> bool:
        """Whether a certificate was presented to this very hello on this route."""
        return self.leaf is not None and not self.is_stand_in and self.asked == asked

    @cached_property
    def is_superseded(self) -> bool:
        """Whether a probe that offered only what can be verified here got a readable chain on the same route.

        Then an unreadable chain by itself proves nothing: a genuine server sends the other one to a client that offers
        less.
        """
        if not self.is_a(ChainClass.UNREADABLE):
            return False
        retries = (s for s in self.siblings if s.answers(Asked(self.route, Hello.READABLE, is_quic=False)))
        return any(not s.is_a(ChainClass.UNREADABLE) for s in retries)

    @property
    def is_quic(self) -> bool:
        """Whether this was a connection over QUIC."""
        return self.observation.route is Route.QUIC

    @property
    def is_another_service(self) -> bool:
        """Whether this is a QUIC server with a certificate for another name: another service on the same UDP port."""
        return self.is_quic and self.name_match is NameMatch.MISMATCH

    @property
    def trusted_here(self) -> bool:
        """Whether a careful TLS client on this machine accepts this: key, name, and a path to a root it trusts."""
        chain = self.chain
        if (
            chain is None
            or not self.observation.key_proved
            or self.from_browser
            or self.name_match is not NameMatch.MATCH
        ):
            return False
        return bool(chain.accepted) or any(
            not refusals(p, self.context.at, public=False, revoked=self.context.data.revocations) for p in chain.machine
        )

    @cached_property
    def proxy(self) -> EndpointEvidence | None:
        """The connection to the proxy itself, where that was TLS."""
        seen = self.observation.proxy
        if seen is None or seen.tls is None:
            return None
        return EndpointEvidence(Endpoint(host=seen.host, port=seen.port), seen.tls, self.context)


def recorded_identity(endpoint: Endpoint, data: DataSet) -> RecordedIdentity:
    """Where the endpoint's pins come from by its pin file, also after they have expired.

    `PUBLIC` where it is recorded, or where a pin is the key or the certificate of a public CA that `data` knows.
    """
    pinned = (*endpoint.pins, *endpoint.backup_pins, *endpoint.certificates)
    if endpoint.identity is RecordedIdentity.PUBLIC or not pinned:
        return endpoint.identity
    is_public = any(data.known_roots.label_of(one) or data.intermediates.has(one) for one in pinned)
    return RecordedIdentity.PUBLIC if is_public else endpoint.identity


def digests_of(certificates: Iterable[Certificate]) -> list[bytes]:
    """SHA-256 of these certificates and of their keys, for lookups in the catalogue."""
    return [digest for c in certificates for digest in (c.sha256, c.spki_sha256) if digest is not None]
