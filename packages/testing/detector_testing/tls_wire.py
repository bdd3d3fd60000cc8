"""TLS on the wire: records, the ClientHello, the key schedules and record protection of TLS 1.3 and 1.2.

Room: testing. Pure. Follows RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 5288 (AES-GCM) and RFC 7627 (extended
master secret), with one hash (SHA-256) and one AEAD (AES-128-GCM).
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import hmac
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")

MAXIMUM_PLAINTEXT: Final = 1 << 14
"""Bytes of content in one record (RFC 8446 section 5.1)."""

MAXIMUM_RECORD: Final = MAXIMUM_PLAINTEXT + 2048
"""Bytes of an encrypted record's fragment; the limit of TLS 1.2, the larger one (RFC 5246 section 6.2.3)."""

MAXIMUM_CLIENT_MESSAGE: Final = 1 << 17
"""Bytes of one handshake message from a client; a ClientHello with the most extensions fits."""

RECORD_HEADER: Final = 5
MESSAGE_HEADER: Final = 4
"""Bytes of a record header and of a handshake message header."""

HASH_LENGTH: Final = 32
"""Bytes of a SHA-256 hash."""

LEGACY_VERSION: Final = b"\x03\x03"
"""The version in records and hellos of TLS 1.2 and 1.3."""


class ContentType(enum.IntEnum):
    """Content types of records (RFC 8446 section 5.1)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


class HandshakeType(enum.IntEnum):
    """Handshake messages (RFC 8446 section 4, RFC 5246 section 7.4, RFC 8879 section 4)."""

    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_STATUS = 22
    COMPRESSED_CERTIFICATE = 25
    MESSAGE_HASH = 254


class Extension(enum.IntEnum):
    """Extensions this server understands (IANA TLS ExtensionType Values)."""

    SERVER_NAME = 0
    STATUS_REQUEST = 5
    SUPPORTED_GROUPS = 10
    EC_POINT_FORMATS = 11
    SIGNATURE_ALGORITHMS = 13
    ALPN = 16
    SIGNED_CERTIFICATE_TIMESTAMP = 18
    EXTENDED_MASTER_SECRET = 23
    COMPRESS_CERTIFICATE = 27
    SUPPORTED_VERSIONS = 43
    COOKIE = 44
    KEY_SHARE = 51
    RENEGOTIATION_INFO = 0xFF01


class Alert(enum.IntEnum):
    """Alerts this server sends (RFC 8446 section 6)."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70


class TLSWireError(ValueError):
    """The client violated the protocol, or offers nothing this server supports; `alert` is the answer."""

    def __init__(self, message: str, alert: Alert) -> None:
        super().__init__(message)
        self.alert = alert


def vector(data: bytes, length_bytes: int) -> bytes:
    """Prefix `data` with its length (RFC 8446 section 3.4)."""
    return len(data).to_bytes(length_bytes, "big") + data


def record(content_type: int, fragment: bytes, version: bytes = LEGACY_VERSION) -> bytes:
    """Frame plaintext as one record, or as several if it exceeds the maximum."""
    parts = [fragment[at : at + MAXIMUM_PLAINTEXT] for at in range(0, len(fragment), MAXIMUM_PLAINTEXT)] or [b""]
    return b"".join(bytes((content_type,)) + version + vector(part, 2) for part in parts)


def message(kind: HandshakeType, body: bytes) -> bytes:
    """Frame one handshake message."""
    return bytes((kind,)) + vector(body, 3)


def extension(kind: int, body: bytes) -> bytes:
    """Frame one extension."""
    return kind.to_bytes(2, "big") + vector(body, 2)


def certificate_status(response: bytes, kind: int = 1) -> bytes:
    """Frame an OCSP response as a CertificateStatus of this type, 1 being ocsp (RFC 6066 section 8)."""
    return bytes((kind,)) + vector(response, 3)


def alert_record(number: int, level: int = 2) -> bytes:
    """Frame an unencrypted alert: its number (0-255) and level (1 warning, 2 fatal)."""
    return record(ContentType.ALERT, bytes((level, number)))


class RecordBuffer:
    """Splits a byte stream into records."""

    def __init__(self) -> None:
        self._data = bytearray()

    def receive(self, data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (content type, header, fragment) of every record that `data` completes.

        Raises TLSWireError for other protocols and for records longer than TLS allows.
        """
        self._data += data
        while len(self._data) >= RECORD_HEADER:
            header = bytes(self._data[:RECORD_HEADER])
            if header[0] not in set(ContentType) or header[1] != LEGACY_VERSION[0]:
                raise TLSWireError("the data is not a TLS record", Alert.UNEXPECTED_MESSAGE)
            length = int.from_bytes(header[3:], "big")
            if length > MAXIMUM_RECORD:
                raise TLSWireError(f"a record of {length} bytes is longer than TLS allows", Alert.RECORD_OVERFLOW)
            if len(self._data) < RECORD_HEADER + length:
                return
            fragment = bytes(self._data[RECORD_HEADER : RECORD_HEADER + length])
            del self._data[: RECORD_HEADER + length]
            yield header[0], header, fragment


class MessageBuffer:
    """Reassembles handshake messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def receive(self, fragment: bytes) -> Iterator[bytes]:
        """Yield every complete message, with its header. Raises TLSWireError for one that is too long."""
        self._data += fragment
        while len(self._data) >= MESSAGE_HEADER:
            length = MESSAGE_HEADER + int.from_bytes(self._data[1:MESSAGE_HEADER], "big")
            if length > MAXIMUM_CLIENT_MESSAGE:
                raise TLSWireError(f"a handshake message of {length} bytes is too long", Alert.DECODE_ERROR)
            if len(self._data) < length:
                return
            whole = bytes(self._data[:length])
            del self._data[:length]
            yield whole


class Cursor:
    """Reads a structure from left to right, never past its end; true while bytes are left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes. Raises TLSWireError when there are fewer."""
        if self._at + count > len(self._data):
            raise TLSWireError("a handshake message ends too early", Alert.DECODE_ERROR)
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        """Read an unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_bytes: int) -> Cursor:
        """Read a vector with a length prefix, as a cursor."""
        return Cursor(self.take(self.number(length_bytes)))

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self.take(len(self._data) - self._at)

    def numbers(self, size: int) -> tuple[int, ...]:
        """Read integers of `size` bytes up to the end."""
        return tuple(self.each(lambda: self.number(size)))

    def each(self, read: Callable[[], Item]) -> Iterator[Item]:
        """Yield what `read` returns until the end."""
        while self:
            yield read()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClientHello:
    """A ClientHello (RFC 8446 section 4.1.2). `message` is the handshake message with its header."""

    message: bytes
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    extensions: dict[int, bytes]
    server_name: str | None
    versions: tuple[int, ...]
    groups: tuple[int, ...]
    signature_schemes: tuple[int, ...]
    key_shares: dict[int, bytes]
    alpn: tuple[bytes, ...]
    compressions: tuple[int, ...] = ()


def parse_client_hello(whole: bytes) -> ClientHello:
    """Parse one handshake message. Raises TLSWireError if it is not a well-formed ClientHello."""
    cursor = Cursor(whole)
    if cursor.number(1) != HandshakeType.CLIENT_HELLO:
        raise TLSWireError("the first message is not a ClientHello", Alert.UNEXPECTED_MESSAGE)
    body = cursor.vector(3)
    legacy_version = body.number(2)
    random = body.take(32)
    session_id = body.vector(1).rest()
    cipher_suites = body.vector(2).numbers(2)
    body.vector(1)  # compression methods
    extensions = _numbered_vectors(body.vector(2)) if body else {}

    def within(kind: Extension, length_bytes: int = 2) -> Cursor:
        """Return the one vector in an extension; an empty cursor without the extension."""
        contents = Cursor(extensions.get(kind, b""))
        return contents.vector(length_bytes) if contents else contents

    names, protocols = within(Extension.SERVER_NAME), within(Extension.ALPN)
    # The type 0 is host_name (RFC 6066 section 3).
    hosts = [name for kind, name in names.each(lambda: (names.number(1), names.vector(2).rest())) if kind == 0]
    return ClientHello(
        message=whole,
        random=random,
        session_id=session_id,
        cipher_suites=cipher_suites,
        extensions=extensions,
        server_name=hosts[0].decode("ascii", "replace").lower() if hosts else None,
        versions=within(Extension.SUPPORTED_VERSIONS, 1).numbers(2) or (legacy_version,),
        groups=within(Extension.SUPPORTED_GROUPS).numbers(2),
        signature_schemes=within(Extension.SIGNATURE_ALGORITHMS).numbers(2),
        key_shares=_numbered_vectors(within(Extension.KEY_SHARE)),
        alpn=tuple(protocols.each(lambda: protocols.vector(1).rest())),
        compressions=within(Extension.COMPRESS_CERTIFICATE, 1).numbers(2),
    )


def _numbered_vectors(cursor: Cursor) -> dict[int, bytes]:
    """Read pairs of a two-byte number and a vector with a two-byte length, up to the end."""
    return dict(cursor.each(lambda: (cursor.number(2), cursor.vector(2).rest())))


def find_client_hello(data: bytes) -> ClientHello | None:
    """Parse the ClientHello at the start of a connection; None while it is incomplete.

    Raises TLSWireError when `data` cannot be the start of a TLS connection.
    """
    messages = MessageBuffer()
    for content_type, _, fragment in RecordBuffer().receive(data):
        if content_type != ContentType.HANDSHAKE:
            raise TLSWireError("the first record is not a handshake record", Alert.UNEXPECTED_MESSAGE)
        for whole in messages.receive(fragment):
            return parse_client_hello(whole)
    return None


# --- Key schedule of TLS 1.3 (RFC 8446 section 7.1) ---------------------------------------------------------------


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869 section 2.2)."""
    return hmac.digest(salt, secret, "sha256")


def hkdf_expand_label(secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label for a `length` of at most one hash."""
    info = length.to_bytes(2, "big") + vector(b"tls13 " + label.encode(), 1) + vector(context, 1)
    return hmac.digest(secret, info + b"\x01", "sha256")[:length]


def derive_secret(secret: bytes, label: str, transcript_hash: bytes) -> bytes:
    """Derive-Secret from a transcript hash."""
    return hkdf_expand_label(secret, label, transcript_hash, HASH_LENGTH)


class Protection13:
    """Record protection of TLS 1.3 with AES-128-GCM (RFC 8446 section 5.2), for one direction and one key."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._aead = AESGCM(hkdf_expand_label(secret, "key", b"", 16))
        self._iv = int.from_bytes(hkdf_expand_label(secret, "iv", b"", 12), "big")
        self._sequence = 0

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return nonce

    def seal(self, content_type: int, content: bytes, *, padding: int = 0) -> bytes:
        """Encrypt `content` into as many records as needed, each with `padding` zeros at the end."""
        sealed = bytearray()
        for at in range(0, len(content), MAXIMUM_PLAINTEXT):
            inner = content[at : at + MAXIMUM_PLAINTEXT] + bytes((content_type,)) + bytes(padding)
            header = bytes((ContentType.APPLICATION_DATA,)) + LEGACY_VERSION + (len(inner) + 16).to_bytes(2, "big")
            sealed += header + self._aead.encrypt(self._nonce(), inner, header)
        return bytes(sealed)

    def open(self, header: bytes, fragment: bytes) -> tuple[int, bytes]:
        """Decrypt one record into (content type, content). Raises TLSWireError for one of another key."""
        try:
            inner = self._aead.decrypt(self._nonce(), fragment, header).rstrip(b"\x00")
        except (InvalidTag, ValueError):
            raise TLSWireError("a record cannot be decrypted", Alert.BAD_RECORD_MAC) from None
        if not inner:
            raise TLSWireError("a record has no content type", Alert.UNEXPECTED_MESSAGE)
        return inner[-1], inner[:-1]

    def finished(self, transcript_hash: bytes) -> bytes:
        """Return verify_data of a Finished message (RFC 8446 section 4.4.4)."""
        key = hkdf_expand_label(self.secret, "finished", b"", HASH_LENGTH)
        return hmac.digest(key, transcript_hash, "sha256")


# --- Key schedule of TLS 1.2 (RFC 5246 sections 5, 6.3 and 8.1) ---------------------------------------------------


def prf(secret: bytes, label: str, seed: bytes, length: int) -> bytes:
    """Expand a secret with the SHA-256 PRF of TLS 1.2 (RFC 5246 section 5)."""
    seed = label.encode() + seed
    produced, chained = b"", seed
    while len(produced) < length:
        chained = hmac.digest(secret, chained, "sha256")
        produced += hmac.digest(secret, chained + seed, "sha256")
    return produced[:length]


class Protection12:
    """Record protection of TLS 1.2 with AES-128-GCM (RFC 5288 section 3), for one direction."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._aead = AESGCM(key)
        self._salt = salt
        self._sequence = 0

    def _additional_data(self, content_type: int, length: int) -> bytes:
        data = self._sequence.to_bytes(8, "big") + bytes((content_type,)) + LEGACY_VERSION + length.to_bytes(2, "big")
        self._sequence += 1
        return data

    def seal(self, content_type: int, content: bytes) -> bytes:
        """Encrypt `content` into as many records as needed."""
        sealed = bytearray()
        for at in range(0, len(content), MAXIMUM_PLAINTEXT):
            part = content[at : at + MAXIMUM_PLAINTEXT]
            explicit = self._sequence.to_bytes(8, "big")
            encrypted = self._aead.encrypt(self._salt + explicit, part, self._additional_data(content_type, len(part)))
            sealed += record_of(content_type, explicit + encrypted)
        return bytes(sealed)

    def open(self, header: bytes, fragment: bytes) -> tuple[int, bytes]:
        """Decrypt one record into (content type, content). Raises TLSWireError for one of another key."""
        explicit, encrypted = fragment[:8], fragment[8:]
        additional = self._additional_data(header[0], max(len(encrypted) - 16, 0))
        try:
            return header[0], self._aead.decrypt(self._salt + explicit, encrypted, additional)
        except (InvalidTag, ValueError):
            raise TLSWireError("a record cannot be decrypted", Alert.BAD_RECORD_MAC) from None


def record_of(content_type: int, fragment: bytes) -> bytes:
    """Frame one record with an encrypted fragment, which may be longer than plaintext."""
    return bytes((content_type,)) + LEGACY_VERSION + vector(fragment, 2)


def sha256(data: bytes) -> bytes:
    """Hash a transcript."""
    return hashlib.sha256(data).digest()
