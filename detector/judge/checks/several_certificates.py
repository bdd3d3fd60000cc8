"""Check `several-certificates`: do other addresses of this host, or other kinds of its key, show other certificates?

Room: judge. Pure. For the reader: a host behind a CDN has many certificates, one for each kind of key and often one for
each place. Whether another one excuses a pin mismatch is reported by the check `pin`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.compare import Comparison, compare
from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "several-certificates"

_SHOWN: Final = 16
"""Certificates listed in a finding."""


class Outcome(enum.StrEnum):
    """Whether the probes show one certificate, several genuine ones, or others."""

    ONE = "one"
    GENUINE = "genuine"
    OTHER = "other"


_TEXT: Final[dict[Outcome, str]] = {
    Outcome.ONE: "All {count} probes show one certificate.",
    Outcome.GENUINE: "The host has several certificates, all of them genuine.",
    Outcome.OTHER: "The probes show several certificates, not all of them genuine.",
}


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding; silent where nothing can be compared."""
    compared = [(other, compare(evidence, other)) for other in evidence.siblings]
    seen = [(other, how) for other, how in compared if how is not Comparison.NOT_COMPARABLE]
    if not seen:
        return
    found = {how for _, how in seen}
    outcome = Outcome.OTHER
    if found == {Comparison.SAME}:
        outcome = Outcome.ONE
    elif found <= {Comparison.SAME, Comparison.BOTH_GENUINE}:
        outcome = Outcome.GENUINE
    different: dict[str, EndpointEvidence] = {}
    for one in (evidence, *(other for other, _ in seen)):
        if one.leaf is not None:
            different.setdefault(one.leaf.sha256.hex(), one)
    yield Finding(
        check=ID,
        outcome=outcome,
        says=Meaning.NEUTRAL,
        summary=_TEXT[outcome].format(count=len(seen) + 1),
        data={
            "probes": len(seen) + 1,
            "certificates": [
                {
                    "sha256": sha256,
                    "roots": sorted(_roots(one)),
                    "route": one.observation.route,
                    "address": one.observation.address,
                    "key_kind": one.observation.key_kind,
                }
                for sha256, one in list(different.items())[:_SHOWN]
            ],
        },
    )


def _roots(evidence: EndpointEvidence) -> set[str]:
    paths = () if evidence.chain is None else evidence.chain.public
    return {path.anchor.label for path in paths if path.anchor is not None}
