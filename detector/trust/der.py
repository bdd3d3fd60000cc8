"""A tolerant, bounded DER reader (ITU-T X.690): walks tags and lengths and decodes values on request.

Room: trust. Pure.

Why not a library: interceptors write certificates that strict parsers refuse as a whole, or load and then refuse field
by field. Here a damaged field costs only that field. `element` says what is tolerated beyond DER. The only exception
that leaves this module is `DERError`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
ENUMERATED: Final = 0x0A
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
NULL: Final = 0x05
SEQUENCE: Final = 0x30
SET: Final = 0x31

_LENGTH_BYTES_MAX: Final = 4
"""Bytes of a long-form length: 4 GiB, far above any bound the callers set."""
_OID_BYTES_MAX: Final = 64
"""Bytes of an object identifier; the longest in use in certificates have about 20."""
ELEMENTS_MAX: Final = 8192
"""Elements that `check` walks, about 10 ms: a usual certificate has about a hundred, one with the 2048 names that are
read about 2200."""


class DERError(ValueError):
    """The bytes are not the expected DER. Internal to parsing: never leaves `trust`."""


class LimitError(DERError):
    """Something is longer than is read. Other programs may read on, and find nothing wrong."""


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
        raise DERError("multi-byte tag")
    length = data[offset + 1]
    content = offset + 2
    if length >= 0x80:  # noqa: PLR2004 - X.690 8.1.3.5, long form
        size = length & 0x7F
        if not 1 <= size <= _LENGTH_BYTES_MAX or content + size > limit:
            raise DERError("length")
        length = int.from_bytes(data[content : content + size], "big")
        content += size
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
    """The elements inside a constructed element, in order. Raises `DERError` at the first malformed one."""
    offset = parent.content
    while offset < parent.end:
        child = element(data, offset, parent.end)
        yield child
        offset = child.end


def check(data: bytes) -> None:
    """Require exactly one element in DER, to the last byte and down to the last part (X.690 10 and 11).

    Lengths in their shortest form, booleans of 00 or FF, integers without padding, valid object identifiers and nulls,
    strings in one piece. The contents of strings are not read. Raises `DERError`, and `LimitError` past `ELEMENTS_MAX`.
    """
    if element(data, 0, len(data)).end != len(data):
        raise DERError("trailing bytes")
    offset, end, outer = 0, len(data), []
    for _ in range(ELEMENTS_MAX):
        # Every element of every assessed certificate passes here, so short forms are read in place.
        content = offset + 2
        tag, length = (data[offset], data[offset + 1]) if content <= end else (0, 0x80)
        following = content + length
        if length >= 0x80 or following > end or tag & 0x1F == 0x1F:  # noqa: PLR2004 - what `element` reads or refuses
            tag, _, content, following = _shortest(element(data, offset, end))
        if not tag & 0x20:  # X.690 8.1.2.5, primitive
            if (is_valid := _VALID.get(tag)) is not None and not is_valid(data[content:following]):
                raise DERError(f"value of tag {tag:#04x}")
            offset = following
        elif tag in {SEQUENCE, SET} or tag & 0xC0:  # of the universal tags these alone are constructed
            outer.append(end)
            offset, end = content, following
        else:
            raise DERError(f"tag {tag:#04x}")
        while offset == end:
            if not outer:
                return
            end = outer.pop()
    raise LimitError("too many elements")


def _shortest(item: Element) -> Element:
    """The element, whose length must be in its shortest form (X.690 10.1)."""
    length = item.end - item.content
    if item.content - item.start != 2 + ((length.bit_length() + 7) // 8 if length >= 0x80 else 0):  # noqa: PLR2004 - what `element` reads or refuses
        raise DERError("length not in its shortest form")
    return item


def is_bit_string(content: bytes) -> bool:
    """Whether this is a value of a BIT STRING (X.690 8.6.2 and 11.2.1): a count of unused bits, and those zero."""
    if len(content) < 2:  # noqa: PLR2004 - the count, and a byte
        return content == b"\x00"
    return content[0] <= 7 and content[-1] & ((1 << content[0]) - 1) == 0  # noqa: PLR2004 - bits of a byte


def _is_integer(content: bytes) -> bool:
    """X.690 8.3.2: the first nine bits are not all the same."""
    return bool(content) and (len(content) == 1 or not (content[0] in {0, 0xFF} and (content[0] ^ content[1]) < 0x80))  # noqa: PLR2004 - bits


def _is_object_identifier(content: bytes) -> bool:
    """X.690 8.19.2: arcs in base 128, none of which begins with a zero (0x80) or is cut short."""
    if not 0 < len(content) <= _OID_BYTES_MAX or content[-1] & 0x80:
        return False
    return 0x80 not in content or not any(  # noqa: PLR2004 - bits
        byte == 0x80 and not before & 0x80  # noqa: PLR2004 - bits
        for before, byte in zip(b"\x00" + content, content, strict=False)
    )


_VALID: Final[dict[int, Callable[[bytes], bool]]] = {
    BOOLEAN: lambda content: content in {b"\x00", b"\xff"},
    INTEGER: _is_integer,
    BIT_STRING: is_bit_string,
    NULL: lambda content: not content,
    OBJECT_IDENTIFIER: _is_object_identifier,
    SEQUENCE & ~0x20: lambda content: False,  # noqa: ARG005 - SEQUENCE and SET are never primitive
    SET & ~0x20: lambda content: False,  # noqa: ARG005 - SEQUENCE and SET are never primitive
}
"""By tag: whether these bytes are a valid value."""


def value(data: bytes, item: Element) -> bytes:
    """The value of an element."""
    return data[item.content : item.end]


def whole(data: bytes, item: Element) -> bytes:
    """All bytes of an element, header included."""
    return data[item.start : item.end]


def oid(data: bytes, item: Element) -> str:
    """An object identifier in dotted form (X.690 8.19). Raises `DERError`."""
    encoded = value(data, item)
    if item.tag != OBJECT_IDENTIFIER or not encoded or len(encoded) > _OID_BYTES_MAX or encoded[-1] & 0x80:
        raise DERError("object identifier")
    return _dotted(encoded)


@functools.lru_cache(maxsize=256)  # certificates use about forty; each is under 100 bytes
def _dotted(encoded: bytes) -> str:
    arcs: list[int] = []
    arc = 0
    for byte in encoded:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def encode(tag: int, content: bytes) -> bytes:
    """A tag-length-value with the length in its shortest form."""
    length = len(content)
    if length < 0x80:  # noqa: PLR2004 - X.690 8.1.3.4, short form
        return bytes((tag, length)) + content
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(encoded))) + encoded + content
