"""A scan whose probes run in several processes: the same results, none lost whatever dies, nothing left running."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
from detector_testing import serve_middlebox, serve_origin
from detector_testing.streams import Listener, listen

from detector import Detector
from detector.errors import InputError
from detector.model import Endpoint, Outcome
from detector.scan import Target, processes, scan
from detector.scan.processes import WorkerPool
from detector.scan.work import WorkerConfig
from detector.session.stream import StreamSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from conftest import World
    from detector_testing import PrivatePKI
    from detector_testing.streams import PlainStream

    from detector.scan import Scanned

    Settings = Callable[..., dict[str, Any]]

LOOPBACK = "127.0.0.1"
EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
QUICK = StreamSettings(concurrency=8, retries=0, timeout=5.0)


class Silent(Listener):
    """A server that takes connections and says nothing; `connected` counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = 0
        self.changed = asyncio.Condition()

    async def serve(self, stream: PlainStream) -> None:
        async with self.changed:
            self.connected += 1
            self.changed.notify_all()
        while await stream.read():
            pass

    async def has(self, connections: int) -> None:
        """Wait for so many."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.connected >= connections)


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[Silent]:
    server = Silent()
    async with listen(server.serve, server):
        yield server


def identifiers_of(running: WorkerPool) -> list[int]:
    return [worker.process.pid for worker in running._workers if worker is not None]


def pool(detector: Detector, count: int = 2) -> WorkerPool:
    network = msgspec.structs.replace(detector.network, offline=True)
    return WorkerPool(count, WorkerConfig(network=network, c_ares=False))


async def collect(detector: Detector, targets: list[Target], running: WorkerPool, **how: Any) -> list[Scanned]:  # noqa: ANN401 - settings
    settings = StreamSettings(**{"concurrency": 8, "retries": 0, "timeout": 5.0, **how})
    return [found async for found in scan(detector, targets, settings=settings, probe=running.probe)]


async def test_as_with_one_process(world: World, pki: PrivatePKI, settings_of: Settings) -> None:
    """Two processes find what one finds: clean where it is, and an interceptor across what they saw apart."""
    hosts = (EXAM, LMS, SEARCH)
    async with serve_origin({host: pki.issue([host]) for host in hosts}) as origin:
        upstream = {(host, 443): origin.address for host in hosts}
        targets = [Target(Endpoint(host=host), "x") for host in hosts * 4]
        stated = Endpoint(host=LMS, roots=tuple(world.roots.labels))
        detector = Detector(**settings_of(stated, resolve={(host, 443): origin.address for host in hosts}))
        async with pool(detector) as running:
            honest = await collect(detector, targets, running)
            assert len(set(identifiers_of(running))) == 2
        async with (
            serve_middlebox(pki.private_ca("Filter CA", one_leaf_key=True), upstream=upstream) as box,
            pool(proxied := Detector(**settings_of(stated, proxy=f"http://{LOOPBACK}:{box.port}"))) as running,
        ):
            detector = proxied
            intercepted = await collect(detector, targets, running)
    assert Counter(f.number for f in honest) == dict.fromkeys(range(12), 1)
    assert {f.verdict for f in honest} == {"clean"}
    last = {f.number: f for f in intercepted}
    assert sorted(last) == list(range(12))
    assert {(f.verdict, f.confidence) for f in last.values()} == {("middleware", "proven")}


async def test_results_come_in_order_of_completion(settings_of: Settings) -> None:
    """A target that takes its time holds back none that come after it, in whichever process they are probed."""
    detector = Detector(**settings_of())
    async with silent() as server, pool(detector, 2) as running:
        ports = (server.port, *[1] * 9)
        targets = [Target(Endpoint(host=LOOPBACK, port=port), "x") for port in ports]
        found = await collect(detector, targets, running, timeout=3.0)
    assert found[-1].number == 0
    assert {f.number for f in found[:-1]} == set(range(1, 10))
    assert {f.observation.outcome for f in found[:-1]} == {Outcome.CONNECT_REFUSED}


async def test_a_killed_child_loses_no_target(settings_of: Settings) -> None:
    """When a worker is killed with targets in hand, the others probe them, and it is started again."""
    detector = Detector(**settings_of())
    async with silent() as server, pool(detector, 2) as running:
        targets = [Target(Endpoint(host=LOOPBACK, port=server.port), "x") for _ in range(40)]
        scanning = asyncio.create_task(collect(detector, targets, running, timeout=0.5))
        await server.has(8)
        before = identifiers_of(running)
        os.kill(before[0], signal.SIGKILL)
        found = await scanning
        after = identifiers_of(running)
    assert Counter(f.number for f in found) == dict.fromkeys(range(40), 1)
    assert {f.observation.outcome for f in found} == {Outcome.DEADLINE}
    assert before[0] not in after
    assert len(after) == 2


async def test_targets_that_children_die_of(settings_of: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can run, each target is reported as not probed, and the scan ends."""
    monkeypatch.setattr(processes, "child_command", lambda _: ["/bin/false"])
    detector = Detector(**settings_of())
    async with pool(detector, 2) as running:
        found = await collect(detector, [Target(Endpoint(host=LOOPBACK, port=1), "x") for _ in range(20)], running)
    assert Counter(f.number for f in found) == dict.fromkeys(range(20), 1)
    assert {(f.verdict, f.observation.outcome) for f in found} == {("inconclusive", Outcome.RESOURCES)}


async def test_a_proxy_that_cannot_be_used_ends_the_scan(
    settings_of: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, as with one process: a worker says why it cannot probe."""
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://[proxy")
    monkeypatch.setenv("NO_PROXY", "")
    detector = Detector(**settings_of(proxy="env"))
    async with asyncio.timeout(60), pool(detector) as running:
        with pytest.raises(InputError, match="HTTPS_PROXY in the environment"):
            await collect(detector, [Target(Endpoint(host=EXAM), "x") for _ in range(20)], running)


async def test_what_cannot_be_started(settings_of: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not there is said before anything is scanned."""
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(processes.ProcessError, match="cannot be started"):
        async with pool(Detector(**settings_of())):
            pytest.fail("nothing runs")


async def test_nonsense_from_a_child(settings_of: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker that writes something else is killed, and its target is reported."""
    program = tmp_path / "program"
    program.write_text(
        '#!/bin/sh\nread request\necho \'{"type": "response", "number": 1, "probed": 5}\'\nread more\n', "utf-8"
    )
    program.chmod(0o700)
    monkeypatch.setattr(processes, "child_command", lambda _: [str(program)])
    detector = Detector(**settings_of())
    async with pool(detector, 1) as running:
        (found,) = await collect(detector, [Target(Endpoint(host=LOOPBACK, port=1), "x")], running)
    assert found.observation.outcome is Outcome.RESOURCES


@pytest.mark.parametrize("limit", ["GRACE_SECONDS", "SILENT_TICKS", "START_TICKS"])
async def test_a_child_that_does_not_answer(
    limit: str, settings_of: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stopped worker is killed after its time or for its silence, and its targets go to another, without a word."""
    for name in ("GRACE_SECONDS", "SILENT_TICKS", "START_TICKS"):
        monkeypatch.setattr(processes, name, 1 if name == limit else 10**6)
    detector = Detector(**settings_of())
    async with pool(detector, 1) as running:
        if limit == "SILENT_TICKS":  # it has been heard of
            await running.probe(Endpoint(host=LOOPBACK, port=1), timeout=2.0)
        stopped = identifiers_of(running)[0]
        os.kill(stopped, signal.SIGSTOP)
        seen = await running.probe(Endpoint(host=LOOPBACK, port=1), timeout=2.0)
    assert seen[0].outcome in {Outcome.CONNECT_REFUSED, Outcome.RESOURCES}
    assert not psutil.pid_exists(stopped)
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_children_that_end_by_themselves(
    settings_of: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio gets the exit code of each, and does not report an unknown child process."""
    monkeypatch.setattr(processes, "child_command", lambda _: ["/bin/false"])
    async with pool(Detector(**settings_of()), 8) as running:
        await asyncio.gather(*(running.probe(Endpoint(host=LOOPBACK, port=1), timeout=1.0) for _ in range(8)))
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_nothing_is_left(settings_of: Settings) -> None:
    """Breaking off ends every process."""
    detector = Detector(**settings_of())
    async with silent() as server:
        async with pool(detector, 2) as running:
            targets = [Target(Endpoint(host=LOOPBACK, port=server.port), "x") for _ in range(40)]
            before = identifiers_of(running)
            results = scan(detector, targets, settings=QUICK, probe=running.probe)
            reading = asyncio.create_task(anext(results))
            await server.has(8)
            reading.cancel()
            await asyncio.wait([reading])
            await results.aclose()
        assert [pid for pid in before if psutil.pid_exists(pid)] == []


class Command:
    """`detector scan` with two processes, writing lines to a file with a state next to it."""

    def __init__(self, folder: Path, port: int, count: int, *words: str) -> None:
        (folder / "targets.txt").write_text(f"{LOOPBACK}:{port}\n" * count, "utf-8")
        self.output = folder / "out.jsonl"
        self.words = (
            *(sys.executable, "-m", "detector", "scan", "--targets", str(folder / "targets.txt"), "--processes", "2"),
            *("--proxy", "none", "--format", "jsonl", "--output", str(self.output), "--resume", str(folder / "state")),
            *("--timeout", "0.5", "--retries", "0", "--concurrency", "8", "--no-progress", *words),
        )

    async def start(self) -> asyncio.subprocess.Process:
        """Start it."""
        return await asyncio.create_subprocess_exec(*self.words, stderr=subprocess.PIPE)

    def numbers(self) -> Counter[int]:
        """The targets that have a result."""
        return Counter(json.loads(line)["number"] for line in self.output.read_text("utf-8").splitlines())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_ended_and_resumed(tmp_path: Path, how: signal.Signals) -> None:
    """Ended by Ctrl-C or killed: the workers end, and the same command does the rest, none lost and none twice."""
    async with silent() as server:
        command = Command(tmp_path, server.port, 60)
        first = await command.start()
        await server.has(24)
        children = psutil.Process(first.pid).children()
        assert len(children) == 2
        first.send_signal(how)
        _, said = await first.communicate()
        await asyncio.to_thread(psutil.wait_procs, children, timeout=30)
        assert [child.pid for child in children if child.is_running()] == []
        if how is signal.SIGINT:
            assert first.returncode == 130
            assert "Interrupted after" in said.decode()
            assert "Traceback" not in said.decode()
        assert 0 < command.numbers().total() < 60
        again = await command.start()
        await again.communicate()
    assert again.returncode == 3
    assert command.numbers() == dict.fromkeys(range(60), 1)


async def test_a_frozen_application_starts_no_process(settings_of: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would start itself; it says so before anything is probed."""

    async def no_process(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_process)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    async with Detector(**settings_of()) as subject:
        with pytest.raises(processes.ProcessError, match="this is a frozen application") as refused:
            await pool(subject).__aenter__()
    assert "Leave out --processes" in refused.value.advice


async def test_strict(tmp_path: Path) -> None:
    """With --strict the first bad line ends all of it: one sentence, exit 2."""
    command = Command(tmp_path, 1, 1, "--strict")
    (tmp_path / "targets.txt").write_bytes(b"127.0.0.1:1\nno host\x00\n")
    running = await command.start()
    _, said = await running.communicate()
    assert running.returncode == 2
    assert "targets.txt:2" in said.decode().splitlines()[-1]
    assert "Traceback" not in said.decode()
