"""What the student's own browser sees: real Firefox and Chromium with the example extension, a real mitmproxy."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from detector_testing import run_mitmproxy, serve_origin
from detector_testing.pki import to_pem
from support import example_extension
from support.chromium import run_chromium
from support.exam_world import EXAM, Files
from support.firefox import run_firefox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from detector_testing import PrivatePKI

    Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

pytestmark = pytest.mark.lab

BROWSERS: Final = ("firefox", "chromium")
FULL: Final = {"report": True}


class Lab(NamedTuple):
    """The exam's server, an interceptor in front of it, and the files of the detector."""

    folder: Path
    files: Files
    pki: PrivatePKI
    origin: int
    interceptor: int
    interceptor_ca: bytes

    @contextlib.asynccontextmanager
    async def browser(self, name: str, port: int, *flags: str, proxy: int = 0) -> AsyncIterator[Ask]:
        """Run a browser that trusts the interceptor, and reaches the exam's server at this port of this machine.

        With `proxy`, Firefox reaches it through the HTTP proxy at that port instead.
        """
        home, profile = self.folder / "home", self.folder / "profile"
        home.mkdir()
        roots = []
        for number, der in enumerate((self.pki.root_a.certificate, self.pki.root_b.certificate, self.interceptor_ca)):
            roots.append(self.folder / f"root-{number}.pem")
            roots[-1].write_bytes(to_pem(der))
        await example_extension.install_host(name, self.files.options, home=home, profile=profile)
        extension = example_extension.make(self.folder / "extension", name)
        run = _run_firefox if name == "firefox" else _run_chromium
        async with run(self.folder, extension, roots, port, *flags, proxy=proxy) as (open_page, evaluate):

            async def ask(request: dict[str, Any]) -> dict[str, Any]:
                return await example_extension.ask_from_page(name, open_page, evaluate, request)

            yield ask


@contextlib.asynccontextmanager
async def _run_firefox(
    folder: Path, extension: Path, roots: Sequence[Path], port: int, *_: str, proxy: int
) -> AsyncIterator[tuple[Callable[[str], Awaitable[str]], Callable[[str, str], Awaitable[Any]]]]:
    source = example_extension.pack(extension).as_uri()
    policies = {
        "Certificates": {"Install": [str(root) for root in roots]},
        "ExtensionSettings": {
            example_extension.FIREFOX_ID: {"installation_mode": "force_installed", "install_url": source}
        },
    }
    preferences: dict[str, object] = {"network.dns.localDomains": EXAM, "network.socket.forcePort": f"443={port}"}
    if proxy:
        names = ("network.proxy.type", "network.proxy.ssl", "network.proxy.ssl_port")
        preferences = dict(zip(names, (1, "127.0.0.1", proxy), strict=True))
    async with run_firefox(folder, policies=policies, preferences=preferences) as browser:
        yield browser.open, browser.run


@contextlib.asynccontextmanager
async def _run_chromium(
    folder: Path, extension: Path, roots: Sequence[Path], port: int, *flags: str, **_: int
) -> AsyncIterator[tuple[Callable[[str], Awaitable[str]], Callable[[str, str], Awaitable[Any]]]]:
    await example_extension.trust_roots(folder / "home", roots)
    there = f"--host-resolver-rules=MAP {EXAM}:443 127.0.0.1:{port}"
    flags = flags or ("--enable-features=WebRequestSecurityInfo",)
    async with run_chromium(
        folder / "profile", extension, example_extension.CHROMIUM_ID, there, *flags, home=folder / "home"
    ) as browser:
        yield browser.open, browser.run


@pytest.fixture
async def lab(pki: PrivatePKI, tmp_path: Path) -> AsyncIterator[Lab]:
    files = Files(tmp_path, pki)
    async with (
        serve_origin(files.issued) as origin,
        run_mitmproxy(f"reverse:https://127.0.0.1:{origin.port}") as mitm,
    ):
        yield Lab(tmp_path, files, pki, origin.port, mitm.port, mitm.ca_certificate)


def view_of(decision: dict[str, Any]) -> tuple[str, str | None, str, list[str]]:
    """The action, how sure it is, the verdict, and how the browser's view compares."""
    (result,) = decision["report"]["results"]
    found = [finding["outcome"] for finding in result["findings"] if finding["check"] == "browser-view"]
    return decision["action"], result["confidence"], result["verdict"], found


@pytest.mark.parametrize("name", BROWSERS)
async def test_neither_is_decrypted(name: str, lab: Lab) -> None:
    """The browser and the program are shown the genuine certificate: the exam may begin."""
    lab.files.point_to(lab.origin, identity="public")
    async with lab.browser(name, lab.origin) as ask:
        decision = await ask(FULL)
    assert view_of(decision) == ("allow", None, "clean", ["same"]), json.dumps(decision)
    # Chromium gives no certificate for a request that was under way when the extension started.
    assert [(viewed["endpoint"], viewed["chains"]) for viewed in decision["browser"]] == [(f"{EXAM}:443", 1)]
    seen = [one for one in decision["report"]["results"][0]["other_observations"] if one["engine"] == "browser"]
    assert [len(one["chain"]) for one in seen] == [3 if name == "firefox" else 1]


@pytest.mark.parametrize("name", BROWSERS)
async def test_only_the_browser_is_decrypted(name: str, lab: Lab) -> None:
    """Probable, by a product that is named, on this device; the exam may not begin."""
    lab.files.point_to(lab.origin, identity="public")
    async with lab.browser(name, lab.interceptor) as ask:
        decision = await ask(FULL)
    assert view_of(decision) == ("block", "probable", "middleware", ["only-browser-here"]), json.dumps(decision)
    attribution = decision["report"]["results"][0]["attribution"]
    assert (attribution["locality"], attribution["product"].partition(" ")[0]) == ("this-device", "mitmproxy")


@pytest.mark.parametrize("name", BROWSERS)
async def test_both_are_decrypted(name: str, lab: Lab) -> None:
    """Proven, by the program's own probe."""
    lab.files.point_to(lab.interceptor, identity="public")
    async with lab.browser(name, lab.interceptor) as ask:
        decision = await ask(FULL)
    assert view_of(decision) == ("block", "proven", "middleware", ["both"]), json.dumps(decision)
    assert decision["report"]["results"][0]["observation"]["engine"] != "browser"


async def test_chromium_without_the_feature_reports_nothing(lab: Lab) -> None:
    """It is said that the browser gave no certificate; the decision rests on the probe alone."""
    lab.files.point_to(lab.origin, identity="public")
    async with lab.browser("chromium", lab.interceptor, "--disable-features=WebRequestSecurityInfo") as ask:
        decision = await ask(FULL)
    assert view_of(decision) == ("allow", None, "clean", [])
    assert decision["browser"] == [{"endpoint": f"{EXAM}:443", "chains": 0, "not_reported": ["no-api"]}]


async def test_firefox_with_a_proxy_of_its_own(pki: PrivatePKI, tmp_path: Path) -> None:
    """What decrypts is the proxy that only the browser is set to use: probable, and where that proxy runs."""
    files = Files(tmp_path, pki)
    async with (
        serve_origin(files.issued) as origin,
        run_mitmproxy(upstream_hosts={(EXAM, 443): origin.address}) as mitm,
    ):
        files.point_to(origin.port, identity="public")
        lab = Lab(tmp_path, files, pki, origin.port, mitm.port, mitm.ca_certificate)
        async with lab.browser("firefox", 0, proxy=mitm.port) as ask:
            decision = await ask(FULL)
    assert view_of(decision) == ("block", "probable", "middleware", ["only-browser"]), json.dumps(decision)
    (result,) = decision["report"]["results"]
    assert (result["observation"]["route"], result["observation"]["proxy"]["port"]) == ("http-connect", mitm.port)
    assert "the configured proxy runs on this device" in result["attribution"]["basis"]
