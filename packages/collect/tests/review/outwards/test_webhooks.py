"""Room: tests of detector_collect.review.outwards.webhooks."""

from __future__ import annotations

import base64
import json

import pytest
from detector_collect.review.outwards.webhooks import (
    BODY_BYTES_MAX,
    ID,
    SIGNATURE,
    TIMESTAMP,
    TOLERANCE_SECONDS,
    WebhookError,
    decode_secret,
    encode_secret,
    sign,
    verify,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_796_000_000.0
SECRET, OTHER = b"s" * 32, b"t" * 32
BODY = json.dumps({"type": "case-opened", "timestamp": "2026-11-30T09:30:15Z", "data": {"number": 7}}).encode()


def test_the_example_of_the_specification() -> None:
    """The example in the Standard Webhooks specification gives its signature."""
    secret = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', secrets=[secret], now=1614265330)
    assert headers[SIGNATURE] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_verified() -> None:
    """What was signed a moment ago is read, whatever the case of the headers' names."""
    headers = {name.title(): value for name, value in sign("msg_1", BODY, secrets=[SECRET], now=NOW).items()}
    message = verify(headers, BODY, secrets=[SECRET], now=NOW + 10)
    assert (message.id, message.number, message.body["type"]) == ("msg_1", 7, "case-opened")


def test_either_secret_counts_while_one_is_replaced() -> None:
    """A sender with two secrets reaches receivers that know either of them."""
    headers = sign("msg_1", BODY, secrets=[SECRET, OTHER], now=NOW)
    for known in (SECRET, OTHER):
        assert verify(headers, BODY, secrets=[known], now=NOW).number == 7


@given(st.data())
def test_any_change_is_refused(data: st.DataObject) -> None:
    """One changed byte of the body, the identifier or the time, and any other secret, make the signature invalid."""
    headers = sign("msg_1", BODY, secrets=[SECRET], now=NOW)
    part = data.draw(st.sampled_from((ID, TIMESTAMP, "body", "secret")))
    body, secret = BODY, SECRET
    if part == "body":
        at = data.draw(st.integers(0, len(BODY) - 1))
        body = BODY[:at] + bytes([BODY[at] ^ data.draw(st.integers(1, 255))]) + BODY[at + 1 :]
    elif part == "secret":
        secret = data.draw(st.binary(min_size=24, max_size=64).filter(lambda one: one != SECRET))
    else:
        changed = data.draw(st.text(max_size=30).filter(lambda one: one != headers[part]))
        headers[part] = changed
    with pytest.raises(WebhookError, match="no signature"):
        verify(headers, body, secrets=[secret], now=NOW)


@given(st.text(max_size=200))
def test_invented_signatures_are_refused(signature: str) -> None:
    """No text in place of the signature passes, and none raises anything else."""
    headers = {**sign("msg_1", BODY, secrets=[SECRET], now=NOW), SIGNATURE: signature}
    with pytest.raises(WebhookError):
        verify(headers, BODY, secrets=[SECRET], now=NOW)


@pytest.mark.parametrize("seconds", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1, 86_400 * 365])
def test_old_and_future_messages_are_refused(seconds: int) -> None:
    """A recorded message that is sent again later is refused, as is one of the future."""
    headers = sign("msg_1", BODY, secrets=[SECRET], now=NOW)
    with pytest.raises(WebhookError, match="clock"):
        verify(headers, BODY, secrets=[SECRET], now=NOW + seconds)


@pytest.mark.parametrize("missing", [ID, TIMESTAMP, SIGNATURE])
def test_a_missing_header_is_named(missing: str) -> None:
    """The error says which header is missing."""
    headers = sign("msg_1", BODY, secrets=[SECRET], now=NOW)
    del headers[missing]
    with pytest.raises(WebhookError, match=missing):
        verify(headers, BODY, secrets=[SECRET], now=NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data": {"number": "x"}}', b"\xff", b"[" * 8000])
def test_signed_nonsense_is_refused(body: bytes) -> None:
    """A body in another form is refused even with a signature."""
    headers = sign("msg_1", body, secrets=[SECRET], now=NOW)
    with pytest.raises(WebhookError, match="unreadable"):
        verify(headers, body, secrets=[SECRET], now=NOW)


def test_a_large_body_is_refused() -> None:
    """More bytes than any message has are not hashed."""
    body = b"x" * (BODY_BYTES_MAX + 1)
    with pytest.raises(WebhookError, match="large"):
        verify(sign("msg_1", body, secrets=[SECRET], now=NOW), body, secrets=[SECRET], now=NOW)


@given(st.binary(min_size=24, max_size=64))
def test_secrets_are_read_back(secret: bytes) -> None:
    """A secret that was written is read."""
    assert decode_secret(encode_secret(secret)) == secret


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!", "abc", "whsec_" + base64.b64encode(b"short").decode()])
def test_bad_secrets_are_refused(text: str) -> None:
    """Another prefix, no base64, or too few bytes."""
    with pytest.raises(ValueError, match="webhook secret"):
        decode_secret(text)
