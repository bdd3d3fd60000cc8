"""Check `hello-difference`: whether different ClientHellos get the same answer (docs/hello-and-quic.md).

Room: judge. Pure. Feeds no rule: it shows where decryption depends on the hello. Some interceptors decrypt only what
looks like a browser, some exempt what looks like a scanner. That the genuine certificate was seen with another hello is
part of the check `identity`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.compare import HELLO_NAME, difference
from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning, Route

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "hello-difference"
QUESTION: Final = "Does the same address show another server to another kind of program?"


class Outcome(CheckOutcome, check=ID):
    """How this observation compares with one made with another hello; the first six are `compare.difference`'s."""

    SAME = "same", "Programs of different kinds are shown the same certificate."
    BOTH_GENUINE = "both-genuine", "Programs of different kinds are shown different certificates, both genuine."
    FORGED = (
        "forged",
        (
            "At one address, programs of another kind are shown the genuine certificate, and this kind a private one: "
            "something chooses by the hello what it intercepts."
        ),
    )
    GENUINE_ELSEWHERE = (
        "genuine-elsewhere",
        "A program of another kind was shown the genuine certificate, at another address. It may be another machine.",
    )
    OTHER_FORGED = "other-forged", "A program of another kind was shown a private certificate, this kind was not."
    DIFFERS = (
        "differs",
        "Programs of different kinds are shown different certificates, and nothing says which is right.",
    )
    ONE_ANSWERED = (
        "one-answered",
        "Only one of two kinds of programs got a certificate. Servers and filters may both refuse a kind.",
    )


_TEXT: Final[dict[Outcome, str]] = {
    Outcome.SAME: "The same certificate answers {here} and {there}.",
    Outcome.BOTH_GENUINE: "Different certificates answer {here} and {there}, both genuine.",
    Outcome.DIFFERS: "Different certificates answer {here} and {there}; neither shows the other forged.",
    Outcome.FORGED: "At the same address a genuine certificate for this host answers {there}, and a private one "
    "{here}.",
    Outcome.GENUINE_ELSEWHERE: "At another address a genuine certificate answers {there}; a private one answers "
    "{here}.",
    Outcome.OTHER_FORGED: "A private certificate answers {there}.",
    Outcome.ONE_ANSWERED: "A certificate answers only one of {here} and {there}.",
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding for each observation on the same route with another hello."""
    for other in evidence.siblings:
        ours, theirs = evidence.observation, other.observation
        if ours.route is not theirs.route or ours.route is Route.QUIC or ours.hello is theirs.hello:
            continue
        if evidence.from_browser is not other.from_browser:
            continue
        differs = difference(evidence, other)
        if differs is not None:
            outcome = Outcome(differs)
        elif (evidence.leaf is None) != (other.leaf is None):
            outcome = Outcome.ONE_ANSWERED
        else:
            continue
        yield outcome.found(
            _TEXT[outcome].format(here=HELLO_NAME[ours.hello], there=HELLO_NAME[theirs.hello]),
            Meaning.INTERCEPTED if outcome is Outcome.FORGED else Meaning.NEUTRAL,
            hello=ours.hello,
            ja4=ours.ja4,
            other_hello=theirs.hello,
            other_ja4=theirs.ja4,
            address=ours.address,
            other_address=theirs.address,
            other_outcome=theirs.outcome,
            other_sha256=other.leaf.sha256.hex() if other.leaf is not None else None,
        )
