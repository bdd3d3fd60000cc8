"""The decision table for people: as Markdown for docs/decisions.md, and one rule at a time for `detector rules`.

Room: report. Pure. All texts are in the table itself (`detector.judge.table`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.table import RULE_OF, ByCompany, Stage
from detector.model import Audience, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.table import Rule

_HEADINGS: Final[dict[Stage, str]] = {
    Stage.SETTLES: "Settles an observation",
    Stage.ACCUSES: "Accuses: right name, or one that could not be read to its end, unless said",
    Stage.CLEARS: "Clears, with the key proved",
    Stage.ELSE: "Else inconclusive, with the first reason that fits",
    Stage.SERVER: "From the server's side, by its own table (docs/origin-decisions.md)",
}


def verdict_of(rule: Rule) -> str:
    """The verdict of a rule, in words: `clean, logged`; `proven, where …; else possible`; `inconclusive`."""
    if rule.assurance is not None:
        return f"clean, {rule.assurance}"
    if rule.stage is Stage.SERVER and rule.reason is not Reason.NOTHING_SEEN:
        return "middleware, as sure as that table says"
    if not rule.grades:
        return "inconclusive"
    parts = []
    for number, grade in enumerate(rule.grades):
        sure = "by company" if isinstance(grade.confidence, ByCompany) else str(grade.confidence)
        parts.append(f"{'else ' if number else ''}{sure}{f' where {grade.when}' if grade.when else ''}")
    return "; ".join(parts)


def markdown() -> str:
    """The table as Markdown, a section for each stage."""
    return "\n\n".join(_part(stage) for stage in Stage)


def _part(stage: Stage) -> str:
    rows = [f"### {_HEADINGS[stage]}", "", "| rule | needs | says |", "|---|---|---|"]
    for rule in RULE_OF.values():
        if rule.stage is stage:
            name = " (any name)" if rule.any_name and stage is Stage.ACCUSES else ""
            rows.append(f"| `{rule.reason}`{name} | {rule.needs} | {verdict_of(rule)} |")
    return "\n".join(rows)


def listing() -> Iterator[str]:
    """Every rule in one line: its reason and its sentence."""
    width = max(map(len, RULE_OF))
    for rule in RULE_OF.values():
        yield f"{rule.reason:<{width}}  {rule.why}"


def explain(reason: Reason) -> Iterator[str]:
    """One rule in full: its sentence, conditions, verdict, and what each audience can do."""
    rule = RULE_OF[reason]
    yield f"{rule.reason}: {rule.why}"
    yield f"Stage: {_HEADINGS[rule.stage]}."
    yield f"Needs: {rule.needs}."
    yield f"Meaning: {verdict_of(rule)}."
    for audience in Audience:
        if audience in rule.advice:
            yield f"For {audience}: {rule.advice[audience].replace('{hosts}', 'these hosts')}"
