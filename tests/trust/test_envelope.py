"""Envelopes by any signer: strict encoding, every signature reported, more signatures added."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from detector.trust.envelope import (
    SIGNATURES_MAX,
    Problem,
    Signer,
    add_signatures,
    key_identifier,
    open_envelope,
    public_key_of,
    seal,
    unseal,
)

KIND = "text/plain"
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n] * 32)) for n in range(1, SIGNATURES_MAX + 2)]
SEALED = seal(b"payload", payload_type=KIND, keys=KEYS[:2])


def changed(**fields: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return json.dumps(json.loads(SEALED) | fields).encode()


def with_signature(**fields: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """The envelope whose second signature has other fields."""
    first, second = json.loads(SEALED)["signatures"]
    return changed(signatures=[first, second | fields])


def test_unsigned_and_signed() -> None:
    """The payload comes out either way, with every key that signed."""
    assert unseal(seal(b"x", payload_type=KIND, keys=[]), payload_type=KIND) == (b"x", (), None)
    unsealed = unseal(SEALED, payload_type=KIND)
    assert unsealed == (b"payload", tuple(Signer(public_key_of(key), verifies=True) for key in KEYS[:2]), None)


def test_wrong_signature_is_reported_with_the_right_one() -> None:
    """A signature by another key, over another payload, or an invalid key is reported, not refused."""
    other = base64.b64encode(KEYS[2].sign(b"payload")).decode()
    for fields in ({"sig": other}, {"keyid": key_identifier(bytes(32))}, {"keyid": key_identifier(b"\xff" * 32)}):
        unsealed = unseal(with_signature(**fields), payload_type=KIND)
        assert [signer.verifies for signer in unsealed.signers] == [True, False]


def malleable(encoded: str) -> str:
    """Other text that decodes to the same bytes: the ignored bits are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = encoded.rstrip("=")
    return body[:-1] + alphabet[alphabet.index(body[-1]) + 1] + encoded[len(body) :]


SIGNATURE = json.loads(SEALED)["signatures"][1]


@pytest.mark.parametrize(
    ("envelope", "problem"),
    [
        (b"", Problem.UNREADABLE),
        (b"[" * 100_000, Problem.UNREADABLE),
        (changed(payloadType="text/html"), Problem.OTHER_TYPE),
        (changed(remark="x"), Problem.UNREADABLE),
        (changed(payload=malleable(json.loads(SEALED)["payload"])), Problem.UNREADABLE),
        (changed(payload="\u00e9"), Problem.UNREADABLE),
        (with_signature(sig=malleable(SIGNATURE["sig"])), Problem.UNREADABLE),
        (with_signature(keyid=malleable(SIGNATURE["keyid"])), Problem.UNREADABLE),
        (with_signature(keyid=""), Problem.UNREADABLE),
        (with_signature(keyid="ed25519/AAAA"), Problem.UNREADABLE),
        (with_signature(remark="x"), Problem.UNREADABLE),
        (with_signature(**json.loads(SEALED)["signatures"][0]), Problem.UNREADABLE),
        (seal(b"x", payload_type=KIND, keys=KEYS), Problem.UNREADABLE),
    ],
)
def test_what_is_not_opened(envelope: bytes, problem: Problem) -> None:
    """Anything that `seal` would not have written is refused."""
    assert unseal(envelope, payload_type=KIND).problem is problem


def test_adding_signatures() -> None:
    """Signatures accumulate, one per key, up to the limit."""
    more = add_signatures(SEALED, payload_type=KIND, keys=KEYS[1:4])
    assert [signer.key for signer in unseal(more, payload_type=KIND).signers] == [public_key_of(k) for k in KEYS[:4]]
    assert open_envelope(more, payload_type=KIND, keys=[public_key_of(KEYS[3])]).payload == b"payload"
    with pytest.raises(ValueError, match="too-many"):
        add_signatures(SEALED, payload_type=KIND, keys=KEYS)
    with pytest.raises(ValueError, match="other-type"):
        add_signatures(SEALED, payload_type="text/html", keys=KEYS[:1])


@given(data=st.binary(max_size=100), at=st.integers(0, len(SEALED) - 1), byte=st.integers(0, 255))
def test_nothing_raises(data: bytes, at: int, byte: int) -> None:
    """Any bytes are a problem, and a changed byte never goes unnoticed."""
    assert unseal(data, payload_type=KIND).problem is Problem.UNREADABLE
    damaged = SEALED[:at] + bytes([byte]) + SEALED[at + 1 :]
    if damaged != SEALED:
        assert unseal(damaged, payload_type=KIND) != unseal(SEALED, payload_type=KIND)
