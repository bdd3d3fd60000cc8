"""`detector history` and `detector diff`: the results of earlier runs, and what changed since.

Room: cli.
"""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Final

import click
import msgspec

from detector.errors import HistoryError, InputError
from detector.history.difference import ChangeKind, Difference, compare
from detector.judge.wording import state
from detector.model import Detail, Report
from detector.session.seams import utc_now

from . import common, options
from .options import Format
from .stderr import say
from .streams import put

if TYPE_CHECKING:
    from detector.history.store import History, Run

REPORT_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of a report file that are read; 5000 endpoints with everything have about 100 MB."""

RUN_DIGITS_MAX: Final = 18
"""Digits of a run's number: SQLite and PostgreSQL count to 2**63."""

WORSE: Final = frozenset({ChangeKind.INTERCEPTED, ChangeKind.OTHER_INTERCEPTOR, ChangeKind.SURER, ChangeKind.UNCERTAIN})
"""Changes that make `diff` exit with 1."""


@click.group(cls=options.Group, invoke_without_command=True)
@options.known_history
@options.option("--vantage", "Only runs from this place.", metavar="NAME")
@options.days
@options.option("--limit", "Maximum number of runs.", type=click.IntRange(1, 100000), default=50)
@options.form(Format.TABLE, Format.JSONL)
@click.pass_context
def history(  # noqa: PLR0913 - one parameter per option
    context: click.Context, *, place: str | None, vantage: str | None, days: int | None, limit: int, form: Format
) -> int:
    """List the runs of the history, newest first; `detector history show RUN` shows one of them.

    Runs are recorded by `detector check --history FILE|URL` and `detector scan --history FILE|URL`. The environment
    variable DETECTOR_HISTORY can name the place instead. `default` is a file in your own data directory.
    """
    context.obj = place
    if context.invoked_subcommand is not None:
        return common.CLEAN
    since = None if days is None else utc_now() - dt.timedelta(days=days)
    with _open(place) as kept:
        found = kept.runs(vantage=vantage, since=since, limit=limit)
    for run in found:
        put(_line(run) if form is Format.TABLE else msgspec.json.encode(run._asdict()).decode())
    if not found:
        say("The history has no such run.")
    return common.CLEAN


@history.command()
@click.argument("run", type=int)
@options.report_form
@options.output
@click.pass_obj
def show(place: str | None, *, run: int, form: Format, detail: Detail, output: str | None) -> int:
    """Show the report of one run; as HTML with the earlier runs of its vantage."""
    with _open(place) as kept:
        report = kept.load(run)
        timeline = common.timeline(kept, report, form)
    with common.result_stream(output) as stream:
        common.write(report, form, stream, detail, timeline)
    return common.CLEAN


@click.command(cls=options.Command)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@options.known_history
@options.record_form
def diff(*, before: str, after: str, place: str | None, form: Format, detail: Detail) -> int:
    """Report what changed from A to B: what is intercepted or uncertain now, what no longer is, which pins are stale.

    A and B are numbers of runs in the history, or files with JSON reports.

    Exit code: 0 nothing got worse, 1 something did, 2 bad usage or input.
    """
    found = compare(_report(before, place), _report(after, place), names=(_named(before), _named(after)))
    if form is Format.JSON:
        sys.stdout.write(common.as_json(found))
    else:
        _print(found, detail)
    return common.MIDDLEWARE if any(change.kind in WORSE for change in found.changes) else common.CLEAN


def _print(found: Difference, detail: Detail) -> None:
    if detail is Detail.VERDICT:
        worse = sum(change.kind in WORSE for change in found.changes)
        put(f"Changes from {found.before} to {found.after}: {len(found.changes)}, for the worse: {worse}.")
        return
    hosts_by_words: dict[str, list[str]] = {}
    for change in found.changes:
        code = f" [{change.kind}]" if detail is Detail.EVIDENCE else ""
        words = change.summary.removeprefix(f"{change.endpoint}: ")
        hosts_by_words.setdefault(words + code, []).append(change.endpoint)
    for words, hosts in hosts_by_words.items():
        put(f"{', '.join(hosts)}: {words}")
    if not found.changes:
        put(f"Nothing changed from {found.before} to {found.after}.")
    for note in found.notes:
        put(f"Note: {note}")


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


def _open(place: str | None) -> History:
    if place is None:
        raise HistoryError(
            "No history was named.",
            advice="Give --history FILE|URL or set DETECTOR_HISTORY; `default` is a file in your data directory.",
        )
    return common.open_history(place)


def _line(run: Run) -> str:
    verdict = "not finished" if run.verdict is None else state(run.verdict, run.confidence)
    return (
        f"{run.id:>6}  {run.started:%Y-%m-%d %H:%M:%S}  {run.kind:<6} {run.endpoints:>8}  {verdict:<22} {run.vantage}"
    )
