"""`detector locate`: at which hop is TLS to a host answered?

Room: cli.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import click

from detector.aio.lazy import LazyModule
from detector.judge.hops import FINAL, Where
from detector.locate.locate import Located, Locating
from detector.locate.locate import locate as locate_host
from detector.model import Detail, HopAnswer, ProbeKind, encode
from detector.pins import parse_rule, parse_target
from detector.session.seams import utc_now
from detector.version import VERSION

from . import common, options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich import console as rich_console
    from rich import text as rich_text

    from detector import report as reports
    from detector.model import HopsObservation, HopTrace
else:
    rich_console = LazyModule("rich.console")
    rich_text = LazyModule("rich.text")
    reports = LazyModule("detector.report")

DEADLINE_DEFAULT: Final = 20.0
"""Seconds. A route whose routers are all silent takes the longest: about fifteen."""
DEADLINE_LONGEST: Final = 600.0
HOPS_LONGEST: Final = 64
"""Hops that no route exceeds: the usual TTL of a packet."""


@options.command(
    "detector locate exam.example.edu",
    "detector locate https://exam.example.edu/login --ipv4 --max-hops 20",
    "detector locate exam.example.edu --control-port 80 --control-port 22 --json",
)
@click.pass_obj
def locate(  # noqa: PLR0913 - one parameter per option
    started: float | None,
    *,
    target: str = options.argument(metavar="HOST[:PORT]"),
    control_ports: tuple[int, ...] = options.probing(
        "--control-port",
        "Port of the same address to compare with; repeatable.",
        type=click.IntRange(1, 65535),
        multiple=True,
        default=(80,),
        metavar="PORT",
    ),
    max_hops: int = options.probing("--max-hops", "Hops to try.", type=click.IntRange(1, HOPS_LONGEST), default=30),
    ip_version: int | None = options.probing("--ipv4", "Trace an IPv4 address.", flag_value=4, type=int)
    + options.probing("--ipv6", "Trace an IPv6 address.", flag_value=6, type=int),
    settings: dict[str, Any] = options.settings(only={"resolve", "connect-to"}),
    deadline: float = options.deadline(
        longest=DEADLINE_LONGEST,
        shortest=0.5,
        default=DEADLINE_DEFAULT,
    ),
    out: options.Output = options.record,
) -> int:
    """Trace the hop at which TLS to a host is answered.

    Shows whether the host itself is further away. Connects directly, whatever proxy is configured, to the host's port
    and to a control port of the same address. A device that answers early need not decrypt: `detector check` detects
    whether it does. The list shows routers near this machine; the report of a check does not.

    Exit code: 0 located, 3 inconclusive, 2 bad usage.
    """
    host, port = parse_target(target)
    rules = dict(map(parse_rule, settings.get("resolve", ())))
    with common.result_stream(out.file) as stream:
        located = asyncio.run(
            locate_host(
                host,
                port,
                connect_to=rules.get((host, port)),
                ip_version=ip_version,
                locating=Locating(control_ports, max_hops),
                deadline=common.remaining(deadline, started),
                clock=utc_now,
                version=VERSION,
            )
        )
        if out.form is options.Format.JSON:
            stream.write(encode(located).decode() + "\n")
        else:
            stream.write(common.as_text(as_list(located, out.detail), stream))
    return common.INCONCLUSIVE if located.location.where is Where.UNKNOWN else common.CLEAN


def as_list(located: Located, detail: Detail = Detail.SUMMARY) -> rich_console.RenderableType:
    """One sentence, then one row per hop with the answers to each port's packets; the sentence for the verdict."""
    parts: list[rich_console.RenderableType] = [
        rich_text.Text(f"{located.endpoint.name}: {located.location.summary}", style="bold")
    ]
    if detail is Detail.VERDICT:
        return parts[0]
    if located.location.slow_answer:
        parts.append(
            rich_text.Text(
                "TLS took much longer to answer than TCP: a weak hint that it was asked for elsewhere first."
            )
        )
    if located.hops is not None:
        titles = ("hop", *(f"port {trace.port}, {_ASKED[trace.asked]}" for trace in located.hops.traces))
        hops = reports.plain_table(titles, _rows(located.hops))
        hops.columns[0].justify = "right"
        parts += [rich_text.Text(""), hops]
        if not located.hops.names_routers:
            parts.append(
                rich_text.Text("This system does not tell which routers answered; only hop numbers can be compared.")
            )
    return rich_console.Group(*parts)


_ASKED: Final[dict[ProbeKind, str]] = {ProbeKind.CONNECT: "TCP", ProbeKind.CLIENT_HELLO: "TLS"}
_ANSWER: Final[dict[HopAnswer, str]] = {
    HopAnswer.TIME_EXCEEDED: "router",
    HopAnswer.CONNECTED: "connected",
    HopAnswer.ANSWERED: "answered",
    HopAnswer.REFUSED: "refused",
    HopAnswer.CLOSED: "closed",
    HopAnswer.UNREACHABLE: "unreachable, says router",
    HopAnswer.SILENCE: "no answer",
}


def _rows(observed: HopsObservation) -> Iterator[list[str]]:
    """One row per hop number up to the last that matters: the distinct answers, in their order."""
    last = max((_end(trace) for trace in observed.traces), default=0)
    for number in sorted({hop.number for trace in observed.traces for hop in trace.hops if hop.number <= last}):
        cells = []
        for trace in observed.traces:
            here = [hop for hop in trace.hops if hop.number == number]
            answers = dict.fromkeys(" ".join(filter(None, (_ANSWER[hop.answer], hop.router))) for hop in here)
            times = [hop.round_trip_ms for hop in here if hop.round_trip_ms is not None]
            cells.append(", ".join(answers) + (f" {min(times):.1f} ms" if times else ""))
        yield [str(number), *cells]


def _end(trace: HopTrace) -> int:
    """The hop at which the far end answers, or the last that was tried."""
    answered = min((hop.number for hop in trace.hops if hop.answer in FINAL), default=None)
    return answered or max((hop.number for hop in trace.hops), default=0)
