"""Check `forged-issuer`: whether a certificate claims a public CA whose key did not sign it, or is not its own.

Room: judge. Pure. Feeds `forged-issuer`. Searches the whole path, from the leaf upwards:

* A certificate names a public CA as its issuer, by name and key identifier, and that CA's key did not sign it.
* A certificate bears the name and the key identifier of a public CA, and another key.
* A certificate has the public point of a public CA's key under other curve parameters (CVE-2020-0601).

Only a CA that is known to be public by itself is impersonated: private CAs renew their keys under old names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.trust.classes import ChainClass
from detector.trust.signature import Signed, verify_issued
from detector.trust.spki import same_point_other_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from detector.judge.evidence import EndpointEvidence
    from detector.trust.certificate import Certificate

ID: Final = "forged-issuer"
QUESTION: Final = "Does it claim a public CA that did not sign it?"

CERTIFICATES_MAX: Final = 16
"""Presented certificates that are examined: genuine chains have two to five, and each costs a few comparisons."""

NAMESAKES_MAX: Final = 4
"""Public roots of one name that are compared; three is the most that certifi has had."""


class Outcome(CheckOutcome, check=ID):
    """How a public CA is impersonated."""

    NOT_SIGNED_BY = (
        "not-signed-by",
        (
            "A certificate names a public CA as its issuer, by name and key identifier, and that CA's key did not "
            "sign it. Interceptors that copy fields do that; a server that mixes up certificates might."
        ),
    )
    OTHER_KEY = (
        "other-key",
        (
            "A certificate bears the name and key identifier of a public CA, and another key. No genuine CA "
            "certificate does."
        ),
    )
    OTHER_PARAMETERS = (
        "other-parameters",
        (
            "A certificate has the public point of a public CA's key under other curve parameters, which is an attack "
            "on clients that do not compare them (CVE-2020-0601)."
        ),
    )


UNNAMED: Final[Mapping[CheckOutcome, str]] = dict.fromkeys(
    Outcome, "A certificate of the chain claims a public CA that did not sign it, or is not it."
)
_SUMMARY: Final[dict[Outcome, str]] = {
    Outcome.NOT_SIGNED_BY: "A certificate names the public CA {ca} as its issuer, and that CA's key did not sign it.",
    Outcome.OTHER_KEY: "A certificate bears the name and key identifier of the public CA {ca}, and another key.",
    Outcome.OTHER_PARAMETERS: "A certificate has the public point of {ca} with other curve parameters (CVE-2020-0601).",
}


def check(evidence: EndpointEvidence) -> Findings:
    """The first impersonation on the path; silent where the chain is accepted or declared."""
    if evidence.leaf is None or evidence.is_a(ChainClass.ACCEPTED, ChainClass.DECLARED):
        return
    # The leaf, what its signatures lead to, and what it was sent with.
    path = dict.fromkeys((*evidence.presented[:1], *evidence.verified, *evidence.presented[1:]))
    for certificate in tuple(path)[:CERTIFICATES_MAX]:
        for ca in _public_cas(evidence, certificate):
            outcome = _impersonation(certificate, ca)
            if outcome is not None:
                name = ca.subject.text if ca.subject else "unreadable"
                yield outcome.found(
                    _SUMMARY[outcome].format(ca=name),
                    Meaning.INTERCEPTED,
                    ca=name,
                    sha256=ca.sha256.hex(),
                    certificate=certificate.sha256.hex(),
                )
                return


def _public_cas(evidence: EndpointEvidence, certificate: Certificate) -> Iterator[Certificate]:
    """Public CAs that this certificate may claim as its issuer or claim to be: roots, and CAs that lead to one."""
    names = {name.canonical for name in (certificate.issuer, certificate.subject) if name is not None}
    for name in names:
        for root in evidence.context.roots.by_subject.get(name, ())[:NAMESAKES_MAX]:
            yield root.certificate
    for other in evidence.presented[1:CERTIFICATES_MAX]:
        if other.subject is not None and other.subject.canonical in names and _is_public_ca(evidence, other):
            yield other


def _is_public_ca(evidence: EndpointEvidence, certificate: Certificate) -> bool:
    """Whether a public root signed this CA, or a list knows it: then its name and key belong together."""
    if certificate.issuer is None or certificate.is_ca is not True:
        return False
    if certificate.sha256 in evidence.context.data.intermediates.certificates:
        return True
    roots = evidence.context.roots.by_subject.get(certificate.issuer.canonical, ())[:NAMESAKES_MAX]
    return any(
        root.certificate.spki is not None and verify_issued(certificate, root.certificate.spki) is Signed.VALID
        for root in roots
    )


def _impersonation(certificate: Certificate, ca: Certificate) -> Outcome | None:
    if ca.spki is None or ca.subject is None or certificate.spki == ca.spki:
        return None
    if certificate.subject is not None and certificate.subject.canonical == ca.subject.canonical:
        if certificate.spki is not None and same_point_other_parameters(certificate.spki, ca.spki):
            return Outcome.OTHER_PARAMETERS
        identifier = certificate.key_identifier
        if identifier is not None and identifier == ca.key_identifier:
            return Outcome.OTHER_KEY
    if certificate.issuer is None or certificate.issuer.canonical != ca.subject.canonical:
        return None
    identifier = certificate.authority_key_identifier
    claimed = identifier is not None and identifier == ca.key_identifier
    return Outcome.NOT_SIGNED_BY if claimed and verify_issued(certificate, ca.spki) is Signed.INVALID else None
