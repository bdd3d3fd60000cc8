"""A client handshake whose ClientHello is a browser's: Chrome's, as the extra `browser` (utls) makes it.

Room: probe. No sockets. The same interface as `handshake.Handshake`, so `client` conducts either.

Interceptors tell browsers from other programs by the ClientHello alone (GREASE, extensions, JA3). BoringSSL,
which Chrome uses, sends a browser's hello here, and what comes back is treated as everywhere: nothing is verified, the
handshake is finished, and the chain is kept as presented. Two things differ from the default hello:

* The flight of TLS 1.3 is not decrypted here (it may be compressed, RFC 8879). The chain is what BoringSSL took from
  the wire, octet for octet, and the key is proved because BoringSSL completes a handshake only when the key of
  certificate 0 signed it. SCTs and a stapled OCSP response stay unseen there. In TLS 1.2 `wire` reads everything in
  clear and our own check of the signature counts, too.
* A leaf that BoringSSL cannot parse ends the handshake unseen, as it does in Chrome. The default hello sees it.
"""

from __future__ import annotations

import functools
from typing import ClassVar, Final

import utls

from detector.model import Engine, HandshakeSignature, Hello, Outcome
from detector.probe import outcomes
from detector.trust.certificate import Certificate

from .codepoints import CIPHER_SUITES, GROUPS, VERSIONS
from .hello import asks_for_timestamps, ja3_of
from .keyproof import KeyProof, check_key_exchange
from .openssl import Facts, server_name
from .wire import CERTIFICATES_MAX, Wire, WireError, WireErrorKind

PROFILE: Final = "chrome:stable"
"""The newest Chrome that utls knows: an interceptor that goes by looks goes by what most people have."""


@functools.cache
def shared_context() -> utls.SSLContext:
    """Return the one context of the process: Chrome's hello, no verification."""
    context = utls.SSLContext(utls.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = utls.CERT_NONE
    context.set_fingerprint(PROFILE)
    return context


class BrowserHandshake:
    """A client handshake with `host`; used as `Handshake` is. Nothing raises."""

    hello: ClassVar = Hello.BROWSER
    engine: ClassVar[Engine | None] = None

    def __init__(self, host: str) -> None:
        name = server_name(host)
        self._wire = Wire()
        self._incoming = utls.MemoryBIO()
        self._outgoing = utls.MemoryBIO()
        self._connection = shared_context().wrap_bio(
            self._incoming,
            self._outgoing,
            server_hostname=None if name is None else name.decode("ascii", "replace"),
        )
        self._outcome: Outcome | None = None
        self._completed = False

    @property
    def finished(self) -> bool:
        """Whether the outcome is settled."""
        return self._outcome is not None

    @property
    def certificates_seen(self) -> bool:
        """Whether the server presented anything as its chain, as far as it can be told before the end."""
        return self._wire.certificates_seen or self._completed

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
        """What the server signed, where it was in clear."""
        exchange = self._wire.key_exchange
        if exchange is None:
            return None
        return HandshakeSignature(scheme=exchange.scheme, signed=exchange.signed, signature=exchange.signature)

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
                self._outcome = outcomes.of_wire_error(error)
                return b""
            # BoringSSL sees the same bytes and has the last word.
        self._incoming.write(data)
        return self._advance()

    def ended(self, outcome: Outcome) -> None:
        """Take note that no more bytes come, for the reason `outcome`."""
        if not self.finished:
            self._outcome = outcome

    def facts(self, outcome: Outcome = Outcome.DEADLINE) -> Facts:
        """Return what was seen so far; `outcome` is used where the handshake has none yet."""
        wire = self._wire
        return Facts(
            outcome=self._outcome or outcome,
            key_proved=self.key_proved,
            proof=self.proof,
            tls_version=None if wire.version is None else VERSIONS.get(wire.version, f"0x{wire.version:04x}"),
            cipher=None if wire.suite is None else CIPHER_SUITES.get(wire.suite, f"0x{wire.suite:04x}"),
            group=None if wire.group is None else GROUPS.get(wire.group, f"0x{wire.group:04x}"),
            alpn=wire.alpn or (self._connection.selected_alpn_protocol() if self._completed else None),
            alert=wire.alert,
            server_hello=wire.server_hello,
            chain=self._chain(),
            sct_list=wire.sct_list,
            ocsp_response=wire.ocsp_response,
            scts_carried=wire.past_timestamps and all(map(asks_for_timestamps, wire.client_hellos)),
        )

    @property
    def proof(self) -> KeyProof:
        """Our own check of the handshake signature, where it was in clear."""
        if self._wire.key_exchange is None or not self._wire.certificates:
            return KeyProof.NOT_SEEN
        return check_key_exchange(Certificate.read(self._wire.certificates[0]).spki, self._wire.key_exchange)

    @property
    def key_proved(self) -> bool:
        """Whether the peer showed that it holds the key of certificate 0."""
        return self._completed and self.proof is not KeyProof.INVALID and bool(self._chain())

    def farewell(self) -> bytes:
        """Make the close_notify that ends a completed connection."""
        if not self._completed:
            return b""
        try:
            self._connection.unwrap()
        except utls.SSLError:
            return b""
        return self._outgoing.read()

    def _advance(self) -> bytes:
        try:
            self._connection.do_handshake()
        except utls.SSLWantReadError:
            pass
        except utls.SSLError:
            self._outcome = self._refusal()
        else:
            self._completed = True
            self._outcome = Outcome.COMPLETE if self.key_proved else self._refusal()
        output = self._outgoing.read()
        if not self._completed:
            try:
                self._wire.client(output)
            except WireError:
                # BoringSSL's own output is well-formed; were it not, only our own checks would be lost.
                return output
        return output

    def _refusal(self) -> Outcome:
        if self.proof is KeyProof.INVALID:
            return Outcome.SIGNATURE_WRONG
        return Outcome.TLS_ALERT if self._wire.alert is not None else Outcome.TLS_FAILURE

    def _chain(self) -> tuple[bytes, ...]:
        """Return the chain as presented, leaf first: as BoringSSL holds it, or from the bytes where it refused them."""
        if self._wire.certificates_seen:
            return tuple(self._wire.certificates)
        presented = self._connection.get_unverified_chain()[:CERTIFICATES_MAX]
        encoded = [certificate.public_bytes(certificate.ENCODING_DER) for certificate in presented]
        return tuple(der for der in encoded if isinstance(der, bytes))
