"""`detector watch`: probes again and again, and says when something changes.

Room: cli. Human lines or JSON Lines, each written out at once: what was reported must survive how the program ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from detector.judge.wording import tone
from detector.model import Confidence, Verdict
from detector.session.session import Detector
from detector.watch.events import WatchKind
from detector.watch.schedule import INTERVAL_DEFAULT
from detector.watch.state import WatchSummary

from . import common

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from detector.model import Endpoint
    from detector.watch.events import WatchEvent

INTERVAL_LEAST: Final = 1.0
"""Seconds; more often is a load on other people's servers and not a watch."""
INTERVAL_MOST: Final = 3600.0
"""Seconds; less often than hourly is `check` in a scheduler's business."""
DEADLINE_LONGEST: Final = 60.0
"""Seconds for one probe; the slowest interceptors need a few."""
ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and how a service manager ends a program."""
_COLOUR: Final = {"clean": "green", "intercepted": "red", "uncertain": "yellow"}
_KIND_WIDTH: Final = max(map(len, WatchKind))


@click.command()
@click.argument("targets", nargs=-1, metavar="[HOST[:PORT]]...")
@click.option(
    "--interval",
    type=click.FloatRange(min=INTERVAL_LEAST, max=INTERVAL_MOST),
    default=INTERVAL_DEFAULT,
    show_default=True,
    metavar="SECONDS",
    help="Mean time between two probes of one endpoint; when each comes cannot be foreseen.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    default=math.inf,
    metavar="SECONDS",
    help="End after this time; without it, on Ctrl-C or SIGTERM.",
)
@common.deadline_option("Time one probe may take.", longest=DEADLINE_LONGEST)
@common.fail_on_option("Least confidence of middleware, at any time, that makes the exit code 1; below it it is 3.")
@click.option(
    "--metrics",
    metavar="PORT|HOST:PORT",
    help="Serve Prometheus metrics there, on loopback where no host is given (extra: metrics).",
)
@common.known_history_option
@common.common
def watch(  # noqa: PLR0913 - one parameter per option
    *,
    options: common.Options,
    targets: tuple[str, ...],
    interval: float,
    duration: float,
    deadline: float,
    fail_on: str,
    metrics: str | None,
    place: str | None,
) -> int:
    """Watch the endpoints named, or every endpoint of the pin files, and say when something changes.

    Ends after --duration, or on Ctrl-C or SIGTERM, and then by what it saw. Exit code: 0 clean from beginning to end
    without a gap, 1 middleware at --fail-on or above at any time, 2 bad usage or input, 3 anything else.
    """
    if options.format not in {common.Format.TABLE, common.Format.JSONL}:
        raise click.BadParameter(
            f"'{options.format}' cannot be written event by event; use table or jsonl.", param_hint="'--format'"
        )
    seen = WatchSummary()
    with contextlib.ExitStack() as stack:
        history = None if place is None else stack.enter_context(common.open_history(place))
        detector = Detector(**common.settings(options, seen_before=common.seen_before(history)))
        endpoints = detector.endpoints(targets or None)
        write = stack.enter_context(_lines(options.output))

        def tell(event: WatchEvent) -> None:
            seen.note(event)
            write(event.to_json().decode() if options.format is common.Format.JSONL else _line(event))

        asyncio.run(
            _watch(
                detector.watch,
                endpoints,
                tell,
                metrics,
                targets=endpoints if targets else None,
                interval=interval,
                deadline=deadline,
                duration=duration,
            )
        )
    return _exit_code(seen, Confidence(fail_on))


async def _watch(
    watching: Callable[..., AsyncGenerator[WatchEvent, None]],
    endpoints: Sequence[Endpoint],
    tell: Callable[[WatchEvent], None],
    metrics: str | None,
    **options: Any,  # noqa: ANN401 - arguments of Detector.watch
) -> None:
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_ended_by_signals(stop))
        on_probe, on_event = None, None
        if metrics is not None:
            from detector.watch.metrics import WatchMetrics, parse_place, serve  # noqa: PLC0415 - on request only

            exported = WatchMetrics(endpoints)
            await stack.enter_async_context(serve(exported, *parse_place(metrics)))
            on_probe, on_event = exported.probed, exported.reported
        events = watching(stop=stop, on_probe=on_probe, **options)
        async for event in await stack.enter_async_context(contextlib.aclosing(events)):
            if on_event is not None:
                on_event(event)
            tell(event)


@contextlib.contextmanager
def _ended_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the first signal that ends programs; the next one does what it does everywhere."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(*_: object) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    for number in ENDING_SIGNALS:
        signal.signal(number, end)
    try:
        yield
    finally:
        restore()


@contextlib.contextmanager
def _lines(output: str | None) -> Iterator[Callable[[str], None]]:
    """What writes one line at once: to standard output, or to the end of a file. Raises `OutputError`.

    Unlike a report, what a watch wrote must be there whenever it ends, so the file grows instead of appearing whole.
    """
    if output is None:
        yield lambda line: click.echo(line, color=False if os.environ.get("NO_COLOR") else None)
        return
    try:
        with Path(output).open("a", encoding="utf-8", newline="\n") as stream:
            yield lambda line: print(click.unstyle(line), file=stream, flush=True)
    except OSError as error:
        raise common.unwritable(output, error) from error


def _line(event: WatchEvent) -> str:
    """One event for a person."""
    shown = event.after or event.network
    style = _COLOUR[tone(shown.verdict, shown.confidence)]
    return f"{event.at:%H:%M:%S} {click.style(f'{event.kind:<{_KIND_WIDTH}}', fg=style, bold=True)} {event.summary}"


def _exit_code(seen: WatchSummary, fail_on: Confidence) -> int:
    if seen.verdict is Verdict.CLEAN:
        return common.CLEAN
    return common.MIDDLEWARE if seen.confidence and seen.confidence.reaches(fail_on) else common.INCONCLUSIVE
