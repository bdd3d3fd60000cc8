"""Measures contenders in alternation, and summarizes. Only `measure_once` and `alternate` start processes."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final, NamedTuple

from .contenders import CONCURRENCY, ENVIRONMENT, REFERENCE, Absent, Contender, read_json
from .process import NotRunError, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .contenders import Command
    from .origin import Origin
    from .process import Run

ALONE: Final = 60
"""Sequential probes that measure latency."""


class TooShortError(NotRunError):
    """A run whose probes are lost in the noise of its start-up. More probes would help, so this fails no contender."""


class Sample(NamedTuple):
    """One contender in one round: milliseconds of CPU per probe and of start-up, connections per probe, latency."""

    cpu_ms: float
    startup_ms: float
    connections: float
    p50_ms: float | None = None
    p99_ms: float | None = None


class Spread(NamedTuple):
    """Minimum, median and maximum of the rounds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarize. Raises ValueError for no values."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("nothing was measured")
        return cls(ordered[0], statistics.median(ordered), ordered[-1])


class Summary(NamedTuple):
    """One contender over all rounds. `ratio` is taken within each round; None without the reference."""

    name: str
    cpu_ms: Spread
    ratio: Spread | None
    rate: float
    startup_ms: float
    connections: float
    p50_ms: float | None
    p99_ms: float | None


def per_probe(working: float, idle: float, probes: int) -> float:
    """Return milliseconds of CPU per probe, from the CPU seconds of a run and of one without probes.

    Raises NotRunError for no probes, TooShortError when the run without probes took longer.
    """
    if probes < 1:
        raise NotRunError("no probe was made")
    if working <= idle:
        raise TooShortError(f"{probes} probes took no longer than none: {working:.3f} and {idle:.3f} s of CPU")
    return (working - idle) * 1000 / probes


def summarise(samples: Mapping[str, Sequence[Sample]], reference: str = REFERENCE) -> list[Summary]:
    """Return a row for each contender, in the given order. Each has a sample for each round."""
    base = samples.get(reference)
    rows = []
    for name, taken in samples.items():
        cpu = Spread.of(one.cpu_ms for one in taken)
        ratio = None
        if base is not None:
            ratio = Spread.of(one.cpu_ms / other.cpu_ms for one, other in zip(taken, base, strict=True))
        rows.append(
            Summary(
                name,
                cpu,
                ratio,
                1000 / cpu.median,
                statistics.median(one.startup_ms for one in taken),
                statistics.median(one.connections for one in taken),
                _middle(one.p50_ms for one in taken),
                _middle(one.p99_ms for one in taken),
            )
        )
    return rows


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def measure_once(contender: Contender, origin: Origin, core: int | None, *, scale: float) -> Sample:
    """Measure one contender once. Raises NotRunError when it does not do its work."""
    probes = max(int(contender.probes * scale), 1) if contender.probes else 0
    begin = origin.accepted()
    idle = _run(contender.idle(origin), core)
    if idle.code and contender.gives_latency:
        raise NotRunError(idle.output.strip()[-300:])
    before = origin.accepted()
    working = _run(contender.work(origin, probes, CONCURRENCY), core)
    connections = (origin.accepted() - before) - (before - begin)
    if working.code:
        raise NotRunError(f"ended with {working.code}: {working.output.strip()[-300:]}")
    made = contender.counted(working.output)
    if probes and made != probes:
        raise NotRunError(f"{probes} probes were wanted and {made} were made: {working.output.strip()[-300:]}")
    startup = idle.cpu
    if contender.name == "openssl s_client":  # one process per probe, also in the run that measures start-up
        startup = idle.cpu * probes / contender.probes
    cpu = per_probe(working.cpu, startup, made)
    sample = Sample(cpu, idle.cpu * 1000, connections / made)
    if contender.gives_latency:
        alone = read_json(_run(contender.work(origin, ALONE, 1), core).output)
        sample = sample._replace(p50_ms=alone["p50_ms"], p99_ms=alone["p99_ms"])
    return sample


def _run(command: Command, core: int | None) -> Run:
    return measure(command.arguments, core=core, stdin=command.stdin, env=ENVIRONMENT)


def alternate(  # noqa: PLR0913 - keyword-only past the two that take part
    contenders: Sequence[Contender],
    origin: Origin,
    *,
    core: int | None,
    rounds: int,
    scale: float,
    report: Callable[[str], None],
) -> tuple[dict[str, list[Sample]], list[Absent]]:
    """Measure every contender once per round; the second value has those that failed.

    Raises NotRunError when a required one fails.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    failed: list[Absent] = []
    for contender in contenders:
        _run(contender.idle(origin), core)  # fills caches: compiled Python, files
    for number in range(rounds):
        for contender in contenders:
            if contender.name not in samples:
                continue
            try:
                sample = measure_once(contender, origin, core, scale=scale)
            except NotRunError as error:
                if contender.required and not isinstance(error, TooShortError):
                    raise NotRunError(f"{contender.name}: {error}") from error
                failed.append(Absent(contender.name, str(error)))
                del samples[contender.name]
                continue
            samples[contender.name].append(sample)
            report(f"round {number + 1}/{rounds}  {contender.name:<26}{sample.cpu_ms:9.3f} ms of CPU per probe")
    return samples, failed
