"""`detector locate`: at which hop is TLS to a host answered?

Room: cli.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import click

from detector.judge.hops import FINAL, Where
from detector.locate.locate import Located, Locating
from detector.locate.locate import locate as locate_host
from detector.model import encode
from detector.pins import parse_rule, parse_target
from detector.session.seams import utc_now
from detector.version import VERSION

from . import common

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from detector.model import HopsObservation, HopTrace

DEADLINE_DEFAULT: Final = 20.0
"""Seconds. A way whose routers all keep silent takes the longest: some fifteen."""
DEADLINE_LONGEST: Final = 600.0
HOPS_LONGEST: Final = 64
"""Hops beyond which nothing is: the usual TTL of a packet."""
SMALLEST: Final = 0.05
"""Seconds that are left in any case, as for a check."""


@click.command()
@click.argument("target", metavar="HOST[:PORT]")
@click.option(
    "--control-port",
    "control_ports",
    type=click.IntRange(1, 65535),
    multiple=True,
    default=(80,),
    show_default=True,
    metavar="PORT",
    help="Port of the same address to compare with; repeatable.",
)
@click.option("--max-hops", type=click.IntRange(1, HOPS_LONGEST), default=30, show_default=True, help="Hops to try.")
@click.option("--ipv4", "ip_version", flag_value=4, type=int, help="Trace an IPv4 address.")
@click.option("--ipv6", "ip_version", flag_value=6, type=int, help="Trace an IPv6 address.")
@click.option(
    "--resolve",
    multiple=True,
    metavar="HOST:PORT:ADDRESS:PORT",
    help="Trace this address instead, as curl --connect-to; repeatable.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0.5, max=DEADLINE_LONGEST),
    default=DEADLINE_DEFAULT,
    show_default=True,
    metavar="SECONDS",
    help="Answer within this time, counted from the start of the command.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([common.Format.TABLE.value, common.Format.JSON.value]),
    default=common.Format.TABLE.value,
    show_default=True,
    help="Form of the result.",
)
@click.option("--output", metavar="FILE", help="Write the result there instead of to standard output.")
@click.pass_obj
def locate(  # noqa: PLR0913 - one parameter per option
    started: float | None,
    *,
    target: str,
    control_ports: tuple[int, ...],
    max_hops: int,
    ip_version: int | None,
    resolve: tuple[str, ...],
    deadline: float,
    form: str,
    output: str | None,
) -> int:
    """Trace at which hop TLS to a host is answered, and whether the host itself is further away.

    Connects directly, whatever proxy is set, to the host's port and to a control port of the same address. Who answers
    early need not decrypt: `detector check` finds out whether anybody does. The list shows routers near this machine;
    the report of a check does not.

    Exit code: 0 something was concluded, 3 nothing tells, 2 bad usage.
    """
    host, port = parse_target(target)
    rules = dict(parse_rule(rule) for rule in resolve)
    with common.result_stream(output) as stream:
        spent = 0.0 if started is None else time.monotonic() - started
        located = asyncio.run(
            locate_host(
                host,
                port,
                connect_to=rules.get((host, port)),
                ip_version=ip_version,
                locating=Locating(control_ports, max_hops),
                deadline=max(deadline - spent, SMALLEST),
                clock=utc_now,
                version=VERSION,
            )
        )
        if form == common.Format.JSON:
            stream.write(encode(located).decode() + "\n")
        else:
            stream.write(common.as_text(as_list(located), stream))
    return common.INCONCLUSIVE if located.location.where is Where.UNKNOWN else common.CLEAN


def as_list(located: Located) -> RenderableType:
    """One sentence, then one row per hop with what each port's packets got there."""
    from rich.console import Group  # noqa: PLC0415 - as in `common.as_text`
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    parts: list[RenderableType] = [Text(f"{located.endpoint.name}: {located.location.summary}", style="bold")]
    if located.location.slow_answer:
        parts.append(
            Text("TLS took much longer to answer than TCP: a weak hint that it was asked for elsewhere first.")
        )
    if located.hops is not None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
        table.add_column("hop", justify="right")
        for trace in located.hops.traces:
            table.add_column(f"port {trace.port}, {trace.asked}", overflow="fold")
        for row in _rows(located.hops):
            table.add_row(*map(Text, row))
        parts += [Text(""), table]
        if not located.hops.names_routers:
            parts.append(Text("This system does not tell which routers answered; only hop numbers can be compared."))
    return Group(*parts)


def _rows(observed: HopsObservation) -> Iterator[list[str]]:
    """One row per number of hops up to the last that matters: the different things that happened, in their order."""
    last = max((_end(trace) for trace in observed.traces), default=0)
    for number in sorted({hop.number for trace in observed.traces for hop in trace.hops if hop.number <= last}):
        cells = []
        for trace in observed.traces:
            here = [hop for hop in trace.hops if hop.number == number]
            told = dict.fromkeys(" ".join(filter(None, (hop.answer, hop.router))) for hop in here)
            times = [hop.round_trip_ms for hop in here if hop.round_trip_ms is not None]
            cells.append(", ".join(told) + (f" {min(times):.1f} ms" if times else ""))
        yield [str(number), *cells]


def _end(trace: HopTrace) -> int:
    """The hop that the far end answers, or the last that was tried."""
    answered = min((hop.number for hop in trace.hops if hop.answer in FINAL), default=None)
    return answered or max((hop.number for hop in trace.hops), default=0)
