"""Check `key-possession`: did the peer prove that it holds the key of certificate 0?

Room: checks. Pure. Feeds rows 3 and 4 of the decision table.

A presented chain proves nothing until its key has signed this handshake (RFC 8446 section 4.4.3, RFC 5246 section
7.4.3) or, with plain RSA key exchange, has decrypted it (RFC 5246 section 7.4.9). Anyone can replay a chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Outcome, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "key-possession"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`proved`, `wrong` (another key signed) or `not-proved` (the handshake ended too early)."""
    if case.leaf is None:
        return
    observation = case.observation
    if observation.outcome is Outcome.SIGNATURE_WRONG:
        yield Finding(
            check=ID,
            outcome="wrong",
            says=Says.INTERCEPTED,
            summary="The peer presented this certificate but signed the handshake with another key: a replayed chain.",
        )
    elif observation.key_proved:
        yield Finding(check=ID, outcome="proved", says=Says.NEUTRAL, summary="The peer holds the certificate's key.")
    else:
        yield Finding(
            check=ID,
            outcome="not-proved",
            says=Says.NEUTRAL,
            summary=f"The handshake ended ({observation.outcome}) before the peer proved that it holds the key.",
            data={"outcome": observation.outcome},
        )
