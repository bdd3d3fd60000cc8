"""The entries of a log: what a data tile holds.

Room: ct. Pure. https://c2sp.org/static-ct-api, Log entries; TimestampedEntry is that of RFC 6962 section 3.4.

What the tree covers is `TimestampedEntry` alone. The precertificate and the fingerprints after it are there for
readers and can be changed by anybody who serves the tile: nothing is concluded from them that signatures do not
confirm.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model.record import from_milliseconds

if TYPE_CHECKING:
    import datetime as dt

TILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a data tile, uncompressed: 256 entries of 256 KiB, the largest certificate that is read. Usual entries have
3 to 6 KiB."""
FINGERPRINTS_MAX: Final = 8
"""Issuers of an entry that are kept; chains have two or three. The format allows 2047."""

_X509: Final = 0
_PRECERTIFICATE: Final = 1
_HASH_BYTES: Final = 32
_HEAD_BYTES: Final = 10
"""Time and type of entry."""
_LEAF_HEAD: Final = b"\x00\x00\x00"
"""The prefix of a leaf's hash (RFC 6962 section 2.1), version v1, and the leaf type timestamped_entry."""
_LEAF_INDEX: Final = 0
_LEAF_INDEX_BYTES: Final = 5


class EntryError(ValueError):
    """Not a data tile; the text is one clause."""


class Entry(NamedTuple):
    """One entry.

    `body` is the certificate, or the TBSCertificate of a precertificate; then `issuer_key_hash` is the SHA-256 of the
    issuing CA's SubjectPublicKeyInfo, and `precertificate` what was submitted. `issuers` are SHA-256 hashes of the
    certificates of the chain that was submitted. `claimed` is the number that the entry says it has, None where
    it says none that can be read.
    """

    number: int
    timestamp_ms: int
    issuer_key_hash: bytes | None
    body: bytes
    claimed: int | None
    precertificate: bytes | None
    issuers: tuple[bytes, ...]
    leaf_hash: bytes

    @property
    def logged_at(self) -> dt.datetime | None:
        """When the log took it; None past the year 9999."""
        return from_milliseconds(self.timestamp_ms)


def read_tile(data: bytes, first: int, width: int) -> list[Entry]:
    """Read the `width` entries of a data tile; `first` is the index of the first one. Raises `EntryError`."""
    entries: list[Entry] = []
    offset = 0
    for index in range(first, first + width):
        entry, offset = _read(data, offset, index)
        entries.append(entry)
    if offset != len(data):
        raise EntryError("bytes follow its last entry")
    return entries


def _read(data: bytes, start: int, index: int) -> tuple[Entry, int]:
    """The entry that begins at `start`, and where it ends."""
    kind = int.from_bytes(data[start + 8 : start + _HEAD_BYTES], "big")
    at = start + _HEAD_BYTES
    issuer_key_hash = None
    if kind == _PRECERTIFICATE:
        issuer_key_hash = data[at : at + _HASH_BYTES]
        at += _HASH_BYTES
    elif kind != _X509:
        raise EntryError(f"entry {index} is of no known type")
    body, at = _vector(data, at, 3)
    extensions, at = _vector(data, at, 2)
    leaf = hashlib.sha256(_LEAF_HEAD)
    leaf.update(memoryview(data)[start:at])
    precertificate = None
    if issuer_key_hash is not None:
        precertificate, at = _vector(data, at, 3)
    fingerprints, at = _vector(data, at, 2)
    if len(fingerprints) % _HASH_BYTES:
        raise EntryError(f"entry {index} has a fingerprint that is cut short")
    kept = fingerprints[: FINGERPRINTS_MAX * _HASH_BYTES]
    issuers = tuple(kept[n : n + _HASH_BYTES] for n in range(0, len(kept), _HASH_BYTES))
    timestamp = int.from_bytes(data[start : start + 8], "big")
    return (
        Entry(index, timestamp, issuer_key_hash, body, leaf_index(extensions), precertificate, issuers, leaf.digest()),
        at,
    )


def _vector(data: bytes, at: int, length_bytes: int) -> tuple[bytes, int]:
    """A vector of TLS (RFC 8446 section 3.4) and where it ends."""
    start = at + length_bytes
    end = start + int.from_bytes(data[at:start], "big")
    if end > len(data) or start > len(data):
        raise EntryError("an entry is cut short")
    return data[start:end], end


def leaf_index(extensions: bytes) -> int | None:
    """The index in the extensions of an entry; None where it is absent, twice there, or cannot be read."""
    found: list[bytes] = []
    at = 0
    while at < len(extensions):
        kind = extensions[at]
        try:
            value, at = _vector(extensions, at + 1, 2)
        except EntryError:
            return None
        if kind == _LEAF_INDEX:
            found.append(value)
    if len(found) != 1 or len(found[0]) != _LEAF_INDEX_BYTES:
        return None
    return int.from_bytes(found[0], "big")
