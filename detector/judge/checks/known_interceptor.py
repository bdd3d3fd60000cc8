"""Check `catalogue`: do keys, certificates or names in the chain belong to a known interception product?

Room: judge. Pure. Feeds `interception-key` and `product-mark`, and the attribution.

A key or a certificate is known by its hash wherever it stands on the path, below a public root too: interception CAs
that a public CA had signed are what the catalogue knows best. A name is a mark only where something else issued this
leaf for this name and no client takes the chain: names can be copied, vendors run public CAs and sites of their own,
and an appliance's own page bears its maker's name.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.evidence import digests_of
from detector.knowledge import catalogue
from detector.model import Finding, Meaning
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence
    from detector.knowledge.catalogue import Hit
    from detector.trust.certificate import Certificate

ID: Final = "catalogue"


class Outcome(enum.StrEnum):
    """`key`: a key or certificate of an interception product; `product`: a strong mark; `weak` only supports."""

    KEY = "key"
    PRODUCT = "product"
    WEAK = "weak"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """The best founded hit; silent without one. `data` carries the entry that the attribution is made from."""
    if evidence.leaf is None:
        return
    known = catalogue.shipped()
    if by_key := known.match_digests(digests_of(_on_the_path(evidence))):
        hit = next((hit for hit in by_key if hit.accuses_by_key), by_key[0])
        yield _finding(Outcome.KEY if hit.accuses_by_key else Outcome.WEAK, hit)
    elif not evidence.is_a(ChainClass.ACCEPTED) and (hits := known.match(catalogue.Names.of(evidence.presented))):
        yield _finding(Outcome.PRODUCT if hits[0].strong else Outcome.WEAK, hits[0])


def _on_the_path(evidence: EndpointEvidence) -> tuple[Certificate, ...]:
    """Certificates that the leaf's signatures lead to, the leaf among them: what is merely present is not meant."""
    paths = () if evidence.paths is None else evidence.paths.paths
    return tuple(dict.fromkeys((*evidence.presented[:1], *(c for path in paths for c in path.certificates))))


def _finding(outcome: Outcome, hit: Hit) -> Finding:
    entry = hit.entry
    return Finding(
        check=ID,
        outcome=outcome,
        says=Meaning.INTERCEPTED,
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
