"""Runs a scan: numbered targets in, one row each out as results come (`detector.session.stream`).

Room: scan. What is kept is bounded, whatever the number of targets: see the stream.
"""

from __future__ import annotations

import contextlib
from itertools import count, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.aio.tasks import run_in_thread
from detector.judge.evidence import EndpointEvidence
from detector.model import Confidence, Record, Result, Verdict
from detector.session.session import context_of
from detector.session.stream import Probed, Prober, StreamSettings, stream

from .targets import BadLine, Target

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Iterable, Iterator

    from detector.model import Endpoint
    from detector.session.session import Detector
    from detector.session.stream import Probe

BATCH: Final = 256
"""Targets read at once, in a thread: a pipe may keep its reader waiting."""

FOLLOW_UP: Final = "follow-up"
"""The place in the source of a canary that a follow-up probes."""


class Replaced(Record, frozen=True, kw_only=True):
    """What an earlier result of a target said, as far as counting needs it."""

    verdict: Verdict
    confidence: Confidence | None = None


class Scanned(Result, frozen=True, kw_only=True):
    """A result of a scan.

    `number` is the target's in the order of the source, from 0, and negative for a canary that a follow-up probed;
    `where` is its place in the source. `replaces` is what a result that `amends` an earlier one corrects, None in all
    others.
    """

    number: int
    where: str = ""
    replaces: Replaced | None = None


class Numbered(NamedTuple):
    """A target with its number in the order of the source."""

    number: int
    target: Target


def row(result: Result, previous: Result | None, of: Numbered) -> Scanned:
    """The row of a result; `previous` is the result that it amends."""
    return Scanned(
        **{field: getattr(result, field) for field in Result.__struct_fields__},
        number=of.number,
        where=of.target.where,
        replaces=None if previous is None else Replaced(verdict=previous.verdict, confidence=previous.confidence),
    )


def canary_targets(canaries: Iterable[Endpoint], numbers: Iterator[int]) -> tuple[Numbered, ...]:
    """Canaries of a follow-up as targets."""
    return tuple(Numbered(next(numbers), Target(canary, FOLLOW_UP, named=False)) for canary in canaries)


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
    await detector.prepare()  # imports open files, which many connections may leave none of
    prober, canary_numbers = Prober(probe or detector.probe, settings), count(-1, -1)

    async def source() -> AsyncIterator[Numbered]:
        async for batch in numbered_batches(targets, size=BATCH, done=done, on_bad_line=on_bad_line):
            for numbered in batch:
                yield numbered

    async def probe_one(numbered: Numbered) -> tuple[Probed[Numbered]]:
        endpoint = detector.expected(numbered.target.endpoint)
        first, *others = await prober(endpoint)
        evidence = EndpointEvidence(endpoint, first, context_of(detector), others=others)
        return (Probed(numbered, evidence, named=numbered.target.named),)

    results = stream(
        detector,
        source(),
        probe_one,
        follow_up=lambda _, canaries: canary_targets(canaries, canary_numbers),
        limit=settings.concurrency,
    )
    async with contextlib.aclosing(results):
        async for label, result, previous, _ in results:
            yield row(result, previous, label)


async def numbered_batches(
    targets: Iterable[Target | BadLine],
    *,
    size: int,
    done: Container[int] = (),
    on_bad_line: Callable[[BadLine], None] | None = None,
) -> AsyncIterator[tuple[Numbered, ...]]:
    """Number the targets, and yield those that are not `done` in non-empty batches.

    They are read in a thread that nothing waits for at the end: it may be reading from a pipe that brings nothing.
    """
    iterator, numbers = iter(targets), count()
    while lines := await run_in_thread(lambda: list(islice(iterator, size))):
        batch = []
        for line in lines:
            if isinstance(line, BadLine):
                if on_bad_line is not None:
                    on_bad_line(line)
            elif (number := next(numbers)) not in done:
                batch.append(Numbered(number, line))
        if batch:
            yield tuple(batch)
