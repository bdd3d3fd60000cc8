"""Publicly known intermediate CAs as a value: the hashes of their certificates, keys and names.

Room: trust. Pure. `detector.knowledge.intermediates` loads the list.

A hash recognizes a certificate that was presented or fetched, or the name of one that was not; it verifies nothing by
itself, and clears nothing.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations of records at run time
import hashlib
from typing import TYPE_CHECKING

from detector.model import Record

if TYPE_CHECKING:
    from .distinguished_name import Name


class Intermediates(Record, frozen=True, kw_only=True):
    """The unexpired intermediates that a browser's list knew on `date`; None for no list.

    `certificates` are the SHA-256 of whole certificates, `keys` of SubjectPublicKeyInfos, `names` of subjects in DER.
    Sources give key and name only for some of the certificates, so one that is not in here by its key or its name may
    still be known by its certificate.
    """

    date: dt.date | None = None
    certificates: frozenset[bytes] = frozenset()
    keys: frozenset[bytes] = frozenset()
    names: frozenset[bytes] = frozenset()

    def has(self, digest: bytes) -> bool:
        """Whether this is the SHA-256 of one of them, or of the key of one."""
        return digest in self.certificates or digest in self.keys

    def has_name(self, name: Name) -> bool:
        """Whether one of them has this name, byte by byte."""
        return hashlib.sha256(name.der).digest() in self.names
