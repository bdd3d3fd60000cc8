"""Check `expected-root`: is the public root one that the endpoint's operator is known to use?

Room: judge. Pure. Feeds no rule (ADR 3): operators change CAs, lists of them lag, and another public root is at most a
reason to investigate. It is in the report for the reader who does.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "expected-root"


class Outcome(enum.StrEnum):
    """Whether the public root is one of those that are listed for the operator."""

    EXPECTED = "expected"
    OTHER_PUBLIC_ROOT = "other-public-root"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding; silent without expectations or without a public path."""
    expected = frozenset(evidence.endpoint.roots)
    if not expected or evidence.chain is None or not evidence.chain.public:
        return
    labels = {path.anchor.label for path in evidence.chain.public if path.anchor}
    fits = sorted(labels & expected)
    yield Finding(
        check=ID,
        outcome=Outcome.EXPECTED if fits else Outcome.OTHER_PUBLIC_ROOT,
        says=Meaning.GENUINE if fits else Meaning.NEUTRAL,
        summary=(
            f"The public root is one this operator uses: {', '.join(fits)}."
            if fits
            else f"The public root ({', '.join(sorted(labels))}) is not among those listed for this operator."
        ),
        data={"roots": sorted(labels), "expected": sorted(expected)},
    )
