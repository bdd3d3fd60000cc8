"""Check `clock`: is the clock that dates are judged by wrong?

Room: judge. Pure. Feeds `clock-wrong`. Rests on chains that a client would take but for their dates, or on HTTP Date
headers, and only when several of them agree: one expired server is that server's business.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.network_evidence import http_offset
from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "clock"


class Outcome(enum.StrEnum):
    """That the clock is wrong."""

    WRONG = "wrong"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding where the clock is wrong."""
    offset, basis = network.clock_offset(evidence.context.at), "certificates"
    if offset is None:
        offset, basis = http_offset(evidence.context.dates), "http-dates"
    if offset is None:
        return
    days = abs(offset.total_seconds()) / 86400
    direction = "behind" if offset.total_seconds() > 0 else "ahead"
    yield Finding(
        check=ID,
        outcome=Outcome.WRONG,
        says=Meaning.EXPLAINS,
        summary=f"This machine's clock is at least {days:.1f} days {direction}; set it and check again.",
        data={"offset_seconds": offset.total_seconds(), "basis": basis},
    )
