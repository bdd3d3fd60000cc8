"""Check `issuer-shape`: does the issuer's name look like that of an endpoint already found intercepted here?

Room: checks. Pure. Feeds row 18 of the decision table; says something only after the network's other endpoints were
judged once. Numbers and host names are taken out before comparing: some interceptors make one CA name per site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "issuer-shape"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`as-intercepted`; silent otherwise."""
    if not case.is_private or case.declared_paths or case.issuer_shape not in network.accused_shapes:
        return
    yield Finding(
        check=ID,
        outcome="as-intercepted",
        says=Says.INTERCEPTED,
        summary="The issuer's name has the shape of the one on endpoints of this network that are intercepted.",
        data={"shape": case.issuer_shape},
    )
