"""The command line as a person or a script meets it: exit codes, and what is written to which stream."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for two calls here
import pytest
from detector_testing import Script, serve_middlebox, serve_origin, serve_script
from support.command import Done, in_thread, run, run_process
from support.results import stating

from detector import cli
from detector.knowledge import data_set
from detector.model import report_schema
from detector.session.follow_up import known_canaries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from detector_testing import PrivatePKI

EXAM, LMS = "exam.example.edu", "lms.example.org"


class Town:
    """A folder with the trust of the test PKI, and servers for the commands that run in it."""

    def __init__(self, pki: PrivatePKI, folder: Path) -> None:
        written = pki.write(folder)
        self.trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs))
        self.folder = folder
        self.issued = {host: pki.issue([host]) for host in (EXAM, LMS)}
        self.resolve: list[str] = []
        self.silent = 0
        self.filter = 0
        self._pki = pki

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Town]:
        """The town while its servers run."""
        async with contextlib.AsyncExitStack() as stack:
            where = {}
            for host, issued in self.issued.items():
                origin = await stack.enter_async_context(serve_origin(issued))
                where[host, 443] = origin.address
                self.resolve += ["--connect-to", f"{host}:443:{origin.host}:{origin.port}"]
            box = await stack.enter_async_context(
                serve_middlebox(self._pki.private_ca("Campus Filter CA"), upstream=where)
            )
            self.filter = box.port
            silent = await stack.enter_async_context(serve_script(Script.silence()))
            self.silent = silent.port
            yield self

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run `detector` in this folder, with these environment variables besides."""
        return run(*arguments, env=environment, cwd=self.folder)


@pytest.fixture(scope="module")
def town(pki: PrivatePKI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with in_thread(Town(pki, tmp_path_factory.mktemp("town")).opened()) as town:
        yield town


class TestAge:
    @pytest.mark.parametrize("command", [("check", EXAM), ("scan", EXAM), ("exam", "gate")], ids=" ".join)
    def test_old_knowledge_is_warned_of(self, command: tuple[str, ...], town: Town) -> None:
        """One line on stderr names what is old and of which day it is; the result stands alone on stdout."""
        listed = json.loads((town.folder / "ct_logs.json").read_text("utf-8"))
        (town.folder / "old.json").write_text(json.dumps(listed | {"log_list_timestamp": "2019-05-01T00:00:00Z"}))
        (town.folder / "exam.toml").write_text(f'schema = 1\nname = "t"\n[[endpoint]]\nhost = "{EXAM}"\n')
        form = () if command[0] == "exam" else ("--format", "jsonl")
        trust = ("--roots", str(town.folder / "roots.pem"), "--ct-logs", "old.json", "--pins", "exam.toml")
        done = town.run(*command, *trust, *form, *town.resolve)
        said = [line for line in done.stderr.splitlines() if line.startswith("Warning: ")]
        assert len(said) == 1
        assert "CT logs old.json of 2019-05-01" in said[0]
        assert "roots" not in said[0].partition(")")[0]
        assert json.loads(done.stdout)
        current = town.run(*command, *town.trust, "--pins", "exam.toml", *form, *town.resolve)
        assert "Warning" not in current.stderr


class TestCheck:
    def test_clean_is_exit_0(self, town: Town) -> None:
        """A clean network: the verdict first, what to do second, nothing on stderr."""
        done = town.run("check", EXAM, LMS, *town.trust, *town.resolve)
        assert (done.returncode, done.stderr) == (0, "")
        first, second = done.stdout.splitlines()[:2]
        assert first.startswith("CLEAN: no sign of TLS interception on the 2 hosts checked.")
        assert second.startswith("What to do: nothing")

    def test_middleware_is_exit_1(self, town: Town) -> None:
        """An intercepted network: by whom, on which hosts and what to do, in the first two lines."""
        stated = stating(town.folder, EXAM, LMS)
        done = town.run("check", EXAM, LMS, *town.trust, *stated, "--proxy", f"http://127.0.0.1:{town.filter}")
        assert done.returncode == 1
        first = done.stdout.partition("What to do")[0].replace("\n", " ")
        assert first.startswith("INTERCEPTED (proven: ")
        assert "Campus Filter CA" in first
        assert "exempt exam.example.edu, lms.example.org" in done.stdout.replace("\n", " ")
        assert "\x1b" not in done.stdout

    @pytest.mark.parametrize("given", [("--probes", "3"), ("--probes", "3", "--spread", "--deadline", "1")])
    def test_probes(self, town: Town, given: tuple[str, ...]) -> None:
        """Each endpoint is probed as often as asked for; the report holds what each probe showed."""
        done = town.run("check", EXAM, *town.trust, *town.resolve, "--format", "json", *given)
        (result,) = json.loads(done.stdout)["results"]
        assert [one["repeat"] for one in (result["observation"], *result["other_observations"])] == [0, 1, 2]

    def test_fail_on(self, town: Town) -> None:
        """Below --fail-on middleware is exit 3, never 0; what is only possible names nobody and decrypts nothing."""
        proxied = ("--proxy", f"http://127.0.0.1:{town.filter}", "--offline")
        done = town.run("check", EXAM, *town.trust, *proxied)
        assert done.returncode == 3
        assert done.stdout.startswith("UNCERTAIN (possible)")
        assert [word for word in ("decrypt", "Campus Filter CA") if word in done.stdout] == []
        assert town.run("check", EXAM, *town.trust, *proxied, "--fail-on", "possible").returncode == 1

    def test_a_follow_up_asks_for_canaries(self, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
        """One private chain alone is a question; canaries on the same route, which the filter forges, answer it."""
        monkeypatch.setattr("detector.session.settings.known_canaries", known_canaries)
        proxied = ("--proxy", f"http://127.0.0.1:{town.filter}", "--format", "json")
        done = town.run("check", EXAM, *town.trust, *proxied)
        assert done.returncode == 1
        report = json.loads(done.stdout)
        assert [result["endpoint"]["category"] for result in report["results"]] == ["other", "canary", "canary"]
        assert {result["confidence"] for result in report["results"]} == {"proven"}

    def test_every_way_side_by_side(self, town: Town) -> None:
        """Intercepted through the proxy only: what the direct way showed proves it, and the report has both."""
        routes = ("--route", "direct,proxy", "--proxy", f"http://127.0.0.1:{town.filter}", "--offline")
        done = town.run("check", EXAM, *town.trust, *town.resolve, *routes, "--all-addresses", "--format", "json")
        assert done.returncode == 1
        (result,) = json.loads(done.stdout)["results"]
        assert (result["reason"], result["observation"]["route"]) == ("identity-substituted", "http-connect")
        assert {probe["route"] for probe in result["other_observations"]} >= {"direct"}

    @pytest.mark.serial
    def test_inconclusive_is_exit_3_and_in_time(self, town: Town) -> None:
        """`--deadline 3` answers within 3.3 seconds, with what the others gave."""
        silent = ("--connect-to", f"slow.example.net:443:127.0.0.1:{town.silent}")
        begin = time.monotonic()
        hosts = (EXAM, "slow.example.net", *town.trust, *town.resolve, *silent)
        done = run_process("check", *hosts, "--deadline", "3", "--format", "json", cwd=town.folder)
        took = time.monotonic() - begin
        assert done.returncode == 3
        assert took < 3.3
        report = json.loads(done.stdout)
        assert [r["verdict"] for r in report["results"]] == ["clean", "inconclusive"]

    def test_json_follows_the_schema(self, town: Town) -> None:
        """The JSON report validates, and carries the evidence needed to judge again."""
        done = town.run("check", EXAM, *town.trust, *town.resolve, "--format", "json", "--vantage", "room 12")
        report = json.loads(done.stdout)
        jsonschema.validate(report, report_schema())
        assert report["schema_version"] == 1
        assert report["vantage"] == "room 12"
        assert report["started"].endswith("Z")
        chain = report["results"][0]["observation"]["chain"]
        assert [set(c) for c in chain] == [
            {"sha256", "der", "subject", "issuer", "serial", "not_before", "not_after", "spki_sha256"}
        ] * len(chain)

    def test_report_has_nothing_about_the_person(self, town: Town) -> None:
        """No user name, machine name or home of the person who runs it."""
        names = ("USER", "LOGNAME", "USERNAME", "HOME", "HOSTNAME")
        person = dict.fromkeys(names, "zacharias-the-student")
        done = run_process("check", EXAM, *town.trust, *town.resolve, "--format", "json", env=person, cwd=town.folder)
        assert done.returncode == 0
        assert "zacharias" not in done.stdout
        assert platform.node() not in done.stdout.replace('"', " ").split()

    def test_jsonl(self, town: Town) -> None:
        """One result a line."""
        done = town.run("check", EXAM, LMS, *town.trust, *town.resolve, "--format", "jsonl")
        assert [json.loads(line)["endpoint"]["host"] for line in done.stdout.splitlines()] == [EXAM, LMS]

    def test_html_and_csv(self, town: Town, tmp_path: Path) -> None:
        """The same network as a page for people and as lines for a spreadsheet."""
        target = tmp_path / "report.html"
        done = town.run("check", EXAM, *town.trust, *town.resolve, "--format", "html", "--output", str(target))
        assert done.returncode == 0
        assert "CLEAN: no sign of TLS interception on exam.example.edu." in target.read_text("utf-8")
        done = town.run("check", EXAM, LMS, *town.trust, *town.resolve, "--format", "csv")
        assert [line.split(",")[2] for line in done.stdout.splitlines()] == ["host", EXAM, LMS]

    def test_html_without_its_library(self, town: Town, tmp_path: Path) -> None:
        """Where Jinja2 is not installed, one sentence says what to install, and the exit code is for bad usage."""
        (tmp_path / "jinja2.py").write_text("raise ImportError('not here')\n", "utf-8")
        arguments = ("check", EXAM, *town.trust, *town.resolve, "--format", "html")
        done = run_process(*arguments, env={"PYTHONPATH": str(tmp_path)}, cwd=town.folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Install the extra 'html'" in done.stderr
        assert "Traceback" not in done.stderr

    def test_output_file_appears_whole(self, town: Town, tmp_path: Path) -> None:
        """--output writes the result there, and nothing to stdout."""
        target = tmp_path / "report.json"
        done = town.run("check", EXAM, *town.trust, *town.resolve, "--format", "json", "--output", str(target))
        assert (done.returncode, done.stdout) == (0, "")
        assert json.loads(target.read_text())["verdict"] == "clean"
        assert [p.name for p in tmp_path.iterdir()] == ["report.json"]

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child alone")
    def test_ctrl_c(self, town: Town, tmp_path: Path) -> None:
        """Ctrl-C is exit 130, without traceback and without half a file."""
        target = tmp_path / "report.json"
        process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
            [
                *(sys.executable, "-m", "detector", "check", "slow.example.net", *town.trust, "--output", str(target)),
                *(
                    "--connect-to",
                    f"slow.example.net:443:127.0.0.1:{town.silent}",
                    "--deadline",
                    "60",
                    "--proxy",
                    "none",
                ),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not list(tmp_path.iterdir()):  # the place for the result is claimed just before probing begins
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
        assert (process.returncode, stdout, stderr) == (130, "", "Interrupted.\n")
        assert list(tmp_path.iterdir()) == []


class TestExamine:
    def test_chain_from_a_file(self, town: Town, tmp_path: Path) -> None:
        """A PEM chain is assessed offline; for another host it is not clean."""
        chain = tmp_path / "chain.pem"
        chain.write_bytes(town.issued[EXAM].chain_pem)
        assert town.run("examine", str(chain), "--host", EXAM, *town.trust).returncode == 0
        wrong = town.run("examine", str(chain), "--host", "other.example.net", *town.trust)
        assert wrong.returncode == 3
        assert "possible" in wrong.stdout

    def test_moment_and_unproved_key(self, town: Town, tmp_path: Path) -> None:
        """--at moves the clock; --key-not-proved makes the chain clear nothing."""
        chain = tmp_path / "chain.pem"
        chain.write_bytes(town.issued[EXAM].chain_pem)
        later = town.run(
            "examine", str(chain), "--host", EXAM, *town.trust, "--at", "2099-01-01T00:00:00Z", "--format", "json"
        )
        findings = {f["check"]: f["outcome"] for f in json.loads(later.stdout)["results"][0]["findings"]}
        assert findings["dates"] == "expired"
        unproved = town.run("examine", str(chain), "--host", EXAM, *town.trust, "--key-not-proved", "-v")
        assert (unproved.returncode, "key-not-proved" in unproved.stdout) == (3, True)


class TestPins:
    def test_learn_then_check(self, town: Town, tmp_path: Path) -> None:
        """Learned pins make the next check `pinned`; lint and show read the file."""
        pins = tmp_path / "learned.toml"
        known = (*town.trust, *town.resolve)
        done = town.run("pins", "learn", EXAM, LMS, "-o", str(pins), *known, "--category", "exam")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert pins.read_text("utf-8").count('identity = "public"') == 2
        checked = town.run("check", "--pins", str(pins), *town.trust, *town.resolve, "--format", "json")
        assert [r["assurance"] for r in json.loads(checked.stdout)["results"]] == ["pinned", "pinned"]
        shown = town.run("pins", "show", str(pins))
        assert shown.stdout.count("sha256/") == 4
        assert shown.stdout.count("identity    public") == 2
        assert town.run("pins", "lint", str(pins)).returncode == 0

    def test_learn_refuses_an_interceptor(self, town: Town, tmp_path: Path) -> None:
        """Pins are not learned from a chain without a public root, unless asked to, and nothing is half-written."""
        pins = tmp_path / "learned.toml"
        proxied = ("--proxy", f"http://127.0.0.1:{town.filter}")
        refused = town.run("pins", "learn", EXAM, "-o", str(pins), *town.trust[:2], *proxied)
        assert refused.returncode == 3
        assert "no public root" in refused.stderr
        assert not pins.exists()
        reported = town.run("pins", "learn", EXAM, "-o", str(pins), "--allow-private", *town.trust[:2], *proxied)
        assert reported.returncode == 0
        assert "# identity unknown" in pins.read_text("utf-8")
        assert "identity    unknown" in town.run("pins", "show", str(pins)).stdout

    def test_learn_does_not_trust_one_key_for_unrelated_hosts(self, town: Town, tmp_path: Path) -> None:
        """Even when asked for private chains, what an interceptor shows for two operators is not written down."""
        pins = tmp_path / "learned.toml"
        proxied = ("--proxy", f"http://127.0.0.1:{town.filter}")
        done = town.run("pins", "learn", EXAM, LMS, "-o", str(pins), "--allow-private", *town.trust, *proxied)
        assert (done.returncode, pins.exists()) == (3, False)
        assert "other operators" in done.stderr

    def test_pinned_root_fails_lint(self, town: Town, tmp_path: Path) -> None:
        """Lint says which root a pin is, that it clears nothing, and what to write instead."""
        root = next(root for root in data_set.shipped().known_roots.roots if root.label == "ISRG Root X1")
        pins = tmp_path / "root.toml"
        pins.write_text(GOOD_HEAD + f'category = "exam"\npins = ["sha256:{root.spki_sha256}"]\n')
        done = town.run("pins", "lint", str(pins))
        assert done.returncode == 2
        assert "error:" in done.stdout
        assert "ISRG Root X1: a root's key as pin clears nothing" in done.stdout
        assert "identity    public" in town.run("pins", "show", str(pins)).stdout

    def test_shipped_pins_are_sound(self, town: Town) -> None:
        """The shipped endpoints lint without errors and cover several categories."""
        assert town.run("pins", "lint").returncode == 0
        shown = town.run("pins", "show").stdout
        assert all(f"  {category}" in shown for category in ("exam", "search", "bank", "canary"))

    def test_expired_pins_fail_lint(self, town: Town, tmp_path: Path) -> None:
        """Lint of an expired file is exit 2 and says so."""
        pins = tmp_path / "old.toml"
        digest = "A" * 43 + "="
        pins.write_text(
            f'schema = 1\nname = "old"\nexpires = 2020-01-01\n[[endpoint]]\nhost = "{EXAM}"\npins = ["{digest}"]\n'
        )
        done = town.run("pins", "lint", str(pins))
        assert (done.returncode, "expired" in done.stdout) == (2, True)


GOOD_HEAD = 'schema = 1\nname = "t"\n[[endpoint]]\nhost = "exam.example.edu"\n'


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (GOOD_HEAD + f'pins = ["{"A" * 41}="]\n', ("pins", EXAM)),
            (GOOD_HEAD + 'identity = "private"\n', ("identity", EXAM, '"unknown"')),
            (GOOD_HEAD + "canary = true\n", ("canary", EXAM, "roots =")),
            (GOOD_HEAD + 'pinz = ["x"]\n', ("pinz", EXAM)),
            (GOOD_HEAD + '[[endpoint]]\nhost = "exam.example.edu"\n', (EXAM,)),
            (GOOD_HEAD + 'roots = ["No Such Root"]\n', ("No Such Root", EXAM)),
            ("schema = 7\n", ("schema",)),
            ("this is not TOML", ("TOML",)),
        ],
        ids=[
            "31-bytes",
            "unknown-identity",
            "canary",
            "unknown-key",
            "duplicate",
            "unknown-root",
            "schema",
            "not-toml",
        ],
    )
    def test_bad_pin_file(self, content: str, words: tuple[str, ...], town: Town, tmp_path: Path) -> None:
        """A bad pin file is exit 2 and one sentence naming file and field."""
        pins = tmp_path / "bad.toml"
        pins.write_text(content)
        done = town.run("check", "--pins", str(pins))
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
        assert all(word in done.stderr for word in ("bad.toml", *words))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("check", "--pins", "missing.toml"), ("missing.toml",)),
            (("check", "--roots", "missing.pem"), ("missing.pem",)),
            (("check", "--ct-logs", "missing.json"), ("missing.json",)),
            (("check", "http://exam.example.edu/"), ("http://exam.example.edu", "without TLS")),
            (("check", "exam.example.edu:99999"), ("99999",)),
            (("check", EXAM, "--proxy", "gopher://proxy"), ("proxy",)),
            (("check", EXAM, "--route", "sideways", "--proxy", "none"), ("--route: 'sideways'", "direct4")),
            (("check", EXAM, "--route", "proxy", "--proxy", "none"), ("proxy",)),
            (("check", EXAM, "--doh", "http://resolver.example/"), ("https://",)),
            (("check", EXAM, "--connect-to", "nonsense"), ("nonsense",)),
            (("check", EXAM, "--output", "no/such/dir/report.json"), ("no/such/dir/report.json",)),
            (("check", EXAM, "--output", "one.json", "--bundle", "one.json"), ("--output", "--bundle", "one.json")),
            (("exam", "gate", "--output", "one.json", "--bundle", "one.json"), ("--output", "--bundle", "one.json")),
            (("check", EXAM, "--format", "yaml"), ("yaml",)),
            (("check", EXAM, "--deadline", "soon"), ("soon",)),
            (("examine", "missing.pem", "--host", EXAM), ("missing.pem",)),
            (("examine", "missing.pem"), ("--host",)),
            (("frobnicate",), ("frobnicate",)),
        ],
    )
    def test_bad_usage(self, arguments: tuple[str, ...], words: tuple[str, ...], town: Town) -> None:
        """Bad usage is exit 2, says what is wrong on stderr, and prints no result."""
        done = town.run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
        assert all(word in done.stderr for word in words)

    def test_credentials_are_not_repeated(self, town: Town) -> None:
        """A bad proxy URL with a password in it is refused without repeating the password."""
        done = town.run("check", EXAM, "--proxy", "http://me:hunter2@[bad")
        assert done.returncode == 2
        assert "hunter2" not in done.stderr
        for option in ("--route", "--proxy", "--doh"):
            done = town.run("check", EXAM, "--route", "direct", "--proxy", "none", option, "x://me:hunter2@host")
            assert done.returncode == 2
            assert "hunter2" not in done.stdout + done.stderr

    def test_bad_chain_files(self, town: Town, tmp_path: Path) -> None:
        """Files without a certificate, or with a damaged block, are refused by name."""
        for content in (b"", b"nothing here", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"):
            chain = tmp_path / "bad.pem"
            chain.write_bytes(content)
            done = town.run("examine", str(chain), "--host", EXAM)
            assert (done.returncode, "bad.pem" in done.stderr) == (2, True)


def test_demo_shows_both_networks(town: Town) -> None:
    """The demo ends with 0 and shows a clean and an intercepted network."""
    done = town.run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "CLEAN:" in done.stdout
    assert "INTERCEPTED (proven: " in done.stdout


def test_in_processes_of_their_own(town: Town, tmp_path: Path) -> None:
    """What a shell gets: exit codes, the result on standard output, complaints on standard error."""
    chain = tmp_path / "chain.pem"
    chain.write_bytes(town.issued[EXAM].chain_pem)
    stated = stating(town.folder, EXAM, LMS)
    proxied = ("--proxy", f"http://127.0.0.1:{town.filter}", "--offline")
    intercepted = run_process("check", EXAM, LMS, *town.trust, *stated, *proxied, cwd=tmp_path)
    assert (intercepted.returncode, intercepted.stdout[:19]) == (1, "INTERCEPTED (proven")
    examined = run_process("examine", "chain.pem", "--host", "other.example.net", *town.trust, cwd=tmp_path)
    assert (examined.returncode, "possible" in examined.stdout, examined.stderr) == (3, True, "")
    refused = run_process("pins", "lint", "missing.toml", cwd=tmp_path)
    assert (refused.returncode, refused.stdout, "missing.toml" in refused.stderr) == (2, "", True)


def test_a_command_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    """A command that is run within a program, as these tests do, changes nothing that is global to it."""

    def state() -> tuple[object, ...]:
        log = logging.getLogger("detector")
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        streams = (sys.stdin, sys.stdout, sys.stderr)
        return dict(os.environ), Path.cwd(), streams, handlers, log.handlers[:], log.level

    before = state()
    watch = ("-vv", "watch", "127.0.0.1:1", "--duration", "0.1", "--proxy", "none", "--output", "events.txt")
    done = run(*watch, env={"DETECTOR_LOG": "probe=debug"}, cwd=tmp_path)
    assert (done.returncode, done.stdout, "INFO detector.cli" in done.stderr) == (3, "", True)
    assert (tmp_path / "events.txt").exists()
    assert state() == before


def test_version(town: Town) -> None:
    """`--version` names the program."""
    assert town.run("--version").stdout.startswith("detector, version ")


def test_scan_script_is_the_same_command(town: Town, request: pytest.FixtureRequest) -> None:
    """`scripts/scan.py` is `detector scan`."""
    script = request.config.rootpath / "scripts" / "scan.py"
    done = subprocess.run(  # noqa: S603 - no shell, and the program is a part of this repository
        [sys.executable, script, EXAM, *town.trust, *town.resolve, "--proxy", "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["clean", f"{EXAM}:443"])


def test_a_fault_of_this_program_accuses_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An internal error is exit 70, never 1, and shows no traceback."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("detector.session.session.Detector.__init__", fail)
    assert cli.run(["check", EXAM]) == 70
    captured = capsys.readouterr()
    assert "Internal error (ZeroDivisionError)" in captured.err
    assert "Traceback" not in captured.err


def test_reader_that_goes_away(town: Town) -> None:
    """`detector … | head -1` ends quietly."""
    process = subprocess.run(  # noqa: S603 - the shell is what is tested, and every word of its line is written here
        ["bash", "-c", f"{sys.executable} -m detector pins show | head -1; exit ${{PIPESTATUS[0]}}"],  # noqa: S607 - the shell of the machine
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode in {0, 141}
    assert process.stderr == ""
    assert town.silent
