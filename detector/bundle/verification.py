"""Judges a bundle again: from the raw octets in it, never from what it claims.

Room: bundle. Pure: time, roots, logs, pins and keys are arguments.

Theory of operation
===================
Three questions are kept apart, because each has its own answer to "and who says so?":

1. Is it what was signed? Every signature in the envelope must be right, every part must have the digest that the
   manifest has for it, and if keys are given, one of them must have signed.
2. Does the verdict follow from the evidence? Certificates, handshake signature and witness's answer are read, checked
   and judged again as if they had just arrived, at the recorded time, with the reader's own roots and logs. What comes
   out is compared with what was claimed. `key_proved` is not believed where a recorded handshake signature contradicts
   it: then the endpoint is judged as if its key had not been proved, and the bundle does not hold.
3. What is left on the recorder's word? That is listed (`Word`), never hidden in a verdict.

How it ends, first matching row:

=======================================================================================================  ============
what was found                                                                                           conclusion
=======================================================================================================  ============
a wrong signature; a changed part; a handshake signature that contradicts the record; another verdict    fails
evidence was taken out; no given key signed; a key's proof rests on the word of nobody known             incomplete
nothing of this                                                                                          holds
=======================================================================================================  ============

Another verdict is `incomplete` instead where what was taken out may be the reason.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from detector.judge import assess, network
from detector.judge.evidence import Context, EndpointEvidence
from detector.judge.recorded import KeyEvidence, believed, key_evidence
from detector.knowledge import ct_logs
from detector.knowledge import roots as trusted
from detector.knowledge.age import describe, used
from detector.model import (
    EndpointName,
    Knowledge,
    KnowledgeKind,
    Observation,
    PortalObservation,
    Reason,
    Record,
    Report,
    normalize_schema,
)
from detector.pins import shared_pins
from detector.trust.certificate import Certificate
from detector.trust.envelope import key_identifier
from detector.trust.roots import from_recorded
from detector.version import VERSION

from .form import (
    AnswerLeftOut,
    Circumstances,
    Claim,
    Dates,
    Expected,
    Journey,
    Look,
    NetworkClaim,
    Part,
    PartKind,
    PartState,
    RecordedEndpoint,
    Vantage,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from detector.model import Attribution, Endpoint, Finding, Result
    from detector.trust.ct_logs import LogList
    from detector.trust.envelope import Signer
    from detector.trust.roots import Roots

    from .form import Bundle


class Conclusion(enum.StrEnum):
    """Whether a bundle holds."""

    HOLDS = "holds"
    INCOMPLETE = "incomplete"
    FAILS = "fails"


class SignatureState(enum.StrEnum):
    """What the signatures are worth to the reader."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    BAD = "bad"


class Ground(enum.StrEnum):
    """What rests on the word of whoever made the bundle."""

    CAPTURE = "capture"
    TIME = "time"
    EXPECTATIONS = "expectations"
    KEY_POSSESSION = "key-possession"
    WITNESS_BINDING = "witness-binding"
    MACHINE_ROOTS = "machine-roots"
    CONTROL_REQUESTS = "control-requests"


class Word(Record, frozen=True, kw_only=True):
    """One thing that cannot be checked again, in a sentence, and the endpoints it matters for."""

    ground: Ground
    summary: str
    endpoints: tuple[str, ...] = ()


class KeyCheck(Record, frozen=True, kw_only=True):
    """One signature in the envelope. `key` is spelled `ed25519/<base64>`, `given` is whether the reader gave it."""

    key: str
    verifies: bool
    given: bool


class PartCheck(Record, frozen=True, kw_only=True):
    """One part: whether it is what the manifest lists, and the endpoint it is about, as far as that is known."""

    name: str
    kind: PartKind
    state: PartState
    endpoint: str | None = None


class EndpointCheck(Record, frozen=True, kw_only=True):
    """One endpoint: what was claimed, what came out again, in what they differ, and what its evidence is worth."""

    part: str
    endpoint: EndpointName
    claimed: Claim
    judged: Claim
    differences: tuple[str, ...] = ()
    key: KeyEvidence
    witness: str | None = None
    answer_left_out: AnswerLeftOut | None = None

    @property
    def same(self) -> bool:
        """Whether the same verdict was reached for the same reason."""
        return not self.differences


class NetworkCheck(Record, frozen=True, kw_only=True):
    """The network: what was claimed, what came out again from the endpoints that are there."""

    claimed: NetworkClaim
    judged: NetworkClaim
    same: bool


class Material(Record, frozen=True, kw_only=True):
    """What the recorder judged with, and whether the reader judged with the very same: not where `others` says so."""

    detector_version: str
    same_version: bool
    knowledge: tuple[Knowledge, ...]
    others: tuple[KnowledgeKind, ...] = ()


class Verification(Record, frozen=True, kw_only=True):
    """A bundle, judged again. `reasons` says why it does not hold, `words` what is believed rather than checked.

    `report` is what the detector says of the evidence now.
    """

    conclusion: Conclusion
    reasons: tuple[str, ...] = ()
    signature: SignatureState
    signatures: tuple[KeyCheck, ...] = ()
    parts: tuple[PartCheck, ...]
    endpoints: tuple[EndpointCheck, ...]
    network: NetworkCheck
    recorded: Material
    words: tuple[Word, ...] = ()
    report: Report

    @property
    def holds(self) -> bool:
        """Whether it is what was signed and what follows from the evidence is what was claimed."""
        return self.conclusion is Conclusion.HOLDS


class _Exhibit(NamedTuple):
    """The evidence on one endpoint, ready to be judged; `as_recorded` is by what the recorder expected of it."""

    part: str
    evidence: RecordedEndpoint
    case: EndpointEvidence
    key: KeyEvidence
    as_recorded: bool


def verify(  # noqa: PLR0913 - keyword-only past the bundle; each is one thing the reader brings
    data: bytes,
    *,
    keys: Sequence[bytes] = (),
    roots: Roots | None = None,
    logs: LogList | None = None,
    pins: Sequence[Endpoint] = (),
    at: dt.datetime | None = None,
) -> Verification:
    """Judge a bundle again.

    `keys` are Ed25519 public keys (32 raw octets) of which one must have signed; without any, signatures are told but
    nobody is trusted. `roots` and `logs` are certifi's and the shipped ones when None: never those of the recorder,
    who says only which they were. `pins` are endpoints as the reader's own pin file has them, used in place of what
    was recorded as expected. `at` (aware) is used in place of the recorded time.

    Raises `BundleError` for what is not a bundle. What is wrong with one is told, not raised.
    """
    bundle = read(data)
    roots = trusted.public_roots() if roots is None else roots
    logs = ct_logs.shipped() if logs is None else logs
    exhibits = _exhibits(bundle, roots, logs, {(e.host, e.port): e for e in pins}, at)
    results = assess.assess_all([exhibit.case for exhibit in exhibits])
    report = _report(bundle, exhibits, results, roots, logs)
    where_is_known = not any(p.content is None and p.entry.kind in _SAYS_WHERE for p in bundle.parts)
    checks = tuple(
        _endpoint_check(exhibit, result, where_is_known=where_is_known)
        for exhibit, result in zip(exhibits, results, strict=True)
    )
    network = _network_check(bundle, report)
    signature = _signature_state(bundle.signers, keys)
    names = {exhibit.part: exhibit.case.endpoint.name for exhibit in exhibits}
    recorded = _material(bundle, roots, logs)
    fails = tuple(_failures(bundle, checks, network))
    gaps = tuple(_gaps(bundle, checks, network, signature, asked=bool(keys)))
    hints = _hints(recorded) if any(check.differences for check in checks) else ()
    return Verification(
        conclusion=Conclusion.FAILS if fails else Conclusion.INCOMPLETE if gaps else Conclusion.HOLDS,
        reasons=(*fails, *gaps, *hints),
        signature=signature,
        signatures=tuple(
            KeyCheck(key=key_identifier(signer.key), verifies=signer.verifies, given=signer.key in keys)
            for signer in bundle.signers
        ),
        parts=tuple(
            PartCheck(name=p.entry.name, kind=p.entry.kind, state=p.state, endpoint=names.get(f"endpoint-{p.number}"))
            for p in bundle.parts
        ),
        endpoints=checks,
        network=network,
        recorded=recorded,
        words=tuple(_words(bundle, exhibits, results, signature)),
        report=report,
    )


def verification_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `Verification`, which `detector verify --format json` prints."""
    schema = normalize_schema(msgspec.json.schema(Verification))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "detector verification", **schema}


_DECIDES: Final = frozenset({PartKind.ENDPOINT, PartKind.PORTAL, PartKind.DATES})
"""Kinds of parts that a verdict can rest on."""
_WORST_FIRST: Final = (
    KeyEvidence.CONTRADICTED,
    KeyEvidence.UNSIGNED,
    KeyEvidence.WORD,
    KeyEvidence.VERIFIED,
    KeyEvidence.NOT_CLAIMED,
)
_SAYS_WHERE: Final = frozenset({PartKind.ENDPOINT, PartKind.CIRCUMSTANCES})
"""Kinds of parts that say where an interceptor is; it takes all of them."""


# Judging again


def _exhibits(
    bundle: Bundle, roots: Roots, logs: LogList, pins: dict[tuple[str, int], Endpoint], at: dt.datetime | None
) -> tuple[_Exhibit, ...]:
    contents = {part.entry.name: part.content for part in bundle.parts}
    portal = contents.get(PartKind.PORTAL)
    dates = contents.get(PartKind.DATES)
    found = []
    for part in bundle.parts:
        evidence = part.content
        if not isinstance(evidence, RecordedEndpoint):
            continue
        circumstances = contents.get(f"{PartKind.CIRCUMSTANCES}-{part.number}")
        where = circumstances if isinstance(circumstances, Circumstances) else Circumstances()
        expected = evidence.expected
        own = pins.get((expected.host, expected.port))
        context = Context(
            at=evidence.at if at is None else at,
            roots=roots,
            logs=logs,
            machine_roots=_machine_roots(evidence),
            installed_at=_installed_at(where),
            portal=portal if isinstance(portal, PortalObservation) else None,
            dates=dates.dates if isinstance(dates, Dates) else (),
            given=(expected.name,) if expected.address_given else (),
            shared_pins=expected.shared_pins if own is None else shared_pins(pins.values()),
            seen_before=(expected.name,) if expected.seen_before else (),
        )
        observations = tuple(_observations(evidence.looks, where))
        key = min(map(key_evidence, observations), key=_WORST_FIRST.index)
        first, *others = map(believed, observations)
        case = EndpointEvidence(own or expected.endpoint, first, context, evidence.fetched, others)
        found.append(_Exhibit(part.entry.name, evidence, case, key, own is None))
    return tuple(found)


def _machine_roots(evidence: RecordedEndpoint) -> Callable[[], Roots]:
    return lambda: from_recorded(evidence.machine_roots, name="recorded machine roots")


def _installed_at(where: Circumstances) -> Callable[[bytes], dt.datetime | None]:
    return lambda sha256: where.installed_at.get(sha256.hex())


def _observations(looks: Sequence[Look], where: Circumstances) -> Iterator[Observation]:
    """The observations as recorded; of those whose circumstances were taken out it is not known how they were made."""
    own = {"chain", "answer_left_out"}
    for look, journey in zip(looks, chain(where.journeys, repeat(Journey())), strict=False):
        facts = {name: getattr(look, name) for name in Look.__struct_fields__ if name not in own}
        presented = tuple(Certificate.read(der).presented() for der in look.chain)
        yield Observation(**facts, **msgspec.structs.asdict(journey), chain=presented)


def _report(
    bundle: Bundle, exhibits: Sequence[_Exhibit], results: Sequence[Result], roots: Roots, logs: LogList
) -> Report:
    manifest = bundle.manifest
    vantage = next((part.content for part in bundle.parts if isinstance(part.content, Vantage)), Vantage(vantage=""))
    context = exhibits[0].case.context if exhibits else Context(at=manifest.started, roots=roots, logs=logs)
    named = {exhibit.case.endpoint.name for exhibit in exhibits} if manifest.claimed.inconclusive_counts else ()
    return network.report(
        results,
        context,
        started=manifest.started,
        finished=manifest.finished,
        vantage=vantage.vantage,
        version=VERSION,
        named=named,
    )


# Comparing


def _endpoint_check(exhibit: _Exhibit, result: Result, *, where_is_known: bool) -> EndpointCheck:
    claimed, judged = exhibit.evidence.claimed, Claim.of(result)
    return EndpointCheck(
        part=exhibit.part,
        endpoint=result.endpoint,
        claimed=claimed,
        judged=judged,
        differences=tuple(_differences(claimed, judged, where_is_known=where_is_known)),
        key=exhibit.key,
        witness=next((f.outcome for f in result.findings if f.check == "witness"), None),
        answer_left_out=next((look.answer_left_out for look in exhibit.evidence.looks if look.answer_left_out), None),
    )


def _differences(claimed: Claim, judged: Claim, *, where_is_known: bool) -> Iterator[str]:
    """The fields in which two claims differ. How an attribution is put into words is nobody's claim."""
    for name in Claim.__struct_fields__:
        if name != "attribution" and getattr(claimed, name) != getattr(judged, name):
            yield name
    one, other = _who(claimed.attribution), _who(judged.attribution)
    for name in {**one, **other}:
        if one.get(name) != other.get(name) and (where_is_known or name != "locality"):
            yield f"attribution.{name}"


def _who(attribution: Attribution | None) -> dict[str, object]:
    if attribution is None:
        return {}
    return {name: getattr(attribution, name) for name in attribution.__struct_fields__ if name != "basis"}


def _network_check(bundle: Bundle, report: Report) -> NetworkCheck:
    claimed = bundle.manifest.claimed
    judged = NetworkClaim(
        verdict=report.verdict,
        confidence=report.confidence,
        scope=report.scope,
        inconclusive_counts=claimed.inconclusive_counts,
    )
    return NetworkCheck(claimed=claimed, judged=judged, same=claimed == judged)


def _signature_state(signers: Sequence[Signer], keys: Sequence[bytes]) -> SignatureState:
    if not signers:
        return SignatureState.UNSIGNED
    if not all(signer.verifies for signer in signers):
        return SignatureState.BAD
    return SignatureState.SIGNED if any(s.key in keys for s in signers) else SignatureState.UNKNOWN_KEY


def _material(bundle: Bundle, roots: Roots, logs: LogList) -> Material:
    manifest = bundle.manifest
    here = {part.kind: part.sha256 for part in used(roots, logs)}
    return Material(
        detector_version=manifest.detector_version,
        same_version=manifest.detector_version == VERSION,
        knowledge=manifest.knowledge,
        others=tuple(part.kind for part in manifest.knowledge if here[part.kind] != part.sha256),
    )


# Concluding


def _missing(bundle: Bundle) -> list[Part]:
    """Parts that a verdict can rest on and that are not there."""
    return [part for part in bundle.parts if part.state is PartState.REDACTED and _decides(part, bundle)]


def _decides(part: Part, bundle: Bundle) -> bool:
    """Whether a verdict can rest on this part: on the circumstances only where several looks are compared.

    Looks at one endpoint are compared by where they led, and that stands in the circumstances.
    """
    if part.entry.kind is not PartKind.CIRCUMSTANCES:
        return part.entry.kind in _DECIDES
    evidence = next((p.content for p in bundle.parts if p.entry.name == f"{PartKind.ENDPOINT}-{part.number}"), None)
    return isinstance(evidence, RecordedEndpoint) and len(evidence.looks) > 1


def _excused(check: EndpointCheck, bundle: Bundle) -> bool:
    """Whether what was taken out, or was never judged in full, may be why another verdict was reached."""
    left_out = check.answer_left_out is AnswerLeftOut.NAMES_THE_CLIENT
    return bool(_missing(bundle)) or left_out or check.claimed.reason is Reason.BUDGET_SPENT or _place_is_out(bundle)


def _place_is_out(bundle: Bundle) -> bool:
    """Whether it is not known everywhere at which address was answered: a private one makes several rules less sure."""
    return any(p.state is PartState.REDACTED and p.entry.kind is PartKind.CIRCUMSTANCES for p in bundle.parts)


def _failures(bundle: Bundle, checks: Sequence[EndpointCheck], network: NetworkCheck) -> Iterator[str]:
    for signer in bundle.signers:
        if not signer.verifies:
            yield f"The signature by {key_identifier(signer.key)} is wrong: the manifest is not what that key signed."
    for part in bundle.parts:
        if part.state is PartState.TAMPERED:
            yield f"Part {part.entry.name} was changed: its digest is not the one in the manifest."
    for check in checks:
        name = check.endpoint.name
        if check.key is KeyEvidence.CONTRADICTED:
            yield f"{name}: the recorded handshake signature contradicts what was recorded of the presented key."
        if check.key is KeyEvidence.UNSIGNED:
            yield f"{name}: the record has no handshake signature, which its version of TLS always has."
        if check.differences and not _excused(check, bundle):
            yield f"{name}: {_told_apart(check)}."
    judged_whole = not any(part.content is None and _decides(part, bundle) for part in bundle.parts)
    if not network.same and judged_whole and all(check.same for check in checks):
        yield f"The network was called {_spell(network.claimed)}; its endpoints say {_spell(network.judged)}."


def _gaps(
    bundle: Bundle,
    checks: Sequence[EndpointCheck],
    network: NetworkCheck,
    signature: SignatureState,
    *,
    asked: bool,
) -> Iterator[str]:
    if asked and signature is SignatureState.UNSIGNED:
        yield "It is not signed: nobody vouches for it."
    if asked and signature is SignatureState.UNKNOWN_KEY:
        yield "It is signed, but by no key that was given."
    missing = _missing(bundle)
    if missing:
        names = ", ".join(part.entry.name for part in missing)
        yield f"Evidence was taken out ({names}): what the endpoints show together cannot be judged again in full."
    for check in checks:
        name = check.endpoint.name
        if check.key is KeyEvidence.WORD and signature is not SignatureState.SIGNED:
            yield f"{name}: that the peer held the presented key rests on the word of nobody known."
        if check.answer_left_out is AnswerLeftOut.NAMES_THE_CLIENT:
            yield f"{name}: the witness's answer was left out, because it names the machine that asked."
        if check.differences and _excused(check, bundle):
            yield f"{name}: {_told_apart(check)}; what was taken out may be why."
    if not network.same and missing:
        yield f"The network was called {_spell(network.claimed)}; what is left says {_spell(network.judged)}."


def _hints(recorded: Material) -> Iterator[str]:
    """Innocent reasons for another verdict."""
    for part in recorded.knowledge:
        if part.kind in recorded.others:
            yield f"The recorder judged with others: {describe([part])}; judge with the same to compare."
    if not recorded.same_version:
        yield f"The recorder was another version ({recorded.detector_version}); its rules may have been others."


def _told_apart(check: EndpointCheck) -> str:
    claimed, judged = check.claimed, check.judged
    return (
        f"claimed {_spell(claimed)} ({claimed.reason}), judged again {_spell(judged)} "
        f"({judged.reason}); they differ in {', '.join(check.differences)}"
    )


def _spell(claim: Claim | NetworkClaim) -> str:
    return str(claim.verdict) if claim.confidence is None else f"{claim.verdict} ({claim.confidence})"


def _words(
    bundle: Bundle, exhibits: Sequence[_Exhibit], results: Sequence[Result], signature: SignatureState
) -> Iterator[Word]:
    """What is left on the recorder's word. Nothing in a bundle says who was where when."""
    signed = signature is SignatureState.SIGNED
    vouched = "the signer says so" if signed else "nobody known says so"
    yield Word(
        ground=Ground.CAPTURE,
        summary=f"That these octets were captured on one network, and not put together: {vouched}. A TLS 1.3 signature "
        "shows that the key's holder made a handshake, not which one.",
    )
    yield Word(
        ground=Ground.TIME, summary=f"That it was {bundle.manifest.started:%Y-%m-%d %H:%M:%S %Z}: the recorder's clock."
    )
    grounds: list[tuple[Ground, str, list[bool]]] = [
        (
            Ground.EXPECTATIONS,
            "That these pins, roots, witness keys and identities are what was known of the endpoint.",
            [exhibit.as_recorded and _expects(exhibit.evidence) for exhibit in exhibits],
        ),
        (
            Ground.KEY_POSSESSION,
            "That the peer held the presented key: there is no signature to check, as with plain RSA key exchange.",
            [exhibit.key is KeyEvidence.WORD for exhibit in exhibits],
        ),
        (
            Ground.WITNESS_BINDING,
            "Which channel binding this end of the session had. What the witness signed was checked again.",
            [_has(result.findings, "witness", "equal", "differs") for result in results],
        ),
        (
            Ground.MACHINE_ROOTS,
            "That the roots recorded as installed on the machine were.",
            [bool(exhibit.evidence.machine_roots) for exhibit in exhibits],
        ),
    ]
    for ground, summary, concerned in grounds:
        names = tuple(e.case.endpoint.name for e, is_so in zip(exhibits, concerned, strict=True) if is_so)
        if names:
            yield Word(ground=ground, summary=summary, endpoints=names)
    if any(isinstance(part.content, PortalObservation | Dates) for part in bundle.parts):
        yield Word(
            ground=Ground.CONTROL_REQUESTS,
            summary="What control requests over plain HTTP were answered; nothing of that is signed by anybody.",
        )


def _expects(evidence: RecordedEndpoint) -> bool:
    bare = Expected(host=evidence.expected.host, port=evidence.expected.port, category=evidence.expected.category)
    return evidence.expected != bare


def _has(findings: Sequence[Finding], check: str, *outcomes: str) -> bool:
    return any(f.check == check and f.outcome in outcomes for f in findings)


__all__ = [
    "Conclusion",
    "EndpointCheck",
    "Ground",
    "KeyCheck",
    "Material",
    "NetworkCheck",
    "PartCheck",
    "SignatureState",
    "Verification",
    "Word",
    "verification_schema",
    "verify",
]
