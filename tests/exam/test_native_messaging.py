"""The native-messaging host at the end of real pipes: one answer a request, whatever the browser does."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import struct
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.profiles import examples

from detector.aio.tasks import THREAD_NAME
from detector.errors import TargetError
from detector.exam import Action, Decision, native_messaging
from detector.exam.native_messaging import TO_BROWSER_MAX, FrameReader, frame
from detector.exam.protocol import (
    REQUEST_BYTES_MAX,
    ErrorCode,
    ErrorResponse,
    Observed,
    Part,
    Request,
    Response,
    response,
)
from detector.model import Report, Scope, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NOW = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)
PATIENCE = 30
"""Seconds; only a broken test waits that long."""


def decision(evidence: bytes = b"evidence") -> Decision:
    """A decision on nothing in particular."""
    report = Report(
        detector_version="0",
        started=NOW,
        finished=NOW,
        vantage="",
        verdict=Verdict.CLEAN,
        scope=Scope.NONE,
        knowledge=(),
    )
    return Decision(
        action=Action.ALLOW, reasons=(), message="Go.", language="en", policy="p", report=report, evidence=evidence
    )


def answering(decide: Callable[[Request], Awaitable[Decision]]) -> Callable[[Request], Awaitable[Response | Observed]]:
    """What a host serves, by what its gate decides."""

    async def answer(request: Request) -> Response:
        return response(await decide(request), request)

    return answer


async def decide_at_once(request: Request) -> Decision:
    """A gate that takes no time; the request says how much evidence there is."""
    return decision(b"e" * int(request.deadline or 1) * 100_000)


class Browser:
    """The browser's end of a conversation."""

    def __init__(self, writing: int, answers: asyncio.StreamReader, conversation: asyncio.Task[None]) -> None:
        self.conversation = conversation
        self._writing: int | None = writing
        self._answers = answers
        self._reader = FrameReader(TO_BROWSER_MAX)

    def say(self, *messages: object) -> None:
        """Send messages, as JSON in frames."""
        self.send(b"".join(frame(json.dumps(message).encode()) for message in messages))

    def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        assert self._writing is not None
        os.write(self._writing, data)

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        while (payload := self._reader.next()) is None:
            piece = await self._answers.read(65536)
            assert piece, "the host ended without another message"
            self._reader.feed(piece)
        message: dict[str, Any] = json.loads(payload)
        return message

    def close(self) -> None:
        """Close the port, as the browser does when the extension disconnects."""
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    async def ended(self) -> bytes:
        """Wait for the conversation to end; gives what else was said."""
        await self.conversation
        return await self._answers.read()


@contextlib.asynccontextmanager
async def port(decide: Callable[[Request], Awaitable[Decision]] = decide_at_once) -> AsyncIterator[Browser]:
    """A host in a conversation with a browser; nothing of it is left when the block ends."""
    before = asyncio.all_tasks()
    to_host, from_browser = os.pipe()
    to_browser, from_host = os.pipe()

    async def converse() -> None:
        try:
            await native_messaging.serve(answering(decide), reading=to_host, writing=from_host)
        finally:
            os.close(from_host)

    answers = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(to_browser, "rb", buffering=0)
    )
    browser = Browser(from_browser, answers, asyncio.create_task(converse()))
    try:
        async with asyncio.timeout(PATIENCE):
            yield browser
            browser.close()
            await asyncio.wait([browser.conversation])
    finally:
        browser.close()
        browser.conversation.cancel()
        transport.close()
        await asyncio.to_thread(_until_readers_end)
        os.close(to_host)
    assert {task for task in asyncio.all_tasks() if not task.done()} == before


def _until_readers_end() -> None:
    """Wait for the threads that read from closed pipes, so that their descriptors can be closed."""
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join(PATIENCE)


async def test_request_is_answered_with_its_id() -> None:
    """One decision, under the id of its request, without what was not asked for."""
    async with port() as browser:
        browser.say({"id": "a1"})
        said = await browser.hear()
    assert (said["type"], said["id"], said["action"], said["evidence"]) == ("decision", "a1", "allow", None)


async def test_requests_run_side_by_side() -> None:
    """A later request may be answered first."""
    first_may_end = asyncio.Event()

    async def decide(request: Request) -> Decision:
        if request.id == 1:
            await first_may_end.wait()
        return decision()

    async with port(decide) as browser:
        browser.say({"id": 1}, {"id": 2})
        assert (await browser.hear())["id"] == 2
        first_may_end.set()
        assert (await browser.hear())["id"] == 1


class Waiting:
    """A gate that never decides, and counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0

    async def __call__(self, request: Request) -> Decision:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError(request)


async def test_cancelled_request_is_reported_and_its_id_is_free() -> None:
    """A cancelled request is answered once, by `cancelled`; the work for it has ended by then."""
    waiting = Waiting()
    async with port(waiting) as browser:
        browser.say({"id": 1}, {"id": 1, "task": "cancel"}, {"id": 1, "task": "cancel"}, {"id": 1})
        assert (await browser.hear())["code"] == ErrorCode.CANCELLED
        assert waiting.cancelled == waiting.begun <= 1  # it may have been ended before it began
        assert (await browser.hear())["code"] == ErrorCode.BAD_REQUEST
        browser.say({"id": 1})
        assert (await browser.hear())["message"] == "A request with this id is being answered."


async def test_closing_the_port_cancels_what_runs() -> None:
    """When the browser closes the port nothing goes on working, and nothing more is said."""
    waiting = Waiting()
    async with port(waiting) as browser:
        browser.say({"id": 1}, {"id": 2}, {"task": "cancel", "id": 3})
        await browser.hear()
        browser.close()
        assert await browser.ended() == b""
    assert waiting.cancelled == waiting.begun


async def test_too_many_requests_are_refused() -> None:
    """More requests at a time than the host answers are refused, each by its id."""
    async with port(Waiting()) as browser:
        browser.say(*({"id": n} for n in range(native_messaging.REQUESTS_MAX + 2)))
        said = [await browser.hear(), await browser.hear()]
    assert [(message["code"], message["id"]) for message in said] == [
        ("busy", native_messaging.REQUESTS_MAX),
        ("busy", native_messaging.REQUESTS_MAX + 1),
    ]


async def test_what_does_not_fit_is_reported_and_the_conversation_goes_on() -> None:
    """A bad request costs nobody else's answer; whose it was is reported where that can be known."""
    async with port() as browser:
        browser.say({"id": 7, "deadline": 0}, [])
        browser.send(frame(b"\xff") + frame(b""))
        browser.say({"id": 8})
        said = [await browser.hear() for _ in range(5)]
    assert [(message["type"], message.get("code"), message["id"]) for message in said] == [
        ("error", "bad-request", 7),
        ("error", "bad-request", None),
        ("error", "bad-request", None),
        ("error", "bad-request", None),
        ("decision", None, 8),
    ]


async def test_input_error_is_reported_with_advice() -> None:
    """What the policy does not allow is an error of that request."""

    async def refuse(request: Request) -> Decision:
        raise TargetError(f"{request.endpoints[0]} is no host.", advice="Write another.")

    async with port(refuse) as browser:
        browser.say({"id": 1, "endpoints": ["x"]})
        said = await browser.hear()
    assert said == {
        "type": "error",
        "id": 1,
        "code": "bad-input",
        "message": "x is no host.",
        "advice": "Write another.",
    }


@pytest.mark.parametrize("length", [REQUEST_BYTES_MAX + 1, 2**32 - 1])
async def test_bad_frame_ends_the_conversation_with_one_error(length: int) -> None:
    """Where frames begin cannot be known after a wrong length: one error, and the end."""
    async with port() as browser:
        browser.send(struct.pack("=I", length) + b"{}")
        said = await browser.hear()
        assert await browser.ended() == b""
    assert (said["type"], said["code"]) == ("error", "bad-frame")
    assert str(length) in said["message"]


async def test_frame_cut_off_by_the_end_is_no_fault() -> None:
    """A browser that dies in the middle of a message leaves nothing to say."""
    async with port() as browser:
        browser.send(frame(b'{"id":1}')[:-2])
        browser.close()
        assert await browser.ended() == b""


async def test_long_answers_come_in_parts() -> None:
    """An answer longer than the browser takes comes in parts that make it, also between other answers."""
    async with port() as browser:
        browser.say({"id": 1, "deadline": 30, "evidence": True}, {"id": 2})
        pieces: list[str] = []
        wholes: list[object] = []
        missing = 1
        while missing or not wholes:
            said = await browser.hear()
            if said["type"] == "part":
                assert (said["id"], said["part"]) == (1, len(pieces))
                pieces.append(said["data"])
                missing = said["parts"] - len(pieces)
            else:
                wholes.append(said["id"])
    assert wholes == [2]
    assert len(pieces) > 3
    answer = msgspec.json.decode("".join(pieces), type=Response)
    assert (answer.id, answer.evidence) == (1, b"e" * 3_000_000)


async def test_browser_that_reads_nothing_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that asks and does not listen holds nobody up for ever."""
    monkeypatch.setattr(native_messaging, "WRITE_SECONDS_MAX", 0.1)
    to_host, from_browser = os.pipe()
    to_browser, from_host = os.pipe()
    os.write(from_browser, frame(b'{"id":1,"deadline":30,"evidence":true}'))
    async with asyncio.timeout(PATIENCE):
        await native_messaging.serve(answering(decide_at_once), reading=to_host, writing=from_host)
    os.close(from_browser)
    os.close(to_browser)
    await asyncio.to_thread(_until_readers_end)
    os.close(to_host)
    os.close(from_host)


async def test_browser_that_is_gone_ends_the_conversation() -> None:
    """Nobody at the other end of the pipe is how conversations end, not a fault."""
    to_host, from_browser = os.pipe()
    to_browser, from_host = os.pipe()
    os.close(to_browser)
    os.write(from_browser, frame(b'{"id":1}'))
    async with asyncio.timeout(PATIENCE):
        await native_messaging.serve(answering(decide_at_once), reading=to_host, writing=from_host)
    os.close(from_browser)
    await asyncio.to_thread(_until_readers_end)
    os.close(to_host)
    os.close(from_host)


async def test_without_a_thread_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading on the event loop would keep a request that runs from ever being answered."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    to_host, from_browser = os.pipe()
    os.close(from_browser)
    with pytest.raises(ExceptionGroup) as raised:
        await native_messaging.serve(answering(decide_at_once), reading=to_host, writing=to_host)
    assert raised.group_contains(RuntimeError, match="new thread")
    os.close(to_host)


async def test_fault_of_the_gate_is_not_hidden() -> None:
    """A fault of this program ends it; it never reads as an answer."""

    async def fail(request: Request) -> Decision:
        raise ZeroDivisionError(request)

    async with port(fail) as browser:
        browser.say({"id": 1})
        with pytest.raises(ExceptionGroup) as caught:
            await browser.conversation
    assert caught.group_contains(ZeroDivisionError)


@settings(max_examples=examples(40))
@given(st.lists(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(frame), st.just(frame(b'{"id":1}')))))
def test_whatever_comes_only_messages_go_out(pieces: list[bytes]) -> None:
    """Any bytes: the host ends when the pipe does, and everything it wrote is whole messages."""

    async def converse() -> bytes:
        async with port() as browser:
            browser.send(b"".join(pieces) or b"\x00")
            browser.close()
            return await browser.ended()

    reader = FrameReader(TO_BROWSER_MAX)
    said = asyncio.run(converse())
    reader.feed(said)
    heard = 0
    while (payload := reader.next()) is not None:
        msgspec.json.decode(payload, type=Response | ErrorResponse | Part)
        heard += 4 + len(payload)
    assert heard == len(said)
