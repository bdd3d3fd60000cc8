"""Proxy auto-configuration files: what scripts may ask, what they cannot do, and what is reported when they fail.

Room: tests of probe. Opens sockets on loopback, starts the evaluating program.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib.util
import time
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_files, serve_origin, serve_proxy
from detector_testing.origin import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from support.conversations import HOST, exam, pki
from support.profiles import examples

from detector import Detector, Outcome
from detector.model import Route
from detector.probe import Proxy
from detector.probe.routes import Resolver, pac, pac_worker
from detector.probe.routes.system import SystemProxies
from detector.session import machine_proxy
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector.trust.roots import Roots

MONDAY = dt.datetime(2026, 11, 23, 9, 30, tzinfo=dt.UTC)
SETTINGS = {"own": "10.1.2.3", "seconds": 0.5, "bytes": pac.SCRIPT_BYTES, "answers": {"intra.example": ["10.0.0.7"]}}


def said(script: str, *, host: str = HOST, at: dt.datetime = MONDAY, **more: Any) -> tuple[str | None, list[str]]:  # noqa: ANN401 - parts of a job
    """What a script says about one host, and which names it wanted."""
    broken_down = dict(pac._broken_down(at))
    job = {"script": script, "local": broken_down, "utc": broken_down, "asked": [[f"https://{host}/", host]]}
    done = pac_worker.evaluate({**SETTINGS, **job, **more})
    return done["said"][0], done["wanted"]


def true(expression: str, **more: Any) -> bool:  # noqa: ANN401 - as `said`
    """Whether an expression of the functions for scripts holds."""
    answer, _ = said(
        f"function FindProxyForURL(url, host) {{ return ({expression}) ? 'DIRECT' : 'PROXY p:1' }}", **more
    )
    assert answer in {"DIRECT", "PROXY p:1"}, expression
    return answer == "DIRECT"


@pytest.mark.parametrize(
    "expression",
    [
        "isPlainHostName('www') && !isPlainHostName('www.example.edu')",
        "dnsDomainIs(host, '.example.edu') && !dnsDomainIs('example.org', '.example.edu')",
        "localHostOrDomainIs('www', 'www.example.edu') && !localHostOrDomainIs('home.example.edu', 'www.example.edu')",
        "dnsDomainLevels('www') === 0 && dnsDomainLevels(host) === 2",
        "shExpMatch(host, '*.example.edu') && !shExpMatch(host, '*.org') && shExpMatch('a.b', '?.b')",
        "!shExpMatch('axb', 'a.b') && shExpMatch('a[b]', 'a[b]') && shExpMatch(url, 'https://*/')",
        "isInNet('198.51.100.7', '198.51.100.0', '255.255.255.0') && !isInNet('1.2.3.4', '1.2.3.5', '255.255.255.255')",
        "isInNet('intra.example', '10.0.0.0', '255.0.0.0') && isInNetEx('10.1.1.1', '10.0.0.0/8')",
        "dnsResolve('intra.example') === '10.0.0.7' && dnsResolve('192.0.2.1') === '192.0.2.1'",
        "isResolvable('intra.example') && dnsResolveEx('intra.example') === '10.0.0.7'",
        "convert_addr('0.0.1.0') === 256 && convert_addr('x') === 0",
        "myIpAddress() === '10.1.2.3' && myIpAddressEx() === '10.1.2.3'",
        "weekdayRange('MON') && weekdayRange('MON', 'FRI') && weekdayRange('SAT', 'MON', 'GMT')",
        "!weekdayRange('TUE') && !weekdayRange('TUE', 'SUN') && !weekdayRange()",
        "dateRange(23) && dateRange('NOV') && dateRange(2026) && dateRange(1, 'NOV', 30, 'NOV')",
        "!dateRange('JAN', 'OCT') && !dateRange()",
        "dateRange(24, 'DEC', 2025, 6, 'JAN', 2027) && dateRange('OCT', 'FEB') && !dateRange(24, 30)",
        "timeRange(9) && timeRange(8, 10) && timeRange(9, 0, 9, 45) && !timeRange(10) && timeRange(22, 10)",
        "timeRange(9, 29, 0, 9, 31, 0, 'GMT') && !timeRange(0, 0, 0, 9, 29, 59)",
        "alert('x') === undefined",
        "typeof fetch + typeof require + typeof process + typeof XMLHttpRequest === 'undefined'.repeat(4)",
    ],
)
def test_functions_for_scripts(expression: str) -> None:
    """Each does what the format's description says, and there is nothing else to call."""
    assert true(expression)


def test_names_that_are_not_known_yet_are_asked_for() -> None:
    """A script waits for nothing: what it wants resolved is noted and known the next time."""
    script = "function FindProxyForURL(url, host) { return isResolvable('proxy.example') ? 'PROXY p:1' : 'DIRECT' }"
    assert said(script) == ("DIRECT", ["proxy.example"])
    assert said(script, answers={"proxy.example": ["192.0.2.3"]}) == ("PROXY p:1", [])


@pytest.mark.parametrize(
    "script",
    [
        "",
        "syntax error(",
        "throw 1",
        "function FindProxyForURL() { throw new Error('no') }",
        "for (;;) {}",
        "function FindProxyForURL() { for (;;) { try { for (;;) {} } catch (e) {} } }",
        "function FindProxyForURL() { return FindProxyForURL() + 1 }",
        "function FindProxyForURL() { return /(a+)+$/.test('a'.repeat(40) + 'b') }",
        "function FindProxyForURL() { return 'x'.repeat(1 << 28) }",
        "function FindProxyForURL() { return { toString() { for (;;) {} } } }",
        "String = () => ({}); function FindProxyForURL() { return 'DIRECT' }",
    ],
)
def test_scripts_that_are_broken_or_hostile(script: str) -> None:
    """They cost their time, and say nothing."""
    assert said(script, seconds=0.2)[0] is None


def test_a_script_that_spoils_what_comes_after_it() -> None:
    """Whatever it does to the built-in functions, what comes out has the right form."""
    for list_of_names in ("'[1, null, {}]'", "'{'", "Symbol()", "'['.repeat(1e6)"):
        script = f"JSON.stringify = () => {list_of_names}; function FindProxyForURL() {{ return 'DIRECT' }}"
        assert said(script) == ("DIRECT", [])
    long = "function FindProxyForURL() { return 'x'.repeat(1e6) }"
    assert len(said(long)[0] or "") == pac_worker.SAID_CHARACTERS_MAX


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        ("", (None,)),
        ("DIRECT", (None,)),
        (" direct ; ", (None,)),
        ("PROXY p:8080; DIRECT", ("http://p:8080", None)),
        (
            "HTTPS p:443;SOCKS s:1;SOCKS5 t:2; SOCKS4 u:3",
            ("https://p:443", "socks5://s:1", "socks5://t:2", "socks4a://u:3"),
        ),
        ("PROXY a:1;PROXY b:1;PROXY c:1;PROXY d:1;PROXY e:1", ("http://a:1", "http://b:1", "http://c:1", "http://d:1")),
        ("PROXY", None),
        ("DIRECT p:1", None),
        ("PROXY u:p@h:1", None),
        ("PROXY p:99999", None),
        ("QUIC p:1", None),
        ("undefined", None),
        ("PROXY p:1 q:2", None),
    ],
)
def test_answers(text: str, routes: tuple[str | None, ...] | None) -> None:
    """What scripts say, in the order in which it is tried; what cannot be read is not taken for a direct route."""
    found = pac.read_answer(text)
    assert (None if found is None else tuple(None if proxy is None else str(proxy) for proxy in found)) == routes


@settings(max_examples=examples(200))
@given(
    text=st.text(max_size=60)
    | st.lists(st.sampled_from(["PROXY", "SOCKS", "DIRECT", ";", ":1", "p", "@"])).map(" ".join)
)
def test_no_answer_raises(text: str) -> None:
    """Whatever a script returns, proxies or nothing come out."""
    found = pac.read_answer(text)
    assert found is None or all(proxy is None or isinstance(proxy, Proxy) for proxy in found)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("http://u:hunter2@w.example/proxy.pac?key=hunter2#x", "http://w.example/proxy.pac"),
        ("/home/hunter2/proxy.pac", "proxy.pac"),
        ("http://[hunter2", "unreadable URL"),
    ],
)
def test_a_file_is_named_without_secrets(location: str, name: str) -> None:
    """No credentials, no query, no folders of a person."""
    assert pac.shown(location) == name


PAC = """function FindProxyForURL(url, host) {{
  if (dnsDomainIs(host, '.example.edu')) return 'PROXY 127.0.0.1:{dead}; PROXY 127.0.0.1:{port}';
  return 'DIRECT';
}}"""


async def test_the_file_chooses(settings_of: Callable[..., dict[str, Any]]) -> None:
    """Hosts go where the file says, the next proxy is taken where one is dead, and the report names the file."""
    async with serve_proxy() as gone:
        dead = gone.port
    async with (
        serve_origin(exam()) as origin,
        serve_origin(pki().issue(["lms.example.org"])) as other,
        serve_proxy(upstream={(HOST, 443): origin.address}) as proxy,
        serve_files({"/proxy.pac?secret=1": PAC.format(dead=dead, port=proxy.port).encode()}) as files,
    ):
        location = f"pac:http://{files.host}:{files.port}/proxy.pac?secret=1"
        where = {("lms.example.org", 443): other.address}
        async with Detector(**settings_of(proxy=location, resolve=where)) as subject:
            report = await subject.check([HOST, "lms.example.org"], deadline=60)
    seen = [result.observation for result in report.results]
    assert [(o.outcome, o.route) for o in seen] == [
        (Outcome.COMPLETE, Route.HTTP_CONNECT),
        (Outcome.COMPLETE, Route.DIRECT),
    ]
    assert seen[0].proxy is not None
    assert seen[0].proxy.port == proxy.port
    assert seen[1].proxy is None
    assert {o.proxy_file for o in seen} == {f"http://{files.host}:{files.port}/proxy.pac"}
    assert len(files.requests) == 1


@pytest.mark.parametrize("script", ["for (;;) {}", "function FindProxyForURL() { return 'CARRIER PIGEON' }"])
async def test_a_file_that_says_nothing_leaves_nothing_clean(
    script: str, tmp_path: Path, settings_of: Callable[..., dict[str, Any]]
) -> None:
    """Where the file names no route, no other is taken, and the sentence names what to do."""
    file = tmp_path / "proxy.pac"
    file.write_text(script)
    async with serve_origin(exam()) as origin:
        settings = settings_of(proxy=f"pac:{file}", resolve={(HOST, 443): origin.address})
        async with Detector(**settings) as subject:
            report = await subject.check([HOST], deadline=60)
        assert origin.connections == 0
    (result,) = report.results
    assert (result.verdict, result.observation.outcome) == ("inconclusive", Outcome.PROXY_UNKNOWN)
    assert result.observation.proxy_file == "proxy.pac"
    assert "proxy" in result.advice


async def test_without_the_extra_the_file_is_named(
    tmp_path: Path, settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is there and cannot be evaluated is reported, and no route is guessed."""
    file = tmp_path / "proxy.pac"
    file.write_text("function FindProxyForURL() { return 'DIRECT' }")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "quickjs_rs" else find(name))
    async with Detector(**settings_of(proxy=f"pac:{file}")) as subject:
        report = await subject.check([HOST])
    (result,) = report.results
    assert result.observation.outcome is Outcome.PROXY_UNKNOWN
    assert "'pac'" in result.advice
    assert "the file proxy.pac" in result.advice


async def test_a_file_over_https_is_believed_only_from_where_it_should_be(
    settings_of: Callable[..., dict[str, Any]],
) -> None:
    """An impostor of the file's server does not choose our proxy."""
    script = Response(body=b"function FindProxyForURL() { return 'DIRECT' }")
    for issued, expected in (
        (pki().issue(["127.0.0.1"]), Outcome.COMPLETE),
        (pki().private_ca("Somebody").issue(["127.0.0.1"]), Outcome.PROXY_UNKNOWN),
    ):
        async with serve_origin(exam()) as origin, serve_origin(issued, handler=lambda _: script) as server:
            settings = settings_of(
                proxy=f"pac:https://127.0.0.1:{server.port}/proxy.pac", resolve={(HOST, 443): origin.address}
            )
            trusted = {**settings, "roots": _roots()}
            async with Detector(**trusted) as subject:
                report = await subject.check([HOST], deadline=60)
        assert report.results[0].observation.outcome is expected
        assert len(server.requests) == (expected is Outcome.COMPLETE)


def _roots() -> Roots:
    return from_der([pki().root_a.certificate, pki().root_b.certificate], name="test roots")


@pytest.mark.parametrize(
    ("system", "route"),
    [
        (SystemProxies(proxy="http://127.0.0.1:{port}"), Route.HTTP_CONNECT),
        (SystemProxies(proxy="http://127.0.0.1:{port}", bypass=("*.example.edu",)), Route.DIRECT),
        (SystemProxies(detect=True), Route.DIRECT),
        (SystemProxies(), Route.DIRECT),
    ],
)
async def test_settings_of_the_machine(
    system: SystemProxies, route: Route, settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the machine is set to is the default; detection that finds no file is a direct route, as elsewhere."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with serve_origin(exam()) as origin, serve_proxy(upstream={(HOST, 443): origin.address}) as proxy:
        filled = SystemProxies(
            proxy=None if system.proxy is None else system.proxy.format(port=proxy.port),
            bypass=system.bypass,
            detect=system.detect,
        )
        monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: filled)
        settings = settings_of(resolve={(HOST, 443): origin.address, ("wpad", 80): ("127.0.0.1", 9)})
        del settings["proxy"]
        choices: list[dict[str, Any]] = [{}, {"proxy": "system"}, {"route": "proxy,direct", "proxy": "system"}]
        for choice in choices:
            async with Detector(**settings, **choice) as subject:
                report = await subject.check([HOST], deadline=30)
            assert report.results[0].observation.outcome is Outcome.COMPLETE
            assert report.results[0].observation.route is route


async def test_settings_of_the_machine_that_cannot_be_read(
    settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that cannot be parsed is not a direct route: the endpoint is inconclusive, and that is said."""
    unreadable = SystemProxies(proxy="gopher://proxy.example.edu:70")
    monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: unreadable)
    async with serve_origin(exam()) as origin:
        async with Detector(**settings_of(proxy="system", resolve={(HOST, 443): origin.address})) as subject:
            report = await subject.check([HOST])
        assert origin.handshakes == 0
    (result,) = report.results
    assert (report.verdict, result.observation.outcome) == ("inconclusive", Outcome.PROXY_UNKNOWN)
    assert "the settings of this machine" in str(result.advice)


async def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is bounded by ending the process, whatever the script does to its own limits."""
    worker = tmp_path / "hang.py"
    worker.write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setattr(pac, "_WORKER", worker)
    file = tmp_path / "proxy.pac"
    file.write_text("function FindProxyForURL() { return 'DIRECT' }")

    async def no_download(_url: str, _until: float) -> bytes | None:
        raise AssertionError

    chooser = pac.ProxyFile(str(file), download=no_download, resolver=Resolver(), clock=lambda: MONDAY)
    began = time.monotonic()
    assert await chooser.choose("127.0.0.1", 443, asyncio.get_running_loop().time() + 0.3) is None
    assert time.monotonic() - began < 30  # an hour would be the alternative
