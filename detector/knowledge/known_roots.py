"""Public roots that certifi has carried since 2018: names, hashes, certificates, and when each was removed.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the files.

Roots leave the bundle for good reasons, and pin files name roots by certifi's label. With this list a removed root's
label stays known, and a chain to it is verified by signature unlike one to a root that was never public.
`DataSet.public_roots` says which of these are public at a given moment.
"""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Annotated, Final

import msgspec

from detector.model import Record
from detector.trust.roots import Limits

from .part import Head, HexSha256, Text

_LISTED_MAX: Final = 4096
"""Roots, or versions, of one list: there are 219 and 46, and Mozilla's program includes about 10 a year."""
_CERTIFICATE_BYTES_MAX: Final = 16 * 1024
"""Largest root certificate, in bytes; the largest shipped one has 2 KiB."""
_Version = Annotated[str, msgspec.Meta(max_length=64)]
"""The version of a release of certifi."""
Domain = Annotated[str, msgspec.Meta(max_length=253, pattern=r"^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")]
"""A DNS domain in lower case (RFC 1035 section 2.3.4: 253 characters as text)."""
_DOMAINS_MAX: Final = 256
"""Domains of one root; the longest list that NSS has is of nine."""


class KnownRoot(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One root certificate, with the last label that certifi gave it.

    `sha256` (of the DER certificate) and `spki_sha256` are lower-case hexadecimal, `subject` is an RFC 4514 string.
    `first_seen` and `last_seen` are the first and last examined certifi versions that carry it; `removed` is the date
    of the first examined version after that, None for a root that the newest one carries.

    `distrust_after` is the last day (UTC) of which browsers take a new certificate of the root, `permitted_names` the
    domains under which they take any, and `limits_source` says where both are from. They stay known of a removed root:
    what they exclude was never taken.
    """

    label: Text
    sha256: HexSha256
    spki_sha256: HexSha256
    subject: Text
    first_seen: _Version
    last_seen: _Version
    removed: dt.date | None = None
    distrust_after: dt.date | None = None
    permitted_names: Annotated[tuple[Domain, ...], msgspec.Meta(max_length=_DOMAINS_MAX)] = ()
    limits_source: Text = ""

    @property
    def limits(self) -> Limits:
        """What browsers take below this root."""
        return Limits(self.distrust_after, self.permitted_names)

    def is_current(self, at: dt.date | None) -> bool:
        """Whether the root had not been removed on the day `at`; None stands for today."""
        return self.removed is None or (at is not None and at < self.removed)


class KnownRoots(Head, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The content of roots.json: every root in the examined certifi versions, sorted by label.

    One label may name several roots. `versions` are the certifi versions whose every root is known, oldest first.
    """

    versions: Annotated[tuple[_Version, ...], msgspec.Meta(min_length=1, max_length=_LISTED_MAX)]
    roots: Annotated[tuple[KnownRoot, ...], msgspec.Meta(max_length=_LISTED_MAX)]

    @cached_property
    def examined_dates(self) -> frozenset[dt.date]:
        """The dates of `versions`."""
        return frozenset(filter(None, map(date_of, self.versions)))

    @cached_property
    def keys(self) -> frozenset[bytes]:
        """The SHA-256 of the SubjectPublicKeyInfo of every known root."""
        return frozenset(bytes.fromhex(root.spki_sha256) for root in self.roots)

    @cached_property
    def labels(self) -> frozenset[str]:
        """The labels of `roots`."""
        return frozenset(root.label for root in self.roots)

    def label_of(self, digest: bytes) -> str | None:
        """The label of the known root whose key or certificate has this SHA-256; None for anything else."""
        return self._label_by_digest.get(digest)

    @cached_property
    def _label_by_digest(self) -> dict[bytes, str]:
        return {bytes.fromhex(digest): root.label for root in self.roots for digest in (root.sha256, root.spki_sha256)}

    @cached_property
    def newest(self) -> dt.date:
        """The day up to which this list knows of changes."""
        return max((*self.examined_dates, self.date))

    def is_older_than(self, version: str) -> bool:
        """Whether a certifi of this version may know of changes that this list does not."""
        date = date_of(version)
        return date is not None and date > self.newest


class RootCertificates(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of root_certificates.json: the DER certificates of the known roots, in the same order."""

    certificates: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=_CERTIFICATE_BYTES_MAX)], ...],
        msgspec.Meta(max_length=_LISTED_MAX),
    ]


def date_of(version: str) -> dt.date | None:
    """The date in the name of a certifi version (2026.5.20, 2026.10.19.post1); None for other names."""
    try:
        return dt.date(*map(int, version.split(".")[:3]))
    except (ValueError, TypeError):
        return None
