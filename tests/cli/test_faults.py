"""Faults of the machine: a history that is locked, no room, few open files, signals. None of them loses a verdict."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from support.command import clean_environment, run
from support.silent_server import silent_server

from detector.history.store import History

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "win32":
    pytest.skip("POSIX has signals and limits of a process", allow_module_level=True)

NOBODY: Final = "127.0.0.1:1"
QUIET: Final = ("--offline", "--proxy", "none")
PINS: Final = 'schema = 1\nname = "t"\n[[endpoint]]\nhost = "127.0.0.1"\nport = {}\ncategory = "exam"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a pin file for the gate."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pins.toml").write_text(PINS.format(1), "utf-8")
    return tmp_path


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Another program that writes to a database and does not come to an end."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("form", ["json", "html", "table"])
def test_a_locked_history_costs_no_verdict(form: str) -> None:
    """The report is written and decides the exit code; the history is named on standard error."""
    History("h.db").close()
    with locked("h.db"):
        done = run("check", NOBODY, *QUIET, "--history", "h.db", "--deadline", "2", "--format", form)
    assert done.returncode == 3
    assert "deadline" in done.stdout or "refused" in done.stdout
    assert (
        "Warning: --history: The history sqlite+pysqlite:///h.db cannot be written (database is locked)" in done.stderr
    )


def test_a_history_that_is_locked_before_it_is_one() -> None:
    """A new history that cannot even be opened is as little a reason to check nothing."""
    sqlite3.connect("h.db").close()
    with locked("h.db"):
        check = run("check", NOBODY, *QUIET, "--history", "h.db", "--deadline", "2", "--format", "json")
        gate = run("exam", "gate", "--pins", "pins.toml", *QUIET, "--history", "h.db")
    assert (check.returncode, gate.returncode) == (3, 3)
    assert json.loads(check.stdout)["verdict"] == "inconclusive"
    assert json.loads(gate.stdout)["action"] == "block"
    for done in (check, gate):
        assert done.stderr.count("Warning: --history: The history sqlite+pysqlite:///h.db cannot be opened") == 1


def test_what_is_no_history_is_refused_at_once() -> None:
    """A mistake of the caller is still one: nothing is probed."""
    Path("h.db").write_bytes(b"This is a text, and as long as the header of a database would be: a hundred bytes." * 2)
    done = run("check", NOBODY, *QUIET, "--history", "h.db")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a database" in done.stderr


NO_ROOM: Final = {
    "check --output": ("check", NOBODY, *QUIET, "--output", "x"),
    "check --bundle": ("check", NOBODY, *QUIET, "--format", "json", "--bundle", "x"),
    "check --history": ("check", NOBODY, *QUIET, "--format", "json", "--history", "x"),
    "exam gate --output": ("exam", "gate", "--pins", "pins.toml", *QUIET, "--output", "x"),
    "exam gate --bundle": ("exam", "gate", "--pins", "pins.toml", *QUIET, "--bundle", "x"),
    "scan --output": ("scan", NOBODY, *QUIET, "--retries", "0", "--output", "x"),
    "scan --resume": ("scan", NOBODY, *QUIET, "--format", "jsonl", "--output", "y", "--resume", "x"),
    "scan --history": ("scan", NOBODY, *QUIET, "--retries", "0", "--format", "jsonl", "--history", "x"),
    "watch --output": ("watch", NOBODY, *QUIET, "--duration", "0.2", "--output", "x"),
    "nagios --output": ("nagios", NOBODY, *QUIET, "--output", "x"),
    "witness keygen --output": ("witness", "keygen", "--output", "x"),
    "fleet certificates DIR": ("fleet", "certificates", "x", "--host", "scheduler.example.edu"),
    "exam manifest --install": ("exam", "manifest", "--browser", "chrome", "--extension-id", "a" * 32, "--install"),
    "rules": ("rules",),
}
"""Commands by the option that finds no room; `rules` writes nothing but standard output, which is a pipe."""


@pytest.mark.parametrize("name", NO_ROOM)
def test_no_room(name: str, folder: Path) -> None:
    """Exit 74 and the option's own name; what was asked for on standard output is there, and no temporary file is."""
    line = f'ulimit -f 0; exec "{sys.executable}" -m detector "$@"'  # no file may grow, as on a full device
    done = subprocess.run(  # noqa: S603 - no shell; program and options are chosen here
        ["/bin/sh", "-c", line, "sh", *NO_ROOM[name]],
        capture_output=True,
        timeout=120,
        check=False,
        cwd=folder,
        env=clean_environment() | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)},
    )
    said = done.stderr.decode()
    *_, option = name.split()
    assert done.returncode == (0 if option == "rules" else 74), said
    assert option == "rules" or f"Error: {option}" in said
    if option in {"--bundle", "--history"}:
        assert json.loads(done.stdout)
    assert [path.name for path in folder.rglob("*") if path.name.endswith((".part", ".pem", ".key"))] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
@pytest.mark.parametrize("command", [NO_ROOM["check --bundle"], NO_ROOM["exam gate --bundle"]])
def test_a_side_output_is_named_not_the_output(command: tuple[str, ...]) -> None:
    """One option's failure is not reported as the other's, and the other's file is complete."""
    done = run(*command[:-1], "/dev/full", "--output", "out.json")
    assert done.returncode == 74
    assert "--bundle /dev/full: cannot be written (No space left on device)" in done.stderr
    assert "--output" not in done.stderr
    assert json.loads(Path("out.json").read_bytes())


def test_evidence_is_kept_where_nobody_reads_the_result(folder: Path) -> None:
    """A full standard output costs neither the bundle nor the run in the history."""
    with Path("/dev/full").open("w", encoding="utf-8") as full, contextlib.redirect_stdout(full):
        from detector import cli  # noqa: PLC0415 - `run` has a standard output of its own

        assert cli.run(["check", NOBODY, *QUIET, "--bundle", "b.json", "--history", "h.db"]) == 74
    assert json.loads((folder / "b.json").read_bytes())
    with History("h.db") as history:
        assert len(history.runs()) == 1


def test_evidence_is_its_owners_alone(folder: Path) -> None:
    """History and bundle are made for nobody else to read, whatever the umask; a report is as other files are."""
    before = os.umask(0)
    try:
        done = run("check", NOBODY, *QUIET, "--history", "h.db", "--bundle", "b.json", "--output", "r.txt")
    finally:
        os.umask(before)
    assert done.returncode == 3, done.stderr
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes["h.db"] == modes["b.json"] == 0o600
    assert modes["r.txt"] == 0o666


ENDED: Final = {
    "check": ("check", "127.0.0.1:{}", *QUIET, "--deadline", "60", "--output", "o", "--bundle", "b", "--history", "h"),
    "scan": ("scan", "127.0.0.1:{}", *QUIET, "--format", "jsonl", "--output", "o", "--resume", "s", "--history", "h"),
    "scan --processes": ("scan", "127.0.0.1:{}", *QUIET, "--processes", "2", "--timeout", "60", "--output", "o"),
    "nagios": ("nagios", "127.0.0.1:{}", *QUIET, "--deadline", "60", "--output", "o"),
    "exam gate": ("exam", "gate", "--pins", "pins.toml", *QUIET, "--output", "o", "--bundle", "b"),
    "pins learn": ("pins", "learn", "127.0.0.1:{}", "--deadline", "60", "--proxy", "none", "--output", "o"),
    "watch": ("watch", "127.0.0.1:{}", *QUIET, "--deadline", "60", "--output", "o"),
}
"""Commands that wait for a server that says nothing."""


@pytest.mark.parametrize("name", ENDED)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_commands_in_order(name: str, number: signal.Signals, folder: Path) -> None:
    """As Ctrl-C: with 128 and the signal as exit code, no traceback, and no temporary file. A watch has its verdict."""
    with silent_server() as (port, taken):
        (folder / "pins.toml").write_text(PINS.format(port), "utf-8")
        words = (word.format(port) for word in ENDED[name])
        process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
            [sys.executable, "-m", "detector", *words], stderr=subprocess.PIPE, text=True, env=clean_environment()
        )
        assert taken.acquire(timeout=60)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == (3 if name == "watch" else 128 + number), said
    assert "Traceback" not in said
    assert "Unknown child" not in said
    assert [path.name for path in folder.iterdir() if path.name.endswith(".part")] == []


def test_signals_that_are_ignored_stay_so(folder: Path) -> None:
    """`nohup detector …` survives its terminal, and SIGTERM ends a shell's background job, which ignores Ctrl-C."""
    with silent_server() as (port, taken):
        line = f"trap '' HUP INT; exec {sys.executable} -m detector check 127.0.0.1:{port} --proxy none --offline"
        process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
            ["/bin/sh", "-c", f"{line} --deadline 60"], stderr=subprocess.PIPE, text=True, cwd=folder
        )
        assert taken.acquire(timeout=60)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # a signal that is not ignored would end it
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "Traceback" not in said


@pytest.mark.parametrize("limits", ["ulimit -n 100", "ulimit -Sn 100"])
def test_few_open_files(limits: str, folder: Path) -> None:
    """A scan raises the limit where it may, else it probes fewer targets at once: none fails for want of one."""
    with silent_server() as (port, _):
        (folder / "list.txt").write_text(f"127.0.0.1:{port}\n" * 200, "utf-8")
        line = f"{limits}; exec {sys.executable} -m detector scan --targets list.txt --proxy none --format jsonl"
        done = subprocess.run(  # noqa: S603 - no shell; program and options are chosen here
            ["/bin/sh", "-c", f"{line} --timeout 0.3 --retries 0"], capture_output=True, text=True, check=False
        )
    rows = [json.loads(row)["observation"]["outcome"] for row in done.stdout.splitlines()]
    assert (len(rows), "resources" in rows) == (200, False), done.stderr
    assert bool(re.search("Probing 18 targets at once instead of 256", done.stderr)) == (limits == "ulimit -n 100")


def test_a_killed_scan_continues_its_run_in_the_history(folder: Path) -> None:
    """Killed with -9 and given again it has one run, which is finished and has every result once."""
    words: tuple[str, ...] = (
        "scan",
        "--network",
        "127.0.0.0/26",
        "--port",
        "1",
        "--proxy",
        "none",
        "--retries",
        "0",
        "--no-progress",
    )
    words += ("--format", "jsonl", "--output", "o", "--resume", "s", "--history", "h.db", "--rate", "20")
    process = subprocess.Popen([sys.executable, "-m", "detector", *words], env=clean_environment())  # noqa: S603 - no shell, and the program is a test server of this repository
    output = folder / "o"
    while not output.exists() or output.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    with History("h.db") as history:
        assert [found.finished for found in history.runs()] == [None]
    assert run(*words).returncode == 3
    with History("h.db") as history:
        (found,) = history.runs()
    assert found.finished is not None
    assert found.endpoints == output.read_bytes().count(b"\n") == 62
