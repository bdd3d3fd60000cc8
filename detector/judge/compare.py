"""What two observations of one endpoint show together.

Room: judge. Pure. Compares only: the checks decide which pairs to compare, and what a difference may mean.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.model import Hello
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from .evidence import EndpointEvidence


HELLO_NAME: Final[dict[Hello, str]] = {
    Hello.BROWSER: "Chrome's hello",
    Hello.FIREFOX: "Firefox's hello",
    Hello.OPENSSL: "OpenSSL's hello",
    Hello.WIDEST: "the widest hello",
    Hello.READABLE: "a hello that offers only what can be verified here",
}
"""What a ClientHello profile is called in findings."""


class Comparison(enum.StrEnum):
    """What two observations show together."""

    SAME = "same"
    BOTH_GENUINE = "both-genuine"
    PRIVATE_HERE = "private-here"
    PRIVATE_THERE = "private-there"
    UNDECIDED = "undecided"
    NOT_COMPARABLE = "not-comparable"


def compare(here: EndpointEvidence, there: EndpointEvidence) -> Comparison:
    """Compare two observations of one endpoint, both from finished handshakes.

    `SAME` certificate; two certificates, `BOTH_GENUINE` for this host (a CDN has several); a chain to no public root on
    one side (`PRIVATE_HERE`, `PRIVATE_THERE`), although the other side is genuine; `UNDECIDED` where they differ and
    neither shows that; `NOT_COMPARABLE` without a certificate or its key's proof on either side, and where only one of
    them is a browser's report: the check `browser-view` alone compares those.
    """
    proved = here.observation.key_proved and there.observation.key_proved
    comparable = proved and here.from_browser is there.from_browser
    if here.leaf is None or there.leaf is None or not comparable:
        return Comparison.NOT_COMPARABLE
    if here.leaf.sha256 == there.leaf.sha256:
        return Comparison.SAME
    if here.is_genuine and there.is_genuine:
        return Comparison.BOTH_GENUINE
    if _is_private_in_place_of(here, there):
        return Comparison.PRIVATE_HERE
    return Comparison.PRIVATE_THERE if _is_private_in_place_of(there, here) else Comparison.UNDECIDED


def _is_private_in_place_of(one: EndpointEvidence, genuine: EndpointEvidence) -> bool:
    """Whether another signer made this private chain; a private CA that a witness proves may have made both."""
    return genuine.is_genuine and one.is_a(ChainClass.PRIVATE, ChainClass.ADDED) and not one.may_share_signer(genuine)


def difference(here: EndpointEvidence, there: EndpointEvidence) -> str | None:
    """What the two observations are called in a finding about `here`; None where they cannot be compared.

    `forged` where `here` is private while the same address shows the genuine key, `genuine-elsewhere` where another
    address does; `other-forged` the other way round.
    """
    match compare(here, there):
        case Comparison.NOT_COMPARABLE:
            return None
        case Comparison.PRIVATE_HERE:
            # At one address and port, no resolver can have sent the two to different servers.
            same_place = here.answered_at is not None and here.answered_at == there.answered_at
            return "forged" if same_place else "genuine-elsewhere"
        case Comparison.PRIVATE_THERE:
            return "other-forged"
        case Comparison.UNDECIDED:
            return "differs"
        case compared:
            return compared.value
