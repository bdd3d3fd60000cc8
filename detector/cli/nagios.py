"""`detector nagios`: one line and an exit code for monitoring systems.

Room: cli.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from detector.errors import DetectorError
from detector.model import Confidence
from detector.session.session import Detector

from . import common

if TYPE_CHECKING:
    from detector.model import Report


UNKNOWN = 3
"""Exit code for what could not be judged (Monitoring Plugins Development Guidelines), as `report.nagios` has it."""


class _Plugin(click.Command):
    """A command whose wrong usage is UNKNOWN: its usual exit code, 2, would read as CRITICAL."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise SystemExit(_unknown(error.format_message())) from error


@click.command(cls=_Plugin)
@click.argument("targets", nargs=-1, metavar="[HOST[:PORT]]...")
@common.deadline_option("Answer within this time.")
@common.fail_on_option("Least confidence of middleware that is CRITICAL; below it is WARNING.")
@common.common_but_format
def nagios(*, options: common.Options, targets: tuple[str, ...], deadline: float, fail_on: str) -> int:
    """Check endpoints and print one line for Nagios, Icinga and their like.

    Exit code: 0 OK, 1 WARNING, 2 CRITICAL (middleware at --fail-on or above), 3 UNKNOWN, wrong usage included.
    """
    least = Confidence(fail_on)
    try:
        detector = Detector(**common.settings(options))
        report = asyncio.run(_check(detector, targets, deadline))
    except DetectorError as error:
        return _unknown(str(error))
    from detector.report import nagios as plugin  # noqa: PLC0415 - other commands start without it

    sys.stdout.write(plugin.render(report, least))
    return plugin.status(report, least)


async def _check(detector: Detector, targets: tuple[str, ...], deadline: float) -> Report:
    async with detector:
        return await detector.check(targets or None, deadline=deadline)


def _unknown(why: str) -> int:
    sys.stdout.write(f"TLS UNKNOWN - {' '.join(why.replace('|', '/').split())}\n")
    sys.stdout.flush()
    return UNKNOWN
