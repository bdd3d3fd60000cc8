"""What a finding means, for readers who want to know more, and the address of the page that says it in full.

Room: report. Pure. The texts are part of each check's outcomes; `scripts/build_findings.py` makes the pages of them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.judge.checks import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FINDING_PAGE: Final = "docs/findings/{check}.md#{outcome}"
"""Address of what a finding means: a file of the repository, as there is no public site. Where the site
(`mkdocs build`) is published, this becomes its URL followed by `findings/{check}.html#{outcome}`; pages and anchors are
stable."""


def address(check: str, outcome: str) -> str:
    """The address of the page on a check's findings, with the anchor of this outcome."""
    return FINDING_PAGE.format(check=check, outcome=outcome)


class Explanation(NamedTuple):
    """What one outcome of a check means. `question` is the check's, `anchor` its place on a page that explains it."""

    check: str
    outcome: str
    question: str
    meaning: str
    anchor: str
    address: str


@functools.cache
def _explanations() -> Mapping[tuple[str, str], Explanation]:
    """By check and outcome, in the order in which a report shows findings."""
    return {
        (module.ID, outcome.value): Explanation(
            module.ID,
            outcome.value,
            module.QUESTION,
            outcome.meaning,
            f"{module.ID}-{outcome}",
            address(module.ID, outcome),
        )
        for module in MODULES
        for outcome in module.Outcome
    }


def anchor(check: str, outcome: str) -> str:
    """The anchor of a finding's explanation; empty where there is none: a report may be of another version."""
    known = _explanations().get((check, outcome))
    return "" if known is None else known.anchor


def explain(findings: Iterable[tuple[str, str]]) -> list[Explanation]:
    """What these findings (check, outcome) mean, each once, in the order of checks."""
    found = set(findings)
    return [explanation for key, explanation in _explanations().items() if key in found]
