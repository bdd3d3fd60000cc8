"""Exam start: the time to a verdict on eight endpoints, 50 ms away, from the call or from the start of a process."""

from __future__ import annotations

import json
import re
import statistics
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from . import data_sets
from .contenders import ENVIRONMENT
from .memory import relay
from .origin import setup
from .process import NotRunError, measure
from .rounds import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .origin import Origin
    from .process import Run

ENDPOINTS: Final = 8
ROUND_TRIP: Final = 0.05
"""Seconds the relay adds to an answer."""
MODULES: Final = 12
"""Modules listed in the summary of imports."""
WARM_CHECKS: Final = 5
"""Checks in a warm process for each round of the benchmark."""


class Start(NamedTuple):
    """Milliseconds of a warm check, the floor, their difference in pairs, fresh processes, and phases.

    `updated` is a fresh process with an updated data set, `update_costs` what it took longer than the process before
    it with the shipped one; `opening` and `loading` are an updated set in a fresh process, opened and read whole.
    """

    check: Spread
    floor: Spread
    difference: Spread
    cold: Spread
    bare: Spread
    updated: Spread
    update_costs: Spread
    opening: Spread
    loading: Spread
    phases: dict[str, float]
    modules: list[tuple[str, float]]


class Imported(NamedTuple):
    """A module in the output of `-X importtime`: its own milliseconds, and those with its imports."""

    name: str
    own: float
    cumulative: float


def imports(text: str) -> list[Imported]:
    """Parse the output of `-X importtime`; other lines are skipped."""
    found = re.findall(r"^import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)$", text, re.MULTILINE)
    return [Imported(name, int(own) / 1000, int(cumulative) / 1000) for own, cumulative, name in found]


def by_package(modules: Sequence[Imported]) -> list[tuple[str, float]]:
    """Return the modules' own milliseconds by package, largest first."""
    total: dict[str, float] = {}
    for module in modules:
        package = module.name.partition(".")[0]
        total[package] = total.get(package, 0.0) + module.own
    return sorted(total.items(), key=lambda item: -item[1])


def difference(checks: Sequence[float], floors: Sequence[float]) -> Spread:
    """Return how much longer a check takes than the floor of its pair. Raises ValueError for different numbers."""
    return Spread.of(check - floor for check, floor in zip(checks, floors, strict=True))


def measure_start(origin: Origin, cores: tuple[int | None, int | None], rounds: int) -> Start:
    """Measure everything. Raises NotRunError when a check finds an endpoint not clean."""
    hosts = origin.hosts[:ENDPOINTS]
    with relay("late", ROUND_TRIP, origin.many_port, cores[0]) as (_, port):
        settings = setup(origin, many=["127.0.0.1", port], hosts=hosts)
        warm = _report(["warm", str(rounds * WARM_CHECKS)], settings, cores[1])
        phases = [_report(["fresh"], settings, cores[1]) for _ in range(rounds)]
        pins = origin.folder / "exam.toml"
        pins.write_text(_pin_file(origin, hosts, port))
        rest = ["-m", "detector", "check", "--pins", str(pins), "--roots", str(origin.roots)]
        rest += ["--ct-logs", str(origin.logs), "--proxy", "none", "--offline", "--format", "json"]
        _clean([sys.executable, *rest], cores[1])  # fills the cache of compiled Python
        data = data_sets.write(origin.folder / "knowledge")
        colds, updated, bares, loads = [], [], [], []
        for _ in range(rounds):
            colds.append(_clean([sys.executable, *rest, "--data", "shipped"], cores[1]).wall * 1000)
            updated.append(_clean([sys.executable, *rest, "--data", str(data)], cores[1]).wall * 1000)
            loads.append(json.loads(_clean([sys.executable, "-m", "benchmark.data_sets", str(data)], cores[1]).output))
            bares.append(_clean([sys.executable, "-c", "pass"], cores[1]).wall * 1000)
        modules = imports(_clean([sys.executable, "-X", "importtime", *rest], cores[1]).output)
    return Start(
        Spread.of(warm["check_ms"]),
        Spread.of(warm["floor_ms"]),
        difference(warm["check_ms"], warm["floor_ms"]),
        Spread.of(colds),
        Spread.of(bares),
        Spread.of(updated),
        difference(updated, colds),
        Spread.of(one["open_ms"] for one in loads),
        Spread.of(one["read_ms"] for one in loads),
        {name: statistics.median(one[name] for one in phases) for name in phases[0]},
        by_package(modules)[:MODULES],
    )


def _pin_file(origin: Origin, hosts: Sequence[str], port: int) -> str:
    lines = ["schema = 1", 'name = "benchmark"']
    for host in hosts:
        lines += ["", "[[endpoint]]", f'host = "{host}"', 'category = "exam"', f'address = "127.0.0.1:{port}"']
        lines += [f'pins = ["sha256:{origin.pins[host]}"]']
    return "\n".join(lines) + "\n"


def _clean(command: list[str], core: int | None, stdin: str = "") -> Run:
    run = measure(command, core=core, stdin=stdin, env=ENVIRONMENT)
    if run.code:
        raise NotRunError(f"{' '.join(command[:5])} ended with {run.code}: {run.output.strip()[-500:]}")
    return run


def _report(arguments: list[str], settings: str, core: int | None) -> dict[str, Any]:
    """Run `benchmark.exam` and return its report."""
    output = _clean([sys.executable, "-m", "benchmark.exam", *arguments], core, settings).output
    report: dict[str, Any] = json.loads(output.strip().rpartition("\n")[2])
    return report
