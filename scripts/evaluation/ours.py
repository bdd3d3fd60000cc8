"""Our own judgement as one of the methods: scenes in, answers out.

Room: scripts. Pure: the checks and the decision table of the package, as `detector.examine` uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector import Confidence, Result, Verdict
from detector.judge import assess
from detector.judge.evidence import Context, EndpointEvidence

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
    """The verdict with its confidence, assurance or reason."""
    return f"{result.verdict} {result.confidence or result.assurance or result.reason}"


def judge(scene: Scene) -> Iterator[Said]:
    """One answer per endpoint. What a live detector said already is taken as it was."""
    context = Context(at=scene.at, roots=scene.public, logs=scene.logs, machine_roots=lambda: scene.installed)
    cases = [EndpointEvidence(item.endpoint, item.observation, context) for item in scene.items]
    if any(item.ours is None for item in scene.items):
        results = assess.assess_all(cases)
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
