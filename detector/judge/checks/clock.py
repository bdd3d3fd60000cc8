"""Check `clock`: is the clock that dates are judged by wrong?

Room: checks. Pure. Feeds row 8 of the decision table. Speaks on the word of publicly vouched certificates, or of HTTP
Date headers, and only when several of them agree: one expired server is that server's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.evidence import http_offset
from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "clock"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`wrong`; silent when nothing says so."""
    offset, basis = network.clock_offset(case.context.at), "certificates"
    if offset is None:
        offset, basis = http_offset(case.context.dates), "http-dates"
    if offset is None:
        return
    days = abs(offset.total_seconds()) / 86400
    direction = "behind" if offset.total_seconds() > 0 else "ahead"
    yield Finding(
        check=ID,
        outcome="wrong",
        says=Says.EXPLAINS,
        summary=f"This machine's clock is at least {days:.1f} days {direction}; set it and check again.",
        data={"offset_seconds": offset.total_seconds(), "basis": basis},
    )
