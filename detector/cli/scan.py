"""`detector scan`: any number of targets, one line of result each, in constant memory.

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import hashlib
import sys
import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click
import msgspec

from detector.errors import InputError, MissingExtraError
from detector.judge import network, wording
from detector.model import Confidence, EndpointName, Reason, Report, Scope, Verdict, encode
from detector.pins.target import MAX_PORT, parse_host
from detector.scan import BadLine, Replaced, Scanned, ScanRecord, Target, expand, read_targets, scan
from detector.session.seams import Seams, utc_now
from detector.session.session import Detector
from detector.session.stream import StreamSettings
from detector.version import VERSION

from . import common

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType
    from typing import TextIO

    from rich.progress import Progress, TaskID

    from detector.history.store import History
    from detector.probe.routes.resolving import CachingResolver
    from detector.session.stream import Probe

STDIN: Final = "-"
SUFFIX_OF_TABLES: Final = ".csv"
PLAIN_PROGRESS_SECONDS: Final = 10.0
"""Between two lines of progress where no terminal shows a bar."""
BAD_LINES_MAX: Final = 1000
"""Bad lines reported one by one; of a file that is not a list of targets the rest is only counted."""
HISTORY_BATCH: Final = 500
"""Results kept in the history at once; see `detector.history.store.BATCH`."""
PROCESSES_MAX: Final = 256
"""More than any machine has processors for."""
FINGERPRINT_BYTES: Final = 64 * 1024
"""Bytes of each target file that identify it, with its size."""


Line = TypeVar("Line")
"""How a line of an output is read back."""


class Form(enum.StrEnum):
    """Forms of a scan's output, all of them one line a target."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"


class Evidence(enum.StrEnum):
    """Whose certificates are written out whole."""

    ALL = "all"
    ODD = "odd"
    NONE = "none"


class Sources(NamedTuple):
    """What to scan, as given."""

    targets: tuple[str, ...]
    files: tuple[str, ...]
    networks: tuple[str, ...]
    ports: tuple[int, ...]
    server_names: tuple[str, ...]
    table: bool


@click.command(name="scan")
@click.argument("targets", nargs=-1, metavar="[HOST[:PORT]]...")
@click.option("--targets", "files", multiple=True, metavar="FILE|-", help="File of targets, - for stdin; repeatable.")
@click.option("--table", is_flag=True, help="The files are CSV with a header, as those named *.csv are anyway.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Every address of a network; repeatable.")
@click.option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, MAX_PORT),
    help="Port where a target gives none; repeatable.  [default: 443]",
)
@click.option(
    "--server-name",
    "server_names",
    multiple=True,
    metavar="NAME",
    help="Name to ask for where a target is an address; repeatable.",
)
@click.option("--concurrency", type=click.IntRange(1, 20000), default=256, show_default=True, help="Targets at once.")
@click.option(
    "--processes",
    type=click.IntRange(1, PROCESSES_MAX),
    default=1,
    show_default=True,
    help="Processes of this machine that probe; one assesses.",
)
@click.option("--rate", type=click.FloatRange(min=0.001), metavar="N", help="Connections a second, in all.")
@click.option("--rate-per-host", type=click.FloatRange(min=0.001), metavar="N", help="The same, to one host.")
@click.option(
    "--retries", type=click.IntRange(0, 10), default=1, show_default=True, help="Further tries after passing failures."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="For one target.",
)
@click.option("--resume", metavar="STATE", help="Remember there what is done; given again, go on. Needs --output.")
@click.option("--strict", is_flag=True, help="Stop at the first line that is no target.")
@click.option(
    "--evidence",
    type=click.Choice([e.value for e in Evidence]),
    default=Evidence.ODD.value,
    show_default=True,
    help="Write the certificates out for all, for those that are not clean, or for none.",
)
@click.option(
    "--resolver",
    type=click.Choice(["auto", "c-ares", "system"]),
    default="auto",
    show_default=True,
    help="How names are resolved; auto is c-ares where aiodns is installed.",
)
@click.option("--progress/--no-progress", default=True, show_default=True, help="Say on stderr how far it is.")
@common.fail_on_option("Least confidence of middleware that makes the exit code 1.")
@common.history_option
@common.common_but_format
@click.option(
    "--format",
    "form",
    envvar="DETECTOR_SCAN_FORMAT",
    type=click.Choice([f.value for f in Form]),
    default=Form.TEXT.value,
    show_default=True,
)
def scan_command(  # noqa: PLR0913 - one parameter per option
    *,
    options: common.Options,
    targets: tuple[str, ...],
    files: tuple[str, ...],
    table: bool,
    networks: tuple[str, ...],
    ports: tuple[int, ...],
    server_names: tuple[str, ...],
    concurrency: int,
    processes: int,
    rate: float | None,
    rate_per_host: float | None,
    retries: int,
    timeout: float,
    resume: str | None,
    strict: bool,
    evidence: str,
    resolver: str,
    progress: bool,
    fail_on: str,
    form: str,
    place: str | None,
) -> int:
    """Scan any number of targets: a line of result for each as it comes, in constant memory.

    Targets are the arguments, files with one a line (# begins a comment), CSV with a header (host, port, address,
    category, operator, sni), networks, or, where none is given, the endpoints of the pin files. Lines that are not
    targets are reported by number and skipped.

    With --resume and --output a scan that was ended, however abruptly, continues where it was when the same command is
    given again.

    Exit code: 0 clean, 1 middleware at --fail-on or above, 2 bad usage or input, 3 inconclusive, as for `detector
    check`: targets of arguments and files count as named.
    """
    if resume is not None and (options.output is None or form != Form.JSONL.value):
        raise click.UsageError("--resume needs --output FILE and --format jsonl: the output is what it goes on from.")
    sources = Sources(targets, files, networks, ports or (443,), tuple(map(parse_host, server_names)), table)
    settings = StreamSettings(
        concurrency=concurrency, rate=rate, rate_per_destination=rate_per_host, retries=retries, timeout=timeout
    )
    names = _resolver(resolver)
    tally = Tally(strict=strict)
    with contextlib.ExitStack() as stack:
        history = None if place is None else stack.enter_context(common.open_history(place))
        detector = Detector(
            **common.settings(options, seen_before=common.seen_before(history)), seams=Seams(resolver=names)
        )
        kept = None if history is None else _Kept(history, detector, tally)
        writer = _Writer(Form(form), Evidence(evidence), options, resume, _fingerprint(sources, options), stack)
        _count_earlier(writer, tally, kept)
        try:
            with _progress(tally) if progress else contextlib.nullcontext():
                probing = _Probing(processes, names)
                asyncio.run(_scan(detector, sources, settings, tally, (writer, kept), probing))
        except KeyboardInterrupt:
            common.say(tally.sentence(interrupted=True))
            raise
        finally:
            writer.close()
            if kept is not None:
                kept.flush()
        if kept is not None:
            kept.finish()
    common.say(tally.sentence())
    common.warn_of_age(detector.knowledge, utc_now())
    return common.exit_code(tally.decision(), Confidence(fail_on))


class _Probing(NamedTuple):
    """What probes, and how names are resolved."""

    processes: int
    names: CachingResolver

    @contextlib.asynccontextmanager
    async def begun(self, detector: Detector) -> AsyncIterator[Probe]:
        """What probes endpoints, until the block ends."""
        try:
            if self.processes == 1:
                yield detector.probe
                return
            from detector.scan.processes import WorkerPool  # noqa: PLC0415 - only where there are several
            from detector.scan.work import WorkerConfig  # noqa: PLC0415 - as above

            network = msgspec.structs.replace(detector.network, offline=True)
            async with WorkerPool(
                self.processes, detector, WorkerConfig(network=network, c_ares=self.names.c_ares)
            ) as pool:
                yield pool.probe
        finally:
            await self.names.close()


async def _scan(  # noqa: PLR0913, PLR0917 - the parts of one scan
    detector: Detector,
    sources: Sources,
    settings: StreamSettings,
    tally: Tally,
    sinks: tuple[_Writer, _Kept | None],
    probing: _Probing,
) -> None:
    writer, kept = sinks
    async with probing.begun(detector) as probe:
        results = scan(
            detector,
            read(sources, detector),
            settings=settings,
            done=writer.done,
            on_bad_line=tally.bad_line,
            probe=probe,
        )
        async with contextlib.aclosing(results):
            async for found in results:
                tally.add(found)
                writer.write(found)
                if kept is not None:
                    kept.add(found)


def _count_earlier(writer: _Writer, tally: Tally, kept: _Kept | None) -> None:
    """Let a scan that goes on speak for what it found before it was ended."""
    if kept is None:
        for line in writer.earlier(_Earlier):
            tally.add_earlier(line)
        return
    for found in writer.earlier(Scanned):
        tally.add_earlier(found)
        kept.add(found)


def _resolver(wanted: str) -> CachingResolver:
    from detector.probe.routes.resolving import AsyncLookup, CachingResolver  # noqa: PLC0415 - other commands start without it

    if wanted == "system":
        return CachingResolver()
    try:
        return CachingResolver(AsyncLookup())
    except MissingExtraError:
        if wanted == "c-ares":
            raise
        common.say(
            "Names are resolved by the system, a thread for each; for more: pip install 'tls-middleware-detector[scan]'"
        )
        return CachingResolver()


def read(sources: Sources, detector: Detector) -> Iterator[Target | BadLine]:
    """Every target, lazily, in an order that is the same every time."""
    if not (sources.targets or sources.files or sources.networks):
        yield from (Target(endpoint, "pins", named=False) for endpoint in detector.pins.endpoints)
        return
    lines = b"".join(f"{target}\n".encode() for target in sources.targets)
    if lines:
        import io  # noqa: PLC0415 - only for targets given as arguments

        stream: IO[bytes] = io.BytesIO(lines)
        yield from read_targets(stream, name="argument", ports=sources.ports, server_names=sources.server_names)
    for cidr in sources.networks:
        for endpoint in expand(cidr, sources.ports, sources.server_names):
            yield Target(endpoint, cidr, named=False)
    for name in sources.files:
        with _open(name) as stream:
            yield from read_targets(
                stream,
                name="stdin" if name == STDIN else name,
                table=sources.table or name.lower().endswith(SUFFIX_OF_TABLES),
                ports=sources.ports,
                server_names=sources.server_names,
            )


@contextlib.contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    if name == STDIN:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(name).open("rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"--targets {name}: cannot be read ({reason}).", advice="Name a readable file.") from error
    with stream:
        yield stream


def _fingerprint(sources: Sources, options: common.Options) -> str:
    """What a state file remembers of the scan it belongs to: everything that numbers and judges its targets."""
    found = hashlib.sha256(repr((sources, options.pins, options.roots, options.add_roots, options.ct_logs)).encode())
    for name in chain(sources.files, options.pins):
        if name != STDIN and Path(name).is_file():
            with _open(name) as stream:
                found.update(str(Path(name).stat().st_size).encode() + stream.read(FINGERPRINT_BYTES))
    return found.hexdigest()


class _Earlier(msgspec.Struct, frozen=True):
    """What counts of a line that an ended scan wrote, or of a result that was amended."""

    endpoint: EndpointName
    verdict: Verdict
    confidence: Confidence | None = None
    named: bool = False
    replaces: Replaced | None = None


class Tally:
    """What was found so far: in numbers, and for each vantage as one network."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._networks: dict[str, network.Tally] = {}
        self._found: Counter[tuple[Verdict, Confidence | None]] = Counter()
        self.bad_lines = 0
        self.begun = time.monotonic()
        self._earlier = 0

    @property
    def total(self) -> int:
        """How many targets have a result."""
        return self._found.total()

    def add_earlier(self, found: Scanned | _Earlier) -> None:
        """Count a result of the same scan from before it was ended."""
        self.add(found)
        self._earlier = self.total

    def add(self, found: Scanned | _Earlier, *, vantage: str = "") -> None:
        """Count a result from this vantage. One that amends an earlier one carries what it replaces."""
        before = None
        if found.replaces is not None:
            before = _Earlier(found.endpoint, found.replaces.verdict, found.replaces.confidence)
            self._found[before.verdict, before.confidence] -= 1
        self._found[found.verdict, found.confidence] += 1
        self._networks.setdefault(vantage, network.Tally()).add(found, before, named=found.named)

    def decision(self) -> network.NetworkDecision:
        """What is said of the network; of several, the gravest. Nothing scanned is inconclusive."""
        found = [tally.decision() for tally in self._networks.values()] or [network.Tally().decision()]
        return max(found, key=_gravity)

    def bad_line(self, bad: BadLine) -> None:
        """Report a line that is not a target. Raises `InputError` where the scan is strict."""
        self.bad_lines += 1
        if self._strict:
            raise InputError(f"{bad.where}: {bad.reason}", advice="Correct the line, or leave out --strict.")
        if self.bad_lines <= BAD_LINES_MAX:
            common.say(f"{bad.where}: {bad.reason}")

    def sentence(self, *, interrupted: bool = False) -> str:
        """All of it in one sentence."""
        verdicts, confidences = Counter[Verdict](), Counter[Confidence | None]()
        for (verdict, confidence), number in list(self._found.items()):  # a copy: progress is shown by another thread
            verdicts[verdict] += number
            confidences[confidence] += number
        found = ", ".join(f"{verdicts[v]} {v}" for v in Verdict if verdicts[v])
        sure = ", ".join(f"{confidences[c]} {c}" for c in reversed(Confidence) if confidences[c])
        bad = f" {self.bad_lines} lines were not targets." if self.bad_lines else ""
        seconds = max(time.monotonic() - self.begun, 0.001)
        before = f", {self._earlier} of them before," if self._earlier else ""
        how = "Interrupted after" if interrupted else "Scanned"
        return (
            f"{how} {self.total} targets{before} in {seconds:.1f} s ({(self.total - self._earlier) / seconds:.0f}/s): "
            f"{found or 'nothing'}{f' ({sure})' if sure else ''}.{bad}"
        )


def _gravity(found: network.NetworkDecision) -> tuple[bool, int]:
    """The gravest has the highest."""
    sureness = -1 if found.confidence is None else list(Confidence).index(found.confidence)
    return found.verdict is not Verdict.CLEAN, sureness


class _Writer:
    """Writes one line a result, flushed at once, to where it was asked for."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of one output
        self,
        form: Form,
        evidence: Evidence,
        options: common.Options,
        resume: str | None,
        fingerprint: str,
        stack: contextlib.ExitStack,
    ) -> None:
        self._form = form
        self._evidence = evidence
        self._vantage = options.vantage
        self._record: ScanRecord | None = None
        self._stream: TextIO | None = None
        if resume is not None and options.output is not None:
            self._record = ScanRecord(resume, options.output, scan=fingerprint)
            if self._record.resumed:
                common.say(f"Going on: {self._record.done.count} targets are done.")
        else:
            self._stream = stack.enter_context(common.growing_stream(options.output))
        if form is Form.CSV:
            self._put(_spreadsheet().header())

    def earlier(self, form: type[Line]) -> Iterator[Line]:
        """What this scan found before it was ended, read as `form`. Raises `InputError`."""
        for number, line in enumerate(() if self._record is None else self._record.earlier(), start=1):
            try:
                yield msgspec.json.decode(line, type=form)
            except (msgspec.MsgspecError, ValueError) as error:
                raise InputError(
                    f"--output: line {number} is not a result of a scan.",
                    advice="Put the file back as the scan wrote it, or begin again with a new state file and output.",
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
        elif self._form is Form.JSONL:
            self._put(encode(self._slim(found)).decode("utf-8") + "\n")
        elif self._form is Form.CSV:
            self._put(_spreadsheet().line(found, at=utc_now(), vantage=self._vantage))
        else:
            self._put(_text(found) + "\n")

    def close(self) -> None:
        """Leave everything whole."""
        if self._record is not None:
            self._record.close()

    def _put(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()

    def _slim(self, found: Scanned) -> Scanned:
        """The result without the bytes of certificates that were not asked for; their hashes stay."""
        whole = self._evidence is Evidence.ALL or (
            self._evidence is Evidence.ODD and found.verdict is not Verdict.CLEAN
        )
        if whole:
            return found
        bare = tuple(msgspec.structs.replace(c, der=b"") for c in found.observation.chain)
        return msgspec.structs.replace(found, observation=msgspec.structs.replace(found.observation, chain=bare))


class _Kept:
    """Keeps a scan in the history, some results at a time."""

    def __init__(self, history: History, detector: Detector, tally: Tally) -> None:
        self._history = history
        self._tally = tally
        now = utc_now()
        self._head = Report(
            detector_version=VERSION,
            started=now,
            finished=now,
            vantage=detector.vantage,
            verdict=Verdict.INCONCLUSIVE,
            scope=Scope.NONE,
            knowledge=detector.knowledge,
        )
        self._run = history.begin(self._head, kind="scan")
        self._waiting: dict[int, Scanned] = {}

    def add(self, found: Scanned) -> None:
        """Keep one result; one that amends another takes its place."""
        self._waiting[found.number] = found
        if len(self._waiting) >= HISTORY_BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._history.add(self._run, tuple(self._waiting.items()))
        self._waiting.clear()

    def finish(self) -> None:
        """Record that the scan is complete, and what it found."""
        head = msgspec.structs.replace(self._head, finished=utc_now(), **self._tally.decision()._asdict())
        self._history.finish(self._run, head)


def _spreadsheet() -> ModuleType:
    from detector.report import spreadsheet  # noqa: PLC0415 - loads all of `report`, which other forms do not need

    return spreadsheet


def _text(found: Scanned) -> str:
    """One line: the verdict, what it rests on, the endpoint; where it is not clean, by whom and why."""
    rests = found.confidence or found.assurance or found.reason
    party = "" if found.attribution is None else found.attribution.product or found.attribution.issuer or ""
    outcome = found.observation.outcome if found.reason is Reason.NO_CERTIFICATE else ""
    sentence = "" if found.verdict is Verdict.CLEAN else wording.why(found)
    note = " (amended)" if found.amends else ""
    cells = (f"{found.verdict:<12}", f"{rests:<10}", found.endpoint.name, outcome, party, sentence)
    return "  ".join(filter(None, cells)) + note


@contextlib.contextmanager
def _progress(tally: Tally) -> Iterator[None]:
    """Say on stderr how far the scan is: a line that changes on a terminal, plain lines elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        bar = Progress(*columns, console=Console(stderr=True))
        with bar, _ticking(0.2, _update(bar, bar.add_task(""), tally)):
            yield
    else:
        with _ticking(PLAIN_PROGRESS_SECONDS, lambda: common.say(tally.sentence().replace("Scanned", "So far", 1))):
            yield


def _update(bar: Progress, task: TaskID, tally: Tally) -> Callable[[], None]:
    return lambda: bar.update(task, description=tally.sentence().removesuffix("."))


@contextlib.contextmanager
def _ticking(seconds: float, tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` every so often, from a thread, until the block ends."""
    import threading  # noqa: PLC0415 - only with progress

    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            tick()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
