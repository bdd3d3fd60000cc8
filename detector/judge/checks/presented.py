"""Check `presented`: was a certificate seen at all, and could it be read?

Room: checks. Pure. Feeds row 1 of the decision table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "presented"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`seen`, `unreadable` (seen, but parts of it are no certificate) or `none`."""
    outcome = case.observation.outcome
    if case.leaf is None:
        yield Finding(
            check=ID,
            outcome="none",
            says=Says.NEUTRAL,
            summary=f"No certificate was seen: {outcome}.",
            data={"outcome": outcome, "fault": case.observation.fault},
        )
        return
    problems = case.leaf.problems
    yield Finding(
        check=ID,
        outcome="unreadable" if problems else "seen",
        says=Says.NEUTRAL,
        summary=(
            f"The presented certificate is damaged ({'; '.join(problems)}) and was judged by what can be read."
            if problems
            else f"{len(case.presented)} certificate(s) presented."
        ),
        data={"certificates": len(case.presented), "sha256": case.leaf.sha256.hex(), "problems": list(problems)},
    )
