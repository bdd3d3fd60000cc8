"""What changed between two reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

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
        ("genuine", "First", ChangeKind.DECRYPTED, "is decrypted now (proven), by CN=First Filter CA."),
        ("down", "First", ChangeKind.DECRYPTED, "is decrypted now"),
        ("First", "genuine", ChangeKind.NO_LONGER_DECRYPTED, "is no longer decrypted (logged)."),
        ("First", "Second", ChangeKind.OTHER_INTERCEPTOR, "by CN=Second Filter CA instead of CN=First Filter CA."),
        ("genuine", "down", ChangeKind.NOT_JUDGED, "could not be judged"),
        ("down", "genuine", ChangeKind.JUDGED_AGAIN, "could be judged again: clean (logged)."),
    ],
)
def test_kinds(make_report: Make, before: str, after: str, kind: ChangeKind, said: str) -> None:
    """Each way an endpoint can change is told by its name, in one sentence; the other endpoint is not mentioned."""
    (change,) = compare(make_report(before), make_report(after)).changes
    assert (change.kind, change.endpoint) == (kind, EXAM)
    assert said in change.summary


def test_nothing_changed(make_report: Make) -> None:
    """Two runs that saw the same have no changes, whatever that was."""
    for state in ("genuine", "First", "down"):
        assert compare(make_report(state), make_report(state)).changes == ()


def test_stale_pins_are_no_interception(make_report: Make, world: World) -> None:
    """A public, logged certificate that is not pinned is told as stale pins, not as decryption."""
    stale = world.one("exam.example.edu", world.pki.issue(["exam.example.edu"]), pins=(b"x" * 32,))
    before = make_report()
    after = msgspec.structs.replace(before, results=(stale, before.results[1]))
    (change,) = compare(before, after).changes
    assert change.kind is ChangeKind.PINS_STALE
    assert "stale" in change.summary


def test_endpoints_come_and_go(make_report: Make) -> None:
    """An endpoint that only one of the runs checked is told as such."""
    both = make_report()
    one = msgspec.structs.replace(both, results=both.results[:1])
    assert [c.kind for c in compare(one, both).changes] == [ChangeKind.ADDED]
    assert [c.kind for c in compare(both, one).changes] == [ChangeKind.REMOVED]


def test_sureness(make_report: Make) -> None:
    """The same interceptor, surer or less sure."""
    proven = make_report("First")
    result = msgspec.structs.replace(proven.results[0], confidence=Confidence.POSSIBLE)
    possible = msgspec.structs.replace(proven, results=(result, proven.results[1]))
    assert [c.kind for c in compare(possible, proven).changes] == [ChangeKind.SURER]
    assert [c.kind for c in compare(proven, possible).changes] == [ChangeKind.LESS_SURE]


def test_what_else_differed_is_noted(make_report: Make) -> None:
    """Another place, other roots, other logs or another version could explain a change: said."""
    before = make_report()
    roots, logs, catalogue = before.knowledge
    other = (msgspec.structs.replace(roots, version="2"), msgspec.structs.replace(logs, name="other"), catalogue)
    after = msgspec.structs.replace(before, vantage="home", knowledge=other, detector_version="9")
    _, knowledge, _ = compare(before, after).notes
    assert "public roots test roots 2" in knowledge
    assert "CT logs other" in knowledge
    assert "catalogue" not in knowledge
    assert compare(before, before).notes == ()


def test_worst_first(make_report: Make) -> None:
    """What matters most stands first, whatever the order of endpoints."""
    changes = compare(make_report("First", "genuine"), make_report("genuine", "First")).changes
    assert [c.kind for c in changes] == [ChangeKind.DECRYPTED, ChangeKind.NO_LONGER_DECRYPTED]
