"""A real scheduler and real workers, each a process of its own, over mutual TLS on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from detector_testing import serve_origin
from detector_testing.streams import Listener, listen
from support.fleet_parts import LOOPBACK, Fleet, lines, run

import detector
from detector import Detector, Endpoint
from detector.scan import Target
from detector.scan.fleet import certificates, coordinator
from detector.session.settings import NetworkSettings
from detector.session.stream import StreamSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import PrivatePKI
    from detector_testing.streams import PlainStream

EXAM = "exam.example.edu"
NOBODY = "127.0.0.1:1"


class Holding(Listener):
    """A server that takes connections and says nothing; `many` is set once there are enough."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.enough = enough
        self.many = asyncio.Event()

    async def serve(self, stream: PlainStream) -> None:
        if self.connections >= self.enough:
            self.many.set()
        while await stream.read():
            pass


@contextlib.asynccontextmanager
async def holding(enough: int) -> AsyncIterator[Holding]:
    held = Holding(enough)
    async with listen(held.serve, held):
        yield held


def many(folder: Path, port: int, count: int) -> tuple[str, str]:
    targets = folder / "targets.txt"
    targets.write_text(f"{LOOPBACK}:{port}\n" * count, "utf-8")
    return "--targets", str(targets)


async def test_killed_worker_loses_no_target(fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """A worker killed mid-scan gives its targets back: each is probed by another, and reported once."""
    workers = [await fleet.worker(vantage) for vantage in ("a", "b", "c")]
    async with holding(enough=96) as server:
        words = (
            *many(tmp_path, server.port, 300),
            *fleet_trust,
            "--mode",
            "spread",
            "--timeout",
            "1",
            "--retries",
            "0",
        )
        scanning = asyncio.create_task(fleet.scan(*words))
        await server.many.wait()
        await workers[0].kill()
        done = await scanning
    assert done.returncode == 3, done.stderr
    found = lines(done)
    assert Counter(line["result"]["number"] for line in found) == dict.fromkeys(range(300), 1)
    assert {line["result"]["observation"]["outcome"] for line in found} == {"deadline"}
    assert {line["vantage"] for line in found} <= {"a", "b", "c"}


async def test_lost_vantage_is_reported(fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """A vantage whose only worker is gone has its targets reported as not probed; none is left out."""
    lost, _ = await fleet.worker("lost"), await fleet.worker("stays")
    async with holding(enough=64) as server:
        words = (
            *many(tmp_path, server.port, 200),
            *fleet_trust,
            "--timeout",
            "2",
            "--retries",
            "0",
            "--lost-after",
            "2",
        )
        scanning = asyncio.create_task(fleet.scan(*words))
        await server.many.wait()
        await lost.kill()
        done = await scanning
    assert done.returncode == 3, done.stderr
    reported = Counter((line["vantage"], line["result"]["number"]) for line in lines(done))
    assert reported == dict.fromkeys(((vantage, number) for vantage in ("lost", "stays") for number in range(200)), 1)
    outcomes = {(line["vantage"], line["result"]["observation"]["outcome"]) for line in lines(done)}
    assert ("lost", "resources") in outcomes
    assert ("stays", "resources") not in outcomes


async def test_vantage_comes_back(fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """A worker that was killed and is started again goes on with what its vantage has to do."""
    first = await fleet.worker("library")
    async with holding(enough=32) as server:
        words = (
            *many(tmp_path, server.port, 100),
            *fleet_trust,
            "--timeout",
            "1",
            "--retries",
            "0",
            "--lost-after",
            "100",
        )
        scanning = asyncio.create_task(fleet.scan(*words))
        await server.many.wait()
        await first.kill()
        await fleet.worker("library")
        done = await scanning
    assert Counter(line["result"]["number"] for line in lines(done)) == dict.fromkeys(range(100), 1)
    assert {line["result"]["observation"]["outcome"] for line in lines(done)} == {"deadline"}


async def test_lost_scheduler_is_said(fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """Without its scheduler a scan ends with one sentence and exit 2; a page that is not whole is not written."""
    await fleet.worker("a")
    page = tmp_path / "page.html"
    async with holding(enough=32) as server:
        words = (
            *many(tmp_path, server.port, 500),
            *fleet_trust,
            "--timeout",
            "2",
            "--format",
            "html",
            "--output",
            str(page),
        )
        scanning = asyncio.create_task(fleet.scan(*words))
        await server.many.wait()
        await fleet.parts[0].kill()
        done = await scanning
    assert done.returncode == 2, done.stderr
    assert "The connection to the scheduler was lost" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not page.exists()


async def test_interrupted(fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """Ctrl-C ends a scan with what was found so far in whole lines, and takes its jobs back."""
    await fleet.worker("a")
    output = tmp_path / "out.jsonl"
    async with holding(enough=32) as server:
        words = (*many(tmp_path, server.port, 5000), *fleet_trust, "--timeout", "30", "--output", str(output))
        part = await fleet.start("scan", "--tls", str(fleet.folder), "--scheduler", fleet.address, *words)
        await server.many.wait()
        part.process.send_signal(signal.SIGINT)
        await part.process.wait()
        await part.reading
    assert part.process.returncode == 130, part.said
    assert part.said[-1] == "Interrupted.\n"
    assert not [line for line in part.said if "Traceback" in line or "rror" in line]
    done = await fleet.scan(NOBODY, *fleet_trust)
    assert [line["result"]["observation"]["outcome"] for line in lines(done)] == ["connect-refused"]


@pytest.mark.parametrize(
    ("file", "was", "becomes", "reported"),
    [
        ("judge/table.py", "", "# changed\n", "its program differs from this one"),
        ("version.py", "VERSION: Final = ", 'VERSION: Final = "99.0" or ', "it runs version 99.0, this is"),
    ],
)
async def test_another_program_gets_no_work(  # noqa: PLR0913, PLR0917 - fixtures and the example
    fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path, file: str, was: str, becomes: str, reported: str
) -> None:
    """A worker whose program was changed, or is of another version, is refused by name; the scan goes on without it."""
    package = Path(detector.__file__).parent
    shutil.copytree(package, tmp_path / "other" / "detector", ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / "other" / "detector" / file
    changed.write_text(changed.read_text("utf-8").replace(was, becomes, 1), "utf-8")
    await fleet.worker("honest")
    await fleet.worker("changed", PYTHONPATH=str(tmp_path / "other"))
    done = await fleet.scan(NOBODY, *fleet_trust)
    assert {line["vantage"] for line in lines(done)} == {"honest"}
    (refused,) = [line for line in done.stderr.splitlines() if line.startswith("Refused changed")]
    assert reported in refused
    assert (await fleet.scan(NOBODY, *fleet_trust, "--vantage", "changed")).returncode == 2


async def test_strangers_stay_out(fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """With certificates of another CA nobody joins and nobody asks: one sentence, exit 2, no traceback."""
    certificates.write(tmp_path / "strange", hosts=[LOOPBACK], now=dt.datetime.now(dt.UTC))
    strange = ("--tls", str(tmp_path / "strange"), "--scheduler", fleet.address)
    fleet_command = (sys.executable, "-m", "detector", "fleet")
    worker = await run(*fleet_command, "worker", *strange, "--vantage", "x")
    asking = await run(*fleet_command, "scan", *strange, NOBODY, *fleet_trust)
    # With the right CA to check the scheduler by, but a certificate of another one, it is the scheduler that refuses.
    shutil.copyfile(fleet.folder / "ca.pem", tmp_path / "strange" / "ca.pem")
    forged = await run(*fleet_command, "scan", *strange, NOBODY, *fleet_trust)
    for done, words in (
        (worker, "do not accept each other's certificates"),
        (asking, "do not accept each other's certificates"),
        (forged, "client.pem is not of the CA in ca.pem"),
    ):
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert words in line
    alone = await fleet.scan(NOBODY, *fleet_trust)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "no worker is connected" in alone.stderr


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (("--scheduler", "tcp://127.0.0.1:8786"), "write tls://HOST:PORT"),
        (("--scheduler", "tls://127.0.0.1"), "write tls://HOST:PORT"),
        (("--scheduler", "tls://127.0.0.1:1"), "nobody answered there"),
        (("--scheduler", "tls://no-such-host.invalid:8786"), "nobody answered there"),
        (("--tls", "/nowhere", "--scheduler", "tls://127.0.0.1:1"), "ca.pem cannot be read"),
    ],
)
async def test_bad_addresses(fleet_folder: Path, words: tuple[str, ...], reported: str) -> None:
    """A scheduler that is not there, or cannot be, is one sentence and exit 2."""
    done = await run(sys.executable, "-m", "detector", "fleet", "scan", "--tls", str(fleet_folder), *words, NOBODY)
    assert (done.returncode, done.stdout) == (2, "")
    assert reported in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


async def test_expired_certificates(tmp_path: Path) -> None:
    """Certificates past their time are reported before anything connects, by every part."""
    certificates.write(tmp_path / "old", hosts=[LOOPBACK], now=dt.datetime.now(dt.UTC) - dt.timedelta(days=400))
    tls = ("--tls", str(tmp_path / "old"))
    for words in (
        ("scheduler",),
        ("worker", "--scheduler", "tls://127.0.0.1:1", "--vantage", "x"),
        ("scan", "--scheduler", "tls://127.0.0.1:1", NOBODY),
    ):
        done = await run(sys.executable, "-m", "detector", "fleet", *words, *tls)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "is valid from" in line


async def test_bad_words_of_a_scan(fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """An unknown vantage is reported with those there are; a bad line by number; with --strict it ends the scan."""
    await fleet.worker("library")
    done = await fleet.scan(NOBODY, *fleet_trust, "--vantage", "moon")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--vantage moon: no worker probes from there. Available: library." in done.stderr
    targets = tmp_path / "targets.txt"
    targets.write_bytes(b"127.0.0.1:1\nno host\x00\n127.0.0.1:1\n")
    done = await fleet.scan("--targets", str(targets), *fleet_trust)
    assert [line["result"]["number"] for line in lines(done)] == [0, 1]
    assert "targets.txt:2" in done.stderr
    done = await fleet.scan("--targets", str(targets), *fleet_trust, "--strict")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


async def test_only_the_scheduler_listens(fleet: Fleet) -> None:
    """The scheduler listens on its one encrypted port, and a worker on none."""
    await fleet.worker("library")
    scheduler, worker = (part.process.pid for part in fleet.parts)
    assert _listening(scheduler) == {int(fleet.address.rpartition(":")[2])}
    assert _listening(worker) == set()


def _listening(process: int) -> set[int]:
    sockets = psutil.Process(process).net_connections("tcp")
    found = [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]
    assert {address.ip for address in found} <= {LOOPBACK}
    return {address.port for address in found}


async def test_clean_is_clean(fleet: Fleet, fleet_trust: tuple[str, ...], pki: PrivatePKI, tmp_path: Path) -> None:
    """What a worker saw of an honest origin is assessed here, with what is here: clean, logged, from that vantage."""
    await fleet.worker("library")
    async with serve_origin(pki.issue([EXAM])) as origin:
        pins = tmp_path / "pins.toml"
        where = f'host = "{EXAM}"\naddress = "{LOOPBACK}:{origin.port}"\n'
        pins.write_text(f'schema = 1\nname = "t"\n[[endpoint]]\n{where}', "utf-8")
        done = await fleet.scan(*fleet_trust, "--pins", str(pins))
    assert done.returncode == 0, done.stderr
    (line,) = lines(done)
    assert (line["vantage"], line["result"]["verdict"], line["result"]["assurance"]) == ("library", "clean", "logged")


async def test_canaries_are_probed_from_where_something_is_open(
    fleet: Fleet, pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]
) -> None:
    """Each vantage is a network of its own: its canaries are probed by its own workers, once, and amend its results."""
    names = [f"{name}.example.net" for name in ("one", "two")]
    ca = pki.private_ca("Filter CA", one_leaf_key=True)
    async with serve_origin({host: ca.issue([host]) for host in (EXAM, *names)}) as origin:
        canaries = [
            Endpoint(
                host=host, operator=host, canary=True, runs_ca=True, roots=("Exemplar Root A",), address=origin.address
            )
            for host in names
        ]
        for vantage in ("a", "b"):
            await fleet.worker(vantage)
        context = certificates.context(fleet.folder, certificates.CLIENT, now=dt.datetime.now(dt.UTC))
        async with coordinator.connect(fleet.address, context) as connection:
            found = [
                one
                async for one in coordinator.scan(
                    connection,
                    Detector(**settings_of(offline=False, canaries=canaries)),
                    [Target(Endpoint(host=EXAM, address=origin.address), "list:1")] * 3,
                    workers=coordinator.register_workers(connection.workers.values()),
                    mode=coordinator.Mode.EVERY,
                    settings=coordinator.FleetSettings(
                        StreamSettings(timeout=5.0, retries=0, concurrency=32),
                        NetworkSettings(proxy="none", offline=True),
                    ),
                )
            ]
    last = {(one.vantage, one.result.number): one.result for one in found}
    assert set(last) == {(vantage, number) for vantage in ("a", "b") for number in (-2, -1, 0, 1, 2)}
    assert {result.confidence for result in last.values()} == {"proven"}
    assert {result.where for (_, number), result in last.items() if number < 0} == {"follow-up"}
    assert {result.endpoint.category for (_, number), result in last.items() if number < 0} == {"canary"}
