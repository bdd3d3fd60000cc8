"""The review room in a real browser: a review from the sign-in to the audit, accessibility, and what is printed.

Room: tests. Starts Chromium and the application; talks to loopback only. Fetches axe-core from npm.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from support.browser import Browser, chromium
from support.collect_review import Room, served_room
from support.system import program

if TYPE_CHECKING:
    from collections.abc import Iterator

AXE: Final = "axe-core@4.14.1"
"""As for the pages of reports (tests/report/test_pages.py)."""
WIDTHS: Final = (390, 1280)
NARROWEST: Final = 320
"""CSS pixels to which pages must fit without scrolling in two dimensions (WCAG 2.2, 1.4.10)."""

pytestmark = pytest.mark.lab


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run(  # noqa: S603 - npm, by its path
        [program("npm"), "install", "--silent", "--prefix", str(folder), AXE], check=True, capture_output=True
    )
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture(params=["light", "dark"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browser]:
    """A browser that prefers light or dark colors."""
    scheme = f"--blink-settings=preferredColorScheme={0 if request.param == 'dark' else 1}"
    with chromium(tmp_path / "profile", scheme) as driven:
        yield driven


class _Visit:
    """What a person does in the browser."""

    def __init__(self, browser: Browser, origin: str) -> None:
        self.browser, self.origin = browser, origin

    def sign_in(self, name: str) -> None:
        """Sign in on the page of the demonstration, in the place of anyone who is signed in."""
        self.browser.open(f"{self.origin}/sign-in")
        self.press(name)

    def press(self, words: str) -> None:
        """Press the button or link with these words, and wait for what it opens."""
        script = """
            const all = [...document.querySelectorAll('a, button')];
            return all.find(e => e.textContent.trim() === arguments[0])
                ?? all.find(e => e.textContent.includes(arguments[0]));"""
        self.browser.follow(script, words)

    def fill(self, name: str, text: str) -> None:
        """Write into the field of this name."""
        self.browser.type(text, "return document.querySelector(`[name='${arguments[0]}']:not([type=hidden])`)", name)

    def choose(self, value: str) -> None:
        """Choose the next step of a case."""
        self.browser.click("return document.querySelector(`input[value='${arguments[0]}']`)", value)

    @property
    def text(self) -> str:
        """What the page says."""
        found: str = self.browser.run("return document.body.innerText")
        return found


def _review(browser: Browser, origin: str, room: Room) -> None:
    visit = _Visit(browser, origin)
    visit.sign_in("Rita Reviewer")
    assert "2 institutions" in visit.text
    visit.press("North University")
    assert "very probably decrypts" in visit.text
    visit.press("Filter on the campus network")
    visit.choose("ask")
    visit.fill("text", "Is this filter yours? Please answer until 14 December.")
    visit.press("Enter")
    assert "The case is asked" in visit.text
    visit.fill("purpose", "comparing the key with the institution's answer")
    visit.press("Open the evidence")
    visit.press(room.digest[:16])
    assert "Presented here" in visit.text
    assert "Erika" not in visit.text
    visit.press("Show the chains with their names")
    assert "Names are shown as they were presented" in visit.text
    assert "Erika" in browser.run("return document.body.textContent")
    visit.press("Case 1")
    visit.choose("answer")
    visit.fill("text", "It is ours. <script>document.title = 'owned'</script> The exam is exempt now.")
    visit.press("Enter")
    assert "The case is answered" in visit.text
    assert "owned" not in browser.run("return document.title")
    visit.choose("resolve")
    visit.fill("text", "Exempted, and seen clean since.")
    visit.press("Enter")
    assert "The case is resolved" in visit.text
    visit.press("Sign out")
    visit.sign_in("Anna Auditor")
    visit.press("Audit")
    assert "comparing the key with the institution's answer" in visit.text
    assert f"GET /institutions/north/evidence/{room.mark}" in visit.text
    browser.open(f"{origin}/institutions/north")
    assert "Not for you" in visit.text


@pytest.mark.parametrize("browser", ["light"], indirect=True)
async def test_a_review_from_sign_in_to_audit(browser: Browser, tmp_path: Path) -> None:
    """A reviewer signs in, reads, decides, records the answer and resolves; an auditor finds who read what and why."""
    async with served_room(tmp_path) as (room, origin):
        await asyncio.to_thread(_review, browser, origin, room)


def _pages(room: Room) -> dict[str, tuple[str, str]]:
    """Every kind of page, with the person who gets it."""
    at, query = "/institutions/north", f"?case={room.case}&purpose=checking+the+key"
    return {
        "sign-in": ("Rita Reviewer", "/sign-in"),
        "overview": ("Rita Reviewer", "/"),
        "institution": ("Rita Reviewer", at),
        "case": ("Rita Reviewer", f"{at}/cases/{room.case}"),
        "list": ("Rita Reviewer", f"{at}/evidence{query}"),
        "evidence": ("Rita Reviewer", f"{at}/evidence/{room.digest}{query}"),
        "named": ("Rita Reviewer", f"{at}/evidence/{room.digest}/names{query}"),
        "dossier": ("Rita Reviewer", f"{at}/dossier{query}"),
        "missing": ("Rita Reviewer", "/nothing"),
        "forbidden": ("Anna Auditor", "/grants"),
        "audit": ("Anna Auditor", "/audit"),
        "grants": ("Adam Admin", "/grants"),
        "own": ("Lena Learning", "/own"),
        "exports": ("Rita Reviewer", f"{at}/cases/{room.case}/exports"),
    }


def _inspect(browser: Browser, origin: str, room: Room, axe: str) -> None:
    browser.open(f"{origin}/sign-in")
    shots = os.environ.get("REVIEW_SHOTS")
    scheme = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
    for name, (person, path) in _pages(room).items():
        browser.set_cookie("session", room.cookies[person])
        for width in WIDTHS:
            browser.resize(width)
            browser.go(origin + path)
            assert ("Not for you" in browser.run("return document.body.innerText")) is (name == "forbidden")
            browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
            options = "{resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}"
            found = browser.run(f"{axe}; return axe.run(document, {options})")
            broken = [(v["id"], v["impact"], v["nodes"][0]["html"][:120]) for v in found["violations"]]
            assert broken == [], (name, width)
            assert len(found["passes"]) > 15
            if shots:
                browser.resize(width, browser.run("return document.documentElement.scrollHeight"))
                (Path(shots) / f"{name}-{width}-{scheme}.png").write_bytes(browser.picture())
        browser.resize(NARROWEST)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), name


async def test_axe_finds_nothing(browser: Browser, axe: str, tmp_path: Path) -> None:
    """No violation of any rule of axe on any page, on a phone and a desktop, light and dark; and every page reflows."""
    async with served_room(tmp_path) as (room, origin):
        await asyncio.to_thread(_inspect, browser, origin, room, axe)


def _printed(browser: Browser, origin: str, room: Room, folder: Path) -> list[str]:
    visit = _Visit(browser, origin)
    visit.sign_in("Rita Reviewer")
    browser.go(origin + _pages(room)["evidence"][1])
    file = folder / "page.pdf"
    file.write_bytes(browser.pdf())
    text = subprocess.run(  # noqa: S603 - pdftotext, by its path
        [program("pdftotext"), str(file), "-"], check=True, capture_output=True, text=True
    ).stdout
    return text.rstrip("\f").split("\f")


@pytest.mark.parametrize("browser", ["light"], indirect=True)
async def test_every_printed_sheet_has_the_watermark(browser: Browser, tmp_path: Path) -> None:
    """Paper has the reader's name, case and time on every sheet."""
    async with served_room(tmp_path) as (room, origin):
        sheets = await asyncio.to_thread(_printed, browser, origin, room, tmp_path)
    assert len(sheets) > 1
    mark = re.compile(rf"Rita Reviewer \([1-9]\), case {room.case}, 2026-11-30")
    assert all(mark.search(sheet) for sheet in sheets)
