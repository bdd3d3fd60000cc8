"""Event loops that lack what those of Windows lack (asyncio's documentation, "Platform Support").

Room: tests. They are asyncio's own loop for POSIX, whose sockets work, without the methods that Windows has not.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NoReturn


class _Lacking(asyncio.SelectorEventLoop):
    """No signal handlers and no Unix sockets, as all loops there; `refused` are the calls that met that."""

    refused: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.refused = []

    def _refuse(self, name: str) -> NoReturn:
        self.refused.append(name)
        raise NotImplementedError

    def add_signal_handler(self, *_: Any) -> NoReturn:  # noqa: ANN401 - whatever it is given
        self._refuse("add_signal_handler")

    def remove_signal_handler(self, *_: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("remove_signal_handler")

    async def create_unix_connection(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("create_unix_connection")

    async def create_unix_server(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("create_unix_server")


class SelectorLoop(_Lacking):
    """As SelectorEventLoop there: it neither starts processes nor reads pipes."""

    async def subprocess_exec(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("subprocess_exec")

    async def subprocess_shell(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("subprocess_shell")

    async def connect_read_pipe(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("connect_read_pipe")

    async def connect_write_pipe(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("connect_write_pipe")


class ProactorLoop(_Lacking):
    """As ProactorEventLoop, the default there: it starts processes, and watches no file descriptors."""

    def add_reader(self, *_: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("add_reader")

    def add_writer(self, *_: Any) -> NoReturn:  # noqa: ANN401 - as above
        self._refuse("add_writer")


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
