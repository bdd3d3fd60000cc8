"""What more processes of `detector scan` bring: rate and CPU of one and of two, in alternation.

Room: scripts. Starts processes. Two kinds of targets: ports that nobody listens at, where the kernel answers in the
scan's own time and all that is measured is driving and judging; and the benchmark's nginx, where handshakes are real
and the origin takes its share of one of the same cores. The scans are held to no core. CPU a target is of the whole
tree of processes: where it stays the same, the rate grows with the cores; where it grows, that is what processes cost.
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
"""Targets of the run that start-up is taken from."""
REFUSED: Final = 3000
ANSWERED: Final = 1000
CLOSED_PORT: Final = 1
"""tcpmux, which nobody has served for decades."""
ADDRESSES: Final = 200
"""Addresses of loopback that targets are spread over."""
CLEAN, INCONCLUSIVE = 0, 3


class Driven(NamedTuple):
    """One scan of a round: milliseconds of CPU a target, and targets a second, both less start-up."""

    cpu_ms: float
    rate: float


class Scaling(NamedTuple):
    """Two processes beside one, on one kind of targets. Ratios are taken within each round."""

    targets: str
    one_rate: Spread
    two_rate: Spread
    rate_ratio: Spread
    one_cpu_ms: Spread
    two_cpu_ms: Spread
    cpu_ratio: Spread


def per_target(few: Run, many: Run, targets: int) -> Driven:
    """What so many more targets took. Raises NotRunError where they took nothing."""
    cpu, wall = many.cpu - few.cpu, many.wall - few.wall
    if cpu <= 0 or wall <= 0:
        raise NotRunError(f"{targets} targets took no longer than {FEW}: make more")
    return Driven(cpu * 1000 / targets, targets / wall)


def compare(targets: str, ones: Sequence[Driven], twos: Sequence[Driven]) -> Scaling:
    """Sum up rounds. Raises ValueError when there are not as many of each."""
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
    """Measure both kinds. Raises NotRunError when a scan does not find what it has to."""
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


def _scan(folder: Path, port: int, count: int, processes: int, more: Sequence[str], code: int) -> Run:  # noqa: PLR0913, PLR0917 - the words of one command
    listed, told = folder / "targets.txt", folder / "scanned.jsonl"
    listed.write_text("".join(f"127.0.0.{number % ADDRESSES + 1}:{port}\n" for number in range(count)))
    command = [sys.executable, "-m", "detector", "scan", "--targets", str(listed), "--processes", str(processes)]
    command += ["--proxy", "none", "--retries", "0", "--no-progress", "--format", "jsonl", "--output", str(told), *more]
    run = measure(command, core=None, env=ENVIRONMENT)
    if run.code != code:
        raise NotRunError(f"detector scan --processes {processes} ended with {run.code}: {run.output.strip()[-300:]}")
    return run
