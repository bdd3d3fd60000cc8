"""Searches for texts that must not be kept: in every cell of a database, in whatever encoding, and in logs.

Room: tests. Reads databases.

A text is found in any case of letters, in base64, in hexadecimal, in JSON within JSON, compressed, and by its
hashes without a key, which anyone who has a list of students could compute.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import ipaddress
import json
import zlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

_GZIP: Final = b"\x1f\x8b"
_LETTERS_MIN: Final = 16
"""Characters of what is tried as base64: shorter texts are words."""


def encodings(text: str) -> set[bytes]:
    """What a text may have been turned into, in small letters."""
    plain = text.encode()
    forms = {plain, text.encode("utf-16-le"), quote(text, safe="").encode(), json.dumps(text)[1:-1].encode()}
    for form in (plain, text.lower().encode()):
        for made in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            digest = made(form).digest()
            forms |= {digest, base64.b64encode(digest).rstrip(b"=")}
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(text)
        forms |= {address.exploded.encode(), address.reverse_pointer.encode()}
        forms |= {address.packed} if address.version == 6 else set()  # four bytes are found by chance
    return {one.lower() for form in forms for one in (form, form.hex().encode())}


async def cells(connection: AsyncConnection) -> Iterator[tuple[str, Any]]:
    """The place and the value of every cell of every table of the database that is not PostgreSQL's own."""
    tables = sa.MetaData()
    await connection.run_sync(tables.reflect)
    found: list[tuple[str, Any]] = []
    for table in tables.sorted_tables:
        columns = [sa.cast(c, sa.Text) if isinstance(c.type, sa.types.NullType) else c for c in table.columns]
        for row in await connection.execute(sa.select(*columns)):
            found += [(f"{table.name}.{c.name}", value) for c, value in zip(table.columns, row, strict=True)]
    return iter(found)


def contained(value: object) -> Iterator[bytes]:
    """Everything that is in a cell: itself, and what is packed in it, in small letters."""
    if isinstance(value, bytes):
        yield value.lower()
    elif not isinstance(value, dict | list):
        yield str(value).encode(errors="replace").lower()
    for inner in _unpacked(value):
        yield from contained(inner)


def _unpacked(value: object) -> Iterator[object]:
    """What a value is made of, or what was packed into it."""
    if isinstance(value, dict):
        yield from (*value.keys(), *value.values())
    elif isinstance(value, list):
        yield from value
    elif isinstance(value, bytes | str):
        if isinstance(value, bytes) and value.startswith(_GZIP):
            yield zlib.decompress(value, wbits=16 + zlib.MAX_WBITS)
        with contextlib.suppress(ValueError):
            read = json.loads(value)
            yield from [read] if isinstance(read, dict | list | str) else []
        if isinstance(value, str) and len(value) >= _LETTERS_MIN:
            with contextlib.suppress(binascii.Error, ValueError):
                yield base64.b64decode(value + "=" * (-len(value) % 4), validate=True)


def traces(value: object, texts: Collection[str]) -> set[str]:
    """Which of these texts are in a value."""
    wanted = {text: encodings(text) for text in texts}
    inside = list(contained(value))
    return {text for text, forms in wanted.items() if any(form in data for data in inside for form in forms)}


async def traces_in_database(connection: AsyncConnection, texts: Collection[str]) -> dict[str, set[str]]:
    """Which of these texts are in which columns."""
    found: dict[str, set[str]] = {}
    for place, value in await cells(connection):
        if inside := traces(value, texts):
            found.setdefault(place, set()).update(inside)
    return found
