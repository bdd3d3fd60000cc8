"""Check `identity`: what is known of the endpoint's genuine certificate.

Room: judge. Pure. Feeds the rules that need an expected identity: only what is known can be substituted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.evidence import Identity
from detector.judge.outcome import CheckOutcome, Findings

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "identity"
QUESTION: Final = "What is known of the endpoint's genuine certificate?"


class Outcome(CheckOutcome, check=ID):
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


def check(evidence: EndpointEvidence) -> Findings:
    """One finding for each thing that is known, or `unknown`."""
    if evidence.leaf is None:
        return
    identities, in_run = evidence.identities, evidence.seen_in_run
    known = (
        (Outcome.STATED, Identity.STATED in identities),
        (Outcome.PINNED_PUBLIC, Identity.PINNED_PUBLIC in identities),
        (Outcome.SEEN_AT_SAME_ADDRESS, evidence.seen_at_same_address),
        (Outcome.SEEN_IN_RUN, in_run),
        (Outcome.SEEN_BEFORE, Identity.SEEN in identities and not in_run),
        (Outcome.DECLARED, Identity.DECLARED in identities),
        (Outcome.UNKNOWN, not identities),
    )
    yield from (outcome.found(_SUMMARY[outcome]) for outcome, holds in known if holds)
