"""Does this key verify this signature? Four answers.

Room: trust. Pure; results are cached (bounded), because the same intermediate signs thousands of leaves.

======================  ==============================================================================================
answer                  when
======================  ==============================================================================================
`VALID`                 the key made the signature
`INVALID`               it did not, or no key of this type can make such a signature
`UNREADABLE`            not verified here because of its form: algorithm, key type or parameters (SM2, GOST, Merkle tree
                        certificates, curves with explicit parameters), or because `cryptography` refuses it
`EXCEEDS_LIMITS`        not verified because it would take long
======================  ==============================================================================================

Old and weak algorithms are verified like any other: the question is who signed, not whether that was wise. The same
limits hold for certificates (`verify`), CT timestamps (`verify_sct`) and handshakes (`verify_scheme`).
"""

from __future__ import annotations

import enum
import hashlib
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from . import der
from . import spki as public_keys
from .certificate import CERTIFICATE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.asymmetric import mldsa
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from .certificate import Algorithm, Certificate

    PublicKey = (
        rsa.RSAPublicKey
        | ec.EllipticCurvePublicKey
        | dsa.DSAPublicKey
        | ed25519.Ed25519PublicKey
        | ed448.Ed448PublicKey
        | mldsa.MLDSA44PublicKey
        | mldsa.MLDSA65PublicKey
        | mldsa.MLDSA87PublicKey
    )

SPKI_BYTES_MAX: Final = 8 * 1024
"""Largest SubjectPublicKeyInfo that is loaded, in bytes: an RSA key of 16384 bits has about 2 KiB."""
RSA_MODULUS_BITS_MAX: Final = 16384
"""Largest RSA modulus that is used (OPENSSL_RSA_MAX_MODULUS_BITS). Time grows with its square: 0.7 ms at this size for
the exponent 65537, 0.05 ms for the largest key of a public CA (4096 bits)."""
RSA_EXPONENT_BITS_MAX: Final = 33
"""Longest RSA exponent that is used; public CAs have 3 or 65537 (17 bits), some software 2**32 + 1. Time grows with its
length: a modulus of 3072 bits with an exponent as long takes 5 ms, with one of 33 bits 0.06 ms."""
DSA_MODULUS_BITS_MAX: Final = 3072
"""Largest DSA modulus that is used, and that is specified (FIPS 186-4 section 4.2): 0.5 ms. OpenSSL accepts 10000 bits,
which take 9 ms."""
_DSA_ORDER_BITS: Final = frozenset({160, 224, 256})
"""Lengths of a DSA key's q (FIPS 186-4 section 4.2). With any other, OpenSSL rejects every signature."""
_RSA_EXPONENT_LEAST: Final = 3
"""With a smaller exponent anyone can forge the signature."""

REFUSALS: Final = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, InternalError)
"""How `cryptography` refuses to load or use a key: a disabled hash, numbers that make no key, an unnamed OpenSSL error.
They prove nothing about the signature."""
_ANSWERS_MAX: Final = 8192
"""Cached answers: a day's endpoints. Each is a hash, about 150 bytes, however large the signed data."""
_KEY_CACHE: Final = 1024
"""Cached keys; certifi's roots are about 120, a scan meets a few hundred intermediates. A peer can make each of them as
large as `SPKI_BYTES_MAX`: 8 MiB in all."""


class Signed(enum.StrEnum):
    """Whether a key made a signature."""

    VALID = "valid"
    INVALID = "invalid"
    UNREADABLE = "unreadable"
    EXCEEDS_LIMITS = "exceeds-limits"


class KeyType(enum.Enum):
    """Types of keys, by the algorithm of the SubjectPublicKeyInfo (RFC 3279, RFC 5480, RFC 8410, RFC 9881)."""

    RSA = "1.2.840.113549.1.1.1"
    EC = "1.2.840.10045.2.1"
    DSA = "1.2.840.10040.4.1"
    ED25519 = "1.3.101.112"
    ED448 = "1.3.101.113"
    ML_DSA_44 = "2.16.840.1.101.3.4.3.17"
    ML_DSA_65 = "2.16.840.1.101.3.4.3.18"
    ML_DSA_87 = "2.16.840.1.101.3.4.3.19"


class Pss(NamedTuple):
    """Parameters of RSASSA-PSS: the hash of its mask generation function MGF1, and the length of its salt in bytes."""

    mgf: hashes.HashAlgorithm
    salt: int


class SignatureScheme(NamedTuple):
    """How a key of this type signs. `digest` is None where the hash is built in, `pss` where it is not PSS."""

    key_type: KeyType
    digest: hashes.HashAlgorithm | None = None
    pss: Pss | None = None


class LoadedKey(NamedTuple):
    """A public key and its type, None where unknown. Without a key, `refusal` is the answer to every signature."""

    key_type: KeyType | None
    key: PublicKey | None
    refusal: Signed = Signed.UNREADABLE


MD5, SHA1 = hashes.MD5(), hashes.SHA1()  # noqa: S303 - to recognize what old software signed, never relied on
SHA224, SHA256, SHA384, SHA512 = hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
_SHA512_224, _SHA512_256 = hashes.SHA512_224(), hashes.SHA512_256()
_SHA3_224, _SHA3_256, _SHA3_384, _SHA3_512 = hashes.SHA3_224(), hashes.SHA3_256(), hashes.SHA3_384(), hashes.SHA3_512()

_PSS: Final = "1.2.840.113549.1.1.10"
_MGF1: Final = "1.2.840.113549.1.1.8"
"""id-RSASSA-PSS, also as a key's algorithm, and id-mgf1 (RFC 4055 sections 3.1 and 2.2)."""

_KEY_TYPES: Final = {key_type.value: key_type for key_type in KeyType} | {_PSS: KeyType.RSA}

_NIST: Final = "2.16.840.1.101.3.4"
_SHA2_SHA3: Final = dict(
    enumerate(
        (SHA256, SHA384, SHA512, SHA224, _SHA512_224, _SHA512_256, _SHA3_224, _SHA3_256, _SHA3_384, _SHA3_512), start=1
    )
)
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.2.840.113549.2.5": MD5,
    "1.3.14.3.2.26": SHA1,
    **{f"{_NIST}.2.{arc}": digest for arc, digest in _SHA2_SHA3.items()},
}
"""Hashes of RSASSA-PSS and its MGF1 (RFC 4055 section 2.1; the others from NIST's register)."""

_ALGORITHMS: Final[dict[str, SignatureScheme]] = {
    f"{prefix}.{arc}": SignatureScheme(key_type, digest)
    for key_type, prefix, digests in (
        (KeyType.RSA, "1.2.840.113549.1.1", {4: MD5, 5: SHA1, 14: SHA224, 11: SHA256, 12: SHA384, 13: SHA512}),
        (KeyType.RSA, "1.2.840.113549.1.1", {15: _SHA512_224, 16: _SHA512_256}),
        (KeyType.RSA, "1.3.14.3.2", {29: SHA1}),  # the old OIW arc, still written by some software
        (KeyType.RSA, f"{_NIST}.3", {13: _SHA3_224, 14: _SHA3_256, 15: _SHA3_384, 16: _SHA3_512}),
        (KeyType.EC, "1.2.840.10045.4", {1: SHA1}),
        (KeyType.EC, "1.2.840.10045.4.3", {1: SHA224, 2: SHA256, 3: SHA384, 4: SHA512}),
        (KeyType.EC, f"{_NIST}.3", {9: _SHA3_224, 10: _SHA3_256, 11: _SHA3_384, 12: _SHA3_512}),
        (KeyType.DSA, "1.2.840.10040.4", {3: SHA1}),
        (KeyType.DSA, f"{_NIST}.3", {1: SHA224, 2: SHA256, 3: SHA384, 4: SHA512}),
    )
    for arc, digest in digests.items()
} | {
    key_type.value: SignatureScheme(key_type)  # one identifier for the key and its signatures
    for key_type in (KeyType.ED25519, KeyType.ED448, KeyType.ML_DSA_44, KeyType.ML_DSA_65, KeyType.ML_DSA_87)
}
"""Signature algorithms of X.509 except RSASSA-PSS, which is defined by its parameters (RFC 3279, RFC 5758, RFC 8410,
RFC 8702's register, RFC 9881)."""

_SCT_SCHEMES: Final = {
    (4, 3): SignatureScheme(KeyType.EC, SHA256),
    (4, 1): SignatureScheme(KeyType.RSA, SHA256),
}
"""RFC 6962 section 2.1.4 allows SHA-256 with RSA or with ECDSA over P-256 and nothing else. By TLS's (hash, signature)
pair (RFC 5246 section 7.4.1.4.1)."""


def read_key(spki: bytes) -> LoadedKey:
    """The key in a SubjectPublicKeyInfo with its type, or why its signatures are not verified."""
    if len(spki) > SPKI_BYTES_MAX:
        return LoadedKey(_key_type(spki), None, Signed.EXCEEDS_LIMITS)
    return _load_key(spki)


def _key_type(spki: bytes) -> KeyType | None:
    try:
        return _KEY_TYPES.get(public_keys.read(spki).algorithm)
    except der.DERError:
        return None


@lru_cache(maxsize=_KEY_CACHE)
def _load_key(spki: bytes) -> LoadedKey:
    key_type = _key_type(spki)
    key: PublicKeyTypes | None
    try:
        key = load_der_public_key(spki)
    except REFUSALS:
        key = _load_rsa_leniently(spki) if key_type is KeyType.RSA else None
    if key is None or key_type is None:
        return LoadedKey(key_type, None)
    refusal = _refusal(key)
    return LoadedKey(key_type, cast("PublicKey", key)) if refusal is None else LoadedKey(key_type, None, refusal)


def _load_rsa_leniently(spki: bytes) -> rsa.RSAPublicKey | None:
    """RSA keys whose AlgorithmIdentifier lacks the NULL of RFC 3279 section 2.3.1, or whose integers are not DER."""
    try:
        key = public_keys.read(spki).key
        children = list(der.children(key, der.expect(key, 0, len(key), der.SEQUENCE)))
        modulus, exponent = (int.from_bytes(der.value(key, number), "big") for number in children[:2])
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except REFUSALS:  # DERError is a ValueError
        return None


def _refusal(key: PublicKeyTypes) -> Signed | None:
    """Why signatures of this key are not verified; None where they are."""
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        modulus, exponent = rsa_numbers.n, rsa_numbers.e
        if modulus.bit_length() > RSA_MODULUS_BITS_MAX or exponent.bit_length() > RSA_EXPONENT_BITS_MAX:
            return Signed.EXCEEDS_LIMITS
        # Older versions of `cryptography` load such numbers and reject every signature, or accept any.
        return None if modulus & exponent & 1 and exponent >= _RSA_EXPONENT_LEAST else Signed.UNREADABLE
    if isinstance(key, dsa.DSAPublicKey):
        parameters = key.parameters().parameter_numbers()
        if parameters.p.bit_length() > DSA_MODULUS_BITS_MAX:
            return Signed.EXCEEDS_LIMITS
        return None if parameters.q.bit_length() in _DSA_ORDER_BITS else Signed.UNREADABLE
    return None


def verify_issued(child: Certificate, issuer_spki: bytes) -> Signed:
    """Whether the key in `issuer_spki` signed `child`; INVALID where `child` has no signature."""
    if len(child.der) > CERTIFICATE_BYTES_MAX:
        return Signed.EXCEEDS_LIMITS
    if child.tbs is None or child.signature is None:
        return Signed.INVALID
    if child.signature_algorithm is None:
        return Signed.UNREADABLE
    return verify(issuer_spki, child.signature_algorithm, child.signature, child.tbs)


_ANSWERS: Final[dict[bytes, Signed]] = {}
"""By the hash of all inputs. Emptied when full: that costs each answer once more, and needs no eviction order."""


def _cached(answer: Callable[[], Signed], *question: bytes) -> Signed:
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
    scheme = _scheme_of(algorithm)
    if scheme is None:
        return Signed.UNREADABLE
    question = (b"X.509", spki, algorithm.oid.encode(), algorithm.parameters, signature, data)
    return _cached(lambda: verify_scheme(spki, scheme, signature, data), *question)


def verify_sct(spki: bytes, signature_scheme: tuple[int, int], signature: bytes, data: bytes) -> Signed:
    """Whether a CT log's key signed `data`. `signature_scheme` is TLS's (hash, signature) pair (RFC 5246 7.4.1.4.1)."""
    scheme = _SCT_SCHEMES.get(signature_scheme)
    if scheme is None:
        return Signed.INVALID
    question = (b"SCT", spki, bytes(signature_scheme), signature, data)
    return _cached(lambda: verify_scheme(spki, scheme, signature, data), *question)


def verify_scheme(spki: bytes, scheme: SignatureScheme, signature: bytes, data: bytes) -> Signed:
    """Whether `signature` over `data` was made by the key in `spki` with this scheme. Not cached."""
    loaded = read_key(spki)
    if loaded.key_type not in {None, scheme.key_type}:
        return Signed.INVALID  # a key of another type cannot have made it
    if loaded.key is None:
        return loaded.refusal
    try:
        _verify(loaded.key, scheme, signature, data)
    except InvalidSignature:
        return Signed.INVALID
    except REFUSALS:
        return Signed.UNREADABLE
    return Signed.VALID


def _verify(key: PublicKey, scheme: SignatureScheme, signature: bytes, data: bytes) -> None:
    """Raise `InvalidSignature`, or one of `REFUSALS`, unless the key, of the scheme's type, made the signature."""
    if isinstance(key, rsa.RSAPublicKey):
        pss = scheme.pss
        padded = padding.PKCS1v15() if pss is None else padding.PSS(padding.MGF1(pss.mgf), pss.salt)
        key.verify(signature, data, padded, _hash_of(scheme))
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(_hash_of(scheme)))
    elif isinstance(key, dsa.DSAPublicKey):
        key.verify(signature, data, _hash_of(scheme))
    else:
        key.verify(signature, data)


def _hash_of(scheme: SignatureScheme) -> hashes.HashAlgorithm:
    if scheme.digest is None:
        raise TypeError(f"{scheme.key_type} signs a hash")
    return scheme.digest


def _scheme_of(algorithm: Algorithm) -> SignatureScheme | None:
    """The scheme of an X.509 signature algorithm; None for one that is not verified here."""
    if algorithm.oid != _PSS:
        return _ALGORITHMS.get(algorithm.oid)
    try:
        return _pss_scheme(algorithm.parameters)
    except ValueError:  # DERError is one
        return None


def _pss_scheme(parameters: bytes) -> SignatureScheme:
    """Parse RSASSA-PSS-params (RFC 4055 section 3.1). Raises ValueError for unknown or misplaced fields."""
    digest: hashes.HashAlgorithm = SHA1
    mgf: hashes.HashAlgorithm = SHA1
    salt, previous = 20, 0
    outer = der.expect(parameters, 0, len(parameters), der.SEQUENCE)
    if outer.end != len(parameters):
        raise ValueError("trailing bytes after RSASSA-PSS-params")
    for field in der.children(parameters, outer):
        inner = der.element(parameters, field.content, field.end)
        if field.tag <= previous or inner.end != field.end:
            raise ValueError("RSASSA-PSS-params")
        previous = field.tag
        if field.tag == 0xA0:  # noqa: PLR2004 - [0] hashAlgorithm
            digest = _identified_hash(parameters, inner)
        elif field.tag == 0xA1:  # noqa: PLR2004 - [1] maskGenAlgorithm
            kind = der.element(parameters, inner.content, inner.end)
            if der.oid(parameters, kind) != _MGF1:
                raise ValueError("mask generation function")
            mgf = _identified_hash(parameters, der.element(parameters, kind.end, inner.end))
        elif field.tag == 0xA2 and inner.tag == der.INTEGER:  # noqa: PLR2004 - [2] saltLength
            salt = int.from_bytes(der.value(parameters, inner), "big", signed=True)
        elif field.tag != 0xA3 or der.value(parameters, inner) != b"\x01":  # noqa: PLR2004 - [3] trailerField
            raise ValueError("RSASSA-PSS-params")
    return SignatureScheme(KeyType.RSA, digest, Pss(mgf, salt))


def _identified_hash(data: bytes, identifier: der.Element) -> hashes.HashAlgorithm:
    """The hash that an AlgorithmIdentifier names. Raises ValueError."""
    kind = der.oid(data, der.element(data, identifier.content, identifier.end))
    if identifier.tag != der.SEQUENCE or kind not in _HASHES:
        raise ValueError(kind)
    return _HASHES[kind]


def is_verified(algorithm: Algorithm | None) -> bool:
    """Whether signatures of this X.509 algorithm are verified here, given a readable key."""
    scheme = None if algorithm is None else _scheme_of(algorithm)
    return scheme is not None and (scheme.key_type not in _ML_DSA or read_key(_ML_DSA_SPECIMEN).key is not None)


def is_readable(chain: Iterable[Certificate]) -> bool:
    """Whether the signatures of a chain, leaf first, and the keys of its CAs have forms that are verified here.

    For a caller that can ask the server for another chain; `paths` says what a chain is worth.
    """
    for depth, certificate in enumerate(islice(chain, READABLE_DEPTH_MAX)):
        if not (is_verified(certificate.signature_algorithm) or certificate.is_self_issued):
            return False
        if depth and certificate.spki is not None:
            loaded = read_key(certificate.spki)
            if loaded.key is None and loaded.refusal is Signed.UNREADABLE:
                return False
    return True


READABLE_DEPTH_MAX: Final = 10
"""Certificates of a chain that `is_readable` examines: as many as a path may have. A peer may present hundreds."""

_ML_DSA: Final = frozenset({KeyType.ML_DSA_44, KeyType.ML_DSA_65, KeyType.ML_DSA_87})
_ML_DSA_SPECIMEN: Final = bytes.fromhex("30820532300b06096086480165030403110382052100") + bytes(1312)
"""An ML-DSA-44 key (RFC 9881 section 4; any bytes are a valid one): it loads where this `cryptography` has ML-DSA;
one built for OpenSSL before 3.5 has only the names."""
