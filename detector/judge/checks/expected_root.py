"""Check `expected-root`: whether the public root is one that the endpoint's operator is known to use.

Room: judge. Pure. Feeds no rule (ADR 3): operators change CAs, lists of them lag, and another public root is at most a
reason to investigate. It is in the report for the reader who does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "expected-root"
QUESTION: Final = "Is the public root one that this operator uses?"


class Outcome(CheckOutcome, check=ID):
    """Whether the public root is one of those that are listed for the operator."""

    EXPECTED = "expected", "The public root is one that the operator is listed with."
    OTHER_PUBLIC_ROOT = (
        "other-public-root",
        (
            "The public root is not among those listed for the operator. Operators change their CAs and lists lag "
            "behind, so it is a reason to investigate and no accusation."
        ),
    )


def check(evidence: EndpointEvidence) -> Findings:
    """One finding; silent without expectations or without a public path."""
    expected, chain = frozenset(evidence.endpoint.roots), evidence.chain
    if not expected or chain is None or not chain.public:
        return
    labels = {path.anchor.label for path in chain.public if path.anchor}
    listed: dict[str, Any] = {"roots": sorted(labels), "expected": sorted(expected)}
    if fits := ", ".join(sorted(labels & expected)):
        yield Outcome.EXPECTED.found(f"The public root is one this operator uses: {fits}.", Meaning.GENUINE, **listed)
    else:
        summary = f"The public root ({', '.join(sorted(labels))}) is not among those listed for this operator."
        yield Outcome.OTHER_PUBLIC_ROOT.found(summary, **listed)
