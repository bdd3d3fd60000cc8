"""The middleware for aiohttp, with a real server and real TLS stacks as its clients.

Room: tests of origin. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from support.origin_clients import CHROME, CURL, FIREFOX, HOST, agent, ask, chrome, openssl

from detector.origin.aiohttp import ASSESSMENT, middleware
from detector.origin.capture import HelloCapture
from detector.origin.requests import Proxy, Requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector_testing import PrivatePKI

    from detector.origin.requests import Assessment

HEADER = "cdn-ja4"
OPENSSL_JA4 = "t13d311100_e8f1e7e78f70_d41ae481755e"
"""HAProxy's (31 cipher suites, as OpenSSL offers them by default)."""


class Served:
    """A running server, and what it was notified of."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.capture = HelloCapture()
        self.found: list[tuple[str, Assessment]] = []

    def record(self, request: web.Request, assessment: Assessment) -> None:
        """What a platform would write into the session's record."""
        self.found.append((request.headers.get("User-Agent", ""), assessment))

    async def ask(self, tls: ssl.SSLContext | None, *requests: dict[str, str]) -> list[str]:
        """Make requests on one connection."""
        return await asyncio.to_thread(ask, self.port, tls, *requests)


async def handler(request: web.Request) -> web.Response:
    """The verdict of this request, as a handler finds it."""
    found = request.get(ASSESSMENT)
    return web.Response(text="none" if found is None else f"{found.judgment.verdict} {found.judgment.confidence}")


@contextlib.asynccontextmanager
async def serve(tls: ssl.SSLContext | None, requests: Requests | None = None, **more: Any) -> AsyncIterator[Served]:  # noqa: ANN401 - arguments of middleware
    """Run an application with the middleware on loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    served = Served(listening.getsockname()[1])
    if tls is not None:
        served.capture.install(tls)
    given = {"on_assessment": served.record, "requests": requests, **more}
    application = web.Application(middlewares=[middleware(served.capture.hello_of, **given)])
    application.router.add_get("/", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.SockSite(runner, listening, ssl_context=tls).start()
    try:
        yield served
    finally:
        await runner.cleanup()


@pytest.fixture
def tls(pki: PrivatePKI) -> ssl.SSLContext:
    """The server's settings."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pki.issue([HOST]).configure_cert(context)
    return context


async def test_a_browser_is_left_alone(tls: ssl.SSLContext) -> None:
    """Chrome's ClientHello under its own name: nothing is seen, which is not called clean."""
    async with serve(tls) as served:
        assert await served.ask(chrome(), agent(CHROME), agent(CHROME)) == ["nothing-seen None"] * 2
    assert [one.judgment.verdict for _, one in served.found] == ["nothing-seen"] * 2


async def test_another_stack_under_a_browsers_name(tls: ssl.SSLContext) -> None:
    """What most interceptors send: OpenSSL's ClientHello with the browser's headers."""
    async with serve(tls) as served:
        assert await served.ask(openssl(), agent(CHROME)) == ["middleware probable"]
        assert await served.ask(openssl(), agent(FIREFOX)) == ["middleware probable"]
        assert await served.ask(openssl(), agent(CURL)) == ["nothing-seen None"]


async def test_two_browsers_on_one_connection(tls: ssl.SSLContext) -> None:
    """An interceptor may send requests of several browsers on one connection: each is assessed by its own name."""
    async with serve(tls) as served:
        answers = await served.ask(chrome(), agent(CHROME), agent(FIREFOX), agent(CHROME))
        families = [one.session("a school", "a hash").claims.family for _, one in served.found]
    assert families == ["chromium", "firefox", "chromium"]
    assert answers == ["nothing-seen None", "middleware possible", "nothing-seen None"]  # what another browser sends


async def test_without_tls_there_is_nothing_to_assess() -> None:
    """A server without TLS of its own, and without a configured proxy, reports nothing."""
    async with serve(None) as served:
        assert await served.ask(None, agent(CHROME), {**agent(CHROME), HEADER: OPENSSL_JA4}) == ["none", "none"]
    assert served.found == []


class TestProxies:
    """A proxy of the site's own in front: what is believed, and of whom."""

    async def test_its_header_is_read(self) -> None:
        """The fingerprint of the proxy's client is compared, and nothing without it."""
        proxies = [Proxy(peers=("127.0.0.0/8",), header="CDN-JA4")]
        async with serve(None, Requests(proxies=proxies)) as served:
            forwarded = {**agent(CHROME), HEADER: OPENSSL_JA4}
            answers = await served.ask(None, forwarded, agent(CHROME), {**agent(CHROME), HEADER: "no fingerprint"})
        assert answers == ["middleware possible", "none", "none"]

    async def test_its_own_hello_is_nobodys(self, tls: ssl.SSLContext) -> None:
        """A proxy that connects with TLS has a ClientHello of its own, which accuses none of its clients."""
        proxies = [Proxy(peers=("127.0.0.1",), header=HEADER)]
        async with serve(tls, Requests(proxies=proxies)) as served:
            assert await served.ask(openssl(), agent(CHROME)) == ["none"]

    async def test_of_anybody_else_it_is_ignored(self, tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
        """A client that is no proxy writes what it wants: it changes nothing, and is reported once."""
        proxies = [Proxy(peers=("192.0.2.0/24",), header=HEADER)]
        async with serve(tls, Requests(proxies=proxies)) as served:
            forged = {
                **agent(CHROME),
                HEADER: OPENSSL_JA4,
                "X-Forwarded-For": "192.0.2.1",
                "Forwarded": "for=192.0.2.1",
            }
            assert await served.ask(chrome(), forged, forged) == ["nothing-seen None"] * 2
            genuine = "t13d1516h2_8daaf6152771_d8a2da3f94cd"
            assert await served.ask(openssl(), {**agent(CHROME), HEADER: genuine}) == ["middleware probable"]
        (warning,) = caplog.messages
        assert warning.startswith("The header cdn-ja4 came from an address that is not among the peers")


async def test_a_callback_that_fails_costs_no_request(tls: ssl.SSLContext) -> None:
    """What the application does with a judgment fails: the request is answered, and the loop's handler learns of it."""

    def broken(_request: web.Request, _assessment: Assessment) -> None:
        raise LookupError("for this test")

    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
    async with serve(tls, on_assessment=broken) as served:
        assert await served.ask(openssl(), agent(CHROME)) == ["middleware probable"]
    assert [type(context["exception"]) for context in failed] == [LookupError]


async def test_a_huge_user_agent_claims_nothing(tls: ssl.SSLContext) -> None:
    """aiohttp refuses a header of a megabyte; one that it takes, and no browser sends, is compared with nothing."""
    async with serve(tls) as served:
        assert await served.ask(openssl(), agent(CHROME + "x" * 7000)) == ["nothing-seen None"]


async def test_thousands_of_connections_leave_nothing(tls: ssl.SSLContext) -> None:
    """One connection after the other: no ClientHello is kept longer than its connection."""
    client = openssl()
    async with serve(tls) as served:
        for _ in range(10):
            opened = [await asyncio.open_connection("127.0.0.1", served.port, ssl=client) for _ in range(20)]
            for _, writer in opened:
                writer.close()
                with contextlib.suppress(ssl.SSLError, OSError):
                    await writer.wait_closed()
            del opened
        async with asyncio.timeout(60):
            while len(served.capture) > 1:  # noqa: ASYNC110 - connections end by themselves, nobody signals
                await asyncio.sleep(0.01)
