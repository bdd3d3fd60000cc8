"""Check `identity`: what is known of the endpoint's genuine certificate?

Room: judge. Pure. Feeds the rules that need an expected identity: only what is known can be substituted.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.evidence import Identity
from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "identity"


class Outcome(enum.StrEnum):
    """What is known, and where it was seen."""

    STATED = "stated"
    PINNED_PUBLIC = "pinned-public"
    SEEN_AT_SAME_ADDRESS = "seen-at-same-address"
    SEEN_IN_RUN = "seen-in-run"
    SEEN_BEFORE = "seen-before"
    DECLARED = "declared"
    UNKNOWN = "unknown"


_SUMMARY: Final[dict[Outcome, str]] = {
    Outcome.STATED: "The public roots that this operator uses are stated.",
    Outcome.PINNED_PUBLIC: "The pins of this endpoint come from a chain to a public root.",
    Outcome.SEEN_AT_SAME_ADDRESS: "Another probe saw the genuine certificate at this very address.",
    Outcome.SEEN_IN_RUN: "Another probe of this run saw the genuine certificate.",
    Outcome.SEEN_BEFORE: "The history has a genuine certificate of this endpoint.",
    Outcome.DECLARED: "A private root is declared for this endpoint.",
    Outcome.UNKNOWN: "Nothing is known of this endpoint's genuine certificate.",
}


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for each thing that is known, or `unknown`."""
    if evidence.leaf is None:
        return
    for outcome in _known(evidence) or [Outcome.UNKNOWN]:
        yield Finding(check=ID, outcome=outcome, says=Meaning.NEUTRAL, summary=_SUMMARY[outcome])


def _known(evidence: EndpointEvidence) -> list[Outcome]:
    known = []
    identities = evidence.identities
    if Identity.STATED in identities:
        known.append(Outcome.STATED)
    if Identity.PINNED_PUBLIC in identities:
        known.append(Outcome.PINNED_PUBLIC)
    if evidence.seen_at_same_address:
        known.append(Outcome.SEEN_AT_SAME_ADDRESS)
    if evidence.seen_in_run:
        known.append(Outcome.SEEN_IN_RUN)
    elif Identity.SEEN in identities:
        known.append(Outcome.SEEN_BEFORE)
    if Identity.DECLARED in identities:
        known.append(Outcome.DECLARED)
    return known
