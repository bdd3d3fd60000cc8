"""Proxy auto-configuration files: what scripts may ask, what they cannot do, and what is reported when they fail.

Room: tests of probe. Opens sockets on loopback, starts the evaluating program.
"""

from __future__ import annotations

import asyncio
import codecs
import datetime as dt
import importlib.util
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_files, serve_origin, serve_proxy
from detector_testing.origin import Request, Response, answer
from detector_testing.streams import Listener, PlainStream, listen
from hypothesis import given, settings
from hypothesis import strategies as st
from support.conversations import HOST, exam, pki
from support.profiles import examples

from detector import Detector, Outcome
from detector.model import Route, UnfollowedProxy
from detector.probe import Proxy
from detector.probe.routes import Resolver, pac, pac_worker
from detector.probe.routes.direct import source_addresses
from detector.probe.routes.system import SystemProxies
from detector.session import machine_proxy, plan
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector.trust.roots import Roots

MONDAY = dt.datetime(2026, 11, 23, 9, 30, tzinfo=dt.UTC)
SETTINGS = {
    "entries": pac._ENTRIES,
    "own": ["10.1.2.3", "2001:db8::7"],
    "seconds": 0.5,
    "seconds_all": 5.0,
    "bytes": pac.SCRIPT_BYTES,
    "answers": {"intra.example": ["10.0.0.7"], "both.example": ["2001:db8::1", "10.0.0.8"]},
}


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
        "!shExpMatch('axb', 'a.b') && shExpMatch('a+b', 'a[+]b') && shExpMatch(url, 'https://*/')",
        "isInNet('198.51.100.7', '198.51.100.0', '255.255.255.0') && !isInNet('1.2.3.4', '1.2.3.5', '255.255.255.255')",
        "shExpMatch(host, '(*.org|*.example.edu)') && shExpMatch('abc', '[a-c]bc') && !shExpMatch('abc', 'A*')",
        "isInNet('intra.example', '10.0.0.0', '255.0.0.0') && !isInNet('300.0.0.1', '0.0.0.0', '0.0.0.0')",
        "!isPlainHostName('::1') && !dnsDomainIs('a.EXAMPLE.edu', '.example.edu')",
        "isInNetEx('10.1.1.1', '10.0.0.0/8') && !isInNetEx('11.1.1.1', '10.0.0.0/8')",
        "isInNetEx('2001:db8:ffff::1', '2001:db8::/32') && !isInNetEx('2001:db9::1', '2001:db8::/32')",
        "isInNetEx('1.2.3.4', '0.0.0.0/0') && isInNetEx('::1', '::/0')",
        "isInNetEx('fe80::7', 'fe80::/10') && !isInNetEx('febf::7', 'fe80::/12')",
        "isInNetEx('::ffff:10.0.0.1', '10.0.0.0/8') && isInNetEx('10.0.0.1', '::ffff:10.0.0.0/104')",
        "!isInNetEx('10.0.0.1', '10.0.0.1') && !isInNetEx('intra.example', '10.0.0.0/8')",
        "!isInNetEx('::1', '::/129') && !isInNetEx('::1', '::/') && !isInNetEx('::1', '::/x')",
        "!isInNetEx('', '::/0') && !isInNetEx(undefined, '::/0') && !isInNetEx('::1', undefined)",
        "!isInNetEx('1::2::3', '::/0') && !isInNetEx('12345::', '::/0') && !isInNetEx('1:2:3:4:5:6:7', '::/0')",
        "sortIpAddressList('10.0.0.2; 2001:db8::1;10.0.0.1') === '2001:db8::1;10.0.0.1;10.0.0.2'",
        "sortIpAddressList('10.0.0.2;x') === false && sortIpAddressList('') === false",
        "dnsResolveEx('both.example') === '2001:db8::1;10.0.0.8' && dnsResolve('both.example') === '10.0.0.8'",
        "isResolvableEx('both.example') && !isResolvableEx('no.example') && dnsResolveEx('no.example') === ''",
        "dnsResolve('no.example') === null && getClientVersion() === '1.0'",
        "dnsResolve('intra.example') === '10.0.0.7' && dnsResolve('192.0.2.1') === '192.0.2.1'",
        "isResolvable('intra.example') && dnsResolveEx('intra.example') === '10.0.0.7'",
        "convert_addr('0.0.1.0') === 256 && convert_addr('x') === 0",
        "myIpAddress() === '10.1.2.3' && myIpAddressEx() === '10.1.2.3;2001:db8::7'",
        "weekdayRange('MON') && weekdayRange('MON', 'FRI') && weekdayRange('SAT', 'MON', 'GMT')",
        "!weekdayRange('mon') && !dateRange('nov')",
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
        "function FindProxyForURL() { return 5 }",
        "function FindProxyForURL() { return ['DIRECT'] }",
        "function FindProxyForURL() { return new String('DIRECT') }",
        "function FindProxyForURL() { return '\\ud800' }",
        "async function FindProxyForURL() { return 'DIRECT' }",
        "function FindProxyForURL() { return 'DIRECT' } throw 1",
        "FindProxyForURL = 'DIRECT'",
        "String = () => ({}); function FindProxyForURL() { return 'DIRECT' }",
        "<!DOCTYPE html><html><body>Not found</body></html>",
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
    "script",
    [
        "function FindProxyForURL(url, host) { x = 'DIRECT'; return x }",
        "x = 'DIRECT';\nfunction FindProxyForURL(url, host) { return x }",
        "function FindProxyForURL(url, host) { with ({a: 'DIRECT'}) { return a } }",
        "function FindProxyForURL(url, host) { if (010 === 8) return 'DIRECT' }",
        "function FindProxyForURL(url, url) { return url === 'exam.example.edu' ? 'DIRECT' : 'PROXY p:1' }",
        "function FindProxyForURL(url, host) { if (arguments.callee) return 'DIRECT' }",
        "function FindProxyForURL(url, host) { return this.FindProxyForURL ? 'DIRECT' : 'PROXY p:1' }",
        "<!--\nfunction FindProxyForURL(url, host) { return 'DIRECT' }\n-->",
        "const FindProxyForURL = (url, host) => 'DIRECT'; // the end",
        "const answer = 'DIRECT'; let isInNet; function FindProxyForURL() { return answer }",
        "FindProxyForURL = function () { return 'DIRECT' }",
        "function isInNet() { return true } function FindProxyForURL() { return isInNet() ? 'DIRECT' : 'PROXY p:1' }",
        "'use strict'; function FindProxyForURL() { return 'DIRECT' }",
        "function FindProxyForURLEx(url, host) { return 'DIRECT' }",
        "function FindProxyForURLEx() { return 'PROXY p:1' } function FindProxyForURL() { return 'DIRECT' }",
    ],
)
def test_scripts_as_browsers_evaluate_them(script: str) -> None:
    """In sloppy mode, and by the function that browsers call."""
    assert said(script)[0] == "DIRECT"


@pytest.mark.parametrize("value", ["null", "undefined", "''", ""])
def test_no_value_is_an_empty_answer(value: str) -> None:
    """Browsers connect directly where a script returns nothing."""
    answer, _ = said(f"function FindProxyForURL() {{ return {value} }}")
    assert answer == ""
    assert pac.read_answer("") == (None,)


def test_all_hosts_share_a_limit_of_time() -> None:
    """A script that never ends does not cost its time for every host."""
    asked = [["https://a/", "a"], ["https://b/", "b"], ["https://c/", "c"]]
    broken_down = dict(pac._broken_down(MONDAY))
    job = {"script": "for (;;) {}", "local": broken_down, "utc": broken_down, "asked": asked}
    began = time.process_time()
    assert pac_worker.evaluate({**SETTINGS, **job, "seconds": 0.2, "seconds_all": 0.3})["said"] == [None] * 3
    assert time.process_time() - began < 10  # an hour would be the alternative


SCRIPT = "function FindProxyForURL(url, host) { return 'PROXY schüler.example:1' } // Schülernetz"


@pytest.mark.parametrize(
    "data",
    [
        SCRIPT.encode(),
        codecs.BOM_UTF8 + SCRIPT.encode(),
        codecs.BOM_UTF16_LE + SCRIPT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + SCRIPT.encode("utf-16-be"),
        SCRIPT.encode("latin-1"),
    ],
)
def test_encodings_of_files(data: bytes) -> None:
    """What editors save is read, marked or not."""
    assert pac.read_file(data) == SCRIPT


@settings(max_examples=examples(200))
@given(
    mark=st.sampled_from([b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE]), data=st.binary(max_size=60)
)
def test_no_file_raises(mark: bytes, data: bytes) -> None:
    """Any bytes become a text that can be handed to the sandbox."""
    assert json.loads(json.dumps(pac.read_file(mark + data))) == pac.read_file(mark + data)


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        ("", (None,)),
        (" ;; ", (None,)),
        ("DIRECT", (None,)),
        (" direct ; ", (None,)),
        ("PROXY p:8080; DIRECT", ("http://p:8080", None)),
        (
            "HTTPS p:443;SOCKS s:1;SOCKS5 t:2; SOCKS4 u:3",
            ("https://p:443", "socks4a://s:1", "socks5://t:2", "socks4a://u:3"),
        ),
        ("PROXY p;HTTPS p;SOCKS5 p", ("http://p:80", "https://p:443", "socks5://p:1080")),
        ("PROXY [2001:db8::1]:3128", ("http://[2001:db8::1]:3128",)),
        ("PROXY a:1;PROXY b:1;PROXY c:1;PROXY d:1;PROXY e:1", ("http://a:1", "http://b:1", "http://c:1", "http://d:1")),
        ("PROXY p:1\r\nPROXY q:1\n", ("http://p:1", "http://q:1")),
        ("QUIC p:1; PROXY p:1", ("http://p:1",)),
        ("PROXY; PROXY p:99999; PROXY p:1 q:2; DIRECT p:1; PROXY u:p@h:1; PROXY http://h:1; DIRECT", (None,)),
        ("PROXY p:1; PROXY schüler.example:1", None),
        ("PROXY", None),
        ("DIRECT p:1", None),
        ("PROXY u:p@h:1", None),
        ("PROXY p:99999", None),
        ("PROXY p:1, DIRECT", None),
        ("QUIC p:1", None),
        ("undefined", None),
        ("PROXY p:1 q:2", None),
    ],
)
def test_answers(text: str, routes: tuple[str | None, ...] | None) -> None:
    """What scripts say, in the order in which it is tried; where nothing can be read, it is no direct route."""
    found = pac.read_answer(text)
    assert (None if found is None else tuple(None if proxy is None else str(proxy) for proxy in found)) == routes


@settings(max_examples=examples(200))
@given(
    text=st.text(max_size=60)
    | st.lists(
        st.sampled_from(["PROXY ", "SOCKS ", "DIRECT", ";", ":1", "p", "@", "[", "]", "\n", "\x85", "\x00"])
    ).map("".join)
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


@pytest.mark.usefixtures("no_proxy_in_the_environment")
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


GOOD = "function FindProxyForURL() { return 'DIRECT' }"
MACHINE_SETTINGS = [
    (SystemProxies(proxy="gopher://proxy.example.edu:70"), "", UnfollowedProxy.KIND_UNKNOWN),
    (SystemProxies(proxy="https://user:hunter2@:x"), "", UnfollowedProxy.KIND_UNKNOWN),
    (SystemProxies(file="{file}"), "function FindProxyForURL() { return 'QUIC p:1' }", UnfollowedProxy.KIND_UNKNOWN),
    (SystemProxies(file="{file}"), "throw 1", UnfollowedProxy.FILE_FAULTY),
    (SystemProxies(file="{file}"), "for (;;) {}", UnfollowedProxy.FILE_FAULTY),
    (SystemProxies(file="file://{file}"), "<html></html>", UnfollowedProxy.FILE_FAULTY),
    (SystemProxies(file="{file}.missing", detect=True), GOOD, UnfollowedProxy.FILE_FAULTY),
    (SystemProxies(file="http://[127.0.0.1/proxy.pac"), GOOD, UnfollowedProxy.FILE_FAULTY),
    (SystemProxies(file="http://127.0.0.1:9/proxy.pac"), GOOD, UnfollowedProxy.FILE_FAULTY),
    (SystemProxies(file="gopher://127.0.0.1:9/proxy.pac\0"), GOOD, UnfollowedProxy.FILE_FAULTY),
    (SystemProxies(file="{file}"), GOOD, UnfollowedProxy.EXTRA_MISSING),
]


@pytest.mark.usefixtures("no_proxy_in_the_environment")
@pytest.mark.parametrize("remaining", ["direct", "environment", "unreadable environment", "fixed"])
@pytest.mark.parametrize(("found", "script", "why"), MACHINE_SETTINGS)
async def test_settings_of_the_machine_that_cannot_be_followed(  # noqa: PLR0913 - fixtures and what is varied
    *,
    found: SystemProxies,
    script: str,
    why: UnfollowedProxy,
    remaining: str,
    tmp_path: Path,
    settings_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The route that remains is taken, as browsers take it, and every observation says so."""
    if why is UnfollowedProxy.EXTRA_MISSING:
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "quickjs_rs" else find(name))
    (tmp_path / "proxy.pac").write_text(script)
    file = None if found.file is None else found.file.format(file=tmp_path / "proxy.pac")
    async with serve_origin(exam()) as origin, serve_proxy(upstream={(HOST, 443): origin.address}) as proxy:
        if remaining != "direct":
            monkeypatch.setenv("HTTPS_PROXY", "x://" if remaining == "unreadable environment" else proxy.url)
        fixed = proxy.url if remaining == "fixed" and found.proxy is None else found.proxy
        read = SystemProxies(proxy=fixed, file=file, detect=found.detect)
        monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: read)
        async with Detector(**settings_of(proxy="system", resolve={(HOST, 443): origin.address})) as subject:
            report = await subject.check([HOST], deadline=60)
    (result,) = report.results
    seen = result.observation
    assert (seen.outcome, seen.unfollowed_proxy) == (Outcome.COMPLETE, why)
    proxied = remaining in {"environment", "fixed"}
    assert seen.route is (Route.HTTP_CONNECT if proxied else Route.DIRECT)
    assert (seen.proxy_file is None) is (file is None)
    assert "hunter2" not in str(report)


@pytest.mark.usefixtures("no_proxy_in_the_environment")
@pytest.mark.parametrize("environment", [False, True])
async def test_detection_without_an_answer(
    settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, *, environment: bool
) -> None:
    """A server that never sends a file is no setting: it is asked once, and the environment decides."""
    asked: list[None] = []
    ended = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(None)
        await ended.wait()
        writer.close()

    monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: SystemProxies(detect=True))
    async with (
        await asyncio.start_server(silent, "127.0.0.1", 0) as server,
        serve_origin(pki().issue([HOST, "lms.example.org"])) as origin,
        serve_proxy(upstream={(HOST, 443): origin.address, ("lms.example.org", 443): origin.address}) as proxy,
    ):
        if environment:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        where = {(HOST, 443): origin.address, ("lms.example.org", 443): origin.address}
        settings = settings_of(resolve={**where, ("wpad", 80): server.sockets[0].getsockname()[:2]})
        del settings["proxy"]
        async with Detector(**settings) as subject:
            reports = [await subject.check([HOST]), await subject.check([HOST, "lms.example.org"])]
        ended.set()
    assert len(asked) == 1
    seen = [result.observation for report in reports for result in report.results]
    route = Route.HTTP_CONNECT if environment else Route.DIRECT
    assert {(o.outcome, o.route, o.unfollowed_proxy, o.proxy_file) for o in seen} == {
        (Outcome.COMPLETE, route, None, None)
    }
    assert all(o.timings_ms["proxy-file"] < 3000 for o in seen)  # five seconds without a limit of its own


async def test_detection_with_an_answer(
    settings_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that the network announces chooses."""
    monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda: SystemProxies(detect=True))
    async with serve_origin(exam()) as origin, serve_proxy(upstream={(HOST, 443): origin.address}) as proxy:
        script = f"function FindProxyForURL() {{ return 'PROXY 127.0.0.1:{proxy.port}' }}"
        async with serve_files({"/wpad.dat": script.encode("utf-16")}) as files:
            where = {(HOST, 443): origin.address, ("wpad", 80): (files.host, files.port)}
            async with Detector(**settings_of(proxy="system", resolve=where)) as subject:
                report = await subject.check([HOST], deadline=60)
    (result,) = report.results
    assert (result.observation.route, result.observation.unfollowed_proxy) == (Route.HTTP_CONNECT, None)
    assert result.observation.proxy_file == "http://wpad/wpad.dat"


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("http://{files}/proxy.pac", True),
        ("/again", False),
        ("https://{files}/proxy.pac", False),
        ("file:///etc/passwd", False),
        ("http://[", False),
    ],
)
async def test_a_file_that_moved(settings_of: Callable[..., dict[str, Any]], location: str, *, followed: bool) -> None:
    """Redirects of an http server are followed, as browsers do, a few of them, and to no other kind of place."""
    requested: list[Request] = []
    server = Listener()

    async def serve(plain: PlainStream) -> None:
        headers = (("Location", location.format(files=f"{files.host}:{files.port}")),)
        await answer(plain, lambda _: Response(status=302, headers=headers), requested)

    async with (
        serve_origin(exam()) as origin,
        serve_files({"/proxy.pac": GOOD.encode()}) as files,
        listen(serve, server),
    ):
        setting = f"pac:http://{server.host}:{server.port}/again"
        async with Detector(**settings_of(proxy=setting, resolve={(HOST, 443): origin.address})) as subject:
            report = await subject.check([HOST], deadline=60)
    (result,) = report.results
    assert result.observation.outcome is (Outcome.COMPLETE if followed else Outcome.PROXY_UNKNOWN)
    assert len(requested) == (plan.REDIRECTS_MAX + 1 if location == "/again" else 1)


async def _no_download(_url: str, _until: float) -> bytes | None:
    raise AssertionError


@pytest.mark.parametrize("frozen", [True, False])
async def test_without_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, frozen: bool) -> None:
    """A frozen application starts none, and not every event loop can: the file is evaluated in a thread.

    It runs in the same sandbox; evaluations that hang keep their places.
    """
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)

    async def no_process(*_: object, **__: object) -> None:
        raise AssertionError if frozen else NotImplementedError

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_process)
    file = tmp_path / "proxy.pac"
    file.write_text("function FindProxyForURL(url, host) { return isResolvable('localhost') ? 'PROXY p:1' : 'DIRECT' }")
    until = asyncio.get_running_loop().time() + 60
    for slots, expected in ((1, (Proxy(host="p", port=1),)), (0, UnfollowedProxy.FILE_FAULTY)):
        monkeypatch.setattr(pac, "_slots", threading.Semaphore(slots))
        chooser = pac.ProxyFile(str(file), download=_no_download, resolver=Resolver(), clock=lambda: MONDAY)
        assert await chooser.choose("127.0.0.1", 443, until) == expected


async def test_a_thread_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is answered in time, and the thread keeps its place."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    ended, slots = threading.Event(), threading.Semaphore(1)
    monkeypatch.setattr(pac, "_slots", slots)

    def hang(_job: object) -> dict[str, Any]:
        ended.wait()
        return {"said": [], "wanted": []}

    monkeypatch.setattr(pac_worker, "evaluate", hang)
    file = tmp_path / "proxy.pac"
    file.write_text(GOOD)
    chooser = pac.ProxyFile(str(file), download=_no_download, resolver=Resolver(), clock=lambda: MONDAY)
    answer = await chooser.choose("127.0.0.1", 443, asyncio.get_running_loop().time() + 0.3)
    assert answer is UnfollowedProxy.FILE_FAULTY
    assert not slots.acquire(blocking=False)
    ended.set()
    assert slots.acquire(timeout=30)


async def test_a_sandbox_that_was_not_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client frozen without the sandbox's library or files goes on; the file was not followed."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    file = tmp_path / "proxy.pac"
    file.write_text(GOOD)
    for error in (OSError("_libwasmtime.so: cannot open shared object file"), ImportError("No module named wasmtime")):

        def fail(_job: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(pac_worker, "evaluate", fail)
        chooser = pac.ProxyFile(str(file), download=_no_download, resolver=Resolver(), clock=lambda: MONDAY)
        until = asyncio.get_running_loop().time() + 60
        assert await chooser.choose("127.0.0.1", 443, until) is UnfollowedProxy.FILE_FAULTY


async def test_a_loop_inside_of_a_built_in_function_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox's own limit of time does not reach there; the end of the process does."""
    monkeypatch.setattr(pac, "SCRIPTS_SECONDS", 0.5)
    file = tmp_path / "proxy.pac"
    file.write_text("function FindProxyForURL() { return Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1) }")
    chooser = pac.ProxyFile(str(file), download=_no_download, resolver=Resolver(), clock=lambda: MONDAY)
    answer = await chooser.choose("127.0.0.1", 443, asyncio.get_running_loop().time() + 60)
    assert answer is UnfollowedProxy.FILE_FAULTY


async def test_this_machines_addresses_are_known_to_the_script(tmp_path: Path) -> None:
    """Files choose by the network that a machine is in, so they get what browsers pass."""
    own = source_addresses()
    file = tmp_path / "proxy.pac"
    file.write_text("function FindProxyForURL() { return 'PROXY ' + myIpAddress().replace(/:/g, '-') + ':1' }")
    chooser = pac.ProxyFile(str(file), download=_no_download, resolver=Resolver(), clock=lambda: MONDAY)
    answer = await chooser.choose("127.0.0.1", 443, asyncio.get_running_loop().time() + 60)
    expected = (own.get("ipv4") or own.get("ipv6") or "127.0.0.1").replace(":", "-")
    assert answer == (Proxy(host=expected, port=1),)


async def test_a_file_is_asked_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that runs for days follows a file that changes; until then the same answer costs nothing."""
    file = tmp_path / "proxy.pac"
    chooser = pac.ProxyFile(str(file), download=_no_download, resolver=Resolver(), clock=lambda: MONDAY)
    until = asyncio.get_running_loop().time() + 60
    proxies = []
    for number, age in ((1, 600.0), (2, 600.0), (3, 0.0), (4, 0.0)):
        file.write_text(f"function FindProxyForURL() {{ return 'PROXY p:{number}' }}")
        answer = await chooser.choose("127.0.0.1", 443, until)
        assert isinstance(answer, tuple)
        proxies += [proxy.port for proxy in answer if proxy is not None]
        monkeypatch.setattr(pac, "FILE_AGE_SECONDS", age)
        chooser._expires = min(chooser._expires, asyncio.get_running_loop().time() + age)
    assert proxies == [1, 1, 1, 4]


@settings(max_examples=examples(200))
@given(
    output=st.binary(max_size=40)
    | st.recursive(
        st.none() | st.text(), lambda part: st.lists(part) | st.dictionaries(st.sampled_from(["said", "x"]), part)
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_that_the_process_prints_raises(output: bytes) -> None:
    """A sandbox that was broken out of may print anything: answers come out, or none."""
    assert all(text is None or isinstance(text, str) for text in pac._read_output(output).said)


async def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is bounded by ending the process, whatever the script does to its own limits."""
    worker = tmp_path / "hang.py"
    worker.write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setattr(pac, "_WORKER", worker)
    file = tmp_path / "proxy.pac"
    file.write_text("function FindProxyForURL() { return 'DIRECT' }")

    chooser = pac.ProxyFile(str(file), download=_no_download, resolver=Resolver(), clock=lambda: MONDAY)
    began = time.monotonic()
    answer = await chooser.choose("127.0.0.1", 443, asyncio.get_running_loop().time() + 0.3)
    assert answer is UnfollowedProxy.FILE_FAULTY
    assert time.monotonic() - began < 30  # an hour would be the alternative
