"""Measure the rate of a fleet of 1, 2 and 4 workers, and the CPU time of its parts.

Origin, scheduler, workers and scan are processes on this machine, over loopback. Configurations alternate, so that
other load affects all of them. Prints a table. With --local the same for `detector scan` with 1, 2 and 4 `--processes`.

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
from typing import TYPE_CHECKING, NamedTuple, cast

import psutil
from detector_testing import PrivatePKI, serve_origin

from detector.scan.fleet import certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

HOST = "exam{}.example.edu"
LOOPBACK = "127.0.0.1"
SCANNED = re.compile(r"Scanned (\d+) targets in ([\d.]+) s")
WARM = 64
"""Targets per worker of a short scan, whose cost is subtracted."""


class Spent(NamedTuple):
    """Targets and seconds of a scan, and CPU seconds of each part."""

    targets: float
    seconds: float
    workers: float
    scheduler: float
    client: float
    origin: float

    def less(self, start: Spent) -> Spent:
        """Subtract the cost of a short scan."""
        return Spent(*(mine - its for mine, its in zip(self, start, strict=True)))


class Part:
    """A running process; `said` is the line with which it reported that."""

    def __init__(self, process: asyncio.subprocess.Process, said: str) -> None:
        self.process = process
        self.said = said

    @property
    def cpu(self) -> float:
        """CPU seconds so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


@contextlib.asynccontextmanager
async def part(*command: str, ready: str) -> AsyncIterator[Part]:
    """Run a process until the block ends; `ready` is part of the line that it prints when it runs."""
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
    try:
        errors = cast("asyncio.StreamReader", process.stderr)  # there is one: a pipe was asked for
        line = b""
        while ready not in line.decode():
            line = await errors.readline()
            if not line:
                raise SystemExit(f"{' '.join(command)} ended before it ran.")
        yield Part(process, line.decode().strip())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def serve(folder: Path, hosts: int) -> None:
    """Serve the origin until this process ends; roots and CT logs go to `folder`."""
    pki = PrivatePKI.create()
    pki.write(folder)
    issued = {host: pki.issue([host]) for host in map(HOST.format, range(hosts))}
    async with serve_origin(issued) as origin:
        print(f"port {origin.port}", file=sys.stderr, flush=True)
        await asyncio.Event().wait()


class Setting(NamedTuple):
    """Files and origin, targets of a scan, hosts with a certificate each, and threads of a worker."""

    folder: Path
    origin: Part
    targets: int
    hosts: int
    threads: int


async def measured(setting: Setting, workers: int) -> Spent:
    """Measure one scan by a fleet, less the cost of a short one."""
    tls = ("--tls", str(setting.folder / "tls"))
    fleet = ("-m", "detector", "fleet")
    async with contextlib.AsyncExitStack() as stack:
        listen = ("--host", LOOPBACK, "--port", "0")
        scheduler = await stack.enter_async_context(part(*fleet, "scheduler", *tls, *listen, ready="tls://"))
        there = ("--scheduler", scheduler.said)
        threads = ("--threads", str(setting.threads))
        started = [
            await stack.enter_async_context(
                part(
                    *fleet,
                    "worker",
                    *tls,
                    *there,
                    "--vantage",
                    f"v{at}",
                    *threads,
                    ready="probes from",
                )
            )
            for at in range(workers)
        ]
        scan = (*fleet, "scan", *tls, *there, "--mode", "spread")
        # The first warms the workers up; the second measures what a scan costs to start and end.
        _, start, whole = [
            await one(setting, scan, (scheduler, *started), count)
            for count in (WARM * workers, WARM * workers, setting.targets)
        ]
    return whole.less(start)


async def measured_here(setting: Setting, processes: int) -> Spent:
    """Measure one `detector scan` with so many processes, less the cost of a short one."""
    command = ("-m", "detector", "scan", "--processes", str(processes), "--format", "jsonl", "--no-progress")
    start, whole = [await one(setting, command, (), count) for count in (WARM * processes, setting.targets)]
    return whole.less(start)


async def one(setting: Setting, command: Sequence[str], parts: Sequence[Part], count: int) -> Spent:
    """Run one scan of `count` targets; `parts` are scheduler and workers, none for a local scan."""
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
    """Measure in alternation and print the table."""
    measure = measured_here if given.local else measured
    with tempfile.TemporaryDirectory(prefix="fleet-throughput-") as temporary:
        folder = Path(temporary)
        certificates.write(folder / "tls", hosts=[LOOPBACK], now=dt.datetime.now(dt.UTC))
        async with part(__file__, "--serve", temporary, "--hosts", str(given.hosts), ready="port ") as origin:
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
        f"{given.targets} targets a scan, {given.hosts} certificates, {given.rounds} rounds in alternation; "
        "CPU in ms per target, medians\n"
    )
    print("| workers | targets/s min | median | max | CPU workers | scheduler | client | origin |")
    print("|---|---|---|---|---|---|---|---|")
    for size, rows in spent.items():
        rates = [row.targets / row.seconds for row in rows]
        costs = [
            statistics.median(1000 * getattr(row, name) / row.targets for row in rows)
            for name in ("workers", "scheduler", "client", "origin")
        ]
        rate = (f"{min(rates):.0f}", f"{statistics.median(rates):.0f}", f"{max(rates):.0f}")
        print(f"| {size} | {' | '.join(rate)} | {' | '.join(f'{cost:.2f}' for cost in costs)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", type=int, default=6000)
    parser.add_argument("--hosts", type=int, default=1, help="with as many as targets, no host is probed twice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--threads", type=int, default=8, help="of each worker of a fleet")
    parser.add_argument("--local", action="store_true", help="`detector scan --processes` in place of a fleet")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(serve(given.serve, given.hosts) if given.serve else main(given))
