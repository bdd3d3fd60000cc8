"""Makes a bundle from observations: which facts go into which part, and what is never recorded.

Room: bundle. Pure except for the salts, which come from the operating system unless given.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

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
    Connection,
    Dates,
    Expected,
    Manifest,
    NetworkClaim,
    PartEntry,
    PartKind,
    RecordedEndpoint,
    RouteDetails,
    Vantage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Observation, Report, Result
    from detector.trust.roots import Root

    from .form import Content


def pack(
    report: Report,
    evidence: Sequence[EndpointEvidence],
    *,
    keys: Sequence[Ed25519PrivateKey] = (),
    salts: Callable[[int], bytes] = secrets.token_bytes,
) -> bytes:
    """The evidence bundle of a report: everything `verify` needs to reach its verdicts again, and nothing else.

    Args:
        report: the report.
        evidence: what the report was assessed from, in the order of its results.
        keys: private keys, each of which signs.
        salts: returns that many random bytes. For tests alone: a salt that can be guessed reveals removed parts.

    Raises:
        BundleError: for evidence that is not the report's, or more than a bundle holds.
    """
    if [r.endpoint.name for r in report.results] != [one.endpoint.name for one in evidence]:
        raise BundleError(
            "The report and the observations are not about the same endpoints.",
            advice="Pack the evidence that the report was assessed from, in its order.",
        )
    if not evidence or len(evidence) > form.ENDPOINTS_MAX:
        raise BundleError(
            f"A bundle holds the evidence on 1 to {form.ENDPOINTS_MAX} endpoints, not {len(evidence)}.",
            advice="Check that many at once.",
        )
    parts, entries = [], []
    for name, kind, content in _contents(report, evidence):
        salt = base64.urlsafe_b64encode(salts(form.SALT_BYTES)).rstrip(b"=").decode()  # RFC 4648 section 5, no padding
        part = CarriedPart(name=name, salt=salt, content=encode(content).decode())
        parts.append(part)
        entries.append(PartEntry(name=name, kind=kind, sha256=part.sha256))
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
    form.read(data)  # refuse here what could not be read again
    return data


def _contents(report: Report, evidence: Sequence[EndpointEvidence]) -> Iterator[tuple[str, PartKind, Content]]:
    context = evidence[0].context
    for number, (result, one) in enumerate(zip(report.results, evidence, strict=True), start=1):
        yield f"{PartKind.ENDPOINT}-{number}", PartKind.ENDPOINT, _endpoint(result, one)
        yield f"{PartKind.CIRCUMSTANCES}-{number}", PartKind.CIRCUMSTANCES, _circumstances(one)
    if context.portal is not None:
        yield PartKind.PORTAL, PartKind.PORTAL, context.portal
    if context.dates:
        yield PartKind.DATES, PartKind.DATES, Dates(dates=context.dates)
    yield PartKind.VANTAGE, PartKind.VANTAGE, Vantage(vantage=report.vantage)


def _endpoint(result: Result, evidence: EndpointEvidence) -> RecordedEndpoint:
    return RecordedEndpoint(
        expected=_expected(evidence),
        at=evidence.context.at,
        looks=tuple(connection(seen, evidence.endpoint.witness) for seen in (evidence.observation, *evidence.others)),
        fetched=evidence.fetched,
        machine_roots=tuple(
            MachineRoot(der=root.certificate.der, origin=root.origin) for root in _machine_roots(evidence)
        ),
        claimed=Claim.of(result),
    )


def _expected(evidence: EndpointEvidence) -> Expected:
    endpoint, context = evidence.endpoint, evidence.context
    leaf_keys = {one.leaf_key for one in (evidence, *evidence.siblings) if one.leaf_key is not None}
    return Expected(
        **{name: getattr(endpoint, name) for name in form.OF_ENDPOINT},
        address_given=endpoint.address is not None or endpoint.name in context.given,
        seen_before=endpoint.name in context.seen_before,
        shared_pins=tuple(sorted(key for key in leaf_keys if key in context.shared_pins)),
    )


def connection(observation: Observation, witness_keys: tuple[bytes, ...]) -> Connection:
    """What an observation recorded of its connection, without what may name the machine that made it.

    `witness_keys` are those of the endpoint's witnesses, one of which must have signed an answer for it to be recorded.
    """
    own = ("chain", "answer_left_out")
    facts = {name: getattr(observation, name) for name in Connection.__struct_fields__ if name not in own}
    return without_client(Connection(**facts, chain=tuple(c.der for c in observation.chain)), witness_keys)


def without_client(connection: Connection, witness_keys: tuple[bytes, ...]) -> Connection:
    """A connection without addresses of failed attempts, and without a witness's answer that may name the client."""
    earlier = tuple(msgspec.structs.replace(failed, address=None) for failed in connection.earlier)
    witness, why = connection.witness, connection.answer_left_out
    if witness is not None and witness.body:
        why = _reason_to_leave_out(witness.body, witness_keys)
        if why is not None:
            witness = msgspec.structs.replace(witness, body=b"")
    return msgspec.structs.replace(connection, earlier=earlier, witness=witness, answer_left_out=why)


def _reason_to_leave_out(body: bytes, witness_keys: tuple[bytes, ...]) -> AnswerLeftOut | None:
    """Why a witness's answer must not be recorded: it names the machine that asked, or is arbitrary data."""
    statement = witness_statement.read(body, keys=witness_keys).statement
    if statement is None:
        return AnswerLeftOut.NOT_SIGNED
    harmless = all(
        not value or name.lower() in witness_statement.NAMES_A_PROXY for name, value in statement.proxy_headers
    )
    return None if statement.peer is None and harmless else AnswerLeftOut.NAMES_THE_CLIENT


def _circumstances(evidence: EndpointEvidence) -> Circumstances:
    hashes = (root.certificate.sha256 for root in _machine_roots(evidence))
    times = {sha256: evidence.context.installed_at(sha256) for sha256 in hashes}
    return Circumstances(
        journeys=tuple(
            RouteDetails(**{name: getattr(seen, name) for name in RouteDetails.__struct_fields__})
            for seen in (evidence.observation, *evidence.others)
        ),
        installed_at={sha256.hex(): time for sha256, time in times.items() if time is not None},
    )


def _machine_roots(evidence: EndpointEvidence) -> tuple[Root, ...]:
    """The roots of the machine that a verified path ends in; no others are recorded."""
    paths = (path for one in (evidence, *evidence.siblings) for path in one.machine_paths)
    anchors = (path.anchor for path in paths if path.anchor is not None)
    return tuple({anchor.certificate.sha256: anchor for anchor in anchors}.values())


def _network_claim(report: Report) -> NetworkClaim:
    """What the report says of the network. It does not name the named endpoints, only whether naming mattered."""
    without_names = network.decide_network(report.results)
    return NetworkClaim(
        verdict=report.verdict,
        confidence=report.confidence,
        scope=report.scope,
        inconclusive_counts=report.verdict is not without_names.verdict,
    )
