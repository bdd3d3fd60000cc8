"""The HTML report: what it says, and what it must never let in. test_pages.py has what browsers make of it."""

from __future__ import annotations

import datetime as dt
import html.parser
import itertools
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.browser import chromium

from detector.judge import network
from detector.judge.checks import chain
from detector.model import (
    Category,
    Confidence,
    Coverage,
    FailedAttempt,
    Finding,
    Hello,
    Meaning,
    Outcome,
    PresentedCertificate,
    Report,
    Result,
    Route,
    Verdict,
)
from detector.report import html as page
from detector.report import picture
from detector.report.timeline import TimelineEntry
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import World

NOW = dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC)
PAYLOADS = (
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=document.title='owned'>",
    "</style><script>document.title='owned'</script>",
    "</title></svg><svg onload=document.title='owned'>",
    "{{ 7 * 7 }}{% for x in ().__class__.__mro__ %}{{ x }}{% endfor %}",
    "javascript:document.title='owned'",
    "&lt;b&gt;&#x3c;script&#x3e;",
    "\u202egnirts\u202c \u0000\u2028\ufeff",
    "]]><!--",
)


def report(world: World, results: list[Result], vantage: str = "library") -> Report:
    return network.report(results, world.context(), started=NOW, finished=NOW, vantage=vantage, version="0.0")


@pytest.fixture(scope="module")
def intercepted(world: World) -> Report:
    """Two endpoints intercepted by one private CA, one left alone."""
    ca = world.pki.private_ca("Riverside Web Filter CA")
    genuine = world.pki.issue(["bank.example.net"])
    stated = tuple(world.roots.labels)
    exam, lms = ca.issue(["exam.example.edu"]), ca.issue(["lms.example.org"])
    return report(
        world,
        world.judge(
            world.case("exam.example.edu", exam, category=Category.EXAM, pins=(b"p" * 32,), roots=stated),
            world.case("lms.example.org", lms, category=Category.LMS, roots=stated),
            world.case("bank.example.net", genuine, category=Category.BANK, pins=(genuine.spki_sha256,)),
        ),
    )


@pytest.fixture(scope="module")
def clean(world: World) -> Report:
    """The same endpoints where nothing intercepts."""
    hosts = {"exam.example.edu": Category.EXAM, "lms.example.org": Category.LMS, "bank.example.net": Category.BANK}
    cases = [world.case(host, world.pki.issue([host]), category=category) for host, category in hosts.items()]
    return report(world, world.judge(*cases), "home")


def hostile(text: str, like: Report) -> Report:
    """A report in which everything that a peer can write is `text`."""

    def poisoned(certificate: PresentedCertificate) -> PresentedCertificate:
        return msgspec.structs.replace(certificate, subject=text, issuer=text, serial=text)

    def all_over(result: Result) -> Result:
        seen = msgspec.structs.replace(
            result.observation,
            chain=tuple(map(poisoned, result.observation.chain)),
            address=text,
            alpn=text,
            cipher=text,
        )
        reported = (
            *result.findings,
            Finding(check="of-another-version", outcome=text, says=Meaning.NEUTRAL, summary=text, data={text: text}),
        )
        who = result.attribution and msgspec.structs.replace(result.attribution, issuer=text, basis=text, product=text)
        return msgspec.structs.replace(
            result,
            observation=seen,
            findings=reported,
            attribution=who,
            advice_for=dict.fromkeys(result.advice_for, text),
        )

    return msgspec.structs.replace(
        like,
        vantage=text,
        results=tuple(map(all_over, like.results)),
        interceptors=tuple(msgspec.structs.replace(i, issuer=text, vendor=text) for i in like.interceptors),
    )


class _Elements(html.parser.HTMLParser):
    """Every element with its attributes, and the text outside the style sheet."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> _Elements:
    reader = _Elements()
    reader.feed(text)
    reader.close()
    return reader


def test_says_what_the_table_says(intercepted: Report) -> None:
    """The verdict sentence, the hosts to exempt, the coverage and every endpoint are on the page."""
    text = parsed(page([intercepted])).text
    assert "INTERCEPTED (proven: no innocent reason fits): TLS is intercepted on 2 of 3 hosts" in text
    assert "exam.example.edu\nlms.example.org" in text
    assert "By category: exams and courses intercepted; banking left alone." in text
    assert "Riverside Web Filter CA" in text
    assert "genuine certificate leads to a public root, but a different certificate was presented for its name." in text
    assert not re.search(r"\brow \d", text)


def test_several_vantages_are_a_matrix(clean: Report, intercepted: Report) -> None:
    """Each endpoint has a cell for each vantage, and the chain seen where it is clean is what was to be expected."""
    text = parsed(page([clean, intercepted])).text
    assert "INTERCEPTED: 2 vantages; intercepted (proven) from library; clean from home." in text
    assert "Presented elsewhere (home)" in text
    assert "intercepted in part" in text


@pytest.mark.parametrize(
    ("states", "merged"),
    [
        (("clear", "decrypted"), "≠ intercepted in part"),
        (("decrypted", "mixed"), "≠ intercepted in part"),
        (("mixed", "clear"), "≠ intercepted in part"),
        (("uncertain", "decrypted"), "≠ intercepted in part"),
        (("unknown", "decrypted"), "✗ intercepted"),
        (("unknown", "clear"), "✓ left alone"),
        (("uncertain", "clear"), "? uncertain"),
        (("uncertain", "unknown"), "? uncertain"),
        (("clear", "clear", "decrypted", "decrypted"), "≠ intercepted in part"),
    ],
)
def test_coverage_of_several_vantages(states: tuple[str, ...], merged: str, clean: Report) -> None:
    """Intercepted in part stays that, in any order; what was not seen says nothing against what was."""
    for order in itertools.permutations(states):
        reports = [msgspec.structs.replace(clean, coverage={Category.EXAM: Coverage(state)}) for state in order]
        assert f"exams{merged}\n" in parsed(page(reports)).text


def test_history_is_a_timeline(clean: Report) -> None:
    """Runs of the past are drawn, and listed for readers who cannot see the drawing."""
    runs = [
        TimelineEntry(
            NOW - dt.timedelta(days=day), "library", Verdict.MIDDLEWARE, Confidence.PROVEN, "exam intercepted"
        )
        for day in range(3)
    ]
    text = page([clean], timeline=runs)
    assert text.count('class="intercepted-mark"') == 3 + 1  # and one in the legend
    assert "exam intercepted" in text


def test_loads_and_runs_nothing(clean: Report, intercepted: Report) -> None:
    """No script, no style attribute, no address but places on the page itself, and a policy that says so."""
    elements = parsed(page([clean, intercepted])).elements
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "form", "base", "foreignobject", "use", "image"}
    for _, attributes in elements:
        assert "style" not in attributes
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for _, a in elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_a_certificate_says_stays_text(payload: str, intercepted: Report) -> None:
    """Markup in a name adds no element and no attribute, and invisible characters are written out."""
    tame, wild = page([hostile("text", intercepted)]), page([hostile(payload, intercepted)])
    assert [tag for tag, _ in parsed(wild).elements] == [tag for tag, _ in parsed(tame).elements]
    assert [sorted(a) for _, a in parsed(wild).elements] == [sorted(a) for _, a in parsed(tame).elements]
    assert not re.search("[\u0000-\u0008\u200b-\u200f\u2028-\u202e\ufeff]", wild)


@given(st.text(max_size=60))
def test_any_name_stays_text(intercepted: Report, name: str) -> None:
    """Whatever characters a name has, the page keeps its elements."""
    tame, wild = page([hostile("text", intercepted)]), page([hostile(name, intercepted)])
    assert [tag for tag, _ in parsed(wild).elements] == [tag for tag, _ in parsed(tame).elements]


@pytest.mark.parametrize("outcome", [chain.Outcome(kind.value) for kind in ChainClass])
def test_every_class_has_a_top(outcome: chain.Outcome, clean: Report) -> None:
    """What is above the chain is drawn for each class: a chain that only seems to lead somewhere leads no further."""
    finding = Finding(check=chain.ID, outcome=outcome, says=Meaning.NEUTRAL, summary="", data={"roots": ["Root X"]})
    result = msgspec.structs.replace(clean.results[0], findings=(finding,), verdict=Verdict.INCONCLUSIVE)
    drawn = picture.chains(result)[0]
    top = [box for box in drawn.boxes if box.kind in {"root", "doubtful"}][-1]
    leads = outcome.value in {"accepted", "declared", "retired"}
    assert top.kind == ("root" if leads else "doubtful")
    assert top.lines[0] == "Root X"
    assert ("leads no further" in {arrow.label for arrow in drawn.arrows}) is not leads


def test_picture_is_bounded(world: World) -> None:
    """A chain of two hundred certificates is drawn as a few, and said to be longer."""
    leaf = world.pki.issue(["exam.example.edu"]).leaf
    result = world.one("exam.example.edu", [leaf] * 200)
    drawn = picture.chains(result)[0]
    assert len(drawn.boxes) < 16
    assert any(box.lines == ("192 more",) for box in drawn.boxes)


def test_nothing_presented_draws_nothing(world: World) -> None:
    """An endpoint that could not be reached has no picture, and the page still comes."""
    result = world.one("exam.example.edu", [])
    assert picture.chains(result) == []
    assert "INCONCLUSIVE" in page([report(world, [result])])


def test_earlier_connections_are_listed(world: World) -> None:
    """The page says which hello got the certificate, and which connections failed before."""
    earlier = (
        FailedAttempt(outcome=Outcome.RESET, address="192.0.2.1:443"),
        FailedAttempt(outcome=Outcome.RESET, small_hello=True, address="192.0.2.1:443"),
    )
    widest = {"route": Route.DIRECT, "hello": Hello.WIDEST, "earlier": earlier, "address": "192.0.2.1:443"}
    (result,) = world.judge(world.case("exam.example.edu", world.pki.issue(["exam.example.edu"]), seen=widest))
    shown = html.unescape(page([report(world, [result])]))
    assert (
        "the widest hello; earlier: Chrome's hello, 192.0.2.1:443 (reset); Chrome's hello, without an ML-KEM" in shown
    )
    assert "No certificate answers Chrome's hello (reset); this one answers the widest hello." in shown


def test_no_report_is_refused() -> None:
    """There is no page about nothing."""
    with pytest.raises(ValueError, match="at least one report"):
        page([])


@pytest.mark.lab
def test_real_browser_runs_nothing_and_keys_suffice(intercepted: Report, tmp_path: Path) -> None:
    """Hostile names run nowhere; the style sheet is let in; Tab and Enter reach and unfold the evidence."""
    file = tmp_path / "report.html"
    file.write_text(page([hostile("".join(PAYLOADS), intercepted)]), "utf-8")
    with chromium(tmp_path / "profile") as browser:
        browser.open(file.as_uri())
        assert "owned" not in browser.run("return document.title")
        assert browser.run("return getComputedStyle(document.querySelector('.verdict')).borderLeftStyle") == "solid"
        closed = "return document.querySelectorAll('details[id]:not([open])').length"
        before = browser.run(closed)
        assert before > 0
        browser.run("document.querySelector('details[id]:not([open]) > summary').focus({focusVisible: true})")
        browser.keys("\ue007")  # Enter
        assert browser.run(closed) == before - 1
        browser.open(file.as_uri())
        browser.keys("\ue004")  # Tab
        assert browser.run("return document.activeElement.className") == "skip"
