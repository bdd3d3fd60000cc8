"""Check `declared-root`: does a verified path end in a private root that the pin file declares for this endpoint?

Room: checks. Pure. Feeds row 7 of the decision table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "declared-root"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`path` or `no-path`; silent where no private root is declared."""
    if case.leaf is None or not case.endpoint.private_roots:
        return
    labels = sorted({path.anchor.label for path in case.declared_paths if path.anchor})
    yield Finding(
        check=ID,
        outcome="path" if labels else "no-path",
        says=Says.GENUINE if labels else Says.NEUTRAL,
        summary=(
            f"The chain leads to a private root declared for this endpoint: {', '.join(labels)}."
            if labels
            else "The chain leads to none of the private roots declared for this endpoint."
        ),
        data={"roots": labels},
    )
