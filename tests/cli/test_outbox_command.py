"""`detector outbox`, and the commands that report.

Room: tests of cli. The collector is a real HTTPS server on loopback.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Response, serve_origin
from outbox.test_store import opened, sealed
from support.collect_receiver import HOST, URL, Receiver, receipt_of, refusal, settings_in
from support.command import clean_environment, in_thread, run

from detector.exam.native_messaging import TO_BROWSER_MAX, FrameReader, frame
from detector.outbox import contents
from detector.outbox.submission import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detector_testing import Origin, PrivatePKI

EXAM = "exam.example.edu"


class Place:
    """A collector, an exam server, and the options with which commands reach both."""

    def __init__(self, folder: Path, pki: PrivatePKI, origin: Origin, receiver: Receiver) -> None:
        self.folder = folder
        self.receiver = receiver
        trust, settings = pki.write(folder), settings_in(folder)
        pins = 'schema = 1\nname = "none"\nupdated = 2026-01-01\nexpires = 2099-01-01\n'
        pins += f'[[endpoint]]\nhost = "{EXAM}"\ncategory = "exam"\n'
        (folder / "pins.toml").write_text(pins, encoding="utf-8")
        self.reaching = (
            *("--roots", str(trust.roots), "--ct-logs", str(trust.ct_logs), "--proxy", "none"),
            *(w for h in (HOST, EXAM) for w in ("--connect-to", f"{h}:443:127.0.0.1:{origin.port}")),
        )
        self.probing = (*self.reaching, "--pins", str(folder / "pins.toml"), "--offline")
        (folder / "patient.toml").write_text("schema = 1\ndeadline = 25.0\n", encoding="utf-8")
        self.gating = (*self.probing, "--policy", str(folder / "patient.toml"))
        self.collector = (
            *("--report-to", URL, "--report-receipt-key", settings.receipt_key[0]),
            *("--outbox", str(folder / "outbox")),
        )
        self.reporting = (
            *self.collector,
            *("--report-key", settings.key, "--report-institution", settings.institution),
            *("--report-exam", "algebra-1", "--report-pseudonym-key", str(settings.pseudonym_key)),
            *("--report-student", "s4711"),
        )

    def kinds(self) -> list[Kind]:
        """The kinds of what was received."""
        return sorted(one.kind for one in self.receiver.submissions.values())


@pytest.fixture
def place(pki: PrivatePKI, tmp_path: Path) -> Iterator[Place]:
    """A collector and an exam server."""
    receiver = Receiver()

    def handle(request: Any) -> Response:  # noqa: ANN401 - a request
        return receiver(request) if request.host == HOST else Response(body=b"exam")

    served = {host: pki.issue([host]) for host in (HOST, EXAM)}
    with in_thread(serve_origin(served, handler=handle)) as origin:
        yield Place(tmp_path, pki, origin, receiver)


def test_the_gate_reports_its_decision(place: Place) -> None:
    """The decision is on standard output; then its evidence, which verifies, is with the collector."""
    done = run("exam", "gate", *place.gating, *place.reporting)
    assert (done.returncode, json.loads(done.stdout)["action"]) == (0, "allow"), done.stderr
    (submission,) = place.receiver.submissions.values()
    content = contents.decode(submission.kind, bytes(submission.content))
    assert isinstance(content, contents.GateContent)
    assert (content.action, content.bundle is not None) == ("allow", True)
    assert (submission.institution, submission.exam) == ("example-university", "algebra-1")
    assert submission.student is not None
    assert submission.network is not None
    assert opened(place.folder / "outbox").status().waiting == 0


def test_the_policy_says_where_to_report(place: Place) -> None:
    """A table of the policy file does what the options do; paths in it are relative to the file."""
    lines = [
        *("schema = 1", 'pins = ["pins.toml"]', "[report]", f'to = "{URL}"', 'institution = "example-university"'),
        *(f'receipt_key = "{place.collector[3]}"', 'key = "institution.key"', 'outbox = "outbox"'),
    ]
    (place.folder / "policy.toml").write_text("\n".join(lines), encoding="utf-8")
    done = run("exam", "gate", *place.reaching, "--offline", "--policy", str(place.folder / "policy.toml"))
    assert (done.returncode, place.kinds()) == (0, [Kind.GATE_DECISION]), done.stderr


def test_the_reader_of_a_decision_does_not_wait_for_the_collector(place: Place) -> None:
    """Standard output has ended, with the decision, while the collector has not even answered."""
    answered = threading.Event()
    place.receiver.answer = lambda _: Response(status=503) if answered.wait(30) else None
    words = ("exam", "gate", *place.gating, *place.reporting)
    with subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
        [sys.executable, "-m", "detector", *words], stdout=subprocess.PIPE, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["action"] == "allow"
        answered.set()
        assert process.wait() == 0
    assert opened(place.folder / "outbox").status().waiting == 1


def test_the_native_host_reports_each_decision(place: Place) -> None:
    """A browser gets its decisions as ever; each is with the collector when the host has ended."""
    words = ("exam", "native-host", *place.gating, *place.reporting)
    with subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
        [sys.executable, "-m", "detector", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=clean_environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reader = FrameReader(TO_BROWSER_MAX)
        for number in range(2):
            process.stdin.write(frame(json.dumps({"id": number}).encode()))
            process.stdin.flush()
            while (payload := reader.next()) is None:
                reader.feed(process.stdout.read1(65536))  # type: ignore[attr-defined] # a buffered reader has it
            assert (json.loads(payload)["id"], json.loads(payload)["action"]) == (number, "allow")
        process.stdin.close()
        assert process.wait() == 0
    sent = opened(place.folder / "outbox").status().waiting
    assert len(place.receiver.submissions) + sent == 2


def test_a_manifest_passes_the_options_on(place: Place) -> None:
    """A browser starts the host with the options of reporting, paths made absolute, a key as given."""
    given = ("--browser", "firefox", "--extension-id", "exam@example.edu")
    done = run("exam", "manifest", *given, *place.probing, *place.reporting, cwd=place.folder)
    assert done.returncode == 0, done.stderr
    for word in ("--report-to", URL, "--report-receipt-key", place.collector[3], "--report-student", "s4711"):
        assert word in done.stdout
    assert str(place.folder / "institution.key") in done.stdout


@pytest.mark.parametrize("command", ["check", "scan", "watch"])
def test_other_commands_report(command: str, place: Place) -> None:
    """A check reports its bundle, a scan each result, a watch each event; the result and the exit code stay."""
    more = {"check": (), "scan": ("--no-progress",), "watch": ("--duration", "3", "--interval", "1")}[command]
    done = run(command, EXAM, *place.probing, *more, *place.reporting)
    assert done.returncode == 0, done.stderr
    run("outbox", "send", *place.collector, *place.reaching)
    kind = {"check": Kind.BUNDLE, "scan": Kind.SCAN_RESULT, "watch": Kind.WATCH_EVENT}[command]
    assert set(place.kinds()) == {kind}


def test_a_decision_does_not_depend_on_the_collector(place: Place) -> None:
    """With a collector that takes nothing, a full disk or a wrong folder, the decision is the same and on time."""
    place.receiver.answer = lambda _: Response(status=503)
    usual = run("exam", "gate", *place.gating)
    unable = run("exam", "gate", *place.gating, *place.reporting)
    (place.folder / "file").write_text("")
    wrong = [str(place.folder / "file" / "x") if w == str(place.folder / "outbox") else w for w in place.reporting]
    unwritable = run("exam", "gate", *place.gating, *wrong)
    for done in (unable, unwritable):
        assert (done.returncode, json.loads(done.stdout)["action"]) == (usual.returncode, "allow")
    assert "Warning:" in unwritable.stderr
    assert "goes on without reporting" in unwritable.stderr
    assert opened(place.folder / "outbox").status().waiting == 1


def test_what_was_not_sent_is_sent_later(place: Place) -> None:
    """The status says what waits; sending it leaves nothing, and what is refused is shown with its reason."""
    place.receiver.answer = lambda _: Response(status=503)
    run("exam", "gate", *place.gating, *place.reporting)
    shown = run("outbox", "status", "--outbox", str(place.folder / "outbox"))
    assert "1 report(s) wait, the oldest since" in shown.stdout
    listed = run("outbox", "list", "--outbox", str(place.folder / "outbox"), "--json")
    assert [(one["kind"], one["state"]) for one in json.loads(listed.stdout)["reports"]] == [("gate-decision", "waits")]
    place.receiver.answer = lambda _: refusal("unknown-key")
    assert run("outbox", "send", *place.collector, *place.reaching).returncode == 0
    shown = run("outbox", "status", "--outbox", str(place.folder / "outbox"))
    assert "Refused (unknown-key): 1." in shown.stdout
    place.receiver.answer = lambda _: None
    done = run("outbox", "send", "--refused", *place.collector, *place.reaching)
    assert (done.returncode, done.stderr) == (0, "Sent 1 report(s).\n")
    assert place.kinds() == [Kind.GATE_DECISION]


def test_sending_says_when_something_still_waits(place: Place) -> None:
    """An answer that is no receipt removes nothing, and the exit code is 3."""
    opened(place.folder / "outbox").put(sealed(), to=URL)
    place.receiver.answer = lambda _: receipt_of("0" * 64)
    done = run("outbox", "send", *place.collector, *place.reaching)
    assert (done.returncode, "the rest waits: the receipt is for another submission" in done.stderr) == (3, True)


def test_dropping(tmp_path: Path) -> None:
    """Reports are dropped by digest or all at once, and stay in the count."""
    outbox = opened(tmp_path)
    digests = [outbox.put(sealed(number), to=URL) for number in range(3)]
    given = ("--outbox", str(tmp_path))
    assert run("outbox", "drop", digests[0], *given).stderr == "Dropped 1 report(s).\n"
    assert run("outbox", "drop", "--all", *given).stderr == "Dropped 2 report(s).\n"
    assert "Dropped (on request): 3." in run("outbox", "status", *given).stdout
    assert run("outbox", "drop", "0" * 64, *given).returncode == 2
    assert run("outbox", "drop", *given).returncode == 2


def test_a_new_key(tmp_path: Path) -> None:
    """A key for pseudonyms is written once."""
    assert run("outbox", "keygen", "-o", str(tmp_path / "key")).returncode == 0
    assert len((tmp_path / "key").read_bytes()) == 32
    assert run("outbox", "keygen", "-o", str(tmp_path / "key")).returncode == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--report-institution", "a"), "--report-institution needs --report-to"),
        (("--report-to", URL), "--report-institution: is needed"),
        (("--report-to", "http://collect.example.org"), "--report-institution"),
        (("--report-to", "http://a.example.org", "--report-institution", "a"), "--report-key: is needed"),
    ],
)
def test_options_that_do_not_suffice(words: tuple[str, ...], error: str) -> None:
    """What is missing is named as the option, before anything is probed."""
    done = run("exam", "gate", *words)
    assert (done.returncode, error in done.stderr) == (2, True), done.stderr


def test_wrong_values_are_named_by_their_option(tmp_path: Path) -> None:
    """A URL without TLS, a name in capitals, a key that is not one: the message has the option and no credential."""
    settings = settings_in(tmp_path)
    known = {
        "--report-to": URL,
        "--report-institution": "example-university",
        "--report-key": settings.key,
        "--report-receipt-key": settings.receipt_key[0],
    }
    for flag, value in (
        ("--report-to", "http://hans:secret@collect.example.org"),
        ("--report-institution", "Example University"),
        ("--report-key", str(tmp_path / "absent")),
        ("--report-receipt-key", "ed25519/short"),
    ):
        done = run("exam", "gate", *(word for pair in (known | {flag: value}).items() for word in pair))
        assert (done.returncode, flag in done.stderr, "secret" in done.stderr) == (2, True, False), done.stderr
