"""A dossier: what is known of TLS interception at one place, over time, and what is not.

Room: history. Pure: results over time in, records out; nothing is assessed again.

It is the basis for reviewing the usage rights of an institution, so it presents evidence against the finding as plainly
as evidence for it: the attempts to disprove it and their outcomes, the remaining innocent explanations, and gaps in the
evidence. A result that is only `possible` is listed as uncertain: it names nobody, and nothing is called intercepted.
It contains nothing about persons; neither do its sources.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.judge import checks, wording
from detector.judge.checks import pin, witness
from detector.model import Alternative, Attribution, Category, Confidence, ManagedBy, Reason, Record, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

QUESTIONS: Final[Mapping[str, str]] = {module.ID: module.QUESTION for module in checks.MODULES if module.QUESTION}
"""The question of each check, for a reader who must decide whether enough was checked."""

QUIET_DAYS: Final = 7
"""Days without a run that are reported as a gap: a term has exams every week."""
GAPS_MAX: Final = 10
"""Gaps in time reported individually, the longest first."""
SOURCES_MAX: Final = 50
"""Sources named for one endpoint; the others are counted."""


class Item(NamedTuple):
    """One result: when and where it was seen, and its source (a run, a bundle).

    `verified` describes the verification of a bundle, None for a run; `trusted` is whether a key that the reviewer
    knows signed it.
    """

    at: dt.datetime
    vantage: str
    result: Result
    source: str
    verified: str | None = None
    trusted: bool = False


class AffectedEndpoint(Record, frozen=True, kw_only=True):
    """One endpoint behind one interceptor, or an uncertain one. `why` has a sentence for each reason."""

    endpoint: str
    category: Category
    first_seen: dt.datetime
    last_seen: dt.datetime
    times_seen: int
    times_checked: int
    confidence: Confidence
    reasons: tuple[Reason, ...]
    why: tuple[str, ...]
    certificates: tuple[str, ...]
    sources: tuple[str, ...]
    sources_total: int


class DossierInterceptor(Record, frozen=True, kw_only=True):
    """Who appears to intercept TLS, since when, on which hosts, and with which confidence at best."""

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
    """One check of the accused endpoints, and how often each outcome occurred."""

    check: str
    question: str
    outcomes: dict[str, int]


class DossierDay(Record, frozen=True, kw_only=True):
    """What all results of one day show together: the gravest accusation, else clean if one is, else inconclusive."""

    date: dt.date
    verdict: Verdict
    confidence: Confidence | None = None
    results: int


class Dossier(Record, frozen=True, kw_only=True):
    """What is known of one place.

    `interceptors` are from results that are `probable` or `proven`, `uncertain` are endpoints with results that are
    only `possible`. `alternatives` are the remaining innocent explanations, `gaps` what the evidence does not show.
    """

    vantage: str
    made: dt.datetime
    first: dt.datetime | None
    last: dt.datetime | None
    results: int
    sources: int
    days: tuple[DossierDay, ...]
    summary: str
    interceptors: tuple[DossierInterceptor, ...]
    uncertain: tuple[AffectedEndpoint, ...]
    left_alone: tuple[str, ...]
    not_assessed: tuple[str, ...]
    tried: tuple[Tried, ...]
    alternatives: tuple[str, ...]
    gaps: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass
class _Occurrences:
    """What one endpoint showed behind one interceptor, or uncertainly."""

    category: Category
    first: dt.datetime
    last: dt.datetime
    times: int = 0
    confidence: Confidence = Confidence.POSSIBLE
    reasons: dict[str, Reason] = field(default_factory=dict)
    certificates: dict[str, None] = field(default_factory=dict)
    sources: dict[str, None] = field(default_factory=dict)

    def add(self, item: Item) -> None:
        self.first, self.last = min(self.first, item.at), max(self.last, item.at)
        self.times += 1
        if item.result.confidence is not None and item.result.confidence.reaches(self.confidence):
            self.confidence = item.result.confidence
        self.reasons[wording.why(item.result)] = item.result.reason
        if item.result.observation.chain:
            self.certificates[item.result.observation.chain[0].sha256] = None
        self.sources[item.source] = None


def _with(so_far: DossierDay | None, date: dt.date, result: Result) -> DossierDay:
    """Return a day with one more result."""
    one = DossierDay(date=date, verdict=result.verdict, confidence=result.confidence, results=1)
    if so_far is None:
        return one
    gravest = max(one, so_far, key=_gravity)
    return msgspec.structs.replace(gravest, results=so_far.results + 1)


def _gravity(day: DossierDay) -> int:
    if day.confidence is not None:
        return list(Confidence).index(day.confidence) + 1
    return 0 if day.verdict is Verdict.CLEAN else -1


_Party = tuple[str | None, str | None]
"""Identifies a party over time: its product, or else the issuer's name."""
_WITNESSED: Final = frozenset({witness.Outcome.EQUAL, witness.Outcome.DIFFERS})
"""Answers of a witness that say which session it saw."""


class Gathering:
    """Collects results of one place into a dossier; holds counts and names, not results, whatever their number."""

    def __init__(self, vantage: str) -> None:
        self.vantage: Final = vantage
        self._days: dict[dt.date, DossierDay] = {}
        self._times: tuple[dt.datetime, dt.datetime] | None = None
        self._results = 0
        self._sources: dict[str, str | None] = {}
        self._trusted: set[str] = set()
        self._left_out: dict[str, str] = {}
        self._verdicts: dict[str, Counter[Verdict]] = {}
        self._who: dict[_Party, Attribution] = {}
        self._seen: dict[_Party, dict[str, _Occurrences]] = {}
        self._uncertain: dict[str, _Occurrences] = {}
        self._asked: dict[str, Counter[str]] = {}
        self._alternatives: Counter[Alternative] = Counter()
        self._accused = 0
        self._witnessed = False
        self._pinned = False

    def add(self, item: Item) -> None:
        """Count one result."""
        result, name = item.result, item.result.endpoint.name
        self._results += 1
        day = item.at.date()
        self._days[day] = _with(self._days.get(day), day, result)
        first, last = self._times or (item.at, item.at)
        self._times = min(first, item.at), max(last, item.at)
        self.note_source(item)
        self._verdicts.setdefault(name, Counter())[result.verdict] += 1
        self._witnessed |= any(f.check == witness.ID and f.outcome in _WITNESSED for f in result.findings)
        if result.verdict is not Verdict.MIDDLEWARE:
            return
        self._accused += 1
        self._endpoints_of(result).setdefault(name, _Occurrences(result.endpoint.category, item.at, item.at)).add(item)
        self._alternatives.update(result.alternatives)
        self._pinned |= any(f.check == pin.ID and f.outcome == pin.Outcome.MISMATCH for f in result.findings)
        outcomes = {finding.check: finding.outcome for finding in result.findings if finding.check in QUESTIONS}
        for check, outcome in outcomes.items():
            self._asked.setdefault(check, Counter())[outcome] += 1

    def _endpoints_of(self, result: Result) -> dict[str, _Occurrences]:
        """The collection that an accused endpoint belongs to: that of its party, or the uncertain ones."""
        if wording.is_uncertain(result):
            return self._uncertain
        who = result.attribution or Attribution(managed_by=ManagedBy.UNKNOWN)
        party = (who.product, None if who.product else who.issuer)
        self._who.setdefault(party, who)
        return self._seen.setdefault(party, {})

    def note_source(self, item: Item) -> None:
        """Record the source of a result, even of one that was added already from another source."""
        self._sources[item.source] = item.verified
        if item.trusted:
            self._trusted.add(item.source)

    def leave_out(self, source: str, reason: str) -> None:
        """Record a source that does not hold: it is named, and its content is ignored."""
        self._left_out[source] = reason

    def dossier(self, *, made: dt.datetime, unfinished_runs: int = 0) -> Dossier:
        """The dossier of what was collected, as of `made`. `unfinished_runs` were interrupted."""
        interceptors = tuple(sorted(map(self._interceptor, self._seen), key=lambda found: found.first_seen))
        never = [name for name, found in self._verdicts.items() if set(found) == {Verdict.INCONCLUSIVE}]
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
            days=tuple(self._days[day] for day in sorted(self._days)),
            summary=self._summary(interceptors),
            interceptors=interceptors,
            uncertain=self._affected(self._uncertain),
            left_alone=tuple(sorted(clean)),
            not_assessed=tuple(sorted(never)),
            tried=tuple(
                Tried(check=check, question=QUESTIONS[check], outcomes=dict(self._asked[check].most_common()))
                for check in QUESTIONS
                if check in self._asked
            ),
            alternatives=tuple(
                f"{wording.ALTERNATIVES[explanation]} ({explanation}), in {count} of {self._accused} results"
                for explanation, count in self._alternatives.most_common()
            ),
            gaps=tuple(self._gaps(interceptors, never, unfinished_runs)),
            evidence=(
                *(f"{source}: {verified}" if verified else source for source, verified in self._sources.items()),
                *(f"{source}: left out, {reason}" for source, reason in self._left_out.items()),
            ),
        )

    def _affected(self, seen: Mapping[str, _Occurrences]) -> tuple[AffectedEndpoint, ...]:
        return tuple(
            AffectedEndpoint(
                endpoint=name,
                category=found.category,
                first_seen=found.first,
                last_seen=found.last,
                times_seen=found.times,
                times_checked=self._verdicts[name].total(),
                confidence=found.confidence,
                reasons=tuple(sorted(set(found.reasons.values()))),
                why=tuple(sorted(found.reasons)),
                certificates=tuple(found.certificates)[:SOURCES_MAX],
                sources=tuple(found.sources)[:SOURCES_MAX],
                sources_total=len(found.sources),
            )
            for name, found in sorted(seen.items())
        )

    def _interceptor(self, party: _Party) -> DossierInterceptor:
        who, endpoints = self._who[party], self._affected(self._seen[party])
        order = list(Confidence)
        return DossierInterceptor(
            product=who.product,
            vendor=who.vendor,
            category=who.category,
            managed_by=who.managed_by,
            issuer=who.issuer,
            basis=who.basis,
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
        total = len(self._verdicts)
        if not interceptors and not self._uncertain:
            return f"No TLS interception was seen at {place}, on {total} endpoints in {self._results} results."
        uncertain = f"{len(self._uncertain)} of {total} endpoints could not be confirmed as genuine (possible)"
        if not interceptors:
            return f"At {place} {uncertain}; an innocent explanation fits as well."
        found = "; ".join(
            f"{party.product or party.issuer or 'an unknown party'} on {len(party.endpoints)} of {total} "
            f"endpoints since {party.first_seen:%Y-%m-%d} ({party.confidence})"
            for party in interceptors
        )
        proven = any(party.confidence is Confidence.PROVEN for party in interceptors)
        sureness = "is intercepted" if proven else "is very probably intercepted"
        return f"At {place} TLS {sureness}: {found}{f'; {uncertain}' if self._uncertain else ''}."

    def _gaps(
        self, interceptors: tuple[DossierInterceptor, ...], never: list[str], unfinished_runs: int
    ) -> Iterator[str]:
        yield from self._quiet_times()
        if never:
            yield f"{len(never)} endpoints could never be assessed; nothing is known of them."
        if unfinished_runs:
            yield f"{unfinished_runs} runs were interrupted; their results are included."
        if len(self._days) == 1:
            yield "All of it was seen on one day."
        if not self._witnessed:
            yield "No witness took part: a party that holds the servers' own keys would not have been seen."
        if self._accused and not self._pinned:
            yield "Nothing that was accused had pins: it rests on public roots, logs and what endpoints have in common."
        if self._uncertain and not interceptors:
            yield "Nothing was ever more than possible: an innocent explanation fits all of it."
        unverified = sum(verified is None for verified in self._sources.values())
        if unverified:
            yield (
                f"{unverified} of {len(self._sources)} sources are rows of a database, not signed evidence: as "
                "reliable as its administrator."
            )
        bundles = {source for source, verified in self._sources.items() if verified is not None}
        if strangers := bundles - self._trusted:
            yield f"{len(strangers)} of {len(bundles)} bundles are signed by no known key: anybody can make those."
        if self._left_out:
            yield f"{len(self._left_out)} bundles do not hold; they were left out, and what they show is not known."
        yield "It covers only the endpoints that were checked, on the routes that were taken."

    def _quiet_times(self) -> Iterator[str]:
        days = sorted(self._days)
        pauses = [(after - before, before, after) for before, after in itertools.pairwise(days)]
        long = sorted((pause for pause in pauses if pause[0].days > QUIET_DAYS), reverse=True)
        for pause, before, after in long[:GAPS_MAX]:
            yield f"Nothing was checked for {pause.days - 1} days, between {before} and {after}."
        if len(long) > GAPS_MAX:
            yield f"There are {len(long) - GAPS_MAX} more such pauses."
