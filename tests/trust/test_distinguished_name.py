"""Distinguished names: printable whatever is in them, and equal where RFC 5280 says so."""

from __future__ import annotations

import contextlib

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from detector.trust import der
from detector.trust import distinguished_name as name


def read(data: bytes) -> name.Name:
    return name.read(data, der.element(data, 0, len(data)))


def encoded(common_name: str, organization: str = "Example") -> bytes:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    return x509.Name(attributes).public_bytes()


@given(st.text(min_size=1, max_size=64))
def test_text_is_printable(value: str) -> None:
    """No control, direction or line character of a certificate reaches a reader."""
    try:
        data = encoded(value)
    except (ValueError, UnicodeEncodeError):  # what the writer refuses cannot be read back
        return
    assert read(data).text.isprintable()


def test_rfc_4514_escapes() -> None:
    """Separators, edges and unprintable characters are escaped, so that a value cannot fake another attribute."""
    assert read(encoded("Evil,O=Google Trust Services")).text == "CN=Evil\\,O\\=Google Trust Services,O=Example"
    assert name.escape(" edge ") == "\\ edge\\ "
    assert name.escape("#hash") == "\\#hash"
    assert name.escape("a\x1b[2Jb\u202e") == "a\\1B[2Jb\\E2\\80\\AE"


def test_comparison_folds_case_and_space() -> None:
    """Names that RFC 5280 section 7.1 calls equal are equal, others are not."""
    one, other = read(encoded("Exemplar  Root r1")), read(encoded("EXEMPLAR ROOT R1"))
    assert one.canonical == other.canonical
    assert one.der != other.der
    assert one.canonical != read(encoded("Exemplar Root R2")).canonical


def test_get_takes_the_most_specific_value() -> None:
    """Of several values of one attribute the last one counts."""
    assert read(encoded("cn", "org")).get("O") == "org"
    assert read(encoded("cn", "org")).get("OU") is None


@given(st.binary(max_size=120))
def test_reading_raises_only_der_error(data: bytes) -> None:
    """Arbitrary bytes are a name or a DERError."""
    with contextlib.suppress(der.DERError):
        read(data)


def set_of(*pairs: bytes) -> bytes:
    return der.encode(der.SET, b"".join(pairs))


def pair(kind: str, value: bytes) -> bytes:
    return der.encode(der.SEQUENCE, bytes.fromhex(kind) + value)


CN, O = "0603550403", "060355040a"  # noqa: E741 - as names are abbreviated


@pytest.mark.parametrize(
    ("content", "regular"),
    [
        (b"", True),
        (set_of(pair(CN, b"\x0c\x01x")), True),
        (set_of(pair(CN, b"\x0c\x01x"), pair(O, b"\x13\x01y")), True),
        (set_of(pair(CN, b"\x05\x00")), True),
        (set_of(), False),
        (der.encode(der.SEQUENCE, pair(CN, b"\x0c\x01x")), False),
        (set_of(der.encode(der.SET, bytes.fromhex(CN) + b"\x0c\x01x")), False),
        (set_of(pair(CN, b"\x0c\x01x\x05\x00")), False),
        (set_of(pair(CN, b"\x0c\x01\xff")), False),
        (set_of(pair(CN, b"\x13\x01\xe9")), False),
        (set_of(pair(CN, b"\x1e\x03abc")), False),
        (set_of(pair(CN, der.encode(0x0C, b"x" * 1025))), False),
    ],
)
def test_regular_names(content: bytes, *, regular: bool) -> None:
    """Sets of pairs whose values are of their type, and nothing else; others are read all the same."""
    data = der.encode(der.SEQUENCE, content)
    item = der.element(data, 0, len(data))
    assert name.read(data, item).is_well_formed is regular
    if regular:
        assert sum(map(len, name.relative_names(data, item))) == len(name.read(data, item).attributes)
    else:
        with pytest.raises(der.DERError):
            name.relative_names(data, item)


def test_relative_names_are_sets() -> None:
    """Two attributes in one relative name compare in any order, as two relative names they do not."""

    def relative(*content: bytes) -> name.RelativeNames:
        data = der.encode(der.SEQUENCE, b"".join(content))
        return name.relative_names(data, der.element(data, 0, len(data)))

    first, second = pair(CN, b"\x0c\x01x"), pair(O, b"\x0c\x01Y")
    assert relative(set_of(first, second)) == relative(set_of(second, first))
    assert relative(set_of(first), set_of(second)) != relative(set_of(second), set_of(first))
    assert relative(set_of(first), set_of(second)) != relative(set_of(first, second))
