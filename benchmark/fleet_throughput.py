"""Measure how many targets a second a fleet of 1, 2 and 4 workers looks at, and what CPU each part of it takes.

Room: scripts. Everything runs on this machine, over loopback: origin, scheduler, workers and scan, each a process of
its own. Configurations take turns, so that what else the machine does falls on all of them. Prints a table.

With --local the same for `detector scan` with 1, 2 and 4 `--processes`, and no fleet.

    python -m benchmark.fleet_throughput --targets 6000 --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import os
import platform
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from detector_testing import PrivatePKI, serve_origin

from detector.scan.fleet import certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

HOST = "exam{}.example.edu"
LOOPBACK = "127.0.0.1"
SCANNED = re.compile(r"Scanned (\d+) targets in ([\d.]+) s")
WARM = 64
"""Targets for each worker of a short scan, whose costs are taken off."""


class Spent(NamedTuple):
    """Targets and seconds of a scan, and CPU seconds of each part over it."""

    targets: float
    seconds: float
    workers: float
    scheduler: float
    client: float
    origin: float

    def less(self, start: Spent) -> Spent:
        """What a scan took beyond a short one."""
        return Spent(*(mine - its for mine, its in zip(self, start, strict=True)))


class Part:
    """A process that says when it runs."""

    def __init__(self, process: asyncio.subprocess.Process, said: str) -> None:
        self.process = process
        self.said = said

    @property
    def cpu(self) -> float:
        """CPU seconds so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


@contextlib.asynccontextmanager
async def part(*command: str, told: str) -> AsyncIterator[Part]:
    """Run a process until the block ends."""
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None  # noqa: S101 - for type checkers: it was asked for
        line = b""
        while told not in line.decode():
            line = await process.stderr.readline()
            if not line:
                raise SystemExit(f"{' '.join(command)} ended before it ran.")
        yield Part(process, line.decode().strip())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def serve(folder: Path, hosts: int) -> None:
    """Serve the origin until this process is ended: what it is judged by goes to `folder`."""
    pki = PrivatePKI.create()
    pki.write(folder)
    issued = {host: pki.issue([host]) for host in map(HOST.format, range(hosts))}
    async with serve_origin(issued) as origin:
        print(f"port {origin.port}", file=sys.stderr, flush=True)
        await asyncio.Event().wait()


class Setting(NamedTuple):
    """Where things are, how many targets a scan has, and how many hosts with a certificate each they are."""

    folder: Path
    origin: Part
    targets: int
    hosts: int
    threads: int


async def measured(setting: Setting, workers: int) -> Spent:
    """One scan over a fleet of so many workers, less what a short one takes."""
    tls = ("--tls", str(setting.folder / "tls"))
    fleet = ("-m", "detector", "fleet")
    async with contextlib.AsyncExitStack() as stack:
        listen = ("--host", LOOPBACK, "--port", "0")
        scheduler = await stack.enter_async_context(part(*fleet, "scheduler", *tls, *listen, told="tls://"))
        there = ("--scheduler", scheduler.said)
        threads = ("--threads", str(setting.threads))
        crew = [
            await stack.enter_async_context(
                part(
                    *fleet,
                    "worker",
                    *tls,
                    *there,
                    "--vantage",
                    f"v{at}",
                    *threads,
                    "--host",
                    LOOPBACK,
                    told="looks from",
                )
            )
            for at in range(workers)
        ]
        scan = (*fleet, "scan", *tls, *there, "--mode", "spread")
        # The first lets every worker load what it loads once; the second is what a scan costs to start and to end.
        _, start, whole = [
            await one(setting, scan, (scheduler, *crew), count)
            for count in (WARM * workers, WARM * workers, setting.targets)
        ]
    return whole.less(start)


async def measured_here(setting: Setting, processes: int) -> Spent:
    """One `detector scan` with so many processes, less what a short one takes."""
    command = ("-m", "detector", "scan", "--processes", str(processes), "--format", "jsonl", "--no-progress")
    start, whole = [await one(setting, command, (), count) for count in (WARM * processes, setting.targets)]
    return whole.less(start)


async def one(setting: Setting, command: Sequence[str], parts: Sequence[Part], count: int) -> Spent:
    """One scan of `count` targets; `parts` are scheduler and workers, none where the scan has its own processes."""
    lines = "".join(f"{HOST.format(number % setting.hosts)}\n" for number in range(count))
    (setting.folder / "targets.txt").write_text(lines, encoding="utf-8")
    before = [part.cpu for part in (setting.origin, *parts)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--targets", str(setting.folder / "targets.txt")),
        *("--pins", str(setting.folder / "pins.toml"), "--proxy", "none"),
        *("--roots", str(setting.folder / "roots.pem"), "--ct-logs", str(setting.folder / "ct_logs.json")),
        *("--output", os.devnull),
        stderr=asyncio.subprocess.PIPE,
    )
    watching = psutil.Process(process.pid)
    cpu: dict[int, float] = {}
    reading = asyncio.ensure_future(process.communicate())
    while not reading.done():
        with contextlib.suppress(psutil.Error):
            for each in (watching, *watching.children()):
                times = each.cpu_times()
                cpu[each.pid] = max(cpu.get(each.pid, 0.0), times.user + times.system)
        await asyncio.wait([reading], timeout=0.05)
    said = (await reading)[1].decode()
    found = SCANNED.search(said)
    if process.returncode != 0 or found is None or int(found[1]) != count:
        raise SystemExit(f"The scan did not find everything clean: {said}")
    after = [part.cpu for part in (setting.origin, *parts)]
    origin, *others = (late - early for late, early in zip(after, before, strict=True))
    client = cpu.pop(process.pid, 0.0)
    scheduler, *workers = others or (0.0, *cpu.values())
    return Spent(count, float(found[2]), sum(workers), scheduler, client, origin)


async def main(given: argparse.Namespace) -> None:
    """Measure in turns and print the table."""
    measure = measured_here if given.local else measured
    with tempfile.TemporaryDirectory(prefix="fleet-throughput-") as temporary:
        folder = Path(temporary)
        certificates.write(folder / "tls", hosts=[LOOPBACK], now=dt.datetime.now(dt.UTC))
        async with part(__file__, "--serve", temporary, "--hosts", str(given.hosts), told="port ") as origin:
            port = origin.said.split()[1]
            endpoints = "".join(
                f'[[endpoint]]\nhost = "{HOST.format(number)}"\naddress = "{LOOPBACK}:{port}"\n'
                for number in range(given.hosts)
            )
            (folder / "pins.toml").write_text(f'schema = 1\nname = "t"\n{endpoints}', encoding="utf-8")
            setting = Setting(folder, origin, given.targets, given.hosts, given.threads)
            spent: dict[int, list[Spent]] = {size: [] for size in given.workers}
            for _ in range(given.rounds):
                for size in given.workers:
                    spent[size].append(await measure(setting, size))
    print(f"{platform.machine()}, {os.cpu_count()} cores for everything, Python {platform.python_version()}")
    print(
        f"{given.targets} targets a scan, {given.hosts} certificates, {given.rounds} rounds in turns; "
        "CPU in ms a target, medians\n"
    )
    print("| workers | targets/s min | median | max | CPU workers | scheduler | client | origin |")
    print("|---|---|---|---|---|---|---|---|")
    for size, rows in spent.items():
        rates = [row.targets / row.seconds for row in rows]
        costs = [
            statistics.median(1000 * getattr(row, name) / row.targets for row in rows)
            for name in ("workers", "scheduler", "client", "origin")
        ]
        told = (f"{min(rates):.0f}", f"{statistics.median(rates):.0f}", f"{max(rates):.0f}")
        print(f"| {size} | {' | '.join(told)} | {' | '.join(f'{cost:.2f}' for cost in costs)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", type=int, default=6000)
    parser.add_argument("--hosts", type=int, default=1, help="as many as targets: none is seen twice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--threads", type=int, default=8, help="of each worker of a fleet")
    parser.add_argument("--local", action="store_true", help="`detector scan --processes` in place of a fleet")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(serve(given.serve, given.hosts) if given.serve else main(given))
