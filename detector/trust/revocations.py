"""Revoked CA certificates as a value: since when, by issuer and serial number or by subject and key.

Room: trust. Pure. `detector.knowledge.revocations` loads the list.

From that day on, a browser refuses every path with such a certificate, whatever its signatures and dates say.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations of records at run time
from typing import TYPE_CHECKING

from detector.model import Record

if TYPE_CHECKING:
    from .certificate import Certificate


class Revocations(Record, frozen=True, kw_only=True):
    """The certificates that a browser's list refused on `date`; None for no list.

    `serials` maps the DER of an issuer's name to serial numbers, `keys` pairs of the DER of a subject and the SHA-256
    of a SubjectPublicKeyInfo: every certificate of that name and key is revoked. Each has the day it was listed.
    """

    date: dt.date | None = None
    serials: dict[bytes, dict[int, dt.date]] = {}  # noqa: RUF012 - msgspec copies defaults
    keys: dict[tuple[bytes, bytes], dt.date] = {}  # noqa: RUF012 - as above

    def revoked_on(self, certificate: Certificate) -> dt.date | None:
        """The day from which browsers refuse this certificate; None when it is not listed.

        Names are compared byte by byte, as the browser does. CAs also revoke what they no longer use, so a chain of
        the time before that day was a genuine one.
        """
        issuer, subject, days = certificate.issuer, certificate.subject, []
        if issuer is not None and certificate.serial is not None:
            days.append(self.serials.get(issuer.der, {}).get(certificate.serial))
        if subject is not None and certificate.spki_sha256 is not None:
            days.append(self.keys.get((subject.der, certificate.spki_sha256)))
        return min((day for day in days if day is not None), default=None)


NO_REVOCATIONS = Revocations()
