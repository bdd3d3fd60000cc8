"""Every command and program of README.md and docs/install.md runs; traffic stays on this machine, by a local proxy."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from detector_testing import serve_origin, serve_proxy

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [
    block for page in ("README.md", "docs/install.md") for block in BLOCK.findall((ROOT / page).read_text("utf-8"))
]
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
PROGRAMS = [block for kind, block in BLOCKS if kind == "python" and "def test_" not in block]
TESTS = [block for kind, block in BLOCKS if kind == "python" and "def test_" in block]
SETTING_UP = ("pip install uv", "pipx ", "uv tool ", "python -m venv", ".venv/bin/", "export ", "man ")
"""Commands that make environments or use one: `.ci/run` runs them, on a clean clone, where they mean something."""
PINS = """
schema = 1
name = "learned"
updated = 2026-11-01
[[endpoint]]
host = "exam.example.edu"
category = "exam"
operator = "University"
"""
UNTRIED = ("docker ",)
"""Commands that need what neither CI nor this test has; tests/test_install.py carries out the steps of the image."""


def test_set_up_commands_are_run_by_ci() -> None:
    """What this file does not run is in .ci/run, character for character."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    contributing = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    commands = [*COMMANDS, *(line for _, block in contributing for line in block.splitlines())]
    setting_up = [command for command in commands if command.startswith(SETTING_UP)]
    assert len(setting_up) > 7
    assert [command for command in setting_up if command not in script] == []


def test_untried_commands_are_called_untried() -> None:
    """Commands for a container name a file that is there, and the page says that nobody has run them."""
    untried = [command for command in COMMANDS if command.startswith(UNTRIED)]
    assert len(untried) > 2
    files = [words[words.index("--file") + 1] for command in untried if "--file" in (words := shlex.split(command))]
    assert files
    assert all((ROOT / file).is_file() for file in files)
    assert "building and running the image is untried" in (ROOT / "docs" / "install.md").read_text("utf-8")


@pytest.fixture
def visitor(pki: PrivatePKI, tmp_path: Path) -> Path:
    """A folder as a reader of README.md has it: the repository's scripts, and files that earlier commands wrote."""
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "exam-pins.toml").write_text(PINS, "utf-8")
    (tmp_path / "chain.pem").write_bytes(pki.issue(["exam.example.edu"]).chain_pem)
    return tmp_path


async def run(words: list[str], folder: Path, pki: PrivatePKI) -> subprocess.CompletedProcess[str]:
    """Run a command whose only way out is a proxy on this machine that knows one host."""
    async with serve_origin(pki.issue(["exam.example.edu"])) as origin:
        upstream = {("exam.example.edu", 443): origin.address}
        async with serve_proxy(upstream=upstream) as proxy:
            return await asyncio.to_thread(
                subprocess.run,
                words,
                cwd=folder,
                env={**os.environ, "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""},
                capture_output=True,
                text=True,
                check=False,
            )


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith((*SETTING_UP, *UNTRIED))])
async def test_command(command: str, visitor: Path, pki: PrivatePKI) -> None:
    """The command runs, says something, and ends with a documented exit code."""
    words = shlex.split(command.removeprefix("uv run "))
    program = {"detector": [sys.executable, "-m", "detector"], "python": [sys.executable]}[words[0]]
    done = await run([*program, *words[1:]], visitor, pki)
    assert done.returncode in {0, 1, 3}
    assert "Traceback" not in done.stderr
    assert done.stdout or done.stderr or (visitor / "report.json").exists()


@pytest.mark.parametrize("example", TESTS, ids=range(len(TESTS)))
def test_example_of_a_test(example: str, tmp_path: Path) -> None:
    """The test passes in a folder without any configuration, with the kit's fixtures."""
    (tmp_path / "test_example.py").write_text(example, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own README
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
async def test_program(program: str, visitor: Path, pki: PrivatePKI) -> None:
    """The program runs unmodified, without a word on standard error."""
    (visitor / "program.py").write_text(program, "utf-8")
    done = await run([sys.executable, "program.py"], visitor, pki)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_there_is_something_to_run() -> None:
    """The patterns above still find the commands."""
    assert len(COMMANDS) > 10
    assert (len(PROGRAMS), len(TESTS)) == (2, 1)
    assert shutil.which(sys.executable)
