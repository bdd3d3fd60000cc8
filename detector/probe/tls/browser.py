"""The browser engine: a handshake with Chrome's ClientHello, as the extra `browser` (utls) makes it.

Room: probe. No sockets.

Interceptors tell browsers from other programs by the ClientHello alone (GREASE, extensions, JA3). BoringSSL, which
Chrome uses, sends a browser's hello here, and the answer is treated as everywhere: nothing is verified, the handshake
is finished, and the chain is kept as presented. Two things differ from the default hello:

* The flight of TLS 1.3 is not decrypted here (it may be compressed, RFC 8879). The chain is what BoringSSL took from
  the wire, byte for byte, and the key is proved because BoringSSL completes a handshake only when the key of
  certificate 0 signed it. SCTs and a stapled OCSP response stay unseen. In TLS 1.2 `wire` reads everything in the clear
  and our own check of the signature counts, too.
* A leaf that BoringSSL cannot parse ends the handshake unseen, as it does in Chrome. The default hello sees it.
"""

from __future__ import annotations

import functools
from typing import Final

import utls

from detector.model import Hello, Outcome
from detector.trust.handshake_signature import KeyProof

from .engine import ClientHandshake
from .reader import WireError
from .wire import CERTIFICATES_MAX

PROFILE: Final = "chrome:stable"  # the newest Chrome that utls knows: interceptors expect what most people have


@functools.cache
def shared_context() -> utls.SSLContext:
    """Return the one context of the process: Chrome's hello, no verification."""
    context = utls.SSLContext(utls.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = utls.CERT_NONE
    context.set_fingerprint(PROFILE)
    return context


class BrowserHandshake(ClientHandshake):
    """A handshake with a browser's hello, for probing only."""

    def __init__(self, host: str) -> None:
        super().__init__(host, Hello.BROWSER)
        self._incoming = utls.MemoryBIO()
        self._outgoing = utls.MemoryBIO()
        self._connection = shared_context().wrap_bio(
            self._incoming,
            self._outgoing,
            server_hostname=None if self._name is None else self._name.decode("ascii", "replace"),
        )
        self._completed = False

    @property
    def certificates_seen(self) -> bool:
        """Whether the server presented anything as its chain, as far as that is known before the end."""
        return self._wire.certificates_seen or self._completed

    @property
    def key_proved(self) -> bool:
        """Whether the peer showed that it holds the key of certificate 0."""
        return self._completed and self.proof is not KeyProof.INVALID and bool(self._chain())

    def closing_bytes(self) -> bytes:
        """Return the close_notify of a completed connection."""
        if not self._completed:
            return b""
        try:
            self._connection.unwrap()
        except utls.SSLError:
            return b""
        return self._outgoing.read()

    def _advance(self, data: bytes, malformed: WireError | None) -> bytes:  # noqa: ARG002 - BoringSSL decides
        self._incoming.write(data)
        try:
            self._connection.do_handshake()
        except utls.SSLWantReadError:
            pass
        except utls.SSLError:
            self._outcome = self._refusal()
        else:
            self._completed = True
            self._wire.alpn = self._wire.alpn or self._connection.selected_alpn_protocol()
            self._outcome = Outcome.COMPLETE if self.key_proved else self._refusal()
        output = self._outgoing.read()
        if not self._completed:
            try:
                self._wire.client(output)
            except WireError:
                # BoringSSL's own output is well-formed; if it were not, only our own checks would be lost.
                return output
        return output

    def _refusal(self) -> Outcome:
        return self._wrong_or(Outcome.TLS_FAILURE if self._wire.alert is None else Outcome.TLS_ALERT)

    def _chain(self) -> tuple[bytes, ...]:
        """Return the chain as presented, from the bytes or else as BoringSSL holds it."""
        if self._wire.certificates_seen:
            return tuple(self._wire.certificates)
        presented = self._connection.get_unverified_chain()[:CERTIFICATES_MAX]
        encoded = [certificate.public_bytes(certificate.ENCODING_DER) for certificate in presented]
        return tuple(der for der in encoded if isinstance(der, bytes))
