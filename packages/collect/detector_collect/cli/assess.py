"""`detector-collect assess`: say of each institution whose interceptors its students met.

Room: detector_collect.cli.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import click

from detector.cli import options
from detector.session.seams import utc_now
from detector_collect.worker import assess_period

from .common import database, listed, material, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.responsibility import Assessment
    from detector_collect.store.database import Store

DAYS_DEFAULT: Final = 182
"""Half a year: a term and its exams."""


@options.command("detector-collect assess", "detector-collect assess --days 120 --until 2026-07-31 --json")
def assess(
    *,
    days: int = options.service(
        "--days", "Days that the period has.", type=click.IntRange(1, 3660), default=DAYS_DEFAULT, show_default=True
    ),
    until: dt.datetime | None = options.service(
        "--until", "The end of the period (UTC) instead of now.", type=click.DateTime()
    ),
    settings: dict[str, Any] = options.settings(only={"data", "pins"}),
    database: str | None = database,
    out: options.Output = listed,
) -> int:
    """Make a statement about every institution.

    It says what was found there in a period, and is stored. Every assessment has a number, and spends its part of the
    probability of ever naming an institution without reason (docs/responsibility.md): assess once a term, not once a
    day.
    """
    now = utc_now()
    end = now if until is None else until.replace(tzinfo=dt.UTC)
    known = material(settings).read()

    async def run(store: Store) -> tuple[Assessment, ...]:
        return await assess_period(store, known, since=end - dt.timedelta(days=days), until=end, now=now)

    assessed = with_store(database, run)
    rows = [
        {"institution": one.institution, "conclusion": one.conclusion.value, "students": one.students}
        for one in assessed
    ]
    return write_rows(rows, out)
