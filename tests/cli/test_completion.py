"""Room: cli. Completion in real shells: what is typed with Tab, and which arguments the program then gets.

Each shell runs on a terminal of its own and finds the scripts under share/ as an installed one does. In the place of
`detector` stands a program that passes questions about completions on and writes down the arguments of anything else.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from support.command import clean_environment
from support.system import program

from detector.cli import completion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
PROMPT: Final = b"READY> "
DONE: Final = b"RECORDED"
PATIENCE: Final = 60
"""Seconds without any output after which a shell hangs."""
STAND_IN: Final = f"""#!{sys.executable}
import os, sys
if "{completion.VARIABLE}" in os.environ:
    from detector.cli import run
    sys.exit(run())
with open(os.environ["RECORD"], "w") as file:
    file.write("\\n".join(sys.argv[1:]))
print("{DONE.decode()}")
"""
BASH: Final = """
PS1='READY> '
. "$SHARE/bash-completion/completions/detector"
"""
ZSH: Final = """
PS1='READY> '
fpath=("$SHARE/zsh/site-functions" $fpath)
autoload -Uz compinit && compinit -u -d "$HOME/dump"
"""
FISH: Final = """
function fish_prompt; printf 'READY> '; end
set fish_greeting
set fish_autosuggestion_enabled 0
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with what the three shells read at start, a stand-in for the program, and files to complete."""
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "detector"
    stand_in.write_text(STAND_IN, "utf-8")
    stand_in.chmod(0o755)
    (tmp_path / "bashrc").write_text(BASH, "utf-8")
    (tmp_path / ".zshrc").write_text(ZSH, "utf-8")
    (tmp_path / ".config" / "fish").mkdir(parents=True)
    (tmp_path / ".config" / "fish" / "config.fish").write_text(FISH, "utf-8")
    (tmp_path / "our-pins.toml").write_text(
        'schema = 1\nname = "ours"\nupdated = 2026-01-01\n[[endpoint]]\nhost = "exam.example.edu"\n'
        'category = "exam"\noperator = "University"\n',
        "utf-8",
    )
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    return clean_environment() | {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "RECORD": str(home / "record"),
        "SHARE": str(ROOT / "share"),
        "TERM": "dumb",
        "XDG_DATA_DIRS": str(ROOT / "share"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "PYTHONPATH": str(ROOT),
    }


def type_into(words: Sequence[str], typed: str, home: Path, variables: Mapping[str, str]) -> list[str]:
    """Type a line into a shell; what the program got as arguments."""
    ours, theirs = pty.openpty()
    on_terminal = ("/bin/sh", "-c", 'terminal=$1; shift; exec "$@" <> "$terminal" >&0 2>&0', "sh", os.ttyname(theirs))
    shell = subprocess.Popen([*on_terminal, *words], cwd=home, env=variables, start_new_session=True)  # noqa: S603 - the shell under test, whose words are written here
    try:
        _read(ours, PROMPT)
        os.write(ours, typed.encode() + b"\r")
        _read(ours, DONE)
        return (home / "record").read_text("utf-8").split("\n")
    finally:
        shell.kill()
        shell.wait()
        os.close(theirs)
        os.close(ours)


def _read(terminal: int, until: bytes) -> None:
    """Read what the shell shows, up to these bytes."""
    shown = b""
    while until not in shown:
        ready, _, _ = select.select([terminal], [], [], PATIENCE)
        assert ready, f"The shell does not answer: {shown!r}"
        shown += os.read(terminal, 4096)


SHELLS: Final = {
    "bash": ("--noprofile", "--rcfile", "bashrc", "-i"),
    "zsh": ("-i",),
    "fish": ("-i",),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("typed", "arguments"),
    [
        (
            "detector chec\t--form\tht\t--pin\tour\texam\t",
            ["check", "--format", "html", "--pins", "our-pins.toml", "exam.example.edu"],
        ),
        ("detector exam gat\t--poli\tour\t", ["exam", "gate", "--policy", "our-pins.toml"]),
        ("detector pins learn getproc\t--prox\tsys\t", ["pins", "learn", "getproctorio.com", "--proxy", "system"]),
    ],
    ids=["enumeration, file, host in it", "subcommand", "shipped host, word"],
)
def test_tab(shell: str, typed: str, arguments: list[str], home: Path) -> None:
    """Commands, options, values, files and hosts are completed as typed, in each shell."""
    words = [program(shell), *SHELLS[shell]]
    assert type_into(words, typed, home, environment(home)) == arguments
