"""Check `several-certificates`: do other addresses of this host, or other kinds of its key, show other certificates?

Room: checks. Pure. Feeds rows 10 and 14 of the decision table. A host behind a CDN has many certificates, one for each
kind of key and often one for each place. They are judged by the roots they lead to, not by the one that happened to
answer: a publicly vouched certificate that is not pinned, beside a pinned one of the same host that leads to the same
public root, is another certificate of that host. One that leads to another root gets no such excuse. Nor does one that
was met on another way (through a proxy, over QUIC, to another hello): that is what a middlebox on that way looks like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.evidence import Comparison, compare
from detector.model import Finding, Hello, Route, Says

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence
    from detector.model import KeyKind

ID: Final = "several-certificates"

_DIRECT: Final = frozenset({Route.DIRECT, Route.DIRECT_IPV4, Route.DIRECT_IPV6})

_SHOWN: Final = 16
"""Certificates listed in a finding."""


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`same-root-as-pinned`, `vouched`, `other`, or `one`; silent where only one look was taken."""
    compared = [(look, compare(case, look)) for look in case.looks]
    seen = [(look, how) for look, how in compared if how is not Comparison.NOT_COMPARABLE]
    if not seen:
        return
    outcome, says, summary = _judge(case, seen)
    different: dict[str, EndpointEvidence] = {}
    for look in (case, *(look for look, _ in seen)):
        if look.leaf is not None:
            different.setdefault(look.leaf.sha256.hex(), look)
    yield Finding(
        check=ID,
        outcome=outcome,
        says=says,
        summary=summary,
        data={
            "looks": len(seen) + 1,
            "certificates": [
                {
                    "sha256": sha256,
                    "roots": sorted(_roots(look)),
                    "route": look.observation.route,
                    "address": look.observation.address,
                    "key_kind": look.observation.key_kind,
                }
                for sha256, look in list(different.items())[:_SHOWN]
            ],
        },
    )


def _judge(case: EndpointEvidence, seen: Sequence[tuple[EndpointEvidence, Comparison]]) -> tuple[str, Says, str]:
    if case.pinned is None and case.publicly_vouched and any(_excuses(look, case) for look, _ in seen):
        return (
            "same-root-as-pinned",
            Says.EXPLAINS,
            "Another certificate of this host is pinned, and this one leads to the same public root.",
        )
    found = {how for _, how in seen}
    if found == {Comparison.SAME}:
        return "one", Says.NEUTRAL, f"All {len(seen) + 1} looks show one certificate."
    if found <= {Comparison.SAME, Comparison.BOTH_VOUCHED}:
        return "vouched", Says.NEUTRAL, "The host has several certificates, all of them vouched for in public."
    return "other", Says.NEUTRAL, "The looks show several certificates, not all of them vouched for in public."


def _excuses(look: EndpointEvidence, case: EndpointEvidence) -> bool:
    """Whether a look at another place of this host is pinned, under a public root that this one stands under, too."""
    pinned = look.pinned is not None and look.publicly_vouched and bool(_roots(look) & _roots(case))
    return pinned and _way(look) == _way(case) and _place(look) != _place(case)


def _way(look: EndpointEvidence) -> tuple[Route, Hello]:
    """How the host was reached and greeted; IPv4 and IPv6 are one way to its several addresses."""
    route = look.observation.route
    return (Route.DIRECT if route in _DIRECT else route), look.observation.hello


def _place(look: EndpointEvidence) -> tuple[str | None, KeyKind | None]:
    """Where on that way, and for which kind of key: what a CDN has a certificate of its own for."""
    observed = look.observation
    return observed.asked_for or observed.address, observed.key_kind


def _roots(look: EndpointEvidence) -> set[str]:
    return {path.anchor.label for path in look.public_paths if path.anchor is not None}
