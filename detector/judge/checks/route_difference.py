"""Check `route-difference`: whether the host is another server on another route: direct, IPv4, IPv6, or by a proxy.

Room: judge. Pure. Feeds the alternatives. Only observations over TCP with one kind of hello are compared. That the
genuine certificate was seen on another route is part of the check `identity`; this check shows where decryption
happens, and which innocent reading a difference has: a proxy and this machine may have been given different addresses,
because an institution has servers of its own for its own names (split-horizon DNS), and IPv4 and IPv6 addresses of one
name are often different machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.compare import Comparison, compare
from detector.judge.outcome import CheckOutcome, Findings
from detector.model import PROXIED, Meaning, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.judge.evidence import EndpointEvidence

ID: Final = "route-difference"
QUESTION: Final = "Does the same address show another server on another route?"

_COMPARED: Final = PROXIED | {Route.DIRECT, Route.DIRECT_IPV4, Route.DIRECT_IPV6}
"""The routes of TCP."""

_OTHERS_SHOWN: Final = 8
"""Other observations listed in a finding."""


class Outcome(CheckOutcome, check=ID):
    """How the routes compare, from the point of view of this observation."""

    FORGED = (
        "forged",
        (
            "On another route the same address showed the genuine certificate, and here a private one: what stands on "
            "this route replaced it."
        ),
    )
    PRIVATE_HERE = (
        "private-here",
        (
            "Another route showed a genuine certificate, this one a private chain. Another server of the "
            "institution's own may answer on this route."
        ),
    )
    GENUINE_ELSEWHERE = (
        "genuine-elsewhere",
        "Another address of the host showed a genuine certificate. It may be another machine.",
    )
    PRIVATE_THERE = "private-there", "Another route showed a private chain for this host, this one did not."
    DIFFERS = "differs", "Another route showed another certificate, and nothing says which of the two is right."
    BOTH_GENUINE = (
        "both-genuine",
        "Other routes showed other certificates that are genuine as well: large services have several.",
    )
    SAME = "same", "Every route showed the same certificate, so nothing depends on the route."


_TEXT: Final[dict[Outcome, tuple[Meaning, str]]] = {
    Outcome.FORGED: (
        Meaning.INTERCEPTED,
        "Not genuine {where}: on another route the same address has the genuine certificate.",
    ),
    Outcome.PRIVATE_HERE: (
        Meaning.INTERCEPTED,
        "The chain here is private, while {where} the host has a genuine certificate.",
    ),
    Outcome.GENUINE_ELSEWHERE: (
        Meaning.EXPLAINS,
        "Another address of this host has a genuine certificate; it may be another server.",
    ),
    Outcome.PRIVATE_THERE: (Meaning.NEUTRAL, "On another route a private chain is presented for this host."),
    Outcome.DIFFERS: (Meaning.NEUTRAL, "Another route shows another certificate, and neither shows which is right."),
    Outcome.BOTH_GENUINE: (Meaning.NEUTRAL, "Other routes show other certificates that are genuine as well."),
    Outcome.SAME: (Meaning.NEUTRAL, "Every route shows the same certificate."),
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding; silent where there is nothing to compare with."""
    compared = {other: compare(evidence, other) for other in evidence.siblings if _comparable(evidence, other)}
    compared = {other: how for other, how in compared.items() if how is not Comparison.NOT_COMPARABLE}
    if not compared:
        return
    outcome, where = _outcome(evidence, compared)
    says, summary = _TEXT[outcome]
    others = [
        {
            "route": other.observation.route,
            "place": other.place_name,
            "comparison": how.value,
            "leaf": other.leaf.sha256.hex() if other.leaf is not None else None,
        }
        for other, how in list(compared.items())[:_OTHERS_SHOWN]
    ]
    data = {"route": evidence.observation.route, "place": evidence.place_name, "others": others}
    yield outcome.found(summary.format(where=where), says, **data)


def _comparable(here: EndpointEvidence, there: EndpointEvidence) -> bool:
    one, other = here.observation, there.observation
    another_route = one.route is not other.route or here.place_name != there.place_name
    alike = one.hello is other.hello and one.key_kind is other.key_kind
    return another_route and alike and {one.route, other.route} <= _COMPARED


def _outcome(evidence: EndpointEvidence, compared: Mapping[EndpointEvidence, Comparison]) -> tuple[Outcome, str]:
    """The outcome, and in words on which route the host is private or genuine."""
    if Comparison.PRIVATE_HERE in compared.values():
        return _private(evidence, compared)
    for how, outcome in (
        (Comparison.PRIVATE_THERE, Outcome.PRIVATE_THERE),
        (Comparison.UNDECIDED, Outcome.DIFFERS),
        (Comparison.BOTH_GENUINE, Outcome.BOTH_GENUINE),
    ):
        if how in compared.values():
            return outcome, ""
    return Outcome.SAME, ""


def _private(evidence: EndpointEvidence, compared: Mapping[EndpointEvidence, Comparison]) -> tuple[Outcome, str]:
    """The outcome where the chain is private here, and genuine in another observation."""
    route, address = evidence.observation.route, evidence.public_address
    genuine = [other for other, how in compared.items() if how is Comparison.PRIVATE_HERE]
    same = [other for other, how in compared.items() if how is Comparison.SAME]
    proxied = route in PROXIED
    if address is not None and any(other.public_address == address for other in genuine):
        return Outcome.FORGED, "only through the proxy" if proxied else "on this route only"
    same_elsewhere = address is not None and any(other.public_address == address for other in same)
    by_address = any(other.observation.route is route and other.public_address for other in genuine)
    crosses = any((other.observation.route in PROXIED) is not proxied for other in genuine)
    if same_elsewhere or by_address or not crosses:
        return Outcome.GENUINE_ELSEWHERE, ""
    return Outcome.PRIVATE_HERE, "directly" if proxied else "through the proxy"
