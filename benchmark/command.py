"""The command line of the benchmark.

    python -m benchmark --quick
    python -m benchmark [--rounds N] [--contenders NAME,…] [--connections 1000,5000,20000]
                                [--write docs/performance.md] [--json FILE]

It runs an nginx on one core and the contenders in turn on another, all on loopback. uv fetches contenders from PyPI,
unless `--quick` is given, which takes about a minute. Times pass or fail nothing: the exit code is 1 when a required
contender fails, 2 for bad usage, 130 when interrupted. All processes end with this one.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Never

from . import contenders as taking_part
from . import memory, origin, page, process, processes, rounds, start
from .contenders import Absent, Contender
from .process import NotRunError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS: Final = 7
"""Rounds of a full run, at least: a median of fewer is random."""
QUICK_ROUNDS: Final = 2
QUICK_SCALE: Final = 0.2
"""The share of probes that `--quick` makes."""
QUICK_CONNECTIONS: Final = (200,)
CONNECTIONS: Final = (1000, 5000, 20000)
CONNECTIONS_MAX: Final = 50000
"""Concurrent connections: open files and loopback ports allow little more."""
HOSTS: Final = 300
"""Certificates for first contact: one per probe."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        measured = run(options)
    except NotRunError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmark: interrupted", file=sys.stderr)
        return 130
    found = page.tables(measured)
    print(found)
    if options.write is not None:
        options.write.write_text(page.inserted(options.write.read_text(), found))
    if options.json is not None:
        options.json.write_text(json.dumps(page.as_json(measured), indent=1) + "\n")
    return 0


def _interrupt(*_: object) -> Never:
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmark", description="Measure what a probe costs, compared with other programs."
    )
    parser.add_argument("--quick", action="store_true", help="take a minute: few rounds, no downloads")
    parser.add_argument("--rounds", type=int, help=f"rounds, at least {ROUNDS} (--quick: {QUICK_ROUNDS})")
    parser.add_argument("--contenders", type=_names, help="only these, separated by commas")
    parser.add_argument("--connections", type=_numbers, help="concurrent handshakes for the memory figures; 0: none")
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the tables between the page's markers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.rounds < (1 if options.quick else ROUNDS):
        parser.error(f"--rounds {options.rounds}: at least {ROUNDS}, or fewer with --quick")
    if options.connections is None:
        options.connections = QUICK_CONNECTIONS if options.quick else CONNECTIONS
    if options.write is not None:
        try:
            page.inserted(options.write.read_text(), "")
        except (OSError, ValueError) as error:
            parser.error(f"--write {options.write}: {error}")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: its folder does not exist")
    if sys.platform != "linux":
        parser.error("the benchmark needs Linux: it reads /proc and pins processes to cores")
    return options


def _names(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("name at least one contender")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers with commas") from None
    if any(not 0 <= number <= CONNECTIONS_MAX for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers from 0 to {CONNECTIONS_MAX}")
    return tuple(number for number in numbers if number)


def run(options: argparse.Namespace) -> page.Measured:
    """Measure. Raises NotRunError."""
    cores = process.cores()
    with tempfile.TemporaryDirectory(prefix="detector-benchmark-") as temporary:
        scratch = Path(temporary)
        served = scratch / "origin"
        served.mkdir()
        scratch.chmod(0o755)
        everything = field(scratch, download=not options.quick)
        chosen = _chosen(everything, options.contenders)
        absent = [one for one in chosen if isinstance(one, Absent)]
        present = [one for one in chosen if isinstance(one, Contender)]
        with origin.serving(served, hosts=HOSTS, core=cores[0]) as server:
            scale = QUICK_SCALE if options.quick else 1.0
            samples, failed = rounds.alternate(
                present, server, core=cores[1], rounds=options.rounds, scale=scale, report=_report
            )
            held, not_held = _memory([one for one in present if one.memory], server, options.connections, cores)
            begun, scaling = None, []
            if options.contenders is None:
                _report("exam start")
                begun = start.measure_start(server, cores, min(options.rounds, ROUNDS))
                _report("one process and two")
                scaling = processes.measure_processes(server, min(options.rounds, ROUNDS), scale=scale)
            versions = {"origin": f"nginx {server.version}"} | {one.name: one.version for one in present}
    return page.Measured(
        _command(options),
        dt.datetime.now(dt.UTC).date().isoformat(),
        options.rounds,
        machine(cores),
        versions,
        {one.name: one.does for one in present},
        rounds.summarise(samples),
        absent + failed,
        held,
        not_held,
        begun,
        scaling,
    )


def field(scratch: Path, *, download: bool) -> list[Contender | Absent]:
    """Return all contenders, the reference first."""
    return [
        *taking_part.go_clients(scratch, download=download),
        *taking_part.python_clients(),
        *taking_part.programs(scratch),
        *taking_part.packages(scratch, download=download),
    ]


def _chosen(everything: list[Contender | Absent], wanted: frozenset[str] | None) -> list[Contender | Absent]:
    if wanted is None:
        return everything
    if unknown := wanted - {one.name for one in everything}:
        known = ", ".join(one.name for one in everything)
        print(f"benchmark: unknown contender {', '.join(sorted(unknown))}; the contenders are {known}", file=sys.stderr)
        raise SystemExit(2)
    return [one for one in everything if one.name in wanted or one.name == taking_part.REFERENCE]


def _memory(
    present: list[Contender], server: origin.Origin, numbers: Sequence[int], cores: tuple[int | None, int | None]
) -> tuple[list[memory.Held], list[Absent]]:
    held, not_held = [], []
    room = memory.connections_possible()
    for number in dict.fromkeys(numbers):
        for contender in present:
            try:
                one = memory.hold(contender, server, number, cores, room=room)
            except NotRunError as error:
                not_held.append(Absent(f"{contender.name} with {number:,} connections", str(error)))
            else:
                held.append(one)
                _report(f"{number:,} held  {contender.name:<26}{one.mebibytes:9.0f} MiB")
    return held, not_held


def machine(cores: tuple[int | None, int | None]) -> dict[str, str]:
    """Describe the machine."""
    model = platform.processor() or "unknown"
    if (listed := Path("/proc/cpuinfo")).exists():
        names = [line.partition(":")[2].strip() for line in listed.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    how = "not pinned" if None in cores else "the origin on one, contenders on another"
    return {"processor": model, "cores": f"{os.cpu_count()}, {how}", "kernel": platform.release()}


def _command(options: argparse.Namespace) -> str:
    words: list[Any] = ["python", "-m", "benchmark"]
    words += ["--quick"] if options.quick else []
    words += ["--rounds", options.rounds]
    words += ["--contenders", ",".join(sorted(options.contenders))] if options.contenders else []
    words += ["--connections", ",".join(map(str, options.connections)) or 0]
    words += ["--write", "docs/performance.md"] if options.write else []
    return shlex.join(str(word) for word in words)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
