"""A new check: three files, and nothing else to touch."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import new_check
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a check is written into."""
    shutil.copytree(ROOT / "detector", tmp_path / "detector", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "pins", tmp_path / "pins")
    (tmp_path / "tests/judge/checks").mkdir(parents=True)
    return tmp_path


def test_a_new_check_runs_at_once(tree: Path) -> None:
    """Its file, its line in the register and its test are written, and the register runs it last."""
    check, register, test = new_check.create("certificate-age", tree)
    assert (check.name, register.name, test.name) == ("certificate_age.py", "__init__.py", "test_certificate_age.py")
    ast.parse((tree / test).read_text("utf-8"))
    code = "from detector.judge import checks; print(list(checks.CHECKS)[-1])"
    done = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tree,
        env={"PYTHONPATH": str(tree)},
        check=True,
    )
    assert done.stdout == "certificate-age\n"
    with pytest.raises(ValueError, match="there is a check"):
        new_check.create("certificate-age", tree)


@pytest.mark.parametrize("name", ["Age", "certificate_age", "-age", ""])
def test_other_names_are_refused(name: str, tree: Path) -> None:
    """Ids are lower-case words joined by hyphens."""
    with pytest.raises(ValueError, match="not lower-case words"):
        new_check.create(name, tree)
