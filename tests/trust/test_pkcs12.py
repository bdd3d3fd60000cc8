"""The certificates of PKCS #12 files are read with bounded work; private keys are not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from support.crafting import oid, sequence
from support.profiles import examples

from detector.errors import ChainError
from detector.trust import certificate_files, der
from detector.trust.pkcs12 import ITERATIONS_MAX, certificates

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption
    from detector_testing import PrivatePKI
    from detector_testing.pki import Issued

HOST = "exam.example.edu"
DATA, ENCRYPTED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.6"
PBKDF2, AES_256, SHA_256 = "1.2.840.113549.1.5.12", "2.16.840.1.101.3.4.1.42", "1.2.840.113549.2.9"


@pytest.fixture(scope="module")
def issued(pki: PrivatePKI) -> Issued:
    return pki.issue([HOST])


def packed(issued: Issued, encryption: KeySerializationEncryption) -> bytes:
    """A file of the chain and its key."""
    leaf, *others = map(x509.load_der_x509_certificate, issued.chain)
    return pkcs12.serialize_key_and_certificates(b"name", issued.key, leaf, others, encryption)


def encryption(password: bytes, scheme: pkcs12.PBES, rounds: int = 1000) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(rounds).key_cert_algorithm(scheme)
    return builder.hmac_hash(hashes.SHA256()).build(password)


@pytest.mark.parametrize("scheme", pkcs12.PBES)
@pytest.mark.parametrize("password", ["secret", "p\u00e4ssw\u00f6rd \u20ac", "x" * 200])
def test_files_with_a_password(scheme: pkcs12.PBES, password: str, issued: Issued) -> None:
    """Both encryptions in use are read with the password, and refused with another or none, by what is missing."""
    data = packed(issued, encryption(password.encode(), scheme))
    assert sorted(certificates(data, password)) == sorted(issued.chain)
    with pytest.raises(ChainError, match="is encrypted with a password"):
        certificates(data)
    with pytest.raises(ChainError, match="The password of this PKCS #12 file is another one"):
        certificates(data, f"{password}?")


def test_files_without_a_password(issued: Issued) -> None:
    """A file that is not encrypted is read without a password, and with any."""
    data = packed(issued, NoEncryption())
    assert sorted(certificates(data)) == sorted(certificates(data, "any")) == sorted(issued.chain)


def test_a_file_is_read_as_one_of_certificates(issued: Issued) -> None:
    """The certificates alone come out of a file, leaf first; nothing of the key does."""
    assert isinstance(issued.key, EllipticCurvePrivateKey)
    secret = issued.key.private_numbers().private_value.to_bytes(32, "big")
    for encrypted in (NoEncryption(), BestAvailableEncryption(b"secret")):
        found = certificate_files.read(packed(issued, encrypted), "secret")
        assert certificate_files.leaf_first(found, HOST).certificates == issued.chain
        assert not any(secret in certificate for certificate in found.certificates)


def info(kind: str, content: bytes) -> bytes:
    """A ContentInfo."""
    return sequence(oid(kind), der.encode(0xA0, content))


def string(content: bytes) -> bytes:
    return der.encode(der.OCTET_STRING, content)


def number(value: int) -> bytes:
    return der.encode(der.INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pbes2(iterations: int, salt: bytes = bytes(8), digest: str = SHA_256, cipher: str = AES_256) -> bytes:
    derivation = sequence(oid(PBKDF2), sequence(string(salt), number(iterations), sequence(oid(digest), b"\x05\x00")))
    return sequence(oid("1.2.840.113549.1.5.13"), sequence(derivation, sequence(oid(cipher), string(bytes(16)))))


def legacy(iterations: int, kind: str = "1.2.840.113549.1.12.1.3", salt: bytes = bytes(8)) -> bytes:
    return sequence(oid(kind), sequence(string(salt), number(iterations)))


def file(*algorithms: bytes) -> bytes:
    """A file with a part for each algorithm, each encrypted with another key."""
    encrypted = der.encode(0x80, bytes(64))
    parts = (
        info(ENCRYPTED_DATA, sequence(number(0), sequence(oid(DATA), algorithm, encrypted))) for algorithm in algorithms
    )
    return sequence(number(3), info(DATA, string(sequence(*parts))))


@pytest.mark.parametrize(
    "algorithms",
    [
        (pbes2(2**31 - 1),),
        (pbes2(2**63 - 1),),
        (legacy(2**31 - 1),),
        (pbes2(ITERATIONS_MAX + 1),),
        (legacy(ITERATIONS_MAX // 3 + 1),),
        (pbes2(0),),
    ],
)
def test_iterations_are_bounded(algorithms: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A count past the limit is refused before any of it is spent."""
    monkeypatch.setattr("hashlib.pbkdf2_hmac", lambda *_: pytest.fail("iterations were spent"))
    monkeypatch.setattr("hashlib.sha1", lambda *_, **__: pytest.fail("iterations were spent"))
    with pytest.raises(ChainError, match="iterations of key derivation, which is too many"):
        certificates(file(*algorithms))


def test_iterations_of_all_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one part was allowed is missing for the next one."""
    parts = []

    def read_part(content: bytes) -> tuple[bytes, ...]:
        parts.append(content)
        return ()

    monkeypatch.setattr("detector.trust.pkcs12.ITERATIONS_MAX", 1000)
    monkeypatch.setattr("detector.trust.pkcs12._certificates", read_part)
    monkeypatch.setattr("detector.trust.pkcs12.padding.PKCS7", _NoPadding)
    with pytest.raises(ChainError, match="asks for 600 iterations"):
        certificates(file(pbes2(600), pbes2(600)))
    assert len(parts) == 1


class _NoPadding:
    """A padding that accepts anything, so that a part with another key counts as read."""

    def __init__(self, _: int) -> None:
        self.update = bytes
        self.finalize = bytes

    def unpadder(self) -> _NoPadding:
        return self


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (legacy(2048, "1.2.840.113549.1.12.1.6"), r"an encryption that is not read here \(1.2.840.113549.1.12.1.6\)"),
        (pbes2(2048, cipher="1.2.840.113549.3.2"), "an encryption that is not read here"),
        (pbes2(2048, digest="1.2.3"), "a hash that is not read here"),
    ],
)
def test_other_encryptions(algorithm: bytes, message: str) -> None:
    """RC2, which OpenSSL 1 and old versions of Java write, and what is rarer, are refused with a conversion."""
    with pytest.raises(ChainError, match=message) as refused:
        certificates(file(algorithm), "secret")
    assert "openssl pkcs12 -legacy" in refused.value.advice


@pytest.mark.parametrize(
    "data",
    [
        sequence(number(3)),
        sequence(number(3), info(DATA, b"\x05\x00")),
        sequence(number(3), info("1.2.840.113549.1.7.2", string(sequence()))),
        file(*[pbes2(1)] * 17),
        file(pbes2(1, salt=bytes(2000))),
        file(legacy(1, salt=b"")),
        sequence(number(3), info(DATA, string(sequence(info(DATA, string(sequence(*[sequence()] * 300))))))),
    ],
)
def test_damaged_files(data: bytes) -> None:
    """A file that is damaged, signed with a key or far longer than usual is refused."""
    with pytest.raises(ChainError):
        certificates(data, "secret")


@given(
    changes=st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=4)), min_size=1, max_size=3),
    empty=st.booleans(),
)
@settings(max_examples=examples(1000), deadline=None)
def test_files_with_changes(changes: list[tuple[int, bytes]], *, empty: bool, files: tuple[bytes, bytes]) -> None:
    """A changed file gives certificates, or `ChainError`."""
    data = files[empty]
    for place, instead in changes:
        at = place % len(data)
        data = data[:at] + instead + data[at + len(instead) :]
    with contextlib.suppress(ChainError):
        certificates(data, "secret")


@pytest.fixture(scope="module")
def files(issued: Issued) -> tuple[bytes, bytes]:
    """A file that is encrypted, and one that is not."""
    few = encryption(b"secret", pkcs12.PBES.PBESv2SHA256AndAES256CBC, 1)
    return packed(issued, few), packed(issued, NoEncryption())
