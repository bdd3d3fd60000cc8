"""Check `captive-portal`: does this network answer in other servers' place until somebody signs in?

Room: checks. Pure. Feeds the alternatives and the attribution, no row: a captive portal is middleware, told apart by
its category. Two signs: a control request over plain HTTP (RFC 8910, RFC 8908, generate_204) got another answer than
the one it asks for; or unrelated operators present one and the same certificate that is for neither of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, PortalOutcome, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.evidence import Case, Network

ID: Final = "captive-portal"

ANSWERED_BY_ANOTHER: Final = frozenset(
    {PortalOutcome.CAPTIVE, PortalOutcome.REDIRECTED, PortalOutcome.CONTENT_MISMATCH}
)


def check(case: Case, network: Network) -> Iterator[Finding]:
    """`control-request`, `one-certificate`; silent otherwise, and where the leaf is for this host and vouched for."""
    if case.leaf is None:
        return
    portal = case.context.portal
    if portal is not None and portal.outcome in ANSWERED_BY_ANOTHER and not case.looks_genuine:
        yield Finding(
            check=ID,
            outcome="control-request",
            says=Says.EXPLAINS,
            summary=f"A control request was answered by somebody else ({portal.outcome}): a sign-in page is likely.",
            data={"url": portal.url, "status": portal.status, "location": portal.location},
        )
    others = network.unrelated_with_same_wrong_certificate(case)
    if others:
        yield Finding(
            check=ID,
            outcome="one-certificate",
            says=Says.EXPLAINS,
            summary=f"One certificate, for neither, is shown for unrelated hosts, also for {', '.join(others[:5])}.",
            data={"also_on": list(others)},
        )
