"""Tests of detector.trust.sct: timestamps are read from three carriers, and nothing a peer writes does more."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseBuilder, OCSPResponseStatus
from detector_testing.pki import OCSP_SCT_LIST, encode_sct_list, encode_tls_scts
from hypothesis import given
from hypothesis import strategies as st

from detector.trust import der, sct
from detector.trust.certificate import EXTENSIONS_MAX, OID_SCT_LIST, Certificate

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

HOST = "exam.example.edu"
ITEM = bytes((0, *range(32), *bytes(8), 0, 2, 7, 7, 4, 3, 0, 3, 1, 2, 3))
"""A timestamp: version, log ID, time, two bytes of extensions, algorithm, three bytes of signature."""
BASIC = bytes.fromhex("06092b0601050507300101")
"""OBJECT IDENTIFIER id-pkix-ocsp-basic in DER."""


def element(tag: int, *parts: bytes) -> bytes:
    return der.encode(tag, b"".join(parts))


def ocsp(*singles: bytes) -> bytes:
    """An OCSPResponse around single responses, with version, responderID and producedAt, and without a signature."""
    data = element(der.SEQUENCE, b"\xa0\3\2\1\0", b"\xa2\0", b"\x18\0", element(der.SEQUENCE, *singles))
    basic = element(der.SEQUENCE, data)
    right = element(0xA0, element(der.SEQUENCE, BASIC, element(der.OCTET_STRING, basic)))
    return element(der.SEQUENCE, b"\x0a\1\0", right)


def single(extensions: bytes) -> bytes:
    """A single response about nothing, with these single extensions."""
    return element(der.SEQUENCE, element(der.SEQUENCE), b"\x80\0", element(0xA1, element(der.SEQUENCE, extensions)))


@pytest.fixture(scope="module")
def response(pki: PrivatePKI) -> bytes:
    leaf = pki.issue([HOST], scts=0).leaf
    return pki.intermediate_ec.ocsp_response(leaf, scts=pki.scts_of(leaf))


def test_every_field_of_a_timestamp_is_read() -> None:
    """Extensions and signature have lengths of their own, so nothing is at a fixed place behind them."""
    [found] = sct.of_tls_extension(encode_tls_scts([ITEM]))
    assert found == sct.SCT(bytes(range(32)), 0, b"\7\7", (4, 3), b"\1\2\3")


@pytest.mark.parametrize(
    "other",
    [
        b"",
        ITEM[:-1],
        ITEM + b"\0",
        b"\1" + ITEM[1:],
        ITEM[:40],
        ITEM[:41] + b"\xff\xff" + ITEM[43:],
    ],
    ids=["empty", "cut", "longer", "version 2", "no extensions", "extensions past the end"],
)
def test_what_is_no_timestamp_costs_itself_alone(other: bytes) -> None:
    """A list may carry versions that do not exist yet (RFC 6962 section 3.3): the others in it still count."""
    assert len(sct.of_tls_extension(encode_tls_scts([ITEM, other, ITEM]))) == 2


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0\1", encode_tls_scts([ITEM])[:-1], encode_tls_scts([ITEM]) + b"\0", b"\0\3\0\5x", b"\0\1\0"],
)
def test_lists_framed_wrongly_are_refused(data: bytes) -> None:
    """Where lengths contradict each other nothing says which is right."""
    with pytest.raises(der.DERError):
        sct.of_tls_extension(data)


def test_no_more_are_read_than_the_bound() -> None:
    """A list of hundreds is read up to the bound and no further, so the rest need not even be well-formed."""
    assert len(sct.of_tls_extension(encode_tls_scts([ITEM] * 300))) == sct.SCTS_MAX
    assert sct.of_tls_extension(b"\0\0") == ()


def test_embedded_timestamps_are_read(pki: PrivatePKI) -> None:
    """Those of a leaf in the order they stand in, none for a leaf without the extension."""
    found = sct.embedded(Certificate.read(pki.issue([HOST], scts=3).leaf))
    assert [one.log_id for one in found] == [log.log_id for log in pki.ct_logs[:3]]
    assert sct.embedded(Certificate.read(pki.issue([HOST], scts=0).leaf)) == ()


@pytest.mark.parametrize("status", [OCSPCertStatus.GOOD, OCSPCertStatus.REVOKED, OCSPCertStatus.UNKNOWN])
def test_timestamps_of_ocsp_are_read(pki: PrivatePKI, status: OCSPCertStatus) -> None:
    """Whatever the status says: a revoked one is tagged like the extensions, and must not be taken for them."""
    leaf = pki.issue([HOST], scts=0).leaf
    scts = pki.scts_of(leaf, 3)
    response = pki.intermediate_ec.ocsp_response(leaf, scts=scts, status=status)
    assert sct.of_ocsp(response) == sct.of_tls_extension(encode_tls_scts(scts))
    assert sct.of_ocsp(pki.intermediate_ec.ocsp_response(leaf, status=status)) == ()


def test_responses_without_an_answer_are_refused(response: bytes) -> None:
    """A response that says "try later", one of another type, one that is too large, and one that is cut."""
    later = OCSPResponseBuilder.build_unsuccessful(OCSPResponseStatus.TRY_LATER)
    padded = der.encode(der.SEQUENCE, response[4:] + der.encode(der.OCTET_STRING, bytes(sct.OCSP_BYTES_MAX)))
    assert BASIC in response
    for refused in (
        b"",
        response[:-1],
        response.replace(BASIC, bytes.fromhex("06092b0601050507300102"), 1),
        der.encode(der.SEQUENCE, bytes.fromhex("0a0103")),
        later.public_bytes(Encoding.DER),
        padded,
    ):
        with pytest.raises(der.DERError):
            sct.of_ocsp(refused)


EXTENSION = element(der.SEQUENCE, OCSP_SCT_LIST, element(der.OCTET_STRING, encode_sct_list([ITEM])))
OTHER = element(der.SEQUENCE, bytes.fromhex("0603550403"), element(der.OCTET_STRING))


@pytest.mark.parametrize(("before", "found"), [(sct.RESPONSES_MAX - 1, 1), (sct.RESPONSES_MAX, 0)])
def test_no_more_answers_are_read_than_the_bound(before: int, found: int) -> None:
    """A response about hundreds of certificates is read up to the bound."""
    assert len(sct.of_ocsp(ocsp(*[single(b"")] * before, single(EXTENSION)))) == found


@pytest.mark.parametrize(("before", "found"), [(EXTENSIONS_MAX - 1, 1), (EXTENSIONS_MAX, 0)])
def test_no_more_extensions_are_read_than_the_bound(before: int, found: int) -> None:
    """An answer with hundreds of extensions is read up to the bound."""
    assert len(sct.of_ocsp(ocsp(single(OTHER * before + EXTENSION)))) == found


def test_critical_extensions_are_read() -> None:
    """A responder may mark the list as critical, which puts a field before its value (RFC 5280 section 4.1)."""
    critical = element(der.SEQUENCE, OCSP_SCT_LIST, b"\1\1\xff", element(der.OCTET_STRING, encode_sct_list([ITEM])))
    assert len(sct.of_ocsp(ocsp(single(critical)))) == 1


def test_signed_data_needs_a_leaf_that_can_be_taken_apart(pki: PrivatePKI) -> None:
    """Without a list there is no precertificate, and what is no certificate was never logged."""
    one = sct.SCT(bytes(32), 0, b"", (4, 3), b"")
    leaf = Certificate.read(pki.issue([HOST], scts=0).leaf)
    assert sct.signed_data(one, leaf, b"key") is None
    assert sct.signed_data(one, leaf, None)
    assert sct.signed_data(one, Certificate.read(b"\x30\x03junk"), None) is None


LISTS = st.binary(max_size=200) | st.lists(st.binary(max_size=60) | st.just(ITEM), max_size=5).map(encode_tls_scts)


@given(LISTS, st.booleans())
def test_any_list_is_read_or_refused(content: bytes, wrapped: bool) -> None:  # noqa: FBT001 - an example
    """A list of a peer's choice is timestamps or `DERError`, in the extension of TLS and in the certificate."""
    leaf = Certificate.read(b"")
    leaf.__dict__["extensions"] = {OID_SCT_LIST: der.encode(der.OCTET_STRING, content) if wrapped else content}
    found: list[sct.SCT] = []
    with contextlib.suppress(der.DERError):
        found += sct.of_tls_extension(content)
    with contextlib.suppress(der.DERError):
        found += sct.embedded(leaf)
    assert all(len(one.log_id) == 32 and one.timestamp_ms < 2**64 for one in found)


TREES = st.recursive(
    st.binary(max_size=8) | st.just(OCSP_SCT_LIST),
    lambda inner: st.builds(
        lambda tag, parts: element(tag, *parts),
        st.sampled_from([der.SEQUENCE, der.OCTET_STRING, der.OBJECT_IDENTIFIER, 0x0A, 0xA0, 0xA1, 0xA2]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


@given(TREES, TREES, st.integers(0, 3))
def test_any_ocsp_response_is_read_or_refused(tree: bytes, extensions: bytes, depth: int) -> None:
    """Elements nested in any way, below as much of a right response as it may be, are timestamps or `DERError`."""
    one = single(extensions)
    singles = (tree, element(der.SEQUENCE, tree), one + tree, element(der.SEQUENCE, one, tree))[depth]
    for data in (tree, ocsp(singles)):
        with contextlib.suppress(der.DERError):
            assert isinstance(sct.of_ocsp(data), tuple)


@given(at=st.integers(0, 2000), put_in=st.binary(max_size=6), taken_out=st.integers(0, 6))
def test_any_damage_to_a_response_is_read_or_refused(response: bytes, at: int, put_in: bytes, taken_out: int) -> None:
    """A genuine response with bytes replaced, added or taken out anywhere."""
    at %= len(response)
    with contextlib.suppress(der.DERError):
        assert isinstance(sct.of_ocsp(response[:at] + put_in + response[at + taken_out :]), tuple)
