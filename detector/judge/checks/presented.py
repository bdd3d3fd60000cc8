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

    SEEN = "seen", "The server presented a certificate. That alone says nothing for or against it."
    DAMAGED = (
        "damaged",
        (
            "The server presented a certificate of which parts cannot be parsed. It is assessed by what can be read; "
            "faulty servers and careless interceptors both make such certificates."
        ),
    )
    NONE = (
        "none",
        (
            "The connection ended before a certificate was seen, so nothing is known of this endpoint. Outages, "
            "firewalls and wrong names do that, and it is no sign of interception."
        ),
    )


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
