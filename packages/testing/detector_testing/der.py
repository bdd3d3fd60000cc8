"""Just enough DER (X.690) to take a certificate apart at its top level and put it together differently.

Room: testing. Pure. Certificate builders refuse what interceptors really write (version 1, SHA-1), so those
certificates are built well-formed first and then rewritten with these two functions.
"""

from __future__ import annotations

from typing import Final

SEQUENCE: Final = 0x30
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04

_LONG_FORM: Final = 0x80
"""X.690 section 8.1.3.5: set in the first length octet when further length octets follow."""


def encode(tag: int, *contents: bytes) -> bytes:
    """Write one element: `tag` (a single identifier octet), the definite length of `contents` joined, the contents."""
    body = b"".join(contents)
    if len(body) < _LONG_FORM:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM | len(length))) + length + body


def children(element: bytes) -> list[bytes]:
    """List the elements directly inside a constructed `element`, each with its own header.

    Raises ValueError when a length reaches past the end.
    """
    start, end = _contents(element, 0)
    found: list[bytes] = []
    while start < end:
        _, stop = _contents(element, start)
        if stop > end:
            raise ValueError("a DER element is longer than the one it is in")
        found.append(element[start:stop])
        start = stop
    return found


def _contents(data: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the element that starts at `at` begin and end."""
    if len(data) < at + 2:
        raise ValueError("a DER element ends within its header")
    first = data[at + 1]
    start = at + 2
    size = first
    if first & _LONG_FORM:
        octets = first & ~_LONG_FORM
        size = int.from_bytes(data[start : start + octets], "big")
        start += octets
    if start + size > len(data):
        raise ValueError("a DER element is longer than its data")
    return start, start + size
