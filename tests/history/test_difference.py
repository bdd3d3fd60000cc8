"""What changed between two reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from support.results import clean, intercepted, possible, report, silent

from detector.history.difference import ChangeKind, compare
from detector.model import Confidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from detector.model import Report

    Make = Callable[..., Report]

EXAM = "exam.example.edu:443"


@pytest.mark.parametrize(
    ("before", "after", "kind", "said"),
    [
        ("genuine", "First", ChangeKind.INTERCEPTED, "intercepted now (proven), by CN=First Filter CA."),
        ("down", "First", ChangeKind.INTERCEPTED, "intercepted now"),
        ("First", "genuine", ChangeKind.NO_LONGER_INTERCEPTED, "no longer intercepted; clean (logged)."),
        ("First", "Second", ChangeKind.OTHER_INTERCEPTOR, "by CN=Second Filter CA instead of CN=First Filter CA."),
        ("genuine", "down", ChangeKind.NOT_ASSESSED, "could not be assessed"),
        ("down", "genuine", ChangeKind.ASSESSED_AGAIN, "could be assessed again; clean (logged)."),
    ],
)
def test_kinds(make_report: Make, before: str, after: str, kind: ChangeKind, said: str) -> None:
    """Each kind of change has its name and one sentence; the other endpoint is not mentioned."""
    (change,) = compare(make_report(before), make_report(after)).changes
    assert (change.kind, change.endpoint) == (kind, EXAM)
    assert said in change.summary


def test_nothing_changed(make_report: Make) -> None:
    """Two runs that saw the same have no changes, whatever that was."""
    for state in ("genuine", "First", "down"):
        assert compare(make_report(state), make_report(state)).changes == ()


def test_stale_pins_are_no_interception(make_report: Make, world: World) -> None:
    """A public, logged certificate that is not pinned is reported as stale pins, not as interception."""
    stale = world.one("exam.example.edu", world.pki.issue(["exam.example.edu"]), pins=(b"x" * 32,))
    before = make_report()
    after = msgspec.structs.replace(before, results=(stale, before.results[1]))
    (change,) = compare(before, after).changes
    assert change.kind is ChangeKind.PINS_STALE
    assert "stale" in change.summary
    assert compare(after, after).changes == ()


STATES = {
    "clean": clean("exam.example.edu"),
    "possible": possible("exam.example.edu"),
    "probable": intercepted("exam.example.edu", confidence=Confidence.PROBABLE),
    "proven": intercepted("exam.example.edu"),
    "down": silent("exam.example.edu"),
}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("clean", "possible", ChangeKind.UNCERTAIN),
        ("down", "possible", ChangeKind.UNCERTAIN),
        ("possible", "probable", ChangeKind.SURER),
        ("probable", "proven", ChangeKind.SURER),
        ("proven", "probable", ChangeKind.LESS_SURE),
        ("probable", "possible", ChangeKind.LESS_SURE),
        ("possible", "clean", ChangeKind.NO_LONGER_UNCERTAIN),
        ("possible", "down", ChangeKind.NOT_ASSESSED),
        ("down", "probable", ChangeKind.INTERCEPTED),
    ],
)
def test_words_follow_confidence(before: str, after: str, kind: ChangeKind) -> None:
    """What is only possible is uncertain, names nobody, and is never said to be intercepted."""
    (change,) = compare(report(STATES[before]), report(STATES[after])).changes
    assert change.kind is kind
    if after in {"clean", "possible", "down"}:
        assert "intercepted" not in change.summary
        assert "Campus" not in change.summary


def test_endpoints_come_and_go(make_report: Make) -> None:
    """An endpoint that only one of the runs checked is reported as such."""
    both = make_report()
    one = msgspec.structs.replace(both, results=both.results[:1])
    assert [c.kind for c in compare(one, both).changes] == [ChangeKind.ADDED]
    assert [c.kind for c in compare(both, one).changes] == [ChangeKind.REMOVED]


def test_sureness(make_report: Make) -> None:
    """The same interceptor, surer or less sure."""
    proven = make_report("First")
    result = msgspec.structs.replace(proven.results[0], confidence=Confidence.PROBABLE)
    probable = msgspec.structs.replace(proven, results=(result, proven.results[1]))
    assert [c.kind for c in compare(probable, proven).changes] == [ChangeKind.SURER]
    assert [c.kind for c in compare(proven, probable).changes] == [ChangeKind.LESS_SURE]


def test_what_else_differed_is_noted(make_report: Make) -> None:
    """Another place, other roots, other logs or another version could explain a change: said."""
    before = make_report()
    roots, logs, *others = before.knowledge
    other = (msgspec.structs.replace(roots, version="2"), msgspec.structs.replace(logs, name="other"), *others)
    after = msgspec.structs.replace(before, vantage="home", knowledge=other, detector_version="9")
    _, knowledge, _ = compare(before, after).notes
    assert "public roots test roots 2" in knowledge
    assert "CT logs other" in knowledge
    assert "catalogue" not in knowledge
    assert compare(before, before).notes == ()


def test_worst_first(make_report: Make) -> None:
    """What matters most stands first, whatever the order of endpoints."""
    changes = compare(make_report("First", "genuine"), make_report("genuine", "First")).changes
    assert [c.kind for c in changes] == [ChangeKind.INTERCEPTED, ChangeKind.NO_LONGER_INTERCEPTED]
