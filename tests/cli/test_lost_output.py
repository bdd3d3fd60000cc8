"""Streams that fail, and a program that is not whole: whatever happens, no exit code accuses a network.

1 is "middleware", and what Python exits with by itself; 2 is CRITICAL to monitoring systems.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from detector import cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

NOBODY = "127.0.0.1:1"
PINS = "pins.toml"
"""A pin file in the folder that commands run in, with nobody in it but `NOBODY`."""
COMMANDS = {
    "check": ("check", NOBODY, "--offline", "--proxy", "none"),
    "check as JSON": ("check", NOBODY, "--offline", "--proxy", "none", "--format", "json"),
    "exam gate": ("exam", "gate", "--pins", PINS, "--offline", "--proxy", "none"),
    "scan": ("scan", NOBODY, "--proxy", "none"),
    "watch": ("watch", NOBODY, "--duration", "0.2", "--proxy", "none"),
    "nagios": ("nagios", NOBODY, "--proxy", "none"),
    "pins": ("pins", "show"),
    "version": ("--version",),
}
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
every = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    endpoint = '[[endpoint]]\nhost = "127.0.0.1"\nport = 1\ncategory = "exam"\noperator = "x"\n'
    head = 'schema = 1\nname = "nobody"\nupdated = 2026-01-01\nexpires = 2099-01-01\n'
    (tmp_path / PINS).write_text(head + endpoint, encoding="utf-8")


def run(*arguments: str, redirected: str) -> subprocess.CompletedProcess[str]:
    """Run the command with its streams as a shell has them, in the words of one."""
    line = f'exec "$0" -m detector "$@" {redirected}'
    return subprocess.run(  # noqa: S603 - the shell is what is tested: it redirects the streams of a command of this test
        ["/bin/sh", "-c", line, sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@contextlib.contextmanager
def no_room() -> Iterator[TextIO]:
    """A stream to a device that is full. As at exit, it must be possible to flush it in the end."""
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        yield stream


@full
@every
def test_a_result_without_room(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 74 and a sentence: neither a verdict nor a fault of this program."""
    with no_room() as full_one, contextlib.redirect_stdout(full_one):
        assert cli.run(command) == 74
    said = capsys.readouterr().err
    assert "the result cannot be written (No space left on device)" in said
    assert "Traceback" not in said


@full
@every
def test_no_room_for_any_word(command: tuple[str, ...]) -> None:
    """The same where not even the sentence can be said."""
    with no_room() as out, no_room() as err, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.run(command) == 74


@full
@pytest.mark.parametrize("command", ["check", "scan"])
def test_a_process_whose_result_has_no_room(command: str) -> None:
    """The interpreter, which flushes at exit, neither changes an exit code nor complains."""
    done = run(*COMMANDS[command], redirected="> /dev/full")
    assert done.returncode == 74
    assert done.stderr.count("the result cannot be written (No space left on device)") == 1
    assert "Exception ignored" not in done.stderr
    assert run(*COMMANDS[command], redirected="> /dev/full 2> /dev/full").returncode == 74
    assert run(*COMMANDS[command], redirected="2> /dev/full").returncode == 3


@full
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("check", "--pins", "missing.toml"), 2),
        (("exam", "gate", "--policy", "missing.toml"), 2),
        (("check", "--frobnicate"), 2),
        (("scan", NOBODY, "--proxy", "none"), 3),
    ],
)
def test_words_next_to_the_result_without_room(command: tuple[str, ...], code: int) -> None:
    """What cannot be said on standard error changes no exit code."""
    with no_room() as stream, contextlib.redirect_stderr(stream):
        assert cli.run(command) == code


def expected(command: tuple[str, ...]) -> int:
    """The exit code of one of `COMMANDS` whose streams take everything."""
    return 3 if {NOBODY, PINS} & {*command} else 0


@every
@pytest.mark.parametrize("closed", [("stdout",), ("stderr",), ("stdout", "stderr")], ids=" and ".join)
def test_streams_that_are_closed(
    command: tuple[str, ...],
    closed: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where a stream is closed Python has None; who closes standard output asks for the exit code alone."""
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    assert cli.run(command) == expected(command)
    for name in closed:
        getattr(sys, name).close()  # what the command opened instead
    assert "Traceback" not in capsys.readouterr().err


@every
def test_processes_without_streams(command: tuple[str, ...]) -> None:
    """With the first descriptors free, files and connections get their numbers: nothing may be written to those."""
    done = run(*command, redirected="<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (expected(command), "", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_processes_with_a_stream_closed(closed: str) -> None:
    """What else a shell can close."""
    done = run(*COMMANDS["check"], redirected=closed)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_a_package_that_is_missing() -> None:
    """A damaged installation is a fault of this program."""
    code = (
        "import sys; sys.modules['click'] = None; sys.argv = ['detector', 'check']\n"
        "from detector.__main__ import main; main()"
    )
    done = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (70, "")
    assert "click" in done.stderr
    assert "Traceback" not in done.stderr
