"""Records of the catalogue: products that re-sign TLS, and the facts that identify their certificates.

Room: knowledge. Pure: interceptors.json has exactly this form.
"""

from __future__ import annotations

import enum

from detector.model import ManagedBy, Record


class Field(enum.StrEnum):
    """The part of a certificate a fact is about: an attribute of a name (RFC 4514 short names), or a hash."""

    CN = "CN"
    O = "O"  # noqa: E741 - the attribute is called that
    OU = "OU"
    EMAIL_ADDRESS = "emailAddress"
    SHA256 = "sha256"
    SPKI_SHA256 = "spki_sha256"


class Match(enum.StrEnum):
    """How a fact is compared: the whole value with case, a part ignoring case, or `re.search`."""

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
    """One property that identifies a product's certificates. `unverified`: no stored source shows the string."""

    field: Field
    match: Match
    value: str
    where: Where = Where.ISSUER
    strength: Strength = Strength.STRONG
    unverified: bool = False
    note: str | None = None


class Entry(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One product.

    `examples` are names ((type, value) pairs) as a source shows them; `supersedes` are ids of entries that the same
    certificates match and that are then less likely. `remediation` says, in the product's own terms, how its operator
    exempts a host from decryption.
    """

    id: str
    vendor: str
    product: str
    category: ProductCategory
    managed_by: ManagedBy
    confidence: Confidence
    facts: tuple[Fact, ...]
    sources: tuple[str, ...]
    role: Role = Role.INTERCEPTOR
    examples: tuple[tuple[tuple[str, str], ...], ...] = ()
    supersedes: tuple[str, ...] = ()
    remediation: str | None = None
    remediation_source: str | None = None
    notes: str | None = None

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
