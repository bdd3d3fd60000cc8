"""The report as text for a terminal: readable in color, without color, and when piped into a file.

Room: report. Pure: returns rich renderables, which the caller prints. Nothing from a certificate is treated as markup,
and names come from `trust.name` with control characters escaped. Short answer first: the verdict and what to do, a
paragraph for each interceptor, a row for each category; the evidence for each host only where it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from detector.aio.lazy import LazyModule
from detector.judge import wording
from detector.judge.checks import clock, dates, second_try, tls_location
from detector.knowledge import age
from detector.language import ENGLISH
from detector.model import Audience, Detail, Meaning, Verdict

from . import learn_more, sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich import console as rich_console
    from rich import padding as rich_padding
    from rich import table as rich_table
    from rich import text as rich_text

    from detector.model import Confidence, Finding, Report, Result
else:  # JSON, which a client reads at exam start, is a report without rich
    rich_console = LazyModule("rich.console")
    rich_padding = LazyModule("rich.padding")
    rich_table = LazyModule("rich.table")
    rich_text = LazyModule("rich.text")

NARROW: Final = 80
"""Columns; on less, tables have two."""
LONG: Final = 12
"""Rows and paragraphs after which the verdict is given again: it has left the screen (24 lines) then."""
_STYLE: Final = {"clean": "bold green", "intercepted": "bold red", "uncertain": "bold yellow"}
"""The style of each tone; terminals show yellow as amber."""


def render(report: Report, detail: Detail = Detail.SUMMARY, language: str = ENGLISH) -> rich_console.RenderableType:
    """The verdict and what to do; then who intercepts, what is uncertain, each category; last who can do what."""
    style = _style(report.verdict, report.confidence)
    headline = rich_text.Text(sentences.headline(report, language), style=style)
    if detail is Detail.VERDICT:
        return headline
    parts: list[rich_console.RenderableType] = [headline, rich_text.Text(sentences.what_to_do(report, language))]
    about = [*_about(report)]
    if sentences.is_unreachable(report) and len(about) == 1:  # the first sentence says it of all
        about = []
    parts += [rich_text.Text("")] * bool(about)
    for title, words in about:
        parts += [rich_text.Text(title, style="bold"), rich_padding.Padding(rich_text.Text(words), (0, 0, 0, 2))]
    rows = [] if sentences.is_unreachable(report) else sentences.rows(report)
    if rows:
        parts += [rich_text.Text(""), _Categories(rows)]
    if detail is Detail.EVIDENCE:
        parts += [rich_text.Text(""), plain(("hosts", "evidence"), _evidence(report))]
    parts += map(rich_text.Text, _footer(report, detail, language))
    if len(rows) + 2 * len(about) > LONG or detail is Detail.EVIDENCE:
        parts.append(headline)
    return rich_console.Group(*parts)


def plain(titles: Iterable[str], rows: Iterable[Iterable[str | rich_text.Text]]) -> rich_table.Table:
    """A table without lines around its cells, whose long cells continue on the next line."""
    table = _grid(titles)
    for row in rows:
        table.add_row(*(rich_text.Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _grid(titles: Iterable[str], *, show_header: bool = True) -> rich_table.Table:
    table = rich_table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, show_header=show_header)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


class _Categories(NamedTuple):
    """A row for each category: in three columns, or in two where the terminal is narrow."""

    rows: Sequence[sentences.Row]

    def __rich_console__(
        self, _: rich_console.Console, options: rich_console.ConsoleOptions
    ) -> rich_console.RenderResult:
        """Yield the table that fits this width."""
        narrow = options.max_width < NARROW
        table = _grid(("",) * (2 if narrow else 3), show_header=False)
        for category, state, hosts, first in self.rows:
            mark = wording.mark(first.verdict, first.confidence)
            said = rich_text.Text(f"{mark} {state}", style=_style(first.verdict, first.confidence))
            cells = (said, rich_text.Text(hosts))
            table.add_row(category, *((rich_text.Text(": ").join(cells),) if narrow else cells))
        yield table


def _style(verdict: Verdict, confidence: Confidence | None) -> str:
    return _STYLE[wording.tone(verdict, confidence)]


def _about(report: Report) -> Iterator[tuple[str, str]]:
    """Yield a title and sentences: for each interceptor, then for hosts that are uncertain for the same reason."""
    for party in sentences.parties(report):
        yield party.name[:1].upper() + party.name[1:], " ".join(party.sentences)
    for doubt in sentences.doubts(report):
        yield doubt.hosts, " ".join(doubt.sentences)


def _evidence(report: Report) -> Iterator[tuple[str, str]]:
    """Yield hosts and the evidence on them, with the codes of rules and checks; equal evidence once."""
    groups: dict[str, list[Result]] = {}
    for result in report.results:
        groups.setdefault("\n".join(_evidence_of(result)), []).append(result)
    for words, results in groups.items():
        yield "\n".join(result.endpoint.name for result in results), words


def _evidence_of(result: Result) -> Iterator[str]:
    """Yield the rule that decided, the findings that support it, and what else could explain them."""
    sure = result.confidence or result.assurance
    yield f"{result.verdict}{f', {sure}' if sure else ''} [{result.reason}]: {wording.why(result)}"
    if outcome := wording.wire_outcome(result):
        yield f"{wording.ended(outcome)} [{outcome}]"
        return
    wanted = Meaning.GENUINE if result.verdict is Verdict.CLEAN else Meaning.INTERCEPTED
    for finding in result.findings:
        if finding.says is wanted or _is_always_shown(finding, result):
            yield f"{wording.summary(finding, result)} [{finding.check}: {finding.outcome}]"
    if others := wording.alternatives(result):
        yield f"It could also be {', or '.join(others)}."


def _is_always_shown(finding: Finding, result: Result) -> bool:
    """Whether a finding is shown whatever it supports: wrong clocks and dates, second tries, and where TLS ends."""
    if finding.check == dates.ID:
        return finding.outcome != dates.Outcome.VALID and result.verdict is not Verdict.INCONCLUSIVE
    return finding.check in {clock.ID, second_try.ID, tls_location.ID}


def _footer(report: Report, detail: Detail, language: str) -> Iterator[str]:
    """Yield what others can do, how clean hosts are known to be clean, and what the assessment used."""
    most = None if detail is Detail.EVIDENCE else sentences.NAMED_MOST
    said = [*sentences.route(report)]
    for audience, title in ((Audience.IT, "For IT"), (Audience.DEVELOPER, "For developers")):
        said += (f"{title}: {advice}" for advice in sentences.advice_for(report, audience, most=most))
    if said:
        yield from ("", *said)
    yield from filter(None, (sentences.basis(report, language), sentences.hellos(report)))
    if detail is Detail.EVIDENCE:
        yield f"Findings are explained in {learn_more.address('CHECK', 'OUTCOME')}, rules by detector rules RULE."
    known = age.describe(report.knowledge) if detail is Detail.EVIDENCE else age.dates(report.knowledge)
    yield f"Assessed {report.finished:%Y-%m-%d %H:%M} UTC by detector {report.detector_version} with {known}."
