"""What a collector answers once a submission is durable: a signed statement that it has it.

Room: outbox. Pure: bytes in, records out; keys and time are arguments.

A receipt is a DSSE envelope around one JSON object. Signatures are deterministic, so that the same submission always
gets the same receipt.
"""

from __future__ import annotations

from typing import Final, Literal

from detector.model import Record
from detector.model.record import Moment  # noqa: TC001 - msgspec reads the annotations at run time

from .submission import Name, Sha256  # noqa: TC001 - msgspec reads the annotations at run time

PAYLOAD_TYPE: Final = "application/vnd.tls-interception.receipt.v1+json"
"""Type of the signed payload."""


class Receipt(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The collector has the submission with this `digest` (SHA-256 of its payload) since `received`, by its clock."""

    schema_version: Literal[1] = 1
    digest: Sha256
    institution: Name
    received: Moment
