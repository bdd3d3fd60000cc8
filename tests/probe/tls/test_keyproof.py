"""Signature checks: every scheme with the right key, a wrong key, and a key of another kind.

Room: tests of probe. In memory.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from support.conversations import exam, record, recording
from support.odd_keys import GOST_SPKI, ML_DSA_44_SPKI, ml_dsa_key, rsa_spki, withhold_ml_dsa
from support.odd_keys import spki as spki_of
from support.profiles import examples

from detector.model import HandshakeSignature
from detector.probe.tls.engine import proof_of
from detector.trust import signature as signatures
from detector.trust.certificate import Certificate
from detector.trust.handshake_signature import KeyProof, check_signature
from detector.trust.signature import SPKI_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from detector_testing.pki import KeyKind

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
ED448 = ed448.Ed448PrivateKey.generate()
DSA = dsa.generate_private_key(1024)  # noqa: S505 - what an old server has
SIGNED = b"client random, server random, parameters"
CONTEXT = b" " * 64 + b"TLS 1.3, server CertificateVerify\x00"


def pss(algorithm: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)


SIGNERS: dict[int, Callable[[bytes], bytes]] = {
    0x0401: lambda data: RSA.sign(data, padding.PKCS1v15(), hashes.SHA256()),
    0x0201: lambda data: RSA.sign(data, padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303 - as old servers do
    0x0101: lambda data: RSA.sign(data, padding.PKCS1v15(), hashes.MD5()),  # noqa: S303 - as old servers do
    0x0804: lambda data: RSA.sign(data, pss(hashes.SHA256()), hashes.SHA256()),
    0x0806: lambda data: RSA.sign(data, pss(hashes.SHA512()), hashes.SHA512()),
    0x0403: lambda data: EC.sign(data, ec.ECDSA(hashes.SHA256())),
    0x0503: lambda data: EC384.sign(data, ec.ECDSA(hashes.SHA384())),
    0x0807: ED25519.sign,
    0x0808: ED448.sign,
    0x0202: lambda data: DSA.sign(data, hashes.SHA1()),  # noqa: S303 - as old servers do
}
Key = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)
KEY_OF: dict[int, Key] = {
    0x0401: RSA,
    0x0201: RSA,
    0x0101: RSA,
    0x0804: RSA,
    0x0806: RSA,
    0x0403: EC,
    0x0503: EC384,
    0x0807: ED25519,
    0x0808: ED448,
    0x0202: DSA,
}


def check(key: bytes | None, signature: HandshakeSignature) -> KeyProof:
    """Whether a key made a signature."""
    return check_signature(key, signature.scheme, signature.signature, signature.signed)


def signature_of(scheme: int | None, signature: bytes, signed: bytes = SIGNED) -> HandshakeSignature:
    return HandshakeSignature(scheme=scheme, signed=signed, signature=signature)


def spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("scheme", SIGNERS)
def test_every_scheme_with_its_key(scheme: int) -> None:
    """A right signature is valid in both protocols, a signature over something else is invalid."""
    key = spki(KEY_OF[scheme].public_key())
    exchange = signature_of(scheme, SIGNERS[scheme](SIGNED))
    transcript = hashlib.sha256(b"transcript").digest()
    verify = signature_of(scheme, SIGNERS[scheme](CONTEXT + transcript), CONTEXT + transcript)
    assert check(key, exchange) is KeyProof.VALID
    assert check(key, verify) is KeyProof.VALID
    assert check(key, msgspec.structs.replace(exchange, signed=b"else")) is KeyProof.INVALID
    assert check(key, msgspec.structs.replace(verify, signed=CONTEXT + bytes(32))) is KeyProof.INVALID


@pytest.mark.parametrize("scheme", SIGNERS)
def test_a_scheme_that_does_not_fit_the_key_is_invalid(scheme: int) -> None:
    """Whatever made the signature, it was not a key of another kind."""
    other = EC if KEY_OF[scheme] is not EC and KEY_OF[scheme] is not EC384 else RSA
    exchange = signature_of(scheme, SIGNERS[scheme](SIGNED))
    assert check(spki(other.public_key()), exchange) is KeyProof.INVALID


def test_what_was_not_seen_or_cannot_be_checked() -> None:
    """Absence, unknown schemes and unusable keys are each an answer of their own."""
    exchange = signature_of(0x0403, EC.sign(SIGNED, ec.ECDSA(hashes.SHA256())))
    good = spki(EC.public_key())
    assert proof_of(None, exam().chain) is KeyProof.NOT_SEEN
    assert proof_of(exchange, ()) is KeyProof.NOT_CHECKABLE
    assert check(None, exchange) is KeyProof.NOT_CHECKABLE
    assert check(b"no key", exchange) is KeyProof.NOT_CHECKABLE
    assert check(good, msgspec.structs.replace(exchange, scheme=0xFEFE)) is KeyProof.NOT_CHECKABLE
    assert check(good + bytes(SPKI_BYTES_MAX), exchange) is KeyProof.NOT_CHECKABLE
    exchange_key = spki(x25519.X25519PrivateKey.generate().public_key())
    assert check(exchange_key, exchange) is KeyProof.NOT_CHECKABLE
    verify = signature_of(0xFEFE, b"", CONTEXT + bytes(32))
    assert check(good, verify) is KeyProof.NOT_CHECKABLE


@pytest.mark.parametrize(("scheme", "number"), [(0x0904, 44), (0x0905, 65), (0x0906, 87)])
def test_ml_dsa_schemes(scheme: int, number: int) -> None:
    """Each scheme with its key (draft-ietf-tls-mldsa); what another key signed, or in another scheme, is invalid."""
    key, other = ml_dsa_key(number), ml_dsa_key(44 if number != 44 else 65)
    transcript = hashlib.sha256(b"transcript").digest()
    verify = signature_of(scheme, key.sign(CONTEXT + transcript), CONTEXT + transcript)
    assert check(spki_of(key), verify) is KeyProof.VALID
    assert check(spki_of(key), msgspec.structs.replace(verify, signed=CONTEXT + bytes(32))) is KeyProof.INVALID
    assert check(spki_of(other), verify) is KeyProof.INVALID
    assert check(spki(EC.public_key()), verify) is KeyProof.INVALID
    assert check(spki_of(key), msgspec.structs.replace(verify, scheme=0x0403)) is KeyProof.INVALID


def test_without_ml_dsa_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `cryptography` is built without it, such a signature proves nothing and disproves nothing."""
    withhold_ml_dsa(monkeypatch)
    verify = signature_of(0x0904, bytes(2420), CONTEXT + bytes(32))
    assert check(ML_DSA_44_SPKI, verify) is KeyProof.NOT_CHECKABLE
    assert check(ML_DSA_44_SPKI, signature_of(None, b"")) is KeyProof.NOT_CHECKABLE
    assert check(GOST_SPKI, msgspec.structs.replace(verify, scheme=0x0709)) is KeyProof.NOT_CHECKABLE


@pytest.mark.parametrize("scheme", [0x0401, 0x0804, None])
@pytest.mark.parametrize(("bits", "exponent"), [(20000, 65537), (2048, (1 << 33) + 1), (3072, (1 << 3070) + 1)])
def test_what_would_take_long_is_not_computed(
    bits: int, exponent: int, scheme: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large moduli and long exponents are as limited in a handshake as in a chain, and no disproof."""
    computed: list[object] = []
    monkeypatch.setattr(signatures, "_verify", lambda *arguments: computed.append(arguments))
    giant = rsa_spki((1 << (bits - 1)) + 1, exponent)
    assert check(giant, signature_of(scheme, bytes(2500))) is KeyProof.NOT_CHECKABLE
    assert not computed


def test_the_unnamed_scheme_of_old_rsa() -> None:
    """Before TLS 1.2 an RSA signature covers MD5 and SHA-1 side by side, and nothing else will do."""
    played = recording("1.0").play()
    assert played.signature is not None
    assert played.signature.scheme is None
    key = Certificate.read(exam("rsa").leaf).spki
    assert check(key, played.signature) is KeyProof.VALID
    assert check(key, msgspec.structs.replace(played.signature, signed=b"else")) is KeyProof.INVALID
    named = RSA.sign(SIGNED, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - the wrong form on purpose
    assert check(spki(RSA.public_key()), signature_of(None, named)) is KeyProof.INVALID
    assert check(spki(RSA.public_key()), signature_of(None, b"")) is KeyProof.INVALID


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("key", ["ec", "ec384", "rsa", "rsa1024"])
def test_what_openssl_signed_is_valid(version: ssl.TLSVersion, key: KeyKind) -> None:
    """Our check agrees with OpenSSL about OpenSSL's own handshakes, and refuses them under another key."""
    issued = exam(key)
    wire = record(issued, version).play()
    for leaf, expected in ((issued.leaf, KeyProof.VALID), (exam("ed25519").leaf, KeyProof.INVALID)):
        public = Certificate.read(leaf).spki
        assert wire.signature is not None
        assert check(public, wire.signature) is expected


@settings(max_examples=examples(60))
@given(
    at=st.integers(0, 400),
    raw=st.binary(max_size=6),
    signature=st.binary(max_size=300),
    scheme=st.sampled_from([None, *SIGNERS]),
    key=st.sampled_from([RSA, EC, ED25519, DSA]),
)
def test_nothing_raises(
    at: int,
    raw: bytes,
    signature: bytes,
    scheme: int | None,
    key: Key,
) -> None:
    """Damaged keys and invented signatures are never valid and never raise."""
    whole = spki(key.public_key())
    at %= len(whole)
    damaged = whole[:at] + raw + whole[at + len(raw) :]
    assert check(damaged, signature_of(scheme, signature)) is not KeyProof.VALID
