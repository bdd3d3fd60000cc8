"""The form of the list of publicly known intermediate CAs.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the file, which `scripts/build_data.py` makes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from detector.trust.intermediates import Intermediates

from .part import Head, Sha256, Sources

_Hashes = Annotated[tuple[Sha256, ...], msgspec.Meta(max_length=65536)]
"""Mozilla's list has under 2,000 intermediates (2026); CCADB knows about 10,000, with those that expired."""


class IntermediatesFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file: SHA-256 of certificates, of SubjectPublicKeyInfos and of subjects, each sorted."""

    sources: Sources
    certificates: _Hashes
    keys: _Hashes
    names: _Hashes

    def listed(self) -> Intermediates:
        """The list as a value."""
        return Intermediates(
            date=self.date,
            certificates=frozenset(self.certificates),
            keys=frozenset(self.keys),
            names=frozenset(self.names),
        )
