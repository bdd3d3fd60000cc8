"""What runs the tests elsewhere is right itself: workflows fit their schema, and `.ci/run` installs what tests need.

Room: tests. Reads files and starts `check-jsonschema`, which carries the schema of GitHub's workflows.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from support.system import PACKAGES

ROOT: Final = Path(__file__).resolve().parent.parent
CHECK: Final = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows")


def test_workflows_fit_their_schema() -> None:
    """GitHub accepts the files, which cannot run here."""
    workflows = sorted(map(str, ROOT.glob(".github/workflows/*.yml")))
    assert workflows
    done = subprocess.run([*CHECK, *workflows], capture_output=True, text=True, check=False)  # noqa: S603 - our files
    assert done.returncode == 0, done.stdout


def test_the_schema_refuses_a_wrong_workflow(tmp_path: Path) -> None:
    """The check can fail: a job needs a machine to run on."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("on: push\njobs:\n  one:\n    steps: []\n", "utf-8")
    done = subprocess.run([*CHECK, str(wrong)], capture_output=True, text=True, check=False)  # noqa: S603 - our file
    assert done.returncode == 1


def test_ci_installs_every_program() -> None:
    """Each Debian package that a test may ask for is one that `.ci/run` installs."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    wanted = {package for packages in PACKAGES.values() for package in packages.split()}
    assert sorted(package for package in wanted if package not in script.split()) == []


def test_the_release_builds_what_the_page_says() -> None:
    """One command makes the stand-alone program: the tests run it, and so does the workflow for every system."""
    page = (ROOT / "docs" / "ship-it.md").read_text("utf-8")
    (command,) = re.findall(r"^uv run (pyinstaller .*)$", page, re.MULTILINE)
    assert f"- run: uv run --no-sync {command}\n" in (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert "-m frozen tests/lab/test_frozen.py" in (ROOT / ".ci" / "run").read_text("utf-8")
