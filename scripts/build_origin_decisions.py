"""Write docs/origin-decisions.md: a template, with the server's table and the impossibilities put in. For maintainers.

Room: scripts. Reads scripts/templates/origin-decisions.md, writes docs/origin-decisions.md. A test compares the page.

    python scripts/build_origin_decisions.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from detector.judge.wording import ALTERNATIVES
from detector.knowledge.data_set import shipped
from detector.origin import rules, table

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "origin-decisions.md"
TEMPLATE: Final = Path(__file__).with_name("templates") / "origin-decisions.md"


def verdict_of(rule: table.Rule) -> str:
    """The grades of a rule in words: `possible where …; else probable`."""
    parts = [
        f"{'else ' if number else ''}{grade.confidence}{f' where {grade.when}' if grade.when else ''}"
        for number, grade in enumerate(rule.grades)
    ]
    return "; ".join(parts)


def decisions() -> str:
    """The decision table."""
    rows = ["| rule | needs | says |", "|---|---|---|"]
    rows += [f"| `{rule.reason}` | {rule.needs} | {verdict_of(rule)} |" for rule in table.TABLE]
    rows.append(f"| `{table.NOTHING_SEEN.reason}` | none of these | {table.NOTHING_SEEN.verdict} |")
    return "\n".join(rows)


def alternatives() -> str:
    """What else could explain what each rule finds."""
    named = dict.fromkeys(one for rule in table.TABLE for one in rule.alternatives)
    return "\n".join(f"* `{one}`: {ALTERNATIVES[one]}" for one in named)


def impossibilities() -> str:
    """The table of impossibilities."""
    rows = ["| rule | part | families | needs | known from |", "|---|---|---|---|---|"]
    for rule in rules.TABLE:
        families = ", ".join(f"{family}{f' from {floor}' if floor else ''}" for family, floor in rule.floors.items())
        rows.append(f"| `{rule.name}` | {rule.part.value} | {families} | {rule.needs} | {rule.source} |")
    return "\n".join(rows)


def versions() -> str:
    """What the data covers."""
    file = shipped().browser_offers.file
    rows = ["| family | versions | silent above | known from |", "|---|---|---|---|"]
    for one in file.families:
        ahead = one.last + rules.AHEAD_MAX[one.family]
        rows.append(f"| {one.family} | {one.first} to {one.last} | {ahead} | {one.source} |")
    return "\n".join(rows)


def page() -> str:
    """The whole page."""
    text = TEMPLATE.read_text("utf-8")
    parts = {
        "{decisions}": decisions(),
        "{alternatives}": alternatives(),
        "{impossibilities}": impossibilities(),
        "{versions}": versions(),
    }
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
