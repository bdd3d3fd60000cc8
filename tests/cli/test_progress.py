"""Progress of a check: a line on a terminal's standard error after a second, which leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.command import clean_environment

from detector.aio.tasks import cancel_and_wait
from detector.cli import progress, scan, stderr
from detector.cli.options import Format
from detector.model import Detail

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "import sys; from detector import cli; cli.run(sys.argv[1:]); print('rich.progress' in sys.modules)"
"""Runs a command, and says whether it loaded what draws progress bars."""
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose server takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def check(port: int, *words: str) -> tuple[str, str]:
    """What `detector check` writes to a pipe, and to a terminal that standard error is connected to."""
    reader, writer = os.openpty()
    command = [sys.executable, "-c", PROGRAM, "check", f"127.0.0.1:{port}", *words]
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reader)
        process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
            [*command, "--offline", "--proxy", "none", "--deadline", "2"],
            stdout=subprocess.PIPE,
            stderr=writer,
            stdin=subprocess.DEVNULL,
            env=clean_environment() | {"COLUMNS": "80"},
        )
        os.close(writer)
        shown = b""
        with contextlib.suppress(OSError):  # Linux ends a terminal whose other side is closed so
            while piece := os.read(reader, 65536):
                shown += piece
        out, _ = process.communicate(timeout=60)
    return out.decode(), shown.decode()


def lines_of(terminal: str) -> list[str]:
    """What is left on a terminal of this output: a carriage return goes back to the start of its line."""
    left = []
    for line in terminal.replace("\r\n", "\n").split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        left.append(shown.rstrip())
    return left


@POSIX
def test_a_terminal_shows_progress_and_then_nothing_of_it(silent: int) -> None:
    """The line changes in its place, is gone at the end, and costs no import of a progress bar."""
    out, terminal = check(silent)
    assert re.search(r"\rChecking 1 host\(s\), 1 s of at most \d+ s \.\.\.", terminal)
    assert [line for line in lines_of(terminal) if "Checking" in line] == []
    assert "INCONCLUSIVE" in out
    assert "Checking" not in out
    assert out.endswith("False\n")


@POSIX
def test_no_progress_for_the_verdict_alone(silent: int) -> None:
    """-q shows the verdict and nothing else."""
    _, terminal = check(silent, "-q")
    assert "Checking" not in terminal


async def test_what_ends_before_a_second_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that is done before the line is due leaves standard error as it was."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "DELAY", 3600.0)
    showing = asyncio.create_task(progress.show("waiting for {} s".format))
    await asyncio.sleep(0)
    await cancel_and_wait((showing,))
    assert not stream.getvalue()


def test_not_on_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no terminal, or not there, gets none."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not stderr.is_terminal()
    monkeypatch.setattr(sys, "stderr", None)
    assert not stderr.is_terminal()


async def test_messages_do_not_mix_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning takes the place of the line, which comes again after it, shorter texts cover longer ones."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    showing = asyncio.create_task(progress.show("waiting for {} s".format))
    await asyncio.sleep(0.05)
    stderr.say("Warning: something.")
    stderr.show_line("again")
    stderr.show_line("no")
    await cancel_and_wait((showing,))
    assert lines_of(stream.getvalue()) == ["Warning: something.", ""]


@pytest.mark.parametrize(("on_terminal", "left"), [(False, "Scanned 7 targets"), (True, "")])
def test_results_erase_the_line_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, *, on_terminal: bool, left: str
) -> None:
    """Results that go to a file leave the line readable, however many there are."""
    shown, results = io.StringIO(), io.StringIO()
    monkeypatch.setattr(results, "isatty", lambda: on_terminal)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(sys, "stdout", results)
    stderr.show_line("Scanned 7 targets")
    scan._Writer(Format.CSV, Detail.SUMMARY, scan.Evidence.ODD, "", None, sys.stdout)  # writes the header
    assert results.getvalue().startswith("time,")
    assert lines_of(shown.getvalue()) == [left]
    stderr.show_line("")


def test_a_terminal_that_went_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the line cannot be written the command goes on."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        stderr.show_line("x" * 50)
        stderr.show_line("")
