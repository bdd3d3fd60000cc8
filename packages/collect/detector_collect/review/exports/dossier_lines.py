"""The dossier of an institution as lines of text, for a PDF.

Room: detector_collect.review.exports. Pure: records in, lines out. The numbers of persons are rounded already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector_collect.review import wording

from .pdf import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from detector.history.dossier import AffectedEndpoint, Dossier
    from detector_collect.review.queries import Assessed


def lines(title: str, dossier: Dossier, assessed: Assessed | None) -> list[Line]:
    """What the page of the dossier of an institution says, as text."""
    heading = Line(f"TLS interception: {title}", is_heading=True)
    return [heading, *_head(dossier), *_conclusion(assessed), *_findings(dossier), *_doubts(dossier)]


def _head(dossier: Dossier) -> Iterator[Line]:
    yield Line(dossier.summary)
    if dossier.first is not None and dossier.last is not None:
        yield Line(f"Seen from {dossier.first:%Y-%m-%d} to {dossier.last:%Y-%m-%d}.")
    yield Line(f"Made {dossier.made:%Y-%m-%d %H:%M} UTC from {dossier.sources} submissions.")


def _conclusion(assessed: Assessed | None) -> Iterator[Line]:
    words = wording.conclusion(None if assessed is None else assessed.assessment)
    yield from _heading("What is concluded about the institution")
    yield Line(words.sentence)
    if assessed is None:
        return
    yield Line(f"Assessment {assessed.number} of {assessed.at:%Y-%m-%d}, of at least {assessed.assessment.students}.")
    for basis in assessed.assessment.bases:
        elsewhere = "" if basis.elsewhere is None else f", against {wording.share(basis.elsewhere)} elsewhere"
        what = basis.product or f"one key {(basis.key or '')[:16]}"
        yield Line(f"  - {what}: {wording.share(basis.here)} here{elsewhere}. {wording.tested(basis)}")
        for alternative in basis.alternatives:
            explanation = wording.ALTERNATIVES[alternative]
            yield Line(f"      or: {explanation.says} Shown by: {explanation.shown_by}")
    yield Line(f"What would disprove it: {words.disproved_by}")


def _findings(dossier: Dossier) -> Iterator[Line]:
    yield from _heading("What was found")
    for found in dossier.interceptors:
        yield Line(
            f"{found.product or found.issuer or 'an unknown party'}: {found.confidence}, run by {found.managed_by}"
        )
        yield from _endpoints(found.endpoints)
    if not dossier.interceptors:
        yield Line("Nobody is named.")
    if dossier.uncertain:
        yield Line("Not confirmed as genuine, with an innocent explanation that fits as well:")
        yield from _endpoints(dossier.uncertain)
    for hosts, words in (
        (dossier.left_alone, "Left alone whenever they could be assessed"),
        (dossier.not_assessed, "Never assessed"),
    ):
        if hosts:
            yield Line(f"{words}: {', '.join(hosts)}")


def _endpoints(endpoints: Iterable[AffectedEndpoint]) -> Iterator[Line]:
    for one in endpoints:
        yield Line(
            f"  - {one.endpoint}, {one.times_seen} of {one.times_checked} times, {one.first_seen:%Y-%m-%d} to "
            f"{one.last_seen:%Y-%m-%d}, {one.confidence}: {' '.join(one.why)}"
        )


def _doubts(dossier: Dossier) -> Iterator[Line]:
    for heading, texts in (
        (
            "What was tried to disprove it",
            [
                f"{tried.question} {'; '.join(f'{outcome}: {count}' for outcome, count in tried.outcomes.items())}"
                for tried in dossier.tried
            ],
        ),
        ("What else could explain it", dossier.alternatives),
        ("What the evidence does not show", dossier.gaps),
        ("Where the evidence is", dossier.evidence),
    ):
        yield from _heading(heading)
        for text in texts or ("Nothing.",):
            yield Line(f"  - {text}")


def _heading(text: str) -> Iterator[Line]:
    yield Line("")
    yield Line(text, is_heading=True)
