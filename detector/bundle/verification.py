"""Assesses a bundle again: from the raw bytes in it, never from what it claims.

Room: bundle. Pure: time, roots, logs, pins and keys are arguments.

Theory of operation
===================
Three questions are kept apart, because each rests on a different kind of proof:

1. Is it what was signed? Every signature in the envelope must verify, every part must have the digest in the manifest,
   and if keys are given, one of them must have signed.
2. Does the verdict follow from the evidence? Certificates, handshake signature and the witness's answer are read,
   checked and assessed again as if they had just arrived, at the recorded time, with the reader's own roots and logs.
   The result is compared with the claims. `key_proved` is not believed where a recorded handshake signature
   contradicts it: then the endpoint is assessed as if its key had not been proved, and the bundle does not hold.
3. Which claims cannot be verified from the bundle alone? Those are listed (`Claimed`), never hidden in a verdict.

The conclusion is the first matching row:

===========================================================================================  ==================
finding                                                                                      conclusion
===========================================================================================  ==================
a wrong signature; a changed part; a handshake that contradicts the record; another verdict  fails
another verdict, and the recorder had other roots, logs, catalogue or rules                  assessed-otherwise
the same verdict for another reason, by the reader's own pins, but not a network's verdict   assessed-otherwise
that does not follow from what was claimed of its endpoints
evidence was removed; nobody known asserts an unverifiable proof of a key                    incomplete
no key that the reader gave signed it                                                        not-vouched
none of these                                                                                holds
===========================================================================================  ==================

Another verdict is `incomplete` instead where removed evidence may be the reason. Without a key of the reader's own a
bundle never holds: anyone can change a part, write its digest into the manifest, and take the signatures off.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from detector.aio.lazy import LazyModule
from detector.judge import assess, network
from detector.judge.checks import witness
from detector.judge.evidence import Context, EndpointEvidence
from detector.judge.network_evidence import CLOCK_TOLERANCE
from detector.judge.recorded import KeyEvidence, believed, key_evidence, proved
from detector.judge.table import RULE_OF
from detector.judge.wording import state
from detector.knowledge import data_set
from detector.knowledge.age import CHANGES, describe, used
from detector.model import (
    Endpoint,
    EndpointName,
    Knowledge,
    KnowledgeKind,
    Observation,
    PortalObservation,
    Record,
    Report,
    normalize_schema,
)
from detector.model.record import Moment  # noqa: TC001 - msgspec reads the annotations at run time
from detector.pins import shared_pins
from detector.trust.certificate import Certificate
from detector.trust.envelope import key_identifier
from detector.trust.roots import from_recorded
from detector.version import VERSION

from .form import (
    AnswerLeftOut,
    Circumstances,
    Claim,
    Connection,
    Dates,
    Expected,
    NetworkClaim,
    Part,
    PartKind,
    PartState,
    RecordedEndpoint,
    RouteDetails,
    Vantage,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.knowledge.data_set import DataSource
    from detector.model import Attribution, Result
    from detector.trust import timestamp as timestamps
    from detector.trust.ct_logs import LogList
    from detector.trust.envelope import Signer
    from detector.trust.roots import Roots

    from .form import Bundle
else:
    timestamps = LazyModule("detector.trust.timestamp")  # the extra `timestamp`


class Conclusion(enum.StrEnum):
    """Whether a bundle holds."""

    HOLDS = "holds"
    NOT_VOUCHED = "not-vouched"
    INCOMPLETE = "incomplete"
    ASSESSED_OTHERWISE = "assessed-otherwise"
    FAILS = "fails"


class SignatureState(enum.StrEnum):
    """Whether a key that the reader gave has signed."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    BAD = "bad"


class Unverifiable(enum.StrEnum):
    """Kinds of claims that cannot be verified from the bundle alone."""

    CAPTURE = "capture"
    TIME = "time"
    EXPECTATIONS = "expectations"
    KEY_POSSESSION = "key-possession"
    WITNESS_BINDING = "witness-binding"
    MACHINE_ROOTS = "machine-roots"
    CONTROL_REQUESTS = "control-requests"


class Reliance(enum.StrEnum):
    """What an assessment rests on: also on what only the recorder says, or on the recorded bytes alone.

    Only the recorder says what was expected of an endpoint, that an address was given, that an endpoint was seen as
    genuine before, that a key was proved where no signature can be checked, which channel binding its end of a
    witnessed session had, and that a handshake carried no timestamps.
    """

    RECORDER = "recorder"
    BYTES = "bytes"


class TimestampState(enum.StrEnum):
    """What a timestamp in a bundle shows.

    `trusted`: an authority below a root that the reader gave says that the manifest existed by then. `not-checked`: the
    reader gave no such root. `refused`: it shows nothing.
    """

    TRUSTED = "trusted"
    NOT_CHECKED = "not-checked"
    REFUSED = "refused"


class TimestampCheck(Record, frozen=True, kw_only=True):
    """One timestamp: `time` and `authority` where it is trusted, `problem` where it is refused."""

    state: TimestampState
    time: Moment | None = None
    authority: str = ""
    problem: str = ""


class Claimed(Record, frozen=True, kw_only=True):
    """One claim that cannot be verified, in a sentence, and the endpoints it matters for."""

    ground: Unverifiable
    summary: str
    endpoints: tuple[str, ...] = ()


class KeyCheck(Record, frozen=True, kw_only=True):
    """One signature in the envelope. `key` is `ed25519/<base64>`, `given` is whether the reader gave it."""

    key: str
    verifies: bool
    given: bool


class PartCheck(Record, frozen=True, kw_only=True):
    """One part: whether it is what the manifest lists, and the endpoint it is about, if known."""

    name: str
    kind: PartKind
    state: PartState
    endpoint: str | None = None


class EndpointCheck(Record, frozen=True, kw_only=True):
    """One endpoint: the claim, the new assessment, their differences, and how its key was proved."""

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
    """The network: the claim, and the new assessment from the endpoints that are present."""

    claimed: NetworkClaim
    judged: NetworkClaim
    same: bool


class Material(Record, frozen=True, kw_only=True):
    """What the recorder assessed with; `others` are the kinds of knowledge of which the reader used another.

    Pins of vendors are not among them: what they state of an endpoint is recorded.
    """

    detector_version: str
    same_version: bool
    knowledge: tuple[Knowledge, ...]
    others: tuple[KnowledgeKind, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the reader assessed with anything else, so that another verdict may be right on both sides."""
        return any(kind in CHANGES for kind in self.others) or not self.same_version


class Verification(Record, frozen=True, kw_only=True):
    """A bundle, assessed again.

    `reasons` says why it does not hold, `words` are the claims that cannot be verified, `report` is the assessment of
    the evidence now.
    """

    conclusion: Conclusion
    reasons: tuple[str, ...] = ()
    signature: SignatureState
    signatures: tuple[KeyCheck, ...] = ()
    timestamps: tuple[TimestampCheck, ...] = ()
    parts: tuple[PartCheck, ...]
    endpoints: tuple[EndpointCheck, ...]
    network: NetworkCheck
    recorded: Material
    words: tuple[Claimed, ...] = ()
    report: Report

    @property
    def holds(self) -> bool:
        """Whether it is what a key of the reader's signed, and the claims follow from the evidence."""
        return self.conclusion is Conclusion.HOLDS


class Recorded(NamedTuple):
    """One recorded endpoint, ready to be assessed; `as_recorded`: against what the recorder expected of it.

    `observations` are unchanged, those of `evidence` only claim what is believed.
    """

    part: str
    record: RecordedEndpoint
    observations: tuple[Observation, ...]
    evidence: EndpointEvidence
    key: KeyEvidence
    as_recorded: bool


def verify(  # noqa: PLR0913 - keyword-only past the bundle; each is one thing the reader brings
    data: bytes,
    *,
    keys: Sequence[bytes] = (),
    roots: Roots | None = None,
    logs: LogList | None = None,
    known: DataSource | None = None,
    pins: Sequence[Endpoint] = (),
    authorities: Roots | None = None,
    at: dt.datetime | None = None,
) -> Verification:
    """Assess a bundle again.

    Args:
        data: the file.
        keys: Ed25519 public keys (32 bytes) of which one must have signed; without any, signatures are reported but
            none is trusted, and nothing holds.
        roots: public roots; by default the data set's. The bundle only names those of the recorder.
        logs: CT logs; by default the data set's.
        known: what is known beforehand: a data set, a folder of installed ones, or `shipped`; by default the user's
            own folder, or else what the package ships.
        pins: endpoints of the reader's own pin file, used instead of the recorded expectations.
        authorities: roots of time-stamping authorities that are believed; without any, no timestamp is.
        at: an aware time, used instead of the recorded one.

    Raises:
        BundleError: for a file that is not a bundle. Everything wrong with a bundle is in the result.
        MissingExtraError: for `authorities` without the extra `timestamp`.
    """
    bundle = read(data)
    known = data_set.read(known)
    roots = known.public_roots() if roots is None else roots
    logs = known.logs if logs is None else logs
    now = Context(at=bundle.manifest.started, data=known, roots=roots, logs=logs)
    endpoints = tuple(recorded_endpoints(bundle, now, pins, at=at))
    results = assess.assess_all([one.evidence for one in endpoints])
    report = _report(bundle, endpoints, results, now)
    where_is_known = not any(p.content is None and p.entry.kind in _SAYS_WHERE for p in bundle.parts)
    checks = tuple(
        _endpoint_check(one, result, where_is_known=where_is_known)
        for one, result in zip(endpoints, results, strict=True)
    )
    manifest = bundle.manifest
    assessed = NetworkClaim(
        verdict=report.verdict,
        confidence=report.confidence,
        scope=report.scope,
        inconclusive_counts=manifest.claimed.inconclusive_counts,
    )
    network = NetworkCheck(claimed=manifest.claimed, judged=assessed, same=manifest.claimed == assessed)
    signature = _signature_state(bundle.signers, keys)
    names = {one.part: one.evidence.endpoint.name for one in endpoints}
    here = {part.kind: part.sha256 for part in used(roots, logs, known)}
    recorded = Material(
        detector_version=manifest.detector_version,
        same_version=manifest.detector_version == VERSION,
        knowledge=manifest.knowledge,
        others=tuple(part.kind for part in manifest.knowledge if part.kind in here and here[part.kind] != part.sha256),
    )
    stamps = tuple(_timestamp(response, bundle.payload, authorities) for response in bundle.file.timestamps)
    own_pins = not all(one.as_recorded for one in endpoints)
    same_verdicts = all(check.claimed.verdict is check.judged.verdict for check in checks)
    follows = _follows(manifest.claimed, endpoints, results)
    may_differ = recorded.differs or (own_pins and same_verdicts and follows)
    otherwise = Conclusion.ASSESSED_OTHERWISE if may_differ else Conclusion.FAILS
    found = (
        *((Conclusion.FAILS, reason) for reason in _failures(bundle, checks)),
        *((otherwise, reason) for reason in _other_verdicts(bundle, checks, network, follows=follows)),
        *((Conclusion.INCOMPLETE, reason) for reason in _gaps(bundle, checks, network, signature)),
        *((Conclusion.INCOMPLETE, reason) for reason in _too_early(manifest.finished, stamps)),
        *((Conclusion.NOT_VOUCHED, reason) for reason in _no_given_key(signature, keys)),
    )
    hints = _hints(recorded, own_pins=own_pins) if any(check.differences for check in checks) else ()
    return Verification(
        conclusion=next((conclusion for conclusion, _ in found), Conclusion.HOLDS),
        reasons=(*(reason for _, reason in found), *hints),
        signature=signature,
        signatures=tuple(
            KeyCheck(key=key_identifier(signer.key), verifies=signer.verifies, given=signer.key in keys)
            for signer in bundle.signers
        ),
        timestamps=stamps,
        parts=tuple(
            PartCheck(name=p.entry.name, kind=p.entry.kind, state=p.state, endpoint=names.get(f"endpoint-{p.number}"))
            for p in bundle.parts
        ),
        endpoints=checks,
        network=network,
        recorded=recorded,
        words=tuple(_unverifiable(bundle, endpoints, results, signature, stamps)),
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
"""Kinds of parts that say where an interceptor is; all of them are needed."""


# Assessing


def recorded_endpoints(
    bundle: Bundle,
    now: Context,
    pins: Sequence[Endpoint] = (),
    *,
    at: dt.datetime | None = None,
    reliance: Reliance = Reliance.RECORDER,
) -> Iterator[Recorded]:
    """Yield the endpoints of a bundle, ready to be assessed; `pins` and `at` as in `verify`."""
    contents = {part.entry.name: part.content for part in bundle.parts}
    portal = contents.get(PartKind.PORTAL)
    dates = contents.get(PartKind.DATES)
    now = now._replace(
        portal=portal if isinstance(portal, PortalObservation) else None,
        dates=dates.dates if isinstance(dates, Dates) else (),
    )
    own = {(e.host, e.port): e for e in pins}
    shared = shared_pins(pins)
    for part in bundle.parts:
        if not isinstance(part.content, RecordedEndpoint):
            continue
        circumstances = contents.get(f"{PartKind.CIRCUMSTANCES}-{part.number}")
        where = circumstances if isinstance(circumstances, Circumstances) else Circumstances()
        expected = part.content.expected
        endpoint = own.get((expected.host, expected.port))
        context = now._replace(at=part.content.at if at is None else at, shared_pins=shared)
        yield recorded_endpoint(part.content, where, context, part=part.entry.name, own=endpoint, reliance=reliance)


def recorded_endpoint(  # noqa: PLR0913 - keyword-only past the record; each is one thing that it is assessed with
    record: RecordedEndpoint,
    where: Circumstances,
    now: Context,
    *,
    part: str = "",
    own: Endpoint | None = None,
    reliance: Reliance = Reliance.RECORDER,
) -> Recorded:
    """Return one recorded endpoint, ready to be assessed in the context `now`, with the reader's `own` expectations."""
    expected, relied_on = record.expected, reliance is Reliance.RECORDER
    endpoint = own or (
        expected.endpoint if relied_on else Endpoint(host=expected.host, port=expected.port, category=expected.category)
    )
    context = now._replace(
        machine_roots=lambda: from_recorded(record.machine_roots, name="recorded machine roots"),
        installed_at=lambda sha256: where.installed_at.get(sha256.hex()),
    )
    if relied_on:
        context = context._replace(
            given=(expected.name,) if expected.address_given else (),
            shared_pins=expected.shared_pins if own is None else now.shared_pins,
            seen_before=(expected.name,) if expected.seen_before else (),
        )
    observations = tuple(_observations(record.looks, where))
    key = min(map(key_evidence, observations), key=_WORST_FIRST.index)
    first, *others = map(believed if relied_on else proved, observations)
    evidence = EndpointEvidence(endpoint, first, context, record.fetched, others)
    return Recorded(part, record, observations, evidence, key, own is None and relied_on)


def _observations(connections: Sequence[Connection], where: Circumstances) -> Iterator[Observation]:
    """The observations as recorded; without route details where the circumstances were removed."""
    own = {"chain", "answer_left_out"}
    for connection, details in zip(connections, chain(where.journeys, repeat(RouteDetails())), strict=False):
        facts = {name: getattr(connection, name) for name in Connection.__struct_fields__ if name not in own}
        presented = tuple(Certificate.read(der).presented() for der in connection.chain)
        yield Observation(**facts, **msgspec.structs.asdict(details), chain=presented)


def _report(bundle: Bundle, endpoints: Sequence[Recorded], results: Sequence[Result], now: Context) -> Report:
    manifest = bundle.manifest
    vantage = next((part.content for part in bundle.parts if isinstance(part.content, Vantage)), Vantage(vantage=""))
    context = endpoints[0].evidence.context if endpoints else now
    named = {one.evidence.endpoint.name for one in endpoints} if manifest.claimed.inconclusive_counts else ()
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


def _endpoint_check(recorded: Recorded, result: Result, *, where_is_known: bool) -> EndpointCheck:
    claimed, assessed = recorded.record.claimed, Claim.of(result)
    return EndpointCheck(
        part=recorded.part,
        endpoint=result.endpoint,
        claimed=claimed,
        judged=assessed,
        differences=tuple(_differences(claimed, assessed, where_is_known=where_is_known)),
        key=recorded.key,
        witness=next((f.outcome for f in result.findings if f.check == witness.ID), None),
        answer_left_out=next((one.answer_left_out for one in recorded.record.looks if one.answer_left_out), None),
    )


def _differences(claimed: Claim, assessed: Claim, *, where_is_known: bool) -> Iterator[str]:
    """The fields in which two claims differ; the wording of an attribution does not count."""
    for name in Claim.__struct_fields__:
        if name != "attribution" and getattr(claimed, name) != getattr(assessed, name):
            yield name
    one, other = _who(claimed.attribution), _who(assessed.attribution)
    for name in {**one, **other}:
        if one.get(name) != other.get(name) and (where_is_known or name != "locality"):
            yield f"attribution.{name}"


def _who(attribution: Attribution | None) -> dict[str, object]:
    if attribution is None:
        return {}
    return {name: getattr(attribution, name) for name in attribution.__struct_fields__ if name != "basis"}


def _signature_state(signers: Sequence[Signer], keys: Sequence[bytes]) -> SignatureState:
    if not signers:
        return SignatureState.UNSIGNED
    if not all(signer.verifies for signer in signers):
        return SignatureState.BAD
    return SignatureState.SIGNED if any(s.key in keys for s in signers) else SignatureState.UNKNOWN_KEY


# Concluding


def _missing(bundle: Bundle) -> list[Part]:
    """Parts that a verdict can rest on and that were removed."""
    return [part for part in bundle.parts if part.state is PartState.REDACTED and _decides(part, bundle)]


def _decides(part: Part, bundle: Bundle) -> bool:
    """Whether a verdict can rest on this part.

    It can rest on circumstances only where several connections to one endpoint are compared by where they led.
    """
    if part.entry.kind is not PartKind.CIRCUMSTANCES:
        return part.entry.kind in _DECIDES
    record = next((p.content for p in bundle.parts if p.entry.name == f"{PartKind.ENDPOINT}-{part.number}"), None)
    return isinstance(record, RecordedEndpoint) and len(record.looks) > 1


def _excused(check: EndpointCheck, bundle: Bundle) -> bool:
    """Whether evidence that was removed, or never fully assessed, may be why another verdict was reached."""
    left_out = check.answer_left_out is AnswerLeftOut.NAMES_THE_CLIENT
    # An address may be missing with the circumstances; a private one makes several rules less certain.
    removed = any(p.state is PartState.REDACTED and p.entry.kind is PartKind.CIRCUMSTANCES for p in bundle.parts)
    return bool(_missing(bundle)) or left_out or not RULE_OF[check.claimed.reason].is_repeatable or removed


def _failures(bundle: Bundle, checks: Sequence[EndpointCheck]) -> Iterator[str]:
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


def _follows(claim: NetworkClaim, endpoints: Sequence[Recorded], results: Sequence[Result]) -> bool:
    """Whether what was claimed of the network is what the claims on its endpoints give, whatever the evidence gives."""
    tally = network.Tally()
    for one, result in zip(endpoints, results, strict=True):
        endpoint = EndpointName(**{name: getattr(one.record.expected, name) for name in _NAMING})
        said = one.record.claimed
        claimed = msgspec.structs.replace(result, endpoint=endpoint, verdict=said.verdict, confidence=said.confidence)
        tally.add(claimed, named=claim.inconclusive_counts)
    given = tally.decision()
    return (claim.verdict, claim.confidence, claim.scope) == (given.verdict, given.confidence, given.scope)


def _other_verdicts(
    bundle: Bundle, checks: Sequence[EndpointCheck], network: NetworkCheck, *, follows: bool
) -> Iterator[str]:
    """Verdicts that differ although all evidence is there."""
    for check in checks:
        if check.differences and not _excused(check, bundle):
            yield f"{check.endpoint.name}: {_comparison(check)}."
    evidence_complete = not any(part.content is None and _decides(part, bundle) for part in bundle.parts)
    if evidence_complete and not network.same and (not follows or all(check.same for check in checks)):
        yield f"The network was called {_text(network.claimed)}; its endpoints give {_text(network.judged)}."


def _no_given_key(signature: SignatureState, keys: Sequence[bytes]) -> Iterator[str]:
    """Why no key of the reader's own shows that this is what was recorded."""
    if signature is SignatureState.UNSIGNED:
        yield "It is not signed."
    if signature is SignatureState.UNKNOWN_KEY:
        yield (
            "It is signed, but by no key that was given." if keys else "It is signed, but no key was given to check by."
        )


def _gaps(
    bundle: Bundle, checks: Sequence[EndpointCheck], network: NetworkCheck, signature: SignatureState
) -> Iterator[str]:
    missing = _missing(bundle)
    if missing:
        names = ", ".join(part.entry.name for part in missing)
        yield f"Evidence was removed ({names}): what the endpoints show together cannot be fully assessed again."
    for check in checks:
        name = check.endpoint.name
        if check.key is KeyEvidence.WORD and signature is not SignatureState.SIGNED:
            yield f"{name}: that the peer held the presented key cannot be verified, and no known key signed the claim."
        if check.answer_left_out is AnswerLeftOut.NAMES_THE_CLIENT:
            yield f"{name}: the witness's answer was left out, because it names the machine that asked."
        if check.differences and _excused(check, bundle):
            yield f"{name}: {_comparison(check)}; the removed evidence may be why."
    if not network.same and missing:
        yield f"The network was called {_text(network.claimed)}; what is left gives {_text(network.judged)}."


def _hints(recorded: Material, *, own_pins: bool) -> Iterator[str]:
    """Innocent reasons for another verdict."""
    if own_pins:
        yield "Your own pins were used instead of the recorded ones; leave them out to compare."
    for part in recorded.knowledge:
        if part.kind in recorded.others and part.kind in CHANGES:
            yield f"The recorder used other knowledge ({describe([part])}); use the same to compare."
    if not recorded.same_version:
        yield f"The recorder was another version ({recorded.detector_version}); its rules may have been different."


def _comparison(check: EndpointCheck) -> str:
    claimed, assessed = check.claimed, check.judged
    return (
        f"claimed {_text(claimed)} ({_because(claimed)}), assessed again {_text(assessed)} ({_because(assessed)}); "
        f"they differ in {', '.join(check.differences)}"
    )


def _because(claim: Claim) -> str:
    return RULE_OF[claim.reason].why.rstrip(".")


def _text(claim: Claim | NetworkClaim) -> str:
    sure = "" if claim.confidence is None else f" ({claim.confidence})"
    return f"{state(claim.verdict, claim.confidence)}{sure}"


def _timestamp(response: bytes, payload: bytes, authorities: Roots | None) -> TimestampCheck:
    if authorities is None:
        return TimestampCheck(state=TimestampState.NOT_CHECKED)
    try:
        stamp = timestamps.examine(response, payload, authorities)
    except timestamps.NoTimestampError as error:
        return TimestampCheck(state=TimestampState.REFUSED, problem=str(error))
    return TimestampCheck(state=TimestampState.TRUSTED, time=stamp.time, authority=stamp.authority)


def _earliest(stamps: Sequence[TimestampCheck]) -> TimestampCheck | None:
    """The trusted timestamp with the earliest time: the one that says most."""
    trusted = {stamp.time: stamp for stamp in stamps if stamp.time is not None}
    return trusted[min(trusted)] if trusted else None


def _too_early(finished: dt.datetime, stamps: Sequence[TimestampCheck]) -> Iterator[str]:
    """A manifest that existed well before its own time: it was assessed at a time that had not come."""
    stamp = _earliest(stamps)
    if stamp is not None and stamp.time is not None and finished - stamp.time > CLOCK_TOLERANCE:
        yield (
            f"It says that it was finished at {_moment(finished)}, and existed by {_moment(stamp.time)} "
            f"({stamp.authority}): the recorder's clock was wrong, and certificates were assessed by it."
        )


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _unverifiable(
    bundle: Bundle,
    endpoints: Sequence[Recorded],
    results: Sequence[Result],
    signature: SignatureState,
    stamps: Sequence[TimestampCheck],
) -> Iterator[Claimed]:
    """The claims that cannot be verified. Nothing in a bundle says who was where when."""
    asserted = "the signer asserts it" if signature is SignatureState.SIGNED else "nobody known asserts it"
    yield Claimed(
        ground=Unverifiable.CAPTURE,
        summary=f"That these bytes were captured on one network, and not assembled: {asserted}. A TLS 1.3 signature "
        "shows that the key's holder made a handshake, not which one.",
    )
    started, stamp = _moment(bundle.manifest.started), _earliest(stamps)
    if stamp is None or stamp.time is None:
        when = f"That it was {started}: the recorder's clock."
    else:
        when = (
            f"That it was not before {started}: the recorder's clock. It was not later than {_moment(stamp.time)}: "
            f"{stamp.authority} says so."
        )
    yield Claimed(ground=Unverifiable.TIME, summary=when)
    bare = {one.part: Expected(**{name: getattr(one.record.expected, name) for name in _NAMING}) for one in endpoints}
    claims: tuple[tuple[Unverifiable, str, list[bool]], ...] = (
        (
            Unverifiable.EXPECTATIONS,
            "That these pins, roots, witness keys and identities are what was known of the endpoint.",
            [one.as_recorded and one.record.expected != bare[one.part] for one in endpoints],
        ),
        (
            Unverifiable.KEY_POSSESSION,
            "That the peer held the presented key: there is no signature to check, as with plain RSA key exchange.",
            [one.key is KeyEvidence.WORD for one in endpoints],
        ),
        (
            Unverifiable.WITNESS_BINDING,
            "Which channel binding this end of the session had. What the witness signed was checked again.",
            [any(f.check == witness.ID and f.outcome in _BOUND for f in result.findings) for result in results],
        ),
        (
            Unverifiable.MACHINE_ROOTS,
            "That the roots recorded as installed on the machine were.",
            [bool(one.record.machine_roots) for one in endpoints],
        ),
    )
    for basis, summary, concerned in claims:
        names = tuple(one.evidence.endpoint.name for one, is_so in zip(endpoints, concerned, strict=True) if is_so)
        if names:
            yield Claimed(ground=basis, summary=summary, endpoints=names)
    if any(isinstance(part.content, PortalObservation | Dates) for part in bundle.parts):
        yield Claimed(
            ground=Unverifiable.CONTROL_REQUESTS,
            summary="What control requests over plain HTTP were answered; none of that is signed.",
        )


_NAMING: Final = ("host", "port", "category")
_BOUND: Final = (witness.Outcome.EQUAL, witness.Outcome.DIFFERS)
"""Answers of a witness that compare channel bindings."""
