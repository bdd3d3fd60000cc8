"""`detector watch` as a person or a program meets it: real processes, signals, streams and exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from typing import IO, TYPE_CHECKING

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for one call here
import pytest
from detector_testing import Mode, serve_middlebox, serve_origin
from support.data_repository import DataRepository, shipped_parts

from detector.watch.events import watch_event_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from detector_testing import PrivatePKI

EXAM, LMS = "exam.example.edu", "lms.example.org"


class Town:
    """Servers for the processes of this module, kept in a thread of their own."""

    def __init__(self, pki: PrivatePKI, folder: Path) -> None:
        written = pki.write(folder)
        self.folder = folder
        self._pki = pki
        self._trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--offline")
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.honest: list[str] = []
        self.late: list[str] = []
        self.selective: list[str] = []
        self._loop: asyncio.AbstractEventLoop
        self._done: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            origin = await stack.enter_async_context(serve_origin(self._pki.issue([EXAM, LMS])))
            where = {(host, 443): origin.address for host in (EXAM, LMS)}
            late = serve_middlebox(self._pki.private_ca("Late CA"), mode=Mode.REVERSE, upstream=where, pass_first=2)
            box = await stack.enter_async_context(late)
            courses = serve_middlebox(
                self._pki.private_ca("Courses CA"), mode=Mode.REVERSE, upstream=where, only_hosts={LMS}
            )
            selective = await stack.enter_async_context(courses)
            for host in (EXAM, LMS):
                self.selective += ["--connect-to", f"{host}:443:127.0.0.1:{selective.port}"]
                self.honest += ["--connect-to", f"{host}:443:127.0.0.1:{origin.port}"]
                self.late += ["--connect-to", f"{host}:443:127.0.0.1:{box.port}"]
            self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await self._done.wait()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "detector", "watch", EXAM, LMS, "--proxy", "none", *self._trust, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(  # noqa: S603 - no shell; program and options are chosen here
            self.command(*arguments), capture_output=True, text=True, timeout=60, check=False, cwd=self.folder
        )

    @contextlib.contextmanager
    def start(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
        """Run until asked to end; gives the process and what it writes."""
        process = subprocess.Popen(  # noqa: S603 - no shell; program and options are chosen here
            self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder
        )
        try:
            assert process.stdout is not None
            yield process, process.stdout
        finally:
            process.kill()
            process.communicate()


def rest_of(process: subprocess.Popen[str], lines: IO[str]) -> tuple[str, str]:
    """What a process that ends still writes."""
    assert process.stderr is not None
    rest = lines.read(), process.stderr.read()
    process.wait(30)
    return rest


@pytest.fixture(scope="module")
def town(pki: PrivatePKI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Town(pki, tmp_path_factory.mktemp("town")) as town:
        yield town


def test_clean_to_the_end_is_exit_0(town: Town) -> None:
    """Nothing happened: two lines, and 0."""
    done = town.run("--duration", "2", "--interval", "1", *town.honest)
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert "Every endpoint has been probed" in first
    assert "The watch is over: the network is clean; 2 clean, 0 intercepted or uncertain, 0 not assessed." in last
    assert "\x1b" not in done.stdout


def test_updates_in_the_background(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch with --update installs a newer set, says so, and goes on; one that fails is a sentence alone."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    repository = DataRepository(shipped_parts())
    repository.write(tmp_path / "served")
    (tmp_path / "root.json").write_bytes(repository.first_root)
    updating = ("--update", "--update-every", "60", "--update-root", str(tmp_path / "root.json"))
    options = (*updating, "--update-from", str(tmp_path / "served"), "--interval", "1", *town.honest)
    for said in ("What is known was updated to set 1-", "The update of what is known failed: "):
        with town.start(*options) as (process, lines):
            assert process.stderr is not None
            assert "Every endpoint has been probed" in lines.readline()
            assert process.stderr.readline().startswith(said)
            process.send_signal(signal.SIGTERM)
            rest, _ = rest_of(process, lines)
        assert "the network is clean" in rest
        assert process.returncode == 0
        (tmp_path / "served" / "metadata" / "timestamp.json").write_bytes(b"{}")


def test_updates_that_cannot_be(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update without a repository, or from a server with --offline, is refused before the watch begins."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for options in ((), ("--update-from", "https://data.example.org/")):
        done = town.run("--update", *options, *town.honest)
        assert (done.returncode, done.stdout) == (2, "")
        assert ("--update" if options else "Name one: --update-from URL") in done.stderr
    for option in ("--update-from", "--update-root"):
        done = town.run(option, str(tmp_path), *town.honest)
        assert (done.returncode, "need --update" in done.stderr) == (2, True), done


def test_middleware_is_exit_1_and_every_line_an_event(town: Town) -> None:
    """A middlebox that wakes up later: JSON Lines that follow the schema, in order, and 1."""
    with town.start("--interval", "1", "--fail-on", "possible", "--format", "jsonl", "--vantage", "room 12",
                    *town.late) as (process, lines):  # fmt: skip
        events = [json.loads(lines.readline())]
        while events[-1]["kind"] != "appeared":  # each line is there when the event is, not when the process ends
            events.append(json.loads(lines.readline()))
        process.send_signal(signal.SIGTERM)
        rest, stderr = rest_of(process, lines)
    events += [json.loads(line) for line in rest.splitlines()]
    assert (process.returncode, stderr) == (1, "")
    for event in events:
        jsonschema.validate(event, watch_event_schema())
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["kind"] for event in events][:: len(events) - 1] == ["baseline", "ended"]
    appeared = next(event for event in events if event["kind"] == "appeared")
    assert appeared["before"]["verdict"] == "clean"
    assert appeared["after"]["issuer"] is None  # only possible: nobody is named
    assert "Late CA" not in appeared["summary"]
    assert appeared["result"]["observation"]["chain"][0]["der"]
    assert {event["vantage"] for event in events} == {"room 12"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child alone")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_the_user_exits_by_what_it_saw(number: signal.Signals, town: Town) -> None:
    """Ctrl-C and SIGTERM end a watch in order: the last event is written, and a clean watch is 0, not 130."""
    with town.start("--interval", "1", *town.honest) as (process, lines):
        assert "Every endpoint has been probed" in lines.readline()
        process.send_signal(number)
        rest, stderr = rest_of(process, lines)
    assert (process.returncode, stderr) == (0, "")
    assert "The watch is over" in rest


def test_ended_before_anything_was_seen_is_exit_3(town: Town) -> None:
    """A watch that assessed nothing clears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        where = [f"{host}:443:127.0.0.1:{port}" for host in (EXAM, LMS)]
        done = town.run("--duration", "1", *(word for rule in where for word in ("--connect-to", rule)))
    assert done.returncode == 3
    assert "2 not probed" in done.stdout


def test_middleware_below_fail_on_is_exit_3(town: Town) -> None:
    """What is only possible neither clears nor fails, unless that is asked for."""
    arguments = ("--duration", "0.5", *town.selective)
    done = town.run(*arguments)
    assert (done.returncode, "uncertain (possible)" in done.stdout) == (3, True)
    assert town.run(*arguments, "--fail-on", "possible").returncode == 1


def test_output_grows_as_events_come(town: Town, tmp_path: Path) -> None:
    """--output holds every event at once, and a second watch adds to it."""
    target = tmp_path / "events.jsonl"
    for times in (1, 2):
        done = town.run("--duration", "0.5", "--format", "jsonl", "--output", str(target), *town.honest)
        assert (done.returncode, done.stdout) == (0, "")
        kinds = [json.loads(line)["kind"] for line in target.read_text().splitlines()]
        assert kinds == ["baseline", "ended"] * times


def test_metrics_of_a_running_watch(town: Town) -> None:
    """--metrics PORT answers on loopback while the watch runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with town.start("--interval", "1", "--metrics", str(port), *town.honest) as (process, lines):
        assert "Every endpoint has been probed" in lines.readline()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        process.terminate()
        rest_of(process, lines)
    assert 'tls_detector_endpoint_verdict{endpoint="exam.example.edu:443",verdict="clean"} 1.0' in text
    assert 'tls_detector_events_total{kind="baseline"} 1.0' in text


def test_reader_that_goes_away(town: Town) -> None:
    """`detector watch … | head -1` ends quietly at the next event."""
    with town.start("--interval", "1", "--duration", "2", *town.honest) as (process, lines):
        assert "Every endpoint has been probed" in lines.readline()
        lines.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(30) == 141


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "json"), ("json", "jsonl")),
        (("--interval", "0"), ("--interval",)),
        (("--duration", "-1"), ("--duration",)),
        (("--metrics", "nowhere"), ("nowhere",)),
        (("--metrics", "99999"), ("99999",)),
        (("--output", "no/such/dir/events"), ("no/such/dir/events",)),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], words: tuple[str, ...], town: Town) -> None:
    """Bad usage is exit 2 and one message; nothing is written."""
    done = town.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words)


def test_missing_extra_is_exit_2(town: Town, tmp_path: Path) -> None:
    """Without prometheus-client, --metrics says what to install; without --metrics nobody misses it."""
    (tmp_path / "prometheus_client.py").write_text("raise ModuleNotFoundError('prometheus_client')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    results = [
        subprocess.run(  # noqa: S603 - no shell; program and options are chosen here
            town.command("--duration", "0.5", *more, *town.honest),
            capture_output=True, text=True, check=False, timeout=60, env=environment,
        )
        for more in (("--metrics", "9469"), ())
    ]  # fmt: skip
    assert [done.returncode for done in results] == [2, 0]
    assert "Install the extra 'metrics'" in results[0].stderr
    assert len(results[0].stderr.splitlines()) == 1
