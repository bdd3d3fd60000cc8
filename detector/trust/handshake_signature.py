"""Did this key sign this handshake? Verified without a TLS library.

Room: trust. Pure: never raises.

TLS libraries report this only as error text, and not at all for a leaf they cannot parse. It separates an interceptor
that replays a genuine chain (it can present the certificate but cannot sign) from everything else, and a recorded
handshake can be verified again by others.

A scheme that cannot belong to the presented key (ECDSA by an RSA key) is INVALID, not unknown: this key did not make
that signature. Curves are not tied to hashes, and old schemes are accepted in TLS 1.3: the question is who signed, not
whether the peer follows the rules.
"""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .signature import (
    MD5,
    REFUSALS,
    SHA1,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
    KeyType,
    Pss,
    SignatureScheme,
    Signed,
    read_key,
    verify_scheme,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes

    from detector.model import HandshakeSignature


def _pss(digest: hashes.HashAlgorithm) -> SignatureScheme:
    """RSA-PSS with one hash, and a salt as long as that (RFC 8446 section 4.2.3)."""
    return SignatureScheme(KeyType.RSA, digest, Pss(digest, digest.digest_size))


SIGNATURE_SCHEMES: Final[dict[int, SignatureScheme]] = {
    hash_code << 8 | signature_code: SignatureScheme(key_type, digest)
    for hash_code, digest in enumerate((MD5, SHA1, SHA224, SHA256, SHA384, SHA512), start=1)
    for signature_code, key_type in ((1, KeyType.RSA), (2, KeyType.DSA), (3, KeyType.EC))
    if digest is not MD5 or key_type is KeyType.RSA
} | {
    0x081A: SignatureScheme(KeyType.EC, SHA256),
    0x081B: SignatureScheme(KeyType.EC, SHA384),
    0x081C: SignatureScheme(KeyType.EC, SHA512),
    0x0804: _pss(SHA256),
    0x0805: _pss(SHA384),
    0x0806: _pss(SHA512),
    0x0809: _pss(SHA256),
    0x080A: _pss(SHA384),
    0x080B: _pss(SHA512),
    0x0807: SignatureScheme(KeyType.ED25519),
    0x0808: SignatureScheme(KeyType.ED448),
    0x0904: SignatureScheme(KeyType.ML_DSA_44),
    0x0905: SignatureScheme(KeyType.ML_DSA_65),
    0x0906: SignatureScheme(KeyType.ML_DSA_87),
}
"""TLS 1.2 {hash, signature} pairs read as one number (RFC 5246 section 7.4.1.4.1), and TLS 1.3 schemes (RFC 8446
section 4.2.3, draft-ietf-tls-mldsa)."""

_CONTEXT: Final = b" " * 64 + b"TLS 1.3, server CertificateVerify" + b"\x00"
"""What precedes the transcript hash (RFC 8446 section 4.4.3)."""

_TRANSCRIPT_HASH_BYTES: Final = frozenset({32, 48})
"""SHA-256 and SHA-384, the hashes of the TLS 1.3 cipher suites (RFC 8446 appendix B.4)."""

_TLS_1_3: Final = "TLSv1.3"
_OLDER: Final = frozenset({"SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"})
"""Versions as observations name them."""

_HELLO_RANDOM: Final = slice(6, 38)
"""The random within a ServerHello: after type, length and version (RFC 5246 section 7.4.1.3)."""

_SIGNED_RANDOM: Final = slice(32, 64)
"""The server's random within what a ServerKeyExchange signs: after the client's (RFC 5246 section 7.4.3)."""


class KeyProof(enum.Enum):
    """Whether the presented key made the handshake signature."""

    VALID = "valid"
    INVALID = "invalid"
    NOT_SEEN = "not-seen"
    NOT_CHECKABLE = "not-checkable"


def signed_content(transcript_hash: bytes) -> bytes:
    """What a TLS 1.3 CertificateVerify signs (RFC 8446 section 4.4.3)."""
    return _CONTEXT + transcript_hash


def check_signature(spki: bytes | None, scheme: int | None, signature: bytes, signed: bytes) -> KeyProof:
    """Verify a handshake signature with the key `spki` (DER SubjectPublicKeyInfo of certificate 0; None: unreadable).

    `scheme` is the SignatureScheme code point. Before TLS 1.2 it is None and the key type determines it: RSA signs MD5
    and SHA-1 concatenated, DSA and ECDSA sign SHA-1 (RFC 4346 section 7.4.3, RFC 8422 section 5.4).
    """
    if spki is None:
        return KeyProof.NOT_CHECKABLE
    if scheme is not None:
        return _check(spki, SIGNATURE_SCHEMES.get(scheme), signature, signed)
    loaded = read_key(spki)
    if loaded.key is None:
        return KeyProof.NOT_CHECKABLE
    if isinstance(loaded.key, rsa.RSAPublicKey):
        return _check_unnamed_rsa(loaded.key, signature, signed)
    kind = KeyType.DSA if loaded.key_type is KeyType.DSA else KeyType.EC
    return _check(spki, SignatureScheme(kind, SHA1), signature, signed)


def check_recorded(
    spki: bytes | None, recorded: HandshakeSignature | None, *, tls_version: str | None, server_hello: bytes | None
) -> KeyProof:
    """Verify a recorded handshake signature: made by this key, over what a server signs in a handshake of this version.

    Anything else the key may have signed, in another protocol or for another ServerHello, is INVALID. For TLS 1.3 the
    record cannot prove which handshake it was: a transcript hash fits any.
    """
    if recorded is None:
        return KeyProof.NOT_SEEN
    if tls_version == _TLS_1_3:
        fits = recorded.signed.startswith(_CONTEXT) and len(recorded.signed) - len(_CONTEXT) in _TRANSCRIPT_HASH_BYTES
    elif tls_version in _OLDER:
        random = (server_hello or b"")[_HELLO_RANDOM]
        fits = recorded.signed[_SIGNED_RANDOM] == random != b""
    else:
        return KeyProof.NOT_CHECKABLE
    proof = check_signature(spki, recorded.scheme, recorded.signature, recorded.signed)
    return proof if fits else KeyProof.INVALID


_PROOFS: Final = {Signed.VALID: KeyProof.VALID, Signed.INVALID: KeyProof.INVALID}
"""What a signature proves; other answers prove nothing."""


def _check(spki: bytes, scheme: SignatureScheme | None, signature: bytes, signed: bytes) -> KeyProof:
    if scheme is None:
        return KeyProof.NOT_CHECKABLE
    return _PROOFS.get(verify_scheme(spki, scheme, signature, signed), KeyProof.NOT_CHECKABLE)


def _check_unnamed_rsa(key: rsa.RSAPublicKey, signature: bytes, signed: bytes) -> KeyProof:
    """Verify PKCS #1 v1.5 over MD5 and SHA-1 concatenated, without DigestInfo (RFC 4346 section 4.7)."""
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
