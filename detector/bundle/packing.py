"""From what was observed to a bundle: which facts go into which part, and what is left out for good.

Room: bundle. Pure but for the salts, which come from the operating system unless given.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from detector.errors import BundleError
from detector.judge import network
from detector.model import MachineRoot, encode
from detector.trust import witness_statement

from . import form
from .form import (
    AnswerLeftOut,
    CarriedPart,
    Circumstances,
    Claim,
    Dates,
    Expected,
    Journey,
    Look,
    Manifest,
    NetworkClaim,
    PartEntry,
    PartKind,
    RecordedEndpoint,
    Vantage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Observation, Report, Result
    from detector.trust.roots import Root

    from .form import Content


class _Piece(NamedTuple):
    """A part before it has a salt."""

    name: str
    kind: PartKind
    content: Content


def pack(
    report: Report,
    cases: Sequence[EndpointEvidence],
    *,
    keys: Sequence[Ed25519PrivateKey] = (),
    salts: Callable[[int], bytes] = secrets.token_bytes,
) -> bytes:
    """The evidence bundle of a report: everything `verify` needs to reach its verdicts again, and nothing else.

    `cases` are those that `report` judged, in the order of its results (`Detector.observe`, then `Detector.judge`).
    Each of `keys` signs; without one nobody vouches for the bundle. `salts` gives that many random octets; it is an
    argument for tests alone, because a salt that can be guessed gives away what was taken out, and nothing shows it.

    Raises `BundleError` for cases that are not the report's, or more evidence than a bundle holds.
    """
    if [r.endpoint.name for r in report.results] != [case.endpoint.name for case in cases]:
        raise BundleError(
            "The report and the observations are not about the same endpoints.",
            advice="Pack the cases that the report was judged from, in their order.",
        )
    if not cases or len(cases) > form.ENDPOINTS_MAX:
        raise BundleError(
            f"A bundle holds the evidence on 1 to {form.ENDPOINTS_MAX} endpoints, not {len(cases)}.",
            advice="Check that many at once.",
        )
    parts, entries = [], []
    for piece in _pieces(report, cases):
        part = CarriedPart(name=piece.name, salt=_spell(salts(form.SALT_BYTES)), content=encode(piece.content).decode())
        parts.append(part)
        entries.append(PartEntry(name=piece.name, kind=piece.kind, sha256=part.sha256))
    manifest = Manifest(
        schema_version=form.SCHEMA_VERSION,
        detector_version=report.detector_version,
        started=report.started,
        finished=report.finished,
        claimed=_network_claim(report),
        knowledge=report.knowledge,
        parts=tuple(entries),
    )
    data = form.write(form.seal(manifest, parts, keys))
    form.read(data)  # what could not be read again is refused here, where it can be done otherwise
    return data


def _spell(salt: bytes) -> str:
    """Base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(salt).rstrip(b"=").decode("ascii")


def _pieces(report: Report, cases: Sequence[EndpointEvidence]) -> Iterator[_Piece]:
    context = cases[0].context
    for number, (result, case) in enumerate(zip(report.results, cases, strict=True), start=1):
        yield _Piece(f"{PartKind.ENDPOINT}-{number}", PartKind.ENDPOINT, _evidence(result, case))
        yield _Piece(f"{PartKind.CIRCUMSTANCES}-{number}", PartKind.CIRCUMSTANCES, _circumstances(case))
    if context.portal is not None:
        yield _Piece(PartKind.PORTAL, PartKind.PORTAL, context.portal)
    if context.dates:
        yield _Piece(PartKind.DATES, PartKind.DATES, Dates(dates=context.dates))
    yield _Piece(PartKind.VANTAGE, PartKind.VANTAGE, Vantage(vantage=report.vantage))


def _evidence(result: Result, case: EndpointEvidence) -> RecordedEndpoint:
    return RecordedEndpoint(
        expected=_expected(case),
        at=case.context.at,
        looks=tuple(_look(seen, case.endpoint.witness) for seen in (case.observation, *case.others)),
        fetched=case.fetched,
        machine_roots=tuple(MachineRoot(der=root.certificate.der, origin=root.origin) for root in _machine_roots(case)),
        claimed=Claim.of(result),
    )


def _expected(case: EndpointEvidence) -> Expected:
    endpoint, context = case.endpoint, case.context
    leaf_keys = {one.leaf_key for one in (case, *case.siblings) if one.leaf_key is not None}
    return Expected(
        **{name: getattr(endpoint, name) for name in form.OF_ENDPOINT},
        address_given=endpoint.address is not None or endpoint.name in context.given,
        seen_before=endpoint.name in context.seen_before,
        shared_pins=tuple(sorted(key for key in leaf_keys if key in context.shared_pins)),
    )


def _look(observation: Observation, witness_keys: tuple[bytes, ...]) -> Look:
    own = ("chain", "witness", "answer_left_out")
    facts = {name: getattr(observation, name) for name in Look.__struct_fields__ if name not in own}
    witness, why = observation.witness, None
    if witness is not None and witness.body:
        why = _reason_to_leave_out(witness.body, witness_keys)
        if why is not None:
            witness = msgspec.structs.replace(witness, body=b"")
    return Look(**facts, chain=tuple(c.der for c in observation.chain), witness=witness, answer_left_out=why)


def _reason_to_leave_out(body: bytes, witness_keys: tuple[bytes, ...]) -> AnswerLeftOut | None:
    """Why a witness's answer must not be recorded: it names the machine that asked, or may be anything."""
    statement = witness_statement.read(body, keys=witness_keys).statement
    if statement is None:
        return AnswerLeftOut.NOT_SIGNED
    harmless = all(
        not value or name.lower() in witness_statement.NAMES_A_PROXY for name, value in statement.proxy_headers
    )
    return None if statement.peer is None and harmless else AnswerLeftOut.NAMES_THE_CLIENT


def _circumstances(case: EndpointEvidence) -> Circumstances:
    hashes = (root.certificate.sha256 for root in _machine_roots(case))
    times = {sha256: case.context.installed_at(sha256) for sha256 in hashes}
    return Circumstances(
        journeys=tuple(_journey(seen) for seen in (case.observation, *case.others)),
        installed_at={sha256.hex(): time for sha256, time in times.items() if time is not None},
    )


def _journey(observation: Observation) -> Journey:
    return Journey(**{name: getattr(observation, name) for name in Journey.__struct_fields__})


def _machine_roots(case: EndpointEvidence) -> tuple[Root, ...]:
    """The roots of the machine that a verified path ends in: of the others nothing is anybody's business."""
    paths = (path for one in (case, *case.siblings) for path in one.machine_paths)
    anchors = (path.anchor for path in paths if path.anchor is not None)
    return tuple({anchor.certificate.sha256: anchor for anchor in anchors}.values())


def _network_claim(report: Report) -> NetworkClaim:
    """What the report says of the network. Who was asked for by name is not in it; that it mattered can be told."""
    without_names = network.decide_network(report.results)
    return NetworkClaim(
        verdict=report.verdict,
        confidence=report.confidence,
        scope=report.scope,
        inconclusive_counts=report.verdict is not without_names.verdict,
    )
