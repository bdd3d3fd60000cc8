"""Public roots that certifi has carried since 2018, by name and hash. Known is not trusted.

Room: trust. Pure apart from reading the package's own data: no sockets, no clock.

Roots leave the bundle for good reasons, and pin files name roots by certifi's label. With this list a name stays a
known name after its root has gone, and a chain that ends at such a root is told apart from a chain nobody ever
knew. Only names and hashes are kept: nothing here can become a trust anchor.
"""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from detector.model import Record


class KnownRoot(Record, frozen=True, kw_only=True):
    """One root certificate as certifi once labelled it.

    `sha256` (of the DER certificate) and `spki_sha256` are lower-case hexadecimal, `subject` is an RFC 4514 string as
    `detector.trust.name.Name.text` gives it, `first_seen` and `last_seen` are the first and last of the examined
    certifi versions that carry it.
    """

    label: str
    sha256: str
    spki_sha256: str
    subject: str
    first_seen: str
    last_seen: str


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    versions: tuple[str, ...]
    roots: tuple[KnownRoot, ...]


@functools.cache
def _listed() -> _Listed:
    data = Path(__file__).with_name("data").joinpath("known_roots.json").read_bytes()
    return msgspec.json.decode(data, type=_Listed)


def known_roots() -> tuple[KnownRoot, ...]:
    """Give every root certifi has labelled in the examined versions, by label. One label may name several roots."""
    return _listed().roots


def newest_version() -> str:
    """Give the newest examined certifi version: of it and older ones every root is known."""
    return _listed().versions[-1]


@functools.cache
def known_labels() -> frozenset[str]:
    """Give the labels of `known_roots`."""
    return frozenset(root.label for root in known_roots())


@functools.cache
def known_root_keys() -> frozenset[bytes]:
    """Give the SHA-256 of the SubjectPublicKeyInfo of each of `known_roots`: 32 raw bytes each."""
    return frozenset(bytes.fromhex(root.spki_sha256) for root in known_roots())
