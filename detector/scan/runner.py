"""Runs a scan: numbered targets in, one row each out as results come (`detector.session.stream`).

Room: scan. What is kept is bounded, whatever the number of targets: see the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count, islice
from typing import TYPE_CHECKING, Final

from detector.session.stream import Probed, Prober, StreamSettings, stream

from .results import FollowUps, Numbered, Scanned, row
from .targets import BadLine, Target

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Iterable

    from detector.session.session import Detector
    from detector.session.stream import Probe

BATCH: Final = 256
"""Targets read at once, in a thread: a pipe may keep its reader waiting."""


async def scan(  # noqa: PLR0913 - keyword-only past the source; each is one choice
    detector: Detector,
    targets: Iterable[Target | BadLine],
    *,
    settings: StreamSettings | None = None,
    done: Container[int] = (),
    on_bad_line: Callable[[BadLine], None] | None = None,
    probe: Probe | None = None,
) -> AsyncGenerator[Scanned, None]:
    """Probe and assess every target, at most `settings.concurrency` at once, and yield each row as it comes.

    Where something was not cleared, canaries are probed as well, once (`Detector.canaries`).

    `targets` are read in a thread, no faster than they are used; those whose number is in `done` are skipped. A
    `BadLine` among them goes to `on_bad_line` and has no number. `probe` replaces `detector.probe`. Closing the
    generator ends every connection. Raises what `targets` or `on_bad_line` raises, and nothing for reasons of network
    or peers.
    """
    settings = settings or StreamSettings()
    prober, follow_ups = Prober(probe or detector.probe, settings), FollowUps()

    async def source() -> AsyncIterator[Numbered]:
        async for batch in numbered_batches(targets, done=done, on_bad_line=on_bad_line):
            for numbered in batch:
                yield numbered

    async def probe_one(numbered: Numbered) -> tuple[Probed[Numbered]]:
        return (Probed(numbered, await prober(detector.expected(numbered.target.endpoint))),)

    results = stream(
        detector,
        source(),
        probe_one,
        follow_up=lambda _, canaries: follow_ups.targets(canaries),
        limit=settings.concurrency,
    )
    async with contextlib.aclosing(results):
        async for label, result, previous, _ in results:
            yield row(result, previous, label)


async def numbered_batches(
    targets: Iterable[Target | BadLine],
    *,
    done: Container[int] = (),
    on_bad_line: Callable[[BadLine], None] | None = None,
) -> AsyncIterator[tuple[Numbered, ...]]:
    """Number the targets, and yield those that are not `done` in non-empty batches, read in a thread."""
    iterator, numbers = iter(targets), count()
    while lines := await asyncio.to_thread(lambda: list(islice(iterator, BATCH))):
        batch = []
        for line in lines:
            if isinstance(line, BadLine):
                if on_bad_line is not None:
                    on_bad_line(line)
            elif (number := next(numbers)) not in done:
                batch.append(Numbered(number, line))
        if batch:
            yield tuple(batch)
