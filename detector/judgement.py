"""From cases to results and a report: runs the checks, reads the table, names who it appears to be.

Room: verdict. Pure: everything comes in as arguments, the clock included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import checks, verdict
from .advice import advise
from .evidence import Network
from .model import Attribution, EndpointName, Interceptor, LogsInfo, ManagedBy, Report, Result, RootsInfo, Verdict

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Sequence

    from .evidence import Case, Context
    from .model import Finding

VOUCHED_ROWS: Final = frozenset(range(9, 15))
"""Rows with a public path or log: the catalogue of interceptors has no say there."""


def judge(case: Case, network: Network) -> Result:
    """One endpoint, in the light of what its network showed."""
    findings = checks.run(case, network)
    decision = verdict.decide(findings)
    attribution = _attribute(case, decision.row, findings) if decision.verdict is Verdict.MIDDLEWARE else None
    endpoint = case.endpoint
    return Result(
        endpoint=EndpointName(host=endpoint.host, port=endpoint.port, category=endpoint.category),
        verdict=decision.verdict,
        row=decision.row,
        reason=decision.reason,
        confidence=decision.confidence,
        assurance=decision.assurance,
        alternatives=decision.alternatives,
        attribution=attribution,
        findings=findings,
        advice=advise(decision, endpoint, case.observation, attribution),
        observation=case.observation,
    )


def judge_all(cases: Sequence[Case]) -> tuple[Result, ...]:
    """All endpoints of a network, twice: what the first pass found accuses lookalikes in the second (row 18)."""
    network = Network.of(cases)
    first = [judge(case, network) for case in cases]
    network.accused_shapes = frozenset(
        case.issuer_shape
        for case, result in zip(cases, first, strict=True)
        if result.row in verdict.ACCUSING_ROWS and case.issuer_shape is not None
    )
    if not network.accused_shapes:
        return tuple(first)
    return tuple(
        result if result.row in verdict.ACCUSING_ROWS else judge(case, network)
        for case, result in zip(cases, first, strict=True)
    )


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
    decision = verdict.decide_network(results, named=named)
    return Report(
        detector_version=version,
        started=started,
        finished=finished,
        vantage=vantage,
        verdict=decision.verdict,
        confidence=decision.confidence,
        scope=decision.scope,
        coverage=decision.coverage,
        interceptors=_interceptors(results),
        results=tuple(results),
        roots=RootsInfo(name=context.roots.name, version=context.roots.version, date=context.roots.date),
        logs=LogsInfo(name=context.logs.name, date=context.logs.date),
    )


def _attribute(case: Case, row: int, findings: Iterable[Finding]) -> Attribution:
    issuer = case.leaf.issuer.text if case.leaf is not None and case.leaf.issuer is not None else None
    hit = None if row in VOUCHED_ROWS else next((f.data for f in findings if f.check == "catalogue"), None)
    if hit is None:
        return Attribution(issuer=issuer, basis=f"no known product matches; the issuer says {issuer or 'nothing'}")
    return Attribution(
        product=hit["product"],
        vendor=hit["vendor"],
        category=hit["category"],
        managed_by=ManagedBy(hit["managed_by"]),
        issuer=issuer,
        basis=f"catalogue: {hit['fact']}",
    )


def _interceptors(results: Iterable[Result]) -> tuple[Interceptor, ...]:
    """One entry per product, or per issuer where no product is known."""
    grouped: dict[tuple[str | None, str | None], list[Result]] = {}
    for result in results:
        if result.attribution is not None:
            key = (result.attribution.product, None if result.attribution.product else result.attribution.issuer)
            grouped.setdefault(key, []).append(result)
    return tuple(
        Interceptor(attribution=first.attribution, endpoints=tuple(r.endpoint.name for r in group))
        for group in grouped.values()
        if (first := group[0]).attribution is not None
    )
