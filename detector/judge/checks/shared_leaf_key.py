"""Check `shared-leaf-key`: is the same server key presented by endpoints of unrelated operators?

Room: checks. Pure. Feeds row 15 of the decision table. Many interceptors use one leaf key for every host. Publicly
vouched certificates are exempt: a CDN may serve two customers with one key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "shared-leaf-key"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`shared`; silent otherwise."""
    if not case.is_private or case.declared_paths:
        return
    others = network.unrelated_with_leaf_key(case)
    if others:
        yield Finding(
            check=ID,
            outcome="shared",
            says=Says.INTERCEPTED,
            summary=f"The same server key is presented by unrelated operators, also on {', '.join(others[:5])}.",
            data={"also_on": list(others)},
        )
