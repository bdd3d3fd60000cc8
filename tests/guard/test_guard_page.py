"""The programs in docs/guard.md run as they stand, with all traffic kept on this machine by a local proxy."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from detector_testing import serve_middlebox, serve_origin
from support.guarding import EXAM, settled

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "guard.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
async def test_program_sends_a_middlebox_nothing(program: str, pki: PrivatePKI, tmp_path: Path) -> None:
    """Behind a middlebox the program says so, in the package's words, and the middlebox has heard nothing."""
    (tmp_path / "pins").symlink_to(ROOT / "pins")
    (tmp_path / "program.py").write_text(program, "utf-8")
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_middlebox(pki.private_ca("School CA"), upstream={(EXAM, 443): origin.address}) as box,
    ):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env={**os.environ, "HTTPS_PROXY": box.url, "NO_PROXY": "", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        await settled(box)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"nothing was sent: {EXAM}:443: The server could not be confirmed (private-chain).")
    assert "School CA" not in done.stdout
    assert (box.overheard, box.intercepted) == (b"", [EXAM])


def test_there_is_something_to_run() -> None:
    """The pattern above still finds the programs."""
    assert len(PROGRAMS) == 3
