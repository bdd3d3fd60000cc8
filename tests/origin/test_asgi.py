"""The hooks for uvicorn and hypercorn, and the middleware, with real servers and real TLS stacks as their clients.

Room: tests of origin. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import h2.config
import h2.connection
import h2.events
import hypercorn.asyncio
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.origin_clients import CHROME, FIREFOX, HOST, PATIENCE, agent, ask, chrome, openssl

from detector.origin import hypercorn as hypercorn_hook
from detector.origin import uvicorn as uvicorn_hook
from detector.origin.asgi import ASSESSMENT, CONNECTION, NO_HOOK, OriginMiddleware, with_connection
from detector.origin.requests import UNIX_SOCKET, Proxy, Requests
from detector.probe.tls.hello import parse_client_hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from detector_testing import PrivatePKI
    from starlette.requests import Request

    from detector.origin.asgi import Application, Receive, Scope, Send
    from detector.origin.requests import Assessment

HEADER = "cdn-ja4"
OPENSSL_JA4 = "t13d311100_e8f1e7e78f70_d41ae481755e"
SERVERS = ("uvicorn", "hypercorn")


class Files(NamedTuple):
    """Certificate and key of the server."""

    chain: Path
    key: Path


@pytest.fixture
def files(pki: PrivatePKI, tmp_path: Path) -> Files:
    """The files that a server reads."""
    issued = pki.issue([HOST])
    found = Files(tmp_path / "chain.pem", tmp_path / "key.pem")
    found.chain.write_bytes(issued.chain_pem)
    found.key.write_bytes(issued.key_pem)
    return found


async def answer(request: Request) -> PlainTextResponse:
    """The verdict, and the name and protocol of the connection, as a handler finds them."""
    found: Assessment | None = request.scope[ASSESSMENT]
    hello = request.scope["extensions"][CONNECTION]["client_hello"]
    name = None if hello is None else parse_client_hello(hello).legacy_version
    verdict = "none" if found is None else f"{found.judgment.verdict} {found.judgment.confidence}"
    return PlainTextResponse(f"{verdict} {name} {request.scope['http_version']}")


def application(found: list[Assessment] | None = None, requests: Requests | None = None) -> Application:
    """An application of a framework, with the middleware."""

    def record(_scope: Scope, assessment: Assessment) -> None:
        if found is not None:
            found.append(assessment)

    inner: Any = Starlette(routes=[Route("/", answer)])
    return OriginMiddleware(inner, on_assessment=record, requests=requests)


@contextlib.asynccontextmanager
async def serve_uvicorn(app: Application, files: Files | None, **more: Any) -> AsyncIterator[int]:  # noqa: ANN401 - of uvicorn
    """Run uvicorn on loopback."""
    tls: dict[str, Any] = {} if files is None else {"ssl_certfile": str(files.chain), "ssl_keyfile": str(files.key)}
    config: Any = uvicorn.Config(app, http=uvicorn_hook.Protocol, log_config=None, lifespan="off", **tls, **more)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listening])
    try:
        yield listening.getsockname()[1]
    finally:
        await server.shutdown(sockets=[listening])


@contextlib.asynccontextmanager
async def serve_hypercorn(app: Application, files: Files | None) -> AsyncIterator[int]:
    """Run hypercorn on loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = hypercorn_hook.Config()
    config.bind = [f"fd://{listening.detach()}"]
    if files is not None:
        config.certfile, config.keyfile = str(files.chain), str(files.key)
    stopped = asyncio.Event()
    outermost: Any = hypercorn_hook.with_hello(app)
    serving = asyncio.create_task(hypercorn.asyncio.serve(outermost, config, shutdown_trigger=stopped.wait))
    try:
        yield port
    finally:
        stopped.set()
        await serving


def serve(server: str, app: Application, files: Files | None) -> contextlib.AbstractAsyncContextManager[int]:
    """Run either."""
    return serve_uvicorn(app, files) if server == "uvicorn" else serve_hypercorn(app, files)


@pytest.mark.parametrize("server", SERVERS)
class TestServers:
    async def test_a_browser_is_left_alone(self, server: str, files: Files) -> None:
        """Chrome's ClientHello under its own name, and under that of another browser, on one connection."""
        found: list[Assessment] = []
        async with serve(server, application(found), files) as port:
            answers = await asyncio.to_thread(ask, port, chrome(), agent(CHROME), agent(FIREFOX), agent(CHROME))
        assert answers == [
            f"{verdict} 771 1.1" for verdict in ("nothing-seen None", "middleware possible", "nothing-seen None")
        ]
        assert [one.judgment.verdict for one in found] == ["nothing-seen", "middleware", "nothing-seen"]

    async def test_another_stack_under_a_browsers_name(self, server: str, files: Files) -> None:
        """What most interceptors send, several at once: each request has its own connection's hello."""
        async with serve(server, application(), files) as port:
            clients = [openssl(), chrome()] * 4
            answers = await asyncio.gather(*(asyncio.to_thread(ask, port, tls, agent(CHROME)) for tls in clients))
        assert [text for (text,) in answers] == ["middleware probable 771 1.1", "nothing-seen None 771 1.1"] * 4

    async def test_without_tls(self, server: str) -> None:
        """There is a connection and no hello, and nothing to assess."""
        async with serve(server, application(), None) as port:
            forwarded = {**agent(CHROME), HEADER: OPENSSL_JA4}
            assert await asyncio.to_thread(ask, port, None, forwarded) == ["none None 1.1"]

    async def test_a_proxy_is_known_by_its_connection(self, server: str) -> None:
        """What a header says of the peer is not believed, although uvicorn replaces the scope's client by it."""
        ours, theirs = (Requests(proxies=[Proxy(peers=(peer,), header=HEADER)]) for peer in ("127.0.0.1", "192.0.2.1"))
        forwarded = {**agent(CHROME), HEADER: OPENSSL_JA4, "X-Forwarded-For": "192.0.2.1"}
        async with serve(server, application(requests=ours), None) as port:
            assert await asyncio.to_thread(ask, port, None, forwarded) == ["middleware possible None 1.1"]
        async with serve(server, application(requests=theirs), None) as port:
            assert await asyncio.to_thread(ask, port, None, forwarded) == ["none None 1.1"]

    async def test_where_hellos_cannot_be_captured(
        self, server: str, files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The server serves as ever, assesses nothing, and says why when it starts."""
        monkeypatch.setattr("detector.origin.capture.unavailable", lambda: "Nothing here.")
        async with serve(server, application(), files) as port:
            assert await asyncio.to_thread(ask, port, openssl(), agent(CHROME)) == ["none None 1.1"]
        assert "Nothing here." in caplog.messages


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for Windows")
@pytest.mark.parametrize("server", SERVERS)
def test_on_uvloop(server: str, files: Files) -> None:
    """Both servers use uvloop where it is installed, whose transports are of classes of their own."""
    import uvloop  # noqa: PLC0415 - Windows has no uvloop, and skips

    async def run() -> list[str]:
        async with serve(server, application(), files) as port:
            return await asyncio.to_thread(ask, port, openssl(), agent(CHROME))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == ["middleware probable 771 1.1"]


def ask_h2(port: int, *requests: str) -> list[str]:
    """Make requests under these User-Agents on one connection of HTTP/2, all at once."""
    tls = openssl()
    tls.set_alpn_protocols(["h2"])
    answers: dict[int, bytes] = {}
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain, tls.wrap_socket(plain) as stream:
        client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        client.initiate_connection()
        for number, name in enumerate(requests):
            head = [
                (":method", "GET"),
                (":path", "/"),
                (":scheme", "https"),
                (":authority", HOST),
                ("user-agent", name),
            ]
            client.send_headers(1 + 2 * number, head, end_stream=True)
        stream.sendall(client.data_to_send())
        ended = 0
        while ended < len(requests):
            for event in client.receive_data(stream.recv(65535)):
                if isinstance(event, h2.events.DataReceived) and event.stream_id is not None:
                    answers[event.stream_id] = answers.get(event.stream_id, b"") + event.data
                ended += isinstance(event, h2.events.StreamEnded)
            stream.sendall(client.data_to_send())
    return [answers[1 + 2 * number].decode() for number in range(len(requests))]


async def test_http_2(files: Files) -> None:
    """Streams of one connection share its hello, and each has its own name."""
    async with serve_hypercorn(application(), files) as port:
        answers = await asyncio.to_thread(ask_h2, port, CHROME, "curl/8.5.0", FIREFOX)
    assert answers == ["middleware probable 771 2", "nothing-seen None 771 2", "middleware probable 771 2"]


class TestWebSocket:
    async def test_uvicorns_websocket_has_the_hello(self, files: Files) -> None:
        """A connection that becomes a WebSocket has the same entry in its scope."""
        scopes: list[Scope] = []

        async def app(scope: Scope, _receive: Receive, send: Send) -> None:
            scopes.append(scope)
            await send({"type": "websocket.close", "code": 1000})

        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        async with serve_uvicorn(OriginMiddleware(app), files, ws="wsproto") as port:
            with pytest.raises(AssertionError):  # the answer is a refusal
                await asyncio.to_thread(ask, port, openssl(), {**agent(CHROME), **upgrade})
        (scope,) = scopes
        assert scope["type"] == "websocket"
        assert scope["extensions"][CONNECTION]["peer"] == "127.0.0.1"
        assert scope[ASSESSMENT].judgment.verdict == "middleware"


class TestMiddleware:
    async def test_without_a_hook_it_says_so_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """A server that passes no connection: nothing is assessed, whatever the scope's client is."""
        requests = Requests(proxies=[Proxy(peers=("192.0.2.1", UNIX_SOCKET), header=HEADER)])
        scopes = await served_scopes(application_of(requests), client=("192.0.2.1", 5), extensions={})
        scopes += await served_scopes(application_of(requests), client=None)
        assert [scope[ASSESSMENT] for scope in scopes] == [None, None]
        with caplog.at_level(logging.WARNING, "detector.origin"):
            caplog.clear()
            app = application_of(requests)
            await served_scopes(app, client=None)
            await served_scopes(app, client=None)
        assert caplog.messages == [NO_HOOK]

    async def test_a_unix_socket_is_a_peer(self) -> None:
        """A proxy on the same machine may connect by a Unix socket, if that is configured."""
        for peers, expected in (((UNIX_SOCKET,), "middleware"), (("127.0.0.1",), None)):
            app = application_of(Requests(proxies=[Proxy(peers=peers, header=HEADER)]))
            (scope,) = await served_scopes(with_connection(app, hello=None, peer=UNIX_SOCKET), client=None)
            assert (scope[ASSESSMENT] and scope[ASSESSMENT].judgment.verdict) == expected

    async def test_lifespan_passes(self) -> None:
        """What is no request is passed on untouched."""
        scopes: list[Scope] = []

        async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
            scopes.append(scope)

        await with_connection(OriginMiddleware(app), hello=None, peer=None)({"type": "lifespan"}, nothing, nothing)
        assert scopes == [{"type": "lifespan"}]

    async def test_a_callback_that_fails_costs_no_request(self) -> None:
        """The request is served, and the loop's handler learns of it."""

        def broken(_scope: Scope, _assessment: Assessment) -> None:
            raise LookupError("for this test")

        failed: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
        requests = Requests(proxies=[Proxy(peers=("127.0.0.1",), header=HEADER)])
        app = OriginMiddleware(nothing_served, on_assessment=broken, requests=requests)
        await served_scopes(with_connection(app, hello=None, peer="127.0.0.1"), client=None)
        await asyncio.sleep(0)
        assert [type(context["exception"]) for context in failed] == [LookupError]


async def nothing(*_: object) -> Any:  # noqa: ANN401 - never called
    """A channel that is not used."""
    raise NotImplementedError


async def nothing_served(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """An application that answers nothing."""


def application_of(requests: Requests) -> Application:
    """The middleware around an application that answers nothing."""
    return OriginMiddleware(nothing_served, requests=requests)


async def served_scopes(app: Application, **scope: Any) -> list[Scope]:  # noqa: ANN401 - of any scope
    """The scope of a request with OpenSSL's fingerprint in a header, after it was served."""
    headers = [(b"user-agent", CHROME.encode()), (HEADER.encode(), OPENSSL_JA4.encode())]
    made: Scope = {"type": "http", "headers": headers, **scope}
    await app(made, nothing, nothing)
    return [made]
