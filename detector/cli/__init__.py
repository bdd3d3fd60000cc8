"""The command line: one module per command, nothing but arguments and output.

Room: cli. `run` is the only place where an exception becomes a message and an exit code.

Exit codes: 0 clean, 1 middleware at or above --fail-on, 2 bad usage, pins or input, 3 inconclusive, 130 interrupted
(143 by SIGTERM, 129 by SIGHUP), 70 an internal error (EX_SOFTWARE of sysexits.h; never 1, which would accuse a
network), 74 no room for what should be written (EX_IOERR), 141 the reader of the result went away.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections import UserDict
from typing import TYPE_CHECKING, Final

import click

from detector.aio import descriptors
from detector.errors import DetectorError, LearnError, NoRoomError, UpdateError
from detector.model.files import NO_ROOM
from detector.version import VERSION

from . import common, completion, options, settings, signals, streams
from .stderr import LOG, LOG_VARIABLE, configure_logging, redirect_to_null, say, show_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

INTERNAL_ERROR: Final = 70
RESULT_LOST: Final = 74
"""EX_IOERR of sysexits.h: standard output did not take the result. (2 would be CRITICAL to monitoring systems.)"""
TERMINAL_CLOSED: Final = 141
"""128 + SIGPIPE, as shells report a command whose reader went away."""
SECTIONS: Final = {
    "Check a network": ("check", "exam", "watch", "ct", "locate", "nagios", "demo"),
    "Check many endpoints": ("scan", "fleet"),
    "Assess recorded evidence": ("examine", "origin", "verify", "bundle", "history", "diff", "dossier"),
    "Pins, roots and rules": ("pins", "data", "roots", "witness", "rules"),
    "Report and collect": ("outbox", "collect"),
    "Shell": ("completion",),
}
"""The commands, as help lists them."""
COMMANDS: Final = tuple(name for names in SECTIONS.values() for name in names)
ELSEWHERE: Final = {"diff": "history"}
"""Commands in the module of another one; every other command has a module of its name."""


class Commands(UserDict[str, click.Command]):
    """The commands, each imported when it is asked for: a check at exam start must not wait for the others.

    `modules` are the names of their modules in `package`, by command.
    """

    def __init__(self, modules: Mapping[str, str], package: str) -> None:
        super().__init__()
        self._modules = modules
        self._package = package

    def __missing__(self, name: str) -> click.Command:
        """Import the command. Raises KeyError for an unknown name."""
        module = importlib.import_module(f".{self._modules[name]}", self._package)
        command: click.Command = getattr(module, name)
        self.data[name] = command
        return command

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


@options.group(
    "detector check",
    "detector check exam.example.edu https://lms.example.org/login",
    "detector --config detector.toml watch",
    "detector demo",
    commands=Commands({name: ELSEWHERE.get(name, name) for name in COMMANDS}, __name__),
    sections=SECTIONS,
    context_settings={
        "max_content_width": 100,
        "auto_envvar_prefix": settings.PREFIX,
    },
)
@click.version_option(VERSION, prog_name="detector")
@click.pass_context
def detector(
    context: click.Context,
    *,
    config: str | None = options.option(
        "--config",
        "Defaults for options (TOML).  [env: DETECTOR_CONFIG; default: detector.toml in your configuration directory]",
        envvar=settings.VARIABLE,
        metavar="FILE",
    ),
) -> None:
    """Detect middleware that decrypts TLS between this machine and the servers it talks to.

    Every option can also be set in a configuration file ([check] deadline = 5) or in the environment
    (DETECTOR_CHECK_DEADLINE=5); the command line takes precedence over the environment, the environment over the file.
    DETECTOR_LOG=debug logs to standard error as -vvv does, DETECTOR_LOG=probe=debug for one part of the program.
    """
    context.default_map = settings.defaults(config, detector)


def run(
    arguments: Sequence[str] | None = None, *, started: float | None = None, program: click.Group = detector
) -> int:
    """Run a command line and return its exit code.

    `started` is when the process began (monotonic clock). `program` is another command of this project, whose errors
    and exit codes are the same.
    """
    _open_what_is_closed()
    streams.configure()
    descriptors.raise_limit()
    with signals.as_interruption() as interruption:
        try:
            return _run(arguments, started, program)
        except KeyboardInterrupt:
            say("Interrupted.")
            return interruption.exit_code


def _run(arguments: Sequence[str] | None, started: float | None, program: click.Group) -> int:  # noqa: PLR0911 - one return per way to end
    try:
        show_warnings()
        if levels := os.environ.get(LOG_VARIABLE):
            configure_logging(levels)
        # Not `detector.main`: that one exits with 1 when the reader of a pipe goes away, and 1 means "middleware".
        words = sys.argv[1:] if arguments is None else list(arguments)
        if asked := os.environ.get(completion.VARIABLE):
            return click.shell_completion.shell_complete(detector, {}, "detector", completion.VARIABLE, asked)
        with program.make_context(program.name, words, obj=started) as context:
            code = program.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        say(shown.getvalue().rstrip("\n"))
        return common.BAD_INPUT
    except NoRoomError as error:
        say(f"Error: {error}")
        return RESULT_LOST
    except DetectorError as error:
        say(f"Error: {error}")
        return common.INCONCLUSIVE if isinstance(error, LearnError | UpdateError) else common.BAD_INPUT
    except BrokenPipeError:
        redirect_to_null(sys.stdout)  # the reader is gone; the interpreter would complain when it flushes at exit
        return TERMINAL_CLOSED
    except Exception as error:  # noqa: BLE001 - Python would exit with 1, "middleware", and accuse a network
        return _fault(error)
    return code if isinstance(code, int) else 0


def _open_what_is_closed() -> None:
    """Open the null device for a stream that was closed, where Python has None and `print` writes nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until the process ends


def _fault(error: Exception) -> int:
    """Report what no command expects: that the result cannot be written, or an internal error."""
    try:
        sys.stdout.flush()
    except OSError:
        redirect_to_null(sys.stdout)  # with what is buffered the interpreter would exit with a code of its own
    LOG.debug("Traceback of the error:", exc_info=error)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        say(f"Error: the result cannot be written ({error.strerror}). Make room, or write it elsewhere.")
        return RESULT_LOST
    say(
        f"Internal error ({type(error).__name__}). This is a bug in the detector, not a problem of the network. "
        "Run again with -vvv, or with DETECTOR_LOG=debug set, and report what it prints."
    )
    return INTERNAL_ERROR
