"""The page about institutions is written from what the simulation counts, and its run can fail.

Room: tests. Pure but for the file it writes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from detector_collect import Conclusion

from evaluation import responsibility

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few worlds, the same page: a table of errors, and a row for each practice and size."""
    monkeypatch.setattr(responsibility, "STUDENTS", (30,))
    monkeypatch.setattr(responsibility, "SHARES", (0.95,))
    written = tmp_path / "page.md"
    assert responsibility.main(["--worlds", "5", "--write", str(written)]) == 0
    lines = written.read_text("utf-8").splitlines()
    assert "| firewall | 30 | 100% (100%) |" in lines
    assert any(line.startswith("| 0.001 | 5 | 0.00061 | 0 |") for line in lines)


def test_too_many_named_institutions_fail_the_run() -> None:
    """Five wrong worlds of a thousand are too many for an error of one in a thousand; none are not."""
    assert responsibility.Innocent(0.001, 1000, 5, Counter[Conclusion]()).is_excessive
    assert not responsibility.Innocent(0.001, 1000, 0, Counter[Conclusion]()).is_excessive
