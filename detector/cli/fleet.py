"""`detector fleet`: scheduler, workers and scans over many machines.

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import InputError
from detector.judge import network
from detector.model.validate import PORT_MAX
from detector.scan.fleet import certificates, messages
from detector.session.seams import utc_now
from detector.session.session import Detector, context_of
from detector.session.settings import NetworkSettings
from detector.session.stream import StreamSettings
from detector.version import VERSION

from . import common, options, scan
from .options import Format
from .stderr import say
from .streams import put

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import TextIO

    from detector import report as reports
    from detector.model import Confidence, Report
    from detector.scan import Scanned
    from detector.scan.fleet import connection, coordinator, scheduler, worker
    from detector.scan.fleet.coordinator import Connection, FromVantage, Refused, Workers
else:
    coordinator = LazyModule("detector.scan.fleet.coordinator")
    connection = LazyModule("detector.scan.fleet.connection")
    scheduler = LazyModule("detector.scan.fleet.scheduler")
    reports = LazyModule("detector.report")
    worker = LazyModule("detector.scan.fleet.worker")

PORT: Final = 8786
"""Default port of schedulers."""


def _address(text: str) -> str:
    """The address of a scheduler, which must be encrypted. Raises ValueError."""
    host, _, port = text.removeprefix("tls://").rpartition(":")
    if not text.startswith("tls://") or not host or not port.isdecimal() or not 0 < int(port) <= PORT_MAX:
        raise ValueError(f"{text!r} is no address of a scheduler: write tls://HOST:PORT.")
    return text


_tls = options.service(
    "--tls", "Folder with the files from `detector fleet certificates`.", required=True, metavar="DIR"
)
_scheduler = options.service(
    "--scheduler",
    "Address of the scheduler.",
    required=True,
    type=options.Parsed("address", _address),
    metavar="tls://HOST:PORT",
)


@options.group(
    "detector fleet certificates fleet --host scheduler.example.edu",
    sections={"Set up": ("certificates", "scheduler", "worker"), "Use": ("scan",)},
)
def fleet() -> None:
    """Scan from many machines and vantages.

    First `certificates`, then one `scheduler`, some `worker`s, and `scan`. All parts speak mutual TLS, and no part runs
    code of another.
    """


@fleet.subcommand(
    "detector fleet certificates fleet --host scheduler.example.edu",
    "detector fleet certificates fleet --host 192.0.2.7 --host scheduler.example.edu --expires-in 90",
    name="certificates",
)
def make_certificates(
    *,
    folder: str = options.argument(metavar="DIR"),
    hosts: tuple[str, ...] = options.target(
        "--host", "Names of the scheduler.", multiple=True, required=True, metavar="NAME|ADDRESS"
    ),
    expires_in: int = options.result(
        "--expires-in",
        "Days that the certificates are valid.",
        type=click.IntRange(1, 3650),
        default=certificates.DAYS_VALID,
        metavar="DAYS",
    ),
) -> int:
    """Create the certificates of a fleet.

    Writes ca.pem, and a .pem and .key for scheduler, worker and client.
    """
    for file in certificates.write(folder, hosts=hosts, now=utc_now(), days=expires_in):
        put(str(file))
    say("Give each machine ca.pem and the two files of its role, over a secure channel, and no others.")
    return common.CLEAN


@fleet.subcommand("detector fleet scheduler --tls fleet --port 8786", name="scheduler")
def run_scheduler(
    *,
    folder: str = _tls,
    host: str = options.service("--host", "Address to listen on.  [default: all]", default="", metavar="ADDRESS"),
    port: int = options.service("--port", "Port to listen on.", type=click.IntRange(0, PORT_MAX), default=PORT),
) -> int:
    """Run the scheduler until it is stopped."""
    asyncio.run(_scheduling(folder, host, port))
    return common.CLEAN


async def _scheduling(folder: str, host: str, port: int) -> None:
    settings = certificates.context(folder, certificates.SCHEDULER, now=utc_now())
    try:
        async with scheduler.serving(settings, host or None, port) as address:
            name = f"[{address[0]}]" if ":" in address[0] else address[0]
            say(f"{connection.SCHEME}{name}:{address[1]}")
            await asyncio.Event().wait()
    except OSError as error:
        raise InputError(
            f"{host or 'all addresses'}, port {port}: cannot be listened on.",
            advice="Name an address of this machine, and a port that nothing else uses.",
        ) from error


@fleet.subcommand(
    "detector fleet worker --tls fleet --scheduler tls://scheduler.example.edu:8786 --vantage library", name="worker"
)
def run_worker(
    *,
    folder: str = _tls,
    scheduler: str = _scheduler,
    vantage: str = options.service(
        "--vantage", "Your name for the place this worker probes from.", required=True, metavar="NAME"
    ),
    threads: int = options.probing(
        "--threads", "Jobs of 32 targets at once.", type=click.IntRange(1, messages.THREADS_MAX), default=8
    ),
) -> int:
    """Run a worker that probes for a scheduler.

    It ends when it is stopped, or its scheduler has been gone for a minute.
    """
    settings = certificates.context(folder, certificates.WORKER, now=utc_now())
    registered = functools.partial(say, f"{scheduler}: registered, probes from {vantage}")
    asyncio.run(worker.serve(scheduler, settings, vantage=vantage, threads=threads, on_registered=registered))
    return common.CLEAN


@fleet.subcommand(
    "detector fleet scan --tls fleet --scheduler tls://scheduler.example.edu:8786 --targets hosts.txt",
    "detector fleet scan --tls fleet --scheduler tls://127.0.0.1:8786 exam.example.edu --format html -o page.html",
    name="scan",
)
def scan_fleet(  # noqa: PLR0913 - one parameter per option
    *,
    folder: str = _tls,
    scheduler: str = _scheduler,
    targets: tuple[str, ...] = options.targets,
    files: tuple[str, ...] = scan.target_files,
    mode: str = options.probing(
        "--mode",
        "Probe every target from every vantage, or spread the targets over all vantages.",
        type=options.Choice(["every", "spread"]),
        default="every",
    ),
    vantages: tuple[str, ...] = options.target(
        "--vantage", "Only these vantages; repeatable.", multiple=True, metavar="NAME"
    ),
    concurrency: int = options.probing(
        "--concurrency", "Targets of one job at once.", type=click.IntRange(1, 1024), default=32
    ),
    timeout: float = scan.timeout_option,
    retries: int = scan.retries_option,
    lost_after: float = options.probing(
        "--lost-after",
        "How long to wait for a vantage whose last worker is gone.",
        type=click.FloatRange(1, 3600),
        default=30.0,
        metavar="SECONDS",
    ),
    settings: dict[str, Any] = options.settings(without={"resolve", "connect-to", "vantage"}, proxy="env"),
    strict: bool = scan.strict_option,
    fail_on: Confidence = options.fail_on(),
    out: options.Output = options.written(Format.JSONL, Format.HTML, quiet=False),
) -> int:
    """Probe targets from every vantage, and assess here.

    Writes one line for each target and vantage, or one page; with --mode spread each target is probed from one. Each
    vantage is a network of its own, and the most serious verdict decides.

    Exit code: 0 clean, 1 middleware at --fail-on or above, 2 bad usage or input, 3 inconclusive, as for `detector
    check`: targets of arguments and files count as named.
    """
    fleet_settings = coordinator.FleetSettings(
        StreamSettings(timeout=timeout, concurrency=concurrency, retries=retries),
        NetworkSettings(proxy=settings.pop("proxy"), offline=True),
        lost_after=lost_after,
    )
    detector = Detector(**settings, proxy="none")
    tally = scan.Tally(strict=strict)

    def begin(connected: Connection, workers: Workers) -> AsyncGenerator[FromVantage, None]:
        return coordinator.scan(
            connected,
            detector,
            scan.read(scan.Sources(targets, files), detector),
            workers=workers,
            mode=coordinator.Mode(mode),
            settings=fleet_settings,
            on_bad_line=tally.bad_line,
            on_refused=_refuse,
        )

    as_page = out.form is Format.HTML
    # A page is there complete or not at all; lines are valid one by one.
    opened = common.result_stream if as_page else common.growing_stream
    with opened(out.file) as stream:
        gathered = _Gathered(detector, stream, as_page=as_page)
        asyncio.run(_scanning(folder, scheduler, vantages, begin, tally, gathered))
        gathered.finish()
    say(tally.sentence())
    return common.exit_code(tally.decision(), fail_on)


async def _scanning(  # noqa: PLR0913, PLR0917 - the parts of one scan
    folder: str,
    scheduler: str,
    vantages: tuple[str, ...],
    begin: Callable[[Connection, Workers], AsyncGenerator[FromVantage, None]],
    tally: scan.Tally,
    gathered: _Gathered,
) -> None:
    context = certificates.context(folder, certificates.CLIENT, now=utc_now())
    async with coordinator.connect(scheduler, context) as connected:
        workers = _only(coordinator.register_workers(connected.workers.values()), vantages)
        for refused in workers.refused:
            _refuse(refused)
        say(f"{len(workers.numbers)} workers probe from {', '.join(sorted(workers.vantages)) or 'no vantage'}.")
        async with contextlib.aclosing(begin(connected, workers)) as results:
            async for found in results:
                tally.add(found.result, vantage=found.vantage)
                gathered.add(found)


class _Gathered:
    """Writes results as lines, or collects them for one page with a column for each vantage."""

    def __init__(self, detector: Detector, stream: TextIO, *, as_page: bool) -> None:
        self._detector = detector
        self._stream = stream
        self._as_page = as_page
        self._started = utc_now()
        self._by_vantage: dict[str, dict[int, Scanned]] = {}

    def add(self, found: FromVantage) -> None:
        """Take one result."""
        if self._as_page:
            self._by_vantage.setdefault(found.vantage, {})[found.result.number] = found.result
        else:
            line = msgspec.json.encode({"vantage": found.vantage, "result": found.result})
            self._stream.write(line.decode("utf-8") + "\n")
            self._stream.flush()

    def finish(self) -> None:
        """Write the page, if that is what was asked for."""
        if self._as_page:
            self._stream.write(reports.html([self._report(vantage) for vantage in sorted(self._by_vantage)]))

    def _report(self, vantage: str) -> Report:
        by_number = sorted(self._by_vantage[vantage].items(), key=lambda item: (item[0] < 0, item[0]))
        results = [result for _, result in by_number]
        return network.report(
            results,
            context_of(self._detector),
            started=self._started,
            finished=utc_now(),
            vantage=vantage,
            version=VERSION,
            named=[result.endpoint.name for result in results if result.named],
        )


def _only(workers: Workers, vantages: tuple[str, ...]) -> Workers:
    if not vantages:
        return workers
    missing = [name for name in vantages if name not in workers.vantages]
    if missing:
        raise InputError(
            f"--vantage {missing[0]}: no worker probes from there.",
            advice=f"Available: {', '.join(sorted(workers.vantages)) or 'none'}.",
        )
    return workers._replace(vantages={name: workers.vantages[name] for name in vantages})


def _refuse(refused: Refused) -> None:
    say(f"Refused {refused.worker}: {refused.reason}.")
