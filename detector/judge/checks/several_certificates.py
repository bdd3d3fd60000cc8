"""Check `several-certificates`: whether other addresses of this host, or other key types, show other certificates.

It also counts the addresses and routes that were not probed.

Room: judge. Pure. Feeds no rule. A host behind a CDN has many certificates, one for each key type and often one for
each location. Whether another one excuses a pin mismatch is part of the check `pin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.compare import Comparison, compare
from detector.judge.outcome import CheckOutcome, Findings

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "several-certificates"
QUESTION: Final = "Are there other certificates of this host, and where do they lead?"

_SHOWN: Final = 16
"""Certificates listed in a finding."""


class Outcome(CheckOutcome, check=ID):
    """Whether the probes show one certificate, several genuine ones, or others; and whether some were left out."""

    ONE = "one", "Every probe was shown the same certificate."
    GENUINE = (
        "genuine",
        (
            "The probes were shown several certificates, all genuine: large services have one for each kind of key or "
            "location."
        ),
    )
    OTHER = (
        "other",
        "The probes were shown several certificates, not all genuine. The other findings say which of them matter.",
    )
    LEFT_OUT = (
        "left-out",
        "There were more addresses or routes than one run probes, or than its time allowed. Nothing is known of those.",
    )


_TEXT: Final[dict[Outcome, str]] = {
    Outcome.ONE: "All {count} probes show one certificate.",
    Outcome.GENUINE: "The host has several certificates, all of them genuine.",
    Outcome.OTHER: "The probes show several certificates, not all of them genuine.",
    Outcome.LEFT_OUT: "Further addresses or routes that were not probed, beyond the limits of one run or of its time: "
    "{count}.",
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding on what was compared, and one on what was left out; silent where there is neither."""
    left_out = sum(one.observation.left_out for one in (evidence, *evidence.siblings))
    if left_out:
        yield Outcome.LEFT_OUT.found(_TEXT[Outcome.LEFT_OUT].format(count=left_out), left_out=left_out)
    compared = [(other, compare(evidence, other)) for other in evidence.siblings]
    seen = {other: how for other, how in compared if how is not Comparison.NOT_COMPARABLE}
    if not seen:
        return
    found = set(seen.values())
    outcome = Outcome.OTHER
    if found == {Comparison.SAME}:
        outcome = Outcome.ONE
    elif found <= {Comparison.SAME, Comparison.BOTH_GENUINE}:
        outcome = Outcome.GENUINE
    different: dict[str, EndpointEvidence] = {}
    for one in (evidence, *seen):
        if one.leaf is not None:
            different.setdefault(one.leaf.sha256.hex(), one)
    certificates = [
        {
            "sha256": sha256,
            "roots": sorted(_roots(one)),
            "route": one.observation.route,
            "address": one.observation.address,
            "key_kind": one.observation.key_kind,
        }
        for sha256, one in list(different.items())[:_SHOWN]
    ]
    count = len(seen) + 1
    yield outcome.found(_TEXT[outcome].format(count=count), probes=count, certificates=certificates)


def _roots(evidence: EndpointEvidence) -> set[str]:
    paths = () if evidence.chain is None else evidence.chain.public
    return {path.anchor.label for path in paths if path.anchor is not None}
