"""How often an innocent institution is named, and how often a guilty one is found: counts over simulated terms.

    python -m evaluation.responsibility --worlds 10000 --write docs/responsibility.md

Every number on the page comes from `detector_collect.simulation`, whose truth is known. Nothing is measured on people.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detector_collect import Conclusion, Policy, assess, exact, simulation
from detector_collect.simulation import PRODUCTS, Practice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STUDENTS: Final = (20, 50, 100, 200)
"""Sizes of the exam for the power curve."""
SHARES: Final = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Shares of its students whom the institution's interceptor reaches."""
POWER_WORLDS: Final = 100
"""Of this part of the innocent worlds' number, each point of the power curve is made."""
LARGER_ALPHA: Final = 0.05
"""A larger error, which a tenth of the worlds suffices to see."""
GUILTY: Final = 3
"""The number of the institution that decrypts in the worlds of the power curve."""
SUSPECTED: Final = frozenset({Conclusion.INSTITUTION, Conclusion.SHARED_OPERATOR, Conclusion.ONE_NETWORK})


class Innocent(NamedTuple):
    """What was concluded about institutions that do not decrypt, with an error of `alpha`."""

    alpha: float
    worlds: int
    wrong_worlds: int
    conclusions: Counter[Conclusion]

    @property
    def is_excessive(self) -> bool:
        """Whether so many wrong worlds are too improbable (one in a hundred) for the error that was allowed."""
        return exact.binomial_tail(self.wrong_worlds, self.worlds, exact.spent(self.alpha, 1)) < 0.01  # noqa: PLR2004 - see above


class Point(NamedTuple):
    """Of `worlds`, in how many the one institution that decrypts was named, or its operator was noticed."""

    practice: Practice
    students: int
    share: float
    worlds: int
    named: int
    noticed: int


def innocent(worlds: int, alpha: float) -> Innocent:
    """Assess worlds in which no institution decrypts."""
    conclusions, wrong = Counter[Conclusion](), 0
    for seed in range(worlds):
        found = assess(simulation.make(seed).results, number=1, products=PRODUCTS, policy=Policy(alpha=alpha))
        conclusions.update(each.conclusion for each in found)
        wrong += any(each.conclusion is Conclusion.INSTITUTION for each in found)
    return Innocent(alpha, worlds, wrong, conclusions)


def power(worlds: int) -> Iterator[Point]:
    """Assess worlds in which one institution of twenty decrypts."""
    for practice in Practice:
        for students in STUDENTS:
            for share in SHARES:
                guilty = {GUILTY: (practice, share)}
                found = [
                    assess(
                        simulation.make(seed, students=(students, students), guilty=guilty).results,
                        number=1,
                        products=PRODUCTS,
                    )[GUILTY].conclusion
                    for seed in range(worlds)
                ]
                named = sum(each is Conclusion.INSTITUTION for each in found)
                yield Point(practice, students, share, worlds, named, sum(each in SUSPECTED for each in found))


def page(errors: Iterable[Innocent], points: Iterable[Point], command: str) -> str:
    """The page as Markdown."""
    lines = [
        "# Whose interceptor is it? Error and power",
        "",
        "`detector_collect.responsibility` names an institution only by the shares of its students. These are",
        "counts over simulated terms of twenty institutions whose truth is known: antivirus programs, one campus",
        "where nearly everybody uses the same one, dormitories behind one router, employers' devices, products whose",
        f"shares differ from place to place. Written by `{command}`.",
        "",
        "## Innocent institutions",
        "",
        "The first assessment spends 61 % of the error that all of them may spend; the third column is its limit.",
        "",
        "| error of all assessments | worlds | limit here | worlds with an innocent one named | at most (95 %) |",
        "|---|---|---|---|---|",
    ]
    conclusions: list[str] = []
    for each in errors:
        most = exact.share_interval(each.wrong_worlds, each.worlds, error=0.1).high
        lines.append(
            f"| {each.alpha:g} | {each.worlds} | {exact.spent(each.alpha, 1):.5f} | {each.wrong_worlds} | {most:.5f} |"
        )
        total = each.conclusions.total()
        shares = (f"{name} {each.conclusions[name] / total:.1%}" for name in Conclusion if each.conclusions[name])
        conclusions.append(f"* error {each.alpha:g}: {', '.join(shares)}")
    lines += [
        "",
        "The tests are exact, so for small numbers their error lies below its limit. Conclusions:",
        "",
        *conclusions,
        "",
        "`shared-operator` and `one-network` are true there: employers and dormitories are the operators.",
        "",
        "## One institution of twenty decrypts",
        "",
        "In how many of the worlds it is named, and in parentheses in how many it is named or the operator of a key",
        f"is noticed, by the share of its students whom the interceptor reaches. Error {Policy().alpha:g}.",
        "",
        f"| practice | students | {' | '.join(f'{share:.0%}' for share in SHARES)} |",
        f"|---|---|{'---|' * len(SHARES)}",
    ]
    rows: dict[tuple[Practice, int], list[str]] = {}
    for point in points:
        cell = f"{point.named / point.worlds:.0%} ({point.noticed / point.worlds:.0%})"
        rows.setdefault((point.practice, point.students), []).append(cell)
    lines += [
        f"| {practice.value} | {students} | {' | '.join(cells)} |" for (practice, students), cells in rows.items()
    ]
    lines += [
        "",
        "* `firewall` and `managed-devices` have one key, which names the institution once it reaches clearly more",
        "  than half of the students; below that the key is noticed, and a person has to ask whose it is.",
        "* A key counts for one institution if at most a tenth of the students who met it are at others.",
        "* `agent` makes a key on each device. It is compared with its share at the other institutions, of which the",
        "  largest counts as the second.",
        "",
        "## What this does not show",
        "",
        "* The shares in the worlds are choices. If places differ in a product that institutions manage by more than",
        f"  the factor {Policy().odds:g}, without any institution being the reason, an innocent one can be named.",
        "* An institution whose students nearly all work for one employer looks like one that decrypts.",
        "* Senders who invent students count as that many students.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the page; exit code 1 where innocent institutions were named more often than the error allows."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.responsibility", description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000, help="worlds without any institution that decrypts")
    parser.add_argument("--write", type=Path, help="the page; else it is printed")
    given = parser.parse_args(arguments)
    errors = [innocent(given.worlds, Policy().alpha), innocent(max(given.worlds // 10, 1), LARGER_ALPHA)]
    command = f"python -m evaluation.responsibility --worlds {given.worlds}"
    text = page(errors, power(max(given.worlds // POWER_WORLDS, 1)), command)
    if given.write is None:
        print(text, end="")
    else:
        given.write.write_text(text, "utf-8")
    return int(any(each.is_excessive for each in errors))


if __name__ == "__main__":
    raise SystemExit(main())
