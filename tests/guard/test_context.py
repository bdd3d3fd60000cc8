"""The guarded TLS context in other people's HTTP clients: each row of the table in docs/guard.md."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import http.client
import pickle
import socket
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests
import urllib3
from detector_testing import Script, serve_middlebox, serve_origin, serve_proxy, serve_script
from detector_testing.origin import answer, greet
from detector_testing.streams import Listener, listen, server_context
from OpenSSL import SSL
from requests.adapters import HTTPAdapter
from support.guarding import EXAM, LMS, SECRET, guard_of, read_head, serve_raw, settled

import detector
from detector.errors import CertificateError, GuardError, InputError, MiddlewareDetected, UnconfirmedError
from detector.exam import OnStalePin, Policy
from detector.guard import guarded_context, refusal_behind
from detector.model import Endpoint, RecordedIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import Issued, PrivatePKI, Request
    from detector_testing.streams import PlainStream, TLSStream

    from detector.guard import GuardedContext

    Client = Callable[[GuardedContext, str, str | None], int]

LOOPBACK = "127.0.0.1"
WAIT = 20.0
"""Seconds for anything on loopback."""


class GuardedAdapter(HTTPAdapter):
    """How requests is given a TLS context, for direct connections and for those through a proxy."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - requests' interface
        """Make the pool of direct connections."""
        super().init_poolmanager(*args, **options, ssl_context=self._context)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - requests' interface
        """Make the pool of one proxy."""
        return super().proxy_manager_for(*args, **options, ssl_context=self._context)


def with_requests(context: GuardedContext, url: str, proxy: str | None, *, verify: bool = True) -> int:
    """POST by requests."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", GuardedAdapter(context))
        proxies = None if proxy is None else {"https": proxy}
        return session.post(url, data=SECRET, proxies=proxies, verify=verify, timeout=WAIT).status_code


def with_requests_unverified(context: GuardedContext, url: str, proxy: str | None) -> int:
    """POST by requests that was configured not to verify."""
    return with_requests(context, url, proxy, verify=False)


def with_urllib3(context: GuardedContext, url: str, proxy: str | None, **options: Any) -> int:  # noqa: ANN401 - urllib3's
    """POST by urllib3."""
    settings: dict[str, Any] = {"ssl_context": context, "retries": False, "timeout": WAIT, **options}
    manager = urllib3.PoolManager(**settings) if proxy is None else urllib3.ProxyManager(proxy, **settings)
    with manager:
        return manager.request("POST", url, body=SECRET).status


def with_urllib3_unverified(context: GuardedContext, url: str, proxy: str | None) -> int:
    """POST by urllib3 that was configured not to verify."""
    return with_urllib3(context, url, proxy, cert_reqs="CERT_NONE", assert_hostname=False)


def with_httpx(context: GuardedContext, url: str, proxy: str | None) -> int:
    """POST by httpx."""
    with httpx.Client(verify=context, proxy=proxy, trust_env=False, timeout=WAIT) as client:
        return client.post(url, content=SECRET).status_code


def with_httpx_async(context: GuardedContext, url: str, proxy: str | None) -> int:
    """POST by httpx's asynchronous client."""

    async def post() -> int:
        async with httpx.AsyncClient(verify=context, proxy=proxy, trust_env=False, timeout=WAIT) as client:
            return (await client.post(url, content=SECRET)).status_code

    return asyncio.run(post())


def with_http_client(context: GuardedContext, url: str, proxy: str | None) -> int:
    """POST by http.client."""
    parts = urlsplit(url)
    target = parts.hostname or "", parts.port or 443
    reach = urlsplit(proxy) if proxy else parts
    connection = http.client.HTTPSConnection(reach.hostname or "", reach.port, context=context, timeout=WAIT)
    try:
        if proxy:
            connection.set_tunnel(*target)
        connection.request("POST", parts.path, body=SECRET)
        return connection.getresponse().status
    finally:
        connection.close()


def with_urllib(context: GuardedContext, url: str, proxy: str | None) -> int:
    """POST by urllib.request."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context),
        urllib.request.ProxyHandler({} if proxy is None else {"https": proxy}),
    )
    with opener.open(url, SECRET.encode(), timeout=WAIT) as response:
        return int(response.status)


CLIENTS: dict[str, tuple[Client, type[Exception]]] = {
    "requests": (with_requests, requests.exceptions.SSLError),
    "requests, verify=False": (with_requests_unverified, requests.exceptions.SSLError),
    "urllib3": (with_urllib3, urllib3.exceptions.SSLError),
    "urllib3, CERT_NONE": (with_urllib3_unverified, urllib3.exceptions.SSLError),
    "httpx": (with_httpx, httpx.ConnectError),
    "httpx, async": (with_httpx_async, httpx.ConnectError),
    "http.client": (with_http_client, ssl.SSLCertVerificationError),
    "urllib.request": (with_urllib, urllib.error.URLError),
}
every_client = pytest.mark.parametrize(("client", "error"), CLIENTS.values(), ids=CLIENTS)
through = pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])


async def refused(client: Client, error: type[Exception], *request: Any) -> GuardError:  # noqa: ANN401 - a client's
    """What the guard said behind the error that the client must raise."""
    with pytest.raises(error) as caught:
        await asyncio.to_thread(client, *request)
    refusal = refusal_behind(caught.value)
    assert refusal is not None
    assert isinstance(refusal, ssl.SSLCertVerificationError)
    return refusal


@every_client
@through
async def test_honest_server(
    world: World, pki: PrivatePKI, client: Client, error: type[Exception], *, through_proxy: bool
) -> None:
    """Each client gets its answer from a genuine server, directly and through a proxy."""
    assert issubclass(error, Exception)
    async with (
        serve_origin(pki.issue([LOOPBACK, EXAM])) as origin,
        serve_proxy(upstream={(EXAM, 443): origin.address}) as proxy,
    ):
        url = f"https://{EXAM}/" if through_proxy else f"https://{LOOPBACK}:{origin.port}/"
        guard = guard_of(world)
        status = await asyncio.to_thread(client, guarded_context(guard), url, proxy.url if through_proxy else None)
        assert status == 200
    assert [request.body for request in origin.requests] == [SECRET.encode()]
    assert [assessed.result.assurance for assessed in guard.assessed] == ["logged"]
    assert guard.assessed[0].result.observation.tls_version == "TLSv1.3"


@every_client
async def test_middlebox(world: World, pki: PrivatePKI, client: Client, error: type[Exception]) -> None:
    """Each client sends a middlebox nothing, and says who it is, even when its own verification is off."""
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_middlebox(pki.private_ca("School CA"), upstream={(EXAM, 443): origin.address}) as box,
    ):
        known = Endpoint(host=EXAM, pins=(bytes(32),), identity=RecordedIdentity.PUBLIC)
        refusal = await refused(client, error, guarded_context(guard_of(world, known)), f"https://{EXAM}/", box.url)
        await settled(box)
        assert (box.overheard, set(box.intercepted)) == (b"", {EXAM})
    assert isinstance(refusal, MiddlewareDetected)
    assert isinstance(refusal, detector.MiddlewareDetected)
    assert refusal.report.results == (refusal.result,)
    assert "School CA" in str(refusal)
    assert origin.requests == []


@every_client
async def test_certificate_and_witness(world: World, pki: PrivatePKI, client: Client, error: type[Exception]) -> None:
    """Each client refuses an expired certificate, and an endpoint that only a witness confirms: it cannot ask one."""
    old = pki.issue([LOOPBACK], not_before=pki.now - dt.timedelta(days=90), not_after=pki.now - dt.timedelta(days=1))
    async with serve_origin(old) as origin:
        context = guarded_context(guard_of(world))
        assert isinstance(
            await refused(client, error, context, f"https://{LOOPBACK}:{origin.port}/", None), CertificateError
        )
    async with serve_origin(pki.issue([LOOPBACK])) as witnessed:
        endpoint = Endpoint(host=LOOPBACK, port=witnessed.port, witness=(bytes(32),))
        policy = Policy(require_witness=(endpoint.name,))
        context = guarded_context(guard_of(world, endpoint, policy=policy))
        refusal = await refused(client, error, context, f"https://{LOOPBACK}:{witnessed.port}/", None)
        assert isinstance(refusal, UnconfirmedError)
        assert "the witness was not asked" in str(refusal)
    assert origin.requests == witnessed.requests == []


# The standard library's own methods to connect


def connected(address: tuple[str, int]) -> socket.socket:
    """A plain connection."""
    return socket.create_connection(address, timeout=WAIT)


async def test_writing_without_a_handshake(world: World, pki: PrivatePKI) -> None:
    """OpenSSL would shake hands by itself on the first write or read: here that is assessed before anything is sent."""
    heard: list[bytes] = []

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        data = b""
        with contextlib.suppress(ConnectionError):  # a socket closed over unread data resets its connection
            await stream.write(b"unasked")
            data = await stream.read()
        heard.append(data)

    def attempt(address: tuple[str, int], use: Callable[[ssl.SSLSocket], object]) -> None:
        context = guarded_context(guard_of(world))
        with context.wrap_socket(connected(address), server_hostname=EXAM, do_handshake_on_connect=False) as wrapped:
            with pytest.raises(CertificateError):
                use(wrapped)
            assert wrapped.fileno() == -1
            with pytest.raises(OSError, match=r".*"):
                wrapped.sendall(SECRET.encode())

    uses: list[Callable[[ssl.SSLSocket], object]] = [
        lambda wrapped: wrapped.sendall(SECRET.encode()),
        lambda wrapped: wrapped.send(SECRET.encode()),
        lambda wrapped: wrapped.write(SECRET.encode()),
        lambda wrapped: wrapped.recv(1),
        lambda wrapped: wrapped.recv_into(bytearray(1)),
        lambda wrapped: wrapped.read(1),
        lambda wrapped: wrapped.do_handshake(),
    ]
    async with serve_raw(pki.private_ca().issue([EXAM]), talk) as server:
        for use in uses:
            await asyncio.to_thread(attempt, server.address, use)
        await settled(server)
    assert set(heard) == {b""}


async def test_connecting_a_wrapped_socket(world: World, pki: PrivatePKI) -> None:
    """A socket that is wrapped before it connects is assessed when it does."""

    def attempt(address: tuple[str, int]) -> None:
        with socket.socket() as plain:
            plain.settimeout(WAIT)
            with guarded_context(guard_of(world)).wrap_socket(plain, server_hostname=EXAM) as wrapped:
                with pytest.raises(CertificateError):
                    wrapped.connect(address)
                with pytest.raises(OSError, match=r".*"):
                    wrapped.send(SECRET.encode())

    async with serve_origin(pki.private_ca().issue([EXAM])) as server:
        await asyncio.to_thread(attempt, server.address)
        await settled(server)
    assert server.requests == []


async def test_memory_buffers_without_a_handshake(world: World, pki: PrivatePKI) -> None:
    """As above, for the object that asyncio, anyio and trio use."""

    def attempt(address: tuple[str, int], data: bytes | None) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        wrapped = guarded_context(guard_of(world)).wrap_bio(incoming, outgoing, server_hostname=EXAM)
        with connected(address) as plain:
            for _ in range(100):
                try:
                    wrapped.read(1) if data is None else wrapped.write(data)
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
                except CertificateError:
                    plain.sendall(outgoing.read())
                    return
        pytest.fail("nothing was refused")

    async with serve_origin(pki.private_ca().issue([EXAM])) as server:
        for data in (SECRET.encode(), None):
            await asyncio.to_thread(attempt, server.address, data)
        await settled(server)
    assert (server.handshakes, server.requests) == (2, [])


async def test_asyncio_streams(world: World, pki: PrivatePKI) -> None:
    """`asyncio.open_connection(ssl=...)` assesses, and reads and writes when nothing is refused."""
    context = guarded_context(guard_of(world))

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        await stream.write((await read_head(stream)).upper())

    async with serve_raw(pki.issue([EXAM]), talk) as server:
        reader, writer = await asyncio.open_connection(*server.address, ssl=context, server_hostname=EXAM)
        writer.write(b"hello\r\n\r\n")
        assert await reader.read(5) == b"HELLO"
        writer.close()
        await writer.wait_closed()
    async with serve_raw(pki.private_ca().issue([EXAM]), talk) as forged:
        with pytest.raises(CertificateError):
            await asyncio.open_connection(*forged.address, ssl=context, server_hostname=EXAM)


async def test_replayed_chain_is_refused_by_openssl(world: World, pki: PrivatePKI) -> None:
    """Python's TLS ends such a handshake by itself: an error of its own, with nothing to judge."""

    def attempt(address: tuple[str, int]) -> None:
        with connected(address) as plain, pytest.raises(ssl.SSLError) as caught:
            guarded_context(guard_of(world)).wrap_socket(plain, server_hostname=EXAM)
        assert refusal_behind(caught.value) is None

    async with serve_script(Script.replay(pki.issue([EXAM]).chain)) as server:
        await asyncio.to_thread(attempt, server.address)


async def test_unreadable_certificates_are_refused_by_openssl(world: World, pki: PrivatePKI) -> None:
    """A leaf that OpenSSL cannot read ends the handshake as its own error, unjudged; nothing is sent either way."""

    def attempt(address: tuple[str, int]) -> None:
        with connected(address) as plain, pytest.raises(ssl.SSLError) as caught:
            guarded_context(guard_of(world)).wrap_socket(plain, server_hostname=EXAM)
        assert refusal_behind(caught.value) is None

    async with serve_script(Script.malformed(b"\x30\x03\x02\x01\x00", *pki.issue([EXAM]).chain)) as server:
        await asyncio.to_thread(attempt, server.address)
    assert server.requests == []


async def test_evidence_is_shared_between_clients(world: World, pki: PrivatePKI) -> None:
    """What one client met counts for the next, whatever library it is: the guard is the same."""
    guard = guard_of(world)
    async with (
        serve_origin(pki.issue([EXAM, LMS])) as origin,
        serve_middlebox(pki.private_ca(), upstream={(host, 443): origin.address for host in (EXAM, LMS)}) as box,
    ):
        for host, (client, error) in zip((EXAM, LMS), (CLIENTS["httpx"], CLIENTS["urllib3"]), strict=True):
            await refused(client, error, guarded_context(guard), f"https://{host}/", box.url)
    assert [assessed.result.reason for assessed in guard.assessed] == ["private-chain", "one-private-signer"]


async def test_http_without_tls_is_not_seen(world: World) -> None:
    """No context is asked about http: the two ways in docs/guard.md keep requests and httpx from it."""

    async def serve(plain: PlainStream) -> None:
        await answer(plain, greet, heard)

    def unguarded(url: str) -> None:
        with httpx.Client(verify=guarded_context(guard_of(world)), trust_env=False) as client:
            assert client.get(url).status_code == 200

    def guarded(url: str) -> None:
        def refuse(request: httpx.Request) -> httpx.Response:
            raise httpx.UnsupportedProtocol("without TLS", request=request)

        mounts = {"http://": httpx.MockTransport(refuse)}
        context = guarded_context(guard_of(world))
        with (
            httpx.Client(verify=context, mounts=mounts, trust_env=False) as client,
            pytest.raises(httpx.UnsupportedProtocol),
        ):
            client.get(url)
        with requests.Session() as session:
            session.mount("https://", GuardedAdapter(context))
            del session.adapters["http://"]
            with pytest.raises(requests.exceptions.InvalidSchema):
                session.get(url)

    heard: list[Request] = []
    server = Listener()
    async with listen(serve, server):
        url = f"http://{LOOPBACK}:{server.port}/"
        await asyncio.to_thread(unguarded, url)
        await asyncio.to_thread(guarded, url)
    assert len(heard) == 1


def _shake(issued: Issued, context: GuardedContext, host: str | None) -> None:
    """A handshake in memory with a server that presents `issued`."""
    server = SSL.Connection(server_context(issued), None)
    server.set_accept_state()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=host)
    for _ in range(10):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            server.bio_write(outgoing.read())
            with contextlib.suppress(SSL.WantReadError):
                server.do_handshake()
            incoming.write(server.bio_read(65536))
        else:
            return


def test_ports(world: World, pki: PrivatePKI) -> None:
    """Pins are looked up by name where one port is pinned, and by the context's port where there are several."""
    issued = pki.issue([EXAM])
    right = Endpoint(host=EXAM, port=8443, pins=(issued.spki_sha256,))
    wrong = Endpoint(host=EXAM, port=9443, pins=(bytes(32),))
    refusing = Policy(on_stale_pin=OnStalePin.REFUSE)
    _shake(issued, guarded_context(guard_of(world, right)), EXAM)
    with pytest.raises(UnconfirmedError, match="pin"):
        _shake(issued, guarded_context(guard_of(world, wrong, policy=refusing)), EXAM)
    both = guard_of(world, right, wrong, policy=refusing)
    with pytest.raises(InputError, match="several ports"):
        _shake(issued, guarded_context(both), EXAM)
    _shake(issued, guarded_context(both, port=8443), EXAM)
    with pytest.raises(UnconfirmedError):
        _shake(issued, guarded_context(both, port=9443), EXAM)


def test_a_name_is_needed(world: World, pki: PrivatePKI) -> None:
    """Without a host there is nothing to judge by."""
    with pytest.raises(InputError, match="name of its host"):
        _shake(pki.issue([EXAM]), guarded_context(guard_of(world)), None)


def test_the_context_takes_no_orders(world: World, pki: PrivatePKI) -> None:
    """What libraries set to turn verification off, or to trust other roots, changes nothing."""
    context = guarded_context(guard_of(world))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_verify_locations(cadata=pki.private_ca().pem.decode())
    context.load_default_certs()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(CertificateError):
        _shake(pki.private_ca().issue([EXAM]), context, EXAM)


def test_refusals_can_be_pickled(world: World, pki: PrivatePKI) -> None:
    """Exceptions cross process borders, as those of worker pools do."""
    with pytest.raises(CertificateError) as caught:
        _shake(pki.private_ca().issue([EXAM]), guarded_context(guard_of(world)), EXAM)
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made a line above
    assert (type(copy), str(copy), copy.result) == (type(caught.value), str(caught.value), caught.value.result)


def test_no_refusal_behind_other_errors() -> None:
    """An error that is not the guard's has nothing behind it, even one that goes round in a circle."""
    error = ValueError("alone")
    error.__context__ = OSError("other")
    error.__context__.__context__ = error
    assert refusal_behind(error) is None
    assert refusal_behind(ValueError(CertificateError("inside", advice=""))) is not None
