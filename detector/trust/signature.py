"""Does this key verify this signature? One question, four answers.

Room: trust. Pure; results are remembered (bounded), because the same intermediate signs thousands of leaves.

======================  ==============================================================================================
answer                  when
======================  ==============================================================================================
`Signed.VALID`          the key made the signature
`Signed.INVALID`        it did not; also where a key of this kind cannot have, whatever made it
`Signed.UNREADABLE`     by form: an algorithm, a kind of key or parameters that are not verified here (SM2, GOST, Merkle
                        tree certificates, curves with parameters of their own), or that `cryptography` refuses
`EXCEEDS_LIMITS`        by size: what would take long to verify is not tried
======================  ==============================================================================================

Old and weak algorithms are checked like any other: the question is who signed, not whether that was wise. Every caller
goes through the same limits: certificates (`verify`), CT timestamps (`verify_sct`) and handshakes (`verify_scheme`).
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

    from cryptography.hazmat.primitives.asymmetric import mldsa  # newer than the oldest `cryptography` allowed
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
"""Bytes of a SubjectPublicKeyInfo that is loaded: an RSA key of 16384 bits, the largest of them, has about 2 KiB."""
RSA_MODULUS_BITS_MAX: Final = 16384
"""Largest RSA modulus that is used (OPENSSL_RSA_MAX_MODULUS_BITS). Time grows with its square: 0.7 ms at this size for
the exponent 65537, 0.05 ms for the largest key of a public CA (4096 bits)."""
RSA_EXPONENT_BITS_MAX: Final = 33
"""Longest RSA exponent that is used; public CAs have 3 or 65537 (17 bits), some software 2**32 + 1. Time grows with its
length: a modulus of 3072 bits with an exponent as long takes 5 ms, with one of 33 bits 0.06 ms."""
DSA_MODULUS_BITS_MAX: Final = 3072
"""Largest DSA modulus that is used, and that is specified (FIPS 186-4 section 4.2): 0.5 ms, and 9 ms for 10000 bits,
which OpenSSL takes."""
_DSA_ORDER_BITS: Final = frozenset({160, 224, 256})
"""Lengths of a DSA key's q (FIPS 186-4 section 4.2). OpenSSL calls every signature of another one wrong."""
_RSA_EXPONENT_LEAST: Final = 3
"""With a smaller exponent anybody can make the signature."""

REFUSALS: Final = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, InternalError)
"""How `cryptography` refuses to load a key or to compute with one: a hash switched off, numbers that make no key, an
error of OpenSSL it has no name for. Nothing was learned then."""
_ANSWERS_MAX: Final = 8192
"""Remembered answers: a day's endpoints. One is a hash, about 150 bytes, however large what was signed."""
_KEY_CACHE: Final = 1024
"""Remembered keys; certifi's roots are about 120, a scan meets a few hundred intermediates. A peer can make each of
them as large as `SPKI_BYTES_MAX`: 8 MiB in all."""


class Signed(enum.StrEnum):
    """Whether a key made a signature."""

    VALID = "valid"
    INVALID = "invalid"
    UNREADABLE = "unreadable"
    EXCEEDS_LIMITS = "exceeds-limits"


class KeyType(enum.Enum):
    """What can sign, by the algorithm of its SubjectPublicKeyInfo (RFC 3279, RFC 5480, RFC 8410, RFC 9881)."""

    RSA = "1.2.840.113549.1.1.1"
    EC = "1.2.840.10045.2.1"
    DSA = "1.2.840.10040.4.1"
    ED25519 = "1.3.101.112"
    ED448 = "1.3.101.113"
    ML_DSA_44 = "2.16.840.1.101.3.4.3.17"
    ML_DSA_65 = "2.16.840.1.101.3.4.3.18"
    ML_DSA_87 = "2.16.840.1.101.3.4.3.19"


class Pss(NamedTuple):
    """Parameters of RSASSA-PSS: the hash of its mask generation function MGF1, and the bytes of its salt."""

    mgf: hashes.HashAlgorithm
    salt: int


class SignatureScheme(NamedTuple):
    """How a key of this type signs. `digest` is None where the scheme hashes by itself, `pss` where it is not PSS."""

    key_type: KeyType
    digest: hashes.HashAlgorithm | None = None
    pss: Pss | None = None


class LoadedKey(NamedTuple):
    """A public key and its type, None where that is unknown. Without a key, `refusal` is the answer for it."""

    key_type: KeyType | None
    key: PublicKey | None
    refusal: Signed = Signed.UNREADABLE


MD5, SHA1 = hashes.MD5(), hashes.SHA1()  # noqa: S303 - to recognize what old software signed, never relied on
SHA224, SHA256, SHA384, SHA512 = hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
_SHA512_224, _SHA512_256 = hashes.SHA512_224(), hashes.SHA512_256()
_SHA3_224, _SHA3_256, _SHA3_384, _SHA3_512 = hashes.SHA3_224(), hashes.SHA3_256(), hashes.SHA3_384(), hashes.SHA3_512()

_PSS: Final = "1.2.840.113549.1.1.10"
_MGF1: Final = "1.2.840.113549.1.1.8"
"""id-RSASSA-PSS, of keys too, and id-mgf1 (RFC 4055 sections 3.1 and 2.2)."""

_KEY_TYPES: Final = {key_type.value: key_type for key_type in KeyType} | {_PSS: KeyType.RSA}

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.2.840.113549.2.5": MD5,
    "1.3.14.3.2.26": SHA1,
    "2.16.840.1.101.3.4.2.1": SHA256,
    "2.16.840.1.101.3.4.2.2": SHA384,
    "2.16.840.1.101.3.4.2.3": SHA512,
    "2.16.840.1.101.3.4.2.4": SHA224,
    "2.16.840.1.101.3.4.2.5": _SHA512_224,
    "2.16.840.1.101.3.4.2.6": _SHA512_256,
    "2.16.840.1.101.3.4.2.7": _SHA3_224,
    "2.16.840.1.101.3.4.2.8": _SHA3_256,
    "2.16.840.1.101.3.4.2.9": _SHA3_384,
    "2.16.840.1.101.3.4.2.10": _SHA3_512,
}
"""Hashes of RSASSA-PSS and its MGF1 (RFC 4055 section 2.1; the rest from NIST's register)."""

_ALGORITHMS: Final[dict[str, SignatureScheme]] = {
    "1.2.840.113549.1.1.4": SignatureScheme(KeyType.RSA, MD5),
    "1.2.840.113549.1.1.5": SignatureScheme(KeyType.RSA, SHA1),
    "1.3.14.3.2.29": SignatureScheme(KeyType.RSA, SHA1),  # the old OIW arc, still written by some software
    "1.2.840.113549.1.1.14": SignatureScheme(KeyType.RSA, SHA224),
    "1.2.840.113549.1.1.11": SignatureScheme(KeyType.RSA, SHA256),
    "1.2.840.113549.1.1.12": SignatureScheme(KeyType.RSA, SHA384),
    "1.2.840.113549.1.1.13": SignatureScheme(KeyType.RSA, SHA512),
    "1.2.840.113549.1.1.15": SignatureScheme(KeyType.RSA, _SHA512_224),
    "1.2.840.113549.1.1.16": SignatureScheme(KeyType.RSA, _SHA512_256),
    "2.16.840.1.101.3.4.3.13": SignatureScheme(KeyType.RSA, _SHA3_224),
    "2.16.840.1.101.3.4.3.14": SignatureScheme(KeyType.RSA, _SHA3_256),
    "2.16.840.1.101.3.4.3.15": SignatureScheme(KeyType.RSA, _SHA3_384),
    "2.16.840.1.101.3.4.3.16": SignatureScheme(KeyType.RSA, _SHA3_512),
    "1.2.840.10045.4.1": SignatureScheme(KeyType.EC, SHA1),
    "1.2.840.10045.4.3.1": SignatureScheme(KeyType.EC, SHA224),
    "1.2.840.10045.4.3.2": SignatureScheme(KeyType.EC, SHA256),
    "1.2.840.10045.4.3.3": SignatureScheme(KeyType.EC, SHA384),
    "1.2.840.10045.4.3.4": SignatureScheme(KeyType.EC, SHA512),
    "2.16.840.1.101.3.4.3.9": SignatureScheme(KeyType.EC, _SHA3_224),
    "2.16.840.1.101.3.4.3.10": SignatureScheme(KeyType.EC, _SHA3_256),
    "2.16.840.1.101.3.4.3.11": SignatureScheme(KeyType.EC, _SHA3_384),
    "2.16.840.1.101.3.4.3.12": SignatureScheme(KeyType.EC, _SHA3_512),
    "1.2.840.10040.4.3": SignatureScheme(KeyType.DSA, SHA1),
    "2.16.840.1.101.3.4.3.1": SignatureScheme(KeyType.DSA, SHA224),
    "2.16.840.1.101.3.4.3.2": SignatureScheme(KeyType.DSA, SHA256),
    "2.16.840.1.101.3.4.3.3": SignatureScheme(KeyType.DSA, SHA384),
    "2.16.840.1.101.3.4.3.4": SignatureScheme(KeyType.DSA, SHA512),
    **{
        key_type.value: SignatureScheme(key_type)  # one identifier for the key and what it signs
        for key_type in (KeyType.ED25519, KeyType.ED448, KeyType.ML_DSA_44, KeyType.ML_DSA_65, KeyType.ML_DSA_87)
    },
}
"""Signature algorithms of X.509 but RSASSA-PSS, whose parameters say the rest (RFC 3279, RFC 5758, RFC 8410, RFC 8702's
register, RFC 9881)."""

_SCT_SCHEMES: Final = {
    (4, 3): SignatureScheme(KeyType.EC, SHA256),
    (4, 1): SignatureScheme(KeyType.RSA, SHA256),
}
"""RFC 6962 section 2.1.4 allows SHA-256 with RSA or with ECDSA over P-256 and nothing else. By TLS's (hash, signature)
pair (RFC 5246 section 7.4.1.4.1)."""


def read_key(spki: bytes) -> LoadedKey:
    """The key in a SubjectPublicKeyInfo, with its type, or why no signature of it is verified."""
    if len(spki) > SPKI_BYTES_MAX:
        return LoadedKey(_key_type(spki), None, Signed.EXCEEDS_LIMITS)
    return _load_key(spki)


def load_key(spki: bytes) -> PublicKey | None:
    """The key in a SubjectPublicKeyInfo, or None when it cannot be loaded or would take too long to use."""
    return read_key(spki).key


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
    """Why no signature of this key is verified; None where they are."""
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        modulus, exponent = rsa_numbers.n, rsa_numbers.e
        if modulus.bit_length() > RSA_MODULUS_BITS_MAX or exponent.bit_length() > RSA_EXPONENT_BITS_MAX:
            return Signed.EXCEEDS_LIMITS
        # Older versions of `cryptography` load such numbers and call every signature wrong, or any right.
        return None if modulus & exponent & 1 and exponent >= _RSA_EXPONENT_LEAST else Signed.UNREADABLE
    if isinstance(key, dsa.DSAPublicKey):
        parameters = key.parameters().parameter_numbers()
        if parameters.p.bit_length() > DSA_MODULUS_BITS_MAX:
            return Signed.EXCEEDS_LIMITS
        return None if parameters.q.bit_length() in _DSA_ORDER_BITS else Signed.UNREADABLE
    return None


def verify_issued(child: Certificate, issuer_spki: bytes) -> Signed:
    """Whether the key in `issuer_spki` signed `child`. What holds no signature was signed by nobody: INVALID."""
    if len(child.der) > CERTIFICATE_BYTES_MAX:
        return Signed.EXCEEDS_LIMITS
    if child.tbs is None or child.signature is None:
        return Signed.INVALID
    if child.signature_algorithm is None:
        return Signed.UNREADABLE
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
    scheme = _scheme_of(algorithm)
    if scheme is None:
        return Signed.UNREADABLE
    kind = algorithm.oid.encode()
    return _remembered(
        lambda: verify_scheme(spki, scheme, signature, data),
        b"X.509",
        spki,
        kind,
        algorithm.parameters,
        signature,
        data,
    )


def verify_sct(spki: bytes, signature_scheme: tuple[int, int], signature: bytes, data: bytes) -> Signed:
    """Whether a CT log's key signed `data`. `signature_scheme` is TLS's (hash, signature) pair (RFC 5246 7.4.1.4.1)."""
    scheme = _SCT_SCHEMES.get(signature_scheme)
    if scheme is None:
        return Signed.INVALID
    return _remembered(
        lambda: verify_scheme(spki, scheme, signature, data), b"SCT", spki, bytes(signature_scheme), signature, data
    )


def verify_scheme(spki: bytes, scheme: SignatureScheme, signature: bytes, data: bytes) -> Signed:
    """Whether `signature` over `data` was made by the key in `spki` in this way. Not remembered."""
    loaded = read_key(spki)
    if loaded.key_type not in {None, scheme.key_type}:
        return Signed.INVALID  # a key of another kind cannot have made it
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
    """Raise `InvalidSignature`, or one of `REFUSALS`, unless the key made it. It is of the scheme's type."""
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
    """How an X.509 signature algorithm signs; None for one that is not verified here."""
    if algorithm.oid != _PSS:
        return _ALGORITHMS.get(algorithm.oid)
    try:
        return _pss_scheme(algorithm.parameters)
    except ValueError:  # DERError is one
        return None


def _pss_scheme(parameters: bytes) -> SignatureScheme:
    """Read RSASSA-PSS-params (RFC 4055 section 3.1). Raises ValueError for what is not read or not in its order."""
    digest: hashes.HashAlgorithm = SHA1
    mgf: hashes.HashAlgorithm = SHA1
    salt, previous = 20, 0
    outer = der.expect(parameters, 0, len(parameters), der.SEQUENCE)
    if outer.end != len(parameters):
        raise ValueError("something behind RSASSA-PSS-params")
    for field in der.children(parameters, outer):
        inner = der.element(parameters, field.content, field.end)
        if field.tag <= previous or inner.end != field.end:
            raise ValueError("RSASSA-PSS-params")
        previous = field.tag
        if field.tag == 0xA0:  # noqa: PLR2004 - [0] hashAlgorithm
            digest = _identified_hash(parameters, inner)
        elif field.tag == 0xA1:  # noqa: PLR2004 - [1] maskGenAlgorithm
            mgf = _identified_hash(parameters, _mgf1_parameters(parameters, inner))
        elif field.tag == 0xA2 and inner.tag == der.INTEGER:  # noqa: PLR2004 - [2] saltLength
            salt = int.from_bytes(der.value(parameters, inner), "big", signed=True)
        elif field.tag != 0xA3 or der.value(parameters, inner) != b"\x01":  # noqa: PLR2004 - [3] trailerField
            raise ValueError("RSASSA-PSS-params")
    return SignatureScheme(KeyType.RSA, digest, Pss(mgf, salt))


def _mgf1_parameters(data: bytes, identifier: der.Element) -> der.Element:
    kind = der.element(data, identifier.content, identifier.end)
    if der.oid(data, kind) != _MGF1:
        raise ValueError("mask generation function")
    return der.element(data, kind.end, identifier.end)


def _identified_hash(data: bytes, identifier: der.Element) -> hashes.HashAlgorithm:
    """The hash that an AlgorithmIdentifier names. Raises ValueError."""
    kind = der.oid(data, der.element(data, identifier.content, identifier.end))
    if identifier.tag != der.SEQUENCE or kind not in _HASHES:
        raise ValueError(kind)
    return _HASHES[kind]


def is_verified(algorithm: Algorithm | None) -> bool:
    """Whether signatures by this X.509 algorithm are verified here, given a key that can be read."""
    scheme = None if algorithm is None else _scheme_of(algorithm)
    return scheme is not None and (scheme.key_type not in _ML_DSA or load_key(_ML_DSA_SPECIMEN) is not None)


def is_readable(chain: Iterable[Certificate]) -> bool:
    """Whether the signatures of a chain, leaf first, and the keys of its CAs are of forms that are verified here.

    Said of the form alone, for who can ask a server for another chain; `paths` says what a chain comes to.
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
"""Certificates of a chain whose form is examined: as many as a path may have. A peer may present hundreds."""

_ML_DSA: Final = frozenset({KeyType.ML_DSA_44, KeyType.ML_DSA_65, KeyType.ML_DSA_87})
_ML_DSA_SPECIMEN: Final = bytes.fromhex("30820532300b06096086480165030403110382052100") + bytes(1312)
"""A key of ML-DSA-44 (RFC 9881 section 4; any bytes are one): whether it loads is whether this `cryptography` has
ML-DSA. Version 48 does; 47 has the names and no more."""
