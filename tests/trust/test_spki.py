"""The parts of a public key, and keys that borrow another one's point (CVE-2020-0601)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from detector_testing.der import BIT_STRING, OCTET_STRING, SEQUENCE, encode
from hypothesis import given
from hypothesis import strategies as st
from support.odd_keys import ec_spki, identifier, integer, public_key_info, rsa_spki, spki

from detector.trust import der
from detector.trust.spki import read, same_point_other_parameters

KEY = ec.generate_private_key(ec.SECP384R1())
KNOWN = spki(KEY)
POINT = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
COMPRESSED = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

PRIME = 2**384 - 2**128 - 2**96 + 2**32 - 1
B = 0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
BASE = bytes.fromhex(
    "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7"
    "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
)
"""P-384 (FIPS 186-4 appendix D.1.2.4)."""
P384, P256 = bytes.fromhex("06052b81040022"), bytes.fromhex("06082a8648ce3d030107")


def written_out(base: bytes = BASE, *, b: int = B, order: int = ORDER, seed: bytes | None = None) -> bytes:
    """ECParameters of P-384, or of something like it (RFC 3279 section 2.3.5)."""
    field = encode(SEQUENCE, bytes.fromhex("06072a8648ce3d0101"), integer(PRIME))
    seeds = () if seed is None else (encode(BIT_STRING, b"\0", seed),)
    coefficients = (encode(OCTET_STRING, (PRIME - 3).to_bytes(48, "big")), encode(OCTET_STRING, b.to_bytes(48, "big")))
    curve = encode(SEQUENCE, *coefficients, *seeds)
    return encode(SEQUENCE, integer(1), field, curve, encode(OCTET_STRING, base), integer(order), integer(1))


def test_the_parts_of_a_key() -> None:
    """Algorithm, parameters and point, whatever a library makes of them."""
    assert read(KNOWN) == ("1.2.840.10045.2.1", P384, POINT)
    assert read(public_key_info(identifier(b"\x06\x01\x2a"), b"key")) == ("1.2", b"", b"key")


@pytest.mark.parametrize(
    "parameters",
    [
        written_out(POINT),  # the base point is the key itself: the private key is 1
        written_out(BASE[:1] + BASE[49:] + BASE[1:49]),
        written_out(b=B + 1),
        written_out(order=ORDER - 2),
        encode(SEQUENCE, integer(1)),
        P256,
        b"\x05\x00",
        b"",
    ],
)
@pytest.mark.parametrize("point", [POINT, COMPRESSED], ids=["whole", "compressed"])
def test_a_known_point_on_another_curve(parameters: bytes, point: bytes) -> None:
    """With parameters of his own choice a forger knows the private key of anybody's point."""
    assert same_point_other_parameters(ec_spki(parameters, point), KNOWN)
    assert same_point_other_parameters(KNOWN, ec_spki(parameters, point))


@pytest.mark.parametrize(
    "other",
    [
        KNOWN,
        ec_spki(P384, COMPRESSED),
        ec_spki(written_out(), POINT),  # the same curve, written out
        ec_spki(written_out(BASE, seed=b"seed"), POINT),
        ec_spki(written_out(b"\3" + BASE[1:49]), COMPRESSED),
        ec_spki(written_out(POINT), BASE),  # another point
        spki(ec.generate_private_key(ec.SECP384R1())),
        spki(ec.generate_private_key(ec.SECP256R1())),
        public_key_info(identifier(bytes.fromhex("06052b8104010c"), P384), POINT),  # id-ecDH
        rsa_spki(12345, 3),
        public_key_info(identifier(b"\x06\x01\x2a", P256), POINT),
        ec_spki(P256, b"\x09" + POINT[1:]),
        b"",
        b"\x30\x00",
    ],
)
def test_the_same_key_and_other_keys_are_no_mark(other: bytes) -> None:
    """A key in another encoding is the same key, and a key with another point has nothing to do with it."""
    assert not same_point_other_parameters(other, KNOWN)
    assert not same_point_other_parameters(KNOWN, other)


@given(
    at=st.integers(0, 700),
    inserted=st.binary(max_size=6),
    removed=st.integers(0, 6),
    key=st.sampled_from([KNOWN, ec_spki(written_out(POINT), POINT), ec_spki(written_out(), COMPRESSED)]),
)
def test_no_key_raises(at: int, inserted: bytes, removed: int, key: bytes) -> None:
    """Damaged keys are read in part, or refused with the one error that is documented, and never compared wrongly."""
    at %= len(key)
    damaged = key[:at] + inserted + key[at + removed :]
    try:
        info = read(damaged)
    except der.DERError:
        assert not same_point_other_parameters(damaged, KNOWN)
        return
    if same_point_other_parameters(damaged, KNOWN):
        assert info.key[1:49] == POINT[1:49]
        assert info.parameters != P384
