"""A TLS server that follows a script, because real TLS libraries refuse to misbehave.

Room: testing. `ScriptedHandshake` is pure but for keys and randoms; `serve_script` runs it on loopback. With its own
certificate and key it completes TLS 1.3 (RFC 8446) and TLS 1.2 (RFC 5246) with any client; a `Script` specifies the
deviations: arbitrary bytes as certificates, another key than the certificate's, an incomplete flight, other bytes
instead of a handshake.

Order of a connection, with the steps after which a script can stop in capitals:

    ACCEPT · ClientHello HELLO · (HelloRetryRequest, ClientHello) · ServerHello SERVER_HELLO · (EncryptedExtensions)
    Certificate CERTIFICATE · CertificateVerify, Finished (TLS 1.2: ServerKeyExchange, ServerHelloDone) FLIGHT · the
    client's Finished (TLS 1.2: and the server's) HANDSHAKE · HTTP requests ANSWER
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import hashlib
import itertools
import secrets
import ssl
import zlib
from typing import TYPE_CHECKING, Final

import brotli
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519

from . import tls_wire as wire
from .origin import Request, answer, greet
from .pki import Issued, KeyKind, PrivateKey, generate_key
from .streams import LOOPBACK, Listener, PlainStream, listen
from .tls_wire import Alert, ClientHello, ContentType, Extension, HandshakeType, TLSWireError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

TLS_AES_128_GCM_SHA256: Final = 0x1301
ECDHE_ECDSA_AES128_GCM_SHA256: Final = 0xC02B
ECDHE_RSA_AES128_GCM_SHA256: Final = 0xC02F
RSA_AES128_GCM_SHA256: Final = 0x009C
RENEGOTIATION_SCSV: Final = 0x00FF
"""This server's cipher suites (RFC 8446 appendix B.4, RFC 5288 section 3, RFC 5289 section 3.2) and the signaling value
of RFC 5746."""

HELLO_RETRY_REQUEST: Final = hashlib.sha256(b"HelloRetryRequest").digest()
"""The random of a ServerHello that asks for another ClientHello (RFC 8446 section 4.1.3)."""

PREMASTER_BYTES: Final = 48
"""Bytes of the secret that RSA key exchange encrypts (RFC 5246 section 7.4.7.1)."""

LARGEST_MESSAGE: Final = (1 << 24) - 1
"""Largest length in bytes that a handshake message can declare."""

CLIENT_SIGNATURE_CONTEXT: Final = b" " * 64 + b"TLS 1.3, server CertificateVerify\x00"
"""What a TLS 1.3 server signs before the transcript hash (RFC 8446 section 4.4.3)."""


class Group(enum.IntEnum):
    """Key exchange groups (RFC 8446 section 4.2.7)."""

    SECP256R1 = 0x0017
    SECP384R1 = 0x0018
    X25519 = 0x001D


CURVES: Final = {Group.SECP256R1: ec.SECP256R1(), Group.SECP384R1: ec.SECP384R1()}


class Compression(enum.IntEnum):
    """Algorithms that compress certificates (RFC 8879 section 3)."""

    ZLIB = 1
    BROTLI = 2


class Scheme(enum.IntEnum):
    """Signature schemes (RFC 8446 section 4.2.3)."""

    RSA_PKCS1_SHA1 = 0x0201
    RSA_PKCS1_SHA256 = 0x0401
    ECDSA_SECP256R1_SHA256 = 0x0403
    ECDSA_SECP384R1_SHA384 = 0x0503
    RSA_PSS_RSAE_SHA256 = 0x0804
    ED25519 = 0x0807


class Step(enum.IntEnum):
    """The last step of a connection; see the order at the top of this file."""

    ACCEPT = 0
    HELLO = 1
    SERVER_HELLO = 2
    CERTIFICATE = 3
    FLIGHT = 4
    HANDSHAKE = 5
    ANSWER = 6


class Ending(enum.StrEnum):
    """What happens when the script has stopped."""

    SILENCE = "silence"
    CLOSE = "close"
    RESET = "reset"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Script:
    """What a server does on one connection. The defaults conform; `dataclasses.replace` combines deviations.

    `certificates` are presented unchanged, valid or not. `key` signs the handshake, whether or not it is the leaf's.
    `version` is TLS 1.3 or 1.2, `group` the key exchange group, `scheme` the announced signature scheme (by default the
    key's). A client of TLS 1.3 without a key share in that group gets a HelloRetryRequest, as does any client if there
    is a `cookie`. With `encrypts` TLS 1.2 uses RSA key exchange. `compression` is for clients that offer it, and
    `compressed` replaces the body of the CompressedCertificate. `alpn` is announced when the client offers it.
    `sct_list` (a SignedCertificateTimestampList, RFC 6962 section 3.3) and `ocsp_response` (DER) go to clients that ask
    for them. `entry_extensions` replace the extensions of each certificate, for any client; before TLS 1.3, where
    certificates have none, the first goes into ServerHello, and `certificate_statuses` are the bodies of
    CertificateStatus messages. The connection ends after the step `stop` with `ending`. `instead` replaces the
    ServerHello. `corrupt_signature` and `corrupt_finished` spoil those. `flood` declares a Certificate message of
    16 MiB and sends that many bytes of it. `drip` sends single bytes at this interval in seconds. The `drop_first`
    first connections are reset at once. `reset_after` is the number of bytes after which the server sends RST.
    """

    certificates: tuple[bytes, ...] = ()
    key: PrivateKey
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    group: Group = Group.X25519
    cookie: bytes | None = None
    encrypts: bool = False
    compression: Compression | None = None
    compressed: bytes | None = None
    scheme: int | None = None
    alpn: bytes | None = b"http/1.1"
    sct_list: bytes | None = None
    ocsp_response: bytes | None = None
    entry_extensions: tuple[bytes, ...] | None = None
    certificate_statuses: tuple[bytes, ...] | None = None
    stop: Step = Step.ANSWER
    ending: Ending = Ending.CLOSE
    instead: bytes | None = None
    corrupt_signature: bool = False
    corrupt_finished: bool = False
    flood: int | None = None
    drip: float | None = None
    drop_first: int = 0
    reset_after: int | None = None

    @classmethod
    def genuine(
        cls,
        issued: Issued,
        *,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        sct_list: bytes | None = None,
        ocsp_response: bytes | None = None,
    ) -> Script:
        """Conform: present a chain and prove its key."""
        return cls(
            certificates=issued.chain, key=issued.key, version=version, sct_list=sct_list, ocsp_response=ocsp_response
        )

    @classmethod
    def replay(cls, chain: Sequence[bytes], *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Script:
        """Present the genuine `chain` of another server and sign with another key of the same kind."""
        return cls(certificates=tuple(chain), key=generate_key(_kind_of(chain[0])), version=version)

    @classmethod
    def malformed(
        cls, *certificates: bytes, key: PrivateKey | None = None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> Script:
        """Present arbitrary bytes as certificates, in an otherwise correct handshake."""
        return cls(certificates=certificates, key=key or generate_key(), version=version)

    @classmethod
    def alert(cls, number: int, *, level: int = 2) -> Script:
        """Answer the ClientHello with an alert (0-255; level 1 warning, 2 fatal), then close."""
        return cls(key=generate_key(), instead=wire.alert_record(number, level))

    @classmethod
    def plain_http(cls, response: bytes | None = None) -> Script:
        """Answer the ClientHello with plain HTTP, as captive portals and misconfigured servers do."""
        page = b"<!doctype html><title>Sign in</title>"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        return cls(key=generate_key(), instead=head % len(page) + page if response is None else response)

    @classmethod
    def garbage(cls, size: int = 4096) -> Script:
        """Answer with random bytes."""
        return cls(key=generate_key(), instead=secrets.token_bytes(size))

    @classmethod
    def silence(cls) -> Script:
        """Accept the connection and send nothing."""
        return cls(key=generate_key(), stop=Step.ACCEPT, ending=Ending.SILENCE)

    @classmethod
    def giant(cls, *, size: int = LARGEST_MESSAGE, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Script:
        """Declare a Certificate message of 16 MiB, send `size` bytes of it, then nothing."""
        return cls(key=generate_key(), flood=size, version=version, ending=Ending.SILENCE)


class ScriptedHandshake:
    """One connection of a scripted server, without I/O.

    `hello` is the client's, once received; `stopped` is set when the script has ended, `complete` when the client's
    Finished was correct; `alerts` are the numbers of the client's alerts.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.hello: ClientHello | None = None
        self.stopped = script.stop is Step.ACCEPT
        self.complete = False
        self.closed = False
        self.alerts: list[int] = []
        self.application_data = bytearray()
        self._records = wire.RecordBuffer()
        self._messages = wire.MessageBuffer()
        self._transcript = b""
        self._read: wire.Protection13 | wire.Protection12 | None = None
        self._write: wire.Protection13 | wire.Protection12 | None = None
        self._next_read: wire.Protection13 | wire.Protection12 | None = None
        self._next_write: wire.Protection13 | wire.Protection12 | None = None
        self._exchange: x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey
        self._random = secrets.token_bytes(32)
        self._master = b""
        self._retried = False

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Process bytes from the client and yield bytes to send.

        Raises TLSWireError when the client violates the protocol or offers nothing this server supports.
        """
        for content_type, header, fragment in self._records.receive(data):
            if self.stopped or self.closed:
                return
            yield from self._receive_record(content_type, header, fragment)

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt application data. The handshake must be complete."""
        return self._seal(ContentType.APPLICATION_DATA, data)

    def close_notify(self) -> bytes:
        """Return the alert that ends the data (RFC 8446 section 6.1)."""
        return self._seal(ContentType.ALERT, bytes((1, Alert.CLOSE_NOTIFY)))

    def _receive_record(self, content_type: int, header: bytes, fragment: bytes) -> Iterator[bytes]:
        tls13 = self.script.version is ssl.TLSVersion.TLSv1_3
        if content_type == ContentType.CHANGE_CIPHER_SPEC:
            # TLS 1.3 clients send a meaningless one for middleboxes (RFC 8446 appendix D.4).
            if not tls13:
                self._read, self._next_read = self._next_read, None
            return
        # A client that never derived the keys sends its alert unencrypted.
        if self._read is not None and not (tls13 and content_type == ContentType.ALERT):
            content_type, fragment = self._read.open(header, fragment)
        if content_type == ContentType.ALERT:
            self.alerts.extend(fragment[1:2])
            self.closed = True
        elif content_type == ContentType.APPLICATION_DATA and self.complete:
            self.application_data += fragment
        elif content_type == ContentType.HANDSHAKE:
            for whole in self._messages.receive(fragment):
                if self.stopped:
                    return
                yield from self._receive_message(whole)
        else:
            raise TLSWireError("an unexpected record", Alert.UNEXPECTED_MESSAGE)

    def _receive_message(self, whole: bytes) -> Iterator[bytes]:
        tls13 = self.script.version is ssl.TLSVersion.TLSv1_3
        kind = whole[0]
        if self.hello is None:
            self.hello = wire.parse_client_hello(whole)
            self._transcript = whole
            if self._stops_after(Step.HELLO):
                return
            if self.script.instead is not None:
                self.stopped = True
                yield self.script.instead
            elif tls13 and self._wants_another(self.hello):
                self._retried = True
                yield self._retry(self.hello)
            else:
                yield from self._flight13(self.hello) if tls13 else self._flight12(self.hello)
        elif kind == HandshakeType.CLIENT_HELLO and self._retried and self._read is None:
            self.hello = wire.parse_client_hello(whole)
            self._transcript += whole
            yield from self._flight13(self.hello)
        elif kind == HandshakeType.CLIENT_KEY_EXCHANGE and not tls13 and self._next_read is None and not self._master:
            self._transcript += whole
            self._agree12(self.hello, whole[wire.MESSAGE_HEADER :])
        elif kind == HandshakeType.FINISHED and not self.complete and self._read is not None:
            if tls13:
                self._finish13(whole)
            else:
                yield self._finish12(whole)
            self.complete = True
            self._stops_after(Step.HANDSHAKE)
        else:
            raise TLSWireError(f"an unexpected handshake message, {kind}", Alert.UNEXPECTED_MESSAGE)

    def _stops_after(self, step: Step) -> bool:
        self.stopped = self.stopped or self.script.stop is step
        return self.stopped

    def _seal(self, content_type: ContentType, content: bytes) -> bytes:
        return wire.record(content_type, content) if self._write is None else self._write.seal(content_type, content)

    def _message(self, kind: HandshakeType, body: bytes) -> bytes:
        whole = wire.message(kind, body)
        self._transcript += whole
        return self._seal(ContentType.HANDSHAKE, whole)

    def _transcript_hash(self) -> bytes:
        return wire.sha256(self._transcript)

    # --- TLS 1.3 ---------------------------------------------------------------------------------------------------

    def _wants_another(self, hello: ClientHello) -> bool:
        without_share = self.script.group in hello.groups and self.script.group not in hello.key_shares
        return ssl.TLSVersion.TLSv1_3 in hello.versions and (without_share or self.script.cookie is not None)

    def _retry(self, hello: ClientHello) -> bytes:
        """Return a HelloRetryRequest (RFC 8446 section 4.1.4)."""
        extensions = wire.extension(Extension.SUPPORTED_VERSIONS, b"\x03\x04")
        if self.script.group not in hello.key_shares:
            extensions += wire.extension(Extension.KEY_SHARE, self.script.group.to_bytes(2, "big"))
        if self.script.cookie is not None:
            extensions += wire.extension(Extension.COOKIE, wire.vector(self.script.cookie, 2))
        self._transcript = wire.message(HandshakeType.MESSAGE_HASH, self._transcript_hash())
        request = self._server_hello(TLS_AES_128_GCM_SHA256, extensions, hello.session_id, random=HELLO_RETRY_REQUEST)
        return request + (wire.record(ContentType.CHANGE_CIPHER_SPEC, b"\x01") if hello.session_id else b"")

    def _flight13(self, hello: ClientHello) -> Iterator[bytes]:
        if ssl.TLSVersion.TLSv1_3 not in hello.versions:
            raise TLSWireError("the client does not offer TLS 1.3", Alert.PROTOCOL_VERSION)
        if TLS_AES_128_GCM_SHA256 not in hello.cipher_suites or self.script.group not in hello.key_shares:
            raise TLSWireError(
                f"the client offers no TLS_AES_128_GCM_SHA256 or no {self.script.group.name} key share",
                Alert.HANDSHAKE_FAILURE,
            )
        public = self._make_share()
        extensions = wire.extension(Extension.SUPPORTED_VERSIONS, b"\x03\x04") + wire.extension(
            Extension.KEY_SHARE, self.script.group.to_bytes(2, "big") + wire.vector(public, 2)
        )
        server_hello = self._server_hello(TLS_AES_128_GCM_SHA256, extensions, hello.session_id)
        yield server_hello + (wire.record(ContentType.CHANGE_CIPHER_SPEC, b"\x01") if hello.session_id else b"")
        if self._stops_after(Step.SERVER_HELLO):
            return
        shared = self._agree(hello.key_shares[self.script.group])
        empty = wire.sha256(b"")
        zeros = bytes(wire.HASH_LENGTH)
        early = wire.hkdf_extract(zeros, zeros)
        handshake = wire.hkdf_extract(wire.derive_secret(early, "derived", empty), shared)
        master = wire.hkdf_extract(wire.derive_secret(handshake, "derived", empty), zeros)
        self._read = wire.Protection13(wire.derive_secret(handshake, "c hs traffic", self._transcript_hash()))
        self._write = server = wire.Protection13(wire.derive_secret(handshake, "s hs traffic", self._transcript_hash()))
        encrypted_extensions = self._alpn_extension(hello)
        yield self._message(HandshakeType.ENCRYPTED_EXTENSIONS, wire.vector(encrypted_extensions, 2))
        if self.script.flood is not None:
            yield from self._flood(self.script.flood)
            return
        extensions_of_each = itertools.chain(self._entry_extensions(hello), itertools.repeat(b""))
        entries = b"".join(
            wire.vector(certificate, 3) + wire.vector(extensions, 2)
            for certificate, extensions in zip(self.script.certificates, extensions_of_each, strict=False)
        )
        yield self._certificate13(hello, b"\x00" + wire.vector(entries, 3))
        if self._stops_after(Step.CERTIFICATE):
            return
        scheme, signature = self._sign(CLIENT_SIGNATURE_CONTEXT + self._transcript_hash())
        yield self._message(HandshakeType.CERTIFICATE_VERIFY, scheme.to_bytes(2, "big") + wire.vector(signature, 2))
        yield self._message(HandshakeType.FINISHED, self._spoil_finished(server.finished(self._transcript_hash())))
        self._next_read = wire.Protection13(wire.derive_secret(master, "c ap traffic", self._transcript_hash()))
        self._write = wire.Protection13(wire.derive_secret(master, "s ap traffic", self._transcript_hash()))
        self._stops_after(Step.FLIGHT)

    def _certificate13(self, hello: ClientHello, body: bytes) -> bytes:
        """Return the Certificate, compressed if the script says so and the client offers it (RFC 8879 section 4)."""
        script = self.script
        if script.compressed is not None:
            return self._message(HandshakeType.COMPRESSED_CERTIFICATE, script.compressed)
        if script.compression is None or script.compression not in hello.compressions:
            return self._message(HandshakeType.CERTIFICATE, body)
        return self._message(HandshakeType.COMPRESSED_CERTIFICATE, compressed_certificate(script.compression, body))

    def _finish13(self, whole: bytes) -> None:
        if not isinstance(self._read, wire.Protection13):
            raise TLSWireError("the client sent Finished before there were keys", Alert.UNEXPECTED_MESSAGE)
        if whole[wire.MESSAGE_HEADER :] != self._read.finished(self._transcript_hash()):
            raise TLSWireError("the client's Finished is wrong", Alert.DECRYPT_ERROR)
        self._read, self._next_read = self._next_read, None

    # --- TLS 1.2 ---------------------------------------------------------------------------------------------------

    def _flight12(self, hello: ClientHello) -> Iterator[bytes]:
        suite = self._suite12()
        if suite not in hello.cipher_suites or self.script.group not in hello.groups:
            raise TLSWireError(
                f"the client offers no ECDHE with AES128-GCM-SHA256 for this key, or no {self.script.group.name}",
                Alert.HANDSHAKE_FAILURE,
            )
        extensions = self._alpn_extension(hello) + b"".join(self._entry_extensions(hello)[:1])
        if Extension.EXTENDED_MASTER_SECRET in hello.extensions:
            extensions += wire.extension(Extension.EXTENDED_MASTER_SECRET, b"")
        if Extension.RENEGOTIATION_INFO in hello.extensions or RENEGOTIATION_SCSV in hello.cipher_suites:
            extensions += wire.extension(Extension.RENEGOTIATION_INFO, b"\x00")
        if Extension.EC_POINT_FORMATS in hello.extensions:
            extensions += wire.extension(Extension.EC_POINT_FORMATS, b"\x01\x00")
        yield self._server_hello(suite, extensions, b"")
        if self._stops_after(Step.SERVER_HELLO):
            return
        if self.script.flood is not None:
            yield from self._flood(self.script.flood)
            return
        entries = b"".join(wire.vector(certificate, 3) for certificate in self.script.certificates)
        yield self._message(HandshakeType.CERTIFICATE, wire.vector(entries, 3))
        for status in self._certificate_statuses(hello):
            yield self._message(HandshakeType.CERTIFICATE_STATUS, status)
        if self._stops_after(Step.CERTIFICATE):
            return
        if not self.script.encrypts:
            yield self._key_exchange12(hello)
        yield self._message(HandshakeType.SERVER_HELLO_DONE, b"")
        self._stops_after(Step.FLIGHT)

    def _suite12(self) -> int:
        if self.script.encrypts:
            return RSA_AES128_GCM_SHA256
        is_rsa = isinstance(self.script.key, rsa.RSAPrivateKey)
        return ECDHE_RSA_AES128_GCM_SHA256 if is_rsa else ECDHE_ECDSA_AES128_GCM_SHA256

    def _key_exchange12(self, hello: ClientHello) -> bytes:
        # ServerECDHParams (RFC 8422 section 5.4): named_curve(3), the group, the public key.
        parameters = b"\x03" + self.script.group.to_bytes(2, "big") + wire.vector(self._make_share(), 1)
        scheme, signature = self._sign(hello.random + self._random + parameters)
        return self._message(
            HandshakeType.SERVER_KEY_EXCHANGE, parameters + scheme.to_bytes(2, "big") + wire.vector(signature, 2)
        )

    def _agree12(self, hello: ClientHello, body: bytes) -> None:
        if self.script.encrypts:
            premaster = self._decrypt(wire.Cursor(body).vector(2).rest())
        else:
            premaster = self._agree(wire.Cursor(body).vector(1).rest())
        randoms = hello.random + self._random
        if Extension.EXTENDED_MASTER_SECRET in hello.extensions:
            self._master = wire.prf(premaster, "extended master secret", self._transcript_hash(), 48)
        else:
            self._master = wire.prf(premaster, "master secret", randoms, 48)
        # Two keys of 16 bytes, then two salts of 4, the client's first (RFC 5246 section 6.3, RFC 5288 section 3).
        block = wire.prf(self._master, "key expansion", self._random + hello.random, 40)
        self._next_read = wire.Protection12(block[:16], block[32:36])
        self._next_write = wire.Protection12(block[16:32], block[36:])

    def _decrypt(self, sealed: bytes) -> bytes:
        """Return the premaster secret; a random one where it cannot be decrypted (RFC 5246 section 7.4.7.1)."""
        key = self.script.key
        try:
            premaster = key.decrypt(sealed, padding.PKCS1v15()) if isinstance(key, rsa.RSAPrivateKey) else b""
        except ValueError:
            premaster = b""
        return premaster if len(premaster) == PREMASTER_BYTES else secrets.token_bytes(PREMASTER_BYTES)

    def _finish12(self, whole: bytes) -> bytes:
        expected = wire.prf(self._master, "client finished", self._transcript_hash(), 12)
        if whole[wire.MESSAGE_HEADER :] != expected:
            raise TLSWireError("the client's Finished is wrong", Alert.DECRYPT_ERROR)
        self._transcript += whole
        verify_data = wire.prf(self._master, "server finished", self._transcript_hash(), 12)
        change = wire.record(ContentType.CHANGE_CIPHER_SPEC, b"\x01")
        self._write, self._next_write = self._next_write, None
        return change + self._message(HandshakeType.FINISHED, self._spoil_finished(verify_data))

    # --- Both ------------------------------------------------------------------------------------------------------

    def _server_hello(self, suite: int, extensions: bytes, session_id: bytes, *, random: bytes | None = None) -> bytes:
        body = (
            wire.LEGACY_VERSION
            + (random or self._random)
            + wire.vector(session_id, 1)
            + suite.to_bytes(2, "big")
            + b"\x00"
            + wire.vector(extensions, 2)
        )
        return self._message(HandshakeType.SERVER_HELLO, body)

    def _alpn_extension(self, hello: ClientHello) -> bytes:
        protocol = self.script.alpn
        if protocol is None or protocol not in hello.alpn:
            return b""
        return wire.extension(Extension.ALPN, wire.vector(wire.vector(protocol, 1), 2))

    def _entry_extensions(self, hello: ClientHello) -> tuple[bytes, ...]:
        """Return the extensions of each certificate (RFC 8446 section 4.4.2), as far as the client asked for them.

        Before TLS 1.3 they only announce the OCSP response (RFC 6066 section 8).
        """
        script = self.script
        if script.entry_extensions is not None:
            return script.entry_extensions
        extensions = b""
        if script.ocsp_response is not None and Extension.STATUS_REQUEST in hello.extensions:
            tls13 = script.version is ssl.TLSVersion.TLSv1_3
            status = wire.certificate_status(script.ocsp_response) if tls13 else b""
            extensions += wire.extension(Extension.STATUS_REQUEST, status)
        if script.sct_list is not None and Extension.SIGNED_CERTIFICATE_TIMESTAMP in hello.extensions:
            extensions += wire.extension(Extension.SIGNED_CERTIFICATE_TIMESTAMP, script.sct_list)
        return (extensions,)

    def _certificate_statuses(self, hello: ClientHello) -> tuple[bytes, ...]:
        """Return the bodies of the messages after Certificate in TLS 1.2 (RFC 6066 section 8)."""
        script = self.script
        if script.certificate_statuses is not None:
            return script.certificate_statuses
        if script.ocsp_response is None or Extension.STATUS_REQUEST not in hello.extensions:
            return ()
        return (wire.certificate_status(script.ocsp_response),)

    def _flood(self, size: int) -> Iterator[bytes]:
        """Yield `size` bytes of a Certificate message that declares the largest length, a record at a time."""
        self.stopped = True
        yield self._seal(
            ContentType.HANDSHAKE, bytes((HandshakeType.CERTIFICATE,)) + LARGEST_MESSAGE.to_bytes(3, "big")
        )
        for at in range(0, size, wire.MAXIMUM_PLAINTEXT):
            yield self._seal(ContentType.HANDSHAKE, bytes(min(wire.MAXIMUM_PLAINTEXT, size - at)))

    def _make_share(self) -> bytes:
        if self.script.group is Group.X25519:
            exchange = x25519.X25519PrivateKey.generate()
            self._exchange = exchange
            return exchange.public_key().public_bytes_raw()
        self._exchange = ec.generate_private_key(CURVES[self.script.group])
        return self._exchange.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )

    def _agree(self, share: bytes) -> bytes:
        try:
            if isinstance(self._exchange, x25519.X25519PrivateKey):
                return self._exchange.exchange(x25519.X25519PublicKey.from_public_bytes(share))
            peer = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[self.script.group], share)
            return self._exchange.exchange(ec.ECDH(), peer)
        except ValueError:
            raise TLSWireError("the client's key share is not in the group", Alert.HANDSHAKE_FAILURE) from None

    def _sign(self, content: bytes) -> tuple[int, bytes]:
        """Sign with the script's key; returns the scheme to announce, which may not be the key's, and the signature."""
        if self.script.corrupt_signature:
            content = hashlib.sha512(content).digest()
        key, announced = self.script.key, self.script.scheme
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return announced or Scheme.ED25519, key.sign(content)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            p256 = isinstance(key.curve, ec.SECP256R1)
            fitting = Scheme.ECDSA_SECP256R1_SHA256 if p256 else Scheme.ECDSA_SECP384R1_SHA384
            return announced or fitting, key.sign(content, ec.ECDSA(hashes.SHA256() if p256 else hashes.SHA384()))
        if announced == Scheme.RSA_PKCS1_SHA1:
            return announced, key.sign(content, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - the script's choice
        if announced == Scheme.RSA_PKCS1_SHA256:
            return announced, key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), wire.HASH_LENGTH)
        return announced or Scheme.RSA_PSS_RSAE_SHA256, key.sign(content, pss, hashes.SHA256())

    def _spoil_finished(self, verify_data: bytes) -> bytes:
        return bytes((verify_data[0] ^ 1,)) + verify_data[1:] if self.script.corrupt_finished else verify_data


def compressed_certificate(algorithm: Compression, body: bytes, length: int | None = None) -> bytes:
    """Return the body of a CompressedCertificate that declares to hold this many bytes, or as many as it holds."""
    content = zlib.compress(body) if algorithm is Compression.ZLIB else brotli.compress(body)
    size = len(body) if length is None else length
    return algorithm.to_bytes(2, "big") + size.to_bytes(3, "big") + wire.vector(content, 3)


class ScriptedServer(Listener):
    """A running scripted server: its address, and what clients sent so far.

    `handshakes` counts the handshakes that clients completed correctly; `alerts` are the numbers of their alerts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.handshakes = 0
        self.hellos: list[ClientHello] = []
        self.alerts: list[int] = []
        self.requests: list[Request] = []


@contextlib.asynccontextmanager
async def serve_script(script: Script | Sequence[Script], *, host: str = LOOPBACK) -> AsyncIterator[ScriptedServer]:
    """Follow `script` on every connection to `host` until the block ends.

    Of several scripts each is for one connection, and the last for all that follow.
    """
    scripts = (script,) if isinstance(script, Script) else tuple(script)
    if not scripts:
        raise ValueError("a scripted server needs at least one script")
    server = ScriptedServer()

    async def serve(plain: PlainStream) -> None:
        current = scripts[min(server.connections, len(scripts)) - 1]
        if server.connections <= current.drop_first:
            await plain.reset()
            return
        stream = ScriptedStream(ScriptedHandshake(current), plain)
        try:
            await _perform(stream, server)
        except TLSWireError as error:
            await stream.send(wire.alert_record(error.alert))
        except ResetNow:
            await plain.reset()

    async with listen(serve, server, host=host):
        yield server


async def _perform(stream: ScriptedStream, server: ScriptedServer) -> None:
    """Run one connection to its end and record what the client did."""
    handshake, script = stream.handshake, stream.handshake.script
    try:
        await stream.begin()
    finally:
        if handshake.hello is not None:
            server.hellos.append(handshake.hello)
        server.handshakes += handshake.complete
        server.alerts.extend(handshake.alerts)
    seen = len(handshake.alerts)
    if handshake.complete and not handshake.stopped:
        try:
            await answer(stream, greet, server.requests)
        finally:
            server.alerts.extend(handshake.alerts[seen:])
        return
    if script.ending is Ending.RESET:
        raise ResetNow
    if script.ending is Ending.SILENCE:
        await stream.ignore()


class ResetNow(Exception):  # noqa: N818 - an instruction of the script, not an error
    """The script resets the connection here."""


class ScriptedStream:
    """Application data of one scripted connection; counts, delays and truncates what the server sends."""

    def __init__(self, handshake: ScriptedHandshake, below: PlainStream) -> None:
        self.handshake = handshake
        self._below = below
        self._sent = 0

    async def begin(self) -> None:
        """Handshake until it completes, the script stops, or the client closes. Raises TLSWireError, ResetNow."""
        if self.handshake.script.reset_after == 0:
            raise ResetNow
        while not (self.handshake.stopped or self.handshake.complete or self.handshake.closed):
            if not await self._fill():
                return

    async def ignore(self) -> None:
        """Read and discard until the client closes."""
        while await self._below.read():
            pass

    async def read(self) -> bytes:
        """Return decrypted bytes, at least one; no bytes once the client has closed."""
        while not self.handshake.application_data and not self.handshake.closed and await self._fill():
            pass
        data = bytes(self.handshake.application_data)
        self.handshake.application_data.clear()
        return data

    async def write(self, data: bytes) -> None:
        """Encrypt and send all of `data`."""
        await self.send(self.handshake.encrypt(data))

    async def close(self) -> None:
        """Send close_notify, then close."""
        await self.send(self.handshake.close_notify())
        await self._below.close()

    def abort(self) -> None:
        """Close at once."""
        self._below.abort()

    async def send(self, data: bytes) -> None:
        """Send bytes unchanged, as slowly and as many as the script allows. Raises ResetNow at its limit."""
        script = self.handshake.script
        limit = script.reset_after
        if limit is not None:
            data = data[: limit - self._sent]
        if script.drip is None:
            await self._below.write(data)
        else:
            for byte in data:
                await self._below.write(bytes((byte,)))
                await asyncio.sleep(script.drip)
        self._sent += len(data)
        if limit is not None and self._sent >= limit:
            raise ResetNow

    async def _fill(self) -> bool:
        data = await self._below.read()
        for chunk in self.handshake.receive(data):
            await self.send(chunk)
        return bool(data)


def _kind_of(certificate: bytes) -> KeyKind:
    """Return the kind of key of a certificate."""
    public = x509.load_der_x509_certificate(certificate).public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return "rsa1024" if public.key_size <= 1024 else "rsa" if public.key_size <= 2048 else "rsa3072"  # noqa: PLR2004 - bits
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP384R1):
        return "ec384"
    return "ed25519" if isinstance(public, ed25519.Ed25519PublicKey) else "ec"
