"""How a case proceeds: every cell of the table, and nothing that edits or deletes.

Room: tests. In memory.
"""

from __future__ import annotations

import itertools

import pytest
from detector_collect.review.cases import (
    RULES,
    TEXT_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
    ChangedError,
    EntryKind,
    State,
    Step,
    StepError,
    opening,
    require_unchanged,
    steps,
    take,
)

OPEN, ASKED, ANSWERED, RESOLVED, REVIEW = (
    State.OPEN,
    State.ASKED,
    State.ANSWERED,
    State.RESOLVED,
    State.RIGHTS_UNDER_REVIEW,
)
LEADS_TO = {
    (OPEN, Step.ASK): ASKED,
    (OPEN, Step.RESOLVE): RESOLVED,
    (ASKED, Step.ASK): ASKED,
    (ASKED, Step.ANSWER): ANSWERED,
    (ASKED, Step.REVIEW_RIGHTS): REVIEW,
    (ASKED, Step.RESOLVE): RESOLVED,
    (ANSWERED, Step.ASK): ASKED,
    (ANSWERED, Step.REVIEW_RIGHTS): REVIEW,
    (ANSWERED, Step.RESOLVE): RESOLVED,
    (REVIEW, Step.ASK): ASKED,
    (REVIEW, Step.RESOLVE): RESOLVED,
    (RESOLVED, Step.REOPEN): OPEN,
}
"""Every change of state there is."""
UNCHANGING = {Step.ANSWER, Step.MEASURE, Step.NOTE}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)))
def test_every_cell(state: State, step: Step) -> None:
    """Each step in each state leads where the table above says, enters what it is, or is refused."""
    leads_to = LEADS_TO.get((state, step))
    if leads_to is None and step not in UNCHANGING:
        assert step not in steps(state)
        with pytest.raises(StepError, match=r"is not possible while"):
            take(step, state, "because")
        return
    assert step in steps(state)
    entries = take(step, state, "  because  ")
    assert entries[0].text == "because"
    assert entries[0].kind is RULES[step].kind
    assert [entry.state for entry in entries if entry.state] == ([] if leads_to is None else [leads_to])


def test_no_rights_without_a_question() -> None:
    """From no case that is open do rights come under review before the institution was asked."""
    reached, frontier = {OPEN}, {OPEN}
    while frontier:
        frontier = {
            after for (before, step), after in LEADS_TO.items() if before in frontier and step is not Step.ASK
        } - reached
        reached |= frontier
    assert REVIEW not in reached


@pytest.mark.parametrize("text", ["", "  \n", "x" * (TEXT_CHARACTERS_MAX + 1), "a\0b"])
def test_a_reason_is_needed(text: str) -> None:
    """No step without a reason, and none with one that no database or reader takes."""
    for step in steps(ASKED):
        with pytest.raises(StepError, match="text: it"):
            take(step, ASKED, text)
    with pytest.raises(StepError, match="text: it"):
        opening("Filter", text)


@pytest.mark.parametrize("title", ["", " ", "x" * (TITLE_CHARACTERS_MAX + 1), "\0"])
def test_a_title_is_needed(title: str) -> None:
    """A case has a title that fits a line or two."""
    with pytest.raises(StepError, match="title: it"):
        opening(title, "because")


def test_an_opening_is_a_state() -> None:
    """A case begins open."""
    assert opening("Filter", "because") == (EntryKind.STATE, OPEN, "because")


def test_who_has_not_read_the_last_entry_is_refused() -> None:
    """A step is refused when somebody else made an entry meanwhile."""
    require_unchanged(7, 7)
    with pytest.raises(ChangedError, match="changed while you wrote"):
        require_unchanged(6, 7)
