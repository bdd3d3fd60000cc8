"""What commands print, to the byte, in a world that never changes: a restructuring changes none of it.

Room: tests. `golden_world` is the world. What a command gave stands in `recorded/`, a file for each; after a change
that was meant, write them again and read the difference:

    DETECTOR_GOLDEN=write pytest tests/golden
"""

from __future__ import annotations

import difflib
import os
import shutil
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from support.golden_world import EXAM, GIVEN, LMS, SEARCH, Surroundings, run

RECORDED: Final = Path(__file__).with_name("recorded")
IS_WRITING: Final = os.environ.get("DETECTOR_GOLDEN") == "write"
TRUST: Final = "--roots roots.pem --ct-logs ct_logs.json"
SIGNED: Final = "--bundle evidence.json --signing-key recorder.key"
ASKING: Final = '{"id": 7, "report": true, "evidence": true}'
POLICY: Final = 'schema = 1\nname = "finals"\npins = ["pins.toml"]\nscope = "network"\n'
LENIENT: Final = 'schema = 1\nname = "lenient"\npins = ["stale.toml"]\non_unconfirmed = "warn"\n'
DAMAGED: Final = 'schema = 1\n[[endpoint]]\nhost = "exam.example.edu"\npin = ["sha256/AAAA"]\n'
OWN_FILES: Final = {"policy.toml": POLICY, "lenient.toml": LENIENT, "damaged.toml": DAMAGED, "request.json": ASKING}


class Step(NamedTuple):
    """One command: the name of its record, in which world it runs and on which day, and a file that it writes."""

    name: str
    command: str
    world: str = "clean"
    day: int = 0
    wrote: str | None = None


def every_form(world: str, pins: str) -> list[Step]:
    """What can be asked about one network, in the forms that there are."""
    common = f"--pins {pins} {TRUST} --vantage room-12"
    scan = f"scan {common} --resolver system --concurrency 1 --no-progress"
    watch = f"watch {common} --interval 30 --duration 150"
    gate = "lenient.toml" if world == "stale" else "policy.toml"
    commands = {
        "check-table": f"check {common}",
        "check-named": f"check {common} {LMS} {SEARCH}",
        "check-offline": f"check {common} --offline --fail-on possible",
        "check-json": f"check {common} --format json",
        "check-jsonl": f"check {common} --format jsonl",
        "check-csv": f"check {common} --format csv",
        "check-prometheus": f"check {common} --format prometheus",
        "nagios": f"nagios {common}",
        "scan-text": scan,
        "scan-jsonl": f"{scan} --format jsonl",
        "scan-csv": f"{scan} --format csv",
        "watch-table": watch,
        "watch-jsonl": f"{watch} --format jsonl",
        "gate": f"exam gate --policy {gate} {TRUST}",
    }
    return [Step(f"{world}-{name}", command, world) for name, command in commands.items()]


SCENARIOS: Final[dict[str, list[Step]]] = {
    "clean": every_form("clean", "pins.toml"),
    "intercepted": every_form("intercepted", "pins.toml"),
    "mixed": every_form("mixed", "pins.toml"),
    "unreachable": every_form("unreachable", "pins.toml"),
    "stale": [
        *every_form("stale", "stale.toml"),
        Step("stale-check-expired", f"check --pins expired.toml {TRUST}", "stale"),
    ],
    "turning": [
        Step("turning-watch-table", f"watch --pins pins.toml {TRUST} --interval 30 --duration 600", "turning"),
        Step("turning-watch-jsonl", f"watch --pins pins.toml {TRUST} --duration 900 --format jsonl", "turning"),
    ],
    "gate": [
        Step("gate-request-clean", f"exam gate --policy policy.toml --request request.json {TRUST}"),
        Step(
            "gate-request-mixed",
            f"exam gate --policy policy.toml --request request.json --signing-key recorder.key {TRUST}",
            "mixed",
        ),
        Step("gate-offline", f"exam gate --policy policy.toml --offline {TRUST}", "intercepted"),
    ],
    "bundle": [
        Step("bundle-made", f"check --pins pins.toml {TRUST} {SIGNED}", "intercepted", wrote="evidence.json"),
        Step("bundle-show", "bundle show evidence.json"),
        Step("bundle-show-part", "bundle show evidence.json endpoint-1"),
        Step("bundle-verify", f"verify evidence.json --key-file recorder.pem {TRUST}"),
        Step("bundle-verify-json", f"verify evidence.json --key-file recorder.pem {TRUST} --format json"),
        Step("bundle-verify-own-pins", f"verify evidence.json --key-file recorder.pem --pins stale.toml {TRUST}"),
        Step("bundle-verify-unknown-key", f"verify evidence.json {TRUST}"),
        Step("bundle-redact", "bundle redact evidence.json vantage endpoint-2 -o half.json", wrote="half.json"),
        Step("bundle-verify-redacted", f"verify half.json --key-file recorder.pem {TRUST}"),
        Step("bundle-clean", f"check --pins pins.toml {TRUST} {SIGNED}", "clean", wrote="evidence.json"),
        Step("bundle-clean-verify", f"verify evidence.json --key-file recorder.pem {TRUST}"),
    ],
    "place": [
        Step("place-day-1", f"check --pins pins.toml {TRUST} --vantage room-12 --history kept.sqlite"),
        Step(
            "place-day-2",
            f"check --pins pins.toml {TRUST} --vantage room-12 --history kept.sqlite {SIGNED}",
            "intercepted",
            day=1,
        ),
        Step(
            "place-day-3",
            f"scan --pins pins.toml {TRUST} --vantage room-12 --history kept.sqlite --resolver system "
            "--concurrency 1 --no-progress",
            "mixed",
            day=2,
        ),
        Step(
            "place-day-4",
            f"check --pins pins.toml {TRUST} --vantage room-12 --history kept.sqlite --format html",
            "mixed",
            day=3,
        ),
        Step("place-history", "history --history kept.sqlite", day=4),
        Step("place-history-days", "history --history kept.sqlite --days 2 --format jsonl", day=4),
        Step("place-show-table", "history --history kept.sqlite show 2", day=4),
        Step("place-show-json", "history --history kept.sqlite show 2 --format json", day=4),
        Step("place-show-html", "history --history kept.sqlite show 1 --format html", day=4),
        Step("place-diff", "diff 1 2 --history kept.sqlite", day=4),
        Step("place-diff-back", "diff 2 1 --history kept.sqlite", day=4),
        Step("place-diff-json", "diff 2 3 --history kept.sqlite --format json", day=4),
        Step(
            "place-dossier-html",
            f"dossier evidence.json --history kept.sqlite --key-file recorder.pem {TRUST}",
            day=4,
        ),
        Step(
            "place-dossier-json",
            f"dossier evidence.json --history kept.sqlite --key-file recorder.pem {TRUST} --format json",
            day=4,
        ),
        Step("place-dossier-history", "dossier --history kept.sqlite --vantage room-12 --format json", day=4),
    ],
    "files": [
        Step("files-examine-genuine", f"examine genuine-{EXAM}.pem --host {EXAM} --pins pins.toml {TRUST}"),
        Step("files-examine-campus", f"examine campus-{EXAM}.pem --host {EXAM} --pins pins.toml {TRUST}"),
        Step("files-examine-vendor", f"examine vendor-{LMS}.pem --host {LMS} {TRUST} --format json"),
        Step("files-examine-other-host", f"examine genuine-{EXAM}.pem --host {LMS} {TRUST} --key-not-proved"),
        Step("files-examine-later", f"examine genuine-{EXAM}.pem --host {EXAM} {TRUST} --at 2027-06-01T00:00:00Z"),
        Step("files-rules", "rules"),
        Step("files-rules-of-one", "rules identity-substituted"),
        Step("files-pins-show", "pins show pins.toml"),
        Step("files-pins-lint", "pins lint pins.toml"),
        Step("files-pins-lint-expired", "pins lint expired.toml"),
        Step("files-pins-lint-damaged", "pins lint damaged.toml"),
        Step("files-usage", "check --pins"),
        Step("files-not-a-bundle", "verify pins.toml"),
    ],
}
"""What runs in one folder, one after the other."""


def shown(step: Step, code: int, output: tuple[str, str]) -> str:
    """What is recorded of one command."""
    parts = [f"$ detector {step.command}\nin: {step.world}, day {step.day}; exit code {code}\n"]
    parts += [f"--- {name}\n{text}" for name, text in zip(("standard error", "standard output"), output, strict=True)]
    if step.wrote is not None:
        parts.append(f"--- {step.wrote}\n{Path(step.wrote).read_text('utf-8')}")
    return "".join(parts)


def difference(name: str, recorded: str, now: str) -> str:
    """A unified diff; empty where both are the same to the byte."""
    before, after = (text.splitlines(keepends=True) for text in (recorded, now))
    return "".join(difflib.unified_diff(before, after, f"recorded/{name}", "now"))


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Surroundings:
    """A machine and a folder with what is given."""
    shutil.copytree(GIVEN, tmp_path, dirs_exist_ok=True)
    (tmp_path / "recorder.key").chmod(0o600)
    for name, content in OWN_FILES.items():
        (tmp_path / name).write_text(content, "utf-8")
    monkeypatch.chdir(tmp_path)
    return Surroundings(monkeypatch)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_commands_give_what_was_recorded(
    scenario: str, surroundings: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code, standard error, standard output and written files are those of the record, byte for byte."""
    differences = []
    for step in SCENARIOS[scenario]:
        surroundings.go_to(step.world, days=step.day)
        code = run(step.command.split())
        captured = capsys.readouterr()
        now = shown(step, code, (captured.err, captured.out)).encode()
        file = RECORDED / f"{step.name}.txt"
        if IS_WRITING:
            file.write_bytes(now)
        recorded = file.read_bytes() if file.exists() else b""
        if recorded != now:
            differences.append(difference(file.name, recorded.decode(), now.decode()))
    assert not differences, "\n".join(differences)


def test_every_record_is_of_a_step() -> None:
    """There is a file for every step and none besides."""
    names = [step.name for steps in SCENARIOS.values() for step in steps]
    assert len(names) == len(set(names))
    there = {file.name for file in RECORDED.iterdir()}
    expected = {f"{name}.txt" for name in names}
    if IS_WRITING:
        for name in there - expected:
            (RECORDED / name).unlink()
        there &= expected
    assert there == expected
