"""Did the presented key sign this handshake? Checked here, apart from the TLS library.

Room: probe. Pure: octets in, one of four answers out; nothing raises.

TLS libraries answer this question only as error text, and not at all for a leaf they cannot parse. The answer decides
between an interceptor that replays a genuine chain (it can show the certificate, it cannot sign) and everything else.

A scheme that cannot belong to the presented key (ECDSA by an RSA key) is INVALID, not unknown: whatever made that
signature, it was not this key. Curves are not tied to hashes, and old schemes are accepted in TLS 1.3: the question
is who signed, not whether the peer follows the rules.
"""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from detector.trust.signature import REFUSALS, load_key

from .codepoints import SIGNATURE_SCHEMES, SignatureKind, SignatureScheme

if TYPE_CHECKING:
    from detector.trust.signature import PublicKey

    from .wire import CertificateVerify, SignedKeyExchange

# RFC 8446 section 4.4.3: 64 spaces, the context string, a zero octet, then the transcript hash.
_CONTEXT: Final = b" " * 64 + b"TLS 1.3, server CertificateVerify" + b"\x00"

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "md5": hashes.MD5(),  # noqa: S303 - to recognise what an old server signed, not to sign
    "sha1": hashes.SHA1(),  # noqa: S303 - as above
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class KeyProof(enum.Enum):
    """Whether the handshake signature is the presented key's."""

    VALID = "valid"
    INVALID = "invalid"
    NOT_SEEN = "not-seen"
    NOT_CHECKABLE = "not-checkable"


def check_certificate_verify(spki: bytes | None, verify: CertificateVerify | None) -> KeyProof:
    """Check a TLS 1.3 CertificateVerify against the key `spki` (DER SubjectPublicKeyInfo of certificate 0).

    RFC 8446 section 4.4.3. None for `verify` means that it was not seen, None for `spki` that it could not be read.
    """
    if verify is None:
        return KeyProof.NOT_SEEN
    scheme = SIGNATURE_SCHEMES.get(verify.scheme)
    if scheme is None or spki is None or (key := load_key(spki)) is None:
        return KeyProof.NOT_CHECKABLE
    return _check(key, scheme, verify.signature, signed_content(verify.transcript_hash))


def signed_content(transcript_hash: bytes) -> bytes:
    """What a TLS 1.3 CertificateVerify signs (RFC 8446 section 4.4.3)."""
    return _CONTEXT + transcript_hash


def check_key_exchange(spki: bytes | None, exchange: SignedKeyExchange | None) -> KeyProof:
    """Check a ServerKeyExchange of TLS 1.2 and older against the key `spki`, arguments as above.

    RFC 5246 section 7.4.3. Before TLS 1.2 the key's type fixes the scheme: RSA signs MD5 and SHA-1 side by side
    without naming them, DSA and ECDSA sign SHA-1 (RFC 4346 section 7.4.3, RFC 8422 section 5.4).
    """
    if exchange is None:
        return KeyProof.NOT_SEEN
    if exchange.scheme is not None and exchange.scheme not in SIGNATURE_SCHEMES:
        return KeyProof.NOT_CHECKABLE
    key = None if spki is None else load_key(spki)
    if key is None:
        return KeyProof.NOT_CHECKABLE
    if exchange.scheme is not None:
        return _check(key, SIGNATURE_SCHEMES[exchange.scheme], exchange.signature, exchange.signed)
    if isinstance(key, rsa.RSAPublicKey):
        return _check_unnamed_rsa(key, exchange.signature, exchange.signed)
    kind = SignatureKind.DSA if isinstance(key, dsa.DSAPublicKey) else SignatureKind.ECDSA
    return _check(key, SignatureScheme(kind, "sha1"), exchange.signature, exchange.signed)


def _check(key: PublicKey, scheme: SignatureScheme, signature: bytes, signed: bytes) -> KeyProof:
    """Check one signature by a named scheme."""
    try:
        return KeyProof.VALID if _verify(key, scheme, signature, signed) else KeyProof.INVALID
    except InvalidSignature:
        return KeyProof.INVALID
    except REFUSALS:
        # The library refuses to compute (a hash switched off by policy, a key it finds unfit): nothing was learned.
        return KeyProof.NOT_CHECKABLE


def _verify(key: PublicKey, scheme: SignatureScheme, signature: bytes, signed: bytes) -> bool:
    """Return False when the scheme does not fit the key. Raises `InvalidSignature` when the signature is wrong."""
    algorithm = None if scheme.hash_name is None else _HASHES[scheme.hash_name]
    match scheme.kind, key, algorithm:
        case SignatureKind.RSA_PKCS1, rsa.RSAPublicKey(), hashes.HashAlgorithm():
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        case SignatureKind.RSA_PSS, rsa.RSAPublicKey(), hashes.HashAlgorithm():
            # RFC 8446 section 4.2.3: the salt is as long as the digest.
            pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)
            key.verify(signature, signed, pss, algorithm)
        case SignatureKind.ECDSA, ec.EllipticCurvePublicKey(), hashes.HashAlgorithm():
            key.verify(signature, signed, ec.ECDSA(algorithm))
        case SignatureKind.DSA, dsa.DSAPublicKey(), hashes.HashAlgorithm():
            key.verify(signature, signed, algorithm)
        case SignatureKind.ED25519, ed25519.Ed25519PublicKey(), None:
            key.verify(signature, signed)
        case SignatureKind.ED448, ed448.Ed448PublicKey(), None:
            key.verify(signature, signed)
        case _:
            return False
    return True


def _check_unnamed_rsa(key: rsa.RSAPublicKey, signature: bytes, signed: bytes) -> KeyProof:
    """PKCS #1 v1.5 over MD5 and SHA-1 side by side, without DigestInfo (RFC 4346 section 4.7)."""
    expected = (
        hashlib.md5(signed, usedforsecurity=False).digest() + hashlib.sha1(signed, usedforsecurity=False).digest()
    )
    try:
        recovered = key.recover_data_from_signature(signature, padding.PKCS1v15(), None)
    except InvalidSignature:
        return KeyProof.INVALID
    except REFUSALS:
        return KeyProof.NOT_CHECKABLE
    return KeyProof.VALID if recovered == expected else KeyProof.INVALID
