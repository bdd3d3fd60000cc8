"""Check `quic`: does the endpoint present over QUIC what it presents over TCP? (docs/hello-and-quic.md)

Room: judge. Pure. Says where decryption depends on the transport: most interceptors decrypt TCP only, so where QUIC is
not blocked the genuine server answers alongside. That it was seen there is reported by `identity`.

QUIC that does not answer is evidence of nothing: most hosts have none, and many networks block UDP 443 and decrypt
nothing. Nor is another certificate as such: a CDN has several.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.compare import Difference, difference
from detector.model import Finding, Meaning, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "quic"


class Outcome(enum.StrEnum):
    """How this observation compares with one by the other transport, or that QUIC gave no certificate."""

    SAME = Difference.SAME.value
    BOTH_GENUINE = Difference.BOTH_GENUINE.value
    FORGED = Difference.FORGED.value
    GENUINE_ELSEWHERE = Difference.GENUINE_ELSEWHERE.value
    OTHER_FORGED = Difference.OTHER_FORGED.value
    DIFFERS = Difference.DIFFERS.value
    BLOCKED = "blocked"
    NO_QUIC = "no-quic"


_TEXT: Final[dict[Outcome, tuple[Meaning, str]]] = {
    Outcome.SAME: (Meaning.NEUTRAL, "The same certificate is presented over {here} and over {there}."),
    Outcome.BOTH_GENUINE: (
        Meaning.NEUTRAL,
        "Different certificates are presented over {here} and {there}, both genuine.",
    ),
    Outcome.DIFFERS: (
        Meaning.NEUTRAL,
        "Different certificates are presented over {here} and {there}; neither shows that the other is forged.",
    ),
    Outcome.FORGED: (
        Meaning.INTERCEPTED,
        "At the same address a genuine certificate answers over {there}, and a private one over {here}.",
    ),
    Outcome.GENUINE_ELSEWHERE: (
        Meaning.NEUTRAL,
        "At another address a genuine certificate answers over {there}; a private one answers over {here}.",
    ),
    Outcome.OTHER_FORGED: (Meaning.NEUTRAL, "Over {there} a private certificate is presented for this host."),
    Outcome.BLOCKED: (
        Meaning.NEUTRAL,
        "This endpoint has QUIC, which gets no answer here ({outcome}): some networks block it.",
    ),
    Outcome.NO_QUIC: (Meaning.NEUTRAL, "QUIC gets no answer here ({outcome}): no server for it, or it is blocked."),
}


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for each observation by the other transport.

    `blocked` and `no-quic` where QUIC gave no certificate, on an endpoint known to have it and on others.
    """
    for other in evidence.siblings:
        if (evidence.observation.route is Route.QUIC) == (other.observation.route is Route.QUIC):
            continue
        differs = difference(evidence, other)
        outcome = _silence(evidence, other) if differs is None else Outcome(differs.value)
        if outcome is not None:
            says, summary = _TEXT[outcome]
            yield Finding(
                check=ID,
                outcome=outcome,
                says=says,
                summary=summary.format(
                    here=_transport(evidence), there=_transport(other), outcome=other.observation.outcome
                ),
                data={
                    "address": evidence.observation.address,
                    "other_address": other.observation.address,
                    "other_outcome": other.observation.outcome,
                    "other_sha256": other.leaf.sha256.hex() if other.leaf is not None else None,
                },
            )


def _silence(evidence: EndpointEvidence, other: EndpointEvidence) -> Outcome | None:
    """What it is called, seen from TCP, when QUIC gave no certificate."""
    if other.observation.route is not Route.QUIC or other.leaf is not None or evidence.leaf is None:
        return None
    return Outcome.BLOCKED if evidence.endpoint.quic else Outcome.NO_QUIC


def _transport(evidence: EndpointEvidence) -> str:
    return "QUIC" if evidence.observation.route is Route.QUIC else "TCP"
