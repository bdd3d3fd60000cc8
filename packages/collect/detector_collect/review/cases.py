"""How a case about an institution proceeds, as a table.

Room: detector_collect.review. Pure: what was entered goes in, what may be entered next comes out.

A case is a list of entries that only grows: nothing is edited or deleted, a correction is another entry. Its state is
that of its last entry of the kind `state`. Rights can be put under review only after the institution was asked: no
decision is made about an institution that could not say anything to it. What it answers, and what it measured itself,
are entries like those of reviewers.

Every step names the last entry that its author has read. When another entry came meanwhile, the step is refused: its
author first reads what changed.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT_CHARACTERS_MAX: Final = 10_000
"""Of one entry: an answer of some pages fits, a file does not."""
TITLE_CHARACTERS_MAX: Final = 200
"""Of one case: a line or two of a list."""


class State(enum.StrEnum):
    """States of a case."""

    OPEN = "open"
    ASKED = "asked"
    ANSWERED = "answered"
    RESOLVED = "resolved"
    RIGHTS_UNDER_REVIEW = "rights-under-review"


class EntryKind(enum.StrEnum):
    """Kinds of entries."""

    STATE = "state"
    NOTE = "note"
    ANSWER = "answer"
    MEASUREMENT = "measurement"


class Step(enum.StrEnum):
    """What a reviewer can do with a case."""

    ASK = "ask"
    ANSWER = "answer"
    MEASURE = "measure"
    NOTE = "note"
    REVIEW_RIGHTS = "review-rights"
    RESOLVE = "resolve"
    REOPEN = "reopen"


class Rule(NamedTuple):
    """One step: after which states it may come, what it enters, and the new state (None: unchanged).

    `title` is its button, `asks_for` what its author has to write.
    """

    after: frozenset[State]
    kind: EntryKind
    leads_to: State | None
    title: str
    asks_for: str


_ANY: Final = frozenset(State)
_UNRESOLVED: Final = _ANY - {State.RESOLVED}

RULES: Final[Mapping[Step, Rule]] = {
    Step.ASK: Rule(
        _UNRESOLVED,
        EntryKind.STATE,
        State.ASKED,
        "Ask the institution",
        "What you ask, whom, and until when an answer is expected.",
    ),
    Step.ANSWER: Rule(
        _ANY,
        EntryKind.ANSWER,
        None,
        "Record the institution's answer",
        "The answer, as it was given, with who gave it and when.",
    ),
    Step.MEASURE: Rule(
        _ANY,
        EntryKind.MEASUREMENT,
        None,
        "Record the institution's measurement",
        "What the institution measured, where and when; the digest names its submission, if there is one.",
    ),
    Step.NOTE: Rule(_ANY, EntryKind.NOTE, None, "Add a note", "What other reviewers should know."),
    Step.REVIEW_RIGHTS: Rule(
        frozenset({State.ASKED, State.ANSWERED}),
        EntryKind.STATE,
        State.RIGHTS_UNDER_REVIEW,
        "Put rights under review",
        "Why: what the evidence shows, what the institution said to it, and why that does not settle it.",
    ),
    Step.RESOLVE: Rule(
        _UNRESOLVED,
        EntryKind.STATE,
        State.RESOLVED,
        "Resolve",
        "How it ended, and by what: an exemption, an explanation, a finding that was wrong.",
    ),
    Step.REOPEN: Rule(
        frozenset({State.RESOLVED}), EntryKind.STATE, State.OPEN, "Reopen", "What came to light since it was resolved."
    ),
}
"""Every step. There is none that edits or deletes."""

AFTER_AN_ANSWER: Final[Mapping[State, State]] = {State.ASKED: State.ANSWERED}
"""An answer to a question that is open answers it; any other changes no state."""


class NewEntry(NamedTuple):
    """One entry to append; `state` is set where `kind` is `state`."""

    kind: EntryKind
    state: State | None
    text: str


class StepError(InputError):
    """A step that the case's state does not allow, or without its reason."""


class ChangedError(StepError):
    """The case changed since its author read it."""


def steps(state: State) -> tuple[Step, ...]:
    """The steps that a case in this state allows, in the order of the table."""
    return tuple(step for step, rule in RULES.items() if state in rule.after)


def opening(title: str, text: str) -> NewEntry:
    """The first entry of a case. Raises `StepError` without a title or a reason, or where one is too long."""
    _checked("title", title, TITLE_CHARACTERS_MAX, "Say in a line what the case is about.")
    return NewEntry(EntryKind.STATE, State.OPEN, _checked("text", text, TEXT_CHARACTERS_MAX, "Say why it is opened."))


def take(step: Step, state: State, text: str) -> tuple[NewEntry, ...]:
    """The entries that one step appends to a case in this state, all or none.

    Raises `StepError` for a step that the state does not allow, and for a text that is empty or too long.
    """
    rule = RULES[step]
    if state not in rule.after:
        raise StepError(
            f"step: “{rule.title}” is not possible while the case is {words(state)}.",
            advice=f"Possible now: {', '.join(RULES[one].title for one in steps(state))}.",
        )
    reason = _checked("text", text, TEXT_CHARACTERS_MAX, rule.asks_for)
    entry = NewEntry(rule.kind, rule.leads_to, reason)
    if rule.kind is EntryKind.ANSWER and (then := AFTER_AN_ANSWER.get(state)) is not None:
        return entry, NewEntry(EntryKind.STATE, then, "The institution answered.")
    return (entry,)


def require_unchanged(read: int, last: int) -> None:
    """Raise `ChangedError` unless the last entry is the one that the author of a step has read."""
    if read != last:
        raise ChangedError(
            "The case changed while you wrote: somebody made another entry.",
            advice="Read the new entries. Your text was not saved; send it again if it still holds.",
        )


_WORDS: Final = {State.RIGHTS_UNDER_REVIEW: "under review of its rights"}


def words(state: State) -> str:
    """A state within a sentence: “the case is …”."""
    return _WORDS.get(state, state.value)


def _checked(field: str, text: str, most: int, asks_for: str) -> str:
    text = text.strip()
    if not text:
        raise StepError(f"{field}: it is empty.", advice=asks_for)
    if "\0" in text:
        raise StepError(f"{field}: it has a NUL character.", advice="Remove it: no database stores it in a text.")
    if len(text) > most:
        raise StepError(f"{field}: it has {len(text)} characters.", advice=f"Write up to {most}.")
    return text
