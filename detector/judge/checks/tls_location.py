"""Check `location`: does something answer TLS before the host itself could?

Room: judge. Pure. Feeds no rule: ending TCP is not decrypting TLS. It says where, not whether.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.hops import Where, locate
from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "location"
Outcome = Where


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding where hops were traced."""
    observed = evidence.observation.hops
    if observed is None:
        return
    located = locate(observed)
    yield Finding(
        check=ID,
        outcome=located.where,
        says=Meaning.NEUTRAL,
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
