"""Bounds-checked reading of protocol messages: the cursor that every parser of this room uses, and its error.

Room: probe. Pure.
"""

from __future__ import annotations

from detector.model import Outcome


class WireError(Exception):
    """The peer's bytes cannot be parsed. Internal to this room; `outcome` is that of the connection."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


def malformed(message: str) -> WireError:
    """Return the error for bytes that break the protocol."""
    return WireError(Outcome.TLS_FAILURE, message)


def too_large(message: str) -> WireError:
    """Return the error for bytes beyond a limit of this room."""
    return WireError(Outcome.TOO_LARGE, message)


class Reader:
    """A cursor over one message (RFC 8446 section 3, RFC 9000 section 16). Raises `WireError` past its end."""

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

    def inner(self, length_size: int) -> Reader:
        """Return a reader of the content of the next vector."""
        return Reader(self.vector(length_size), self._what)

    def vectors(self, length_size: int) -> list[bytes]:
        """Return all vectors up to the end, each with a length field of `length_size` bytes."""
        found = []
        while self.left:
            found.append(self.vector(length_size))
        return found

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
        block = self.inner(2)
        while block.left:
            found.append((block.number(2), block.vector(2)))
        return found

    def only(self, length_size: int) -> Reader:
        """Return a reader of the content of the next vector, after which nothing may follow."""
        content = self.inner(length_size)
        self.end()
        return content

    def end(self) -> None:
        """Require that nothing follows."""
        if self.left:
            raise malformed(f"{self._what} has {self.left} bytes too many")

    def _too_short(self) -> WireError:
        return malformed(f"{self._what} ends before its content does")
