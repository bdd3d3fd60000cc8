"""Check `location`: whether something answers TLS before the host itself could.

Room: judge. Pure. Feeds no rule: ending TCP is not decrypting TLS. It reports where, not whether.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.hops import CHECK_ID, Where, locate

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.judge.outcome import Findings

ID: Final = CHECK_ID
QUESTION: Final = "At which hop is it answered, and is the host further away?"
Outcome = Where
_DATA: Final = ("port", "hop", "router", "control_port", "host_hop", "host_beyond", "doubt", "slow_answer")
"""Fields of the location that a finding has."""


def check(evidence: EndpointEvidence) -> Findings:
    """One finding where hops were traced."""
    if evidence.observation.hops is not None:
        located = locate(evidence.observation.hops)
        yield located.where.found(located.summary, **{name: getattr(located, name) for name in _DATA})
