"""Results made by hand, one of each worth: what the gate and the guard weigh, without a network."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.judge import network
from detector.judge.checks import captive_portal, chain, host_name, key_possession, pin, transparency
from detector.judge.table import ACCUSING, ELSE
from detector.model import (
    Assurance,
    Attribution,
    Audience,
    Category,
    Confidence,
    EndpointName,
    Finding,
    ManagedBy,
    Meaning,
    Observation,
    Outcome,
    PortalObservation,
    Reason,
    Report,
    Result,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.judge.outcome import CheckOutcome

NOW: Final = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)
HOSTILE: Final = "CN=<script>alert(1)</script>"
"""What a certificate may call its issuer."""
PRODUCT: Final = "Filter 3000"

_PROVED: Final = (key_possession.Outcome.PROVED, host_name.Outcome.MATCH)
_LOGGED: Final = (*_PROVED, chain.Outcome.ACCEPTED, transparency.Outcome.LOGGED)
_PRIVATE: Final = (*_PROVED, chain.Outcome.PRIVATE)
CLEAN_FOR: Final = {
    Assurance.WITNESSED: Reason.WITNESSED,
    Assurance.PINNED: Reason.PINNED,
    Assurance.LOGGED: Reason.LOGGED,
    Assurance.DECLARED: Reason.DECLARED,
}


class Case(NamedTuple):
    """What came out of one endpoint, and what was found on it."""

    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    found: tuple[CheckOutcome, ...] = ()
    outcome: Outcome = Outcome.COMPLETE


def clean(assurance: Assurance) -> Case:
    """A clean endpoint."""
    return Case(Verdict.CLEAN, CLEAN_FOR[assurance], assurance=assurance, found=_LOGGED)


STALE_PIN: Final = Case(
    Verdict.MIDDLEWARE, Reason.PIN_MISMATCH, Confidence.POSSIBLE, found=(*_LOGGED, pin.Outcome.MISMATCH)
)
UNKNOWABLE: Final = Case(
    Verdict.INCONCLUSIVE,
    Reason.STALE_KNOWLEDGE,
    found=(*_PROVED, chain.Outcome.ACCEPTED, transparency.Outcome.UNKNOWABLE),
)
NO_ANSWER: Final = Case(Verdict.INCONCLUSIVE, Reason.NO_CERTIFICATE, outcome=Outcome.RESET)
POSSIBLE: Final = Case(Verdict.MIDDLEWARE, Reason.PRIVATE_CHAIN, Confidence.POSSIBLE, found=_PRIVATE)
PROBABLE: Final = Case(Verdict.MIDDLEWARE, Reason.PRODUCT_MARK, Confidence.PROBABLE, found=_PRIVATE)
PROVEN: Final = Case(Verdict.MIDDLEWARE, Reason.IDENTITY_SUBSTITUTED, Confidence.PROVEN, found=_PRIVATE)
PORTAL: Final = Case(
    Verdict.MIDDLEWARE,
    Reason.WRONG_NAME,
    Confidence.POSSIBLE,
    found=(key_possession.Outcome.PROVED, host_name.Outcome.MISMATCH, captive_portal.Outcome.CONTROL_REQUEST),
)

LADDER: Final = (
    clean(Assurance.WITNESSED),
    *map(clean, (Assurance.PINNED, Assurance.LOGGED, Assurance.DECLARED)),
    UNKNOWABLE,
    STALE_PIN,
    NO_ANSWER,
    POSSIBLE,
    PROBABLE,
    PROVEN,
)
"""From the best to the worst."""

UNCONFIRMED: Final = (
    NO_ANSWER,
    PORTAL,
    *(
        Case(Verdict.MIDDLEWARE, rule.reason, confidence, found=_PRIVATE)
        for rule in ACCUSING
        for confidence in Confidence
    ),
    *(Case(Verdict.INCONCLUSIVE, rule.reason, found=_PRIVATE) for rule in ELSE),
)
"""Every reason for which an endpoint is not confirmed, at every confidence."""


def result(host: str, category: Category, case: Case) -> Result:
    """The result of one endpoint. From `probable` on, a party is named."""
    named = case.confidence in {Confidence.PROBABLE, Confidence.PROVEN}
    advice = "" if case.verdict is Verdict.CLEAN else f"Ask its IT to exempt {host}."
    return Result(
        endpoint=EndpointName(host=host, port=443, category=category),
        verdict=case.verdict,
        reason=case.reason,
        confidence=case.confidence,
        assurance=case.assurance,
        attribution=Attribution(product=PRODUCT, managed_by=ManagedBy.INSTITUTION, issuer=HOSTILE) if named else None,
        findings=tuple(
            Finding(check=one.check, outcome=one.value, says=Meaning.NEUTRAL, summary=HOSTILE) for one in case.found
        ),
        advice=advice,
        advice_for={Audience.STUDENT: advice, Audience.IT: f"Exempt: {host}"} if advice else {},
        observation=Observation(outcome=case.outcome),
    )


def report(results: Iterable[Result], named: Iterable[str] = (), *, portal: PortalObservation | None = None) -> Report:
    """The report on these results, assessed as a network by the real function."""
    results = tuple(results)
    decided = network.decide_network(results, named=frozenset(named))
    return Report(
        detector_version="0",
        started=NOW,
        finished=NOW,
        vantage="",
        verdict=decided.verdict,
        confidence=decided.confidence,
        scope=decided.scope,
        coverage=decided.coverage,
        results=results,
        portal=portal,
        knowledge=(),
    )


def made(*endpoints: tuple[str, Category, Case], named: Iterable[str] = ()) -> Report:
    """A report on endpoints given as (host, category, case)."""
    return report((result(*endpoint) for endpoint in endpoints), named)
