"""What commands share: exit codes, input files, histories, and where results go.

Room: cli.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import HistoryError, OutputError
from detector.model import Record, Verdict, encode
from detector.model.files import reason_of

from .options import Format
from .stderr import say

if TYPE_CHECKING:
    import datetime as dt
    import tempfile
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    import platformdirs
    from rich import console as rich_console

    from detector import report as reports
    from detector.errors import InputError
    from detector.history import store
    from detector.judge.network import NetworkDecision
    from detector.knowledge import age
    from detector.model import Confidence, Knowledge, Report
else:
    age = LazyModule("detector.knowledge.age")
    platformdirs = LazyModule("platformdirs")
    reports = LazyModule("detector.report")
    rich_console = LazyModule("rich.console")
    store = LazyModule("detector.history.store")  # the extra `history`
    tempfile = LazyModule("tempfile")

CLEAN: Final = 0
MIDDLEWARE: Final = 1
BAD_INPUT: Final = 2
INCONCLUSIVE: Final = 3
APPLICATION: Final = "tls-middleware-detector"
"""What this program's folders are called."""
DEFAULT_HISTORY: Final = "default"
TIMELINE_RUNS: Final = 200
"""Earlier runs drawn on an HTML report: half a year of daily ones."""
DEADLINE_LEAST: Final = 0.05
"""Seconds that are left for probing, however long the program took to start."""
PIPED_WIDTH: Final = 160
"""Columns of a table that is not shown on a terminal: wide enough that most evidence stays on one line."""


def read_file(path: str, limit: int, error: type[InputError], advice: str) -> bytes:
    """The content of an input file of at most `limit` bytes. Raises `error`, which names the file."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as problem:  # ValueError: a NUL character in the name
        raise error(f"{path}: cannot be read ({reason_of(problem)}).", advice=advice) from problem
    if len(data) > limit:
        raise error(f"{path}: larger than {limit // 1024 // 1024} MiB.", advice=advice)
    return data


def user_folder(kind: str) -> Path | None:
    """This program's folder for `config` or `data` by the platform's convention; None without a home directory."""
    try:
        if kind == "config":
            folder = platformdirs.user_config_path(APPLICATION, appauthor=False, roaming=True)
        else:
            folder = platformdirs.user_data_path(APPLICATION, appauthor=False)
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None  # versions before 4.14 do not expand "~" then, and do not raise


def open_history(place: str) -> store.History:
    """The history at a place that the user named. Raises `HistoryError`, `MissingExtraError`."""
    if place != DEFAULT_HISTORY:
        return store.History(place)
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
    return store.History(folder / "history.sqlite")


@contextlib.contextmanager
def optional_history(place: str | None) -> Iterator[store.History | None]:
    """The history at this place, closed afterwards; None where none was named."""
    if place is None:
        yield None
    else:
        with open_history(place) as history:
            yield history


def timeline(history: store.History | None, report: Report, form: Format) -> tuple[reports.TimelineEntry, ...]:
    """The earlier runs from the report's vantage, if this format draws them. Raises `HistoryError`."""
    if history is None or form is not Format.HTML:
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
def result_stream(output: str | None) -> Iterator[TextIO]:
    """Where the result goes: standard output, or a file that appears complete or not at all.

    The temporary file is created before any work is done, so that an unwritable directory is reported at once. The
    target of a link is replaced, not the link; a device, a pipe and what standard output already goes to are written
    in place. Raises `OutputError`.
    """
    if output is None:
        yield sys.stdout
        return
    try:
        target = Path(output).resolve()
        if target.is_dir():
            raise IsADirectoryError(21, "it is a directory")
        in_place = _is_stream(Path(output))
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise unwritable(output, error) from error
    if in_place:
        with growing_stream(output, append=True) as stream:
            yield stream
        return
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise unwritable(output, error) from error
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:  # noqa: PTH123 - a descriptor, not a path
            yield stream
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
    except OSError as error:
        raise unwritable(output, error) from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def refuse_same_file(output: str | None, bundle: str | None) -> None:
    """Refuse one file for report and bundle: only one of them would be left. Raises click.UsageError."""
    if output is not None and bundle is not None and Path(output).absolute() == Path(bundle).absolute():
        raise click.UsageError(f"--output and --bundle are both {bundle}: name a file for each.")


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


@contextlib.contextmanager
def growing_stream(output: str | None, *, append: bool = False) -> Iterator[TextIO]:
    """Where lines go as they come: standard output, or a file that is valid after every line. Raises `OutputError`."""
    if output is None:
        yield sys.stdout
        return
    try:
        with Path(output).open("a" if append else "w", encoding="utf-8", newline="\n") as stream:
            yield stream
    except OSError as error:
        raise unwritable(output, error) from error


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def unwritable(output: str, error: OSError | RuntimeError) -> OutputError:
    """The exception for a file that cannot be written."""
    reason = error.strerror if isinstance(error, OSError) else None
    return OutputError(
        f"--output {output}: cannot be written ({reason or error}).",
        advice="Name a file in a directory you may write to.",
    )


def load_format(form: Format) -> None:
    """Import what `write` needs for this format, while there is time."""
    for name in ("detector.report", *(("rich.console", "rich.table") if form is Format.TABLE else ())):
        importlib.import_module(name)


def write(report: Report, form: Format, stream: TextIO, timeline: Sequence[reports.TimelineEntry] = ()) -> None:
    """Write a report in this format; `timeline` are earlier runs, which only HTML shows."""
    match form:
        case Format.HTML:
            text = reports.html([report], timeline=timeline)
        case Format.TABLE:
            text = as_table(report, stream)
        case _:
            text = getattr(reports, form)(report)  # these functions are called after their format
    stream.write(text)


def write_record(
    record: Record, form: Format, stream: TextIO, table: Callable[[], rich_console.RenderableType]
) -> None:
    """Write a record as indented JSON, or as the table that `table` makes of it."""
    stream.write(as_json(record) if form is Format.JSON else as_text(table(), stream))


def as_json(record: Record) -> str:
    """A record as indented JSON."""
    return msgspec.json.format(encode(record), indent=2).decode() + "\n"


def as_table(report: Report, stream: TextIO) -> str:
    """The table of a report as text, for this stream."""
    return as_text(reports.table(report), stream)


def as_text(renderable: rich_console.RenderableType, stream: TextIO) -> str:
    """What rich renders, as text, coloured and fitted to the terminal if the stream is one."""
    buffer = io.StringIO()
    outer = rich_console.Console(file=stream)
    console = rich_console.Console(
        file=buffer,
        force_terminal=outer.is_terminal,
        no_color=outer.no_color,
        color_system="auto" if outer.is_terminal else None,
        width=outer.width if outer.is_terminal else PIPED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
