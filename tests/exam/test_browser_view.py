"""What a browser reports: what is kept of it, for how long, and that nothing else is."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from detector_testing import serve_origin
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lab_programs import free_port
from support.profiles import examples

from detector import Detector, Endpoint
from detector.errors import RequestError
from detector.exam import Policy
from detector.exam.browser_session import BrowserSession
from detector.exam.browser_view import (
    CERTIFICATES_MAX,
    CLOCK_SECONDS_MAX,
    CONNECTIONS_MAX,
    KEPT_MAX,
    KEPT_PER_ENDPOINT_MAX,
    KEPT_SECONDS_MAX,
    BrowserConnection,
    BrowserView,
    NotReported,
    RefusalCode,
)
from detector.exam.manifest import Browser
from detector.exam.protocol import Observed, Request, Response, Task, read_request
from detector.model import Category, Confidence, Engine, Hello, ProxyScheme, Route, Verdict, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing import PrivatePKI

EXAM, OTHER = "exam.example.edu", "lms.example.edu"
NOW: Final = dt.datetime(2026, 11, 30, 9, tzinfo=dt.UTC)
SECOND: Final = dt.timedelta(seconds=1)
LISTED: Final = (Endpoint(host=EXAM, category=Category.EXAM), Endpoint(host=OTHER, port=8443))


@pytest.fixture(scope="module")
def leaves(pki: PrivatePKI) -> list[bytes]:
    """More leaves than are kept of one endpoint."""
    return [pki.issue([EXAM]).leaf for _ in range(KEPT_PER_ENDPOINT_MAX + 2)]


def connection(*chain: bytes, host: str = EXAM, time: dt.datetime = NOW, **more: Any) -> BrowserConnection:  # noqa: ANN401 - its fields
    return BrowserConnection(host=host, time=time, chain=chain, **more)


def view(*connections: BrowserConnection, browser: Browser | None = None) -> BrowserView:
    seen = BrowserView(LISTED)
    assert seen.add(connections, browser=browser, now=NOW)[1] == ()
    return seen


def sent(**fields: object) -> bytes:
    """A request with one connection of these fields."""
    known = {"host": EXAM, "time": NOW.isoformat(), "not_reported": "cached", **fields}
    one = {name: value for name, value in known.items() if value is not None}
    return json.dumps({"task": "observe", "connections": [one]}).encode()


def test_an_observation_is_what_the_browser_says(leaves: list[bytes]) -> None:
    """Every field of a report becomes a fact of an observation that a browser made."""
    seen = view(
        connection(
            leaves[0], protocol="TLSv1.3", group="x25519", cipher="TLS_AES_128_GCM_SHA256", address="2001:db8::7"
        ),
        browser=Browser.FIREFOX,
    )
    (observation,) = seen.of(f"{EXAM}:443")
    assert (observation.engine, observation.hello, observation.route) == (Engine.BROWSER, Hello.FIREFOX, Route.NONE)
    assert (observation.key_proved, observation.scts_carried) == (True, False)
    assert (observation.tls_version, observation.group, observation.cipher) == (
        "TLSv1.3",
        "x25519",
        "TLS_AES_128_GCM_SHA256",
    )
    assert (observation.address, [c.der for c in observation.chain]) == ("[2001:db8::7]:443", leaves[:1])
    assert view(connection(leaves[0]), browser=Browser.EDGE).of(f"{EXAM}:443")[0].hello is Hello.BROWSER


@pytest.mark.parametrize(
    ("scheme", "route"), [("http", "http-connect"), ("https", "https-connect"), ("socks5", "socks5")]
)
def test_a_proxy_is_the_route(scheme: str, route: str, leaves: list[bytes]) -> None:
    """A browser's own proxy shows as on any other observation."""
    proxy = {"scheme": scheme, "host": "192.0.2.9", "port": 3128}
    request = read_request(sent(chain=[], not_reported="cached", proxy=proxy))
    reported = msgspec.structs.replace(
        request.connections[0], chain=(leaves[0],), not_reported=None, address="192.0.2.9"
    )
    (observation,) = view(reported).of(f"{EXAM}:443")
    assert (observation.route, observation.asked_for, observation.address) == (route, f"{EXAM}:443", "192.0.2.9:3128")
    assert observation.proxy is not None
    assert observation.proxy.scheme is ProxyScheme(scheme)


def test_only_listed_hosts_are_kept(leaves: list[bytes]) -> None:
    """By host and port; whatever is not the policy's leaves nothing behind."""
    seen = BrowserView(LISTED)
    hosts = (EXAM, f"{EXAM}:8443", OTHER, f"{OTHER}:8443", "mail.example.org", "a b", "EXAM.example.edu.")
    endpoints, refused = seen.add([connection(leaves[0], host=host) for host in hosts], browser=None, now=NOW)
    assert [endpoint.name for endpoint in endpoints] == [f"{EXAM}:443", f"{OTHER}:8443"]
    assert [(one.index, one.code) for one in refused] == [(n, RefusalCode.NOT_LISTED) for n in (1, 2, 4, 5)]
    assert {one.endpoint for one in seen.viewed()} == {f"{EXAM}:443", f"{OTHER}:8443"}


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        (0, True),
        (-KEPT_SECONDS_MAX, True),
        (-KEPT_SECONDS_MAX - 1, False),
        (CLOCK_SECONDS_MAX, True),
        (CLOCK_SECONDS_MAX + 1, False),
    ],
)
def test_time(seconds: float, leaves: list[bytes], *, kept: bool) -> None:
    """A connection counts for ten minutes; one from the future is refused."""
    reported = connection(leaves[0], time=NOW + seconds * SECOND)
    _, refused = BrowserView(LISTED).add([reported], browser=None, now=NOW)
    assert [one.code for one in refused] == ([] if kept else [RefusalCode.OUT_OF_DATE])


def test_what_is_kept_is_forgotten(leaves: list[bytes]) -> None:
    """After ten minutes nothing of it is left."""
    seen = view(connection(leaves[0]), connection(not_reported=NotReported.NO_API))
    seen.forget(NOW + KEPT_SECONDS_MAX * SECOND)
    assert [(one.chains, one.not_reported) for one in seen.viewed()] == [(1, (NotReported.NO_API,))]
    seen.forget(NOW + (KEPT_SECONDS_MAX + 1) * SECOND)
    assert not seen.viewed()
    assert not seen.endpoints


def test_the_latest_chains_are_kept(leaves: list[bytes]) -> None:
    """Bounded per endpoint and in all; the same chain again counts as new and takes no room."""
    seen = view(*(connection(leaf) for leaf in leaves), connection(leaves[2]))
    kept = [one.chain[0].der for one in seen.of(f"{EXAM}:443")]
    assert kept == [*leaves[3:], leaves[2]]
    many = [Endpoint(host=f"h{n}.example.edu") for n in range(KEPT_MAX + 9)]
    crowded = BrowserView(many)
    for endpoint in many:
        crowded.add([connection(leaves[0], host=endpoint.host)], browser=None, now=NOW)
    assert len(crowded.viewed()) == KEPT_MAX
    assert crowded.endpoints[-1] == many[-1]


def test_a_leaf_without_a_key_is_refused() -> None:
    """No browser finishes a handshake with it."""
    _, refused = BrowserView(LISTED).add([connection(b"0\x00"), connection(b"x")], browser=None, now=NOW)
    assert [one.code for one in refused] == [RefusalCode.UNREADABLE] * 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"url": "https://exam.example.edu/student/7"}, "url"),
        ({"time": "2026-11-30T09:00:00"}, "time"),
        ({"time": None}, "time"),
        ({"host": None}, "host"),
        ({"host": ""}, "host"),
        ({"not_reported": None}, "chain"),
        ({"chain": ["MIIB"]}, "chain"),
        ({"chain": ["no base64!"], "not_reported": None}, "chain"),
        ({"chain": [""] * (CERTIFICATES_MAX + 1), "not_reported": None}, "chain"),
        ({"not_reported": "secret"}, "not_reported"),
        ({"protocol": "<b>"}, "protocol"),
        ({"group": "x" * 65}, "group"),
        ({"cipher": ""}, "cipher"),
        ({"address": "exam.example.edu"}, "address"),
        ({"address": "fe80::1%\u001b[31m"}, "zone"),
        ({"proxy": {"scheme": "http", "host": "a b", "port": 1}}, "proxy"),
        ({"proxy": {"scheme": "http", "host": "a", "port": 0}}, "proxy"),
        ({"proxy": {"scheme": "http", "host": "a", "port": 1, "username": "x"}}, "username"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(fields: dict[str, object], named: str) -> None:
    """A report has no room for anything about the student, and no text that is not a name."""
    with pytest.raises(RequestError, match=named):
        read_request(sent(**fields))


def test_connections_belong_to_one_task() -> None:
    """At least one and at most 64 of them, with `observe` alone."""
    one = json.loads(sent())["connections"]
    assert len(read_request(json.dumps({"task": "observe", "connections": one * CONNECTIONS_MAX}).encode()).connections)
    for request in (
        {"task": "observe"},
        {"task": "gate", "connections": one},
        {"task": "observe", "connections": one * (CONNECTIONS_MAX + 1)},
    ):
        with pytest.raises(RequestError, match="connections"):
            read_request(json.dumps(request).encode())


NAMES: Final = ("host", "time", "chain", "not_reported", "protocol", "group", "cipher", "address", "proxy", "url")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(NAMES),
            st.none()
            | st.integers()
            | st.text(max_size=8)
            | st.sampled_from(
                [EXAM, NOW.isoformat(), "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "::1", "no-api"]
            )
            | st.lists(st.text(alphabet="MIIBAg==", max_size=8), max_size=3)
            | st.dictionaries(st.sampled_from(["scheme", "host", "port"]), st.sampled_from(["http", "a", 1, -1])),
        ),
        max_size=3,
    )
)
@settings(max_examples=examples(400), deadline=None)
def test_any_report_is_read_or_refused(connections: list[dict[str, Any]]) -> None:
    """Only the documented exception gets out, and whatever is read can be kept or refused."""
    try:
        request = read_request(json.dumps({"task": "observe", "connections": connections}).encode())
    except RequestError:
        return
    seen = BrowserView(LISTED)
    _, refused = seen.add(request.connections, browser=request.browser, now=NOW)
    assert len(refused) <= len(connections)


@pytest.fixture(scope="module")
def session(settings_of: Callable[..., dict[str, Any]]) -> BrowserSession:
    """A session whose policy lists two endpoints; one of category exam is pinned, another one is pinned."""
    pinned = (Endpoint(host=EXAM, category=Category.EXAM), Endpoint(host="search.example.com"))
    return BrowserSession(Policy(endpoints=(f"{OTHER}:8443",)), Detector(**settings_of(*pinned)))


def report(*chain: bytes, host: str = EXAM) -> Request:
    now = dt.datetime.now(dt.UTC)
    return Request(id=1, task=Task.OBSERVE, connections=(connection(*chain, host=host, time=now),))


async def observed(session: BrowserSession, request: Request) -> Observed:
    answer = await session.answer(request)
    assert isinstance(answer, Observed)
    return answer


async def test_the_answer_says_what_it_shows(session: BrowserSession, pki: PrivatePKI) -> None:
    """Genuine: inconclusive, because a browser's word clears nothing. Private: middleware. Not listed: refused."""
    genuine = await observed(session, report(*pki.issue([EXAM]).chain))
    (result,) = genuine.results
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "browser-reported")
    forged = await observed(session, report(*pki.private_ca("Filter CA").issue([EXAM]).chain))
    assert [(one.verdict, one.confidence) for one in forged.results] == [(Verdict.MIDDLEWARE, "possible")]
    assert [(one.endpoint, one.chains) for one in forged.browser] == [(f"{EXAM}:443", 2)]
    listed = await observed(session, report(pki.issue([OTHER]).leaf, host=f"{OTHER}:8443"))
    assert [one.reason for one in listed.results] == ["issuer-not-reported"]
    other = await observed(session, report(*pki.issue(["search.example.com"]).chain, host="search.example.com"))
    assert (other.results, other.browser, [one.code for one in other.refused]) == ((), (), [RefusalCode.NOT_LISTED])
    assert b"search" not in encode(other)


@given(
    chain=st.lists(st.binary(max_size=40), min_size=1, max_size=3), cut=st.integers(0, 900), flip=st.integers(0, 900)
)
@settings(max_examples=examples(150), deadline=None)
async def test_no_chain_breaks_the_host_or_is_clean(
    session: BrowserSession, leaves: list[bytes], chain: list[bytes], cut: int, flip: int
) -> None:
    """Garbage, and genuine certificates that were cut and changed: an answer, and never clean."""
    damaged = bytearray(leaves[0])
    damaged[flip % len(damaged)] ^= 1 + cut % 255
    for reported in (chain, [bytes(damaged)], [leaves[0][: max(cut, 1)]], [bytes(damaged), *chain]):
        answer = await observed(session, report(*reported))
        assert all(result.verdict is not Verdict.CLEAN and result.confidence != "proven" for result in answer.results)


@pytest.mark.parametrize("answers", [True, False])
async def test_the_gate_takes_reports_into_account(
    pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]], *, answers: bool
) -> None:
    """A forged report blocks although the probe is clean; a genuine one clears no server that does not answer."""
    issued = pki.issue([EXAM])
    async with serve_origin(issued) as origin:
        address = origin.address if answers else ("127.0.0.1", free_port())
        pinned = Endpoint(host=EXAM, category=Category.EXAM, pins=(issued.spki_sha256,))
        detector = Detector(**settings_of(pinned, resolve={(EXAM, 443): address}))
        session = BrowserSession(Policy(endpoints=(EXAM,), probes=1), detector)
        gate = Request(id=2, report=True, deadline=20.0)
        await observed(session, report(*issued.chain))
        genuine = await session.answer(gate)
        await observed(session, report(*pki.private_ca("Filter CA").issue([EXAM]).chain))
        forged = await session.answer(gate)
    assert isinstance(genuine, Response)
    assert isinstance(forged, Response)
    assert (genuine.action, genuine.verdict) == (("allow", "clean") if answers else ("block", "inconclusive"))
    assert (forged.action, forged.verdict) == ("block", "middleware")
    assert forged.confidence is not Confidence.PROVEN
    assert [(one.endpoint, one.chains) for one in forged.browser] == [(f"{EXAM}:443", 2)]
    assert forged.report is not None
    assert forged.report.results[0].observation.engine is Engine.BROWSER
