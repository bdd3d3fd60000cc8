"""Check `shared-issuer`: does the same private or unlogged issuer appear on endpoints of unrelated operators?

Room: checks. Pure. Feeds rows 12 and 15 of the decision table. Operators that have nothing to do with each other do
not share a private CA; whoever stands in front of both does. (Firefox warns on the same ground: one unknown issuer
on a second, unrelated host.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says
from detector.trust.transparency import Logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "shared-issuer"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`private` (no public path), `public-unlogged`; silent otherwise."""
    leaf = case.leaf
    if leaf is None or case.declared_paths:
        return
    if case.is_private:
        others = () if case.looks_incomplete else network.unrelated_with_issuer(case)
        outcome, what = "private", "The same private CA signed for unrelated operators"
    elif case.logging is Logging.UNLOGGED:
        others = network.unrelated_with_unlogged_issuer(case)
        outcome, what = "public-unlogged", "The same CA signed unlogged certificates for unrelated operators"
    else:
        return
    if others:
        yield Finding(
            check=ID,
            outcome=outcome,
            says=Says.INTERCEPTED,
            summary=f"{what}, also on {', '.join(others[:5])}.",
            data={"also_on": list(others), "issuer": leaf.issuer.text if leaf.issuer else None},
        )
