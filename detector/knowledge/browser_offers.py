"""What browser families ever offered in a ClientHello, what known products offer, and headers only interceptors add.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the file, which `scripts/build_browser_offers.py` makes.

The sets hold everything a family sent in any recorded version or under any setting, without the reserved values of RFC
8701. What a family never sent is no contradiction by itself: only a registered code point that some other client sends
is one (`known`), so that what a browser begins to send tomorrow accuses nobody.
"""

from __future__ import annotations

import enum
from typing import Annotated, NamedTuple

import msgspec

from detector.model import Record

from .part import CodePointList, Head, Text

_Major = Annotated[int, msgspec.Meta(ge=0, le=9999)]
_JA4 = Annotated[str, msgspec.Meta(pattern="^[0-9a-z]{10}_[0-9a-f]{12}_[0-9a-f]{12}$")]


class Family(enum.StrEnum):
    """Browsers by TLS stack: BoringSSL as Chromium configures it, NSS as Firefox does, Apple's."""

    CHROMIUM = "chromium"
    FIREFOX = "firefox"
    SAFARI = "safari"
    UNKNOWN = "unknown"


class CodePoints(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Code points of each list of a ClientHello."""

    cipher_suites: CodePointList
    groups: CodePointList
    extensions: CodePointList
    signature_schemes: CodePointList


class FamilyOffers(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one family sent in the major versions `first` to `last`; `source` says from where that is known.

    `sent` is everything ever sent, `cipher_sets` the sets of cipher suites observed together.
    """

    family: Family
    first: _Major
    last: _Major
    sent: CodePoints
    cipher_sets: Annotated[tuple[CodePointList, ...], msgspec.Meta(max_length=256)]
    source: Text


class RecordedOffer(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recorded ClientHello, of which the data is made: of a browser, with its major version, or of another client.

    `reserved` says whether its lists had values of RFC 8701, which are left out.
    """

    client: str
    family: Family = Family.UNKNOWN
    major: int | None = None
    ja4: str
    reserved: bool
    cipher_suites: tuple[int, ...]
    groups: tuple[int, ...]
    extensions: tuple[int, ...]
    signature_schemes: tuple[int, ...]


class ProductOffer(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a known program sends: its cipher suites, and JA4 as measured.

    `is_library` says that many programs share its TLS library.
    """

    product: Text
    version: Text
    is_library: bool
    ja4: _JA4
    cipher_suites: CodePointList


class InterceptorHeader(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request header, in lower case, that a product adds to what it decrypts, and that no browser sends."""

    name: Text
    product: Text
    source: Text


class BrowserOffersFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the data file."""

    known: CodePoints
    families: Annotated[tuple[FamilyOffers, ...], msgspec.Meta(max_length=16)]
    products: Annotated[tuple[ProductOffer, ...], msgspec.Meta(max_length=1024)]
    headers: Annotated[tuple[InterceptorHeader, ...], msgspec.Meta(max_length=1024)]


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

    `products` are by their cipher suites, `headers` by their names;
    `cipher_sets` are the sets of cipher suites known to be offered together: by JA4's hash, a whole set is known.
    """

    def __init__(self, file: BrowserOffersFile) -> None:
        self.file = file
        self.families: dict[Family, FamilySets] = {
            one.family: _sets(file.known, one) for one in file.families if one.family is not Family.UNKNOWN
        }
        self.products: dict[frozenset[int], tuple[ProductOffer, ...]] = {}
        for one in file.products:
            suites = frozenset(one.cipher_suites)
            self.products[suites] = (*self.products.get(suites, ()), one)
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
