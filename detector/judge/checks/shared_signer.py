"""Check `shared-signer`: whether one signer or key serves endpoints that have nothing to do with each other.

Room: judge. Pure. Feeds `rivals-share-a-signer`, `public-unlogged`, `one-private-signer` and `forgotten-by-everybody`.

Operators that have nothing to do with each other do not share a private CA; what stands in front of both does. But one
institution has many names, and a hoster one default certificate for all its customers, so that this alone is no proof.
Two operators that run public CAs of their own never share one. A signer is one key, never a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.network_evidence import Shared
from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.trust.classes import ChainClass
from detector.trust.transparency import Logging

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "shared-signer"
QUESTION: Final = "Do unrelated operators share a signer, a key or a missing intermediate?"
USES_NETWORK: Final = True

_SHOWN: Final = 5
"""Endpoints named in a sentence; the data has them all."""


class Outcome(CheckOutcome, check=ID):
    """What is shared, and with whom."""

    RIVALS = (
        "rivals",
        (
            "One key that is no public CA's serves operators that each run a public CA of their own. They never share "
            "one, so something in front of both made these certificates."
        ),
    )
    PRIVATE_SIGNER = (
        "private-signer",
        (
            "One private CA signed for operators that have nothing to do with each other. An interceptor does that; "
            "so do several names of one institution that are not known to belong together."
        ),
    )
    LEAF_KEY = (
        "leaf-key",
        (
            "Unrelated operators present one and the same server key. Many interceptors use one key for every host; a "
            "hoster's default certificate does the same."
        ),
    )
    UNLOGGED_SIGNER = (
        "unlogged-signer",
        (
            "One public CA signed certificates without log timestamps for unrelated operators, as a "
            "public CA that is misused would."
        ),
    )
    MISSING_ISSUER = (
        "missing-issuer",
        (
            "Unrelated operators all lack the same unknown intermediate certificate. One forgotten intermediate is an "
            "oversight, the same one everywhere is not; a young public CA may explain it."
        ),
    )


_SUMMARY: Final[dict[Outcome, str]] = {
    Outcome.RIVALS: "One key serves operators that each run a public CA of their own, also on {others}.",
    Outcome.PRIVATE_SIGNER: "One private key signed for unrelated operators, also for {others}.",
    Outcome.LEAF_KEY: "Unrelated operators present one server key, also on {others}.",
    Outcome.UNLOGGED_SIGNER: "One public CA signed unlogged certificates for unrelated operators, also for {others}.",
    Outcome.MISSING_ISSUER: "Unrelated operators lack one and the same intermediate, also on {others}.",
}


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Findings:
    """One finding for each kind of sharing."""
    if evidence.leaf is None or not evidence.name_right:
        return
    for outcome, others in _shared(evidence, network):
        if others:
            summary = _SUMMARY[outcome].format(others=", ".join(others[:_SHOWN]))
            yield outcome.found(summary, Meaning.INTERCEPTED, also_on=list(others))


def _shared(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[tuple[Outcome, Sequence[str]]]:
    yield Outcome.RIVALS, network.rivals_of(evidence)
    if evidence.is_a(ChainClass.PRIVATE, ChainClass.ADDED):
        yield Outcome.PRIVATE_SIGNER, network.unrelated_with(Shared.PRIVATE_SIGNER, evidence)
        yield Outcome.LEAF_KEY, network.unrelated_with(Shared.LEAF_KEY, evidence)
    elif evidence.is_a(ChainClass.INCOMPLETE) and not evidence.issuer_is_named:
        yield Outcome.MISSING_ISSUER, network.unrelated_with(Shared.MISSING_ISSUER, evidence)
    elif evidence.is_a(ChainClass.ACCEPTED) and evidence.logging is Logging.UNLOGGED:
        yield Outcome.UNLOGGED_SIGNER, network.unrelated_with(Shared.UNLOGGED_SIGNER, evidence)
