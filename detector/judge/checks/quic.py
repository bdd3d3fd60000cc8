"""Check `quic`: whether the endpoint presents over QUIC what it presents over TCP (docs/hello-and-quic.md).

Room: judge. Pure. Feeds no rule: it shows where decryption depends on the transport. Most interceptors decrypt TCP
only, so where QUIC is not blocked the genuine server answers it. That it was seen there is part of `identity`.

QUIC that does not answer is evidence of nothing: most hosts have none, and many networks block UDP 443 and decrypt
nothing. Nor is another certificate as such: a CDN has several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.compare import difference
from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning, Route

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "quic"
QUESTION: Final = "Does the same address show another server over QUIC?"


class Outcome(CheckOutcome, check=ID):
    """How this observation compares with one over the other transport, or that QUIC gave no certificate."""

    SAME = "same", "The same certificate is presented over QUIC and over TCP."
    BOTH_GENUINE = "both-genuine", "Different certificates are presented over QUIC and over TCP, both genuine."
    FORGED = (
        "forged",
        (
            "At one address the other transport shows the genuine certificate, and this one a private chain: most "
            "interceptors handle TCP only."
        ),
    )
    GENUINE_ELSEWHERE = (
        "genuine-elsewhere",
        "The other transport showed the genuine certificate at another address. It may be another machine.",
    )
    OTHER_FORGED = "other-forged", "The other transport showed a private certificate for this host."
    DIFFERS = "differs", "The two transports show different certificates, and nothing says which is right."
    BLOCKED = (
        "blocked",
        (
            "The endpoint is known to have QUIC, and it gets no answer here. Many networks block UDP port 443 and "
            "intercept nothing."
        ),
    )
    NO_QUIC = "no-quic", "QUIC gets no answer: the host has none, or it is blocked. It says nothing."


_TEXT: Final[dict[Outcome, str]] = {
    Outcome.SAME: "The same certificate is presented over {here} and over {there}.",
    Outcome.BOTH_GENUINE: "Different certificates are presented over {here} and {there}, both genuine.",
    Outcome.DIFFERS: "Different certificates are presented over {here} and {there}; neither shows that the other is "
    "forged.",
    Outcome.FORGED: "At the same address a genuine certificate answers over {there}, and a private one over {here}.",
    Outcome.GENUINE_ELSEWHERE: "At another address a genuine certificate answers over {there}; a private one answers "
    "over {here}.",
    Outcome.OTHER_FORGED: "Over {there} a private certificate is presented for this host.",
    Outcome.BLOCKED: "This endpoint has QUIC, which gets no answer here ({outcome}): some networks block it.",
    Outcome.NO_QUIC: "QUIC gets no answer here ({outcome}): no server for it, or it is blocked.",
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding for each observation over the other transport.

    `blocked` and `no-quic` where QUIC gave no certificate, on an endpoint known to have it and on others.
    """
    ours = evidence.observation
    for other in evidence.siblings:
        theirs = other.observation
        if (ours.route is Route.QUIC) == (theirs.route is Route.QUIC):
            continue
        differs = difference(evidence, other)
        if differs is not None:
            outcome = Outcome(differs)
        elif theirs.route is Route.QUIC and other.leaf is None and evidence.leaf is not None:
            outcome = Outcome.BLOCKED if evidence.endpoint.quic else Outcome.NO_QUIC
        else:
            continue
        here, there = ("QUIC", "TCP") if ours.route is Route.QUIC else ("TCP", "QUIC")
        yield outcome.found(
            _TEXT[outcome].format(here=here, there=there, outcome=theirs.outcome),
            Meaning.INTERCEPTED if outcome is Outcome.FORGED else Meaning.NEUTRAL,
            address=ours.address,
            other_address=theirs.address,
            other_outcome=theirs.outcome,
            other_sha256=other.leaf.sha256.hex() if other.leaf is not None else None,
        )
