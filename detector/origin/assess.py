"""What one session shows: the offer and headers of its request against the browser it claims.

Room: origin. Pure: an offer and claims in, a judgment out. `table` decides; this module collects what it reads.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.knowledge.data_set import shipped
from detector.model import Alternative, Attribution, Confidence, Finding, ManagedBy, Meaning, Record
from detector.probe.tls.hello import ja4_hash

from . import table
from .claims import Claims
from .rules import ALONE, RULE_OF, contradictions, is_consistent
from .table import Facts, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.knowledge.browser_offers import BrowserOffers, Family, ProductOffer

    from .offer import Offer
    from .rules import Contradiction

OFFERS_REMEMBERED_MAX: Final = 256
"""Contradicting offers that are remembered: the programs behind a site's requests make some dozens. One has four lists
of `offer.LIST_MAX` numbers at most, so that all have under 16 MiB."""

CODE_POINTS_MAX: Final = 64
"""Code points that a finding names: OpenSSL with everything enabled offers 60 that no browser has."""

HEADERS_MAX: Final = 256
"""Request headers of which the names are read; servers accept about a hundred."""


class Judgment(Record, frozen=True, kw_only=True):
    """The assessment of one session or one network.

    `verdict` is `nothing-seen`, which clears nobody, or `middleware` with its `confidence`, what else could explain it,
    and from `probable` on the product whose ClientHello this is, where one is known. Holds nothing about a person.
    """

    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    alternatives: tuple[Alternative, ...] = ()
    attribution: Attribution | None = None
    findings: tuple[Finding, ...] = ()


NOTHING: Final = Judgment(verdict=Verdict.NOTHING_SEEN, reason=Reason.NOTHING_SEEN)


def judge(
    offer: Offer,
    claims: Claims,
    *,
    headers: Iterable[str] = (),
    nothing_in_between: bool = False,
    data: BrowserOffers | None = None,
) -> Judgment:
    """Assess one request.

    Args:
        offer: what was seen of the ClientHello of its connection.
        claims: the browser that its headers name.
        headers: the names of its headers, in any case.
        nothing_in_between: the operator states that no front of the site's own ended TLS before the place where the
            ClientHello was seen.
        data: what browsers ever offered; what the package ships unless given.
    """
    found = assess(offer, claims, headers=headers, data=shipped().browser_offers if data is None else data)
    if found is CONSISTENT:
        return NOTHING
    facts = found.facts._replace(nothing_in_between=True) if nothing_in_between else found.facts
    return concluded(facts, found.findings, found.products)


class Assessed(NamedTuple):
    """What one request shows, before the table is read."""

    facts: Facts
    findings: tuple[Finding, ...] = ()
    products: tuple[ProductOffer, ...] = ()


CONSISTENT: Final = Assessed(Facts())
"""What a request shows whose ClientHello and headers its browser can send."""


def assess(offer: Offer, claims: Claims, *, headers: Iterable[str], data: BrowserOffers) -> Assessed:
    """Collect what the table reads of one request."""
    broken, added = contradicted(offer, claims, data), _added(headers, data)
    found = _explained(offer, broken, data) if broken else CONSISTENT
    if broken and claims.is_embedded:
        found = found._replace(facts=found.facts._replace(is_embedded=True))
    if not added:
        return found
    return Assessed(found.facts._replace(has_header=True), (*found.findings, *added), found.products)


@functools.lru_cache(maxsize=OFFERS_REMEMBERED_MAX)
def _explained(offer: Offer, broken: tuple[Contradiction, ...], data: BrowserOffers) -> Assessed:
    products = known_products(offer, data)
    # No two rules of a family read the same part.
    facts = Facts(parts=len(broken), another_browsers=is_possible(offer, data))
    return Assessed(facts, (*map(_finding, broken), *_product_finding(products)), products)


def contradicted(offer: Offer, claims: Claims, data: BrowserOffers) -> tuple[Contradiction, ...]:
    """Return what contradicts the claims; nothing where the maker of a browser on iOS may use another stack there."""
    broken = contradictions(offer, claims, data)
    if broken and claims.maker_ships is not None and is_possible(offer, data, claims.maker_ships):
        return ()
    return broken


def is_possible(offer: Offer, data: BrowserOffers, *families: Family) -> bool:
    """Whether one of these families, or any, can send this offer in its newest version, as far as it was seen."""
    return any(is_consistent(offer, _current(family, data), data) for family in families or data.families)


@functools.lru_cache(maxsize=64)
def _current(family: Family, data: BrowserOffers) -> Claims:
    """The claim to be the newest version that the data has."""
    sets = data.families.get(family)
    return Claims(family=family, major=None if sets is None else sets.last)


def concluded(facts: Facts, findings: tuple[Finding, ...], products: tuple[ProductOffer, ...]) -> Judgment:
    """Make the judgment of what the table decides."""
    decision = table.decide(facts)
    sure = decision.confidence is not None and decision.confidence.reaches(Confidence.PROBABLE)
    return Judgment(
        verdict=decision.verdict,
        reason=decision.reason,
        confidence=decision.confidence,
        alternatives=decision.alternatives,
        attribution=_attribution(products) if sure else None,
        findings=findings,
    )


def _finding(broken: Contradiction) -> Finding:
    rule, points = RULE_OF[broken.rule], broken.code_points
    data = {} if points == ALONE else {"code_points": list(points[:CODE_POINTS_MAX])}
    return Finding(
        check="origin-offer",
        outcome=rule.name,
        says=Meaning.INTERCEPTED,
        summary=f"The browser named by the User-Agent cannot send this: {rule.needs}.",
        data={"part": rule.part.value, **data},
    )


def _added(headers: Iterable[str], data: BrowserOffers) -> tuple[Finding, ...]:
    """What headers only interceptors add. Their values are not read: they can name a person."""
    found = []
    for number, name in enumerate(headers):
        if number >= HEADERS_MAX:
            break
        if (known := data.headers.get(name.lower())) is not None:
            found.append(
                Finding(
                    check="origin-header",
                    outcome="interceptor-header",
                    says=Meaning.INTERCEPTED,
                    summary=f"The request has the header {known.name}, which browsers do not send.",
                    data={"header": known.name, "product": known.product},
                )
            )
    return tuple(found)


def known_products(offer: Offer, data: BrowserOffers) -> tuple[ProductOffer, ...]:
    """Return the known programs that send these cipher suites, extensions and signature schemes, as far as seen."""
    found = () if offer.cipher_suites is None else data.products.get(frozenset(offer.cipher_suites), ())
    if not found or (rest := _ja4_rest(offer)) is None:
        return found
    return tuple(product for product in found if product.ja4.endswith(rest))


def _ja4_rest(offer: Offer) -> str | None:
    """The last part of JA4: the hash of extensions and signature schemes, None where they were not seen."""
    if offer.ja4 is not None:
        return offer.ja4.rpartition("_")[2]
    if offer.extensions is None or offer.signature_schemes is None:
        return None
    kinds = ",".join(sorted(f"{kind:04x}" for kind in offer.extensions if kind not in _NOT_HASHED))
    schemes = ",".join(f"{scheme:04x}" for scheme in offer.signature_schemes)
    return ja4_hash("_".join(filter(None, (kinds, schemes))))


_NOT_HASHED: Final = frozenset({0, 16})
"""server_name and ALPN, which JA4 has in its first part."""


def _product_finding(products: tuple[ProductOffer, ...]) -> tuple[Finding, ...]:
    if not products:
        return ()
    return (
        Finding(
            check="origin-product",
            outcome="known-program",
            says=Meaning.NEUTRAL,
            summary="A known program or TLS library sends such a ClientHello: a weak mark, which other programs share.",
            data={"products": [f"{one.product} {one.version}" for one in products]},
        ),
    )


def _attribution(products: tuple[ProductOffer, ...]) -> Attribution | None:
    """Name the product where exactly one is known to send this."""
    if len(products) != 1 or products[0].is_library:
        return None
    return Attribution(
        product=products[0].product,
        managed_by=ManagedBy.UNKNOWN,
        basis="the ClientHello, a weak mark: other programs may send the same",
    )
