"""Signed envelopes: a payload, its type, and Ed25519 signatures over both (DSSE v1).

Room: trust. Pure: keys are arguments. Witness statements and evidence bundles use this form.

The signature covers the payload exactly as transported, so that no canonical form is needed to verify it, and its type,
so that one kind of statement cannot pass for another (DSSE protocol 1.0.2). A payload is parsed only after a signature
over it has been verified.
"""

from __future__ import annotations

import base64
import contextlib
import enum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from detector.model import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURES_MAX: Final = 8
"""Signatures of one envelope that are verified: two while a key is being rotated, with a margin. Each costs 0.1 ms."""

KEY_PREFIX: Final = "ed25519/"
"""Prefix of a key identifier, which is the public key itself, encoded as in pin files."""

KEY_BYTES: Final = 32
"""Length of an Ed25519 public key in bytes (RFC 8032 section 5.1.5)."""


class Problem(enum.StrEnum):
    """Why an envelope was not opened."""

    UNREADABLE = "unreadable"
    OTHER_TYPE = "other-type"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"


class Opened(NamedTuple):
    """A payload and the key (32 raw bytes) that signed it; or the problem, and neither."""

    payload: bytes = b""
    key: bytes | None = None
    problem: Problem | None = None


class Signer(NamedTuple):
    """A key (32 raw bytes) that an envelope names, and whether that key made the accompanying signature."""

    key: bytes
    verifies: bool


class Unsealed(NamedTuple):
    """The payload of an envelope and its claimed signers; or the problem. No signer is trusted by this."""

    payload: bytes = b""
    signers: tuple[Signer, ...] = ()
    problem: Problem | None = None


class _Signature(msgspec.Struct, frozen=True):
    keyid: str = ""
    sig: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payloadType: str  # noqa: N815 - DSSE's name
    signatures: tuple[_Signature, ...] = ()


class _StrictSignature(_Signature, frozen=True, forbid_unknown_fields=True):
    """A signature with DSSE's fields and no others."""


class _StrictEnvelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An envelope with DSSE's fields, all of them and no others."""

    payload: str
    payloadType: str  # noqa: N815 - DSSE's name
    signatures: tuple[_StrictSignature, ...]


def public_key_of(key: Ed25519PrivateKey) -> bytes:
    """The public key of `key`, 32 raw bytes (RFC 8032 section 5.1.5)."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_identifier(public_key: bytes) -> str:
    """The identifier of a public key in envelopes."""
    return KEY_PREFIX + base64.b64encode(public_key).decode("ascii")


def seal(payload: bytes, *, payload_type: str, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """Sign `payload` with every key: the envelope as JSON. Without keys it is an unsigned envelope."""
    signed = _pre_authentication_encoding(payload_type, payload)
    return msgspec.json.encode(
        _Envelope(
            payload=base64.b64encode(payload).decode("ascii"),
            payloadType=payload_type,
            signatures=tuple(
                _Signature(key_identifier(public_key_of(key)), base64.b64encode(key.sign(signed)).decode("ascii"))
                for key in keys
            ),
        )
    )


def open_envelope(envelope: bytes, *, payload_type: str, keys: Sequence[bytes]) -> Opened:
    """Verify an envelope with the public keys (32 raw bytes each) that may have signed it.

    Never raises: errors are the `problem`. The key that an envelope names is only a hint; a signature is valid when one
    of `keys` verifies it.
    """
    try:
        read = json_text.decode(envelope, _Envelope)
        payload = base64.b64decode(read.payload, validate=True)
    except ValueError:
        return Opened(problem=Problem.UNREADABLE)
    if read.payloadType != payload_type:
        return Opened(problem=Problem.OTHER_TYPE)
    if not read.signatures:
        return Opened(problem=Problem.UNSIGNED)
    signed = _pre_authentication_encoding(payload_type, payload)
    signatures = read.signatures[:SIGNATURES_MAX]
    for signature in signatures:
        with contextlib.suppress(ValueError):
            raw = base64.b64decode(signature.sig, validate=True)
            for key in keys:
                if _is_by(key, raw, signed):
                    return Opened(payload, key)
    known_key_named = not {key_identifier(key) for key in keys}.isdisjoint(one.keyid for one in signatures)
    return Opened(problem=Problem.BAD_SIGNATURE if known_key_named else Problem.UNKNOWN_KEY)


def unseal(envelope: bytes, *, payload_type: str) -> Unsealed:
    """Extract the payload of an envelope by any signer, and verify the signatures of the keys that it names.

    For payloads that are shown to a person or assessed by their contents, signed or not. Stricter than `open_envelope`:
    an envelope with additional or repeated fields, non-canonical base64, or a key named twice or by another identifier
    is unreadable, so that any change to it is detectable. Never raises.
    """
    try:
        read = json_text.decode_unambiguous(envelope, _StrictEnvelope)
        payload = _canonical(read.payload)
        signatures = {_key_named(s.keyid): _canonical(s.sig) for s in read.signatures[: SIGNATURES_MAX + 1]}
    except ValueError:
        return Unsealed(problem=Problem.UNREADABLE)
    if read.payloadType != payload_type:
        return Unsealed(problem=Problem.OTHER_TYPE)
    if len(signatures) != len(read.signatures) or len(signatures) > SIGNATURES_MAX:
        return Unsealed(problem=Problem.UNREADABLE)
    signed = _pre_authentication_encoding(payload_type, payload)
    return Unsealed(payload, tuple(Signer(key, _is_by(key, s, signed)) for key, s in signatures.items()))


def add_signatures(envelope: bytes, *, payload_type: str, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """Add a signature by each of `keys` to an envelope, replacing one by the same key.

    Raises `ValueError` if `unseal` finds a problem in the envelope, and for more than `SIGNATURES_MAX` signatures.
    """
    unsealed = unseal(envelope, payload_type=payload_type)
    if unsealed.problem is not None:
        raise ValueError(unsealed.problem)
    existing = msgspec.json.decode(envelope, type=_Envelope)
    added = msgspec.json.decode(seal(unsealed.payload, payload_type=payload_type, keys=keys), type=_Envelope)
    signatures = {signature.keyid: signature for signature in (*existing.signatures, *added.signatures)}
    if len(signatures) > SIGNATURES_MAX:
        raise ValueError("too-many-signatures")
    return msgspec.json.encode(msgspec.structs.replace(existing, signatures=tuple(signatures.values())))


def _key_named(identifier: str) -> bytes:
    """Decode a key identifier. Raises `ValueError`."""
    key = _canonical(identifier.removeprefix(KEY_PREFIX))
    if key_identifier(key) != identifier or len(key) != KEY_BYTES:
        raise ValueError(identifier)
    return key


def _canonical(encoded: str) -> bytes:
    """Decode canonical base64: decoders ignore some bits of the last character. Raises `ValueError`."""
    decoded = base64.b64decode(encoded, validate=True)
    if base64.b64encode(decoded).decode("ascii") != encoded:
        raise ValueError(encoded)
    return decoded


def _is_by(key: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether `key` made `signature` over `signed`; False for an invalid key."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE of the DSSE protocol: both parts, each preceded by its length in bytes."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
