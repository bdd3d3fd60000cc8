"""Check `route-difference`: is the host somebody else on another way to it: directly, by IPv4, by IPv6, by a proxy?

Room: checks. Pure. Feeds rows 19 and 21 of the decision table. Only looks over TCP with one kind of hello are compared.

Two certificates that are both vouched for in public mean nothing: CDNs have several. A private chain on one way, beside
proof on another that the host is publicly known, is evidence where both ways ended at the same server:

* At the same public address nothing innocent is left but that one of several servers behind it still has a private
  certificate. A proxy is asked for that address when its answer to the name differs from what was seen directly.
* Where the way went on from a name, the proxy and this machine may have been told different addresses: an institution
  has servers of its own for its own names (split-horizon DNS). That is told, and accuses nobody.
* IPv4 and IPv6 addresses of one name are often different machines, one of them forgotten by whoever renews
  certificates, or an origin that presents to the world what is meant for its CDN alone. Nor does that.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from detector.judge.evidence import Comparison, compare
from detector.model import PROXIED, Finding, Route, Says

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "route-difference"

_COMPARED: Final = PROXIED | {Route.DIRECT, Route.DIRECT_IPV4, Route.DIRECT_IPV6}
"""The ways of TCP."""

_ADDRESSES_SHOWN: Final = 8


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`forged`, `private-here` or `genuine-elsewhere` for a private chain, otherwise how the ways compare.

    `private-there`, `differs`, `both-vouched`, `same`. Silent where there is nothing to compare with.
    """
    others = [look for look in case.looks if _comparable(case, look)]
    compared = [(look, compare(case, look)) for look in others]
    compared = [(look, how) for look, how in compared if how is not Comparison.NOT_COMPARABLE]
    if not compared:
        return
    outcome, says, summary = _judge(case, compared)
    yield Finding(
        check=ID,
        outcome=outcome,
        says=says,
        summary=summary,
        data={
            "route": case.observation.route,
            "place": _place(case),
            "others": [
                {
                    "route": look.observation.route,
                    "place": _place(look),
                    "comparison": how.value,
                    "leaf": look.leaf.sha256.hex() if look.leaf is not None else None,
                }
                for look, how in compared[:_ADDRESSES_SHOWN]
            ],
        },
    )


def _comparable(here: EndpointEvidence, there: EndpointEvidence) -> bool:
    one, other = here.observation, there.observation
    another_way = one.route is not other.route or _place(here) != _place(there)
    alike = one.hello is other.hello and one.key_kind is other.key_kind
    return another_way and alike and {one.route, other.route} <= _COMPARED


def _judge(case: EndpointEvidence, compared: Sequence[tuple[EndpointEvidence, Comparison]]) -> tuple[str, Says, str]:
    genuine = [look for look, how in compared if how is Comparison.PRIVATE_HERE]
    if genuine:
        return _private(case, compared, genuine)
    seen = {how for _, how in compared}
    if Comparison.PRIVATE_THERE in seen:
        return (
            "private-there",
            Says.NEUTRAL,
            "On another way the host is answered for by somebody with a private chain.",
        )
    if Comparison.UNDECIDED in seen:
        return "differs", Says.NEUTRAL, "Another way shows another certificate, and neither shows who is right."
    if Comparison.BOTH_VOUCHED in seen:
        return (
            "both-vouched",
            Says.NEUTRAL,
            "Other ways show other certificates that are vouched for in public as well.",
        )
    return "same", Says.NEUTRAL, "Every way shows the same certificate."


def _private(
    case: EndpointEvidence, compared: Sequence[tuple[EndpointEvidence, Comparison]], genuine: Sequence[EndpointEvidence]
) -> tuple[str, Says, str]:
    """A private chain here, and `genuine` looks that show the host to be publicly known."""
    proxied = case.observation.route in PROXIED
    if any(_same_place(case, look) for look in genuine):
        where = "only through the proxy" if proxied else "on this way only"
        return (
            "forged",
            Says.INTERCEPTED,
            f"Decrypted {where}: on another way the same address has a certificate that is vouched for in public.",
        )
    same_elsewhere = any(how is Comparison.SAME and _same_place(case, look) for look, how in compared)
    by_address = any(look.observation.route is case.observation.route and _address(look) for look in genuine)
    crosses = any((look.observation.route in PROXIED) is not proxied for look in genuine)
    if same_elsewhere or by_address or not crosses:
        return (
            "genuine-elsewhere",
            Says.EXPLAINS,
            "Another address of this host has a certificate that is vouched for in public; it may be another server.",
        )
    where = "directly" if proxied else "through the proxy"
    return (
        "private-here",
        Says.INTERCEPTED,
        f"The chain here is private, while {where} the host has a certificate that is vouched for in public.",
    )


def _place(look: EndpointEvidence) -> str | None:
    """The address at which the endpoint was reached, or the name that the proxy was asked for."""
    observed = look.observation
    return observed.asked_for if observed.route in PROXIED else observed.address


def _address(look: EndpointEvidence) -> str | None:
    """The place, where it is a public address: an address of a private network is another machine on every network."""
    place = _place(look)
    try:
        address = ipaddress.ip_address((place or "").rpartition(":")[0].strip("[]"))
    except ValueError:
        return None
    return place if address.is_global else None


def _same_place(here: EndpointEvidence, there: EndpointEvidence) -> bool:
    address = _address(here)
    return address is not None and address == _address(there)
