"""The report as a table for a terminal: readable in colour, without colour, and when piped into a file.

Room: report. Pure: returns rich renderables, which the caller prints. Nothing from a certificate is treated as markup,
and names come from `trust.name` with control characters escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.judge import wording
from detector.judge.checks import clock, dates, second_try, tls_location
from detector.knowledge.age import describe
from detector.model import Audience, Meaning, Verdict

from . import sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich import console as rich_console
    from rich import table as rich_table
    from rich import text as rich_text

    from detector.model import Confidence, Finding, Report, Result
else:  # JSON, which a client reads at exam start, is a report without rich
    rich_console = LazyModule("rich.console")
    rich_table = LazyModule("rich.table")
    rich_text = LazyModule("rich.text")

_STYLE: Final = {"clean": "bold green", "intercepted": "bold red", "uncertain": "bold yellow"}
"""The style of each tone; terminals show yellow as amber."""


def render(report: Report) -> rich_console.RenderableType:
    """Two sentences, then one row per endpoint with the evidence that decided."""
    rows = (
        (
            result.endpoint.name,
            result.endpoint.category,
            rich_text.Text(result.verdict, style=_style(result.verdict, result.confidence)),
            str(result.confidence or result.assurance or result.reason),
            _evidence(result),
        )
        for result in report.results
    )
    return rich_console.Group(
        rich_text.Text(sentences.headline(report), style=_style(report.verdict, report.confidence)),
        rich_text.Text(sentences.what_to_do(report)),
        rich_text.Text(""),
        plain(("endpoint", "category", "verdict", "rests on", "evidence"), rows),
        *map(rich_text.Text, _footer(report)),
    )


def plain(titles: Iterable[str], rows: Iterable[Iterable[str | rich_text.Text]]) -> rich_table.Table:
    """A table without lines around its cells, whose long cells continue on the next line."""
    table = rich_table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(rich_text.Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _style(verdict: Verdict, confidence: Confidence | None) -> str:
    return _STYLE[wording.tone(verdict, confidence)]


def _evidence(result: Result) -> str:
    """Why the verdict was reached, the findings that support it, and what else could explain them."""
    said: list[str] = [wording.why(result)]
    if outcome := wording.wire_outcome(result):
        return f"{outcome}. {said[0]}"
    wanted = Meaning.GENUINE if result.verdict is Verdict.CLEAN else Meaning.INTERCEPTED
    said += [
        wording.summary(finding, result)
        for finding in result.findings
        if finding.says is wanted or _is_always_shown(finding, result)
    ]
    if result.alternatives:
        said.append(f"Or: {', '.join(result.alternatives)}.")
    return " ".join(dict.fromkeys(said))


def _is_always_shown(finding: Finding, result: Result) -> bool:
    """Whether a finding is shown whatever it supports: wrong clocks and dates, second tries, and where TLS ends."""
    if finding.check == dates.ID:
        return finding.outcome != dates.Outcome.VALID and result.verdict is not Verdict.INCONCLUSIVE
    return finding.check in {clock.ID, second_try.ID, tls_location.ID}


def _footer(report: Report) -> Iterator[str]:
    yield ""
    if covered := sentences.coverage(report):
        yield covered
    for audience, title in ((Audience.IT, "For IT"), (Audience.DEVELOPER, "For developers")):
        for advice in sentences.advice_for(report, audience):
            yield f"{title}: {advice}"
    if sent := sentences.hellos(report):
        yield sent
    yield (
        f"Assessed with {len(report.results)} endpoint(s), {describe(report.knowledge)}, "
        f"detector {report.detector_version}, {report.finished:%Y-%m-%d %H:%M:%S} UTC."
    )
