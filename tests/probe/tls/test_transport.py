"""`TLSTransport`: both ends of real connections on loopback, and a misbehaving transport below.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Never, cast

import pytest
from detector_testing.streams import LOOPBACK, server_context
from OpenSSL import SSL
from support.conversations import exam, output_of

from detector.probe.tls.openssl import shared_context
from detector.probe.tls.transport import TLSTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

V = ssl.TLSVersion
BODY = bytes(range(256)) * 16 * 1024
"""4 MiB: more than all buffers together."""

PATIENCE = 30.0
"""Seconds after which a connection that does not end is one that never will."""

both_versions = pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])


class Shaking(asyncio.Protocol):
    """Shakes hands, then stops reading, as the probe and the witness's server do."""

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection
        self.done: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # not every loop's derives from asyncio's class
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self.connection.bio_write(data)
        self._go_on()

    def _go_on(self) -> None:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            self.transport.write(output_of(self.connection))
            return
        self.transport.write(output_of(self.connection))
        if not self.done.done():
            self.transport.pause_reading()
            self.done.set_result(self.transport)


class Listening(asyncio.Protocol):
    """Records every event of a protocol. `react` is called with each piece of data."""

    def __init__(self, react: Callable[[bytes], None] = lambda _data: None, *, keep_open: bool = False) -> None:
        self._pieces: list[bytes] = []
        self.events: list[str] = []
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.full = asyncio.Event()
        self.ended = asyncio.Event()
        self._react = react
        self._keep_open = keep_open

    async def end(self) -> BaseException | None:
        """Wait until the connection is lost, and say how."""
        async with asyncio.timeout(PATIENCE):
            return await self.lost

    @property
    def data(self) -> bytes:
        """All that arrived."""
        return b"".join(self._pieces)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._react(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        self.ended.set()
        return self._keep_open

    def pause_writing(self) -> None:
        self.events.append("pause")
        self.full.set()

    def resume_writing(self) -> None:
        self.events.append("resume")
        self.full.clear()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)


def connections(version: ssl.TLSVersion) -> tuple[SSL.Connection, SSL.Connection]:
    """A client's and a server's connection, the client's as the probe has it."""
    accepting = server_context(exam(), min_version=version, max_version=version)
    accepting.set_options(SSL.OP_NO_TICKET)
    client, server = SSL.Connection(shared_context(), None), SSL.Connection(accepting, None)
    client.set_connect_state()
    server.set_accept_state()
    return client, server


@contextlib.asynccontextmanager
async def pair(version: ssl.TLSVersion = V.TLSv1_3) -> AsyncIterator[tuple[TLSTransport, TLSTransport]]:
    """Client and server end of one connection over a real socket; both are gone when the block ends."""
    loop = asyncio.get_running_loop()
    client, server = connections(version)
    accepted = Shaking(server)
    async with await loop.create_server(lambda: accepted, LOOPBACK, 0) as listening:
        _, connected = await loop.create_connection(lambda: Shaking(client), *listening.sockets[0].getsockname())
        ends = (TLSTransport(client, await connected.done), TLSTransport(server, await accepted.done))
        try:
            yield ends
        finally:
            for end in ends:
                end.abort()
                await end.closed.wait()


def slowly(transport: TLSTransport) -> Callable[[bytes], None]:
    """A reader that pauses after every piece and goes on in a later turn of the loop."""

    def react(_data: bytes) -> None:
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(transport.resume_reading)

    return react


@both_versions
async def test_large_bodies_in_both_directions_with_slow_readers(version: ssl.TLSVersion) -> None:
    """Everything arrives, in order, whichever side is slow; writers are paused and resumed."""
    async with pair(version) as ends:
        protocols = [Listening(slowly(end)) for end in ends]
        for end, protocol in zip(ends, protocols, strict=True):
            end.set_protocol(protocol)
            end.write(BODY)
        assert all(protocol.full.is_set() for protocol in protocols)
        while any(len(protocol.data) < len(BODY) for protocol in protocols):  # noqa: ASYNC110 - the loop has to turn
            await asyncio.sleep(0)
        ends[0].close()
        assert [await protocol.end() for protocol in protocols] == [None, None]
    for protocol in protocols:
        assert protocol.data == BODY
        assert protocol.events[:2] == ["pause", "resume"]


@both_versions
async def test_what_was_written_before_close_arrives(version: ssl.TLSVersion) -> None:
    """Closing right behind a large body loses nothing, and the end is reported as an end."""
    async with pair(version) as (client, server):
        reader, writer = Listening(slowly(client)), Listening()
        client.set_protocol(reader)
        server.set_protocol(writer)
        server.write(BODY)
        server.write(b"")
        server.close()
        server.write(b"too late")
        assert server.is_closing()
        assert await reader.end() is None
        assert await writer.end() is None
    assert (reader.data, reader.events) == (BODY, ["eof", "lost"])
    assert writer.events == ["pause", "resume", "lost"]


@both_versions
async def test_echo_of_a_large_body(version: ssl.TLSVersion) -> None:
    """A body that comes back while it is still being sent is whole."""
    async with pair(version) as (client, server):
        server.set_protocol(Listening(server.write))
        whole = asyncio.Event()
        reader = Listening(lambda _data: whole.set() if len(reader.data) >= len(BODY) else None)
        client.set_protocol(reader)
        client.writelines([BODY[: len(BODY) // 2], memoryview(BODY)[len(BODY) // 2 :]])
        await whole.wait()
    assert reader.data == BODY


async def test_a_peer_that_never_reads_holds_the_writer_back() -> None:
    """The writer is paused and stays so; nothing more is sent; only abort ends it."""
    async with pair() as (_client, server):
        writer = Listening()
        server.set_protocol(writer)
        server.set_write_buffer_limits(high=1024)
        assert server.get_write_buffer_limits() == (256, 1024)
        raw = len(BODY) * 4
        server.write(BODY * 4)
        assert writer.events == ["pause"]
        assert server.get_write_buffer_size() > 1024
        left = server.bytes_sent
        assert left < raw
        server.close()
        await asyncio.sleep(0)
        assert not server.closed.is_set()
        assert server.bytes_sent - left < 1024  # close_notify waits behind the rest
        server.abort()
        assert await writer.end() is None


@both_versions
async def test_cut_off_is_no_end_of_data(version: ssl.TLSVersion) -> None:
    """A TCP connection that ends without close_notify is an error, after all that arrived before it."""
    async with pair(version) as (client, server):
        reader = Listening()
        client.set_protocol(reader)
        server.write(b"half an ans")
        server._below.close()
        assert isinstance(await reader.end(), ConnectionAbortedError)
    assert (reader.data, reader.events) == (b"half an ans", ["lost"])


@both_versions
async def test_half_close(version: ssl.TLSVersion) -> None:
    """Who keeps its side open after the peer's close_notify can still answer, then ends cleanly."""
    async with pair(version) as (client, server):
        server_side = Listening(keep_open=True)
        server.set_protocol(server_side)
        client.write(b"question")
        with contextlib.suppress(SSL.Error):
            client._connection.shutdown()
        client._flush()
        await server_side.ended.wait()
        client_side = Listening()
        client.set_protocol(client_side)
        server.write(b"answer")
        server.close()
        assert await client_side.end() is None
        assert await server_side.end() is None
    assert server_side.data == b"question"
    assert server_side.events == ["eof", "lost"]


@pytest.mark.parametrize("ending", ["close", "abort"])
async def test_ending_inside_data_received(ending: str) -> None:
    """A protocol that ends the connection while data is passed on hears no more data, and the end once."""
    async with pair() as (client, server):
        reader = Listening(lambda _data: getattr(client, ending)())
        client.set_protocol(reader)
        other = Listening()
        server.set_protocol(other)
        server.write(BODY[: 1 << 16])
        assert await reader.end() is None
        await other.end()
    assert len(reader.data) <= 1 << 14
    assert reader.events == ["lost"]


async def test_another_protocol_takes_over_inside_data_received() -> None:
    """What comes behind the first piece goes to the protocol that was set while it was passed on."""
    async with pair() as (client, server):
        second = Listening()
        first = Listening(lambda _data: client.set_protocol(second))
        client.set_protocol(first)
        server.write(b"one")
        server.write(b"two")
        server.close()
        assert await second.end() is None
    assert (first.data, second.data) == (b"one", b"two")
    assert first.events == []


def failures_of_this_loop() -> list[Any]:
    """What nobody catches from now on."""
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
    return failures


def fail(_data: Any) -> Never:  # noqa: ANN401 - whatever it is given
    """A fault of a protocol, or of a test's expectation."""
    raise LookupError("a fault of the protocol")


async def test_a_protocol_that_fails_leaves_nothing_half_open() -> None:
    """Its exception reaches the loop's handler, and the connection is cut."""
    failures = failures_of_this_loop()
    async with pair() as (client, server):
        reader, other = Listening(fail), Listening()
        client.set_protocol(reader)
        server.set_protocol(other)
        server.write(b"data")
        await reader.end()
        assert isinstance(await other.end(), ConnectionError)
    assert [type(failure) for failure in failures] == [LookupError]


async def test_a_protocol_that_fails_at_once_leaves_nothing_half_open() -> None:
    """The same where the data was there before the protocol, so that no transport below is in between."""
    failures = failures_of_this_loop()
    transport, below, server = in_memory()
    below.above.data_received(encrypted(server, b"data"))
    reader = Listening(fail)
    transport.set_protocol(reader)
    await reader.end()
    assert below.ended == "aborted"
    assert [type(failure) for failure in failures] == [LookupError]


async def test_garbage_ends_the_connection_with_an_alert() -> None:
    """Bytes that are not TLS are an error to the reader, and the peer gets an alert."""
    async with pair() as (client, server):
        reader, other = Listening(), Listening()
        client.set_protocol(reader)
        server.set_protocol(other)
        server._below.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert isinstance(await reader.end(), ConnectionAbortedError)
        assert isinstance(await other.end(), ConnectionAbortedError)
    assert other.events == ["lost"]  # an alert, not an end of data


async def test_a_late_protocol_learns_of_a_lost_connection() -> None:
    """A protocol that is set when everything is over hears so instead of waiting for ever."""
    async with pair() as (client, server):
        server.abort()
        client.set_protocol(Listening())
        await client.closed.wait()
        late = Listening()
        client.set_protocol(late)
        assert late.events == []
        assert isinstance(await late.end(), ConnectionError)


async def test_a_protocol_set_while_sending_stalls_is_paused() -> None:
    """pause_writing and resume_writing are balanced for each protocol, as aiohttp's asserts want them."""
    async with pair() as (client, server):
        first, second = Listening(), Listening()
        server.set_protocol(first)
        server.write(BODY * 2)
        server.set_protocol(second)
        assert (first.events, second.events) == (["pause"], ["pause"])
        client.set_protocol(Listening())
        while second.full.is_set():  # noqa: ASYNC110 - the loop has to turn for the socket to drain
            await asyncio.sleep(0)
    assert first.events == ["pause"]
    assert second.events[:2] == ["pause", "resume"]


async def test_streams_work_over_it() -> None:
    """asyncio's own StreamReader and StreamWriter are content with this transport."""
    loop = asyncio.get_running_loop()
    async with pair() as (client, server):
        server.set_protocol(Listening(server.write))
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        client.set_protocol(protocol)
        protocol.connection_made(client)
        writer = asyncio.StreamWriter(client, protocol, reader, loop)
        writer.write(b"line\n")
        await writer.drain()
        assert await reader.readline() == b"line\n"
        assert not writer.can_write_eof()
        writer.close()
        await writer.wait_closed()


async def test_renegotiation_is_refused() -> None:
    """A server that asks for a new handshake, in which it could show another certificate, does not get one."""
    async with pair(V.TLSv1_2) as (client, server):
        reader, other = Listening(), Listening()
        client.set_protocol(reader)
        server.set_protocol(other)
        server._connection.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            server._connection.do_handshake()
        server._flush()
        await other.end()
        await reader.end()
        assert client._connection.total_renegotiations() == 0
        assert server._connection.total_renegotiations() <= 1  # the one it asked for
    assert reader.data == b""


async def test_what_it_is() -> None:
    """Facts are those given, else those of the socket; a protocol is demanded before anything can be read."""
    async with pair() as (client, _):
        below = client._below
        transport = TLSTransport(client._connection, below, extra={"given": 1})
        assert transport.get_extra_info("given") == 1
        assert transport.get_extra_info("sslcontext") is not None
        assert transport.get_extra_info("peername") == below.get_extra_info("peername")
        assert transport.get_extra_info("nothing", "default") == "default"
        with pytest.raises(RuntimeError, match="set_protocol"):
            transport.get_protocol()
        with pytest.raises(TypeError, match="BaseProtocol"):
            transport.set_protocol(asyncio.BaseProtocol())
        assert not transport.is_reading()
        protocol = Listening()
        transport.set_protocol(protocol)
        assert transport.get_protocol() is protocol
        assert transport.is_reading()
        transport.abort()
        await protocol.end()
        client.closed.set()  # its place was taken


async def test_files_are_not_sent_past_the_encryption() -> None:
    """`loop.sendfile` is answered as uvloop answers it, so that web frameworks fall back to writing."""
    async with pair() as (client, _):
        with (
            open(__file__, "rb") as file,  # noqa: ASYNC230, PTH123 - the file is never read
            pytest.raises(NotImplementedError),
        ):
            await asyncio.get_running_loop().sendfile(client, file)


class Below(asyncio.Transport):
    """A transport without a loop's manners: it delivers while paused, and calls back from inside `write`."""

    def __init__(self, *, full_at_once: bool = False) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = ""
        self._full_at_once = full_at_once
        self._above: asyncio.Protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.above = protocol

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return bool(self.ended)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        if self._full_at_once:
            self._full_at_once = False
            self.above.pause_writing()

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, how: str) -> None:
        if not self.ended:
            self.ended = how
            asyncio.get_running_loop().call_soon(self.above.connection_lost, None)


def in_memory(*, full_at_once: bool = False) -> tuple[TLSTransport, Below, SSL.Connection]:
    """A client's transport over `Below`, and the server's connection it has shaken hands with."""
    client, server = connections(V.TLSv1_3)
    for _ in range(3):
        for speaker, listener in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                speaker.do_handshake()
            if raw := output_of(speaker):
                listener.bio_write(raw)
    below = Below(full_at_once=full_at_once)
    return TLSTransport(client, below), below, server


def encrypted(connection: SSL.Connection, data: bytes) -> bytes:
    """What a connection sends when it says `data`."""
    connection.send(data)
    return output_of(connection)


async def test_an_end_that_comes_while_paused_follows_the_data() -> None:
    """Some loops deliver what they had already read, and the end, to a reader that has paused."""
    transport, below, server = in_memory()
    reader = Listening()
    transport.set_protocol(reader)
    transport.pause_reading()
    below.above.data_received(encrypted(server, b"late"))
    below.above.eof_received()
    assert (reader.data, reader.events) == (b"", [])
    transport.resume_reading()
    assert isinstance(await reader.end(), ConnectionAbortedError)
    assert reader.data == b"late"


async def test_a_pause_between_two_protocols_keeps_what_comes_for_the_second() -> None:
    """Who is done pauses; the next protocol gets what came meanwhile, and need not resume."""
    transport, below, server = in_memory()
    first, second = Listening(), Listening()
    transport.set_protocol(first)
    transport.pause_reading()
    below.above.data_received(encrypted(server, b"data"))
    await asyncio.sleep(0)
    assert (first.data, transport.is_reading()) == (b"", False)
    transport.set_protocol(second)
    assert second.data == b""  # not from inside set_protocol: connection_made comes first
    await asyncio.sleep(0)
    assert (first.data, second.data) == (b"", b"data")
    transport.abort()
    await second.end()


async def test_nothing_is_kept_behind_close_notify(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that has said goodbye and goes on talking costs no memory and is not heard."""
    transport, below, server = in_memory()
    reader = Listening(keep_open=True)
    transport.set_protocol(reader)
    with contextlib.suppress(SSL.Error):
        server.shutdown()
    below.above.data_received(output_of(server))
    assert reader.events == ["eof"]
    monkeypatch.setattr(transport._connection, "bio_write", fail)
    below.above.data_received(bytes(1 << 16))
    assert below.ended == ""
    transport.close()
    assert await reader.end() is None
    assert (reader.data, below.ended) == (b"", "closed")


async def test_closing_from_inside_write_loses_nothing() -> None:
    """A protocol that closes when it is paused, in the middle of a write, has still written all of it."""
    transport, below, server = in_memory(full_at_once=True)
    reader = Listening()
    reader.pause_writing = transport.close  # type: ignore[method-assign] # the reaction under test
    transport.set_protocol(reader)
    transport.write(BODY[: 1 << 18])
    assert below.ended == "closed"
    server.bio_write(bytes(below.written))
    received = b""
    with contextlib.suppress(SSL.ZeroReturnError):
        while True:
            received += server.recv(1 << 14)
    assert received == BODY[: 1 << 18]
    assert await reader.end() is None


async def test_nobody_waits_for_a_failed_peer_to_read() -> None:
    """After a failure the alert has a moment to leave; then the connection is cut."""
    transport, below, _ = in_memory()
    reader = Listening()
    transport.set_protocol(reader)
    below.close = lambda: None  # type: ignore[method-assign] # a peer that does not read: closing takes for ever
    await asyncio.sleep(0)
    below.above.data_received(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert isinstance(await reader.end(), ConnectionAbortedError)
    assert below.ended == "aborted"
