"""Proxy files evaluated by the real Chromium and by us: the same functions, the same answers.

Room: tests. Starts the browser with a proxy on loopback; no resolver knows the names it requests.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import re
from typing import TYPE_CHECKING, Final

import pytest
from detector_testing.streams import LOOPBACK, Listener, PlainStream, listen
from support.chromium import DRIVEN_FLAGS, PATIENCE
from support.system import program

from detector.probe.routes import Resolver, pac

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab

EXPRESSIONS: Final = [
    "isPlainHostName('www') && !isPlainHostName('www.example.edu') && !isPlainHostName('::1')",
    "dnsDomainIs('a.example.edu', '.example.edu') && !dnsDomainIs('a.EXAMPLE.edu', '.example.edu')",
    "localHostOrDomainIs('www', 'www.example.edu') && !localHostOrDomainIs('home.example.edu', 'www.example.edu')",
    "dnsDomainLevels('a.b.c') === 2",
    "shExpMatch('a.example.edu', '*.example.edu') && !shExpMatch('axb', 'a.b') && shExpMatch('axb', 'a?b')",
    "shExpMatch('x.example.edu', '(*.org|*.example.edu)') && shExpMatch('abc', '[a-c]bc') && shExpMatch('aab', 'a+b')",
    "!shExpMatch('abc', 'A*') && !shExpMatch('a\\nc', 'a*c')",
    "isInNet('198.51.100.7', '198.51.100.0', '255.255.255.0') && !isInNet('300.0.0.1', '0.0.0.0', '0.0.0.0')",
    "isInNetEx('10.1.2.3', '10.9.9.9/8') && !isInNetEx('11.1.1.1', '10.0.0.0/8') && isInNetEx('1.2.3.4', '0.0.0.0/0')",
    "isInNetEx('2001:db8:ffff::1', '2001:db8::/32') && !isInNetEx('2001:db9::1', '2001:db8::/32')",
    "isInNetEx('::ffff:10.0.0.1', '10.0.0.0/8') && isInNetEx('10.0.0.1', '::ffff:10.0.0.0/104')",
    "!isInNetEx('10.0.0.1', '10.0.0.1') && !isInNetEx('localhost', '127.0.0.0/8') && !isInNetEx('::1', '::/129')",
    "sortIpAddressList(' 10.0.0.2; 2001:db8::1;10.0.0.1') === '2001:db8::1;10.0.0.1;10.0.0.2'",
    "sortIpAddressList('10.0.0.2;::ffff:1.2.3.4;::1') === '::1;::ffff:1.2.3.4;10.0.0.2'",
    "sortIpAddressList('10.0.0.2;10.0.0.1;') === '10.0.0.1;10.0.0.2' && sortIpAddressList('10.0.0.2;x') === false",
    "sortIpAddressList('') === false",
    "!weekdayRange('sun', 'sat') && weekdayRange('SUN', 'SAT') && dateRange('JAN', 'DEC', 'GMT') && timeRange(0, 24)",
    "dnsResolve('no.invalid') === null && dnsResolveEx('no.invalid') === '' && !isResolvable('no.invalid')",
    "typeof myIpAddress() === 'string' && (myIpAddressEx() + ';').indexOf(myIpAddress() + ';') >= 0",
    "(x = 7) === 7 && 010 === 8 && typeof arguments.callee === 'function' && this.FindProxyForURL !== undefined",
]

ANSWERS: Final = [
    ("PROXY {p}", True),
    ("PROXY {p};", True),
    ("proxy\t  {p} ;; DIRECT", True),
    ("FOO x:1; PROXY {p}", True),
    ("DIRECT x; PROXY {p}", True),
    ("PROXY u:p@{p}; PROXY {p}/; PROXY http://{p}", False),
    ("PROXY 127.0.0.1:1; PROXY {p}", True),
    ("PROXY {p} foo", False),
    ("PROXY {p}, DIRECT", False),
    ("PROXY {p}; PROXY \u00fc:1", False),
    ("SOCKS5 {p}; PROXY 127.0.0.1:1", False),
    ("", False),
]
"""Answers, and whether the first request goes to the HTTP proxy at `p`."""


async def requested_through_proxy(script: str, port: int, hosts: list[str], folder: Path) -> None:
    """Let the browser load a page with something of every host."""
    images = "".join(f"<img src=http://{host}/>" for host in hosts)
    file = base64.b64encode(script.encode()).decode()
    process = await asyncio.create_subprocess_exec(
        program("chromium"),
        *(flag for flag in DRIVEN_FLAGS if not flag.startswith("--remote")),
        f"--user-data-dir={folder}",
        f"--proxy-pac-url=data:application/x-ns-proxy-autoconfig;base64,{file}",
        "--dump-dom",
        f"data:text/html,{images}<p>{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(PATIENCE):
        await process.wait()


def script_of(answers: dict[str, str]) -> str:
    """A file that gives each host its answer, an expression of JavaScript; all others go to a closed port."""
    cases = "".join(f'if (host == "{host}") return {answer};' for host, answer in answers.items())
    return f'function FindProxyForURL(url, host) {{ {cases} return "PROXY 127.0.0.1:1"; }}'


async def both(answers: dict[str, str], port: int, seen: set[str], folder: Path) -> tuple[set[str], set[str]]:
    """The hosts that Chromium, and that we, send to the proxy at `port`."""
    script = script_of(answers)
    await requested_through_proxy(script, port, list(answers), folder / "profile")
    file = folder / "proxy.pac"
    file.write_text(script)

    async def no_download(_url: str, _until: float) -> bytes | None:
        raise AssertionError

    chooser = pac.ProxyFile(str(file), download=no_download, resolver=Resolver(), clock=lambda: dt.datetime.now(dt.UTC))
    until = asyncio.get_running_loop().time() + PATIENCE
    ours = set()
    for host, answer in zip(
        answers, await asyncio.gather(*(chooser.choose(h, 443, until) for h in answers)), strict=True
    ):
        routes = answer if isinstance(answer, tuple) else ()
        reached = next((str(p) for p in routes if p is None or p.port != 1), "")
        if reached == f"http://{LOOPBACK}:{port}":
            ours.add(host)
    return seen & set(answers), ours


async def test_functions_and_answers(tmp_path: Path) -> None:
    """Every expression holds, and every answer leads to the same place, there and here."""
    seen: set[str] = set()

    async def serve(plain: PlainStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := await plain.read()):
            head += data
        seen.update(host.decode() for host in re.findall(rb"http://([a-z0-9.]+)/", head))
        await plain.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    proxy = Listener()
    async with listen(serve, proxy):
        here = f"PROXY {LOOPBACK}:{proxy.port}"
        answers = {
            f"f{number}.example": f'({expression}) ? "{here}" : "PROXY 127.0.0.1:1"'
            for number, expression in enumerate(EXPRESSIONS)
        }
        texts = [text.format(p=f"{LOOPBACK}:{proxy.port}") for text, _ in ANSWERS]
        answers |= {f"a{number}.example": f"{text!a}" for number, text in enumerate(texts)}
        theirs, ours = await both(answers, proxy.port, seen, tmp_path)
    expected = {f"f{number}.example" for number in range(len(EXPRESSIONS))}
    expected |= {f"a{number}.example" for number, (_, reached) in enumerate(ANSWERS) if reached}
    assert theirs == expected
    assert ours == expected
