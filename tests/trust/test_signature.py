"""Who signed what, for every algorithm in use, weak ones included, and for keys that are not quite DER."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from hypothesis import example, given
from hypothesis import strategies as st
from support.odd_keys import (
    GOST_SPKI,
    ML_DSA_44_SPKI,
    SECP224K1,
    SM2_CURVE,
    dsa_spki,
    ec_spki,
    identifier,
    ml_dsa_key,
    rewritten,
    rsa_spki,
    spki,
    withhold_ml_dsa,
)

from detector.trust import der
from detector.trust import signature as signatures
from detector.trust.certificate import CERTIFICATE_BYTES_MAX, Algorithm, Certificate
from detector.trust.signature import SPKI_BYTES_MAX, Signed, is_verified, read_key, verify, verify_issued, verify_sct

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

DATA = b"to be signed"


RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak keys are what is met
EC = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("oid", "digest"),
    [
        ("1.2.840.113549.1.1.4", hashes.MD5()),  # noqa: S303 - old interceptors sign with it
        ("1.2.840.113549.1.1.5", hashes.SHA1()),  # noqa: S303 - old interceptors sign with it
        ("1.3.14.3.2.29", hashes.SHA1()),  # noqa: S303 - old interceptors sign with it
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


OIDS: dict[str, bytes] = {
    "md5": bytes.fromhex("06082a864886f70d0205"),
    "sha1": bytes.fromhex("06052b0e03021a"),
    "sha256": bytes.fromhex("0609608648016503040201"),
    "sha384": bytes.fromhex("0609608648016503040202"),
    "sha512": bytes.fromhex("0609608648016503040203"),
    "sha512-256": bytes.fromhex("0609608648016503040206"),
    "sha3-256": bytes.fromhex("0609608648016503040208"),
}
MGF1 = bytes.fromhex("06092a864886f70d010108")
PSS = "1.2.840.113549.1.1.10"


def pss_parameters(
    digest: str | None, mgf: str | None, salt: int | None, *more: bytes, null: bytes = b"\x05\x00"
) -> bytes:
    """RSASSA-PSS-params; what is None is left out, and has its default then."""
    fields = []
    if digest is not None:
        fields.append(der.encode(0xA0, identifier(OIDS[digest], null)))
    if mgf is not None:
        fields.append(der.encode(0xA1, identifier(MGF1, identifier(OIDS[mgf], null))))
    if salt is not None:
        number = salt.to_bytes(salt.bit_length() // 8 + 1, "big", signed=True)
        fields.append(der.encode(0xA2, der.encode(der.INTEGER, number)))
    return der.encode(der.SEQUENCE, b"".join((*fields, *more)))


HASHES: dict[str, hashes.HashAlgorithm] = {
    "md5": hashes.MD5(),  # noqa: S303 - it can be written
    "sha1": hashes.SHA1(),  # noqa: S303 - the default of PSS
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha512-256": hashes.SHA512_256(),
    "sha3-256": hashes.SHA3_256(),
}


@pytest.mark.parametrize("mgf", HASHES)
@pytest.mark.parametrize(
    ("digest", "salt"), [("sha256", 32), ("sha256", 0), ("sha384", 20), ("sha1", 20), ("sha1", 64)]
)
def test_rsa_pss_with_any_mask_and_salt(digest: str, mgf: str, salt: int) -> None:
    """The hash of MGF1 need not be that of the message, and the salt may be of any length: neither is guessed."""
    signature = RSA.sign(DATA, padding.PSS(padding.MGF1(HASHES[mgf]), salt), HASHES[digest])
    right = Algorithm(PSS, pss_parameters(digest, mgf, salt))
    assert verify(spki(RSA), right, signature, DATA) is Signed.VALID
    assert (
        verify(spki(RSA), Algorithm(PSS, pss_parameters(digest, mgf, salt, null=b"")), signature, DATA) is Signed.VALID
    )
    assert verify(spki(RSA), right, signature, DATA + b"!") is Signed.INVALID
    assert verify(spki(EC), right, signature, DATA) is Signed.INVALID
    other = "sha512" if mgf != "sha512" else "sha256"
    assert verify(spki(RSA), Algorithm(PSS, pss_parameters(digest, other, salt)), signature, DATA) is Signed.INVALID
    assert verify(spki(RSA), Algorithm(PSS, pss_parameters(digest, mgf, salt + 1)), signature, DATA) is Signed.INVALID


def test_rsa_pss_has_defaults() -> None:
    """What the parameters leave out is SHA-1, MGF1 with SHA-1, and 20 bytes of salt (RFC 4055 section 3.1)."""
    sha1 = hashes.SHA1()  # noqa: S303 - the default
    for digest in ("sha1", "sha256"):
        signature = RSA.sign(DATA, padding.PSS(padding.MGF1(sha1), 20), HASHES[digest])
        left_out = Algorithm(PSS, pss_parameters(None if digest == "sha1" else digest, None, None))
        assert verify(spki(RSA), left_out, signature, DATA) is Signed.VALID
        trailer = Algorithm(PSS, pss_parameters(digest, None, None, bytes.fromhex("a303020101")))
        assert verify(spki(RSA), trailer, signature, DATA) is Signed.VALID


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        b"\x05\x00",
        der.encode(der.SEQUENCE, der.encode(0xA0, identifier(b"\x06\x01\x2a"))),  # another hash
        der.encode(der.SEQUENCE, der.encode(0xA0, b"\x31" + identifier(OIDS["sha256"])[1:])),  # a SET of it
        der.encode(der.SEQUENCE, der.encode(0xA1, identifier(b"\x06\x01\x2a"))),  # another mask function
        der.encode(der.SEQUENCE, der.encode(0xA1, identifier(b"\x06\x01\x2a", identifier(OIDS["sha256"])))),
        der.encode(der.SEQUENCE, der.encode(0xA1, identifier(MGF1))),  # with which hash?
        der.encode(der.SEQUENCE, der.encode(0xA1, identifier(MGF1, OIDS["sha1"]))),  # no AlgorithmIdentifier
        pss_parameters("sha256", "sha256", 32, bytes.fromhex("a303020102")),  # another trailer
        pss_parameters("sha256", "sha256", 32, bytes.fromhex("a403020101")),  # an unknown field
        pss_parameters("sha256", "sha256", 32, bytes.fromhex("a203020120")),  # a field twice
        pss_parameters("sha256", "sha256", -1),
        pss_parameters("sha256", "sha256", 1 << 70),
        pss_parameters("sha256", "sha256", 32) + b"\x00",
        der.encode(der.SEQUENCE, bytes.fromhex("a206020120020120")),  # two salts in one field
        der.encode(der.SEQUENCE, bytes.fromhex("a203040120")),  # a salt that is no number
    ],
)
def test_rsa_pss_in_another_form_is_unreadable(parameters: bytes) -> None:
    """Parameters that are not read to their end say nothing about who signed."""
    signature = RSA.sign(DATA, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    algorithm = Algorithm(PSS, parameters)
    assert verify(spki(RSA), algorithm, signature, DATA) is Signed.UNREADABLE


def test_elliptic_curves_edwards_curves_and_dsa() -> None:
    """The other families."""
    for key, oid, signature in (
        (EC, "1.2.840.10045.4.3.2", EC.sign(DATA, ec.ECDSA(hashes.SHA256()))),
        (EC, "2.16.840.1.101.3.4.3.10", EC.sign(DATA, ec.ECDSA(hashes.SHA3_256()))),
        (EC, "1.2.840.10045.4.1", EC.sign(DATA, ec.ECDSA(hashes.SHA1()))),  # noqa: S303 - old ones exist
    ):
        assert verify(spki(key), Algorithm(oid, b""), signature, DATA) is Signed.VALID
        assert verify(spki(key), Algorithm(oid, b""), signature[:-1], DATA) is Signed.INVALID
    edwards = ((ed25519.Ed25519PrivateKey.generate(), "1.3.101.112"), (ed448.Ed448PrivateKey.generate(), "1.3.101.113"))
    for edwards_key, oid in edwards:
        assert verify(spki(edwards_key), Algorithm(oid, b""), edwards_key.sign(DATA), DATA) is Signed.VALID
    dsa_key = dsa.generate_private_key(1024)  # noqa: S505 - read, not relied on
    for oid, digest in (("2.16.840.1.101.3.4.3.2", hashes.SHA256()), ("2.16.840.1.101.3.4.3.4", hashes.SHA512())):
        signature = dsa_key.sign(DATA, digest)
        assert verify(spki(dsa_key), Algorithm(oid, b""), signature, DATA) is Signed.VALID
        assert verify(spki(dsa_key), Algorithm(oid, b""), signature, DATA + b"!") is Signed.INVALID


def test_rsa_key_without_null_parameters_is_loaded() -> None:
    """Keys written without the NULL that RFC 3279 asks for still check signatures."""
    numbers = RSA.public_key().public_numbers()
    modulus = b"\0" + numbers.n.to_bytes(128, "big")
    key = der.encode(der.SEQUENCE, der.encode(der.INTEGER, modulus) + der.encode(der.INTEGER, b"\x01\x00\x01"))
    algorithm = der.encode(der.SEQUENCE, bytes.fromhex("06092a864886f70d010101"))
    sloppy = der.encode(der.SEQUENCE, algorithm + der.encode(der.BIT_STRING, b"\0" + key))
    loaded = read_key(sloppy).key
    assert isinstance(loaded, rsa.RSAPublicKey)
    assert loaded.public_numbers() == numbers


RSA_SHA256, ECDSA_SHA256 = "1.2.840.113549.1.1.11", "1.2.840.10045.4.3.2"
DSA_SHA256 = "2.16.840.1.101.3.4.3.2"
SM2, GOST, HASH_ML_DSA = "1.2.156.10197.1.501", "1.2.643.7.1.1.3.2", "2.16.840.1.101.3.4.3.32"
"""Algorithms that are not verified: the last signs a hash, and RFC 9881 does not allow it in certificates."""


@pytest.mark.parametrize(
    ("key", "oid"),
    [
        (spki(RSA), "1.2.3.4"),
        (spki(EC), SM2),
        (ec_spki(SM2_CURVE), SM2),
        (GOST_SPKI, GOST),
        (spki(RSA), HASH_ML_DSA),
        (ec_spki(SM2_CURVE), ECDSA_SHA256),
        (ec_spki(SECP224K1), ECDSA_SHA256),
        (ec_spki(der.encode(der.SEQUENCE, b"\x02\x01\x01")), ECDSA_SHA256),  # explicit parameters
        (GOST_SPKI, ECDSA_SHA256),
        (b"\x30\x00", RSA_SHA256),
        (b"", RSA_SHA256),
        (rsa_spki((1 << 2047) + 1, 65536), RSA_SHA256),
        (rsa_spki((1 << 2047) + 1, 1), RSA_SHA256),
        (rsa_spki(1 << 2047, 65537), RSA_SHA256),
        (dsa_spki(2048, 200), DSA_SHA256),
    ],
)
def test_what_cannot_be_verified_by_form_is_unreadable(key: bytes, oid: str) -> None:
    """Algorithms, kinds of key, curves and numbers that are not verified here leave the question open."""
    assert verify(key, Algorithm(oid, b""), b"\1" * 256, DATA) is Signed.UNREADABLE


@pytest.mark.parametrize(
    ("key", "oid"),
    [
        (rsa_spki((1 << 16384) + 1, 65537), RSA_SHA256),
        (rsa_spki((1 << 2047) + 1, (1 << 33) + 1), RSA_SHA256),
        (rsa_spki((1 << 3071) + 1, (1 << 3070) + 1), RSA_SHA256),
        (dsa_spki(3073, 256), DSA_SHA256),
        (dsa_spki(10000, 256), DSA_SHA256),
        (dsa_spki(20000, 256), DSA_SHA256),
        (spki(EC) + bytes(SPKI_BYTES_MAX), ECDSA_SHA256),
        (rsa_spki((1 << 80000) + 1, 65537), RSA_SHA256),
    ],
)
def test_what_would_take_long_exceeds_the_limits(key: bytes, oid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large moduli, long exponents and giant keys are not computed with, and that is no matter of form."""
    computed: list[object] = []
    monkeypatch.setattr(signatures, "_verify", lambda *arguments: computed.append(arguments))
    assert verify(key, Algorithm(oid, b""), b"\1" * 256, DATA) is Signed.EXCEEDS_LIMITS
    assert not computed
    assert read_key(key).key is None


def test_what_is_just_within_the_limits_is_verified() -> None:
    """The limits are those that are stated: one bit less and the signature is computed with."""
    for key, oid in (
        (rsa_spki((1 << 16383) + 1, 65537), RSA_SHA256),
        (rsa_spki((1 << 2047) + 1, (1 << 32) + 1), RSA_SHA256),
        (dsa_spki(3072, 256), DSA_SHA256),
    ):
        assert read_key(key).key is not None
        assert verify(key, Algorithm(oid, b""), b"\1" * 256, DATA) is Signed.INVALID


def test_a_key_of_another_kind_did_not_sign() -> None:
    """Known by its algorithm alone, also where the key itself cannot be used here, or would take long."""
    for key in (ec_spki(SM2_CURVE), dsa_spki(10000, 256), spki(ed25519.Ed25519PrivateKey.generate())):
        assert verify(key, Algorithm(RSA_SHA256, b""), b"\1" * 256, DATA) is Signed.INVALID
    assert verify(rsa_spki((1 << 80000) + 1, 3), Algorithm(ECDSA_SHA256, b""), b"x", DATA) is Signed.INVALID


def test_nobody_signed_what_holds_no_signature(pki: PrivatePKI) -> None:
    """A certificate without a signature is not one whose form cannot be read; one too large to read is too large."""
    issuer = Certificate.read(pki.intermediate_ec.certificate).spki
    assert issuer is not None
    no_algorithm = rewritten(pki.issue(["exam.example.edu"]).leaf, algorithm=b"\x06\x01\x80")
    assert verify_issued(Certificate.read(no_algorithm), issuer) is Signed.UNREADABLE
    for data in (b"", b"\x30\x00", pki.issue(["exam.example.edu"]).leaf[:200]):
        assert verify_issued(Certificate.read(data), issuer) is Signed.INVALID
    assert verify_issued(Certificate.read(bytes(CERTIFICATE_BYTES_MAX + 1)), issuer) is Signed.EXCEEDS_LIMITS


ML_DSA = {"2.16.840.1.101.3.4.3.17": 44, "2.16.840.1.101.3.4.3.18": 65, "2.16.840.1.101.3.4.3.19": 87}


@pytest.mark.parametrize("oid", ML_DSA)
def test_ml_dsa(oid: str) -> None:
    """Each parameter set with its key; the key of another set did not sign."""
    key, other = ml_dsa_key(ML_DSA[oid]), ml_dsa_key(44 if ML_DSA[oid] != 44 else 65)
    signature = key.sign(DATA)
    assert is_verified(Algorithm(oid, b""))
    assert verify(spki(key), Algorithm(oid, b""), signature, DATA) is Signed.VALID
    assert verify(spki(key), Algorithm(oid, b""), signature, DATA + b"!") is Signed.INVALID
    assert verify(spki(key), Algorithm(oid, b""), signature[:-1], DATA) is Signed.INVALID
    assert verify(spki(other), Algorithm(oid, b""), signature, DATA) is Signed.INVALID
    assert verify(spki(key), Algorithm(ECDSA_SHA256, b""), signature, DATA) is Signed.INVALID


def test_without_ml_dsa_its_signatures_are_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, nothing is known of who signed; but an EC key did not, nor that key in ECDSA."""
    withhold_ml_dsa(monkeypatch)
    for oid in ML_DSA:
        assert not is_verified(Algorithm(oid, b""))
    ml_dsa_44 = Algorithm("2.16.840.1.101.3.4.3.17", b"")
    assert verify(ML_DSA_44_SPKI, ml_dsa_44, bytes(2420), DATA) is Signed.UNREADABLE
    assert verify(spki(EC), ml_dsa_44, bytes(2420), DATA) is Signed.INVALID
    assert verify(ML_DSA_44_SPKI, Algorithm(ECDSA_SHA256, b""), bytes(70), DATA) is Signed.INVALID
    assert read_key(spki(EC)).key is not None


def test_what_is_verified() -> None:
    """By algorithm alone: what is unknown, or RSASSA-PSS with parameters that are not read, is not."""
    assert is_verified(Algorithm(RSA_SHA256, b"\x05\x00"))
    assert is_verified(Algorithm(PSS, pss_parameters("sha256", "sha1", 7)))
    for algorithm in (None, Algorithm(SM2, b""), Algorithm(PSS, b""), Algorithm(HASH_ML_DSA, b"")):
        assert not is_verified(algorithm)


def test_sct_schemes() -> None:
    """RFC 6962 allows SHA-256 with ECDSA or RSA and nothing else."""
    ecdsa = EC.sign(DATA, ec.ECDSA(hashes.SHA256()))
    pkcs1 = RSA.sign(DATA, padding.PKCS1v15(), hashes.SHA256())
    assert verify_sct(spki(EC), (4, 3), ecdsa, DATA) is Signed.VALID
    assert verify_sct(spki(RSA), (4, 1), pkcs1, DATA) is Signed.VALID
    assert verify_sct(spki(EC), (2, 3), ecdsa, DATA) is Signed.INVALID
    assert verify_sct(spki(RSA), (4, 3), ecdsa, DATA) is Signed.INVALID
    assert verify_sct(hashlib.sha256(b"").digest(), (4, 3), ecdsa, DATA) is Signed.UNREADABLE
    assert verify_sct(rsa_spki((1 << 2047) + 1, (1 << 33) + 1), (4, 1), pkcs1, DATA) is Signed.EXCEEDS_LIMITS


@given(digest=st.sampled_from([None, *HASHES]), mgf=st.sampled_from([None, *HASHES]), salt=st.none() | st.integers(0))
def test_every_form_of_pss_parameters_is_read(digest: str | None, mgf: str | None, salt: int | None) -> None:
    """Whatever is given or left out comes back, salts of absurd length included."""
    scheme = signatures._pss_scheme(pss_parameters(digest, mgf, salt))
    assert scheme.digest is not None
    assert scheme.pss is not None
    assert (scheme.digest.name, scheme.pss.mgf.name) == (digest or "sha1", mgf or "sha1")
    assert scheme.pss.salt == (20 if salt is None else salt)


@given(
    at=st.integers(0, 60),
    inserted=st.binary(max_size=4),
    removed=st.integers(0, 4),
    salt=st.integers(0, 300),
    digest=st.sampled_from(list(HASHES)),
)
def test_damaged_pss_parameters_raise_one_thing(at: int, inserted: bytes, removed: int, salt: int, digest: str) -> None:
    """Only ValueError leaves the parser, and what it reads is a hash, a hash and a number."""
    whole = pss_parameters(digest, digest, salt)
    at %= len(whole)
    try:
        scheme = signatures._pss_scheme(whole[:at] + inserted + whole[at + removed :])
    except ValueError:
        return
    assert scheme.pss is not None
    assert all(found in signatures._HASHES.values() for found in (scheme.digest, scheme.pss.mgf))


@given(
    key=st.sampled_from(
        [spki(RSA), spki(EC), dsa_spki(2048, 256), dsa_spki(10000, 256), rsa_spki((1 << 4095) + 1, (1 << 40) + 1)]
    ),
    at=st.integers(0, 4000),
    inserted=st.binary(max_size=6),
)
def test_no_damaged_key_raises_or_exceeds_the_limits(key: bytes, at: int, inserted: bytes) -> None:
    """A key is loaded within the limits or not at all."""
    at %= len(key)
    loaded = signatures.read_key(key[:at] + inserted + key[at + len(inserted) :])
    assert (loaded.key is not None) or loaded.refusal in {Signed.UNREADABLE, Signed.EXCEEDS_LIMITS}
    if isinstance(loaded.key, rsa.RSAPublicKey):
        assert loaded.key.public_numbers().e < 1 << 33
    if isinstance(loaded.key, dsa.DSAPublicKey):
        assert loaded.key.key_size <= 3072


@given(st.binary(max_size=120), st.binary(max_size=40), st.binary(max_size=40))
@example(b"", b"\x30\x05\xa0\x03\x30\x01\x06", b"")
def test_garbage_is_an_answer(key: bytes, parameters: bytes, signature: bytes) -> None:
    """No key, parameters or signature of a peer's choice raises."""
    for oid in ("1.2.840.113549.1.1.10", "1.2.840.113549.1.1.11"):
        assert verify(key, Algorithm(oid, parameters), signature, DATA) in Signed
        assert verify(spki(RSA), Algorithm(oid, parameters), signature, DATA) in Signed


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
