"""Judges the results of a scan in a stream: each by what was seen up to then, and again where later ones show more.

Room: scan. Pure.

What is kept is bounded: the statistics of `NetworkEvidence` (which forgets what was met once, longest ago, first), and the
latest results that were only `possible`. Of these one is judged again, and given again with `amends`, when a later
target shows who it was: the first host behind an unknown interceptor is then `proven` as the others are.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from detector.judge import assess
from detector.judge.evidence import STREAM_REMEMBERS, NetworkEvidence
from detector.model import Confidence, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence

AMENDABLE_MAX: Final = 1024
"""Possible results that can still be amended; each holds its chain, about 10 KiB."""


class Scanned(Result, frozen=True, kw_only=True):
    """A result of a scan: the target's number in the order of the source, from 0, and where it was asked for.

    `amends` says that this is a second, better informed judgement of a target whose first was given already.
    """

    number: int
    where: str = ""
    amends: bool = False


class Judging:
    """What was seen of one network so far."""

    def __init__(self) -> None:
        self._network = NetworkEvidence(remembered=STREAM_REMEMBERS)
        self._amendable: OrderedDict[int, tuple[EndpointEvidence, str]] = OrderedDict()

    def judge(self, number: int, where: str, case: EndpointEvidence) -> Iterator[Scanned]:
        """The result of a target, and those of earlier ones that are clearer now."""
        self._network.add(case)
        result = assess.assess_endpoint(case, self._network)
        yield _scanned(result, number, where)
        if case.leaf is not None and case.is_private:
            if result.confidence is Confidence.PROVEN:
                yield from self._amend()
            elif result.confidence is Confidence.POSSIBLE:
                self._amendable[number] = (case, where)
                if len(self._amendable) > AMENDABLE_MAX:
                    self._amendable.popitem(last=False)

    def _amend(self) -> Iterator[Scanned]:
        """Judge again what was only possible, where the network has since shown more."""
        shown = [
            (number, case, where)
            for number, (case, where) in self._amendable.items()
            if self._network.unrelated_with_issuer(case) or self._network.unrelated_with_leaf_key(case)
        ]
        for number, case, where in shown:
            result = assess.assess_endpoint(case, self._network)
            if result.confidence is Confidence.PROVEN:
                del self._amendable[number]
                yield msgspec.structs.replace(_scanned(result, number, where), amends=True)


def _scanned(result: Result, number: int, where: str) -> Scanned:
    """A result as the one of a scan's target."""
    fields = {field: getattr(result, field) for field in Result.__struct_fields__}
    return Scanned(**fields, number=number, where=where)
