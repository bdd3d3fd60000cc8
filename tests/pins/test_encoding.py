"""Tests of detector.pins.encoding. Room: pins; pure."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.pins import encode_pin, parse_pin

DIGEST = bytes(range(32))
BASE64 = base64.b64encode(DIGEST).decode()


@pytest.mark.parametrize(
    "text", [f"sha256/{BASE64}", BASE64, f"sha256:{DIGEST.hex()}", f"sha256:{DIGEST.hex().upper()}"]
)
def test_reads_every_documented_encoding(text: str) -> None:
    """Three encodings, one digest."""
    assert parse_pin(text) == DIGEST


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 bytes"),
        ("sha256/AAAA", "3 bytes"),
        (f"sha256/{base64.b64encode(bytes(33)).decode()}", "33 bytes"),
        (DIGEST.hex(), "48 bytes"),
        ("sha256:" + "ab" * 31, "31 bytes"),
        ("sha256:" + "g" * 64, "hexadecimal"),
        ("sha256:" + "ab " * 32, "hexadecimal"),
        (BASE64.rstrip("="), "base64"),
        (BASE64[:-2] + "9=", "base64"),
        (BASE64 + "\n", "base64"),
        ("sha1/" + BASE64, "base64"),
        ("ü" * 44, "base64"),
        ("A" * 10_000, "10000 characters"),
    ],
)
def test_refuses_what_is_no_digest(text: str, reason: str) -> None:
    """The reason says what to correct; a changed last character is not silently another encoding."""
    with pytest.raises(ValueError, match=reason):
        parse_pin(text)


@given(st.binary(min_size=32, max_size=32))
def test_an_encoded_pin_parses_back(digest: bytes) -> None:
    """What reports print can be pasted into a pin file."""
    assert parse_pin(encode_pin(digest)) == digest


@given(st.text(max_size=80))
def test_only_value_error_escapes(text: str) -> None:
    """Hostile text is refused as documented or yields 32 bytes."""
    try:
        digest = parse_pin(text)
    except ValueError:
        return
    assert len(digest) == 32
