"""`detector watch`: probes again and again, and reports when something changes.

Room: cli. Human lines or JSON Lines, each written at once: what was reported must survive however the program ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import click

from detector.aio.lazy import LazyModule
from detector.aio.tasks import cancel_and_wait
from detector.judge.wording import mark, state, tone
from detector.knowledge import data_set
from detector.model import Detail, Verdict
from detector.model.validate import naming
from detector.session.session import Detector
from detector.watch import metrics as watch_metrics
from detector.watch.schedule import INTERVAL_DEFAULT
from detector.watch.state import WatchSummary

from . import common, data, options, reporting, signals
from .options import Format
from .stderr import say
from .streams import put

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    import detector.update as updates
    from detector.model import Confidence, Endpoint
    from detector.report import siem
    from detector.update import background as update_loop
    from detector.watch.events import WatchEvent
else:
    siem = LazyModule("detector.report.siem")
    update_loop = LazyModule("detector.update.background")
    updates = LazyModule("detector.update")

INTERVAL_LEAST: Final = 1.0
"""Seconds; more often is a load on other people's servers and not a watch."""
INTERVAL_MOST: Final = 3600.0
"""Seconds; to check less often than hourly, run `check` from a scheduler."""
DEADLINE_LONGEST: Final = 60.0
"""Seconds for one probe; the slowest interceptors need a few."""
UPDATE_DEFAULT: Final = 86400.0
"""Seconds, as in `detector.update.background`, which is imported late."""
UPDATE_LEAST: Final = 60.0
"""Seconds; more often is a load on other people's servers, and no list changes that often."""
METRICS_CONNECTIONS_MAX: Final = 1000
"""Leaves most of the 1024 files that a process may usually open."""
_COLOUR: Final = {"clean": "green", "intercepted": "red", "uncertain": "yellow"}


@options.command(
    "detector watch exam.example.edu --interval 30",
    "detector watch --duration 3600 --format jsonl -o events.jsonl",
    "detector watch exam.example.edu --metrics 9469",
)
def watch(  # noqa: PLR0913 - one parameter per option
    *,
    targets: tuple[str, ...] = options.targets,
    interval: float = options.probing(
        "--interval",
        "Mean time between two probes of one endpoint, which come at unpredictable times.",
        type=click.FloatRange(min=INTERVAL_LEAST, max=INTERVAL_MOST),
        default=INTERVAL_DEFAULT,
        metavar="SECONDS",
    ),
    duration: float = options.duration,
    deadline: float = options.deadline("Time limit of one probe.", longest=DEADLINE_LONGEST),
    fail_on: Confidence = options.fail_on(),
    metrics: str | None = options.result(
        "--metrics",
        "Serve Prometheus metrics there, on loopback without a host (extra metrics).",
        metavar="PORT|HOST:PORT",
    ),
    metrics_connections: int = options.result(
        "--metrics-connections",
        "Connections to the metrics served at once; others wait.",
        type=click.IntRange(1, METRICS_CONNECTIONS_MAX),
        default=watch_metrics.SCRAPES_DEFAULT,
    ),
    update: bool = options.service("--update", "Update what is known in the background (extra update).", is_flag=True),
    update_every: float = options.service(
        "--update-every",
        "Mean time between two updates.",
        type=click.FloatRange(min=UPDATE_LEAST),
        default=UPDATE_DEFAULT,
        metavar="SECONDS",
    ),
    update_from: str | None = options.service(
        "--update-from",
        "The repository, as of `detector data update --from`.  [default: the URL of the last update]",
        metavar="URL|DIR",
    ),
    update_root: str | None = options.service("--update-root", "As `detector data update --root`.", metavar="FILE"),
    place: str | None = options.known_history,
    settings: dict[str, Any] = options.settings(),
    report: dict[str, Any] = options.reporting,
    out: options.Output = options.written(Format.TABLE, Format.JSONL, *options.SIEM_LINES),
) -> int:
    """Watch endpoints and report when something changes.

    Probes the endpoints named, as hosts or URLs, or every endpoint of the pin files, again and again.

    Ends after --duration, or on Ctrl-C, SIGTERM or SIGHUP. Exit code: 0 clean from beginning to end without a gap, 1
    middleware at --fail-on or above at any time, 2 bad usage or input, 3 anything else.
    """
    if (update_from or update_root) and not update:
        raise click.UsageError("--update-from and --update-root need --update.")
    verdict_alone = out.detail is Detail.VERDICT and out.form is Format.TABLE
    seen = WatchSummary()
    with contextlib.ExitStack() as stack:
        history = stack.enter_context(common.SideHistory(place))
        detector = Detector(**settings, seen_before=history.genuine)
        current = _Current(detector, lambda: Detector(**settings, seen_before=history.genuine))
        updating = _updating(settings, update_from, update_root) if update else None
        endpoints = detector.endpoints(targets or None)
        write = stack.enter_context(_lines(out.file))
        reports = stack.enter_context(reporting.Reports(report, settings))
        reports.start()

        def show(event: WatchEvent) -> None:
            seen.note(event)
            reports.report(lambda reporter: reporter.event(event))
            if out.form in options.SIEM_LINES:
                if event.result is not None:
                    write(siem.LINES[out.form](siem.Event(event.result, event.at, event.vantage)).rstrip("\n"))
            elif not verdict_alone:
                write(event.to_json().decode() if out.form is Format.JSONL else _line(event, out.detail))

        schedule = {"interval": interval, "deadline": deadline, "duration": duration}
        served = None if metrics is None else (metrics, metrics_connections)
        watching = _watch(current, endpoints, show, served, targets=endpoints if targets else None, **schedule)
        asyncio.run(_updated(watching, current, updating, update_every) if updating else watching)
        if verdict_alone:
            write(f"The network was {state(seen.verdict, seen.confidence)}.")
    if seen.verdict is Verdict.CLEAN:
        return common.CLEAN
    return common.MIDDLEWARE if seen.confidence and seen.confidence.reaches(fail_on) else common.INCONCLUSIVE


class _Current:
    """The detector to probe with: the one that the watch began with, then one with the knowledge of each update."""

    def __init__(self, detector: Detector, make: Callable[[], Detector]) -> None:
        self.detector = detector
        self._make = make

    def renew(self, done: updates.Update) -> None:
        """Read what an update installed. Raises `InputError` where a pin file does not fit it: the old one goes on."""
        self.detector = self._make()
        say(f"What is known was updated to set {done.set}.")


def _updating(settings: dict[str, Any], place: str | None, root: str | None) -> Callable[[], updates.Update]:
    """The update of the folder that the watch reads. Raises click.UsageError for settings that it contradicts."""
    source = settings.get("data")
    if source == data_set.SHIPPED:
        raise click.UsageError("--update has no effect with --data shipped.")
    folder = None if source is None else str(source)
    repository = place or data.last_repository(folder, option="--update-from")
    if settings.get("offline") and repository.startswith("https:"):
        raise click.UsageError("--update fetches from a server, and --offline contacts nothing but the endpoints.")
    connect = data.connector_of(settings)
    run = updates.update  # imported before the watch begins: a missing extra is said at once
    return lambda: run(repository, folder=data.folder_of(folder), root=root, connect=connect)


async def _updated(
    watching: Coroutine[None, None, None], current: _Current, update: Callable[[], updates.Update], interval: float
) -> None:
    """Watch, and update in the background as long as that takes."""
    background = asyncio.create_task(
        update_loop.keep_updated(update, renewed=current.renew, say=say, interval=interval)
    )
    try:
        await watching
    finally:
        await cancel_and_wait([background])


async def _watch(
    current: _Current,
    endpoints: tuple[Endpoint, ...],
    report: Callable[[WatchEvent], None],
    metrics: tuple[str, int] | None,
    **arguments: Any,  # noqa: ANN401 - arguments of Detector.watch
) -> None:
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(signals.setting(stop))
        exported = None
        if metrics is not None:
            exported = watch_metrics.WatchMetrics(endpoints)
            exported.knows(current.detector.knowledge)
            with naming("--metrics"):
                place, connections = metrics
                serving = watch_metrics.serve(exported, *watch_metrics.parse_place(place), connections=connections)
                await stack.enter_async_context(serving)
        probed = None if exported is None else exported.probed
        events = current.detector.watch(stop=stop, on_probe=probed, renewed=lambda: current.detector, **arguments)
        async for event in await stack.enter_async_context(contextlib.aclosing(events)):
            if exported is not None:
                exported.reported(event)
            report(event)


@contextlib.contextmanager
def _lines(output: str | None) -> Iterator[Callable[[str], None]]:
    """The function that writes one line at once: to standard output, or appended to a file. Raises `OutputError`.

    Unlike a report, the events must be there however a watch ends, so the file grows instead of appearing complete.
    """
    if output is None:
        color = False if os.environ.get("NO_COLOR") else None
        yield lambda line: put(line, color=color)
        return
    with common.growing_stream(output, append=True) as stream:
        yield lambda line: print(click.unstyle(line), file=stream, flush=True)


def _line(event: WatchEvent, detail: Detail) -> str:
    """One event for a person; its kind, as programs read it, where evidence is wanted."""
    shown = event.after or event.network
    style = _COLOUR[tone(shown.verdict, shown.confidence)]
    sign = click.style(mark(shown.verdict, shown.confidence), fg=style, bold=True)
    code = f" [{event.kind}]" if detail is Detail.EVIDENCE else ""
    return f"{event.at:%H:%M:%S} {sign} {event.summary}{code}"
