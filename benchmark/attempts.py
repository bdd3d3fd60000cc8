"""What every contender in Python shares: many attempts at once, the limit of open files, and its command line.

Each contender is a process of its own, so that its CPU and memory can be measured. Every probe is a new connection and
a full handshake; an incomplete one ends the process with a message. The process prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import resource
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    Attempt = Callable[[str, int], Awaitable[None]]
    Run = Callable[[str, dict[str, Any], int, int], Coroutine[Any, Any, dict[str, Any]]]
    """Runs a kind of client with settings, so many times, so many at once; returns its report."""

FILES: Final = 65536
"""Limit of open files to request: enough for 20,000 connections and a relay with two ends."""
CHAIN: Final = 3
"""Certificates the origin presents."""


class IncompleteError(RuntimeError):
    """A probe that did not complete."""


def raise_file_limit() -> int:
    """Raise the limit of open files as far as possible, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (FILES, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def attempt_many(
    attempt: Callable[..., Awaitable[None]], places: Iterable[tuple[Any, ...]], count: int, concurrency: int
) -> list[float]:
    """Call `attempt` `count` times with the arguments in `places` in turn; returns the milliseconds of each call."""
    source, took = itertools.islice(itertools.cycle(places), count), []

    async def work() -> None:
        for place in source:
            begun = time.perf_counter()
            await attempt(*place)
            took.append((time.perf_counter() - begun) * 1000)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, count)):
            group.create_task(work())
    return took


async def measured(attempt: Attempt, settings: dict[str, Any], count: int, concurrency: int) -> dict[str, Any]:
    """Attempt the addresses of the settings in turn; returns the report with the latency of a probe."""
    addresses = [(str(address), int(port)) for address, port in settings["addresses"]]
    begun = time.perf_counter()
    took = sorted(await attempt_many(attempt, addresses, count, concurrency))
    report: dict[str, Any] = {"completed": count, "wall_s": time.perf_counter() - begun}
    if took:
        report |= {"p50_ms": took[(len(took) - 1) // 2], "p99_ms": took[(len(took) - 1) * 99 // 100]}
    return report


def main(run: Run, kinds: Sequence[str]) -> int:
    """Run a kind of client from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", help=f"one of {', '.join(kinds)}; the detector's with a colon and the hello")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=32)
    options = parser.parse_args()
    raise_file_limit()
    settings = {"patience": 30.0, **json.load(sys.stdin)}
    try:
        printed = asyncio.run(run(options.kind, settings, options.count, options.concurrency))
    except (IncompleteError, OSError, ExceptionGroup) as error:
        first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        print(f"{options.kind}: {first!r}", file=sys.stderr)
        return 1
    print(json.dumps(printed))
    return 0
