"""Measure a collector: submissions received in a second, by one service and by two, and pieces assessed in a second.

Services, workers, clients and PostgreSQL are processes on this machine, over loopback; PostgreSQL and SQLite wait for
the disk. Every answer is verified: a submission counts once its receipt is.

    python -m benchmark.collect --write docs/collect-performance.md
    python -m benchmark.collect --kills 30 --submissions 10000    # everything is killed, nothing is measured
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from detector_collect.store.database import Store
from detector_collect.worker import MaterialConfig, Worker, WorkerSettings

from detector.knowledge import data_set

from . import page

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # what tests and benchmarks share of a collector

from support.collect_kills import Victim, check_assessments, check_receipts, submit_and_kill
from support.collect_load import read_answers, read_receipt
from support.collect_processes import Collector, Part, running_collector
from support.collect_world import CollectWorld
from support.postgres import Postgres, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from support.collect_world import Reported

CLIENTS = 64
SEED = 20


class Received(NamedTuple):
    """One measurement of receiving: submissions a second, latency in ms, and CPU of the services in ms for each."""

    rate: float
    p50: float
    p99: float
    cpu: float


class Setting(NamedTuple):
    """A database, and how many services receive for it."""

    database: str
    services: int


SETTINGS = (Setting("PostgreSQL", 1), Setting("PostgreSQL", 2), Setting("SQLite", 1))


@contextlib.asynccontextmanager
async def collector(name: str, world: CollectWorld) -> AsyncIterator[tuple[Collector, Postgres | None]]:
    """A collector on a fresh database that waits for the disk."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="collect-benchmark-")))
        server = stack.enter_context(running_server(())) if name == "PostgreSQL" else None
        database = f"sqlite:///{folder}/collect.sqlite" if server is None else server.url
        async with running_collector(database, folder, world) as running:
            yield running, server


async def receive(running: Collector, reports: Sequence[Reported], services: int) -> Received:
    """Send all reports to so many services, and verify every receipt."""
    parts = [running.serve("--no-worker") for _ in range(services)]
    for part in parts:
        await part.ready()
    given, answered = running.folder / "envelopes", running.folder / "answers"
    given.write_bytes(b"\n".join(report.envelope for report in reports))
    cpu = sum(map(_cpu, parts))
    words = [sys.executable, "-m", "support.collect_load", "--clients", str(CLIENTS)]
    clients = Part([*words, *(part.url for part in parts), str(given), str(answered)], running.folder / "clients.log")
    await asyncio.to_thread(clients.process.wait)
    cpu = sum(map(_cpu, parts)) - cpu
    answers = read_answers(answered)
    for place, report in enumerate(reports):
        if read_receipt(answers[place], running.public_key).digest != report.digest:
            raise SystemExit(f"Submission {place} has the receipt of another one.")
    ends = sorted(answer.at for answer in answers.values())
    took = sorted(1000 * answer.seconds for answer in answers.values())
    seconds = ends[-1] - min(answer.at - answer.seconds for answer in answers.values())
    return Received(len(ends) / seconds, took[len(took) // 2], took[len(took) * 99 // 100], 1000 * cpu / len(ends))


async def assess(running: Collector, processes: int) -> float:
    """Assess all that was received: pieces a second."""
    config = MaterialConfig(data=data_set.SHIPPED, pins=(running.pins,))
    settings = WorkerSettings(processes=processes, claimed=4 * processes)
    async with await Store.open(running.database) as store, Worker(store, config, settings) as worker:
        await worker.work_once()  # starts the processes
        began = time.monotonic()
        done = await worker.drain()
        return done / (time.monotonic() - began)


def _cpu(part: Part) -> float:
    times = psutil.Process(part.process.pid).cpu_times()
    return float(times.user + times.system)


async def measure(world: CollectWorld, setting: Setting, submissions: int) -> tuple[Received, float]:
    """One round of one setting; the worker has as many processes as there are services."""
    async with collector(setting.database, world) as (running, _):
        received = await receive(running, list(world.reports(submissions)), setting.services)
        for part in running.parts:
            part.stop()
        return received, await assess(running, setting.services)


async def kill(world: CollectWorld, submissions: int, kills: int) -> None:
    """Kill services, clients and PostgreSQL so often each, and check everything. Prints what came of it."""
    reports = list(world.reports(submissions))
    async with collector("PostgreSQL", world) as (running, server):
        for _ in range(2):
            running.serve("--no-worker")
        async with running.working():
            survived = await submit_and_kill(
                running, server, reports, seed=SEED, kills=dict.fromkeys(Victim, kills), processes=4, clients=16
            )
        await check_receipts(running, reports, survived.answers)
        await check_assessments(running, world, reports)
    repeated = sum(answer.requests - 1 for answer in survived.answers.values())
    made = ", ".join(f"{victim} {number}" for victim, number in survived.kills.items())
    print(
        f"{submissions} submissions, kills: {made}. Received after {survived.received:.0f} s, assessed after "
        f"{survived.assessed:.0f} s, {repeated} requests repeated. None lost, none twice, every receipt true."
    )


def table(found: dict[Setting, list[tuple[Received, float]]], submissions: int, size: int, rounds: int) -> str:
    """The results as Markdown."""
    measured_on = (
        f"Measured on {dt.datetime.now(dt.UTC):%Y-%m-%d}: {submissions} submissions of {size // 1024} KiB from "
        f"{CLIENTS} clients, {rounds} rounds in alternation; {platform.machine()}, {os.cpu_count()} cores for all,"
        f" Python {platform.python_version()}, load average {os.getloadavg()[2]:.0f}. Medians, with least and most."
    )
    lines = [
        measured_on,
        "",
        "| database | services | received a second | p50 ms | p99 ms | CPU of services, ms each | assessed a second |",
        "|---|---|---|---|---|---|---|",
    ]
    for setting, measured in found.items():
        columns = [[getattr(one, name) for one, _ in measured] for name in Received._fields]
        columns.append([assessed for _, assessed in measured])
        lines.append(f"| {setting.database} | {setting.services} | {' | '.join(map(_spread, columns))} |")
    one, two, embedded = ([one.rate for one, _ in found[setting]] for setting in SETTINGS)
    ratios = [b / a for a, b in zip(one, two, strict=True)]
    assessing = [b[1] / a[1] for a, b in zip(found[SETTINGS[0]], found[SETTINGS[1]], strict=True)]
    sqlite = [b / a for a, b in zip(one, embedded, strict=True)]
    compared = (
        f"Two services receive {_spread(ratios)} times what one does, two processes assess {_spread(assessing)} times"
        f" what one does; one service receives {_spread(sqlite)} times as much on SQLite as on PostgreSQL. Ratios are "
        "taken within a round."
    )
    lines += ["", compared]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    digits = 0 if min(values) >= 100 else 1 if min(values) >= 10 else 2  # noqa: PLR2004 - 123, 12.3 or 1.23: powers of ten choose the decimals that make three digits
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"**{middle}** ({low} to {high})"


async def main(given: argparse.Namespace) -> None:
    """Measure in alternation and print the table, or kill."""
    world = CollectWorld(SEED, endpoints=given.endpoints)
    if given.kills:
        await kill(world, given.submissions, given.kills)
        return
    found: dict[Setting, list[tuple[Received, float]]] = {setting: [] for setting in SETTINGS}
    for number in range(given.rounds):
        for setting in SETTINGS:
            found[setting].append(await measure(world, setting, given.submissions))
            print(f"round {number + 1}: {setting} {found[setting][-1]}", file=sys.stderr)
    size = len(next(iter(world.reports(1))).envelope)
    text = table(found, given.submissions, size, given.rounds)
    print(text)
    if given.write:
        given.write.write_text(page.inserted(given.write.read_text("utf-8"), text), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmark.collect", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--submissions", type=int, default=3000)
    parser.add_argument("--endpoints", type=int, default=3, help="of each bundle")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=0, help="of services, of clients and of PostgreSQL, each")
    parser.add_argument("--write", type=Path, help="the page with the table")
    asyncio.run(main(parser.parse_args()))
