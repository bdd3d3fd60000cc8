"""Requests and answers: what any client may send, what it gets, and the checked-in schema of both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for two calls here
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detector.errors import RequestError
from detector.exam import Decision, Policy, decide
from detector.exam.policy import ENDPOINTS_MAX
from detector.exam.protocol import (
    REQUEST_BYTES_MAX,
    ErrorCode,
    ErrorResponse,
    Part,
    Request,
    Response,
    Task,
    id_of,
    protocol_schema,
    read_request,
    response,
    split,
)
from detector.judge import network
from detector.model import encode

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"
SCHEMA = protocol_schema()


@pytest.fixture(scope="module")
def decision(world: World, pki: PrivatePKI) -> Decision:
    """A real decision on a clean exam host."""
    case = world.case(EXAM, pki.issue([EXAM]))
    now = pki.now
    report = network.report(world.judge(case), case.context, started=now, finished=now, vantage="", version="0")
    action, reasons, message = decide(Policy(), report)
    return Decision(
        action=action,
        reasons=reasons,
        message=message,
        language="en",
        policy="p",
        report=report,
        evidence=b"\x00\xffbundle",
    )


def test_least_request() -> None:
    """Everything has a default: an empty object asks for the gate."""
    assert read_request(b"{}") == Request()


def test_whole_request() -> None:
    """Every field is read."""
    sent = {"id": "a", "task": "cancel", "endpoints": [EXAM], "deadline": 2, "report": True, "evidence": True}
    assert read_request(json.dumps({**sent, "languages": ["de-CH", "x"]}).encode()) == Request(
        id="a", task=Task.CANCEL, endpoints=(EXAM,), deadline=2.0, report=True, evidence=True, languages=("de-CH", "x")
    )


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        ({"deadlin": 3}, "deadlin"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": 1e9}, "deadline"),
        ({"deadline": "3"}, "deadline"),
        ({"endpoints": EXAM}, "endpoints"),
        ({"endpoints": [""]}, "endpoints"),
        ({"endpoints": ["a.example"] * (ENDPOINTS_MAX + 1)}, "endpoints"),
        ({"id": "x" * 129}, "id"),
        ({"id": 2**60}, "id"),
        ({"id": True}, "id"),
        ({"id": [1]}, "id"),
        ({"task": "watch"}, "task"),
        ([1], "object"),
    ],
)
def test_refused_with_the_field(sent: object, reported: str) -> None:
    """What does not fit is reported with its field."""
    with pytest.raises(RequestError, match=reported):
        read_request(json.dumps(sent).encode())


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"id":1e400}')
@example(b'"\xff"')
@example(b"\xff\xfe{}")
@example(b'{"id":"\\ud800"}')
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    """Only the documented exception gets out; the id of anything can be asked for."""
    try:
        assert isinstance(read_request(data), Request)
    except RequestError as error:
        assert error.advice  # noqa: PT017 - either way is right, and this one must say what to do
    assert id_of(data) is None or isinstance(id_of(data), (str, int))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "task", "endpoints", "deadline", "report", "evidence"]), inner)
        ),
    )
)
def test_any_json_is_a_request_or_refused(sent: Any) -> None:  # noqa: ANN401 - any JSON value
    """Whatever values stand in the fields."""
    data = json.dumps(sent).encode()
    try:
        request = read_request(data)
    except RequestError:
        return
    jsonschema.validate(sent, SCHEMA)
    assert request.deadline is None or 0.1 <= request.deadline <= 60


def test_too_large_is_refused_unread() -> None:
    """A request larger than the largest is not parsed."""
    with pytest.raises(RequestError, match="larger"):
        read_request(b" " * REQUEST_BYTES_MAX + b"{}")


def test_id_of_what_does_not_fit() -> None:
    """A client hears which of its messages was wrong."""
    assert id_of(b'{"id": 7, "deadline": 0}') == 7
    assert id_of(b'{"id": [7]}') is None
    assert id_of(b"no") is None


def test_answer_is_light_unless_asked(decision: Decision) -> None:
    """The report and the evidence travel only on request; the rest always does, and all of it fits the schema."""
    light = json.loads(encode(response(decision, Request(id=1))))
    whole = json.loads(encode(response(decision, Request(id=1, report=True, evidence=True))))
    assert (light["type"], light["id"], light["action"], light["verdict"]) == ("decision", 1, "allow", "clean")
    assert light["report"] is None
    assert light["evidence"] is None
    assert whole["report"]["results"][0]["endpoint"]["host"] == EXAM
    assert whole["evidence"] == "AP9idW5kbGU="
    for said in (light, whole):
        jsonschema.validate(said, SCHEMA)
    jsonschema.validate(json.loads(encode(ErrorResponse(code=ErrorCode.BUSY, message="m"))), SCHEMA)


@given(st.text(min_size=1), st.integers(4096, 8192))
@example('"' * 20_000, 4096)
@example("\U0001f600" * 5_000, 4096)
@example("\\" * 9_000, 4096)
def test_parts_are_small_and_make_the_message(text: str, most: int) -> None:
    """However a message is cut, every part fits and together they are its JSON."""
    message = ErrorResponse(id="\x00" * 128, code=ErrorCode.BUSY, message=text)
    sent = split(message, most)
    assert all(len(one) <= most for one in sent)
    if len(sent) == 1:
        assert msgspec.json.decode(sent[0], type=ErrorResponse) == message
        return
    parts = [msgspec.json.decode(one, type=Part) for one in sent]
    assert [(part.part, part.parts, part.id) for part in parts] == [
        (n, len(sent), message.id) for n in range(len(sent))
    ]
    assert msgspec.json.decode("".join(part.data for part in parts), type=ErrorResponse) == message


def test_answer_can_be_read_back(decision: Decision) -> None:
    """The records serve clients in Python too."""
    said = response(decision, Request(report=True))
    assert msgspec.json.decode(encode(said), type=Response) == said
