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

    STATED = (
        "stated",
        (
            "It is known that this endpoint's genuine certificate leads to a public root: its pin file or the "
            "detector's own knowledge says so. Another chain in its place is a substitution."
        ),
    )
    PINNED_PUBLIC = (
        "pinned-public",
        (
            "The pins were learned from a chain that was accepted and publicly logged, or are of a public CA's key. "
            "The genuine certificate therefore leads to a public root."
        ),
    )
    SEEN_AT_SAME_ADDRESS = (
        "seen-at-same-address",
        "Another probe of this run saw the genuine certificate at the very same address.",
    )
    SEEN_IN_RUN = (
        "seen-in-run",
        (
            "Another probe of this run saw the genuine certificate of this endpoint: on another route, or with "
            "another hello."
        ),
    )
    SEEN_BEFORE = (
        "seen-before",
        (
            "The history has a genuine certificate of this endpoint from an earlier run. The operator may have "
            "changed it since."
        ),
    )
    DECLARED = "declared", "The pin file declares a private root for this endpoint."
    UNKNOWN = (
        "unknown",
        (
            "Nothing is known of the genuine certificate. A private chain may be all that this server ever had, so "
            "that nothing can be called substituted."
        ),
    )


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
