"""Check `neighbours`: what came out of the other endpoints of this route?

Room: judge. Pure. Feeds `identity-substituted`, `signer-substitutes-elsewhere`, `unreadable-persists`,
`declared-root-intercepts`, and what the table calls company. It says something only once other endpoints were assessed.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "neighbours"

_SHOWN: Final = 5
"""Endpoints named in a sentence; the data has them all."""


class Outcome(enum.StrEnum):
    """What the other endpoints of the route show."""

    SIGNER_SUBSTITUTES = "signer-substitutes"
    ROOT_SUBSTITUTES = "root-substitutes"
    CANARY_SUBSTITUTED = "canary-substituted"
    ENDPOINT_SUBSTITUTED = "endpoint-substituted"
    COMPANY = "company"


_SUMMARY: Final[dict[Outcome, str]] = {
    Outcome.SIGNER_SUBSTITUTES: "The signing key, or the server's, takes the place of genuine ones on {others}.",
    Outcome.ROOT_SUBSTITUTES: "The root above this chain signs in the place of genuine CAs on {others}.",
    Outcome.CANARY_SUBSTITUTED: "A well-known endpoint on the same route is substituted.",
    Outcome.ENDPOINT_SUBSTITUTED: "Another endpoint on the same route is substituted.",
    Outcome.COMPANY: "A well-known endpoint on the same route came out as middleware.",
}


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for each thing that the other endpoints show."""
    if evidence.leaf is None or not network.concluded:
        return
    for outcome, others in _shown(evidence, network):
        yield Finding(
            check=ID,
            outcome=outcome,
            says=Meaning.INTERCEPTED,
            summary=_SUMMARY[outcome].format(others=", ".join(others[:_SHOWN])),
            data={"on": list(others)} if others else {},
        )


def _shown(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[tuple[Outcome, Sequence[str]]]:
    if others := network.substituted_with_same_key(evidence):
        yield Outcome.SIGNER_SUBSTITUTES, others
    if others := network.substituted_with_same_root(evidence):
        yield Outcome.ROOT_SUBSTITUTES, others
    if network.canary_substituted(evidence):
        yield Outcome.CANARY_SUBSTITUTED, ()
    if network.any_substituted(evidence):
        yield Outcome.ENDPOINT_SUBSTITUTED, ()
    if network.has_company(evidence):
        yield Outcome.COMPANY, ()
