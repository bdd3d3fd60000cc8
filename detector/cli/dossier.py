"""`detector dossier`: what is known of who decrypts at one place, for whoever reviews the place.

Room: cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from detector.errors import HistoryError
from detector.history.dossier import Gathering, Item
from detector.model import encode
from detector.session import utc_now

from . import common

if TYPE_CHECKING:
    import datetime as dt

    from detector.history.store import History

RUNS_MOST = 1_000_000
"""Runs looked through for unfinished ones: a century of hourly runs."""


@click.command()
@common.history_option
@click.option("--vantage", default="", metavar="NAME", help="The place, as its runs name it.")
@click.option("--days", type=click.IntRange(1, 36500), help="Only what was seen in the last days.")
@click.option(
    "--format",
    "form",
    envvar="DETECTOR_DOSSIER_FORMAT",
    type=click.Choice(["html", "json"]),
    default="html",
    show_default=True,
)
@click.option("--output", metavar="FILE", help="Write it there instead of to standard output.")
def dossier(*, place: str | None, vantage: str, days: int | None, form: str, output: str | None) -> int:
    """Tell what is known of one place from the history: since when, which hosts, which product, how sure.

    With what was tried to disprove it, what else could explain it, and what the evidence does not show. It is the basis
    on which an institution's usage rights are reviewed.
    """
    if place is None:
        raise HistoryError("No history was named.", advice="Give --history FILE|URL or set DETECTOR_HISTORY.")
    made = utc_now()
    since = None if days is None else made - common.days(days)
    gathering = Gathering(vantage)
    with common.open_history(place) as history, common.result_stream(output) as stream:
        unfinished = _from_history(gathering, history, vantage, since)
        found = gathering.dossier(made=made, unfinished_runs=unfinished)
        if form == "json":
            stream.write(msgspec.json.format(encode(found), indent=2).decode("utf-8") + "\n")
        else:
            from detector.report.html import render_dossier  # noqa: PLC0415 - other commands start without it

            stream.write(render_dossier(found))
    return common.CLEAN


def _from_history(gathering: Gathering, history: History, vantage: str, since: dt.datetime | None) -> int:
    """Take what the history has of a place; gives the number of its unfinished runs."""
    for seen in history.sightings(vantage=vantage, since=since):
        gathering.add(Item(seen.at, seen.vantage, seen.result, f"run {seen.run} of {history.name}"))
    return sum(run.finished is None for run in history.runs(vantage=vantage, since=since, limit=RUNS_MOST))
