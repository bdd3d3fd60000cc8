"""Dossiers: since when, who, what, how sure; what was tried, what else fits, what is missing."""

from __future__ import annotations

import datetime as dt
import html.parser
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.results import gather, intercepted, possible

from detector.history.dossier import QUESTIONS, Item
from detector.judge.checks import CHECKS, presented
from detector.judge.wording import ALTERNATIVES
from detector.model import Alternative, Confidence, encode
from detector.report.html import render_dossier

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from detector.model import Report

    Make = Callable[..., Report]

NOW = dt.datetime(2026, 11, 25, 9, 30, 15, tzinfo=dt.UTC)
EXAM, LMS = "exam.example.edu:443", "lms.example.org:443"


def items(*reports: Report) -> list[Item]:
    return [
        Item(report.started, report.vantage, result, f"run {at}")
        for at, report in enumerate(reports, 1)
        for result in report.results
    ]


def day(number: int) -> dt.datetime:
    return NOW + dt.timedelta(days=number)


def test_since_when_who_and_what(make_report: Make) -> None:
    """The interceptor, from first to last seen, with each endpoint and how often it was intercepted."""
    seen = items(
        make_report(at=day(0)),
        make_report("First", at=day(1)),
        make_report("First", "First", at=day(3)),
        make_report("down", at=day(4)),
    )
    found = gather(reversed(seen), vantage="library", made=day(9))
    (who,) = found.interceptors
    assert (who.issuer, who.first_seen, who.last_seen) == ("CN=First Filter CA", day(1), day(3))
    assert who.confidence is Confidence.PROVEN
    assert [(e.endpoint, e.times_seen, e.times_checked, e.sources) for e in who.endpoints] == [
        (EXAM, 2, 4, ("run 3", "run 2")),
        (LMS, 1, 4, ("run 3",)),
    ]
    assert found.summary.startswith(
        "At library TLS is intercepted: CN=First Filter CA on 2 of 2 endpoints since 2026-11-26 (proven)"
    )
    assert (found.first, found.last, found.results, found.sources) == (day(0), day(4), 8, 4)


def test_several_interceptors_in_order(make_report: Make) -> None:
    """The one that was seen first comes first."""
    found = gather(items(make_report("Second", at=day(2)), make_report("First", at=day(1))), vantage="", made=NOW)
    assert [who.issuer for who in found.interceptors] == ["CN=First Filter CA", "CN=Second Filter CA"]


def test_what_was_tried(make_report: Make) -> None:
    """Every question that a check asked of what was accused, with its answers."""
    found = gather(items(make_report("First")), vantage="library", made=NOW)
    tried = {t.check: t.outcomes for t in found.tried}
    assert tried["chain"] == {"private": 1}
    assert tried["name"] == {"match": 1}
    assert tried["identity"] == {"stated": 1}


def test_questions_cover_the_checks() -> None:
    """Every check has its question, but for the one that only says that there was a certificate; so have readings."""
    assert set(QUESTIONS) == set(CHECKS) - {presented.ID}
    assert set(ALTERNATIVES) == set(Alternative)


def test_innocent_readings_are_reported(world: World, make_report: Make) -> None:
    """What else could explain it stands there in words, with how often it fitted."""
    stale = world.one("exam.example.edu", world.pki.issue(["exam.example.edu"]), pins=(b"x" * 32,))
    report = msgspec.structs.replace(make_report(), results=(stale,))
    found = gather(items(report), vantage="library", made=NOW)
    assert any("a new key at the server" in reading for reading in found.alternatives)
    assert all(reading.endswith("in 1 of 1 results") for reading in found.alternatives)
    assert any("ever more than possible" in gap for gap in found.gaps)
    ((sentence,),) = (endpoint.why for endpoint in found.uncertain)
    assert sentence.startswith("The pins are probably stale")


def test_what_was_sometimes_sure_and_sometimes_not(make_report: Make) -> None:
    """An endpoint that was proven once and possible another time is counted as each, and named by the sure one only."""
    unsure = possible("exam.example.edu", issuer="CN=Nobody Else CA")
    seen = [*items(make_report("First")), Item(day(1), "library", unsure, "run 2")]
    found = gather(seen, vantage="library", made=NOW)
    assert [(who.issuer, who.endpoints[0].times_seen) for who in found.interceptors] == [("CN=First Filter CA", 1)]
    assert [(e.endpoint, e.times_seen, e.times_checked) for e in found.uncertain] == [(EXAM, 1, 2)]
    assert found.left_alone == (LMS,)
    assert found.summary.endswith("1 of 2 endpoints could not be confirmed as genuine (possible).")
    assert "Nobody Else" not in render_dossier(found)


def test_probable_is_not_said_to_be_sure() -> None:
    """A party that was never more than probable is said to intercept very probably."""
    result = intercepted("exam.example.edu", confidence=Confidence.PROBABLE)
    found = gather([Item(NOW, "library", result, "run 1")], vantage="library", made=NOW)
    assert found.summary.startswith("At library TLS is very probably intercepted: CN=Campus Filter CA")


def test_gaps_are_reported(make_report: Make) -> None:
    """Pauses, what could not be assessed, unfinished runs, no witness, no signature: said as plainly as the finding."""
    seen = items(make_report("down", at=day(0)), make_report("down", at=day(30)))
    gaps = " ".join(gather(seen, vantage="library", made=day(31), unfinished_runs=2).gaps)
    for said in (
        "Nothing was checked for 29 days, between 2026-11-25 and 2026-12-25.",
        "1 endpoints could never be assessed",
        "2 runs were interrupted",
        "No witness took part",
        "2 of 2 sources are rows of a database",
    ):
        assert said in gaps
    assert "All of it was seen on one day." in gather(items(make_report()), vantage="", made=NOW).gaps


def test_clean_place_and_unknown_place(make_report: Make) -> None:
    """Where nothing was seen, that is said, and no more."""
    clean = gather(items(make_report()), vantage="library", made=NOW)
    assert clean.summary == "No TLS interception was seen at library, on 2 endpoints in 2 results."
    assert clean.left_alone == (EXAM, LMS)
    assert gather([], vantage="x", made=NOW).summary == "Nothing is known of x."


@pytest.mark.parametrize("states", [("First", "Second"), ("genuine", "genuine"), ("down", "down")])
def test_as_json_and_as_a_page(make_report: Make, states: tuple[str, str]) -> None:
    """Both forms hold the same; the page loads and runs nothing, whatever an issuer calls itself."""
    report = make_report(*states)
    found = gather(items(report), vantage="<script>x</script>\u202e", made=NOW)
    assert msgspec.json.decode(encode(found))["summary"] == found.summary
    tags: set[str] = set()

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            assert not any(name.startswith("on") or name in {"src", "style"} for name, _ in attrs)

    page = render_dossier(found)
    Reader().feed(page)
    assert "script" not in tags
    assert "\u202e" not in page
    assert "What the evidence does not show" in page
