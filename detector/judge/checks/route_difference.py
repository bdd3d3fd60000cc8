"""Check `route-difference`: is the host another server on another route: directly, by IPv4, by IPv6, by a proxy?

Room: judge. Pure. Only observations over TCP by one kind of hello are compared. That the genuine certificate was seen
another route is said by `identity`; this check says where decryption happens, and which innocent reading a difference
has: a proxy and this machine may have been given different addresses, because an institution has servers of its own for
its own names (split-horizon DNS), and IPv4 and IPv6 addresses of one name are often different machines.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.compare import Comparison, compare
from detector.model import PROXIED, Address, Finding, Meaning, Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "route-difference"

_COMPARED: Final = PROXIED | {Route.DIRECT, Route.DIRECT_IPV4, Route.DIRECT_IPV6}
"""The routes of TCP."""

_OTHERS_SHOWN: Final = 8
"""Other observations listed in a finding."""


class Outcome(enum.StrEnum):
    """How the routes compare, seen from this observation."""

    FORGED = "forged"
    PRIVATE_HERE = "private-here"
    GENUINE_ELSEWHERE = "genuine-elsewhere"
    PRIVATE_THERE = "private-there"
    DIFFERS = "differs"
    BOTH_GENUINE = "both-genuine"
    SAME = "same"


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


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding; silent where there is nothing to compare with."""
    others = [other for other in evidence.siblings if _comparable(evidence, other)]
    compared = [(other, compare(evidence, other)) for other in others]
    compared = [(other, how) for other, how in compared if how is not Comparison.NOT_COMPARABLE]
    if not compared:
        return
    outcome, where = _outcome(evidence, compared)
    says, summary = _TEXT[outcome]
    yield Finding(
        check=ID,
        outcome=outcome,
        says=says,
        summary=summary.format(where=where),
        data={
            "route": evidence.observation.route,
            "place": _place(evidence),
            "others": [
                {
                    "route": other.observation.route,
                    "place": _place(other),
                    "comparison": how.value,
                    "leaf": other.leaf.sha256.hex() if other.leaf is not None else None,
                }
                for other, how in compared[:_OTHERS_SHOWN]
            ],
        },
    )


def _comparable(here: EndpointEvidence, there: EndpointEvidence) -> bool:
    one, other = here.observation, there.observation
    another_route = one.route is not other.route or _place(here) != _place(there)
    alike = one.hello is other.hello and one.key_kind is other.key_kind
    return another_route and alike and {one.route, other.route} <= _COMPARED


def _outcome(
    evidence: EndpointEvidence, compared: Sequence[tuple[EndpointEvidence, Comparison]]
) -> tuple[Outcome, str]:
    """The outcome, and in words on which route the host is private or genuine."""
    genuine = [other for other, how in compared if how is Comparison.PRIVATE_HERE]
    if genuine:
        return _private(evidence, compared, genuine)
    seen = {how for _, how in compared}
    for how, outcome in (
        (Comparison.PRIVATE_THERE, Outcome.PRIVATE_THERE),
        (Comparison.UNDECIDED, Outcome.DIFFERS),
        (Comparison.BOTH_GENUINE, Outcome.BOTH_GENUINE),
    ):
        if how in seen:
            return outcome, ""
    return Outcome.SAME, ""


def _private(
    evidence: EndpointEvidence,
    compared: Sequence[tuple[EndpointEvidence, Comparison]],
    genuine: Sequence[EndpointEvidence],
) -> tuple[Outcome, str]:
    """A private chain here, and `genuine` observations elsewhere."""
    proxied = evidence.observation.route in PROXIED
    if any(_same_place(evidence, other) for other in genuine):
        return Outcome.FORGED, "only through the proxy" if proxied else "on this route only"
    same_elsewhere = any(how is Comparison.SAME and _same_place(evidence, other) for other, how in compared)
    by_address = any(o.observation.route is evidence.observation.route and _address(o) for o in genuine)
    crosses = any((other.observation.route in PROXIED) is not proxied for other in genuine)
    if same_elsewhere or by_address or not crosses:
        return Outcome.GENUINE_ELSEWHERE, ""
    return Outcome.PRIVATE_HERE, "directly" if proxied else "through the proxy"


def _place(evidence: EndpointEvidence) -> str | None:
    """The address at which the endpoint was reached, or the name that the proxy was asked for."""
    observed = evidence.observation
    return observed.asked_for if observed.route in PROXIED else observed.address


def _address(evidence: EndpointEvidence) -> str | None:
    """The place, where it is a public address: an address of a private network is another machine on every network."""
    place = _place(evidence)
    address = Address.parse(place)
    return place if address is not None and address.ip is not None and address.ip.is_global else None


def _same_place(here: EndpointEvidence, there: EndpointEvidence) -> bool:
    address = _address(here)
    return address is not None and address == _address(there)
