"""Event loops that lack what those of Windows lack (asyncio's documentation, "Platform Support").

Room: tests. They are asyncio's own loop for POSIX, whose sockets work, without the methods that Windows has not.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NoReturn


def _refusing(name: str) -> Any:  # noqa: ANN401 - takes the place of methods of any signature
    """A method that is not there: it notes that it was called."""

    def refuse(self: _Lacking, *_: object, **__: object) -> NoReturn:
        self.refused.append(name)
        raise NotImplementedError

    return refuse


class _Lacking(asyncio.SelectorEventLoop):
    """No signal handlers and no Unix sockets, as all loops there; `refused` are the calls that met that."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []

    add_signal_handler = _refusing("add_signal_handler")
    remove_signal_handler = _refusing("remove_signal_handler")
    create_unix_connection = _refusing("create_unix_connection")
    create_unix_server = _refusing("create_unix_server")


class SelectorLoop(_Lacking):
    """As SelectorEventLoop there: it neither starts processes nor reads pipes."""

    subprocess_exec = _refusing("subprocess_exec")
    subprocess_shell = _refusing("subprocess_shell")
    connect_read_pipe = _refusing("connect_read_pipe")
    connect_write_pipe = _refusing("connect_write_pipe")


class ProactorLoop(_Lacking):
    """As ProactorEventLoop, the default there: it starts processes, and watches no file descriptors."""

    add_reader = _refusing("add_reader")
    add_writer = _refusing("add_writer")


LOOPS: Final = (SelectorLoop, ProactorLoop)

COMMAND: Final = """\
import asyncio, sys
from support import windows_loops
class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        return getattr(windows_loops, sys.argv[1])()
asyncio.set_event_loop_policy(Policy())
from detector import cli
raise SystemExit(cli.run(sys.argv[2:]))
"""
"""Runs the command line on a loop of this module: the loop's name, then the arguments."""
