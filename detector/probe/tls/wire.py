"""What both sides of a TLS handshake said, read from the bytes themselves.

Room: probe. Pure: bytes and one traffic secret go in, facts come out; no sockets, no clock, no TLS library.

TLS libraries hide what matters here: they refuse a leaf they cannot parse before anyone can see it, re-encode
certificates, and say "signature wrong" only as text. So this module reads the records itself:

* TLS 1.2 and older send ServerHello, Certificate and ServerKeyExchange in clear; everything after the server's
  ChangeCipherSpec is not needed and not read.
* TLS 1.3 encrypts everything behind ServerHello. The caller hands in the server handshake traffic secret (which the
  TLS library gives away for key logs), and the flight up to Finished is decrypted (RFC 8446 sections 5 and 7).

The parser takes the bytes in any chunking with the same result, never keeps more than `FLIGHT_OCTETS_MAX`, accepts
each message only where the protocol allows it (a second Certificate could otherwise show us another chain than the
one the handshake was made with), and raises nothing but `WireError`; what was read before the error stays readable.

Example::

    wire = Wire()
    wire.client(first_flight)
    wire.server(answer)
    wire.certificates   # DER octets exactly as presented
"""

from __future__ import annotations

import enum
import functools
import hashlib
import hmac
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from .codepoints import (
    AEAD,
    CIPHER_SUITES,
    HELLO_RETRY_REQUEST_RANDOM,
    TLS_1_2,
    TLS_1_3,
    TLS_1_3_SUITES,
    ContentType,
    ExtensionType,
    HandshakeType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLIGHT_OCTETS_MAX: Final = 2 * 1024 * 1024
"""Octets read from the server before its flight must be over. Twice the largest message, so that one message of the
permitted size always fits with its record headers; genuine flights are under 20 KiB."""

MESSAGE_OCTETS_MAX: Final = 1024 * 1024
"""Octets one handshake message may declare. The length field allows 16 MiB; the largest genuine Certificate messages
seen are under 64 KiB, OpenSSL itself stops at 100 KiB."""

CERTIFICATES_MAX: Final = 256
"""Certificates kept from one chain. Genuine chains have up to about six; more than this only wastes memory."""

CERTIFICATE_OCTETS_MAX: Final = 256 * 1024
"""Octets of one certificate. Genuine leaves with a thousand names stay under 40 KiB."""

OCSP_RESPONSE_BYTES_MAX: Final = 64 * 1024
"""Bytes of a stapled OCSP response that are kept: as much as the SCT list of an extension can have by its length field.
Genuine responses have 300 to 4,000, with a responder's certificate in them; a larger one counts as not sent."""

RECORD_HEADER_OCTETS: Final = 5
"""Type, version, length (RFC 8446 section 5.1)."""

RECORD_OCTETS_MAX: Final = 2**14 + 2048
"""Octets of one protected record in TLS 1.2, the larger of the two limits (RFC 5246 section 6.2.3)."""

PLAINTEXT_OCTETS_MAX: Final = 2**14
"""Octets of content in one record (RFC 8446 section 5.1)."""

MESSAGE_HEADER_OCTETS: Final = 4
"""Handshake type and 24-bit length (RFC 8446 section 4)."""

RANDOM_OCTETS: Final = 32
"""RFC 8446 section 4.1.2."""

SESSION_ID_OCTETS_MAX: Final = 32
"""RFC 5246 section 7.4.1.2."""

NONCE_OCTETS: Final = 12
"""iv_length of every TLS 1.3 AEAD (RFC 8446 section 5.3)."""

_MAJOR_VERSION: Final = 3
"""First octet of every record's version since SSL 3.0 (RFC 6101 section 5.2.1)."""

_NAMED_CURVE: Final = 3
"""ECCurveType named_curve, the only one still permitted (RFC 8422 section 5.4)."""

_MESSAGE_HASH: Final = 254
"""Handshake type of the synthetic message that stands for a retried ClientHello (RFC 8446 section 4.4.1)."""

_CONTENT_TYPES: Final = frozenset(ContentType)

CLOSE_NOTIFY: Final = 0
"""Alert description (RFC 8446 section 6.1)."""

_FATAL: Final = 2
"""Alert level (RFC 8446 section 6)."""

_ALERT_OCTETS: Final = 2
"""Level and description (RFC 8446 section 6)."""


_REPEATED: Final = -1
"""Beside the types of extensions, where one of them came twice."""

_IN_SERVER_HELLO: Final = frozenset({ExtensionType.SUPPORTED_VERSIONS, ExtensionType.KEY_SHARE})
"""Extensions of a regular ServerHello of TLS 1.3 without PSK (RFC 8446 section 4.2)."""

_IN_LEAF_ENTRY: Final = frozenset({ExtensionType.STATUS_REQUEST, ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP})
"""Extensions a server may put into its leaf's entry in answer to our hello (RFC 8446 section 4.4.2)."""

_OCSP: Final = b"\x01"
"""CertificateStatusType ocsp, the only one that is asked for (RFC 6066 section 8)."""

_IN_ENCRYPTED_EXTENSIONS: Final = frozenset(
    {ExtensionType.SERVER_NAME, ExtensionType.SUPPORTED_GROUPS, ExtensionType.ALPN}
)
"""Extensions a server may answer there to what our hello offers (RFC 8446 section 4.2)."""

_REGULAR_VERSION: Final = b"\x03\x03"
"""legacy_version and legacy_record_version of TLS 1.3 (RFC 8446 sections 4.1.3 and 5.1)."""

_REGULAR_CHAIN_OCTETS: Final = 100 * 1024
"""Octets of a Certificate message that OpenSSL reads (SSL_MAX_CERT_LIST_DEFAULT)."""

_REGULAR_PROTECTED_OCTETS: Final = PLAINTEXT_OCTETS_MAX + 1 + 16
"""Octets of a protected record: content and padding, their type, and the longest tag (RFC 8446 section 5.4)."""

_VERSION_OCTETS: Final = 2
"""Of ProtocolVersion (RFC 8446 section 4.1.2)."""

_ALPN_OVERHEAD_OCTETS: Final = 3
"""Of a list that holds one name: both lengths (RFC 7301 section 3.1)."""

_COMPATIBILITY: Final = b"\x01"
"""Content of the ChangeCipherSpec that TLS 1.3 sends for middleboxes (RFC 8446 appendix D.4)."""


class WireErrorKind(enum.Enum):
    """Why the bytes could not be read on."""

    NOT_TLS = "not-tls"
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"


class WireError(Exception):
    """The peer's bytes cannot be read on. Internal to this room: it becomes an outcome in `outcomes`."""

    def __init__(self, kind: WireErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class KeyExchangeKind(enum.Enum):
    """How a cipher suite of TLS 1.2 and older agrees on a key."""

    ECDHE = "ecdhe"
    DHE = "dhe"
    RSA = "rsa"
    UNKNOWN = "unknown"


class SignedKeyExchange(NamedTuple):
    """A ServerKeyExchange: what was signed (both randoms and the parameters), by which scheme, and the signature.

    `scheme` is None before TLS 1.2, where the key's type fixes it (RFC 4346 section 7.4.3).
    """

    signed: bytes
    scheme: int | None
    signature: bytes


class CertificateVerify(NamedTuple):
    """A TLS 1.3 CertificateVerify: hash name, transcript hash up to Certificate, scheme and signature."""

    hash_name: str
    transcript_hash: bytes
    scheme: int
    signature: bytes


class _Hash(Protocol):
    """A hash that goes on, as `hashlib` makes them."""

    def update(self, data: bytes, /) -> object: ...

    def digest(self) -> bytes: ...


class _Cipher(Protocol):
    """What the three AEADs of `cryptography` have in common."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


# After which message each message may come. RFC 8446 section 4 and appendix A.1 (no PSK is ever offered), and
# RFC 5246 section 7.3. HelloRequest is not listed: a client ignores it during a handshake (RFC 5246 section 7.4.1.1).
_TLS_1_3_ORDER: Final[dict[int, frozenset[int]]] = {
    HandshakeType.ENCRYPTED_EXTENSIONS: frozenset({HandshakeType.SERVER_HELLO}),
    HandshakeType.CERTIFICATE_REQUEST: frozenset({HandshakeType.ENCRYPTED_EXTENSIONS}),
    HandshakeType.CERTIFICATE: frozenset({HandshakeType.ENCRYPTED_EXTENSIONS, HandshakeType.CERTIFICATE_REQUEST}),
    HandshakeType.CERTIFICATE_VERIFY: frozenset({HandshakeType.CERTIFICATE}),
    HandshakeType.FINISHED: frozenset({HandshakeType.CERTIFICATE_VERIFY}),
}
_TLS_1_2_ORDER: Final[dict[int, frozenset[int]]] = {
    HandshakeType.CERTIFICATE: frozenset({HandshakeType.SERVER_HELLO}),
    HandshakeType.CERTIFICATE_STATUS: frozenset({HandshakeType.CERTIFICATE}),
    HandshakeType.SERVER_KEY_EXCHANGE: frozenset({HandshakeType.CERTIFICATE, HandshakeType.CERTIFICATE_STATUS}),
    HandshakeType.CERTIFICATE_REQUEST: frozenset(
        {HandshakeType.CERTIFICATE, HandshakeType.CERTIFICATE_STATUS, HandshakeType.SERVER_KEY_EXCHANGE}
    ),
    HandshakeType.SERVER_HELLO_DONE: frozenset(
        {
            HandshakeType.CERTIFICATE,
            HandshakeType.CERTIFICATE_STATUS,
            HandshakeType.SERVER_KEY_EXCHANGE,
            HandshakeType.CERTIFICATE_REQUEST,
        }
    ),
}


def key_exchange_kind(suite: int) -> KeyExchangeKind:
    """How the cipher suite `suite` of TLS 1.2 or older agrees on a key, read from its registered name."""
    name = CIPHER_SUITES.get(suite, "")
    for prefix, kind in _KIND_BY_PREFIX.items():
        if name.startswith(prefix):
            return kind
    return KeyExchangeKind.UNKNOWN


_KIND_BY_PREFIX: Final = {
    "TLS_ECDHE_": KeyExchangeKind.ECDHE,
    "TLS_DHE_": KeyExchangeKind.DHE,
    "TLS_RSA_": KeyExchangeKind.RSA,
}


def expand_label(hash_name: str, secret: bytes, label: str, length: int, context: bytes = b"") -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1, RFC 5869 section 2.3)."""
    info = _label(label, length) + bytes((len(context),)) + context
    output = block = hmac.digest(secret, info + b"\x01", hash_name)
    counter = 1
    while len(output) < length:
        counter += 1
        block = hmac.digest(secret, block + info + bytes((counter,)), hash_name)
        output += block
    return output[:length]


@functools.cache
def _label(label: str, length: int) -> bytes:
    """HkdfLabel up to its context: a dozen of them in all, and twelve are needed for one handshake."""
    name = b"tls13 " + label.encode("ascii")
    return length.to_bytes(2, "big") + bytes((len(name),)) + name


class _Decryptor:
    """Server records of a TLS 1.3 handshake, opened in order (RFC 8446 sections 5.2, 5.3 and 7.3)."""

    def __init__(self, suite: int, secret: bytes) -> None:
        aead, key_octets, tag_octets, hash_name = TLS_1_3_SUITES[suite]
        key = expand_label(hash_name, secret, "key", key_octets)
        self._iv = int.from_bytes(expand_label(hash_name, secret, "iv", NONCE_OCTETS), "big")
        self._sequence = 0
        self._cipher: _Cipher
        match aead:
            case AEAD.AES_GCM:
                self._cipher = AESGCM(key)
            case AEAD.AES_CCM:
                self._cipher = AESCCM(key, tag_length=tag_octets)
            case AEAD.CHACHA20_POLY1305:
                self._cipher = ChaCha20Poly1305(key)

    def open(self, header: bytes, sealed: bytes) -> tuple[int, bytes]:
        """Content type and content of one record; padding removed."""
        nonce = (self._iv ^ self._sequence).to_bytes(NONCE_OCTETS, "big")
        self._sequence += 1
        try:
            inner = self._cipher.decrypt(nonce, sealed, header).rstrip(b"\x00")
        except (InvalidTag, ValueError) as error:
            raise WireError(WireErrorKind.MALFORMED, "a protected record does not open with the agreed key") from error
        if not inner or len(inner) > PLAINTEXT_OCTETS_MAX + 1:
            raise WireError(WireErrorKind.MALFORMED, "a protected record has no content or too much of it")
        return inner[-1], inner[:-1]


class _Reader:
    """Bounds-checked reading of one message (presentation language of RFC 8446 section 3)."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    @property
    def at(self) -> int:
        """Octets read so far."""
        return self._at

    @property
    def left(self) -> int:
        """Octets not yet read."""
        return len(self._data) - self._at

    def octets(self, count: int) -> bytes:
        """Take the next `count` octets."""
        start = self._at
        end = start + count
        if end > len(self._data):
            raise self._too_short()
        self._at = end
        return self._data[start:end]

    def number(self, octets: int) -> int:
        """Take the next unsigned integer of `octets` octets, network order."""
        start = self._at
        end = start + octets
        if end > len(self._data):
            raise self._too_short()
        self._at = end
        return int.from_bytes(self._data[start:end], "big")

    def vector(self, length_octets: int) -> bytes:
        """Take the next variable-length vector whose length field has `length_octets` octets."""
        start = self._at + length_octets
        end = start + int.from_bytes(self._data[self._at : start], "big")
        if start > len(self._data) or end > len(self._data):
            raise self._too_short()
        self._at = end
        return self._data[start:end]

    def _too_short(self) -> WireError:
        return WireError(WireErrorKind.MALFORMED, f"{self._what} ends before its content does")

    def end(self) -> None:
        """Nothing may follow."""
        if self.left:
            raise WireError(WireErrorKind.MALFORMED, f"{self._what} has {self.left} octets too many")


def _extensions(reader: _Reader, what: str) -> dict[int, bytes]:
    """Read an extensions block by type; the first of a duplicated type counts (RFC 8446 section 4.2).

    Where one came twice, `_REPEATED` stands among the types.
    """
    found: dict[int, bytes] = {}
    octets = reader.vector(2)
    if not octets:
        return found
    block = _Reader(octets, what)
    while block.left:
        kind = block.number(2)
        body = block.vector(2)
        if kind in found:
            found[_REPEATED] = b""
        else:
            found[kind] = body
    return found


def _ocsp_response(status: bytes) -> bytes | None:
    """The OCSPResponse in a CertificateStatus (RFC 6066 section 8); None where it is not one of a size that is kept."""
    response = status[4:]
    if status[:1] != _OCSP or len(response) != int.from_bytes(status[1:4], "big"):
        return None
    return response if 0 < len(response) <= OCSP_RESPONSE_BYTES_MAX else None


def _alpn(extensions: dict[int, bytes]) -> str | None:
    """Read the one protocol a server selects (RFC 7301 section 3.1)."""
    if (body := extensions.get(ExtensionType.ALPN)) is None:
        return None
    outer = _Reader(body, "the ALPN extension")
    names = _Reader(outer.vector(2), "the ALPN extension")
    return names.vector(1).decode("ascii", "backslashreplace")


class Wire:
    """One TLS handshake, as its two byte streams tell it. See the module for the rules.

    Attributes are facts, None (or empty) until seen: `version`, `suite` and `group` are code points; `server_hello`
    is the whole handshake message with its header; `certificates` are the octets as presented, leaf first, and
    `certificates_seen` says whether a Certificate message was read at all; `extended_master_secret` is what ServerHello
    says before TLS 1.3 (RFC 7627); `alert` is the description of the alert with which the server ended the handshake,
    in clear or under its handshake keys.

    `sct_list` is the extension_data of the leaf's signed_certificate_timestamp (a SignedCertificateTimestampList with
    its length, RFC 6962 section 3.3), and `ocsp_response` the DER that was stapled for the leaf (RFC 6066 section 8):
    as presented, well-formed or not, asked for or not.

    `irregular` says that something in a flight of TLS 1.3 was not to the letter of RFC 8446: it could be read, and a
    TLS library may refuse it. `key_share` is the server's (section 4.2.8).
    """

    def __init__(self) -> None:
        self.client_hellos: list[bytes] = []
        self.client_random: bytes | None = None
        self.hello_retry_request: bytes | None = None
        self.server_hello: bytes | None = None
        self.server_random: bytes | None = None
        self.version: int | None = None
        self.suite: int | None = None
        self.group: int | None = None
        self.dh_bits: int | None = None
        self.alpn: str | None = None
        self.extended_master_secret = False
        self.certificates: list[bytes] = []
        self.certificates_seen = False
        self.sct_list: bytes | None = None
        self.ocsp_response: bytes | None = None
        self.key_exchange: SignedKeyExchange | None = None
        self.certificate_verify: CertificateVerify | None = None
        self.finished_valid: bool | None = None
        self.alert: int | None = None
        self.flight_over = False
        self.irregular = False
        self.key_share: bytes | None = None
        self.error: WireError | None = None
        self._client_records = bytearray()
        self._client_messages = bytearray()
        self._records = bytearray()
        self._messages = bytearray()
        self._taken = 0
        self._any_record = False
        self._session_id = b""
        self._compatible = False
        self._last_message: int | None = None
        self._transcript: _Hash | None = None
        self._secret: bytes | None = None
        self._decryptor: _Decryptor | None = None

    @property
    def decrypting(self) -> bool:
        """Whether protected records of TLS 1.3 can be opened."""
        return self._secret is not None

    @property
    def past_timestamps(self) -> bool:
        """Whether an SCT list and an OCSP response for the leaf would have come by now, had the server any to send.

        In TLS 1.3 they come with the leaf; before it, CertificateStatus may follow the certificates.
        """
        behind = self.version == TLS_1_3 or self._last_message != HandshakeType.CERTIFICATE
        return self.certificates_seen and behind

    @property
    def in_the_middle(self) -> bool:
        """Whether a record or a message has begun and is not there as a whole."""
        return bool(self._records or self._messages)

    # Input

    def client(self, data: bytes) -> None:
        """Bytes we sent. Only ClientHellos are read; nothing of interest follows them.

        Raises `WireError` when they are not TLS.
        """
        if self.server_hello is not None or self.error is not None:
            return
        try:
            self._client_records += data
            while (record := _first_record(self._client_records)) is not None:
                content_type, _, body = record
                del self._client_records[: RECORD_HEADER_OCTETS + len(body)]
                if content_type == ContentType.HANDSHAKE:
                    self._client_messages += body
            self._client_hellos()
        except WireError as error:
            self.error = error
            raise

    def server(self, data: bytes) -> None:
        """Bytes the server sent.

        Raises `WireError`, again on every later call: nothing behind an error is read.
        """
        if self.error is not None:
            raise self.error
        if self.flight_over:
            return
        try:
            self._take(data)
        except WireError as error:
            self._fail(error)
            raise

    def _take(self, data: bytes) -> None:
        """Read as much of `data` as the flight may still have."""
        room = FLIGHT_OCTETS_MAX - self._taken
        self._taken += min(len(data), room)
        self._records += data[:room]
        self._read()
        if len(data) > room and not self.flight_over:
            raise WireError(
                WireErrorKind.TOO_LARGE, f"the server's flight is not over after {FLIGHT_OCTETS_MAX} octets"
            )

    def client_messages(self, data: bytes) -> None:
        """Handshake messages we sent, without records: what QUIC carries (RFC 9001 section 4.1.3).

        Raises `WireError` as `client` does.
        """
        if self.server_hello is not None or self.error is not None:
            return
        try:
            self._client_messages += data
            self._client_hellos()
        except WireError as error:
            self.error = error
            raise

    def server_messages(self, data: bytes, *, in_clear: bool) -> None:
        """Handshake messages of the server without records; `in_clear` are those of Initial packets.

        Raises `WireError` as `server` does. Over QUIC there is nothing but TLS 1.3 (RFC 9001 section 4.2).
        """
        if self.error is not None:
            raise self.error
        if self.flight_over or not data:
            return
        try:
            self._take_messages(data, in_clear=in_clear)
        except WireError as error:
            self._fail(error)
            raise

    def _take_messages(self, data: bytes, *, in_clear: bool) -> None:
        self._taken += len(data)
        if self._taken > FLIGHT_OCTETS_MAX:
            raise WireError(WireErrorKind.TOO_LARGE, f"the flight is not over after {FLIGHT_OCTETS_MAX} octets")
        if in_clear and self.server_hello is not None:
            raise WireError(WireErrorKind.MALFORMED, "a handshake message in clear behind ServerHello")
        self._content(ContentType.HANDSHAKE, data, in_clear=in_clear)
        if self.version is not None and self.version != TLS_1_3:
            raise WireError(WireErrorKind.MALFORMED, f"TLS version 0x{self.version:04x} over QUIC")

    def secret(self, secret: bytes) -> None:
        """Take the server handshake traffic secret of TLS 1.3 (RFC 8446 section 7.1) and read what waited for it.

        Raises `WireError` as `server` does.
        """
        if self.error is not None or self._secret is not None:
            return
        try:
            self._secret = secret
            self._read()
        except WireError as error:
            self._fail(error)
            raise

    def _fail(self, error: WireError) -> None:
        """Remember why reading ended, and let go of what will not be read."""
        self.error = error
        self._records.clear()
        self._messages.clear()

    # Records

    def _read(self) -> None:
        """Read every whole record that can be read now."""
        while not self.flight_over and (record := _first_record(self._records, first=not self._any_record)) is not None:
            content_type, header, body = record
            if header[1:3] != _REGULAR_VERSION:
                self.irregular = True
            if content_type == ContentType.APPLICATION_DATA:
                self.irregular = self.irregular or len(body) > _REGULAR_PROTECTED_OCTETS
                if self.version != TLS_1_3 or self.server_hello is None:
                    raise WireError(WireErrorKind.MALFORMED, "application data before the handshake is done")
                if self._secret is None:
                    return
                if self._decryptor is None:
                    self._decryptor = _Decryptor(self._suite(), self._secret)
                content_type, content = self._decryptor.open(header, body)
                if content_type not in {ContentType.HANDSHAKE, ContentType.ALERT}:
                    raise WireError(WireErrorKind.MALFORMED, f"a protected record of type {content_type}")
            else:
                content = body
                if content_type == ContentType.HANDSHAKE and self.version == TLS_1_3 and self.server_hello is not None:
                    raise WireError(WireErrorKind.MALFORMED, "a handshake message in clear behind ServerHello")
            del self._records[: RECORD_HEADER_OCTETS + len(body)]
            self._any_record = True
            self._content(content_type, content, in_clear=content is body)
        if self.flight_over:
            self._records.clear()
            self._messages.clear()

    def _content(self, content_type: int, content: bytes, *, in_clear: bool) -> None:
        """One record's content, deciphered where it was not `in_clear`."""
        if content_type == ContentType.HANDSHAKE:
            if not content:
                # RFC 8446 section 5.1: never sent; accepting them would let a peer keep us busy for nothing.
                raise WireError(WireErrorKind.MALFORMED, "an empty handshake record")
            self._messages += content
            for kind, message in _messages(self._messages):
                self._message(kind, message)
                if self.flight_over:
                    # RFC 8446 section 5.1: no message may straddle a change of keys, and Finished is one.
                    self.irregular = self.irregular or bool(self._messages)
                    return
        elif content_type == ContentType.ALERT:
            self._alert(content, in_clear=in_clear)
        else:
            self._change_cipher_spec(content)

    def _alert(self, content: bytes, *, in_clear: bool) -> None:
        if len(content) != _ALERT_OCTETS:
            raise WireError(WireErrorKind.MALFORMED, "an alert that is not two octets")
        level, description = content
        # A warning does not end a handshake before TLS 1.3; close_notify does, and in TLS 1.3 the level is meaningless
        # (RFC 8446 section 6).
        if self.alert is None and (level == _FATAL or description == CLOSE_NOTIFY or self.version == TLS_1_3):
            self.alert = description
        if level != _FATAL or (in_clear and self.version == TLS_1_3):
            self.irregular = True

    def _change_cipher_spec(self, content: bytes) -> None:
        if self.version is None:
            raise WireError(WireErrorKind.MALFORMED, "ChangeCipherSpec before ServerHello")
        if self.version != TLS_1_3:
            # RFC 5246 section 7.3: what the server sends behind it is protected, and not needed here.
            self.flight_over = True
        elif content != _COMPATIBILITY or self._compatible or self._last_message != HandshakeType.SERVER_HELLO:
            self.irregular = True
        else:
            self._compatible = True

    # Messages

    def _client_hellos(self) -> None:
        for kind, message in _messages(self._client_messages):
            if kind == HandshakeType.CLIENT_HELLO:
                self._client_hello(message)

    def _client_hello(self, message: bytes) -> None:
        reader = _Reader(message, "our ClientHello")
        reader.octets(MESSAGE_HEADER_OCTETS + 2)
        random = reader.octets(RANDOM_OCTETS)
        self._session_id = reader.vector(1)
        if self.client_random is None:
            self.client_random = random
        self.client_hellos.append(message)

    def _message(self, kind: int, message: bytes) -> None:
        """One handshake message of the server, in order."""
        body = message[MESSAGE_HEADER_OCTETS:]
        if kind == HandshakeType.SERVER_HELLO:
            self._server_hello(message)
            return
        if self.version is None or self.server_hello is None:
            raise WireError(WireErrorKind.MALFORMED, f"handshake message {kind} before ServerHello")
        old = self.version != TLS_1_3
        if old and kind == HandshakeType.HELLO_REQUEST and not body:
            return
        if self._last_message not in (_TLS_1_2_ORDER if old else _TLS_1_3_ORDER).get(kind, frozenset()):
            raise WireError(WireErrorKind.MALFORMED, f"handshake message {kind} after message {self._last_message}")
        self._last_message = kind
        if kind == HandshakeType.CERTIFICATE_REQUEST:
            self.irregular = True
        if (read := self._READERS.get(kind)) is not None:
            read(self, body)
        if self._transcript is not None:
            self._transcript.update(message)

    def _server_hello(self, message: bytes) -> None:
        """RFC 8446 sections 4.1.3 and 4.1.4, RFC 5246 section 7.4.1.3."""
        if self.server_hello is not None:
            raise WireError(WireErrorKind.MALFORMED, "a second ServerHello")
        reader = _Reader(message, "ServerHello")
        reader.octets(MESSAGE_HEADER_OCTETS)
        version = legacy_version = reader.number(2)
        random = reader.octets(RANDOM_OCTETS)
        session_id = reader.vector(1)
        if len(session_id) > SESSION_ID_OCTETS_MAX:
            raise WireError(WireErrorKind.MALFORMED, "ServerHello has a session id of more than 32 octets")
        suite = reader.number(2)
        compression = reader.number(1)
        extensions = _extensions(reader, "ServerHello") if reader.left else {}
        reader.end()
        if (selected := extensions.get(ExtensionType.SUPPORTED_VERSIONS)) is not None:
            version = _Reader(selected, "the supported_versions extension").number(2)
        group = self._key_share_of(extensions)
        if version == TLS_1_3 and suite not in TLS_1_3_SUITES:
            raise WireError(WireErrorKind.MALFORMED, f"cipher suite 0x{suite:04x} in TLS 1.3")
        retry = version == TLS_1_3 and random == HELLO_RETRY_REQUEST_RANDOM
        self._follow_up(retry=retry, version=version, suite=suite)
        if version != TLS_1_3:
            self.alpn = _alpn(extensions)
            self.extended_master_secret = ExtensionType.EXTENDED_MASTER_SECRET in extensions
            self.sct_list = extensions.get(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP)
        elif self._messages_follow():
            # RFC 8446 section 5.1: no message may straddle a change of keys.
            raise WireError(WireErrorKind.MALFORMED, "more handshake data in the record of a TLS 1.3 ServerHello")
        regular = legacy_version == TLS_1_2 and session_id == self._session_id and compression == 0
        if not regular or extensions.keys() != _IN_SERVER_HELLO or len(selected or b"") != _VERSION_OCTETS:
            self.irregular = True
        self.version = version
        self.suite = suite
        self.group = group
        if retry:
            self.hello_retry_request = message
            return
        self.server_hello = message
        self.server_random = random
        self._last_message = HandshakeType.SERVER_HELLO
        if version == TLS_1_3 and self.client_hellos:
            self._transcript = self._begun_transcript(TLS_1_3_SUITES[suite].hash_name, message)

    def _follow_up(self, *, retry: bool, version: int, suite: int) -> None:
        """See that what follows a HelloRetryRequest fits it (RFC 8446 section 4.1.4)."""
        if self.hello_retry_request is not None and (retry or version != TLS_1_3 or suite != self.suite):
            raise WireError(WireErrorKind.MALFORMED, "ServerHello does not fit the HelloRetryRequest before it")

    def _key_share_of(self, extensions: dict[int, bytes]) -> int | None:
        """Read the group the server chose, and its share where there is one (RFC 8446 section 4.2.8)."""
        body = extensions.get(ExtensionType.KEY_SHARE)
        if body is None:
            return None
        reader = _Reader(body, "the key_share extension")
        group = reader.number(2)
        if reader.left:
            share = reader.vector(2)
            self.key_share = None if reader.left else share
        return group

    def _messages_follow(self) -> bool:
        """Whether the record being read holds more than the message being read."""
        return bool(self._messages)

    def _encrypted_extensions(self, body: bytes) -> None:
        """RFC 8446 section 4.3.1."""
        reader = _Reader(body, "EncryptedExtensions")
        extensions = _extensions(reader, "EncryptedExtensions")
        self.alpn = _alpn(extensions)
        reader.end()
        # One protocol is selected (RFC 7301 section 3.1); of the name there is nothing to say (RFC 6066 section 3).
        chosen = extensions.get(ExtensionType.ALPN)
        alpn_is_regular = chosen is None or len(chosen) == _ALPN_OVERHEAD_OCTETS + len(self.alpn or "")
        named = extensions.get(ExtensionType.SERVER_NAME)
        if not extensions.keys() <= _IN_ENCRYPTED_EXTENSIONS or named or not alpn_is_regular:
            self.irregular = True

    def _server_hello_done(self, body: bytes) -> None:
        """RFC 5246 section 7.4.5: nothing the server says behind it is needed."""
        _Reader(body, "ServerHelloDone").end()
        self.flight_over = True

    def _certificate(self, body: bytes) -> None:
        """RFC 8446 section 4.4.2, RFC 5246 section 7.4.2. What is read before an error is kept."""
        reader = _Reader(body, "Certificate")
        entries_have_extensions = self.version == TLS_1_3
        if entries_have_extensions and (reader.vector(1) or len(body) > _REGULAR_CHAIN_OCTETS):
            self.irregular = True
        entries = _Reader(reader.vector(3), "the certificate list")
        reader.end()
        self.certificates_seen = True
        while entries.left:
            if len(self.certificates) == CERTIFICATES_MAX:
                raise WireError(WireErrorKind.TOO_LARGE, f"more than {CERTIFICATES_MAX} certificates")
            octets = entries.number(3)
            if octets > CERTIFICATE_OCTETS_MAX:
                raise WireError(WireErrorKind.TOO_LARGE, f"a certificate of {octets} octets")
            self.certificates.append(entries.octets(octets))
            if entries_have_extensions and (extensions := _extensions(entries, "a certificate entry")):
                self._entry_extensions(extensions)

    def _entry_extensions(self, extensions: dict[int, bytes]) -> None:
        """Extensions of the certificate read last (RFC 8446 sections 4.4.2 and 4.4.2.1): the leaf's are kept."""
        is_leaf = len(self.certificates) == 1
        if not is_leaf or not extensions.keys() <= _IN_LEAF_ENTRY:
            self.irregular = True
        if is_leaf:
            self.sct_list = extensions.get(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP)
            if (status := extensions.get(ExtensionType.STATUS_REQUEST)) is not None:
                self.ocsp_response = _ocsp_response(status)
                self.irregular = self.irregular or self.ocsp_response is None

    def _certificate_status(self, body: bytes) -> None:
        """RFC 6066 section 8: before TLS 1.3 the leaf's OCSP response is a message of its own."""
        self.ocsp_response = _ocsp_response(body)

    def _server_key_exchange(self, body: bytes) -> None:
        """RFC 8422 section 5.4 (ECDHE), RFC 5246 section 7.4.3 (DHE). Other forms carry no signature of interest."""
        reader = _Reader(body, "ServerKeyExchange")
        kind = key_exchange_kind(self._suite())
        if kind is KeyExchangeKind.ECDHE:
            if reader.number(1) != _NAMED_CURVE:
                return
            self.group = reader.number(2)
            reader.vector(1)
        elif kind is KeyExchangeKind.DHE:
            self.dh_bits = int.from_bytes(reader.vector(2), "big").bit_length()
            reader.vector(2)
            reader.vector(2)
        else:
            return
        parameters = body[: reader.at]
        scheme = reader.number(2) if self.version == TLS_1_2 else None
        signature = reader.vector(2)
        reader.end()
        if self.client_random is not None and self.server_random is not None:
            self.key_exchange = SignedKeyExchange(
                self.client_random + self.server_random + parameters, scheme, signature
            )

    def _certificate_verify(self, body: bytes) -> None:
        """RFC 8446 section 4.4.3."""
        reader = _Reader(body, "CertificateVerify")
        scheme = reader.number(2)
        signature = reader.vector(2)
        reader.end()
        if self.client_hellos:
            hash_name = TLS_1_3_SUITES[self._suite()].hash_name
            self.certificate_verify = CertificateVerify(hash_name, self.transcript_hash(), scheme, signature)

    def _finished(self, body: bytes) -> None:
        """RFC 8446 section 4.4.4."""
        if self.client_hellos and self._secret is not None:
            hash_name = TLS_1_3_SUITES[self._suite()].hash_name
            key = expand_label(hash_name, self._secret, "finished", hashlib.new(hash_name).digest_size)
            expected = hmac.digest(key, self.transcript_hash(), hash_name)
            self.finished_valid = hmac.compare_digest(expected, body)
        self.flight_over = True

    def _begun_transcript(self, hash_name: str, server_hello: bytes) -> _Hash:
        """Hash the hellos; a retried ClientHello counts by its hash (RFC 8446 section 4.4.1)."""
        running = hashlib.new(hash_name)
        if self.hello_retry_request is None:
            running.update(self.client_hellos[0])
        else:
            first = hashlib.new(hash_name, self.client_hellos[0]).digest()
            running.update(bytes([_MESSAGE_HASH, 0, 0, len(first)]) + first + self.hello_retry_request)
            running.update(self.client_hellos[-1])
        running.update(server_hello)
        return running

    def transcript_hash(self) -> bytes:
        """Hash of every message of a TLS 1.3 handshake up to the last that was read (RFC 8446 section 4.4.1).

        Raises `WireError` before there is a ServerHello of TLS 1.3, or when our own hello was not given.
        """
        if self._transcript is None:
            raise WireError(WireErrorKind.MALFORMED, "no hellos of TLS 1.3")
        return self._transcript.digest()

    def _suite(self) -> int:
        """Return the cipher suite; only asked for behind ServerHello."""
        if self.suite is None:
            raise WireError(WireErrorKind.MALFORMED, "a message before ServerHello")
        return self.suite

    _READERS: ClassVar[dict[int, Callable[[Wire, bytes], None]]] = {
        HandshakeType.ENCRYPTED_EXTENSIONS: _encrypted_extensions,
        HandshakeType.CERTIFICATE: _certificate,
        HandshakeType.CERTIFICATE_STATUS: _certificate_status,
        HandshakeType.SERVER_KEY_EXCHANGE: _server_key_exchange,
        HandshakeType.SERVER_HELLO_DONE: _server_hello_done,
        HandshakeType.CERTIFICATE_VERIFY: _certificate_verify,
        HandshakeType.FINISHED: _finished,
    }
    """What reads the body of each message of the server."""


def _first_record(buffer: bytearray, *, first: bool = False) -> tuple[int, bytes, bytes] | None:
    """Type, header and body of the record `buffer` begins with; None while it is incomplete.

    Raises `WireError`: NOT_TLS when it is the connection's `first` record, otherwise MALFORMED.
    """
    header = bytes(buffer[:RECORD_HEADER_OCTETS])
    kind = WireErrorKind.NOT_TLS if first else WireErrorKind.MALFORMED
    if header and header[0] not in _CONTENT_TYPES:
        raise WireError(kind, f"a record of type {header[0]}")
    if len(header) > 1 and header[1] != _MAJOR_VERSION:
        raise WireError(kind, f"a record of version {header[1]}")
    if len(header) < RECORD_HEADER_OCTETS:
        return None
    end = RECORD_HEADER_OCTETS + (header[3] << 8 | header[4])
    if end > RECORD_HEADER_OCTETS + RECORD_OCTETS_MAX:
        raise WireError(kind, f"a record of {end - RECORD_HEADER_OCTETS} octets")
    if len(buffer) < end:
        return None
    return header[0], header, bytes(buffer[RECORD_HEADER_OCTETS:end])


def _messages(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take every whole handshake message off the front of `buffer`: its type, and the message with its header.

    Raises `WireError` TOO_LARGE as soon as a header declares too much: nothing of such a message is waited for.
    """
    while len(buffer) >= MESSAGE_HEADER_OCTETS:
        length = int.from_bytes(buffer[1:MESSAGE_HEADER_OCTETS], "big")
        if length > MESSAGE_OCTETS_MAX:
            raise WireError(WireErrorKind.TOO_LARGE, f"a handshake message of {length} octets")
        whole = MESSAGE_HEADER_OCTETS + length
        if len(buffer) < whole:
            return
        message = bytes(buffer[:whole])
        del buffer[:whole]
        yield message[0], message
