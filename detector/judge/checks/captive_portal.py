"""Check `captive-portal`: does this network answer in other servers' place until somebody signs in?

Room: judge. Pure. Feeds the alternatives and the advice: before signing in, nothing that is seen says who decrypts.
Three signs: a control request over plain HTTP (RFC 8910, RFC 8908, generate_204) got another answer than
the one it asks for; unrelated operators present one and the same certificate that is for neither of them; or a
certificate for another name has the key of a known portal, publicly trusted or not.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.evidence import digests_of
from detector.knowledge import catalogue
from detector.knowledge.catalogue import ProductCategory
from detector.model import Finding, Meaning, PortalOutcome
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence
    from detector.trust.certificate import Certificate

ID: Final = "captive-portal"


class Outcome(enum.StrEnum):
    """By which sign a portal is known."""

    CONTROL_REQUEST = "control-request"
    ONE_CERTIFICATE = "one-certificate"
    KNOWN_KEY = "known-key"


ANSWERED_BY_ANOTHER: Final = frozenset(
    {PortalOutcome.CAPTIVE, PortalOutcome.REDIRECTED, PortalOutcome.CONTENT_MISMATCH}
)


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for each sign; no control request counts against a known chain for the right name."""
    if evidence.leaf is None:
        return
    known = evidence.is_a(ChainClass.ACCEPTED, ChainClass.DECLARED) and evidence.name_right
    portal = evidence.context.portal
    if portal is not None and portal.outcome in ANSWERED_BY_ANOTHER and not known:
        yield Finding(
            check=ID,
            outcome=Outcome.CONTROL_REQUEST,
            says=Meaning.EXPLAINS,
            summary=f"A control request was answered by another server ({portal.outcome}): a sign-in page is likely.",
            data={"url": portal.url, "status": portal.status, "location": portal.location},
        )
    others = network.unrelated_with_same_wrong_certificate(evidence)
    if others:
        yield Finding(
            check=ID,
            outcome=Outcome.ONE_CERTIFICATE,
            says=Meaning.EXPLAINS,
            summary=f"One certificate, for neither, is shown for unrelated hosts, also for {', '.join(others[:5])}.",
            data={"also_on": list(others)},
        )
    portal_name = _known_portal(evidence.leaf) if evidence.name_match is NameMatch.MISMATCH else None
    if portal_name is not None:
        yield Finding(
            check=ID,
            outcome=Outcome.KNOWN_KEY,
            says=Meaning.EXPLAINS,
            summary=f"The certificate's key is that of a known portal: {portal_name}.",
            data={"product": portal_name},
        )


def _known_portal(leaf: Certificate) -> str | None:
    """The portal product whose key this is, by the catalogue's key hashes."""
    hits = catalogue.shipped().match_digests(digests_of((leaf,)))
    return next((hit.entry.product for hit in hits if hit.entry.category == ProductCategory.CAPTIVE_PORTAL), None)
