"""The benchmark's counting and its tables; the benchmark itself runs in `.ci/run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
sys.path.insert(0, str(SCRIPT.parent))  # scripts are run from their own folder, and not installed

from benchmark import measuring  # noqa: E402 - as above
from benchmark.measuring import BenchmarkError, Contender, Measured  # noqa: E402 - as above


def contender(name: str, code: str, *, needed: bool = False) -> Contender:
    return Contender(name, lambda n: [sys.executable, "-c", code, str(n)], 4, "nothing", needed=needed)


BUSY = """
import sys, time
while time.process_time() < 0.05 + int(sys.argv[1]) * 0.05:
    pass
print('{"p50": 1.5, "p99": 2}')
"""


def test_start_up_is_not_counted(tmp_path: Path) -> None:
    """What a run without handshakes takes is taken off, and the rest is divided by the handshakes."""
    found, failed = measuring.measure([contender("busy", BUSY)], 2, {}, tmp_path)
    assert failed == {}
    assert all(40 <= cpu <= 90 for cpu in found[0].cpu_ms)
    assert (found[0].p50, found[0].p99) == (1.5, 2)


def test_a_contender_that_fails_is_told(tmp_path: Path) -> None:
    """It is named with its last words; one that is needed ends the benchmark."""
    broken = "import sys; sys.exit('no such server')"
    found, failed = measuring.measure([contender("broken", broken), contender("busy", BUSY)], 1, {}, tmp_path)
    assert [each.name for each in found] == ["busy"]
    assert "no such server" in failed["broken"]
    with pytest.raises(BenchmarkError, match=r"broken: .*no such server"):
        measuring.measure([contender("broken", broken, needed=True)], 1, {}, tmp_path)


def test_ratios_are_of_the_same_round() -> None:
    """A round in which the machine was slow was slow for both."""
    ours = Measured("ours", "", (1.0, 3.0), 2.0, None)
    go = Measured("Go", "", (2.0, 6.0), None, None)
    assert measuring.ratios(ours, go) == (0.5, 0.5)
    lines = measuring.table([go, ours], "Go")
    assert lines[2].startswith("| ours | 2.00 | 0.50 (0.50 to 0.50) | 500 | 2.0 |  |")
    assert lines[3].startswith("| Go | 4.00 | 1.00 (1.00 to 1.00) | 250 |")


@pytest.mark.parametrize("given", [["--rounds", "0"], ["--connections", "many"], ["--write", "nowhere.md"]])
def test_bad_usage_is_exit_2(given: list[str]) -> None:
    """A sentence before anything is started."""
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(SCRIPT), *given], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
