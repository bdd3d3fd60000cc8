"""Check `dates`: is the leaf within its validity now? (RFC 5280 section 4.1.2.5)

Room: checks. Pure. Feeds rows 6, 7 and 8 of the decision table. Dates alone never accuse: servers forget to renew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "dates"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`valid`, `expired`, `not-yet-valid` or `unreadable`, by the leaf."""
    leaf = case.leaf
    if leaf is None:
        return
    at = case.context.at
    if leaf.validity is None:
        yield Finding(
            check=ID, outcome="unreadable", says=Says.NEUTRAL, summary="The certificate's validity cannot be read."
        )
        return
    not_before, not_after = leaf.validity
    if at < not_before:
        outcome, summary = "not-yet-valid", f"The certificate is valid only from {not_before:%Y-%m-%d %H:%M} UTC."
    elif at > not_after:
        outcome, summary = "expired", f"The certificate expired on {not_after:%Y-%m-%d %H:%M} UTC."
    else:
        outcome, summary = "valid", f"The certificate is valid until {not_after:%Y-%m-%d %H:%M} UTC."
    yield Finding(
        check=ID,
        outcome=outcome,
        says=Says.NEUTRAL,
        summary=summary,
        data={"not_before": not_before.isoformat(), "not_after": not_after.isoformat(), "at": at.isoformat()},
    )
