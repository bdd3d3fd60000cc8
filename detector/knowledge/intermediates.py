"""Loads the list of publicly known intermediate CAs.

Room: knowledge. Pure apart from reading the package's own data, which `scripts/build_data.py` makes.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Final

import msgspec

from detector.trust.intermediates import Intermediates

from .part import Head, Sha256, Sources, decode

FILE: Final = "intermediates.json"
SCHEMA: Final = 1
"""The form of the file."""

_Hashes = Annotated[tuple[Sha256, ...], msgspec.Meta(max_length=65536)]
"""Mozilla's list has under 2,000 intermediates (2026); CCADB knows about 10,000, with those that expired."""


class IntermediatesFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file: SHA-256 of certificates and of SubjectPublicKeyInfos, each sorted."""

    sources: Sources
    certificates: _Hashes
    keys: _Hashes


@functools.cache
def shipped() -> Intermediates:
    """The list that comes with the package."""
    return parse((Path(__file__).with_name("data") / FILE).read_bytes(), name=FILE)


def parse(data: bytes, *, name: str) -> Intermediates:
    """Parse such a file; `name` is used in messages. Raises `KnowledgeError`."""
    part = decode(data, IntermediatesFile, name=name, schema=SCHEMA)
    return Intermediates(date=part.date, certificates=frozenset(part.certificates), keys=frozenset(part.keys))
