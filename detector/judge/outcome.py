"""Outcomes: what one check may find. Each knows its check and builds the check's findings.

Room: judge. Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import ClassVar

from detector.model import Finding, Meaning

Findings = Iterator[Finding]
"""What a check returns."""


class CheckOutcome(enum.StrEnum):
    """Base of each check's `Outcome`, which names its check: `class Outcome(CheckOutcome, check="pin")`."""

    check: ClassVar[str]

    def __init_subclass__(cls, check: str) -> None:
        super().__init_subclass__()
        cls.check = check

    def found(self, summary: str, says: Meaning = Meaning.NEUTRAL, **data: object) -> Finding:
        """Build a finding with this outcome; `data` is what it rests on."""
        return Finding(check=self.check, outcome=self, says=says, summary=summary, data=data)
