"""`detector ct watch`: certificates of our hosts in Certificate Transparency logs whose keys nobody here knows.

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any, Final

import click

from detector.ct import logs as ct_logs
from detector.ct.findings import NAMES_MAX, Finding, FindingKind
from detector.ct.matching import Watched
from detector.ct.monitor import Monitor, Summary
from detector.ct.state import FileOutput, Pending, State
from detector.ct.tiles import SIZE_MAX
from detector.errors import InputError
from detector.model import Assurance
from detector.model.validate import naming
from detector.session.seams import utc_now
from detector.session.session import Detector

from . import common, options, signals
from .options import Format
from .stderr import say
from .streams import printable, put

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.ct.monitor import FollowedLog
    from detector.ct.state import Output

INTERVAL_LEAST: Final = 10.0
"""Seconds; logs sign a new checkpoint about once a second, and more often than this is a load on others' servers."""
INTERVAL_DEFAULT: Final = 300.0
"""Seconds: a certificate is reported minutes after it is logged; where nothing is new, one request an interval."""
INTERVAL_MOST: Final = 86400.0
"""Seconds; to read less often than daily, run it with --once from a scheduler."""
_PROVEN: Final = (Assurance.PINNED, Assurance.WITNESSED)


@options.group(
    "detector ct watch --pins pins.toml --ct-logs log_list.json --state ct.json --once", sections={"Follow": ("watch",)}
)
def ct() -> None:
    """Follow Certificate Transparency logs."""


class _Screen:
    """Standard output: nobody can say what of it somebody has read."""

    def place(self) -> tuple[None, None]:
        """No file."""
        return None, None

    def write(self, text: str) -> None:
        """Write whole lines at once."""
        for line in text.splitlines():
            put(line)

    def complete(self, pending: Pending) -> None:
        """Write again what may not have been written."""
        self.write(pending.text)


@ct.subcommand(
    "detector ct watch --pins pins.toml --ct-logs log_list.json --state ct.json",
    "detector ct watch --pins pins.toml --ct-logs log_list.json --state ct.json --once --json",
    "detector ct watch --pins pins.toml --log https://elm.ct.example/2026=elm.pem --state ct.json --from-start",
    "detector ct watch --pins pins.toml --log mirror/elm=elm.pem --state ct.json --once -o found.txt",
)
def watch(  # noqa: PLR0913 - one parameter per option
    *,
    named: tuple[str, ...] = options.target(
        "--log",
        "Follow this log: where its files are, and its public key; repeatable.",
        multiple=True,
        metavar="URL|DIR=KEY",
    ),
    from_start: bool = options.target(
        "--from-start", "Read logs that the state does not know from their first entry.", is_flag=True
    ),
    since: int | None = options.target(
        "--since",
        "Read logs that the state does not know from this entry.",
        type=click.IntRange(0, SIZE_MAX),
        metavar="N",
    ),
    once: bool = options.probing("--once", "Read what the logs have now, and end.", is_flag=True),
    interval: float = options.probing(
        "--interval",
        "Time between the end of one reading and the next.",
        type=click.FloatRange(INTERVAL_LEAST, INTERVAL_MOST),
        default=INTERVAL_DEFAULT,
        metavar="SECONDS",
    ),
    duration: float = options.duration,
    leaf_keys_only: bool = options.trusting(
        "--leaf-keys-only", "Also report certificates below a pinned CA, unless their own key is known.", is_flag=True
    ),
    place: str | None = options.known_history,
    settings: dict[str, Any] = options.settings(only={"data", "pins", "ct-logs", "proxy", "resolve", "connect-to"}),
    state: str = options.result(
        "--state", "Where each log was read to; made if it is not there.", required=True, metavar="STATE"
    ),
    out: options.Output = options.written(Format.TABLE, Format.JSONL, quiet=False),
) -> int:
    """Report certificates in public logs whose keys nobody here knows.

    They are for the hosts of the pin files; known is a key that these or the history have for the host. Follows the
    static logs of --ct-logs and those of --log, and verifies what they show. A log that is new to the state is followed
    from its present end.

    Exit code: 0 every log was read to its end and nothing unknown was found; 1 a certificate with an unknown key; 2 bad
    usage or input; 3 a log could not be read or verified, or an entry with the name of a host could not be read.
    """
    if "pins" not in settings:
        raise click.UsageError("Name the pin files of your hosts with --pins.")
    if from_start and since is not None:
        raise click.UsageError("--from-start and --since exclude each other.")
    if once and duration != math.inf:
        raise click.UsageError("--once and --duration exclude each other.")
    common.refuse_same_file(state=state, output=out.file)
    detector = Detector(**settings)
    watched = _watched(detector, place, leaf_keys_only=leaf_keys_only)
    followed = _followed(detector, named, listed="logs" in settings or not named)
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(State(state, stack.enter_context(_output(out.file))))
        _describe(watched, followed)
        monitor = Monitor(
            logs=followed,
            watched=watched,
            state=found,
            clock=utc_now,
            line=_as_line if out.form is Format.TABLE else lambda finding: finding.to_json().decode(),
            note=say,
            start=0 if from_start else since,
        )
        summary = asyncio.run(_run(monitor, None if once else interval, duration))
    return _exit_code(summary)


def _watched(detector: Detector, place: str | None, *, leaf_keys_only: bool) -> Watched:
    """The hosts to watch for. Raises `InputError` where there is none, `HistoryError`."""
    endpoints, roots = detector.pins.endpoints, detector.expectations.data_set.known_roots.keys
    names = [endpoint.name for endpoint in endpoints]
    history: dict[str, frozenset[bytes]] = {}
    logged: dict[str, frozenset[bytes]] = {}
    if place is not None:
        with naming(common.HISTORY), contextlib.closing(common.open_history(place)) as kept:
            history = kept.leaf_keys(names, _PROVEN)
            logged = kept.leaf_keys(names, (Assurance.LOGGED,))
    watched = Watched(endpoints, roots=roots, history=history, logged=logged, leaf_keys_only=leaf_keys_only)
    if not watched.expected:
        raise InputError(
            "pins: no host in them has a name that public CAs certify.", advice="Name a pin file with such hosts."
        )
    return watched


def _followed(detector: Detector, named: Sequence[str], *, listed: bool) -> list[FollowedLog]:
    """The logs to follow. Raises `InputError` where there is none."""
    followed = []
    with naming("--log"):
        followed += [ct_logs.named(text, detector.route_to) for text in named]
    if listed:
        now = utc_now()
        selected = ct_logs.select(detector.logs, now, detector.route_to)
        followed += selected.followed
        if detector.logs.is_past_horizon(now):
            say(f"Warning: the list {detector.logs.name} is of {detector.logs.date}: newer logs are not followed.")
        if selected.dynamic or selected.unplaced:
            say(
                f"Of the list {detector.logs.name} {len(selected.followed)} logs are followed; {selected.dynamic} are "
                f"not because they have no tiles, {selected.unplaced} because the list does not say where they are."
            )
    by_id = {log.name.id: log for log in reversed(followed)}  # of a log that is given twice, what --log says counts
    if not by_id:
        raise InputError(
            "ct-logs: no log in the list can be followed.",
            advice="Give a current list in Google's v3 format with --ct-logs, or logs with --log.",
        )
    return list(by_id.values())[::-1]


def _describe(watched: Watched, followed: Sequence[FollowedLog]) -> None:
    say(f"{len(followed)} log(s) are followed for {len(watched.expected)} host(s).")
    if watched.unwatched:
        names = ", ".join(map(printable, watched.unwatched[:NAMES_MAX]))
        say(f"Not watched for, because no public CA certifies such names: {names}.")


@contextlib.contextmanager
def _output(output: str | None) -> Iterator[Output]:
    if output is None:
        yield _Screen()
        return
    with contextlib.closing(FileOutput(output)) as file:
        yield file


def _as_line(finding: Finding) -> str:
    return printable(f"{finding.at:%Y-%m-%d %H:%M:%S} {finding.summary}")


async def _run(monitor: Monitor, interval: float | None, duration: float) -> Summary:
    stop = asyncio.Event()
    with signals.setting(stop):
        if duration != math.inf:
            asyncio.get_running_loop().call_later(duration, stop.set)
        return await monitor.run(interval=interval, stop=stop)


def _exit_code(summary: Summary) -> int:
    say(f"{summary.entries} entries were read.")
    if summary.found[FindingKind.CERTIFICATE]:
        return common.MIDDLEWARE
    incomplete = summary.problems or summary.found[FindingKind.LOG] or summary.found[FindingKind.UNREADABLE]
    return common.INCONCLUSIVE if incomplete else common.CLEAN
