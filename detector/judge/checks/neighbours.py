"""Check `neighbours`: what the other endpoints of this route came out as.

Room: judge. Pure. Feeds `identity-substituted`, `signer-substitutes-elsewhere`, `unreadable-persists`,
`declared-root-intercepts`, and what the table calls company. Silent until other endpoints were assessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning

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


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Findings:
    """One finding for each thing that the other endpoints show."""
    if evidence.leaf is None or not network.concluded:
        return
    intercepted = Meaning.INTERCEPTED
    if others := network.substituted_with_same_key(evidence):
        summary = "The signing key, or the server's, takes the place of genuine ones on "
        yield Outcome.SIGNER_SUBSTITUTES.found(f"{summary}{', '.join(others[:_SHOWN])}.", intercepted, on=list(others))
    if others := network.substituted_with_same_root(evidence):
        summary = "The root above this chain signs in the place of genuine CAs on "
        yield Outcome.ROOT_SUBSTITUTES.found(f"{summary}{', '.join(others[:_SHOWN])}.", intercepted, on=list(others))
    if network.canary_substituted(evidence):
        yield Outcome.CANARY_SUBSTITUTED.found("A well-known endpoint on the same route is substituted.", intercepted)
    if network.any_substituted(evidence):
        yield Outcome.ENDPOINT_SUBSTITUTED.found("Another endpoint on the same route is substituted.", intercepted)
    if network.has_company(evidence):
        yield Outcome.COMPANY.found("A well-known endpoint on the same route came out as middleware.", intercepted)
