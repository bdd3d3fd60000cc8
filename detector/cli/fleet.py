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

from detector.errors import InputError, MissingExtraError
from detector.judge import network
from detector.model import Confidence
from detector.pins.target import MAX_PORT
from detector.scan.fleet import certificates
from detector.session.seams import utc_now
from detector.session.session import Detector
from detector.session.settings import NetworkSettings
from detector.session.stream import StreamSettings
from detector.version import VERSION

from . import common
from . import scan as scan_command

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import TextIO

    from detector.model import Report
    from detector.scan import Scanned
    from detector.scan.fleet.coordinator import FromVantage, Refused, Workers

PORT: Final = 8786
"""What schedulers of this engine listen on by custom."""
DEATH_SECONDS: Final = 60
"""How long a worker without scheduler waits before it ends; whatever started it starts it again."""


class _SchedulerAddress(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """An address as the engine writes it, and none that is not encrypted."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address. Fails as options do."""
        host, _, port = value.removeprefix("tls://").rpartition(":")
        if not value.startswith("tls://") or not host or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
            self.fail(f"{value!r} is no address of a scheduler: write tls://HOST:PORT.", param, ctx)
        return value


_tls = click.option(
    "--tls", "folder", required=True, metavar="DIR", help="Folder of the files that `detector fleet certificates` made."
)
_scheduler = click.option(
    "--scheduler", required=True, type=_SchedulerAddress(), metavar="tls://HOST:PORT", help="Where the scheduler is."
)


@click.group()
def fleet() -> None:
    """Scan from many machines and many vantages: `certificates`, then `scheduler`, `worker`s, and `scan`.

    All parts speak mutual TLS. Whoever holds one of their keys can run programs on every machine of the fleet.
    """


@fleet.command(name="certificates")
@click.argument("folder", metavar="DIR")
@click.option("--host", "hosts", multiple=True, required=True, metavar="NAME|ADDRESS", help="Names of the scheduler.")
@click.option("--days", type=click.IntRange(1, 3650), default=certificates.DAYS_VALID, show_default=True)
def make_certificates(*, folder: str, hosts: tuple[str, ...], days: int) -> int:
    """Make the certificates of a fleet: ca.pem, and a .pem and .key for scheduler, worker and client."""
    for file in certificates.write(folder, hosts=hosts, now=utc_now(), days=days):
        click.echo(str(file))
    common.say("Give each machine ca.pem and the two files of its part, by a safe way, and no other.")
    return common.CLEAN


@fleet.command(name="scheduler")
@_tls
@click.option("--host", default="", metavar="ADDRESS", help="Address to listen on.  [default: all]")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
def run_scheduler(*, folder: str, host: str, port: int) -> int:
    """Run the scheduler until it is ended."""
    _run(_scheduling(folder, host, port))
    return common.CLEAN


async def _scheduling(folder: str, host: str, port: int) -> None:
    from distributed import Scheduler  # noqa: PLC0415 - the extra `fleet`

    from detector.scan.fleet import engine  # noqa: PLC0415 - as above

    settings = engine.security(folder, "scheduler", now=utc_now())
    scheduler = Scheduler(host=host or None, port=port, protocol="tls", security=settings, **engine.NO_DASHBOARD)
    with _taking(f"{host or 'all addresses'}, port {port}"):
        await scheduler
    async with scheduler:
        common.say(scheduler.address)
        await scheduler.finished()


@fleet.command(name="worker")
@_tls
@_scheduler
@click.option("--vantage", required=True, metavar="NAME", help="Your name for the place this worker looks from.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Jobs of 32 looks at once.")
@click.option("--host", default="", metavar="ADDRESS", help="Address the others reach this worker at.")
def run_worker(*, folder: str, scheduler: str, vantage: str, threads: int, host: str) -> int:
    """Run a worker until it is ended or its scheduler is gone for a minute."""
    _run(_working(folder, scheduler, vantage, threads, host))
    return common.CLEAN


async def _working(folder: str, scheduler: str, vantage: str, threads: int, host: str) -> None:
    from distributed import Worker  # noqa: PLC0415 - the extra `fleet`

    from detector.scan.fleet import coordinator, engine  # noqa: PLC0415 - as above
    from detector.scan.fleet import worker as program  # noqa: PLC0415 - as above

    settings = engine.security(folder, "worker", now=utc_now())
    await engine.reach(scheduler, settings, "worker")
    program.source_hash()  # of what is loaded now, not of what will be there when somebody asks
    with tempfile.TemporaryDirectory(prefix="detector-worker-") as scratch:
        worker = Worker(
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
            common.say(f"{worker.address} looks from {vantage}")
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
@click.argument("targets", nargs=-1, metavar="[HOST[:PORT]]...")
@click.option("--targets", "files", multiple=True, metavar="FILE|-", help="File of targets, - for stdin; repeatable.")
@click.option("--mode", type=click.Choice(["every", "spread"]), default="every", show_default=True)
@click.option("--vantage", "vantages", multiple=True, metavar="NAME", help="Only these vantages; repeatable.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=32, show_default=True, help="Looks of one job.")
@click.option("--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="For one target.")
@click.option("--retries", type=click.IntRange(0, 10), default=1, show_default=True, help="After passing failures.")
@click.option("--lost-after", type=click.FloatRange(1, 3600), default=30.0, show_default=True, help="Seconds.")
@click.option("--pins", multiple=True, metavar="FILE|DIR", help="Pin file or directory of them; repeatable.")
@click.option("--roots", metavar="PEM", help="Public roots to use instead of certifi's.")
@click.option("--add-roots", metavar="PEM", help="Public roots to use besides.")
@click.option("--ct-logs", metavar="FILE", help="Known CT logs instead of the shipped ones.")
@click.option("--proxy", default="env", show_default=True, metavar="URL|env|none", help="HTTP proxy of the workers.")
@click.option("--offline", is_flag=True, help="Probe nothing beyond the targets themselves.")
@click.option("--output", metavar="FILE", help="Write the result there instead of to standard output.")
@click.option("--strict", is_flag=True, help="Stop at the first line that is no target.")
@click.option("--fail-on", type=click.Choice([c.value for c in Confidence]), default=Confidence.PROBABLE.value)
@common.form_option("DETECTOR_FLEET_SCAN_FORMAT", "jsonl", "html")
def scan_fleet(**given: Any) -> int:  # noqa: ANN401 - click passes what the options declare
    """Probe targets from every vantage (or spread over all), assess here, and write one line each, or one page.

    Each vantage is a network of its own, and the gravest decides.

    Exit code: 0 clean, 1 middleware at --fail-on or above, 2 bad usage or input, 3 inconclusive, as for `detector
    check`: targets of arguments and files count as named.
    """
    detector = Detector(
        pins=given["pins"] or None,
        roots=given["roots"],
        add_roots=given["add_roots"],
        logs=given["ct_logs"],
        proxy="none",
        offline=given["offline"],
    )
    sources = scan_command.Sources(given["targets"], given["files"], (), (443,), (), table=False)
    tally = scan_command.Tally(strict=given["strict"])
    as_page = given["form"] == "html"
    # A page is there whole or not at all; lines are valid one by one.
    opened = common.result_stream if as_page else common.growing_stream
    with opened(given["output"]) as stream:
        gathered = _Gathered(detector, stream, as_page=as_page)
        _run(_scanning(detector, sources, tally, gathered, given))
        gathered.finish()
    common.say(tally.sentence())
    return common.exit_code(tally.decision(), Confidence(given["fail_on"]))


async def _scanning(
    detector: Detector,
    sources: scan_command.Sources,
    tally: scan_command.Tally,
    gathered: _Gathered,
    given: Any,  # noqa: ANN401 - options
) -> None:
    from distributed import Client  # noqa: PLC0415 - the extra `fleet`

    from detector.scan.fleet import coordinator, engine  # noqa: PLC0415 - as above

    probes = StreamSettings(timeout=given["timeout"], concurrency=given["concurrency"], retries=given["retries"])
    network = NetworkSettings(proxy=given["proxy"], offline=True)
    settings = coordinator.FleetSettings(probes, network, lost_after=given["lost_after"])
    security = engine.security(given["folder"], "client", now=utc_now())
    await engine.reach(given["scheduler"], security, "client")
    client = Client(given["scheduler"], security=security, asynchronous=True, timeout=engine.CONNECT_SECONDS)
    async with client:
        workers = _only(await coordinator.register_workers(client), given["vantages"])
        for refused in workers.refused:
            _refuse(refused)
        common.say(f"{len(workers.addresses)} workers look from {', '.join(sorted(workers.vantages)) or 'nowhere'}.")
        results = coordinator.scan(
            client,
            detector,
            scan_command.read(sources, detector),
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
    """Writes results as lines, or gathers them for one page with a column for each vantage."""

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
            from detector import report as reports  # noqa: PLC0415 - loads what lines do not need

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
            f"--vantage {missing[0]}: no worker looks from there.",
            advice=f"There are: {', '.join(sorted(workers.vantages)) or 'none'}.",
        )
    return workers._replace(vantages={name: workers.vantages[name] for name in vantages})


def _refuse(refused: Refused) -> None:
    common.say(f"Refused {refused.worker}: {refused.reason}.")


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run one part of a fleet."""
    try:
        from detector.scan.fleet import engine  # noqa: PLC0415 - the extra `fleet`
    except MissingExtraError:
        work.close()
        raise
    engine.prepare()
    asyncio.run(work)
