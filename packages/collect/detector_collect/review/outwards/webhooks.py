"""Signs webhooks, and verifies them at the receiver, as the Standard Webhooks specification says (version 1.0.0).

Room: detector_collect.review.outwards. Pure: secrets and time are arguments. Receivers may copy this module: it needs
the standard library alone.

The signature is an HMAC-SHA256 over the message's identifier, the time of this attempt, and the body. Each attempt of
one message has the same identifier and body. While a secret is being replaced, a message is signed with both.

    message = verify(headers, body, secrets=[secret], now=time.time())
    if message.number > last_number:  # else it is repeated, or older than one already processed
        ...
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

TOLERANCE_SECONDS: Final = 300
"""How far the time of an attempt may be from the receiver's clock: the specification's libraries allow five minutes."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of secrets is public
SECRET_BYTES: Final = 32
"""Random bytes of a secret: the specification allows 24 to 64."""
_SECRET_BYTES: Final = range(24, 65)
_VERSION: Final = "v1,"
_SIGNATURES_MAX: Final = 8
"""Signatures of one message that are compared: two while a secret is replaced, with a margin."""
BODY_BYTES_MAX: Final = 16 * 1024
"""Bytes of one message; one has some hundred."""


class WebhookError(ValueError):
    """A message that must not be processed: forged, too old or too new, or unreadable."""


class Message(NamedTuple):
    """A verified message. Numbers of one receiver only grow: process none that is not greater than the last."""

    id: str
    number: int
    body: dict[str, object]


def encode_secret(secret: bytes) -> str:
    """Format a secret as receivers' programs and the secrets file have it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode("ascii")


def decode_secret(text: str) -> bytes:
    """Read a secret. Raises `ValueError`."""
    if not text.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret begins with {SECRET_PREFIX}")
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret is base64") from None
    if len(secret) not in _SECRET_BYTES:
        raise ValueError(f"a webhook secret has {_SECRET_BYTES.start} to {_SECRET_BYTES.stop - 1} bytes")
    return secret


def sign(identifier: str, body: bytes, *, secrets: Iterable[bytes], now: float) -> dict[str, str]:
    """The headers of one attempt at `now` (seconds since 1970)."""
    timestamp = str(int(now))
    return {
        ID: identifier,
        TIMESTAMP: timestamp,
        SIGNATURE: " ".join(_VERSION + _mac(secret, identifier, timestamp, body) for secret in secrets),
    }


def verify(headers: Mapping[str, str], body: bytes, *, secrets: Iterable[bytes], now: float) -> Message:
    """Verify a message at the receiver; `now` is its clock in seconds since 1970. Raises `WebhookError`."""
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        identifier, timestamp, signatures = lower[ID], lower[TIMESTAMP], lower[SIGNATURE]
    except KeyError as error:
        raise WebhookError(f"the header {error.args[0]} is missing") from None
    if len(body) > BODY_BYTES_MAX:
        raise WebhookError("the body is too large")
    sent = signatures.encode("utf-8", "replace").split(b" ")[:_SIGNATURES_MAX]
    expected = [(_VERSION + _mac(secret, identifier, timestamp, body)).encode("ascii") for secret in secrets]
    matches = [hmac.compare_digest(one, other) for one in sent for other in expected]
    if not any(matches):
        raise WebhookError("no signature is by a known secret")
    if not (timestamp.isascii() and timestamp.isdecimal()) or abs(now - int(timestamp[:12])) > TOLERANCE_SECONDS:
        raise WebhookError("its time is too far from this clock")
    try:
        read = json.loads(body)
        return Message(identifier, int(read["data"]["number"]), read)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WebhookError("the body is unreadable") from error


def _mac(secret: bytes, identifier: str, timestamp: str, body: bytes) -> str:
    signed = f"{identifier}.{timestamp}.".encode("utf-8", "surrogatepass") + body
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode("ascii")
