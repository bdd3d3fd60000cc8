"""Check `hello-difference`: do different ClientHellos get the same answer? (docs/hello-and-quic.md)

Room: judge. Pure. Says where decryption depends on the hello: some interceptors decrypt only what looks like a browser,
some exempt what looks like a scanner. That the genuine certificate was seen by another hello is reported by `identity`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.compare import Difference, difference
from detector.model import Finding, Hello, Meaning, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "hello-difference"


class Outcome(enum.StrEnum):
    """How this observation compares with one by another hello."""

    SAME = Difference.SAME.value
    BOTH_GENUINE = Difference.BOTH_GENUINE.value
    FORGED = Difference.FORGED.value
    GENUINE_ELSEWHERE = Difference.GENUINE_ELSEWHERE.value
    OTHER_FORGED = Difference.OTHER_FORGED.value
    DIFFERS = Difference.DIFFERS.value
    ONE_ANSWERED = "one-answered"


_NAME: Final[dict[Hello, str]] = {
    Hello.DEFAULT: "the default hello",
    Hello.BROWSER: "a browser's hello",
    Hello.READABLE: "a hello that offers only what can be verified here",
}
_TEXT: Final[dict[Outcome, tuple[Meaning, str]]] = {
    Outcome.SAME: (Meaning.NEUTRAL, "The same certificate answers {here} and {there}."),
    Outcome.BOTH_GENUINE: (Meaning.NEUTRAL, "Different certificates answer {here} and {there}, both genuine."),
    Outcome.DIFFERS: (
        Meaning.NEUTRAL,
        "Different certificates answer {here} and {there}; neither shows the other forged.",
    ),
    Outcome.FORGED: (
        Meaning.INTERCEPTED,
        "At the same address a genuine certificate for this host answers {there}, and a private one {here}.",
    ),
    Outcome.GENUINE_ELSEWHERE: (
        Meaning.NEUTRAL,
        "At another address a genuine certificate answers {there}; a private one answers {here}.",
    ),
    Outcome.OTHER_FORGED: (Meaning.NEUTRAL, "A private certificate answers {there}."),
    Outcome.ONE_ANSWERED: (Meaning.NEUTRAL, "A certificate answers only one of {here} and {there}."),
}


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for each observation on the same route by another hello."""
    for other in evidence.siblings:
        ours, theirs = evidence.observation, other.observation
        if ours.route is not theirs.route or ours.route is Route.QUIC or ours.hello is theirs.hello:
            continue
        differs = difference(evidence, other)
        if differs is not None:
            outcome = Outcome(differs.value)
        elif (evidence.leaf is None) != (other.leaf is None):
            outcome = Outcome.ONE_ANSWERED
        else:
            continue
        says, summary = _TEXT[outcome]
        yield Finding(
            check=ID,
            outcome=outcome,
            says=says,
            summary=summary.format(here=_NAME[ours.hello], there=_NAME[theirs.hello]),
            data={
                "hello": ours.hello,
                "ja3": ours.ja3,
                "other_hello": theirs.hello,
                "other_ja3": theirs.ja3,
                "address": ours.address,
                "other_address": theirs.address,
                "other_outcome": theirs.outcome,
                "other_sha256": other.leaf.sha256.hex() if other.leaf is not None else None,
            },
        )
