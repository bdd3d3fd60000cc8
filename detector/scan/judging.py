"""The results of a scan in a stream: each by what was seen up to then, and again where later targets show more.

Room: scan. Pure. What is kept is bounded by `judge.assess.Assessor`: it keeps the label of each result that can still
change, and the label has what was last said of the target. So a result that amends another carries what it replaces,
and nobody who counts results needs to remember any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.assess import Assessor
from detector.judge.network_evidence import STREAM_REMEMBERS
from detector.model import Confidence, Record, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence

    from .targets import Target


class Replaced(Record, frozen=True, kw_only=True):
    """What was said of a target before: as much of it as a count needs."""

    verdict: Verdict
    confidence: Confidence | None = None


class Scanned(Result, frozen=True, kw_only=True):
    """A result of a scan.

    `number` is the target's in the order of the source, from 0; `where` is where it was asked for. `named` says that
    the target was asked for by name, not by a pin file or a network. `replaces` is what a result that `amends` an
    earlier one puts right, None in all others.
    """

    number: int
    where: str = ""
    named: bool = False
    replaces: Replaced | None = None


class _Label:
    """A target, and what was last said of it."""

    def __init__(self, number: int, target: Target) -> None:
        self.number: Final = number
        self.target: Final = target
        self.said: Replaced | None = None


class Judging:
    """What was seen of one network so far."""

    def __init__(self) -> None:
        self._assessor: Final[Assessor[_Label]] = Assessor(remembered=STREAM_REMEMBERS)

    def judge(self, number: int, target: Target, evidence: EndpointEvidence) -> Iterator[Scanned]:
        """The result of a target, and those of earlier ones that it changes."""
        for label, result in self._assessor.add(evidence, _Label(number, target)):
            yield _scanned(result, label)


def _scanned(result: Result, label: _Label) -> Scanned:
    """A result as the one of a scan's target."""
    replaces, label.said = label.said, Replaced(verdict=result.verdict, confidence=result.confidence)
    fields = {field: getattr(result, field) for field in Result.__struct_fields__}
    target = label.target
    return Scanned(**fields, number=label.number, where=target.where, named=target.named, replaces=replaces)
