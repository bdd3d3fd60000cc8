"""`detector fleet`: scheduler, workers and scans over many machines.

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import InputError, MissingExtraError
from detector.judge import network
from detector.model.validate import PORT_MAX
from detector.scan.fleet import certificates
from detector.session.seams import utc_now
from detector.session.session import Detector
from detector.session.settings import NetworkSettings
from detector.session.stream import StreamSettings
from detector.version import VERSION

from . import common, options, scan
from .options import Format
from .stderr import say

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import TextIO

    import distributed

    from detector import report as reports
    from detector.model import Report
    from detector.scan import Scanned
    from detector.scan.fleet import coordinator, engine
    from detector.scan.fleet import worker as program
    from detector.scan.fleet.coordinator import FromVantage, Refused, Workers
else:
    coordinator = LazyModule("detector.scan.fleet.coordinator")
    distributed = LazyModule("distributed")
    engine = LazyModule("detector.scan.fleet.engine")
    reports = LazyModule("detector.report")
    program = LazyModule("detector.scan.fleet.worker")

PORT: Final = 8786
"""Default port of Dask schedulers."""
DEATH_SECONDS: Final = 60
"""How long a worker without scheduler waits before it ends; its supervisor starts it again."""


class _SchedulerAddress(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """The address of a scheduler, which must be encrypted."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address; fails as options do."""
        host, _, port = value.removeprefix("tls://").rpartition(":")
        if not value.startswith("tls://") or not host or not port.isdecimal() or not 0 < int(port) <= PORT_MAX:
            self.fail(f"{value!r} is no address of a scheduler: write tls://HOST:PORT.", param, ctx)
        return value


_tls = options.option(
    "--tls folder", "Folder with the files from `detector fleet certificates`.", required=True, metavar="DIR"
)
_scheduler = options.option(
    "--scheduler", "Address of the scheduler.", required=True, type=_SchedulerAddress(), metavar="tls://HOST:PORT"
)


@click.group(cls=options.Group)
def fleet() -> None:
    """Scan from many machines and many vantages: `certificates`, then `scheduler`, `worker`s, and `scan`.

    All parts speak mutual TLS. Anyone who holds one of their keys can run programs on every machine of the fleet.
    """


@fleet.command(name="certificates")
@click.argument("folder", metavar="DIR")
@options.option("--host hosts", "Names of the scheduler.", multiple=True, required=True, metavar="NAME|ADDRESS")
@options.option(
    "--days", "Days that the certificates are valid.", type=click.IntRange(1, 3650), default=certificates.DAYS_VALID
)
def make_certificates(*, folder: str, hosts: tuple[str, ...], days: int) -> int:
    """Create the certificates of a fleet: ca.pem, and a .pem and .key for scheduler, worker and client."""
    for file in certificates.write(folder, hosts=hosts, now=utc_now(), days=days):
        click.echo(str(file))
    say("Give each machine ca.pem and the two files of its role, over a secure channel, and no others.")
    return common.CLEAN


@fleet.command(name="scheduler")
@_tls
@options.option("--host", "Address to listen on.  [default: all]", default="", metavar="ADDRESS")
@options.option("--port", "Port to listen on.", type=click.IntRange(0, PORT_MAX), default=PORT)
def run_scheduler(*, folder: str, host: str, port: int) -> int:
    """Run the scheduler until it is stopped."""
    _run(_scheduling(folder, host, port))
    return common.CLEAN


async def _scheduling(folder: str, host: str, port: int) -> None:
    settings = engine.security(folder, "scheduler", now=utc_now())
    scheduler = distributed.Scheduler(
        host=host or None, port=port, protocol="tls", security=settings, **engine.NO_DASHBOARD
    )
    with _taking(f"{host or 'all addresses'}, port {port}"):
        await scheduler
    async with scheduler:
        say(scheduler.address)
        await scheduler.finished()


@fleet.command(name="worker")
@_tls
@_scheduler
@options.option("--vantage", "Your name for the place this worker probes from.", required=True, metavar="NAME")
@options.option("--threads", "Jobs of 32 targets at once.", type=click.IntRange(1, 64), default=8)
@options.option("--host", "Address at which the others reach this worker.", default="", metavar="ADDRESS")
def run_worker(*, folder: str, scheduler: str, vantage: str, threads: int, host: str) -> int:
    """Run a worker until it is stopped or its scheduler is gone for a minute."""
    _run(_working(folder, scheduler, vantage, threads, host))
    return common.CLEAN


async def _working(folder: str, scheduler: str, vantage: str, threads: int, host: str) -> None:
    settings = engine.security(folder, "worker", now=utc_now())
    await engine.reach(scheduler, settings, "worker")
    program.source_hash()  # of the program as loaded now, not as it may be when the scheduler asks
    with tempfile.TemporaryDirectory(prefix="detector-worker-") as scratch:
        worker = distributed.Worker(
            scheduler,
            nthreads=threads,
            resources={coordinator.RESOURCE_PREFIX + vantage: coordinator.RESOURCE_AMOUNT},
            security=settings,
            host=host or None,
            local_directory=scratch,
            death_timeout=DEATH_SECONDS,
            **engine.NO_DASHBOARD,
        )
        with _taking(host or "an address of this machine"):
            await worker
        async with worker:
            say(f"{worker.address} probes from {vantage}")
            await worker.finished()


@contextlib.contextmanager
def _taking(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, TimeoutError) as error:
        raise InputError(
            f"{place}: cannot be listened on.",
            advice="Name an address of this machine, and a port that nothing else uses.",
        ) from error


@fleet.command(name="scan")
@_tls
@_scheduler
@options.targets
@scan.target_files
@options.probing(
    "--mode",
    "Probe every target from every vantage, or spread the targets over all vantages.",
    type=click.Choice(["every", "spread"]),
    default="every",
)
@options.probing("--vantage vantages", "Only these vantages; repeatable.", multiple=True, metavar="NAME")
@options.probing("--concurrency", "Targets of one job at once.", type=click.IntRange(1, 1024), default=32)
@scan.timeout_option
@scan.retries_option
@options.probing(
    "--lost-after",
    "How long to wait for a vantage whose last worker is gone.",
    type=click.FloatRange(1, 3600),
    default=30.0,
    metavar="SECONDS",
)
@options.settings(without={"resolve", "vantage"}, proxy="env")
@scan.strict_option
@options.fail_on("Lowest confidence of middleware that makes the exit code 1.")
@options.form(Format.JSONL, Format.HTML)
@options.output
def scan_fleet(*, settings: dict[str, Any], **given: Any) -> int:  # noqa: ANN401 - click passes what the options declare
    """Probe targets from every vantage (or spread over all), assess here, and write one line each, or one page.

    Each vantage is a network of its own, and the most serious verdict decides.

    Exit code: 0 clean, 1 middleware at --fail-on or above, 2 bad usage or input, 3 inconclusive, as for `detector
    check`: targets of arguments and files count as named.
    """
    proxy = settings.pop("proxy")
    detector = Detector(**settings, proxy="none")
    sources = scan.Sources(given["targets"], given["files"])
    tally = scan.Tally(strict=given["strict"])
    as_page = given["form"] is Format.HTML
    # A page is there complete or not at all; lines are valid one by one.
    opened = common.result_stream if as_page else common.growing_stream
    with opened(given["output"]) as stream:
        gathered = _Gathered(detector, stream, as_page=as_page)
        _run(_scanning(detector, sources, tally, gathered, given, proxy))
        gathered.finish()
    say(tally.sentence())
    return common.exit_code(tally.decision(), given["fail_on"])


async def _scanning(  # noqa: PLR0913, PLR0917 - the parts of one scan
    detector: Detector, sources: scan.Sources, tally: scan.Tally, gathered: _Gathered, given: dict[str, Any], proxy: str
) -> None:
    probes = StreamSettings(timeout=given["timeout"], concurrency=given["concurrency"], retries=given["retries"])
    settings = coordinator.FleetSettings(
        probes, NetworkSettings(proxy=proxy, offline=True), lost_after=given["lost_after"]
    )
    security = engine.security(given["folder"], "client", now=utc_now())
    await engine.reach(given["scheduler"], security, "client")
    client = distributed.Client(
        given["scheduler"], security=security, asynchronous=True, timeout=engine.CONNECT_SECONDS
    )
    async with client:
        workers = _only(await coordinator.register_workers(client), given["vantages"])
        for refused in workers.refused:
            _refuse(refused)
        say(f"{len(workers.addresses)} workers probe from {', '.join(sorted(workers.vantages)) or 'no vantage'}.")
        results = coordinator.scan(
            client,
            detector,
            scan.read(sources, detector),
            workers=workers,
            mode=coordinator.Mode(given["mode"]),
            settings=settings,
            on_bad_line=tally.bad_line,
            on_refused=_refuse,
        )
        async with contextlib.aclosing(results):
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
            self._detector.context(),
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


def _run(part: Coroutine[Any, Any, None]) -> None:
    """Run one part of a fleet."""
    try:
        engine.prepare()
    except MissingExtraError:
        part.close()
        raise
    asyncio.run(part)
