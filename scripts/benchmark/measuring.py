"""Runs contenders side by side, and makes tables of what they took. Pure but for `run`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

PATIENCE: Final = 600.0
"""Seconds for one run of one contender."""


class Contender(NamedTuple):
    """A program to measure. `command` makes what to run for a number of handshakes; `base` is how many are its start.

    `handshakes` is how many one run makes. `needed` says that the benchmark is no benchmark without it.
    `what` says what it does that others may not.
    """

    name: str
    command: Callable[[int], list[str]]
    handshakes: int
    what: str
    base: int | None = 0
    needed: bool = False


class Run(NamedTuple):
    """One run: CPU seconds of the process and its children, seconds on the clock, and what it printed as JSON."""

    cpu: float
    wall: float
    told: Mapping[str, float]


class Measured(NamedTuple):
    """A contender over all rounds: CPU milliseconds per handshake in each, and latencies where it tells them."""

    name: str
    what: str
    cpu_ms: tuple[float, ...]
    p50: float | None
    p99: float | None


class BenchmarkError(Exception):
    """A contender that must run does not."""


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Run:
    """Run one command to its end. Raises `BenchmarkError` naming it when it fails or hangs."""
    begun = time.perf_counter()
    output = folder / "output"
    with output.open("wb") as stdout, (folder / "complaints").open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment, cwd=folder)  # noqa: S603 - ours
        until = begun + PATIENCE
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.perf_counter() > until:
                process.kill()
                os.wait4(process.pid, 0)
                raise BenchmarkError(f"{command[0]} was not done after {PATIENCE:.0f} s.")
            time.sleep(0.002)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        words = (folder / "complaints").read_text("utf-8", "replace").strip().splitlines()
        last = words[-1] if words else "no word"
        raise BenchmarkError(f"{' '.join(command)} ended with {process.returncode}: {last}")
    lines = output.read_bytes().splitlines()
    told: dict[str, float] = json.loads(lines[-1]) if lines and lines[-1].startswith(b"{") else {}
    return Run(usage.ru_utime + usage.ru_stime, time.perf_counter() - begun, told)


def measure(
    contenders: Sequence[Contender], rounds: int, environment: Mapping[str, str], folder: Path
) -> tuple[list[Measured], dict[str, str]]:
    """Run all contenders in turn, `rounds` times; those that do not run, with the reason, unless they are needed.

    Raises `BenchmarkError` when a needed one does not run.
    """
    cpu: dict[str, list[float]] = {}
    told: dict[str, list[Mapping[str, float]]] = {}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for each in contenders:
            if each.name in failed:
                continue
            try:
                start = 0.0 if each.base is None else run(each.command(each.base), environment, folder).cpu
                done = run(each.command(each.handshakes), environment, folder)
            except (BenchmarkError, OSError) as error:
                if each.needed:
                    raise BenchmarkError(f"{each.name}: {error}") from error
                failed[each.name] = str(error)
                continue
            counted = each.handshakes - (each.base or 0)
            cpu.setdefault(each.name, []).append((done.cpu - start) / counted * 1000)
            told.setdefault(each.name, []).append(done.told)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    found = [
        Measured(
            each.name,
            each.what,
            tuple(cpu[each.name]),
            _median(told[each.name], "p50"),
            _median(told[each.name], "p99"),
        )
        for each in contenders
        if each.name in cpu and each.name not in failed
    ]
    return found, failed


def _median(told: Sequence[Mapping[str, float]], key: str) -> float | None:
    values = [each[key] for each in told if key in each]
    return statistics.median(values) if values else None


def ratios(measured: Measured, reference: Measured) -> tuple[float, ...]:
    """What it took in each round, the reference in the same round being 1."""
    return tuple(mine / theirs for mine, theirs in zip(measured.cpu_ms, reference.cpu_ms, strict=True))


def table(measured: Sequence[Measured], reference: str) -> list[str]:
    """Lines of Markdown: CPU per handshake, its ratio to the reference (least, median, most), rate, latencies."""
    base = next(each for each in measured if each.name == reference)
    against = f"{reference} = 1.00 (least to most)"
    head = ("contender", "CPU ms", against, "a second and core", "p50 ms", "p99 ms", "what it does")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for each in sorted(measured, key=lambda one: statistics.median(one.cpu_ms)):
        cpu, compared = statistics.median(each.cpu_ms), ratios(each, base)
        lines.append(
            f"| {each.name} | {cpu:.2f} "
            f"| {statistics.median(compared):.2f} ({min(compared):.2f} to {max(compared):.2f}) "
            f"| {1000 / cpu:.0f} | {_shown(each.p50)} | {_shown(each.p99)} | {each.what} |"
        )
    return lines


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
