"""The command line run within the tests: `run` for almost all of them, `run_process` where the process is the subject.

Room: tests. A Python process costs half a second of processor time before it does anything. Servers for commands that
run in the test's own thread are kept in another one, by `in_thread`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from detector import cli

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

T = TypeVar("T")
_ONE_AT_A_TIME = threading.Lock()
"""Streams, environment and working directory belong to the process, so two commands cannot run at once."""


class Done(NamedTuple):
    """What a command left: its exit code and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def run(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: bytes | str = b""
) -> Done:
    """Run `detector` with these arguments in this process, and leave the process as it was.

    Args:
        arguments: the command line, without the name of the program.
        env: variables in addition to those of `clean_environment`.
        cwd: the working directory.
        stdin: what standard input holds.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    with (
        _ONE_AT_A_TIME,
        _environment(clean_environment() | dict(env or {})),
        _logging_as_before(),
        contextlib.chdir(cwd or "."),
        _standard_input(data),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = cli.run(arguments, started=time.monotonic())
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1  # as Python exits
    return Done(code, _text(out), _text(err))


def run_process(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: bytes | str = b""
) -> Done:
    """The same in a process of its own."""
    done = subprocess.run(  # noqa: S603 - no shell; program and options are chosen here
        [sys.executable, "-m", "detector", *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env=clean_environment() | dict(env or {}),
    )
    return Done(done.returncode, _with_newlines(done.stdout), _with_newlines(done.stderr))


def clean_environment() -> dict[str, str]:
    """This environment without the proxies and the settings of the person who runs the tests."""
    return {
        name: value
        for name, value in os.environ.items()
        if "proxy" not in name.lower() and not name.startswith("DETECTOR_")
    }


@contextlib.contextmanager
def in_thread(servers: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What an asynchronous context manager gives, served by an event loop in a thread until the block ends."""
    opened: list[tuple[T, asyncio.AbstractEventLoop]] = []
    failed: list[BaseException] = []
    ready, done = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with servers as given:
            opened.append((given, asyncio.get_running_loop()))
            ready.set()
            await done.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        for given, _ in opened:
            yield given
    finally:
        with contextlib.suppress(RuntimeError):  # it failed, and its loop is closed
            for _, loop in opened:
                loop.call_soon_threadsafe(done.set)
        thread.join()
        if failed:
            raise failed[0]


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    try:
        _set_environment(variables)
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str]) -> None:
    """Exchange what differs only: other threads never miss a variable."""
    for name in [name for name in os.environ if name not in variables]:
        del os.environ[name]
    os.environ.update(variables)


@contextlib.contextmanager
def _logging_as_before() -> Iterator[None]:
    """Undo what -v and DETECTOR_LOG set."""
    package = logging.getLogger("detector")
    handlers, levels = package.handlers[:], {logger: logger.level for logger in _loggers()}
    try:
        yield
    finally:
        package.handlers[:] = handlers
        for logger in _loggers():
            logger.setLevel(levels.get(logger, logging.NOTSET))


def _loggers() -> list[logging.Logger]:
    """Every logger of the program."""
    return [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] == "detector"]


@contextlib.contextmanager
def _standard_input(data: bytes) -> Iterator[None]:
    before = sys.stdin
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        with open(file.fileno(), encoding="utf-8", closefd=False) as stdin:
            sys.stdin = stdin
            try:
                yield
            finally:
                sys.stdin = before


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return _with_newlines(buffer.getvalue())


def _with_newlines(written: bytes) -> str:
    """Text with the lines of this platform."""
    return written.decode().replace("\r\n", "\n")
