"""Clients that are slow, greedy, broken or malicious, and many at once: what they may cost the witness's server.

Counts and limits are probed, not the clock: a limit is set so short that its client oversteps it, or so long that
nobody can.

Room: tests of witness. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web
from detector_testing.streams import connect
from OpenSSL import SSL
from support.witnesses import EXAM, PATIENT, client_of, endpoint, holding, until, witness_of

from detector import Detector
from detector.probe.tls.openssl import OpenSSLHandshake
from detector.trust import witness_statement
from detector.witness.server import _HTTP, _HTTP_KEY, Limits, WitnessServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from detector_testing import Issued, PrivatePKI

    Settings = Callable[..., dict[str, Any]]

TARGET = witness_statement.request_target(bytes(32))
REQUEST = f"GET {TARGET} HTTP/1.1\r\nHost: {EXAM}\r\n\r\n".encode()
SHORT = 0.2
"""Seconds of a limit that is to be overstepped."""


@pytest.fixture(scope="module")
def issued(pki: PrivatePKI) -> Issued:
    """The origin's certificate."""
    return pki.issue([EXAM])


def limits(**changed: float) -> Limits:
    """Limits nobody meets, but for these."""
    return msgspec.structs.replace(PATIENT, **changed)


def client_hello() -> bytes:
    """The first flight of an honest client."""
    return OpenSSLHandshake(EXAM).start()


async def nobody_left(server: WitnessServer) -> None:
    """Wait until every connection is gone."""
    await until(lambda: not server.clients)
    assert server.waiting == {}


def serving_of(server: WitnessServer) -> _HTTP:
    """The second part of the only connection there is."""
    (connection,) = server.clients
    serving = connection.transport.get_extra_info(_HTTP_KEY)
    assert isinstance(serving, _HTTP)
    return serving


class TestHandshake:
    @pytest.mark.parametrize("sent", [b"", b"\x16\x03", client_hello()[:100], client_hello()], ids=range(4))
    async def test_slow_handshakes_end(self, issued: Issued, sent: bytes) -> None:
        """Who says nothing, half a hello, or a hello and no more, is cut off when the time is over."""
        async with witness_of(issued, limits=limits(handshake=SHORT)) as server, contextlib.AsyncExitStack() as stack:
            for _ in range(20):
                await stack.enter_async_context(holding(server, sent))
            await until(lambda: server.counts.accepted == 20)
            await nobody_left(server)
            assert server.counts.timed_out == server.counts.failed_handshakes == 20

    async def test_a_dripping_hello_gains_no_time(self, issued: Issued) -> None:
        """The handshake's time is not renewed by each byte."""
        async with witness_of(issued, limits=limits(handshake=SHORT)) as server, holding(server) as stream:
            with contextlib.suppress(ConnectionError):
                for byte in client_hello():
                    await stream.write(bytes([byte]))
                    await asyncio.sleep(0.01)
            await nobody_left(server)
            assert server.counts.timed_out == 1

    async def test_a_hello_without_end(self, issued: Issued) -> None:
        """A message that OpenSSL would go on waiting for is given up once it is larger than any hello."""
        hello = b"\x01\x01\x80\x00" + bytes(0x10000)
        records = b"".join(
            b"\x16\x03\x01\x40\x00" + hello[start : start + 0x4000] for start in range(0, 0x10000, 0x4000)
        )
        async with witness_of(issued, limits=limits()) as server, holding(server, records):
            await until(lambda: server.counts.failed_handshakes == 1)
            await nobody_left(server)
            assert server.counts.timed_out == 0

    @pytest.mark.parametrize(
        "sent",
        [
            b"GET / HTTP/1.1\r\nHost: exam.example.edu\r\n\r\n",
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37),
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
            b"\x15\x03\x01\x00\x02\x02\x28",
            b"\x17\x03\x03\x00\x01\x00",
            b"\x16\x03\x01\xff\xff",
            bytes(range(256)) * 16,
        ],
        ids=["http", "sslv2", "server-hello", "alert", "data", "long-record", "bytes"],
    )
    async def test_what_is_no_hello(self, issued: Issued, sent: bytes) -> None:
        """It is a failed handshake at once, without waiting for more."""
        async with witness_of(issued, limits=limits()) as server, holding(server, sent):
            await until(lambda: server.counts.failed_handshakes == 1)
            await nobody_left(server)
            assert server.counts.timed_out == 0

    async def test_who_leaves_in_the_middle(self, issued: Issued) -> None:
        """A client that goes away during the handshake leaves nothing behind."""
        async with witness_of(issued, limits=limits()) as server:
            async with holding(server, client_hello()):
                await until(lambda: len(server.clients) == 1)
            await nobody_left(server)
            assert (server.counts.failed_handshakes, server.counts.timed_out) == (1, 0)

    async def test_renegotiation_is_refused(self, issued: Issued) -> None:
        """A client cannot make the server shake hands again and again on one connection."""
        async with (
            witness_of(issued, limits=limits()) as server,
            client_of(server, version=ssl.TLSVersion.TLSv1_2) as client,
        ):
            assert (await client.get(TARGET)).status == 200
            client.connection.renegotiate()
            with pytest.raises((SSL.Error, ConnectionError)):
                await client.stream.handshake()
            assert client.connection.total_renegotiations() <= 1  # its own attempt


class TestRequests:
    async def test_slow_heads_end(self, issued: Issued) -> None:
        """Who never completes a head, or never begins one, is cut off; an byte now and then gains no time."""
        async with witness_of(issued, limits=limits(head=SHORT)) as server, client_of(server) as one:
            async with client_of(server):
                with contextlib.suppress(ConnectionError, SSL.Error):
                    for byte in REQUEST * 10:
                        await one.stream.write(bytes([byte]).replace(b"\n", b"x"))
                        await asyncio.sleep(0.01)
                await nobody_left(server)
            assert (server.counts.timed_out, server.counts.requests) == (2, 0)

    async def test_slow_second_head_ends(self, issued: Issued) -> None:
        """The limit is one for every request, not only for the first."""
        async with witness_of(issued, limits=limits()) as server, client_of(server) as client:
            assert (await client.get(TARGET)).status == 200
            serving_of(server)._limits = limits(head=SHORT)
            await client.stream.write(REQUEST[:-4])
            await nobody_left(server)
            assert (server.counts.timed_out, server.counts.requests) == (1, 1)

    async def test_idle_connections_end(self, issued: Issued) -> None:
        """After an answer the next request is waited for as long as the limit says."""
        async with witness_of(issued, limits=limits(idle=SHORT)) as server, client_of(server) as client:
            assert (await client.get(TARGET)).status == 200
            await nobody_left(server)
            assert server.counts.requests == 1

    @pytest.mark.parametrize("line", [b"X-%d: " + b"y" * 1000 + b"\r\n", b"x%d" + b"y" * 1000])
    async def test_a_huge_head(self, issued: Issued, line: bytes) -> None:
        """Many fields, or one without end: refused with a status, and the connection is over."""
        async with witness_of(issued, limits=limits(head_bytes=32 * 1024)) as server, client_of(server) as client:
            received = b""
            with contextlib.suppress(ConnectionError, SSL.Error):
                await client.stream.write(REQUEST[:-2])
                for number in range(200):
                    await client.stream.write(line % number)
            with contextlib.suppress(ConnectionError, SSL.Error):
                received = await client.stream.read()
            await nobody_left(server)
            assert received == b"" or received.startswith((b"HTTP/1.1 431 ", b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
            assert server.counts.requests == 0

    async def test_a_large_body_is_no_head(self, issued: Issued) -> None:
        """Bytes behind the head do not count as head, in one piece with it or not."""

        async def submit(request: web.Request) -> web.Response:
            return web.Response(text=str(len(await request.read())))

        application = web.Application(client_max_size=1 << 22)
        application.router.add_post("/", submit)
        small = limits(head_bytes=1024)
        async with witness_of(issued, limits=small, application=application) as server, client_of(server) as client:
            for _ in range(2):
                assert (await client.get("/", method="POST", body=bytes(1 << 20))).body == b"1048576"

    async def test_requests_on_one_connection(self, issued: Issued) -> None:
        """The last one says so, and the connection ends behind it."""
        async with witness_of(issued, limits=limits(requests=3)) as server, client_of(server) as client:
            answers = [await client.get(target) for target in (TARGET, "/", TARGET)]
            assert [answer.headers.get("connection") for answer in answers] == [None, None, "close"]
            assert await client.stream.read() == b""
            await nobody_left(server)

    async def test_pipelined_requests(self, issued: Issued) -> None:
        """Requests sent in one go are answered in order, up to the limit of one connection."""
        async with witness_of(issued, limits=limits(requests=50)) as server, client_of(server) as client:
            await client.stream.write(REQUEST * 60)
            received = b""
            while data := await client.stream.read():
                received += data
            assert received.count(b"HTTP/1.1 200 OK") == 50
            await nobody_left(server)

    async def test_who_never_reads(self, issued: Issued) -> None:
        """Answers nobody takes are held back, and then given up."""
        async with (
            witness_of(issued, limits=limits(stall=1.0, requests=1 << 20)) as server,
            client_of(server) as client,
        ):
            (connection,) = server.clients
            sizes = []

            async def ask_on() -> None:
                while True:
                    await client.stream.write(REQUEST * 16)

            def gone() -> bool:
                sizes.append(connection.transport.get_write_buffer_size())
                return not server.clients

            asking = asyncio.ensure_future(ask_on())
            try:
                await until(gone)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            assert 0 < max(sizes) < 1 << 18
            assert server.counts.timed_out == 1

    async def test_who_announces_a_body_and_sends_none(self, issued: Issued) -> None:
        """An application that waits for a body is freed from a client that does not send it."""
        cancelled = asyncio.Event()

        async def submit(request: web.Request) -> web.Response:
            try:
                await request.read()
            finally:
                cancelled.set()
            raise AssertionError("there was no body")

        application = web.Application()
        application.router.add_post("/", submit)
        async with witness_of(issued, limits=limits(stall=SHORT), application=application) as server:
            async with client_of(server) as client:
                await client.stream.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
                await nobody_left(server)
            await cancelled.wait()
            assert server.counts.timed_out == 1

    async def test_who_takes_something_is_borne_with(self, issued: Issued) -> None:
        """An application that thinks for long, and a client that takes its time but takes, are no stalls."""
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(_request: web.Request) -> web.Response:
            asked.set()
            await go_on.wait()
            return web.Response(text="done")

        application = web.Application()
        application.router.add_get("/", slow)
        async with witness_of(issued, limits=limits(), application=application) as server, client_of(server) as client:
            answer = asyncio.ensure_future(client.get("/"))
            await asked.wait()
            for _ in range(3):
                serving_of(server)._check_progress()
            go_on.set()
            assert (await answer).body == b"done"

    async def test_who_leaves_in_the_middle(self, issued: Issued) -> None:
        """A client that vanishes while it is being answered leaves nothing behind, and nothing in the log."""
        async with witness_of(issued, limits=limits()) as server:
            async with client_of(server) as client:
                await client.stream.write(REQUEST * 10)
            async with client_of(server) as client:
                await client.stream.write(REQUEST[:10])
            await nobody_left(server)


class TestCrowd:
    async def test_a_newcomer_takes_the_place_of_who_waits_longest(self, issued: Issued) -> None:
        """Connections that only wait make room, the oldest first; there are never more than may be."""
        async with (
            witness_of(issued, limits=limits(connections=3, patience=0)) as server,
            contextlib.AsyncExitStack() as stack,
        ):
            held = []
            for _ in range(10):
                held.append(await stack.enter_async_context(holding(server)))
                await until(lambda: server.counts.accepted == len(held))
                assert len(server.clients) <= 3
            assert (server.counts.displaced, server.counts.refused) == (7, 0)
            with contextlib.suppress(ConnectionError):
                assert await held[0].read() == b""

    async def test_a_crowd_in_one_moment(self, issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
        """Connections that come faster than others can be closed are never more than may be either."""
        crowded = limits(connections=5, patience=0)
        async with witness_of(issued, limits=crowded) as server, contextlib.AsyncExitStack() as stack:
            admit, sizes = server.admit, []

            def counting(transport: asyncio.Transport) -> object:
                client = admit(transport)
                sizes.append(len(server.clients))
                return client

            monkeypatch.setattr(server, "admit", counting)
            await asyncio.gather(*(stack.enter_async_context(holding(server)) for _ in range(50)))
            await until(lambda: len(sizes) == 50)
            assert max(sizes) == 5
            assert server.counts.displaced == 45

    async def test_who_waits_longest(self, issued: Issued) -> None:
        """The wait begins again with the handshake and with every answer."""
        crowded = limits(connections=2, patience=0)
        async with witness_of(issued, limits=crowded) as server, contextlib.AsyncExitStack() as stack:
            bare = await stack.enter_async_context(holding(server))
            await until(lambda: len(server.clients) == 1)
            (first,) = server.clients
            await stack.enter_async_context(holding(server))
            await until(lambda: len(server.clients) == 2)
            client = await stack.enter_async_context(client_of(server, over=bare))
            await stack.enter_async_context(holding(server))
            await until(lambda: server.counts.displaced == 1)
            assert first in server.clients
            assert (await client.get(TARGET)).status == 200
            await stack.enter_async_context(holding(server))
            await until(lambda: server.counts.displaced == 2)
            assert first in server.clients
            await stack.enter_async_context(holding(server))
            await until(lambda: server.counts.displaced == 3)
            assert first not in server.clients

    async def test_a_crowd_that_has_just_come_is_not_displaced(self, issued: Issued) -> None:
        """Who came a moment ago is being served; the newcomer waits, is not reset, and is served when one leaves."""
        patient = limits(connections=2, patience=60)
        async with witness_of(issued, limits=patient) as server, holding(server):
            async with holding(server):
                await until(lambda: len(server.clients) == 2)
                waiting = await connect(server.address)
                await until(lambda: server.counts.held == 1)
                assert (len(server.clients), server.counts.displaced) == (2, 0)
            async with client_of(server, over=waiting) as client:
                assert (await client.get(TARGET)).status == 200
            assert (server.counts.displaced, server.counts.refused) == (0, 0)

    async def test_a_hall_that_comes_at_once(self, issued: Issued) -> None:
        """Many more clients than there are places: none is reset, each is answered in its turn."""
        async with witness_of(issued, limits=limits(connections=1, patience=60)) as server:

            async def ask() -> int:
                async with client_of(server) as client:
                    return (await client.get(TARGET)).status

            assert set(await asyncio.gather(*(ask() for _ in range(50)))) == {200}
            counts = server.counts
            assert (counts.accepted, counts.displaced, counts.refused) == (50, 0, 0)
            assert counts.held > 0

    async def test_without_open_files(self, issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that the system cannot give us is counted, and the next one is served."""
        loop = asyncio.get_running_loop()
        accept, failures = loop.sock_accept, iter([OSError(errno.EMFILE, "Too many open files")])

        async def sometimes(listening: socket.socket) -> tuple[socket.socket, Any]:
            for failure in failures:
                raise failure
            return await accept(listening)

        monkeypatch.setattr(loop, "sock_accept", sometimes)
        async with witness_of(issued, limits=limits()) as server, client_of(server) as client:
            assert (await client.get(TARGET)).status == 200
            assert server.counts.refused == 1

    async def test_who_waits_is_served_once_another_has_waited_longer(self, issued: Issued) -> None:
        """Nobody has to leave: a connection that only holds its place gives it up after its patience."""
        async with witness_of(issued, limits=limits(connections=1, patience=SHORT)) as server, holding(server):
            await until(lambda: len(server.clients) == 1)
            async with client_of(server) as client:
                assert (await client.get(TARGET)).status == 200
            assert (server.counts.held, server.counts.displaced) == (1, 1)

    async def test_who_is_being_answered_is_not_displaced(self, issued: Issued) -> None:
        """A request in progress keeps its place against everybody."""
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(_request: web.Request) -> web.Response:
            asked.set()
            await go_on.wait()
            return web.Response(text="done")

        application = web.Application()
        application.router.add_get("/", slow)
        crowded = limits(connections=1, patience=60)
        async with witness_of(issued, limits=crowded, application=application) as server, client_of(server) as client:
            answer = asyncio.ensure_future(client.get("/"))
            await asked.wait()
            async with holding(server):
                await until(lambda: server.counts.held == 1)
                go_on.set()
                assert (await answer).body == b"done"
            assert server.counts.displaced == 0

    async def test_holders_keep_nobody_out(self, issued: Issued, settings_of: Settings) -> None:
        """With every place taken by clients that do nothing, in every state, an honest one is still served."""
        async with (
            witness_of(issued, limits=limits(connections=12, patience=0)) as server,
            contextlib.AsyncExitStack() as stack,
        ):
            for sent in (b"", b"\x16\x03", client_hello()) * 4:
                await stack.enter_async_context(holding(server, sent))
            idle = await stack.enter_async_context(client_of(server))
            await idle.stream.write(REQUEST[:10])
            await until(lambda: len(server.clients) == 12)
            async with Detector(**settings_of(endpoint(server.address))) as subject:
                report = await subject.check(deadline=60)
            assert report.results[0].assurance == "witnessed"
            assert len(server.clients) <= 12
