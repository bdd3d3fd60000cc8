"""Check `private-origin`: which innocent kinds of server present such a chain?

Room: checks. Pure. Feeds the alternatives of row 19 of the decision table: evidence for a benign reading, stated as
plainly as evidence against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says
from detector.trust.known_roots import known_roots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "private-origin"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`self-signed`, `retired-root`, `issuer-absent` or `private-ca`; silent with a public path or log."""
    leaf = case.leaf
    if leaf is None or case.paths is None or not case.is_private or case.declared_paths:
        return
    retired = _retired_root(case)
    if retired is not None:
        outcome, summary = "retired-root", f"The chain leads towards {retired}, a root that public bundles once had."
    elif leaf.is_self_issued:
        outcome, summary = "self-signed", "The certificate is self-signed, as small servers and appliances have them."
    elif not case.paths.issuer_known:
        outcome, summary = "issuer-absent", "The issuer's certificate was not presented."
    else:
        outcome, summary = (
            "private-ca",
            "The certificate was signed by a CA of its own, as some organisations run them.",
        )
    yield Finding(check=ID, outcome=outcome, says=Says.EXPLAINS, summary=summary)


def _retired_root(case: EndpointEvidence) -> str | None:
    """The label of a formerly public root that some verified path reaches, by key, or names as its next issuer."""
    if case.paths is None:
        return None
    keys = {root.spki_sha256: root.label for root in known_roots()}
    subjects = {root.subject: root.label for root in known_roots()}
    for path in case.paths.paths:
        for certificate in path.certificates[1:]:
            if certificate.spki_sha256 and (label := keys.get(certificate.spki_sha256.hex())):
                return label
        top = path.certificates[-1]
        if top.issuer is not None and len(path.certificates) > 1 and (label := subjects.get(top.issuer.text)):
            return label
    return None
