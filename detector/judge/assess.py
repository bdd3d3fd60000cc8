"""From cases to results and a report: runs the checks, reads the table, names who it appears to be.

Room: verdict. Pure: everything comes in as arguments, the clock included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from detector import knowledge
from detector.model import (
    Attribution,
    Audience,
    Confidence,
    EndpointName,
    Interceptor,
    ManagedBy,
    Report,
    Result,
    Route,
    Verdict,
)
from detector.trust.hostname import NameMatch

from . import checks, table
from .advice import advise
from .evidence import NetworkEvidence
from .locality import locate

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Sequence

    from detector.model import Finding

    from .evidence import Context, EndpointEvidence

VOUCHED_ROWS: Final = frozenset(range(9, 15))
"""Rows with a public path or log: the catalogue of interceptors has no say there."""


def assess_endpoint(case: EndpointEvidence, network: NetworkEvidence) -> Result:
    """One endpoint, in the light of what its network showed: the most accusing of the looks at it.

    A look that is not `middleware` says nothing against the first one: what it could not see, or saw to be genuine,
    clears no other way to the host.
    """
    return _judge(case, network)[1]


def _judge(case: EndpointEvidence, network: NetworkEvidence) -> tuple[EndpointEvidence, Result]:
    """The look that decides, and its judgement. Between equals the first look decides."""
    judged = [(look, _assess_observation(look, network)) for look in (case, *_looks_that_count(case))]
    first = judged[0]
    return max(judged, key=lambda pair: (_accusation(pair[1]), pair is first))


def _looks_that_count(case: EndpointEvidence) -> Iterable[EndpointEvidence]:
    """The looks whose verdict can be the endpoint's.

    A QUIC server whose certificate is for another name is another service that happens to have the same UDP port; no
    browser would go on with it, and nothing it presents speaks about this host.
    """
    for look in case.looks:
        if look.observation.route is not Route.QUIC or look.name_match is not NameMatch.MISMATCH:
            yield look


def _accusation(result: Result) -> int:
    """How strongly a result accuses; 0 where it does not."""
    return 0 if result.confidence is None else list(Confidence).index(result.confidence) + 1


def _assess_observation(case: EndpointEvidence, network: NetworkEvidence) -> Result:
    findings = checks.run(case, network)
    decision = table.decide(findings)
    attribution = _attribute(case, decision.row, findings) if decision.verdict is Verdict.MIDDLEWARE else None
    endpoint = case.endpoint
    advice = advise(decision, [endpoint.host], case.observation, attribution, _remediation(findings))
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
        advice=advice.get(Audience.STUDENT, ""),
        advice_for=advice,
        observation=case.observation,
        other_observations=case.others,
    )


def assess_all(cases: Sequence[EndpointEvidence]) -> tuple[Result, ...]:
    """All endpoints of a network, twice: what the first pass found accuses lookalikes in the second (row 18)."""
    network = NetworkEvidence.of(cases)
    first = [_judge(case, network) for case in cases]
    network.accused_shapes = frozenset(
        look.issuer_shape
        for look, result in first
        if result.row in table.ACCUSING_ROWS and look.issuer_shape is not None
    )
    results = [result for _, result in first]
    if network.accused_shapes:
        results = [
            result if result.row in table.ACCUSING_ROWS else assess_endpoint(case, network)
            for case, result in zip(cases, results, strict=True)
        ]
    return tuple(_located(result, results) for result in results)


def _located(result: Result, results: Sequence[Result]) -> Result:
    """The result with the interceptor's place: it takes the whole network to tell."""
    if result.attribution is None:
        return result
    locality, basis = locate(result.observation, result.attribution.category, results, result.findings)
    attribution = msgspec.structs.replace(
        result.attribution, locality=locality, basis=f"{result.attribution.basis}; locality: {basis}"
    )
    return msgspec.structs.replace(result, attribution=attribution)


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
    decision = table.decide_network(results, named=named)
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
        portal=context.portal,
        knowledge=knowledge.used(context.roots, context.logs),
    )


def _attribute(case: EndpointEvidence, row: int, findings: Iterable[Finding]) -> Attribution:
    issuer = case.leaf.issuer.text if case.leaf is not None and case.leaf.issuer is not None else None
    mark = None if row in VOUCHED_ROWS else next((f for f in findings if f.check == "catalogue"), None)
    hit = mark.data if mark is not None and mark.outcome == "strong" else None
    portal = next((f for f in findings if f.check == "captive-portal"), None)
    misnamed = any(f.check == "name" and f.outcome == "mismatch" for f in findings)
    # A portal answers for every host with what it has. Who forges the right name for each host is no portal, even
    # where its filter also answers the control request.
    if portal is not None and misnamed and (hit is None or hit["category"] == "captive-portal"):
        product, vendor = (hit["product"], hit["vendor"]) if hit else (None, None)
        return Attribution(
            product=product, vendor=vendor, category="captive-portal", issuer=issuer, basis=portal.summary
        )
    if hit is None:
        weak = "" if mark is None else f"; a mark that names nobody by itself: {mark.data['fact']}"
        basis = f"no product is known by it; the issuer says {issuer or 'nothing'}{weak}"
        return Attribution(issuer=issuer, basis=basis)
    return Attribution(
        product=hit["product"],
        vendor=hit["vendor"],
        category=hit["category"],
        managed_by=ManagedBy(hit["managed_by"]),
        issuer=issuer,
        basis=f"catalogue: {hit['fact']}",
    )


def _remediation(findings: Iterable[Finding]) -> str | None:
    """The product's own way to exempt a host, if a strong mark names the product."""
    return next((f.data["remediation"] for f in findings if f.check == "catalogue" and f.outcome == "strong"), None)


def _interceptors(results: Iterable[Result]) -> tuple[Interceptor, ...]:
    """One entry per product, or per issuer where no product is known."""
    grouped: dict[tuple[str | None, str | None], list[Result]] = {}
    for result in results:
        if result.attribution is not None:
            key = (result.attribution.product, None if result.attribution.product else result.attribution.issuer)
            grouped.setdefault(key, []).append(result)
    return tuple(
        Interceptor(**msgspec.structs.asdict(attribution), endpoints=tuple(r.endpoint.name for r in group))
        for group in grouped.values()
        if (attribution := group[0].attribution) is not None
    )
