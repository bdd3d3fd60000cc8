"""The command line of the benchmark: who takes part, how often, and where it is written.

    python -m benchmark --quick
    python -m benchmark [--rounds N] [--contenders NAME,…] [--connections 1000,5000,20000]
                                [--write docs/performance.md] [--json FILE]

Room: scripts. Starts an nginx on one core and the contenders, one after the other, on another; nothing is sent anywhere
but to loopback. uv may fetch what comes from PyPI, unless `--quick` is given, which takes about a minute. Nothing is
passed or failed by its time: the exit code is 1 when a contender that has to be there does not do its work, 2 for bad
usage, 130 when interrupted. Every process ends with this one.
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
"""Rounds of a full run, at least: a median of fewer is chance."""
QUICK_ROUNDS: Final = 2
QUICK_SCALE: Final = 0.2
"""The share of looks that `--quick` makes."""
QUICK_CONNECTIONS: Final = (200,)
CONNECTIONS: Final = (1000, 5000, 20000)
CONNECTIONS_MAX: Final = 50000
"""Connections at once: open files, and ports of loopback, end a little above."""
HOSTS: Final = 300
"""Certificates for first contact: one for each look."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; gives the exit code."""
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
        prog="python -m benchmark", description="Measure what a look costs, beside other programs."
    )
    parser.add_argument("--quick", action="store_true", help="a minute: few rounds, nothing downloaded")
    parser.add_argument("--rounds", type=int, help=f"rounds, at least {ROUNDS} (--quick: {QUICK_ROUNDS})")
    parser.add_argument("--contenders", type=_names, help="take only these, with commas between them")
    parser.add_argument("--connections", type=_numbers, help="handshakes in the middle when memory is read; 0: none")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables between the markers of this page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers as JSON")
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.rounds < (1 if options.quick else ROUNDS):
        parser.error(f"--rounds {options.rounds}: at least {ROUNDS} are wanted, or fewer with --quick")
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
        parser.error("the benchmark reads /proc and holds processes to a core, as Linux can; run it there")
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
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers with commas between them") from None
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
        everybody = field(scratch, download=not options.quick)
        chosen = _chosen(everybody, options.contenders)
        absent = [one for one in chosen if isinstance(one, Absent)]
        present = [one for one in chosen if isinstance(one, Contender)]
        with origin.serving(served, hosts=HOSTS, core=cores[0]) as server:
            scale = QUICK_SCALE if options.quick else 1.0
            samples, failed = rounds.alternate(
                present, server, core=cores[1], rounds=options.rounds, scale=scale, tell=_tell
            )
            held, not_held = _memory([one for one in present if one.memory], server, options.connections, cores)
            begun, scaling = None, []
            if options.contenders is None:
                _tell("exam start")
                begun = start.measure_start(server, cores, min(options.rounds, ROUNDS))
                _tell("one process and two")
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
    """Everybody, the reference first."""
    return [
        *taking_part.go_clients(scratch, download=download),
        *taking_part.python_clients(),
        *taking_part.programs(scratch),
        *taking_part.packages(scratch, download=download),
    ]


def _chosen(everybody: list[Contender | Absent], wanted: frozenset[str] | None) -> list[Contender | Absent]:
    if wanted is None:
        return everybody
    if unknown := wanted - {one.name for one in everybody}:
        known = ", ".join(one.name for one in everybody)
        print(f"benchmark: no contender is called {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        raise SystemExit(2)
    return [one for one in everybody if one.name in wanted or one.name == taking_part.REFERENCE]


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
                _tell(f"{number:,} held  {contender.name:<26}{one.mebibytes:9.0f} MiB")
    return held, not_held


def machine(cores: tuple[int | None, int | None]) -> dict[str, str]:
    """What it ran on."""
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


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
