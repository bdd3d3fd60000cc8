"""Check `clock`: whether the clock that dates are compared with is wrong.

Room: judge. Pure. Feeds `clock-wrong`. Rests on chains that a client would accept but for their dates, or on HTTP Date
headers, and only when several of them agree: one expired server is that server's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.network_evidence import http_offset
from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "clock"
QUESTION: Final = "Was the clock of the machine right?"
USES_NETWORK: Final = True


class Outcome(CheckOutcome, check=ID):
    """That the clock is wrong."""

    WRONG = (
        "wrong",
        (
            "Several servers agree that the clock of this machine is wrong. Dates then prove nothing: set the clock "
            "and check again."
        ),
    )


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Findings:
    """One finding where the clock is wrong."""
    offset, basis = network.clock_offset(evidence.context.at), "certificates"
    if offset is None:
        offset, basis = http_offset(evidence.context.dates), "http-dates"
    if offset is None:
        return
    seconds = offset.total_seconds()
    direction = "behind" if seconds > 0 else "ahead"
    summary = f"This machine's clock is at least {abs(seconds) / 86400:.1f} days {direction}; set it and check again."
    yield Outcome.WRONG.found(summary, Meaning.EXPLAINS, offset_seconds=seconds, basis=basis)
