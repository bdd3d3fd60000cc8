"""Records of the roots audit: the output of a store reader, and the audit's report on it.

Room: audit. Pure. JSON encoding is that of `detector.model`. No field can hold a user or machine name.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
from typing import Final

from detector.model import Knowledge, ManagedBy, Record, RootOrigin

SCHEMA_VERSION: Final = 1
"""Version of the audit's JSON; increases only if a reader of the old format would misread the new one."""


class InstalledRoot(Record, frozen=True, kw_only=True):
    """One root in one store.

    `store` names the store without naming a person. `installed_at` is the last change of the file, the registry key or
    the trust setting. A `distrusted` root is one that the store lists in order to refuse it.
    """

    der: bytes
    store: str
    origin: RootOrigin = RootOrigin.UNKNOWN
    installed_at: dt.datetime | None = None
    distrusted: bool = False


class UnreadableStore(Record, frozen=True, kw_only=True):
    """A store, or a file in one, that exists but could not be read; `reason` is one clause in lower case."""

    store: str
    reason: str


Found = InstalledRoot | UnreadableStore
"""What the readers of stores yield."""


class Scanned(Record, frozen=True, kw_only=True):
    """What the readers found on a machine."""

    roots: tuple[InstalledRoot, ...] = ()
    unreadable: tuple[UnreadableStore, ...] = ()


class Kind(enum.StrEnum):
    """What a trusted root beyond the public set is, worst first."""

    LEAKED_KEY = "leaked-key"  # the private key is public: anyone can sign with it
    INTERCEPTOR = "interceptor"  # of a product that re-signs TLS
    LOCAL_CA = "local-ca"  # in the catalogue, as a CA for its operator's own servers
    UNKNOWN = "unknown"  # not in the catalogue
    SHIPPED = "shipped"  # the operating system's vendor ships it; Mozilla does not
    FORMERLY_PUBLIC = "formerly-public"  # certifi carried it at some time since 2018


class Known(Record, frozen=True, kw_only=True):
    """The catalogue's entry for a root. `fact` identifies it; `strong` is False if the fact is only supporting."""

    id: str
    vendor: str
    product: str
    category: str
    managed_by: ManagedBy
    fact: str
    strong: bool


class AuditedRoot(Record, frozen=True, kw_only=True):
    """One root beyond the public set, wherever it is installed.

    Hashes are lower-case hexadecimal; what cannot be read from the DER is None. `subject` is an RFC 4514 string,
    without the user or host that a developer's tool put there. `leaked_key` says how the private key became public.
    `installed_at` is the earliest time in any store.
    """

    subject: str | None
    sha256: str
    spki_sha256: str | None
    not_before: dt.datetime | None
    not_after: dt.datetime | None
    expired: bool
    kind: Kind
    stores: tuple[str, ...]
    origins: tuple[RootOrigin, ...]
    installed_at: dt.datetime | None = None
    known: Known | None = None
    leaked_key: str | None = None


class StoreSummary(Record, frozen=True, kw_only=True):
    """One store that was read: how many distinct roots it trusts, and how many of them are in `beyond`."""

    store: str
    trusted: int
    beyond: int


class Verdict(enum.StrEnum):
    """The result of an audit. None of them claims that anything is being decrypted."""

    PUBLIC_ONLY = "public-only"  # nothing beyond the public set
    INTERCEPTOR_TRUSTED = "interceptor-trusted"  # a root with a leaked key, or of a known interception product
    UNKNOWN_TRUSTED = "unknown-trusted"  # other roots beyond the public set
    INCOMPLETE = "incomplete"  # nothing found, but not everything could be read


class AuditReport(Record, frozen=True, kw_only=True):
    """What a machine (or a bundle) trusts beyond `public`.

    `beyond` are the roots that decide the verdict, worst first. The other lists are for information: `shipped` by the
    operating system's vendor though not in the public set, `formerly_public` once in certifi, `distrusted` by every
    store that lists them.
    """

    schema_version: int = SCHEMA_VERSION
    detector_version: str
    at: dt.datetime
    verdict: Verdict
    beyond: tuple[AuditedRoot, ...] = ()
    shipped: tuple[AuditedRoot, ...] = ()
    formerly_public: tuple[AuditedRoot, ...] = ()
    distrusted: tuple[AuditedRoot, ...] = ()
    stores: tuple[StoreSummary, ...] = ()
    unreadable: tuple[UnreadableStore, ...] = ()
    trusted: int
    public: Knowledge
