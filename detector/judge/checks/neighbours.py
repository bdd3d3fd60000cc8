"""Check `neighbours`: what the other endpoints of this route came out as.

Room: judge. Pure. Feeds `identity-substituted`, `signer-substitutes-elsewhere`, `unreadable-persists`,
`declared-root-intercepts`, and what the table calls company. Silent until other endpoints were assessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.network_evidence import Concluded
from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "neighbours"
QUESTION: Final = "Are other endpoints of the same route substituted, and by the same signer?"
USES_NETWORK: Final = True

_SHOWN: Final = 5
"""Endpoints named in a sentence; the data has them all."""


class Outcome(CheckOutcome, check=ID):
    """What the other endpoints of the route show."""

    SIGNER_SUBSTITUTES = (
        "signer-substitutes",
        (
            "The key that signed here, or the server's own, replaces genuine certificates on another endpoint of this "
            "route."
        ),
    )
    ROOT_SUBSTITUTES = (
        "root-substitutes",
        (
            "The root above this chain signs in the place of genuine CAs on another endpoint of this route, through "
            "another issuing key."
        ),
    )
    CANARY_SUBSTITUTED = (
        "canary-substituted",
        "A well-known endpoint on the same route, whose genuine certificate is known, is substituted.",
    )
    ENDPOINT_SUBSTITUTED = "endpoint-substituted", "Another endpoint on the same route is substituted."
    COMPANY = (
        "company",
        (
            "A well-known endpoint on the same route came out as intercepted. What alone would be possible is "
            "probable in this company."
        ),
    )


_ASKED: Final[dict[Concluded, tuple[Outcome, str]]] = {
    Concluded.BY_KEY: (
        Outcome.SIGNER_SUBSTITUTES,
        "The signing key, or the server's, takes the place of genuine ones on {on}.",
    ),
    Concluded.BY_ROOT: (
        Outcome.ROOT_SUBSTITUTES,
        "The root above this chain signs in the place of genuine CAs on {on}.",
    ),
    Concluded.CANARY_SUBSTITUTED: (
        Outcome.CANARY_SUBSTITUTED,
        "A well-known endpoint on the same route is substituted.",
    ),
    Concluded.SUBSTITUTED: (Outcome.ENDPOINT_SUBSTITUTED, "Another endpoint on the same route is substituted."),
    Concluded.CANARY_ACCUSED: (Outcome.COMPANY, "A well-known endpoint on the same route came out as middleware."),
}
"""What is reported of each conclusion; `{on}` are the other endpoints."""


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Findings:
    """One finding for each thing that the other endpoints show."""
    if evidence.leaf is None or not network.concluded:
        return
    for kind, (outcome, summary) in _ASKED.items():
        others = network.others(kind, evidence)
        if kind is Concluded.BY_ROOT and evidence.is_a(ChainClass.DECLARED):
            # Of a declared root, any key above the leaf counts, even if it signs for others too.
            others |= network.others(Concluded.BELOW_KEY, evidence)
        if others:
            on = sorted(others)
            data = {"on": on} if "{on}" in summary else {}
            yield outcome.found(summary.format(on=", ".join(on[:_SHOWN])), Meaning.INTERCEPTED, **data)
