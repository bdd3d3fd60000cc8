"""Results and reports made by hand, for rooms that only show them."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

from detector.history.dossier import Gathering
from detector.judge import network
from detector.judge.checks import host_name, key_possession, pin, presented, private_origin, transparency
from detector.judge.checks.chain import Outcome as Chain
from detector.model import (
    Alternative,
    Assurance,
    Attribution,
    Audience,
    Category,
    Confidence,
    EndpointName,
    Finding,
    Meaning,
    Observation,
    Outcome,
    PresentedCertificate,
    Reason,
    Report,
    Result,
    Route,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from detector.history.dossier import Dossier, Item
    from detector.judge.outcome import CheckOutcome
    from detector.model import PortalObservation

NOW = dt.datetime(2026, 11, 25, 9, 30, 15, tzinfo=dt.UTC)
EXAM, LMS, SEARCH, BANK = "exam.example.edu", "lms.example.org", "search.example.com", "bank.example.net"
FILTER = Attribution(issuer="CN=Campus Filter CA", basis="no product is known by it")


def found(outcome: CheckOutcome, summary: str = "", says: Meaning = Meaning.NEUTRAL, **data: Any) -> Finding:  # noqa: ANN401 - any JSON value
    """One finding, of the check that the outcome belongs to."""
    return outcome.found(summary or f"{outcome.check} says {outcome}.", says, **data)


def certificate(subject: str, issuer: str) -> PresentedCertificate:
    """One certificate; all of one issuer have the same key, as many interceptors do it."""
    return PresentedCertificate(
        sha256=hashlib.sha256(f"{subject} {issuer}".encode()).hexdigest(),
        der=b"\x30\x00",
        subject=subject,
        issuer=issuer,
        serial="01",
        not_before=NOW,
        not_after=NOW + dt.timedelta(days=90),
        spki_sha256=hashlib.sha256(issuer.encode()).hexdigest(),
    )


def observed(host: str, issuer: str | None, outcome: Outcome = Outcome.COMPLETE) -> Observation:
    """A connection that showed one certificate of this issuer, or nothing."""
    chain = () if issuer is None else (certificate(f"CN={host}", issuer),)
    return Observation(outcome=outcome, key_proved=bool(chain), route=Route.DIRECT, chain=chain)


def result(  # noqa: PLR0913 - a result is made of these
    host: str,
    verdict: Verdict,
    reason: Reason,
    *,
    confidence: Confidence | None = None,
    assurance: Assurance | None = None,
    category: Category = Category.OTHER,
    findings: tuple[Finding, ...] = (),
    alternatives: tuple[Alternative, ...] = (),
    attribution: Attribution | None = None,
    advice: str = "",
    issuer: str | None = "CN=Public CA",
    outcome: Outcome = Outcome.COMPLETE,
) -> Result:
    """One result; `advice` is the student's, `issuer` that of the one presented certificate."""
    return Result(
        endpoint=EndpointName(host=host, port=443, category=category),
        verdict=verdict,
        reason=reason,
        confidence=confidence,
        assurance=assurance,
        findings=findings,
        alternatives=alternatives,
        attribution=attribution,
        advice=advice,
        advice_for={Audience.STUDENT: advice} if advice else {},
        observation=observed(host, issuer, outcome),
    )


def clean(host: str, category: Category = Category.OTHER, assurance: Assurance = Assurance.LOGGED) -> Result:
    """A clean endpoint."""
    findings = (found(presented.Outcome.SEEN), found(Chain.ACCEPTED), found(transparency.Outcome.LOGGED))
    reason = Reason.PINNED if assurance is Assurance.PINNED else Reason.LOGGED
    return result(host, Verdict.CLEAN, reason, assurance=assurance, category=category, findings=findings)


def silent(host: str, category: Category = Category.OTHER, outcome: Outcome = Outcome.RESET) -> Result:
    """An endpoint that showed nothing."""
    return result(
        host,
        Verdict.INCONCLUSIVE,
        Reason.NO_CERTIFICATE,
        category=category,
        findings=(found(presented.Outcome.NONE),),
        advice="Nothing answered: a firewall may drop this traffic.",
        issuer=None,
        outcome=outcome,
    )


def intercepted(
    host: str,
    category: Category = Category.OTHER,
    confidence: Confidence = Confidence.PROVEN,
    attribution: Attribution = FILTER,
) -> Result:
    """An endpoint with a private chain in the place of its public one."""
    return result(
        host,
        Verdict.MIDDLEWARE,
        Reason.IDENTITY_SUBSTITUTED,
        confidence=confidence,
        category=category,
        findings=(
            found(presented.Outcome.SEEN),
            found(key_possession.Outcome.PROVED),
            found(Chain.PRIVATE, "The chain does not lead to a known root.", Meaning.INTERCEPTED),
            found(host_name.Outcome.MATCH),
            found(pin.Outcome.MISMATCH, "No pin matches.", Meaning.INTERCEPTED, pins=["sha256/AAAA"]),
        ),
        attribution=attribution,
        advice=f"Only the network's administrators can change this: ask its IT to exempt {host}.",
        issuer=attribution.issuer,
    )


def possible(host: str, category: Category = Category.OTHER, issuer: str = "CN=Campus Filter CA") -> Result:
    """An endpoint with a private chain of which nothing is known."""
    return result(
        host,
        Verdict.MIDDLEWARE,
        Reason.PRIVATE_CHAIN,
        confidence=Confidence.POSSIBLE,
        category=category,
        findings=(
            found(presented.Outcome.SEEN),
            found(Chain.PRIVATE, "The chain does not lead to a known root.", Meaning.INTERCEPTED, issuer=issuer),
            found(private_origin.Outcome.PRIVATE_CA),
        ),
        alternatives=(Alternative.PRIVATE_PKI,),
        advice="Try again from another network. If only this network has the problem, tell its IT.",
        issuer=issuer,
    )


def stale_pins(host: str, category: Category = Category.OTHER) -> Result:
    """An endpoint whose accepted and logged certificate is not one that is pinned."""
    findings = (
        *(found(o) for o in (presented.Outcome.SEEN, key_possession.Outcome.PROVED, host_name.Outcome.MATCH)),
        found(Chain.ACCEPTED),
        found(transparency.Outcome.LOGGED),
        found(pin.Outcome.MISMATCH, "No pin matches.", Meaning.INTERCEPTED),
    )
    return result(
        host,
        Verdict.MIDDLEWARE,
        Reason.PIN_MISMATCH,
        confidence=Confidence.POSSIBLE,
        category=category,
        findings=findings,
        alternatives=(Alternative.PIN_ROTATION, Alternative.PUBLIC_CA_MISISSUANCE),
        advice="Try again from another network. If only this network has the problem, tell its IT.",
    )


def stating(folder: Path, *hosts: str) -> tuple[str, str]:
    """Arguments of a command: a pin file, written to this folder, that states the test PKI's roots for these hosts."""
    roots = '["Exemplar Root R1", "Exemplar Root X2"]'
    endpoints = (f'[[endpoint]]\nhost = "{host}"\nroots = {roots}\n' for host in hosts)
    file = folder / "stated.toml"
    file.write_text('schema = 1\nname = "stated"\n' + "".join(endpoints), "utf-8")
    return ("--pins", str(file))


def report(
    *results: Result,
    at: dt.datetime = NOW,
    vantage: str = "library",
    portal: PortalObservation | None = None,
    named: tuple[str, ...] = (),
) -> Report:
    """The report on a network with these results."""
    decision = network.decide_network(results, named=named)
    return Report(
        detector_version="0",
        started=at,
        finished=at + dt.timedelta(seconds=1),
        vantage=vantage,
        verdict=decision.verdict,
        confidence=decision.confidence,
        scope=decision.scope,
        coverage=decision.coverage,
        interceptors=network.interceptors(results),
        results=results,
        portal=portal,
        knowledge=(),
    )


def gather(items: Iterable[Item], *, vantage: str, made: dt.datetime, unfinished_runs: int = 0) -> Dossier:
    """The dossier on one place from its results, in any order."""
    gathering = Gathering(vantage)
    for item in items:
        gathering.add(item)
    return gathering.dossier(made=made, unfinished_runs=unfinished_runs)
