"""SIGTERM and SIGHUP end every command in order and promptly, whatever it waits for: servers, files, locks, streams."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
import pytest
from support.command import clean_environment, run
from support.silent_server import silent_server

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "win32":
    pytest.skip("Windows has none of these signals, nor named pipes in folders", allow_module_level=True)

pytestmark = pytest.mark.lab

QUIET: Final = ("--offline", "--proxy", "none")
PROMPTLY: Final = 25.0
"""Seconds, on a busy machine: less than a history waits for a lock, and than every other patience here."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what commands need."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pins.toml").write_text('schema = 1\n[[endpoint]]\nhost = "127.0.0.1"\nport = 1\n', "utf-8")
    return tmp_path


@contextlib.contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs, whose standard input brings nothing; ended at the latest with the block."""
    silent, other = os.pipe()
    process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
        [sys.executable, "-m", "detector", *words],
        stdin=silent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment() | {"DETECTOR_LOG": "cli=info"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        os.close(silent)
        os.close(other)


STARTED_SECONDS: Final = 12.0
"""After this a command waits, also if it uses the processor: asking for a lock again and again does, and the wait for
one is 30 s. A command starts in 2 s, on a busy machine in 5."""


def begun(process: subprocess.Popen[bytes]) -> None:
    """Wait until the command itself runs, which logs its name then, and has come to where it waits."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert b"version" in line, line
    running, used, deadline = psutil.Process(process.pid), -1.0, time.monotonic() + STARTED_SECONDS
    while process.poll() is None and used < (now := sum(running.cpu_times()[:2])) and time.monotonic() < deadline:
        used = now
        time.sleep(0.3)  # what is busy uses more in this time than the clock's hundredth of a second


def ended(process: subprocess.Popen[bytes], number: signal.Signals) -> tuple[int, str]:
    """The exit code and standard error of a command that got this signal."""
    process.send_signal(number)
    _, said = process.communicate(timeout=PROMPTLY)
    return process.returncode, said.decode()


def in_order(code: int, said: str, expected: int) -> None:
    """Assert that a command ended as it should, and left no temporary file."""
    assert code == expected, said
    assert "Traceback" not in said
    assert "Fatal" not in said
    assert [path.name for path in Path().rglob("*.part")] == []


SERVER: Final = {
    "check": ("check", "127.0.0.1:{}", *QUIET, "--deadline", "60", "--output", "o"),
    "check --history": (
        "check",
        "127.0.0.1:1",
        *QUIET,
        "--deadline",
        "60",
        "--history",
        "postgresql://u@127.0.0.1:{}/d",
    ),
    "history": ("history", "--history", "postgresql://u@127.0.0.1:{}/d"),
    "locate": ("locate", "127.0.0.1:{}", "--deadline", "60"),
    "nagios": ("nagios", "127.0.0.1:{}", *QUIET, "--deadline", "60"),
    "pins learn": ("pins", "learn", "127.0.0.1:{}", "--deadline", "60", "--proxy", "none"),
    "scan": ("scan", "127.0.0.1:{}", *QUIET, "--timeout", "60"),
    "scan pac": ("scan", "exam.example.edu", "--proxy", "pac:http://127.0.0.1:{}/p.pac", "--timeout", "60"),
    "fleet worker": ("fleet", "worker", "--tls", "f", "--scheduler", "tls://127.0.0.1:{}", "--vantage", "v"),
    "fleet scan": ("fleet", "scan", "--tls", "f", "--scheduler", "tls://127.0.0.1:{}", "127.0.0.1:1"),
}
"""Commands that wait for a server that says nothing."""


@pytest.mark.parametrize("name", SERVER)
def test_waiting_for_a_server(name: str) -> None:
    """With 128 and the signal as exit code."""
    if name.startswith("fleet"):
        assert run("fleet", "certificates", "f", "--host", "127.0.0.1").returncode == 0
    with silent_server() as (port, taken), started(*(word.format(port) for word in SERVER[name])) as process:
        assert taken.acquire(timeout=60)
        in_order(*ended(process, signal.SIGTERM), 128 + signal.SIGTERM)


PIPES: Final = {
    "examine": ("examine", "pipe", "--host", "exam.example.edu"),
    "verify": ("verify", "pipe"),
    "bundle show": ("bundle", "show", "pipe"),
    "diff": ("diff", "pipe", "pipe"),
    "check --pins": ("check", "--pins", "pipe", *QUIET),
    "check --signing-key": ("check", "127.0.0.1:1", *QUIET, "--signing-key", "pipe", "--bundle", "b"),
    "exam gate --policy": ("exam", "gate", "--policy", "pipe"),
    "exam gate --request": ("exam", "gate", "--pins", "pins.toml", "--request", "pipe"),
    "scan --targets": ("scan", "--targets", "pipe", *QUIET),
    "check --output": ("check", "127.0.0.1:1", *QUIET, "--output", "pipe"),
    "dossier": ("dossier", "pipe"),
    "origin judge": ("origin", "judge", "pipe", "--format", "nginx", "--site", "exam.example.edu"),
}
"""Commands that wait for the other end of a named pipe."""


@pytest.mark.parametrize("name", PIPES)
def test_waiting_for_a_pipe(name: str) -> None:
    """A pipe that nobody else opens keeps a command waiting, and it still ends in order."""
    os.mkfifo("pipe")
    with started(*PIPES[name]) as process:
        begun(process)
        in_order(*ended(process, signal.SIGTERM), 128 + signal.SIGTERM)


@pytest.mark.parametrize("name", PIPES)
def test_waiting_for_what_a_pipe_brings(name: str) -> None:
    """The same where the other end is open, and nothing comes."""
    os.mkfifo("pipe")
    with started(*PIPES[name]) as process:
        begun(process)
        other = os.open("pipe", os.O_RDWR)
        try:
            code, said = ended(process, signal.SIGTERM)
        finally:
            os.close(other)
    # What is written to the pipe may have been written already: the command has its own end then.
    in_order(code, said, code if name == "check --output" and code == 3 else 128 + signal.SIGTERM)


STREAMS: Final = {
    "scan --targets -": ("scan", "--targets", "-", *QUIET),
    "exam gate --request -": ("exam", "gate", "--pins", "pins.toml", "--request", "-"),
    "exam native-host": ("exam", "native-host"),
    "fleet scheduler": ("fleet", "scheduler", "--tls", "f", "--host", "127.0.0.1", "--port", "0"),
}
"""Commands that wait for standard input, or for connections."""


@pytest.mark.parametrize("name", STREAMS)
def test_waiting_for_standard_input(name: str) -> None:
    """Standard input that stays open and brings nothing."""
    if name.startswith("fleet"):
        assert run("fleet", "certificates", "f", "--host", "127.0.0.1").returncode == 0
    with started(*STREAMS[name]) as process:
        begun(process)
        in_order(*ended(process, signal.SIGTERM), 128 + signal.SIGTERM)


LOCKED: Final[dict[str, tuple[str, ...]]] = {
    "history": ("history", "--history", "h"),
    "history show": ("history", "--history", "h", "show", "1"),
    "diff": ("diff", "1", "2", "--history", "h"),
    "dossier": ("dossier", "--history", "h"),
    "check": ("check", "127.0.0.1:1", *QUIET, "--history", "h", "--deadline", "600"),
    "watch": ("watch", "127.0.0.1:1", *QUIET, "--history", "h"),
    "scan": ("scan", "127.0.0.1:1", *QUIET, "--history", "h"),
    "exam gate": ("exam", "gate", "--pins", "pins.toml", *QUIET, "--history", "h"),
}


@pytest.mark.parametrize("name", LOCKED)
def test_waiting_for_a_lock(name: str) -> None:
    """A history that another program holds and does not give back."""
    with contextlib.closing(sqlite3.connect("h", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with started(*LOCKED[name]) as process:
            begun(process)
            in_order(*ended(process, signal.SIGTERM), 128 + signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_scan_whose_history_was_locked_meanwhile(number: signal.Signals) -> None:
    """What was found is reported, the history is named, and nothing waits half a minute for it."""
    with silent_server() as (port, taken):
        words = ("scan", "127.0.0.1:1", f"127.0.0.1:{port}", *QUIET, "--timeout", "60", "--retries", "0")
        with started(*words, "--history", "h", "--format", "jsonl", "--output", "o") as process:
            begun(process)
            assert taken.acquire(timeout=60)
            while not Path("o").read_bytes():  # the line of the first target
                time.sleep(0.02)
            with contextlib.closing(sqlite3.connect("h", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                code, said = ended(process, number)
    in_order(code, said, 128 + number)
    assert "Interrupted after 1 targets" in said
    assert "--history: The history sqlite+pysqlite:///h cannot be written (database is locked)" in said
    assert Path("o").read_bytes().count(b"\n") == 1
