"""The ClientHello of a connection of Python's ssl: which one is kept, for how long, and what a connection pays for it.

Room: tests of origin. TLS in memory; opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import ssl
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from detector.origin import capture
from detector.origin.capture import HelloCapture
from detector.origin.offer import HELLO_BYTES_MAX, Offer
from detector.probe.tls.hello import parse_client_hello

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector_testing import PrivatePKI

HOST = "exam.example.edu"
V = ssl.TLSVersion
HEADER = 5
"""Bytes of a record's header."""


class Ends:
    """Both ends of one TLS connection, and the bytes that the client sent."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.to_client, self.to_server, self.sent = ssl.MemoryBIO(), ssl.MemoryBIO(), b""
        self._client_out, self._server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.to_client, self._client_out, server_hostname=HOST, session=session)
        self.server = server.wrap_bio(self.to_server, self._server_out, server_side=True)

    def carry(self) -> None:
        """Deliver what both have written."""
        data = self._client_out.read()
        self.sent += data
        self.to_server.write(data)
        self.to_client.write(self._server_out.read())

    def shake_hands(self) -> Ends:
        """Complete the handshake, and deliver the tickets that follow it."""
        waiting = [self.client, self.server]
        while waiting:
            for end in tuple(waiting):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    waiting.remove(end)
                self.carry()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.read()
        return self

    @property
    def first_hello(self) -> bytes:
        """The handshake message in the first record that the client sent."""
        return self.sent[HEADER : HEADER + int.from_bytes(self.sent[HEADER - 2 : HEADER], "big")]


@pytest.fixture
def server(pki: PrivatePKI) -> ssl.SSLContext:
    """A server's settings as the standard library makes them."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pki.issue([HOST]).configure_cert(context)
    return context


@pytest.fixture
def client(pki: PrivatePKI) -> ssl.SSLContext:
    """A client that trusts the private PKI."""
    context = ssl.create_default_context()
    pki.configure_trust(context)
    return context


@pytest.fixture
def captured(server: ssl.SSLContext) -> HelloCapture:
    """A capture that is installed on the server's context."""
    subject = HelloCapture()
    assert subject.install(server) is None
    return subject


class TestWhichHello:
    @pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
    def test_the_message_that_the_client_sent(
        self, version: V, server: ssl.SSLContext, client: ssl.SSLContext, captured: HelloCapture
    ) -> None:
        """Byte for byte the handshake message of the client's first record, in both versions of TLS."""
        client.maximum_version = version
        ends = Ends(client, server).shake_hands()
        assert captured.hello(ends.server) == ends.first_hello
        assert parse_client_hello(ends.first_hello).server_name == HOST

    def test_the_first_one_when_the_server_asks_for_another(
        self, server: ssl.SSLContext, client: ssl.SSLContext, captured: HelloCapture
    ) -> None:
        """After a HelloRetryRequest a client sends a second hello; the first one is what it chose by itself."""
        server.set_ecdh_curve("secp521r1")  # no client sends a key share for it
        ends = Ends(client, server).shake_hands()
        hellos = ends.sent.count(parse_client_hello(ends.first_hello).random)
        assert hellos == 2
        assert captured.hello(ends.server) == ends.first_hello

    @pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
    def test_a_resumed_session_has_a_hello_of_its_own(
        self, version: V, server: ssl.SSLContext, client: ssl.SSLContext, captured: HelloCapture
    ) -> None:
        """The second connection resumes; its hello is the one it sent, and offers what the first one offered."""
        client.maximum_version = version
        first = Ends(client, server).shake_hands()
        second = Ends(client, server, session=first.client.session).shake_hands()
        assert second.client.session_reused
        assert captured.hello(second.server) == second.first_hello != first.first_hello
        whole, resumed = (parse_client_hello(ends.first_hello) for ends in (first, second))
        assert resumed.cipher_suites == whole.cipher_suites
        assert resumed.groups == whole.groups

    def test_a_name_that_is_served_by_another_context(
        self, server: ssl.SSLContext, client: ssl.SSLContext, captured: HelloCapture, pki: PrivatePKI
    ) -> None:
        """The hello is there although the callback for server names changes the context during the handshake."""
        other = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        pki.issue([HOST]).configure_cert(other)

        def choose(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
            connection.context = other

        server.sni_callback = choose
        ends = Ends(client, server).shake_hands()
        assert captured.hello(ends.server) == ends.first_hello

    def test_renegotiation_changes_nothing(self, server: ssl.SSLContext, captured: HelloCapture) -> None:
        """A client that asks for another handshake of TLS 1.2 is refused, and its first hello is what stays."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        accepting = server.wrap_bio(to_server, to_client, server_side=True)

        def carry() -> None:
            with contextlib.suppress(SSL.WantReadError):
                to_server.write(client.bio_read(65536))
            if to_client.pending:
                client.bio_write(to_client.read())

        for _ in range(3):
            for end in (client, accepting):
                with contextlib.suppress(SSL.WantReadError, ssl.SSLWantReadError):
                    end.do_handshake()
                carry()
        first = captured.hello(accepting)
        assert first is not None
        assert client.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        carry()
        with pytest.raises(ssl.SSLWantReadError):  # the server answers with an alert, and goes on waiting
            accepting.read()
        carry()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            client.do_handshake()
        assert captured.hello(accepting) == first

    def test_what_the_context_sends_as_a_client_is_not_kept(
        self, server: ssl.SSLContext, client: ssl.SSLContext
    ) -> None:
        """A hello that this end wrote is nobody's offer."""
        subject = HelloCapture()
        assert subject.install(client) is None
        ends = Ends(client, server).shake_hands()
        assert subject.hello(ends.client) is None
        assert len(subject) == 0

    @pytest.mark.parametrize("other", [None, object(), "text", 5, []])
    def test_what_is_no_connection_has_no_hello(self, other: object, captured: HelloCapture) -> None:
        """A transport without TLS returns None where others return their connection."""
        assert captured.hello(other) is None


class TestCallbacks:
    def test_a_callback_that_is_there_is_still_called(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        """A callback that was there already sees the same ones, with the same arguments."""

        def trace(context: ssl.SSLContext) -> list[tuple[object, ...]]:
            seen: list[tuple[object, ...]] = []

            def callback(_connection: object, *arguments: object) -> None:
                seen.append(arguments[:-1])

            context._msg_callback = callback  # type: ignore[attr-defined] # in no stub
            return seen

        alone = trace(server)
        Ends(client, server).shake_hands()
        again = trace(server)
        subject = HelloCapture()
        assert subject.install(server) is None
        ends = Ends(client, server).shake_hands()
        assert again == alone
        assert captured_hello(subject, ends)
        assert server._msg_callback is not None  # type: ignore[attr-defined] # in no stub

    def test_two_captures_see_the_same(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        """Two parts of one program may each have one."""
        both = HelloCapture(), HelloCapture()
        assert [subject.install(server) for subject in both] == [None, None]
        ends = Ends(client, server).shake_hands()
        assert all(captured_hello(subject, ends) for subject in both)
        assert server._msg_callback is None  # type: ignore[attr-defined] # in no stub; nobody else's callback is there


def captured_hello(subject: HelloCapture, ends: Ends) -> bool:
    """Whether the capture has this connection's hello."""
    return subject.hello(ends.server) == ends.first_hello


class TestBounds:
    def test_nothing_outlives_its_connection(
        self, server: ssl.SSLContext, client: ssl.SSLContext, captured: HelloCapture
    ) -> None:
        """Thousands of connections one after the other leave nothing."""
        for _ in range(2000):
            ends = Ends(client, server)
            with contextlib.suppress(ssl.SSLWantReadError):
                ends.client.do_handshake()
            ends.carry()
            with contextlib.suppress(ssl.SSLWantReadError):
                ends.server.do_handshake()
            assert captured.hello(ends.server) is not None
            assert len(captured) <= 2
        del ends
        gc.collect()
        assert len(captured) == 0

    def test_the_oldest_is_forgotten(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        """More connections at once than the limit: the newest are known."""
        subject = HelloCapture(connections=3)
        subject.install(server)
        held = [Ends(client, server).shake_hands() for _ in range(5)]
        assert [subject.hello(ends.server) is not None for ends in held] == [False, False, True, True, True]

    @pytest.mark.parametrize(("size", "kept"), [(HELLO_BYTES_MAX, HELLO_BYTES_MAX), (HELLO_BYTES_MAX + 1, 4)])
    def test_only_the_header_of_a_huge_hello_is_kept(
        self,
        size: int,
        kept: int,
        server: ssl.SSLContext,
        client: ssl.SSLContext,
    ) -> None:
        """OpenSSL accepts 128 KiB; of a hello that is no browser's, its length says so."""
        subject = HelloCapture()
        connection = Ends(client, server).server
        subject._seen(connection, b"\1" + (size - 4).to_bytes(3, "big") + bytes(size - 4))
        hello = subject.hello(connection)
        assert hello is not None
        assert len(hello) == kept

    def test_what_openssl_accepts_is_read(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        """No change of a ClientHello that the server accepts makes it one that cannot be read: that would hide it."""
        subject, drawn, accepted = HelloCapture(), random.Random(1), 0  # noqa: S311 - the same in each run
        subject.install(server)
        hello = Ends(client, server).shake_hands().first_hello
        extensions = parse_client_hello(hello).extensions
        start = hello[4 : len(hello) - sum(4 + len(body) for _, body in extensions) - 2]
        for _ in range(500):
            changed = list(extensions)
            for at in drawn.choices(range(len(changed)), k=2):
                kind = drawn.choice([changed[at][0], 27, drawn.randrange(1 << 16)])
                changed[at : at + drawn.randrange(2)] = [(kind, drawn.randbytes(drawn.choice([0, 1, 3, 300, 9000])))]
            coded = b"".join(struct.pack(">HH", kind, len(body)) + body for kind, body in changed)
            message = start + len(coded).to_bytes(2, "big") + coded
            message = b"\1" + len(message).to_bytes(3, "big") + message
            arriving, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
            for part in (message[at : at + 0x4000] for at in range(0, len(message), 0x4000)):
                arriving.write(b"\x16\3\1" + len(part).to_bytes(2, "big") + part)
            connection = server.wrap_bio(arriving, answer, server_side=True)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
                connection.do_handshake()
            if answer.read(1) == b"\x16":  # not an alert
                accepted += 1
                Offer.of_hello(subject.hello(connection) or b"")
        assert accepted > 50

    @given(data=st.binary(max_size=2000))
    def test_any_bytes_end_the_handshake_with_an_error_of_ssl(self, data: bytes) -> None:
        """Whatever arrives, the callback adds no exception of its own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        subject = HelloCapture()
        assert subject.install(context) is None
        for start in (b"", b"\x16\x03\x01" + len(data).to_bytes(2, "big")):
            arriving = ssl.MemoryBIO()
            arriving.write(start + data)
            connection = context.wrap_bio(arriving, ssl.MemoryBIO(), server_side=True)
            with pytest.raises((ssl.SSLError, ssl.SSLWantReadError)):
                connection.do_handshake()


class TestUnavailable:
    @pytest.fixture(autouse=True)
    def asked_again(self) -> Iterator[None]:
        """The answer is remembered for the process: ask before and after."""
        capture.unavailable.cache_clear()
        yield
        capture.unavailable.cache_clear()

    @pytest.mark.parametrize("error", [AttributeError("no attribute"), NotImplementedError(), TypeError("read only")])
    def test_without_the_callback_it_is_off(
        self,
        error: Exception,
        server: ssl.SSLContext,
        client: ssl.SSLContext,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A Python whose ssl has no such attribute: a sentence, a warning, and connections that work."""

        def missing() -> Any:  # noqa: ANN401 - never returns
            raise error

        monkeypatch.setattr(capture, "_descriptor", missing)
        subject = HelloCapture()
        with caplog.at_level(logging.WARNING, "detector.origin"):
            problem = subject.install(server)
        assert problem is not None
        assert problem.startswith("ClientHellos are not captured: ")
        assert caplog.messages == [problem]
        ends = Ends(client, server).shake_hands()
        assert subject.hello(ends.server) is None

    def test_a_callback_that_is_never_called_is_noticed(
        self, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that can be set and reports nothing is not relied upon."""
        monkeypatch.setattr(capture, "_set_callback", lambda *_: None)
        problem = HelloCapture().install(server)
        assert problem == (
            "ClientHellos are not captured: the ssl module of this Python does not report them to its callback."
        )


async def test_what_a_transport_returns_is_the_connection(
    server: ssl.SSLContext, client: ssl.SSLContext, captured: HelloCapture
) -> None:
    """The hello is found by the transport's `ssl_object`, from the start of the protocol on."""
    found: list[bytes | None] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            found.append(captured.hello_of(transport))
            transport.close()

    listening = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, ssl=server)
    async with listening:
        address = listening.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address, ssl=client, server_hostname=HOST)
        assert await reader.read() == b""
        writer.close()
    (hello,) = found
    assert hello is not None
    assert parse_client_hello(hello).server_name == HOST
