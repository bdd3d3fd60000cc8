"""Revoked CA certificates as a value: by issuer and serial number, or by subject and key.

Room: trust. Pure. `detector.knowledge.revocations` loads the list.

A browser refuses every path with a certificate that is listed here, whatever its signatures and dates say. A list names
certificates, never their bytes: who holds the key of one can encode its signature anew, but neither change the names
and the number that a CA signed nor leave them out.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations of records at run time
from typing import TYPE_CHECKING

from detector.model import Record

if TYPE_CHECKING:
    from .certificate import Certificate


class Revocations(Record, frozen=True, kw_only=True):
    """The certificates that a browser's list refused on `date`, each with the day since when; None for no list.

    `serials` is by the DER of an issuer's name, then by serial number. `keys` is by the DER of a subject and the
    SHA-256 of a SubjectPublicKeyInfo: every certificate of that name and key is revoked.
    """

    date: dt.date | None = None
    serials: dict[bytes, dict[int, dt.date]] = {}  # noqa: RUF012 - msgspec copies defaults
    keys: dict[tuple[bytes, bytes], dt.date] = {}  # noqa: RUF012 - msgspec copies defaults

    def since(self, certificate: Certificate) -> dt.date | None:
        """The day since when this certificate is revoked; None where it is not. Names are compared byte by byte."""
        issuer, subject, serial, key = (
            certificate.issuer,
            certificate.subject,
            certificate.serial,
            certificate.spki_sha256,
        )
        found = [
            None if issuer is None or serial is None else self.serials.get(issuer.der, {}).get(serial),
            None if subject is None or key is None else self.keys.get((subject.der, key)),
        ]
        return min((day for day in found if day is not None), default=None)


NO_REVOCATIONS = Revocations()
