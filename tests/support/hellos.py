"""Hellos by hand, byte for byte.

Room: tests. Pure.
"""

from __future__ import annotations

import struct

RANDOM = bytes(range(32))


def vector(data: bytes, raw: int) -> bytes:
    """Data behind its length."""
    return len(data).to_bytes(raw, "big") + data


def u16(*numbers: int) -> bytes:
    """Numbers of two bytes."""
    return struct.pack(f">{len(numbers)}H", *numbers)


def extension(kind: int, body: bytes = b"") -> bytes:
    """One extension."""
    return u16(kind) + vector(body, 2)


def client_hello(version: int, suites: tuple[int, ...], *extensions: bytes, compression: bytes = b"\x00") -> bytes:
    """A ClientHello by hand; without extensions it ends before them, as old clients' did."""
    body = u16(version) + RANDOM + vector(b"", 1) + vector(u16(*suites), 2) + vector(compression, 1)
    if extensions:
        body += vector(b"".join(extensions), 2)
    return b"\x01" + vector(body, 3)
