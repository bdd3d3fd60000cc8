"""Check `hello-difference`: do different ClientHellos get the same answer? (docs/hello-and-quic.md)

Room: checks. Pure. Feeds row 20 of the decision table. Some interceptors decrypt only what looks like a browser, some
exempt what looks like a scanner; both show when one endpoint is asked in both ways.

A server may choose its certificate by the hello, too (RSA for old clients, ECDSA for new ones), and one of several
servers behind an address may be misconfigured. So two certificates that are both publicly vouched for the host mean
nothing, and a private one beside a vouched one is strong evidence, but not proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.evidence import difference
from detector.model import Finding, Hello, Route, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "hello-difference"

_NAME: Final[dict[Hello, str]] = {Hello.DEFAULT: "the default hello", Hello.BROWSER: "a browser's hello"}
_TOLD: Final[dict[str, tuple[Says, str]]] = {
    "same": (Says.NEUTRAL, "The same certificate answers {here} and {there}."),
    "both-vouched": (
        Says.NEUTRAL,
        "Different certificates answer {here} and {there}, both publicly vouched for this host.",
    ),
    "differs": (Says.NEUTRAL, "Different certificates answer {here} and {there}; neither shows the other forged."),
    "forged": (
        Says.INTERCEPTED,
        "At the same address a publicly vouched certificate for this host answers {there}, and a private one {here}.",
    ),
    "genuine-elsewhere": (
        Says.NEUTRAL,
        "At another address a publicly vouched certificate answers {there}; a private one answers {here}.",
    ),
    "other-forged": (Says.NEUTRAL, "A private certificate answers {there}."),
    "one-answered": (Says.NEUTRAL, "A certificate answers only one of {here} and {there}."),
}


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for each look on the same route with another hello.

    `same`, `both-vouched`, `differs`; `forged` when this hello gets a private certificate and the other one, at the
    same address, one that is vouched for in public, `genuine-elsewhere` when that was another address, `other-forged`
    the other way round; `one-answered` when only one of the two got a certificate.
    """
    for other in case.looks:
        ours, theirs = case.observation, other.observation
        if ours.route is not theirs.route or ours.route is Route.QUIC or ours.hello is theirs.hello:
            continue
        outcome = difference(case, other)
        if outcome is None and (case.leaf is None) != (other.leaf is None):
            outcome = "one-answered"
        if outcome is not None:
            says, summary = _TOLD[outcome]
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
