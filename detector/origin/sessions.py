"""What the sessions of one network show together: one offer under several browser families.

Room: origin. Pure: sessions in, a judgment for each network out. `table` decides; this module collects what it reads.

A network and an account are names that the caller chose, as keyed hashes are: they are compared, and no account is in a
result. Memory is bounded, whatever clients send.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.knowledge.browser_offers import Family
from detector.knowledge.data_set import shipped
from detector.model import Confidence, Finding, Meaning, Record, encode

from .assess import NOTHING, Judgment, assess, concluded, is_possible
from .rules import covers
from .table import Sharing

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from detector.knowledge.browser_offers import BrowserOffers

    from .assess import Assessed
    from .claims import Claims
    from .offer import Offer

OFFERS_MAX: Final = 64
"""Different offers that are followed in one network: browsers of today make some dozen. Of more, those that contradict
a browser displace those that do not, so that no flood of inconspicuous ones hides them."""

NETWORKS_MAX: Final = 1 << 15
"""Networks that are followed; a country's schools are fewer. A client with much address space makes no more."""

FOLLOWED_MAX: Final = 1 << 17
"""Offers that are followed in all networks together: some 100 MB where every one is another."""

ACCOUNTS_MAX: Final = 8
"""Accounts that are kept for one offer and family: no rule asks for more than two."""

REPLACED_MIN: Final = 3
"""People who have another browser's offer in place of their own before it counts: two who change their User-Agent may
share a home."""

OWN_NETWORKS_MIN: Final = 5
"""Other networks whose browsers arrive with their own offers before an offer of one network alone is no front's. Fewer
may be a site's own people, who reach it past its front."""

VOLATILE: Final = frozenset({0, 21, 35, 41, 42, 44})
"""Extensions that come and go with the name and the connection: server_name, padding, session_ticket, pre_shared_key,
early_data, cookie (RFC 6066, RFC 7685, RFC 5077, RFC 8446)."""


class Session(Record, frozen=True, kw_only=True):
    """One session at the server.

    `network` and `account` are the caller's names for them; `account` is None where nobody signed in. `engine` is what
    a script in the page of this session saw (`detector.origin.engine`), None where none ran or it was not sure.
    """

    network: str
    account: str | None = None
    offer: Offer
    claims: Claims
    headers: tuple[str, ...] = ()
    engine: Family | None = None


class NetworkJudgment(Record, frozen=True, kw_only=True):
    """The assessment of a network, and how many of its sessions named a known browser and how many contradict it."""

    network: str
    sessions: int
    contradicting: int
    judgment: Judgment


class _Seen:
    """What is known of one offer in one network."""

    def __init__(self) -> None:
        self.accounts: dict[Family, set[str]] = defaultdict(set)
        self.replaced: dict[Family, set[str]] = defaultdict(set)
        self.engines: dict[Family, set[str]] = defaultdict(set)
        self.gravest: Assessed | None = None
        self.contradicts = False
        self.has_findings = False

    def add(self, session: Session, family: Family, assessed: Assessed) -> None:
        """Take one session into account, which counts for this family."""
        self.contradicts |= bool(assessed.facts.parts)
        self.has_findings |= bool(assessed.findings)
        if self.gravest is None or _severity(assessed) > _severity(self.gravest):
            self.gravest = assessed
        if session.account is None or family is Family.UNKNOWN or not is_comparable(session.offer):
            return
        _keep(self.accounts[family], session.account)
        if assessed.facts.parts:
            _keep(self.replaced[family], session.account)
        if session.engine is family:
            _keep(self.engines[family], session.account)


class _Network:
    """What is known of one network."""

    def __init__(self) -> None:
        self.sessions = 0
        self.contradicting = 0
        self.offers: dict[Hashable, _Seen] = {}
        self.own: set[Family] = set()


class _Site:
    """How many networks have browsers that arrive with their own offer, and how many have each other offer.

    `fronted` counts those of them where no browser arrives with its own: a front of the site hides all of a network.
    """

    def __init__(self) -> None:
        self.own = 0
        self.contradicting: Counter[Hashable] = Counter()
        self.fronted: Counter[Hashable] = Counter()

    def add(self, network: _Network) -> None:
        """Count a network."""
        found = [key for key, seen in network.offers.items() if seen.contradicts]
        self.own += bool(network.own)
        self.contradicting.update(found)
        if not network.own:
            self.fronted.update(found)

    def may_be_fronted(self, key: Hashable) -> bool:
        """Whether an offer may be that of a front: it hides several networks, and more than it does not."""
        fronted = self.fronted[key]
        return _SEVERAL <= fronted == self.contradicting[key] and fronted >= self.own


class Sessions:
    """Collects sessions, of all networks of a site; the order does not matter.

    `nothing_in_between`: the operator states that no front of the site's own ended TLS before the place where the
    offers were seen. Without, it is inferred: an offer seen in one network alone, while in `OWN_NETWORKS_MIN` others
    browsers arrive with their own, is not a front's.
    """

    def __init__(self, *, nothing_in_between: bool = False, data: BrowserOffers | None = None) -> None:
        self._data = shipped().browser_offers if data is None else data
        self._stated = nothing_in_between
        self._networks: dict[str, _Network] = defaultdict(_Network)
        self._followed = 0

    def add(self, session: Session) -> None:
        """Take one session into account."""
        assessed = assess(session.offer, session.claims, headers=session.headers, data=self._data)
        if session.claims.family is Family.UNKNOWN and not assessed.findings:
            return
        if session.network not in self._networks and len(self._networks) >= NETWORKS_MAX:
            return
        network = self._networks[session.network]
        network.sessions += 1
        family, key = _family(session, assessed, self._data), key_of(session.offer)
        if assessed.facts.parts:
            network.contradicting += 1
        elif covers(session.claims, self._data) and is_comparable(session.offer):
            network.own.add(family)
        if key in network.offers or self._has_room(network, assessed):
            network.offers.setdefault(key, _Seen()).add(session, family, assessed)

    def _has_room(self, network: _Network, assessed: Assessed) -> bool:
        """Whether a new offer of this network is followed, if need be in place of an inconspicuous one."""
        if len(network.offers) < OFFERS_MAX and self._followed < FOLLOWED_MAX:
            self._followed += 1
            return True
        quiet = (key for key, seen in network.offers.items() if assessed.findings and not seen.has_findings)
        displaced = next(quiet, None)
        return displaced is not None and network.offers.pop(displaced) is not None

    def judgments(self) -> tuple[NetworkJudgment, ...]:
        """Assess every network, in the order in which they were first seen."""
        site = _Site()
        for network in self._networks.values():
            site.add(network)
        return tuple(self._judgment(name, network, site) for name, network in self._networks.items())

    def _judgment(self, name: str, network: _Network, site: _Site) -> NetworkJudgment:
        found = [self._of_offer(key, seen, network, site) for key, seen in network.offers.items()]
        gravest = max(found, key=lambda one: (_rank(one.confidence), encode(one)), default=NOTHING)
        return NetworkJudgment(
            network=name, sessions=network.sessions, contradicting=network.contradicting, judgment=gravest
        )

    def _of_offer(self, key: Hashable, seen: _Seen, network: _Network, site: _Site) -> Judgment:
        assessed = seen.gravest
        if assessed is None:
            return NOTHING
        elsewhere = site.own - bool(network.own)
        sharing = _sharing(seen, assessed)
        facts = assessed.facts._replace(
            sharing=sharing,
            replaces=len(_everybody(seen.replaced)) >= REPLACED_MIN and network.own.isdisjoint(seen.replaced),
            engines_differ=_is_several(seen.engines),
            nothing_in_between=self._stated or (site.contradicting[key] == 1 and elsewhere >= OWN_NETWORKS_MIN),
            everywhere=site.may_be_fronted(key) and not self._stated,
        )
        findings = assessed.findings if sharing is Sharing.NONE else (*assessed.findings, _shared_finding(seen))
        return concluded(facts, findings, assessed.products)


def judge_sessions(
    sessions: Iterable[Session], *, nothing_in_between: bool = False, data: BrowserOffers | None = None
) -> tuple[NetworkJudgment, ...]:
    """Assess the networks that these sessions came from, as `Sessions` does."""
    collected = Sessions(nothing_in_between=nothing_in_between, data=data)
    for session in sessions:
        collected.add(session)
    return collected.judgments()


def key_of(offer: Offer) -> Hashable:
    """What is the same of an offer on every connection of a client."""
    kinds = None if offer.extensions is None else frozenset(offer.extensions) - VOLATILE
    return _Key(
        None if offer.cipher_suites is None else frozenset(offer.cipher_suites),
        None if offer.groups is None else frozenset(offer.groups),
        kinds,
        offer.signature_schemes,
        (offer.reserved_cipher_suites, offer.reserved_extensions, offer.reserved_groups),
        None if offer.ja4 is None else offer.ja4[_JA4_HASHES:],
    )


class _Key(NamedTuple):
    cipher_suites: frozenset[int] | None
    groups: frozenset[int] | None
    extensions: frozenset[int] | None
    signature_schemes: tuple[int, ...] | None
    reserved: tuple[bool | None, ...]
    ja4: str | None


_JA4_HASHES: Final = 11  # where the hashes begin; the first part depends on the name and the protocols
_SEVERAL: Final = 2  # different families, people or networks


def is_comparable(offer: Offer) -> bool:
    """Whether enough was seen to call two offers one: browsers of different families may agree in a part."""
    lists = (offer.groups, offer.extensions)
    return offer.ja4 is not None or (offer.cipher_suites is not None and any(one is not None for one in lists))


def _family(session: Session, assessed: Assessed, data: BrowserOffers) -> Family:
    """The family that counts for a session: on iOS that of the maker, where the offer can only be of its own stack."""
    maker = session.claims.maker_ships
    if maker is not None and not assessed.facts.parts and is_possible(session.offer, data, maker):
        return maker
    return session.claims.family


def _sharing(seen: _Seen, assessed: Assessed) -> Sharing:
    if not _is_several(seen.accounts):
        return Sharing.NONE
    is_nobodys = seen.accounts.keys() == seen.replaced.keys() and not assessed.facts.another_browsers
    return Sharing.NOBODYS if is_nobodys else Sharing.BROWSERS_OWN


def _is_several(by_family: dict[Family, set[str]]) -> bool:
    """Whether there are several families, and one person for each of two of them."""
    return len(by_family) >= _SEVERAL and len(_everybody(by_family)) >= _SEVERAL


def _everybody(by_family: dict[Family, set[str]]) -> set[str]:
    return set().union(*by_family.values())


def _keep(accounts: set[str], account: str) -> None:
    if len(accounts) < ACCOUNTS_MAX:
        accounts.add(account)


def _rank(confidence: Confidence | None) -> int:
    return -1 if confidence is None else list(Confidence).index(confidence)


def _severity(assessed: Assessed) -> tuple[bool, int, bool, list[tuple[str, list[int]]]]:
    """Compare what two sessions with one offer show; the findings only make the order of sessions matter to nothing."""
    facts = assessed.facts
    found = [(one.outcome, one.data.get("code_points", [])) for one in assessed.findings]
    return not facts.another_browsers, facts.parts, facts.has_header, found


def _shared_finding(seen: _Seen) -> Finding:
    families = sorted(seen.accounts)
    return Finding(
        check="origin-network",
        outcome="shared-offer",
        says=Meaning.INTERCEPTED,
        summary=f"Browsers of {len(families)} families have one and the same ClientHello.",
        data={"families": families, "engines": sorted(seen.engines)},
    )
