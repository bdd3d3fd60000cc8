"""From evidence to results: runs the checks, reads the table, adds who it appears to be and what to do.

Room: judge. Pure but for its log: everything comes in as arguments, the clock included.

A result depends on what the other endpoints of the network show. `Assessor` takes endpoints in batches, and gives a
result again when later evidence changes it; `assess_all` is one batch, settled at once. Both end with the same results,
in whatever order the endpoints come.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import msgspec

from detector.model import Attribution, Audience, Confidence, EndpointName, ManagedBy, Result, Verdict
from detector.trust.classes import ChainClass

from . import checks, table
from .advice import advise
from .checks import browser_view, forged_issuer, known_interceptor
from .facts import Facts
from .locality import locate
from .network_evidence import NetworkEvidence, tags_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from detector.model import Finding

    from .evidence import EndpointEvidence
    from .network_evidence import Tag
    from .table import Decision

LOG: Final = logging.getLogger("detector.judge")

L = TypeVar("L")

PASSES_MAX: Final = 6
"""Passes over a network until nothing changes any more. Conclusions feed at most four times: canaries, endpoints that
rest on a canary, endpoints that share a key with those, and company."""

AMENDABLE_MAX: Final = 1024
"""Results that a later endpoint can still amend; each holds its chain, about 10 KiB."""


class Added(NamedTuple, Generic[L]):
    """Evidence of one endpoint, the caller's label for it, and `named` as in `Result`."""

    evidence: EndpointEvidence
    label: L
    named: bool = False


class _Assessed(NamedTuple):
    """One observation, the findings on it, and the table's decision."""

    evidence: EndpointEvidence
    findings: tuple[Finding, ...]
    decision: Decision

    @property
    def gravity(self) -> tuple[int, int]:
        """How much this observation speaks against the endpoint: clean, inconclusive, then middleware by confidence.

        Between equals that accuse, the rule that is read first is graver. A browser's word that all is well says
        nothing, for or against.
        """
        decision = self.decision
        if decision.rule.says_nothing:
            return -1, 0
        if decision.confidence is not None:
            return 2 + list(Confidence).index(decision.confidence), -_READ[decision.reason]
        return int(decision.verdict is Verdict.INCONCLUSIVE), 0


_READ: Final = {rule.reason: number for number, rule in enumerate(table.TABLE)}
"""The order in which rules are read."""


def _assess(evidence: EndpointEvidence, network: NetworkEvidence) -> _Assessed:
    """Return the deciding observation of this endpoint: the gravest one, and between equals the first."""
    answered = is_answered(evidence)
    assessed = []
    for one in observations_that_count(evidence):
        findings = checks.run(one, network)
        decision = table.read(Facts(findings))
        if answered and decision.verdict is not Verdict.MIDDLEWARE and (one.is_superseded or one.is_stand_in):
            continue  # what another observation is in place of, or is in place of another, accuses or says nothing
        network.conclude(
            one,
            decision.verdict,
            is_substituted=decision.proves_substitution,
            is_company=table.RULE_OF[decision.reason].is_company,
        )
        assessed.append(_Assessed(one, findings, decision))
    return max(assessed, key=lambda one: one.gravity)


def is_answered(evidence: EndpointEvidence) -> bool:
    """Whether the hello that was asked for first got a certificate on the default route, that of `evidence` itself."""
    others = (one for one in evidence.siblings if not one.is_another_service)
    return any(one.answers(evidence.asked) for one in (evidence, *others))


def observations_that_count(evidence: EndpointEvidence) -> tuple[EndpointEvidence, ...]:
    """The observations that are assessed: the verdict of one of them is the endpoint's.

    An observation without a certificate changes nothing while the hello that was asked for first has one on the default
    route. While it has none, no other hello and no other transport clears the endpoint in its place. A QUIC server with
    a certificate for another name is another service.
    """
    answered = is_answered(evidence)
    others = (one for one in evidence.siblings if not one.is_another_service)
    return tuple(one for one in (evidence, *others) if not answered or one.leaf is not None)


def assess_endpoint(evidence: EndpointEvidence, network: NetworkEvidence, *, named: bool = False) -> Result:
    """Return the result of one endpoint, by what its network showed so far; `named` as in `Result`."""
    return _result(_assess(evidence, network), network, named=named)


def assess_all(evidences: Sequence[EndpointEvidence], *, named: Collection[str] = ()) -> tuple[Result, ...]:
    """Return the results of a network's endpoints, once none changes the result of another any more.

    `named` are the endpoints (`host:port`) that the caller asked for by name.
    """
    batch = [Added(one, number, one.endpoint.name in named) for number, one in enumerate(evidences)]
    return tuple(result for _, result in Assessor[int]().add(batch))


def _log_knowledge(evidence: EndpointEvidence) -> None:
    at, roots, logs = evidence.context.at.date(), evidence.context.roots, evidence.context.logs
    LOG.debug("assessing at %s with roots of %s and logs of %s", at, roots.date or "an unknown date", logs.date)


def _log_result(result: Result) -> None:
    endpoint, sure = result.endpoint, result.confidence or result.assurance or "no confidence"
    LOG.debug("%s:%d: %s decides: %s, %s", endpoint.host, endpoint.port, result.reason, result.verdict, sure)


class Assessor(Generic[L]):
    """Assesses the endpoints of a network in batches, and earlier ones again where later ones show more.

    `remembered` bounds what is kept of the network (see `NetworkEvidence`); the latest `AMENDABLE_MAX` results that can
    still change are kept with their evidence.
    """

    def __init__(self, *, remembered: int | None = None) -> None:
        self._network: Final = NetworkEvidence(remembered=remembered)
        self._amendable: Final[dict[int, tuple[Added[L], Result]]] = {}
        self._by_tag: Final[dict[Tag, set[int]]] = {}
        self._number = 0

    def add(self, batch: Sequence[Added[L]]) -> list[tuple[L, Result]]:
        """Return the results of further endpoints in order, then those of earlier ones that they change.

        Within the batch nothing changes the result of another any more. Each result comes with the label that its
        endpoint was added with; a changed one has `amends` set.
        """
        if batch and not self._number:
            _log_knowledge(batch[0].evidence)
        for added in batch:
            self._network.add(added.evidence)
        entries: dict[int, tuple[Added[L], Result | None]] = {
            number: (added, None) for number, added in enumerate(batch, self._number)
        }
        self._number += len(batch)
        new, assessed = tuple(entries), {}
        changed = self._network.changed()
        for _ in range(PASSES_MAX):
            earlier = sorted({number for tag in changed for number in self._by_tag.get(tag, ())})
            entries |= {number: self._amendable[number] for number in earlier}
            for number in (*new, *earlier):
                assessed[number] = _assess(entries[number][0].evidence, self._network)
            changed = self._network.changed()
            if not changed:
                break
        results = []
        for number, one in assessed.items():
            added, before = entries[number]
            result = _result(one, self._network, named=added.named)
            if result != before:
                _log_result(result)
                self._keep(number, added, result)
                results.append(
                    (added.label, result if before is None else msgspec.structs.replace(result, amends=True))
                )
        return results

    def _keep(self, number: int, added: Added[L], result: Result) -> None:
        if number in self._amendable:
            self._forget(number)
        if not _can_change(added.evidence, result):
            return
        self._amendable[number] = added, result
        for tag in tags_of(added.evidence):
            self._by_tag.setdefault(tag, set()).add(number)
        if len(self._amendable) > AMENDABLE_MAX:
            self._forget(next(iter(self._amendable)))

    def _forget(self, number: int) -> None:
        for tag in tags_of(self._amendable.pop(number)[0].evidence):
            numbers = self._by_tag[tag]
            numbers.discard(number)
            if not numbers:
                del self._by_tag[tag]


def _can_change(evidence: EndpointEvidence, result: Result) -> bool:
    """Whether later endpoints can change a result: not accepted chains that are clean, nor what is proven for good."""
    if result.confidence is Confidence.PROVEN and table.RULE_OF[result.reason].is_final:
        return False
    seen = [one for one in (evidence, *evidence.siblings) if one.leaf is not None]
    if result.verdict is Verdict.CLEAN and not evidence.endpoint.canary:
        return any(not one.is_a(ChainClass.ACCEPTED) for one in seen)
    return bool(seen)


def _result(assessed: _Assessed, network: NetworkEvidence, *, named: bool) -> Result:
    evidence, findings, decision = assessed
    endpoint, facts = evidence.endpoint, Facts(findings)
    mark = next((finding for finding in findings if finding.check == known_interceptor.ID), None)
    attribution = None
    if names_a_party(decision.confidence):
        attribution = _attribute(evidence, mark, facts)
        place, basis = locate(evidence.observation, attribution.category, findings, network.typical_connect_ms())
        attribution = msgspec.structs.replace(
            attribution, locality=place, basis=f"{attribution.basis}; locality: {basis}"
        )
    result = Result(
        endpoint=EndpointName(host=endpoint.host, port=endpoint.port, category=endpoint.category),
        verdict=decision.verdict,
        reason=decision.reason,
        confidence=decision.confidence,
        assurance=decision.assurance,
        alternatives=decision.alternatives,
        attribution=attribution,
        findings=findings,
        observation=evidence.observation,
        other_observations=evidence.others,
        named=named,
    )
    advice = {audience: " ".join(sentences) for audience, sentences in advise([result]).items()}
    return msgspec.structs.replace(result, advice=advice.get(Audience.STUDENT, ""), advice_for=advice)


def names_a_party(confidence: Confidence | None) -> bool:
    """Whether a verdict is sure enough to name a party: from `probable` on."""
    return confidence is not None and confidence.reaches(Confidence.PROBABLE)


def _attribute(evidence: EndpointEvidence, mark: Finding | None, facts: Facts) -> Attribution:
    """Return the party: the product that the catalogue knows by this mark, else the issuer as presented."""
    issuer = evidence.leaf.issuer.text if evidence.leaf is not None and evidence.leaf.issuer is not None else None
    if mark is not None and mark.outcome != known_interceptor.Outcome.WEAK:
        return Attribution(
            product=mark.data["product"],
            vendor=mark.data["vendor"],
            category=mark.data["category"],
            managed_by=ManagedBy(mark.data["managed_by"]),
            issuer=issuer,
            basis=f"catalogue: {mark.data['fact']}",
        )
    weak = "" if mark is None else f"; a mark that names nobody by itself: {mark.data['fact']}"
    basis = f"no product is known by it; the issuer says {issuer or 'nothing'}{weak}"
    manager = ManagedBy.INSTITUTION
    if facts.has(*forged_issuer.Outcome):  # an institution has no reason to sign in a public CA's name
        manager = ManagedBy.UNKNOWN
    elif evidence.from_browser and facts.has(browser_view.Outcome.ONLY_BROWSER_HERE):
        manager = ManagedBy.ENDPOINT_OWNER
    return Attribution(issuer=issuer, basis=basis, managed_by=manager)
