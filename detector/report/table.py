"""The report as a table for a terminal: readable in colour, without colour, and when piped into a file.

Room: report. Pure: gives rich renderables; the caller owns the terminal and prints them. Nothing from a certificate is
ever treated as markup, and names come from `trust.distinguished_name` with control characters escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge import wording
from detector.judge.checks import clock, dates, tls_location
from detector.knowledge.age import describe
from detector.model import Audience, Meaning, Reason, Verdict

from . import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from detector.model import Confidence, Finding, Report, Result

_STYLE: Final = {"clean": "bold green", "intercepted": "bold red", "uncertain": "bold yellow"}
"""The style of each tone; terminals show yellow as amber."""


def render(report: Report) -> RenderableType:
    """Two sentences, then one row per endpoint with the evidence that decided."""
    from rich.console import Group  # noqa: PLC0415 - JSON, which a client reads at exam start, is a report without it
    from rich.text import Text  # noqa: PLC0415 - as above

    return Group(
        Text(sentences.headline(report), style=_style(report.verdict, report.confidence)),
        Text(sentences.what_to_do(report)),
        Text(""),
        _table(report),
        *(Text(line) for line in _footer(report)),
    )


def _table(report: Report) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as in `render`
    from rich.text import Text  # noqa: PLC0415 - as in `render`

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for title in ("endpoint", "category", "verdict", "rests on", "evidence"):
        table.add_column(title, overflow="fold")
    for result in report.results:
        table.add_row(
            Text(result.endpoint.name),
            Text(result.endpoint.category),
            Text(result.verdict, style=_style(result.verdict, result.confidence)),
            Text(str(result.confidence or result.assurance or result.reason)),
            Text(_evidence(result)),
        )
    return table


def _style(verdict: Verdict, confidence: Confidence | None) -> str:
    return _STYLE[wording.tone(verdict, confidence)]


def _evidence(result: Result) -> str:
    """Why the verdict is what it is, the findings that speak the same way, and what else could explain it."""
    said = [wording.why(result)]
    if result.reason is Reason.NO_CERTIFICATE:
        return f"{result.observation.outcome}. {said[0]}"
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
    """Whether a finding is shown whatever it speaks for: wrong clocks and dates, and where TLS ends."""
    if finding.check == dates.ID:
        return finding.outcome != dates.Outcome.VALID and result.verdict is not Verdict.INCONCLUSIVE
    return finding.check in {clock.ID, tls_location.ID}


def _footer(report: Report) -> Iterator[str]:
    yield ""
    if covered := sentences.coverage(report):
        yield covered
    for audience, title in ((Audience.IT, "For IT"), (Audience.DEVELOPER, "For developers")):
        for advice in sentences.advice_for(report, audience):
            yield f"{title}: {advice}"
    yield (
        f"Assessed with {len(report.results)} endpoint(s), {describe(report.knowledge)}, "
        f"detector {report.detector_version}, {report.finished:%Y-%m-%d %H:%M:%S} UTC."
    )
