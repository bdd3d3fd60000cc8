"""One TLS handshake without I/O: OpenSSL makes it, `wire` reads it, and what was seen comes out as facts.

Room: probe. Pure but for OpenSSL on memory buffers: bytes in, bytes out; no sockets, no asyncio, no clock.

OpenSSL speaks the protocol and never verifies a certificate. Three things are taken from it, none of them text: the
bytes it wants sent, the server handshake traffic secret (TLS 1.3), and the numbers of alerts. Everything reported
comes from the bytes.

How it ends, first matching row:

==========================================================================  ===============  ==========
what happened                                                               outcome          key proved
==========================================================================  ===============  ==========
the first bytes are no TLS record                                           not-tls          no
a declared size beyond the limits of `wire`                                 too-large        no
the handshake signature is not the presented key's                          signature-wrong  no
OpenSSL completed the handshake                                             complete         yes
the server sent an alert                                                    tls-alert        no
OpenSSL refused; TLS 1.3, signature and Finished are right by our own check tls-failure      yes
OpenSSL refused, otherwise                                                  tls-failure      no
the connection ended                                                        as the caller says  no
==========================================================================  ===============  ==========

When OpenSSL refuses (a leaf it cannot parse, a chain beyond its own 100 KiB limit), its alert is held back until the
server's flight has been read: the peer must not learn of the refusal before it has signed. In TLS 1.2 and older a
good ServerKeyExchange signature without a completed handshake is no proof: a relay can pass it on.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ClassVar, Final

from OpenSSL import SSL, crypto

from detector.model import Engine, HandshakeSignature, Hello, KeyKind, Outcome
from detector.probe import outcomes
from detector.trust.certificate import Certificate
from detector.trust.witness_statement import EXPORTER_BYTES, EXPORTER_CONTEXT, EXPORTER_LABEL

from .codepoints import TLS_1_2, TLS_1_3, ExtensionType
from .hello import asks_for_timestamps, ja3_of
from .keyproof import KeyProof, check_certificate_verify, check_key_exchange, signed_content
from .openssl import ALPN_PROTOCOLS, Facts, facts_of, server_name
from .wire import CERTIFICATES_MAX, CLOSE_NOTIFY, Wire, WireError, WireErrorKind

if TYPE_CHECKING:
    from collections.abc import Sequence

CIPHERS: Final = b"ALL:!aNULL:!eNULL:!PSK:!SRP:@SECLEVEL=0"
"""Every suite with a certificate in it, whatever its strength: an old middlebox is to be seen, not to be refused.
TLS 1.3 suites are OpenSSL's default, all that exist in practice (OpenSSL, openssl-ciphers(1))."""

STRICT_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aDSS:!PSK:@SECLEVEL=2"
"""What RFC 9325 section 4.2 recommends for TLS 1.2: forward secrecy and authenticated encryption, nothing below 112
bits. At this level OpenSSL also takes no SHA-1 signature in a handshake (SSL_CTX_set_security_level(3))."""

_AUTHENTICATION: Final = {KeyKind.RSA: b"aRSA", KeyKind.ECDSA: b"aECDSA"}
"""OpenSSL's names for suites by the server's key (openssl-ciphers(1)); EdDSA keys go with those of ECDSA."""

LEGACY_SERVER_CONNECT: Final = 0x4
"""SSL_OP_LEGACY_SERVER_CONNECT: connect to servers without RFC 5746, as many old middleboxes are."""

READ_SIZE: Final = 64 * 1024
"""Octets taken from OpenSSL's output buffer at once; only a buffer size."""

_SECRET_LABEL: Final = b"SERVER_HANDSHAKE_TRAFFIC_SECRET"
"""Label of the secret in the SSLKEYLOGFILE format (RFC 9850 section 2)."""

_KEYLOG_FIELDS: Final = 3
"""Label, client random, secret."""

_ALERT_NUMBER_MASK: Final = 0xFF
"""OpenSSL's info callback gives alerts as level << 8 | description (SSL_CTX_set_info_callback(3))."""


class _Told:
    """What OpenSSL's callbacks told about one connection. Apart from `Handshake`, so that no reference cycle forms."""

    def __init__(self) -> None:
        self.secret: bytes | None = None
        self.alert_read: int | None = None
        self.alert_written: int | None = None


def _on_key_log(connection: SSL.Connection, line: bytes) -> None:
    fields = line.split(b" ")
    told = connection.get_app_data()
    if isinstance(told, _Told) and len(fields) == _KEYLOG_FIELDS and fields[0] == _SECRET_LABEL:
        told.secret = bytes.fromhex(fields[2].decode("ascii"))


def _on_info(connection: SSL.Connection, where: int, value: int) -> None:
    if not where & SSL.SSL_CB_ALERT:
        return
    told = connection.get_app_data()
    if not isinstance(told, _Told):
        return
    number = value & _ALERT_NUMBER_MASK
    if where & SSL.SSL_CB_READ:
        told.alert_read = number
    elif number != CLOSE_NOTIFY:
        told.alert_written = number


@functools.cache
def shared_context() -> SSL.Context:
    """Return the one client context of the process: no verification, no tickets, no resumption, every version.

    Nor is anything renegotiated: a server could show one chain to be judged and another one afterwards. Making a
    context takes a third of a millisecond and its settings are the same for every connection. It is used by one thread
    at a time, as OpenSSL's connections are.
    """
    context = _client_context(0, CIPHERS)
    context.set_options(LEGACY_SERVER_CONNECT)
    return context


@functools.cache
def strict_context() -> SSL.Context:
    """Return the client context for connections that go on to carry data: as `shared_context`, nothing weak offered.

    Nothing is verified here either; what may not be spoken cannot be negotiated, so that no middlebox can bring a
    request down to what it could break.
    """
    return _client_context(SSL.TLS1_2_VERSION, STRICT_CIPHERS)


def _client_context(min_version: int, ciphers: bytes) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_min_proto_version(min_version)
    context.set_cipher_list(ciphers)
    context.set_alpn_protos(list(ALPN_PROTOCOLS))
    context.set_options(SSL.OP_ALL | SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # a handshake that waits keeps no record buffers
    context.set_keylog_callback(_on_key_log)
    context.set_info_callback(_on_info)
    _ask_for_timestamps(context)
    return context


def _ask_for_timestamps(context: SSL.Context) -> None:
    """Have hellos ask for SCTs in the TLS extension (RFC 6962 section 3.3.1), for which pyOpenSSL has no call.

    This and `_offer_readable` are the private calls of the package. Without any callback OpenSSL sends the extension
    empty, as it has to be, and takes every answer; what comes is read from the bytes
    (SSL_CTX_add_client_custom_ext(3)). Where an update has moved it, hellos do not ask, and observations say that
    nothing outside of the certificate could be carried.
    """
    try:
        lib, null = SSL._lib, SSL._ffi.NULL  # type: ignore[attr-defined] # noqa: SLF001 - as said above
        kind = ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP
        lib.SSL_CTX_add_client_custom_ext(context._context, kind, null, null, null, null, null)  # noqa: SLF001 - as above
    except AttributeError:
        return


@functools.cache
def readable_context() -> SSL.Context | None:
    """Return a client context that offers only what can be verified here, and is otherwise as the shared one.

    None where an update of pyOpenSSL has moved the call that this takes: then no such hello can be made.
    """
    context = _client_context(0, CIPHERS)
    context.set_options(LEGACY_SERVER_CONNECT)
    return context if _offer_readable(context) else None


def _offer_readable(context: SSL.Context) -> bool:
    """Restrict the signature schemes, for which pyOpenSSL has no call (SSL_CTX_set1_sigalgs_list(3))."""
    names = ":".join(_READABLE_NAMES).encode()
    try:
        lib = SSL._lib  # type: ignore[attr-defined] # noqa: SLF001 - as in `_ask_for_timestamps`
        return bool(lib.SSL_CTX_set1_sigalgs_list(context._context, names) == 1)  # noqa: SLF001 - as above
    except AttributeError:
        return False


_READABLE_NAMES: Final = (
    *("ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512", "ed25519", "ed448"),
    *("rsa_pss_pss_sha256", "rsa_pss_pss_sha384", "rsa_pss_pss_sha512"),
    *("rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384", "rsa_pss_rsae_sha512"),
    *("rsa_pkcs1_sha256", "rsa_pkcs1_sha384", "rsa_pkcs1_sha512"),
    *("ECDSA+SHA224", "ECDSA+SHA1", "RSA+SHA224", "RSA+SHA1"),
    *("DSA+SHA224", "DSA+SHA1", "DSA+SHA256", "DSA+SHA384", "DSA+SHA512"),
)
"""`engine.READABLE_SCHEMES` as OpenSSL calls them."""


@functools.cache
def context_for(key_kind: KeyKind) -> SSL.Context:
    """Return a client context with which a server can prove itself with one kind of key only.

    TLS 1.2 at most, because there the cipher suite says which key signs (RFC 8422 section 2); a server that speaks
    nothing older than TLS 1.3 refuses it. Otherwise it is as `shared_context`.
    """
    context = _client_context(0, _AUTHENTICATION[key_kind] + CIPHERS.removeprefix(b"ALL"))
    context.set_options(LEGACY_SERVER_CONNECT)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    return context


class Handshake:
    """A client handshake with `host`. `start`, then `receive` until `finished`; `facts` at any time.

    `alpn` are the protocols offered (RFC 7301). `wanted` is `default` or `readable`; `hello` is what it came to.
    `ended` tells it that the connection is gone. Once finished, further bytes are ignored: whoever goes on talks to
    `connection`, whoever does not sends `farewell`. Nothing raises.
    """

    engine: ClassVar[Engine | None] = Engine.OPENSSL

    def __init__(
        self,
        host: str,
        *,
        context: SSL.Context | None = None,
        alpn: Sequence[bytes] = ALPN_PROTOCOLS,
        wanted: Hello = Hello.DEFAULT,
    ) -> None:
        readable = readable_context() if context is None and wanted is Hello.READABLE else None
        self.hello: Final = Hello.DEFAULT if readable is None else Hello.READABLE
        self._told = _Told()
        self._wire = Wire()
        self._connection = SSL.Connection(context or readable or shared_context(), None)
        self._connection.set_app_data(self._told)
        if alpn != ALPN_PROTOCOLS:
            self._connection.set_alpn_protos(list(alpn))
        self._connection.set_connect_state()
        self._connection.request_ocsp()
        if (name := server_name(host)) is not None:
            self._connection.set_tlsext_host_name(name)
        self._outcome: Outcome | None = None
        self._completed = False
        self._refused = False
        self._held_back = b""
        self._proof: KeyProof | None = None

    @property
    def finished(self) -> bool:
        """Whether the outcome is settled."""
        return self._outcome is not None

    @property
    def certificates_seen(self) -> bool:
        """Whether the server presented anything as its chain."""
        return self._wire.certificates_seen

    def start(self) -> bytes:
        """Make the ClientHello to send."""
        return self._advance()

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; return the bytes to send to it (perhaps none)."""
        if self.finished or not data:
            return b""
        try:
            self._wire.server(data)
        except WireError as error:
            if error.kind is not WireErrorKind.MALFORMED:
                self._settle(Outcome.SIGNATURE_WRONG if self._is_wrong else outcomes.of_wire_error(error))
                return b""
            # OpenSSL sees the same bytes and has the last word.
        if self._refused:
            return self._refusal()
        self._connection.bio_write(data)
        return self._advance()

    def ended(self, outcome: Outcome) -> None:
        """Take note that no more bytes come, for the reason `outcome`."""
        if not self.finished:
            self._settle(self._refusal_outcome() if self._refused else outcome)

    def facts(self, outcome: Outcome = Outcome.DEADLINE) -> Facts:
        """Return what was seen so far; `outcome` is used where the handshake has none yet."""
        if not self.finished and self._refused:
            outcome = self._refusal_outcome()
        return facts_of(
            self._wire,
            outcome=self._outcome or outcome,
            key_proved=self.key_proved,
            proof=self.proof,
            alert=self._alert() if self._refused else None,
            chain=self._chain(),
            asked=all(map(asks_for_timestamps, self._wire.client_hellos)),
        )

    @property
    def proof(self) -> KeyProof:
        """Our own check of the handshake signature against certificate 0."""
        if self._proof is not None:
            return self._proof
        wire = self._wire
        if wire.certificate_verify is None and wire.key_exchange is None:
            return KeyProof.NOT_SEEN
        spki = Certificate.read(wire.certificates[0]).spki if wire.certificates else None
        if wire.certificate_verify is not None:
            self._proof = check_certificate_verify(spki, wire.certificate_verify)
        else:
            self._proof = check_key_exchange(spki, wire.key_exchange)
        return self._proof

    @property
    def key_proved(self) -> bool:
        """Whether the peer showed that it holds the key of certificate 0."""
        if self._completed:
            # What OpenSSL accepted and what was read here must be the same certificate.
            return self.proof is KeyProof.VALID or (
                self.proof is not KeyProof.INVALID and self._chain()[:1] == self._openssl_chain()[:1] != ()
            )
        return self._wire.version == TLS_1_3 and self._wire.finished_valid is True and self.proof is KeyProof.VALID

    # Inside

    def _advance(self) -> bytes:
        """Let OpenSSL go on with what it has, and read what that made readable."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self._refused = True
        else:
            self._completed = True
        if self._told.secret is not None:
            try:
                self._wire.secret(self._told.secret)
            except WireError as error:
                if error.kind is WireErrorKind.TOO_LARGE:
                    self._settle(Outcome.SIGNATURE_WRONG if self._is_wrong else Outcome.TOO_LARGE)
                    return b""
            self._told.secret = None
        output = self._output()
        if self._completed:
            self._settle(self._completion_outcome())
            return output
        if self._refused:
            self._held_back = output
            return self._refusal()
        self._wire_client(output)
        return output

    def _wire_client(self, output: bytes) -> None:
        try:
            self._wire.client(output)
        except WireError:
            # OpenSSL's own output is well-formed; were it not, only our own checks would be lost.
            return

    def _refusal(self) -> bytes:
        """Settle a refused handshake as soon as the server's flight can tell nothing more."""
        if not self._flight_can_continue():
            self._settle(self._refusal_outcome())
            return self._held_back
        return b""

    def _flight_can_continue(self) -> bool:
        wire = self._wire
        readable = wire.server_hello is not None and (wire.version != TLS_1_3 or wire.decrypting)
        # Before TLS 1.3 the signature is all that can still be learned; a wrong one needs no Finished either.
        decided = wire.key_exchange is not None or self.proof is KeyProof.INVALID
        ended = wire.flight_over or wire.error is not None or decided
        return readable and not ended and not self._ended_by_server

    def _refusal_outcome(self) -> Outcome:
        if self.proof is KeyProof.INVALID:
            return Outcome.SIGNATURE_WRONG
        return Outcome.TLS_ALERT if self._ended_by_server else Outcome.TLS_FAILURE

    @property
    def _is_wrong(self) -> bool:
        """Whether a wrong signature was seen; what comes behind it does not excuse it."""
        return self.proof is KeyProof.INVALID

    @property
    def _ended_by_server(self) -> bool:
        """Whether the server's alert ended the handshake, not ours: a warning it sent earlier does not count."""
        return self._told.alert_written is None and (self._told.alert_read is not None or self._wire.alert is not None)

    def _alert(self) -> int | None:
        """Return the alert that ended a refused handshake, whoever sent it."""
        for alert in (self._told.alert_written, self._told.alert_read, self._wire.alert):
            if alert is not None:
                return alert
        return None

    def _completion_outcome(self) -> Outcome:
        if self.proof is KeyProof.INVALID:
            return Outcome.SIGNATURE_WRONG
        return Outcome.COMPLETE if self.key_proved else Outcome.TLS_FAILURE

    def _settle(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def _output(self) -> bytes:
        """Everything OpenSSL wants sent."""
        pieces = []
        while True:
            try:
                pieces.append(self._connection.bio_read(READ_SIZE))
            except SSL.WantReadError:
                return b"".join(pieces)

    @property
    def connection(self) -> SSL.Connection:
        """OpenSSL's connection, for what comes after a complete handshake."""
        return self._connection

    @property
    def client_hello(self) -> bytes | None:
        """The ClientHello that was sent first, as a handshake message with its header."""
        return self._wire.client_hellos[0] if self._wire.client_hellos else None

    @property
    def ja3(self) -> str | None:
        """The JA3 fingerprint of that ClientHello."""
        return ja3_of(self.client_hello)

    @property
    def signature(self) -> HandshakeSignature | None:
        """What the server signed in the handshake, for others to verify."""
        if (verify := self._wire.certificate_verify) is not None:
            return HandshakeSignature(
                scheme=verify.scheme, signed=signed_content(verify.transcript_hash), signature=verify.signature
            )
        if (exchange := self._wire.key_exchange) is not None:
            return HandshakeSignature(scheme=exchange.scheme, signed=exchange.signed, signature=exchange.signature)
        return None

    def channel_binding(self) -> bytes | None:
        """Our side's tls-exporter (RFC 9266); None without a complete handshake, or where it would not be unique.

        In TLS 1.2 only extended master secret (RFC 7627) binds the exporter to this one session (RFC 9266 section
        4.2); what is older derives its keys from MD5 and SHA-1 and is not relied on.
        """
        wire = self._wire
        bound = wire.version == TLS_1_3 or (wire.version == TLS_1_2 and wire.extended_master_secret)
        if not self._completed or not bound:
            return None
        return self._connection.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, EXPORTER_CONTEXT)

    def farewell(self) -> bytes:
        """Make the close_notify that ends a completed connection; some middleboxes stumble over a bare FIN."""
        if not self._completed:
            return b""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return b""
        return self._output()

    def _chain(self) -> tuple[bytes, ...]:
        """Return the chain as presented; as OpenSSL re-encodes it where the bytes could not be read here."""
        if self._wire.certificates_seen:
            return tuple(self._wire.certificates)
        return self._openssl_chain()

    def _openssl_chain(self) -> tuple[bytes, ...]:
        presented = self._connection.get_peer_cert_chain() or []
        return tuple(
            crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in presented[:CERTIFICATES_MAX]
        )
