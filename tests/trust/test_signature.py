"""Who signed what, for every algorithm in use, weak ones included, and for keys that are not quite DER."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from detector.trust import der
from detector.trust import signature as signatures
from detector.trust.certificate import Algorithm, Certificate
from detector.trust.signature import (
    SPKI_OCTETS_MAX,
    Signed,
    load_key,
    verify,
    verify_issued,
    verify_sct,
    weakly_hashed,
)

if TYPE_CHECKING:
    from detector.testing import PrivatePKI

DATA = b"to be signed"


def spki(key: object) -> bytes:
    public = key.public_key()  # type: ignore[attr-defined] # any private key
    encoded: bytes = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak keys are what is met
EC = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("oid", "digest"),
    [
        ("1.2.840.113549.1.1.4", hashes.MD5()),  # noqa: S303 - old interceptors sign with it
        ("1.2.840.113549.1.1.5", hashes.SHA1()),  # noqa: S303 - as above
        ("1.3.14.3.2.29", hashes.SHA1()),  # noqa: S303 - as above
        ("1.2.840.113549.1.1.11", hashes.SHA256()),
        ("1.2.840.113549.1.1.12", hashes.SHA384()),
        ("1.2.840.113549.1.1.13", hashes.SHA512()),
    ],
)
def test_rsa_pkcs1(oid: str, digest: hashes.HashAlgorithm) -> None:
    """RSA PKCS #1 v1.5 with every hash, old ones included."""
    signature = RSA.sign(DATA, padding.PKCS1v15(), digest)
    algorithm = Algorithm(oid, b"\x05\x00")
    assert verify(spki(RSA), algorithm, signature, DATA) is Signed.VALID
    assert verify(spki(RSA), algorithm, signature, DATA + b"!") is Signed.INVALID
    assert verify(spki(EC), algorithm, signature, DATA) is Signed.INVALID


def test_rsa_pss() -> None:
    """RSASSA-PSS with explicit parameters."""
    signature = RSA.sign(DATA, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    sha256 = der.encode(der.SEQUENCE, bytes.fromhex("0609608648016503040201"))
    parameters = der.encode(der.SEQUENCE, der.encode(0xA0, sha256) + der.encode(0xA2, der.encode(der.INTEGER, b"\x20")))
    assert verify(spki(RSA), Algorithm("1.2.840.113549.1.1.10", parameters), signature, DATA) is Signed.VALID
    unknown = der.encode(der.SEQUENCE, der.encode(0xA0, der.encode(der.SEQUENCE, b"\x06\x01\x2a")))
    assert verify(spki(RSA), Algorithm("1.2.840.113549.1.1.10", unknown), signature, DATA) is Signed.CANNOT_TELL


def test_elliptic_curves_edwards_curves_and_dsa() -> None:
    """The other families."""
    for key, oid, signature in (
        (EC, "1.2.840.10045.4.3.2", EC.sign(DATA, ec.ECDSA(hashes.SHA256()))),
        (EC, "1.2.840.10045.4.1", EC.sign(DATA, ec.ECDSA(hashes.SHA1()))),  # noqa: S303 - old ones exist
    ):
        assert verify(spki(key), Algorithm(oid, b""), signature, DATA) is Signed.VALID
        assert verify(spki(key), Algorithm(oid, b""), signature[:-1], DATA) is Signed.INVALID
    edwards = ((ed25519.Ed25519PrivateKey.generate(), "1.3.101.112"), (ed448.Ed448PrivateKey.generate(), "1.3.101.113"))
    for edwards_key, oid in edwards:
        assert verify(spki(edwards_key), Algorithm(oid, b""), edwards_key.sign(DATA), DATA) is Signed.VALID
    dsa_key = dsa.generate_private_key(1024)  # noqa: S505 - read, not relied on
    signature = dsa_key.sign(DATA, hashes.SHA256())
    assert verify(spki(dsa_key), Algorithm("2.16.840.1.101.3.4.3.2", b""), signature, DATA) is Signed.VALID


def test_rsa_key_without_null_parameters_is_loaded() -> None:
    """Keys written without the NULL that RFC 3279 asks for still check signatures."""
    numbers = RSA.public_key().public_numbers()
    modulus = b"\0" + numbers.n.to_bytes(128, "big")
    key = der.encode(der.SEQUENCE, der.encode(der.INTEGER, modulus) + der.encode(der.INTEGER, b"\x01\x00\x01"))
    algorithm = der.encode(der.SEQUENCE, bytes.fromhex("06092a864886f70d010101"))
    sloppy = der.encode(der.SEQUENCE, algorithm + der.encode(der.BIT_STRING, b"\0" + key))
    loaded = load_key(sloppy)
    assert isinstance(loaded, rsa.RSAPublicKey)
    assert loaded.public_numbers() == numbers


def test_what_cannot_be_checked_is_not_invalid() -> None:
    """Unknown algorithms, oversized and broken keys leave the question open."""
    assert verify(spki(RSA), Algorithm("1.2.3.4", b""), b"x", DATA) is Signed.CANNOT_TELL
    assert verify(b"\x30" * (SPKI_OCTETS_MAX + 1), Algorithm("1.2.3.4", b""), b"x", DATA) is Signed.CANNOT_TELL
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak keys are what is met
    assert verify(spki(small), Algorithm("1.2.840.113549.1.1.11", b""), b"", DATA) is Signed.INVALID


def test_sct_schemes() -> None:
    """RFC 6962 allows SHA-256 with ECDSA or RSA and nothing else."""
    ecdsa = EC.sign(DATA, ec.ECDSA(hashes.SHA256()))
    pkcs1 = RSA.sign(DATA, padding.PKCS1v15(), hashes.SHA256())
    assert verify_sct(spki(EC), (4, 3), ecdsa, DATA) is Signed.VALID
    assert verify_sct(spki(RSA), (4, 1), pkcs1, DATA) is Signed.VALID
    assert verify_sct(spki(EC), (2, 3), ecdsa, DATA) is Signed.INVALID
    assert verify_sct(spki(RSA), (4, 3), ecdsa, DATA) is Signed.INVALID
    assert verify_sct(hashlib.sha256(b"").digest(), (4, 3), ecdsa, DATA) is Signed.CANNOT_TELL


@given(st.binary(max_size=120), st.binary(max_size=40), st.binary(max_size=40))
def test_garbage_is_an_answer(key: bytes, parameters: bytes, signature: bytes) -> None:
    """No key, parameters or signature of a peer's choice raises."""
    for oid in ("1.2.840.113549.1.1.10", "1.2.840.113549.1.1.11"):
        assert verify(key, Algorithm(oid, parameters), signature, DATA) in Signed
        assert verify(spki(RSA), Algorithm(oid, parameters), signature, DATA) in Signed


@pytest.mark.parametrize(
    ("oid", "parameters", "weak"),
    [
        ("1.2.840.113549.1.1.4", b"\x05\x00", True),
        ("1.2.840.113549.1.1.5", b"\x05\x00", True),
        ("1.2.840.113549.1.1.11", b"\x05\x00", False),
        ("1.2.840.10045.4.1", b"", True),
        ("1.2.840.10045.4.3.2", b"", False),
        ("1.3.101.112", b"", False),
        ("1.2.840.113549.1.1.10", b"", True),  # the default of RSASSA-PSS-params is SHA-1
        ("1.2.840.113549.1.1.10", bytes.fromhex("300fa00d300b0609608648016503040201"), False),
        ("1.2.840.113549.1.1.10", b"\x30\xff", True),
        ("1.2.3.4", b"", True),
    ],
)
def test_weak_hashes(oid: str, parameters: bytes, *, weak: bool) -> None:
    """MD5, SHA-1 and what cannot be told are weak; algorithms without a hash of their own are not."""
    assert weakly_hashed(Algorithm(oid, parameters)) is weak
    assert weakly_hashed(None)


def test_answers_that_are_remembered_are_bounded(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many signatures are asked about; each answer stays what it was."""
    monkeypatch.setattr(signatures, "_ANSWERS_MAX", 3)
    monkeypatch.setattr(signatures, "_ANSWERS", {})
    for number in range(8):
        leaf, issuer = map(Certificate.read, pki.issue([f"host{number}.example.org"]).chain[:2])
        assert issuer.spki is not None
        for _ in range(2):
            assert verify_issued(leaf, issuer.spki) is Signed.VALID
            assert len(signatures._ANSWERS) <= 3
