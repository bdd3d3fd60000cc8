"""`detector pins`: what is shipped is without complaints, and the commands write to the place that is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.command import run

if TYPE_CHECKING:
    from pathlib import Path


def test_shipped_pins_are_without_complaints() -> None:
    """A user who lints what comes with the package reads nothing that only its makers could change."""
    done = run("pins", "lint")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith("endpoint(s), 0 error(s), 0 warning(s)")


def test_own_files_are_assessed_as_before(tmp_path: Path) -> None:
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


PIN = "sha256/" + "A" * 43 + "="
NEXT = "sha256/" + "B" * 42 + "A="


def test_pins_go_to_an_app_and_come_back(tmp_path: Path) -> None:
    """An export that loses nothing comes back as the same endpoints; what was left out is named on standard error."""
    (tmp_path / "own.toml").write_text(
        f'schema = 1\nexpires = 2099-01-01\n[[endpoint]]\nhost = "exam.example.edu"\npins = ["{PIN}", "{NEXT}"]\n',
        "utf-8",
    )
    assert run("pins", "export", "own.toml", "--to", "android", "-o", "app.xml", cwd=tmp_path).returncode == 0
    app = (tmp_path / "app.xml").read_text("utf-8")
    (tmp_path / "app.xml").write_text(app.replace("<domain-config>", "<base-config/><domain-config>"), "utf-8")
    done = run("pins", "import", "app.xml", "--from", "android", "-o", "back.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Note: <base-config> is left out: it has no pins.\n"
    shown = [run("pins", "show", name, cwd=tmp_path).stdout.splitlines()[1:] for name in ("own.toml", "back.toml")]
    assert shown[0] == shown[1]
    assert "# <base-config> is left out: it has no pins.\n" in (tmp_path / "back.toml").read_text("utf-8")


def test_what_cannot_be_said_ends_the_command(tmp_path: Path) -> None:
    """The exit code is that of bad input, nothing is written, and the error names file, endpoint and field."""
    (tmp_path / "own.toml").write_text(
        f'schema = 1\n[[endpoint]]\nhost = "exam.example.edu"\noperator = "X"\npins = ["{PIN}"]\n', "utf-8"
    )
    done = run("pins", "export", "own.toml", "--to", "okhttp", "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout, (tmp_path / "out").exists()) == (2, "", False)
    assert done.stderr.startswith("Error: exam.example.edu:443: operator: OkHttp cannot say it.")
    again = run("pins", "export", "own.toml", "--to", "okhttp", "--leave-out", "operator", cwd=tmp_path)
    assert f'.add("exam.example.edu", "{PIN}")' in again.stdout
    header = f'Public-Key-Pins: pin-sha256="{PIN[7:]}"; max-age=864000; includeSubDomains\n'
    refused = run("pins", "import", "-", "--from", "hpkp", "-o", "out", stdin=header, cwd=tmp_path)
    assert (refused.returncode, (tmp_path / "out").exists()) == (2, False)
    assert refused.stderr.startswith("Error: standard input: host: its pins hold for any host")
    done = run("pins", "import", "-", "--from", "hpkp", "--host", "Exam.Example.edu", stdin=header, cwd=tmp_path)
    assert (done.returncode, f'host = "exam.example.edu"\npins = ["{PIN}"]' in done.stdout) == (0, True)
