"""`detector check`: is TLS intercepted on this network?

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import click

from detector.aio.tasks import cancel_and_wait, run_in_thread
from detector.locate.locate import Locating
from detector.model import Confidence, Engine
from detector.session.follow_up import DEFAULT_CONTROL, Control
from detector.session.plan import HELLO_CHOICES, USUAL
from detector.session.seams import utc_now
from detector.session.session import LOADING_DELAY, Detector
from detector.trust.key_files import load_signing_key

from . import common

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Report
    from detector.report.html import TimelineEntry
    from detector.session.settings import HelloName


@click.command()
@click.argument("targets", nargs=-1, metavar="[HOST[:PORT]]...")
@common.deadline_option("Answer within this time, counted from the start of the command.")
@common.fail_on_option("Least confidence of middleware that makes the exit code 1; below it the exit code is 3.")
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
@click.option(
    "--route",
    default=None,
    metavar="WAY[,WAY...]",
    help="Ways to take: all, or some of direct, direct4, direct6, proxy. Default: the proxy where one is set.",
)
@click.option(
    "--all-addresses",
    is_flag=True,
    help="Look at every address of each host, and at its RSA and its ECDSA certificate.",
)
@click.option("--doh", metavar="URL", help="Ask this resolver over HTTPS, too, and compare (extra doh).")
@click.option("--locate", is_flag=True, help="Trace at which hop what does not look genuine is answered.")
@click.option("--quic", is_flag=True, help="Look over QUIC, too, and compare (extra quic).")
@click.option(
    "--hello",
    type=click.Choice(HELLO_CHOICES),
    default="default",
    show_default=True,
    help="ClientHello to send: ours, a browser's, or both to compare (extra browser).",
)
@click.option(
    "--engine",
    type=click.Choice([engine.value for engine in Engine]),
    default=Engine.AUTO.value,
    show_default=True,
    help="What makes the handshakes: OpenSSL, our own code, or our own with OpenSSL where it does not do.",
)
@click.option("--portal-api", metavar="URL", help="Captive portal API of this network (RFC 8908).")
@click.option("--bundle", metavar="FILE", help="Write the evidence there besides, for `detector verify`.")
@click.option("--signing-key", metavar="PEM", help="Sign the bundle with this Ed25519 key (PKCS #8).")
@common.history_option
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
    route: str | None,
    all_addresses: bool,
    doh: str | None,
    quic: bool,
    hello: HelloName,
    engine: str,
    portal_api: str | None,
    locate: bool,
    bundle: str | None,
    signing_key: str | None,
    place: str | None,
) -> int:
    """Check the endpoints named, or every endpoint of the pin files (the shipped ones without --pins).

    Exit code: 0 clean, 1 middleware at --fail-on or above, 2 bad usage or input, 3 inconclusive.
    """
    source = click.get_current_context().get_parameter_source("signing_key")
    if bundle is None and source is click.core.ParameterSource.COMMANDLINE:  # a configuration file may have it ready
        raise click.UsageError("--signing-key signs a bundle: say with --bundle where to write it.")
    common.refuse_one_place_for_two(options.output, bundle)
    keys = () if signing_key is None or bundle is None else (load_signing_key(signing_key),)
    with contextlib.ExitStack() as stack:
        history = None if place is None else stack.enter_context(common.open_history(place))
        chosen = common.settings(
            options,
            route=USUAL if route is None else route,
            all_addresses=all_addresses,
            doh=doh,
            quic=quic,
            hello=hello,
            engine=Engine(engine),
            control=Control(portal_url, portal_status, api_url=portal_api),
            seen_before=common.seen_before(history),
        )
        detector = Detector(**chosen, locating=Locating() if locate else None)
        endpoints = detector.endpoints(targets or None)
        evidence = None if bundle is None else stack.enter_context(common.result_stream(bundle))
        with common.result_stream(options.output) as stream:
            spent = 0.0 if started is None else time.monotonic() - started
            checking = _check(detector, endpoints if targets else None, max(deadline - spent, 0.05), options.format)
            report, cases = asyncio.run(checking)
            earlier: tuple[TimelineEntry, ...] = ()
            if history is not None:
                history.record(report)
                earlier = common.timeline(history, report) if options.format is common.Format.HTML else ()
            common.write(report, options.format, stream, earlier)
        common.warn_of_age(report.knowledge, report.finished)
        if evidence is not None:
            from detector.bundle import pack  # noqa: PLC0415 - not on the way to a verdict

            evidence.write(pack(report, cases, keys=keys).decode())
    return common.exit_code(report, Confidence(fail_on))


async def _check(
    detector: Detector, endpoints: tuple[Endpoint, ...] | None, deadline: float, form: common.Format
) -> tuple[Report, tuple[EndpointEvidence, ...]]:
    """Do what `Detector.check` does, and keep what it was judged from; load what writes it meanwhile."""
    loading = asyncio.create_task(_load_form(form))
    try:
        async with detector:
            started = utc_now()
            cases = await detector.observe(endpoints, deadline=deadline)
            named = tuple(endpoint.name for endpoint in endpoints or ())
            return await detector.assess(cases, started=started, named=named), cases
    finally:
        await cancel_and_wait((loading,))


async def _load_form(form: common.Format) -> None:
    """Import what writes the result while the network is waited for, after what judges it."""
    await asyncio.sleep(2 * LOADING_DELAY)
    await run_in_thread(lambda: common.load_form(form))
