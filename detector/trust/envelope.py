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

KEY_BYTES: Final = 32
"""Octets of an Ed25519 public key (RFC 8032 section 5.1.5)."""


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


class Signer(NamedTuple):
    """A key (32 raw octets) that an envelope names, and whether the signature beside it is that key's."""

    key: bytes
    verifies: bool


class Unsealed(NamedTuple):
    """What an envelope carries and who claims to have signed it; or the problem. Nobody is trusted by this."""

    payload: bytes = b""
    signers: tuple[Signer, ...] = ()
    problem: Problem | None = None


class _Signature(msgspec.Struct, frozen=True):
    keyid: str = ""
    sig: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payloadType: str  # noqa: N815 - DSSE's own spelling
    signatures: tuple[_Signature, ...] = ()


class _StrictSignature(_Signature, frozen=True, forbid_unknown_fields=True):
    """A signature with DSSE's fields and no others."""


class _StrictEnvelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An envelope with DSSE's fields, all of them and no others."""

    payload: str
    payloadType: str  # noqa: N815 - DSSE's own spelling
    signatures: tuple[_StrictSignature, ...]


def public_key_of(key: Ed25519PrivateKey) -> bytes:
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
                _Signature(key_identifier(public_key_of(key)), base64.b64encode(key.sign(signed)).decode("ascii"))
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


def unseal(envelope: bytes, *, payload_type: str) -> Unsealed:
    """Take a payload out of an envelope whoever signed it, and say which of the keys that it names did sign it.

    For payloads that are shown to a person or judged by what they hold, signed or not. Stricter than `open_envelope`:
    an envelope with fields of its own, with base64 that no program writes, or that names a key twice or by anything
    but itself, is unreadable, so that nothing in it can be changed without a trace. Raises nothing.
    """
    try:
        read = msgspec.json.decode(envelope, type=_StrictEnvelope)
        payload = _canonical(read.payload)
        signatures = {_key_named(s.keyid): _canonical(s.sig) for s in read.signatures[: SIGNATURES_MAX + 1]}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Unsealed(problem=Problem.UNREADABLE)
    if read.payloadType != payload_type:
        return Unsealed(problem=Problem.OTHER_TYPE)
    if len(signatures) != len(read.signatures) or len(signatures) > SIGNATURES_MAX:
        return Unsealed(problem=Problem.UNREADABLE)
    signed = _pre_authentication_encoding(payload_type, payload)
    return Unsealed(payload, tuple(Signer(key, _is_by(key, s, signed)) for key, s in signatures.items()))


def add_signatures(envelope: bytes, *, payload_type: str, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """The envelope with a signature by each of `keys` besides those it has; one by the same key is replaced.

    `envelope` must be one that `unseal` finds no problem with. Raises `ValueError` otherwise, and for more than
    `SIGNATURES_MAX` signatures.
    """
    unsealed = unseal(envelope, payload_type=payload_type)
    if unsealed.problem is not None:
        raise ValueError(unsealed.problem)
    there = msgspec.json.decode(envelope, type=_Envelope)
    added = msgspec.json.decode(seal(unsealed.payload, payload_type=payload_type, keys=keys), type=_Envelope)
    signatures = {signature.keyid: signature for signature in (*there.signatures, *added.signatures)}
    if len(signatures) > SIGNATURES_MAX:
        raise ValueError("too-many-signatures")
    return msgspec.json.encode(msgspec.structs.replace(there, signatures=tuple(signatures.values())))


def _key_named(identifier: str) -> bytes:
    """The key that an identifier spells. Raises `ValueError`."""
    key = _canonical(identifier.removeprefix(KEY_PREFIX))
    if key_identifier(key) != identifier or len(key) != KEY_BYTES:
        raise ValueError(identifier)
    return key


def _canonical(encoded: str) -> bytes:
    """Octets of base64 as a program writes it: decoders ignore some bits of the last character. Raises `ValueError`."""
    decoded = base64.b64decode(encoded, validate=True)
    if base64.b64encode(decoded).decode("ascii") != encoded:
        raise ValueError(encoded)
    return decoded


def _verifies(key: bytes, signature: str, signed: bytes) -> bool:
    try:
        return _is_by(key, base64.b64decode(signature, validate=True), signed)
    except (binascii.Error, ValueError):
        return False


def _is_by(key: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether `signature` over `signed` was made by the owner of `key`; a key that is none made nothing."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE of the DSSE protocol: both parts behind their lengths in octets."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
