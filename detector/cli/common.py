"""What commands share: options, what they stand for, and where the result goes.

Room: cli.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import io
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from detector.errors import HistoryError, OutputError
from detector.model import Confidence, Report, Verdict
from detector.pins import parse_rule
from detector.session.plan import MACHINE
from detector.session.session import DEADLINE_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO, Unpack

    from rich.console import RenderableType

    from detector.history.store import History
    from detector.judge.network import NetworkDecision
    from detector.model import Knowledge
    from detector.report.html import TimelineEntry
    from detector.session.settings import DetectorOptions, SeenBefore

CLEAN: Final = 0
MIDDLEWARE: Final = 1
INCONCLUSIVE: Final = 3
DEFAULT_HISTORY: Final = "default"
TIMELINE_RUNS: Final = 200
"""Earlier runs drawn on an HTML report: half a year of daily ones."""
DEADLINE_LONGEST: Final = 3600.0
"""Seconds; a check is for now, longer observation is `watch`'s business."""
PIPED_WIDTH: Final = 160
"""Columns of a table that is not shown on a terminal: wide enough that most evidence stays on one line."""


class Format(enum.StrEnum):
    """Forms of a result."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    HTML = "html"
    CSV = "csv"
    PROMETHEUS = "prometheus"


class Options(NamedTuple):
    """The common options, as given."""

    pins: tuple[str, ...]
    roots: str | None
    add_roots: str | None
    ct_logs: str | None
    offline: bool
    resolve: dict[tuple[str, int], tuple[str, int]]
    proxy: str
    format: Format
    output: str | None
    vantage: str


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the common options; it receives them as one `Options` called `options`."""
    return _decorated(command, (*_OPTIONS, _FORMAT))


def common_but_format(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command that has forms of its own with the other common options."""
    return _decorated(command, _OPTIONS)


def _decorated(command: Callable[..., Any], options: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:

    def wrapper(**given: Any) -> Any:  # noqa: ANN401 - click passes what the options declare
        shared = {name: given.pop(name) for name in Options._fields if name in given}
        shared["resolve"] = dict(parse_rule(rule) for rule in shared["resolve"])
        shared["format"] = Format(shared.get("format", Format.TABLE))
        return command(options=Options(**shared), **given)

    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined] # click keeps the options of a decorated function here
    decorated: Callable[..., Any] = wrapper
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


_OPTIONS: Final = (
    click.option("--pins", multiple=True, metavar="FILE|DIR", help="Pin file or directory of them; repeatable."),
    click.option("--roots", metavar="PEM", help="Public roots to use instead of certifi's."),
    click.option("--add-roots", metavar="PEM", help="Public roots to use besides."),
    click.option(
        "--ct-logs", metavar="FILE", help="Known CT logs, Google log list v3 JSON, instead of the shipped ones."
    ),
    click.option("--offline", is_flag=True, help="Fetch nothing beyond the endpoints themselves."),
    click.option(
        "--resolve",
        multiple=True,
        metavar="HOST:PORT:ADDRESS:PORT",
        help="Connect there instead, as curl --connect-to; repeatable.",
    ),
    click.option(
        "--proxy",
        default=MACHINE,
        show_default=True,
        metavar="URL|system|env|pac:FILE|none",
        help="Proxy to go through: an http, https, socks4a or socks5 URL, or where it is set.",
    ),
    click.option("--output", metavar="FILE", help="Write the result there instead of to standard output."),
    click.option("--vantage", default="", metavar="NAME", help="Your name for the place this runs from."),
)


_FORMAT: Final = click.option(
    "--format",
    type=click.Choice([f.value for f in Format]),
    default=Format.TABLE.value,
    show_default=True,
    help="Form of the result.",
)


history_option: Final = click.option(
    "--history",
    "place",
    envvar="DETECTOR_HISTORY",
    metavar="FILE|URL|default",
    help="Keep runs in this history, and know from it what was genuine before: a file (SQLite) or postgresql://…  "
    "[env: DETECTOR_HISTORY]",
)

known_history_option: Final = click.option(
    "--history",
    "place",
    envvar="DETECTOR_HISTORY",
    metavar="FILE|URL|default",
    help="Know from this history what was genuine before; nothing is written to it.  [env: DETECTOR_HISTORY]",
)


def open_history(place: str) -> History:
    """The history at a place a user named. Raises `HistoryError`, `MissingExtraError`."""
    from detector.history import store  # noqa: PLC0415 - the extra `history`, and 0.3 s

    if place != DEFAULT_HISTORY:
        return store.History(place)
    path = Path(store.default_url())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HistoryError(
            f"The directory {path.parent} for the usual history cannot be made ({error.strerror}).",
            advice="Name a file or a database instead, or set HOME to your own directory.",
        ) from error
    return store.History(path)


def seen_before(history: History | None) -> SeenBefore:
    """What a `Detector` is to know of endpoints from this history."""
    return () if history is None else history.genuine


def days(count: int) -> dt.timedelta:
    """So many days."""
    return dt.timedelta(days=count)


def timeline(history: History, report: Report) -> tuple[TimelineEntry, ...]:
    """The earlier runs from the report's vantage, as its HTML form draws them. Raises `HistoryError`."""
    from detector.report.html import TimelineEntry  # noqa: PLC0415 - only for HTML

    return tuple(
        TimelineEntry(run.started, run.vantage, run.verdict, run.confidence, f"run {run.id}, {run.endpoints} endpoints")
        for run in history.runs(vantage=report.vantage, limit=TIMELINE_RUNS)
        if run.verdict is not None
    )


def say(message: str) -> None:
    """Tell the person who runs this something beside the result.

    Where standard error takes nothing (a full disk, a reader that went away) it is not said. That must not end the
    command: Python would exit with 1, which means "middleware".
    """
    try:
        click.echo(message, err=True)
    except OSError:
        lead_nowhere(sys.stderr)


def warn_of_age(knowledge: Sequence[Knowledge], at: dt.datetime) -> None:
    """Say on standard error when what is judged with was old at this moment."""
    from detector.knowledge.age import warning  # noqa: PLC0415 - loads the catalogue's code, which judging has loaded

    if (sentence := warning(knowledge, at)) is not None:
        say(f"Warning: {sentence}")


def lead_nowhere(stream: TextIO) -> None:
    """Have a stream that fails lead nowhere, what is still waiting in it included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


def fail_on_option(words: str) -> Callable[..., Any]:
    """Give a command `--fail-on`, called `fail_on`; `words` say what the least confidence decides there."""
    return click.option(
        "--fail-on",
        type=click.Choice([c.value for c in Confidence]),
        default=Confidence.PROBABLE.value,
        show_default=True,
        help=words,
    )


def deadline_option(words: str, *, longest: float = DEADLINE_LONGEST) -> Callable[..., Any]:
    """Give a command `--deadline` in seconds, at most `longest`; `words` say what must be done by then."""
    return click.option(
        "--deadline",
        type=click.FloatRange(min=0.1, max=longest),
        default=DEADLINE_DEFAULT,
        show_default=True,
        metavar="SECONDS",
        help=words,
    )


def settings(options: Options, **more: Unpack[DetectorOptions]) -> DetectorOptions:
    """Return the common options, and `more`, as keyword arguments of `Detector`."""
    return {
        "pins": options.pins or None,
        "roots": options.roots,
        "add_roots": options.add_roots,
        "logs": options.ct_logs,
        "proxy": options.proxy,
        "resolve": options.resolve,
        "vantage": options.vantage,
        "offline": options.offline,
        **more,
    }


def form_option(variable: str, *forms: str) -> Callable[..., Any]:
    """Give a command its own `--format`, called `form`; the first form is the default."""
    words = [str(form) for form in forms]  # click would offer the names of an enumeration's members
    return click.option(
        "--format",
        "form",
        envvar=variable,
        type=click.Choice(words),
        default=words[0],
        show_default=True,
        help="Form of the result.",
    )


def exit_code(found: Report | NetworkDecision, fail_on: Confidence) -> int:
    """The exit code that the verdict on a network stands for.

    Middleware below `fail_on` is neither a clean bill nor a reason to fail: it exits as inconclusive.
    """
    if found.verdict is Verdict.CLEAN:
        return CLEAN
    if found.confidence is not None and found.confidence.reaches(fail_on):
        return MIDDLEWARE
    return INCONCLUSIVE


@contextlib.contextmanager
def result_stream(output: str | None) -> Iterator[TextIO]:
    """Where the result goes: standard output, or a file that appears complete or not at all.

    The place is claimed before any work is done, so that an unwritable one is told at once. What a link points to is
    replaced, not the link; a device, a pipe and what standard output already goes to are written to as they are. Raises
    `OutputError`.
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
    import tempfile  # noqa: PLC0415 - 3 ms that standard output does not need

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


def refuse_one_place_for_two(output: str | None, bundle: str | None) -> None:
    """A report and a bundle that went to one file would leave only one of them. Raises click.UsageError."""
    if output is None or bundle is None or Path(output).absolute() != Path(bundle).absolute():
        return
    raise click.UsageError(f"--output and --bundle are both {bundle}: name a file for each.")


def _is_stream(place: Path) -> bool:
    """Whether it is no file of its own that could be replaced: a device, a pipe, or what standard output goes to.

    Raises OSError when it is there and cannot be asked.
    """
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
    """The exception for a place that cannot be written to."""
    reason = error.strerror if isinstance(error, OSError) else None
    return OutputError(
        f"--output {output}: cannot be written ({reason or error}).",
        advice="Name a file in a directory you may write to.",
    )


def load_form(form: Format) -> None:
    """Import what `write` needs for this form, for who has time now and none later."""
    import detector.report  # noqa: F401, PLC0415 - see `write`

    if form is Format.TABLE:
        import rich.console  # noqa: PLC0415 - see `as_text`
        import rich.table  # noqa: F401, PLC0415 - as above


def write(report: Report, form: Format, stream: TextIO, timeline: Sequence[TimelineEntry] = ()) -> None:
    """Write a report in the form asked for; `timeline` are earlier runs, which only HTML shows."""
    from detector import report as reports  # noqa: PLC0415 - a gate does not need it

    if form is Format.JSON:
        stream.write(reports.json(report))
    elif form is Format.JSONL:
        stream.write(reports.jsonl(report))
    elif form is Format.HTML:
        stream.write(reports.html([report], timeline=timeline))
    elif form is Format.CSV:
        stream.write(reports.csv(report))
    elif form is Format.PROMETHEUS:
        stream.write(reports.prometheus(report))
    else:
        stream.write(as_table(report, stream))


def as_table(report: Report, stream: TextIO) -> str:
    """The table of a report as text, for this stream."""
    from detector import report as reports  # noqa: PLC0415 - see `write`

    return as_text(reports.table(report), stream)


def as_text(renderable: RenderableType, stream: TextIO) -> str:
    """What rich renders, as text, coloured and fitted to the terminal if the stream is one."""
    from rich.console import Console  # noqa: PLC0415 - 40 ms that JSON output does not need

    buffer = io.StringIO()
    outer = Console(file=stream)
    console = Console(
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
