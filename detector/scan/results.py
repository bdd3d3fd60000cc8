"""The rows of a scan.

Room: scan. Pure.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import Confidence, Record, Result, Verdict

from .targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.model import Endpoint

FOLLOW_UP: Final = "follow-up"
"""The place in the source of a canary that a follow-up probes."""


class Replaced(Record, frozen=True, kw_only=True):
    """What an earlier result of a target said, as far as counting needs it."""

    verdict: Verdict
    confidence: Confidence | None = None


class Scanned(Result, frozen=True, kw_only=True):
    """A result of a scan.

    `number` is the target's in the order of the source, from 0, and negative for a canary that a follow-up probed;
    `where` is its place in the source. `named` says that the target was named, not one of a pin file or a network.
    `replaces` is what a result that `amends` an earlier one corrects, None in all others.
    """

    number: int
    where: str = ""
    named: bool = False
    replaces: Replaced | None = None


class Numbered(NamedTuple):
    """A target with its number in the order of the source."""

    number: int
    target: Target


def row(result: Result, previous: Result | None, of: Numbered) -> Scanned:
    """The row of a result; `previous` is the result that it amends."""
    return Scanned(
        **{field: getattr(result, field) for field in Result.__struct_fields__},
        number=of.number,
        where=of.target.where,
        named=of.target.named,
        replaces=None if previous is None else Replaced(verdict=previous.verdict, confidence=previous.confidence),
    )


class FollowUps:
    """Canaries as targets, numbered from -1 down."""

    def __init__(self) -> None:
        self._numbers: Final = count(-1, -1)

    def targets(self, canaries: Iterable[Endpoint]) -> tuple[Numbered, ...]:
        """The next canaries."""
        return tuple(Numbered(next(self._numbers), Target(canary, FOLLOW_UP, named=False)) for canary in canaries)
