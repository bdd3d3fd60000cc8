"""Room: testing. DER at its top level."""

from __future__ import annotations

import pytest
from detector_testing import der
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_what_was_encoded_is_found_again(contents: list[bytes]) -> None:
    """Children of an encoded sequence are the elements that went in, short and long lengths alike."""
    elements = [der.encode(der.OCTET_STRING, content) for content in contents]
    assert der.children(der.encode(der.SEQUENCE, *elements)) == elements


@given(st.binary(max_size=64))
def test_only_value_errors_escape(data: bytes) -> None:
    """Arbitrary bytes give children that lie within them, or a ValueError."""
    try:
        found = der.children(data)
    except ValueError:
        return
    assert b"".join(found) in data


def test_an_element_longer_than_its_parent_is_refused() -> None:
    """A child that reaches past its parent's end is an error, even when the data goes on."""
    with pytest.raises(ValueError, match="longer"):
        der.children(b"\x30\x02\x04\x05aaaaa")
