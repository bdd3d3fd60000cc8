"""Check `issuer-impersonation`: does the leaf claim an issuer whose key did not sign it?

Room: checks. Pure. Feeds row 15 of the decision table. A certificate with the issuer's name and key identifier is at
hand (presented, or among the roots), and its key did not make the signature: someone else signed in its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "issuer-impersonation"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`impersonated`; silent otherwise."""
    if case.paths is None or not case.paths.near_issuers or case.public_paths or case.declared_paths:
        return
    impersonated = case.paths.near_issuers[0]
    yield Finding(
        check=ID,
        outcome="impersonated",
        says=Says.INTERCEPTED,
        summary="The certificate names an issuer, by name and key, that did not sign it.",
        data={
            "issuer": impersonated.subject.text if impersonated.subject else None,
            "sha256": impersonated.sha256.hex(),
        },
    )
