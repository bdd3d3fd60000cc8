"""The memory of a scan does not grow with the number of its targets."""

from __future__ import annotations

import re
import subprocess
import sys


def test_memory_stays_within_its_limit() -> None:
    """30,000 targets, one in a hundred behind a CA of its own, stay far below the limit and level off."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.scan_memory", "--targets", "30000", "--limit", "300"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    memory = [int(found) for found in re.findall(r"(\d+) MiB", done.stdout)]
    assert len(memory) >= 10
    assert memory[-1] - memory[4] < 30
