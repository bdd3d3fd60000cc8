"""The JSON protocol of the gate, for clients that are not written in Python: requests, responses and errors.

Room: exam. Pure: bytes in, records out, and back. docs/exam-gate.schema.json is generated from these records.
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

from .browser_view import CONNECTIONS_MAX, BrowserConnection, BrowserResult, Host, Refused, Viewed
from .decision import Reason  # noqa: TC001 - msgspec reads the annotations at run time
from .manifest import Browser  # noqa: TC001 - msgspec reads the annotations at run time
from .policy import DEADLINE_LEAST, DEADLINE_MOST, ENDPOINTS_MAX, Action

if TYPE_CHECKING:
    from .decision import Decision

SCHEMA_VERSION: Final = 1
"""Version of responses; rises only when a reader of the old version would misread the new one."""

REQUEST_BYTES_MAX: Final = 128 * 1024
"""Size of a request: `ENDPOINTS_MAX` of the longest possible names fit. Native messaging would allow 64 MiB."""

ID_CHARACTERS_MAX: Final = 128
"""Characters of an id: room for a UUID or a hash with a prefix."""

ID_NUMBER_MAX: Final = 2**53 - 1
"""The largest integer that JavaScript represents exactly (Number.MAX_SAFE_INTEGER)."""

LANGUAGES_MAX: Final = 32
"""Languages of a request: several times what a person reads."""

LANGUAGE_CHARACTERS_MAX: Final = 100
"""Characters of a language tag. RFC 5646 section 4.4.1 suggests room for 35; browsers also list longer ones."""

_Id = (
    Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS_MAX)]
    | Annotated[int, msgspec.Meta(ge=-ID_NUMBER_MAX, le=ID_NUMBER_MAX)]
    | None
)
_Language = Annotated[str, msgspec.Meta(max_length=LANGUAGE_CHARACTERS_MAX)]


class Task(enum.StrEnum):
    """What a request asks the gate to do."""

    GATE = "gate"
    OBSERVE = "observe"
    CANCEL = "cancel"


class Request(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request. `id` is returned with the response; `cancel` ends the request with that id.

    `observe` reports `connections` of the `browser`, at most 64: every later gate on the same port takes them into
    account, for ten minutes. `cancel` and `observe` are for native messaging only.

    `endpoints` (`HOST[:PORT]`) must be confirmed in addition to the policy's. They must be listed in the policy or its
    pin files: a client can neither have other hosts probed nor exclude one of the policy's. `deadline` is in seconds.
    `report` and `evidence` request those, which are large. `languages` are those that the student reads, as a browser
    lists them (BCP 47), the preferred one first: the message is in the first that is available, or in the policy's.
    """

    id: _Id = None
    task: Task = Task.GATE
    endpoints: Annotated[tuple[Host, ...], msgspec.Meta(max_length=ENDPOINTS_MAX)] = ()
    deadline: Annotated[float, msgspec.Meta(ge=DEADLINE_LEAST, le=DEADLINE_MOST)] | None = None
    report: bool = False
    evidence: bool = False
    languages: Annotated[tuple[_Language, ...], msgspec.Meta(max_length=LANGUAGES_MAX)] = ()
    browser: Browser | None = None
    connections: Annotated[tuple[BrowserConnection, ...], msgspec.Meta(max_length=CONNECTIONS_MAX)] = ()

    def __post_init__(self) -> None:
        """Raises `ValueError`, which msgspec turns into its own."""
        if bool(self.connections) is not (self.task is Task.OBSERVE):
            raise ValueError("`connections` belong to the task `observe`, which needs at least one")


class ErrorCode(enum.StrEnum):
    """Why a request got no decision."""

    BAD_FRAME = "bad-frame"
    BAD_REQUEST = "bad-request"
    BAD_INPUT = "bad-input"
    BUSY = "busy"
    CANCELLED = "cancelled"


class Response(Record, frozen=True, kw_only=True, tag_field="type", tag="decision"):
    """A decision: `detector.exam.Decision` with a summary of the report; the report and the evidence on request.

    `language` is that of the message and of the advice to the student. `browser` is what the browser had reported by
    then and the decision takes into account.
    """

    id: _Id = None
    schema_version: int = SCHEMA_VERSION
    detector_version: str
    action: Action
    message: str
    language: str
    reasons: tuple[Reason, ...]
    policy: str
    started: dt.datetime
    finished: dt.datetime
    verdict: Verdict
    confidence: Confidence | None = None
    scope: Scope
    coverage: dict[Category, Coverage]
    interceptors: tuple[Interceptor, ...] = ()
    browser: tuple[Viewed, ...] = ()
    report: Report | None = None
    evidence: bytes | None = None


class Observed(Record, frozen=True, kw_only=True, tag_field="type", tag="observed"):
    """The answer to `observe`: what is kept of each endpoint in the report, and what that shows by itself.

    It never says that an endpoint is clean: ask `gate`, whose own probes decide that. `refused` connections were not
    kept.
    """

    id: _Id = None
    schema_version: int = SCHEMA_VERSION
    detector_version: str
    browser: tuple[Viewed, ...] = ()
    results: tuple[BrowserResult, ...] = ()
    refused: tuple[Refused, ...] = ()


class ErrorResponse(Record, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """Why a request got no decision, and what to do. It implies nothing about the network."""

    id: _Id = None
    code: ErrorCode
    message: str
    advice: str = ""


class Part(Record, frozen=True, kw_only=True, tag_field="type", tag="part"):
    """A part of a message that is too long for the browser: the `data` of all `parts`, joined, is its JSON text."""

    id: _Id = None
    part: int
    parts: int
    data: str


Message = Response | Observed | ErrorResponse | Part

_DECODER: Final = msgspec.json.Decoder(Request)


def read_request(data: bytes) -> Request:
    """Decode a request (UTF-8 JSON). Raises `RequestError` for anything else."""
    if len(data) > REQUEST_BYTES_MAX:
        raise RequestError(f"The request is larger than {REQUEST_BYTES_MAX} bytes.", advice="Name fewer endpoints.")
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError as error:
        raise RequestError(f"The request does not fit: {error}.", advice="See docs/exam-gate.md.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("The request is not JSON.", advice='Send one object, such as {"id": 1}.') from error


def id_of(data: bytes) -> str | int | None:
    """Return the id of a message that is JSON but not a valid request, so that its sender can match the error."""
    try:
        return msgspec.json.decode(data, type=_OnlyId).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _OnlyId(msgspec.Struct):
    id: _Id = None


_OF_DECISION: Final = ("action", "message", "language", "reasons", "policy")
_OF_REPORT: Final = (
    "detector_version", "started", "finished", "verdict", "confidence", "scope", "coverage", "interceptors",
)  # fmt: skip
"""Fields of a response that are those of the decision, and of its report."""


def response(decision: Decision, request: Request, browser: tuple[Viewed, ...] = ()) -> Response:
    """Return the response to `request`."""
    report = decision.report
    return Response(
        id=request.id,
        **{name: getattr(decision, name) for name in _OF_DECISION},
        **{name: getattr(report, name) for name in _OF_REPORT},
        browser=browser,
        report=report if request.report else None,
        evidence=decision.evidence if request.evidence else None,
    )


def error_response(error: DetectorError, code: ErrorCode, request_id: str | int | None = None) -> ErrorResponse:
    """Return the response to a request that got no decision."""
    return ErrorResponse(id=request_id, code=code, message=error.message, advice=error.advice)


def split(message: Response | Observed | ErrorResponse, most: int) -> list[bytes]:
    """Encode a message as one JSON text of at most `most` bytes (4096 or more), or as several that hold its parts."""
    whole = encode(message)
    if len(whole) <= most:
        return [whole]
    text = whole.decode("utf-8")
    # In the worst case a character takes four bytes (UTF-8), or two (an escaped quote).
    size = (most - _PART_FIELDS_BYTES) // 4
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [
        encode(Part(id=message.id, part=number, parts=len(pieces), data=piece)) for number, piece in enumerate(pieces)
    ]


_PART_FIELDS_BYTES: Final = 1024
"""Reserved for a part's other fields: each of an id's 128 characters takes at most six bytes."""


def protocol_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of requests and messages."""
    (request, message), components = msgspec.json.schema_components([Request, Message], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "detector exam gate",
        **normalize_schema({"$defs": {**components, "Message": message}, "anyOf": [request, message]}),
    }
