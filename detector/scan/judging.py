"""The results of a scan in a stream: each by what was seen up to then, and again where later targets show more.

Room: scan. Pure, but that the canaries to choose from may be read from files. What is kept is bounded by
`judge.assess.Assessor`: it keeps the label of each result that can still change, and the label has what was last said
of the target. So a result that amends another carries what it replaces, and nobody who counts results needs to remember
any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.assess import Assessor
from detector.judge.network_evidence import STREAM_REMEMBERS
from detector.model import Confidence, Record, Result, Verdict
from detector.session.follow_up import Canaries

from .targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint

FOLLOW_UP: Final = "follow-up"
"""Where a canary was asked for that no source names."""


class Replaced(Record, frozen=True, kw_only=True):
    """What was said of a target before: as much of it as a count needs."""

    verdict: Verdict
    confidence: Confidence | None = None


class Scanned(Result, frozen=True, kw_only=True):
    """A result of a scan.

    `number` is the target's in the order of the source, from 0, and negative for a canary that a follow-up probed;
    `where` is where it was asked for. `named` says that
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
    """What was seen of one network so far. `known` gives the canaries that a follow-up chooses from."""

    def __init__(self, known: Callable[[], Sequence[Endpoint]] = tuple) -> None:
        self._assessor: Final[Assessor[_Label]] = Assessor(remembered=STREAM_REMEMBERS)
        self._canaries: Final = Canaries(known)
        self._followed = 0

    def judge(self, number: int, target: Target, evidence: EndpointEvidence) -> list[Scanned]:
        """The result of a target, and those of earlier ones that it changes.

        A list, because nothing else may be judged in between.
        """
        self._canaries.note((evidence,), 0)
        return [_scanned(result, label) for label, result in self._assessor.add(evidence, _Label(number, target))]

    def may_need_follow_up(self, evidence: EndpointEvidence) -> bool:
        """Whether `follow_up` may give anything: quickly answered."""
        return self._canaries.may_want((evidence,), 0)

    def follow_up(self, evidence: EndpointEvidence) -> tuple[tuple[int, Target], ...]:
        """The canaries to probe because of this, each as a target with its number. May read files."""
        wanted = self._canaries.wanted((evidence,), 0)
        first, self._followed = -1 - self._followed, self._followed + len(wanted)
        return tuple((first - n, Target(endpoint, FOLLOW_UP, named=False)) for n, endpoint in enumerate(wanted))


def _scanned(result: Result, label: _Label) -> Scanned:
    """A result as the one of a scan's target."""
    replaces, label.said = label.said, Replaced(verdict=result.verdict, confidence=result.confidence)
    fields = {field: getattr(result, field) for field in Result.__struct_fields__}
    target = label.target
    return Scanned(**fields, number=label.number, where=target.where, named=target.named, replaces=replaces)
