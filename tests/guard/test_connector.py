"""The guarded connector as an aiohttp connector: pooling, proxies, timeouts, cancellation, everything HTTP does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import datetime as dt
import hashlib
import inspect
import io
import pickle
import socket
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import Request, Response, Script, Step, serve_origin, serve_proxy, serve_script, serve_socks
from detector_testing.origin import answer, greet
from detector_testing.proxy import receive_connect
from detector_testing.streams import Listener, PlainStream, listen
from support.guarding import (
    EXAM,
    LMS,
    SECRET,
    URL,
    CountingGuard,
    client_tasks,
    guard_of,
    guarded,
    read_head,
    serve_app,
    serve_raw,
    settled,
    witness_that,
)

import detector.guard
from detector.errors import GuardError, InputError, ProxyError, TargetError
from detector.exam import Policy
from detector.exam.policy import Action
from detector.guard import CertificateError, GuardedConnector, PlaintextError, UnconfirmedError
from detector.model import Endpoint, Outcome
from detector.probe import Timeouts
from detector.probe.routes.system import SystemProxies
from detector.session import machine_proxy
from detector.session.seams import Seams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from conftest import World
    from detector_testing import PrivatePKI
    from detector_testing.origin import Origin
    from detector_testing.proxy import Proxy as LoopbackProxy
    from detector_testing.streams import TLSStream

    from detector.guard import Assessment
    from detector.model import Observation

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


# Connections and the pool


async def test_one_connection_is_assessed_once(world: World, pki: PrivatePKI) -> None:
    """Requests one after the other share a connection, which was assessed when it was made."""
    guard = guard_of(world)
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        guarded(guard, resolve={(EXAM, 443): origin.address}) as client,
    ):
        for number in range(5):
            async with client.post(URL, data=f"{SECRET}-{number}") as response:
                assert response.status == 200
    assert (origin.connections, len(origin.requests), len(guard.assessed)) == (1, 5, 1)
    assert guard.assessed[0].refused is None
    assert guard.assessed[0].result.assurance == "logged"


async def test_limits_hold(world: World, pki: PrivatePKI) -> None:
    """Twenty requests at once share as many connections as the limits allow, each assessed once."""
    guard = guard_of(world)
    async with serve_origin(pki.issue([EXAM, LMS])) as origin:
        where = {(EXAM, 443): origin.address, (LMS, 443): origin.address}
        async with guarded(guard, resolve=where, limit=3, limit_per_host=2) as client:

            async def get(host: str) -> int:
                async with client.get(f"https://{host}/") as response:
                    await response.read()
                    return response.status

            assert set(await asyncio.gather(*(get(host) for host in (EXAM, LMS) * 10))) == {200}
    assert len(origin.requests) == 20
    assert origin.connections == len(guard.assessed) <= 20
    assert {assessed.result.endpoint.host for assessed in guard.assessed} == {EXAM, LMS}


async def test_force_close_assesses_every_connection(world: World, pki: PrivatePKI) -> None:
    """Without keep-alive each request has a connection of its own, assessed again."""
    guard = guard_of(world)
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        guarded(guard, resolve={(EXAM, 443): origin.address}, force_close=True) as client,
    ):
        for _ in range(2):
            async with client.get(URL) as response:
                await response.read()
    assert (origin.connections, len(guard.assessed)) == (2, 2)


async def test_stale_connection(world: World, pki: PrivatePKI) -> None:
    """A kept connection that the server drops at the next request: GET is repeated on an assessed one, POST is not."""

    async def talk(stream: TLSStream, _: PlainStream, number: int) -> None:
        await read_head(stream)
        await stream.write(OK)
        if number % 2 == 0:
            await read_head(stream)
            await stream.write(OK)
        await read_head(stream)  # the next request is read and not answered
        await stream.close()

    guard = guard_of(world)
    async with (
        serve_raw(pki.issue([EXAM]), talk) as server,
        guarded(guard, resolve={(EXAM, 443): server.address}) as client,
    ):
        for _ in range(3):
            async with client.get(URL) as response:
                assert await response.read() == b"ok"
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.post(URL, data=SECRET)
    assert (server.connections, len(guard.assessed)) == (2, 2)


async def test_server_that_closes_an_idle_connection(world: World, pki: PrivatePKI) -> None:
    """A connection that ended while it was idle is replaced, and the new one is assessed."""
    closed = asyncio.Event()

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        await read_head(stream)
        await stream.write(OK)
        await stream.close()
        closed.set()

    guard = guard_of(world)
    async with (
        serve_raw(pki.issue([EXAM]), talk) as server,
        guarded(guard, resolve={(EXAM, 443): server.address}) as client,
    ):
        for _ in range(2):
            closed.clear()
            async with client.post(URL, data=SECRET) as response:
                assert await response.read() == b"ok"
                transport = response.connection and response.connection.transport
            await closed.wait()
            await settled(server)
            while transport is not None and not transport.is_closing():  # noqa: ASYNC110 - asyncio does not signal
                await asyncio.sleep(0.01)
    assert (server.connections, len(guard.assessed)) == (2, 2)


# What HTTP does


async def test_large_bodies_in_both_directions(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """Eight MiB up, counted by the server, and eight MiB down, in chunks."""

    async def digest(request: web.Request) -> web.Response:
        return web.Response(text=hashlib.sha256(await request.read()).hexdigest())

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(128):
            await response.write(bytes((number,)) * 65536)
        await response.write_eof()
        return response

    body = b"answers!" * (1 << 20)
    routes = web.post("/digest", digest), web.get("/stream", stream)
    async with (
        serve_app(pki.issue([EXAM]), tmp_path, *routes) as address,
        guarded(guard_of(world), resolve={(EXAM, 443): address}) as client,
    ):
        async with client.post(f"https://{EXAM}/digest", data=io.BytesIO(body)) as response:
            assert await response.text() == hashlib.sha256(body).hexdigest()
        received = 0
        async with client.get(f"https://{EXAM}/stream") as response:
            async for chunk in response.content.iter_chunked(1 << 14):
                received += len(chunk)
        assert received == len(body)


async def test_websocket(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """A websocket over an assessed connection echoes text, and a megabyte."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data if isinstance(message.data, bytes) else message.data.encode())
        return socket

    guard = guard_of(world)
    async with (
        serve_app(pki.issue([EXAM]), tmp_path, web.get("/ws", echo)) as address,
        guarded(guard, resolve={(EXAM, 443): address}) as client,
        client.ws_connect(f"wss://{EXAM}/ws") as socket,
    ):
        await socket.send_str(SECRET)
        assert await socket.receive_bytes() == SECRET.encode()
        await socket.send_bytes(bytes(1 << 20))
        assert await socket.receive_bytes() == bytes(1 << 20)
    assert len(guard.assessed) == 1


async def test_body_that_ends_with_the_connection(world: World, pki: PrivatePKI) -> None:
    """A body without a length ends with the connection, close_notify or not: aiohttp does not tell these apart."""

    async def talk(stream: TLSStream, plain: PlainStream, number: int) -> None:
        await read_head(stream)
        await stream.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        await (stream.close() if number == 1 else plain.close())

    async with (
        serve_raw(pki.issue([EXAM]), talk) as server,
        guarded(guard_of(world), resolve={(EXAM, 443): server.address}) as client,
    ):
        for _ in range(2):
            async with client.get(URL) as response:
                assert await response.read() == b"all of it"
    assert server.connections == 2


async def test_server_that_closes_early(world: World, pki: PrivatePKI) -> None:
    """Less than the promised length is aiohttp's payload error, as over any connector."""

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        await read_head(stream)
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        await stream.close()

    async with (
        serve_raw(pki.issue([EXAM]), talk) as server,
        guarded(guard_of(world), resolve={(EXAM, 443): server.address}) as client,
        client.get(URL) as response,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_genuine_server_that_answers_before_it_is_asked(world: World, pki: PrivatePKI) -> None:
    """What came before the request is aiohttp's to read; the connection is not used again."""

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        await stream.write(OK)
        await read_head(stream)
        await stream.write(OK)

    guard = guard_of(world)
    async with (
        serve_raw(pki.issue([EXAM]), talk) as server,
        guarded(guard, resolve={(EXAM, 443): server.address}) as client,
    ):
        for _ in range(2):
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(URL) as response:
                    assert await response.read() == b"ok"
    assert server.connections == len(guard.assessed)


# What is refused


@pytest.mark.parametrize(
    ("names", "days", "says"),
    [([EXAM], -1, "has expired"), ([EXAM], 400, "not valid yet"), (["other.example.edu"], 60, "for another name")],
)
async def test_certificates_an_ordinary_client_refuses(
    world: World, pki: PrivatePKI, names: list[str], days: int, says: str
) -> None:
    """Logged and yet expired, from the future, or for another name: the client goes no further, and accuses nobody."""
    end = pki.now + dt.timedelta(days=days)
    issued = pki.issue(names, not_before=end - dt.timedelta(days=90), not_after=end)
    async with (
        serve_origin(issued) as origin,
        guarded(guard_of(world), resolve={(EXAM, 443): origin.address}) as client,
    ):
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match=says) as caught:
            await client.get(URL)
    assert origin.requests == []
    assert isinstance(caught.value, GuardError)
    assert isinstance(caught.value, CertificateError)


async def test_pinned_key_needs_no_more(world: World, pki: PrivatePKI) -> None:
    """An expired, self-signed certificate whose key is pinned is the server that was meant."""
    issued = pki.self_signed([EXAM])
    pinned = Endpoint(host=EXAM, pins=(issued.spki_sha256,))
    later = pki.now + dt.timedelta(days=400)
    async with (
        serve_origin(issued) as origin,
        guarded(guard_of(world, pinned, clock=lambda: later), resolve={(EXAM, 443): origin.address}) as client,
        client.get(URL) as response,
    ):
        assert response.status == 200


async def test_pinned_ca_does_not_replace_the_path(world: World, pki: PrivatePKI) -> None:
    """A pinned private CA that is not declared as a root clears the network, and is not enough for a client."""
    ca = pki.private_ca("Campus CA")
    issued = ca.issue([EXAM])
    pinned = Endpoint(host=EXAM, pins=(ca.spki_sha256,))
    declared = Endpoint(host=EXAM, private_roots=(ca.certificate,))
    async with serve_origin(issued.with_chain(issued.leaf, ca.certificate)) as origin:
        where = {(EXAM, 443): origin.address}
        async with guarded(guard_of(world, pinned), resolve=where) as client:
            with pytest.raises(CertificateError, match="private_roots"):
                await client.get(URL)
        async with guarded(guard_of(world, declared), resolve=where) as client, client.get(URL) as response:
            assert response.status == 200


async def test_plaintext(world: World) -> None:
    """http and ws are refused, in a first request and in a redirect, unless the host is named."""
    where = ("127.0.0.1", "localhost")

    async def serve(plain: PlainStream) -> None:
        await answer(plain, greet, requests)

    requests: list[Request] = []
    server = Listener()
    async with listen(serve, server):
        url = f"http://127.0.0.1:{server.port}/"
        async with guarded(guard_of(world)) as client:
            for refused in (url, f"ws://127.0.0.1:{server.port}/"):
                with pytest.raises(PlaintextError, match="not encrypted") as caught:
                    await client.get(refused)
        assert requests == []
        async with guarded(guard_of(world), plaintext_hosts=where) as client, client.get(url) as response:
            assert response.status == 200
    assert len(requests) == 1
    assert isinstance(caught.value, aiohttp.ClientConnectorError)
    assert caught.value.result is None


async def test_downgrade_by_redirect(world: World, pki: PrivatePKI) -> None:
    """A redirect from https to http is refused before it is followed."""

    def redirect(_: Request) -> Response:
        return Response(status=302, headers=(("Location", f"http://{EXAM}/"),))

    async with (
        serve_origin(pki.issue([EXAM]), handler=redirect) as origin,
        guarded(guard_of(world), resolve={(EXAM, 443): origin.address}) as client,
    ):
        with pytest.raises(PlaintextError):
            await client.get(URL)
    assert len(origin.requests) == 1


async def test_no_request_says_how_it_is_verified(world: World, pki: PrivatePKI) -> None:
    """ssl=False, a fingerprint, a context, another name: refused as misuse before anything is connected."""
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        guarded(guard_of(world), resolve={(EXAM, 443): origin.address}) as client,
    ):
        for ssl in (False, aiohttp.Fingerprint(bytes(32))):
            with pytest.raises(InputError, match="ssl argument"):
                await client.get(URL, ssl=ssl)
        with pytest.raises(InputError, match="another name"):
            await client.get(URL, server_hostname=LMS)
    assert origin.connections == 0


async def test_hosts_that_cannot_be_one(world: World) -> None:
    """A host that no certificate can name is refused with a message about it."""
    async with guarded(guard_of(world)) as client:
        with pytest.raises(TargetError):
            await client.get("https://exam..example.edu/")


async def test_network_trouble_is_a_connector_error(world: World) -> None:
    """Nothing listens: an error that names host and outcome and says what to do, and that can be pickled."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with guarded(guard_of(world), resolve={(EXAM, 443): taken.getsockname()[:2]}) as client:
            with pytest.raises(
                UnconfirmedError, match=rf"{EXAM}:443: .*connect-refused.*check the host and port"
            ) as caught:
                await client.get(URL)
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made a line above
    assert (str(copy), copy.result) == (str(caught.value), caught.value.result)


# Proxies


def _session_proxies() -> bool:
    return "proxy" in inspect.signature(aiohttp.ClientSession).parameters


@pytest.mark.parametrize("source", ["request", "session", "environment", "connector", "connector-environment"])
async def test_proxies(world: World, pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """A proxy with credentials, wherever it was configured, carries the connection, which is assessed all the same."""
    guard = guard_of(world)
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_proxy(upstream={(EXAM, 443): origin.address}, require_auth="student:s3cr%t") as proxy,
    ):
        url = proxy.url.replace("://", "://student:s3cr%25t@")
        session: dict[str, Any] = {}
        connector: dict[str, Any] = {}
        request: dict[str, Any] = {}
        if source == "request" or (source == "session" and not _session_proxies()):
            request = {"proxy": url}
        elif source == "session":
            session = {"proxy": url}
        elif source == "connector":
            connector = {"proxy": url}
        else:
            monkeypatch.setenv("https_proxy", url)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            session = {"trust_env": source == "environment"}
            connector = {"proxy": "none" if source == "environment" else "env"}
        async with guarded(guard, session=session, **connector) as client:
            for _ in range(2):
                async with client.post(URL, data=SECRET, **request) as response:
                    assert response.status == 200
        assert (proxy.connections, proxy.targets) == (1, [(EXAM, 443)])
    assert [assessed.result.observation.route for assessed in guard.assessed] == ["http-connect"]


async def test_proxy_credentials_in_other_places(world: World, pki: PrivatePKI) -> None:
    """aiohttp's proxy_auth and a Proxy-Authorization header work; another scheme is refused."""
    basic = "Basic " + base64.b64encode(b"student:secret").decode()
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_proxy(upstream={(EXAM, 443): origin.address}, require_auth="student:secret") as proxy,
        guarded(guard_of(world), force_close=True) as client,
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from aiohttp 3.14 on
            auth = aiohttp.BasicAuth("student", "secret")
            async with client.get(URL, proxy=proxy.url, proxy_auth=auth) as response:
                assert response.status == 200
        headers = {"Proxy-Authorization": basic}
        async with client.get(URL, proxy=proxy.url, proxy_headers=headers) as response:
            assert response.status == 200
        for wrong in ("Bearer token", "Basic !", "Basic " + base64.b64encode(b"nobody").decode()):
            with pytest.raises(ProxyError, match="Basic") as caught:
                await client.get(URL, proxy=proxy.url, proxy_headers={"Proxy-Authorization": wrong})
            assert wrong not in str(caught.value)


async def test_proxy_that_refuses(world: World) -> None:
    """Wrong credentials are reported as such and never repeated."""
    async with serve_proxy(require_auth="student:secret") as proxy, guarded(guard_of(world)) as client:
        with pytest.raises(UnconfirmedError, match="proxy-auth-rejected") as caught:
            await client.get(URL, proxy=proxy.url.replace("://", "://student:hunter2@"))
    assert "hunter2" not in f"{caught.value} {caught.value!r}"
    assert caught.value.result is not None
    assert caught.value.result.observation.outcome is Outcome.PROXY_AUTH_REJECTED


async def test_nothing_of_the_request_is_sent_to_a_proxy(world: World) -> None:
    """Neither the session's headers nor the request's reach the proxy, which sees the tunnel's target only."""
    heads: list[tuple[tuple[bytes, bytes], ...]] = []

    async def serve(plain: PlainStream) -> None:
        request = await receive_connect(plain)
        assert request is not None
        heads.append(request.headers)

    proxy = Listener()
    async with listen(serve, proxy):
        session = {"headers": {"X-Session": SECRET, "Authorization": SECRET}, "cookies": {"login": SECRET}}
        async with guarded(guard_of(world), session=session) as client:
            with pytest.raises(UnconfirmedError):
                await client.post(URL, proxy=f"http://127.0.0.1:{proxy.port}", proxy_headers={"X-Own": SECRET})
    assert heads == [((b"host", f"{EXAM}:443".encode()),)] * len(heads) != []


@contextlib.asynccontextmanager
async def serve_kind(kind: str, pki: PrivatePKI, origin: Origin, password: str | None) -> AsyncIterator[LoopbackProxy]:
    """A proxy of each kind that the detector knows, with or without credentials."""
    where = {(EXAM, 443): origin.address}
    if kind.startswith("socks"):
        version = 4 if kind.startswith("socks4") else 5
        serving = serve_socks(version, upstream=where, require_auth=password)
    else:
        tls = pki.issue(["127.0.0.1"]) if kind == "https" else None
        serving = serve_proxy(upstream=where, require_auth=password, tls=tls)
    async with serving as proxy:
        yield proxy


@pytest.mark.parametrize("place", ["connector", "request", "file"])
@pytest.mark.parametrize(
    ("kind", "account", "route"),
    [
        ("http", "", "http-connect"),
        ("https", "", "https-connect"),
        ("https", "student:s3cr%25t", "https-connect"),
        ("socks5", "", "socks5"),
        ("socks5h", "student:s3cr%25t", "socks5"),
        ("socks4a", "", "socks4a"),
        ("socks4", "student", "socks4a"),
    ],
)
async def test_every_kind_of_proxy(  # noqa: PLR0913 - fixtures and what is varied
    *, world: World, pki: PrivatePKI, tmp_path: Path, kind: str, account: str, route: str, place: str
) -> None:
    """What the detector goes through, the guard does: the certificate is assessed, and the request goes there."""
    guard = guard_of(world)
    keyword = {"socks4": "SOCKS", "socks4a": "SOCKS4", "socks5h": "SOCKS5"}.get(kind, kind.upper())
    password = None if not account or place == "file" else account.replace("%25", "%")
    async with serve_origin(pki.issue([EXAM])) as origin, serve_kind(kind, pki, origin, password) as proxy:
        url = f"{kind}://{account + '@' if account else ''}127.0.0.1:{proxy.port}"
        file = tmp_path / "proxy.pac"
        file.write_text(f"function FindProxyForURL() {{ return '{keyword} 127.0.0.1:{proxy.port}' }}")
        setting = {"connector": url, "request": "none", "file": f"pac:{file}"}[place]
        async with guarded(guard, proxy=setting) as client:
            for _ in range(2):
                async with client.post(URL, data=SECRET, proxy=url if place == "request" else None) as response:
                    assert response.status == 200
        assert (proxy.connections, proxy.targets) == (1, [(EXAM, 443)])
        assert [bytes(request.body) for request in origin.requests] == [SECRET.encode()] * 2
    (assessed,) = guard.assessed
    assert (assessed.result.observation.route, assessed.refused, assessed.result.assurance) == (route, None, "logged")


@pytest.mark.parametrize("version", [4, 5])
async def test_interception_behind_a_socks_proxy(world: World, pki: PrivatePKI, version: Literal[4, 5]) -> None:
    """A SOCKS proxy that leads to a middlebox: refused, and nothing of the request is sent."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        box_ca = pki.private_ca("School CA")
        async with (
            serve_origin(box_ca.issue([EXAM])) as box,
            serve_socks(version, upstream={(EXAM, 443): box.address}) as proxy,
            guarded(guard_of(world), proxy=proxy.url) as client,
        ):
            with pytest.raises(CertificateError, match="private-chain"):
                await client.post(URL, data=SECRET)
            assert box.requests == []
    assert origin.connections == 0


async def test_an_https_proxy_that_is_not_trusted_gets_no_password(world: World, pki: PrivatePKI) -> None:
    """Credentials go only to a proxy that an ordinary client on this machine would trust."""
    tls = pki.private_ca("Somebody").issue(["127.0.0.1"])
    async with serve_proxy(require_auth="student:hunter2", tls=tls) as proxy:
        async with guarded(guard_of(world), proxy=proxy.url.replace("://", "://student:hunter2@")) as client:
            with pytest.raises(UnconfirmedError, match="proxy-untrusted") as caught:
                await client.get(URL)
        assert proxy.targets == []
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["gopher://student:hunter2@p.example", "http://p.example:x", "http://[::1", ""])
async def test_a_proxy_that_cannot_be_read(world: World, proxy: str) -> None:
    """It is refused on construction, and on the request, without its credentials."""
    with pytest.raises(ProxyError) as caught:
        GuardedConnector(guard_of(world), proxy=proxy)
    assert "hunter2" not in str(caught.value)
    if proxy.startswith("gopher"):
        async with guarded(guard_of(world)) as client:
            with pytest.raises(ProxyError):
                await client.get(URL, proxy=proxy)


@pytest.mark.parametrize("account", [("student", "secret"), ("", "")])
async def test_credentials_that_a_kind_of_proxy_cannot_take(world: World, account: tuple[str, str]) -> None:
    """SOCKS4a has no password, and no empty user name: `ProxyError`, and nothing is connected."""
    header = "Basic " + base64.b64encode(":".join(account).encode()).decode()
    async with serve_socks(4) as proxy, guarded(guard_of(world)) as client:
        with pytest.raises(ProxyError, match="SOCKS"):
            await client.get(URL, proxy=proxy.url, proxy_headers={"Proxy-Authorization": header})
        assert proxy.connections == 0


@pytest.mark.parametrize("found", ["proxy", "file", "nothing", "excepted"])
async def test_the_default_is_this_machines_proxy(
    world: World, pki: PrivatePKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    """Its settings are read once, in a thread, at the first connection; without any, the environment's hold."""
    guard, read = guard_of(world), list[threading.Thread]()
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_proxy(upstream={(EXAM, 443): origin.address}) as proxy,
    ):
        monkeypatch.setenv("https_proxy", proxy.url if found == "nothing" else "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        file = tmp_path / "proxy.pac"
        file.write_text(f"function FindProxyForURL() {{ return 'PROXY 127.0.0.1:{proxy.port}' }}")
        settings = {
            "proxy": SystemProxies(proxy=proxy.url),
            "file": SystemProxies(file=str(file)),
            "nothing": SystemProxies(),
            "excepted": SystemProxies(proxy=proxy.url, bypass=("*.example.edu",)),
        }[found]

        def read_settings() -> SystemProxies:
            read.append(threading.current_thread())
            return settings

        monkeypatch.setattr(machine_proxy, "read_system_proxies", read_settings)
        connector = GuardedConnector(guard, resolve={(EXAM, 443): origin.address}, force_close=True)
        assert read == []
        async with aiohttp.ClientSession(connector=connector) as client:
            for _ in range(2):
                async with client.get(URL) as response:
                    assert response.status == 200
    route = "direct" if found == "excepted" else "http-connect"
    assert [assessed.result.observation.route for assessed in guard.assessed] == [route] * 2
    assert len(read) == 1
    assert read[0] is not threading.main_thread()
    assert {assessed.action for assessed in guard.assessed} == {Action.ALLOW}


@pytest.mark.usefixtures("no_proxy_in_the_environment")
async def test_a_machine_setting_that_cannot_be_followed(
    world: World, pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection takes the route that remains, is assessed as any other, and passes with a warning that says so."""
    warned: list[Assessment] = []
    guard = guard_of(world, on_warning=warned.append)
    unreadable = SystemProxies(proxy="gopher://proxy.example.edu")
    monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: unreadable)
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        guarded(guard, proxy="system", resolve={(EXAM, 443): origin.address}) as client,
        client.get(URL) as response,
    ):
        assert response.status == 200
    (warning,) = warned
    assert (warning.action, warning.refused) == (Action.WARN, None)
    assert "The proxy setting of this device was not followed" in warning.message
    assert "Name the proxy" in warning.advice


# Time and cancellation


class SlowGuard(CountingGuard):
    """A guard whose assessment takes until it is released."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - arguments of Guard
        super().__init__(**settings)
        self.assessing = threading.Event()
        self.go_on = threading.Event()
        self.thread: int | None = None

    def assess(self, endpoint: Endpoint, observation: Observation) -> Assessment:
        """Wait, then judge."""
        self.thread = threading.get_ident()
        self.assessing.set()
        self.go_on.wait(30)
        return super().assess(endpoint, observation)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that servers count and do not signal."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - asyncio does not signal
            await asyncio.sleep(0.01)


async def _post(client: aiohttp.ClientSession, **request: Any) -> None:  # noqa: ANN401 - aiohttp's
    async with client.post(URL, data=SECRET, **request):
        pass


async def cancel(client: aiohttp.ClientSession, when: Callable[[], object], **request: Any) -> None:  # noqa: ANN401 - aiohttp's
    """Start a request, cancel it at that moment, and see that no task is left."""
    before = client_tasks()
    task = asyncio.create_task(_post(client, **request))
    await until(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client_tasks() <= before


async def test_cancelled_while_resolving(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs holds nobody up."""
    asked, release = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        asked.set()
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    async with guarded(guard_of(world)) as client:
        await cancel(client, asked.is_set)
    release.set()


async def test_cancelled_in_the_proxy(world: World) -> None:
    """A proxy that does not answer loses its connection."""
    async with serve_proxy(lie="hang") as proxy:
        async with guarded(guard_of(world)) as client:
            await cancel(client, lambda: proxy.targets, proxy=proxy.url)
        await settled(proxy)


async def test_cancelled_in_the_handshake(world: World) -> None:
    """A server that does not answer loses its connection."""
    async with serve_script(Script.silence()) as server:
        async with guarded(guard_of(world), resolve={(EXAM, 443): server.address}) as client:
            await cancel(client, lambda: server.connections)
        await settled(server)


async def test_cancelled_while_assessing(world: World, pki: PrivatePKI) -> None:
    """The connection is closed at once, not when the assessment is done; that is made in another thread."""
    guard = SlowGuard(**_settings(world))
    async with serve_origin(pki.issue([EXAM])) as origin:
        async with guarded(guard, resolve={(EXAM, 443): origin.address}) as client:
            await cancel(client, guard.assessing.is_set)
        await settled(origin)
        assert not guard.assessed
        guard.go_on.set()
        await until(lambda: guard.assessed)
    assert guard.thread != threading.get_ident()
    assert origin.requests == []


async def test_cancelled_while_the_witness_is_asked(world: World, pki: PrivatePKI) -> None:
    """A witness that does not answer loses its connection."""
    asked: list[bytes] = []

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        asked.append(await read_head(stream))
        await stream.read()

    endpoint = Endpoint(host=EXAM, witness=(bytes(32),))
    async with serve_raw(pki.issue([EXAM]), talk) as server:
        async with guarded(guard_of(world, endpoint), resolve={(EXAM, 443): server.address}) as client:
            await cancel(client, lambda: asked)
        await settled(server)
    assert SECRET.encode() not in b"".join(asked)


def _settings(world: World) -> dict[str, Any]:
    known = guard_of(world)
    seams = Seams(clock=lambda: world.pki.now)
    return {"pins": known.pins, "roots": known.roots, "logs": known.logs, "seams": seams}


async def test_timeouts(world: World) -> None:
    """aiohttp's total and connect raise its own errors, sock_connect and our own timeouts an inconclusive one."""
    async with serve_script(Script.silence()) as server:
        where = {(EXAM, 443): server.address}
        async with guarded(guard_of(world), resolve=where) as client:
            with pytest.raises(TimeoutError):
                await client.get(URL, timeout=aiohttp.ClientTimeout(total=0.2))
            with pytest.raises(aiohttp.ServerTimeoutError):
                await client.get(URL, timeout=aiohttp.ClientTimeout(connect=0.2))
            with pytest.raises(UnconfirmedError, match="deadline"):
                await client.get(URL, timeout=aiohttp.ClientTimeout(sock_connect=0.2))
        async with guarded(guard_of(world), resolve=where, timeouts=Timeouts(handshake=0.2)) as client:
            with pytest.raises(UnconfirmedError, match="handshake-timeout"):
                await client.get(URL)
        await settled(server)


async def test_closing_the_connector_while_connecting(world: World, pki: PrivatePKI) -> None:
    """A connection that is ready after its connector was closed is closed too."""
    guard = SlowGuard(**_settings(world))
    async with serve_origin(pki.issue([EXAM])) as origin:
        connector = GuardedConnector(guard, resolve={(EXAM, 443): origin.address})
        async with aiohttp.ClientSession(connector=connector, connector_owner=False) as client:
            task = asyncio.create_task(_post(client))
            await until(guard.assessing.is_set)
            await connector.close()
            guard.go_on.set()
            with pytest.raises(aiohttp.ClientConnectionError):
                await task
        await settled(origin)
    assert origin.requests == []


# The witness


async def test_witness_and_request_share_a_connection(world: World, pki: PrivatePKI) -> None:
    """The witness is asked first, on the connection that then carries the requests; nothing else matters then."""
    key = Ed25519PrivateKey.generate()
    endpoint = Endpoint(host=EXAM, witness=(key.public_key().public_bytes_raw(),), pins=(bytes(32),))
    guard = guard_of(world, endpoint)
    async with (
        serve_origin(pki.self_signed([EXAM]), handler=witness_that(key)) as origin,
        guarded(guard, resolve={(EXAM, 443): origin.address}) as client,
    ):
        for _ in range(2):
            async with client.post(URL, data=SECRET) as response:
                assert response.status == 200
    assert origin.connections == 1
    assert [request.target.partition("?")[0] for request in origin.requests] == [
        "/.well-known/tls-witness",
        "/answers",
        "/answers",
    ]
    assert guard.assessed[0].result.assurance == "witnessed"


async def test_witness_that_says_something_else(world: World, pki: PrivatePKI) -> None:
    """No witness there, an unknown key, one that signed for another session: nothing is sent where it must confirm."""
    key = Ed25519PrivateKey.generate()
    endpoint = Endpoint(host=EXAM, witness=(key.public_key().public_bytes_raw(),))
    policy = Policy(require_witness=(EXAM,))
    handlers = greet, witness_that(Ed25519PrivateKey.generate()), witness_that(key, exporter=bytes(32))
    refused = []
    for handler in handlers:
        async with serve_origin(pki.issue([EXAM]), handler=handler) as origin:
            async with guarded(
                guard_of(world, endpoint, policy=policy), resolve={(EXAM, 443): origin.address}
            ) as client:
                with pytest.raises(aiohttp.ClientConnectorError, match="Nothing of the request was sent") as caught:
                    await client.post(URL, data=SECRET)
            assert len(origin.requests) == 1
        refused.append(type(caught.value).__name__)
    assert refused == ["ClientUnconfirmedError", "ClientUnconfirmedError", "ClientMiddlewareDetected"]


async def test_witness_that_is_about_to_close(world: World, pki: PrivatePKI) -> None:
    """A witness that ends its connections leaves none that is known to be right: an error that says so."""
    key = Ed25519PrivateKey.generate()
    endpoint = Endpoint(host=EXAM, witness=(key.public_key().public_bytes_raw(),))
    heard: list[bytes] = []

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        target = (await read_head(stream)).split(b" ")[1].decode()
        request = Request(
            method="GET",
            target=target,
            host=EXAM,
            headers=(),
            body=b"",
            export_keying_material=stream.connection.export_keying_material,
        )
        body = witness_that(key)(request).body
        await stream.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        heard.append(await stream.read())

    async with serve_raw(pki.issue([EXAM]), talk) as server:
        async with guarded(guard_of(world, endpoint), resolve={(EXAM, 443): server.address}) as client:
            with pytest.raises(aiohttp.ServerDisconnectedError, match="keep its connections open"):
                await client.post(URL, data=SECRET)
        await settled(server)
    assert heard == [b""]


async def test_witness_that_hangs_up(world: World, pki: PrivatePKI) -> None:
    """A genuine chain and an end instead of an answer: nothing is sent."""
    script = dataclasses.replace(Script.genuine(pki.issue([EXAM])), stop=Step.HANDSHAKE)
    async with serve_script(script) as server:
        endpoint = Endpoint(host=EXAM, witness=(bytes(32),))
        async with guarded(
            guard_of(world, endpoint, policy=Policy(require_witness=(EXAM,))), resolve={(EXAM, 443): server.address}
        ) as client:
            with pytest.raises(UnconfirmedError, match="The witness gave no complete answer"):
                await client.post(URL, data=SECRET)
    assert server.requests == []


# What importing costs


def test_aiohttp_is_loaded_with_the_connector_only() -> None:
    """Neither `import detector` nor a guarded context loads aiohttp."""
    program = (
        "import sys, detector, detector.guard\n"
        "from detector.guard import Guard, guarded_context, refusal_behind\n"
        "assert 'aiohttp' not in sys.modules\n"
        "from detector.guard import GuardedConnector\n"
        "assert 'aiohttp' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - the program above


def test_unknown_names_are_attribute_errors() -> None:
    """The package gives its own names only."""
    assert all(hasattr(detector.guard, name) for name in detector.guard.__all__)
    assert not hasattr(detector.guard, "Gaurd")
