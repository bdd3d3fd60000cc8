"""`detector history` and `detector diff`: the results of earlier runs, and what changed since.

Room: cli.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Final

import click
import msgspec

from detector.errors import HistoryError, InputError
from detector.history.difference import ChangeKind, Difference, compare
from detector.judge.wording import state
from detector.model import Detail, Report
from detector.model.validate import naming
from detector.session.seams import utc_now

from . import common, options
from .options import Format
from .stderr import say
from .streams import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.history.store import History, Run

REPORT_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of a report file that are read; 5000 endpoints with everything have about 100 MB."""

RUN_DIGITS_MAX: Final = 18
"""Digits of a run's number: SQLite and PostgreSQL count to 2**63."""

WORSE: Final = frozenset({ChangeKind.INTERCEPTED, ChangeKind.OTHER_INTERCEPTOR, ChangeKind.SURER, ChangeKind.UNCERTAIN})
"""Changes that make `diff` exit with 1."""


@options.group(
    "detector history --history runs.sqlite",
    "detector history --history runs.sqlite --vantage room-12 --days 30",
    "detector history show 1 --history runs.sqlite",
    invoke_without_command=True,
    sections={"Read": ("show",)},
)
@click.pass_context
def history(  # noqa: PLR0913 - one parameter per option
    context: click.Context,
    *,
    place: str | None = options.read_history,
    vantage: str | None = options.target("--vantage", "Only runs from this place.", metavar="NAME"),
    days: int | None = options.days,
    limit: int = options.target("--limit", "Maximum number of runs.", type=click.IntRange(1, 100000), default=50),
    out: options.Output = options.written(Format.TABLE, Format.JSONL, quiet=False),
) -> int:
    """List the runs of the history, newest first.

    `detector history show RUN` shows one of them. Runs are recorded by `detector check --history FILE|URL` and
    `detector scan --history FILE|URL`. The environment variable DETECTOR_HISTORY can name the place instead. `default`
    is a file in your own data directory.
    """
    context.obj = place
    if context.invoked_subcommand is not None:
        _refuse_options_of_the_list(context)
        return common.CLEAN
    since = None if days is None else utc_now() - dt.timedelta(days=days)
    with common.result_stream(out.file) as stream:
        with _open(place) as kept:
            found = kept.runs(vantage=vantage, since=since, limit=limit)
        for run in found:
            line = printable(_line(run)) if out.form is Format.TABLE else msgspec.json.encode(run._asdict()).decode()
            stream.write(f"{line}\n")
    if not found:
        say("The history has no such run.")
    return common.CLEAN


def _refuse_options_of_the_list(context: click.Context) -> None:
    """Refuse what is given for the list of runs in front of a subcommand. Raises click.UsageError."""
    order = click.core.ParameterSource
    for param in context.command.params:
        given = context.get_parameter_source(str(param.name)) is order.COMMANDLINE
        if given and param.name not in {"place", "verbose"}:
            raise click.UsageError(
                f"{param.opts[0]} is for the list of runs: write options of `{context.invoked_subcommand}` after it."
            )


@history.subcommand(
    "detector history show 1 --history runs.sqlite",
    "detector history --history runs.sqlite show 1 --format html -o run.html",
)
@click.pass_obj
def show(
    place_of_group: str | None,
    *,
    run: int = options.argument(type=int),
    place: str | None = options.read_history,
    out: options.Output = options.report,
) -> int:
    """Show the report of one run.

    As HTML it has the earlier runs of its vantage.
    """
    with common.result_stream(out.file) as stream:
        with _open(place or place_of_group) as kept:
            report = kept.load(run)
            timeline = common.timeline(kept, report, out.form)
        common.write(report, out, stream, timeline)
    return common.CLEAN


@options.command(
    "detector diff 1 2 --history runs.sqlite",
    "detector diff yesterday.json today.json --json",
    "detector diff 1 today.json --history runs.sqlite -o changes.txt",
)
def diff(
    *,
    before: str = options.argument(metavar="A"),
    after: str = options.argument(metavar="B"),
    place: str | None = options.read_history,
    out: options.Output = options.record,
) -> int:
    """Report what changed from one run to another.

    That is what is intercepted or uncertain now, what no longer is, and which pins are stale. A and B are numbers of
    runs in the history, or files with JSON reports.

    Exit code: 0 nothing got worse, 1 something did, 2 bad usage or input.
    """
    with common.result_stream(out.file) as stream:
        found = compare(_report(before, place), _report(after, place), names=(_named(before), _named(after)))
        if out.form is Format.JSON:
            stream.write(common.as_json(found))
        else:
            stream.writelines(f"{printable(line)}\n" for line in _lines(found, out.detail))
    return common.MIDDLEWARE if any(change.kind in WORSE for change in found.changes) else common.CLEAN


def _lines(found: Difference, detail: Detail) -> Iterator[str]:
    if detail is Detail.VERDICT:
        worse = sum(change.kind in WORSE for change in found.changes)
        yield f"Changes from {found.before} to {found.after}: {len(found.changes)}, for the worse: {worse}."
        return
    hosts_by_words: dict[str, list[str]] = {}
    for change in found.changes:
        code = f" [{change.kind}]" if detail is Detail.EVIDENCE else ""
        words = change.summary.removeprefix(f"{change.endpoint}: ")
        hosts_by_words.setdefault(words + code, []).append(change.endpoint)
    for words, hosts in hosts_by_words.items():
        yield f"{', '.join(hosts)}: {words}"
    if not found.changes:
        yield f"Nothing changed from {found.before} to {found.after}."
    for note in found.notes:
        yield f"Note: {note}"


def _is_run(what: str) -> bool:
    """Whether this is a run's number, as a database can have it, and not a file."""
    return what.isdecimal() and len(what) <= RUN_DIGITS_MAX


def _named(what: str) -> str:
    return f"run {what}" if _is_run(what) else what


def _report(what: str, place: str | None) -> Report:
    if _is_run(what):
        with _open(place) as kept:
            return kept.load(int(what))
    data = common.read_file(what, REPORT_BYTES_MAX, InputError, "Name a run or a JSON report.")
    try:
        return Report.from_json(data)
    except ValueError as error:
        raise InputError(
            f"{what}: is not a JSON report.", advice="Make one with `detector check --format json --output FILE`."
        ) from error


@contextlib.contextmanager
def _open(place: str | None) -> Iterator[History]:
    if place is None:
        raise HistoryError(
            "No history was named.",
            advice="Give --history FILE|URL or set DETECTOR_HISTORY; `default` is a file in your data directory.",
        )
    with naming(common.HISTORY), common.open_history(place) as kept:
        yield kept


def _line(run: Run) -> str:
    verdict = "not finished" if run.verdict is None else state(run.verdict, run.confidence)
    return (
        f"{run.id:>6}  {run.started:%Y-%m-%d %H:%M:%S}  {run.kind:<6} {run.endpoints:>8}  {verdict:<22} {run.vantage}"
    )
