"""What the decision table says of one observation.

Room: judge. Pure: a record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from detector.model import Alternative, Assurance, Confidence, Reason, Verdict


class Decision(NamedTuple):
    """A verdict and the rule that gave it. `fired` are all accusing rules that fit, with how sure each is."""

    reason: Reason
    verdict: Verdict
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    alternatives: tuple[Alternative, ...] = ()
    fired: tuple[tuple[Reason, Confidence], ...] = ()

    def has_fired(self, reason: Reason, confidence: Confidence) -> bool:
        """Whether this rule fits, with exactly this confidence."""
        return (reason, confidence) in self.fired
