"""`detector scan` as people use it: files, pipes, bad lines, kill -9, Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from detector_testing import serve_middlebox, serve_origin
from hypothesis import given
from hypothesis import strategies as st
from support.command import Done, clean_environment, in_thread, run, run_process
from support.results import result, stating

from detector.cli.scan import Tally
from detector.history.store import History
from detector.judge.network import decide_network
from detector.model import Category, Confidence, Reason, Result, Verdict, encode
from detector.scan import Replaced, Scanned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from detector_testing import PrivatePKI


def detector(*arguments: str, stdin: bytes = b"") -> Done:
    return run("scan", *arguments, stdin=stdin)


@contextlib.contextmanager
def closing_server() -> Iterator[tuple[int, list[int]]]:
    """A port that closes every connection after a moment, and counts them."""
    count = [0]
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        server.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    count[0] += 1
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], count
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("run_it", [run, run_process])
def test_targets_from_everywhere(run_it: Callable[..., Done], tmp_path: Path) -> None:
    """Arguments, files, tables, networks and stdin make one scan; bad lines are reported and skipped."""
    (tmp_path / "list.txt").write_text("127.0.0.1:1\nnot a host\n", "utf-8")
    (tmp_path / "table.csv").write_text("host,port\nlocalhost,1\n", "utf-8")
    done = run_it(
        *("scan", "127.0.0.3:1"),
        *("--targets", str(tmp_path / "list.txt"), "--targets", str(tmp_path / "table.csv"), "--targets", "-"),
        *("--network", "127.0.0.8/30", "--port", "1", "--format", "jsonl", "--retries", "0"),
        stdin=b"127.0.0.2:1\n",
    )
    hosts = [json.loads(line)["endpoint"]["host"] for line in done.stdout.splitlines()]
    assert sorted(hosts) == ["127.0.0.1", "127.0.0.10", "127.0.0.2", "127.0.0.3", "127.0.0.9", "localhost"]
    assert "list.txt:2: 'not a host' contains blanks." in done.stderr
    assert "Scanned 6 targets" in done.stderr
    assert "1 lines were not targets." in done.stderr
    assert done.returncode == 3


def test_strict_stops_at_the_first_bad_line(tmp_path: Path) -> None:
    """With --strict a bad line ends the scan with one sentence and exit 2."""
    (tmp_path / "list.txt").write_text("not a host\n127.0.0.1:1\n", "utf-8")
    done = detector("--targets", str(tmp_path / "list.txt"), "--strict")
    assert done.returncode == 2
    assert "list.txt:1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [("exam.example.edu\n".encode("utf-16"), "UTF-16"), (None, "cannot be read")],
)
def test_unusable_files(content: bytes | None, said: str, tmp_path: Path) -> None:
    """A file that is no text in UTF-8, or is not there, is refused in one sentence."""
    file = tmp_path / "targets.txt"
    if content is not None:
        file.write_bytes(content)
    done = detector("--targets", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_resume_needs_an_output() -> None:
    """Without an output there is nothing to go on from."""
    done = detector("127.0.0.1:1", "--resume", "state")
    assert done.returncode == 2
    assert "--output" in done.stderr


def test_csv_lines(tmp_path: Path) -> None:
    """CSV has a header and one line a target."""
    output = tmp_path / "out.csv"
    done = detector("127.0.0.1:1", "--format", "csv", "--output", str(output), "--retries", "0")
    assert (done.returncode, done.stdout) == (3, "")
    header, line = output.read_text("utf-8").splitlines()
    assert header.startswith("time,vantage,host")
    assert ",127.0.0.1,1,other,inconclusive," in line


def test_killed_scan_goes_on(tmp_path: Path) -> None:
    """After kill -9 the same command completes the output: a line for every target, and none is asked for twice."""
    state, output = tmp_path / "state", tmp_path / "out.jsonl"
    total = 300
    with closing_server() as (port, count):
        (tmp_path / "list.txt").write_text("".join(f"127.0.1.{n % 250 + 1}:{port}\n" for n in range(total)), "utf-8")
        words = ["--targets", str(tmp_path / "list.txt"), "--resume", str(state), "--output", str(output)]
        words += ["--format", "jsonl", "--retries", "0", "--concurrency", "4"]
        rules = [r for n in range(1, 251) for r in ("--connect-to", f"127.0.1.{n}:{port}:127.0.0.1:{port}")]
        process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
            [sys.executable, "-m", "detector", "scan", *words, *rules, "--rate", "150"], env=clean_environment()
        )
        while not output.exists() or output.read_bytes().count(b"\n") < 20:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        before = output.read_bytes().count(b"\n")
        asked = count[0]
        done = detector(*words, *rules)
    found = [json.loads(line)["number"] for line in output.read_text("utf-8").splitlines()]
    assert sorted(found) == list(range(total))
    assert 20 <= before < total
    assert f"Continuing: {before} targets are done." in done.stderr
    assert (count[0] - asked) == 2 * (total - before)  # a connection that closes is tried once more by the probe


def test_output_that_was_edited_is_refused(tmp_path: Path) -> None:
    """What cannot be counted is not passed over: one sentence names the line."""
    state, output = tmp_path / "state", tmp_path / "out.jsonl"
    words = ("127.0.0.1:1", "--retries", "0", "--format", "jsonl", "--resume", str(state), "--output", str(output))
    assert detector(*words).returncode == 3
    output.write_bytes(b"x" * (output.stat().st_size - 1) + b"\n")
    done = detector(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 1 is not a result of a scan" in done.stderr


@contextlib.asynccontextmanager
async def a_filter_with_an_exception(pki: PrivatePKI, hosts: Sequence[str]) -> AsyncIterator[int]:
    """The port of a proxy that intercepts all of these hosts but the last, with one key for all."""
    async with serve_origin({host: pki.issue([host]) for host in hosts}) as origin:
        upstream = {(host, 443): origin.address for host in hosts}
        ca = pki.private_ca("Filter CA", one_leaf_key=True)
        async with serve_middlebox(ca, upstream=upstream, except_hosts={hosts[-1]}) as box:
            yield box.port


def test_what_was_found_before_the_kill_counts_after_it(pki: PrivatePKI, tmp_path: Path) -> None:
    """A scan that goes on covers all of its targets: exit code, sentence and history know what came before."""
    written = pki.write(tmp_path)
    state, output, kept = (str(tmp_path / name) for name in ("state", "out.jsonl", "history.sqlite"))
    hosts = ("exam.example.edu", "lms.example.org", "clean.example.net")
    with in_thread(a_filter_with_an_exception(pki, hosts)) as port:
        words = [*hosts, "--roots", str(written.roots), "--ct-logs", str(written.ct_logs)]
        words += stating(tmp_path, hosts[1])  # what it shows proves the first, too
        words += ["--proxy", f"http://127.0.0.1:{port}", "--format", "jsonl", "--concurrency", "1", "--offline"]
        words += ["--output", output, "--resume", state, "--history", kept]
        whole = detector(*words)
        lines = (tmp_path / "out.jsonl").read_bytes().splitlines(keepends=True)
        assert [json.loads(line)["number"] for line in lines] == [0, 1, 0, 2]
        # As if it had been killed before the last target: the output ends there, and so does the state.
        (tmp_path / "out.jsonl").write_bytes(b"".join(lines[:3]))
        checkpoint = json.loads((tmp_path / "state").read_bytes())
        checkpoint |= {"output_bytes": sum(map(len, lines[:3])), "done_below": 2, "done": []}
        (tmp_path / "state").write_text(json.dumps(checkpoint))
        again = detector(*words)
    assert whole.returncode == again.returncode == 1, again.stderr
    assert "Scanned 3 targets in" in whole.stderr
    assert "Scanned 3 targets, 2 of them before, in" in again.stderr
    for done in (whole, again):
        assert "2 intercepted, 1 clean." in done.stderr
    with History(kept) as history:
        runs = history.runs()
        assert {(run.verdict, run.confidence, run.endpoints) for run in runs} == {("middleware", "proven", 3)}
        head = history.load(runs[0].id)
    assert (head.scope, head.coverage[Category.OTHER]) == ("selective", "mixed")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child alone")
def test_ctrl_c_leaves_whole_lines(tmp_path: Path) -> None:
    """Ctrl-C ends with 130, says what was done, and every line of the output is whole."""
    output = tmp_path / "out.jsonl"
    with closing_server() as (port, _):
        process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
            [
                *(sys.executable, "-m", "detector", "scan", "--network", "127.0.0.0/16", "--port", str(port)),
                *("--format", "jsonl", "--output", str(output), "--rate", "100", "--retries", "0"),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        while not output.exists() or output.read_bytes().count(b"\n") < 5:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted after" in errors
    assert "Traceback" not in errors
    assert all(json.loads(line)["verdict"] == "inconclusive" for line in output.read_text("utf-8").splitlines())


ENDPOINTS = {"exam.example.edu": Category.EXAM, "lms.example.org": Category.LMS, "search.example.com": Category.SEARCH}
SAID = [
    *((Verdict.MIDDLEWARE, confidence) for confidence in Confidence),
    (Verdict.CLEAN, None),
    (Verdict.INCONCLUSIVE, None),
]


def scanned(host: str, said: tuple[Verdict, Confidence | None], before: Scanned | None, *, named: bool) -> Scanned:
    """A result of a scan, in the place of an earlier one."""
    made = result(host, said[0], Reason.LOGGED, confidence=said[1], category=ENDPOINTS[host])
    replaces = None if before is None else Replaced(verdict=before.verdict, confidence=before.confidence)
    fields = {field: getattr(made, field) for field in Result.__struct_fields__} | {"amends": before is not None}
    return Scanned(**{**fields, "named": named}, number=0, replaces=replaces)


@given(
    st.lists(st.tuples(st.sampled_from(["hall", "library"]), st.sampled_from(list(ENDPOINTS)), st.sampled_from(SAID))),
    st.sets(st.sampled_from(list(ENDPOINTS))),
)
def test_a_count_is_the_verdict_on_what_was_said_last(
    stream: list[tuple[str, str, tuple[Verdict, Confidence | None]]], named: set[str]
) -> None:
    """However often results are amended, counting them as they come gives what `decide_network` says of the last.

    Of several vantages each is a network of its own, and the gravest decides.
    """
    tally, last = Tally(strict=False), dict[tuple[str, str], Scanned]()
    for vantage, host, said in stream:
        found = scanned(host, said, last.get((vantage, host)), named=host in named)
        last[vantage, host] = found
        # A scan that goes on reads back what it wrote.
        read = msgspec.json.decode(encode(found), type=Scanned)
        tally.add(read if len(stream) % 2 else found, vantage=vantage)
    names = {f"{host}:443" for host in named}
    networks = [
        decide_network([found for (place, _), found in last.items() if place == vantage], named=names)
        for vantage in {place for place, _ in last}
    ]
    order = [None, *Confidence]
    gravest = max(
        networks,
        key=lambda found: (found.verdict is not Verdict.CLEAN, order.index(found.confidence)),
        default=decide_network(()),
    )
    assert (tally.decision().verdict, tally.decision().confidence) == (gravest.verdict, gravest.confidence)
    if len(networks) == 1:
        assert tally.decision() == gravest
    assert tally.total == len(last)


def test_scan_says_of_a_network_what_check_says(pki: PrivatePKI, tmp_path: Path) -> None:
    """One pin file, one verdict: what was named, or is an exam, must not be inconclusive; other endpoints may be."""
    written = pki.write(tmp_path)
    trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--offline")
    up, down = "exam.example.edu", "down.example.net"
    with in_thread(serve_origin(pki.issue([up]))) as origin:
        rules = ("--connect-to", f"{up}:443:127.0.0.1:{origin.port}", "--connect-to", f"{down}:443:127.0.0.1:1")
        (tmp_path / "targets.txt").write_text(f"{up}\n{down}\n", "utf-8")

        def codes(category: str, targets: tuple[str, ...], listed: tuple[str, ...]) -> list[int]:
            pins = tmp_path / f"{category}.toml"
            pins.write_text(
                f'schema = 1\nname = "t"\n[[endpoint]]\nhost = "{up}"\n'
                f'[[endpoint]]\nhost = "{down}"\ncategory = "{category}"\n',
                "utf-8",
            )
            words = ("--pins", str(pins), *trust, *rules, "--proxy", "none")
            commands = (("check", *targets), ("scan", *listed, "--retries", "0"))
            return [run(*command, *words).returncode for command in commands]

        assert codes("other", (), ()) == [0, 0]
        assert codes("exam", (), ()) == [3, 3]
        assert codes("other", (up, down), (up, down)) == [3, 3]
        assert codes("other", (up, down), ("--targets", str(tmp_path / "targets.txt"))) == [3, 3]
        assert codes("other", (up,), (up,)) == [0, 0]
