"""Room: cli. `detector demo` where its test kit is not installed; test_commands.py runs it where it is."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_THE_KIT = """
import sys
sys.modules["detector_testing"] = None
from detector.cli import run
sys.exit(run(["demo"]))
"""


def test_demo_without_the_kit_says_what_to_install() -> None:
    """One sentence, and the exit code of unusable input."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_KIT], capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: The demo needs the test kit. Run it from a clone: uv run detector demo\n"
