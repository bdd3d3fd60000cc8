"""What is DER to the last byte: the strict check next to the tolerant reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.knowledge import data_set
from detector.trust import der


@pytest.mark.parametrize(
    "data",
    [
        b"\x05\x00",
        b"\x30\x00",
        b"\x31\x00",
        b"\x01\x01\x00",
        b"\x01\x01\xff",
        b"\x02\x01\x00",
        b"\x02\x01\xff",
        b"\x02\x02\x00\x80",
        b"\x02\x02\xff\x7f",
        b"\x03\x01\x00",
        b"\x03\x02\x07\x80",
        b"\x06\x03\x2a\x83\x00",
        b"\x06\x03\x83\x80\x01",
        b"\x04\x81\x80" + bytes(128),
        b"\xa0\x02\x05\x00",
        b"\x80\x00",
        b"\x30\x06\x30\x00\x30\x02\x05\x00",
    ],
)
def test_der(data: bytes) -> None:
    """Each of these is an element in DER; the tolerant reader reads it too."""
    der.check(data)
    assert der.element(data, 0, len(data)).end == len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x01",
        b"\x30\x80\x00\x00",
        b"\x05\x00\x00",
        b"\x05\x01\x00",
        b"\x30\x02\x05",
        b"\x30\x03\x05\x00\x05",
        b"\x30\x02\x04\x01",
        b"\x30\x81\x00",
        b"\x04\x81\x01x",
        b"\x04\x82\x00\x80" + bytes(128),
        b"\x1f\x01\x00",
        b"\x30\x03\x1f\x81\x00",
        b"\x30\x03\x1f\x01\x00",
        b"\x01\x01\x01",
        b"\x01\x00",
        b"\x02\x00",
        b"\x02\x02\x00\x7f",
        b"\x02\x02\xff\x80",
        b"\x03\x00",
        b"\x03\x01\x01",
        b"\x03\x02\x08\x00",
        b"\x03\x02\x01\x01",
        b"\x06\x00",
        b"\x06\x01\x80",
        b"\x06\x02\x2a\x80",
        b"\x06\x03\x2a\x80\x01",
        b"\x06\x03\x80\x2a\x01",
        b"\x06\x41" + bytes(65),
        b"\x10\x00",
        b"\x11\x00",
        b"\x24\x04\x04\x02xx",
        b"\x22\x03\x02\x01\x00",
    ],
)
def test_not_der(data: bytes) -> None:
    """Truncated, padded, indefinite, with trailing bytes, or invalid for its type: refused."""
    with pytest.raises(der.DERError) as caught:
        der.check(data)
    assert not isinstance(caught.value, der.LimitError)


def test_public_roots_are_der() -> None:
    """Every root of certifi passes."""
    for root in data_set.shipped().public_roots().roots:
        der.check(root.certificate.der)


def test_elements_are_bounded() -> None:
    """So many elements are walked, flat or nested; one more is a limit, not an error of form."""
    der.check(der.encode(der.SEQUENCE, b"\x05\x00" * (der.ELEMENTS_MAX - 1)))
    nested = b""
    for _ in range(2000):
        nested = der.encode(der.SEQUENCE, nested)
    der.check(nested)
    for crowd in (b"\x05\x00" * der.ELEMENTS_MAX, nested * 5):
        with pytest.raises(der.LimitError):
            der.check(der.encode(der.SEQUENCE, crowd))


@given(st.binary(max_size=120))
def test_only_its_own_error_escapes(data: bytes) -> None:
    """Whatever the bytes, and the tolerant reader reads all that the strict check lets through."""
    try:
        der.check(data)
    except der.DERError:
        return
    assert der.whole(data, der.element(data, 0, len(data))) == data


trees = st.recursive(
    st.binary(max_size=20).map(lambda value: der.encode(der.OCTET_STRING, value)),
    lambda inner: st.lists(inner, max_size=4).map(lambda parts: der.encode(der.SEQUENCE, b"".join(parts))),
)


@given(trees)
def test_what_is_written_passes(data: bytes) -> None:
    """Any encoded tree passes; one byte more or less does not."""
    der.check(data)
    for damaged in (data + b"\x00", data[:-1]):
        with pytest.raises(der.DERError):
            der.check(damaged)
