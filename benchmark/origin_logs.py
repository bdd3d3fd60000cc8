"""What `detector origin judge` costs on a large log: lines a second of processor time, and memory.

`python -m benchmark.origin_logs` writes a log of a million lines of each server, no two alike, and reads them in
alternation, each in a process of its own. A tenth of that is read as well: memory must not grow with the log.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SITE: Final = "exam.example.edu"
SUITES: Final = "1301 1302 1303 C02B C02F C02C C030 CCA9 CCA8 C013 C014 009C 009D 002F 0035"
NAMES: Final = (
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA"
)
EXTENSIONS: Final = "0000 0017 FF01 000A 000B 0023 0010 0005 000D 0012 0033 002D 002B 001B 44CD FE0D CA34"
AGENT: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
)
"""Chromium's, whose every hello is another one: extensions in an order of their own, five values of GREASE."""


class Cost(NamedTuple):
    """Lines for each second of processor time, and MiB of memory at the most."""

    rate: float
    mebibytes: float


def nginx_line(number: int, drawn: random.Random) -> str:
    """A line of docs/examples/nginx.conf."""
    grease = [f"0x{digit}a{digit}a" for digit in drawn.choices("0123456789abcdef", k=2)]
    return (
        f'{{"time":"2026-11-30T18:10:36+00:00","address":"{_address(number)}","account":"{number:032x}",'
        f'"ciphers":"{grease[0]}:{NAMES}","curves":"{grease[1]}:0x11ec:X25519:prime256v1:secp384r1",'
        f'"user_agent":"{AGENT.format(140 + number % 17)}","sec_ch_ua":""}}\n'
    )


def haproxy_line(number: int, drawn: random.Random) -> str:
    """A line of docs/examples/haproxy.cfg."""
    grease = [f"{digit}A{digit}A" for digit in drawn.choices("0123456789ABCDEF", k=4)]
    kinds = EXTENSIONS.split()
    drawn.shuffle(kinds)
    return (
        f'{{"time":"2026-11-30T18:10:36Z","address":"{_address(number)}","account":"{number:032x}","capture":512,'
        f'"ciphers":"{grease[0]}{SUITES.replace(" ", "")}","extensions":"{grease[1]}{"".join(kinds)}{grease[2]}",'
        f'"groups":"{grease[3]}11EC001D00170018","formats":"00",'
        f'"user_agent":"{AGENT.format(140 + number % 17)}","sec_ch_ua":"-"}}\n'
    )


def _address(number: int) -> str:
    """An address of one of a thousand networks."""
    network, host = number % 1000, number // 1000 % 250
    return f"10.{network // 250}.{network % 250}.{host}"


MAKERS: Final[dict[str, Callable[[int, random.Random], str]]] = {"nginx": nginx_line, "haproxy": haproxy_line}


def measure(form: str, log: Path) -> Cost:
    """Read a log in a process of its own."""
    words = (sys.executable, "-m", "detector", "origin", "judge", str(log), "--format", form, "--site", SITE, "-q")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - no shell; this package on a file that the benchmark wrote
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"detector origin judge ended with {process.returncode}")
    with log.open("rb") as file:
        number = sum(1 for _ in file)
    return Cost(number / (usage.ru_utime + usage.ru_stime), usage.ru_maxrss / 1024)


def written(folder: Path, form: str, number: int) -> Path:
    """A log of so many lines."""
    log, drawn = folder / f"{form}-{number}.log", random.Random(number)  # noqa: S311 - made-up log lines, the same in each run; nothing secret is drawn
    with log.open("w") as file:
        file.writelines(MAKERS[form](line, drawn) for line in range(number))
    return log


def rounds(lines: int, times: int) -> Iterator[tuple[str, int, Cost]]:
    """Measure each log so many times, in alternation."""
    with tempfile.TemporaryDirectory() as name:
        logs = [(form, size, written(Path(name), form, size)) for size in (lines // 10, lines) for form in MAKERS]
        for _ in range(times):
            for form, size, log in logs:
                yield form, size, measure(form, log)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.origin_logs", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[tuple[str, int], list[Cost]] = {}
    for form, size, cost in rounds(options.lines, options.rounds):
        found.setdefault((form, size), []).append(cost)
    print("| log | lines | lines/s of one core (median, range) | MiB at the most |")
    print("|---|---|---|---|")
    for (form, size), costs in found.items():
        rates = sorted(cost.rate for cost in costs)
        most = max(cost.mebibytes for cost in costs)
        rate = f"{statistics.median(rates):,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f})"
        print(f"| {form} | {size:,} | {rate} | {most:.0f} |")


if __name__ == "__main__":
    main()
