"""Every program in the kit's README runs as it stands, the tests under pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_there_are_programs() -> None:
    """One synchronous test, one asynchronous, one program."""
    assert ["def test_" in program for program in PROGRAMS] == [True, True, False]
    assert "async def test_" in PROGRAMS[1]


@pytest.mark.parametrize("program", PROGRAMS, ids=["sync", "async", "plain"])
def test_program(program: str, tmp_path: Path) -> None:
    """It passes in a folder without any configuration, the plugin loaded through its entry point."""
    (tmp_path / "test_program.py").write_text(program, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in program else []
    command = [sys.executable, *runner, "test_program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own README
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout or "is at" in done.stdout
