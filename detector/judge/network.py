"""The verdict on a network: one vantage and route, from the results of its endpoints.

Room: judge. Pure. One rule for every command: `check`, `scan`, `fleet`, `watch`, bundles, the gate and the history all
count results with `Tally`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from detector.knowledge import age
from detector.model import Category, Confidence, Coverage, Interceptor, Report, Scope, UnfollowedProxy, Verdict

from .assess import names_a_party
from .checks import chain

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Sequence

    from detector.model import EndpointName, Result

    from .evidence import Context


class NetworkDecision(NamedTuple):
    """The verdict on a network, how far it reaches, and the coverage by category.

    `unfollowed_proxy` says why the route that was probed is not the one that the machine's proxy setting names.
    """

    verdict: Verdict
    confidence: Confidence | None
    scope: Scope
    coverage: dict[Category, Coverage]
    unfollowed_proxy: UnfollowedProxy | None


class Countable(Protocol):
    """The parts of a result that count for its network."""

    @property
    def endpoint(self) -> EndpointName:
        """Its endpoint."""

    @property
    def verdict(self) -> Verdict:
        """Its verdict."""

    @property
    def confidence(self) -> Confidence | None:
        """How sure it is that it is middleware."""

    @property
    def unfollowed_proxy(self) -> UnfollowedProxy | None:
        """Why a probe of its endpoint did not follow the proxy setting of the machine."""


class Tally:
    """Counts results; the decision on all of them is available at any time.

    `named` are the endpoints (`host:port`) that the caller asked for by name: if one of those, or one of category
    `exam`, is inconclusive, the network is not called clean. Where they are too many to be kept, pass `named` to `add`.
    Nor is it where a probe did not follow the machine's proxy setting: browsers take another route than what is clean.
    """

    def __init__(self, named: Collection[str] = ()) -> None:
        self._named: Final = frozenset(named)
        self._verdicts: Final[Counter[tuple[Category, Verdict, Confidence | None]]] = Counter()
        self._open: Final[Counter[bool]] = Counter()
        self._unfollowed: Final[Counter[UnfollowedProxy]] = Counter()

    def add(self, result: Countable, before: Countable | None = None, *, named: bool = False) -> None:
        """Count a result; `before` is the one that it amends, `named` applies to both."""
        if before is not None:
            self._count(before, -1, named=named)
        self._count(result, 1, named=named)

    def _count(self, result: Countable, number: int, *, named: bool) -> None:
        endpoint = result.endpoint
        self._verdicts[endpoint.category, result.verdict, result.confidence] += number
        matters = named or endpoint.name in self._named or endpoint.category is Category.EXAM
        self._open[result.verdict is Verdict.INCONCLUSIVE and matters] += number
        if result.unfollowed_proxy is not None:
            self._unfollowed[result.unfollowed_proxy] += number

    def count(self, verdict: Verdict) -> int:
        """How many endpoints have this verdict."""
        return sum(number for (_, found, _), number in self._verdicts.items() if found is verdict)

    def decision(self) -> NetworkDecision:
        """Return the gravest verdict so far; else inconclusive if an endpoint that matters is; else clean."""
        confidences = {c for (_, _, c), number in self._verdicts.items() if number > 0 and c is not None}
        confidence = max(confidences, key=list(Confidence).index, default=None)
        clean = self.count(Verdict.CLEAN)
        unfollowed = next((reason for reason in UnfollowedProxy if self._unfollowed[reason] > 0), None)
        if confidence is not None:
            verdict = Verdict.MIDDLEWARE
        elif not self._clears() or self._open[True] or unfollowed is not None:
            verdict = Verdict.INCONCLUSIVE
        else:
            verdict = Verdict.CLEAN
        return NetworkDecision(verdict, confidence, self._scope(confidence, clean), self._coverage(), unfollowed)

    def _clears(self) -> bool:
        """Whether something is clean. Canaries do not count where anything else was probed.

        A follow-up probes them because something was not cleared, and interceptors leave many of them alone.
        """
        categories = {category for (category, _, _), number in self._verdicts.items() if number > 0}
        clean = {c for (c, verdict, _), number in self._verdicts.items() if number > 0 and verdict is Verdict.CLEAN}
        return bool(clean if categories == {Category.CANARY} else clean - {Category.CANARY})

    def _scope(self, confidence: Confidence | None, clean: int) -> Scope:
        if confidence is None:
            return Scope.NONE
        if not names_a_party(confidence):
            return Scope.UNCERTAIN
        uncertain = sum(at for (_, _, found), at in self._verdicts.items() if found is Confidence.POSSIBLE)
        return Scope.SELECTIVE if clean or uncertain else Scope.ALL

    def _coverage(self) -> dict[Category, Coverage]:
        seen: dict[Category, set[tuple[Verdict, bool]]] = {}
        for (category, verdict, confidence), number in self._verdicts.items():
            if number > 0:
                seen.setdefault(category, set()).add((verdict, names_a_party(confidence)))
        return {category: _cover(seen[category]) for category in Category if category in seen}


def _cover(seen: set[tuple[Verdict, bool]]) -> Coverage:
    """Return the coverage of one category, by its verdicts, each with whether it is sure enough to name a party."""
    clean, decrypted = (Verdict.CLEAN, False) in seen, (Verdict.MIDDLEWARE, True) in seen
    uncertain = (Verdict.MIDDLEWARE, False) in seen
    if decrypted:
        return Coverage.MIXED if clean or uncertain else Coverage.DECRYPTED
    if uncertain:
        return Coverage.UNCERTAIN
    return Coverage.CLEAR if clean else Coverage.UNKNOWN


def decide_network(results: Iterable[Result], *, named: Collection[str] = ()) -> NetworkDecision:
    """The verdict on a network whose endpoints have these results. `named` as in `Tally`."""
    tally = Tally(named)
    for result in results:
        tally.add(result)
    return tally.decision()


def report(  # noqa: PLR0913 - a report is made of these parts
    results: Sequence[Result],
    context: Context,
    *,
    started: dt.datetime,
    finished: dt.datetime,
    vantage: str,
    version: str,
    named: Collection[str] = (),
) -> Report:
    """The report on a network. `named` are the endpoints the caller asked for by name."""
    decision = decide_network(results, named=named)
    return Report(
        detector_version=version,
        started=started,
        finished=finished,
        vantage=vantage,
        verdict=decision.verdict,
        confidence=decision.confidence,
        scope=decision.scope,
        coverage=decision.coverage,
        interceptors=interceptors(results),
        results=tuple(results),
        portal=context.portal,
        knowledge=age.used(context.roots, context.logs, context.data, context.vendor_pins),
    )


def interceptors(results: Iterable[Result]) -> tuple[Interceptor, ...]:
    """Return one entry per party: a product, or everything that shares an issuing key, a leaf key or an issuer name.

    One interceptor may have several CAs and one leaf key, or one CA and a leaf key for each host.
    """
    parties: list[tuple[set[str], list[Result]]] = []
    for result in results:
        if result.attribution is None:
            continue
        marks = _marks(result)
        joined = [party for party in parties if party[0] & marks]
        apart = [party for party in parties if not party[0] & marks]
        members = [member for _, others in joined for member in others]
        parties = [*apart, (marks.union(*(known for known, _ in joined)), [*members, result])]
    return tuple(map(_interceptor, (members for _, members in parties)))


def _interceptor(members: Sequence[Result]) -> Interceptor:
    """Return one party, as its first member with a known product shows it, else as its first member does."""
    named = [r.attribution for r in members if r.attribution is not None]
    attribution = next((a for a in named if a.product is not None), named[0])
    return Interceptor(**msgspec.structs.asdict(attribution), endpoints=tuple(r.endpoint.name for r in members))


def _marks(result: Result) -> set[str]:
    """What identifies the party behind a result on other endpoints."""
    attribution, marks = result.attribution, set()
    if attribution is not None:
        marks.add(f"product {attribution.product}" if attribution.product else f"issuer {attribution.issuer}")
    if result.observation.chain and (key := result.observation.chain[0].spki_sha256):
        marks.add(key)
    for finding in result.findings:
        if finding.check == chain.ID:
            marks.update(finding.data.get("issuing_keys", ()))
    return marks
