"""`--history`, `detector history` and `detector diff`, as people use them."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_middlebox, serve_origin
from support.command import Done, in_thread, run, run_process
from support.results import stating

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"


def detector(*arguments: str, **environment: str) -> Done:
    return run(*arguments, env=environment)


def listed(**environment: str) -> list[dict[str, Any]]:
    """The runs of a history, as JSON."""
    return [json.loads(line) for line in detector("history", "--format", "jsonl", **environment).stdout.splitlines()]


@contextlib.asynccontextmanager
async def an_origin_and_a_filter(pki: PrivatePKI) -> AsyncIterator[tuple[int, int]]:
    """The ports of an exam platform and of a proxy that intercepts it."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        upstream = {(EXAM, 443): origin.address}
        async with serve_middlebox(pki.private_ca("mitmproxy"), upstream=upstream) as box:
            yield origin.port, box.port


@pytest.fixture(scope="module")
def recorded(pki: PrivatePKI, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the lists of the test PKI and a history of a clean run and an intercepted one."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "roots.pem").write_bytes(pki.roots_pem())
    (folder / "logs.json").write_bytes(pki.ct_log_list_json())
    lists = ("--roots", str(folder / "roots.pem"), "--ct-logs", str(folder / "logs.json"))
    trust = (*lists, *stating(folder, EXAM), "--offline")
    kept = ("--history", str(folder / "history.sqlite"), "--vantage", "hall")
    with in_thread(an_origin_and_a_filter(pki)) as (origin, proxy):
        direct = ("--connect-to", f"{EXAM}:443:127.0.0.1:{origin}", "--proxy", "none")
        clean = detector("check", EXAM, *trust, *direct, *kept)
        intercepted = detector("check", EXAM, *trust, "--proxy", f"http://127.0.0.1:{proxy}", *kept)
    assert (clean.returncode, intercepted.returncode) == (0, 1), clean.stderr + intercepted.stderr
    return folder


@pytest.fixture
def two_runs(recorded: Path) -> str:
    """A history with a clean run and an intercepted one, which nobody adds to."""
    return str(recorded / "history.sqlite")


def test_runs_are_kept_and_reported(two_runs: str, tmp_path: Path) -> None:
    """Every run stands in the list; one can be shown again in any form, as HTML with the runs before it."""
    done = detector("history", "--history", two_runs)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, 2)
    assert "intercepted" in lines[0]
    assert "clean" in lines[1]
    assert all(line.endswith("hall") for line in lines)
    as_json = [
        json.loads(line)
        for line in detector("history", "--format", "jsonl", DETECTOR_HISTORY=two_runs).stdout.splitlines()
    ]
    assert [run["id"] for run in as_json] == [2, 1]
    page = tmp_path / "page.html"
    done = detector("history", "--history", two_runs, "show", "2", "--format", "html", "--output", str(page))
    assert done.returncode == 0
    assert page.read_text("utf-8").count('overflow="visible"') == 2  # a mark for each run


def test_the_history_is_named_on_either_side(two_runs: str) -> None:
    """Before or after the subcommand; what is only for the list is refused in front of it, not silently dropped."""
    before, after = ("--history", two_runs, "show", "1", "-q"), ("show", "1", "-q", "--history", two_runs)
    shown = detector("history", *before)
    assert (shown.returncode, shown) == (0, detector("history", *after))
    assert detector("history", "show", "1", "-q", DETECTOR_HISTORY=two_runs) == shown
    refused = detector("history", "--days", "3", *after)
    assert refused.returncode == 2
    assert "--days is for the list of runs: write options of `show` after it." in refused.stderr


def test_lists_and_changes_go_to_a_file(two_runs: str, tmp_path: Path) -> None:
    """-o takes what standard output would."""
    for words in (("history", "--history", two_runs), ("diff", "1", "2", "--history", two_runs)):
        expected = detector(*words)
        done = detector(*words, "-o", str(tmp_path / "out"))
        assert (done.returncode, done.stdout) == (expected.returncode, "")
        assert (tmp_path / "out").read_text("utf-8") == expected.stdout
    assert detector("diff", "1", "2", "--history", two_runs, "-q").stdout.endswith("for the worse: 1.\n")


def test_diff(two_runs: str, tmp_path: Path) -> None:
    """What got worse makes the exit code 1; what got better does not; reports in files can be compared too."""
    done = detector("diff", "1", "2", "--history", two_runs)
    assert done.returncode == 1
    assert f"{EXAM}:443: intercepted now (proven), by mitmproxy" in done.stdout
    done = detector("diff", "2", "1", "--history", two_runs, "--format", "json")
    assert done.returncode == 0
    assert [c["kind"] for c in json.loads(done.stdout)["changes"]] == ["no-longer-intercepted"]
    for number in ("1", "2"):
        file = tmp_path / f"{number}.json"
        detector("history", "--history", two_runs, "show", number, "--format", "json", "--output", str(file))
    done = detector("diff", str(tmp_path / "1.json"), str(tmp_path / "2.json"))
    assert done.returncode == 1
    assert detector("diff", "1", "1", "--history", two_runs).stdout == "Nothing changed from run 1 to run 1.\n"


def test_diff_of_a_strangers_report(two_runs: str, tmp_path: Path) -> None:
    """What a report says gives a terminal no command and begins no line."""
    detector("history", "show", "2", "--history", two_runs, "--format", "json", "-o", str(tmp_path / "2.json"))
    report = json.loads((tmp_path / "2.json").read_text(encoding="utf-8"))
    hostile = "\x1b[2J\nNothing changed\x9b2J\u202e"
    report["vantage"] = report["detector_version"] = hostile
    for result in report["results"]:
        result["endpoint"]["host"] = hostile
    (tmp_path / "hostile.json").write_text(json.dumps(report), encoding="utf-8")
    for detail in ((), ("-v",), ("-q",)):
        lines = detector("diff", "1", str(tmp_path / "hostile.json"), "--history", two_runs, *detail).stdout
        assert all(line.isprintable() and not line.startswith("Nothing") for line in lines.split("\n"))


def test_dossier(two_runs: str, tmp_path: Path) -> None:
    """What is known of one place, as JSON and as a page."""
    done = detector("dossier", "--history", two_runs, "--vantage", "hall", "--format", "json")
    assert done.returncode == 0
    reported = json.loads(done.stdout)
    assert [who["issuer"] for who in reported["interceptors"]] == ["CN=mitmproxy"]
    assert reported["gaps"]
    page = tmp_path / "dossier.html"
    assert detector("dossier", "--history", two_runs, "--vantage", "hall", "--output", str(page)).returncode == 0
    assert "What was tried to disprove it" in page.read_text("utf-8")
    assert "Nothing is known of nowhere." in detector("dossier", "--history", two_runs, "--vantage", "nowhere").stdout


def test_scan_is_kept(tmp_path: Path) -> None:
    """A scan is one run with all its results."""
    place = str(tmp_path / "history.sqlite")
    detector("scan", "--network", "127.0.0.0/29", "--port", "1", "--retries", "0", "--history", place)
    (run,) = [
        json.loads(line) for line in detector("history", "--history", place, "--format", "jsonl").stdout.splitlines()
    ]
    assert (run["kind"], run["endpoints"], run["verdict"]) == ("scan", 6, "inconclusive")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("history",), "DETECTOR_HISTORY"),
        (("history", "--history", "postgresql://u:hunter2@127.0.0.1:1/x"), "cannot be opened"),
        (("diff", "no-such-file.json", "1"), "no-such-file.json: cannot be read"),
        (("diff", "1", "2"), "No history was named"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(arguments: tuple[str, ...], said: str) -> None:
    """Whatever is wrong is said in one sentence that names it, without traceback or password."""
    done = detector(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("command", [("check",), ("scan", "--retries", "0"), ("watch", "--duration", "0.3")])
def test_a_server_that_does_not_answer_costs_no_verdict(command: tuple[str, ...]) -> None:
    """The result comes without what the history knows; one sentence says so, without traceback or password."""
    url = "postgresql://u:hunter2@127.0.0.1:1/x"
    done = detector(*command, "127.0.0.1:1", "--offline", "--proxy", "none", "--history", url)
    assert done.returncode == 3
    assert done.stdout
    assert done.stderr.count("Warning: --history: The history postgresql") == 1
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_no_report_is_a_report(tmp_path: Path) -> None:
    """A file that holds something else is refused by name."""
    for content in (b"", b"{}", b"[" * 100_000, b"\xff"):
        (tmp_path / "x.json").write_bytes(content)
        done = detector("diff", str(tmp_path / "x.json"), str(tmp_path / "x.json"))
        assert done.returncode == 2
        assert "x.json: is not a JSON report." in done.stderr


def test_default_place(tmp_path: Path) -> None:
    """`default` is made in the user's own data directory."""
    done = detector(
        "check",
        "127.0.0.1:1",
        "--offline",
        "--history",
        "default",
        XDG_DATA_HOME=str(tmp_path),
        HOME=str(tmp_path),
        LOCALAPPDATA=str(tmp_path),
    )
    assert done.returncode == 3
    assert [p.name for p in tmp_path.rglob("history.sqlite")] == ["history.sqlite"]


def test_what_was_genuine_before_is_expected(recorded: Path, pki: PrivatePKI, tmp_path: Path) -> None:
    """Four commands know from a history that an endpoint had a genuine certificate; watch and gate write nothing."""
    history = str(shutil.copy(recorded / "history.sqlite", tmp_path))
    lists = ("--roots", str(recorded / "roots.pem"), "--ct-logs", str(recorded / "logs.json"), "--offline")
    (tmp_path / "bare.toml").write_text(f'schema = 1\n[[endpoint]]\nhost = "{EXAM}"\n', encoding="utf-8")
    with in_thread(serve_middlebox(pki.private_ca("Another CA"))) as box:
        words = (*lists, "--pins", str(tmp_path / "bare.toml"), "--proxy", f"http://127.0.0.1:{box.port}")
        for command in (
            ("check", "--format", "jsonl"),
            ("scan", "--format", "jsonl"),
            ("watch", "--format", "jsonl", "--duration", "1.5"),
            ("exam", "gate", "--bundle", str(tmp_path / "evidence.json")),
        ):
            before = len(listed(DETECTOR_HISTORY=history))
            for given, expected in (
                ((), "private-chain"),
                (("--history", history), "identity-substituted"),
            ):
                done = detector(*command, *words, *given)
                text = (tmp_path / "evidence.json").read_text("utf-8") if command[0] == "exam" else done.stdout
                assert f'"reason":"{expected}"' in text.replace("\\", ""), (command, text, done.stderr)
            added = len(listed(DETECTOR_HISTORY=history)) - before
            assert added == (1 if command[0] in {"check", "scan"} else 0)


def test_in_processes_of_their_own(two_runs: str) -> None:
    """What a shell gets of the two commands: the list, and the exit code of a change for the worse."""
    listing = run_process("history", "--history", two_runs)
    assert (listing.returncode, len(listing.stdout.splitlines()), listing.stderr) == (0, 2, "")
    assert run_process("diff", "1", "2", "--history", two_runs).returncode == 1
