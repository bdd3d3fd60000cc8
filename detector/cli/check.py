"""`detector check`: is TLS intercepted on this network?

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any, Final

import click

from detector.aio.lazy import LazyModule
from detector.aio.tasks import cancel_and_wait, run_in_thread
from detector.locate.locate import Locating
from detector.model import Confidence, Detail, Verdict
from detector.model.private_files import OWNER_ONLY
from detector.session.follow_up import DEFAULT_CONTROL, Control
from detector.session.seams import utc_now
from detector.session.session import LOADING_DELAY, Detector, observe, report_of
from detector.trust.key_files import load_signing_key

from . import common, options, reporting
from .stderr import is_terminal, say

if TYPE_CHECKING:
    from detector import bundle as bundles
    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Report
    from detector.report import siem

    from . import chains, progress
    from . import syslog as collectors
else:
    bundles = LazyModule("detector.bundle")
    chains = LazyModule("detector.cli.chains")
    collectors = LazyModule("detector.cli.syslog")
    progress = LazyModule("detector.cli.progress")
    siem = LazyModule("detector.report.siem")

SYSLOG_SECONDS: Final = 3.0
"""For a collector, after the verdict: it is on the same network, or a round trip away."""

_COLLECTOR: Final = options.Parsed("URL", lambda url: collectors.parse(url))  # noqa: PLW0108 - imported on use


@options.command(
    "detector check exam.example.edu",
    "detector check https://exam.example.edu/login lms.example.org:8443 --json",
    "detector check --pins pins.toml --format html -o report.html",
    "detector check exam.example.edu --route all --quic -v",
)
@click.pass_obj
def check(  # noqa: PLR0913 - one parameter per option
    started: float | None,
    *,
    targets: tuple[str, ...] = options.targets,
    deadline: float = options.deadline(),
    fail_on: Confidence = options.fail_on(),
    portal_url: str = options.probing(
        "--portal-url",
        "Control request for captive portals (http), made only when an endpoint is suspicious.",
        default=DEFAULT_CONTROL.url,
        metavar="URL",
        field="control.url",
    ),
    portal_status: int = options.probing(
        "--portal-status",
        "Status of the control request where there is no portal.",
        type=click.IntRange(100, 599),
        default=DEFAULT_CONTROL.status,
    ),
    portal_api: str | None = options.probing(
        "--portal-api", "Captive portal API of this network (RFC 8908).", metavar="URL", field="control.api_url"
    ),
    bundle: str | None = options.bundle,
    signing_key: str | None = options.signing_key,
    save_chain: str | None = options.save_chain,
    place: str | None = options.history,
    settings: dict[str, Any] = options.probing(
        "--doh", "Also resolve with this resolver over HTTPS, and compare (extra doh).", setting=True, metavar="URL"
    )
    + options.settings()
    + options.variants,
    locate: bool = options.locate,
    report: dict[str, Any] = options.reporting,
    syslog: collectors.Collector | None = options.result(
        "--syslog", "Also send each result to this collector (RFC 5424, CEF).", type=_COLLECTOR, metavar="URL"
    ),
    out: options.Output = options.report,
) -> int:
    """Check whether TLS is intercepted on this network.

    Probes the endpoints named, as hosts or URLs, or every endpoint of the pin files (the shipped ones without --pins).

    Exit code: 0 clean, 1 middleware at --fail-on or above, 2 bad usage or input, 3 inconclusive.
    """
    source = click.get_current_context().get_parameter_source("signing_key")
    if bundle is None and source is click.core.ParameterSource.COMMANDLINE:  # a configuration file may set it for all
        raise click.UsageError("--signing-key signs a bundle: say with --bundle where to write it.")
    common.refuse_same_file(output=out.file, bundle=bundle, save_chain=save_chain)
    keys = () if signing_key is None or bundle is None else (load_signing_key(signing_key),)
    with contextlib.ExitStack() as stack:
        reports = stack.enter_context(reporting.Reports(report, settings))
        history = stack.enter_context(common.SideHistory(place, common.history_wait(deadline, started)))
        detector = Detector(
            **settings,
            control=Control(portal_url, portal_status, api_url=portal_api),
            seen_before=history.genuine,
            locating=Locating() if locate else None,
        )
        endpoints = detector.endpoints(targets or None)
        seal = stack.enter_context(common.later(bundle, "--bundle", mode=OWNER_ONLY))
        names = [endpoint.name for endpoint in endpoints]
        save = None if save_chain is None else stack.enter_context(chains.saver(save_chain, names))
        show = stack.enter_context(common.later(out.file))
        left = common.remaining(deadline, started)
        checking = _check(detector, endpoints if targets else None, left, out.form, out.detail)
        found, evidence = asyncio.run(checking)
        common.in_order(
            lambda: show(lambda stream: common.write(found, out, stream, history.timeline(found, out.form))),
            lambda: history.write(lambda kept: kept.record(found)),
            lambda: bundle and seal(lambda stream: stream.write(bundles.pack(found, evidence, keys=keys).decode())),
            lambda: save and save(found.results),
            lambda: syslog and syslog.send(siem.render(found, "syslog").splitlines(), seconds=SYSLOG_SECONDS),
        )
        common.warn_of_age(found.knowledge, found.finished)
        if out.form is options.Format.TABLE and out.detail is not Detail.VERDICT and settings.get("offline"):
            _note_offline(found)
        reports.report_last(lambda reporter: reporter.bundle(bundles.pack(found, evidence)))
    return common.exit_code(found, fail_on)


def _note_offline(report: Report) -> None:
    """Say what a run with --offline could not find out, where that would have mattered."""
    seen = any(one.observation.chain for one in report.results)
    if seen and report.verdict is not Verdict.CLEAN and report.confidence in {None, Confidence.POSSIBLE}:
        say("Note: --offline leaves out the comparison with well-known hosts; without it the answer may be surer.")


async def _check(
    detector: Detector,
    endpoints: tuple[Endpoint, ...] | None,
    deadline: float,
    form: options.Format,
    detail: Detail,
) -> tuple[Report, tuple[EndpointEvidence, ...]]:
    """Do what `Detector.check` does, and keep the evidence; meanwhile import what writes the report."""
    meanwhile = [asyncio.create_task(_load_format(form))]
    if detail is not Detail.VERDICT and is_terminal():
        number = len(detector.pins.endpoints if endpoints is None else endpoints)
        words = f"Checking {number} host(s), {{}} s of at most {math.ceil(deadline)} s ..."
        meanwhile.append(asyncio.create_task(progress.show(words.format)))
    try:
        async with detector:
            started = utc_now()
            evidence = await observe(detector, endpoints, deadline=deadline)
            named = tuple(endpoint.name for endpoint in endpoints or ())
            return await report_of(detector, evidence, started=started, named=named), evidence
    finally:
        await cancel_and_wait(meanwhile)


async def _load_format(form: options.Format) -> None:
    """Import what writes the report while probes wait for the network, after the modules that assess."""
    await asyncio.sleep(2 * LOADING_DELAY)
    await run_in_thread(lambda: common.load_format(form))
