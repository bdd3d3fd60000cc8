"""-q, -v, --json and --format: how much is said for people, and when programs are answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
from support import command as program

from detector.cli import options
from detector.cli.options import Format, Output
from detector.model import Detail

if TYPE_CHECKING:
    from pathlib import Path

CHECK = ("check", "127.0.0.1:1", "--offline", "--proxy", "none")


def run(*words: str, file: dict[str, Any] | None = None, **environment: str) -> tuple[Detail, Format]:
    """What a command receives that takes all of these, as `defaults` of a file and the environment have it."""

    @options.command(context_settings={"auto_envvar_prefix": "DETECTOR"})
    def command(*, out: Output = options.report) -> tuple[Detail, Format]:
        assert out.language is None
        return out.detail, out.form

    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        received: tuple[Detail, Format] = command.main(list(words), standalone_mode=False, default_map=file)
    return received


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (Detail.SUMMARY, Format.TABLE)),
        (("-q",), (Detail.VERDICT, Format.TABLE)),
        (("--quiet", "--json"), (Detail.VERDICT, Format.JSON)),
        (("-v",), (Detail.EVIDENCE, Format.TABLE)),
        (("--json",), (Detail.SUMMARY, Format.JSON)),
        (("--json", "--format", "json"), (Detail.SUMMARY, Format.JSON)),
        (("--format", "csv"), (Detail.SUMMARY, Format.CSV)),
    ],
)
def test_what_a_command_receives(words: tuple[str, ...], expected: tuple[Detail, Format]) -> None:
    """The level and the format, as given."""
    assert run(*words) == expected


@pytest.mark.parametrize("words", [("-q", "-v"), ("-v", "--quiet"), ("--json", "--format", "html")])
def test_contradictions_are_usage_errors(words: tuple[str, ...]) -> None:
    """Two options of one command line that exclude each other are refused, not silently ranked."""
    with pytest.raises(click.UsageError, match="exclude each other"):
        run(*words)


def test_the_nearer_one_holds() -> None:
    """The command line overrides the environment, the environment the file, also between options that exclude."""
    assert run("-v", file={"detail": True}) == (Detail.EVIDENCE, Format.TABLE)
    assert run("-q", DETECTOR_VERBOSE="1") == (Detail.VERDICT, Format.TABLE)
    assert run("--json", DETECTOR_FORMAT="csv") == (Detail.SUMMARY, Format.JSON)
    assert run("--format", "csv", DETECTOR_JSON="1") == (Detail.SUMMARY, Format.CSV)
    assert run(file={"form": "csv"}, DETECTOR_JSON="1") == (Detail.SUMMARY, Format.JSON)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (CHECK, 3),
        (("scan", "127.0.0.1:1", "--retries", "0", "--offline", "--proxy", "none"), 3),
        (("watch", "127.0.0.1:1", "--duration", "0.1", "--offline", "--proxy", "none"), 3),
        (("demo",), 0),
    ],
)
def test_the_verdict_alone(words: tuple[str, ...], code: int) -> None:
    """-q writes one line (the demo one per check, with their titles), and says nothing else."""
    done = program.run(*words, "-q")
    assert (done.returncode, done.stderr) == (code, "")
    assert len(done.stdout.splitlines()) == (10 if words == ("demo",) else 1)


def test_the_gate_answers_people_too(tmp_path: Path) -> None:
    """JSON by default, for its clients; as text the decision in a sentence and the table, or the sentence alone."""
    policy = tmp_path / "policy.toml"
    policy.write_text('schema = 1\nendpoints = ["127.0.0.1:1"]\n', "utf-8")
    gate = ("exam", "gate", "--policy", str(policy), "--offline", "--proxy", "none")
    assert json.loads(program.run(*gate).stdout)["action"] == "block"
    done = program.run(*gate, "--format", "text")
    lines = done.stdout.splitlines()
    assert done.returncode == 3
    assert lines[0].startswith("BLOCK: ")
    assert lines[1].startswith("INCONCLUSIVE: 127.0.0.1:1")
    assert program.run(*gate, "--format", "text", "-q").stdout.splitlines() == lines[:1]


@pytest.mark.parametrize("pair", [("--output", "--bundle"), ("--output", "--save-chain"), ("--bundle", "--save-chain")])
def test_no_two_outputs_to_one_file(pair: tuple[str, str], tmp_path: Path) -> None:
    """Every two outputs of a check need a file each: the later one would replace the earlier."""
    one, other = pair
    done = program.run(*CHECK, one, str(tmp_path / "x"), other, "x", cwd=tmp_path)
    assert f"{one} and {other} are both" in done.stderr
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
