"""The command line: one module per command, nothing but arguments and output.

Room: cli. `run` is the only place where an exception becomes a message and an exit code.

Exit codes: 0 clean, 1 middleware at or above --fail-on, 2 bad usage, pins or input, 3 inconclusive, 130 interrupted,
70 a fault of this program (EX_SOFTWARE of sysexits.h; never 1, which would accuse a network), 74 no room for the result
(EX_IOERR), 141 its reader went away.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections import UserDict
from typing import TYPE_CHECKING, Final

import click

from detector.errors import DetectorError, LearnError
from detector.version import VERSION

from . import common, completion, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BAD_INPUT: Final = 2
INTERNAL_ERROR: Final = 70
RESULT_LOST: Final = 74
"""EX_IOERR of sysexits.h: standard output did not take the result. (2 would be CRITICAL to monitoring systems.)"""
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What writing to a full or broken disk ends with; nobody who connects to a peer gets one of these."""
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""
TERMINAL_CLOSED: Final = 141
"""128 + SIGPIPE, as shells report a command whose reader went away."""
COMMANDS: Final = {
    "check": ("check", "check"),
    "exam": ("exam", "exam"),
    "examine": ("examine", "examine"),
    "locate": ("locate", "locate"),
    "demo": ("demo", "demo"),
    "pins": ("pins", "pins"),
    "roots": ("roots", "roots"),
    "verify": ("verify", "verify"),
    "bundle": ("bundle", "bundle"),
    "scan": ("scan", "scan_command"),
    "history": ("history", "history"),
    "diff": ("history", "diff"),
    "dossier": ("dossier", "dossier"),
    "nagios": ("nagios", "nagios"),
    "fleet": ("fleet", "fleet"),
    "witness": ("witness", "witness"),
    "completion": ("completion", "completion"),
    "watch": ("watch", "watch"),
    "rules": ("rules", "rules"),
}
"""Each command: the module beside this one that has it, and its name there."""


class Commands(UserDict[str, click.Command]):
    """The commands, each imported when it is asked for: who checks at exam start should not wait for the others."""

    def __missing__(self, name: str) -> click.Command:
        """Import the command. Raises KeyError where there is none of this name."""
        module, attribute = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(f".{module}", __name__), attribute)
        self.data[name] = command
        return command

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@click.group(
    commands=Commands(),
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "auto_envvar_prefix": settings.PREFIX,
    },
)
@click.version_option(VERSION, prog_name="detector")
@click.option(
    "--config",
    envvar=settings.VARIABLE,
    metavar="FILE",
    help="Defaults for options (TOML).  [env: DETECTOR_CONFIG; default: detector.toml in your configuration directory]",
)
@click.pass_context
def detector(context: click.Context, *, config: str | None) -> None:
    """Detect middleware that decrypts TLS between this machine and the servers it talks to.

    Every option can also stand in a configuration file ([check] deadline = 5) or in the environment
    (DETECTOR_CHECK_DEADLINE=5); the command line goes before the environment, the environment before the file.
    """
    context.default_map = settings.defaults(config, detector)


def run(  # noqa: PLR0911 - one return per way to end
    arguments: Sequence[str] | None = None, *, started: float | None = None
) -> int:
    """Run a command line and give its exit code. `started` is when the process began (monotonic clock)."""
    _open_what_is_closed()
    try:
        # Not `detector.main`: that one exits with 1 when the reader of a pipe goes away, and 1 means "middleware".
        words = sys.argv[1:] if arguments is None else list(arguments)
        if asked := os.environ.get(completion.VARIABLE):
            return click.shell_completion.shell_complete(detector, {}, "detector", completion.VARIABLE, asked)
        with detector.make_context("detector", words, obj=started) as context:
            code = detector.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except KeyboardInterrupt:
        common.say("Interrupted.")
        return INTERRUPTED
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        common.say(shown.getvalue().rstrip("\n"))
        return BAD_INPUT
    except LearnError as error:
        common.say(f"Error: {error}")
        return common.INCONCLUSIVE
    except DetectorError as error:
        common.say(f"Error: {error}")
        return BAD_INPUT
    except BrokenPipeError:
        common.lead_nowhere(sys.stdout)  # the reader is gone; the interpreter would complain when it flushes at exit
        return TERMINAL_CLOSED
    except Exception as error:  # Python would exit with 1, "middleware": a fault of ours must not read as an accusation
        if os.environ.get("DETECTOR_DEBUG"):
            raise
        return _fault(error)
    return code if isinstance(code, int) else 0


def _open_what_is_closed() -> None:
    """Where a stream was closed Python has None, and print() says nothing then: neither do commands."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - until the process ends


def _fault(error: Exception) -> int:
    """Say what no command expects: that there is no room for a result, or that this program is wrong."""
    try:
        sys.stdout.flush()
    except OSError:
        common.lead_nowhere(sys.stdout)  # what waits in it would have the interpreter end with a code of its own
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        common.say(f"Error: the result cannot be written ({error.strerror}). Make room, or have it written elsewhere.")
        return RESULT_LOST
    common.say(
        f"Internal error ({type(error).__name__}). This is a fault of the detector, not of the network. "
        "Run again with DETECTOR_DEBUG=1 set and report what it prints."
    )
    return INTERNAL_ERROR
