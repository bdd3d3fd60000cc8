"""The detector's own assessment as one of the methods, as `detector.examine` makes it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector import Confidence, Result, Verdict
from detector.judge import assess
from detector.judge.evidence import Context, EndpointEvidence
from detector.pins import shared_pins

from .material import Answer, Reply, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

METHOD: Final = "detector"


def answer_of(result: Result) -> Answer:
    """Return the answer for the counts: `probable` and `proven` accuse, `possible` does not."""
    if result.verdict is Verdict.CLEAN:
        return Answer.CLEAN
    if result.verdict is Verdict.INCONCLUSIVE:
        return Answer.NOTHING
    return Answer.POSSIBLE if result.confidence is Confidence.POSSIBLE else Answer.ACCUSED


def detail_of(result: Result) -> str:
    """Return the verdict with its confidence or assurance."""
    return " ".join(filter(None, (result.verdict, result.confidence or result.assurance)))


def run(scene: Scene) -> Iterator[Reply]:
    """Return one answer per endpoint. Results of a live detector are taken unchanged."""
    if any(item.ours is None for item in scene.items):
        results = _assess(scene)
    else:
        results = tuple(item.ours for item in scene.items if item.ours is not None)
    for item, result in zip(scene.items, results, strict=True):
        yield Reply(
            scene.group,
            scene.name,
            scene.setting,
            item.endpoint.name,
            METHOD,
            item.truth,
            answer_of(result),
            detail_of(result),
            result,
        )


def _assess(scene: Scene) -> tuple[Result, ...]:
    """Assess the scene's items together with its company."""
    every = (*scene.items, *scene.company)
    context = Context(
        at=scene.at,
        data=scene.data,
        roots=scene.public,
        logs=scene.logs,
        machine_roots=lambda: scene.installed,
        portal=scene.portal,
        shared_pins=shared_pins(item.endpoint for item in every),
    )
    evidences = [EndpointEvidence(item.endpoint, item.observation, context, others=item.others) for item in every]
    return assess.assess_all(evidences)[: len(scene.items)]
