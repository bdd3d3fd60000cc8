"""What travels between a client and a witness. Pure."""

from __future__ import annotations

import datetime as dt
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from detector.trust import envelope, witness_statement
from detector.trust.envelope import Problem, public_key_of
from detector.trust.witness_statement import HelloSeen, Statement

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEYS = [public_key_of(KEY)]
STATEMENT = Statement(
    nonce=witness_statement.encode_nonce(bytes(32)),
    exporter=b"\x01" * 32,
    client_hello=HelloSeen(sha256="00" * 32),
    time=dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC),
)


def signed(payload: bytes, kind: str = witness_statement.PAYLOAD_TYPE) -> bytes:
    """Any payload under a genuine signature."""
    return envelope.seal(payload, payload_type=kind, keys=[KEY])


def test_a_statement_comes_back() -> None:
    """What was signed is read, with the key that signed it."""
    assert witness_statement.read(witness_statement.sign(STATEMENT, [KEY]), keys=KEYS) == (STATEMENT, KEYS[0], None)


def test_a_statement_without_a_binding_comes_back() -> None:
    """A witness whose session has no unique exporter says so with an empty one."""
    unbound = msgspec.structs.replace(STATEMENT, exporter=b"")
    assert witness_statement.read(witness_statement.sign(unbound, [KEY]), keys=KEYS).statement == unbound


def test_later_fields_are_no_trouble() -> None:
    """A newer witness may say more; what a reader does not know is left out."""
    payload = json.loads(msgspec.json.encode(STATEMENT)) | {"future": {"anything": 1}}
    assert witness_statement.read(signed(json.dumps(payload).encode()), keys=KEYS).statement == STATEMENT


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": "1"},
        {"exporter": "AAAA"},
        {"exporter": "not base64"},
        {"nonce": None},
        {"time": "yesterday"},
        {"client_hello": {}},
        {"proxy_headers": [["only a name"]]},
    ],
)
def test_signed_but_no_statement(change: dict[str, object]) -> None:
    """A signature alone does not make bytes a statement."""
    payload = json.dumps(json.loads(msgspec.json.encode(STATEMENT)) | change).encode()
    assert witness_statement.read(signed(payload), keys=KEYS) == (None, None, Problem.UNREADABLE)


def test_signed_for_another_purpose() -> None:
    """The same bytes signed with another payload type are not a statement."""
    payload = msgspec.json.encode(STATEMENT)
    assert witness_statement.read(signed(payload, "text/plain"), keys=KEYS).problem is Problem.OTHER_TYPE


@given(st.binary(max_size=200))
def test_nothing_is_raised(data: bytes) -> None:
    """Any body, and any payload under a genuine signature, is a problem and no exception."""
    for body in (data, signed(data)):
        assert witness_statement.read(body, keys=KEYS).problem is not None


@given(st.binary(min_size=32, max_size=32))
def test_nonces_have_one_encoding(nonce: bytes) -> None:
    """base64url without padding, as a URL takes it; and back."""
    text = witness_statement.encode_nonce(nonce)
    assert len(text) == 43
    assert witness_statement.request_target(nonce) == f"/.well-known/tls-witness?nonce={text}"
    assert witness_statement.decode_nonce(text) == nonce


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 42,
        "A" * 44,
        "A" * 42 + "=",
        "A" * 42 + "B",
        "+" * 43,
        "/" * 43,
        "A" * 42 + " ",
        "ä" * 43,
        "A" * 100_000,
    ],
)
def test_what_is_no_nonce(text: str) -> None:
    """Too short, too long, padded, with bits left over, or of another alphabet."""
    assert witness_statement.decode_nonce(text) is None


@given(st.text(max_size=60))
def test_any_text_is_a_nonce_or_none(text: str) -> None:
    """Every decoded nonce encodes to the same text."""
    nonce = witness_statement.decode_nonce(text)
    assert nonce is None or witness_statement.encode_nonce(nonce) == text
