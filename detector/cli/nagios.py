"""`detector nagios`: one line and an exit code for monitoring systems.

Room: cli.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from detector.errors import DetectorError, NoRoomError
from detector.report import programs
from detector.session.session import check

from . import common, options

if TYPE_CHECKING:
    from detector.model import Confidence


class _Plugin(options.Command):
    """A command whose wrong usage is UNKNOWN: its usual exit code, 2, would read as CRITICAL."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise SystemExit(_unknown(error.format_message())) from error


@click.command(cls=_Plugin)
@options.targets
@options.deadline("Answer within this time.")
@options.fail_on("Lowest confidence of middleware that is CRITICAL; below it is WARNING.")
@options.settings()
@options.output
def nagios(
    *, settings: dict[str, Any], targets: tuple[str, ...], deadline: float, fail_on: Confidence, output: str | None
) -> int:
    """Check endpoints and print one line for Nagios, Icinga and similar systems.

    Exit code: 0 OK, 1 WARNING, 2 CRITICAL (middleware at --fail-on or above), 3 UNKNOWN, wrong usage included; 74 no
    room for --output.
    """
    try:
        with common.result_stream(output) as stream:
            report = asyncio.run(check(targets or None, deadline=deadline, **settings))
            stream.write(programs.nagios(report, fail_on))
    except NoRoomError:
        raise
    except DetectorError as error:
        return _unknown(str(error))
    return programs.nagios_status(report, fail_on)


def _unknown(why: str) -> int:
    sys.stdout.write(f"TLS UNKNOWN - {' '.join(why.replace('|', '/').split())}\n")
    sys.stdout.flush()
    return programs.UNKNOWN
