"""Check `captive-portal`: does this network answer in other servers' place until somebody signs in?

Room: checks. Pure. Feeds the alternatives and the attribution, no row: a captive portal is middleware, told apart by
its category. Three signs: a control request over plain HTTP (RFC 8910, RFC 8908, generate_204) got another answer than
the one it asks for; unrelated operators present one and the same certificate that is for neither of them; or a
certificate for another name has the key of a known portal, publicly trusted or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector import catalogue
from detector.model import Finding, PortalOutcome, Says
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence
    from detector.trust.certificate import Certificate

ID: Final = "captive-portal"

ANSWERED_BY_ANOTHER: Final = frozenset(
    {PortalOutcome.CAPTIVE, PortalOutcome.REDIRECTED, PortalOutcome.CONTENT_MISMATCH}
)


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`control-request`, `one-certificate`, `known-key`; silent otherwise, and where the leaf is genuine."""
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
    portal_name = _known_portal(case.leaf) if case.name_match is NameMatch.MISMATCH else None
    if portal_name is not None:
        yield Finding(
            check=ID,
            outcome="known-key",
            says=Says.EXPLAINS,
            summary=f"The certificate's key is that of a known portal: {portal_name}.",
            data={"product": portal_name},
        )


def _known_portal(leaf: Certificate) -> str | None:
    """The portal product whose key this is, by the catalogue's key hashes."""
    if leaf.spki_sha256 is None:
        return None
    hits = catalogue.shipped().match(catalogue.Names(spki_sha256=frozenset({leaf.spki_sha256.hex()})))
    return next((hit.entry.product for hit in hits if hit.entry.category == "captive-portal"), None)
