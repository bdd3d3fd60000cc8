"""Makes what one submission presents ready to be shown: its chains, with the conclusions of the collector.

Room: detector_collect.review. Pure: bytes in, reports out. Never raises for what a submission holds.

Chains are read from the signed bytes. Verdicts are those of the collector's own assessment (`assessment.Detail`), never
those that the sender claims, nor any that are made here: what was held at possible is shown as possible.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.errors import BundleError
from detector.judge import assess, network
from detector.judge.checks import chain, dates, host_name, key_possession, known_interceptor, presented
from detector.knowledge import data_set
from detector.model import json_text
from detector.outbox.submission import PAYLOAD_TYPE, Submission, digest
from detector.trust.envelope import unseal
from detector.version import VERSION
from detector_collect.assessment import Detail, Material
from detector_collect.assessment.assess import recorded_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.model import Report, Result
    from detector_collect.assessment import EndpointDetail

    from .queries import Verification


class Presented(NamedTuple):
    """A report with the chains of a submission; without one `problem` says why."""

    report: Report | None
    problem: str = ""


def present(body: bytes, *, digest_hex: str, detail: Detail | None) -> Presented:
    """What a stored submission presents; `detail` is the collector's latest assessment of it."""
    unsealed = unseal(body, payload_type=PAYLOAD_TYPE)
    if unsealed.problem is not None or digest(unsealed.payload) != digest_hex:
        return Presented(
            None, "The stored bytes are not what the digest names: they were changed, or are of another form."
        )
    try:
        submission = json_text.decode(unsealed.payload, Submission)
        recorded = recorded_of(submission, _material())
    except (BundleError, ValueError):
        return Presented(None, "Its content cannot be read. Nothing of it counts as a finding.")
    if not recorded:
        return Presented(None, "It holds a claim and no chain that could be shown.")
    results = assess.assess_all([one.evidence for one in recorded])
    concluded = {} if detail is None else {(one.host, one.port): one for one in detail.endpoints}
    shown = [_concluded(result, concluded.get((result.endpoint.host, result.endpoint.port))) for result in results]
    return Presented(
        network.report(
            list(_known(shown)),
            recorded[0].evidence.context,
            started=submission.made,
            finished=submission.made,
            vantage="",
            version=VERSION,
            named=(),
        ),
        "" if any(shown) else "It was not assessed yet.",
    )


def detail_of(verifications: Sequence[Verification]) -> Detail | None:
    """The latest of these assessments; None without any, and where another version stored it in another form."""
    try:
        return msgspec.json.decode(verifications[0].detail, type=Detail) if verifications else None
    except msgspec.MsgspecError:
        return None


@functools.cache
def _material() -> Material:
    """Only what reads chains: conclusions come from elsewhere."""
    return Material(data_set.shipped(), ())


def _known(results: list[Result | None]) -> Iterator[Result]:
    return (result for result in results if result is not None)


def _concluded(result: Result, detail: EndpointDetail | None) -> Result | None:
    """The result with the collector's conclusion; None where it has none for this endpoint."""
    if detail is None:
        return None
    is_same = (result.verdict, result.reason) == (detail.verdict, detail.reason)
    return msgspec.structs.replace(
        result,
        verdict=detail.verdict,
        confidence=detail.confidence,
        reason=detail.reason,
        assurance=result.assurance if is_same else None,
        attribution=result.attribution if assess.names_a_party(detail.confidence) else None,
        alternatives=result.alternatives if is_same else (),
        findings=tuple(f for f in result.findings if is_same or f.check in _OF_THE_BYTES),
    )


_OF_THE_BYTES: Final = frozenset(
    {presented.ID, key_possession.ID, chain.ID, dates.ID, host_name.ID, known_interceptor.ID}
)
"""Checks whose findings follow from what was recorded alone. The others depend on what the collector knows of an
endpoint; where that led to another conclusion than the bytes alone, they would contradict it here."""
