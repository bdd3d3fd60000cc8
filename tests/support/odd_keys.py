"""Keys and certificates that no library makes: invalid numbers, algorithms that are not verified here, ML-DSA.

Room: tests. Pure apart from randomness.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from detector_testing.der import BIT_STRING, SEQUENCE, children, encode

from detector.trust import signature as signatures

if TYPE_CHECKING:
    import pytest

INTEGER = 0x02
GOST_2012, SM2_SM3 = bytes.fromhex("06082a85030701010302"), bytes.fromhex("06082a811ccf55018375")
"""Signature algorithms: GOST R 34.10-2012 with 256 bits (RFC 9215), SM2 with SM3 (GB/T 33560)."""
ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")
SM2_CURVE, SECP224K1 = bytes.fromhex("06082a811ccf5501822d"), bytes.fromhex("06052b81040020")
"""Curves under id-ecPublicKey that `cryptography` does not know."""


def identifier(*parts: bytes) -> bytes:
    """An AlgorithmIdentifier of an OID, and perhaps parameters, in DER."""
    return encode(SEQUENCE, *parts)


def spki(key: Any) -> bytes:  # noqa: ANN401 - any private key; some types are newer than the oldest `cryptography`
    """The SubjectPublicKeyInfo of a private key."""
    encoded: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def integer(number: int) -> bytes:
    return encode(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def public_key_info(algorithm: bytes, key: bytes) -> bytes:
    return encode(SEQUENCE, algorithm, encode(BIT_STRING, b"\0", key))


def rsa_spki(modulus: int, exponent: int) -> bytes:
    """An RSA key of any numbers, valid or not."""
    algorithm = identifier(bytes.fromhex("06092a864886f70d0101010500"))
    return public_key_info(algorithm, encode(SEQUENCE, integer(modulus), integer(exponent)))


def dsa_spki(p_bits: int, q_bits: int, serial: int = 0) -> bytes:
    """An invalid DSA key with numbers of these lengths; a different one for each `serial`."""
    p, q = (1 << p_bits) - 1, (1 << q_bits) - 1
    numbers = encode(SEQUENCE, integer(p), integer(q), integer(p // 3))
    return public_key_info(identifier(bytes.fromhex("06072a8648ce380401"), numbers), integer(p // 5 - serial))


def ec_spki(parameters: bytes, point: bytes = b"\4" + b"\1" * 64) -> bytes:
    """An EC key with these parameters in DER: the OID of a curve, or a curve written out."""
    return public_key_info(identifier(bytes.fromhex("06072a8648ce3d0201"), parameters), point)


GOST_SPKI = public_key_info(identifier(bytes.fromhex("06082a85030701010101")), b"\1" * 66)
"""A key of GOST R 34.10-2012 (RFC 9215 section 4)."""
ML_DSA_44_SPKI = public_key_info(identifier(bytes.fromhex("0609608648016503040311")), b"\1" * 1312)
"""A key of ML-DSA-44 (RFC 9881 section 4) that nobody holds."""


def ml_dsa_key(number: int) -> Any:  # noqa: ANN401 - used as the private keys of `detector_testing`, whose type it lacks
    """A fresh key of ML-DSA-44, 65 or 87."""
    return getattr(mldsa, f"MLDSA{number}PrivateKey").generate()


def rewritten(certificate: bytes, *, algorithm: bytes | None = None, key: bytes | None = None) -> bytes:
    """A certificate with another signature algorithm (an OID in DER) or key, and so without a valid signature."""
    tbs, outer, signature = children(certificate)
    fields = children(tbs)
    if algorithm is not None:
        fields[2] = outer = identifier(algorithm)
    if key is not None:
        fields[6] = key
    return encode(SEQUENCE, encode(SEQUENCE, *fields), outer, signature)


def withhold_ml_dsa(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `cryptography` refuse ML-DSA keys as one built without them does, and forget what it said before."""

    def load(data: bytes) -> object:
        if bytes.fromhex("06096086480165030403") in data[:32] and data[4:].startswith(b"\x30\x0b"):
            raise UnsupportedAlgorithm("unsupported key type")
        return load_der_public_key(data)

    monkeypatch.setattr(signatures, "load_der_public_key", load)
    monkeypatch.setattr(signatures, "_load_key", functools.lru_cache(signatures._load_key.__wrapped__))
    monkeypatch.setattr(signatures, "_ANSWERS", {})
