"""Hostile and slow clients on real sockets: each wait ends, memory is bounded, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from detector_collect.service.serving import listening, serving
from detector_collect.service.settings import DEFAULT_LIMITS
from detector_collect.store import evidence
from detector_collect.store.errors import StoreFullError, StoreUnavailableError
from detector_testing.streams import accepts
from support.collect_service import DSSE, counted, running_service, sealed

from detector.aio.descriptors import raise_limit

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from support.collect_service import Running

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""What is about connections is the same on both databases."""

LARGE = 64 * 1024
"""The limit of bodies in these tests, in bytes."""


def head(*lines: str, method: str = "POST", path: str = "/v1/evidence") -> bytes:
    """The head of a request."""
    first = (f"{method} {path} HTTP/1.1", "Host: collect", f"Content-Type: {DSSE}")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def whole(body: bytes, *lines: str) -> bytes:
    """A whole request."""
    return head(f"Content-Length: {len(body)}", *lines) + body


def statuses(answers: bytes) -> list[int]:
    """The statuses of the answers on a connection."""
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


def refusal(answer: bytes) -> str:
    """Which refusal an answer is."""
    kind: str = json.loads(answer.partition(b"\r\n\r\n")[2])["type"]
    return kind.rpartition(":")[2]


@ON_SQLITE
async def test_a_body_in_chunks_is_received(service: Running) -> None:
    """Its length need not be announced."""
    body = sealed()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    sent = head("Transfer-Encoding: chunked", "Connection: close") + chunks + b"0\r\n\r\n"
    assert statuses(await service.talk(sent)) == [201]


@ON_SQLITE
async def test_requests_one_after_the_other_on_one_connection(service: Running) -> None:
    """Answers to pipelined requests come in their order, refusals of unread bodies among them."""
    first, second = whole(sealed()), whole(sealed(exam="botany"))
    other = head("Content-Length: 4", "Content-Encoding: br") + b"body"
    last = head("Connection: close", method="GET", path="/healthz")
    assert statuses(await service.talk(first + other + second + first + last)) == [201, 415, 201, 200, 200]


@ON_SQLITE
async def test_a_truncated_body_leaves_nothing(service: Running) -> None:
    """A client that goes away in the middle is not answered, and nothing is stored."""
    before = await counted(service.store)
    request = whole(sealed())
    assert await service.talk(request[:-10], ends=True) == b""
    assert await counted(service.store) == before


@ON_SQLITE
async def test_what_is_too_large_is_refused_with_and_without_an_announcement(store: Store) -> None:
    """The answer arrives, also while the client sends; a client that asks first sends nothing."""
    async with running_service(store, body_bytes=LARGE) as service:
        before = await counted(store)
        announced = await service.talk(whole(b" " * (LARGE + 1)))
        chunk = b"%x\r\n%b\r\n" % (LARGE, b" " * LARGE)
        endless = await service.talk(head("Transfer-Encoding: chunked") + 5 * chunk)
        asked = await service.talk(head(f"Content-Length: {LARGE + 1}", "Expect: 100-continue"))
        huge = await service.talk(head(f"Content-Length: {10**18}", "Expect: 100-continue"))
        for answer in (announced, endless, asked, huge):
            assert (statuses(answer), refusal(answer)) == ([413], "too-large")
        assert await counted(store) == before


@ON_SQLITE
async def test_a_slow_body_is_refused(store: Store) -> None:
    """A client that sends a byte at a time is cut off, whatever it announced."""
    async with running_service(store, body_seconds=0.2) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(head("Content-Length: 100000"))
        answer = asyncio.create_task(reader.read())
        while not answer.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b" ")
                await writer.drain()
            await asyncio.sleep(0.02)
        writer.close()
        assert (statuses(answer.result()), refusal(answer.result())) == ([408], "too-slow")


@ON_SQLITE
async def test_a_slow_head_and_an_idle_connection_are_ended(store: Store) -> None:
    """A connection on which no request is completed is closed, before the first request and after it."""
    async with running_service(store, head_seconds=0.2, idle_seconds=0.2) as service:
        assert await service.talk() == b""
        assert await service.talk(b"POST /v1/evidence HTTP/1.1\r\nX-Slow: ") == b""
        assert statuses(await service.talk(whole(sealed()))) == [201]
        assert statuses(await service.talk(whole(sealed()), b"GET")) == [200]
        unread = head("Content-Length: 100000", "Content-Encoding: br")
        assert statuses(await service.talk(unread)) == [415]


@ON_SQLITE
async def test_a_thousand_idle_connections_keep_nobody_out(service: Running) -> None:
    """Submissions are received meanwhile."""
    raise_limit()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(1000):
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            stack.callback(writer.close)
        assert (await service.post(sealed())).status == 201


@ON_SQLITE
async def test_above_the_limit_the_longest_idle_connection_ends(store: Store) -> None:
    """A new client replaces the one that has waited longest, never one that is being answered."""
    async with running_service(store, connections=3) as service:
        opened = [await asyncio.open_connection("127.0.0.1", service.port)]
        opened[0][1].write(head("Content-Length: 100000"))  # a request in progress
        await asyncio.sleep(0)
        opened += [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(4)]
        for reader, _ in opened[1:3]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert (await service.post(sealed())).status == 201
        assert not opened[0][0].at_eof()
        for _, writer in opened:
            writer.close()


@ON_SQLITE
async def test_bodies_together_are_bounded(store: Store) -> None:
    """What exceeds the memory for bodies is refused for now, and there is room again afterwards."""
    body = sealed()
    async with running_service(store, bodies_bytes=len(body) + 10) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(whole(body)[:-1])
        answer = await service.post(body)
        while answer.status == 201:  # the first one has not been read yet
            answer = await service.post(body)
        assert (answer.status, answer.refusal) == (503, "busy") or answer.status == 200
        writer.write(body[-1:])
        assert statuses(await reader.readuntil(b"\r\n\r\n"))[0] in {200, 201}
        writer.close()
        assert (await service.post(body)).status == 200


TWICE = f"Content-Length: {len(sealed())}", "Transfer-Encoding: chunked"
MALFORMED = {
    "two lengths": head("Content-Length: 5", "Content-Length: 6") + b"hello",
    "length and chunks": head(*TWICE) + b"0\r\n\r\n",
    "chunks and length": head(*reversed(TWICE)) + b"0\r\n\r\n",
    "negative length": head("Content-Length: -1"),
    "bad chunk": head("Transfer-Encoding: chunked") + b"xyz\r\n",
    "other coding": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "name with a space": head("X Y: z", "Content-Length: 0"),
    "NUL": head("X-Y: a\0b", "Content-Length: 0"),
    "lone CR": head("X-Y: a\rSet-Cookie: b", "Content-Length: 0"),
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
}
"""What is not HTTP/1.1, or can be read in two ways."""


@ON_SQLITE
async def test_what_is_not_http_is_refused(service: Running) -> None:
    """The answer is 400 with problem details, and the connection ends: what follows is not read as a request."""
    before = await counted(service.store)
    for name, request in MALFORMED.items():
        answer = await service.talk(request + whole(sealed()))
        assert (name, statuses(answer)) == (name, [400])
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
            "type": "about:blank", "title": "Bad Request", "status": 400,
        }  # fmt: skip
        assert b"connection: close" in answer.lower()
    assert await counted(service.store) == before


@ON_SQLITE
async def test_a_head_without_end_is_refused(service: Running) -> None:
    """What does not become a request within 32 KiB is not waited for."""
    assert statuses(await service.talk(b"GET /healthz HTTP/1.1\r\nHost: collect\r\nX-Y: " + b"z" * 40_000)) == [400]


async def test_a_client_that_does_not_read_is_ended() -> None:
    """An answer that nobody takes does not hold its connection forever."""
    ended = asyncio.Event()

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    limits = DEFAULT_LIMITS._replace(stall_seconds=0.2, shutdown_seconds=1)
    async with serving(application, await listening(), limits=limits) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(head(method="GET", path="/"))
            await ended.wait()


@ON_SQLITE
async def test_requests_in_progress_are_answered_before_the_end(store: Store) -> None:
    """A service that is stopped takes the rest of a submission, stores it, and answers."""
    body = sealed()
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(running_service(store))
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(head(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [100]  # it is being received
        ending = asyncio.create_task(stack.aclose())
        while await accepts(service.port):
            pass
        writer.write(body)
        assert statuses(await reader.read()) == [201]
        writer.close()
        await ending
    assert (await counted(store))["evidence"] == 1


@ON_SQLITE
@pytest.mark.parametrize(("error", "refused"), [(StoreUnavailableError, "unavailable"), (StoreFullError, "full")])
async def test_a_database_that_does_not_take_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: type[StoreUnavailableError], refused: str
) -> None:
    """The client is asked to come again, at a time; nothing counts as received."""

    async def fail(*_: object) -> None:
        raise error("The database is away.", advice="Wait.")

    async with running_service(store) as service:
        with monkeypatch.context() as changed:
            changed.setattr(evidence, "add_all", fail)
            answer = await service.post(sealed())
        assert (answer.status, answer.refusal, answer.headers["retry-after"]) == (503, refused, "30")
        assert (await service.post(sealed())).status == 201


@ON_SQLITE
async def test_readiness_follows_the_database(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready while it answers and has the tables of this version; otherwise 503, and alive all the same."""

    def away() -> None:
        raise StoreUnavailableError("It is away.", advice="Wait.")

    async with running_service(store) as service:
        assert (await service.ask("GET", "/readyz")).body == b"ready\n"
    async with running_service(store, registers=False) as service:
        monkeypatch.setattr(store, "connect", away)
        answer = await service.ask("GET", "/readyz")
        assert (answer.status, answer.refusal) == (503, "unavailable")
        assert (await service.ask("GET", "/healthz")).body == b"ok\n"
