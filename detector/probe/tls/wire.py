"""Parser of both sides of a TLS handshake.

Room: probe. Pure: bytes and one traffic secret go in, facts come out; no sockets, no clock, no TLS library.

TLS libraries hide what matters here: they refuse a leaf they cannot parse before anyone can see it, re-encode
certificates, and report "wrong signature" only as text. This module therefore reads the records itself:

* TLS 1.2 and older send ServerHello, Certificate and ServerKeyExchange in the clear. Nothing after the server's
  ChangeCipherSpec is needed or read.
* TLS 1.3 encrypts everything after ServerHello. The caller supplies the server handshake traffic secret (TLS libraries
  export it for key logs), and the flight up to Finished is decrypted (RFC 8446 sections 5 and 7) and decompressed (RFC
  8879).

What parses but deviates from the RFCs, or answers what our hello did not offer, is read on, and `refusal` says what it
was: browsers refuse it. The measure is what BoringSSL, which Chrome uses, takes and refuses.

The result does not depend on how the bytes are chunked. At most `FLIGHT_BYTES_MAX` are kept. Each message is accepted
only where the protocol allows it: a second Certificate could otherwise show another chain than the one the handshake
used. Nothing but `WireError` is raised, and what was read before the error stays readable.

Example::

    wire = Wire()
    wire.client(first_flight)
    wire.server(answer)
    wire.certificates   # DER exactly as presented
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from typing import TYPE_CHECKING, ClassVar, Final

from cryptography.exceptions import InvalidTag

from detector.model import HandshakeSignature
from detector.trust.handshake_signature import signed_content

from . import compression, conformance, delegated_credential, framing
from .codepoints import CIPHER_SUITES, TLS_1_2, TLS_1_2_SUITES, TLS_1_3, TLS_1_3_SUITES, ContentType, ExtensionType
from .codepoints import HandshakeType as Kind
from .hello import GREASE, MESSAGE_HEADER_BYTES, RANDOM_BYTES, parse_client_hello, parse_server_hello
from .keys import TrafficKeys, expand_label
from .reader import Reader, WireError, malformed, too_large

if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Callable

    from .hello import ClientHello, ServerHello

FLIGHT_BYTES_MAX: Final = 2 * 1024 * 1024
"""Bytes read from the server before its flight must be over. Twice the largest message, so that one message of the
permitted size always fits with its record headers; genuine flights are under 20 KiB."""


PIECES_MAX: Final = 8192
"""Records and messages of one flight. The largest message that is read has this many in records of 128 bytes; genuine
flights have under 40. Each costs 1.5 microseconds, and a flight of 2 MiB could have 500,000."""

CERTIFICATES_MAX: Final = 256  # certificates kept from one chain. Genuine chains have up to about six.
CERTIFICATE_BYTES_MAX: Final = 256 * 1024  # genuine leaves with a thousand names stay under 40 KiB

OCSP_RESPONSE_BYTES_MAX: Final = 64 * 1024
"""Bytes of a stapled OCSP response that are kept: as much as the length field of an SCT list allows. Genuine responses
have 300 to 4,000, including a responder's certificate; a larger one counts as not sent."""

CLOSE_NOTIFY: Final = 0  # alert description (RFC 8446 section 6.1)
_USER_CANCELED: Final = 90  # the one warning of TLS 1.3 that close_notify follows (RFC 8446 section 6.1)
_WARNING: Final = 1  # alert level (RFC 8446 section 6)
_FATAL: Final = 2  # alert level (RFC 8446 section 6)
_ALERT_BYTES: Final = 2  # level and description (RFC 8446 section 6)
_NAMED_CURVE: Final = 3  # ECCurveType named_curve, the only one still permitted (RFC 8422 section 5.4)
_MESSAGE_HASH: Final = 254  # the message that replaces a retried ClientHello (RFC 8446 section 4.4.1)
_COMPATIBILITY: Final = b"\x01"  # ChangeCipherSpec that TLS 1.3 sends for middleboxes (RFC 8446 appendix D.4)

_MESSAGE_BYTES_TAKEN: Final = 100 * 1024
"""Bytes of a handshake message, or of a decompressed one, that BoringSSL reads (SSL_MAX_CERT_LIST_DEFAULT)."""
_PROTECTED_BYTES_TAKEN: Final = framing.PLAINTEXT_BYTES_MAX + 1 + 16
"""Bytes of a protected record: content and padding, their type, and the longest tag (RFC 8446 section 5.4)."""
EMPTY_RECORDS_MAX: Final = 32  # records without content in a row that BoringSSL skips (kMaxEmptyRecords)
WARNINGS_MAX: Final = 4  # warnings in a row that BoringSSL skips before TLS 1.3 (kMaxWarningAlerts)


# The messages that may precede each message. RFC 8446 section 4 and appendix A.1 (no PSK is ever offered), and
# RFC 5246 section 7.3. HelloRequest is not listed: a client ignores it during a handshake (RFC 5246 section 7.4.1.1).
_TLS_1_3_ORDER: Final[dict[int, frozenset[int]]] = {
    Kind.ENCRYPTED_EXTENSIONS: frozenset({Kind.SERVER_HELLO}),
    Kind.CERTIFICATE_REQUEST: frozenset({Kind.ENCRYPTED_EXTENSIONS}),
    Kind.CERTIFICATE: frozenset({Kind.ENCRYPTED_EXTENSIONS, Kind.CERTIFICATE_REQUEST}),
    Kind.COMPRESSED_CERTIFICATE: frozenset({Kind.ENCRYPTED_EXTENSIONS, Kind.CERTIFICATE_REQUEST}),
    Kind.CERTIFICATE_VERIFY: frozenset({Kind.CERTIFICATE, Kind.COMPRESSED_CERTIFICATE}),
    Kind.FINISHED: frozenset({Kind.CERTIFICATE_VERIFY}),
}
_CERTIFICATES: Final = frozenset({Kind.CERTIFICATE, Kind.CERTIFICATE_STATUS})
_TLS_1_2_ORDER: Final[dict[int, frozenset[int]]] = {
    Kind.CERTIFICATE: frozenset({Kind.SERVER_HELLO}),
    Kind.CERTIFICATE_STATUS: frozenset({Kind.CERTIFICATE}),
    Kind.SERVER_KEY_EXCHANGE: _CERTIFICATES,
    Kind.CERTIFICATE_REQUEST: _CERTIFICATES | {Kind.SERVER_KEY_EXCHANGE},
    Kind.SERVER_HELLO_DONE: _CERTIFICATES | {Kind.SERVER_KEY_EXCHANGE, Kind.CERTIFICATE_REQUEST},
}


def _alpn(extensions: dict[int, bytes]) -> str | None:
    """Return the protocol a server selects (RFC 7301 section 3.1)."""
    if (body := extensions.get(ExtensionType.ALPN)) is None:
        return None
    return Reader(body, "the ALPN extension").inner(2).vector(1).decode("ascii", "backslashreplace")


class Wire:
    """The parsed state of one TLS handshake. See the module for the rules.

    Attributes are None (or empty) until seen. `version`, `suite` and `group` are code points; `server_hello` is the
    whole handshake message with its header; `certificates` are the bytes as presented, leaf first, and
    `certificates_seen` says whether a Certificate message was read at all; `signature` is the server's
    (CertificateVerify or ServerKeyExchange); `extended_master_secret` is what ServerHello says before TLS 1.3
    (RFC 7627); `alert` is the description of the alert with which the server ended the handshake, in the clear or
    under its handshake keys.

    `sct_list` is the extension_data of the leaf's signed_certificate_timestamp (a SignedCertificateTimestampList with
    its length, RFC 6962 section 3.3), and `ocsp_response` the DER that was stapled for the leaf (RFC 6066 section 8):
    both as presented, well-formed or not, requested or not.

    `offered` is our hello as far as it matters for what may answer it; read from what was sent where it is not given.
    `refusal` is the first thing that could be parsed but that a browser refuses, `unoffered` says that it is a version,
    cipher suite or group that our hello did not offer. `key_share` is the server's share (RFC 8446 section 4.2.8), or
    its public key in ServerKeyExchange. `certificate_requested` says that we are to answer with a Certificate,
    `application_settings` that the server answered with its own, and `delegated` is the credential whose key signs
    instead of the leaf's. Before TLS 1.3 `ticket_expected` announces a NewSessionTicket.
    """

    def __init__(self) -> None:
        self.client_hellos: list[bytes] = []
        self.client_random: bytes | None = None
        self.hello_retry_request: bytes | None = None
        self.server_hello: bytes | None = None
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
        self.signature: HandshakeSignature | None = None
        self.finished_valid: bool | None = None
        self.alert: int | None = None
        self.flight_over = False
        self.refusal: str | None = None
        self.unoffered = False
        self.key_share: bytes | None = None
        self.certificate_requested = False
        self.application_settings = False
        self.delegated: delegated_credential.DelegatedCredential | None = None
        self.ticket_expected = False
        self.server_random = b""
        self._rest = b""
        self.error: WireError | None = None
        self._client_records = bytearray()
        self._client_messages = bytearray()
        self._records = bytearray()
        self._messages = bytearray()
        self._taken = 0
        self._pieces = 0
        self._any_record = False
        self.offered: ClientHello | None = None
        self._status_expected = False
        self._empty_records = 0
        self._warnings = 0
        self._last_message: int | None = None
        self._hash_name = ""
        self._transcript: HASH | None = None
        self._secret: bytes | None = None
        self._keys: TrafficKeys | None = None
        self._sequence = 0

    @property
    def decrypting(self) -> bool:
        """Whether the traffic secret is known, so that protected records of TLS 1.3 can be opened."""
        return self._secret is not None

    @property
    def past_scts(self) -> bool:
        """Whether an SCT list and an OCSP response for the leaf would have arrived by now if the server sent any.

        In TLS 1.3 they come with the leaf; before it, CertificateStatus may follow the certificates.
        """
        return self.certificates_seen and (self.version == TLS_1_3 or self._last_message != Kind.CERTIFICATE)

    # Input. Every method raises `WireError`, the server's again on every later call: nothing after an error is read.

    def client(self, data: bytes) -> None:
        """Parse bytes we sent. Only ClientHellos are of interest."""
        self._run_client(self._client_records, data)

    def client_messages(self, data: bytes) -> None:
        """Parse handshake messages we sent without records, as QUIC carries them (RFC 9001 section 4.1.3)."""
        self._run_client(self._client_messages, data)

    def server(self, data: bytes) -> None:
        """Parse bytes the server sent."""
        self._run(self._take_records, data)

    def server_messages(self, data: bytes, *, in_clear: bool) -> None:
        """Parse handshake messages of the server without records; those of Initial packets are `in_clear`.

        QUIC carries nothing but TLS 1.3 (RFC 9001 section 4.2).
        """
        if data:
            self._run(self._take_messages, data, in_clear)

    def secret(self, secret: bytes) -> None:
        """Take the server handshake traffic secret of TLS 1.3 (RFC 8446 section 7.1) and parse what waited for it."""
        if self.error is None and self._secret is None:
            self._secret = secret
            self._run(self._read)

    def _run_client(self, buffer: bytearray, data: bytes) -> None:
        if self.server_hello is not None or self.error is not None:
            return
        buffer += data
        try:
            while (record := framing.first_record(self._client_records)) is not None:
                content_type, _, body = record
                del self._client_records[: framing.RECORD_HEADER_BYTES + len(body)]
                if content_type == ContentType.HANDSHAKE:
                    self._client_messages += body
            for kind, message in framing.messages_of(self._client_messages):
                if kind == Kind.CLIENT_HELLO:
                    self._client_hello(message)
        except WireError as error:
            self.error = error
            raise

    def _run(self, step: Callable[..., None], *arguments: object) -> None:
        if self.error is not None:
            raise self.error
        if self.flight_over:
            return
        try:
            step(*arguments)
        except WireError as error:
            self.error = error
            self._records.clear()
            self._messages.clear()
            raise

    def _take_records(self, data: bytes) -> None:
        """Parse as much of `data` as the flight may still have."""
        room = FLIGHT_BYTES_MAX - self._taken
        self._taken += min(len(data), room)
        self._records += data[:room]
        self._read()
        if len(data) > room and not self.flight_over:
            raise too_large(f"the server's flight is not over after {FLIGHT_BYTES_MAX} bytes")

    def _take_messages(self, data: bytes, in_clear: bool) -> None:  # noqa: FBT001 - passed on from `server_messages`
        self._taken += len(data)
        if self._taken > FLIGHT_BYTES_MAX:
            raise too_large(f"the server's flight is not over after {FLIGHT_BYTES_MAX} bytes")
        if in_clear and self.server_hello is not None:
            raise malformed("a handshake message in the clear after ServerHello")
        self._content(ContentType.HANDSHAKE, data, in_clear=in_clear)
        if self.version is not None and self.version != TLS_1_3:
            raise malformed(f"TLS version 0x{self.version:04x} over QUIC")

    # Records

    def _read(self) -> None:
        """Parse every complete record that can be read now."""
        while (
            not (self.flight_over or self.alert is not None)
            and (record := framing.first_record(self._records, first=not self._any_record)) is not None
        ):
            content_type, header, body = record
            content = body
            protects = self.version == TLS_1_3 and self.server_hello is not None
            if protects and header[1:3] != framing.RECORD_VERSION:
                self._refuse("a record of another version")
            if content_type == ContentType.APPLICATION_DATA:
                if len(body) > _PROTECTED_BYTES_TAKEN:
                    self._refuse("a protected record that is too large")
                if not protects:
                    raise malformed("application data before the handshake is done")
                if self._secret is None:
                    return
                content_type, content = self._open(self._secret, header, body)
            elif content_type == ContentType.HANDSHAKE and protects:
                raise malformed("a handshake message in the clear after ServerHello")
            elif len(body) > framing.PLAINTEXT_BYTES_MAX:
                self._refuse("a record that is too large")
            del self._records[: framing.RECORD_HEADER_BYTES + len(body)]
            self._any_record = True
            self._content(content_type, content, in_clear=content is body)
        if self.flight_over:
            self._rest = bytes(self._records)
            self._records.clear()
            self._messages.clear()

    def _refuse(self, *reasons: str) -> None:
        """Note what a browser refuses; the first reason counts."""
        if reasons and not self.refusal:
            self.refusal = reasons[0]

    def _open(self, secret: bytes, header: bytes, sealed: bytes) -> tuple[int, bytes]:
        """Return content type and content of one protected record, padding removed (RFC 8446 section 5.2)."""
        if self._keys is None:
            self._keys = TrafficKeys(self.suite or 0, secret)
        try:
            inner = self._keys.cipher.decrypt(self._keys.nonce(self._sequence), sealed, header).rstrip(b"\x00")
        except (InvalidTag, ValueError) as error:
            raise malformed("a protected record does not open with the agreed key") from error
        self._sequence += 1
        if not inner or len(inner) > framing.PLAINTEXT_BYTES_MAX + 1:
            raise malformed("a protected record has no content or too much of it")
        if inner[-1] not in {ContentType.HANDSHAKE, ContentType.ALERT}:
            raise malformed(f"a protected record of type {inner[-1]}")
        return inner[-1], inner[:-1]

    def _content(self, content_type: int, content: bytes, *, in_clear: bool) -> None:
        """Parse the content of one record, decrypted where it was not `in_clear`."""
        self._count_piece()
        if content_type == ContentType.HANDSHAKE:
            if not content:
                self._count_empty()
                return
            self._empty_records = 0
            self._messages += content
            for kind, message in framing.messages_of(self._messages):
                self._message(kind, message)
                if self.flight_over:
                    # RFC 8446 section 5.1: no message may straddle a change of keys, and Finished is one.
                    if self._messages:
                        self._refuse("more handshake data after the flight")
                    return
            if int.from_bytes(self._messages[1:MESSAGE_HEADER_BYTES], "big") > _MESSAGE_BYTES_TAKEN:
                self._refuse("a handshake message that is too large")
        elif content_type == ContentType.ALERT:
            self._alert(content, in_clear=in_clear)
        else:
            self._change_cipher_spec(content)

    def _count_piece(self) -> None:
        self._pieces += 1
        if self._pieces > PIECES_MAX:
            raise too_large(f"more than {PIECES_MAX} records and messages")

    def _alert(self, content: bytes, *, in_clear: bool) -> None:
        if len(content) != _ALERT_BYTES:
            raise malformed("an alert that is not two bytes")
        level, description = content
        new = self.version == TLS_1_3
        # A warning does not end a handshake before TLS 1.3; close_notify does, and in TLS 1.3 the level is meaningless
        # (RFC 8446 section 6).
        if level == _WARNING and description != CLOSE_NOTIFY and (not new or description == _USER_CANCELED):
            self._warnings += 1
            if self._warnings > WARNINGS_MAX:
                self._refuse("too many warnings")
        else:
            if new and level == _WARNING and description != CLOSE_NOTIFY:
                self._refuse("a warning, which TLS 1.3 does not have")
            self.alert = description if self.alert is None else self.alert
        if new and in_clear and self.server_hello is not None:
            self._refuse("an alert in the clear after ServerHello")

    def _change_cipher_spec(self, content: bytes) -> None:
        if self.version is None:
            raise malformed("ChangeCipherSpec before ServerHello")
        if self.version != TLS_1_3:
            # RFC 5246 section 7.3: what the server sends after it is protected, and not needed here.
            self._refuse("ChangeCipherSpec before the flight is over")
            self.flight_over = True
            return
        self._count_empty()  # as BoringSSL does
        if content != _COMPATIBILITY:
            self._refuse("an unexpected ChangeCipherSpec")

    def _count_empty(self) -> None:
        """Records without content are never sent (RFC 8446 section 5.1); many would keep us busy for nothing."""
        self._empty_records += 1
        if self._empty_records > EMPTY_RECORDS_MAX:
            raise malformed("too many records without content")

    # Messages

    def _client_hello(self, message: bytes) -> None:
        reader = Reader(message, "our ClientHello")
        reader.take(MESSAGE_HEADER_BYTES + 2)
        random = reader.take(RANDOM_BYTES)
        reader.vector(1)
        if self.client_random is None:
            self.client_random = random
        if self.offered is None:
            with contextlib.suppress(WireError):  # one that is malformed is held against nothing
                self.offered = parse_client_hello(message)
        self.client_hellos.append(message)

    def _message(self, kind: int, message: bytes) -> None:
        """Parse one handshake message of the server, in order."""
        self._count_piece()
        if kind == Kind.SERVER_HELLO:
            self._server_hello(message)
            return
        if self.version is None or self.server_hello is None:
            raise malformed(f"handshake message {kind} before ServerHello")
        body = message[MESSAGE_HEADER_BYTES:]
        old = self.version != TLS_1_3
        if old and kind == Kind.HELLO_REQUEST and not body:
            return
        if self._last_message not in (_TLS_1_2_ORDER if old else _TLS_1_3_ORDER).get(kind, ()):
            raise malformed(f"handshake message {kind} after message {self._last_message}")
        self._last_message = kind
        if (parse := self._PARSERS.get(kind)) is not None:
            parse(self, body)
        if self._transcript is not None:
            self._transcript.update(message)

    def _server_hello(self, message: bytes) -> None:
        """RFC 8446 sections 4.1.3 and 4.1.4, RFC 5246 section 7.4.1.3."""
        if self.server_hello is not None:
            raise malformed("a second ServerHello")
        hello = parse_server_hello(message)
        version, suite = hello.version, hello.cipher_suite
        extensions = dict(reversed(hello.extensions))
        new = version == TLS_1_3
        group = self._key_share_group(extensions.get(ExtensionType.KEY_SHARE)) if new else None
        if new and suite not in TLS_1_3_SUITES:
            self.unoffered = True
            raise malformed(f"cipher suite 0x{suite:04x} in TLS 1.3")
        retry = new and hello.is_retry
        if self.hello_retry_request is not None and (retry or not new or suite != self.suite):
            raise malformed("ServerHello does not fit the HelloRetryRequest before it")  # RFC 8446 section 4.1.4
        if new and self._messages:
            # RFC 8446 section 5.1: no message may straddle a change of keys.
            raise malformed("more handshake data in the record of a TLS 1.3 ServerHello")
        if not new:
            self._old_extensions(extensions)
        self._check_offer(hello, group, extensions)
        self.version, self.suite, self.group = version, suite, group
        if retry:
            self.hello_retry_request = message
            return
        self.server_hello = message
        self.server_random = hello.random
        self._last_message = Kind.SERVER_HELLO
        suites = TLS_1_3_SUITES if new else TLS_1_2_SUITES if version == TLS_1_2 else {}
        if self.client_hellos and suite in suites:
            self._hash_name = suites[suite].hash_name
            self._transcript = self._begin_transcript(message)

    def _old_extensions(self, extensions: dict[int, bytes]) -> None:
        """Read what a server says in ServerHello before TLS 1.3."""
        self.alpn = _alpn(extensions)
        self.extended_master_secret = ExtensionType.EXTENDED_MASTER_SECRET in extensions
        self.sct_list = extensions.get(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP)
        self._status_expected = ExtensionType.STATUS_REQUEST in extensions
        self.ticket_expected = ExtensionType.SESSION_TICKET in extensions

    def _check_offer(self, hello: ServerHello, group: int | None, extensions: dict[int, bytes]) -> None:
        """Refuse what the server chose and our hello did not offer (RFC 8446 sections 4.1.3 and 4.2.8)."""
        if (offered := self.offered) is None:
            return
        if (refusal := conformance.unoffered(hello, group, offered)) is not None:
            self.unoffered = True
            self._refuse(refusal)
        if hello.version == TLS_1_3:
            self._refuse(*conformance.of_server_hello(hello, extensions, offered))
        else:
            self._refuse(*conformance.of_old_server_hello(hello, extensions, offered, self.alpn))

    def _key_share_group(self, body: bytes | None) -> int | None:
        """Return the group the server chose, and keep its share if there is one (RFC 8446 section 4.2.8)."""
        if body is None:
            return None
        reader = Reader(body, "the key_share extension")
        group = reader.number(2)
        if reader.left:
            share = reader.vector(2)
            self.key_share = None if reader.left else share
        return group

    def _encrypted_extensions(self, body: bytes) -> None:
        """RFC 8446 section 4.3.1."""
        reader = Reader(body, "EncryptedExtensions")
        listed = reader.extensions()
        extensions = dict(reversed(listed))
        self.alpn = _alpn(extensions)
        reader.end()
        self.application_settings = ExtensionType.APPLICATION_SETTINGS in extensions
        if self.offered is not None:
            self._refuse(*conformance.of_encrypted_extensions(listed, self.offered, self.alpn))

    def _certificate_request(self, body: bytes) -> None:
        """RFC 8446 section 4.3.2, RFC 5246 section 7.4.4. Nothing of it matters to a client without a certificate."""
        self.certificate_requested = True
        reader = Reader(body, "CertificateRequest")
        if self.version == TLS_1_3:
            context, extensions = reader.vector(1), dict(reader.extensions())
            schemes = Reader(extensions.get(ExtensionType.SIGNATURE_ALGORITHMS, b""), "CertificateRequest").vector(2)
            is_fitting = not context and bool(schemes)
        else:
            reader.vector(1)
            schemes, is_fitting = reader.vector(2), True
            reader.inner(2).vectors(2)
        if not is_fitting or len(schemes) % 2:
            self._refuse("a nonconforming CertificateRequest")
        reader.end()

    def _server_hello_done(self, body: bytes) -> None:
        """RFC 5246 section 7.4.5: nothing the server says after it is needed."""
        Reader(body, "ServerHelloDone").end()
        self.flight_over = True

    def _compressed_certificate(self, body: bytes) -> None:
        """RFC 8879 section 4."""
        reader = Reader(body, "CompressedCertificate")
        algorithm, length, compressed = reader.number(2), reader.number(3), reader.vector(3)
        reader.end()
        if self.offered is None or algorithm not in self.offered.compressions:
            raise malformed(f"a certificate compressed with the algorithm {algorithm}, which was not offered")
        if length > _MESSAGE_BYTES_TAKEN:
            self._refuse("a compressed certificate that is too large")
        self._certificate(compression.decompress(algorithm, compressed, length, limit=framing.MESSAGE_BYTES_MAX))

    def _certificate(self, body: bytes) -> None:
        """RFC 8446 section 4.4.2, RFC 5246 section 7.4.2. What is read before an error is kept."""
        reader = Reader(body, "Certificate")
        entries_have_extensions = self.version == TLS_1_3
        if entries_have_extensions and reader.vector(1):
            self._refuse("a certificate in answer to nothing")
        entries = reader.only(3)
        self.certificates_seen = True
        while entries.left:
            if len(self.certificates) == CERTIFICATES_MAX:
                raise too_large(f"more than {CERTIFICATES_MAX} certificates")
            size = entries.number(3)
            if size > CERTIFICATE_BYTES_MAX:
                raise too_large(f"a certificate of {size} bytes")
            self.certificates.append(entries.take(size))
            if not size:
                self._refuse("an empty certificate")
            if entries_have_extensions and (extensions := entries.extensions()):
                self._entry_extensions(extensions)

    def _entry_extensions(self, listed: list[tuple[int, bytes]]) -> None:
        """Parse the extensions of the last certificate (RFC 8446 sections 4.4.2 and 4.4.2.1): the leaf's are kept."""
        extensions = dict(reversed(listed))
        self._refuse(*conformance.of_certificate_entry(listed, self.offered))
        credential = extensions.get(ExtensionType.DELEGATED_CREDENTIAL)
        if len(self.certificates) > 1:
            if credential is not None:
                self._refuse("a delegated credential of a CA")
            return
        self.sct_list = extensions.get(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP)
        self._keep_response(extensions.get(ExtensionType.STATUS_REQUEST, b""))
        offers_them = self.offered is not None and ExtensionType.DELEGATED_CREDENTIAL in dict(self.offered.extensions)
        if credential is not None and offers_them:
            self.delegated = delegated_credential.parse(credential)

    def _certificate_status(self, body: bytes) -> None:
        """RFC 6066 section 8: before TLS 1.3 the leaf's OCSP response is a message of its own."""
        if not self._status_expected or conformance.ocsp_response(body) is None:
            self._refuse("a nonconforming CertificateStatus")
        self._keep_response(body)

    def _keep_response(self, status: bytes) -> None:
        response = conformance.ocsp_response(status)
        kept = response is not None and len(response) <= OCSP_RESPONSE_BYTES_MAX
        self.ocsp_response = response if kept else None

    def _server_key_exchange(self, body: bytes) -> None:
        """RFC 8422 section 5.4 (ECDHE), RFC 5246 section 7.4.3 (DHE). Other forms carry no signature of interest."""
        reader = Reader(body, "ServerKeyExchange")
        suite = CIPHER_SUITES.get(self.suite or 0, "")
        if suite.startswith("TLS_ECDHE_"):
            if reader.number(1) != _NAMED_CURVE:
                self._refuse("a curve without a name")
                return
            self.group = reader.number(2)
            self.key_share = reader.vector(1)
            if self.offered is not None and self.group not in set(self.offered.groups) - GREASE:
                self._refuse(f"group 0x{self.group:04x} was not offered")
        elif suite.startswith("TLS_DHE_"):
            self.dh_bits = int.from_bytes(reader.vector(2), "big").bit_length()
            reader.vector(2)
            reader.vector(2)
        else:
            self._refuse("a ServerKeyExchange that this cipher suite does not have")
            return
        parameters = body[: reader.at]
        scheme = reader.number(2) if self.version == TLS_1_2 else None  # RFC 4346 section 7.4.3: fixed by the key
        signature = reader.vector(2)
        reader.end()
        self._check_scheme(scheme)
        if self.client_random is not None:
            signed = self.client_random + self.server_random + parameters
            self.signature = HandshakeSignature(scheme=scheme, signed=signed, signature=signature)

    def _certificate_verify(self, body: bytes) -> None:
        """RFC 8446 section 4.4.3."""
        reader = Reader(body, "CertificateVerify")
        scheme, signature = reader.number(2), reader.vector(2)
        reader.end()
        self._check_scheme(scheme)
        if self._transcript is not None:
            signed = signed_content(self._transcript.digest())
            self.signature = HandshakeSignature(scheme=scheme, signed=signed, signature=signature)

    def _check_scheme(self, scheme: int | None) -> None:
        """The server signs with a scheme that was offered (RFC 8446 section 4.4.3, RFC 5246 section 7.4.3)."""
        offered = self.offered
        if offered is not None and self.delegated is None and scheme not in offered.signature_schemes:
            self._refuse(f"signature scheme {scheme} was not offered")

    def _finished(self, body: bytes) -> None:
        """RFC 8446 section 4.4.4."""
        if self._transcript is not None and self._secret is not None:
            transcript = self._transcript.digest()
            key = expand_label(self._hash_name, self._secret, "finished", len(transcript))
            self.finished_valid = hmac.compare_digest(hmac.digest(key, transcript, self._hash_name), body)
        self.flight_over = True

    def _begin_transcript(self, server_hello: bytes) -> HASH:
        """Hash the hellos; a retried ClientHello counts by its hash (RFC 8446 section 4.4.1)."""
        running = hashlib.new(self._hash_name)
        if self.hello_retry_request is None:
            running.update(self.client_hellos[0])
        else:
            first = hashlib.new(self._hash_name, self.client_hellos[0]).digest()
            running.update(bytes([_MESSAGE_HASH, 0, 0, len(first)]) + first + self.hello_retry_request)
            running.update(self.client_hellos[-1])
        running.update(server_hello)
        return running

    def rest(self) -> bytes:
        """Return the bytes that came in one piece with the end of the flight."""
        return self._rest

    def transcript(self) -> HASH:
        """Return the running hash of the handshake up to the last message that was read (RFC 8446 section 4.4.1).

        It is a copy. Raises `WireError` before there is a ServerHello whose hash is known, or when our own hello was
        not given.
        """
        if self._transcript is None:
            raise malformed("no hellos with a known hash")
        return self._transcript.copy()

    _PARSERS: ClassVar[dict[int, Callable[[Wire, bytes], None]]] = {
        Kind.ENCRYPTED_EXTENSIONS: _encrypted_extensions,
        Kind.CERTIFICATE_REQUEST: _certificate_request,
        Kind.CERTIFICATE: _certificate,
        Kind.COMPRESSED_CERTIFICATE: _compressed_certificate,
        Kind.CERTIFICATE_STATUS: _certificate_status,
        Kind.SERVER_KEY_EXCHANGE: _server_key_exchange,
        Kind.SERVER_HELLO_DONE: _server_hello_done,
        Kind.CERTIFICATE_VERIFY: _certificate_verify,
        Kind.FINISHED: _finished,
    }
