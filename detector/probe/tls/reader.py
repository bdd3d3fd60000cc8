"""Bounds-checked reading of protocol messages: the cursor that every parser of this room uses, and its error.

Room: probe. Pure.
"""

from __future__ import annotations

import enum


class WireErrorKind(enum.Enum):
    """Why the bytes cannot be parsed any further."""

    NOT_TLS = "not-tls"
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"


class WireError(Exception):
    """The peer's bytes cannot be parsed. Internal to this room: `outcomes` maps it to an outcome."""

    def __init__(self, kind: WireErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def malformed(message: str) -> WireError:
    """Return the error for bytes that break the protocol."""
    return WireError(WireErrorKind.MALFORMED, message)


def too_large(message: str) -> WireError:
    """Return the error for bytes beyond a limit of this room."""
    return WireError(WireErrorKind.TOO_LARGE, message)


class Reader:
    """A cursor over one message (RFC 8446 section 3, RFC 9000 section 16). Raises `WireError` MALFORMED at its end."""

    __slots__ = ("_data", "_what", "at")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        start = self.at
        end = start + count
        if end > len(self._data):
            raise self._too_short()
        self.at = end
        return self._data[start:end]

    def number(self, size: int) -> int:
        """Return the next unsigned integer of `size` bytes in network order."""
        start = self.at  # not by `take`: a handshake reads dozens of numbers
        self.at = end = start + size
        if end > len(self._data):
            raise self._too_short()
        return int.from_bytes(self._data[start:end], "big")

    def vector(self, length_size: int) -> bytes:
        """Return the next variable-length vector, whose length field has `length_size` bytes."""
        start = self.at + length_size
        end = start + int.from_bytes(self._data[self.at : start], "big")
        if start > len(self._data) or end > len(self._data):
            raise self._too_short()
        self.at = end
        return self._data[start:end]

    def skip(self, byte: bytes) -> int:
        """Skip repetitions of this byte; return how many there were."""
        before = self.at
        while self._data.startswith(byte, self.at):
            self.at += 1
        return self.at - before

    def varint(self) -> int:
        """Return the next variable-length integer of QUIC (RFC 9000 section 16)."""
        first = self.number(1)
        return (first & 0x3F) << 8 * (size := (1 << (first >> 6)) - 1) | self.number(size)

    def extensions(self) -> list[tuple[int, bytes]]:
        """Return the next block of extensions (type, body) in wire order (RFC 8446 section 4.2)."""
        found: list[tuple[int, bytes]] = []
        if not (data := self.vector(2)):
            return found
        block = Reader(data, self._what)
        while block.left:
            found.append((block.number(2), block.vector(2)))
        return found

    def end(self) -> None:
        """Require that nothing follows."""
        if self.left:
            raise malformed(f"{self._what} has {self.left} bytes too many")

    def _too_short(self) -> WireError:
        return malformed(f"{self._what} ends before its content does")
