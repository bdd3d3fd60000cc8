"""A tolerant, bounded reader of DER (ITU-T X.690): walks tags and lengths, decodes nothing it is not asked for.

Room: trust. Pure.

Why not a library: interceptors write certificates that strict parsers refuse as a whole, or that they load and then
refuse field by field. Here a damaged field costs that field and nothing else. What is tolerated beyond DER is stated
at `element`. The only exception that leaves this module is `DERError`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
ENUMERATED: Final = 0x0A
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

_LENGTH_OCTETS_MAX: Final = 4
"""Octets of a long-form length: 4 GiB, far above any bound the callers set."""
_OID_OCTETS_MAX: Final = 64
"""Octets of an object identifier; the longest in use in certificates have about 20."""


class DERError(ValueError):
    """The bytes are not what DER says should stand here. Internal to reading: never leaves `trust`."""


class Element(NamedTuple):
    """One tag-length-value: `data[start:end]` is all of it, `data[content:end]` its value."""

    tag: int
    start: int
    content: int
    end: int


def element(data: bytes, offset: int, limit: int) -> Element:
    """The element at `offset`, which must end at or before `limit`.

    Tolerated beyond DER: lengths not in their shortest form. Not tolerated: indefinite lengths, tags above 30,
    anything that runs past `limit`. Raises `DERError`.
    """
    if offset + 2 > limit:
        raise DERError("truncated header")
    tag = data[offset]
    if tag & 0x1F == 0x1F:  # noqa: PLR2004 - X.690 8.1.2.4, high tag numbers
        raise DERError("multi-octet tag")
    length = data[offset + 1]
    content = offset + 2
    if length >= 0x80:  # noqa: PLR2004 - X.690 8.1.3.5, long form
        octets = length & 0x7F
        if not 1 <= octets <= _LENGTH_OCTETS_MAX or content + octets > limit:
            raise DERError("length")
        length = int.from_bytes(data[content : content + octets], "big")
        content += octets
    end = content + length
    if end > limit:
        raise DERError("value runs past its container")
    return Element(tag, offset, content, end)


def expect(data: bytes, offset: int, limit: int, tag: int) -> Element:
    """The element at `offset`, which must have this tag. Raises `DERError`."""
    found = element(data, offset, limit)
    if found.tag != tag:
        raise DERError(f"tag {found.tag:#04x} where {tag:#04x} belongs")
    return found


def children(data: bytes, parent: Element) -> Iterator[Element]:
    """The elements inside a constructed element, in order. Raises `DERError` where they stop making sense."""
    offset = parent.content
    while offset < parent.end:
        child = element(data, offset, parent.end)
        yield child
        offset = child.end


def value(data: bytes, item: Element) -> bytes:
    """The value octets of an element."""
    return data[item.content : item.end]


def whole(data: bytes, item: Element) -> bytes:
    """All octets of an element, header included."""
    return data[item.start : item.end]


def oid(data: bytes, item: Element) -> str:
    """An object identifier in dotted form (X.690 8.19). Raises `DERError`."""
    octets = value(data, item)
    if item.tag != OBJECT_IDENTIFIER or not octets or len(octets) > _OID_OCTETS_MAX or octets[-1] & 0x80:
        raise DERError("object identifier")
    return _dotted(octets)


@functools.lru_cache(maxsize=256)  # certificates use about forty; each is under 100 octets
def _dotted(octets: bytes) -> str:
    arcs: list[int] = []
    arc = 0
    for octet in octets:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def encode(tag: int, content: bytes) -> bytes:
    """A tag-length-value with the length in its shortest form."""
    length = len(content)
    if length < 0x80:  # noqa: PLR2004 - X.690 8.1.3.4, short form
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
