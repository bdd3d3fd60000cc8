"""Records of the catalogue: products that re-sign TLS, and the facts that identify their certificates.

Room: knowledge. Pure: interceptors.json has exactly this form.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from detector.aio.lazy import LazyModule
from detector.knowledge.part import Head, Text
from detector.model import ManagedBy, Record

if TYPE_CHECKING:
    from . import patterns
else:  # for catalogues of updates
    patterns = LazyModule("detector.knowledge.catalogue.patterns")

_Short = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""A name or the value of a fact, in characters: X.520 allows 64 in an attribute, and the longest fact has 171."""
_LISTED_MAX: Final = 64
"""Facts, sources or examples of one entry; the most that one has are 19."""
_Example = Annotated[tuple[tuple[_Short, _Short], ...], msgspec.Meta(max_length=32)]
"""A name as (type, value) pairs."""
_ENTRIES_MAX: Final = 2048
"""Entries of a catalogue; the shipped one has 142."""
PARTIAL_MAX: Final = 1024
"""Facts of a catalogue that are compared one by one with every value: parts of values, and patterns. The shipped one
has 111."""
_SHA256: Final = re.compile("[0-9a-f]{64}")


class Field(enum.StrEnum):
    """The part of a certificate a fact is about: an attribute of a name (RFC 4514 short names), or a hash."""

    CN = "CN"
    O = "O"  # noqa: E741 - the attribute is called that
    OU = "OU"
    EMAIL_ADDRESS = "emailAddress"
    SHA256 = "sha256"
    SPKI_SHA256 = "spki_sha256"


class Match(enum.StrEnum):
    """How a fact is compared: the whole value with case, a part ignoring case, or a pattern of `patterns`."""

    EXACT = "exact"
    CONTAINS = "contains"
    REGEX = "regex"


class Where(enum.StrEnum):
    """Which names are compared: the leaf's issuer and the subjects of the certificates above it, or the leaf's own."""

    ISSUER = "issuer"
    LEAF_SUBJECT = "leaf-subject"


class Strength(enum.StrEnum):
    """Whether a fact identifies the product by itself, or only supports other evidence."""

    STRONG = "strong"
    WEAK = "weak"


class Role(enum.StrEnum):
    """The purpose of the authority: re-signing other parties' names, or certificates of servers of its own.

    A certificate of an `origin-ca` (a developer's local CA, a server's built-in default, a national CA) shows whose
    certificate it is and is no evidence of interception.
    """

    INTERCEPTOR = "interceptor"
    ORIGIN_CA = "origin-ca"


class ProductCategory(enum.StrEnum):
    """The kind of product or authority, which limits what its marks may prove."""

    NETWORK_APPLIANCE = "network-appliance"
    CLOUD_PROXY = "cloud-proxy"
    SCHOOL_FILTER = "school-filter"
    ENDPOINT_SECURITY = "endpoint-security"
    PARENTAL_CONTROL = "parental-control"
    DEBUGGING_PROXY = "debugging-proxy"
    ADWARE_MALWARE = "adware-malware"
    STATE_INTERCEPTION = "state-interception"
    CAPTIVE_PORTAL = "captive-portal"  # sign-in and block pages: answer in a host's place and decrypt nothing
    LOCAL_DEV_CA = "local-dev-ca"  # certifies a developer's own servers only


class Confidence(enum.StrEnum):
    """How well the entry is supported: the product's own code or several dumps, one good source, or hearsay."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Fact(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One property that identifies a product's certificates. `unverified`: no stored source shows the string.

    Raises ValueError, on construction too, for a hash that is not one. A pattern is checked where it comes from
    elsewhere (`CatalogueFile.verify`).
    """

    field: Field
    match: Match
    value: _Short
    where: Where = Where.ISSUER
    strength: Strength = Strength.STRONG
    unverified: bool = False
    note: Text | None = None

    def __post_init__(self) -> None:
        is_hash = self.field in (Field.SHA256, Field.SPKI_SHA256)
        if is_hash and (self.match is not Match.EXACT or _SHA256.fullmatch(self.value) is None):
            raise ValueError("a hash is 64 lower-case hexadecimal digits, compared exactly")


class Entry(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One product.

    `examples` are names ((type, value) pairs) as a source shows them; `supersedes` are ids of entries that the same
    certificates match and that are then less likely. `remediation` says, in the product's own terms, how its operator
    exempts a host from decryption.
    """

    id: _Short
    vendor: _Short
    product: _Short
    category: ProductCategory
    managed_by: ManagedBy
    confidence: Confidence
    facts: Annotated[tuple[Fact, ...], msgspec.Meta(max_length=_LISTED_MAX)]
    sources: Annotated[tuple[Text, ...], msgspec.Meta(max_length=_LISTED_MAX)]
    role: Role = Role.INTERCEPTOR
    examples: Annotated[tuple[_Example, ...], msgspec.Meta(max_length=_LISTED_MAX)] = ()
    supersedes: Annotated[tuple[_Short, ...], msgspec.Meta(max_length=_LISTED_MAX)] = ()
    remediation: Text | None = None
    remediation_source: Text | None = None
    notes: Text | None = None

    @property
    def accuses_by_key(self) -> bool:
        """Whether one of this entry's hashes in a chain proves interception, even below a public root.

        Not the hash of a sign-in or block page, of a CA of one machine's development servers, or of an authority that
        certifies servers of its own.
        """
        return self.role is Role.INTERCEPTOR and self.category not in (
            ProductCategory.CAPTIVE_PORTAL,
            ProductCategory.LOCAL_DEV_CA,
        )


class CatalogueFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of interceptors.json. `date` is the day its facts were last reviewed.

    `unnamed` are products whose operator names their CA, so that no certificate can name the product. For maintainers.
    """

    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=_ENTRIES_MAX)]
    unnamed: Annotated[tuple[dict[str, Text], ...], msgspec.Meta(max_length=_ENTRIES_MAX)] = ()

    def verify(self) -> None:
        """Raise ValueError for a pattern that is not of the form of `patterns`."""
        for number, entry in enumerate(self.entries):
            for place, fact in enumerate(entry.facts):
                if fact.match is Match.REGEX:
                    try:
                        patterns.check(fact.value)
                    except ValueError as error:
                        raise ValueError(f"`entries[{number}].facts[{place}]`: {error}") from error

    def __post_init__(self) -> None:
        partial = sum(fact.match is not Match.EXACT for entry in self.entries for fact in entry.facts)
        if partial > PARTIAL_MAX:
            raise ValueError(
                f"`entries` have {partial} facts that are parts of values, and at most {PARTIAL_MAX} are read"
            )
