"""Reads submissions: who signed, whether that key may, and what the submission says.

Room: detector_collect.submissions. Pure: bytes in, records out; keys and time are arguments.

The order is a rule: nothing in an envelope is decoded before its signature is verified, but for the identifier of the
key, by which the caller finds what is registered of it.

    identifier = key_named(envelope)
    payload = verify(envelope, key=registered, now=now)
    accepted = decode(payload, key=registered, now=now)

`read` is all three for one of several keys. Every function raises `RefusedError` and nothing else.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from detector.model import json_text
from detector.outbox.submission import PAYLOAD_TYPE, Kind, Submission
from detector.trust import envelope as envelopes

from .refusals import Refusal, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

FUTURE_MAX: Final = dt.timedelta(minutes=5)
"""How far a client's clock may be ahead. Kerberos has tolerated the same since RFC 1510; clocks that a network sets are
exact to a second."""

AGE_MAX: Final = dt.timedelta(days=31)
"""How old a submission may be: an outbox keeps one for thirty days, and a clock may be a time zone wrong."""

KEY_CHARACTERS_MAX: Final = 128
"""Characters of a key's identifier, as in the database."""

SIGNATURES: Final = 1
"""Signatures of an envelope: who sends answers for it alone, and each further one would cost its verification."""

_SCHEMA_VERSION: Final = 1
_PATH: Final = re.compile(r" - at `(\$[A-Za-z0-9_.\[\]-]{1,100})`$")
"""The place in a message of msgspec, which has names of fields and `[...]` for keys that somebody chose."""


class Key(Protocol):
    """What is registered of a key, as `detector_collect.store.keys` has it."""

    @property
    def id(self) -> str:
        """Its identifier."""
        ...

    @property
    def institution(self) -> str:
        """Whose key it is."""
        ...

    @property
    def expires(self) -> dt.datetime | None:
        """When it ends of itself."""
        ...

    @property
    def revoked(self) -> dt.datetime | None:
        """When it was revoked."""
        ...

    @property
    def rate(self) -> int:
        """Submissions per minute."""
        ...

    @property
    def bytes_max(self) -> int:
        """Size of one envelope."""
        ...


class Accepted(NamedTuple):
    """A submission that may be stored, its payload as it was signed, and the key that signed it."""

    submission: Submission
    payload: bytes
    key: Key


class _Signature(msgspec.Struct):
    keyid: str = ""


class _Signatures(msgspec.Struct):
    """Of an envelope only who claims to have signed."""

    signatures: tuple[_Signature, ...] = ()


class _Outline(msgspec.Struct):
    """What says why a payload does not fit."""

    schema_version: int = 0
    kind: str = ""


def key_named(envelope: bytes) -> str:
    """The identifier of the key that an envelope names, which proves nothing."""
    try:
        signatures = json_text.decode(envelope, _Signatures).signatures
    except json_text.MalformedError:
        raise RefusedError(Refusal.UNREADABLE) from None
    if len(signatures) != SIGNATURES:
        raise RefusedError(Refusal.UNSIGNED)
    identifier = signatures[0].keyid
    if len(identifier) > KEY_CHARACTERS_MAX or not identifier.startswith(envelopes.KEY_PREFIX):
        raise RefusedError(Refusal.UNKNOWN_KEY)
    return identifier


def check_key(key: Key | None, *, now: dt.datetime) -> Key:
    """The key, if it may be used at this moment."""
    if key is None:
        raise RefusedError(Refusal.UNKNOWN_KEY)
    if key.revoked is not None and key.revoked <= now:
        raise RefusedError(Refusal.REVOKED_KEY)
    if key.expires is not None and key.expires <= now:
        raise RefusedError(Refusal.EXPIRED_KEY)
    return key


def verify(envelope: bytes, *, key: Key | None, now: dt.datetime) -> bytes:
    """The payload of an envelope that this key signed."""
    key = check_key(key, now=now)
    if len(envelope) > key.bytes_max:
        raise RefusedError(Refusal.TOO_LARGE)
    unsealed = envelopes.unseal(envelope, payload_type=PAYLOAD_TYPE)
    if unsealed.problem is envelopes.Problem.OTHER_TYPE:
        raise RefusedError(Refusal.OTHER_TYPE)
    if unsealed.problem is not None:
        raise RefusedError(Refusal.UNREADABLE)
    if len(unsealed.signers) != SIGNATURES or envelopes.key_identifier(unsealed.signers[0].key) != key.id:
        raise RefusedError(Refusal.UNKNOWN_KEY)
    if not unsealed.signers[0].verifies:
        raise RefusedError(Refusal.BAD_SIGNATURE)
    return unsealed.payload


def decode(payload: bytes, *, key: Key, now: dt.datetime) -> Accepted:
    """A submission of the key's institution, made within the last `AGE_MAX`."""
    try:
        submission = json_text.decode_unambiguous(payload, Submission)
    except json_text.MalformedError as error:
        raise RefusedError(_misfit(payload), place(error)) from None
    if submission.institution != key.institution:
        raise RefusedError(Refusal.OTHER_INSTITUTION)
    check_made(submission.made, now=now)
    return Accepted(submission, payload, key)


def check_made(made: dt.datetime, *, now: dt.datetime) -> None:
    """Refuse what was made in the future or too long ago."""
    if made > now + FUTURE_MAX:
        raise RefusedError(Refusal.FUTURE_DATED)
    if made < now - AGE_MAX:
        raise RefusedError(Refusal.TOO_OLD)


def read(envelope: bytes, *, keys: Sequence[Key], now: dt.datetime) -> Accepted:
    """The submission in an envelope that one of `keys` signed."""
    identifier = key_named(envelope)
    key = check_key(next((key for key in keys if key.id == identifier), None), now=now)
    return decode(verify(envelope, key=key, now=now), key=key, now=now)


def place(error: ValueError) -> str:
    """Which field is wrong, from a decoder's message, and nothing of what was in it."""
    found = _PATH.search(str(error))
    return f"See the field {found[1]}." if found else ""


def _misfit(payload: bytes) -> Refusal:
    """Why a payload is not a submission."""
    try:
        outline = json_text.decode(payload, _Outline)
    except json_text.MalformedError:
        return Refusal.UNREADABLE
    if outline.schema_version != _SCHEMA_VERSION:
        return Refusal.OTHER_VERSION
    return Refusal.UNREADABLE if outline.kind in frozenset(Kind) else Refusal.UNKNOWN_KIND
