"""Routes: resolution that hangs, addresses that race, proxies that lie, and settings as environments have them.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs
import pytest
from detector_testing import Lie, serve_origin, serve_proxy
from detector_testing.streams import Listener, listen
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.pretty import pretty_repr
from support.conversations import HOST, at, ders, exam
from support.profiles import examples

from detector.errors import ProxyError
from detector.model import Endpoint, Outcome, ProxyScheme, Route
from detector.probe import DirectDialer, Proxy, ProxyDialer, Timeouts, parse_proxy, probe, proxy_for, routes
from detector.probe.routes.connect import ConnectNegotiation

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing.streams import PlainStream

ENDPOINT = Endpoint(host=HOST)
BRIEF = Timeouts(resolve=0.15, connect=0.15, proxy=0.15, handshake=0.5)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], list[str]]], None]:
    """Decide what names resolve to; a function may block, as a resolver may."""
    answers: dict[str, Callable[[], list[str]]] = {}
    system = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **options: Any) -> list[Any]:  # noqa: ANN401 - as the original
        if host not in answers:
            return list(system(host, port, *args, **options))
        found: list[Any] = []
        for address in answers[host]():
            found += system(address, port, *args, **options)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return answers.__setitem__


async def test_a_resolve_rule_leads_elsewhere() -> None:
    """Rules go by host, whatever its case, and port, and before the endpoint's own address."""
    async with serve_origin(exam()) as origin:
        dialer = DirectDialer({(HOST.upper(), 443): origin.address})
        observation = (await probe(Endpoint(host=HOST, address=("127.0.0.1", 9)), dialer=dialer)).single
    assert observation.outcome is Outcome.COMPLETE


async def test_names_are_resolved(names: Callable[[str, Callable[[], list[str]]], None]) -> None:
    """A name goes through the system's resolver."""
    names(HOST, lambda: ["127.0.0.1"])
    async with serve_origin(exam()) as origin:
        observation = (await probe(Endpoint(host=HOST, port=origin.port), dialer=DirectDialer())).single
    assert observation.outcome is Outcome.COMPLETE


async def test_addresses_race(names: Callable[[str, Callable[[], list[str]]], None]) -> None:
    """Where one family has nobody listening, the other one is taken (RFC 8305)."""
    names(HOST, lambda: ["::1", "127.0.0.1"])
    async with serve_origin(exam()) as origin:
        observation = (await probe(Endpoint(host=HOST, port=origin.port), dialer=DirectDialer())).single
    assert (observation.outcome, observation.address) == (Outcome.COMPLETE, f"127.0.0.1:{origin.port}")


async def test_a_hanging_resolver_costs_its_timeout(names: Callable[[str, Callable[[], list[str]]], None]) -> None:
    """The thread stays behind, the probe does not; a deadline and a cancellation get through as well."""
    release = threading.Event()

    def hang() -> list[str]:
        release.wait()
        return ["127.0.0.1"]

    names(HOST, hang)
    dialer = DirectDialer()
    loop = asyncio.get_running_loop()
    try:
        assert (await probe(ENDPOINT, dialer=dialer, timeouts=BRIEF)).single.outcome is Outcome.DNS_FAILURE
        deadline = loop.time() + 0.05
        assert (await probe(ENDPOINT, dialer=dialer, deadline=deadline)).single.outcome is Outcome.DEADLINE
        assert loop.time() - deadline < 5  # it would hang for ever otherwise
        task = asyncio.create_task(probe(ENDPOINT, dialer=dialer))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        release.set()


async def test_hanging_lookups_are_bounded(names: Callable[[str, Callable[[], list[str]]], None]) -> None:
    """No more threads than allowed; one that comes back makes room again."""
    release, entered = threading.Event(), threading.Semaphore(0)
    running: list[str] = []

    def hang() -> list[str]:
        running.append(HOST)
        entered.release()
        release.wait()
        return ["127.0.0.1"]

    names(HOST, hang)
    resolver = routes.Resolver(lookups_max=2)
    tasks = [asyncio.create_task(resolver.resolve(HOST, 443)) for _ in range(3)]
    try:
        await asyncio.to_thread(lambda: (entered.acquire(), entered.acquire()))
        assert len(running) == 2
    finally:
        release.set()
    answers = await asyncio.gather(*tasks)
    assert [answer[0][4] for answer in answers] == [("127.0.0.1", 443)] * 3


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a\x00b.example", "..", "x.invalid"])
async def test_names_that_cannot_be(host: str, names: Callable[[str, Callable[[], list[str]]], None]) -> None:
    """What is no host name does not resolve; it does not raise."""

    def unknown() -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    names("x.invalid", unknown)
    names("..", unknown)
    observation = (await probe(ENDPOINT, dialer=DirectDialer({(HOST, 443): (host, 443)}))).single
    assert observation.outcome in {Outcome.DNS_FAILURE, Outcome.CONNECT_REFUSED}


@pytest.mark.parametrize("port", [0, -1, 65536, 1 << 40])
async def test_ports_that_cannot_be(port: int) -> None:
    """What is not a TCP port cannot be reached; it does not raise."""
    dialer = DirectDialer({(HOST, 443): ("127.0.0.1", port)})
    assert (await probe(ENDPOINT, dialer=dialer)).single.outcome is Outcome.DNS_FAILURE


@pytest.mark.parametrize("host", ["a b", "a\r\nX: y", "ü" * 80, "\udc80"])
async def test_names_no_proxy_is_asked_for(host: str) -> None:
    """What cannot stand in a request line never reaches the proxy."""
    async with serve_proxy() as proxy:
        dialer = ProxyDialer(Proxy(host="127.0.0.1", port=proxy.port))
        observation = (await probe(Endpoint(host=host), dialer=dialer)).single
    assert observation.outcome is Outcome.DNS_FAILURE
    assert proxy.connections == 0


async def test_the_deadline_ends_a_silent_proxy() -> None:
    """The deadline holds in every phase."""
    loop = asyncio.get_running_loop()
    async with serve_proxy(lie=Lie.HANG) as proxy:
        dialer = ProxyDialer(Proxy(host="127.0.0.1", port=proxy.port))
        observation = (await probe(ENDPOINT, dialer=dialer, deadline=loop.time() + 0.1)).single
    assert observation.outcome is Outcome.DEADLINE
    assert set(observation.timings_ms) == {"resolve", "connect", "proxy"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_connect_that_hangs(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses that never answer cost the connect timeout."""

    async def never(*_: object, **__: object) -> socket.socket:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", never)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    observation = (await probe(at((host, 9)), dialer=DirectDialer(), timeouts=BRIEF)).single
    assert observation.outcome is Outcome.CONNECT_TIMEOUT


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    ("error", "outcome"), [(OSError(24, "x"), Outcome.RESOURCES), (RuntimeError("x"), Outcome.UNREACHABLE)]
)
async def test_a_connect_that_fails(
    host: str, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: Outcome
) -> None:
    """Running out of descriptors is our own; what uvloop raises instead of OSError is not let through."""

    async def fail(*_: object, **__: object) -> socket.socket:
        raise error

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", fail)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", fail)
    assert (await probe(at((host, 9)), dialer=DirectDialer())).single.outcome is outcome


async def test_through_a_proxy() -> None:
    """The proxy resolves the name; the tunnel carries the handshake, and the proxy's address is reported."""
    async with (
        serve_origin(exam()) as origin,
        serve_proxy(upstream={(HOST, 443): origin.address}, require_auth="user:pä ss") as proxy,
    ):
        dialer = ProxyDialer(parse_proxy(f"http://user:p%C3%A4%20ss@127.0.0.1:{proxy.port}"))
        observation = (await probe(ENDPOINT, dialer=dialer)).single
    assert (observation.outcome, observation.route) == (Outcome.COMPLETE, Route.HTTP_CONNECT)
    assert ders(observation) == exam().chain
    assert observation.address == f"127.0.0.1:{proxy.port}"
    assert proxy.targets == [(HOST, 443)]
    assert "proxy" in observation.timings_ms


async def test_a_rule_decides_what_the_proxy_is_asked_for() -> None:
    """A mapped endpoint is asked for by its address, in brackets where that is IPv6."""
    async with serve_origin(exam(), host="::1") as origin, serve_proxy() as proxy:
        dialer = ProxyDialer(Proxy(host="127.0.0.1", port=proxy.port), {(HOST, 443): ("::1", origin.port)})
        observation = (await probe(ENDPOINT, dialer=dialer)).single
    assert observation.outcome is Outcome.COMPLETE
    assert proxy.targets == [("::1", origin.port)]


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({"require_auth": "user:secret"}, Outcome.PROXY_AUTH_REQUIRED),
        ({"refuse": 403}, Outcome.PROXY_REFUSED),
        ({"refuse": 401}, Outcome.PROXY_REFUSED),
        ({"refuse": 302}, Outcome.PROXY_REDIRECTED),
        ({"refuse": 307}, Outcome.PROXY_REDIRECTED),
        ({"refuse": 511}, Outcome.PROXY_REDIRECTED),
        ({"refuse": 500}, Outcome.PROXY_GATEWAY),
        ({"refuse": 502}, Outcome.PROXY_GATEWAY),
        ({"refuse": 503}, Outcome.PROXY_GATEWAY),
        ({"refuse": 504}, Outcome.PROXY_GATEWAY),
        ({"lie": Lie.GARBAGE}, Outcome.PROXY_PROTOCOL),
        ({"lie": Lie.BODY_BEFORE_STATUS}, Outcome.PROXY_PROTOCOL),
        ({"lie": Lie.CLOSE}, Outcome.PROXY_CLOSED),
        ({"lie": Lie.OTHER_PROTOCOL}, Outcome.PROXY_OTHER_KIND),
        ({"lie": Lie.ENDLESS_HEADER}, Outcome.PROXY_PROTOCOL),
        ({"lie": Lie.HANG}, Outcome.PROXY_UNREACHABLE),
        ({"lie": Lie.BODY_WITH_200}, Outcome.NOT_TLS),
    ],
)
async def test_proxies_that_refuse_or_lie(options: dict[str, Any], outcome: Outcome) -> None:
    """Every failure of a proxy has its outcome, and bytes after a 200 are the tunnel's."""
    timeouts = BRIEF if outcome is Outcome.PROXY_UNREACHABLE else None
    async with serve_origin(exam()) as origin, serve_proxy(upstream={(HOST, 443): origin.address}, **options) as proxy:
        dialer = ProxyDialer(Proxy(host="127.0.0.1", port=proxy.port))
        observation = (await probe(ENDPOINT, dialer=dialer, timeouts=timeouts)).single
        if outcome is not Outcome.PROXY_UNREACHABLE:
            await proxy.settled()
    assert (observation.outcome, observation.chain) == (outcome, ())


async def test_a_proxy_that_is_not_there() -> None:
    """Nobody listening, or a name that does not resolve, is an unreachable proxy."""
    async with serve_proxy() as proxy:
        port = proxy.port
    observation = (await probe(ENDPOINT, dialer=ProxyDialer(Proxy(host="127.0.0.1", port=port)))).single
    assert observation.outcome is Outcome.PROXY_UNREACHABLE
    observation = (await probe(ENDPOINT, dialer=ProxyDialer(Proxy(host="a" * 64, port=port)))).single
    assert observation.outcome is Outcome.PROXY_UNREACHABLE


@pytest.mark.parametrize("tunnelled", [b"", b"\x15\x03\x01\0\x02\x02\x28 :x : y"])
def test_whitespace_before_a_colon(tunnelled: bytes) -> None:
    """A header that was written so is read, and nothing past the end of the headers is touched."""
    negotiation = ConnectNegotiation(HOST, 443, None)
    negotiation.start()
    negotiation.receive(b"HTTP/1.1 200 OK\r\nVia : x\r\nAge\t: 1\r\n\r\n" + tunnelled)
    assert (negotiation.established, negotiation.leftover) == (True, tunnelled)


def test_an_ssh_server_is_no_http_proxy() -> None:
    """Its greeting names another protocol."""
    negotiation = ConnectNegotiation(HOST, 443, None)
    negotiation.start()
    negotiation.receive(b"SSH-2.0-OpenSSH_9.6\r\n")
    assert negotiation.failure is Outcome.PROXY_OTHER_KIND


@pytest.mark.parametrize("interim", [3, 50])
async def test_interim_responses(interim: int) -> None:
    """A few 1xx responses are passed over, many are not waited through."""

    async def serve(stream: PlainStream) -> None:
        await stream.read()
        await stream.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * interim + b"HTTP/1.1 403 No\r\n\r\n")
        while await stream.read():
            pass

    server = Listener()
    async with listen(serve, server):
        observation = (await probe(ENDPOINT, dialer=ProxyDialer(Proxy(host=server.host, port=server.port)))).single
        await server.settled()
    assert observation.outcome is (Outcome.PROXY_REFUSED if interim == 3 else Outcome.PROXY_PROTOCOL)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", Proxy(host="proxy.example", port=3128)),
        ("proxy.example:3128", Proxy(host="proxy.example", port=3128)),
        ("http://proxy.example/", Proxy(host="proxy.example", port=80)),
        ("HTTP://[2001:db8::1]:8080", Proxy(host="2001:db8::1", port=8080)),
        ("http://u%40x:p%3A%2Fw@h:1", Proxy(host="h", port=1, username="u@x", password="p:/w")),  # noqa: S106 - an example
        ("http://user@h:1", Proxy(host="h", port=1, username="user")),
        ("https://h", Proxy(host="h", port=443, scheme=ProxyScheme.HTTPS)),
        ("socks://h", Proxy(host="h", port=1080, scheme=ProxyScheme.SOCKS5)),
        ("socks5h://u:p%3A@h:1", Proxy(host="h", port=1, username="u", password="p:", scheme=ProxyScheme.SOCKS5)),  # noqa: S106 - an example
        ("socks4://u@h:1", Proxy(host="h", port=1, username="u", scheme=ProxyScheme.SOCKS4A)),
    ],
)
def test_proxy_urls(text: str, proxy: Proxy) -> None:
    """URLs as people and environments write them."""
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "ftp://user:hunter2@h:1",
        "socks5://:hunter2@h:1",
        f"socks5://user:{'hunter2' * 37}@h:1",
        "socks4a://user:hunter2@h:1",
        "https://us%3Aer:hunter2@h:1",
        "hunter2://h:1",
        "http://user:hunter2@h:port",
        "http://user:hun/ter2@h:1",
        "http://user:hunter2@h:99999",
        "http://user:hunter2@h:0",
        "http://user:hunter2@",
        "http://user:hunter2@[h:1",
        "http://user:hunter2@h:1/path",
        "http://user:hunter2@h h:1",
        "http://us%3Aer:hunter2@h:1",
        "http://user:%FF@h:1",
        "",
    ],
)
def test_proxy_urls_that_cannot_be_used(text: str) -> None:
    """The message says what to do and repeats no credentials, nor does anything it was caused by."""
    with pytest.raises(ProxyError) as caught:
        parse_proxy(text)
    assert caught.value.advice
    for shown in (str(caught.value), repr(caught.value), repr(caught.value.__cause__)):
        assert "hunter2" not in shown
        assert "ter2" not in shown


def test_a_proxy_never_shows_its_credentials() -> None:
    """However it is printed."""
    proxy = parse_proxy("http://user:hunter2@[::1]:1")
    for shown in (str(proxy), repr(proxy), f"{proxy}", pretty_repr(proxy), repr([proxy])):
        assert "hunter2" not in shown
        assert "user" not in shown
        assert "http://[::1]:1" in shown


@settings(max_examples=examples(100))
@given(text=st.one_of(st.text(max_size=40), st.text(max_size=30).map("http://{}".format)))
def test_proxy_urls_raise_only_proxy_errors(text: str) -> None:
    """Whatever the environment holds, it is a proxy or a ProxyError."""
    try:
        proxy = parse_proxy(text)
    except ProxyError:
        return
    assert proxy.host
    assert 0 < proxy.port <= 65535


@pytest.mark.parametrize(
    ("host", "environ", "expected"),
    [
        (HOST, {}, None),
        (HOST, {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        (HOST, {"https_proxy": "http://q:2", "HTTPS_PROXY": "http://p:1"}, "http://q:2"),
        (HOST, {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        (HOST, {"HTTP_PROXY": "http://p:1"}, None),
        (HOST, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        (HOST, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x.org, .example.edu"}, None),
        (HOST, {"HTTPS_PROXY": "http://p:1", "no_proxy": "EXAMPLE.edu"}, None),
        (HOST, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*.example.edu:443"}, None),
        (HOST, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.edu:8443"}, "http://p:1"),
        (HOST, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "ample.edu"}, "http://p:1"),
        (HOST, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "192.0.2.0/24"}, "http://p:1"),
        ("192.0.2.9", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "192.0.2.0/24"}, None),
        ("2001:db8::9", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "[2001:db8::9]"}, None),
        ("192.0.2.9", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "192.0.2.9:443"}, None),
    ],
)
def test_environments(host: str, environ: dict[str, str], expected: str | None) -> None:
    """HTTPS_PROXY, ALL_PROXY and NO_PROXY as other tools read them."""
    proxy = proxy_for(host, 443, "env", environ)
    assert (None if proxy is None else str(proxy)) == expected


def test_settings_other_than_the_environment() -> None:
    """`none` and a URL ignore the environment."""
    environ = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}
    assert proxy_for(HOST, 443, "none", environ) is None
    assert proxy_for(HOST, 443, "http://q:2", environ) == Proxy(host="q", port=2)
    with pytest.raises(ProxyError):
        proxy_for(HOST, 443, "env", {"HTTPS_PROXY": "ftp://p:1"})
