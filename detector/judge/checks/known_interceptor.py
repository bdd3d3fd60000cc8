"""Check `catalogue`: do names or hashes in the chain belong to a known interception product?

Room: checks. Pure. Feeds row 15 of the decision table, and the attribution. Never applied where a public path or a
public log vouches for the leaf: names can be copied, and some vendors run public CAs too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector import catalogue
from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "catalogue"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`strong` or `weak`; silent without a hit. `data` carries the entry that the attribution is made from."""
    leaf = case.leaf
    if leaf is None or not case.is_private or case.declared_paths:
        return
    hits = catalogue.shipped().match(
        catalogue.Names(
            leaf_issuer=leaf.issuer.attributes if leaf.issuer else (),
            leaf_subject=leaf.subject.attributes if leaf.subject else (),
            ca_subjects=tuple(c.subject.attributes for c in case.presented[1:] if c.subject),
            sha256=frozenset(c.sha256.hex() for c in case.presented),
            spki_sha256=frozenset(c.spki_sha256.hex() for c in case.presented if c.spki_sha256),
        )
    )
    if not hits:
        return
    hit = hits[0]
    entry = hit.entry
    yield Finding(
        check=ID,
        outcome="strong" if hit.strong else "weak",
        says=Says.INTERCEPTED,
        summary=f"The chain carries the mark of {entry.vendor} {entry.product}: {hit.fact}.",
        data={
            "id": entry.id,
            "product": entry.product,
            "vendor": entry.vendor,
            "category": entry.category,
            "managed_by": entry.managed_by,
            "fact": hit.fact,
            "remediation": entry.remediation,
        },
    )
