"""Publicly known intermediate certificates, by hash: what browsers know, so that a chain without one says little.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the file.
"""

from __future__ import annotations

from functools import cached_property

from .part import Head

_SHA256_BYTES = 32


class Intermediates(Head, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The content of intermediates.json, compact: the SHA-256 hashes of each list are joined, in ascending order.

    `certificates` are those of whole certificates, `spkis` those of their SubjectPublicKeyInfo.
    """

    sources: tuple[str, ...]
    certificates: bytes
    spkis: bytes

    @cached_property
    def by_sha256(self) -> frozenset[bytes]:
        """The SHA-256 of every known intermediate certificate."""
        return _split(self.certificates)

    @cached_property
    def keys(self) -> frozenset[bytes]:
        """The SHA-256 of the SubjectPublicKeyInfo of every known intermediate certificate."""
        return _split(self.spkis)


def _split(joined: bytes) -> frozenset[bytes]:
    return frozenset(joined[at : at + _SHA256_BYTES] for at in range(0, len(joined), _SHA256_BYTES))
