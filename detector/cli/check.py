"""`detector check`: is TLS decrypted on this network?

Room: cli.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from detector.locating import Locating
from detector.model import Confidence
from detector.second_look import DEFAULT_CONTROL, Control
from detector.session import DEADLINE_DEFAULT, Detector

from . import common

if TYPE_CHECKING:
    from detector.model import Endpoint, Report

DEADLINE_LONGEST = 3600.0
"""Seconds; a check is for now, longer observation is `watch`'s business."""


@click.command()
@click.argument("targets", nargs=-1, metavar="[HOST[:PORT]]...")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0.1, max=DEADLINE_LONGEST),
    default=DEADLINE_DEFAULT,
    show_default=True,
    metavar="SECONDS",
    help="Answer within this time, counted from the start of the command.",
)
@click.option(
    "--fail-on",
    type=click.Choice([c.value for c in Confidence]),
    default=Confidence.PROBABLE.value,
    show_default=True,
    help="Least confidence of middleware that makes the exit code 1; below it the exit code is 3.",
)
@click.option(
    "--portal-url",
    default=DEFAULT_CONTROL.url,
    show_default=True,
    metavar="URL",
    help="Control request for captive portals (http), made only when something looks wrong.",
)
@click.option(
    "--portal-status",
    type=click.IntRange(100, 599),
    default=DEFAULT_CONTROL.status,
    show_default=True,
    help="Status that the control request has where no portal is.",
)
@click.option("--locate", is_flag=True, help="Trace at which hop what does not look genuine is answered.")
@click.option("--portal-api", metavar="URL", help="Captive portal API of this network (RFC 8908).")
@common.common
@click.pass_obj
def check(  # noqa: PLR0913 - one parameter per option
    started: float | None,
    *,
    options: common.Options,
    targets: tuple[str, ...],
    deadline: float,
    fail_on: str,
    portal_url: str,
    portal_status: int,
    portal_api: str | None,
    locate: bool,
) -> int:
    """Check the endpoints named, or every endpoint of the pin files (the shipped ones without --pins).

    Exit code: 0 clean, 1 middleware at --fail-on or above, 2 bad usage or input, 3 inconclusive.
    """
    detector = Detector(
        pins=options.pins or None,
        roots=options.roots,
        add_roots=options.add_roots,
        logs=options.ct_logs,
        route=options.proxy,
        resolve=options.resolve,
        vantage=options.vantage,
        offline=options.offline,
        control=Control(portal_url, portal_status, api_url=portal_api),
        locating=Locating() if locate else None,
    )
    endpoints = detector.endpoints(targets or None)
    with common.result_stream(options.output) as stream:
        spent = 0.0 if started is None else time.monotonic() - started
        report = asyncio.run(_check(detector, endpoints if targets else None, max(deadline - spent, 0.05)))
        common.write(report, options.format, stream)
    return common.exit_code(report, Confidence(fail_on))


async def _check(detector: Detector, endpoints: tuple[Endpoint, ...] | None, deadline: float) -> Report:
    async with detector:
        return await detector.check(endpoints, deadline=deadline)
