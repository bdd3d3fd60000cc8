"""The native engine: a browser's hello, and what the browser would finish with it, without a TLS library.

Room: probe. Pure: bytes in, bytes out; no sockets, no asyncio; the time, where it counts, is an argument.

`client_hello` writes the hello, `wire` reads what the server sends, and this module makes keys, key schedule (RFC 8446
section 7; `tls12` for TLS 1.2) and our Finished. It probes only: connections that go on to carry data are OpenSSL's.
What Chrome takes is taken and what Chrome refuses is refused, so that no server can make a probe use another hello
where Chrome would have gone on (docs/adr/0007-fast-engine.md). Finished with this very hello are TLS 1.3, also after a
HelloRetryRequest, with a compressed chain or a request for a client certificate; and TLS 1.2 with ECDHE or RSA.

Outcomes, first matching row:

====================================================================================  ===============  ===============
what happened                                                                         outcome          key proved
====================================================================================  ===============  ===============
the first bytes are not a TLS record                                                  not-tls          no
a size exceeds the limits of `wire`                                                   too-large        no
the handshake signature is not the presented key's                                    signature-wrong  no
the server sent an alert                                                              tls-alert        as seen
a browser would refuse what was sent, or Finished is wrong                            tls-failure      as seen
signature and Finished are right (with RSA key exchange Finished alone)               complete         yes
the connection closed                                                                 as reported      as seen
====================================================================================  ===============  ===============

What a browser refuses is read to its end all the same: the chain is a fact, no matter what presents it.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from detector.aio.lazy import LazyModule
from detector.model import Engine, Hello, Outcome
from detector.trust import der
from detector.trust.certificate import OID_KEY_USAGE, Certificate
from detector.trust.handshake_signature import SIGNATURE_SCHEMES, KeyProof
from detector.trust.signature import KeyType, read_key

from . import delegated_credential
from .client_hello import ClientHelloWriter
from .codepoints import TLS_1_2, TLS_1_2_SUITES, TLS_1_3, TLS_1_3_SUITES, ContentType, ExtensionType, HandshakeType
from .engine import ClientHandshake
from .framing import CHANGE_CIPHER_SPEC, RECORD_VERSION, frame_message, frame_record
from .hello import ClientHello, parse_client_hello, parse_server_hello
from .key_exchange import KeyShares, has_ml_kem
from .keys import TrafficKeys, expand_label
from .reader import Reader, WireError, malformed

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from detector.knowledge.client_hellos import HelloProfiles
    from detector.model import HandshakeSignature

    # Most servers speak TLS 1.3.
    from . import tls12
else:
    tls12 = LazyModule(f"{__package__}.tls12")

_CURVES: Final = {0x0403: "secp256r1", 0x0503: "secp384r1", 0x0603: "secp521r1"}
"""TLS 1.3 ties the scheme to the curve (RFC 8446 section 4.2.3)."""
_CURVES_OF_TLS_1_2: Final = {"secp256r1": 0x0017, "secp384r1": 0x0018, "secp521r1": 0x0019}
"""Groups by the name of their curve: before TLS 1.3 the server's key is in one of those offered (RFC 8422 section
5.1)."""
_RSAE: Final = frozenset({0x0804, 0x0805, 0x0806})
_OF_ONE_KEY_TYPE: Final = frozenset({0x0807, 0x0808, 0x0904, 0x0905, 0x0906})
"""Schemes that name the kind of key: Ed25519, Ed448, ML-DSA (RFC 8446 section 4.2.3, draft-ietf-tls-mldsa)."""
_DIGITAL_SIGNATURE: Final = 0x80  # bits of KeyUsage (RFC 5280 section 4.2.1.3)
_KEY_ENCIPHERMENT: Final = 0x20

_NO_CONTEXT: Final = {name: hashlib.new(name).digest() for name in ("sha256", "sha384")}
"""Hash of an empty transcript (RFC 8446 section 7.1)."""

_FIRST_RECORD_VERSION: Final = b"\x03\x01"  # of a first ClientHello (RFC 8446 section 5.1)
_PREMASTER_VERSION: Final = b"\x03\x03"  # the version our hello offers (RFC 5246 section 7.4.7.1)
_EMPTY_CERTIFICATE: Final = bytes((HandshakeType.CERTIFICATE,)) + b"\x00\x00\x04\x00\x00\x00\x00"
"""The answer of a client without a certificate (RFC 8446 section 4.4.2.4)."""
_CURABLE_ALERTS: Final = frozenset({40, 70, 71})
"""handshake_failure, protocol_version, insufficient_security: what a server sends that accepts nothing of the offer
(RFC 8446 section 6.2)."""
_DECRYPT_ERROR: Final = b"\x02\x33"  # Fatal, 51: a client's answer to a wrong signature (RFC 8446 section 4.4.3)
_CLOSE_NOTIFY: Final = b"\x01\x00"  # RFC 8446 section 6.1
_CLOSE_IN_CLEAR: Final = bytes.fromhex("15030300020100")  # close_notify before there are keys


def prepare() -> None:
    """Do now what only the first handshake of a process takes time for: a few milliseconds of an event loop."""
    NativeHandshake("localhost").start()


class NativeHandshake(ClientHandshake):
    """A handshake with a browser's hello, for probing only.

    `hello` is `browser`, `firefox` or `readable`; `small` leaves ML-KEM out, as does a `cryptography` built without it.
    `profiles` are what browsers send, by default the shipped ones. `alpn` replaces the protocols of the profile. `now`
    is the time at which a delegated credential has to be valid; without one such credentials prove nothing.
    """

    engine: ClassVar[Engine | None] = Engine.NATIVE

    def __init__(  # noqa: PLR0913 - keyword-only past the host; each shapes the hello
        self,
        host: str,
        *,
        hello: Hello = Hello.BROWSER,
        small: bool = False,
        alpn: Sequence[bytes] | None = None,
        now: dt.datetime | None = None,
        profiles: HelloProfiles | None = None,
    ) -> None:
        super().__init__(host, hello)
        self.small = small or not has_ml_kem()
        self._now = now
        self._writer = ClientHelloWriter(hello, self._name, alpn=alpn, small=self.small, profiles=profiles)
        self._profiles = profiles
        self._keys = KeyShares(self._writer.shared_groups, common_x25519=self._writer.common_x25519)
        self._hash_name = ""
        self._handshake_secret: bytes | None = None
        self._client_secret = b""
        self._ending: tls12.SecondFlight | None = None
        self._session: tls12.Session | None = None

    @property
    def signature(self) -> HandshakeSignature | None:
        """What the server signed; None where that was done by another key than the leaf's, on its behalf."""
        return self._wire.signature if self._wire.delegated is None else None

    @property
    def proof(self) -> KeyProof:
        """Our own check of the handshake signature, also by a delegated credential."""
        delegated, signature, certificates = self._wire.delegated, self._wire.signature, self._wire.certificates
        if delegated is None or signature is None:
            return super().proof
        if self._proof is None:
            leaf = Certificate.read(certificates[0])
            self._proof = delegated_credential.proof(delegated, leaf, signature, self._now)
        return self._proof

    @property
    def key_proved(self) -> bool:
        """Whether the peer showed that it holds the key of certificate 0.

        With RSA key exchange by its Finished: without the key there are no secrets (RFC 5246 section 7.4.7.1).
        """
        return self._wire.finished_valid is True and (self._is_by_encryption or self.proof is KeyProof.VALID)

    @property
    def error(self) -> WireError | None:
        """Why the server's bytes could not be parsed to their end; None where they were."""
        return self._wire.error

    @property
    def needs_wider_hello(self) -> bool:
        """Whether a hello that offers more may get a certificate where this one got none."""
        if self.certificates_seen:
            return False
        if self._outcome is Outcome.TLS_ALERT:
            return self._wire.alert in _CURABLE_ALERTS
        return self._outcome is Outcome.TLS_FAILURE and self._wire.unoffered

    def start(self) -> bytes:
        """Return the ClientHello to send."""
        message = self._writer.first(self._keys.shares)
        kind = (self._profiles, self.hello, self.small, self._writer.alpn, self._name is not None)
        if kind not in _READ:
            _READ[kind] = (parsed := parse_client_hello(message)), parsed.ja4
        read, self._ja4 = _READ[kind]
        self._wire.offered = msgspec.structs.replace(read, session_id=self._writer.session_id)
        return self._send_hello(message, _FIRST_RECORD_VERSION)

    def _send_hello(self, message: bytes, version: bytes) -> bytes:
        self._wire.client_messages(message)
        return frame_record(ContentType.HANDSHAKE, message, version)

    def _interrupted(self, outcome: Outcome) -> Outcome:
        return outcome if self.refusal is None else self._wrong_or(Outcome.TLS_FAILURE)

    def closing_bytes(self) -> bytes:
        """Return the close_notify that ends a connection politely, where it was not sent with Finished."""
        if self._session is not None:
            return self._session.close_notify() if self._outcome is Outcome.COMPLETE else b""
        return _CLOSE_IN_CLEAR if self._outcome is Outcome.TLS_FAILURE and self._handshake_secret is None else b""

    def _alert(self) -> int | None:
        if self._outcome is Outcome.SIGNATURE_WRONG:
            return _DECRYPT_ERROR[1]
        return self._wire.alert if self._outcome is Outcome.TLS_ALERT else None

    def _read(self, data: bytes) -> None:
        if self._ending is None:
            super()._read(data)
        else:
            self._ending.receive(data)

    def _advance(self, data: bytes, malformed: WireError | None) -> bytes:  # noqa: ARG002 - the base has parsed it into `wire`
        try:
            if malformed is not None:
                raise malformed
            if self._ending is not None:
                return self._end()
            if self._wire.hello_retry_request is not None and len(self._wire.client_hellos) == 1:
                return self._retry(self._wire.hello_retry_request)
            if self._wire.version == TLS_1_3 and self._wire.server_hello is not None and not self._handshake_secret:
                self._agree()
            return self._conclude()
        except WireError as error:
            return self._fail(error)

    def _settle(self, outcome: Outcome) -> bytes:
        """Settle the outcome; a wrong signature takes precedence. Send nothing."""
        self._outcome = self._wrong_or(outcome)
        return b""

    def _retry(self, retry: bytes) -> bytes:
        """Answer a HelloRetryRequest with the second ClientHello (RFC 8446 sections 4.1.2 and 4.1.4).

        Raises `WireError` for a group that cannot be used here, or a malformed request.
        """
        wire = self._wire
        extensions = dict(parse_server_hello(retry).extensions)
        cookie = extensions.get(ExtensionType.COOKIE)
        if cookie is not None:
            reader = Reader(cookie, "a cookie")
            cookie = reader.vector(2)
            reader.end()
        chosen = extensions.get(ExtensionType.KEY_SHARE)
        group = None if chosen is None else wire.group
        if wire.refusal is not None or cookie == b"" or group in self._keys.shares or len(chosen or b"..") != 2:  # noqa: PLR2004 - a NamedGroup
            raise malformed(wire.refusal or "a HelloRetryRequest that changes nothing")
        share = None if group is None else self._keys.replace(group)
        message = self._writer.second(group, share, cookie)
        return CHANGE_CIPHER_SPEC + self._send_hello(message, RECORD_VERSION)

    def _agree(self) -> None:
        """Derive the handshake keys (RFC 8446 section 7.1). Raises `WireError`."""
        wire = self._wire
        if wire.key_share is None:
            raise malformed("a ServerHello without a key share")
        shared = self._keys.agree(wire.group, wire.key_share)
        self._hash_name = hash_name = TLS_1_3_SUITES[wire.suite or 0].hash_name
        transcript = wire.transcript().digest()
        self._handshake_secret = hmac.digest(_early_salt(hash_name), shared, hash_name)
        self._client_secret = _derive(hash_name, self._handshake_secret, "c hs traffic", transcript)
        wire.secret(_derive(hash_name, self._handshake_secret, "s hs traffic", transcript))

    def _conclude(self) -> bytes:
        """Settle the handshake if what has been parsed decides it; return the bytes to send. Raises `WireError`."""
        wire = self._wire
        if self.proof is KeyProof.INVALID:
            self._outcome = Outcome.SIGNATURE_WRONG
            if self._handshake_secret is None:
                return frame_record(ContentType.ALERT, _DECRYPT_ERROR)
            return self._sealed(self._client_secret, _DECRYPT_ERROR, ContentType.ALERT)
        if wire.alert is not None:
            return self._settle(Outcome.TLS_ALERT)
        if not wire.flight_over:
            return b""
        new = wire.version == TLS_1_3
        agreed = self.key_proved if new else self._is_by_encryption or self.proof is KeyProof.VALID
        if not agreed or self.refusal is not None:
            return self._settle(Outcome.TLS_FAILURE)
        return self._answer() if new else self._answer_in_tls12()

    @property
    def refusal(self) -> str | None:
        """Why a browser would not go on with what came so far; None where it would."""
        wire = self._wire
        if wire.refusal is not None:
            return wire.refusal
        if not wire.certificates_seen:
            return None
        leaf = Certificate.read(wire.certificates[0]) if wire.certificates else None
        if leaf is None or not leaf.is_whole or leaf.spki is None:
            return "no certificate, or one that cannot be parsed"
        wanted = _KEY_ENCIPHERMENT if self._is_by_encryption else _DIGITAL_SIGNATURE
        if not _has_usage(leaf, wanted):
            return "a certificate that is not for this use"
        if wire.version == TLS_1_3:
            signed = None if self.signature is None else self.signature.scheme
            return None if signed is None or _fits(signed, leaf.spki) else "a signature scheme that is not the key's"
        return self._refusal_of_key(leaf.spki)

    def _refusal_of_key(self, spki: bytes) -> str | None:
        """Return why this key is not one for the cipher suite (RFC 8422 section 2, RFC 5246 section 7.4.2)."""
        suite = TLS_1_2_SUITES.get(self._wire.suite or 0)
        if self._wire.version != TLS_1_2 or suite is None:
            return "a cipher suite or version that browsers do not offer"
        if self._wire.flight_over and suite.is_ecdhe and self._wire.signature is None:
            return "no ServerKeyExchange"
        key, offered = _strictly_read(spki), self._wire.offered
        if suite.is_ecdsa:
            curve = _CURVES_OF_TLS_1_2.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
            is_fitting = offered is not None and curve in offered.groups
        else:
            is_fitting = isinstance(key, rsa.RSAPublicKey)
        return None if is_fitting else "a key that is not for the cipher suite"

    @property
    def _is_by_encryption(self) -> bool:
        """Whether the secret is sent encrypted with the leaf's key (RFC 5246 section 7.4.7.1)."""
        wire = self._wire
        suite = TLS_1_2_SUITES.get(wire.suite or 0)
        return wire.version == TLS_1_2 and suite is not None and not suite.is_ecdhe

    # TLS 1.3

    def _answer(self) -> bytes:
        """Return our second flight and the close_notify that ends a connection that only probes (RFC 8446 section 4.4).

        Some middleboxes stumble over a bare FIN.
        """
        self._outcome = Outcome.COMPLETE
        wire = self._wire
        transcript = wire.transcript()
        application = self._application_secret(transcript.digest())
        messages = b""
        if wire.application_settings:  # draft-vvv-tls-alps section 4: ours are empty, as Chrome's are
            body = ExtensionType.APPLICATION_SETTINGS.to_bytes(2, "big") + b"\x00\x00"
            messages += frame_message(HandshakeType.ENCRYPTED_EXTENSIONS, len(body).to_bytes(2, "big") + body)
        if wire.certificate_requested:
            messages += _EMPTY_CERTIFICATE
        transcript.update(messages)
        key = expand_label(self._hash_name, self._client_secret, "finished", len(self._client_secret))
        verify_data = hmac.digest(key, transcript.digest(), self._hash_name)  # RFC 8446 section 4.4.4
        messages += frame_message(HandshakeType.FINISHED, verify_data)
        begin = b"" if wire.hello_retry_request is not None else CHANGE_CIPHER_SPEC
        sealed = self._sealed(self._client_secret, messages, ContentType.HANDSHAKE)
        return begin + sealed + self._sealed(application, _CLOSE_NOTIFY, ContentType.ALERT)

    def _application_secret(self, transcript: bytes) -> bytes:
        """Return client_application_traffic_secret_0 (RFC 8446 section 7.1)."""
        hash_name = self._hash_name
        salt = _derive(hash_name, self._handshake_secret or b"", "derived", _NO_CONTEXT[hash_name])
        main = hmac.digest(salt, bytes(len(salt)), hash_name)
        return _derive(hash_name, main, "c ap traffic", transcript)

    def _sealed(self, secret: bytes, content: bytes, content_type: ContentType) -> bytes:
        """Return the first record under a traffic secret (RFC 8446 sections 5.2 and 5.3)."""
        suite = self._wire.suite or 0
        keys = TrafficKeys(suite, secret)
        inner = content + bytes((content_type,))
        header = b"\x17\x03\x03" + (len(inner) + TLS_1_3_SUITES[suite].tag_bytes).to_bytes(2, "big")
        return header + keys.cipher.encrypt(keys.nonce(0), inner, header)

    # TLS 1.2

    def _answer_in_tls12(self) -> bytes:
        """Return our second flight (RFC 5246 section 7.3), and read on from there. Raises `WireError`."""
        wire = self._wire
        premaster, exchanged = self._premaster()
        messages = tls12.EMPTY_CERTIFICATE if wire.certificate_requested else b""
        messages += frame_message(HandshakeType.CLIENT_KEY_EXCHANGE, exchanged)
        transcript = wire.transcript()
        transcript.update(messages)
        self._session = tls12.session(
            wire.suite or 0,
            premaster,
            randoms=(wire.client_random or b"", wire.server_random),
            session_hash=transcript.digest() if wire.extended_master_secret else None,
        )
        flight = frame_record(ContentType.HANDSHAKE, messages) + self._session.client_finished(transcript)
        self._ending = tls12.SecondFlight(self._session, transcript, ticket_expected=wire.ticket_expected)
        self._ending.receive(wire.rest())
        self._end()
        return flight

    def _premaster(self) -> tuple[bytes, bytes]:
        """Return the premaster secret, and the message that carries it (RFC 5246 section 7.4.7). Raises `WireError`."""
        wire = self._wire
        if not self._is_by_encryption:
            public = self._keys.replace(wire.group or 0)
            return self._keys.agree(wire.group, wire.key_share or b""), len(public).to_bytes(1, "big") + public
        premaster = _PREMASTER_VERSION + secrets.token_bytes(tls12.PREMASTER_SECRET_BYTES - len(_PREMASTER_VERSION))
        key = _strictly_read(Certificate.read(wire.certificates[0]).spki or b"")
        try:
            if isinstance(key, rsa.RSAPublicKey):
                sealed = key.encrypt(premaster, padding.PKCS1v15())
                return premaster, len(sealed).to_bytes(2, "big") + sealed
        except ValueError as error:  # a key that is too short
            raise malformed("the server's key cannot encrypt") from error
        raise malformed("the server's key cannot encrypt")

    def _end(self) -> bytes:
        """Settle the outcome once the server's second flight decides it; there is nothing to send."""
        ending = self._ending
        if ending is None:
            return b""
        self._wire.finished_valid = ending.finished_valid
        if ending.finished_valid is not None:
            self._outcome = Outcome.COMPLETE if self.key_proved else self._wrong_or(Outcome.TLS_FAILURE)
        elif ending.alert is not None:
            self._wire.alert = ending.alert
            self._outcome = Outcome.TLS_ALERT
        return b""


_READ: Final[dict[tuple[HelloProfiles | None, Hello, bool, tuple[bytes, ...], bool], tuple[ClientHello, str]]] = {}
"""A hello of each kind, read, and its JA4: by data set, profile, size, protocols, and whether there is a name. They
offer the same, but for the session id, the order and the reserved values, which are never offers."""


def _strictly_read(spki: bytes) -> object | None:
    """Return the key, if it is read here and also strict DER, as RFC 3279 and RFC 5480 want it."""
    key = read_key(spki).key
    if key is None or key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki:
        return None
    return key


def _fits(scheme: int, spki: bytes) -> bool:
    """Whether TLS 1.3 lets this key sign by this scheme (RFC 8446 section 4.2.3)."""
    key = _strictly_read(spki)
    if key is None:
        return False
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(scheme) == key.curve.name
    key_type = read_key(spki).key_type
    if key_type is KeyType.RSA:
        return scheme in _RSAE
    return scheme in _OF_ONE_KEY_TYPE and SIGNATURE_SCHEMES[scheme].key_type is key_type


def _has_usage(leaf: Certificate, wanted: int) -> bool:
    """Whether the leaf's key may be used so: its KeyUsage, if it has one, has this bit (RFC 5280 section 4.2.1.3)."""
    value = leaf.extensions.get(OID_KEY_USAGE)
    if value is None:
        return True
    try:
        bits = der.expect(value, 0, len(value), der.BIT_STRING)
    except der.DERError:
        return False
    content = der.value(value, bits)
    return bits.end == len(value) and der.is_bit_string(content) and len(content) > 1 and bool(content[1] & wanted)


@functools.cache
def _early_salt(hash_name: str) -> bytes:
    """Return the salt of the handshake secret without PSK, the same in every handshake."""
    nothing = bytes(hashlib.new(hash_name).digest_size)
    return _derive(hash_name, hmac.digest(nothing, nothing, hash_name), "derived", _NO_CONTEXT[hash_name])


def _derive(hash_name: str, secret: bytes, label: str, transcript_hash: bytes) -> bytes:
    """Derive-Secret (RFC 8446 section 7.1)."""
    return expand_label(hash_name, secret, label, len(transcript_hash), transcript_hash)
