"""Check `key-possession`: did the peer prove that it holds the key of certificate 0?

Room: judge. Pure. Feeds `replayed-chain` and `key-not-proved`, and caps what other rules say.

A presented chain proves nothing until its key has signed this handshake (RFC 8446 section 4.4.3, RFC 5246 section
7.4.3) or, with plain RSA key exchange, has decrypted it (RFC 5246 section 7.4.9). Anyone can replay a chain.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Meaning
from detector.model import Outcome as WireOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "key-possession"


class Outcome(enum.StrEnum):
    """`wrong`: another key signed; `not-proved`: the handshake ended too early."""

    PROVED = "proved"
    WRONG = "wrong"
    NOT_PROVED = "not-proved"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding where a certificate was seen."""
    if evidence.leaf is None:
        return
    observation = evidence.observation
    if observation.outcome is WireOutcome.SIGNATURE_WRONG:
        yield Finding(
            check=ID,
            outcome=Outcome.WRONG,
            says=Meaning.INTERCEPTED,
            summary="The peer presented this certificate but signed the handshake with another key: a replayed chain.",
        )
    elif observation.key_proved:
        yield Finding(
            check=ID, outcome=Outcome.PROVED, says=Meaning.NEUTRAL, summary="The peer holds the certificate's key."
        )
    else:
        yield Finding(
            check=ID,
            outcome=Outcome.NOT_PROVED,
            says=Meaning.NEUTRAL,
            summary=f"The handshake ended ({observation.outcome}) before the peer proved that it holds the key.",
            data={"outcome": observation.outcome},
        )
