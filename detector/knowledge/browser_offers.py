"""What browser families ever offered in a ClientHello, what known products offer, and headers only interceptors add.

Room: knowledge. Pure apart from reading the package's own data, which `scripts/build_browser_offers.py` writes.

The sets hold everything a family sent in any recorded version or under any setting, without the reserved values of RFC
8701. What a family never sent is no contradiction by itself: only a registered code point that some other client sends
is one (`known`), so that what a browser begins to send tomorrow accuses nobody.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec resolves the annotations at run time
import enum
import functools
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from detector.model import Record, json_text

DATA: Final = Path(__file__).with_name("data") / "browser_offers.json"


class Family(enum.StrEnum):
    """Browsers by TLS stack: BoringSSL as Chromium configures it, NSS as Firefox does, Apple's."""

    CHROMIUM = "chromium"
    FIREFOX = "firefox"
    SAFARI = "safari"
    UNKNOWN = "unknown"


class CodePoints(Record, frozen=True, kw_only=True):
    """Code points of each list of a ClientHello."""

    cipher_suites: tuple[int, ...]
    groups: tuple[int, ...]
    extensions: tuple[int, ...]
    signature_schemes: tuple[int, ...]


class FamilyOffers(Record, frozen=True, kw_only=True):
    """What one family sent in the major versions `first` to `last`; `source` says from where that is known.

    `sent` is everything ever sent, `cipher_sets` the sets of cipher suites observed together.
    """

    family: Family
    first: int
    last: int
    sent: CodePoints
    cipher_sets: tuple[tuple[int, ...], ...]
    source: str


class ProductOffer(Record, frozen=True, kw_only=True):
    """What a known program sends: its cipher suites, and JA4 as measured.

    `is_library` says that many programs share its TLS library.
    """

    product: str
    version: str
    is_library: bool
    ja4: str
    cipher_suites: tuple[int, ...]


class InterceptorHeader(Record, frozen=True, kw_only=True):
    """A request header, in lower case, that a product adds to what it decrypts, and that no browser sends."""

    name: str
    product: str
    source: str


class BrowserOffersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of the data file.

    `date` is the day up to which it knows of changes, `horizon` the last day on which it counts as current.
    """

    schema: int
    version: int
    date: dt.date
    horizon: dt.date
    known: CodePoints
    families: tuple[FamilyOffers, ...]
    products: tuple[ProductOffer, ...]
    headers: tuple[InterceptorHeader, ...]


class FamilySets(NamedTuple):
    """The sets by which an offer is compared with one family: what it `never` sent, and the versions that covers."""

    first: int
    last: int
    never_cipher_suites: frozenset[int]
    never_groups: frozenset[int]
    never_extensions: frozenset[int]
    never_signature_schemes: frozenset[int]
    cipher_suites_max: int


class BrowserOffers:
    """The data, with every set that a comparison needs computed once.

    `cipher_sets` are the sets of cipher suites known to be offered together: by JA4's hash, a whole set is known.
    """

    def __init__(self, file: BrowserOffersFile) -> None:
        self.file = file
        self.families = {one.family: _sets(file.known, one) for one in file.families}
        self.products = {one.ja4: one for one in file.products}
        self.headers = {one.name: one for one in file.headers}
        sets = [*(one for family in file.families for one in family.cipher_sets)]
        sets += [one.cipher_suites for one in file.products]
        self.cipher_sets = frozenset(tuple(sorted(one)) for one in sets)


def _sets(known: CodePoints, offers: FamilyOffers) -> FamilySets:
    sent = offers.sent
    return FamilySets(
        offers.first,
        offers.last,
        frozenset(known.cipher_suites).difference(sent.cipher_suites),
        frozenset(known.groups).difference(sent.groups),
        frozenset(known.extensions).difference(sent.extensions),
        frozenset(known.signature_schemes).difference(sent.signature_schemes),
        len(sent.cipher_suites),
    )


def parse(data: bytes) -> BrowserOffers:
    """Parse the content of the data file. Raises `json_text.MalformedError`."""
    return BrowserOffers(json_text.decode(data, BrowserOffersFile))


@functools.cache
def shipped() -> BrowserOffers:
    """The data that the package ships."""
    return parse(DATA.read_bytes())
