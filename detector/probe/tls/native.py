"""One TLS 1.3 handshake without a TLS library: the fast engine, for looking only (docs/adr/0007-fast-engine.md).

Room: probe. Pure: bytes in, bytes out; no sockets, no asyncio, no clock.

It makes the hello, the key schedule (RFC 8446 section 7) and our Finished; everything the server says is read by `wire`
and its signature checked by `keyproof`, exactly as for the reference engine in `handshake`. It completes only what is
regular to the letter. Whatever else comes it hands over (`hands_over`): then the reference engine makes a connection of
its own and has the last word, and what was seen here is still told by `facts`.

How it ends, first matching row:

=====================================================================================  ===============  ==========
what happened                                                                          outcome          key proved
=====================================================================================  ===============  ==========
the first bytes are no TLS record                                                      not-tls          no
a declared size beyond the limits of `wire`                                            too-large        no
the handshake signature is not the presented key's                                     signature-wrong  no
another version, a retry, a group, suite or scheme not spoken here, anything irregular  handed over      as seen
the server answered the hello with an alert                                            tls-alert        no
signature and Finished are right, everything was regular                               complete         yes
the connection ended                                                                   as told          as seen
=====================================================================================  ===============  ==========

A ClientHello of this engine and one of the reference engine differ in nothing but what is random in each.
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
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from detector.model import Engine, HandshakeSignature, Hello, Outcome
from detector.probe import outcomes
from detector.trust import der
from detector.trust.certificate import Certificate
from detector.trust.handshake_signature import SIGNATURE_SCHEMES
from detector.trust.signature import KeyType, read_key

from .codepoints import AEAD, TLS_1_3, TLS_1_3_SUITES, ContentType, ExtensionType, HandshakeType
from .hello import ja3_of
from .keyproof import KeyProof, check_certificate_verify, signed_content
from .openssl import ALPN_PROTOCOLS, READABLE_SCHEMES, Facts, facts_of, server_name
from .wire import NONCE_OCTETS, RANDOM_OCTETS, Wire, WireError, WireErrorKind, expand_label

try:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
except ImportError:  # an older cryptography: OpenSSL's hello, which ours must look like, offers it
    MLKEM768PrivateKey = None  # type: ignore[assignment,misc] # looked at by `is_usable`

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUITES: Final = bytes.fromhex(
    "130213031301c02cc03000a3009fcca9cca8ccaac0adc09fc05dc061c057c053c02bc02f00a2009ec0acc09ec05cc060c056c052c0afc0ae"
    "c0a3c0a2c024c028006b006ac073c07700c400c3c023c02700670040c072c07600be00bdc00ac014003900380088"
    "0087c009c01300330032009a009900450044009dc09dc051009cc09cc050c0a1c0a0003d00c0003c00ba00350084"
    "002f00960041000700ff"
)
"""The cipher suites that OpenSSL 4.0 offers for `handshake.CIPHERS`, in its order."""

_X25519: Final = 0x001D
_X25519_MLKEM768: Final = 0x11EC
_GROUPS: Final = bytes.fromhex("11ec11eb11ee001d0017001e00180019002901000101")
"""The groups OpenSSL 4.0 offers; with key shares for the first and for X25519."""
_SCHEMES: Final = bytes.fromhex(
    "09050906090404030503060308070808081a081b081c0809080a080b0804080508060401050106010303020303010201030202020402"
    "050206020708"
)
"""The signature schemes OpenSSL 4.0 offers at security level 0."""
_OFFERED: Final = {Hello.DEFAULT: _SCHEMES, Hello.READABLE: READABLE_SCHEMES}
_MLKEM_CIPHERTEXT_OCTETS: Final = 1088
"""Of ML-KEM-768 (FIPS 203 table 3); in a server's share it stands before the X25519 key
(draft-ietf-tls-ecdhe-mlkem section 3.1.2)."""

_SPOKEN_SUITES: Final = frozenset({0x1301, 0x1302, 0x1303})

_CURVES: Final = {0x0403: "secp256r1", 0x0503: "secp384r1", 0x0603: "secp521r1"}
"""TLS 1.3 ties the scheme to the curve (RFC 8446 section 4.2.3)."""
_RSAE: Final = frozenset({0x0804, 0x0805, 0x0806})
_OF_ONE_KEY_TYPE: Final = frozenset({0x0807, 0x0808, 0x0904, 0x0905, 0x0906})
"""Schemes that say what key signs: Ed25519, Ed448, ML-DSA (RFC 8446 section 4.2.3, draft-ietf-tls-mldsa)."""

_NO_CONTEXT: Final = {name: hashlib.new(name).digest() for name in ("sha256", "sha384")}
"""Transcript hash of nothing (RFC 8446 section 7.1)."""

_RESPONSE_BYTES: Final = 0xA0
"""Tag of responseBytes (RFC 6960 section 4.2.1)."""
_BASIC_RESPONSE: Final = bytes.fromhex("2b0601050507300101")
"""id-pkix-ocsp-basic (RFC 6960 section 4.2.1), the only type of response there is."""

_CHANGE_CIPHER_SPEC: Final = bytes.fromhex("140303000101")
"""The record that RFC 8446 appendix D.4 sends for middleboxes, since a session id was offered."""
_ENDS: Final = frozenset({Outcome.CLOSED, Outcome.RESET})
"""Ends that the peer or the network makes; others are our own impatience, and no second connection is made then."""
_DECRYPT_ERROR: Final = b"\x02\x33"
"""Fatal, 51: what a client says to a wrong signature (RFC 8446 section 4.4.3)."""
_CANCELED: Final = bytes.fromhex("15030300020100")
"""close_notify in clear (RFC 8446 section 6.1): we leave before keys were agreed on."""


@functools.cache
def is_usable() -> bool:
    """Whether this machine's `cryptography` has all that the hello offers."""
    if MLKEM768PrivateKey is None:
        return False
    try:
        MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return False
    return True


def prepare() -> None:
    """Do now what only the first handshake of a process takes time for: a few milliseconds of a loop, otherwise."""
    if is_usable():
        NativeHandshake("localhost").start()


class NativeHandshake:
    """A client handshake with `host`, used as `handshake.Handshake` is; look at `hands_over` when it has finished.

    `alpn` are the protocols offered (RFC 7301), `hello` is `default` or `readable`. Nothing raises.
    """

    engine: ClassVar[Engine | None] = Engine.NATIVE

    def __init__(self, host: str, *, alpn: Sequence[bytes] = ALPN_PROTOCOLS, hello: Hello = Hello.DEFAULT) -> None:
        self.hello: Final = hello
        self._wire = Wire()
        self._name = server_name(host)
        self._alpn = alpn
        self._x25519 = X25519PrivateKey.generate()
        self._mlkem = MLKEM768PrivateKey.generate()
        self._handshake_secret: bytes | None = None
        self._client_secret = b""
        self._outcome: Outcome | None = None
        self._proof: KeyProof | None = None
        self.hands_over = False
        """Whether the reference engine has to look; what was seen here proves nothing then."""

    @property
    def finished(self) -> bool:
        """Whether the outcome is settled."""
        return self._outcome is not None

    @property
    def certificates_seen(self) -> bool:
        """Whether the server presented anything as its chain."""
        return self._wire.certificates_seen

    @property
    def client_hello(self) -> bytes | None:
        """The ClientHello that was sent, as a handshake message with its header."""
        return self._wire.client_hellos[0] if self._wire.client_hellos else None

    @property
    def ja3(self) -> str | None:
        """The JA3 fingerprint of that ClientHello: it is the same for all that offer the same."""
        if self.client_hello is None:
            return None
        offered = (self._name is not None, bool(self._alpn))
        if offered not in _JA3:
            _JA3[offered] = ja3_of(self.client_hello)
        return _JA3[offered]

    @property
    def signature(self) -> HandshakeSignature | None:
        """What the server signed in the handshake, for others to verify."""
        verify = self._wire.certificate_verify
        if verify is None:
            return None
        return HandshakeSignature(
            scheme=verify.scheme, signed=signed_content(verify.transcript_hash), signature=verify.signature
        )

    @property
    def proof(self) -> KeyProof:
        """Our own check of the handshake signature against certificate 0."""
        if self._proof is None:
            verify = self._wire.certificate_verify
            if verify is None:
                return KeyProof.NOT_SEEN
            self._proof = check_certificate_verify(self._spki(), verify)
        return self._proof

    @property
    def key_proved(self) -> bool:
        """Whether the peer showed that it holds the key of certificate 0."""
        return self._wire.finished_valid is True and self.proof is KeyProof.VALID

    def start(self) -> bytes:
        """Make the ClientHello to send."""
        message = _client_hello(self._name, self._alpn, self._x25519, self._mlkem, _BEFORE_SHARES[self.hello])
        self._wire.client_messages(message)
        return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; return the bytes to send to it (perhaps none)."""
        if self.finished or not data:
            return b""
        try:
            self._wire.server(data)
            if self._is_answered and self._handshake_secret is None and not self._agree():
                self._hand_over()
                return b""
        except WireError as error:
            if error.kind is WireErrorKind.MALFORMED:
                self._hand_over()
            elif self.proof is KeyProof.INVALID:
                self._outcome = Outcome.SIGNATURE_WRONG
            else:
                self._outcome = outcomes.of_wire_error(error)
            return b""
        return self._go_on()

    def ended(self, outcome: Outcome) -> None:
        """Take note that no more bytes come, for the reason `outcome`."""
        if self.finished:
            return
        self._outcome = outcome
        if outcome in _ENDS and (self._wire.in_the_middle or not self._is_regular()):
            self._hand_over()  # the reference engine may have refused what came so far

    def facts(self, outcome: Outcome = Outcome.DEADLINE) -> Facts:
        """Return what was seen so far; `outcome` is used where the handshake has none yet."""
        wire = self._wire
        return facts_of(
            wire,
            outcome=self._outcome or outcome,
            key_proved=self.key_proved,
            proof=self.proof,
            alert=self._alert(),
            chain=tuple(wire.certificates),
            asked=True,
        )

    def farewell(self) -> bytes:
        """Make what tells a server politely that we leave before keys were agreed on; later there is nothing to say."""
        return _CANCELED if self.hands_over and self._handshake_secret is None else b""

    # Inside

    @property
    def _is_answered(self) -> bool:
        """Whether there is a ServerHello, and no alert that ended everything before it."""
        return self._wire.server_hello is not None and (self._wire.alert is None or self._wire.irregular)

    def _alert(self) -> int | None:
        """The alert that ended the handshake, whoever sent it."""
        if self._outcome is Outcome.SIGNATURE_WRONG:
            return _DECRYPT_ERROR[1]
        return self._wire.alert if self._outcome is Outcome.TLS_ALERT else None

    def _go_on(self) -> bytes:
        wire = self._wire
        alert_behind = wire.alert is not None and (wire.server_hello is not None or wire.irregular)
        if wire.hello_retry_request is not None or alert_behind:
            self._hand_over()  # an alert behind ServerHello: the reference may have refused what came before it
        elif wire.certificate_verify is not None and self.proof is KeyProof.INVALID:
            self._outcome = Outcome.SIGNATURE_WRONG
            return self._sealed(self._client_secret, _DECRYPT_ERROR, ContentType.ALERT)
        elif wire.alert is not None:
            self._outcome = Outcome.TLS_ALERT
        elif wire.flight_over:
            if self.key_proved and self._is_regular():
                self._outcome = Outcome.COMPLETE
                return _CHANGE_CIPHER_SPEC + self._finished() + self._close_notify()
            self._hand_over()
        return b""

    def _hand_over(self) -> None:
        """Leave it to the reference; but a wrong signature stands, and nothing behind it excuses it."""
        if self.proof is KeyProof.INVALID:
            self._outcome = Outcome.SIGNATURE_WRONG
            return
        self._outcome = Outcome.TLS_FAILURE
        self.hands_over = True

    def _agree(self) -> bool:
        """Make the handshake keys, if ServerHello is one we speak (RFC 8446 section 7.1). Raises `WireError`."""
        wire = self._wire
        if wire.version != TLS_1_3 or wire.irregular or wire.suite not in _SPOKEN_SUITES or wire.key_share is None:
            return False
        shared = self._shared(wire.group, wire.key_share)
        if shared is None:
            return False
        hash_name = self._hash_name()
        transcript = wire.transcript_hash()
        self._handshake_secret = hmac.digest(_early_salt(hash_name), shared, hash_name)
        self._client_secret = _derive(hash_name, self._handshake_secret, "c hs traffic", transcript)
        wire.secret(_derive(hash_name, self._handshake_secret, "s hs traffic", transcript))
        return True

    def _shared(self, group: int | None, share: bytes) -> bytes | None:
        """The shared secret, or None when the server's share is none of a group that is spoken here."""
        try:
            if group == _X25519:
                return self._x25519.exchange(X25519PublicKey.from_public_bytes(share))
            if group == _X25519_MLKEM768:
                sealed, public = share[:_MLKEM_CIPHERTEXT_OCTETS], share[_MLKEM_CIPHERTEXT_OCTETS:]
                point = self._x25519.exchange(X25519PublicKey.from_public_bytes(public))
                return self._mlkem.decapsulate(sealed) + point
        except ValueError:  # not of the right size, or a point of small order (RFC 7748 section 6.1)
            return None
        return None

    def _is_regular(self) -> bool:
        """Whether the reference engine would have found nothing to refuse until now."""
        wire = self._wire
        if wire.irregular or (wire.alpn is not None and wire.alpn.encode() not in self._alpn):
            return False
        # OpenSSL refuses a chain with anything in it that is no certificate.
        presented = bool(wire.certificates) and all(Certificate.read(der).is_whole for der in wire.certificates)
        status = wire.ocsp_response
        if status is not None and not _is_whole_response(status):
            return False
        return self._scheme_fits() and (presented or not wire.certificates_seen)

    def _scheme_fits(self) -> bool:
        """Whether the key may sign as it did; also before it has."""
        verify, spki = self._wire.certificate_verify, self._spki()
        if verify is None:
            return True
        return spki is not None and _fits(verify.scheme, spki) and self._offers(verify.scheme)

    def _offers(self, scheme: int) -> bool:
        """Whether our hello offers this signature scheme; whoever signs by another has not read it."""
        offered = _OFFERED[self.hello]
        return scheme.to_bytes(2, "big") in {offered[at : at + 2] for at in range(0, len(offered), 2)}

    def _finished(self) -> bytes:
        """Our Finished (RFC 8446 section 4.4.4)."""
        hash_name = self._hash_name()
        key = expand_label(hash_name, self._client_secret, "finished", len(self._client_secret))
        verify = hmac.digest(key, self._wire.transcript_hash(), hash_name)
        message = bytes((HandshakeType.FINISHED, 0, 0, len(verify))) + verify
        return self._sealed(self._client_secret, message, ContentType.HANDSHAKE)

    def _close_notify(self) -> bytes:
        """What ends a connection that is for looking only: some middleboxes stumble over a bare FIN.

        It is under the first application keys, and goes with Finished (RFC 8446 sections 6.1 and 7.1).
        """
        hash_name = self._hash_name()
        salt = _derive(hash_name, self._handshake_secret or b"", "derived", _NO_CONTEXT[hash_name])
        main = hmac.digest(salt, bytes(len(salt)), hash_name)
        secret = _derive(hash_name, main, "c ap traffic", self._wire.transcript_hash())
        return self._sealed(secret, b"\x01\x00", ContentType.ALERT)

    def _sealed(self, secret: bytes, content: bytes, content_type: ContentType) -> bytes:
        """The first record under a traffic secret (RFC 8446 sections 5.2 and 5.3)."""
        suite = TLS_1_3_SUITES[self._wire.suite or 0]
        key = expand_label(suite.hash_name, secret, "key", suite.key_octets)
        nonce = expand_label(suite.hash_name, secret, "iv", NONCE_OCTETS)
        inner = content + bytes((content_type,))
        header = b"\x17\x03\x03" + (len(inner) + suite.tag_octets).to_bytes(2, "big")
        cipher = AESGCM(key) if suite.aead is AEAD.AES_GCM else ChaCha20Poly1305(key)
        return header + cipher.encrypt(nonce, inner, header)

    def _hash_name(self) -> str:
        return TLS_1_3_SUITES[self._wire.suite or 0].hash_name

    def _spki(self) -> bytes | None:
        certificates = self._wire.certificates
        return Certificate.read(certificates[0]).spki if certificates else None


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
    # RSA keys under rsaEncryption only (section 4.2.3), and none that is read here although it is not strictly DER.
    return scheme_fits and loaded.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki


def _is_whole_response(data: bytes) -> bool:
    """Whether this is an OCSPResponse to its end, a basic one or one of a status alone (RFC 6960 section 4.2.1).

    OpenSSL 4 refuses a handshake with a stapled response that it cannot decode. It decodes all that is taken here.
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
    """What the handshake secret is extracted with when there is no PSK: the same in every handshake."""
    nothing = bytes(hashlib.new(hash_name).digest_size)
    return _derive(hash_name, hmac.digest(nothing, nothing, hash_name), "derived", _NO_CONTEXT[hash_name])


def _derive(hash_name: str, secret: bytes, label: str, transcript_hash: bytes) -> bytes:
    """Derive-Secret (RFC 8446 section 7.1)."""
    return expand_label(hash_name, secret, label, len(transcript_hash), transcript_hash)


def _client_hello(
    name: bytes | None,
    alpn: Sequence[bytes],
    x25519: X25519PrivateKey,
    mlkem: MLKEM768PrivateKey,
    before_shares: bytes,
) -> bytes:
    """The ClientHello as OpenSSL 4.0 writes it for the reference engine (RFC 8446 section 4.1.2)."""
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
        + secrets.token_bytes(RANDOM_OCTETS)
        + _vector(1, secrets.token_bytes(RANDOM_OCTETS))
        + _vector(2, _SUITES)
        + b"\x01\x00"
        + _vector(2, b"".join(extensions))
    )
    return bytes((HandshakeType.CLIENT_HELLO,)) + _vector(3, body)


def _vector(length_octets: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_octets, "big") + content


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
