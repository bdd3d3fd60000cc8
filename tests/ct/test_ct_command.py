"""Room: tests of ct. `detector ct watch` as a person or a program meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for one call here
import pytest
from detector_testing import Issued, PrivatePKI, StaticLog, serve_files, serve_origin
from support.command import clean_environment, in_thread, run

from detector.ct.findings import finding_schema
from detector.history.store import History
from detector.pins import encode_pin

if TYPE_CHECKING:
    from pathlib import Path

HOST = "exam.example.edu"


class Place(NamedTuple):
    """A log with a mirror, a certificate that it has, and the files of the command."""

    folder: Path
    log: StaticLog
    issued: Issued

    def pins(self, *pins: bytes, host: str = HOST) -> None:
        """Write the pin file."""
        listed = ", ".join(f'"{encode_pin(pin)}"' for pin in pins)
        text = f'schema = 1\n[[endpoint]]\nhost = "{host}"\npins = [{listed}]\n'
        (self.folder / "pins.toml").write_text(text, "utf-8")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command, once and from the start."""
        return (
            "ct",
            "watch",
            "--pins",
            "pins.toml",
            "--state",
            "state",
            "--log",
            "mirror=log.pem",
            "--once",
            "--from-start",
        )


@pytest.fixture
def place(tmp_path: Path, pki: PrivatePKI) -> Place:
    """A log with one certificate for the host."""
    log = StaticLog.create(now=None)
    issued = log.issue(pki.intermediate_ec, [HOST])
    log.write(tmp_path / "mirror")
    (tmp_path / "log.pem").write_bytes(log.key_pem)
    made = Place(tmp_path, log, issued)
    made.pins()
    return made


def test_an_unknown_certificate_exits_with_1(place: Place) -> None:
    """One line says what was found, and whom to ask; the second run has nothing new."""
    done = run(*place.arguments, cwd=place.folder)
    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    assert f"A certificate for {HOST} that no pin or history knows; ask the host's operator." in line
    assert "1 log(s) are followed for 1 host(s)." in done.stderr
    again = run(*place.arguments, cwd=place.folder)
    assert (again.returncode, again.stdout) == (0, "")


def test_lines_for_programs_have_a_schema(place: Place) -> None:
    """Each is JSON of the published schema; a problem of a log, too."""
    done = run(*place.arguments, "--json", cwd=place.folder)
    place.log.wrong_signature = True
    place.log.add(b"later")
    place.log.write(place.folder / "mirror")
    failed = run(*place.arguments, "--json", cwd=place.folder)
    assert (done.returncode, failed.returncode) == (1, 3)
    lines = [json.loads(line) for line in (done.stdout + failed.stdout).splitlines()]
    assert [line["kind"] for line in lines] == ["certificate", "log"]
    for line in lines:
        jsonschema.validate(line, finding_schema())
    assert lines[0]["certificate"]["spki"] == encode_pin(place.issued.spki_sha256)


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--leaf-keys-only",), 1)])
def test_a_pinned_ca_is_expected_to_issue(strict: tuple[str, ...], code: int, place: Place, pki: PrivatePKI) -> None:
    """What is below a pinned CA is not reported, unless that is asked for."""
    place.pins(pki.intermediate_ec.spki_sha256)
    assert run(*place.arguments, *strict, cwd=place.folder).returncode == code


def test_a_history_is_used(place: Place, pki: PrivatePKI) -> None:
    """A key that a check found genuine by a pin is known; one that it found logged is reported as seen in use."""
    written = pki.write(place.folder)
    trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--proxy", "none", "--offline")
    issued = pki.issue([HOST], key=place.issued.key)
    place.log.add(issued.leaf, issued.chain[1:])
    place.log.write(place.folder / "mirror")
    for pinned, code in ((issued.spki_sha256, 0), (None, 1)):
        place.pins(*(() if pinned is None else (pinned,)))
        history = place.folder / f"{code}.sqlite"
        with in_thread(serve_origin(issued)) as origin:
            rule = f"{HOST}:443:127.0.0.1:{origin.port}"
            options = ("--pins", "pins.toml", "--connect-to", rule, "--history", str(history))
            assert run("check", HOST, *options, *trust, cwd=place.folder).returncode == 0
        with History(history) as kept:
            assert [row.endpoints for row in kept.runs()] == [1]
        place.pins()
        state = ("--state", f"state-{code}", "--history", str(history))
        done = run(*place.arguments, *state, cwd=place.folder)
        assert done.returncode == code, done.stdout + done.stderr
        assert ("The history saw this key in use." in done.stdout) is bool(code)


def test_a_list_of_logs_is_followed_over_http(place: Place) -> None:
    """Logs and their addresses come from a list in Google's format; what of it is not followed is said."""
    with in_thread(serve_files(place.log.files("/elm/"))) as origin:
        listed = {
            "version": "1",
            "operators": [{"name": "Wood", "tiled_logs": [place.log.listing("http://elm.example/elm/")]}],
        }
        (place.folder / "logs.json").write_text(json.dumps(listed), "utf-8")
        rule = f"elm.example:80:127.0.0.1:{origin.port}"
        options = ("--pins", "pins.toml", "--state", "state", "--once", "--from-start", "--proxy", "none")
        done = run("ct", "watch", *options, "--ct-logs", "logs.json", "--connect-to", rule, cwd=place.folder)
    assert done.returncode == 1, done.stderr
    assert "in Elm, entry 0." in done.stdout


def test_what_a_killed_run_found_counts(place: Place) -> None:
    """A run that was killed before it could exit left a finding: the next one writes it, and exits with 1."""
    assert run(*place.arguments, cwd=place.folder).returncode == 1
    kept = json.loads((place.folder / "state").read_bytes())
    kept["pending"] = {"text": "a line\n", "kinds": ["certificate"]}
    (place.folder / "state").write_text(json.dumps(kept), "utf-8")
    done = run(*place.arguments, cwd=place.folder)
    assert (done.returncode, done.stdout) == (1, "a line\n")
    assert run(*place.arguments, cwd=place.folder).returncode == 0


def test_an_unreachable_log_exits_with_3(place: Place) -> None:
    """Nothing was found, and nothing was read: that is not nothing unknown."""
    (place.folder / "mirror" / "checkpoint").unlink()
    done = run(*place.arguments, cwd=place.folder)
    assert done.returncode == 3
    assert "did not answer with what is needed" in done.stdout


def test_an_unreadable_entry_exits_with_3(place: Place) -> None:
    """An entry with the name that is no certificate leaves the answer open."""
    place.log.entries.clear()
    place.log.add(b"a text with exam.example.edu in it")
    place.log.write(place.folder / "mirror")
    done = run(*place.arguments, cwd=place.folder)
    assert done.returncode == 3
    assert "cannot be read as a certificate" in done.stdout


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--pins", "none.toml"), "none.toml"),
        (("--since", "5"), "--from-start and --since exclude each other"),
        (("--duration", "5"), "--once and --duration exclude each other"),
        (("--log", "mirror=none.pem"), "none.pem"),
        (("--log", "mirror"), "has no key file"),
        (("--log", "ftp://elm.example/=log.pem"), "--log"),
        (("--state", "no/such/folder"), "--state"),
        (("-o", "state"), "name a file for each"),
        (("--ct-logs", "log.pem"), "v3 log list"),
    ],
)
def test_wrong_usage_exits_with_2(changed: tuple[str, ...], message: str, place: Place) -> None:
    """Each error names the option, the file or the value."""
    done = run(*place.arguments, *changed, cwd=place.folder)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr


def test_hosts_and_logs_are_needed(place: Place) -> None:
    """Without pins, with addresses alone, and without a log that can be followed there is nothing to do."""
    without = run("ct", "watch", "--state", "state", "--once", cwd=place.folder)
    assert (without.returncode, "--pins" in without.stderr) == (2, True)
    shipped = run("ct", "watch", "--pins", "pins.toml", "--state", "state", "--once", cwd=place.folder)
    assert (shipped.returncode, "no log in the list can be followed" in shipped.stderr) == (2, True)
    place.pins(host="192.0.2.7")
    addresses = run(*place.arguments, cwd=place.folder)
    assert (addresses.returncode, "no host" in addresses.stderr) == (2, True)


def test_it_ends_in_order_on_a_signal(place: Place) -> None:
    """A watch that waits for the next reading ends at SIGTERM, with its state, and the exit code of what it found."""
    arguments = [*place.arguments, "-o", "found.txt"]
    arguments.remove("--once")
    process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
        [sys.executable, "-m", "detector", *arguments],
        cwd=place.folder,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        while not (place.folder / "found.txt").exists() or not (place.folder / "found.txt").read_bytes():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert b'"next":1' in (place.folder / "state").read_bytes()
