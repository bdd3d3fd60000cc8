"""Assesses one submission from its bytes, as if its sender were lying.

Room: detector_collect.assessment. Pure: the submission, keys and knowledge are arguments. Never raises for what a
submission holds.

Theory of operation
===================
Students can extract the key that their institution's clients sign with, so a signature says who may send, not what is
true. Three rules follow:

* *Only bytes count.* Endpoints are assessed with this collector's own pins and canaries. What the sender says it
  expected, that it had seen an endpoint as genuine, that an address was given, or that a key was proved although no
  signature shows it, counts for nothing. Where the sender's claims do not even follow from its own expectations, the
  submission is quarantined.
* *An accusation rests on a handshake and on what the collector itself knows.* It is at most `possible`, and so no
  interception of the statistics, unless a recorded signature proves that the presented key was used, and the endpoint's
  genuine identity is known here, or the catalogue knows the interceptor's key, or the same CA key is caught at such an
  endpoint in the same submission. Otherwise somebody could take the genuine private server of an institution, invent a
  canary next to it, and have the institution's own CA called an interceptor.
* *A handshake counts once.* What the server signed identifies it: nobody without the server's key can make another.
  The collector keeps these identities; the same handshake under another submission about the same exam is quarantined.

What remains possible: a sender can make a CA of its own and record handshakes with it. That is one more student with
one more unknown CA (docs/collect-verification.md).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector import bundle
from detector.bundle import form, verification
from detector.bundle.verification import Reliance
from detector.judge import assess
from detector.judge.evidence import Identity, digests_of
from detector.judge.network_evidence import CLOCK_TOLERANCE
from detector.judge.recorded import KeyEvidence, key_evidence
from detector.knowledge.age import CHANGES
from detector.model import Category, Confidence, Outcome, Reason, Verdict
from detector.outbox import contents
from detector.trust.classes import ChainClass
from detector.version import VERSION

from .records import Assessed, Detail, EndpointDetail, Finding, State, Why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from detector.bundle.verification import Recorded
    from detector.judge.evidence import EndpointEvidence
    from detector.model import Knowledge, Result
    from detector.outbox.submission import Submission

    from .material import Material

BEFORE_MADE_MOST: Final = dt.timedelta(days=1)
"""How long before a submission is made its evidence may have been recorded: clients make it at once, and a clock that
is set meanwhile is seldom off by more."""

_OWN_IDENTITIES: Final = frozenset({Identity.STATED, Identity.PINNED_PUBLIC})
"""Identities that rest on this collector's knowledge. `seen` rests on handshakes that the sender has put together."""
_KNOWN_INTERCEPTORS: Final = frozenset({Reason.INTERCEPTION_KEY, Reason.FORGED_ISSUER})
"""Rules that no genuine server fits, whatever the endpoint. The mark of a product is not among them: an appliance that
decrypts nothing may have issued the certificate of an institution's own portal."""
_WORDING: Final = frozenset({"alternatives", "attribution"})
"""Fields of a claim that change neither a verdict nor its certainty."""
_CONTRADICTED: Final = frozenset({KeyEvidence.CONTRADICTED, KeyEvidence.UNSIGNED})
_SIGNED_BY_PUBLIC_CAS: Final = (ChainClass.ACCEPTED, ChainClass.RETIRED, ChainClass.INCOMPLETE)


def assess_submission(submission: Submission, *, keys: Sequence[bytes], material: Material) -> Assessed:
    """Assess a submission that was received.

    Args:
        submission: as its envelope's signature covers it.
        keys: Ed25519 public keys (32 bytes) of the institution, one of which may have signed a bundle as well.
        material: what this collector knows.
    """
    raw = bytes(submission.content)
    try:
        content = contents.decode(submission.kind, raw)
    except ValueError as error:
        return without_findings(State.QUARANTINED, Why.UNREADABLE, material, (str(error),))
    if isinstance(content, bundle.Bundle):
        return _assess_bundle(raw, submission, keys, material)
    if isinstance(content, contents.GateContent) and content.bundle != contents.NO_BUNDLE:
        return _assess_bundle(bytes(content.bundle), submission, keys, material)
    single = _single(content, submission.made)
    if single is None:
        return without_findings(State.CLAIMED, Why.NOTHING_TO_ASSESS, material)
    return _assess_single(*single, submission, material)


# What is assessed


def recorded_of(submission: Submission, material: Material) -> tuple[Recorded, ...]:
    """The endpoints that a submission recorded, to show their chains. Raises `ValueError` for any other content."""
    raw = bytes(submission.content)
    data = contents.bundle_of(submission.kind, raw)
    if data is not None:
        read = bundle.read(data)
        now = material.context(read.manifest.started)
        return tuple(verification.recorded_endpoints(read, now, material.endpoints, reliance=Reliance.BYTES))
    single = _single(contents.decode(submission.kind, raw), submission.made)
    if single is None:
        return ()
    record, where = single
    return (verification.recorded_endpoint(record, where, material.context(record.at), reliance=Reliance.BYTES),)


def _single(content: contents.Content, made: dt.datetime) -> tuple[form.RecordedEndpoint, form.Circumstances] | None:
    """The endpoint of a content that is about one, as a bundle records it; None where it has no evidence."""
    if isinstance(content, contents.FailureContent):
        name = form.Expected(host=content.host, port=content.port, category=Category.OTHER)
        connection = form.Connection(outcome=Outcome.EXAMINED, chain=content.chain)
        claim = form.Claim(verdict=Verdict.MIDDLEWARE, confidence=Confidence.POSSIBLE, reason=Reason.PIN_MISMATCH)
        record = form.RecordedEndpoint(expected=name, at=made, looks=(connection,), claimed=claim)
        return record, form.Circumstances()
    result = content.result if isinstance(content, contents.WatchContent) else content
    at = content.at if isinstance(content, contents.WatchContent) else made
    if not isinstance(result, contents.ResultContent):
        return None
    endpoint = result.endpoint
    record = form.RecordedEndpoint(
        expected=form.Expected(host=endpoint.host, port=endpoint.port, category=endpoint.category),
        at=at,
        looks=result.connections,
        claimed=form.Claim(verdict=result.verdict, reason=result.reason, confidence=result.confidence),
    )
    return record, form.Circumstances(journeys=result.routes)


def _assess_bundle(data: bytes, submission: Submission, keys: Sequence[bytes], material: Material) -> Assessed:
    read = bundle.read(data)
    manifest = read.manifest
    recorded_at = (part.content.at for part in read.parts if isinstance(part.content, form.RecordedEndpoint))
    if not _are_of(submission.made, manifest.started, manifest.finished, *recorded_at):
        return without_findings(State.QUARANTINED, Why.TIMES_APART, material)
    now = material.context(manifest.started)
    verified = bundle.verify(data, keys=keys, roots=now.roots, known=material.data)
    detail = msgspec.structs.replace(_used(material), bundle=verified.conclusion, reasons=verified.reasons)
    if verified.conclusion is bundle.Conclusion.FAILS and not _differs_in_wording(verified):
        return Assessed(state=State.QUARANTINED, why=Why.DOES_NOT_VERIFY, detail=detail)
    recorded = tuple(verification.recorded_endpoints(read, now, material.endpoints, reliance=Reliance.BYTES))
    assessed = _assess(recorded, detail, _scope(submission))
    if _knows_better(manifest.knowledge, assessed, material, submission.made):
        return Assessed(state=State.CLAIMED, why=Why.NEWER_KNOWLEDGE, detail=assessed.detail)
    return assessed


def _assess_single(
    record: form.RecordedEndpoint, where: form.Circumstances, submission: Submission, material: Material
) -> Assessed:
    if not _are_of(submission.made, record.at):
        return without_findings(State.QUARANTINED, Why.TIMES_APART, material)
    own = material.by_name.get((record.expected.host, record.expected.port))
    recorded = verification.recorded_endpoint(
        record, where, material.context(record.at), own=own, reliance=Reliance.BYTES
    )
    assessed = _assess((recorded,), _used(material), _scope(submission))
    accused = any(assess.names_a_party(one.confidence) for one in assessed.detail.endpoints)
    if accused and record.claimed.reason is Reason.LOGGED:
        # As `_knows_better`, for contents that do not say with which knowledge their sender found a public certificate.
        return Assessed(state=State.CLAIMED, why=Why.NEWER_KNOWLEDGE, detail=assessed.detail)
    return assessed


def _are_of(made: dt.datetime, *moments: dt.datetime) -> bool:
    """Whether what was recorded at these moments belongs to a submission that was made then.

    Checked before anything is assessed: the roots of every day that a sender chooses would be kept in memory.
    """
    return all(-CLOCK_TOLERANCE <= made - moment <= BEFORE_MADE_MOST for moment in moments)


def _differs_in_wording(verified: bundle.Verification) -> bool:
    """Whether a bundle fails for nothing but who it is thought to be, where, and what else could explain it.

    The client concluded that with the addresses and timings that it must not send.
    """
    found = {name.partition(".")[0] for check in verified.endpoints for name in check.differences}
    is_contradicted = any(check.key in _CONTRADICTED for check in verified.endpoints)
    return bool(found) and found <= _WORDING and verified.network.same and not is_contradicted


def without_findings(state: State, why: Why, material: Material, reasons: tuple[str, ...] = ()) -> Assessed:
    """The assessment of what is not, or cannot be, assessed further; `reasons` are sentences."""
    return Assessed(state=state, why=why, detail=msgspec.structs.replace(_used(material), reasons=reasons))


def _used(material: Material) -> Detail:
    return Detail(detector_version=VERSION, knowledge=material.knowledge, digest=material.digest)


# Assessing


class _Concluded(NamedTuple):
    recorded: Recorded
    evidence: EndpointEvidence
    result: Result
    ca_key: bytes | None


def _scope(submission: Submission) -> bytes:
    """Among which submissions a handshake counts once: those of one institution and exam, with a student or without.

    The interceptor knows its handshakes, and may send them first. Where that names another institution or exam,
    or no student, it must not have the student's own evidence quarantined.
    """
    return msgspec.json.encode((submission.institution, submission.exam, submission.student is None))


def _assess(recorded: Sequence[Recorded], detail: Detail, scope: bytes) -> Assessed:
    """Assess endpoints of one network by their bytes."""
    if not any(observation.chain for one in recorded for observation in one.observations):
        return Assessed(state=State.CLAIMED, why=Why.NOTHING_TO_ASSESS, detail=detail)
    handshakes = tuple(_handshakes(recorded, scope))
    if len(set(handshakes)) < len(handshakes):
        return Assessed(state=State.QUARANTINED, why=Why.REPEATED_EVIDENCE, detail=detail)
    results = assess.assess_all([one.evidence for one in recorded])
    concluded = [_conclude(one, result) for one, result in zip(recorded, results, strict=True)]
    caught = {one.ca_key for one in concluded if _stands_alone(one)} - {None}
    pairs = [(one, _finding(one, stands=_stands_alone(one) or one.ca_key in caught)) for one in concluded]
    return Assessed(
        state=State.VERIFIED,
        findings=tuple(finding for _, finding in pairs),
        handshakes=handshakes,
        detail=msgspec.structs.replace(detail, endpoints=tuple(_detail(one, finding) for one, finding in pairs)),
    )


def _handshakes(recorded: Iterable[Recorded], scope: bytes) -> Iterator[bytes]:
    """Identify the handshakes that the presented keys signed: by what they signed, since a signature can be rewritten.

    An ECDSA signature (r, s) is as valid as (r, -s), and an RSA-PSS one has a random salt. What is signed contains the
    transcript (RFC 8446 section 4.4.3) or both randoms (RFC 5246 section 7.4.3).
    """
    for observation in (observation for one in recorded for observation in one.observations):
        signature = observation.handshake_signature
        if signature is not None and observation.key_proved and key_evidence(observation) is KeyEvidence.VERIFIED:
            yield hashlib.sha256(scope + hashlib.sha256(signature.signed).digest()).digest()


def _conclude(recorded: Recorded, result: Result) -> _Concluded:
    every = (recorded.evidence, *recorded.evidence.siblings)
    deciding = next(one for one in every if one.observation is result.observation)
    return _Concluded(recorded, deciding, result, _ca_key(deciding))


def _ca_key(evidence: EndpointEvidence) -> bytes | None:
    """The key that signed the leaf, wherever its certificate came from; the least of several that did.

    A public CA's key, and one that every installation of a product has, is everybody's: it identifies no operator.
    """
    issuers = () if evidence.paths is None else evidence.paths.issuers
    shipped = evidence.context.data.catalogue.match_digests(digests_of((*evidence.presented[:1], *issuers)))
    if shipped or evidence.is_a(*_SIGNED_BY_PUBLIC_CAS):
        return None
    return min(evidence.issuing_keys, default=None)


def _stands_alone(one: _Concluded) -> bool:
    """Whether an accusation rests on a proved handshake and on this collector's own knowledge."""
    if one.result.verdict is not Verdict.MIDDLEWARE or not one.evidence.observation.key_proved:
        return False
    return bool(one.evidence.identities & _OWN_IDENTITIES) or one.result.reason in _KNOWN_INTERCEPTORS


def _finding(one: _Concluded, *, stands: bool) -> Finding:
    result, confidence = one.result, one.result.confidence
    if confidence is not None and not (stands and one.evidence.observation.key_proved):
        confidence = Confidence.POSSIBLE
    names_a_party = assess.names_a_party(confidence)
    attribution = result.attribution if names_a_party else None
    return Finding(
        at=one.recorded.record.at,
        host=result.endpoint.host,
        port=result.endpoint.port,
        category=result.endpoint.category,
        verdict=result.verdict,
        confidence=confidence,
        reason=result.reason,
        product=None if attribution is None else attribution.product,
        ca_key=one.ca_key if names_a_party else None,
    )


def _detail(one: _Concluded, finding: Finding) -> EndpointDetail:
    claimed = one.recorded.record.claimed
    return EndpointDetail(
        host=finding.host,
        port=finding.port,
        claimed=claimed.verdict,
        claimed_confidence=claimed.confidence,
        verdict=finding.verdict,
        confidence=finding.confidence,
        reason=finding.reason,
        key=one.recorded.key,
        held_at_possible=finding.confidence is not one.result.confidence,
    )


def _knows_better(knowledge: Sequence[Knowledge], assessed: Assessed, material: Material, made: dt.datetime) -> bool:
    """Whether the sender had newer knowledge and did not accuse where this collector would.

    A CA that is newer than the collector's list seems private. Saying so holds the submission back until the collector
    has that knowledge too: who does not want to be heard could as well have sent nothing.
    """
    accused = any(
        assess.names_a_party(one.confidence) and not assess.names_a_party(one.claimed_confidence)
        for one in assessed.detail.endpoints
    )
    own = {part.kind: part.date for part in material.knowledge}
    return accused and any(
        part.kind in CHANGES and part.date is not None and (own.get(part.kind) or part.date) < part.date <= made.date()
        for part in knowledge
    )
