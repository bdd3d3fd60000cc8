"""Check `presented`: was a certificate seen at all, and could it be read?

Room: judge. Pure. Feeds `no-certificate`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "presented"


class Outcome(enum.StrEnum):
    """Whether a certificate was seen; `damaged` where parts of it are no certificate."""

    SEEN = "seen"
    DAMAGED = "damaged"
    NONE = "none"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """Exactly one finding."""
    outcome, leaf = evidence.observation.outcome, evidence.leaf
    if leaf is None:
        yield Finding(
            check=ID,
            outcome=Outcome.NONE,
            says=Meaning.NEUTRAL,
            summary=f"No certificate was seen: {outcome}.",
            data={"outcome": outcome, "fault": evidence.observation.fault},
        )
        return
    problems = leaf.problems
    yield Finding(
        check=ID,
        outcome=Outcome.DAMAGED if problems else Outcome.SEEN,
        says=Meaning.NEUTRAL,
        summary=(
            f"The presented certificate is damaged ({'; '.join(problems)}) and was assessed by what can be read."
            if problems
            else f"{len(evidence.presented)} certificate(s) presented."
        ),
        data={"certificates": len(evidence.presented), "sha256": leaf.sha256.hex(), "problems": list(problems)},
    )
