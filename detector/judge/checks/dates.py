"""Check `dates`: is the leaf within its validity now? (RFC 5280 section 4.1.2.5)

Room: judge. Pure. Feeds `expired` and `clock-wrong`. Dates alone never accuse: servers forget to renew. The dates
of the CAs above belong to the path, and are part of the check `chain`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "dates"


class Outcome(enum.StrEnum):
    """Whether the moment lies within the leaf's validity."""

    VALID = "valid"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    UNREADABLE = "unreadable"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding where a certificate was seen."""
    leaf = evidence.leaf
    if leaf is None:
        return
    at = evidence.context.at
    if leaf.validity is None:
        yield Finding(
            check=ID,
            outcome=Outcome.UNREADABLE,
            says=Meaning.NEUTRAL,
            summary="The certificate's validity cannot be read.",
        )
        return
    not_before, not_after = leaf.validity
    if at < not_before:
        outcome, summary = Outcome.NOT_YET_VALID, f"The certificate is valid only from {not_before:%Y-%m-%d %H:%M} UTC."
    elif at > not_after:
        outcome, summary = Outcome.EXPIRED, f"The certificate expired on {not_after:%Y-%m-%d %H:%M} UTC."
    else:
        outcome, summary = Outcome.VALID, f"The certificate is valid until {not_after:%Y-%m-%d %H:%M} UTC."
    yield Finding(
        check=ID,
        outcome=outcome,
        says=Meaning.NEUTRAL,
        summary=summary,
        data={"not_before": not_before.isoformat(), "not_after": not_after.isoformat(), "at": at.isoformat()},
    )
