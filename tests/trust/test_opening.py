"""Envelopes opened with pinned keys: what opens, what does not and why, and that nothing else ever comes out. Pure."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from detector.trust import envelope
from detector.trust.envelope import SIGNATURES_MAX, Opened, Problem, key_identifier, open_envelope, public_key_of, seal

KIND = "application/vnd.example+json"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)


def opened(sealed: bytes, *keys: Ed25519PrivateKey, kind: str = KIND) -> Opened:
    """Open with the public halves of these keys."""
    return open_envelope(sealed, payload_type=kind, keys=[public_key_of(key) for key in keys])


def changed(sealed: bytes, **fields: Any) -> bytes:  # noqa: ANN401 - whatever JSON may hold
    """The envelope with other fields."""
    return json.dumps({**json.loads(sealed), **fields}).encode()


def test_pre_authentication_encoding() -> None:
    """The signed bytes match the example of the DSSE protocol."""
    assert envelope._pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_what_was_sealed_opens() -> None:
    """Payload and key come back, whichever of several keys signed."""
    assert opened(seal(b"payload", payload_type=KIND, keys=[KEY]), KEY) == Opened(b"payload", public_key_of(KEY))
    both = seal(b"payload", payload_type=KIND, keys=[KEY, OTHER])
    assert opened(both, OTHER) == Opened(b"payload", public_key_of(OTHER))
    assert opened(both, OTHER, KEY).payload == b"payload"


def test_the_named_key_is_a_hint() -> None:
    """A signature is attributed to the key that verifies it, whatever key it names."""
    sealed = seal(b"payload", payload_type=KIND, keys=[KEY])
    (signature,) = json.loads(sealed)["signatures"]
    for name in ("", "ed25519/anything", key_identifier(public_key_of(OTHER))):
        assert opened(changed(sealed, signatures=[{**signature, "keyid": name}]), KEY).payload == b"payload"


def test_problems() -> None:
    """Each problem is distinguished, and gives neither payload nor key."""
    sealed = seal(b"payload", payload_type=KIND, keys=[KEY])
    signature = json.loads(sealed)["signatures"][0]
    cases = {
        Problem.UNSIGNED: [seal(b"payload", payload_type=KIND, keys=[]), changed(sealed, signatures=[])],
        Problem.UNKNOWN_KEY: [seal(b"payload", payload_type=KIND, keys=[OTHER])],
        Problem.OTHER_TYPE: [seal(b"payload", payload_type="text/plain", keys=[KEY])],
        Problem.BAD_SIGNATURE: [
            changed(sealed, payload=base64.b64encode(b"changed").decode()),
            changed(sealed, signatures=[{**signature, "sig": ""}]),
            changed(sealed, signatures=[{**signature, "sig": "not base64"}]),
            changed(sealed, signatures=[{**signature, "sig": base64.b64encode(bytes(64)).decode()}]),
        ],
        Problem.UNREADABLE: [b"", b"{}", b"[" * 100_000, b"\xff", changed(sealed, payload="not base64"), b"null"],
    }
    for problem, envelopes in cases.items():
        for damaged in envelopes:
            assert opened(damaged, KEY) == Opened(problem=problem)


def test_a_signature_is_for_one_purpose() -> None:
    """The type is part of what is signed: relabelling an envelope breaks its signature."""
    sealed = seal(b"payload", payload_type="text/plain", keys=[KEY])
    assert opened(changed(sealed, payloadType=KIND), KEY).problem is Problem.BAD_SIGNATURE


def test_verified_signatures_are_bounded() -> None:
    """A genuine signature behind a heap of others is not dug for."""
    sealed = seal(b"payload", payload_type=KIND, keys=[KEY])
    genuine = json.loads(sealed)["signatures"]
    junk = [{"keyid": "", "sig": ""}]
    assert opened(changed(sealed, signatures=junk * (SIGNATURES_MAX - 1) + genuine), KEY).payload == b"payload"
    assert opened(changed(sealed, signatures=junk * SIGNATURES_MAX + genuine), KEY).problem is Problem.UNKNOWN_KEY


@pytest.mark.parametrize("keys", [[], [b""], [bytes(31)], [bytes(32)], [b"\xff" * 32]])
def test_keys_that_are_none(keys: list[bytes]) -> None:
    """Without a usable key nothing opens, and nothing is raised."""
    sealed = seal(b"payload", payload_type=KIND, keys=[KEY])
    assert open_envelope(sealed, payload_type=KIND, keys=keys).problem is Problem.UNKNOWN_KEY


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_open(data: bytes) -> None:
    """Any bytes are a problem, and nothing is raised."""
    assert opened(data, KEY).problem is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["payload", "payloadType", "signatures"]), json_values)
def test_any_field_may_be_anything(field: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """A genuine envelope with one field exchanged for any JSON value opens only as it was sealed."""
    sealed = seal(b"payload", payload_type=KIND, keys=[KEY])
    result = opened(changed(sealed, **{field: value}), KEY)
    assert result.problem is not None or result.payload == b"payload"


@given(st.data())
def test_one_flipped_bit_never_changes_what_is_believed(data: st.DataObject) -> None:
    """With any bit changed in transit, it opens to the sealed payload or not at all."""
    sealed = seal(b"payload", payload_type=KIND, keys=[KEY, OTHER])
    at, bit = data.draw(st.integers(0, len(sealed) - 1)), data.draw(st.integers(0, 7))
    damaged = sealed[:at] + bytes([sealed[at] ^ (1 << bit)]) + sealed[at + 1 :]
    result = opened(damaged, KEY)
    assert (result.payload == b"payload") is (result.problem is None)
