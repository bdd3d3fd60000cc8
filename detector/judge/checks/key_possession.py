"""Check `key-possession`: whether the peer proved that it holds the key of certificate 0.

Room: judge. Pure. Feeds `replayed-chain`, `key-not-proved` and `browser-reported`, and caps the confidence of other
rules.

A presented chain proves nothing until its key has signed this handshake (RFC 8446 section 4.4.3, RFC 5246 section
7.4.3) or, with plain RSA key exchange, has decrypted it (RFC 5246 section 7.4.9). Anyone can replay a chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Engine, Meaning
from detector.model import Outcome as WireOutcome

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "key-possession"
QUESTION: Final = "Did the peer hold the key of the certificate that it presented?"


class Outcome(CheckOutcome, check=ID):
    """`wrong`: another key signed; `not-proved`: the handshake ended too early; `reported`: only a browser says so."""

    PROVED = (
        "proved",
        (
            "The peer used the certificate's key in this handshake, so what answered holds that key. A copied "
            "certificate alone could not do this."
        ),
    )
    WRONG = (
        "wrong",
        (
            "Another key than the certificate's signed the handshake: the peer shows a certificate that is not its "
            "own. A genuine server does not do that; a broken one might."
        ),
    )
    NOT_PROVED = (
        "not-proved",
        (
            "The handshake ended before the peer had proved that it holds the key. Anybody can show a certificate "
            "that far, so this clears nothing and accuses only mildly. Filters and lost connections do it, too."
        ),
    )
    REPORTED = (
        "reported",
        (
            "The user's own browser reported the certificate, and nothing but its report says that the server held "
            "the key. It clears nothing, and accuses at most as probable."
        ),
    )


def check(evidence: EndpointEvidence) -> Findings:
    """One finding where a certificate was seen."""
    seen = evidence.observation
    if evidence.leaf is None:
        return
    if seen.engine is Engine.BROWSER:
        yield Outcome.REPORTED.found(
            "The browser reports this certificate; only its word says that the peer holds the key."
        )
    elif seen.outcome is WireOutcome.SIGNATURE_WRONG:
        summary = "The peer presented this certificate but signed the handshake with another key: a replayed chain."
        yield Outcome.WRONG.found(summary, Meaning.INTERCEPTED)
    elif seen.key_proved:
        yield Outcome.PROVED.found("The peer holds the certificate's key.")
    else:
        summary = f"The handshake ended ({seen.outcome}) before the peer proved that it holds the key."
        yield Outcome.NOT_PROVED.found(summary, outcome=seen.outcome)
