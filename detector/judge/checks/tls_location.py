"""Check `location`: does something answer TLS before the host itself could?

Room: checks. Pure. Feeds no row of the decision table: ending TCP is not decrypting TLS. It says where, not whether.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.hops import locate
from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "location"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`answered-early`, `beside-the-host`, `same-hop`, `unknown`; silent where no hops were traced."""
    observed = case.observation.hops
    if observed is None:
        return
    located = locate(observed)
    yield Finding(
        check=ID,
        outcome=located.where,
        says=Says.NEUTRAL,
        summary=located.summary,
        data={
            "port": located.port,
            "hop": located.hop,
            "router": located.router,
            "control_port": located.control_port,
            "host_hop": located.host_hop,
            "host_beyond": located.host_beyond,
            "doubt": located.doubt,
            "slow_answer": located.slow_answer,
        },
    )
