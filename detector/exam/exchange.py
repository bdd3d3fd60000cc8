"""What clients that are not written in Python say to the gate and what they hear: JSON in, JSON out.

Room: exam. Pure: octets in, records out and back. docs/exam-gate.schema.json is generated from these records.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from detector.errors import DetectorError, RequestError
from detector.model import (
    Category,
    Confidence,
    Coverage,
    Interceptor,
    Record,
    Report,
    Scope,
    Verdict,
    encode,
    normalize_schema,
)

from .decision import Reason  # noqa: TC001 - msgspec reads the annotations at run time
from .policy import DEADLINE_LEAST, DEADLINE_MOST, ENDPOINTS_MAX, Action

if TYPE_CHECKING:
    from .decision import Decision

SCHEMA_VERSION: Final = 1
"""Version of answers; rises only when a reader of the old form would misread the new one."""

REQUEST_OCTETS_MAX: Final = 128 * 1024
"""Octets of a request: `ENDPOINTS_MAX` of the longest names there are, with room. The protocol would allow 64 MiB."""

ID_CHARACTERS_MAX: Final = 128
"""Characters of an id: room for a UUID or a hash with a prefix."""

ID_NUMBER_MAX: Final = 2**53 - 1
"""The largest whole number that JavaScript keeps exactly (Number.MAX_SAFE_INTEGER)."""

HOST_CHARACTERS_MAX: Final = 300
"""Characters of `HOST:PORT`: a DNS name has 253."""

_Id = (
    Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS_MAX)]
    | Annotated[int, msgspec.Meta(ge=-ID_NUMBER_MAX, le=ID_NUMBER_MAX)]
    | None
)
_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=HOST_CHARACTERS_MAX)]


class Task(enum.StrEnum):
    """What a request asks for."""

    GATE = "gate"
    CANCEL = "cancel"


class Request(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request. `id` comes back with the answer; `cancel` ends the request with that id (native messaging only).

    `endpoints` (`HOST[:PORT]`) are named besides the policy's, of those that the policy and its pin files know: a
    client can neither have other hosts connected to nor keep one of the policy's from being probed. `deadline` is in
    seconds. `report` and `evidence` ask for those, which are large.
    """

    id: _Id = None
    task: Task = Task.GATE
    endpoints: Annotated[tuple[_Host, ...], msgspec.Meta(max_length=ENDPOINTS_MAX)] = ()
    deadline: Annotated[float, msgspec.Meta(ge=DEADLINE_LEAST, le=DEADLINE_MOST)] | None = None
    report: bool = False
    evidence: bool = False


class ErrorCode(enum.StrEnum):
    """Why there is no decision."""

    BAD_FRAME = "bad-frame"
    BAD_REQUEST = "bad-request"
    BAD_INPUT = "bad-input"
    BUSY = "busy"
    CANCELLED = "cancelled"


class Answer(Record, frozen=True, kw_only=True, tag_field="type", tag="decision"):
    """A decision as a client gets it: `detector.exam.Decision`, what it rests on in short, the whole on request."""

    id: _Id = None
    schema_version: int = SCHEMA_VERSION
    detector_version: str
    action: Action
    message: str
    reasons: tuple[Reason, ...]
    policy: str
    started: dt.datetime
    finished: dt.datetime
    verdict: Verdict
    confidence: Confidence | None = None
    scope: Scope
    coverage: dict[Category, Coverage]
    interceptors: tuple[Interceptor, ...] = ()
    report: Report | None = None
    evidence: bytes | None = None


class Failure(Record, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """Why a request got no decision, and what to do. It says nothing about the network."""

    id: _Id = None
    code: ErrorCode
    message: str
    advice: str = ""


class Part(Record, frozen=True, kw_only=True, tag_field="type", tag="part"):
    """A piece of a message that is too long for the browser: the `data` of all `parts`, joined, is its JSON text."""

    id: _Id = None
    part: int
    parts: int
    data: str


Message = Answer | Failure | Part

_DECODER: Final = msgspec.json.Decoder(Request)


def read_request(data: bytes) -> Request:
    """The request in these octets (UTF-8 JSON). Raises `RequestError`, whatever the octets."""
    if len(data) > REQUEST_OCTETS_MAX:
        raise RequestError(f"The request is larger than {REQUEST_OCTETS_MAX} bytes.", advice="Name fewer endpoints.")
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError as error:
        raise RequestError(f"The request does not fit: {error}.", advice="See docs/exam-gate.md.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("The request is not JSON.", advice='Send one object, such as {"id": 1}.') from error


def id_of(data: bytes) -> str | int | None:
    """The id of a message that is JSON but no request, so that its sender can tell what failed; None if it has none."""
    try:
        return msgspec.json.decode(data, type=_OnlyId).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _OnlyId(msgspec.Struct):
    id: _Id = None


def answer(decision: Decision, request: Request) -> Answer:
    """What the client that sent `request` gets to hear."""
    report = decision.report
    return Answer(
        id=request.id,
        detector_version=report.detector_version,
        action=decision.action,
        message=decision.message,
        reasons=decision.reasons,
        policy=decision.policy,
        started=report.started,
        finished=report.finished,
        verdict=report.verdict,
        confidence=report.confidence,
        scope=report.scope,
        coverage=report.coverage,
        interceptors=report.interceptors,
        report=report if request.report else None,
        evidence=decision.evidence if request.evidence else None,
    )


def failure(error: DetectorError, code: ErrorCode, request_id: str | int | None = None) -> Failure:
    """What the client hears instead of a decision."""
    return Failure(id=request_id, code=code, message=error.message, advice=error.advice)


def split(message: Answer | Failure, most: int) -> list[bytes]:
    """A message as one JSON text of at most `most` octets, or as several that each hold a part of it.

    `most` must be at least 4096, so that a part has room for data beside its frame.
    """
    whole = encode(message)
    if len(whole) <= most:
        return [whole]
    text = whole.decode("utf-8")
    # In the worst case a character takes four octets (UTF-8) or two (an escaped quote); the rest is for the frame.
    size = (most - _PART_FRAME_OCTETS) // 4
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [
        encode(Part(id=message.id, part=number, parts=len(pieces), data=piece)) for number, piece in enumerate(pieces)
    ]


_PART_FRAME_OCTETS: Final = 1024
"""Octets kept for a part's other fields: an id of 128 characters takes at most six octets each."""


def exchange_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what clients send and get."""
    (request, message), components = msgspec.json.schema_components([Request, Message], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "detector exam gate",
        **normalize_schema({"$defs": {**components, "Message": message}, "anyOf": [request, message]}),
    }
