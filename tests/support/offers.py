"""Recorded ClientHellos as offers, and the User-Agents of three families.

Room: tests. Reads tests/origin/recorded_offers.json, which `scripts/build_browser_offers.py` writes.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import msgspec
from build_browser_offers import RECORDED, build

from detector.knowledge.browser_offers import BrowserOffers, RecordedOffer
from detector.knowledge.data_set import shipped
from detector.origin.claims import Claims, Family
from detector.origin.offer import Offer

FAMILIES: Final = (Family.CHROMIUM, Family.FIREFOX, Family.SAFARI)


@cache
def recorded() -> tuple[RecordedOffer, ...]:
    """Every recorded ClientHello."""
    return msgspec.json.decode(RECORDED.read_bytes(), type=tuple[RecordedOffer, ...])


def browsers() -> list[RecordedOffer]:
    """Those of browsers."""
    return [one for one in recorded() if one.family is not Family.UNKNOWN]


def others() -> list[RecordedOffer]:
    """Those of other clients."""
    return [one for one in recorded() if one.family is Family.UNKNOWN]


def offer_of(one: RecordedOffer) -> Offer:
    """Everything of a recorded ClientHello, as if it had been read."""
    return Offer(
        cipher_suites=one.cipher_suites,
        groups=one.groups,
        extensions=one.extensions,
        signature_schemes=one.signature_schemes,
        reserved_cipher_suites=one.reserved,
        reserved_extensions=one.reserved,
        reserved_groups=one.reserved,
    )


def client(name: str) -> Offer:
    """The offer of a client, by the beginning of its name."""
    return offer_of(next(one for one in recorded() if one.client.startswith(name)))


def current(family: Family) -> Claims:
    """The claim to be the newest version of a family that the data has."""
    return Claims(family=family, major=shipped().browser_offers.families[family].last)


def as_of(newest: dict[Family, int]) -> BrowserOffers:
    """The data as it would have been while these versions were the newest."""
    return BrowserOffers(
        build(one for one in recorded() if one.major is None or one.major <= newest.get(one.family, 9999))
    )
