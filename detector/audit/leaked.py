"""Which of the catalogue's certificates have a private key that anybody can have, and how it became public.

Room: audit. Pure apart from reading the package's own data.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

from detector.knowledge.catalogue import Field

if TYPE_CHECKING:
    from detector.knowledge.catalogue import Entry

_HASHES: Final = (Field.SHA256, Field.SPKI_SHA256)


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    leaked: dict[str, str]


@functools.cache
def leaked_keys() -> dict[str, str]:
    """How the private key became public, by the id of the catalogue entry whose hashes name the certificate or key."""
    data = resources.files("detector.audit").joinpath("data/leaked_keys.json").read_bytes()
    return msgspec.json.decode(data, type=_Listed).leaked


def how_leaked(entry: Entry, sha256: str, spki_sha256: str | None) -> str | None:
    """How the key of this very certificate became public, if the entry is one of `leaked_keys` and names it by hash.

    A name proves nothing here: anybody can call a CA after one with a leaked key.
    """
    if any(fact.field in _HASHES and fact.value in (sha256, spki_sha256) for fact in entry.facts):
        return leaked_keys().get(entry.id)
    return None
