"""Did the presented key sign this handshake? Asked of the messages as `wire` reads them.

Room: probe. Pure: the answer is that of `trust.keyproof`; nothing raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.trust.handshake_signature import KeyProof, check_signature, signed_content

if TYPE_CHECKING:
    from .wire import CertificateVerify, SignedKeyExchange

__all__ = ["KeyProof", "check_certificate_verify", "check_key_exchange", "signed_content"]


def check_certificate_verify(spki: bytes | None, verify: CertificateVerify | None) -> KeyProof:
    """Check a TLS 1.3 CertificateVerify against the key `spki` (DER SubjectPublicKeyInfo of certificate 0).

    RFC 8446 section 4.4.3. None for `verify` means that it was not seen, None for `spki` that it could not be read.
    """
    if verify is None:
        return KeyProof.NOT_SEEN
    return check_signature(spki, verify.scheme, verify.signature, signed_content(verify.transcript_hash))


def check_key_exchange(spki: bytes | None, exchange: SignedKeyExchange | None) -> KeyProof:
    """Check a ServerKeyExchange of TLS 1.2 and older against the key `spki`, arguments as above.

    RFC 5246 section 7.4.3.
    """
    if exchange is None:
        return KeyProof.NOT_SEEN
    return check_signature(spki, exchange.scheme, exchange.signature, exchange.signed)
