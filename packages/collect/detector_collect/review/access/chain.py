"""The chain of access records: what a record says, how it is hashed, verified, and its head signed.

Room: detector_collect.review.access. Pure: records, keys and time are arguments.

The hash of a record covers its number, the hash of the record before it and its own bytes, so that no record can be
changed, removed, added or moved without changing every later hash. Anyone who can write the database can recompute all
of them; signed heads that are kept elsewhere find that, and records cut off at the end.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from detector.model import Record, encode, json_text
from detector.model.record import Count, Moment  # noqa: TC001 - msgspec reads the annotations at run time
from detector.outbox.submission import Sha256  # noqa: TC001 - msgspec reads the annotations at run time
from detector.trust.envelope import open_envelope, seal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DOMAIN: Final = b"tls-interception access record v1\0"
"""Prefix of what is hashed, so that no other statement has the same hash."""

GENESIS: Final = bytes(32)
"""What stands for the hash before record 1."""

HEAD_TYPE: Final = "application/vnd.tls-interception.access-head.v1+json"
"""Payload type of a signed head."""


class Outcome(enum.StrEnum):
    """What came of a request."""

    ALLOWED = "allowed"
    NOT_SIGNED_IN = "not-signed-in"
    NO_GRANT = "no-grant"
    NO_SUCH_OBJECT = "no-such-object"
    NO_PURPOSE = "no-purpose"
    NO_PERMISSION = "no-permission"
    CROSS_SITE = "cross-site"
    WRONG_HOST = "wrong-host"
    TOO_MANY = "too-many"
    RULE = "rule"
    FAILED = "failed"


class AccessRecord(Record, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who (`person`, by number; `kind` says how they came in) did what, where, for which case and purpose."""

    at: Moment
    person: int | None = None
    kind: str | None = None
    action: str
    institution: str | None = None
    case: int | None = None
    purpose: str | None = None
    subject: str | None = None
    outcome: Outcome


class Row(NamedTuple):
    """A record as the database holds it; anything may stand in any column if somebody changed it."""

    number: object
    at: object
    record: object
    previous: object
    hash: object


class Head(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record with this number has this hash: nothing up to it may change after `at`."""

    schema_version: Literal[1] = 1
    number: Count
    hash: Sha256
    at: Moment


class Break(NamedTuple):
    """The first record that is not what it was, and why."""

    number: int
    reason: str


def link(number: int, previous: bytes, record: bytes) -> bytes:
    """The hash of a record. The parts before the record have fixed lengths, so that no two inputs are the same."""
    return hashlib.sha256(DOMAIN + number.to_bytes(8, "big") + previous + record).digest()


def seal_head(head: Head, key: Ed25519PrivateKey) -> bytes:
    """Sign a head."""
    return seal(encode(head), payload_type=HEAD_TYPE, keys=[key])


def open_head(envelope: bytes, keys: Sequence[bytes]) -> Head:
    """Verify and decode a head. Raises `ValueError`."""
    opened = open_envelope(envelope, payload_type=HEAD_TYPE, keys=keys)
    if opened.problem is not None:
        raise ValueError(opened.problem)
    return json_text.decode(opened.payload, Head)


class Verifier:
    """Verifies rows in the order of their numbers, from the first; `number` and `hash` are of the last good one.

    `heads` are statements kept elsewhere about what the chain was.
    """

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self.number = 0
        self.hash = GENESIS
        self.broken: Break | None = None
        self._heads: dict[int, set[bytes]] = {}
        for head in heads:
            self._heads.setdefault(head.number, set()).add(bytes.fromhex(head.hash))
        self._compare()

    def add(self, rows: Iterable[Row]) -> bool:
        """Verify further rows. Returns whether all are good so far; after the first bad one none is read."""
        for row in rows:
            if self.broken is not None:
                return False
            self._add(row)
        return self.broken is None

    def finish(self) -> Break | None:
        """What is wrong, once all rows were added."""
        last = max(self._heads, default=0)
        if self.broken is None and last > self.number:
            self._break(f"is missing: a signed head says that there were {last} records")
        return self.broken

    def _add(self, row: Row) -> None:
        expected = self.number + 1
        if row.number != expected:
            self._break("is missing")
        elif row.previous != self.hash:
            self._break("does not follow the record before it")
        elif not isinstance(row.record, bytes) or row.hash != link(expected, self.hash, row.record):
            self._break("was changed: its hash is another")
        elif not _is_at(row.record, row.at):
            self._break("was changed: its time is another, or it cannot be read")
        else:
            self.number, self.hash = expected, bytes(row.hash)
            self._compare()

    def _compare(self) -> None:
        hashes = self._heads.get(self.number, {self.hash})
        if hashes != {self.hash}:
            self.broken = Break(self.number, "or one before it was changed: a signed head has another hash")

    def _break(self, reason: str) -> None:
        self.broken = Break(self.number + 1, reason)


_DECODER: Final = msgspec.json.Decoder(AccessRecord)


def decode(record: bytes) -> AccessRecord:
    """Decode a record. Raises `ValueError`."""
    return _DECODER.decode(record)


def _is_at(record: bytes, at: object) -> bool:
    """Whether a row's time is that of its record. SQLite has times as text."""
    try:
        time = dt.datetime.fromisoformat(at) if isinstance(at, str) else at
        return isinstance(time, dt.datetime) and as_utc(time) == decode(record).at
    except ValueError:
        return False


def as_utc(time: dt.datetime) -> dt.datetime:
    """The time with its offset: SQLite keeps none."""
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)
