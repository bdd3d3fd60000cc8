"""The report as a table for a terminal: readable in colour, without colour, and when piped into a file.

Room: report. Pure: gives rich renderables; whoever owns the terminal prints them. Nothing from a certificate is
ever treated as markup, and names come from `trust.name` with control characters escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.knowledge import describe
from detector.model import Audience, Says, Verdict

from . import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from detector.model import Report, Result

_STYLE: Final[dict[Verdict, str]] = {
    Verdict.CLEAN: "bold green",
    Verdict.MIDDLEWARE: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
}


def render(report: Report) -> RenderableType:
    """Two sentences, then one row per endpoint with the evidence that decided."""
    from rich.console import Group  # noqa: PLC0415 - JSON, which a client reads at exam start, is a report without it
    from rich.text import Text  # noqa: PLC0415 - as above

    return Group(
        Text(sentences.headline(report), style=_STYLE[report.verdict]),
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
            Text(result.verdict, style=_STYLE[result.verdict]),
            Text(str(result.confidence or result.assurance or result.reason)),
            Text(_evidence(result)),
        )
    return table


def _evidence(result: Result) -> str:
    """The findings that speak the way the verdict went, and the alternatives where there are any."""
    if result.reason == "no-certificate":
        return f"{result.observation.outcome}"
    wanted = Says.GENUINE if result.verdict is Verdict.CLEAN else Says.INTERCEPTED
    said = [f.summary for f in result.findings if f.says is wanted]
    said += [f.summary for f in result.findings if f.check == "clock"]
    if result.verdict is not Verdict.INCONCLUSIVE:
        said += [f.summary for f in result.findings if f.check == "dates" and f.outcome != "valid"]
    said += [f.summary for f in result.findings if f.check == "location"]
    if result.alternatives:
        said.append(f"Or: {', '.join(result.alternatives)}.")
    return " ".join(dict.fromkeys(said)) or result.reason


def _footer(report: Report) -> Iterator[str]:
    yield ""
    told = sentences.coverage(report)
    if told:
        yield told
    for audience, title in ((Audience.IT, "For IT"), (Audience.DEVELOPER, "For developers")):
        for advice in sentences.advice_for(report, audience):
            yield f"{title}: {advice}"
    yield (
        f"Judged with {len(report.results)} endpoint(s), {describe(report.knowledge)}, "
        f"detector {report.detector_version}, {report.finished:%Y-%m-%d %H:%M:%S} UTC."
    )
