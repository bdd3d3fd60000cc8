"""TLS on the wire: records, the ClientHello, the key schedules and record protection of TLS 1.3 and 1.2.

Room: testing. Pure: bytes in, bytes out. Follows RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 5288 (AES-GCM in TLS 1.2)
and RFC 7627 (extended master secret). Only what a scripted server needs: one hash (SHA-256), one AEAD (AES-128-GCM).
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Iterator

MAXIMUM_PLAINTEXT: Final = 1 << 14
"""Octets of content in one record (RFC 8446 section 5.1)."""

MAXIMUM_RECORD: Final = MAXIMUM_PLAINTEXT + 2048
"""Octets of an encrypted record's fragment, the larger allowance of TLS 1.2 (RFC 5246 section 6.2.3)."""

MAXIMUM_CLIENT_MESSAGE: Final = 1 << 17
"""Octets of one handshake message from a client. A ClientHello of two octets' worth of extensions fits."""

RECORD_HEADER: Final = 5
MESSAGE_HEADER: Final = 4
"""Octets of a record header and of a handshake message header."""

HASH_LENGTH: Final = 32
"""Octets of SHA-256."""

LEGACY_VERSION: Final = b"\x03\x03"
"""What TLS 1.2 and 1.3 write as version of records and hellos."""


class ContentType(enum.IntEnum):
    """What a record carries (RFC 8446 section 5.1)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


class HandshakeType(enum.IntEnum):
    """Handshake messages (RFC 8446 section 4, RFC 5246 section 7.4)."""

    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_STATUS = 22


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
    SUPPORTED_VERSIONS = 43
    KEY_SHARE = 51
    RENEGOTIATION_INFO = 0xFF01


class Alert(enum.IntEnum):
    """Alerts this server sends on its own account (RFC 8446 section 6)."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70


class TLSWireError(ValueError):
    """A client sent what no client should, or nothing this server can do; `alert` is what to answer."""

    def __init__(self, message: str, alert: Alert) -> None:
        super().__init__(message)
        self.alert = alert


def vector(data: bytes, length_octets: int) -> bytes:
    """Prefix `data` with its length (RFC 8446 section 3.4)."""
    return len(data).to_bytes(length_octets, "big") + data


def record(content_type: int, fragment: bytes, version: bytes = LEGACY_VERSION) -> bytes:
    """One plaintext record, or several when `fragment` is longer than one may be; an empty one for nothing."""
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
    """One unencrypted alert: its number (0-255) and level, 2 being fatal."""
    return record(ContentType.ALERT, bytes((level, number)))


class RecordBuffer:
    """Cuts a stream into records."""

    def __init__(self) -> None:
        self._data = bytearray()

    def receive(self, data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
        """Give (content type, header, fragment) of every record that `data` completes.

        Raises TLSWireError for what is not TLS and for records longer than TLS allows.
        """
        self._data += data
        while len(self._data) >= RECORD_HEADER:
            header = bytes(self._data[:RECORD_HEADER])
            if header[0] not in set(ContentType) or header[1] != LEGACY_VERSION[0]:
                raise TLSWireError("what arrived is not a TLS record", Alert.UNEXPECTED_MESSAGE)
            length = int.from_bytes(header[3:], "big")
            if length > MAXIMUM_RECORD:
                raise TLSWireError(f"a record of {length} octets is longer than TLS allows", Alert.RECORD_OVERFLOW)
            if len(self._data) < RECORD_HEADER + length:
                return
            fragment = bytes(self._data[RECORD_HEADER : RECORD_HEADER + length])
            del self._data[: RECORD_HEADER + length]
            yield header[0], header, fragment


class MessageBuffer:
    """Puts handshake messages together that came in pieces."""

    def __init__(self) -> None:
        self._data = bytearray()

    def receive(self, fragment: bytes) -> Iterator[bytes]:
        """Give every whole message, with its header. Raises TLSWireError for one that is absurdly long."""
        self._data += fragment
        while len(self._data) >= MESSAGE_HEADER:
            length = MESSAGE_HEADER + int.from_bytes(self._data[1:MESSAGE_HEADER], "big")
            if length > MAXIMUM_CLIENT_MESSAGE:
                raise TLSWireError(f"a handshake message of {length} octets is too long", Alert.DECODE_ERROR)
            if len(self._data) < length:
                return
            whole = bytes(self._data[:length])
            del self._data[:length]
            yield whole


class Cursor:
    """Reads a structure from left to right and never past its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next `count` octets. Raises TLSWireError when there are fewer."""
        if self._at + count > len(self._data):
            raise TLSWireError("a handshake message ends too early", Alert.DECODE_ERROR)
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, octets: int) -> int:
        """Read an unsigned integer."""
        return int.from_bytes(self.take(octets), "big")

    def vector(self, length_octets: int) -> Cursor:
        """Read a vector with a length prefix, to be read in turn."""
        return Cursor(self.take(self.number(length_octets)))

    def rest(self) -> bytes:
        """Return everything that is left."""
        return self.take(len(self._data) - self._at)

    def numbers(self, octets: int) -> tuple[int, ...]:
        """Read integers up to the end."""
        found: list[int] = []
        while self:
            found.append(self.number(octets))
        return tuple(found)


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


def parse_client_hello(whole: bytes) -> ClientHello:
    """Read one handshake message. Raises TLSWireError when it is no well-formed ClientHello."""
    cursor = Cursor(whole)
    if cursor.number(1) != HandshakeType.CLIENT_HELLO:
        raise TLSWireError("the first message is not a ClientHello", Alert.UNEXPECTED_MESSAGE)
    body = cursor.vector(3)
    legacy_version = body.number(2)
    random = body.take(32)
    session_id = body.vector(1).rest()
    cipher_suites = body.vector(2).numbers(2)
    body.vector(1)  # compression methods
    extensions: dict[int, bytes] = {}
    fields = body.vector(2) if body else Cursor(b"")
    while fields:
        kind = fields.number(2)
        extensions[kind] = fields.vector(2).rest()

    def within(kind: Extension) -> Cursor:
        return Cursor(extensions.get(kind, b""))

    versions = within(Extension.SUPPORTED_VERSIONS)
    groups = within(Extension.SUPPORTED_GROUPS)
    schemes = within(Extension.SIGNATURE_ALGORITHMS)
    return ClientHello(
        message=whole,
        random=random,
        session_id=session_id,
        cipher_suites=cipher_suites,
        extensions=extensions,
        server_name=_server_name(within(Extension.SERVER_NAME)),
        versions=versions.vector(1).numbers(2) if versions else (legacy_version,),
        groups=groups.vector(2).numbers(2) if groups else (),
        signature_schemes=schemes.vector(2).numbers(2) if schemes else (),
        key_shares=_key_shares(within(Extension.KEY_SHARE)),
        alpn=_protocols(within(Extension.ALPN)),
    )


def find_client_hello(data: bytes) -> ClientHello | None:
    """Read the ClientHello that a connection begins with; None while it is not all there.

    Raises TLSWireError when `data` cannot be the beginning of a TLS connection.
    """
    messages = MessageBuffer()
    for content_type, _, fragment in RecordBuffer().receive(data):
        if content_type != ContentType.HANDSHAKE:
            raise TLSWireError("the first record is not a handshake record", Alert.UNEXPECTED_MESSAGE)
        for whole in messages.receive(fragment):
            return parse_client_hello(whole)
    return None


def _server_name(cursor: Cursor) -> str | None:
    """Read the host_name of RFC 6066 section 3."""
    names = cursor.vector(2) if cursor else cursor
    while names:
        kind, name = names.number(1), names.vector(2).rest()
        if kind == 0:
            return name.decode("ascii", "replace").lower()
    return None


def _key_shares(cursor: Cursor) -> dict[int, bytes]:
    shares: dict[int, bytes] = {}
    entries = cursor.vector(2) if cursor else cursor
    while entries:
        group = entries.number(2)
        shares[group] = entries.vector(2).rest()
    return shares


def _protocols(cursor: Cursor) -> tuple[bytes, ...]:
    found: list[bytes] = []
    names = cursor.vector(2) if cursor else cursor
    while names:
        found.append(names.vector(1).rest())
    return tuple(found)


# --- Key schedule of TLS 1.3 (RFC 8446 section 7.1) ---------------------------------------------------------------


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869 section 2.2)."""
    return hmac.digest(salt, secret, "sha256")


def hkdf_expand_label(secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label; `length` is at most one hash, which is all TLS asks for here."""
    info = length.to_bytes(2, "big") + vector(b"tls13 " + label.encode(), 1) + vector(context, 1)
    return hmac.digest(secret, info + b"\x01", "sha256")[:length]


def derive_secret(secret: bytes, label: str, transcript_hash: bytes) -> bytes:
    """Derive-Secret of a transcript that has been hashed already."""
    return hkdf_expand_label(secret, label, transcript_hash, HASH_LENGTH)


class Protection13:
    """Record protection of TLS 1.3 with AES-128-GCM (RFC 8446 section 5.2), one direction of one key."""

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
        """Encrypt `content` into as many records as it takes, each with `padding` zeros behind it."""
        sealed = bytearray()
        for at in range(0, len(content), MAXIMUM_PLAINTEXT):
            inner = content[at : at + MAXIMUM_PLAINTEXT] + bytes((content_type,)) + bytes(padding)
            header = bytes((ContentType.APPLICATION_DATA,)) + LEGACY_VERSION + (len(inner) + 16).to_bytes(2, "big")
            sealed += header + self._aead.encrypt(self._nonce(), inner, header)
        return bytes(sealed)

    def open(self, header: bytes, fragment: bytes) -> tuple[int, bytes]:
        """Decrypt one record into (content type, content). Raises TLSWireError when it was not meant for this key."""
        try:
            inner = self._aead.decrypt(self._nonce(), fragment, header).rstrip(b"\x00")
        except (InvalidTag, ValueError):
            raise TLSWireError("a record cannot be decrypted", Alert.BAD_RECORD_MAC) from None
        if not inner:
            raise TLSWireError("a record has no content type", Alert.UNEXPECTED_MESSAGE)
        return inner[-1], inner[:-1]

    def finished(self, transcript_hash: bytes) -> bytes:
        """verify_data of a Finished message under this key (RFC 8446 section 4.4.4)."""
        key = hkdf_expand_label(self.secret, "finished", b"", HASH_LENGTH)
        return hmac.digest(key, transcript_hash, "sha256")


# --- Key schedule of TLS 1.2 (RFC 5246 sections 5, 6.3 and 8.1) ---------------------------------------------------


def prf(secret: bytes, label: str, seed: bytes, length: int) -> bytes:
    """Expand a secret with the PRF of TLS 1.2 with SHA-256 (RFC 5246 section 5)."""
    seed = label.encode() + seed
    produced, chained = b"", seed
    while len(produced) < length:
        chained = hmac.digest(secret, chained, "sha256")
        produced += hmac.digest(secret, chained + seed, "sha256")
    return produced[:length]


class Protection12:
    """Record protection of TLS 1.2 with AES-128-GCM (RFC 5288 section 3), one direction."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._aead = AESGCM(key)
        self._salt = salt
        self._sequence = 0

    def _additional_data(self, content_type: int, length: int) -> bytes:
        data = self._sequence.to_bytes(8, "big") + bytes((content_type,)) + LEGACY_VERSION + length.to_bytes(2, "big")
        self._sequence += 1
        return data

    def seal(self, content_type: int, content: bytes) -> bytes:
        """Encrypt `content` into as many records as it takes."""
        sealed = bytearray()
        for at in range(0, len(content), MAXIMUM_PLAINTEXT):
            part = content[at : at + MAXIMUM_PLAINTEXT]
            explicit = self._sequence.to_bytes(8, "big")
            encrypted = self._aead.encrypt(self._salt + explicit, part, self._additional_data(content_type, len(part)))
            sealed += record_of(content_type, explicit + encrypted)
        return bytes(sealed)

    def open(self, header: bytes, fragment: bytes) -> tuple[int, bytes]:
        """Decrypt one record into (content type, content). Raises TLSWireError when it was not meant for this key."""
        explicit, encrypted = fragment[:8], fragment[8:]
        additional = self._additional_data(header[0], max(len(encrypted) - 16, 0))
        try:
            return header[0], self._aead.decrypt(self._salt + explicit, encrypted, additional)
        except (InvalidTag, ValueError):
            raise TLSWireError("a record cannot be decrypted", Alert.BAD_RECORD_MAC) from None


def record_of(content_type: int, fragment: bytes) -> bytes:
    """Frame one record whose fragment is encrypted already and so may be longer than plaintext."""
    return bytes((content_type,)) + LEGACY_VERSION + vector(fragment, 2)


def sha256(data: bytes) -> bytes:
    """Hash a transcript."""
    return hashlib.sha256(data).digest()
