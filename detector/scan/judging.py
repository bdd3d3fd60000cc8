"""The results of a scan in a stream: each by what was seen up to then, and again where later targets show more.

Room: scan. Pure. What is kept is bounded by `judge.assess.Assessor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.assess import Assessor
from detector.judge.network_evidence import STREAM_REMEMBERS
from detector.model import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence


class Scanned(Result, frozen=True, kw_only=True):
    """A result of a scan: the target's number in the order of the source, from 0, and where it was asked for."""

    number: int
    where: str = ""


class Judging:
    """What was seen of one network so far."""

    def __init__(self) -> None:
        self._assessor: Final[Assessor[tuple[int, str]]] = Assessor(remembered=STREAM_REMEMBERS)

    def judge(self, number: int, where: str, evidence: EndpointEvidence) -> Iterator[Scanned]:
        """The result of a target, and those of earlier ones that it changes."""
        for (known, place), result in self._assessor.add(evidence, (number, where)):
            yield _scanned(result, known, place)


def _scanned(result: Result, number: int, where: str) -> Scanned:
    """A result as the one of a scan's target."""
    fields = {field: getattr(result, field) for field in Result.__struct_fields__}
    return Scanned(**fields, number=number, where=where)
