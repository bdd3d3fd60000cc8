"""Public roots that certifi has carried since 2018: names, hashes, certificates, and when each was removed.

Room: trust. Pure apart from reading the package's own data: no sockets, no clock.

Roots leave the bundle for good reasons, and pin files name roots by certifi's label. With this list a name stays a
known name after its root has gone, and a chain that ends at such a root is verified by signature and known from one
that nobody ever knew. Which of the roots are public at a moment is said by `detector.trust.roots.public_roots`.
"""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path

import msgspec

from detector.model import Record


class KnownRoot(Record, frozen=True, kw_only=True):
    """One root certificate as certifi labelled it last.

    `sha256` (of the DER certificate) and `spki_sha256` are lower-case hexadecimal, `subject` is an RFC 4514 string as
    `detector.trust.name.Name.text` gives it, `first_seen` and `last_seen` are the first and last of the examined
    certifi versions that carry it. `removed` is the date of the first examined version after that; None for a root
    that the newest one carries.
    """

    label: str
    sha256: str
    spki_sha256: str
    subject: str
    first_seen: str
    last_seen: str
    removed: dt.date | None = None

    def is_current(self, at: dt.date | None) -> bool:
        """Whether the root had not been removed on the day `at`; None stands for today."""
        return self.removed is None or (at is not None and at < self.removed)


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    versions: tuple[str, ...]
    roots: tuple[KnownRoot, ...]


class _Certificates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    certificates: tuple[bytes, ...]


def _data(name: str) -> bytes:
    return Path(__file__).with_name("data").joinpath(name).read_bytes()


@functools.cache
def _listed() -> _Listed:
    return msgspec.json.decode(_data("known_roots.json"), type=_Listed)


def known_roots() -> tuple[KnownRoot, ...]:
    """Give every root certifi has labelled in the examined versions, by label. One label may name several roots."""
    return _listed().roots


def known_certificates() -> tuple[bytes, ...]:
    """Give the DER certificates of `known_roots`, in the same order."""
    return msgspec.json.decode(_data("root_certificates.json"), type=_Certificates).certificates


def examined_versions() -> tuple[str, ...]:
    """Give the certifi versions whose every root is known, oldest first."""
    return _listed().versions


def newest_version() -> str:
    """Give the newest examined certifi version: of it and older ones every root is known."""
    return _listed().versions[-1]


def date_of(version: str) -> dt.date | None:
    """Give the date of a certifi version, which is its name (2026.5.20, 2026.10.19.post1); None for other names."""
    try:
        return dt.date(*map(int, version.split(".")[:3]))
    except (ValueError, TypeError):
        return None


@functools.cache
def examined_dates() -> frozenset[dt.date]:
    """Give the dates of the certifi versions whose every root is known."""
    return frozenset(filter(None, map(date_of, _listed().versions)))


@functools.cache
def known_root_keys() -> frozenset[bytes]:
    """Give the SHA-256 of the SubjectPublicKeyInfo of `known_roots`."""
    return frozenset(bytes.fromhex(root.spki_sha256) for root in known_roots())


def root_of(digest: bytes) -> str | None:
    """Give the label of the known root whose key or certificate has this SHA-256; None for anything else."""
    return _labels().get(digest)


@functools.cache
def _labels() -> dict[bytes, str]:
    hashes = ((root.label, text) for root in known_roots() for text in (root.sha256, root.spki_sha256))
    return {bytes.fromhex(text): label for label, text in hashes}


@functools.cache
def known_labels() -> frozenset[str]:
    """Give the labels of `known_roots`."""
    return frozenset(root.label for root in known_roots())
