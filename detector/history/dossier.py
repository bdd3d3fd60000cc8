"""A dossier: what is known of who decrypts at one place, over time, and what is not.

Room: history. Pure: results over time in, records out; nothing is judged again.

It is the basis on which the usage rights of an institution are reviewed, so it says what speaks against the finding as
plainly as what speaks for it: what was tried to disprove it and how that came out, which innocent readings are left,
and where the evidence has gaps. It says nothing about persons; there is nothing about them in what it is made from.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import Alternative, Category, Confidence, ManagedBy, Reason, Record, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

QUESTIONS: Final[Mapping[str, str]] = {
    "key-possession": "Did whoever answered hold the key of the certificate shown?",
    "witness": "Did a cooperating server see the same TLS session?",
    "pin": "Is the key one that the endpoint's operator is known to use?",
    "declared-root": "Is it a private PKI that the operator declared?",
    "public-path": "Does a public root stand behind it?",
    "transparency": "Was the certificate publicly logged?",
    "name": "Is it for the host that was asked for?",
    "dates": "Is it within its validity?",
    "clock": "Was the clock of the machine right?",
    "captive-portal": "Was a sign-in page in the way?",
    "machine-root": "Does it lead to a root that was added to the machine?",
    "ca-key-reuse": "Is the server's key also the CA's?",
    "issuer-impersonation": "Does it bear the name of a CA that did not sign it?",
    "shared-issuer": "Did the same private CA sign for unrelated operators?",
    "shared-leaf-key": "Do unrelated operators show the same key?",
    "quic": "Does the same address show another server over QUIC?",
    "hello-difference": "Does the same address show another server to another kind of program?",
    "route-difference": "Does the same address show another server by another way?",
    "several-certificates": "Are there other certificates of this host, and where do they lead?",
    "proxy-certificate": "Does the proxy show that it is the one that was named?",
    "resolution": "Does another resolver give other addresses?",
    "catalogue": "Does it bear the mark of a known product?",
    "missing-issuer": "Could the server merely have forgotten an intermediate?",
    "location": "At which hop is it answered, and is the host further away?",
    "private-origin": "Could it be a server with a certificate of its own making?",
}
"""What each check asks, for somebody who must decide whether enough was asked."""

ALTERNATIVES: Final[Mapping[Alternative, str]] = {
    Alternative.CAPTIVE_PORTAL: "a network that shows a sign-in page before it lets anybody through",
    Alternative.BLOCK_PAGE: "a page that says the host is blocked",
    Alternative.WRONG_SERVER: "another server than the one asked for, by a mistake in DNS or routing",
    Alternative.PIN_ROTATION: "a key that the operator changed after the pins were written",
    Alternative.PUBLIC_CA_MISISSUANCE: "a public CA that issued a certificate it should not have",
    Alternative.SCTS_OUTSIDE_CERTIFICATE: "timestamps of CT logs delivered outside the certificate",
    Alternative.INCOMPLETE_CHAIN: "a server that does not send an intermediate certificate",
    Alternative.PRIVATE_PKI: "a private PKI of the operator that nobody declared",
    Alternative.SELF_SIGNED_ORIGIN: "a server that signs its own certificate",
    Alternative.STALE_ROOTS: "a list of public roots that is too old",
    Alternative.SPLIT_HORIZON: "a server of the institution's own, to which its resolver leads for this name",
}

QUIET_DAYS: Final = 7
"""Days without a run that are told as a gap: a term has exams every week."""
GAPS_TOLD: Final = 10
"""Gaps in time told one by one, the longest first."""
SOURCES_TOLD: Final = 50
"""Sources named for one endpoint; the rest is counted."""


class Item(NamedTuple):
    """One result: when and where it was seen, and where it is kept (a run, a bundle).

    `verified` says how a bundle's signature and contents came out, None where there is none; `vouched` is whether a
    key that the reviewer knows signed it.
    """

    at: dt.datetime
    vantage: str
    result: Result
    source: str
    verified: str | None = None
    vouched: bool = False


class AffectedEndpoint(Record, frozen=True, kw_only=True):
    """One endpoint behind one interceptor."""

    endpoint: str
    category: Category
    first_seen: dt.datetime
    last_seen: dt.datetime
    times_seen: int
    times_checked: int
    confidence: Confidence
    reasons: tuple[Reason, ...]
    certificates: tuple[str, ...]
    sources: tuple[str, ...]
    sources_total: int


class DossierInterceptor(Record, frozen=True, kw_only=True):
    """Who decrypts, since when, on which hosts, and how sure that is at best."""

    product: str | None
    vendor: str | None
    category: str
    managed_by: ManagedBy
    issuer: str | None
    basis: str
    first_seen: dt.datetime
    last_seen: dt.datetime
    confidence: Confidence
    categories: tuple[Category, ...]
    endpoints: tuple[AffectedEndpoint, ...]


class Tried(Record, frozen=True, kw_only=True):
    """One question that was asked of what was accused, and how often each answer came."""

    check: str
    question: str
    outcomes: dict[str, int]


class Dossier(Record, frozen=True, kw_only=True):
    """What is known of one place. `alternatives` are innocent readings left, `gaps` what the evidence does not show."""

    vantage: str
    made: dt.datetime
    first: dt.datetime | None
    last: dt.datetime | None
    results: int
    sources: int
    summary: str
    interceptors: tuple[DossierInterceptor, ...]
    left_alone: tuple[str, ...]
    not_judged: tuple[str, ...]
    tried: tuple[Tried, ...]
    alternatives: tuple[str, ...]
    gaps: tuple[str, ...]
    evidence: tuple[str, ...]


class _Sightings:
    """One endpoint behind one interceptor, gathered."""

    def __init__(self, item: Item) -> None:
        self.category = item.result.endpoint.category
        self.first = self.last = item.at
        self.times = 0
        self.confidence = Confidence.POSSIBLE
        self.reasons: set[Reason] = set()
        self.certificates: dict[str, None] = {}
        self.sources: dict[str, None] = {}

    def add(self, item: Item) -> None:
        self.first, self.last = min(self.first, item.at), max(self.last, item.at)
        self.times += 1
        if item.result.confidence is not None and item.result.confidence.reaches(self.confidence):
            self.confidence = item.result.confidence
        self.reasons.add(item.result.reason)
        if item.result.observation.chain:
            self.certificates[item.result.observation.chain[0].sha256] = None
        self.sources[item.source] = None


class Gathering:
    """Gathers results of one place into a dossier. Holds counts and names, not results: any number of them can pass."""

    def __init__(self, vantage: str) -> None:
        self.vantage: Final = vantage
        self._days: set[dt.date] = set()
        self._times: tuple[dt.datetime, dt.datetime] | None = None
        self._results = 0
        self._sources: dict[str, str | None] = {}
        self._vouched: set[str] = set()
        self._left_out: dict[str, str] = {}
        self._checked: Counter[str] = Counter()
        self._verdicts: dict[str, Counter[Verdict]] = {}
        self._who: dict[tuple[str | None, str | None], Result] = {}
        self._seen: dict[tuple[str | None, str | None], dict[str, _Sightings]] = {}
        self._asked: dict[str, Counter[str]] = {}
        self._alternatives: Counter[Alternative] = Counter()
        self._witnessed = False
        self._pinned = False

    def add(self, item: Item) -> None:
        """Take note of one result."""
        result, name = item.result, item.result.endpoint.name
        self._results += 1
        self._days.add(item.at.date())
        first, last = self._times or (item.at, item.at)
        self._times = min(first, item.at), max(last, item.at)
        self.note_source(item)
        self._checked[name] += 1
        self._verdicts.setdefault(name, Counter())[result.verdict] += 1
        self._witnessed |= any(f.check == "witness" and f.outcome in {"equal", "differs"} for f in result.findings)
        if result.verdict is not Verdict.MIDDLEWARE:
            return
        who = result.attribution
        key = (None, None) if who is None else (who.product, None if who.product else who.issuer)
        self._who.setdefault(key, result)
        self._seen.setdefault(key, {}).setdefault(name, _Sightings(item)).add(item)
        self._alternatives.update(result.alternatives)
        self._pinned |= any(f.check == "pin" and f.outcome == "mismatch" for f in result.findings)
        outcomes = {finding.check: finding.outcome for finding in result.findings if finding.check in QUESTIONS}
        for check, outcome in outcomes.items():
            self._asked.setdefault(check, Counter())[outcome] += 1

    def note_source(self, item: Item) -> None:
        """Take note of where a result is kept: of one that was added already, in a further place."""
        self._sources[item.source] = item.verified
        if item.vouched:
            self._vouched.add(item.source)

    def leave_out(self, source: str, reason: str) -> None:
        """Take note of a source that does not hold: it is named, and nothing in it is believed."""
        self._left_out[source] = reason

    def dossier(self, *, made: dt.datetime, unfinished_runs: int = 0) -> Dossier:
        """The dossier of what was gathered, as of `made`. `unfinished_runs` were ended before they were done."""
        interceptors = tuple(sorted(map(self._interceptor, self._seen), key=lambda found: found.first_seen))
        never = [name for name, told in self._verdicts.items() if set(told) == {Verdict.INCONCLUSIVE}]
        clean = [
            name
            for name, verdicts in self._verdicts.items()
            if verdicts[Verdict.CLEAN] and not verdicts[Verdict.MIDDLEWARE]
        ]
        return Dossier(
            vantage=self.vantage,
            made=made,
            first=self._times[0] if self._times else None,
            last=self._times[1] if self._times else None,
            results=self._results,
            sources=len(self._sources),
            summary=self._summary(interceptors),
            interceptors=interceptors,
            left_alone=tuple(sorted(clean)),
            not_judged=tuple(sorted(never)),
            tried=tuple(
                Tried(check=check, question=QUESTIONS[check], outcomes=dict(self._asked[check].most_common()))
                for check in QUESTIONS
                if check in self._asked
            ),
            alternatives=tuple(
                f"{ALTERNATIVES[reading]} ({reading}), in {count} of {sum(self._accused())} results"
                for reading, count in self._alternatives.most_common()
            ),
            gaps=tuple(self._gaps(interceptors, never, unfinished_runs)),
            evidence=(
                *(f"{source}: {verified}" if verified else source for source, verified in self._sources.items()),
                *(f"{source}: left out, {reason}" for source, reason in self._left_out.items()),
            ),
        )

    def _accused(self) -> Iterator[int]:
        return (sightings.times for found in self._seen.values() for sightings in found.values())

    def _interceptor(self, key: tuple[str | None, str | None]) -> DossierInterceptor:
        who, seen = self._who[key].attribution, self._seen[key]
        endpoints = tuple(
            AffectedEndpoint(
                endpoint=name,
                category=s.category,
                first_seen=s.first,
                last_seen=s.last,
                times_seen=s.times,
                times_checked=self._checked[name],
                confidence=s.confidence,
                reasons=tuple(sorted(s.reasons)),
                certificates=tuple(s.certificates)[:SOURCES_TOLD],
                sources=tuple(s.sources)[:SOURCES_TOLD],
                sources_total=len(s.sources),
            )
            for name, s in sorted(seen.items())
        )
        order = list(Confidence)
        return DossierInterceptor(
            product=who.product if who else None,
            vendor=who.vendor if who else None,
            category=who.category if who else "unknown",
            managed_by=who.managed_by if who else ManagedBy.INSTITUTION,
            issuer=who.issuer if who else None,
            basis=who.basis if who else "",
            first_seen=min(e.first_seen for e in endpoints),
            last_seen=max(e.last_seen for e in endpoints),
            confidence=max((e.confidence for e in endpoints), key=order.index),
            categories=tuple(c for c in Category if c in {e.category for e in endpoints}),
            endpoints=endpoints,
        )

    def _summary(self, interceptors: tuple[DossierInterceptor, ...]) -> str:
        place = self.vantage or "this place"
        if not self._results:
            return f"Nothing is known of {place}."
        if not interceptors:
            return f"No decryption was seen at {place}, on {len(self._checked)} endpoints in {self._results} results."
        told = "; ".join(
            f"{found.product or found.issuer or 'an unknown party'} on {len(found.endpoints)} of {len(self._checked)} "
            f"endpoints since {found.first_seen:%Y-%m-%d} ({found.confidence})"
            for found in interceptors
        )
        return f"At {place} TLS appears to be decrypted: {told}."

    def _gaps(
        self, interceptors: tuple[DossierInterceptor, ...], never: list[str], unfinished_runs: int
    ) -> Iterator[str]:
        yield from self._quiet_times()
        if never:
            yield f"{len(never)} endpoints could never be judged; they may or may not be decrypted."
        if unfinished_runs:
            yield f"{unfinished_runs} runs were ended before they were done; what they had found is in here."
        if len(self._days) == 1:
            yield "All of it was seen on one day."
        if not self._witnessed:
            yield "No witness took part: a party that holds the servers' own keys would not have been seen."
        if interceptors and not self._pinned:
            yield "Nothing that was accused had pins: it rests on public roots, logs and what endpoints have in common."
        if interceptors and all(found.confidence is Confidence.POSSIBLE for found in interceptors):
            yield "Nothing was ever more than possible: an innocent reading fits all of it."
        unverified = sum(verified is None for verified in self._sources.values())
        if unverified:
            yield (
                f"{unverified} of {len(self._sources)} sources are rows of a database, not signed evidence: they rest "
                "on the word of whoever keeps it."
            )
        bundles = {source for source, verified in self._sources.items() if verified is not None}
        if strangers := bundles - self._vouched:
            yield f"{len(strangers)} of {len(bundles)} bundles are signed by no known key: anybody can make those."
        if self._left_out:
            yield f"{len(self._left_out)} bundles do not hold; they were left out, and what they show is not known."
        yield "It speaks for the endpoints that were checked, on the routes that were taken, and for no others."

    def _quiet_times(self) -> Iterator[str]:
        days = sorted(self._days)
        pauses = [(after - before, before, after) for before, after in itertools.pairwise(days)]
        long = sorted((p for p in pauses if p[0].days > QUIET_DAYS), reverse=True)
        for pause, before, after in long[:GAPS_TOLD]:
            yield f"Nothing was checked for {pause.days - 1} days, between {before} and {after}."
        if len(long) > GAPS_TOLD:
            yield f"There are {len(long) - GAPS_TOLD} more such pauses."


def gather(items: Iterable[Item], *, vantage: str, made: dt.datetime, unfinished_runs: int = 0) -> Dossier:
    """The dossier on one place from its results, in any order."""
    gathering = Gathering(vantage)
    for item in items:
        gathering.add(item)
    return gathering.dossier(made=made, unfinished_runs=unfinished_runs)
