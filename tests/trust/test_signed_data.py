"""Certificates of PKCS #7 messages: what is there is read, and what is damaged is said to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ChainError
from detector.trust import certificate_files, der, signed_data

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

SIGNED = bytes.fromhex("06092a864886f70d010702")
OTHER = bytes.fromhex("06092a864886f70d010701")


def element(tag: int, content: bytes = b"") -> bytes:
    return bytes([tag, len(content)]) + content


def message(*after_kind: bytes, kind: bytes = SIGNED) -> bytes:
    return element(der.SEQUENCE, kind + b"".join(after_kind))


def test_every_certificate(pki: PrivatePKI) -> None:
    """A message with a chain has its certificates; one of another kind has none."""
    chain = pki.issue(["exam.example.edu"]).chain
    loaded = [x509.load_der_x509_certificate(one) for one in chain]
    written = pkcs7.serialize_certificates(loaded, Encoding.DER)
    assert set(signed_data.certificates(written)) == set(chain)
    assert list(signed_data.certificates(message(element(0xA0), kind=OTHER))) == []


@given(
    st.lists(
        st.sampled_from((element(0xA0), element(0xA0, element(0x30)), element(0x30), element(2, b"\x00"), b"\xa0", b""))
    ),
    st.sampled_from((SIGNED, OTHER, element(0x30))),
)
def test_damaged_messages(parts: list[bytes], kind: bytes) -> None:
    """Whatever follows the kind of a message, too much or too little, a file with it is refused as input."""
    with pytest.raises(ChainError):
        certificate_files.read(message(*parts, kind=kind))
