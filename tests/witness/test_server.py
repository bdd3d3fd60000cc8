"""The witness's server: what it answers, what it says of a connection, and an application of somebody else's behind it.

Room: tests of witness. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import logging
import ssl
import unittest.mock
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from multidict import CIMultiDict
from OpenSSL import SSL
from support.hellos import client_hello, extension, u16, vector
from support.origin_clients import CHROME, FIREFOX
from support.witnesses import EXAM, Answered, Client, client_of, context_of, endpoint, signing_key, until, witness_of

from detector.errors import ServingError
from detector.model import Outcome
from detector.origin.aiohttp import ASSESSMENT, middleware
from detector.probe import DirectDialer, open_tls
from detector.probe.http.witness import with_witness
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.reader import WireError
from detector.probe.tls.wire import Wire
from detector.trust import witness_statement
from detector.trust.envelope import public_key_of
from detector.trust.witness_statement import BrowserClaim, Negotiated, OfferSeen
from detector.witness.server import (
    PROXY_HEADER_CHARACTERS_MAX,
    PROXY_HEADERS_MAX,
    ServerSession,
    Witness,
    hello_of,
    proxy_headers,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from detector_testing import Issued, PrivatePKI

    from detector.trust.witness_statement import Statement

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

V = ssl.TLSVersion
NONCE = bytes(range(32))
TARGET = witness_statement.request_target(NONCE)
NOW = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def issued(pki: PrivatePKI) -> Issued:
    """The origin's certificate."""
    return pki.issue([EXAM])


def statement_of(answered: Answered) -> Statement:
    """The statement of a right answer."""
    assert (answered.status, answered.headers["content-type"]) == (200, "application/json")
    read = witness_statement.read(answered.body, keys=[public_key_of(signing_key())])
    assert read.problem is None
    assert read.statement is not None
    return read.statement


def exporter_of(client: Client) -> bytes:
    """The client's side of the binding."""
    return client.connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


class TestStatement:
    async def test_what_it_says(self, issued: Issued) -> None:
        """Nonce, binding, ClientHello, parameters, name and time are those of this connection."""
        async with witness_of(issued, clock=lambda: NOW) as server:
            opened = await open_tls(endpoint(server.address), dialer=DirectDialer())
            opened = await with_witness(opened, endpoint(server.address))
            assert opened.connection is not None
            opened.connection.abort()
            await opened.connection.closed.wait()
        observed, handshake = opened.observation.witness, opened.handshake
        assert observed is not None
        assert handshake.client_hello is not None
        statement = witness_statement.read(observed.body, keys=[public_key_of(signing_key())]).statement
        assert statement is not None
        assert statement.nonce == witness_statement.encode_nonce(observed.nonce)
        assert statement.exporter == handshake.channel_binding()
        assert statement.client_hello.sha256 == hashlib.sha256(handshake.client_hello).hexdigest()
        hello = parse_client_hello(handshake.client_hello)
        assert statement.client_hello.ja4 == hello.ja4
        assert statement.client_hello.offer == OfferSeen(
            cipher_suites=hello.cipher_suites,
            groups=hello.groups,
            extensions=tuple(kind for kind, _ in hello.extensions),
            signature_schemes=hello.signature_schemes,
            versions=hello.versions,
            alpn=("http/1.1",),
        )
        assert statement.browser is None  # the detector names no browser
        seen = opened.observation
        agreed = (statement.tls.version, statement.tls.cipher, statement.tls.group, statement.tls.alpn)
        assert agreed == (seen.tls_version, seen.cipher, seen.group, "http/1.1")
        assert (statement.server_name, statement.time, statement.peer) == (EXAM, NOW, None)
        assert statement.proxy_headers == ()

    async def test_tls_1_2(self, issued: Issued) -> None:
        """With extended master secret the binding is there, and what was agreed on is read from the handshake."""
        async with witness_of(issued) as server, client_of(server, version=V.TLSv1_2) as client:
            statement = statement_of(await client.get(TARGET))
            assert statement.exporter == exporter_of(client)
            assert statement.tls.group == "x25519"  # what both offer first
        assert (statement.tls.version, statement.tls.extended_master_secret) == ("TLSv1.2", True)
        assert str(statement.tls.cipher).startswith("TLS_ECDHE_ECDSA_")

    async def test_tls_1_2_without_extended_master_secret(self, issued: Issued) -> None:
        """It is answered, but without a binding: an exporter that is not unique is never signed."""
        async with (
            witness_of(issued) as server,
            client_of(server, version=V.TLSv1_2, extended_master_secret=False) as client,
        ):
            statement = statement_of(await client.get(TARGET))
        assert (statement.exporter, statement.tls.extended_master_secret) == (b"", False)

    async def test_a_witness_that_cannot_tell_accuses_nobody(
        self, issued: Issued, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Were its own ServerHello unreadable to it: TLS 1.3 is bound in any case, of TLS 1.2 it says nothing."""

        def unreadable(_wire: Wire, _data: bytes) -> None:
            raise WireError(Outcome.TLS_FAILURE, "for this test")

        monkeypatch.setattr(Wire, "server", unreadable)
        async with witness_of(issued) as server:
            async with client_of(server, version=V.TLSv1_3) as client:
                assert statement_of(await client.get(TARGET)).exporter == exporter_of(client)
            async with client_of(server, version=V.TLSv1_2) as client:
                assert (await client.get(TARGET)).status == 503

    async def test_every_connection_has_its_own(self, issued: Issued) -> None:
        """Two connections of one client never have one binding, and each has its own all along."""
        async with witness_of(issued) as server, client_of(server) as one, client_of(server) as other:
            first, second, third = [statement_of(await client.get(TARGET)) for client in (one, other, one)]
        assert first.exporter == third.exporter != second.exporter
        assert first.client_hello.sha256 == third.client_hello.sha256 != second.client_hello.sha256

    async def test_retried_handshake(self, issued: Issued) -> None:
        """After a HelloRetryRequest the ClientHello that counts is the first, as for the client."""
        async with witness_of(issued) as server:
            server.tls.set_tmp_ecdh(ec.SECP384R1())
            opened = await open_tls(endpoint(server.address), dialer=DirectDialer())
            opened = await with_witness(opened, endpoint(server.address))
            assert opened.connection is not None
            opened.connection.abort()
            await opened.connection.closed.wait()
        assert opened.observation.group == "secp384r1"
        observed = opened.observation.witness
        assert observed is not None
        statement = witness_statement.read(observed.body, keys=[public_key_of(signing_key())]).statement
        assert statement is not None
        assert statement.client_hello.sha256 == observed.client_hello_sha256
        assert statement.exporter == observed.exporter

    async def test_peer_address_only_on_request(self, issued: Issued) -> None:
        """The client's address is in the statement where the operator wants it, and nowhere else."""
        for wanted, expected in ((True, "127.0.0.1"), (False, None)):
            async with witness_of(issued, peer_address=wanted) as server, client_of(server) as client:
                assert statement_of(await client.get(TARGET)).peer == expected

    async def test_both_keys_sign(self, issued: Issued) -> None:
        """During a rotation each of two keys opens the same answer."""
        old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        async with witness_of(issued, keys=(old, new)) as server, client_of(server) as client:
            body = (await client.get(TARGET)).body
        statements = [witness_statement.read(body, keys=[public_key_of(key)]).statement for key in (old, new)]
        assert statements[0] == statements[1] is not None

    def test_number_of_keys(self) -> None:
        """No key, or three, is a fault of who wrote the program."""
        for number in (0, 3):
            with pytest.raises(ValueError, match="one key"):
                Witness([Ed25519PrivateKey.generate() for _ in range(number)])

    async def test_proxies_give_themselves_away(self, issued: Issued) -> None:
        """Headers that only intermediaries write are repeated; what would tell of the client is only named."""
        sent = (
            ("Via", "1.1 filter.school.example (squid)"),
            ("X-BlueCoat-Via", "abcdef0123456789"),
            ("X-Forwarded-For", "10.1.2.3"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-User", "a.student"),
            ("Forwarded", "for=10.1.2.3"),
            ("X-Real-IP", "10.1.2.3"),
            ("Accept-Language", "de"),
            ("Authorization", "Basic c2VjcmV0"),
        )
        async with witness_of(issued) as server, client_of(server) as client:
            answered = await client.get(TARGET, *sent)
            statement = statement_of(answered)
        assert statement.proxy_headers == (
            ("via", "1.1 filter.school.example (squid)"),
            ("x-bluecoat-via", "abcdef0123456789"),
            ("x-forwarded-for", ""),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-user", ""),
            ("forwarded", ""),
            ("x-real-ip", ""),
        )

    async def test_a_browser_that_cannot_have_sent_it(self, issued: Issued) -> None:
        """A statement has family and version of what User-Agent names, and what contradicts it; nothing more of it."""
        names = {CHROME: ("chromium", 150), FIREFOX: ("firefox", 140), "curl/8.5.0": None, "x" * 7000: None}
        async with witness_of(issued) as server, client_of(server) as client:
            for name, expected in names.items():
                statement = statement_of(await client.get(TARGET, ("User-Agent", name)))
                browser = statement.browser
                assert (browser and (browser.family, browser.major)) == expected
                assert browser is None or "cipher-suite-never-offered" in browser.contradictions
                assert name not in str(statement)

    async def test_an_application_behind_it_sees_the_same(self, issued: Issued) -> None:
        """The middleware of `detector.origin` finds the ClientHello that the witness has."""

        async def verdict(request: web.Request) -> web.Response:
            return web.Response(text=request[ASSESSMENT].judgment.verdict)

        application = web.Application(middlewares=[middleware(hello_of)])
        application.router.add_get("/", verdict)
        async with witness_of(issued, application=application) as server, client_of(server) as client:
            assert (await client.get("/", ("User-Agent", CHROME))).body == b"middleware"
            assert (await client.get("/")).body == b"nothing-seen"

    def test_a_hostile_hello_makes_no_answer_too_large(self) -> None:
        """Whatever an interceptor offers, its client reads the answer, and the answer says what contradicts."""
        most = witness_statement.OFFER_NUMBERS_MAX
        parts = [extension(kind, b"") for kind in range(100, 100 + most - 3)]
        for suites, groups, protocols, kept in (
            (range(most), range(most), [b"\xff" * 8] * 16, True),
            (range(most + 1), range(3), [b"h2"], False),
            (range(3), range(most + 1), [b"h2"], False),
            (range(3), range(3), [b"h2"] * 17, False),
            (range(3), range(3), [b"h" * 33], False),
            (range(16_000), range(3), [b"h2"], False),
        ):
            alpn = vector(b"".join(vector(name, 1) for name in protocols), 2)
            lists = [
                extension(10, vector(u16(*groups), 2)),
                extension(13, vector(u16(*groups), 2)),
                extension(16, alpn),
            ]
            hello = client_hello(0x0303, tuple(suites), *lists, *parts)
            session = ServerSession(exporter=b"e" * 32, hello=hello, tls=Negotiated(), peer=None)
            headers = [("User-Agent", CHROME), *[("Via", "\\" * 256)] * 16]
            transport = unittest.mock.Mock(**{"get_extra_info.return_value": session})
            request = make_mocked_request("GET", TARGET, headers=CIMultiDict(headers), transport=transport)
            body = Witness([signing_key()] * 2).answer(request).body
            assert isinstance(body, bytes)
            assert len(body) < witness_statement.ANSWER_BYTES_MAX
            statement = witness_statement.read(body, keys=[public_key_of(signing_key())]).statement
            assert statement is not None
            assert (statement.client_hello.offer is not None) is kept
            assert statement.client_hello.ja4 is not None
            assert statement.browser is not None
            too_long = max(len(suites), len(groups)) > most  # which no browser sends, and nothing else is read of
            assert ("no-reserved-values" in statement.browser.contradictions) is not too_long

    def test_a_hello_that_cannot_be_parsed_has_a_hash(self) -> None:
        """OpenSSL accepts more than is parsed here: what is known is said."""
        session = ServerSession(exporter=b"e" * 32, hello=b"\x01\0\0\1x", tls=Negotiated(), peer=None)
        transport = unittest.mock.Mock(**{"get_extra_info.return_value": session})
        request = make_mocked_request("GET", TARGET, headers=CIMultiDict({"User-Agent": CHROME}), transport=transport)
        body = Witness([signing_key()]).answer(request).body
        assert isinstance(body, bytes)
        statement = witness_statement.read(body, keys=[public_key_of(signing_key())]).statement
        assert statement is not None
        assert (statement.client_hello.ja4, statement.client_hello.offer, statement.server_name) == (None, None, None)
        assert statement.browser == BrowserClaim(family="chromium", major=150)

    def test_proxy_headers_are_bounded(self) -> None:
        """However many and however long: what a statement repeats stays small and printable."""
        many = proxy_headers([("Via", "é\udcff" + "x" * 10_000), *[("X-Forwarded-" + "y" * 1000, "z")] * 1000])
        assert len(many) == PROXY_HEADERS_MAX
        assert all(len(text) <= PROXY_HEADER_CHARACTERS_MAX and text.isascii() for pair in many for text in pair)


class TestHTTP:
    @pytest.mark.parametrize(
        "query",
        [
            "",
            "?nonce=",
            "?nonce=AAAA",
            f"?nonce={'A' * 44}",
            f"?nonce={'A' * 5000}",
            f"?nonce={'A' * 43}&nonce={'A' * 43}",
        ],
        ids=["none", "empty", "short", "long", "very-long", "two"],
    )
    async def test_bad_nonces(self, issued: Issued, query: str) -> None:
        """Each is 400 with one sentence, and the connection can be used on."""
        async with witness_of(issued) as server, client_of(server) as client:
            answered = await client.get(witness_statement.PATH + query)
            assert (answered.status, answered.headers["cache-control"]) == (400, "no-store")
            assert answered.body.endswith(b".\n")
            assert answered.body.count(b"\n") == answered.body.count(b".") == 1
            statement_of(await client.get(TARGET))

    async def test_other_paths_and_methods(self, issued: Issued) -> None:
        """404 where there is nothing, 405 with Allow where there is something else to do."""
        async with witness_of(issued) as server, client_of(server) as client:
            for target in ("/", "/.well-known/", f"{witness_statement.PATH}/", "/.well-known/tls-witnes?nonce=AAAA"):
                assert (await client.get(target)).status == 404
            for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                answered = await client.get(TARGET, method=method, body=b"x" if method != "OPTIONS" else b"")
                assert (answered.status, answered.headers["allow"]) == (405, "GET")

    async def test_answers_are_not_kept(self, issued: Issued) -> None:
        """No cache in between may keep an answer, and nothing says which software it is made with."""
        async with witness_of(issued) as server, client_of(server) as client:
            answered = await client.get(TARGET)
        assert answered.headers["cache-control"] == "no-store"
        assert "aiohttp" not in str(answered.headers)
        assert int(answered.headers["content-length"]) == len(answered.body) < 4096

    async def test_a_connection_is_used_on(self, issued: Issued) -> None:
        """Keep-alive works, before and after the witness was asked."""
        async with witness_of(issued) as server, client_of(server) as client:
            for target, status in (("/", 404), (TARGET, 200), ("/", 404), (TARGET, 200)):
                assert (await client.get(target)).status == status
            assert server.counts.accepted == 1
            assert server.counts.requests == 4

    async def test_protocols(self, issued: Issued) -> None:
        """HTTP/1.1 is chosen, or assumed; a client that wants h2 alone gets the alert no_application_protocol."""
        async with witness_of(issued) as server:
            for offered, chosen in (((b"h2", b"http/1.1"), b"http/1.1"), ((), b"")):
                async with client_of(server, alpn=offered) as client:
                    assert client.connection.get_alpn_proto_negotiated() == chosen
                    statement_of(await client.get(TARGET))
            with pytest.raises(SSL.Error, match="no application protocol"):
                async with client_of(server, alpn=(b"h2",)):
                    pass

    @pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_1])
    async def test_old_versions_are_refused(self, issued: Issued, version: ssl.TLSVersion) -> None:
        """Before TLS 1.2 there is no handshake, so no answer."""
        async with witness_of(issued) as server:
            with pytest.raises(SSL.Error):
                async with client_of(server, version=version):
                    pass
            assert server.counts.failed_handshakes == 1


class TestEmbedding:
    async def test_an_application_of_its_own(self, issued: Issued, tmp_path: Path) -> None:
        """An exam platform's routes, files and clean-up work on the connection that was witnessed."""
        (tmp_path / "paper.bin").write_bytes(bytes(range(256)) * 4096)
        happened: list[str] = []

        async def submit(request: web.Request) -> web.Response:
            return web.Response(text=f"{len(await request.read())} {request.scheme}")

        async def paper(_request: web.Request) -> web.FileResponse:
            return web.FileResponse(tmp_path / "paper.bin")

        async def running(_application: web.Application) -> None:
            happened.append("started")

        async def ended(_application: web.Application) -> None:
            happened.append("ended")

        application = web.Application()
        application.router.add_post("/submit", submit)
        application.router.add_get("/paper", paper)
        application.on_startup.append(running)
        application.on_cleanup.append(ended)
        async with witness_of(issued, application=application) as server, client_of(server) as client:
            exporter = statement_of(await client.get(TARGET)).exporter
            submitted = await client.get("/submit", method="POST", body=bytes(300_000))
            assert submitted.body == b"300000 https"
            assert (await client.get("/paper")).body == (tmp_path / "paper.bin").read_bytes()
            assert exporter == exporter_of(client)
            assert happened == ["started"]
        assert happened == ["started", "ended"]

    async def test_nothing_of_the_application_can_change_an_answer(self, issued: Issued) -> None:
        """Its routes and middlewares, such as a login wall, come behind the witness."""

        @web.middleware
        async def wall(request: web.Request, handler: Handler) -> web.StreamResponse:
            if "Cookie" not in request.headers:
                raise web.HTTPUnauthorized
            return await handler(request)

        async def impostor(_request: web.Request) -> web.Response:
            return web.Response(text="I am the witness")

        application = web.Application(middlewares=[wall])
        application.router.add_get(witness_statement.PATH, impostor)
        async with witness_of(issued, application=application) as server, client_of(server) as client:
            statement_of(await client.get(TARGET))
            assert (await client.get("/")).status == 401

    async def test_faults_of_the_application(self, issued: Issued, caplog: pytest.LogCaptureFixture) -> None:
        """They are logged with their traceback, without the client's address; what clients do wrong is not."""

        async def broken(_request: web.Request) -> web.Response:
            raise LookupError("a fault of the application")

        application = web.Application()
        application.router.add_get("/broken", broken)
        caplog.set_level(logging.DEBUG)
        async with witness_of(issued, application=application) as server:
            async with client_of(server) as client:
                assert (await client.get("/broken")).status == 500
            async with client_of(server) as client:
                await client.stream.write(b"GET / HTTP/1.1\r\nBroken Header\r\n\r\n")
                assert b" 400 " in (await client.stream.read()).partition(b"\r\n")[0]
        errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [(record.name, record.getMessage()) for record in errors] == [
            ("detector.witness.application", "The application failed to answer a request.")
        ]
        assert "a fault of the application" in caplog.text
        assert "127.0.0.1" not in caplog.text

    async def test_an_application_that_runs_elsewhere(self, issued: Issued) -> None:
        """It cannot get a witness afterwards, and its author gets an error."""
        application = web.Application()
        application.freeze()
        with pytest.raises(ValueError, match="runs already"):
            async with witness_of(issued, application=application):
                pass

    async def test_a_connection_that_ends_elsewhere_has_no_witness(self, issued: Issued) -> None:
        """The same application under another server does not pretend to be a witness."""
        application = web.Application()
        witness = Witness([signing_key()])
        async with serve(witness, tls=context_of(issued), application=application):
            request = make_mocked_request("GET", TARGET)
            answered = witness.answer(request)
        assert answered.status == 404


class TestStopping:
    async def test_requests_are_answered_first(self, issued: Issued) -> None:
        """A request in progress is answered before the server ends; idle connections end with close_notify."""
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(_request: web.Request) -> web.Response:
            asked.set()
            await go_on.wait()
            return web.Response(text="done")

        application = web.Application()
        application.router.add_get("/slow", slow)
        running = witness_of(issued, application=application)
        server = await running.__aenter__()
        async with client_of(server) as busy, client_of(server) as idle:
            await idle.get(TARGET)
            answer = asyncio.ensure_future(busy.get("/slow"))
            await asked.wait()
            stopping = asyncio.ensure_future(running.__aexit__(None, None, None))
            assert await idle.stream.read() == b""
            assert idle.connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN
            go_on.set()
            assert (await answer).body == b"done"
            await stopping
        assert server.clients == {}

    async def test_nothing_is_left(self, issued: Issued) -> None:
        """Connections in every state are gone when the block ends, and so are tasks and timers."""
        before = asyncio.all_tasks()
        async with witness_of(issued) as server, client_of(server) as one, client_of(server):
            await one.get(TARGET)
            _, shaking = await asyncio.open_connection(*server.address)
            await until(lambda: server.counts.accepted == 3)
        shaking.close()
        await asyncio.gather(shaking.wait_closed(), return_exceptions=True)
        assert (server.clients, server.waiting) == ({}, {})
        await until(lambda: asyncio.all_tasks() == before)

    async def test_an_address_that_cannot_be_had(self, issued: Issued) -> None:
        """The message names it; the application is cleaned up all the same."""
        async with witness_of(issued) as server:
            cases = [(server.address[0], server.address[1]), ("no such host.invalid", 0), ("127.0.0.1", 70000)]
            for host, port in cases:
                with pytest.raises(ServingError, match="cannot listen there"):
                    async with serve(Witness([signing_key()]), tls=context_of(issued), host=host, port=port):
                        pass
