"""Public roots that certifi has carried since 2018: names, hashes, certificates, and when each was removed.

Room: knowledge. Pure apart from reading the package's own data.

Roots leave the bundle for good reasons, and pin files name roots by certifi's label. With this list a removed root's
label stays known, and a chain to it is verified by signature unlike one to a root that was never public.
`detector.knowledge.roots.public_roots` says which of these are public at a given moment.
"""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path
from typing import Annotated, Final

import msgspec

from detector.model import Record
from detector.trust.roots import Limits

Domain = Annotated[str, msgspec.Meta(max_length=253, pattern=r"^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")]
"""A DNS domain in lower case (RFC 1035 section 2.3.4: 253 characters as text)."""

DATA: Final = Path(__file__).with_name("data")


class KnownRoot(Record, frozen=True, kw_only=True):
    """One root certificate, with the last label that certifi gave it.

    `sha256` (of the DER certificate) and `spki_sha256` are lower-case hexadecimal, `subject` is an RFC 4514 string.
    `first_seen` and `last_seen` are the first and last examined certifi versions that carry it; `removed` is the date
    of the first examined version after that, None for a root that the newest one carries.

    `distrust_after` is the last day (UTC) of which browsers take a new certificate of the root, `permitted_names` the
    domains under which they take any, and `limits_source` says where both are from. They stay known of a removed root:
    what they exclude was never taken.
    """

    label: str
    sha256: str
    spki_sha256: str
    subject: str
    first_seen: str
    last_seen: str
    removed: dt.date | None = None
    distrust_after: dt.date | None = None
    permitted_names: tuple[Domain, ...] = ()
    limits_source: str = ""

    @property
    def limits(self) -> Limits:
        """What browsers take below this root."""
        return Limits(self.distrust_after, self.permitted_names)

    def is_current(self, at: dt.date | None) -> bool:
        """Whether the root had not been removed on the day `at`; None stands for today."""
        return self.removed is None or (at is not None and at < self.removed)


class _KnownRoots(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    versions: tuple[str, ...]
    roots: tuple[KnownRoot, ...]


class _Certificates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    certificates: tuple[bytes, ...]


@functools.cache
def _file() -> _KnownRoots:
    return msgspec.json.decode((DATA / "known_roots.json").read_bytes(), type=_KnownRoots)


def known_roots() -> tuple[KnownRoot, ...]:
    """Every root in the examined certifi versions, sorted by label. One label may name several roots."""
    return _file().roots


def known_certificates() -> tuple[bytes, ...]:
    """The DER certificates of `known_roots`, in the same order."""
    data = (DATA / "root_certificates.json").read_bytes()
    return msgspec.json.decode(data, type=_Certificates).certificates


def examined_versions() -> tuple[str, ...]:
    """The certifi versions whose every root is known, oldest first."""
    return _file().versions


def date_of(version: str) -> dt.date | None:
    """The date in the name of a certifi version (2026.5.20, 2026.10.19.post1); None for other names."""
    try:
        return dt.date(*map(int, version.split(".")[:3]))
    except (ValueError, TypeError):
        return None


@functools.cache
def examined_dates() -> frozenset[dt.date]:
    """The dates of `examined_versions`."""
    return frozenset(filter(None, map(date_of, examined_versions())))


@functools.cache
def known_root_keys() -> frozenset[bytes]:
    """The SHA-256 of the SubjectPublicKeyInfo of every known root."""
    return frozenset(bytes.fromhex(root.spki_sha256) for root in known_roots())


@functools.cache
def known_labels() -> frozenset[str]:
    """The labels of `known_roots`."""
    return frozenset(root.label for root in known_roots())


def root_of(digest: bytes) -> str | None:
    """The label of the known root whose key or certificate has this SHA-256; None for anything else."""
    return _label_by_digest().get(digest)


@functools.cache
def _label_by_digest() -> dict[bytes, str]:
    return {bytes.fromhex(digest): root.label for root in known_roots() for digest in (root.sha256, root.spki_sha256)}
