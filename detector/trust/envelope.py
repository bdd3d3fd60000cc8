"""Signed envelopes: octets, what kind of octets they are, and Ed25519 signatures over both (DSSE v1).

Room: trust. Pure: keys are arguments. What a witness says and what an evidence bundle attests travel in this form.

The signature covers the payload exactly as it is carried, so that nothing has to be brought into a canonical form
before it can be checked, and its type, so that one kind of statement never passes for another (DSSE protocol 1.0.2).
Nothing of a payload is read before a signature over it has been verified.
"""

from __future__ import annotations

import base64
import binascii
import enum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURES_MAX: Final = 8
"""Signatures looked at in one envelope: two while a key is being rotated, the rest is room. Each costs 0.1 ms."""

KEY_PREFIX: Final = "ed25519/"
"""How a key identifier begins: the public key itself, spelled as in pin files."""


class Problem(enum.StrEnum):
    """Why an envelope was not opened."""

    UNREADABLE = "unreadable"
    OTHER_TYPE = "other-type"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"


class Opened(NamedTuple):
    """A payload and the key (32 raw octets) that signed it; or the problem, and neither."""

    payload: bytes = b""
    key: bytes | None = None
    problem: Problem | None = None


class _Signature(msgspec.Struct, frozen=True):
    keyid: str = ""
    sig: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payloadType: str  # noqa: N815 - DSSE's own spelling
    signatures: tuple[_Signature, ...] = ()


def public_octets(key: Ed25519PrivateKey) -> bytes:
    """The 32 octets of the public key that belongs to `key` (RFC 8032 section 5.1.5)."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_identifier(public_key: bytes) -> str:
    """How an envelope names the key that signed it."""
    return KEY_PREFIX + base64.b64encode(public_key).decode("ascii")


def seal(payload: bytes, *, payload_type: str, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """Sign `payload` with every key: the envelope as JSON. Without keys it is an unsigned envelope."""
    signed = _pre_authentication_encoding(payload_type, payload)
    return msgspec.json.encode(
        _Envelope(
            payload=base64.b64encode(payload).decode("ascii"),
            payloadType=payload_type,
            signatures=tuple(
                _Signature(key_identifier(public_octets(key)), base64.b64encode(key.sign(signed)).decode("ascii"))
                for key in keys
            ),
        )
    )


def open_envelope(envelope: bytes, *, payload_type: str, keys: Sequence[bytes]) -> Opened:
    """Check an envelope against the public keys (32 raw octets each) that may have signed it.

    Raises nothing, whatever the octets: what is wrong is the `problem`. Which key an envelope names is only a hint; a
    signature counts when one of `keys` verifies it.
    """
    try:
        read = msgspec.json.decode(envelope, type=_Envelope)
        payload = base64.b64decode(read.payload, validate=True)
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError):
        return Opened(problem=Problem.UNREADABLE)
    if read.payloadType != payload_type:
        return Opened(problem=Problem.OTHER_TYPE)
    if not read.signatures:
        return Opened(problem=Problem.UNSIGNED)
    signed = _pre_authentication_encoding(payload_type, payload)
    named = {key_identifier(key) for key in keys}
    known_key_named = False
    for signature in read.signatures[:SIGNATURES_MAX]:
        known_key_named |= signature.keyid in named
        for key in keys:
            if _verifies(key, signature.sig, signed):
                return Opened(payload, key)
    return Opened(problem=Problem.BAD_SIGNATURE if known_key_named else Problem.UNKNOWN_KEY)


def _verifies(key: bytes, signature: str, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(signature, validate=True), signed)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE of the DSSE protocol: both parts behind their lengths in octets."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
