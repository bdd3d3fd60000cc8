"""The engine of OpenSSL's hellos: OpenSSL makes the handshake, `wire` parses it.

Room: probe. Pure but for OpenSSL on memory buffers: bytes in, bytes out; no sockets, no asyncio, no clock.

OpenSSL speaks the protocol and never verifies a certificate. Three things are taken from it, none of them text: the
bytes to send, the server handshake traffic secret (TLS 1.3), and the numbers of alerts. Everything reported comes from
the bytes.

Outcomes, first matching row:

==========================================================================  ===============  ==========
what happened                                                               outcome          key proved
==========================================================================  ===============  ==========
the first bytes are not a TLS record                                        not-tls          no
a declared size exceeds the limits of `wire`                                too-large        no
the handshake signature is not the presented key's                          signature-wrong  no
OpenSSL completed the handshake                                             complete         yes
the server sent an alert                                                    tls-alert        no
OpenSSL refused; TLS 1.3, signature and Finished are right by our own check tls-failure      yes
OpenSSL refused, otherwise                                                  tls-failure      no
the connection closed                                                       as the caller says  no
==========================================================================  ===============  ==========

When OpenSSL refuses (a leaf it cannot parse, a chain beyond its own 100 KiB limit), its alert is held back until the
server's flight has been read: the peer must not learn of the refusal before it has signed. In TLS 1.2 and older a
good ServerKeyExchange signature without a completed handshake is no proof: a relay can pass it on.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, ClassVar, Final

from OpenSSL import SSL, crypto

from detector.model import Engine, Hello, KeyKind, Outcome
from detector.trust.handshake_signature import KeyProof
from detector.trust.witness_statement import EXPORTER_BYTES, EXPORTER_CONTEXT, EXPORTER_LABEL

from .codepoints import TLS_1_2, TLS_1_3, ExtensionType
from .engine import ALPN_PROTOCOLS, HTTP_1_1, ClientHandshake
from .reader import WireError
from .transport import TLSTransport, pending_output
from .wire import CERTIFICATES_MAX, CLOSE_NOTIFY

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

CIPHERS: Final = b"ALL:!aNULL:!eNULL:!PSK:!SRP:@SECLEVEL=0"
"""Every suite that has a certificate, whatever its strength: an old middlebox is to be seen, not refused. TLS 1.3
suites are OpenSSL's default, all that exist in practice (OpenSSL, openssl-ciphers(1))."""

PYTHON_CIPHERS: Final = b"@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
"""What `ssl.create_default_context` offers below TLS 1.3, with the security level (CPython's Modules/_ssl.c,
PY_SSL_DEFAULT_CIPHER_STRING, since Python 3.10)."""

STRICT_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aDSS:!PSK:@SECLEVEL=2"
"""What RFC 9325 section 4.2 recommends for TLS 1.2: forward secrecy and authenticated encryption, nothing below 112
bits. At this level OpenSSL also takes no SHA-1 signature in a handshake (SSL_CTX_set_security_level(3))."""

_AUTHENTICATION: Final = {KeyKind.RSA: b"aRSA", KeyKind.ECDSA: b"aECDSA"}
"""OpenSSL's names for suites by the server's key (openssl-ciphers(1)); EdDSA keys go with those of ECDSA."""

LEGACY_SERVER_CONNECT: Final = 0x4  # SSL_OP_LEGACY_SERVER_CONNECT: old middleboxes lack RFC 5746
_SECRET_LABEL: Final = b"SERVER_HANDSHAKE_TRAFFIC_SECRET"  # in the SSLKEYLOGFILE format (RFC 9850 section 2)
_KEYLOG_FIELDS: Final = 3  # label, client random, secret
_ALERT_NUMBER_MASK: Final = 0xFF  # alerts are level << 8 | description (SSL_CTX_set_info_callback(3))


SMALL_GROUPS: Final = b"X25519:P-256:X448:P-384:P-521:ffdhe2048:ffdhe3072"
"""OpenSSL 4.0's default groups but for those of ML-KEM, whose key shares fill a TCP segment (SSL_set1_groups(3))."""


class _Reported:
    """What OpenSSL's callbacks report about one connection. Separate from the handshake to avoid a reference cycle."""

    def __init__(self) -> None:
        self.secret: bytes | None = None
        self.alert_read: int | None = None
        self.alert_written: int | None = None


def _on_key_log(connection: SSL.Connection, line: bytes) -> None:
    fields = line.split(b" ")
    reported = connection.get_app_data()
    if isinstance(reported, _Reported) and len(fields) == _KEYLOG_FIELDS and fields[0] == _SECRET_LABEL:
        reported.secret = bytes.fromhex(fields[2].decode("ascii"))


def _on_info(connection: SSL.Connection, where: int, value: int) -> None:
    reported = connection.get_app_data()
    if not where & SSL.SSL_CB_ALERT or not isinstance(reported, _Reported):
        return
    number = value & _ALERT_NUMBER_MASK
    if where & SSL.SSL_CB_READ:
        reported.alert_read = number
    elif number != CLOSE_NOTIFY:
        reported.alert_written = number


@functools.cache
def shared_context(hello: Hello = Hello.WIDEST, key_kind: KeyKind | None = None) -> SSL.Context:
    """Return the client context of the process for probing: no verification or resumption.

    Renegotiation is off: a server could show one chain for assessment and another one afterwards. Making a context
    takes a third of a millisecond. It is used by one thread at a time, as OpenSSL's connections are.

    `Hello.OPENSSL` offers what programs on Python's `ssl` offer, and requests neither SCTs nor a stapled OCSP response,
    as they do not. `Hello.WIDEST` offers every version and suite. With a `key_kind` the server can prove itself with
    that kind of key only. That means TLS 1.2 at most, because there the cipher suite says which key signs (RFC 8422
    section 2); a server that speaks nothing older than TLS 1.3 refuses it.
    """
    if hello is Hello.OPENSSL and key_kind is None:
        return _client_context(SSL.TLS1_2_VERSION, PYTHON_CIPHERS)
    if key_kind is not None:
        context = _client_context(0, _AUTHENTICATION[key_kind] + CIPHERS.removeprefix(b"ALL"))
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    else:
        context = _client_context(0, CIPHERS)
    context.set_options(LEGACY_SERVER_CONNECT | SSL.OP_NO_TICKET)
    _request_scts(context)
    return context


@functools.cache
def strict_context() -> SSL.Context:
    """Return the client context for connections that go on to carry data: nothing weak is offered.

    Nothing is verified here either. What is not offered cannot be negotiated, so no middlebox can downgrade a request
    to what it could break.
    """
    context = _client_context(SSL.TLS1_2_VERSION, STRICT_CIPHERS)
    context.set_options(SSL.OP_NO_TICKET)
    _request_scts(context)
    return context


def _client_context(min_version: int, ciphers: bytes) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_min_proto_version(min_version)
    context.set_cipher_list(ciphers)
    context.set_options(SSL.OP_ALL | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # a handshake that waits keeps no record buffers
    context.set_keylog_callback(_on_key_log)
    context.set_info_callback(_on_info)
    return context


def _request_scts(context: SSL.Context) -> None:
    """Make hellos request SCTs in the TLS extension (RFC 6962 section 3.3.1), for which pyOpenSSL has no call.

    This and `_offer_no_mlkem` are the private calls of the package. Without callbacks OpenSSL sends the extension
    empty, as required, and takes every answer; the answer is read from the bytes (SSL_CTX_add_client_custom_ext(3)).
    Where an update has moved the call, hellos do not request SCTs, and observations say that none could be carried
    outside the certificate.
    """
    try:
        lib, null = SSL._lib, SSL._ffi.NULL  # type: ignore[attr-defined] # noqa: SLF001 - pyOpenSSL has no public call for it
        kind = ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP
        lib.SSL_CTX_add_client_custom_ext(context._context, kind, null, null, null, null, null)  # noqa: SLF001 - pyOpenSSL has no public call for it
    except AttributeError:
        return


def _offer_no_mlkem(connection: SSL.Connection) -> bool:
    """Restrict the groups of one connection, for which pyOpenSSL has no call (SSL_set1_groups_list(3))."""
    try:
        lib = SSL._lib  # type: ignore[attr-defined] # noqa: SLF001 - pyOpenSSL has no public call for it
        return bool(lib.SSL_set1_curves_list(connection._ssl, SMALL_GROUPS) == 1)  # noqa: SLF001 - pyOpenSSL has no public call for it
    except AttributeError:
        return False


class OpenSSLHandshake(ClientHandshake):
    """A handshake by OpenSSL. Once finished, further bytes are ignored: they are for `connection`.

    `context` are the TLS settings (default: `shared_context` for `hello` and `key_kind`), `alpn` the protocols offered
    (RFC 7301; default: those of the hello). With `small` no group of ML-KEM is offered, if that can be left out.
    """

    engine: ClassVar[Engine | None] = Engine.OPENSSL

    def __init__(  # noqa: PLR0913 - keyword-only past the host; each shapes the hello
        self,
        host: str,
        *,
        context: SSL.Context | None = None,
        alpn: Sequence[bytes] | None = None,
        hello: Hello = Hello.WIDEST,
        key_kind: KeyKind | None = None,
        small: bool = False,
    ) -> None:
        super().__init__(host, hello, key_kind)
        self._reported = _Reported()
        self._connection = SSL.Connection(context or shared_context(hello, key_kind), None)
        self._connection.set_app_data(self._reported)
        self.small = small and _offer_no_mlkem(self._connection)
        is_plain = hello is Hello.OPENSSL and context is None
        protocols = alpn if alpn is not None else HTTP_1_1 if is_plain else ALPN_PROTOCOLS
        self._connection.set_alpn_protos(list(protocols))
        self._connection.set_connect_state()
        if not is_plain:
            self._connection.request_ocsp()
        if self._name is not None:
            self._connection.set_tlsext_host_name(self._name)
        self._completed = False
        self._refused = False
        self._held_back = b""

    @property
    def connection(self) -> SSL.Connection:
        """OpenSSL's connection, for what follows a complete handshake."""
        return self._connection

    @property
    def key_proved(self) -> bool:
        """Whether the peer showed that it holds the key of certificate 0."""
        if self._completed:
            # What OpenSSL accepted and what was read here must be the same certificate.
            return self.proof is KeyProof.VALID or (
                self.proof is not KeyProof.INVALID and self._chain()[:1] == self._openssl_chain()[:1] != ()
            )
        return self._wire.version == TLS_1_3 and super().key_proved

    def _interrupted(self, outcome: Outcome) -> Outcome:
        return self._refusal() if self._refused else outcome

    def channel_binding(self) -> bytes | None:
        """Return our side's tls-exporter (RFC 9266); None without a complete handshake, or where it is not unique.

        In TLS 1.2 only extended master secret (RFC 7627) binds the exporter to this one session (RFC 9266 section
        4.2); older versions derive their keys from MD5 and SHA-1 and are not relied on.
        """
        wire = self._wire
        bound = wire.version == TLS_1_3 or (wire.version == TLS_1_2 and wire.extended_master_secret)
        if not self._completed or not bound:
            return None
        return self._connection.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, EXPORTER_CONTEXT)

    def closing_bytes(self) -> bytes:
        """Return the close_notify of a completed connection; some middleboxes stumble over a bare FIN."""
        if not self._completed:
            return b""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return b""
        return pending_output(self._connection)

    def transport_over(self, transport: asyncio.Transport) -> TLSTransport:
        """Return the completed connection for further use."""
        return TLSTransport(self._connection, transport)

    def _advance(self, data: bytes, malformed: WireError | None) -> bytes:  # noqa: ARG002 - OpenSSL decides
        """Advance OpenSSL's handshake, and parse what that unlocked."""
        if self._refused:
            return self._refuse()
        if data:
            self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self._refused = True
        else:
            self._completed = True
        if self._too_large_decrypted():
            return b""
        output = pending_output(self._connection)
        if self._completed:
            self._outcome = self._wrong_or(Outcome.COMPLETE if self.key_proved else Outcome.TLS_FAILURE)
            return output
        if self._refused:
            self._held_back = output
            return self._refuse()
        with contextlib.suppress(WireError):
            # OpenSSL's own output is well-formed; if it were not, only our own checks would be lost.
            self._wire.client(output)
        return output

    def _too_large_decrypted(self) -> bool:
        """Whether the traffic secret, once OpenSSL has it, uncovered something beyond the limits."""
        if self._reported.secret is not None:
            try:
                self._wire.secret(self._reported.secret)
            except WireError as error:
                if error.outcome is Outcome.TOO_LARGE:
                    self._fail(error)
                    return True
            self._reported.secret = None
        return False

    def _refuse(self) -> bytes:
        """Settle a refused handshake as soon as the server's flight can show nothing more."""
        if self._flight_can_continue():
            return b""
        self._outcome = self._refusal()
        return self._held_back

    def _flight_can_continue(self) -> bool:
        wire = self._wire
        readable = wire.server_hello is not None and (wire.version != TLS_1_3 or wire.decrypting)
        # Before TLS 1.3 the signature is all that can still be learned; a wrong one needs no Finished either.
        signed_in_clear = wire.version != TLS_1_3 and wire.signature is not None
        over = wire.flight_over or wire.error is not None or signed_in_clear or self.proof is KeyProof.INVALID
        return readable and not over and not self._ended_by_server

    def _refusal(self) -> Outcome:
        return self._wrong_or(Outcome.TLS_ALERT if self._ended_by_server else Outcome.TLS_FAILURE)

    @property
    def _ended_by_server(self) -> bool:
        """Whether the server's alert ended the handshake, not ours: a warning it sent earlier does not count."""
        reported = self._reported
        return reported.alert_written is None and (reported.alert_read is not None or self._wire.alert is not None)

    def _alert(self) -> int | None:
        """Return the alert that ended a refused handshake, sent by either side."""
        alerts = (self._reported.alert_written, self._reported.alert_read, self._wire.alert)
        return next((alert for alert in alerts if alert is not None), None) if self._refused else None

    def _chain(self) -> tuple[bytes, ...]:
        """Return the chain as presented; as OpenSSL re-encodes it where the bytes could not be read here."""
        return super()._chain() if self._wire.certificates_seen else self._openssl_chain()

    def _openssl_chain(self) -> tuple[bytes, ...]:
        presented = self._connection.get_peer_cert_chain() or []
        return tuple(
            crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in presented[:CERTIFICATES_MAX]
        )
