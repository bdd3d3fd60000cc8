"""What a client reports to a collector, as one signed statement.

Room: outbox. Pure: bytes in, records out; keys and time are arguments.

A submission is a DSSE envelope (`detector.trust.envelope`) around one JSON object: who reports, about which exam, and
one piece of evidence (`content`) of one `kind`. Nothing in it names a person: `student` and `network` are HMACs that
the client makes with a key that the collector never has (`detector.outbox.pseudonyms`).
"""

from __future__ import annotations

import enum
import hashlib
from typing import Annotated, Final, Literal

import msgspec

from detector.model import Record
from detector.model.record import Moment  # noqa: TC001 - msgspec reads the annotations at run time

PAYLOAD_TYPE: Final = "application/vnd.tls-interception.submission.v1+json"
"""Type of the signed payload."""

SUBMISSION_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one envelope. A bundle of forty honest endpoints has 0.4 MiB (`detector.bundle.form`), base64 adds a third;
who sends more wants to fill a disk."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
"""A short name that a vendor gives to an institution or an exam. It must not be about a person."""

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A SHA-256 digest, or an HMAC with it, in hexadecimal."""


class Kind(enum.StrEnum):
    """Kinds of content."""

    BUNDLE = "bundle"
    GATE_DECISION = "gate-decision"
    WATCH_EVENT = "watch-event"
    SCAN_RESULT = "scan-result"
    ORIGIN_REPORT = "origin-report"
    TRUSTKIT = "trustkit"
    RFC7469 = "rfc7469"


class Submission(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One piece of evidence and its context. `made` is the client's time; `content` is JSON of the kind's own form."""

    schema_version: Literal[1] = 1
    institution: Name
    exam: Name | None = None
    student: Sha256 | None = None
    network: Sha256 | None = None
    made: Moment
    kind: Kind
    content: msgspec.Raw


def digest(payload: bytes) -> str:
    """SHA-256 of a payload, as it was signed, in hexadecimal: the identity of a submission."""
    return hashlib.sha256(payload).hexdigest()
