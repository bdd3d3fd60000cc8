"""Rate and CPU of `detector scan` with one process and with two, in alternation.

Two kinds of targets: closed ports, where the kernel answers within the scan's own time, so that only scheduling and
assessment are measured; and the benchmark's nginx, with real handshakes, where the origin shares one of the cores. The
scans are not pinned. CPU per target is that of the whole process tree: if it stays constant, the rate grows with the
cores; growth is the cost of processes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from .contenders import ENVIRONMENT
from .origin import HOST
from .process import NotRunError, Run, measure
from .rounds import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .origin import Origin

FEW: Final = 10
"""Targets of the run that measures start-up."""
REFUSED: Final = 3000
ANSWERED: Final = 1000
CLOSED_PORT: Final = 1
"""tcpmux, long obsolete."""
ADDRESSES: Final = 200
"""Loopback addresses of the targets."""
CLEAN, INCONCLUSIVE = 0, 3


class Driven(NamedTuple):
    """One scan of a round: milliseconds of CPU per target, and targets per second, both without start-up."""

    cpu_ms: float
    rate: float


class Scaling(NamedTuple):
    """One process and two, on one kind of targets. Ratios are taken within each round."""

    targets: str
    one_rate: Spread
    two_rate: Spread
    rate_ratio: Spread
    one_cpu_ms: Spread
    two_cpu_ms: Spread
    cpu_ratio: Spread


def per_target(few: Run, many: Run, targets: int) -> Driven:
    """Return the cost of the additional targets. Raises NotRunError when it is not positive."""
    cpu, wall = many.cpu - few.cpu, many.wall - few.wall
    if cpu <= 0 or wall <= 0:
        raise NotRunError(f"{targets} targets took no longer than {FEW}: make more")
    return Driven(cpu * 1000 / targets, targets / wall)


def compare(targets: str, ones: Sequence[Driven], twos: Sequence[Driven]) -> Scaling:
    """Summarize rounds. Raises ValueError for different numbers of them."""
    pairs = list(zip(ones, twos, strict=True))
    return Scaling(
        targets,
        Spread.of(one.rate for one in ones),
        Spread.of(two.rate for two in twos),
        Spread.of(two.rate / one.rate for one, two in pairs),
        Spread.of(one.cpu_ms for one in ones),
        Spread.of(two.cpu_ms for two in twos),
        Spread.of(two.cpu_ms / one.cpu_ms for one, two in pairs),
    )


def measure_processes(origin: Origin, rounds: int, *, scale: float) -> list[Scaling]:
    """Measure both kinds. Raises NotRunError when a scan has another outcome than expected."""
    trust = ("--roots", str(origin.roots), "--ct-logs", str(origin.logs), "--server-name", HOST)
    kinds = (
        ("refused, no origin", CLOSED_PORT, max(int(REFUSED * scale), FEW), (), INCONCLUSIVE),
        ("handshakes, nginx on one of the same cores", origin.port, max(int(ANSWERED * scale), FEW), trust, CLEAN),
    )
    found = []
    for name, port, count, more, code in kinds:
        taken: dict[int, list[Driven]] = {1: [], 2: []}
        for _ in range(rounds):
            for number, driven in taken.items():
                few = _scan(origin.folder, port, FEW, number, more, code)
                driven.append(per_target(few, _scan(origin.folder, port, FEW + count, number, more, code), count))
        found.append(compare(name, taken[1], taken[2]))
    return found


def _scan(folder: Path, port: int, count: int, processes: int, more: Sequence[str], code: int) -> Run:  # noqa: PLR0913, PLR0917 - each becomes one option of the command that is measured
    listed, results = folder / "targets.txt", folder / "scanned.jsonl"
    listed.write_text("".join(f"127.0.0.{number % ADDRESSES + 1}:{port}\n" for number in range(count)))
    command = [sys.executable, "-m", "detector", "scan", "--targets", str(listed), "--processes", str(processes)]
    command += [
        "--proxy",
        "none",
        "--retries",
        "0",
        "--no-progress",
        "--format",
        "jsonl",
        "--output",
        str(results),
        *more,
    ]
    run = measure(command, core=None, env=ENVIRONMENT)
    if run.code != code:
        raise NotRunError(f"detector scan --processes {processes} ended with {run.code}: {run.output.strip()[-300:]}")
    return run
