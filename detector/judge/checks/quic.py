"""Check `quic`: does the endpoint present over QUIC what it presents over TCP? (docs/hello-and-quic.md)

Room: checks. Pure. Feeds row 15 of the decision table. Most interceptors decrypt TCP only, so where QUIC is not blocked
the genuine server answers beside them.

QUIC that does not answer is evidence of nothing: most hosts have none, and many networks block UDP 443 and decrypt
nothing. Nor is another certificate as such: a CDN has several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.evidence import difference
from detector.model import Finding, Route, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "quic"

_TOLD: Final[dict[str, tuple[Says, str]]] = {
    "same": (Says.NEUTRAL, "The same certificate is presented over {here} and over {there}."),
    "both-vouched": (
        Says.NEUTRAL,
        "Different certificates are presented over {here} and {there}, both publicly vouched for this host.",
    ),
    "differs": (
        Says.NEUTRAL,
        "Different certificates are presented over {here} and {there}; neither shows that the other is forged.",
    ),
    "forged": (
        Says.INTERCEPTED,
        "At the same address a publicly vouched certificate answers over {there}, and a private one over {here}.",
    ),
    "genuine-elsewhere": (
        Says.NEUTRAL,
        "At another address a publicly vouched certificate answers over {there}; a private one answers over {here}.",
    ),
    "other-forged": (Says.NEUTRAL, "Over {there} a private certificate is presented for this host."),
    "blocked": (Says.NEUTRAL, "This endpoint has QUIC, which gets no answer here ({outcome}): some networks block it."),
    "no-quic": (Says.NEUTRAL, "QUIC gets no answer here ({outcome}): no server for it, or it is blocked."),
}


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for each look by the other transport.

    `same`, `both-vouched`, `differs`; `forged` when this look is private while the other one, at the same address, is
    vouched for in public, `genuine-elsewhere` when that was another address, `other-forged` the other way round;
    `blocked` and `no-quic` when QUIC gave no certificate, on an endpoint known to have it and on others.
    """
    for other in case.looks:
        if (case.observation.route is Route.QUIC) == (other.observation.route is Route.QUIC):
            continue
        outcome = difference(case, other) or _silence(case, other)
        if outcome is not None:
            says, summary = _TOLD[outcome]
            yield Finding(
                check=ID,
                outcome=outcome,
                says=says,
                summary=summary.format(
                    here=_transport(case), there=_transport(other), outcome=other.observation.outcome
                ),
                data={
                    "address": case.observation.address,
                    "other_address": other.observation.address,
                    "other_outcome": other.observation.outcome,
                    "other_sha256": other.leaf.sha256.hex() if other.leaf is not None else None,
                },
            )


def _silence(case: EndpointEvidence, other: EndpointEvidence) -> str | None:
    """What it is called, seen from TCP, when QUIC gave no certificate."""
    if other.observation.route is not Route.QUIC or other.leaf is not None or case.leaf is None:
        return None
    return "blocked" if case.endpoint.quic else "no-quic"


def _transport(case: EndpointEvidence) -> str:
    return "QUIC" if case.observation.route is Route.QUIC else "TCP"
