"""Check `captive-portal`: whether this network answers in other servers' place until somebody signs in.

Room: judge. Pure. Feeds the alternatives and the advice: before signing in, nothing that is seen says who decrypts.
Three signs: a control request over plain HTTP (RFC 8910, RFC 8908, generate_204) got another answer than the one it
asks for; unrelated operators present one and the same certificate that is for neither of them; or a certificate for
another name has the key of a known portal, publicly trusted or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.evidence import digests_of
from detector.judge.network_evidence import Shared
from detector.judge.outcome import CheckOutcome, Findings
from detector.knowledge.catalogue import ProductCategory
from detector.model import Meaning, PortalOutcome
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "captive-portal"
QUESTION: Final = "Did a sign-in page answer?"
USES_NETWORK: Final = True


class Outcome(CheckOutcome, check=ID):
    """By which sign a portal is recognized."""

    CONTROL_REQUEST = (
        "control-request",
        (
            "A request over plain HTTP, whose right answer is known, got another one: this network probably asks "
            "users to sign in first. Sign in and check again."
        ),
    )
    ONE_CERTIFICATE = (
        "one-certificate",
        "Unrelated hosts are answered with one certificate that is for neither of them, as sign-in and block pages do.",
    )
    KNOWN_KEY = (
        "known-key",
        "The key of the certificate is that of a known sign-in page, and the certificate is for another name.",
    )


UNNAMED: Final[Mapping[CheckOutcome, str]] = {
    Outcome.KNOWN_KEY: "The certificate's key is that of a known sign-in page."
}
ANSWERED_BY_ANOTHER: Final = frozenset(
    {PortalOutcome.CAPTIVE, PortalOutcome.REDIRECTED, PortalOutcome.CONTENT_MISMATCH}
)


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Findings:
    """One finding for each sign; no control request counts against a known chain for the right name."""
    if evidence.leaf is None:
        return
    known = evidence.is_a(ChainClass.ACCEPTED, ChainClass.DECLARED) and evidence.name_right
    portal = evidence.context.portal
    if portal is not None and portal.outcome in ANSWERED_BY_ANOTHER and not known:
        summary = f"A control request was answered by another server ({portal.outcome}): a sign-in page is likely."
        data = {"url": portal.url, "status": portal.status, "location": portal.location}
        yield Outcome.CONTROL_REQUEST.found(summary, Meaning.EXPLAINS, **data)
    if others := network.unrelated_with(Shared.WRONG_CERTIFICATE, evidence):
        summary = f"One certificate, for neither, is shown for unrelated hosts, also for {', '.join(others[:5])}."
        yield Outcome.ONE_CERTIFICATE.found(summary, Meaning.EXPLAINS, also_on=list(others))
    if evidence.name_match is not NameMatch.MISMATCH:
        return
    for hit in evidence.context.data.catalogue.match_digests(digests_of((evidence.leaf,))):
        if hit.entry.category == ProductCategory.CAPTIVE_PORTAL:
            summary = f"The certificate's key is that of a known portal: {hit.entry.product}."
            yield Outcome.KNOWN_KEY.found(summary, Meaning.EXPLAINS, product=hit.entry.product)
            return
