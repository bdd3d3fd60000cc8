"""Check `dates`: whether the leaf is within its validity (RFC 5280 section 4.1.2.5).

Room: judge. Pure. Feeds no rule: dates alone never accuse, servers forget to renew. The dates of every certificate,
which `expired` and `clock-wrong` rest on, belong to the path and are part of the check `chain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "dates"
QUESTION: Final = "Is the certificate within its validity?"


class Outcome(CheckOutcome, check=ID):
    """Whether the moment lies within the leaf's validity."""

    VALID = "valid", "The moment of the check lies within the certificate's validity."
    EXPIRED = (
        "expired",
        (
            "The certificate has expired. Operators forget to renew, and a clock that is ahead has the same effect; it "
            "accuses nobody."
        ),
    )
    NOT_YET_VALID = (
        "not-yet-valid",
        "The certificate is not valid yet. A clock that is behind is the usual reason; it accuses nobody.",
    )
    UNREADABLE = "unreadable", "The validity of the certificate cannot be parsed. It accuses nobody by itself."


def check(evidence: EndpointEvidence) -> Findings:
    """One finding where a certificate was seen."""
    leaf, at = evidence.leaf, evidence.context.at
    if leaf is None:
        return
    if leaf.validity is None:
        yield Outcome.UNREADABLE.found("The certificate's validity cannot be read.")
        return
    begins, ends = leaf.validity
    if at < begins:
        outcome, summary = Outcome.NOT_YET_VALID, f"The certificate is valid only from {begins:%Y-%m-%d %H:%M} UTC."
    elif at > ends:
        outcome, summary = Outcome.EXPIRED, f"The certificate expired on {ends:%Y-%m-%d %H:%M} UTC."
    else:
        outcome, summary = Outcome.VALID, f"The certificate is valid until {ends:%Y-%m-%d %H:%M} UTC."
    yield outcome.found(summary, not_before=begins.isoformat(), not_after=ends.isoformat(), at=at.isoformat())
