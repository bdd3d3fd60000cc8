"""What commands share: exit codes, input files, histories, and where results go.

Room: cli.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar, cast

import click
import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import HistoryError, HistoryUnavailableError, NoRoomError, OutputError
from detector.language import ENGLISH
from detector.model import Detail, Record, Verdict, encode
from detector.model.files import reason_of, unwritable
from detector.model.folders import user_folder
from detector.model.private_files import OWNER_ONLY, create_private
from detector.model.validate import naming

from .options import Format, Output
from .stderr import say
from .streams import ESCAPED

if TYPE_CHECKING:
    import datetime as dt
    import shutil
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import IO, TextIO

    from rich import console as rich_console

    from detector import report as reports
    from detector.errors import InputError
    from detector.history import store
    from detector.judge.network import NetworkDecision
    from detector.knowledge import age
    from detector.model import Confidence, Knowledge, Report
    from detector.report import siem
else:
    age = LazyModule("detector.knowledge.age")
    reports = LazyModule("detector.report")
    siem = LazyModule("detector.report.siem")
    rich_console = LazyModule("rich.console")
    shutil = LazyModule("shutil")
    store = LazyModule("detector.history.store")  # the extra `history`

CLEAN: Final = 0
MIDDLEWARE: Final = 1
BAD_INPUT: Final = 2
INCONCLUSIVE: Final = 3
DEFAULT_HISTORY: Final = "default"
HISTORY: Final = "--history"
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
STDIN: Final = "-"
"""The name of standard input where a file is named."""
TIMELINE_RUNS: Final = 200
"""Earlier runs drawn on an HTML report: half a year of daily ones."""
WITHOUT_HISTORY: Final = "The command goes on without this history."
HISTORY_LEAST: Final = 0.5
"""Seconds that a side history is waited for when the deadline has passed: a writer's batch takes milliseconds."""
HISTORY_SHARE: Final = 4
"""Opening a side history may take this part of the deadline: what remains is for probing."""
DEADLINE_LEAST: Final = 0.05
"""Seconds that are left for probing, however long the program took to start."""
WIDTHS: Final = (40, 1000)
"""Columns that text is fitted to at least and at most, whatever COLUMNS says: some words need 40."""
T = TypeVar("T")
R = TypeVar("R", bound=Record)


@contextlib.contextmanager
def open_input(path: str, error: type[InputError], advice: str) -> Iterator[IO[bytes]]:
    """Open an input file, - for standard input. Raises `error`, which names it, also where reading fails."""
    try:
        opened = contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else Path(path).open("rb")  # noqa: SIM115 - closed by the `with` block below
    except (OSError, ValueError) as problem:  # ValueError: a NUL character in the name
        raise error(f"{path}: cannot be read ({reason_of(problem)}).", advice=advice) from problem
    with opened as file:
        try:
            yield file
        except OSError as problem:
            raise error(f"{path}: cannot be read ({reason_of(problem)}).", advice=advice) from problem


def read_file(path: str, limit: int, error: type[InputError], advice: str) -> bytes:
    """The content of an input file of at most `limit` bytes, - for standard input. Raises `error`, which names it."""
    with open_input(path, error, advice) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise error(f"{path}: larger than {limit // 1024 // 1024} MiB.", advice=advice)
    return data


def open_history(place: str, wait: Callable[[], float] | None = None) -> store.History:
    """The history at a place that the user named. Raises `HistoryError`, `MissingExtraError`, `OutputError`.

    `wait` returns the seconds that each access may wait for others or for the server; by default the store's own.
    """
    if place != DEFAULT_HISTORY:
        return store.History(place, wait=wait)
    folder = user_folder("data")
    if folder is None:
        raise HistoryError("There is no home directory for the default history.", advice="Name a file or a database.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HistoryError(
            f"The directory {folder} for the default history cannot be created ({error.strerror}).",
            advice="Name a file or a database instead, or set HOME to your own directory.",
        ) from error
    return store.History(folder / "history.sqlite", wait=wait)


class SideHistory:
    """A history that a command uses alongside its own work: what fails is reported once, and then it is done without.

    Entering raises `HistoryError` for a place that cannot be a history, and `MissingExtraError`; nothing else raises
    but the writing methods, for `in_order`.
    """

    def __init__(self, place: str | None, wait: Callable[[], float] | None = None) -> None:
        self._place = place
        self._wait = wait
        self._history: store.History | None = None
        self._failure: HistoryUnavailableError | None = None

    def __enter__(self) -> Self:
        if self._place is not None:
            try:
                with self._access():
                    self._history = open_history(self._place, self._wait)
            except HistoryUnavailableError as error:
                say(f"Warning: {error} {WITHOUT_HISTORY}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._history is not None:
            self._history.close()

    @contextlib.contextmanager
    def _access(self) -> Iterator[None]:
        """Name the option in what fails, and remember it."""
        try:
            with naming(HISTORY):
                yield
        except HistoryUnavailableError as error:
            self._failure = error
            raise

    @property
    def genuine(self) -> Callable[[Iterable[str]], frozenset[str]] | tuple[()]:
        """What of some endpoints was genuine before, for `Detector`; nothing where the history does not say."""
        if self._history is None:
            return ()
        return lambda names: self._read(lambda history: history.genuine(names), frozenset())

    def _read(self, read: Callable[[store.History], T], otherwise: T) -> T:
        if self._history is None or self._failure is not None:
            return otherwise
        try:
            with self._access():
                return read(self._history)
        except HistoryError as error:
            say(f"Warning: {error} {WITHOUT_HISTORY}")
            return otherwise

    def timeline(self, report: Report, form: Format) -> tuple[reports.TimelineEntry, ...]:
        """This run and the earlier ones from the report's vantage, if this format draws them and there is a history."""
        if self._history is None or form is not Format.HTML:
            return ()
        this = reports.TimelineEntry(
            report.started,
            report.vantage,
            report.verdict,
            report.confidence,
            f"this run, {len(report.results)} endpoints",
        )
        none: tuple[reports.TimelineEntry, ...] = ()
        return (*self._read(lambda history: timeline(history, report, form), none), this)

    def write(self, write: Callable[[store.History], T]) -> T | None:
        """Write something; None where there is no history, or it failed before. Raises `HistoryError`."""
        if isinstance(self._failure, NoRoomError):
            raise self._failure
        if self._history is None or self._failure is not None:
            return None
        with self._access():
            return write(self._history)


def timeline(history: store.History, report: Report, form: Format) -> tuple[reports.TimelineEntry, ...]:
    """The runs from the report's vantage, if this format draws them. Raises `HistoryError`."""
    if form is not Format.HTML:
        return ()
    return tuple(
        reports.TimelineEntry(
            run.started, run.vantage, run.verdict, run.confidence, f"run {run.id}, {run.endpoints} endpoints"
        )
        for run in history.runs(vantage=report.vantage, limit=TIMELINE_RUNS)
        if run.verdict is not None
    )


def remaining(deadline: float, started: float | None) -> float:
    """Seconds left of a deadline that counts from when the process began (`started`, on the monotonic clock)."""
    spent = 0.0 if started is None else time.monotonic() - started
    return max(deadline - spent, DEADLINE_LEAST)


def history_wait(deadline: float, started: float | None) -> Callable[[], float]:
    """How long each access of a side history may wait within this deadline: a part of what remains."""
    return lambda: max(remaining(deadline, started) / HISTORY_SHARE, HISTORY_LEAST)


def warn_of_age(used: Sequence[Knowledge], at: dt.datetime) -> None:
    """Warn if knowledge that was used was old at this moment."""
    if (sentence := age.warning(used, at)) is not None:
        say(f"Warning: {sentence}")


def exit_code(found: Report | NetworkDecision, fail_on: Confidence) -> int:
    """The exit code for the verdict on a network. Middleware below `fail_on` exits as inconclusive."""
    if found.verdict is Verdict.CLEAN:
        return CLEAN
    if found.confidence is not None and found.confidence.reaches(fail_on):
        return MIDDLEWARE
    return INCONCLUSIVE


@contextlib.contextmanager
def result_stream(output: str | None, option: str = "--output", *, mode: int = 0o666) -> Iterator[TextIO]:
    """Where the result goes: standard output, or a file that appears complete or not at all.

    The temporary file is created before any work is done, so that an unwritable directory is reported at once. The
    target of a link is replaced, not the link; a device, a pipe and what standard output already goes to are written
    in place. A new file has the permissions `mode`, less the umask. Raises `OutputError`, which names `option`.
    """
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    text = io.StringIO()  # what else fails before the end is not mistaken for a failure of this file
    what = f"{option} {output}"
    try:
        target = Path(output).resolve()
        if target.is_dir():
            raise IsADirectoryError(21, "it is a directory")
        in_place = _is_stream(Path(output))
        if not in_place:
            temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}.part")
            descriptor = create_private(temporary) if mode == OWNER_ONLY else os.open(temporary, _NEW_FILE, OWNER_ONLY)
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, before Python 3.13; a NUL character
        raise unwritable(what, error) from error
    if in_place:
        with growing_stream(output, option, append=True) as stream:
            yield text
            stream.write(text.getvalue())
        return
    try:
        with io.FileIO(descriptor, "w") as file:
            yield text
            with _naming(what):
                _write_all(file, text.getvalue())
        with _naming(what):
            temporary.chmod(mode & ~_umask())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def later(
    output: str | None, option: str = "--output", *, mode: int = 0o666
) -> Iterator[Callable[[Callable[[TextIO], object]], None]]:
    """As `result_stream`, for a file that the function it gives writes and completes before the block ends."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(result_stream(output, option, mode=mode))

        def complete(write: Callable[[TextIO], object]) -> None:
            write(stream)
            stack.close()

        yield complete


def _write_all(file: io.FileIO, text: str) -> None:
    """Write text in UTF-8, unbuffered, so that closing the file writes nothing more. Raises OSError."""
    rest = memoryview(text.encode("utf-8", ESCAPED))
    while rest:  # a device takes a part of it where that fills it
        rest = rest[file.write(rest) :]


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Raise what the system refuses as an `OutputError` that names the option and the file."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise unwritable(what, error) from error


def in_order(result: Callable[[], object], *side_outputs: Callable[[], object]) -> None:
    """Write the result, then what goes alongside it, each whatever became of those before.

    A side output that fails is reported and costs neither the result nor its exit code, unless its device has no room.
    Raises what writing the result raises, and `NoRoomError`.
    """
    with contextlib.ExitStack() as rest:
        for side_output in reversed(side_outputs):
            rest.callback(_attempt, side_output)
        result()


def _attempt(side_output: Callable[[], object]) -> None:
    try:
        side_output()
    except NoRoomError:
        raise
    except (HistoryError, OutputError) as error:
        say(f"Warning: {error}")


def refuse_same_file(**outputs: str | None) -> None:
    """Refuse one file for two outputs, named by their options: one would be lost. Raises click.UsageError."""
    named = {f"--{name.replace('_', '-')}": file for name, file in outputs.items() if file is not None}
    for (one, file), (other, same) in itertools.combinations(named.items(), 2):
        if Path(file).absolute() == Path(same).absolute():
            raise click.UsageError(f"{one} and {other} are both {same}: name a file for each.")


def _is_stream(place: Path) -> bool:
    """Whether this is not a file to replace: a device, a pipe, or what standard output goes to. Raises OSError."""
    try:
        there = place.stat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(there.st_mode):
        return True
    ours = [os.fstat(stream.fileno()) for stream in (sys.__stdout__, sys.__stderr__) if stream and not stream.closed]
    return any(os.path.samestat(there, one) for one in ours)


class GrowingFile(io.TextIOBase):
    """A file of lines, each in the file when `write` returns. Raises `OutputError`, which names `option`."""

    def __init__(self, output: str, option: str, *, append: bool) -> None:
        self._what = f"{option} {output}"
        with _naming(self._what):
            self._file = io.FileIO(output, "ab" if append else "wb")

    def write(self, text: str) -> int:
        """Write some text, in UTF-8."""
        with _naming(self._what):
            _write_all(self._file, text)
        return len(text)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@contextlib.contextmanager
def growing_stream(output: str | None, option: str = "--output", *, append: bool = False) -> Iterator[TextIO]:
    """Where lines go as they come: standard output, or a file that is valid after every line. Raises `OutputError`."""
    if output is None:
        yield sys.stdout
        return
    with GrowingFile(output, option, append=append) as stream:
        yield cast("TextIO", stream)  # all of it that is used


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def load_format(form: Format) -> None:
    """Import what `write` needs for this format, while there is time."""
    for name in ("detector.report", *(("rich.console", "rich.table") if form is Format.TABLE else ())):
        importlib.import_module(name)


def write(report: Report, out: Output, stream: TextIO, timeline: Sequence[reports.TimelineEntry] = ()) -> None:
    """Write a report as `out` says; HTML shows `timeline`, the earlier runs."""
    match form := out.form:
        case Format.HTML:
            text = reports.html([report], timeline=timeline, language=out.language or ENGLISH)
        case Format.TABLE:
            text = as_table(report, stream, out.detail, out.language)
        case Format.ECS | Format.OCSF | Format.CEF | Format.SYSLOG | Format.SARIF:
            text = siem.render(report, form)
        case _:
            text = getattr(reports, form)(report)  # these functions, too, are called after their format
    stream.write(text)


def write_record(
    record: R, out: Output, stream: TextIO, table: Callable[[R, Detail], rich_console.RenderableType]
) -> None:
    """Write a record as indented JSON, or as the table that `table` makes of it."""
    stream.write(as_json(record) if out.form is Format.JSON else as_text(table(record, out.detail), stream))


def as_json(record: Record) -> str:
    """A record as indented JSON."""
    return msgspec.json.format(encode(record), indent=2).decode() + "\n"


def as_table(report: Report, stream: TextIO, detail: Detail = Detail.SUMMARY, language: str | None = None) -> str:
    """The table of a report as text, for this stream."""
    return as_text(reports.table(report, detail, language or ENGLISH), stream)


def as_text(renderable: rich_console.RenderableType, stream: TextIO) -> str:
    """What rich renders, as text, colored if the stream is a terminal, and fitted to it, else to COLUMNS."""
    buffer = io.StringIO()
    outer = rich_console.Console(file=stream)
    width = outer.width if outer.is_terminal else shutil.get_terminal_size().columns
    console = rich_console.Console(
        file=buffer,
        force_terminal=outer.is_terminal,
        no_color=outer.no_color,
        color_system="auto" if outer.is_terminal else None,
        width=min(max(width, WIDTHS[0]), WIDTHS[1]),
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
