"""A real scheduler and real workers, each a process of its own, over mutual TLS on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import detector
from detector.fleet import certificates
from detector.testing import serve_middlebox, serve_origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.testing import PrivatePKI

EXAM, LMS = "exam.example.edu", "lms.example.org"
SCAN = (sys.executable, "-m", "detector", "fleet", "scan")
INHERITED = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}


class Fleet:
    """A scheduler, and workers started and ended one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *words: str, told: str, **environment: str) -> subprocess.Popen[str]:
        """Start one part and wait until it says that it runs."""
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "detector", "fleet", *words, "--tls", str(self.folder)],
            stderr=subprocess.PIPE,
            text=True,
            env=INHERITED | environment,
        )
        self._running.append(process)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if told in line:
                # What it says from now on must be read, or it would wait for somebody who does.
                threading.Thread(target=process.stderr.read, daemon=True).start()
                self.address = self.address or line.strip()
                return process
        raise AssertionError("".join(said))

    def worker(self, vantage: str, **environment: str) -> subprocess.Popen[str]:
        """Start a worker."""
        words = ("worker", "--scheduler", self.address, "--vantage", vantage, "--host", "127.0.0.1")
        return self.start(*words, told="looks from", **environment)

    async def scan(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a scan over the fleet."""
        return await asyncio.to_thread(
            subprocess.run,
            [*SCAN, "--tls", str(self.folder), "--scheduler", self.address, *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=INHERITED | environment,
        )

    def end(self) -> None:
        """End everything."""
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()
            if process.stderr is not None:
                with contextlib.suppress(ValueError):
                    process.stderr.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    folder = tmp_path / "tls"
    certificates.write(folder, hosts=["127.0.0.1"], now=dt.datetime.now(dt.UTC))
    parts = Fleet(folder)
    try:
        parts.start("scheduler", "--host", "127.0.0.1", "--port", "0", told="tls://")
        yield parts
    finally:
        parts.end()


@pytest.fixture
def trust(pki: PrivatePKI, tmp_path: Path) -> tuple[str, ...]:
    """What the scan judges by."""
    (tmp_path / "roots.pem").write_bytes(pki.roots_pem())
    (tmp_path / "logs.json").write_bytes(pki.ct_log_list_json())
    return "--roots", str(tmp_path / "roots.pem"), "--ct-logs", str(tmp_path / "logs.json")


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.lab
async def test_one_vantage_behind_an_interceptor(
    fleet: Fleet, trust: tuple[str, ...], pki: PrivatePKI, tmp_path: Path
) -> None:
    """Every vantage looks at every target; the one behind an interceptor is told apart, on one page too."""
    hosts = (EXAM, LMS)
    async with serve_origin([pki.issue([host]) for host in hosts]) as origin:
        upstream = {(host, 443): origin.address for host in hosts}
        async with serve_middlebox(pki.private_ca("Campus CA"), upstream=upstream) as box:
            pins = tmp_path / "pins.toml"
            where = f"127.0.0.1:{origin.port}"
            # One origin serves both certificates in turn, so that each host has a server of its own.
            async with serve_origin(pki.issue([EXAM])) as exam, serve_origin(pki.issue([LMS])) as lms:
                pins.write_text(
                    'schema = 1\nname = "t"\n'
                    + "".join(
                        f'[[endpoint]]\nhost = "{host}"\naddress = "127.0.0.1:{server.port}"\n'
                        for host, server in ((EXAM, exam), (LMS, lms))
                    ),
                    "utf-8",
                )
                for vantage in ("library", "hall"):
                    await asyncio.to_thread(fleet.worker, vantage)
                done = await fleet.scan(*trust, "--pins", str(pins), "--proxy", "none")
                assert done.returncode == 0, done.stderr
                seen = {(line["vantage"], line["result"]["endpoint"]["host"]): line["result"] for line in lines(done)}
                assert {place for place, _ in seen} == {"library", "hall"}
                assert {result["verdict"] for result in seen.values()} == {"clean"}
            await asyncio.to_thread(fleet.worker, "dorm", HTTPS_PROXY=f"http://127.0.0.1:{box.port}")
            page = tmp_path / "page.html"
            words = (EXAM, LMS, *trust, "--vantage", "dorm", "--timeout", "5")
            done = await fleet.scan(*words)
            assert done.returncode == 1, done.stderr
            assert {line["result"]["verdict"] for line in lines(done)} == {"middleware"}
            assert where not in done.stdout
            done = await fleet.scan(*words, "--format", "html", "--output", str(page))
            assert "Campus CA" in page.read_text("utf-8")


@pytest.mark.lab
async def test_killed_worker_loses_no_target(fleet: Fleet, trust: tuple[str, ...], tmp_path: Path) -> None:
    """A worker killed mid-scan gives its targets back: each is looked at, and told once."""
    workers = [await asyncio.to_thread(fleet.worker, vantage) for vantage in ("a", "b", "c")]
    held = asyncio.Event()
    connections = 0

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 40:
            held.set()
        await reader.read()
        writer.close()

    total = 200
    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        targets = tmp_path / "targets.txt"
        targets.write_text("".join(f"127.0.0.1:{port}\n" for _ in range(total)), "utf-8")
        scanning = asyncio.create_task(
            fleet.scan("--targets", str(targets), *trust, "--mode", "spread", "--timeout", "1", "--proxy", "none")
        )
        await held.wait()
        workers[0].kill()
        done = await scanning
    assert done.returncode == 3, done.stderr
    assert Counter(line["result"]["number"] for line in lines(done)) == dict.fromkeys(range(total), 1)


@pytest.mark.lab
async def test_lost_vantage_is_told(fleet: Fleet, trust: tuple[str, ...], tmp_path: Path) -> None:
    """A vantage whose only worker is gone has its targets told as not looked at; none is left out."""
    worker = await asyncio.to_thread(fleet.worker, "lost")
    await asyncio.to_thread(fleet.worker, "stays")
    begun = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        targets = tmp_path / "targets.txt"
        targets.write_text("".join(f"127.0.0.1:{port}\n" for _ in range(64)), "utf-8")
        words = ("--targets", str(targets), *trust, "--timeout", "2", "--lost-after", "2", "--proxy", "none")
        scanning = asyncio.create_task(fleet.scan(*words))
        await begun.wait()
        worker.kill()
        done = await scanning
    told = Counter((line["vantage"], line["result"]["number"]) for line in lines(done))
    assert told == dict.fromkeys(((v, n) for v in ("lost", "stays") for n in range(64)), 1)
    outcomes = {line["result"]["observation"]["outcome"] for line in lines(done) if line["vantage"] == "lost"}
    assert "resources" in outcomes


@pytest.mark.lab
async def test_another_program_gets_no_work(fleet: Fleet, trust: tuple[str, ...], tmp_path: Path) -> None:
    """A worker whose program was changed is refused by name, and the scan goes on without it."""
    package = Path(detector.__file__).parent
    shutil.copytree(package, tmp_path / "other" / "detector")
    with (tmp_path / "other" / "detector" / "verdict.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    await asyncio.to_thread(fleet.worker, "honest")
    await asyncio.to_thread(fleet.worker, "changed", PYTHONPATH=str(tmp_path / "other"))
    done = await fleet.scan("127.0.0.1:1", *trust, "--proxy", "none")
    assert {line["vantage"] for line in lines(done)} == {"honest"}
    assert "its program differs from this one" in done.stderr
    assert (await fleet.scan("127.0.0.1:1", *trust, "--vantage", "changed")).returncode == 2


@pytest.mark.lab
async def test_stranger_cannot_join_or_ask(fleet: Fleet, trust: tuple[str, ...], tmp_path: Path) -> None:
    """Certificates of another CA open nothing: one sentence, exit 2, no traceback."""
    certificates.write(tmp_path / "strange", hosts=["127.0.0.1"], now=dt.datetime.now(dt.UTC))
    done = await fleet.scan("127.0.0.1:1", *trust, "--tls", str(tmp_path / "strange"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    done = await fleet.scan("127.0.0.1:1", *trust)
    assert done.returncode == 2
    assert "nobody who can work" in done.stderr
