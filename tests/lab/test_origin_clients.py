"""Real clients of a server that assesses its requests: browsers directly, and other programs under their names.

Room: tests. Starts browsers and other clients, which talk to loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web
from detector_testing.pki import to_pem
from support.browser import chromium
from support.firefox import run_firefox
from support.origin_clients import CHROME, FIREFOX, HOST, SAFARI
from support.system import program
from support.witnesses import signing_key, witness_of

from detector.origin.aiohttp import ASSESSMENT, middleware
from detector.origin.capture import HelloCapture
from detector.probe.tls.hello import GREASE
from detector.trust import witness_statement
from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from detector_testing import PrivatePKI

    from detector.origin.requests import Assessment

pytestmark = pytest.mark.lab

GO_CLIENT: Final = """
package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
)

func main() {
	request, _ := http.NewRequest("GET", os.Args[1], nil)
	request.Header.Set("User-Agent", os.Args[2])
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := client.Do(request)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(response.Status)
}
"""
"""What an interceptor that is written in Go does: the standard library's TLS, with the browser's User-Agent."""


class Seen:
    """What the server found, request by request, and how many connections resumed a session."""

    def __init__(self, port: int) -> None:
        self.url = f"https://{HOST}:{port}/"
        self.port = port
        self.found: list[Assessment] = []
        self.agents: list[str] = []
        self.resumed = 0


@contextlib.asynccontextmanager
async def serving(pki: PrivatePKI, version: ssl.TLSVersion | None = None) -> AsyncIterator[Seen]:
    """Run a server that closes each connection after one answer, so that every request has a handshake of its own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pki.issue([HOST]).configure_cert(context)
    if version is not None:
        context.maximum_version = version
    capture = HelloCapture()
    assert capture.install(context) is None
    seen = Seen(0)

    async def page(request: web.Request) -> web.Response:
        assert request.transport is not None
        if request.path == "/favicon.ico":
            raise web.HTTPNotFound
        seen.found.append(request[ASSESSMENT])
        seen.agents.append(request.headers.get("User-Agent", ""))
        seen.resumed += request.transport.get_extra_info("ssl_object").session_reused
        answer = web.Response(text="<!doctype html><title>exam</title>", content_type="text/html")
        answer.force_close()
        return answer

    application = web.Application(middlewares=[middleware(capture.hello_of)])
    application.router.add_get("/{path:.*}", page)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    seen.port = runner.addresses[0][1]
    seen.url = f"https://{HOST}:{seen.port}/"
    try:
        yield seen
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2], ids=["newest", "tls-1.2"])
class TestBrowsers:
    """Nothing in between: nothing is seen, also when a session is resumed."""

    async def test_chromium(self, version: ssl.TLSVersion | None, pki: PrivatePKI, tmp_path: Path) -> None:
        """Three page loads of a headless Chromium."""

        def visit(url: str) -> None:
            flags = ("--ignore-certificate-errors", f"--host-resolver-rules=MAP {HOST} 127.0.0.1")
            with chromium(tmp_path / "profile", *flags) as browser:
                for number in range(3):
                    browser.open(f"{url}{number}")

        async with serving(pki, version) as seen:
            await asyncio.to_thread(visit, seen.url)
        assert [one.judgment.verdict for one in seen.found] == ["nothing-seen"] * len(seen.found)
        assert len(seen.found) >= 3
        assert seen.resumed
        assert "Chrome/" in seen.agents[0]

    async def test_firefox(self, version: ssl.TLSVersion | None, pki: PrivatePKI, tmp_path: Path) -> None:
        """Three page loads of a headless Firefox ESR."""
        roots = [tmp_path / "a.pem", tmp_path / "b.pem"]
        for path, ca in zip(roots, (pki.root_a, pki.root_b), strict=True):
            path.write_bytes(to_pem(ca.certificate))
        policies = {"Certificates": {"Install": [str(path) for path in roots]}}
        preferences: dict[str, object] = {"network.dns.localDomains": HOST}
        async with (
            serving(pki, version) as seen,
            run_firefox(tmp_path, policies=policies, preferences=preferences) as browser,
        ):
            for number in range(3):
                await browser.open(f"{seen.url}{number}")
        assert [one.judgment.verdict for one in seen.found] == ["nothing-seen"] * len(seen.found)
        assert len(seen.found) >= 3
        assert seen.resumed
        assert "Firefox/" in seen.agents[0]


@pytest.mark.parametrize("agent", [CHROME, FIREFOX, SAFARI], ids=["chromium", "firefox", "safari"])
class TestOtherPrograms:
    """The TLS of another program under a browser's name, as behind most interceptors."""

    async def test_curl(self, agent: str, pki: PrivatePKI) -> None:
        """curl, with the TLS library of the system."""
        async with serving(pki) as seen:
            await run("curl", "-sk", "-A", agent, f"https://127.0.0.1:{seen.port}/")
        assert [one.judgment.verdict for one in seen.found] == ["middleware"]

    async def test_go(self, agent: str, pki: PrivatePKI, tmp_path: Path) -> None:
        """A client in Go."""
        (tmp_path / "client.go").write_text(GO_CLIENT, "utf-8")
        async with serving(pki) as seen:
            await run("go", "run", str(tmp_path / "client.go"), f"https://127.0.0.1:{seen.port}/", agent)
        assert [one.judgment.verdict for one in seen.found] == ["middleware"]


async def test_a_page_asks_its_witness(pki: PrivatePKI, tmp_path: Path) -> None:
    """A page of an application behind a witness gets a statement: this browser, and nothing that contradicts it."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>exam</title>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/", page)

    def visit(port: int) -> str:
        flags = ("--ignore-certificate-errors", f"--host-resolver-rules=MAP {HOST} 127.0.0.1")
        with chromium(tmp_path / "profile", *flags) as browser:
            browser.open(f"https://{HOST}:{port}/")
            asked = "return fetch(arguments[0]).then(answer => answer.text())"
            return str(browser.run(asked, witness_statement.request_target(bytes(32))))

    async with witness_of(pki.issue([HOST]), application=application) as witness:
        body = await asyncio.to_thread(visit, witness.address[1])
    statement = witness_statement.read(body.encode(), keys=[public_key_of(signing_key())]).statement
    assert statement is not None
    assert statement.browser is not None
    assert (statement.browser.family, statement.browser.contradictions) == ("chromium", ())
    assert statement.client_hello.offer is not None
    assert any(suite in GREASE for suite in statement.client_hello.offer.cipher_suites)


async def run(name: str, *arguments: str) -> None:
    """Run a client to its end."""
    process = await asyncio.create_subprocess_exec(program(name), *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
