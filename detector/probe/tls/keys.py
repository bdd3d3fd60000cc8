"""The key schedule that TLS 1.3 and QUIC share: HKDF-Expand-Label and the keys of a traffic secret.

Room: probe. Pure.
"""

from __future__ import annotations

import functools
import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from .codepoints import AEAD, TLS_1_3_SUITES

NONCE_BYTES: Final = 12  # iv_length of every TLS 1.3 AEAD (RFC 8446 section 5.3)


def expand_label(hash_name: str, secret: bytes, label: str, length: int, context: bytes = b"") -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1, RFC 5869 section 2.3)."""
    info = _label(label, length) + bytes((len(context),)) + context
    output = block = hmac.digest(secret, info + b"\x01", hash_name)
    counter = 1
    while len(output) < length:
        counter += 1
        block = hmac.digest(secret, block + info + bytes((counter,)), hash_name)
        output += block
    return output[:length]


@functools.cache
def _label(label: str, length: int) -> bytes:
    """HkdfLabel up to its context: there are about a dozen, and one handshake needs twelve."""
    name = b"tls13 " + label.encode("ascii")
    return length.to_bytes(2, "big") + bytes((len(name),)) + name


class TrafficKeys:
    """Key and IV of one traffic secret (RFC 8446 section 7.3; RFC 9001 section 5.1 with the prefix `quic `)."""

    __slots__ = ("_iv", "cipher")

    def __init__(self, suite: int, secret: bytes, prefix: str = "") -> None:
        aead, key_bytes, tag_bytes, hash_name = TLS_1_3_SUITES[suite]
        key = expand_label(hash_name, secret, f"{prefix}key", key_bytes)
        self._iv = int.from_bytes(expand_label(hash_name, secret, f"{prefix}iv", NONCE_BYTES), "big")
        self.cipher: AESGCM | AESCCM | ChaCha20Poly1305
        match aead:
            case AEAD.AES_GCM:
                self.cipher = AESGCM(key)
            case AEAD.AES_CCM:
                self.cipher = AESCCM(key, tag_length=tag_bytes)
            case AEAD.CHACHA20_POLY1305:
                self.cipher = ChaCha20Poly1305(key)

    def nonce(self, number: int) -> bytes:
        """Return the nonce of the record or packet with this number (RFC 8446 section 5.3)."""
        return (self._iv ^ number).to_bytes(NONCE_BYTES, "big")
