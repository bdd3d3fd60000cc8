"""TLS 1.2 with the cipher suites of browsers: key schedule, record protection, and the end of a handshake.

Room: probe. Pure: bytes and secrets in, bytes out. RFC 5246; RFC 5288 (AES-GCM), RFC 7905 (ChaCha20-Poly1305), RFC 7627
(extended master secret), RFC 5077 (tickets).

`wire` reads the server's first flight, which is in the clear. This module makes the keys, protects our Finished, and
reads the second flight: possibly a NewSessionTicket, ChangeCipherSpec, and Finished, which is what proves that the
server has the keys.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from . import framing
from .codepoints import AEAD, TLS_1_2_SUITES, ContentType, HandshakeType, Tls12Suite
from .reader import Reader, WireError, malformed, too_large
from .wire import CLOSE_NOTIFY, EMPTY_RECORDS_MAX, FLIGHT_BYTES_MAX, WARNINGS_MAX

if TYPE_CHECKING:
    from _hashlib import HASH

MASTER_SECRET_BYTES: Final = 48  # RFC 5246 section 8.1
PREMASTER_SECRET_BYTES: Final = 48  # of RSA key exchange, its first two the version offered (RFC 5246 section 7.4.7.1)
VERIFY_DATA_BYTES: Final = 12  # RFC 5246 section 7.4.9
EMPTY_CERTIFICATE: Final = bytes((HandshakeType.CERTIFICATE,)) + b"\x00\x00\x03\x00\x00\x00"
"""The answer of a client without a certificate (RFC 5246 section 7.4.6)."""
_GCM_SALT_BYTES: Final = 4  # the implicit part of the nonce (RFC 5288 section 3)
_GCM_EXPLICIT_BYTES: Final = 8  # the part that is sent
_CHACHA_IV_BYTES: Final = 12  # RFC 7905 section 2
_TAG_BYTES: Final = 16  # of both AEADs
_MAC_KEY_BYTES: Final = 20  # HMAC-SHA1 (RFC 5246 appendix C)
_BLOCK_BYTES: Final = 16  # AES
_FATAL: Final = 2  # alert level (RFC 5246 section 7.2)


def prf(hash_name: str, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """The pseudorandom function (RFC 5246 section 5)."""
    seed = label + seed
    output, chained = b"", seed
    while len(output) < length:
        chained = hmac.digest(secret, chained, hash_name)
        output += hmac.digest(secret, chained + seed, hash_name)
    return output[:length]


def _authenticated(number: int, content_type: int, length: int) -> bytes:
    """What is authenticated besides the content (RFC 5246 sections 6.2.3.1 and 6.2.3.3)."""
    return number.to_bytes(8, "big") + bytes((content_type,)) + framing.RECORD_VERSION + length.to_bytes(2, "big")


class _Aead:
    """AES-GCM with a nonce that is sent in part, or ChaCha20-Poly1305 with one that is not (RFC 7905 section 2)."""

    def __init__(self, cipher: AESGCM | ChaCha20Poly1305, iv: bytes) -> None:
        self._cipher = cipher
        self._iv = iv
        self._explicit = _GCM_EXPLICIT_BYTES if isinstance(cipher, AESGCM) else 0

    def _nonce(self, number: int, explicit: bytes) -> bytes:
        if self._explicit:
            return self._iv + explicit
        return (int.from_bytes(self._iv, "big") ^ number).to_bytes(_CHACHA_IV_BYTES, "big")

    def seal(self, number: int, content_type: int, content: bytes) -> bytes:
        explicit = number.to_bytes(8, "big")[: self._explicit]
        additional = _authenticated(number, content_type, len(content))
        return explicit + self._cipher.encrypt(self._nonce(number, explicit), content, additional)

    def open(self, number: int, content_type: int, fragment: bytes) -> bytes:
        explicit, sealed = fragment[: self._explicit], fragment[self._explicit :]
        if len(sealed) < _TAG_BYTES:
            raise _does_not_open()
        additional = _authenticated(number, content_type, len(sealed) - _TAG_BYTES)
        try:
            return self._cipher.decrypt(self._nonce(number, explicit), sealed, additional)
        except InvalidTag as error:
            raise _does_not_open() from error


class _Cbc:
    """AES-CBC with HMAC-SHA1, authenticated before it is encrypted (RFC 5246 section 6.2.3.2).

    Timing does not matter here: a probe decrypts one record, and whatever is wrong with it ends the connection.
    """

    def __init__(self, key: bytes, mac_key: bytes) -> None:
        self._key = algorithms.AES(key)
        self._mac_key = mac_key

    def _mac(self, number: int, content_type: int, content: bytes) -> bytes:
        return hmac.digest(self._mac_key, _authenticated(number, content_type, len(content)) + content, "sha1")

    def seal(self, number: int, content_type: int, content: bytes) -> bytes:
        plain = content + self._mac(number, content_type, content)
        padding = _BLOCK_BYTES - len(plain) % _BLOCK_BYTES
        iv = secrets.token_bytes(_BLOCK_BYTES)
        encryptor = Cipher(self._key, modes.CBC(iv)).encryptor()
        return iv + encryptor.update(plain + bytes((padding - 1,)) * padding) + encryptor.finalize()

    def open(self, number: int, content_type: int, fragment: bytes) -> bytes:
        iv, sealed = fragment[:_BLOCK_BYTES], fragment[_BLOCK_BYTES:]
        if not sealed or len(fragment) % _BLOCK_BYTES:
            raise _does_not_open()
        decryptor = Cipher(self._key, modes.CBC(iv)).decryptor()
        plain = decryptor.update(sealed) + decryptor.finalize()
        padding = plain[-1] + 1
        end = len(plain) - padding - _MAC_KEY_BYTES
        if end < 0 or plain[-padding:] != plain[-1:] * padding:
            raise _does_not_open()
        content, mac = plain[:end], plain[end : end + _MAC_KEY_BYTES]
        if not hmac.compare_digest(mac, self._mac(number, content_type, content)):
            raise _does_not_open()
        return content


Protection = _Aead | _Cbc
"""Record protection in one direction: `seal` makes the fragment of the record with a number, `open` reads it and
raises `WireError` for what was not sealed with this key."""


def _does_not_open() -> WireError:
    return malformed("a protected record does not open with the agreed key")


class Session(NamedTuple):
    """The secrets of one connection: the hash of its suite, its master secret, and protection for either direction."""

    hash_name: str
    master: bytes
    client: Protection
    server: Protection

    def verify_data(self, sender: bytes, transcript: HASH) -> bytes:
        """Return the content of the Finished of `client` or `server` after this transcript (RFC 5246 section 7.4.9)."""
        return prf(self.hash_name, self.master, sender + b" finished", transcript.digest(), VERIFY_DATA_BYTES)

    def client_finished(self, transcript: HASH) -> bytes:
        """Return ChangeCipherSpec and our Finished as records, and add the latter to the transcript."""
        message = framing.frame_message(HandshakeType.FINISHED, self.verify_data(b"client", transcript))
        transcript.update(message)
        return framing.CHANGE_CIPHER_SPEC + self._record(0, ContentType.HANDSHAKE, message)

    def close_notify(self) -> bytes:
        """Return the alert that ends the connection after the handshake (RFC 5246 section 7.2.1)."""
        return self._record(1, ContentType.ALERT, bytes((1, CLOSE_NOTIFY)))

    def _record(self, number: int, content_type: ContentType, content: bytes) -> bytes:
        return framing.frame_record(content_type, self.client.seal(number, content_type, content))


def session(suite: int, premaster: bytes, *, randoms: tuple[bytes, bytes], session_hash: bytes | None) -> Session:
    """Return the keys of a connection (RFC 5246 sections 6.3 and 8.1).

    `randoms` are the client's and the server's; `session_hash` is the transcript's up to ClientKeyExchange where the
    extended master secret was negotiated (RFC 7627 section 4), else None.
    """
    parameters = TLS_1_2_SUITES[suite]
    client_random, server_random = randoms
    label, seed = b"extended master secret", session_hash
    if seed is None:
        label, seed = b"master secret", client_random + server_random
    master = prf(parameters.hash_name, premaster, label, seed, MASTER_SECRET_BYTES)
    mac_bytes = _MAC_KEY_BYTES if parameters.aead is None else 0
    iv_bytes = {AEAD.AES_GCM: _GCM_SALT_BYTES, AEAD.CHACHA20_POLY1305: _CHACHA_IV_BYTES}.get(
        parameters.aead or AEAD.AES_CCM, 0
    )
    length = 2 * (mac_bytes + parameters.key_bytes + iv_bytes)
    block = Reader(prf(parameters.hash_name, master, b"key expansion", server_random + client_random, length), "keys")
    macs = block.take(mac_bytes), block.take(mac_bytes)
    keys = block.take(parameters.key_bytes), block.take(parameters.key_bytes)
    ivs = block.take(iv_bytes), block.take(iv_bytes)
    client, server = (_protection(parameters, *each) for each in zip(macs, keys, ivs, strict=True))
    return Session(parameters.hash_name, master, client, server)


def _protection(suite: Tls12Suite, mac_key: bytes, key: bytes, iv: bytes) -> Protection:
    if suite.aead is None:
        return _Cbc(key, mac_key)
    return _Aead(AESGCM(key) if suite.aead is AEAD.AES_GCM else ChaCha20Poly1305(key), iv)


class SecondFlight:
    """Reads what a server sends after our Finished, up to its own.

    `finished_valid` is None until that has arrived; `alert` is the alert with which the server ended the handshake.
    """

    def __init__(self, keys: Session, transcript: HASH, *, ticket_expected: bool) -> None:
        self.finished_valid: bool | None = None
        self.alert: int | None = None
        self._session = keys
        self._transcript = transcript
        self._ticket_expected = ticket_expected
        self._records = bytearray()
        self._messages = bytearray()
        self._taken = 0
        self._number: int | None = None
        self._warnings = 0
        self._empty_records = 0

    def receive(self, data: bytes) -> None:
        """Take bytes of the server. Raises `WireError` for what ends the handshake."""
        self._taken += len(data)
        if self._taken > FLIGHT_BYTES_MAX:
            raise too_large(f"the server's last flight has more than {FLIGHT_BYTES_MAX} bytes")
        self._records += data
        while self.finished_valid is None and self.alert is None and (record := framing.first_record(self._records)):
            content_type, header, body = record
            del self._records[: framing.RECORD_HEADER_BYTES + len(body)]
            if self._number is not None:
                if header[1:3] != framing.RECORD_VERSION:
                    raise malformed("a protected record of another version")
                body = self._session.server.open(self._number, content_type, body)
                self._number += 1
            self._content(content_type, body)

    def _content(self, content_type: int, content: bytes) -> None:
        if content_type == ContentType.ALERT:
            self._alert(content)
        elif content_type == ContentType.CHANGE_CIPHER_SPEC:
            if content != b"\x01" or self._messages or self._ticket_expected or self._number is not None:
                raise malformed("an unexpected ChangeCipherSpec")
            self._number = 0
        elif content_type == ContentType.HANDSHAKE:
            self._empty_records = 0 if content else self._empty_records + 1
            is_expected = self._ticket_expected or self._number is not None
            if self._empty_records > EMPTY_RECORDS_MAX or not (content or is_expected):
                raise malformed("records without content")
            self._messages += content
            for kind, message in framing.messages_of(self._messages):
                self._message(kind, message)
        else:
            raise malformed(f"a record of type {content_type} before the handshake is done")

    def _alert(self, content: bytes) -> None:
        if len(content) != 2:  # noqa: PLR2004 - level and description (RFC 5246 section 7.2)
            raise malformed("an alert that is not two bytes")
        level, description = content
        if level == _FATAL or description == CLOSE_NOTIFY:
            self.alert = description
            return
        self._warnings += 1
        if self._warnings > WARNINGS_MAX:
            raise malformed("too many warnings")

    def _message(self, kind: int, message: bytes) -> None:
        body = message[4:]
        if kind == HandshakeType.NEW_SESSION_TICKET and self._ticket_expected:
            reader = Reader(body, "NewSessionTicket")
            reader.number(4)
            reader.only(2)
            self._ticket_expected = False
            self._transcript.update(message)
        elif kind == HandshakeType.FINISHED and self._number is not None and not self._messages:
            self.finished_valid = hmac.compare_digest(self._session.verify_data(b"server", self._transcript), body)
        else:
            raise malformed(f"handshake message {kind} in the server's last flight")
