"""Reading certificates: agreement with `cryptography` where that reads, and an answer where nothing does."""

from __future__ import annotations

import datetime as dt
import warnings
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from support.crafting import LEAF, extension, name, oid, sequence

from detector.knowledge import data_set
from detector.trust import certificate, certificate_files, der
from detector.trust.certificate import CERTIFICATE_BYTES_MAX, Certificate

if TYPE_CHECKING:
    from detector_testing import PrivatePKI


def everything(certificate: Certificate) -> tuple[object, ...]:
    """Touch every property."""
    return (
        certificate.problems,
        certificate.presented(),
        certificate.version,
        certificate.tbs,
        certificate.signature,
        certificate.signature_algorithm,
        certificate.serial,
        certificate.spki_sha256,
        certificate.extensions,
        certificate.critical_extensions,
        certificate.repeats_extension,
        certificate.extensions_are_well_formed,
        certificate.over_limit,
        certificate.names_truncated,
        certificate.has_alternative_names,
        certificate.dns_names,
        certificate.ip_addresses,
        certificate.is_ca,
        certificate.path_length,
        certificate.may_sign_certificates,
        certificate.key_identifier,
        certificate.authority_key_identifier,
        certificate.issuer_urls,
        certificate.tbs_without_scts,
        repr(certificate),
    )


def test_agrees_with_cryptography_on_public_roots() -> None:
    """Every certifi root reads the same here and in `cryptography`, including the ones that library warns about."""
    for root in data_set.shipped().public_roots().roots:
        certificate = root.certificate
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = x509.load_der_x509_certificate(certificate.der)
            serial = theirs.serial_number
        assert certificate.problems == ()
        assert certificate.serial == serial
        assert certificate.validity == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
        assert (certificate.tbs, certificate.signature) == (theirs.tbs_certificate_bytes, theirs.signature)
        assert certificate.subject is not None
        assert certificate.subject.der == theirs.subject.public_bytes()
        spki = theirs.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert certificate.spki == spki
        assert certificate.signature_algorithm is not None
        assert certificate.signature_algorithm.oid == theirs.signature_algorithm_oid.dotted_string


def test_agrees_with_cryptography_on_leaves(pki: PrivatePKI) -> None:
    """Names, key identifiers, constraints and the precertificate read the same."""
    for issued in (
        pki.issue(["exam.example.edu", "*.example.edu", "192.0.2.7", "2001:db8::7"], aia=("http://ca.example/a.der",)),
        pki.issue(["exam.example.edu"], key="rsa"),
    ):
        for encoded in issued.chain:
            ours, theirs = Certificate.read(encoded), x509.load_der_x509_certificate(encoded)
            assert ours.problems == ()
            extensions = theirs.extensions
            assert ours.authority_key_identifier == (
                extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
            )
            assert ours.key_identifier == extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
            constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
            assert (ours.is_ca, ours.path_length) == (constraints.ca, constraints.path_length)
        leaf, theirs = Certificate.read(issued.leaf), x509.load_der_x509_certificate(issued.leaf)
        names = theirs.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(leaf.dns_names) == names.get_values_for_type(x509.DNSName)
        assert list(leaf.ip_addresses) == [str(a) for a in names.get_values_for_type(x509.IPAddress)]
        assert leaf.tbs_without_scts == theirs.tbs_precertificate_bytes


@given(st.binary(max_size=600))
def test_any_bytes_are_read(data: bytes) -> None:
    """Nothing presented as a certificate can make reading it fail."""
    assert everything(Certificate.read(data))


@given(st.data())
def test_any_damage_is_read(pki: PrivatePKI, data: st.DataObject) -> None:
    """Flipped, cut and inserted bytes in a real certificate cost fields, never the reading."""
    encoded = bytearray(_leaf(pki))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(encoded) - 1))
        match data.draw(st.sampled_from(("flip", "cut", "insert"))):
            case "flip":
                encoded[position] ^= data.draw(st.integers(1, 255))
            case "cut":
                del encoded[position : position + data.draw(st.integers(1, 40))]
            case _:
                encoded[position:position] = data.draw(st.binary(min_size=1, max_size=8))
        if not encoded:
            break
    assert everything(Certificate.read(bytes(encoded)))


_LEAF: list[bytes] = []


def _leaf(pki: PrivatePKI) -> bytes:
    if not _LEAF:
        _LEAF.append(pki.issue(["exam.example.edu", "192.0.2.1"], aia=("http://ca.example/x",)).leaf)
    return _LEAF[0]


def test_one_damaged_field_costs_only_itself(pki: PrivatePKI) -> None:
    """An unreadable validity leaves key, names and hashes readable."""
    encoded = _leaf(pki)
    where = encoded.index(b"\x17\x0d")
    damaged = Certificate.read(encoded[: where + 2] + b"never before." + encoded[where + 15 :])
    assert damaged.validity is None
    assert damaged.problems == ("validity: time",)
    assert damaged.spki == Certificate.read(encoded).spki
    assert damaged.dns_names == ("exam.example.edu",)


def test_trailing_bytes_and_size_are_problems(pki: PrivatePKI) -> None:
    """Trailing bytes are reported; what is larger than any certificate is only hashed."""
    assert Certificate.read(_leaf(pki) + b"\0").problems == ("trailing bytes after the certificate",)
    huge = Certificate.read(b"\x30" * (CERTIFICATE_BYTES_MAX + 1))
    assert huge.problems == ("larger than any certificate may be",)
    assert len(huge.sha256) == 32


def test_repeated_extension_is_a_problem() -> None:
    """Of a repeated extension the first value counts."""

    def extension(value: bytes) -> bytes:
        encoded = der.encode(der.OCTET_STRING, der.encode(der.OCTET_STRING, value))
        return der.encode(der.SEQUENCE, bytes.fromhex("0603551d0e") + encoded)

    extensions = der.encode(0xA3, der.encode(der.SEQUENCE, extension(b"one") + extension(b"two")))
    empty = der.encode(der.SEQUENCE, b"")
    tbs = der.encode(der.SEQUENCE, bytes.fromhex("a003020102020101") + empty * 5 + extensions)
    certificate = Certificate.read(der.encode(der.SEQUENCE, tbs))
    assert certificate.key_identifier == b"one"
    assert "extension 2.5.29.14 repeated" in certificate.problems


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (der.UTC_TIME, b"491231235959Z", dt.datetime(2049, 12, 31, 23, 59, 59, tzinfo=dt.UTC)),
        (der.UTC_TIME, b"500101000000Z", dt.datetime(1950, 1, 1, tzinfo=dt.UTC)),
        (der.UTC_TIME, b"2601010000Z", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (der.UTC_TIME, b"260101020000+0200", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (der.GENERALIZED_TIME, b"20501231000000Z", dt.datetime(2050, 12, 31, tzinfo=dt.UTC)),
    ],
)
def test_times(tag: int, text: bytes, expected: dt.datetime) -> None:
    """Both forms, the turn of the century, missing seconds and explicit offsets."""
    validity = der.encode(der.SEQUENCE, der.encode(tag, text) * 2)
    empty = der.encode(der.SEQUENCE, b"")
    tbs = der.encode(der.SEQUENCE, bytes.fromhex("020101") + empty * 2 + validity + empty * 2)
    assert Certificate.read(der.encode(der.SEQUENCE, tbs)).validity == (expected, expected)


@given(st.binary(max_size=80))
def test_der_reader_raises_only_its_own_error(data: bytes) -> None:
    """Walking arbitrary bytes ends in elements or in DERError."""
    try:
        item = der.element(data, 0, len(data))
        assert item.end <= len(data)
        for child in der.children(data, item):
            der.oid(data, child)
    except der.DERError:
        pass


@given(st.integers(0, 255), st.binary(max_size=70000))
def test_der_writing_reads_back(tag: int, content: bytes) -> None:
    """What is encoded is read back whole, for every length form."""
    encoded = der.encode(tag & ~0x1F | 0x10, content)
    item = der.element(encoded, 0, len(encoded))
    assert (item.end, der.value(encoded, item)) == (len(encoded), content)


def test_what_is_remembered_is_bounded(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is bounded; the same bytes give one object while cached, and large ones are not cached."""
    monkeypatch.setattr(certificate, "CACHED_MAX", 3)
    monkeypatch.setattr(certificate, "_CACHE", {})
    leaves = [pki.issue([f"host{number}.example.org"]).leaf for number in range(8)]
    for leaf in leaves:
        assert Certificate.read(leaf) is Certificate.read(leaf)
        assert len(certificate._CACHE) <= 3
    large = leaves[0] + bytes(certificate.CACHED_BYTES_MAX)
    assert Certificate.read(large) is not Certificate.read(large)


def test_what_extensions_are_like(pki: PrivatePKI) -> None:
    """Which are critical, whether one is there twice, and whether all are written as DER has them."""
    usual = LEAF.certificate
    assert usual.critical_extensions == {"2.5.29.15", "2.5.29.19"}
    assert not usual.repeats_extension
    assert usual.extensions_are_well_formed
    twice = LEAF.but(adds=[extension("1.2.3.4", b""), extension("1.2.3.4", b"", critical=True)]).certificate
    assert twice.repeats_extension
    assert "1.2.3.4" not in twice.critical_extensions
    explicit = LEAF.but(adds=[sequence(oid("1.2.3.4"), b"\x01\x01\x00", b"\x04\x00")]).certificate
    assert explicit.extensions["1.2.3.4"] == b""
    assert "1.2.3.4" not in explicit.critical_extensions
    assert not explicit.extensions_are_well_formed
    assert Certificate.read(pki.issue(["exam.example.edu"]).leaf).extensions_are_well_formed


def test_what_is_longer_than_is_read() -> None:
    """Too many names, attributes or extensions are said apart from what is damaged."""
    crowded = LEAF.but(subject=sequence(name(O="x")[2:] * 64)).certificate
    assert crowded.subject is None
    assert crowded.over_limit == {"subject"}
    assert crowded.problems != ()
    damaged = LEAF.but(subject=sequence(b"\x31\x02\x30\x05")).certificate
    assert damaged.subject is None
    assert damaged.over_limit == set()


def test_what_is_written_as_pem_is_read(pki: PrivatePKI) -> None:
    """What `to_pem` writes is what OpenSSL reads, and what is read again."""
    chain = pki.issue(["exam.example.edu"]).chain
    text = certificate.to_pem(chain)
    assert [one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(text.encode())] == [
        *chain
    ]
    assert certificate_files.read(text.encode()).certificates == chain
