"""The form of the list of revoked CA certificates: Mozilla's OneCRL.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the file, which `scripts/build_data.py` makes.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
from typing import Annotated, Final

import msgspec

from detector.model import Record
from detector.trust.revocations import Revocations

from .part import Head, Sha256, Sources

_Name = Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]
"""The DER of a distinguished name; the longest issuer in OneCRL has under 500 bytes."""

_Serial = Annotated[bytes, msgspec.Meta(min_length=1, max_length=64)]
"""The content of a serial number's INTEGER: at most 20 bytes (RFC 5280 section 4.1.2.2), longer in old certificates."""

_ENTRIES_MAX: Final = 65536
"""Entries of one list: OneCRL has under 2,000 (2026)."""


class RevokedSerials(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The revoked serial numbers of one issuer, by the day they were listed."""

    issuer: _Name
    serials: Annotated[
        dict[dt.date, Annotated[tuple[_Serial, ...], msgspec.Meta(min_length=1, max_length=_ENTRIES_MAX)]],
        msgspec.Meta(min_length=1, max_length=_ENTRIES_MAX),
    ]


class RevokedKey(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subject and the SHA-256 of its SubjectPublicKeyInfo, in any certificate, and the day they were listed."""

    subject: _Name
    spki_sha256: Sha256
    since: dt.date


class RevocationsFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file, sorted by issuer and by subject."""

    sources: Sources
    issuers: Annotated[tuple[RevokedSerials, ...], msgspec.Meta(max_length=_ENTRIES_MAX)]
    keys: Annotated[tuple[RevokedKey, ...], msgspec.Meta(max_length=_ENTRIES_MAX)]

    def listed(self) -> Revocations:
        """The list as a value."""
        return Revocations(
            date=self.date,
            serials={
                listed.issuer: {
                    int.from_bytes(serial, "big", signed=True): day
                    for day, serials in listed.serials.items()
                    for serial in serials
                }
                for listed in self.issuers
            },
            keys={(key.subject, key.spki_sha256): key.since for key in self.keys},
        )
