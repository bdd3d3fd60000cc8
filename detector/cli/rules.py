"""`detector rules`: the decision table, or one rule of it.

Room: cli.
"""

from __future__ import annotations

import click

from detector.model import Reason

from . import common


@click.command()
@click.argument("reason", required=False, type=click.Choice([reason.value for reason in Reason]), metavar="[REASON]")
def rules(reason: str | None) -> int:
    """Explain how verdicts are reached: every rule of the decision table, or the one called REASON.

    REASON is what a report gives as the reason of a result.
    """
    from detector.report import rules as text  # noqa: PLC0415 - other commands start without the table

    for line in text.listing() if reason is None else text.explain(Reason(reason)):
        click.echo(line)
    return common.CLEAN
