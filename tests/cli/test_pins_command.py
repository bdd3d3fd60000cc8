"""`detector pins`: what is shipped is without complaints, and the commands write where they are told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.command import run

if TYPE_CHECKING:
    from pathlib import Path


def test_shipped_pins_are_without_complaints() -> None:
    """A user who lints what comes with the package is told nothing that only its makers could change."""
    done = run("pins", "lint")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith("endpoint(s), 0 error(s), 0 warning(s)")


def test_own_files_are_judged_as_before(tmp_path: Path) -> None:
    """An exam endpoint without pins in a file of one's own is still worth a warning; -q leaves the count."""
    own = tmp_path / "own.toml"
    own.write_text('schema = 1\nname = "own"\n[[endpoint]]\nhost = "exam.example.edu"\ncategory = "exam"\n', "utf-8")
    assert "warning: " in run("pins", "lint", str(own)).stdout
    assert run("pins", "lint", str(own), "-q").stdout == "1 endpoint(s), 0 error(s), 1 warning(s)\n"


def test_output_file(tmp_path: Path) -> None:
    """-o takes what standard output would."""
    shown = run("pins", "show")
    assert run("pins", "show", "-o", str(tmp_path / "shown")).stdout == ""
    assert (tmp_path / "shown").read_text("utf-8") == shown.stdout
