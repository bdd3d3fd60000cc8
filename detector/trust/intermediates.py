"""Publicly known intermediate CAs as a value: the hashes of their certificates and keys.

Room: trust. Pure. `detector.knowledge.intermediates` loads the list.

A hash recognizes a certificate that was presented or fetched; it verifies nothing by itself.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations of records at run time
from typing import TYPE_CHECKING

from detector.model import Record

if TYPE_CHECKING:
    from .certificate import Certificate


class Intermediates(Record, frozen=True, kw_only=True):
    """The unexpired intermediates that a browser's list knew on `date`; None for no list.

    `certificates` are the SHA-256 of whole certificates, `keys` of SubjectPublicKeyInfos. Sources name a key only for
    some of the certificates, so a key that is not in here may still be known by its certificate.
    """

    date: dt.date | None = None
    certificates: frozenset[bytes] = frozenset()
    keys: frozenset[bytes] = frozenset()

    def has(self, certificate: Certificate) -> bool:
        """Whether this is one of them, by its hash or by its key's."""
        return certificate.sha256 in self.certificates or certificate.spki_sha256 in self.keys


NO_INTERMEDIATES = Intermediates()
