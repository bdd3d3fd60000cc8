"""Standard error: messages to the user, and the log of `detector.*`.

Room: cli.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from detector.aio.lazy import LazyModule
from detector.errors import SettingsError

from .streams import printable

if TYPE_CHECKING:
    import shutil
    from typing import TextIO
else:
    shutil = LazyModule("shutil")  # imports what reads and writes archives

LOG_VARIABLE: Final = "DETECTOR_LOG"
LOG: Final = logging.getLogger("detector.cli")


def say(message: str) -> None:
    """Write a message to standard error, with control characters escaped: file names can give a terminal commands.

    Where standard error takes nothing (a full disk, a reader that went away) the message is lost. That must not end the
    command: Python would exit with 1, which means "middleware".
    """
    show_line("")
    try:
        click.echo(
            printable(message, keep="\n\t"), file=sys.stderr
        )  # click's own choice of a stream ignores an encoding of ASCII
    except OSError:
        redirect_to_null(sys.stderr)


def is_terminal() -> bool:
    """Whether standard error is shown to somebody as it comes."""
    return sys.stderr is not None and sys.stderr.isatty()


class _Line:
    """The line of a terminal that changes in place, and its width."""

    width = 0


def show_line(text: str) -> None:
    """Show a line in the place of the one shown before; an empty one removes it. Messages do so as well."""
    if not text and not _Line.width:
        return
    text = text[: shutil.get_terminal_size().columns - 1]  # a longer line would go on in the next, and stay there
    try:
        sys.stderr.write(f"\r{text:<{_Line.width}}" if text else f"\r{'':<{_Line.width}}\r")
        sys.stderr.flush()
    except OSError:
        redirect_to_null(sys.stderr)
    _Line.width = len(text)


def redirect_to_null(stream: TextIO) -> None:
    """Redirect a stream that fails to the null device, including what is still buffered."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, stream.fileno())
    finally:
        os.close(devnull)


class _Handler(logging.Handler):
    """Writes log records as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        say(self.format(record))


def show_warnings() -> None:
    """Write the warnings of `detector.*` as messages, unless `configure_logging` said more."""
    package = logging.getLogger("detector")
    if not any(isinstance(handler, _Handler) for handler in package.handlers):
        _show("Warning: %(message)s", logging.WARNING)


def configure_logging(levels: str) -> None:
    """Log `detector.*` to standard error.

    Args:
        levels: a level (`debug`), or several for parts of the program: `warning,probe=debug`.

    Raises:
        SettingsError: for a level that does not exist.
    """
    for word in levels.split(","):
        room, _, level = word.strip().rpartition("=")
        number = logging.getLevelNamesMapping().get(level.upper())
        if number is None:
            raise SettingsError(
                f"{LOG_VARIABLE}: {level[:80]!r} is not a log level.",
                advice="Write debug, info, warning or error, or ROOM=LEVEL, with commas between.",
            )
        logging.getLogger(f"detector.{room}" if room else "detector").setLevel(number)
    _show("%(asctime)s %(levelname)s %(name)s: %(message)s", logging.NOTSET)


def _show(form: str, least: int) -> None:
    """Write log records from the level `least` on as messages of this form."""
    package = logging.getLogger("detector")
    for former in [handler for handler in package.handlers if isinstance(handler, _Handler)]:
        package.removeHandler(former)
    handler = _Handler(least)
    handler.setFormatter(logging.Formatter(form))
    package.addHandler(handler)
