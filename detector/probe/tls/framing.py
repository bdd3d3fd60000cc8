"""Records and handshake messages, cut from a stream of bytes.

Room: probe. Pure: bytes in, bytes out; how much is read of a peer is bounded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Outcome

from .codepoints import ContentType, HandshakeType
from .hello import MESSAGE_HEADER_BYTES
from .reader import WireError, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE_BYTES_MAX: Final = 1024 * 1024
"""Bytes one handshake message may declare. The length field allows 16 MiB; the largest genuine Certificate messages
seen are under 64 KiB, and OpenSSL itself stops at 100 KiB."""

RECORD_HEADER_BYTES: Final = 5  # type, version, length (RFC 8446 section 5.1)
RECORD_BYTES_MAX: Final = 2**14 + 2048  # of a protected record in TLS 1.2, the larger limit (RFC 5246 section 6.2.3)
PLAINTEXT_BYTES_MAX: Final = 2**14  # bytes of content in one record (RFC 8446 section 5.1)
RECORD_VERSION: Final = b"\x03\x03"  # legacy_record_version after the first ClientHello (RFC 8446 section 5.1)
CHANGE_CIPHER_SPEC: Final = bytes.fromhex("140303000101")
"""The whole record (RFC 5246 section 7.1), which TLS 1.3 sends for middleboxes (RFC 8446 appendix D.4)."""
_MAJOR_VERSION: Final = 3  # first byte of every record's version since SSL 3.0 (RFC 6101 section 5.2.1)
_CONTENT_TYPES: Final = frozenset(ContentType)


def frame_record(content_type: ContentType, content: bytes, version: bytes = RECORD_VERSION) -> bytes:
    """Frame a record (RFC 8446 section 5.1)."""
    return bytes((content_type,)) + version + len(content).to_bytes(2, "big") + content


def frame_message(kind: HandshakeType, body: bytes) -> bytes:
    """Frame a handshake message (RFC 8446 section 4)."""
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def first_record(buffer: bytearray, *, first: bool = False) -> tuple[int, bytes, bytes] | None:
    """Return type, header and body of the record at the start of `buffer`; None while it is incomplete.

    Raises `WireError`: NOT_TLS when it is the connection's `first` record, otherwise TLS_FAILURE.
    """
    header = bytes(buffer[:RECORD_HEADER_BYTES])
    kind = Outcome.NOT_TLS if first else Outcome.TLS_FAILURE
    if header and header[0] not in _CONTENT_TYPES:
        raise WireError(kind, f"a record of type {header[0]}")
    if len(header) > 1 and header[1] != _MAJOR_VERSION:
        raise WireError(kind, f"a record of version {header[1]}")
    if len(header) < RECORD_HEADER_BYTES:
        return None
    length = header[3] << 8 | header[4]
    if length > RECORD_BYTES_MAX:
        raise WireError(kind, f"a record of {length} bytes")
    end = RECORD_HEADER_BYTES + length
    return (header[0], header, bytes(buffer[RECORD_HEADER_BYTES:end])) if len(buffer) >= end else None


def messages_of(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take every complete handshake message off the front of `buffer`: its type, and the message with its header.

    Raises `WireError` TOO_LARGE as soon as a header declares too much: such a message is not waited for.
    """
    while len(buffer) >= MESSAGE_HEADER_BYTES:
        length = int.from_bytes(buffer[1:MESSAGE_HEADER_BYTES], "big")
        if length > MESSAGE_BYTES_MAX:
            raise too_large(f"a handshake message of {length} bytes")
        end = MESSAGE_HEADER_BYTES + length
        if len(buffer) < end:
            return
        whole = bytes(buffer[:end])
        del buffer[:end]
        yield whole[0], whole
