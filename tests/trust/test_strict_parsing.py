"""What clients refuse to parse, one certificate each; what they parse is read alike, strictly and leniently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from support.crafting import (
    ALTERNATIVE_NAMES,
    ANY_PURPOSE,
    BASIC_CONSTRAINTS,
    CA,
    EXAM,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    LEAF,
    NAME_CONSTRAINTS,
    NOW,
    ROOT,
    Draft,
    algorithm,
    alternative_names,
    extension,
    integer,
    name,
    name_constraints,
    oid,
    sequence,
    time,
)

from detector.knowledge import data_set
from detector.trust import der
from detector.trust import strict_parsing as strict
from detector.trust.certificate import CERTIFICATE_BYTES_MAX, EXTENSIONS_MAX, Certificate
from detector.trust.name_constraints import DNS_NAME

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

AIA, SKI, AKI = "1.3.6.1.5.5.7.1.1", "2.5.29.14", "2.5.29.35"
PLACE = sequence(oid("1.3.6.1.5.5.7.48.2"), der.encode(0x86, b"http://ca.example/"))


def with_value(dotted: str, value: bytes) -> Draft:
    """The usual leaf with this value of an extension."""
    return LEAF.but(lacks=[dotted], adds=[extension(dotted, value)])


def test_what_is_well_formed(pki: PrivatePKI) -> None:
    """Usual certificates, every root of certifi and what the test PKI issues have nothing wrong with their form."""
    ours = [draft.certificate for draft in (LEAF, CA, ROOT)]
    issued = [Certificate.read(one) for one in pki.issue([EXAM], key="rsa").chain]
    for certificate in (*ours, *issued, *(root.certificate for root in data_set.shipped().public_roots().roots)):
        form = strict.parse(certificate)
        assert (form.malformed, form.over_limit, form.algorithms_agree) == (False, False, True)


def test_what_is_read() -> None:
    """Names and constraints are there where the certificate has them."""
    assert strict.parse(LEAF.certificate).names == ((DNS_NAME, EXAM.encode()),)
    assert strict.parse(CA.certificate).names is None
    constrained = strict.parse(CA.but(adds=[name_constraints(excluded=((DNS_NAME, b"edu"),))]).certificate)
    assert constrained.constraints is not None
    assert constrained.constraints.critical
    assert not constrained.constraints.allow([(DNS_NAME, b"exam.example.edu")])


@pytest.mark.parametrize(
    "draft",
    [
        LEAF.but(trailing=b"\x00"),
        LEAF.but(version=der.encode(0xA0, integer(0))),
        LEAF.but(version=der.encode(0xA0, integer(3))),
        LEAF.but(version=der.encode(0xA0, integer(1))),
        LEAF.but(version=der.encode(0xA0, integer(2) + integer(2))),
        LEAF.but(version=b""),
        LEAF.but(extensions_wrapper=0xA4),
        LEAF.but(serial=b"\x02\x00"),
        LEAF.but(serial=b"\x02\x02\x00\x01"),
        LEAF.but(serial=b"\x02\x81\x01\x05"),
        LEAF.but(serial=b"\x04\x01\x05"),
        LEAF.but(subject=sequence(sequence(sequence(oid("2.5.4.3"), b"\x0c\x01x")))),
        LEAF.but(subject=sequence(der.encode(der.SET, b""))),
        LEAF.but(subject=sequence(der.encode(der.SET, sequence(oid("2.5.4.3"), b"\x0c\x01x", b"\x05\x00")))),
        LEAF.but(issuer=der.encode(der.SET, b"")),
        LEAF.but(validity=sequence(time(NOW))),
        LEAF.but(validity=sequence(time(NOW), time(NOW), time(NOW))),
        LEAF.but(validity=sequence(time(NOW), der.encode(der.GENERALIZED_TIME, b"20260230120000Z"))),
        LEAF.but(validity=sequence(time(NOW), der.encode(der.UTC_TIME, b"2606011200Z"))),
        LEAF.but(validity=sequence(time(NOW), der.encode(der.UTC_TIME, b"260601120000+0000"))),
        LEAF.but(validity=sequence(time(NOW), der.encode(der.GENERALIZED_TIME, b"2026060112000.Z"))),
        LEAF.but(signature=der.encode(der.BIT_STRING, b"\x04" + bytes(64))),
        LEAF.but(signature=der.encode(der.BIT_STRING, b"")),
        LEAF.but(signature=der.encode(der.OCTET_STRING, bytes(65))),
        LEAF.but(adds=[sequence(oid("1.2.3.4"), b"\x01\x01\x00", b"\x04\x00")]),
        LEAF.but(adds=[sequence(oid("1.2.3.4"), b"\x01\x01\x01", b"\x04\x00")]),
        LEAF.but(adds=[sequence(oid("1.2.3.4"), b"\x04\x00", b"\x05\x00")]),
        LEAF.but(adds=[sequence(oid("1.2.3.4"))]),
        LEAF.but(adds=[der.encode(der.SET, oid("1.2.3.4") + b"\x04\x00")]),
        with_value(BASIC_CONSTRAINTS, b""),
        with_value(BASIC_CONSTRAINTS, sequence(b"\x01\x01\x01")),
        with_value(BASIC_CONSTRAINTS, sequence(b"\x01\x01\xff", integer(-1))),
        with_value(BASIC_CONSTRAINTS, sequence(b"\x01\x01\xff", integer(1 << 40))),
        with_value(BASIC_CONSTRAINTS, sequence(integer(0), b"\x01\x01\xff")),
        with_value(BASIC_CONSTRAINTS, sequence(b"\x01\x01\xff", integer(0), b"\x05\x00")),
        with_value(BASIC_CONSTRAINTS, sequence() + b"\x05\x00"),
        with_value(KEY_USAGE, b"\x03\x02\x07\x00"),
        with_value(KEY_USAGE, b"\x03\x01\x00"),
        with_value(KEY_USAGE, b"\x03\x02\x03\x87"),
        with_value(KEY_USAGE, b"\x04\x02\x07\x80"),
        with_value(EXTENDED_KEY_USAGE, sequence()),
        with_value(EXTENDED_KEY_USAGE, sequence(oid(ANY_PURPOSE), b"\x05\x00")),
        with_value(ALTERNATIVE_NAMES, b"exam.example.edu"),
        with_value(ALTERNATIVE_NAMES, sequence()),
        with_value(ALTERNATIVE_NAMES, sequence(der.encode(0x82, EXAM.encode())) + b"\x00"),
        with_value(ALTERNATIVE_NAMES, sequence(b"\x82\x81\x04exam")),
        with_value(NAME_CONSTRAINTS, sequence()),
        with_value(SKI, b"key identifier"),
        with_value(SKI, b"\x30\x00"),
        with_value(AKI, b"\x04\x01x"),
        with_value(AKI, sequence(b"\x82\x01\x05", b"\x80\x01x")),
        with_value(AKI, sequence(b"\x83\x01x")),
        LEAF.but(adds=[sequence(b"\x06\x05\x2a\x80\x03\x04\x05", b"\x04\x00")]),
        LEAF.but(subject=sequence(der.encode(der.SET, sequence(oid("2.5.4.3"), b"\x0c\x01\xff")))),
        LEAF.but(subject=sequence(der.encode(der.SET, sequence(oid("2.5.4.3"), b"\x1e\x01x")))),
        LEAF.but(spki=LEAF.spki + b"\x81\x02\x09\x00"),
        with_value("2.5.29.32", sequence(sequence(b"\x05\x00"))),
        with_value("2.5.29.33", sequence()),
        with_value("2.5.29.33", sequence(sequence(oid("1.2.3"), b"\x05\x00"))),
        with_value("2.5.29.36", sequence()),
        with_value("2.5.29.54", b"\x02\x01\xff"),
        with_value(AIA, sequence()),
        with_value(AIA, sequence(sequence(oid("1.3.6.1.5.5.7.48.2")))),
        with_value(AIA, sequence(sequence(b"\x05\x00", der.encode(0x86, b"x")))),
        with_value(AIA, sequence(PLACE) + b"\x00"),
    ],
)
def test_malformed(draft: Draft) -> None:
    """Each of these is malformed, and nothing more."""
    form = strict.parse(draft.certificate)
    assert form.malformed
    assert not form.over_limit


@pytest.mark.parametrize(
    "draft",
    [
        LEAF.but(version=b"", extensions=()),
        LEAF.but(version=der.encode(0xA0, integer(1)), extensions=()),
        LEAF.but(serial=integer(-1)),
        LEAF.but(serial=integer(0)),
        with_value(BASIC_CONSTRAINTS, sequence()),
        with_value(BASIC_CONSTRAINTS, sequence(b"\x01\x01\x00")),
        with_value(SKI, b"\x04\x00"),
        with_value(AKI, sequence()),
        with_value(AKI, sequence(b"\x80\x01x", der.encode(0xA1, der.encode(0xA4, name(CN="x"))), b"\x82\x01\x05")),
        with_value(AIA, sequence(PLACE, PLACE)),
        with_value(
            "2.5.29.32", sequence(sequence(oid("2.23.140.1.2.1")), sequence(oid("1.2.3"), sequence(sequence())))
        ),
        with_value("2.5.29.33", sequence(sequence(oid("1.2.3"), oid("1.2.4")))),
        with_value("2.5.29.36", sequence(b"\x80\x01\x00")),
        with_value("2.5.29.54", b"\x02\x01\x00"),
        LEAF.but(spki=LEAF.spki + b"\x81\x02\x00\x05"),
        with_value("1.2.3.4", b"no DER at all"),
        LEAF.but(algorithm=algorithm("1.2.3.4", b"\x04\x04what")),
    ],
)
def test_forms_that_are_read(draft: Draft) -> None:
    """What is unusual and yet DER is not malformed; the values of unknown extensions are not read."""
    assert not strict.parse(draft.certificate).malformed


@pytest.mark.parametrize(
    "draft",
    [
        LEAF.but(adds=[extension(f"1.2.3.{number}", b"") for number in range(EXTENSIONS_MAX)]),
        LEAF.but(adds=[extension("1.2.3.4", bytes(CERTIFICATE_BYTES_MAX))]),
        LEAF.but(subject=sequence(name(O="x")[2:] * 64)),
        LEAF.but(issuer=sequence(name(O="x")[2:] * 64)),
        with_value(NAME_CONSTRAINTS, sequence(der.encode(0xA0, sequence(b"\x82\x03edu") * 1025))),
        LEAF.but(spki=sequence(b"\x05\x00" * 8192)),
    ],
)
def test_more_than_is_read(draft: Draft) -> None:
    """Too many extensions, bytes, attributes, subtrees or elements are distinguished from what is malformed."""
    form = strict.parse(draft.certificate)
    assert form.over_limit
    assert not form.malformed


def test_a_list_of_names_that_is_not_finished_exceeds_nothing() -> None:
    """Whom it names is not known, and that is all that is wrong with the certificate."""
    crowded = LEAF.but(lacks=[ALTERNATIVE_NAMES], adds=[alternative_names(*["x.example.edu"] * 2049)])
    form = strict.parse(crowded.certificate)
    assert (form.names, form.over_limit, form.malformed) == (None, False, False)
    assert crowded.certificate.names_truncated


def test_algorithms_that_differ() -> None:
    """The algorithm of the signature is said twice, and must be the same to the byte."""
    assert not strict.parse(LEAF.but(inner_algorithm=algorithm("1.2.3.4")).certificate).algorithms_agree
    with_null = algorithm("1.2.840.10045.4.3.2", b"\x05\x00")
    assert not strict.parse(LEAF.but(inner_algorithm=with_null).certificate).algorithms_agree


@given(st.integers(0, 5000), st.integers(0, 255))
def test_what_is_not_malformed_is_read_by_libraries_too(at: int, byte: int) -> None:
    """Whatever one byte is changed to: where nothing is wrong with the form, `cryptography` reads the same values.

    Left out is what acceptance finds elsewhere (keys, algorithms, what is there twice), and what the library refuses
    and clients do not: certificates older than version 3, odd serial numbers.
    """
    data = bytearray(LEAF.der)
    data[at % len(data)] = byte
    certificate = Certificate(bytes(data))
    form = strict.parse(certificate)
    known = certificate.spki == LEAF.spki and certificate.signature_algorithm == LEAF.certificate.signature_algorithm
    if form.malformed or not form.algorithms_agree or certificate.repeats_extension or not known:
        return
    if certificate.version != 3 or (certificate.serial or 0) <= 0 or certificate.validity[0].year < 1950:  # type: ignore[index] # it was read
        return
    theirs = x509.load_der_x509_certificate(bytes(data))
    assert certificate.not_before == theirs.not_valid_before_utc
    try:
        extensions = list(theirs.extensions)
    except ValueError:  # not read elsewhere: where revocation lists are, alternative names of the issuer
        return
    assert set(certificate.extensions) == {one.oid.dotted_string for one in extensions}
    assert certificate.critical_extensions == {one.oid.dotted_string for one in extensions if one.critical}
    constraints = next((one.value for one in extensions if isinstance(one.value, x509.BasicConstraints)), None)
    assert certificate.is_ca == (None if constraints is None else constraints.ca)


@given(st.binary(max_size=400))
def test_any_bytes_are_examined(data: bytes) -> None:
    """Nothing escapes, and no random bytes are a certificate."""
    assert strict.parse(Certificate(data)).malformed
