"""Real browsers and real proxies in front of a real nginx and a real HAProxy that log as docs/examples say."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from detector_testing.pki import to_pem
from support.browser import chromium
from support.firefox import run_firefox
from support.logging_sites import SITES, Site
from support.origin_clients import CHROME, FIREFOX, HOST, SAFARI
from support.tls_proxies import DECRYPTING, Proxies, Proxy

from detector.cli import run
from detector.model import Report
from detector.origin.logs import LogFormat, LogReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from detector_testing import PrivatePKI

pytestmark = pytest.mark.lab

AGENTS: Final = {"chromium": CHROME, "firefox": FIREFOX, "safari": SAFARI}
FORMS: Final = tuple(SITES)


@pytest.fixture(params=FORMS)
async def site(request: pytest.FixtureRequest, pki: PrivatePKI, tmp_path: Path) -> AsyncIterator[tuple[str, Site]]:
    """The site behind each server, with the form of its log."""
    folder = tmp_path / "site"
    folder.mkdir()
    async with SITES[request.param](pki.issue([HOST]), folder) as running:
        yield request.param, running


@pytest.fixture
def proxies(pki: PrivatePKI) -> Iterator[Proxies]:
    """Proxies in a folder that programs without rights can read."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Proxies(pki, Path(name))


async def logged(site: Site, lines: int) -> list[bytes]:
    """What the site logged, once that is so many lines with a browser's request: it logs after it answered."""
    async with asyncio.timeout(60):
        while True:
            found = [line for line in site.log().splitlines(keepends=True) if b"Mozilla" in line]
            if len(found) >= lines:
                return found
            await asyncio.sleep(0.02)


def assessed(form: str, lines: list[bytes], folder: Path, *options: str) -> tuple[int, Report]:
    """The exit code and the report of the command on these lines."""
    log, result = folder / "assessed.log", folder / "report.json"
    log.write_bytes(b"".join(lines))
    code = run(["origin", "judge", str(log), "--format", form, "--site", HOST, "--json", "-o", str(result), *options])
    return code, Report.from_json(result.read_bytes())


@pytest.mark.parametrize("name", DECRYPTING)
async def test_every_proxy_is_seen(name: str, site: tuple[str, Site], proxies: Proxies, tmp_path: Path) -> None:
    """Under each family's User-Agent alone it is at least possible, and together, signed in, it is probable."""
    form, running = site
    async with getattr(proxies, name)(running.port) as proxy:
        for seat, agent in enumerate([*AGENTS.values()] * 2):
            assert b"200 OK" in (await proxy.get(f"/?seat={seat}", user_agent=agent)).partition(b"\r\n")[0]
        lines = await logged(running, 6)
    for family, agent in AGENTS.items():
        alone = [line for line in lines if agent.encode() in line.replace(rb"\/", b"/")]
        assert len(alone) == 2
        code, report = assessed(form, alone, tmp_path, "--fail-on", "possible")
        assert code == 1
        assert (report.confidence == "probable") is ((form, name, family) not in ONE_PART)
    code, report = assessed(form, lines, tmp_path)
    assert (code, report.confidence) == (1, "probable")


ONE_PART: Final = {("nginx", "nginx", "firefox"), ("nginx", "go", "safari")}
"""Where only one part of what nginx logs contradicts: 2 of 48."""


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_browser_alone_shows_nothing(
    browser: str, site: tuple[str, Site], pki: PrivatePKI, tmp_path: Path
) -> None:
    """A browser that connects by itself is contradicted by nothing."""
    form, running = site
    await visit(browser, running.port, pki, tmp_path)
    code, report = assessed(form, await logged(running, 1), tmp_path)
    (result,) = report.results
    assert (code, report.verdict, result.reason) == (0, "inconclusive", "nothing-seen")
    assert result.findings[-1].data["counted"] == 1


@pytest.mark.parametrize("name", ["squid_splice", "mitmproxy"])
async def test_a_browser_through_a_proxy(
    name: str, site: tuple[str, Site], proxies: Proxies, pki: PrivatePKI, tmp_path: Path
) -> None:
    """What passes TLS on shows nothing; what decrypts it shows the same browser with another hello."""
    form, running = site
    async with getattr(proxies, name)(running.port) as proxy:
        await visit("chromium", running.port, pki, tmp_path, proxy)
        code, report = assessed(form, await logged(running, 1), tmp_path)
    assert (code, report.confidence) == ((0, None) if name == "squid_splice" else (1, "probable"))


HOSTILE: Final = (
    b'Mozilla/5.0 ","account":"of somebody else","address":"198.51.100.9',
    rb"Mozilla/5.0 \",\"account\":\"other\"} {\x22account\x22:\x22other\x22}",
    b"Mozilla/5.0 \xff\xfe\xc3( \t end\\",
    'Mozilla/5.0 (\N{SNOWMAN}) \N{PILE OF POO} "\N{RIGHT-TO-LEFT OVERRIDE}'.encode(),
    b"Mozilla/5.0 " + b"\\" * 700,
)
"""User-Agents that imitate fields of their own, in bytes that HTTP servers take."""


async def test_headers_stay_in_their_field(site: tuple[str, Site]) -> None:
    """What the servers really write for hostile headers is read as one entry each, with the servers' own address."""
    form, running = site
    for seat, agent in enumerate(HOSTILE):
        await Proxy(running.port).get(
            f"/?seat={seat}", user_agent=agent.decode("latin-1"), x_forwarded_for="198.51.100.7"
        )
    reader = LogReader(LogFormat(form))
    entries = list(reader.entries(await logged(running, len(HOSTILE))))
    assert reader.unreadable == 0
    assert [entry.address for entry in entries] == ["127.0.0.1"] * len(HOSTILE)
    assert [entry.account for entry in entries] == [f"account-{seat}" for seat in range(len(HOSTILE))]


async def visit(browser: str, port: int, pki: PrivatePKI, folder: Path, proxy: Proxy | None = None) -> None:
    """Open the site's page in a real browser."""
    if browser == "chromium":
        await asyncio.to_thread(_visit_in_chromium, port, folder, proxy)
        return
    roots = [folder / f"root-{number}.pem" for number in range(2)]
    for file, root in zip(roots, (pki.root_a, pki.root_b), strict=True):
        file.write_bytes(to_pem(root.certificate))
    policies = {"Certificates": {"Install": [str(root) for root in roots]}}
    preferences = {"network.dns.localDomains": HOST, "network.socket.forcePort": f"443={port}"}
    async with run_firefox(folder, policies=policies, preferences=preferences) as firefox:
        await firefox.open(f"https://{HOST}/?seat=1")


def _visit_in_chromium(port: int, folder: Path, proxy: Proxy | None) -> None:
    there = port if proxy is None or proxy.asks_for is not None else proxy.port
    flags = ["--ignore-certificate-errors", f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
    if proxy is not None and proxy.asks_for is not None:
        flags.append(f"--proxy-server=http://127.0.0.1:{proxy.port}")
    with chromium(folder / "chromium", *flags) as window:
        window.open(f"https://{HOST}:{there}/?seat=1")
