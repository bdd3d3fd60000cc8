"""Did this key sign this handshake? Checked here, apart from any TLS library.

Room: trust. Pure: octets in, one of four answers out; nothing raises.

TLS libraries answer this question only as error text, and not at all for a leaf they cannot parse. The answer decides
between an interceptor that replays a genuine chain (it can show the certificate, it cannot sign) and everything else;
and it can be asked again of what was recorded, by somebody who was not there.

A scheme that cannot belong to the presented key (ECDSA by an RSA key) is INVALID, not unknown: whatever made that
signature, it was not this key. Curves are not tied to hashes, and old schemes are accepted in TLS 1.3: the question
is who signed, not whether the peer follows the rules.
"""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from .signature import REFUSALS, load_key

if TYPE_CHECKING:
    from detector.model import HandshakeSignature

    from .signature import PublicKey


class SignatureKind(enum.Enum):
    """How a signature scheme signs."""

    RSA_PKCS1 = "rsa-pkcs1"
    RSA_PSS = "rsa-pss"
    ECDSA = "ecdsa"
    DSA = "dsa"
    ED25519 = "ed25519"
    ED448 = "ed448"


class SignatureScheme(NamedTuple):
    """A signature scheme: how it signs and the hash it signs (None where the scheme hashes by itself)."""

    kind: SignatureKind
    hash_name: str | None


SIGNATURE_SCHEMES: Final[dict[int, SignatureScheme]] = {
    0x0101: SignatureScheme(SignatureKind.RSA_PKCS1, "md5"),
    0x0201: SignatureScheme(SignatureKind.RSA_PKCS1, "sha1"),
    0x0301: SignatureScheme(SignatureKind.RSA_PKCS1, "sha224"),
    0x0401: SignatureScheme(SignatureKind.RSA_PKCS1, "sha256"),
    0x0501: SignatureScheme(SignatureKind.RSA_PKCS1, "sha384"),
    0x0601: SignatureScheme(SignatureKind.RSA_PKCS1, "sha512"),
    0x0202: SignatureScheme(SignatureKind.DSA, "sha1"),
    0x0302: SignatureScheme(SignatureKind.DSA, "sha224"),
    0x0402: SignatureScheme(SignatureKind.DSA, "sha256"),
    0x0502: SignatureScheme(SignatureKind.DSA, "sha384"),
    0x0602: SignatureScheme(SignatureKind.DSA, "sha512"),
    0x0203: SignatureScheme(SignatureKind.ECDSA, "sha1"),
    0x0303: SignatureScheme(SignatureKind.ECDSA, "sha224"),
    0x0403: SignatureScheme(SignatureKind.ECDSA, "sha256"),
    0x0503: SignatureScheme(SignatureKind.ECDSA, "sha384"),
    0x0603: SignatureScheme(SignatureKind.ECDSA, "sha512"),
    0x081A: SignatureScheme(SignatureKind.ECDSA, "sha256"),
    0x081B: SignatureScheme(SignatureKind.ECDSA, "sha384"),
    0x081C: SignatureScheme(SignatureKind.ECDSA, "sha512"),
    0x0804: SignatureScheme(SignatureKind.RSA_PSS, "sha256"),
    0x0805: SignatureScheme(SignatureKind.RSA_PSS, "sha384"),
    0x0806: SignatureScheme(SignatureKind.RSA_PSS, "sha512"),
    0x0809: SignatureScheme(SignatureKind.RSA_PSS, "sha256"),
    0x080A: SignatureScheme(SignatureKind.RSA_PSS, "sha384"),
    0x080B: SignatureScheme(SignatureKind.RSA_PSS, "sha512"),
    0x0807: SignatureScheme(SignatureKind.ED25519, None),
    0x0808: SignatureScheme(SignatureKind.ED448, None),
}
"""TLS 1.3 schemes, and the {hash, signature} pairs of TLS 1.2 read as one number (RFC 8446 section 4.2.3)."""

_CONTEXT: Final = b" " * 64 + b"TLS 1.3, server CertificateVerify" + b"\x00"
"""What stands before the transcript hash (RFC 8446 section 4.4.3)."""

_TRANSCRIPT_HASH_OCTETS: Final = frozenset({32, 48})
"""SHA-256 and SHA-384, the hashes of the TLS 1.3 cipher suites (RFC 8446 appendix B.4)."""

_TLS_1_3: Final = "TLSv1.3"
_OLDER: Final = frozenset({"SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"})
"""Versions as observations spell them."""

_HELLO_RANDOM: Final = slice(6, 38)
"""The random within a ServerHello: behind type, length and version (RFC 5246 section 7.4.1.3)."""

_SIGNED_RANDOM: Final = slice(32, 64)
"""The server's random within what a ServerKeyExchange signs: behind the client's (RFC 5246 section 7.4.3)."""

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


def signed_content(transcript_hash: bytes) -> bytes:
    """What a TLS 1.3 CertificateVerify signs (RFC 8446 section 4.4.3)."""
    return _CONTEXT + transcript_hash


def check_signature(spki: bytes | None, scheme: int | None, signature: bytes, signed: bytes) -> KeyProof:
    """Check a handshake signature against the key `spki` (DER SubjectPublicKeyInfo of certificate 0; None: unreadable).

    `scheme` is the SignatureScheme code point. Before TLS 1.2 it is None and the key's type fixes it: RSA signs MD5
    and SHA-1 side by side without naming them, DSA and ECDSA sign SHA-1 (RFC 4346 section 7.4.3, RFC 8422 section 5.4).
    """
    if scheme is not None and scheme not in SIGNATURE_SCHEMES:
        return KeyProof.NOT_CHECKABLE
    key = None if spki is None else load_key(spki)
    if key is None:
        return KeyProof.NOT_CHECKABLE
    if scheme is not None:
        return _check(key, SIGNATURE_SCHEMES[scheme], signature, signed)
    if isinstance(key, rsa.RSAPublicKey):
        return _check_unnamed_rsa(key, signature, signed)
    kind = SignatureKind.DSA if isinstance(key, dsa.DSAPublicKey) else SignatureKind.ECDSA
    return _check(key, SignatureScheme(kind, "sha1"), signature, signed)


def check_recorded(
    spki: bytes | None, recorded: HandshakeSignature | None, *, tls_version: str | None, server_hello: bytes | None
) -> KeyProof:
    """Check a recorded handshake signature: made by this key, over what a server signs in a handshake of this version.

    What else the key may have signed, in another protocol or for another ServerHello, is INVALID. That the handshake
    was the one it is said to be cannot be told for TLS 1.3: a transcript hash fits any.
    """
    if recorded is None:
        return KeyProof.NOT_SEEN
    if tls_version == _TLS_1_3:
        fits = recorded.signed.startswith(_CONTEXT) and len(recorded.signed) - len(_CONTEXT) in _TRANSCRIPT_HASH_OCTETS
    elif tls_version in _OLDER:
        random = (server_hello or b"")[_HELLO_RANDOM]
        fits = recorded.signed[_SIGNED_RANDOM] == random != b""
    else:
        return KeyProof.NOT_CHECKABLE
    proof = check_signature(spki, recorded.scheme, recorded.signature, recorded.signed)
    return proof if fits else KeyProof.INVALID


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
