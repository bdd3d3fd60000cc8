"""The pages as people get them: on a phone, in a browser, on paper, and by accessibility tools (WCAG 2.2 AA)."""

from __future__ import annotations

import datetime as dt
import html.parser
import itertools
import re
import subprocess
from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from support.browser import Browser, chromium
from support.example_runs import example_runs
from support.results import gather, intercepted, possible, stale_pins
from support.system import program

from detector.history.dossier import Item
from detector.model import Confidence, Verdict
from detector.report import html as page
from detector.report import learn_more
from detector.report.html import TEMPLATES, render_dossier
from detector.report.timeline import TimelineEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from conftest import World

    from detector.model import Report, Result

NOW: Final = dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC)
AXE: Final = "axe-core@4.14.1"
"""From npm, for this test only: the accessibility checker that browsers' own tools use."""
PAGES_MOST: Final = 6
"""Sheets of A4 for forty intercepted hosts."""
NARROWEST: Final = 320
"""CSS pixels to which pages must fit without scrolling in two dimensions (WCAG 2.2, 1.4.10)."""
TARGET_LEAST: Final = 24
"""CSS pixels of a target that is not part of a sentence, in both directions (WCAG 2.2, 2.5.8)."""
A4_POINTS: Final = (595.28, 841.89)
"""ISO 216, in points of 1/72 inch."""
TEXT_CONTRAST: Final = 4.5
"""WCAG 2.2, 1.4.3."""
GRAPHIC_CONTRAST: Final = 3.0
"""Parts of graphics that are needed to understand them (WCAG 2.2, 1.4.11)."""
RUNS: Final = [
    TimelineEntry(NOW - dt.timedelta(days=9 * at), place, verdict, confidence, f"run {at}")
    for at, (place, verdict, confidence) in enumerate(
        (
            ("library", Verdict.CLEAN, None),
            ("hall", Verdict.MIDDLEWARE, Confidence.PROVEN),
            ("library", Verdict.MIDDLEWARE, Confidence.POSSIBLE),
            ("hall", Verdict.INCONCLUSIVE, None),
        )
    )
]


@pytest.fixture(scope="module")
def runs(world: World) -> Mapping[str, Report]:
    return example_runs(world)


@pytest.fixture(scope="module")
def pages(runs: Mapping[str, Report]) -> dict[str, str]:
    """A page of every kind: each example, several vantages, more of them than fit side by side, and dossiers."""
    three = [runs["clean"], msgspec.structs.replace(runs["one-of-five"], vantage="hall"), runs["possible"]]
    six = [msgspec.structs.replace(runs["one-of-five"], vantage=f"hall {number}") for number in range(6)]
    items = [Item(run.at, "library", result, "run 1") for run, result in zip(RUNS, _results(), strict=False)]
    found = {name: page([made], timeline=RUNS) for name, made in runs.items()}
    return {
        **found,
        "three vantages": page(three, timeline=RUNS),
        "six vantages": page(six),
        "dossier": render_dossier(gather(items, vantage="library", made=NOW)),
        "empty dossier": render_dossier(gather([], vantage="", made=NOW)),
    }


def _results() -> tuple[Result, ...]:
    return intercepted("exam.example.edu"), possible("lms.example.org"), stale_pins("search.example.com")


class _Structure(html.parser.HTMLParser):
    """The elements of a page with their attributes; of each table its columns and the labels of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: list[tuple[list[str], list[str]]] = []
        self._in_column = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        self.elements.append((tag, attributes))
        self._in_column = attributes.get("scope") == "col"
        if tag == "table":
            self.tables.append(([], []))
        elif tag == "td":
            self.tables[-1][1].append(attributes["data-label"])

    def handle_data(self, data: str) -> None:
        if self._in_column:
            self.tables[-1][0].append(data)
            self._in_column = False


def structure(text: str) -> _Structure:
    reader = _Structure()
    reader.feed(text)
    reader.close()
    return reader


def test_structure(pages: dict[str, str]) -> None:
    """Landmarks, a language, one top heading, no level left out, ids once, and no broken link."""
    for name, text in pages.items():
        elements = structure(text).elements
        tags = [tag for tag, _ in elements]
        assert [tags.count(tag) for tag in ("html", "header", "main", "footer", "h1")] == [1] * 5, name
        assert elements[0] == ("html", {"lang": "en"})
        levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in itertools.pairwise([0, *levels])), name
        ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        led = {attributes["href"].removeprefix("#") for tag, attributes in elements if tag == "a"}
        labels = {attributes["aria-labelledby"] for _, attributes in elements if "aria-labelledby" in attributes}
        assert led | labels <= set(ids), name
        assert all("aria-labelledby" in attributes for tag, attributes in elements if tag in {"section", "article"})


def test_every_picture_has_a_text(pages: dict[str, str]) -> None:
    """A picture is an image with a text of its own; a mark within one is part of it, one outside is hidden."""
    for name, text in pages.items():
        for svg in re.findall(r"<svg [^>]*>", text):
            is_part = 'overflow="visible"' in svg or 'aria-hidden="true"' in svg
            assert is_part or re.search(r'role="img" aria-labelledby="[\w-]+"', svg), (name, svg)
        for said in re.findall(r'<title id="[\w-]+">([^<]*)</title>', text):
            assert len(said) > 30, (name, said)


def test_marks_differ_without_color(pages: dict[str, str]) -> None:
    """On the timeline each verdict has a shape of its own, and the legend explains those that occur."""
    shapes = {"clean-mark": "circle", "intercepted-mark": "path", "uncertain-mark": "path"}
    text = pages["clean"]
    for mark, shape in shapes.items():
        drawn = set(re.findall(rf'<(\w+) class="{mark}"( d="[^"]*")?', text))
        assert {element for element, _ in drawn} == {shape}
        assert len(drawn) == 1
        assert text.count(f'class="{mark}"') == 2 + (mark == "uncertain-mark")  # one or two runs, and the legend
    legend = text[text.index('class="legend"') :]
    assert [words in legend for words in ("clean", "TLS interception", "uncertain, or not assessed")] == [True] * 3


def test_cells_carry_their_column(pages: dict[str, str]) -> None:
    """Where cards replace a table, each cell says which column it is."""
    rows = 0
    for name, text in pages.items():
        for columns, labels in structure(text).tables:
            width = len(columns) - 1
            assert labels == columns[1:] * (len(labels) // width), name
            rows += len(labels) // width
    assert rows > 100


def test_every_certificate_once(runs: Mapping[str, Report], pages: dict[str, str]) -> None:
    """A CA that signed for 34 hosts is on the page once, with all of them, and every host's evidence leads to it."""
    text = pages["intercepted-40"]
    chains = [result.observation.chain for result in runs["intercepted-40"].results]
    different = {certificate.sha256 for chain in chains for certificate in chain}
    assert text.count("-----BEGIN CERTIFICATE-----") == len(different) < sum(map(len, chains))
    assert all(text.count(f"<code>{sha256}</code>") == 1 for sha256 in different)
    shared = re.search(r'<details id="certificate-2" .*?</details>', text, re.DOTALL)
    assert shared is not None
    hosts = [result.endpoint.host for result in runs["intercepted-40"].results[:34]]
    assert ", ".join(hosts) in shared[0]


def test_one_interceptor_once(runs: Mapping[str, Report], pages: dict[str, str]) -> None:
    """Each interceptor has one picture and its hosts by category, however many hosts and vantages there are."""
    text = pages["intercepted-40"]
    parties = re.findall(r'<article class="party".*?</article>', text, re.DOTALL)
    assert [party.count("TLS ends here</text>") for party in parties] == [1, 1]
    assert "Fortinet" in parties[0]
    assert "<dt>exams</dt><dd>exam.example.edu</dd>" in parties[0]
    assert "<dt>courses</dt><dd>lms.example.org, files.lms.example.org</dd>" in parties[0]
    assert "CN=Campus Filter CA" in parties[1]
    two = page([runs["one-of-five"], msgspec.structs.replace(runs["one-of-five"], vantage="hall")])
    assert two.count('<article class="party"') == 1
    assert "<dt>seen from</dt><dd>library, hall</dd>" in two


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("possible", "TLS may end here"),
        ("offline", "TLS may end here"),
        ("portal", "A sign-in page answers"),
        ("stale-pins", "One TLS connection from this device to exam.example.edu, as far as can be seen."),
        ("clean", "One TLS connection from this device to 8 servers, as far as can be seen."),
    ],
)
def test_the_picture_accuses_no_more_than_the_verdict(name: str, words: str, pages: dict[str, str]) -> None:
    """Below probable the picture is amber and names nobody; stale pins and sign-in pages are called what they are."""
    parties = re.findall(r'<article class="party".*?</article>', pages[name], re.DOTALL)
    assert len(parties) == 1
    assert words in parties[0]
    assert not re.search(r'class="bad"|broken|ends here|Campus', parties[0])


def test_exempts_exams_and_courses(pages: dict[str, str]) -> None:
    """Only hosts of exams and courses are listed for exemption, of forty."""
    listed = re.search(
        r"Hosts to exempt from TLS interception</h3>\n<pre>(.*?)</pre>", pages["intercepted-40"], re.DOTALL
    )
    assert listed is not None
    assert listed[1].split() == ["exam.example.edu", "lms.example.org", "files.lms.example.org"]


def test_no_network_is_said_once(pages: dict[str, str]) -> None:
    """Where nothing was reached, the page says what to do in one sentence and names no host in it."""
    text = pages["no-network"]
    assert text.count("Check that this device is online, then try again.") == 1
    assert "What to do</h2>" not in text
    assert "typing errors" not in text


def test_findings_lead_to_what_they_mean(runs: Mapping[str, Report], pages: dict[str, str]) -> None:
    """Every finding of a report leads to its meaning on the page, which has the address of its page in the docs."""
    for name, made in runs.items():
        findings = {(f.check, f.outcome) for result in made.results for f in result.findings}
        for check, outcome in findings:
            assert f'<a href="#{check}-{outcome}">{check}: {outcome}</a>' in pages[name]
            assert f'<dt id="{check}-{outcome}">' in pages[name]
            assert f"<code>docs/findings/{check}.md#{outcome}</code>" in pages[name]
    assert '<a href="#chain-private">private</a>: 2' in pages["dossier"]


def test_a_published_address_is_a_link(runs: Mapping[str, Report], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the documentation has a public address, changing one constant makes every address a link to it."""
    monkeypatch.setattr(learn_more, "FINDING_PAGE", "https://docs.example/findings/{check}.html#{outcome}")
    learn_more._explanations.cache_clear()
    text = page([runs["clean"]])
    learn_more._explanations.cache_clear()
    assert '<a href="https://docs.example/findings/chain.html#accepted">' in text


def _colors(css: str) -> dict[str, dict[str, str]]:
    """The colors of the style sheet by scheme and name."""
    light, dark = re.findall(r":root \{ (--ink.*?) \}", css, re.DOTALL)
    return {
        scheme: dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for scheme, block in (("light", light), ("dark", dark))
    }


def _luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2, from sRGB)."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted(map(_luminance, (one, other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


TEXT_PAIRS: Final = (
    *itertools.product(("ink", "dim", "link"), ("paper", "panel")),
    *((tone, f"{tone}-paper") for tone in ("good", "bad", "unsure")),
    *itertools.product(("ink", "dim"), ("good-paper", "bad-paper", "unsure-paper")),
    *itertools.product(("good", "bad", "unsure"), ("paper", "panel")),
)
"""Text and what it is on: words of a tone also stand in badges on panels."""
GRAPHIC_PAIRS: Final = (
    *itertools.product(("edge", "good", "bad", "unsure", "dim"), ("paper", "panel")),
    *((tone, f"{tone}-paper") for tone in ("good", "bad", "unsure")),
    *itertools.product(("link",), ("paper", "panel")),
)
"""Lines of pictures, marks and the focus, and what they are on."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: str) -> None:
    """Every pair of colors that meet has the contrast that WCAG asks for, in both schemes."""
    colors = _colors((TEMPLATES / "report.css").read_text("utf-8"))[scheme]
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    found = {pair: _contrast(*(colors[name] for name in pair)) for pair in (*TEXT_PAIRS, *GRAPHIC_PAIRS)}
    assert [pair for pair in TEXT_PAIRS if found[pair] < TEXT_CONTRAST] == []
    assert [pair for pair in GRAPHIC_PAIRS if found[pair] < GRAPHIC_CONTRAST] == []


def test_every_color_is_a_named_one() -> None:
    """The style sheet uses no color but those whose contrast is computed, and one for lines that only decorate."""
    rules = re.sub(r":root \{.*?\}", "", (TEMPLATES / "report.css").read_text("utf-8"), flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgba?\(|hsla?\(", rules)
    used = set(re.findall(r"var\(--([\w-]+)\)", rules))
    assert used - {"line"} == {name for pair in (*TEXT_PAIRS, *GRAPHIC_PAIRS) for name in pair}


@pytest.fixture
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browser]:
    """A browser that prefers light colors, or what the parameter says."""
    dark = getattr(request, "param", "light") == "dark"
    with chromium(tmp_path / "profile", f"--blink-settings=preferredColorScheme={0 if dark else 1}") as driven:
        yield driven


def _open(browser: Browser, text: str, folder: Path, *, unfolded: bool = True) -> None:
    file = folder / "page.html"
    file.write_text(text, "utf-8")
    browser.open(file.as_uri())
    if unfolded:
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    npm = program("npm")
    subprocess.run([npm, "install", "--silent", "--prefix", str(folder), AXE], check=True, capture_output=True)  # noqa: S603 - npm, by its path
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.mark.lab
@pytest.mark.parametrize(("browser", "width"), [("light", 1280), ("dark", 390)], indirect=["browser"])
def test_axe_finds_nothing(width: int, browser: Browser, axe: str, pages: dict[str, str], tmp_path: Path) -> None:
    """No violation of any rule of axe, targets included, light and dark, as rendered.

    Everything is unfolded, but for forty times the same.
    """
    browser.resize(width)
    for name, text in pages.items():
        _open(browser, text, tmp_path, unfolded=name != "intercepted-40")
        options = "{resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}"
        found = browser.run(f"{axe}; return axe.run(document, {options})")
        assert [(v["id"], v["impact"], v["nodes"][0]["html"][:120]) for v in found["violations"]] == [], name
        assert len(found["passes"]) > 15


@pytest.mark.lab
def test_reflows(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    """On the narrowest screen nothing sticks out, whatever is unfolded, and every cell is seen, with its column."""
    browser.resize(NARROWEST)
    for name, text in pages.items():
        _open(browser, text, tmp_path)
        wide = """return [...document.querySelectorAll('main *, header *, footer *')].filter(e => {
            const box = e.getBoundingClientRect();
            return box.right > innerWidth + 1 && !e.closest('thead');
        }).map(e => e.outerHTML.slice(0, 100))"""
        assert browser.run(wide) == [], name
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), name
        cells = """return [...document.querySelectorAll('.cards td')].map(e =>
            [getComputedStyle(e).display, e.getBoundingClientRect().width > 100,
             getComputedStyle(e, '::before').content.includes(e.dataset.label)])"""
        assert {tuple(cell) for cell in browser.run(cells)} <= {("block", True, True)}, name


@pytest.mark.lab
def test_targets_and_focus(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    """What can be pressed is large enough unless it is part of a sentence, and the keyboard's place is seen."""
    browser.resize(390)
    for name in ("intercepted-40", "dossier"):
        _open(browser, pages[name], tmp_path, unfolded=False)
        small = f"""return [...document.querySelectorAll('summary, th a')].filter(e => {{
            const box = e.getBoundingClientRect();
            return box.width && (box.height < {TARGET_LEAST} || box.width < {TARGET_LEAST});
        }}).map(e => e.outerHTML)"""
        assert browser.run(small) == [], name
        seen = set()
        for _ in range(12):
            browser.keys("\ue004")  # Tab
            tag, style, width = browser.run(
                "const e = document.activeElement, s = getComputedStyle(e);"
                "return [e.tagName, s.outlineStyle, s.outlineWidth]"
            )
            seen.add(tag)
            if tag != "BODY":  # after the last one
                assert (style, width) == ("solid", "3px"), (name, tag)
        assert seen > {"A"}
        browser.run("document.querySelector('details:not([open]) > summary').focus({focusVisible: true})")
        folded = browser.run("return document.querySelectorAll('details:not([open])').length")
        browser.keys(" ")
        assert browser.run("return document.querySelectorAll('details:not([open])').length") == folded - 1


def _printed(browser: Browser, folder: Path) -> tuple[int, list[str], list[str]]:
    """What is printed on A4: the number of sheets, the lines, and the words that stick out of their sheet."""
    file = folder / "page.pdf"
    file.write_bytes(browser.pdf())
    lines, boxes = (
        subprocess.run([program("pdftotext"), form, str(file), "-"], check=True, capture_output=True, text=True).stdout  # noqa: S603 - pdftotext, by its path
        for form in ("-layout", "-bbox")
    )
    sheets = re.findall(r'<page width="([\d.]+)" height="([\d.]+)">', boxes)
    assert all((float(width), float(height)) == pytest.approx(A4_POINTS, abs=1) for width, height in sheets)
    words = re.findall(r'<word xMin="([-\d.]+)" yMin="[-\d.]+" xMax="([-\d.]+)" yMax="[-\d.]+">(.*?)</word>', boxes)
    outside = [word for left, right, word in words if float(left) < 0 or float(right) > A4_POINTS[0]]
    assert len(words) > 100
    return len(sheets), [" ".join(line.split()) for line in lines.splitlines()], outside


@pytest.mark.lab
def test_forty_hosts_on_paper(
    browser: Browser, runs: Mapping[str, Report], pages: dict[str, str], tmp_path: Path
) -> None:
    """A few sheets of A4 have every host with its verdict and every certificate's SHA-256, and nothing is cut off."""
    _open(browser, pages["intercepted-40"], tmp_path, unfolded=False)
    sheets, lines, outside = _printed(browser, tmp_path)
    assert 1 < sheets <= PAGES_MOST
    assert outside == []
    text = "\n".join(lines)
    for result in runs["intercepted-40"].results:
        state = "✓ clean logged" if result.verdict is Verdict.CLEAN else "✗ intercepted proven"
        assert sum(line.startswith(f"{result.endpoint.host} {state}") for line in lines) == 1, result.endpoint.host
        assert all(certificate.sha256 in text for certificate in result.observation.chain)
    assert "BEGIN CERTIFICATE" not in text
    assert "The complete evidence is in the HTML file of this report" in text
    assert f"Page {sheets} of {sheets}" in lines


@pytest.mark.lab
@pytest.mark.parametrize("name", ["three vantages", "six vantages", "no-network", "dossier"])
@pytest.mark.parametrize("browser", ["dark"], indirect=True)
def test_no_column_is_lost_on_paper(name: str, browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    """Every table that is printed has all its columns side by side on the sheet, also in a dark browser."""
    _open(browser, pages[name], tmp_path, unfolded=False)
    sheets, lines, outside = _printed(browser, tmp_path)
    assert sheets <= PAGES_MOST
    assert outside == []
    printed = [columns for columns, _ in structure(pages[name]).tables if columns[0] != "When"]
    assert printed
    assert [columns for columns in printed if " ".join(columns) not in lines] == []
