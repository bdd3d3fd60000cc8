"""Revoked CA certificates as Mozilla publishes them (OneCRL): what no browser takes although its dates are right.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the file.
"""

from __future__ import annotations

from functools import cached_property

from .part import Head


class Revocations(Head, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The content of revocations.json.

    `serials` are pairs of an issuer's name (DER) and a serial number (the content of its INTEGER), `keys` are pairs of
    a subject (DER) and the SHA-256 of its SubjectPublicKeyInfo.
    """

    sources: tuple[str, ...]
    serials: tuple[tuple[bytes, bytes], ...]
    keys: tuple[tuple[bytes, bytes], ...]

    @cached_property
    def by_serial(self) -> frozenset[tuple[bytes, bytes]]:
        """The revoked (issuer, serial) pairs."""
        return frozenset(self.serials)

    @cached_property
    def by_key(self) -> frozenset[tuple[bytes, bytes]]:
        """The revoked (subject, SHA-256 of the SubjectPublicKeyInfo) pairs."""
        return frozenset(self.keys)
