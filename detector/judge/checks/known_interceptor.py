"""Check `catalogue`: whether keys, certificates or names in the chain belong to a known interception product.

Room: judge. Pure. Feeds `interception-key` and `product-mark`, and the attribution.

A key or a certificate is known by its hash wherever it stands on the path, below a public root too: interception CAs
that a public CA had signed are what the catalogue knows best. A name is a mark only where something else issued this
leaf for this name and no client accepts the chain: names can be copied, vendors run public CAs and sites of their own,
and an appliance's own page bears its maker's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.evidence import digests_of
from detector.judge.outcome import CheckOutcome, Findings
from detector.knowledge import catalogue
from detector.model import Meaning
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.judge.evidence import EndpointEvidence
    from detector.knowledge.catalogue import Hit
    from detector.model import Finding

ID: Final = "catalogue"
QUESTION: Final = "Does it bear the mark of a known product?"


class Outcome(CheckOutcome, check=ID):
    """`key`: a key or certificate of an interception product; `product`: a strong mark; `weak` only supports."""

    KEY = (
        "key",
        (
            "The hash of a key or certificate on the path is known to be that of an interception product. Names can "
            "be copied; a key that signs cannot."
        ),
    )
    PRODUCT = (
        "product",
        (
            "A name on the chain is one that an interception product writes into the certificates it makes, and "
            "something else issued this one. A private CA may have chosen the same name."
        ),
    )
    WEAK = "weak", "A name or key of the chain also appears with a known product. It only supports other evidence."


UNNAMED: Final[Mapping[CheckOutcome, str]] = {
    Outcome.KEY: "A key or certificate on the path is in the catalogue.",
    Outcome.PRODUCT: "A name in the chain is in the catalogue.",
    Outcome.WEAK: "A weak mark in the chain is in the catalogue.",
}


def check(evidence: EndpointEvidence) -> Findings:
    """The best founded hit; silent without one. `data` carries the entry that the attribution is made from."""
    if evidence.leaf is None:
        return
    known = evidence.context.data.catalogue
    # What is merely present is not meant: the leaf, and what its signatures lead to.
    on_path = dict.fromkeys((*evidence.presented[:1], *evidence.verified))
    if by_key := known.match_digests(digests_of(on_path)):
        hit = next((hit for hit in by_key if hit.accuses_by_key), by_key[0])
        yield _finding(Outcome.KEY if hit.accuses_by_key else Outcome.WEAK, hit)
    elif not evidence.is_a(ChainClass.ACCEPTED) and (hits := known.match(catalogue.Names.of(evidence.presented))):
        yield _finding(Outcome.PRODUCT if hits[0].strong else Outcome.WEAK, hits[0])


def _finding(outcome: Outcome, hit: Hit) -> Finding:
    entry = hit.entry
    return outcome.found(
        f"The chain carries the mark of {entry.vendor} {entry.product}: {hit.fact}.",
        Meaning.INTERCEPTED,
        id=entry.id,
        product=entry.product,
        vendor=entry.vendor,
        category=entry.category,
        managed_by=entry.managed_by,
        fact=hit.fact,
        remediation=entry.remediation,
    )
