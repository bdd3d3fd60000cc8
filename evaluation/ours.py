"""Our own assessment as one of the methods: scenes in, answers out.

Room: scripts. Pure: the checks and the decision table of the package, as `detector.examine` uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector import Confidence, Result, Verdict
from detector.judge import assess
from detector.judge.evidence import Context, EndpointEvidence
from detector.pins import shared_pins

from .material import Answer, Said, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

METHOD: Final = "detector"


def answer_of(result: Result) -> Answer:
    """What a result is for the counts: `probable` and `proven` accuse, `possible` does not."""
    if result.verdict is Verdict.CLEAN:
        return Answer.CLEAN
    if result.verdict is Verdict.INCONCLUSIVE:
        return Answer.NOTHING
    return Answer.POSSIBLE if result.confidence is Confidence.POSSIBLE else Answer.ACCUSED


def detail_of(result: Result) -> str:
    """The verdict with how sure it is or what it rests on."""
    return " ".join(filter(None, (result.verdict, result.confidence or result.assurance)))


def judge(scene: Scene) -> Iterator[Said]:
    """One answer per endpoint. What a live detector said is taken as it is."""
    if any(item.ours is None for item in scene.items):
        results = _assess(scene)
    else:
        results = tuple(item.ours for item in scene.items if item.ours is not None)
    for item, result in zip(scene.items, results, strict=True):
        yield Said(
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
    """The results of the scene's items, in the light of its company."""
    every = (*scene.items, *scene.company)
    context = Context(
        at=scene.at,
        roots=scene.public,
        logs=scene.logs,
        machine_roots=lambda: scene.installed,
        portal=scene.portal,
        shared_pins=shared_pins(item.endpoint for item in every),
    )
    evidences = [EndpointEvidence(item.endpoint, item.observation, context, others=item.others) for item in every]
    return assess.assess_all(evidences)[: len(scene.items)]
