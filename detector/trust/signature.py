"""Does this key verify this signature? One question, three answers: valid, invalid, cannot tell.

Room: trust. Pure; results are remembered (bounded), because the same intermediate signs thousands of leaves.

Old and weak algorithms are checked like any other: the question is who signed, not whether that was wise. A key or
algorithm that cannot be loaded is "cannot tell" and never evidence.
"""

from __future__ import annotations

import enum
import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from . import der

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from .certificate import Algorithm, Certificate

PublicKey = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | dsa.DSAPublicKey
)

SPKI_OCTETS_MAX: Final = 8 * 1024
"""Octets of a SubjectPublicKeyInfo that is loaded: an RSA-16384 key (OpenSSL's own limit) has about 2 KiB, and the
time of one RSA verification grows with the square of the modulus."""
MODULUS_BITS_MAX: Final = 16384
"""Largest RSA or DSA modulus that is used (OPENSSL_RSA_MAX_MODULUS_BITS). Time grows with its square."""
REFUSALS: Final = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, InternalError)
"""How `cryptography` refuses to load a key or to compute with one: a hash switched off, numbers that make no key, an
error of OpenSSL it has no name for. Nothing was learned then."""
_ANSWERS_MAX: Final = 8192
"""Remembered answers: a day's endpoints. One is a hash, about 150 bytes, however large what was signed."""
_KEY_CACHE: Final = 1024
"""Remembered keys; certifi's roots are about 120, a scan meets a few hundred intermediates. A peer can make each of
them as large as `SPKI_OCTETS_MAX`: 8 MiB in all."""

_OID_RSA: Final = "1.2.840.113549.1.1.1"
_OID_RSA_PSS: Final = "1.2.840.113549.1.1.10"
_OID_ED25519: Final = "1.3.101.112"
_OID_ED448: Final = "1.3.101.113"

_MD5, _SHA1, _SHA224 = hashes.MD5(), hashes.SHA1(), hashes.SHA224()  # noqa: S303 - read, never relied on
_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()

_RSA_PKCS1: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.2.840.113549.1.1.4": _MD5,
    "1.2.840.113549.1.1.5": _SHA1,
    "1.3.14.3.2.29": _SHA1,  # sha1WithRSASignature of the old OIW arc, still written by some software
    "1.2.840.113549.1.1.14": _SHA224,
    "1.2.840.113549.1.1.11": _SHA256,
    "1.2.840.113549.1.1.12": _SHA384,
    "1.2.840.113549.1.1.13": _SHA512,
}
_ECDSA: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.2.840.10045.4.1": _SHA1,
    "1.2.840.10045.4.3.1": _SHA224,
    "1.2.840.10045.4.3.2": _SHA256,
    "1.2.840.10045.4.3.3": _SHA384,
    "1.2.840.10045.4.3.4": _SHA512,
}
_DSA: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.2.840.10040.4.3": _SHA1,
    "2.16.840.1.101.3.4.3.1": _SHA224,
    "2.16.840.1.101.3.4.3.2": _SHA256,
}
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.3.14.3.2.26": _SHA1,
    "2.16.840.1.101.3.4.2.1": _SHA256,
    "2.16.840.1.101.3.4.2.2": _SHA384,
    "2.16.840.1.101.3.4.2.3": _SHA512,
}


class Signed(enum.StrEnum):
    """Whether a key made a signature."""

    VALID = "valid"
    INVALID = "invalid"
    CANNOT_TELL = "cannot-tell"


def load_key(spki: bytes) -> PublicKey | None:
    """The key in a SubjectPublicKeyInfo, or None when it cannot be loaded or would take too long to use."""
    return None if len(spki) > SPKI_OCTETS_MAX else _load_key(spki)


@lru_cache(maxsize=_KEY_CACHE)
def _load_key(spki: bytes) -> PublicKey | None:
    key: PublicKeyTypes | None
    try:
        key = load_der_public_key(spki)
    except REFUSALS:
        key = _load_rsa_leniently(spki)
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey) and key.key_size > MODULUS_BITS_MAX:
        return None
    if isinstance(
        key,
        rsa.RSAPublicKey
        | ec.EllipticCurvePublicKey
        | ed25519.Ed25519PublicKey
        | ed448.Ed448PublicKey
        | dsa.DSAPublicKey,
    ):
        return key
    return None


def _load_rsa_leniently(spki: bytes) -> rsa.RSAPublicKey | None:
    """RSA keys whose AlgorithmIdentifier lacks the NULL of RFC 3279 section 2.3.1, or whose integers are not DER."""
    try:
        outer = der.expect(spki, 0, len(spki), der.SEQUENCE)
        algorithm = der.expect(spki, outer.content, outer.end, der.SEQUENCE)
        if der.oid(spki, der.element(spki, algorithm.content, algorithm.end)) != _OID_RSA:
            return None
        bits = der.expect(spki, algorithm.end, outer.end, der.BIT_STRING)
        numbers = der.expect(spki, bits.content + 1, bits.end, der.SEQUENCE)
        modulus, exponent = (int.from_bytes(der.value(spki, n), "big") for n in list(der.children(spki, numbers))[:2])
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except REFUSALS:  # DERError is a ValueError
        return None


def verify_issued(child: Certificate, issuer_spki: bytes) -> Signed:
    """Whether the key in `issuer_spki` signed `child`."""
    if child.tbs is None or child.signature is None or child.signature_algorithm is None:
        return Signed.CANNOT_TELL
    return verify(issuer_spki, child.signature_algorithm, child.signature, child.tbs)


_ANSWERS: Final[dict[bytes, Signed]] = {}
"""By the hash of the question. Emptied when it is full: that costs each answer once more, and keeps no order."""


def _remembered(answer: Callable[[], Signed], *question: bytes) -> Signed:
    """The answer to a question that was asked before, or now."""
    asked = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in question)).digest()
    known = _ANSWERS.get(asked)
    if known is None:
        known = answer()
        if len(_ANSWERS) >= _ANSWERS_MAX:
            _ANSWERS.clear()
        _ANSWERS[asked] = known
    return known


def verify(spki: bytes, algorithm: Algorithm, signature: bytes, data: bytes) -> Signed:
    """Whether `signature` over `data` was made by the key in `spki` with an X.509 signature algorithm."""
    kind = algorithm.oid.encode()
    return _remembered(
        lambda: _verified(spki, algorithm, signature, data), b"X.509", spki, kind, algorithm.parameters, signature, data
    )


def _verified(spki: bytes, algorithm: Algorithm, signature: bytes, data: bytes) -> Signed:
    key = load_key(spki)
    if key is None:
        return Signed.CANNOT_TELL
    try:
        return _verify(key, algorithm, signature, data)
    except InvalidSignature:
        return Signed.INVALID
    except REFUSALS:
        return Signed.CANNOT_TELL


def _verify(key: PublicKey, algorithm: Algorithm, signature: bytes, data: bytes) -> Signed:
    """Raises InvalidSignature, ValueError or UnsupportedAlgorithm."""
    oid = algorithm.oid
    family = _family(oid)
    if family is None:
        return Signed.CANNOT_TELL
    if not isinstance(key, family):
        return Signed.INVALID  # a key of another kind cannot have made it
    if isinstance(key, rsa.RSAPublicKey):
        if oid == _OID_RSA_PSS:
            digest, salt = _pss_parameters(algorithm.parameters)
            key.verify(signature, data, padding.PSS(padding.MGF1(digest), salt), digest)
        else:
            key.verify(signature, data, padding.PKCS1v15(), _RSA_PKCS1[oid])
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(_ECDSA[oid]))
    elif isinstance(key, dsa.DSAPublicKey):
        key.verify(signature, data, _DSA[oid])
    else:
        key.verify(signature, data)
    return Signed.VALID


def _family(oid: str) -> type[PublicKey] | None:
    if oid in _RSA_PKCS1 or oid == _OID_RSA_PSS:
        return rsa.RSAPublicKey
    if oid in _ECDSA:
        return ec.EllipticCurvePublicKey
    if oid in _DSA:
        return dsa.DSAPublicKey
    if oid == _OID_ED25519:
        return ed25519.Ed25519PublicKey
    return ed448.Ed448PublicKey if oid == _OID_ED448 else None


def _pss_parameters(parameters: bytes) -> tuple[hashes.HashAlgorithm, int]:
    """Hash and salt length of RSASSA-PSS-params (RFC 4055 section 3.1). Raises ValueError."""
    digest: hashes.HashAlgorithm = _SHA1
    salt = 20
    if parameters:
        for field in der.children(parameters, der.expect(parameters, 0, len(parameters), der.SEQUENCE)):
            inner = der.element(parameters, field.content, field.end)
            if field.tag == 0xA0:  # noqa: PLR2004 - [0] hashAlgorithm
                kind = der.oid(parameters, der.element(parameters, inner.content, inner.end))
                if kind not in _HASHES:
                    raise ValueError(kind)
                digest = _HASHES[kind]
            elif field.tag == 0xA2:  # noqa: PLR2004 - [2] saltLength
                salt = int.from_bytes(der.value(parameters, inner)[:4], "big")
    return digest, salt


def weakly_hashed(algorithm: Algorithm | None) -> bool:
    """Whether an X.509 signature algorithm rests on MD5 or SHA-1, or on a hash that cannot be told."""
    if algorithm is None:
        return True
    if algorithm.oid == _OID_RSA_PSS:
        try:
            return isinstance(_pss_parameters(algorithm.parameters)[0], hashes.SHA1)
        except ValueError:  # DERError is one
            return True
    digest = _RSA_PKCS1.get(algorithm.oid) or _ECDSA.get(algorithm.oid) or _DSA.get(algorithm.oid)
    if digest is None:
        return algorithm.oid not in {_OID_ED25519, _OID_ED448}
    return isinstance(digest, hashes.MD5 | hashes.SHA1)


def verify_sct(spki: bytes, signature_scheme: tuple[int, int], signature: bytes, data: bytes) -> Signed:
    """Whether a CT log's key signed `data`. `signature_scheme` is TLS's (hash, signature) pair (RFC 5246 7.4.1.4.1).

    RFC 6962 section 2.1.4 allows SHA-256 with RSA or with ECDSA over P-256 and nothing else.
    """
    scheme = bytes(signature_scheme)
    return _remembered(
        lambda: _verified_sct(spki, signature_scheme, signature, data), b"SCT", spki, scheme, signature, data
    )


def _verified_sct(spki: bytes, signature_scheme: tuple[int, int], signature: bytes, data: bytes) -> Signed:
    key = load_key(spki)
    if key is None:
        return Signed.CANNOT_TELL
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and signature_scheme == (4, 3):
            key.verify(signature, data, ec.ECDSA(_SHA256))
        elif isinstance(key, rsa.RSAPublicKey) and signature_scheme == (4, 1):
            key.verify(signature, data, padding.PKCS1v15(), _SHA256)
        else:
            return Signed.INVALID
    except InvalidSignature:
        return Signed.INVALID
    except REFUSALS:
        return Signed.CANNOT_TELL
    return Signed.VALID
