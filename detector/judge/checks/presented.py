"""Check `presented`: whether a certificate was seen, and could be read.

Room: judge. Pure. Feeds `no-certificate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "presented"
QUESTION: Final = ""
"""None for a reader: without a certificate nothing else was asked."""


class Outcome(CheckOutcome, check=ID):
    """Whether a certificate was seen; `damaged` where parts of it cannot be parsed."""

    SEEN = "seen"
    DAMAGED = "damaged"
    NONE = "none"


def check(evidence: EndpointEvidence) -> Findings:
    """Exactly one finding."""
    seen, leaf = evidence.observation, evidence.leaf
    if leaf is None:
        yield Outcome.NONE.found(f"No certificate was seen: {seen.outcome}.", outcome=seen.outcome, fault=seen.fault)
        return
    problems, count = leaf.problems, len(evidence.presented)
    outcome, summary = Outcome.SEEN, f"{count} certificate(s) presented."
    if problems:
        outcome = Outcome.DAMAGED
        summary = f"The presented certificate is damaged ({'; '.join(problems)}) and was assessed by what can be read."
    yield outcome.found(summary, certificates=count, sha256=leaf.sha256.hex(), problems=list(problems))
