"""`fetch` against servers that answer, loop, hang, drip, flood and lie: a typed end within every budget.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING

import h11
import pytest
from detector_testing import serve_files, serve_proxy
from detector_testing.streams import Listener, PlainStream, listen
from hypothesis import given
from hypothesis import strategies as st

from detector.model import Outcome
from detector.probe import DirectDialer, ProxyDialer, parse_proxy
from detector.probe.http import client as plain
from detector.probe.http.client import Answer, FetchOutcome, Limits, fetch, parse_date, parse_url, printable
from detector.probe.mock import AwaitClient, Close, Fails, MockNetwork, Reset, Script, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

HOST = "portal.example.net"
URL = f"http://{HOST}/page"
BRIEF = Limits(seconds=0.2)
SMALL = Limits(seconds=5.0, head_bytes=1024, body_bytes=1000)
GIGABYTE = 10**9
REQUEST = h11.Request(method="GET", target="/", headers=[("Host", HOST)])


@contextlib.asynccontextmanager
async def served(serve: Callable[[PlainStream], Awaitable[None]]) -> AsyncIterator[DirectDialer]:
    """A raw server in the place of `HOST`, as a dialer that leads there."""
    listener = Listener()
    async with listen(serve, listener):
        yield DirectDialer({(HOST, 80): listener.address})


def network(*answer: bytes) -> MockNetwork:
    """`HOST` answers with these bytes and closes."""
    return MockNetwork({(HOST, 80): Script(AwaitClient(), *map(Send, answer), Close())})


@pytest.mark.parametrize(("chunks", "outcome"), [(3900, FetchOutcome.ANSWERED), (4200, FetchOutcome.TOO_LARGE)])
def test_chunks_are_bounded(chunks: int, outcome: FetchOutcome) -> None:
    """A body in more chunks than any server makes is too large: each costs processor time."""
    answer = Answer(plain.request_for("a.example", "/"), Limits(body_bytes=1 << 20))
    answer.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * chunks + b"0\r\n\r\n")
    assert answer.outcome is outcome


async def test_an_answer_is_reported_whole() -> None:
    """Status, headers and body of an ordinary answer arrive, and the connection is gone."""
    async with serve_files({"/page": b"hello"}, content_type="text/plain") as origin:
        fetched = await fetch(URL, dialer=DirectDialer({(HOST, 80): origin.address}))
        await origin.settled()
    assert (fetched.outcome, fetched.status, fetched.body) == (FetchOutcome.ANSWERED, 200, b"hello")
    assert fetched.location is None
    assert (origin.requests[0].host, origin.requests[0].target) == (HOST, "/page")
    assert fetched.exchange_ms is not None
    assert fetched.exchange_ms >= 0


async def test_headers_are_read() -> None:
    """Date, Age and Location are what the server said; the Location is made printable byte by byte."""
    answer = (
        b"HTTP/1.1 302 Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nAge: 90\r\n"
        b"Location: http://x.example/\xc3\xa9\r\nContent-Length: 0\r\n\r\n"
    )
    fetched = await fetch(URL, dialer=network(answer))
    assert fetched.date == dt.datetime(1994, 11, 6, 8, 49, 37, tzinfo=dt.UTC)
    assert (fetched.status, fetched.age_seconds, fetched.location) == (302, 90, "http://x.example/%C3%A9")


@pytest.mark.parametrize(
    ("age", "seconds"), [(b"x", None), (b"-1", None), (b"0" * 5000 + b"7", 7), (b"9" * 5000, 2**31), (b"", None)]
)
async def test_ages_that_are_no_age(age: bytes, seconds: int | None) -> None:
    """An Age of any length is a bounded number or nothing."""
    fetched = await fetch(URL, dialer=network(b"HTTP/1.1 204 No Content\r\nAge: " + age + b"\r\n\r\n"))
    assert (fetched.outcome, fetched.age_seconds) == (FetchOutcome.ANSWERED, seconds)


async def test_contradicting_headers_say_nothing() -> None:
    """Of two Date headers neither is believed."""
    date = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    fetched = await fetch(URL, dialer=network(b"HTTP/1.1 204 No Content\r\n" + 2 * date + b"\r\n"))
    assert (fetched.status, fetched.date) == (204, None)


async def test_head_has_no_body() -> None:
    """A HEAD request is over with the head, whatever Content-Length says."""
    peers = network(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    fetched = await fetch(URL, dialer=peers, method="HEAD")
    assert (fetched.outcome, fetched.status, fetched.body) == (FetchOutcome.ANSWERED, 200, b"")
    assert peers.open == 0


async def test_a_body_without_length_ends_with_the_connection() -> None:
    """HTTP/1.0 answers without Content-Length are whole when the peer closes, cut when it resets."""
    head = b"HTTP/1.0 200 OK\r\n\r\nabc"
    assert (await fetch(URL, dialer=network(head))).outcome is FetchOutcome.ANSWERED
    reset = MockNetwork({(HOST, 80): Script(AwaitClient(), Send(head), Reset())})
    cut = await fetch(URL, dialer=reset)
    assert (cut.outcome, cut.body, reset.open) == (FetchOutcome.UNREACHABLE, b"abc", 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 2000 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
async def test_what_is_not_http(answer: bytes) -> None:
    """Other protocols and broken framing are an outcome, at once and without waiting for the peer to close."""
    silent = MockNetwork({(HOST, 80): Script(AwaitClient(), Send(answer))})
    assert (await fetch(URL, dialer=silent)).outcome is FetchOutcome.NOT_HTTP
    assert silent.open == 0


@pytest.mark.parametrize("answer", [(), (b"HTTP/1.1 20",), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"abc")])
async def test_an_early_end(answer: tuple[bytes, ...]) -> None:
    """A connection that ends before the answer does is no answer."""
    assert (await fetch(URL, dialer=network(*answer))).outcome is FetchOutcome.UNREACHABLE


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (Outcome.DNS_FAILURE, FetchOutcome.UNREACHABLE),
        (Outcome.CONNECT_REFUSED, FetchOutcome.UNREACHABLE),
        (Outcome.PROXY_REFUSED, FetchOutcome.UNREACHABLE),
        (Outcome.CONNECT_TIMEOUT, FetchOutcome.TIMEOUT),
        (Outcome.DEADLINE, FetchOutcome.TIMEOUT),
    ],
)
async def test_nobody_there(failure: Outcome, outcome: FetchOutcome) -> None:
    """Every failure of a route is one of two outcomes."""
    fetched = await fetch(URL, dialer=MockNetwork({(HOST, 80): Fails(failure)}))
    assert (fetched.outcome, fetched.status, fetched.exchange_ms) == (outcome, None, None)


async def test_a_flood_is_cut_off() -> None:
    """Of a body of one gigabyte no more than the limit is kept, and hardly more is taken from the wire."""
    written = 0

    async def flood(stream: PlainStream) -> None:
        nonlocal written
        await stream.read()
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        for _ in range(GIGABYTE // 65536):
            await stream.write(bytes(65536))
            written += 65536

    async with served(flood) as dialer:
        fetched = await fetch(URL, dialer=dialer, limits=SMALL)
    assert (fetched.outcome, fetched.status, len(fetched.body)) == (FetchOutcome.TOO_LARGE, 200, 1000)
    assert written < GIGABYTE // 10


async def test_a_head_without_end_is_cut_off() -> None:
    """Header fields for ever exceed the head limit, not the memory."""

    async def flood(stream: PlainStream) -> None:
        await stream.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.write(b"X-Filler: " + b"x" * 100 + b"\r\n")

    async with served(flood) as dialer:
        fetched = await fetch(URL, dialer=dialer, limits=SMALL)
    assert (fetched.outcome, fetched.status) == (FetchOutcome.TOO_LARGE, None)


async def test_framing_cannot_be_the_flood() -> None:
    """Chunks of one byte with long extensions stay under the body limit and are too large all the same."""
    chunk = b"1;" + b"x" * 500 + b"\r\na\r\n"
    flood = network(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 100)
    fetched = await fetch(URL, dialer=flood, limits=SMALL)
    assert (fetched.outcome, fetched.status) == (FetchOutcome.TOO_LARGE, 200)
    assert len(fetched.body) < 10


async def test_a_body_as_large_as_the_limit_is_whole() -> None:
    """The limit itself is allowed, one byte more is not."""
    for raw, outcome in ((1000, FetchOutcome.ANSWERED), (1001, FetchOutcome.TOO_LARGE)):
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % raw + bytes(raw)
        fetched = await fetch(URL, dialer=network(answer), limits=SMALL)
        assert (fetched.outcome, len(fetched.body)) == (outcome, 1000)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 100\r\n\r\n"])
async def test_a_hanging_server_costs_its_time(first: bytes) -> None:
    """Silence ends with the time allowed, and what the head said before it is kept."""

    async def hang(stream: PlainStream) -> None:
        await stream.write(first)
        while await stream.read():
            pass

    async with served(hang) as dialer:
        fetched = await fetch(URL, dialer=dialer, limits=BRIEF)
    assert (fetched.outcome, fetched.location) == (FetchOutcome.TIMEOUT, "/login" if first else None)


async def test_a_dripping_server_gains_nothing() -> None:
    """Bytes that trickle in for ever do not extend the time."""

    async def drip(stream: PlainStream) -> None:
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        while True:
            await stream.write(b".")
            await asyncio.sleep(0.005)

    async with served(drip) as dialer:
        fetched = await fetch(URL, dialer=dialer, limits=BRIEF)
    assert fetched.outcome is FetchOutcome.TIMEOUT
    assert 0 < len(fetched.body) < 60000


async def test_the_earlier_of_deadline_and_limit_counts() -> None:
    """A deadline cuts a longer limit short; one that has passed sends nothing."""
    loop = asyncio.get_running_loop()
    silent = MockNetwork({(HOST, 80): Script()})
    fetched = await fetch(URL, dialer=silent, deadline=loop.time() + 0.05)
    assert (fetched.outcome, silent.open) == (FetchOutcome.TIMEOUT, 0)
    late = await fetch(URL, dialer=silent, deadline=loop.time() - 1)
    assert (late.outcome, len(silent.dialled)) == (FetchOutcome.TIMEOUT, 1)


async def test_cancelling_closes_the_connection() -> None:
    """A cancelled request closes its connection: the server sees the end."""
    asked, over = asyncio.Event(), asyncio.Event()

    async def hang(stream: PlainStream) -> None:
        await stream.read()
        asked.set()
        with contextlib.suppress(ConnectionError):
            await stream.read()
        over.set()

    async with served(hang) as dialer:
        task = asyncio.create_task(fetch(URL, dialer=dialer))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(over.wait(), 1)


async def test_a_loop_costs_one_request() -> None:
    """A redirection to itself is reported, not followed."""
    loop = network(b"HTTP/1.1 302 Found\r\nLocation: " + URL.encode() + b"\r\nContent-Length: 0\r\n\r\n")
    fetched = await fetch(URL, dialer=loop)
    assert (fetched.outcome, fetched.location, len(loop.dialled)) == (FetchOutcome.ANSWERED, URL, 1)


async def test_through_a_proxy() -> None:
    """A CONNECT tunnel to port 80 works where the proxy opens one, and is an outcome where it does not."""
    async with serve_files({"/page": b"hello"}) as origin:
        async with serve_proxy(upstream={(HOST, 80): origin.address}) as proxy:
            opened = await fetch(URL, dialer=ProxyDialer(parse_proxy(proxy.url)))
        async with serve_proxy(refuse=403) as proxy:
            refused = await fetch(URL, dialer=ProxyDialer(parse_proxy(proxy.url)))
    assert (opened.outcome, opened.body) == (FetchOutcome.ANSWERED, b"hello")
    assert refused.outcome is FetchOutcome.UNREACHABLE


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://portal.example.net/",
        "ftp://portal.example.net/",
        "//portal.example.net/",
        "http:///path",
        "http://user:secret@portal.example.net/",
        "http://@portal.example.net/",
        "http://portal.example.net:0/",
        "http://portal.example.net:65536/",
        "http://portal.example.net:x/",
        "http://[::1/",
        "http://[v1.x]/",
        "http://[fe80::1%25eth0]/",
        "http://a..b/",
        "http://a b/",
        "http://a/\r\nX: y",
        "http://a\t.b/",
        "http://a\\@b/",
        "http://\u00e9xam.example/",
        "http://" + "a" * 64 + ".example/",
        "http://a.example/" + "x" * 2048,
    ],
)
async def test_urls_that_are_not_asked_for(url: str) -> None:
    """What is not a plain http URL in printable ASCII is refused before anything is sent."""
    nobody = MockNetwork({})
    fetched = await fetch(url, dialer=nobody)
    assert (fetched.outcome, nobody.dialled) == (FetchOutcome.REFUSED_URL, [])
    assert len(fetched.url) <= plain.URL_CHARACTERS_MAX


def test_urls_are_taken_apart() -> None:
    """Port 80 is left out of the Host header, other ports and brackets are not; the fragment is not sent."""
    assert parse_url("HTTP://A.example") == ("a.example", 80, "a.example", "/")
    assert parse_url("http://a.example:80/x?y=1#z") == ("a.example", 80, "a.example", "/x?y=1")
    assert parse_url("http://[2001:db8::1]:8080/x") == ("2001:db8::1", 8080, "[2001:db8::1]:8080", "/x")
    assert parse_url("http://a_b.example.:81?q") == ("a_b.example.", 81, "a_b.example.:81", "/?q")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sun Nov  6 08:49:37 1994",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 31 Feb 2026 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 CET",
    ],
)
def test_dates_that_are_none(text: str) -> None:
    """Obsolete forms, impossible days and other zones are no date."""
    assert parse_date(text) is None


def test_printable_is_bounded_ascii() -> None:
    """Control characters and everything beyond ASCII are percent-encoded, and the whole is cut."""
    assert printable("a\r\n\u00e9 \ud800") == "a%0D%0A%C3%A9 ?"
    assert len(printable("\u00e9" * 5000)) == plain.URL_CHARACTERS_MAX


@given(st.text())
def test_no_url_raises(url: str) -> None:
    """Whatever a URL is, reading it gives parts or nothing."""
    for text in (url, f"http://{url}", f"http://a.example/{url}"):
        target = parse_url(text)
        assert target is None or (target.host and 0 < target.port <= 65535 and target.path[0] in "/?")


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 C\r\n\r\n",
        b"HTTP/1.0 302 \r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Date: \xff\r\n",
        b"\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffffffff\r\n",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=64), max_size=20), st.sampled_from(["GET", "HEAD"]))
def test_no_answer_raises(pieces: list[bytes], method: str) -> None:
    """Whatever bytes arrive in whatever pieces, they end in an outcome, within the limits."""
    request = h11.Request(method=method, target="/", headers=[("Host", HOST)])
    answer = Answer(request, Limits(head_bytes=200, body_bytes=10))
    for piece in pieces:
        answer.receive(piece)
    answer.connection_closed()
    settled = answer.outcome
    answer.receive(b"more")
    answer.connection_closed()
    assert settled is not None
    assert answer.outcome is settled
    assert len(answer.body) <= 10


@pytest.mark.parametrize(
    ("answer", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", False),
    ],
)
def test_whether_a_connection_can_be_used_again(answer: bytes, *, reusable: bool) -> None:
    """After a whole answer of known length that the server does not close behind, and with nothing unasked in it."""
    reader = Answer(REQUEST, SMALL)
    reader.receive(answer)
    assert reader.leaves_reusable is reusable
