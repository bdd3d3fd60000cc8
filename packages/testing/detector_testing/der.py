"""Just enough DER (X.690) to split a certificate at its top level and reassemble it.

Room: testing. Pure. Certificate builders refuse what real interceptors write (version 1, SHA-1), so those certificates
are built well-formed first and then rewritten with these two functions.
"""

from __future__ import annotations

from typing import Final

SEQUENCE: Final = 0x30
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04

_LONG_FORM: Final = 0x80
"""X.690 section 8.1.3.5: set in the first length byte when more length bytes follow."""


def encode(tag: int, *contents: bytes) -> bytes:
    """Encode one element: `tag` (one identifier byte), the definite length of the joined `contents`, the contents."""
    body = b"".join(contents)
    if len(body) < _LONG_FORM:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM | len(length))) + length + body


def children(element: bytes) -> list[bytes]:
    """Return the elements directly inside a constructed `element`, each with its header.

    Raises ValueError when a length exceeds the data.
    """
    start, end = _contents(element, 0)
    found: list[bytes] = []
    while start < end:
        _, stop = _contents(element, start)
        if stop > end:
            raise ValueError("a DER element is longer than the one around it")
        found.append(element[start:stop])
        start = stop
    return found


def _contents(data: bytes, at: int) -> tuple[int, int]:
    """Return the start and end of the contents of the element at offset `at`."""
    if len(data) < at + 2:
        raise ValueError("a DER element ends within its header")
    start, size = at + 2, data[at + 1]
    if size & _LONG_FORM:
        length = size & ~_LONG_FORM
        size = int.from_bytes(data[start : start + length], "big")
        start += length
    if start + size > len(data):
        raise ValueError("a DER element is longer than its data")
    return start, start + size
