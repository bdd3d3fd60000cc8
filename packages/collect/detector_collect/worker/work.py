"""Work for a process that assesses: one submission in, its assessment out, each one line of JSON.

Room: detector_collect.worker. Pure but for reading the knowledge that `MaterialConfig` names.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from detector.knowledge import data_set
from detector.model import Endpoint, Record, encode, json_text
from detector.outbox.submission import PAYLOAD_TYPE, SUBMISSION_BYTES_MAX, Submission
from detector.session.settings import Expectations
from detector.trust import envelope as envelopes
from detector_collect.assessment import Material, State, Why, assess_submission, without_findings
from detector_collect.submissions import UNSIGNED, RefusedError, gunzip

if TYPE_CHECKING:
    from collections.abc import Iterable


READY: Final = b"ready\n"
"""What a process answers when it has read what to assess with."""


class MaterialConfig(Record, frozen=True, kw_only=True):
    """What to assess with: knowledge, and what the vendor knows of endpoints.

    `data` is a folder of installed data sets, `shipped`, or None for the user's own folder. Endpoints are those that
    the data set states, and instead of them, where they are the same, those of the pin files `pins` and of `endpoints`.
    """

    data: str | None = None
    pins: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()

    def read(self) -> Material:
        """Read the present knowledge. Raises `KnowledgeError`, `PinFileError`."""
        data = data_set.read(self.data)
        own = Expectations(data=data, pins=self.pins).pin_set.endpoints if self.pins else ()
        known = (*Expectations(data=data).pin_set.endpoints, *own, *self.endpoints)
        return Material(data, tuple({(one.host, one.port): one for one in known}.values()))


class Request(Record, frozen=True, kw_only=True):
    """A submission to assess: its envelope as it was received, and the identifiers of its institution's keys."""

    body: bytes
    encoding: str
    digest: bytes
    keys: tuple[str, ...]


def run(line: bytes, material: Material) -> bytes:
    """Assess the submission of one request. Never raises for what a submission holds."""
    request = msgspec.json.decode(line, type=Request)
    try:
        submission = _submission(request)
    except (RefusedError, ValueError) as error:
        return encode(without_findings(State.QUARANTINED, Why.UNREADABLE, material, (str(error),)))
    return encode(assess_submission(submission, keys=_raw_keys(request.keys), material=material))


def _submission(request: Request) -> Submission:
    """The submission that was signed. Raises `RefusedError`, `ValueError` where it is not what was received."""
    plain = request.body if request.encoding == "identity" else gunzip(request.body, limit=SUBMISSION_BYTES_MAX)
    unsealed = envelopes.unseal(plain, payload_type=PAYLOAD_TYPE)
    signers = {envelopes.key_identifier(one.key) for one in unsealed.signers if one.verifies}
    if unsealed.problem is not None or hashlib.sha256(unsealed.payload).digest() != request.digest:
        raise ValueError("the stored envelope is not the one that was received")
    submission = json_text.decode_unambiguous(unsealed.payload, Submission)
    # The service signs what came with a client certificate.
    of_certificate = submission.kind in UNSIGNED and any(key.startswith("certificate/") for key in request.keys)
    if signers.isdisjoint(request.keys) and not of_certificate:
        raise ValueError("the stored envelope is not signed by a key of its institution")
    return submission


def _raw_keys(identifiers: Iterable[str]) -> tuple[bytes, ...]:
    """The signing keys among these; those of client certificates sign nothing."""
    signing = (one for one in identifiers if one.startswith(envelopes.KEY_PREFIX))
    return tuple(base64.b64decode(one.removeprefix(envelopes.KEY_PREFIX)) for one in signing)
