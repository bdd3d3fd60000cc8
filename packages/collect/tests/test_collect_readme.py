"""The program in the README runs as it stands and prints what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_program_prints_what_the_page_says() -> None:
    """One program, one output."""
    (program,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - the README's
    assert done.stdout == printed
