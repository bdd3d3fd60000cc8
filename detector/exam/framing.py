"""Frames of the browsers' native-messaging protocol: a 32-bit length in native byte order, then that many octets.

Room: exam. Pure: octets in, payloads out; nothing is read or written here.

Chrome, Edge and Firefox start a host program and talk to it over its standard input and output. To the browser a
message has at most 1 MiB, from the browser 64 MiB; this reader takes far less, because a request is small.
"""

from __future__ import annotations

import struct
from typing import Final

TO_BROWSER_MAX: Final = 1024 * 1024
"""Octets of one message to the browser; at more it ends the conversation (Chrome's documentation, native messaging)."""

_LENGTH: Final = struct.Struct("=I")


class FrameError(ValueError):
    """A length that no frame may have. Where the next frame starts cannot be known any more."""


class FrameReader:
    """Collects octets as they come and gives frames as they become whole, each of at most `limit` octets.

    It holds what was fed and not yet taken, so take every frame before feeding more.
    """

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._received = bytearray()

    def feed(self, data: bytes) -> None:
        """Take octets as they came, in pieces of any size."""
        self._received += data

    def next(self) -> bytes | None:
        """The payload of the next frame that is whole, or None. Raises `FrameError`."""
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if length > self._limit:
            raise FrameError(f"a message of {length} bytes was announced; at most {self._limit} are read")
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        payload = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        return payload


def frame(payload: bytes) -> bytes:
    """One message to the browser. Raises `FrameError` when it is longer than the browser takes."""
    if len(payload) > TO_BROWSER_MAX:
        raise FrameError(f"a message of {len(payload)} bytes; the browser takes at most {TO_BROWSER_MAX}")
    return _LENGTH.pack(len(payload)) + payload
