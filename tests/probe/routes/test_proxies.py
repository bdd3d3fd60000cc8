"""Proxies of every kind: SOCKS, HTTPS, what they ask for, how they fail, and that credentials never show.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from detector_testing import Lie, serve_origin, serve_proxy, serve_socks
from detector_testing.streams import Listener, aborting, connect, listen, relay
from hypothesis import given, settings
from hypothesis import strategies as st
from python_socks import ProxyType
from python_socks.async_.asyncio import Proxy as AnotherClient
from support.conversations import HOST, at, ders, exam, pki
from support.profiles import examples

from detector.errors import ProxyError
from detector.judge import advice
from detector.model import (
    Audience,
    Category,
    Endpoint,
    EndpointName,
    Outcome,
    ProxyScheme,
    Reason,
    Result,
    Route,
    Verdict,
    encode,
)
from detector.probe import Proxy, ProxyDialer, Timeouts, parse_proxy, probe
from detector.probe.routes import RouteError
from detector.probe.routes.connect import AUTH_SCHEMES_MAX, ConnectNegotiation, auth_schemes
from detector.probe.routes.socks import Socks4aNegotiation, Socks5Negotiation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing.streams import PlainStream

    from detector.model import Observation
    from detector.probe.routes.negotiation import Negotiation

ENDPOINT = Endpoint(host=HOST)
BRIEF = Timeouts(resolve=0.15, connect=0.15, proxy=0.15, handshake=0.5)
PROXY_HOST = "127.0.0.1"
WINDOWS = ("negotiate", "ntlm", "digest")


def sentence(observation: Observation) -> str:
    """The sentence in a report about a connection that showed nothing."""
    endpoint = EndpointName(host=HOST, port=443, category=Category.EXAM)
    result = Result(
        endpoint=endpoint, verdict=Verdict.INCONCLUSIVE, reason=Reason.NO_CERTIFICATE, observation=observation
    )
    return advice.advise([result])[Audience.STUDENT][0]


@pytest.mark.parametrize(
    ("version", "route", "account", "credentials"),
    [
        (5, Route.SOCKS5, None, ""),
        (5, Route.SOCKS5, "user:pä ss", "user:p%C3%A4%20ss@"),
        (4, Route.SOCKS4A, None, ""),
        (4, Route.SOCKS4A, "user", "user@"),
    ],
)
async def test_through_socks(version: int, route: Route, account: str | None, credentials: str) -> None:
    """The proxy is asked for the name and resolves it; the tunnel carries the handshake."""
    async with (
        serve_origin(exam()) as origin,
        serve_socks(version, upstream={(HOST, 443): origin.address}, require_auth=account) as proxy,
    ):
        dialer = ProxyDialer(parse_proxy(proxy.url.replace("://", f"://{credentials}")))
        observation = (await probe(ENDPOINT, dialer=dialer)).single
    assert (observation.outcome, observation.route) == (Outcome.COMPLETE, route)
    assert ders(observation) == exam().chain
    assert proxy.targets == [(HOST, 443)]
    assert observation.proxy is not None
    assert (observation.proxy.url, observation.proxy.status) == (proxy.url, 0 if version == 5 else 90)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_socks5_is_asked_for_addresses_too(address: str) -> None:
    """A mapped endpoint is asked for by its address, of either family."""
    async with serve_origin(exam(), host=address) as origin, serve_socks() as proxy:
        observation = (await probe(at((address, origin.port)), dialer=ProxyDialer(parse_proxy(proxy.url)))).single
    assert observation.outcome is Outcome.COMPLETE
    assert proxy.targets == [(address, origin.port)]


async def test_socks4_has_no_ipv6() -> None:
    """What the protocol cannot carry is said, not tried."""
    async with serve_socks(4) as proxy:
        observation = (await probe(at(("::1", 443)), dialer=ProxyDialer(parse_proxy(proxy.url)))).single
    assert observation.outcome is Outcome.NO_ADDRESS
    assert proxy.connections == 0


async def test_through_an_https_proxy() -> None:
    """TLS in TLS: the chain of the proxy is captured besides that of the endpoint, each from its own handshake."""
    own = pki().issue([PROXY_HOST])
    async with serve_origin(exam()) as origin, serve_proxy(upstream={(HOST, 443): origin.address}, tls=own) as proxy:
        observation = (await probe(ENDPOINT, dialer=ProxyDialer(parse_proxy(proxy.url)))).single
        await proxy.settled()
    assert (observation.outcome, observation.route) == (Outcome.COMPLETE, Route.HTTPS_CONNECT)
    assert observation.key_proved
    assert ders(observation) == exam().chain
    assert observation.proxy is not None
    assert observation.proxy.tls is not None
    assert ders(observation.proxy.tls) == own.chain
    assert (observation.proxy.tls.outcome, observation.proxy.tls.key_proved) == (Outcome.COMPLETE, True)
    assert (observation.proxy.url, observation.proxy.status) == (proxy.url, 200)


@pytest.mark.parametrize(("trusted", "outcome"), [(True, Outcome.COMPLETE), (False, Outcome.PROXY_UNTRUSTED)])
async def test_credentials_go_only_to_a_proxy_that_is_trusted(*, trusted: bool, outcome: Outcome) -> None:
    """The proxy's certificate is assessed before a password is sent over that connection."""
    seen: list[Observation] = []

    def trusts(_proxy: Proxy, observation: Observation) -> bool:
        seen.append(observation)
        return trusted

    own = pki().private_ca("Somebody").issue([PROXY_HOST])
    async with (
        serve_origin(exam()) as origin,
        serve_proxy(upstream={(HOST, 443): origin.address}, tls=own, require_auth="user:hunter2") as proxy,
    ):
        credentials = parse_proxy(proxy.url.replace("://", "://user:hunter2@"))
        observation = (await probe(ENDPOINT, dialer=ProxyDialer(credentials, trusts=trusts))).single
        without = (await probe(ENDPOINT, dialer=ProxyDialer(credentials))).single
        await proxy.settled()
    assert observation.outcome is outcome
    assert ders(seen[0]) == own.chain
    assert proxy.targets == ([(HOST, 443)] if trusted else [])
    assert without.outcome is Outcome.PROXY_UNTRUSTED
    assert "not sent" in sentence(without)


async def test_an_https_url_for_a_proxy_without_tls() -> None:
    """What the proxy did instead of TLS is kept, and the sentence says what to check."""
    async with serve_proxy() as plain, serve_proxy(lie=Lie.GARBAGE) as garbage:
        for proxy, timeouts in ((plain, BRIEF), (garbage, None)):
            url = proxy.url.replace("http", "https")
            observation = (await probe(ENDPOINT, dialer=ProxyDialer(parse_proxy(url)), timeouts=timeouts)).single
            assert observation.outcome in {Outcome.PROXY_TLS, Outcome.PROXY_UNREACHABLE}
            assert observation.proxy is not None
            assert observation.proxy.tls is not None
            assert observation.proxy.tls.outcome is not Outcome.COMPLETE
    assert observation.outcome is Outcome.PROXY_TLS
    assert "http" in sentence(observation)


async def test_an_https_proxy_that_never_answers() -> None:
    """The time of the proxy phase bounds TLS to it and the exchange over it together."""
    async with serve_proxy(tls=pki().issue([PROXY_HOST]), lie=Lie.HANG) as proxy:
        observation = (await probe(ENDPOINT, dialer=ProxyDialer(parse_proxy(proxy.url)), timeouts=BRIEF)).single
    assert observation.outcome is Outcome.PROXY_UNREACHABLE
    assert observation.proxy is not None
    assert observation.proxy.tls is not None


@pytest.mark.parametrize(
    ("challenges", "credentials", "outcome", "schemes"),
    [
        (('Basic realm="x"',), "", Outcome.PROXY_AUTH_REQUIRED, ("basic",)),
        (('Basic realm="x"',), "user:wrong@", Outcome.PROXY_AUTH_REJECTED, ("basic",)),
        (("Negotiate", "NTLM", 'Digest realm="a, b", nonce="c"'), "", Outcome.PROXY_AUTH_UNSUPPORTED, WINDOWS),
        (("Negotiate, NTLM", 'Digest realm="a, b", nonce="c"'), "user:wrong@", Outcome.PROXY_AUTH_UNSUPPORTED, WINDOWS),
        (("Negotiate", "Basic"), "", Outcome.PROXY_AUTH_REQUIRED, ("negotiate", "basic")),
        ((), "", Outcome.PROXY_AUTH_REQUIRED, ()),
        (("==", ",,", "a" * 99), "", Outcome.PROXY_AUTH_REQUIRED, ()),
    ],
)
async def test_what_a_proxy_asks_for(
    challenges: tuple[str, ...], credentials: str, outcome: Outcome, schemes: tuple[str, ...]
) -> None:
    """The authentication schemes offered are reported; unsupported ones have an outcome of their own."""
    async with serve_proxy(require_auth="user:secret", challenges=challenges) as proxy:
        dialer = ProxyDialer(parse_proxy(proxy.url.replace("://", f"://{credentials}")))
        observation = (await probe(ENDPOINT, dialer=dialer)).single
    assert observation.outcome is outcome
    assert observation.proxy is not None
    assert (observation.proxy.auth_schemes, observation.proxy.status) == (schemes, 407)
    if outcome is Outcome.PROXY_AUTH_UNSUPPORTED:
        assert "negotiate, ntlm, digest" in sentence(observation)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({"refuse": 91}, Outcome.PROXY_REFUSED),
        ({"lie": Lie.GARBAGE}, Outcome.PROXY_PROTOCOL),
        ({"lie": Lie.BODY_BEFORE_STATUS}, Outcome.PROXY_OTHER_KIND),
        ({"lie": Lie.OTHER_PROTOCOL}, Outcome.PROXY_OTHER_KIND),
        ({"lie": Lie.CLOSE}, Outcome.PROXY_CLOSED),
        ({"lie": Lie.HANG}, Outcome.PROXY_UNREACHABLE),
        ({"lie": Lie.BODY_WITH_200}, Outcome.NOT_TLS),
    ],
)
async def test_socks_proxies_that_refuse_or_lie(version: int, options: dict[str, Any], outcome: Outcome) -> None:
    """Every failure has its outcome and one sentence."""
    timeouts = BRIEF if outcome is Outcome.PROXY_UNREACHABLE else None
    async with serve_origin(exam()) as origin:
        upstream = {(HOST, 443): origin.address}
        async with serve_socks(version, upstream=upstream, **options) as proxy:
            observation = (await probe(ENDPOINT, dialer=ProxyDialer(parse_proxy(proxy.url)), timeouts=timeouts)).single
    assert (observation.outcome, observation.chain) == (outcome, ())
    assert len(sentence(observation).splitlines()) == 1


@pytest.mark.parametrize(
    ("version", "options", "credentials", "outcome"),
    [
        (5, {"require_auth": "user:secret"}, "", Outcome.PROXY_AUTH_REQUIRED),
        (5, {"require_auth": "user:secret"}, "user:wrong@", Outcome.PROXY_AUTH_REJECTED),
        (5, {"methods": (1,)}, "", Outcome.PROXY_PROTOCOL),
        (5, {"methods": (0xFF,)}, "user:wrong@", Outcome.PROXY_AUTH_UNSUPPORTED),
        (4, {"require_auth": "user"}, "", Outcome.PROXY_AUTH_REJECTED),
    ],
)
async def test_what_a_socks_proxy_asks_for(
    version: int, options: dict[str, Any], credentials: str, outcome: Outcome
) -> None:
    """No method in common, wrong credentials, and a method that was never offered are different things."""
    async with serve_socks(version, **options) as proxy:
        dialer = ProxyDialer(parse_proxy(proxy.url.replace("://", f"://{credentials}")))
        observation = (await probe(ENDPOINT, dialer=dialer)).single
    assert observation.outcome is outcome


async def test_a_page_behind_the_answer_gets_its_own_sentence() -> None:
    """Not TLS behind a granted tunnel is the proxy's doing; the sentence says so."""
    async with serve_origin(exam()) as origin:
        upstream = {(HOST, 443): origin.address}
        async with serve_proxy(upstream=upstream, lie=Lie.BODY_WITH_200) as proxy:
            observation = (await probe(ENDPOINT, dialer=ProxyDialer(parse_proxy(proxy.url)))).single
    assert observation.outcome is Outcome.NOT_TLS
    assert "opened the tunnel" in sentence(observation)


@pytest.mark.parametrize("kind", ["http", "socks5", "socks4a", "https"])
async def test_http_and_socks_mixed_up(kind: str) -> None:
    """A proxy of another kind than the URL says ends in an outcome of the proxy, in time."""
    async with serve_proxy() as http, serve_socks(5) as socks5, serve_socks(4) as socks4:
        for proxy in (http, socks5, socks4):
            if proxy.scheme == kind:
                continue
            dialer = ProxyDialer(parse_proxy(f"{kind}://127.0.0.1:{proxy.port}"))
            observation = (await probe(ENDPOINT, dialer=dialer, timeouts=BRIEF)).single
            assert observation.outcome.value.startswith("proxy-")
            assert sentence(observation)


async def test_cancelling_leaves_nothing_open() -> None:
    """A cancelled dial closes its connection, plain or TLS."""
    async with serve_proxy(lie=Lie.HANG) as plain, serve_proxy(lie=Lie.HANG, tls=pki().issue([PROXY_HOST])) as tls:
        for proxy in (plain, tls):
            task = asyncio.create_task(probe(ENDPOINT, dialer=ProxyDialer(parse_proxy(proxy.url))))
            await proxy.connected.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await proxy.settled()


def negotiations() -> list[Callable[[], Negotiation]]:
    return [
        lambda: ConnectNegotiation(HOST, 443, b"Basic eDp5"),
        lambda: Socks5Negotiation(HOST, 443, ("user", "password")),
        lambda: Socks5Negotiation("192.0.2.1", 443, None),
        lambda: Socks4aNegotiation(HOST, 443, "user"),
    ]


PREFIXES = (
    b"",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 407 x\r\nProxy-Authenticate: ",
    b"\5\0",
    b"\5\2\1\0\5\0\0\3",
    b"\0\x5a",
)


@settings(max_examples=examples(300))
@given(number=st.integers(0, 3), prefix=st.sampled_from(PREFIXES), pieces=st.lists(st.binary(max_size=40), max_size=8))
def test_nothing_a_proxy_says_raises(number: int, prefix: bytes, pieces: list[bytes]) -> None:
    """Whatever comes, in whatever pieces, an exchange goes on, succeeds or fails with an outcome of a proxy."""
    exchange = negotiations()[number]()
    exchange.start()
    for piece in (prefix, *pieces):
        exchange.receive(piece)
    exchange.connection_closed()
    assert exchange.settled
    assert exchange.established or (exchange.failure is not None and exchange.failure.value.startswith("proxy-"))


@settings(max_examples=examples(100))
@given(cuts=st.lists(st.integers(0, 40), max_size=6), tail=st.binary(max_size=5), length=st.integers(0, 255))
def test_the_pieces_do_not_matter(cuts: list[int], tail: bytes, length: int) -> None:
    """An answer is the same answer however it is cut up, and what is behind it is the tunnel's, to the byte."""
    named = b"\5\0\0\3" + bytes((length,)) + b"n" * length + b"\0\0"
    answers = (b"HTTP/1.1 200 OK\r\n\r\n", b"\5\2\1\0" + named, b"\5\0" + b"\5\0\0\4" + bytes(18), b"\0\x5a" + bytes(6))
    for make, answer in zip(negotiations(), answers, strict=True):
        exchange, left = make(), b""
        exchange.start()
        places = sorted({min(cut, len(answer)) for cut in cuts} | {0, len(answer)})
        for begin, end in itertools.pairwise(places):
            piece = answer[begin:end] + (tail if end == len(answer) else b"")
            exchange.receive(piece)
        left = exchange.leftover
        assert exchange.established
        assert left == tail


@pytest.mark.parametrize(
    ("value", "schemes"),
    [
        (b'Digest realm="a, Basic b", Basic realm="c"', ("digest", "basic")),
        (b'Digest realm="a\\", Basic b", NTLM', ("digest", "ntlm")),
        (b'Digest realm="never, Basic b', ("digest",)),
        (b'Digest realm="ends so\\', ("digest",)),
        (b"a =b, Negotiate  , c  d", ("negotiate", "c")),
    ],
)
def test_what_is_quoted_is_no_scheme(value: bytes, schemes: tuple[str, ...]) -> None:
    """A quoted string may hold commas, escaped quotes and schemes, and need not end (RFC 9110 section 5.6.4)."""
    assert auth_schemes([value]) == schemes


@settings(max_examples=examples(200))
@given(values=st.lists(st.binary(max_size=60), max_size=12))
def test_challenges_never_raise_and_stay_small(values: list[bytes]) -> None:
    """Headers of any kind give a few short tokens."""
    schemes = auth_schemes(values)
    assert len(schemes) <= AUTH_SCHEMES_MAX
    assert all(0 < len(scheme) <= 32 and scheme.isascii() and scheme.isprintable() for scheme in schemes)


@pytest.mark.parametrize("host", ["", "a" * 256, "a b", "a\r\nb", "a\0b", "ü" * 80, "\udc80"])
@pytest.mark.parametrize("make", [Socks5Negotiation, Socks4aNegotiation, ConnectNegotiation])
def test_names_no_proxy_is_asked_for(host: str, make: Callable[..., Negotiation]) -> None:
    """What no host name can be is not sent to any kind of proxy."""
    with pytest.raises(RouteError) as caught:
        make(host, 443, "" if make is Socks4aNegotiation else None)
    assert caught.value.outcome is Outcome.DNS_FAILURE


def encodings(secret: str) -> set[str]:
    """The encodings in which a text could carry a secret."""
    raw = secret.encode()
    shifted = {base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)}
    return {secret, quote(secret, safe=""), repr(secret)[1:-1], raw.hex(), str(raw)[2:-1], *shifted}


MARKS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20).map(
    lambda text: f"MARK{text}MARK"
)


LIES: list[dict[str, Any]] = [{"lie": lie} for lie in Lie if lie is not Lie.HANG]
FAILURES: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{"refuse": 91}, {"require_auth": "a:b"}, *LIES])


@settings(max_examples=examples(40))
@given(user=MARKS, password=MARKS, data=st.data())
def test_credentials_never_show(user: str, password: str, data: st.DataObject) -> None:
    """On no path that a proxy can fail does a user name or password reach a report, a log, or an exception.

    The marks are searched in plain text, percent-encoded, as Python shows them, in hexadecimal and in base64 at every
    alignment.
    """
    scheme = data.draw(st.sampled_from(["http", "https", "socks5", "socks4a", "ftp"]))
    options = data.draw(FAILURES)
    secret = "" if scheme == "socks4a" else f":{quote(password, safe='')}"
    url = f"{scheme}://{quote(user, safe='')}{secret}@127.0.0.1"
    shown: list[str] = []
    records = logging.getLogger()
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())  # type: ignore[method-assign] # the shortest handler there is
    records.addHandler(handler)
    try:
        shown.append(asyncio.run(_fail(scheme, url, options)))
    finally:
        records.removeHandler(handler)
    for text in shown:
        for mark in encodings(user) | encodings(password):
            assert mark not in text


async def _fail(scheme: str, url: str, options: dict[str, Any]) -> str:
    """Everything that can be read after a proxy with these credentials failed."""
    loop_errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_errors.append(repr(context)))
    serving = serve_socks(4 if scheme == "socks4a" else 5, **options) if scheme.startswith("socks") else None
    if serving is None:
        serving = serve_proxy(tls=pki().issue([PROXY_HOST]) if scheme == "https" else None, **options)
    async with serving as running:
        try:
            proxy = parse_proxy(f"{url}:{running.port}")
        except ProxyError as error:
            whole = "".join(traceback.format_exception(error, chain=True))
            return f"{error!r} {error} {error.__cause__!r} {vars(error)} {whole.partition('ProxyError')[2]}"
        for trusted in (True, False):
            dialer = ProxyDialer(proxy, trusts=lambda *_, answer=trusted: answer)
            observation = (await probe(ENDPOINT, dialer=dialer, timeouts=BRIEF)).single
            loop_errors.append(encode(observation).decode() + repr(observation) + sentence(observation))
    return f"{proxy!r} {proxy} {dialer!r} {loop_errors}"


def test_a_proxy_of_every_scheme_prints_its_url() -> None:
    """The URL is printed without credentials, with brackets where they belong."""
    for scheme in ProxyScheme:
        assert str(Proxy(host="::1", port=1, username="u", scheme=scheme)) == f"{scheme}://[::1]:1"


@contextlib.asynccontextmanager
async def overhear(proxy: Listener, sent: list[bytes]) -> AsyncIterator[int]:
    """A port that leads to the proxy; what clients send is added to `sent`."""
    relayed = Listener()

    def keep(data: bytes) -> bytes:
        sent.append(data)
        return data

    async def serve(client: PlainStream) -> None:
        server = await connect(proxy.address)
        with aborting(server):
            await relay(client, server, keep)

    async with listen(serve, relayed):
        yield relayed.port


@pytest.mark.parametrize(
    ("scheme", "credentials", "name"),
    [
        ("socks5", "", HOST),
        ("socks5", "user:secret@", HOST),
        ("socks5", "", "192.0.2.1"),
        ("socks5", "", "2001:db8::1"),
        ("socks4", "", HOST),
        ("socks4", "user@", HOST),
        ("socks4", "", "192.0.2.1"),
    ],
)
async def test_another_client_says_the_same(scheme: str, credentials: str, name: str) -> None:
    """python-socks, which shares no code with ours, sends the same bytes and gets through the same server."""
    version = int(scheme[-1])
    account = credentials.rstrip("@") or None
    sent: list[bytes] = []
    async with serve_origin(exam()) as origin:
        upstream = {(name, 443): origin.address}
        async with (
            serve_socks(version, upstream=upstream, require_auth=account) as proxy,
            overhear(proxy, sent) as port,
        ):
            url = f"{scheme}://{credentials}127.0.0.1:{port}"
            user, _, password = (account or "").partition(":")
            kind = ProxyType.SOCKS5 if version == 5 else ProxyType.SOCKS4
            other = AnotherClient(kind, "127.0.0.1", port, user or None, password or None, rdns=True)
            (await other.connect(name, 443)).close()
            await proxy.settled()
            theirs = b"".join(sent)
            sent.clear()
            observation = (await probe(Endpoint(host=name), dialer=ProxyDialer(parse_proxy(url)))).single
    assert proxy.targets == [(name, 443)] * 2
    assert observation.chain
    assert b"".join(sent)[: len(theirs)] == theirs
