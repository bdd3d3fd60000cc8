"""Check `public-path`: does a chain of verified signatures lead from certificate 0 to a public root?

Room: checks. Pure. Feeds rows 9 to 19 of the decision table. Dates and names are judged apart from it: an expired
certificate has its path at the time it was valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "public-path"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`found` or `none`."""
    if case.leaf is None or case.paths is None:
        return
    if case.public_paths:
        labels = sorted({path.anchor.label for path in case.public_paths if path.anchor})
        yield Finding(
            check=ID,
            outcome="found",
            says=Says.GENUINE,
            summary=f"Leads to the public root {', '.join(labels)}.",
            data={"roots": labels, "paths": [[c.sha256.hex() for c in p.certificates] for p in case.public_paths]},
        )
    else:
        yield Finding(
            check=ID,
            outcome="none",
            says=Says.INTERCEPTED,
            summary="Leads to no public root.",
            data={
                "issuer": case.leaf.issuer.text if case.leaf.issuer else None,
                "issuer_at_hand": bool(case.paths.issuers),
                "unreadable": case.paths.unreadable,
                "exceeded": case.paths.exceeded,
                "postponed": case.paths.postponed,
            },
        )
