"""`detector scan`: any number of targets, one line of result each, in constant memory.

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import hashlib
import io
import operator
import sys
import threading
import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import click
import msgspec

from detector import scan as scans
from detector.aio import descriptors
from detector.aio.lazy import LazyModule
from detector.aio.tasks import cancel_and_wait, run_in_thread
from detector.errors import HistoryError, InputError, MissingExtraError, NoRoomError, install_extra
from detector.judge import network, wording
from detector.model import Confidence, Detail, Report, Scope, UnfollowedProxy, Verdict, encode, json_text
from detector.model.files import reason_of
from detector.model.validate import PORT_MAX, naming
from detector.pins.target import parse_host
from detector.scan import BadLine, Scanned, ScanRecord, Target
from detector.session.seams import Seams, utc_now
from detector.session.session import Detector
from detector.session.stream import StreamSettings
from detector.version import VERSION

from . import common, options, reporting
from . import progress as progress_line
from .options import Format
from .stderr import is_terminal, say, show_line

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import TextIO

    from detector.history import store
    from detector.probe.routes import resolving
    from detector.report import siem, spreadsheet
    from detector.scan import processes, work
    from detector.session.stream import Probe
else:
    processes = LazyModule("detector.scan.processes")
    resolving = LazyModule("detector.probe.routes.resolving")
    siem = LazyModule("detector.report.siem")
    spreadsheet = LazyModule("detector.report.spreadsheet")
    store = LazyModule("detector.history.store")  # the extra `history`
    work = LazyModule("detector.scan.work")

CSV_SUFFIX: Final = ".csv"
PLAIN_PROGRESS_SECONDS: Final = 10.0
"""Between two lines of progress where no terminal shows a bar."""
BAD_LINES_MAX: Final = 1000
"""Bad lines reported one by one; of a file that is not a list of targets the rest is only counted."""
HISTORY_BATCH: Final = 500
"""Results written to the history at once; see `detector.history.store.BATCH`."""
INTERRUPTED_SECONDS: Final = 2.0
"""How long an interrupted scan waits for its history: a service manager kills what has not ended after some seconds."""
PROCESSES_MAX: Final = 256
"""More than any machine has processors for."""
FINGERPRINT_BYTES: Final = 64 * 1024
"""Bytes of each target file that identify it, with its size."""


class Evidence(enum.StrEnum):
    """Whose certificates are written in full."""

    ALL = "all"
    ODD = "odd"
    NONE = "none"


class Lookup(enum.StrEnum):
    """How names are resolved."""

    AUTO = "auto"
    C_ARES = "c-ares"
    SYSTEM = "system"


class Sources(NamedTuple):
    """What to scan, as given."""

    targets: tuple[str, ...]
    files: tuple[str, ...]
    networks: tuple[str, ...] = ()
    ports: tuple[int, ...] = (443,)
    server_names: tuple[str, ...] = ()
    table: bool = False


target_files: Final = options.target(
    "--targets", "File of targets, - for stdin; repeatable.", multiple=True, metavar="FILE|-"
)
retries_option: Final = options.probing(
    "--retries", "Retries after transient failures.", type=click.IntRange(0, 10), default=1
)
timeout_option: Final = options.probing(
    "--timeout", "Time for one target.", type=click.FloatRange(min=0.1, max=600), default=10.0, metavar="SECONDS"
)
strict_option: Final = options.target("--strict", "Stop at the first line that is not a target.", is_flag=True)


@options.command(
    "detector scan --targets hosts.txt",
    "detector scan --network 192.0.2.0/24 --port 443 --port 8443 --server-name exam.example.edu",
    "detector scan --targets hosts.csv --format jsonl -o results.jsonl --resume scan.state",
    "detector scan exam.example.edu https://lms.example.org/ --format csv --rate 50",
)
def scan(  # noqa: PLR0913 - one parameter per option
    *,
    targets: tuple[str, ...] = options.targets,
    files: tuple[str, ...] = target_files,
    table: bool = options.target(
        "--table", "The files are CSV with a header, as files named *.csv always are.", is_flag=True
    ),
    networks: tuple[str, ...] = options.target(
        "--network", "Every address of a network; repeatable.", multiple=True, metavar="CIDR"
    ),
    ports: tuple[int, ...] = options.target(
        "--port",
        "Port of targets without one; repeatable.  [default: 443]",
        multiple=True,
        type=click.IntRange(1, PORT_MAX),
    ),
    server_names: tuple[str, ...] = options.target(
        "--server-name",
        "Server name (SNI) for targets that are addresses; repeatable.",
        multiple=True,
        metavar="NAME",
    ),
    concurrency: int = options.probing("--concurrency", "Targets at once.", type=click.IntRange(1, 20000), default=256),
    processes: int = options.probing(
        "--processes",
        "Processes of this machine that probe; one assesses.",
        type=click.IntRange(1, PROCESSES_MAX),
        default=1,
    ),
    rate: float | None = options.probing(
        "--rate", "Connections per second, in total.", type=click.FloatRange(min=0.001), metavar="N"
    ),
    rate_per_host: float | None = options.probing(
        "--rate-per-host", "Connections per second to one host.", type=click.FloatRange(min=0.001), metavar="N"
    ),
    retries: int = retries_option,
    timeout: float = timeout_option,
    resume: str | None = options.result(
        "--resume", "Record progress there; given again, continue from it. Needs --output.", metavar="STATE"
    ),
    strict: bool = strict_option,
    evidence: Evidence = options.result(
        "--evidence",
        "Write the certificates for all, for those that are not clean, or for none.",
        type=options.Choice(Evidence),
        default="odd",
    ),
    resolver: Lookup = options.probing(
        "--resolver",
        "How names are resolved; auto is c-ares if aiodns is installed.",
        type=options.Choice(Lookup),
        default="auto",
    ),
    progress: bool = options.result("--progress/--no-progress", "Report progress on stderr.", default=True),
    fail_on: Confidence = options.fail_on(),
    place: str | None = options.history,
    settings: dict[str, Any] = options.settings(),
    report: dict[str, Any] = options.reporting,
    out: options.Output = options.written(Format.TEXT, Format.JSONL, Format.CSV, *options.SIEM_LINES),
) -> int:
    """Scan any number of targets, one line of result for each.

    Lines come as results do, in constant memory. Targets are the arguments (hosts or URLs), files with one target per
    line (# begins a comment), CSV with a header (host, port, address, category, operator, sni), networks, or, if none
    is given, the endpoints of the pin files. Lines that are not targets are reported by number and skipped.

    With --resume and --output a scan that was ended, however abruptly, continues where it was when the same command is
    given again.

    Exit code: 0 clean, 1 middleware at --fail-on or above, 2 bad usage or input, 3 inconclusive, as for `detector
    check`: targets of arguments and files count as named.
    """
    if resume is not None and (out.file is None or out.form is not Format.JSONL):
        raise click.UsageError("--resume needs --output FILE and --format jsonl: it continues from the output.")
    with naming("--server-name"):
        sources = Sources(targets, files, networks, ports or (443,), tuple(map(parse_host, server_names)), table)
    names = _resolver(resolver)
    tally = Tally(strict=strict)
    with contextlib.ExitStack() as stack:
        ending = threading.Event()
        history = stack.enter_context(common.SideHistory(place, functools.partial(_patience, ending)))
        detector = Detector(**settings, seen_before=history.genuine, seams=Seams(resolver=names))
        record = None
        if resume is not None and out.file is not None:
            record = ScanRecord(resume, out.file, scan=_fingerprint(sources, settings), now=utc_now())
            stack.callback(record.close)
        kept = _Kept(history, detector, tally, started=utc_now() if record is None else record.started)
        stream = None if record else stack.enter_context(common.growing_stream(out.file))
        writer = _Writer(out.form, out.detail, evidence, detector.vantage, record, stream)
        reports = stack.enter_context(reporting.Reports(report, settings))
        reports.start()
        kept.attempt(kept.begin)
        for line in writer.earlier():
            tally.add_earlier(line)
            if kept.add(line):
                kept.attempt(kept.flush)
        pace = StreamSettings(
            concurrency=_affordable(concurrency, processes),
            rate=rate,
            rate_per_destination=rate_per_host,
            retries=retries,
            timeout=timeout,
        )
        try:
            probing = _probing(processes, detector, names)
            scanning = _scan(detector, sources, pace, tally, (writer, kept, reports), probing)
            asyncio.run(_shown(scanning, tally) if progress and out.detail is not Detail.VERDICT else scanning)
        except KeyboardInterrupt:
            ending.set()
            say(tally.sentence(interrupted=True))
            raise
        finally:
            kept.attempt(kept.flush)
        kept.attempt(kept.finish)
        writer.finish(tally)
    common.warn_of_age(detector.knowledge, utc_now())
    if isinstance(kept.failure, NoRoomError):
        raise kept.failure
    return common.exit_code(tally.decision(), fail_on)


def _patience(ending: threading.Event) -> float:
    """Seconds to wait for the history."""
    return INTERRUPTED_SECONDS if ending.is_set() else store.LOCK_SECONDS


def _affordable(concurrency: int, workers: int) -> int:
    """How many targets may be probed at once with the open files that each process is allowed."""
    possible = min(concurrency, workers * descriptors.probes_at_once(concurrency))
    if possible < concurrency:
        say(f"Probing {possible} targets at once instead of {concurrency}: the limit of open files (ulimit -n) is low.")
    return possible


@contextlib.asynccontextmanager
async def _probing(workers: int, detector: Detector, names: resolving.CachingResolver) -> AsyncIterator[Probe]:
    """The function that probes an endpoint, until the block ends: in this process, or in several."""
    try:
        if workers == 1:
            yield detector.probe
            return
        network = msgspec.structs.replace(detector.network, offline=True)
        config = work.WorkerConfig(network=network, c_ares=names.c_ares)
        async with processes.WorkerPool(workers, config) as pool:
            yield pool.probe
    finally:
        await names.close()


async def _scan(  # noqa: PLR0913, PLR0917 - the parts of one scan
    detector: Detector,
    sources: Sources,
    pace: StreamSettings,
    tally: Tally,
    sinks: tuple[_Writer, _Kept, reporting.Reports],
    probing: contextlib.AbstractAsyncContextManager[Probe],
) -> None:
    writer, kept, reports = sinks
    async with probing as probe:
        results = scans.scan(
            detector, read(sources, detector), settings=pace, done=writer.done, on_bad_line=tally.bad_line, probe=probe
        )
        async with contextlib.aclosing(results):
            async for found in results:
                tally.add(found)
                writer.write(found)
                reports.report(operator.methodcaller("result", found))
                if kept.add(found):
                    await run_in_thread(lambda: kept.attempt(kept.flush))  # a lock must not hold up the probes


def _resolver(wanted: Lookup) -> resolving.CachingResolver:
    if wanted is Lookup.SYSTEM:
        return resolving.CachingResolver()
    try:
        return resolving.CachingResolver(resolving.AsyncLookup())
    except MissingExtraError:
        if wanted is Lookup.C_ARES:
            raise
        say(f"Names are resolved by the system, one thread each. For more speed: {install_extra('scan')}")
        return resolving.CachingResolver()


def read(sources: Sources, detector: Detector) -> Iterator[Target | BadLine]:
    """Every target, lazily, in a reproducible order."""
    if not (sources.targets or sources.files or sources.networks):
        yield from (Target(endpoint, "pins", named=False) for endpoint in detector.pins.endpoints)
        return
    lines = io.BytesIO(b"".join(f"{target}\n".encode() for target in sources.targets))
    yield from scans.read_targets(lines, name="argument", ports=sources.ports, server_names=sources.server_names)
    for cidr in sources.networks:
        with naming("--network"):
            endpoints = scans.expand(cidr, sources.ports, sources.server_names)
        yield from (Target(endpoint, cidr, named=False) for endpoint in endpoints)
    for name in sources.files:
        with _open(name) as stream:
            yield from scans.read_targets(
                stream,
                name="stdin" if name == common.STDIN else name,
                table=sources.table or name.lower().endswith(CSV_SUFFIX),
                ports=sources.ports,
                server_names=sources.server_names,
            )


@contextlib.contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    try:
        # Standard input through a reader of its own: Python would not end while a thread waits in `sys.stdin`.
        place = sys.stdin.fileno() if name == common.STDIN else name
        stream = open(place, "rb", closefd=name != common.STDIN)  # noqa: SIM115 - closed by the `with` block below
    except (OSError, ValueError) as error:
        raise InputError(
            f"--targets {name}: cannot be read ({reason_of(error)}).", advice="Name a readable file."
        ) from error
    with stream:
        yield stream


def _fingerprint(sources: Sources, settings: dict[str, Any]) -> str:
    """Identifies the scan that a state file belongs to: everything that numbers and assesses its targets."""
    decisive = [settings.get(name) for name in ("data", "pins", "roots", "add_roots", "logs")]
    found = hashlib.sha256(repr((sources, *decisive)).encode())
    for name in chain(sources.files, settings.get("pins", ())):
        if name != common.STDIN and Path(name).is_file():
            with _open(name) as stream:
                found.update(str(Path(name).stat().st_size).encode() + stream.read(FINGERPRINT_BYTES))
    return found.hexdigest()


class Tally:
    """Results so far: in numbers, and for each vantage as one network."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._networks: dict[str, network.Tally] = {}
        self._found: Counter[tuple[Verdict, Confidence | None]] = Counter()
        self._unfollowed: UnfollowedProxy | None = None
        self.bad_lines = 0
        self.begun = time.monotonic()
        self._earlier = 0

    @property
    def total(self) -> int:
        """How many targets have a result."""
        return self._found.total()

    def add_earlier(self, found: Scanned) -> None:
        """Count a result of the same scan from before it was interrupted."""
        self.add(found)
        self._earlier = self.total

    def add(self, found: Scanned, *, vantage: str = "") -> None:
        """Count a result from this vantage. One that amends an earlier one carries what it replaces."""
        before = None
        if found.replaces is not None:
            said = found.replaces  # an amendment rests on the same observations
            before = msgspec.structs.replace(found, verdict=said.verdict, confidence=said.confidence)
            self._found[before.verdict, before.confidence] -= 1
        self._found[found.verdict, found.confidence] += 1
        self._unfollowed = self._unfollowed or found.unfollowed_proxy
        self._networks.setdefault(vantage, network.Tally()).add(found, before, named=found.named)

    def decision(self) -> network.NetworkDecision:
        """The decision on the network; of several, the most serious. Nothing scanned is inconclusive."""
        found = [tally.decision() for tally in self._networks.values()] or [network.Tally().decision()]
        order = [None, *Confidence]
        return max(found, key=lambda one: (one.verdict is not Verdict.CLEAN, order.index(one.confidence)))

    def bad_line(self, bad: BadLine) -> None:
        """Report a line that is not a target. Raises `InputError` where the scan is strict."""
        self.bad_lines += 1
        if self._strict:
            raise InputError(f"{bad.where}: {bad.reason}", advice="Correct the line, or leave out --strict.")
        if self.bad_lines <= BAD_LINES_MAX:
            say(f"{bad.where}: {bad.reason}")

    def sentence(self, *, interrupted: bool = False) -> str:
        """All of it in one sentence."""
        kinds: list[tuple[Verdict, Confidence | None]] = [(Verdict.MIDDLEWARE, sure) for sure in reversed(Confidence)]
        kinds += [(Verdict.INCONCLUSIVE, None), (Verdict.CLEAN, None)]
        found = ", ".join(f"{self._found[kind]} {wording.state(*kind)}" for kind in kinds if self._found[kind])
        bad = f" {self.bad_lines} lines were not targets." if self.bad_lines else ""
        seconds = max(time.monotonic() - self.begun, 0.001)
        before = f", {self._earlier} of them before," if self._earlier else ""
        route = "" if self._unfollowed is None else f" {wording.other_route(self._unfollowed)}"
        how = "Interrupted after" if interrupted else "Scanned"
        return (
            f"{how} {self.total} targets{before} in {seconds:.1f} s ({(self.total - self._earlier) / seconds:.0f}/s): "
            f"{found or 'nothing'}.{bad}{route}"
        )


class _Writer:
    """Writes one line per result at once, to a record or a stream; for the verdict alone, a sentence at the end."""

    def __init__(  # noqa: PLR0913, PLR0917 - each comes from an option of its own
        self,
        form: Format,
        detail: Detail,
        evidence: Evidence,
        vantage: str,
        record: ScanRecord | None,
        stream: TextIO | None,
    ) -> None:
        self._form = form
        self._detail = detail
        self._verdict_alone = form is Format.TEXT and detail is Detail.VERDICT
        self._evidence = evidence
        self._vantage = vantage
        self._record = record
        self._stream = stream
        if record is not None and record.resumed:
            say(f"Continuing: {record.done.count} targets are done.")
        if form is Format.CSV:
            self._put(spreadsheet.header())

    def earlier(self) -> Iterator[Scanned]:
        """What this scan wrote before it was interrupted. Raises `InputError`."""
        for number, line in enumerate(() if self._record is None else self._record.earlier(), start=1):
            try:
                yield json_text.decode(line, Scanned)
            except json_text.MalformedError as error:
                raise InputError(
                    f"--output: line {number} is not a result of a scan.",
                    advice="Restore the file as the scan wrote it, or begin again with a new state file and output.",
                ) from error

    @property
    def done(self) -> Any:  # noqa: ANN401 - a container of numbers
        """The numbers of targets that need not be probed."""
        return () if self._record is None else self._record.done

    def write(self, found: Scanned) -> None:
        """Write one result."""
        if self._record is not None:
            line = encode(self._slim(found)) + b"\n"
            self._record.write(line, None if found.amends else found.number)
        elif self._form is Format.JSONL:
            self._put(encode(self._slim(found)).decode("utf-8") + "\n")
        elif self._form is Format.CSV:
            self._put(spreadsheet.line(found, at=utc_now(), vantage=self._vantage))
        elif self._form in options.SIEM_LINES:
            self._put(siem.LINES[self._form](siem.Event(found, utc_now(), self._vantage)))
        elif not self._verdict_alone:
            self._put(_text(found, self._detail) + "\n")

    def finish(self, tally: Tally) -> None:
        """Write the sentence about all results: alongside them, or in their place."""
        if self._verdict_alone:
            self._put(tally.sentence() + "\n")
        else:
            say(tally.sentence())

    def _put(self, text: str) -> None:
        if self._stream is not None:
            if self._stream is sys.stdout and sys.stdout.isatty():
                show_line("")  # only there: a line erased for each result that goes elsewhere could not be read
            self._stream.write(text)
            self._stream.flush()

    def _slim(self, found: Scanned) -> Scanned:
        """The result without the bytes of certificates that were not asked for; their hashes stay."""
        if self._evidence is Evidence.ALL or (self._evidence is Evidence.ODD and found.verdict is not Verdict.CLEAN):
            return found
        bare = tuple(msgspec.structs.replace(c, der=b"") for c in found.observation.chain)
        return msgspec.structs.replace(found, observation=msgspec.structs.replace(found.observation, chain=bare))


class _Kept:
    """Records a scan in the history, in batches."""

    def __init__(self, history: common.SideHistory, detector: Detector, tally: Tally, *, started: dt.datetime) -> None:
        self._history = history
        self._tally = tally
        self.failure: HistoryError | None = None
        self._head = Report(
            detector_version=VERSION,
            started=started,
            finished=started,
            vantage=detector.vantage,
            verdict=Verdict.INCONCLUSIVE,
            scope=Scope.NONE,
            knowledge=detector.knowledge,
        )
        self._run: int | None = None
        self._waiting: dict[int, Scanned] = {}
        self._one_at_a_time = threading.Lock()

    def attempt(self, step: Callable[[], None]) -> None:
        """Do this unless something has failed already. The first failure is reported; the scan does without."""
        with self._one_at_a_time:  # a step may still be under way in a thread
            if self.failure is not None:
                return
            try:
                step()
            except HistoryError as error:
                self.failure = error
                self._waiting.clear()
                say(f"Warning: {error} The run in the history is not complete.")

    def begin(self) -> None:
        """Begin the run, or continue the one that this scan began before it was interrupted."""
        self._run = self._history.write(lambda history: history.begin(self._head, kind="scan"))

    def add(self, found: Scanned) -> bool:
        """Take one result, which takes the place of one that it amends. Returns whether a batch is to be written."""
        if self._run is not None and self.failure is None:
            self._waiting[found.number] = found
        return len(self._waiting) >= HISTORY_BATCH

    def flush(self) -> None:
        """Write the current batch."""
        if (run := self._run) is not None:
            self._history.write(lambda history: history.add(run, tuple(self._waiting.items())))
        self._waiting.clear()

    def finish(self) -> None:
        """Record that the scan is complete, and what it found."""
        if (run := self._run) is None:
            return
        found = self._tally.decision()
        head = msgspec.structs.replace(
            self._head,
            finished=utc_now(),
            verdict=found.verdict,
            confidence=found.confidence,
            scope=found.scope,
            coverage=found.coverage,
        )
        self._history.write(lambda history: history.finish(run, head))


def _text(found: Scanned, detail: Detail) -> str:
    """One line: the state and the endpoint; unless it is clean, by whom and why; the codes where evidence is wanted."""
    party = "" if found.attribution is None else found.attribution.product or found.attribution.issuer or ""
    sentence = "" if found.verdict is Verdict.CLEAN else wording.cause(found)
    codes = (found.reason, found.confidence or found.assurance or wording.wire_outcome(found))
    shown = f"[{', '.join(filter(None, codes))}]" if detail is Detail.EVIDENCE else ""
    note = "(changes an earlier line)" if found.amends else ""
    cells = (f"{wording.state_of(found):<20}", found.endpoint.name, party, sentence, shown, note)
    return "  ".join(filter(None, cells))


async def _shown(scanning: Coroutine[None, None, None], tally: Tally) -> None:
    """Scan, and report progress on stderr: a line that changes on a terminal, plain lines elsewhere."""
    showing = asyncio.create_task(_progress(tally))
    try:
        await scanning
    finally:
        await cancel_and_wait([showing])


async def _progress(tally: Tally) -> None:
    if is_terminal():
        await progress_line.show(lambda _: tally.sentence())
    while True:
        await asyncio.sleep(PLAIN_PROGRESS_SECONDS)
        say(tally.sentence().replace("Scanned", "So far", 1))
