"""The native engine: TLS 1.3 handshakes without a TLS library, fast, for probing only (docs/adr/0007-fast-engine.md).

Room: probe. Pure: bytes in, bytes out; no sockets, no asyncio, no clock.

It makes the hello, the key schedule (RFC 8446 section 7) and our Finished; `wire` parses what the server sends, exactly
as for the reference engine in `openssl`. It completes only what conforms strictly. Everything else needs the fall-back:
the reference engine then probes on a connection of its own and decides, and what was seen here stays available.

Outcomes, first matching row:

======================================================================================  ===============  ==========
what happened                                                                           outcome          key proved
======================================================================================  ===============  ==========
the first bytes are not a TLS record                                                    not-tls          no
a declared size exceeds the limits of `wire`                                            too-large        no
the handshake signature is not the presented key's                                      signature-wrong  no
another version, a retry, an unsupported group, suite or scheme, or nonconforming       fall-back        as seen
the server answered the hello with an alert                                             tls-alert        no
signature and Finished are right, everything conformed                                  complete         yes
the connection closed                                                                   as reported      as seen
======================================================================================  ===============  ==========

A ClientHello of this engine differs from one of the reference engine only in what is random in each.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, ClassVar, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from detector.model import Engine, Hello, Outcome
from detector.trust import der
from detector.trust.certificate import Certificate
from detector.trust.handshake_signature import SIGNATURE_SCHEMES, KeyProof
from detector.trust.signature import KeyType, read_key

from .codepoints import TLS_1_3, TLS_1_3_SUITES, ContentType, ExtensionType, HandshakeType
from .engine import ALPN_PROTOCOLS, READABLE_SCHEMES, ClientHandshake
from .hello import RANDOM_BYTES, ja3_of
from .keys import TrafficKeys, expand_label
from .reader import WireError, WireErrorKind

try:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
except ImportError:  # an older cryptography: OpenSSL's hello, which ours must match, offers it
    MLKEM768PrivateKey = None  # type: ignore[assignment,misc] # checked by `is_usable`

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import HandshakeSignature

_SUITES: Final = bytes.fromhex(
    "130213031301c02cc03000a3009fcca9cca8ccaac0adc09fc05dc061c057c053c02bc02f00a2009ec0acc09ec05cc060c056c052c0afc0ae"
    "c0a3c0a2c024c028006b006ac073c07700c400c3c023c02700670040c072c07600be00bdc00ac014003900380088"
    "0087c009c01300330032009a009900450044009dc09dc051009cc09cc050c0a1c0a0003d00c0003c00ba00350084"
    "002f00960041000700ff"
)
"""The cipher suites that OpenSSL 4.0 offers for `openssl.CIPHERS`, in its order."""

_X25519: Final = 0x001D
_X25519_MLKEM768: Final = 0x11EC
_GROUPS: Final = bytes.fromhex("11ec11eb11ee001d0017001e00180019002901000101")
"""The groups OpenSSL 4.0 offers; with key shares for the first and for X25519."""
_SCHEMES: Final = bytes.fromhex(
    "09050906090404030503060308070808081a081b081c0809080a080b0804080508060401050106010303020303010201030202020402"
    "050206020708"
)
"""The signature schemes OpenSSL 4.0 offers at security level 0."""
_OFFERED: Final = {Hello.WIDEST: _SCHEMES, Hello.READABLE: READABLE_SCHEMES}
_OFFERED_SCHEMES: Final = {
    hello: frozenset(int.from_bytes(schemes[at : at + 2], "big") for at in range(0, len(schemes), 2))
    for hello, schemes in _OFFERED.items()
}
_MLKEM_CIPHERTEXT_BYTES: Final = 1088
"""ML-KEM-768 (FIPS 203 table 3); in a server's share it precedes the X25519 key (draft-ietf-tls-ecdhe-mlkem section
3.1.2)."""

_SUPPORTED_SUITES: Final = frozenset({0x1301, 0x1302, 0x1303})

_CURVES: Final = {0x0403: "secp256r1", 0x0503: "secp384r1", 0x0603: "secp521r1"}
"""TLS 1.3 ties the scheme to the curve (RFC 8446 section 4.2.3)."""
_RSAE: Final = frozenset({0x0804, 0x0805, 0x0806})
_OF_ONE_KEY_TYPE: Final = frozenset({0x0807, 0x0808, 0x0904, 0x0905, 0x0906})
"""Schemes that name the kind of key: Ed25519, Ed448, ML-DSA (RFC 8446 section 4.2.3, draft-ietf-tls-mldsa)."""

_NO_CONTEXT: Final = {name: hashlib.new(name).digest() for name in ("sha256", "sha384")}
"""Hash of an empty transcript (RFC 8446 section 7.1)."""

_RESPONSE_BYTES: Final = 0xA0  # tag of responseBytes (RFC 6960 section 4.2.1)
_BASIC_RESPONSE: Final = bytes.fromhex("2b0601050507300101")  # id-pkix-ocsp-basic, the only type (RFC 6960)

_CHANGE_CIPHER_SPEC: Final = bytes.fromhex("140303000101")
"""The record that RFC 8446 appendix D.4 sends for middleboxes, since a session id was offered."""
_ENDS: Final = frozenset({Outcome.CLOSED, Outcome.RESET})
"""Ends caused by the peer or the network; others are our own limits, and no second connection is made then."""
_DECRYPT_ERROR: Final = b"\x02\x33"  # Fatal, 51: a client's answer to a wrong signature (RFC 8446 section 4.4.3)
_CLOSE_IN_CLEAR: Final = bytes.fromhex("15030300020100")  # close_notify before there are keys (RFC 8446 section 6.1)


@functools.cache
def is_usable() -> bool:
    """Whether this machine's `cryptography` has everything the hello offers."""
    if MLKEM768PrivateKey is None:
        return False
    try:
        MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return False
    return True


def prepare() -> None:
    """Do now what only the first handshake of a process takes time for: a few milliseconds of an event loop."""
    if is_usable():
        NativeHandshake("localhost").start()


class NativeHandshake(ClientHandshake):
    """A TLS 1.3 handshake, for probing only.

    `alpn` are the protocols offered (RFC 7301), `hello` is `default` or `readable`. `fallback_reason` says why the
    reference engine has to probe.
    """

    engine: ClassVar[Engine | None] = Engine.NATIVE

    def __init__(self, host: str, *, alpn: Sequence[bytes] = ALPN_PROTOCOLS, hello: Hello = Hello.WIDEST) -> None:
        super().__init__(host, hello)
        self._alpn = alpn
        self._x25519 = X25519PrivateKey.generate()
        self._mlkem = MLKEM768PrivateKey.generate()
        self._hash_name = ""
        self._handshake_secret: bytes | None = None
        self._client_secret = b""

    @property
    def ja3(self) -> str | None:
        """The JA3 fingerprint of our ClientHello, which is the same for all that offer the same."""
        if self.client_hello is None:
            return None
        offered = (self._name is not None, bool(self._alpn))
        if offered not in _JA3:
            _JA3[offered] = ja3_of(self.client_hello)
        return _JA3[offered]

    @property
    def signature(self) -> HandshakeSignature | None:
        """What the server signed in TLS 1.3; older versions are for the reference engine."""
        return self._wire.signature if self._wire.version == TLS_1_3 else None

    def start(self) -> bytes:
        """Return the ClientHello to send."""
        message = _client_hello(self._name, self._alpn, self._x25519, self._mlkem, _BEFORE_SHARES[self.hello])
        self._wire.client_messages(message)
        return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message

    def connection_closed(self, outcome: Outcome) -> None:
        """Note that no more bytes come, for the reason `outcome`."""
        if self.finished:
            return
        self._outcome = outcome
        if outcome in _ENDS and (self._wire.mid_message or not self._conforms()):
            self._fall_back("the connection closed")  # the reference engine may have refused what came so far

    def closing_bytes(self) -> bytes:
        """Return the close_notify for a server that we leave before keys were agreed on; otherwise it was sent."""
        return _CLOSE_IN_CLEAR if self.fallback_reason is not None and self._handshake_secret is None else b""

    def _scts_requested(self) -> bool:
        return True

    def _alert(self) -> int | None:
        if self._outcome is Outcome.SIGNATURE_WRONG:
            return _DECRYPT_ERROR[1]
        return self._wire.alert if self._outcome is Outcome.TLS_ALERT else None

    def _advance(self, data: bytes, malformed: WireError | None) -> bytes:  # noqa: ARG002 - `wire` has it
        wire = self._wire
        if malformed is not None:
            return self._fall_back(str(malformed))
        answered = wire.server_hello is not None and (wire.alert is None or not wire.conforming)
        if answered and self._handshake_secret is None:
            try:
                reason = self._agree()
            except WireError as error:
                return self._fall_back(str(error)) if error.kind is WireErrorKind.MALFORMED else self._fail(error)
            if reason is not None:
                return self._fall_back(reason)
        return self._conclude()

    def _conclude(self) -> bytes:
        """Settle the handshake if what has been parsed decides it; return the bytes to send."""
        wire = self._wire
        if wire.hello_retry_request is not None:
            return self._fall_back("HelloRetryRequest")
        if wire.alert is not None and (wire.server_hello is not None or not wire.conforming):
            # The reference engine may have refused what came before it.
            return self._fall_back("an alert after ServerHello")
        if self.proof is KeyProof.INVALID:
            self._outcome = Outcome.SIGNATURE_WRONG
            return self._sealed(self._client_secret, _DECRYPT_ERROR, ContentType.ALERT)
        if wire.alert is not None:
            self._outcome = Outcome.TLS_ALERT
        elif wire.flight_over:
            if not self.key_proved or not self._conforms():
                return self._fall_back("a nonconforming flight")
            self._outcome = Outcome.COMPLETE
            return _CHANGE_CIPHER_SPEC + self._finished() + self._close_notify()
        return b""

    def _fall_back(self, reason: str) -> bytes:
        """Leave the decision to the reference engine; but a wrong signature stands, and nothing after it excuses it."""
        self._outcome = self._wrong_or(Outcome.TLS_FAILURE)
        if self._outcome is Outcome.TLS_FAILURE:
            self.fallback_reason = reason
        return b""

    def _agree(self) -> str | None:
        """Derive the handshake keys (RFC 8446 section 7.1), or return why this ServerHello cannot be answered.

        Raises `WireError`.
        """
        wire = self._wire
        if wire.version != TLS_1_3:
            return "another TLS version"
        if not wire.conforming or wire.suite not in _SUPPORTED_SUITES or wire.key_share is None:
            return "a nonconforming ServerHello or an unsupported cipher suite"
        shared = self._shared(wire.group, wire.key_share)
        if shared is None:
            return "an unusable key share"
        self._hash_name = hash_name = TLS_1_3_SUITES[wire.suite].hash_name
        transcript = wire.transcript_hash()
        self._handshake_secret = hmac.digest(_early_salt(hash_name), shared, hash_name)
        self._client_secret = _derive(hash_name, self._handshake_secret, "c hs traffic", transcript)
        wire.secret(_derive(hash_name, self._handshake_secret, "s hs traffic", transcript))
        return None

    def _shared(self, group: int | None, share: bytes) -> bytes | None:
        """Return the shared secret; None when the server's share is not one of a supported group."""
        try:
            if group == _X25519:
                return self._x25519.exchange(X25519PublicKey.from_public_bytes(share))
            if group == _X25519_MLKEM768:
                sealed, public = share[:_MLKEM_CIPHERTEXT_BYTES], share[_MLKEM_CIPHERTEXT_BYTES:]
                point = self._x25519.exchange(X25519PublicKey.from_public_bytes(public))
                return self._mlkem.decapsulate(sealed) + point
        except ValueError:  # not of the right size, or a point of small order (RFC 7748 section 6.1)
            return None
        return None

    def _conforms(self) -> bool:
        """Whether the reference engine would have found nothing to refuse so far."""
        wire = self._wire
        if not wire.conforming or (wire.alpn is not None and wire.alpn.encode() not in self._alpn):
            return False
        # OpenSSL refuses a chain with anything in it that is not a certificate, and an OCSP response it cannot decode.
        presented = bool(wire.certificates) and all(Certificate.read(der).is_whole for der in wire.certificates)
        if wire.ocsp_response is not None and not _is_whole_response(wire.ocsp_response):
            return False
        return self._scheme_fits() and (presented or not wire.certificates_seen)

    def _scheme_fits(self) -> bool:
        """Whether the key may sign as it did, by a scheme that our hello offers; true before it has signed."""
        signature, certificates = self.signature, self._wire.certificates
        if signature is None or signature.scheme is None:
            return True
        spki = Certificate.read(certificates[0]).spki if certificates else None
        return spki is not None and _fits(signature.scheme, spki) and signature.scheme in _OFFERED_SCHEMES[self.hello]

    def _finished(self) -> bytes:
        """Return our Finished (RFC 8446 section 4.4.4)."""
        key = expand_label(self._hash_name, self._client_secret, "finished", len(self._client_secret))
        verify = hmac.digest(key, self._wire.transcript_hash(), self._hash_name)
        message = bytes((HandshakeType.FINISHED, 0, 0, len(verify))) + verify
        return self._sealed(self._client_secret, message, ContentType.HANDSHAKE)

    def _close_notify(self) -> bytes:
        """Return what ends a connection that only probes: some middleboxes stumble over a bare FIN.

        It is under the first application keys, and sent with Finished (RFC 8446 sections 6.1 and 7.1).
        """
        hash_name = self._hash_name
        salt = _derive(hash_name, self._handshake_secret or b"", "derived", _NO_CONTEXT[hash_name])
        main = hmac.digest(salt, bytes(len(salt)), hash_name)
        secret = _derive(hash_name, main, "c ap traffic", self._wire.transcript_hash())
        return self._sealed(secret, b"\x01\x00", ContentType.ALERT)

    def _sealed(self, secret: bytes, content: bytes, content_type: ContentType) -> bytes:
        """Return the first record under a traffic secret (RFC 8446 sections 5.2 and 5.3)."""
        suite = self._wire.suite or 0
        keys = TrafficKeys(suite, secret)
        inner = content + bytes((content_type,))
        header = b"\x17\x03\x03" + (len(inner) + TLS_1_3_SUITES[suite].tag_bytes).to_bytes(2, "big")
        return header + keys.cipher.encrypt(keys.nonce(0), inner, header)


_JA3: Final[dict[tuple[bool, bool], str | None]] = {}
"""By whether a name and protocols are offered: nothing else that JA3 hashes ever differs."""


def _fits(scheme: int, spki: bytes) -> bool:
    """Whether TLS 1.3 lets this key sign by this scheme (RFC 8446 section 4.2.3)."""
    loaded = read_key(spki)
    if loaded.key is None:
        return False
    if isinstance(loaded.key, ec.EllipticCurvePublicKey):
        return _CURVES.get(scheme) == loaded.key.curve.name
    if loaded.key_type is KeyType.RSA:
        scheme_fits = scheme in _RSAE
    else:
        scheme_fits = scheme in _OF_ONE_KEY_TYPE and SIGNATURE_SCHEMES[scheme].key_type is loaded.key_type
    # RSA keys under rsaEncryption only (section 4.2.3), and none that is accepted here although it is not strict DER.
    return scheme_fits and loaded.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki


def _is_whole_response(data: bytes) -> bool:
    """Whether this is a complete OCSPResponse, a basic one or a status alone (RFC 6960 section 4.2.1).

    OpenSSL 4 refuses a handshake with a stapled response that it cannot decode. It decodes everything accepted here.
    """
    try:
        outer = der.expect(data, 0, len(data), der.SEQUENCE)
        status = der.expect(data, outer.content, outer.end, der.ENUMERATED)
        end = status.end
        if end != outer.end:
            tagged = der.expect(data, end, outer.end, _RESPONSE_BYTES)
            typed = der.expect(data, tagged.content, tagged.end, der.SEQUENCE)
            kind = der.expect(data, typed.content, typed.end, der.OBJECT_IDENTIFIER)
            content = der.expect(data, kind.end, typed.end, der.OCTET_STRING)
            if der.value(data, kind) != _BASIC_RESPONSE or not content.end == typed.end == tagged.end:
                return False
            end = tagged.end
    except der.DERError:
        return False
    return status.end - status.content == 1 and end == outer.end == len(data)


@functools.cache
def _early_salt(hash_name: str) -> bytes:
    """Return the salt of the handshake secret without PSK, the same in every handshake."""
    nothing = bytes(hashlib.new(hash_name).digest_size)
    return _derive(hash_name, hmac.digest(nothing, nothing, hash_name), "derived", _NO_CONTEXT[hash_name])


def _derive(hash_name: str, secret: bytes, label: str, transcript_hash: bytes) -> bytes:
    """Derive-Secret (RFC 8446 section 7.1)."""
    return expand_label(hash_name, secret, label, len(transcript_hash), transcript_hash)


def _client_hello(
    name: bytes | None, alpn: Sequence[bytes], x25519: X25519PrivateKey, mlkem: MLKEM768PrivateKey, before_shares: bytes
) -> bytes:
    """Return the ClientHello as OpenSSL 4.0 encodes it for the reference engine (RFC 8446 section 4.1.2)."""
    point = x25519.public_key().public_bytes_raw()
    shares = _share(_X25519_MLKEM768, mlkem.public_key().public_bytes_raw() + point) + _share(_X25519, point)
    extensions = [before_shares, _extension(ExtensionType.KEY_SHARE, _vector(2, shares))]
    if name is not None:
        extensions.append(_extension(ExtensionType.SERVER_NAME, _vector(2, b"\x00" + _vector(2, name))))
    if alpn:
        names = b"".join(_vector(1, protocol) for protocol in alpn)
        extensions.append(_extension(ExtensionType.ALPN, _vector(2, names)))
    body = (
        b"\x03\x03"
        + secrets.token_bytes(RANDOM_BYTES)
        + _vector(1, secrets.token_bytes(RANDOM_BYTES))
        + _vector(2, _SUITES)
        + b"\x01\x00"
        + _vector(2, b"".join(extensions))
    )
    return bytes((HandshakeType.CLIENT_HELLO,)) + _vector(3, body)


def _vector(length_size: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_size, "big") + content


def _extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(2, body)


def _share(group: int, public: bytes) -> bytes:
    return group.to_bytes(2, "big") + _vector(2, public)


_SIGNATURE_ALGORITHMS: Final = 13
_ENCRYPT_THEN_MAC: Final = 22
_PSK_KEY_EXCHANGE_MODES: Final = 45
_BEFORE_SHARES: Final = {
    hello: b"".join(
        (
            _extension(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP, b""),
            _extension(ExtensionType.EC_POINT_FORMATS, b"\x01\x00"),
            _extension(ExtensionType.SUPPORTED_GROUPS, _vector(2, _GROUPS)),
            _extension(ExtensionType.STATUS_REQUEST, b"\x01\x00\x00\x00\x00"),
            _extension(_ENCRYPT_THEN_MAC, b""),
            _extension(ExtensionType.EXTENDED_MASTER_SECRET, b""),
            _extension(_SIGNATURE_ALGORITHMS, _vector(2, schemes)),
            _extension(ExtensionType.SUPPORTED_VERSIONS, bytes.fromhex("080304030303020301")),
            _extension(_PSK_KEY_EXCHANGE_MODES, b"\x01\x01"),
        )
    )
    for hello, schemes in _OFFERED.items()
}
"""The extensions that are the same in every hello of a profile (RFC 8446 section 4.2, RFC 6066, RFC 6962, RFC 7366, RFC
7627)."""
