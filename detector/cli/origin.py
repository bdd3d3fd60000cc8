"""`detector origin judge`: what a server's log shows of interception between its clients and it.

Room: cli.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import stat
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import InputError
from detector.knowledge import data_set
from detector.model import Category, Confidence, Detail, EndpointName, KnowledgeKind, Verdict
from detector.origin import reports as origin_reports
from detector.origin.logs import LogFormat, LogReader
from detector.origin.networks import KEY_BYTES_MIN, Networks
from detector.pins import parse_target
from detector.report.sentences import gravity
from detector.session.seams import utc_now
from detector.version import VERSION

from . import common, options
from .options import Format
from .stderr import say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, TextIO

    from detector import report as reporting
    from detector.model import Report
else:
    reporting = LazyModule("detector.report")

CHUNK_BYTES: Final = 1 << 20
"""Read at once: thousands of lines."""
KEY_BYTES_MAX: Final = 4096
"""Largest key file; 32 bytes are plenty."""
AT_LEAST: Final = 5
"""Clients below which a network is not shown: fewer could be known to be certain people."""
KIND: Final = "origin"
"""The kind of these runs in a history."""


@options.group(
    "detector origin judge detector.log --format nginx --site exam.example.edu", sections={"Read": ("judge",)}
)
def origin() -> None:
    """Find interception from the server's own side."""


@origin.subcommand(
    "detector origin judge detector.log --format nginx --site exam.example.edu",
    "detector origin judge detector.log --format nginx --site exam.example.edu --history runs.sqlite -v",
    "detector origin judge detector.log --format nginx --site exam.example.edu --by-network --network-key secret",
)
def judge(  # noqa: PLR0913 - one parameter per option
    *,
    log: str = options.argument(metavar="FILE|-"),
    log_format: LogFormat = options.target(
        "--format", "Whose log it is.", type=options.Choice(LogFormat), required=True
    ),
    site: str = options.target(
        "--site", "The site that logged, as reports name it.", metavar="HOST[:PORT]", default="this-site"
    ),
    by_network: bool = options.target(
        "--by-network", "Report on each network (/24, /48) by itself, named by a keyed hash.", is_flag=True
    ),
    network_key: str | None = options.target(
        "--network-key", f"File with the secret key of these hashes, of {KEY_BYTES_MIN} bytes or more.", metavar="FILE"
    ),
    at_least: int = options.target(
        "--at-least",
        "Show no network with fewer clients than this.",
        type=click.IntRange(1, 1_000_000),
        default=AT_LEAST,
    ),
    nothing_in_between: bool = options.target(
        "--nothing-in-between", "No CDN or front of your own ends TLS before the server that logged.", is_flag=True
    ),
    fail_on: Confidence = options.fail_on(),
    place: str | None = options.kept_history,
    settings: dict[str, Any] = options.settings(only={"data", "vantage"}),
    out: options.Output = options.written(
        *(Format.TABLE, Format.JSON, Format.JSONL, Format.HTML, Format.ECS, Format.OCSF, Format.CEF, Format.SYSLOG),
        flag="--output-format",
    ),
) -> int:
    """Assess the ClientHellos of a server's log.

    Each is compared with the browser that the request names. The log is that of nginx or HAProxy as
    docs/origin-logs.md configures them, or JSON Lines; - reads standard input. It is read once, in constant memory.
    Addresses, accounts and headers appear in no output and no history.

    Exit code: 0 nothing seen, which clears nobody; 1 interception at or above --fail-on; 2 bad usage or input;
    3 interception below it, a log that could not be used, or no network large enough to be shown.
    """
    host, port = parse_target(site)
    key = _key(network_key, by_network=by_network)
    known, reader = data_set.read(settings.get("data")), LogReader(log_format)
    networks = Networks(key, nothing_in_between=nothing_in_between, data=known.browser_offers)
    with common.result_stream(out.file) as stream, common.SideHistory(place) as kept:
        moments = _read(log, reader, networks)
        _report_faults(log, reader, networks)
        common.warn_of_age((known.part(KnowledgeKind.BROWSER_OFFERS),), utc_now())
        if moments is None or 2 * reader.unreadable > reader.lines:
            say(f"Error: {_named(log)} has too few lines in the form of --format {log_format} to say anything.")
            return common.INCONCLUSIVE
        about = origin_reports.Log(
            site=EndpointName(host=host, port=port, category=Category.EXAM),
            started=moments[0],
            finished=moments[1],
            version=VERSION,
            knowledge=(known.part(KnowledgeKind.BROWSER_OFFERS),),
        )
        if by_network:
            found = list(networks.found())
            shown = [one for one in found if one.name and one.share.clients >= at_least]
            reports = sorted(
                (origin_reports.of_network(one, about) for one in shown), key=lambda one: (gravity(one), one.vantage)
            )
            if left := len(found) - len(shown):
                few = f"with fewer than {at_least} clients or without an address"
                say(f"Note: not shown, {few}: {left} of {len(found)}.")
        else:
            reports = [origin_reports.of_log(networks, about, vantage=settings.get("vantage", ""))]
            say(f"Note: {origin_reports.share_of(reports[0])}")
        common.in_order(
            lambda: _write(reports, out, stream, at_least if by_network else None),
            lambda: kept.write(lambda history: [history.record(report, kind=KIND) for report in reports]),
        )
    codes = (_exit_code(report, fail_on) for report in reports)
    return max(codes, key=_EXIT_ORDER.index, default=common.INCONCLUSIVE)


_EXIT_ORDER: Final = (common.CLEAN, common.INCONCLUSIVE, common.MIDDLEWARE)


def _exit_code(report: Report, fail_on: Confidence) -> int:
    """As for other commands, but that nothing seen is what this command is content with."""
    return common.exit_code(report, fail_on) if report.verdict is Verdict.MIDDLEWARE else common.CLEAN


def _key(path: str | None, *, by_network: bool) -> bytes:
    """The operator's key; without one a random one, which is forgotten, where no name of a network is shown."""
    advice = "Make one with `openssl rand -out network.key 32`, and keep it secret."
    if path is None:
        if by_network:
            raise click.UsageError(f"--by-network needs --network-key FILE: names of networks depend on it. {advice}")
        return os.urandom(KEY_BYTES_MIN)
    key = common.read_file(path, KEY_BYTES_MAX, InputError, advice)
    if len(key) < KEY_BYTES_MIN:
        raise InputError(
            f"--network-key {path}: has {len(key)} bytes, at least {KEY_BYTES_MIN} are needed.", advice=advice
        )
    return key


def _read(path: str, reader: LogReader, networks: Networks) -> tuple[dt.datetime, dt.datetime] | None:
    """Take a whole log; return the moments of its first and last entry, None where it has none. Raises `InputError`."""
    first = last = None
    with common.open_input(path, InputError, "Name a readable log, or - for standard input.") as file:
        _refuse_device(file, path)
        for entry in reader.entries(iter(functools.partial(file.read, CHUNK_BYTES), b"")):
            networks.add(entry)
            first, last = first or entry.time, entry.time
    if last is None:
        return None
    begun, ended = sorted((_moment(first or last), _moment(last)))
    return begun, ended


def _refuse_device(file: IO[bytes], path: str) -> None:
    mode = 0 if path == common.STDIN else os.fstat(file.fileno()).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise InputError(
            f"{path}: is a device, which may never end.", advice="Name a log, a pipe, or - for standard input."
        )


def _moment(text: str) -> dt.datetime:
    """The time of a line; now, where it has none that can be read."""
    try:
        return msgspec.convert(text, dt.datetime).astimezone(dt.UTC)
    except (msgspec.ValidationError, OverflowError):
        return utc_now()


def _report_faults(path: str, reader: LogReader, networks: Networks) -> None:
    """Say what was not read."""
    if reader.unreadable:
        named = ", ".join(f"line {number} ({why})" for number, why in reader.faults)
        more = ", …" if reader.unreadable > len(reader.faults) else ""
        say(f"Warning: {reader.unreadable} of {reader.lines} lines of {_named(path)} cannot be read: {named}{more}.")
    if reader.without_hello:
        say(f"Note: {reader.without_hello} of {reader.lines} lines say nothing of a ClientHello.")
    if networks.left_out:
        say(f"Warning: {networks.left_out} lines were left out: too many networks, or too many different clients.")


def _named(path: str) -> str:
    return "standard input" if path == common.STDIN else path


def _write(reports: Sequence[Report], out: options.Output, stream: TextIO, at_least: int | None) -> None:
    """Write one report on all, or those on networks of so many clients."""
    match out.form:
        case Format.TABLE if at_least is not None:
            stream.write(
                _table(reports, stream, out.detail) if reports else f"No network has {at_least} clients or more.\n"
            )
        case Format.JSON if at_least is not None:
            stream.write("[\n" + ",\n".join(common.as_json(report).rstrip() for report in reports) + "\n]\n")
        case Format.JSONL:
            stream.writelines(report.to_json().decode() + "\n" for report in reports)
        case Format.HTML if reports:
            stream.write(reporting.html(reports))
        case _:
            for report in reports:
                common.write(report, out, stream)


def _table(reports: Sequence[Report], stream: TextIO, detail: Detail) -> str:
    """The networks in short: a sentence, a row for each, and with -v the evidence on each."""
    seen = [report for report in reports if report.verdict is Verdict.MIDDLEWARE]
    counts = {level: sum(report.confidence is level for report in seen) for level in reversed(Confidence)}
    parts = [f"{level} in {number}" for level, number in counts.items() if number]
    text = (
        f"Of {len(reports)} networks, interception is {', '.join(parts)}.\n"
        if seen
        else f"Of {len(reports)} networks, nothing was seen in any, which clears none of them.\n"
    )
    if detail is Detail.VERDICT:
        return text
    rows = [
        (report.vantage, str(report.confidence or "nothing seen"), *origin_reports.row(report)) for report in reports
    ]
    titles = ("network", "interception", "contradicted", "which is")
    text += "\n" + common.as_text(reporting.plain_table(titles, rows), stream)
    if detail is Detail.EVIDENCE:
        text += "".join(f"\n{report.vantage}\n{common.as_table(report, stream, detail)}" for report in seen)
    return text
