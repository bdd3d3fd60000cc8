"""Write docs/findings/: a page for each check, which says what every finding means. A test compares all of them.

Room: scripts. Reads the checks and the decision table, writes docs/findings/*.md. For maintainers:

    python scripts/build_findings.py

What a page says of rules is not written anywhere: a rule is asked with every combination of the findings that it reads,
and where one finding alone makes the difference, the rule rests on it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.judge.checks import MODULES, Check, chain
from detector.judge.facts import Facts
from detector.judge.outcome import CheckOutcome
from detector.judge.table import TABLE, ByCompany, Rule, Stage
from detector.judge.wording import ALTERNATIVES
from detector.report.learn_more import FINDING_PAGE
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from detector.model import Alternative

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "docs" / "findings"
BY: Final = "<!-- Written by `python scripts/build_findings.py` from the checks and detector/judge/table.py. -->"
ABOUT: Final = (
    "A check compares the evidence on one connection with what is known, and makes findings. No finding is a verdict: "
    "only the [decision table](../decisions.md#the-table) says what findings mean together. Each page explains one "
    "check; its headings are the outcomes, and their addresses are stable, because reports refer to them "
    f"(`{FINDING_PAGE.format(check='CHECK', outcome='OUTCOME')}`)."
)
RFC: Final = re.compile(r"RFC (\d+)(?:,? section ([\d.]*\d))?")

Question = Callable[[Facts], object]
"""What a rule asks of the facts, and answers."""
Key = tuple[str, CheckOutcome]
"""A finding: its check and its outcome. Outcomes of two checks may have one name."""
Known = Mapping[Key, bool]
"""Findings of which is known whether they were made."""


class _NotKnownError(Exception):
    """A question asked for a finding of which is not known whether it was made."""

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self.key = key


class _Asked(Facts):
    """Facts that know some findings, and raise for others."""

    def __init__(self, known: Known) -> None:
        super().__init__(())
        self._known = known

    def has(self, *outcomes: CheckOutcome) -> bool:
        """Whether one of these was found; raises `_NotKnownError` where that depends on one that is not known."""
        keys = [_key(outcome) for outcome in outcomes]
        if any(self._known.get(key) for key in keys):
            return True
        for key in keys:
            if key not in self._known:
                raise _NotKnownError(key)
        return False


def _key(outcome: CheckOutcome) -> Key:
    return outcome.check, outcome


def answers(question: Question, known: Known) -> Iterator[tuple[Known, object]]:
    """Every answer of a question, with the findings that it takes, given those that are known."""
    try:
        yield known, question(_Asked(known))
    except _NotKnownError as error:
        for was_made in (True, False):
            more = {**known, error.key: was_made}
            if _can_be(more):
                yield from answers(question, more)


def _can_be(known: Known) -> bool:
    """Whether one chain can have these findings: it is of one class, or both added and defective."""
    classes = {key for key, was_made in known.items() if was_made and key in _CLASSES}
    return len(classes) <= 1 or classes == {_key(chain.Outcome.ADDED), _key(chain.Outcome.DEFECTIVE)}


_CLASSES: Final = frozenset(_key(chain.Outcome(kind.value)) for kind in ChainClass)


class Use(NamedTuple):
    """What one outcome does in one rule."""

    counts_for: bool
    counts_against: bool
    sets_confidence: bool
    sets_alternatives: bool
    alternatives: tuple[Alternative, ...]


def use(rule: Rule, outcome: CheckOutcome) -> Use:
    """What an outcome does in a rule: whether there are other findings with which it alone makes the difference."""
    differences = set(_differences(_holds(rule), outcome))
    counts_for = (True, False) in differences
    innocent: dict[Alternative, None] = {}
    if counts_for and rule.grades:
        for _, found in answers(rule.alternatives, {_key(outcome): True}):
            innocent.update(dict.fromkeys(found))  # type: ignore[call-overload] # alternatives, by the table
    return Use(
        counts_for,
        (False, True) in differences,
        any(set(_differences(grade, outcome)) for grade in _grades(rule)),
        bool(set(_differences(rule.alternatives, outcome))),
        tuple(innocent),
    )


def _holds(rule: Rule) -> Question:
    """Whether a rule holds; what clears needs the key proved, too."""
    return (lambda f: f.key_proved and rule.holds(f)) if rule.stage is Stage.CLEARS else rule.holds


def _grades(rule: Rule) -> Iterator[Question]:
    for grade in rule.grades:
        yield grade.holds
        if isinstance(grade.confidence, ByCompany):
            yield lambda facts: facts.company


def _differences(question: Question, outcome: CheckOutcome) -> Iterator[tuple[object, object]]:
    """The answers with and without an outcome, where they differ and all other findings are the same."""
    for known, with_it in answers(question, {_key(outcome): True}):
        for _, without_it in answers(question, {**known, _key(outcome): False}):
            if with_it != without_it:
                yield with_it, without_it


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    return {"index.md": _index(), **{f"{module.ID}.md": page(module) for module in MODULES}}


def _index() -> str:
    rows = [
        f"| [`{module.ID}`]({module.ID}.md) | {module.QUESTION} | "
        f"{', '.join(f'[{outcome}]({module.ID}.md#{outcome})' for outcome in module.Outcome)} |"
        for module in MODULES
    ]
    return "\n".join(
        [
            "# What a finding means",
            "",
            BY,
            "",
            ABOUT,
            "",
            "| check | question | outcomes |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def page(module: Check) -> str:
    """The page of one check."""
    documentation = str(module.__doc__).strip()
    _, _, about = documentation.partition(": ")
    about = about.replace("Room: judge. Pure.", "").replace(" \n", "\n")
    paragraphs = [_linked(paragraph.strip()) for paragraph in about.split("\n\n")]
    lines = [f"# Finding `{module.ID}`", "", BY, ""]
    if module.QUESTION:
        lines += [f"**{module.QUESTION}**", ""]
    for number, paragraph in enumerate(paragraphs):
        lines += [paragraph[0].upper() + paragraph[1:] if number == 0 else paragraph, ""]
    for outcome in module.Outcome:
        lines += [f"## {outcome}", "", outcome.meaning, "", *_rules(outcome), ""]
    return "\n".join([*lines, *_sources(module, documentation)])


def _rules(outcome: CheckOutcome) -> Iterator[str]:
    """What rests on an outcome, and what is innocent about it."""
    uses = [(rule, found) for rule in TABLE if any(found := use(rule, outcome))]
    if not uses:
        yield "No rule rests on it: it is there for the reader."
        return
    for rule, found in uses:
        if found.counts_for:
            innocent = "; ".join(f"{ALTERNATIVES[one]} (`{one}`)" for one in found.alternatives)
            others = f" Other explanations: {innocent}." if innocent else ""
            yield f"* Counts for `{rule.reason}` ({_verdict(rule)}): {rule.why}{others}"
    against = [f"`{rule.reason}`" for rule, found in uses if found.counts_against]
    if against:
        yield f"* Keeps from applying: {', '.join(against)}."
    graded = [f"`{rule.reason}`" for rule, found in uses if found.sets_confidence]
    if graded:
        yield f"* Affects the confidence of: {', '.join(graded)}."
    explained = [f"`{rule.reason}`" for rule, found in uses if found.sets_alternatives]
    if explained:
        yield f"* Affects the other explanations of: {', '.join(explained)}."


def _verdict(rule: Rule) -> str:
    """The verdicts of a rule; docs/decisions.md has the conditions."""
    if rule.assurance is not None:
        return f"clean, {rule.assurance}"
    confidences = (
        "by company" if isinstance(grade.confidence, ByCompany) else grade.confidence.value for grade in rule.grades
    )
    return " or ".join(dict.fromkeys(confidences)) or "inconclusive"


def _sources(module: Check, documentation: str) -> Iterator[str]:
    """Where a check comes from: its file, and the standards that it follows."""
    path = Path(str(sys.modules[module.check.__module__].__file__)).relative_to(ROOT).as_posix()
    texts = (documentation, *(outcome.meaning for outcome in module.Outcome))
    named = dict.fromkeys(found.groups() for text in texts for found in RFC.finditer(" ".join(text.split())))
    yield "## Sources"
    yield ""
    yield f"* The check: `{path}`"
    for number, section in named:
        yield f"* RFC {number}{f', section {section}' if section else ''}"
    yield ""


def _linked(text: str) -> str:
    """A paragraph whose references to pages are links."""
    text = re.sub(r"\bdocs/([\w-]+)\.md\b", r"[\1](../\1.md)", text)
    return re.sub(r"\bADR (\d)\b", lambda found: f"[decision record {found[1]}]({_record(int(found[1]))})", text)


def _record(number: int) -> str:
    (path,) = (ROOT / "docs" / "adr").glob(f"{number:04}-*.md")
    return f"../adr/{path.name}"


def main() -> None:
    """Write all pages, and remove those of checks that are gone."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, "utf-8")
    print(f"wrote {len(written)} pages to docs/findings")


if __name__ == "__main__":
    main()
