"""Outcomes: what one check may find. Each knows its check and builds the check's findings.

Room: judge. Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from typing import Self

Findings = Iterator[Finding]
"""What a check returns."""


class CheckOutcome(enum.StrEnum):
    """Base of each check's `Outcome`, which names its check: `class Outcome(CheckOutcome, check="pin")`.

    `meaning` says what the outcome means to a reader who knows nothing of it, and what is innocent about it
    (docs/findings, `detector.report.learn_more`).
    """

    check: ClassVar[str]
    meaning: str

    def __init_subclass__(cls, check: str) -> None:
        super().__init_subclass__()
        cls.check = check

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """A string that also knows its meaning, which every member gives; a conversion from a value needs none."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    def found(self, summary: str, says: Meaning = Meaning.NEUTRAL, **data: object) -> Finding:
        """Build a finding with this outcome; `data` is what it rests on."""
        return Finding(check=self.check, outcome=self, says=says, summary=summary, data=data)
