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


@options.command(
    "detector nagios exam.example.edu",
    "detector nagios --pins /etc/detector/pins --fail-on proven --deadline 20",
    cls=_Plugin,
)
@click.pass_obj
def nagios(  # noqa: PLR0913 - one parameter per option
    started: float | None,
    *,
    targets: tuple[str, ...] = options.targets,
    deadline: float = options.deadline(),
    fail_on: Confidence = options.fail_on("Lowest confidence of middleware that is CRITICAL; below it is WARNING."),
    place: str | None = options.known_history,
    settings: dict[str, Any] = options.settings(),
    output: str | None = options.output,
) -> int:
    """Print one line for Nagios, Icinga and similar systems.

    Checks the endpoints named, or every endpoint of the pin files.

    Exit code: 0 OK, 1 WARNING, 2 CRITICAL (middleware at --fail-on or above), 3 UNKNOWN, wrong usage included; 74 no
    room for --output.
    """
    try:
        with (
            common.SideHistory(place, common.history_wait(deadline, started)) as history,
            common.result_stream(output) as stream,
        ):
            left = common.remaining(deadline, started)
            checking = check(targets or None, deadline=left, **settings, seen_before=history.genuine)
            report = asyncio.run(checking)
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
