"""Decompresses what was sent, within a bound.

Room: detector_collect.submissions. Pure.
"""

from __future__ import annotations

import zlib
from typing import Final

from .refusals import Refusal, RefusedError

_GZIP_ALONE: Final = 16 + zlib.MAX_WBITS
"""`wbits` of zlib for gzip (RFC 1952) and nothing else, with the largest window."""
_FLAGS_AT: Final = 3
"""Where the header says what else it has: a name, a comment, further fields, a checksum (RFC 1952 section 2.3.1)."""


def gunzip(data: bytes, *, limit: int) -> bytes:
    """Decompress one member of gzip that has at most `limit` bytes inside.

    No more than one byte past the limit is ever decompressed. Raises `RefusedError` (`too-large`, `unreadable`), also
    for data that is cut off, for anything after the member, since a second one would be another message, and for a
    header with more than it must have: nobody signed that, and the name of a file could be stored with it.
    """
    if any(data[_FLAGS_AT : _FLAGS_AT + 1]):
        raise RefusedError(Refusal.UNREADABLE, "The header of the gzip data has a name or other fields.")
    stream = zlib.decompressobj(_GZIP_ALONE)
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error:
        raise RefusedError(Refusal.UNREADABLE, "The gzip data is damaged.") from None
    if len(plain) > limit:
        raise RefusedError(Refusal.TOO_LARGE)
    if not stream.eof:
        raise RefusedError(Refusal.UNREADABLE, "The gzip data is cut off.")
    if stream.unused_data:
        raise RefusedError(Refusal.UNREADABLE, "There is something after the gzip data.")
    return plain
