"""Decompresses what was sent, within a bound.

Room: detector_collect.submissions. Pure.
"""

from __future__ import annotations

import zlib
from typing import Final

from .refusals import Refusal, RefusedError

_GZIP_ALONE: Final = 16 + zlib.MAX_WBITS
"""`wbits` of zlib for gzip (RFC 1952) and nothing else, with the largest window."""


def gunzip(data: bytes, *, limit: int) -> bytes:
    """Decompress one member of gzip that has at most `limit` bytes inside.

    No more than one byte past the limit is ever decompressed. Raises `RefusedError` (`too-large`, `unreadable`), also
    for data that is cut off, and for anything after the member: a second one would be another message.
    """
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
