"""What lists of hops mean: at which hop TLS is answered, and whether the host itself is further away.

Room: judge. Pure: traces in, a location out. It accuses nobody: ending TCP is not decrypting TLS.

A packet may pass as many routers as its TTL allows (RFC 791 section 3.2; RFC 8200 section 3, hop limit). The peer that
answers a connection that was allowed n hops stands at hop n or before; a router that sends time-exceeded stands at hop
n. So the lowest hop number that is answered is where the answer comes from. Where a packet to *another* port of the
*same address* expires at that hop, or passes it, the host is not there: something on the path answered in its place.

That holds only as long as both packets took the same path and the numbers mean the same. What else explains a
difference, and what is done about it:

* Routes change, or several are used at once (ECMP): every packet here is a flow of its own, so a difference must be
  seen on `FLOWS_LEAST` flows each way, without one that disagrees.
* Routes differ by port: most of the routers before the hop in question must have identified themselves, and be the
  same ones for both ports. Where they are silent, or this system cannot see their addresses, nothing is concluded.
* Large services put one port on another machine: at the far end a difference of one or two hops proves nothing.
* A device that answers for the control port too looks like the host; one that answers for it earlier hides the host.
* A router that rewrites TTLs, a tunnel that hides its hops, a NAT: they shift both ports alike, or cause one of the
  differences above.

First matching row, for the first control port that gives a better one than `unknown`:

===============================================================================  =======================
what the traces show                                                             location
===============================================================================  =======================
no connection was made to the port                                               unknown, `not-answered`
at or past the answering hop, some packets were answered and others expired      unknown, `unsteady`
the control port is answered by an earlier hop                                   unknown, `control-earlier`
the control port is answered by the same hop                                     same-hop
nothing shows that packets to the control port come as far                       unknown, `control-silent`
fewer than `FLOWS_LEAST` flows show the difference                               unknown, `unconfirmed`
the routers before it are not known                                              unknown, `routes-untold`
the routers before it are others                                                 unknown, `routes-differ`
the host is at most `BESIDE_HOPS` further and the hop is past half of the path   beside-the-host
otherwise                                                                        answered-early
===============================================================================  =======================
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import msgspec

from detector.model import HopAnswer, ProbeKind, Record

from .outcome import CheckOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.model import HopsObservation, HopTrace

CHECK_ID: Final = "location"
"""The check that reports locations."""

FLOWS_LEAST: Final = 2
"""Packets of different flows that must agree, on either port, before routes that change by themselves are ruled out.
The tracer sends three; one may get lost."""
BESIDE_HOPS: Final = 2
"""Hops between a load balancer or a filter in front of a service and the machine behind it."""
SLOW_FACTOR: Final = 3
SLOW_MS: Final = 50.0
"""How many times as long as a connection the answer to a ClientHello must take, and how many milliseconds longer, to be
worth mentioning: a server answers at once, an interceptor asks the real one first. Slow servers do the same."""

FINAL: Final = frozenset({HopAnswer.CONNECTED, HopAnswer.ANSWERED, HopAnswer.REFUSED, HopAnswer.CLOSED})
"""Answers that come from the end of the path."""
PASSING: Final = frozenset({HopAnswer.TIME_EXCEEDED, HopAnswer.SILENCE})
"""Answers to packets that did not reach the end of the path."""
OWN_NETWORK: Final = "own-network-"
"""Prefix of the label of a router whose address would reveal this machine's own; a number follows."""


class Where(CheckOutcome, check=CHECK_ID):
    """Where TLS is answered, relative to the host."""

    ANSWERED_EARLY = (
        "answered-early",
        (
            "TLS is answered nearer than the host itself is: something on the path ends the connection. Ending TCP is "
            "not reading TLS, and CDNs and proxies do it, too."
        ),
    )
    BESIDE_THE_HOST = (
        "beside-the-host",
        "TLS is answered one or two hops before the host. Large services often have such a front of their own.",
    )
    SAME_HOP = (
        "same-hop",
        (
            "TLS and another port of the host are answered at the same hop: the host is there, or something answers "
            "for both."
        ),
    )
    UNKNOWN = "unknown", "The hops could not be traced well enough to tell where TLS is answered; the finding says why."


class Doubt(enum.StrEnum):
    """Why a location is unknown."""

    NOT_RESOLVED = "not-resolved"
    NOT_ANSWERED = "not-answered"
    UNSTEADY = "unsteady"
    CONTROL_EARLIER = "control-earlier"
    CONTROL_SILENT = "control-silent"
    UNCONFIRMED = "unconfirmed"
    ROUTES_UNTOLD = "routes-untold"
    ROUTES_DIFFER = "routes-differ"


class Location(Record, frozen=True, kw_only=True):
    """Where TLS to `port` is answered: the hop's number and its router, where it identified itself.

    `host_hop` is the hop of the host itself, where a connection to the control port is made further on, `host_beyond`
    the last hop that packets to the control port are known to have passed. `summary` is one sentence. `slow_answer` is
    a weak hint: TLS took much longer to answer than TCP.
    """

    where: Where
    doubt: Doubt | None = None
    port: int
    hop: int | None = None
    router: str | None = None
    control_port: int | None = None
    host_hop: int | None = None
    host_beyond: int | None = None
    slow_answer: bool = False
    summary: str


def unresolved(port: int) -> Location:
    """The location of a host whose name has no address here."""
    return Location(
        where=Where.UNKNOWN, doubt=Doubt.NOT_RESOLVED, port=port, summary="The name has no address that can be traced."
    )


def locate(observed: HopsObservation) -> Location:
    """Where TLS is answered, by these traces."""
    connects = [_Reading(t) for t in observed.traces if t.asked is ProbeKind.CONNECT]
    asked = next((reading for reading in connects if reading.port == observed.port), None)
    hellos = next((_Reading(t) for t in observed.traces if t.asked is ProbeKind.CLIENT_HELLO), None)
    base = Location(
        where=Where.UNKNOWN,
        port=observed.port,
        slow_answer=observed.connect_ms is not None
        and observed.answer_ms is not None
        and observed.answer_ms > SLOW_FACTOR * observed.connect_ms
        and observed.answer_ms - observed.connect_ms > SLOW_MS,
        summary="",
    )
    if asked is None or asked.hop is None or asked.answer is not HopAnswer.CONNECTED:
        return _concluded(base, Doubt.NOT_ANSWERED)
    # What answers connections need not answer TLS: protection against SYN floods does only the first.
    ending = hellos if hellos is not None and hellos.answer is HopAnswer.ANSWERED else asked
    found = msgspec.structs.replace(base, hop=ending.hop)
    if not (asked.steady and ending.steady):
        return _concluded(found, Doubt.UNSTEADY)
    compared = [_compare(found, asked, ending, control) for control in connects if control.port != observed.port]
    return min(compared, key=lambda one: list(Where).index(one.where), default=_concluded(found, Doubt.CONTROL_SILENT))


def for_report(observed: HopsObservation) -> HopsObservation:
    """The traces with labels in place of addresses, but for the hop that answers early: enough to assess them again.

    The routers on the path show where this machine is; the one that answers in the host's place is the report's point.
    """
    located = locate(observed)
    shown = {located.router} if located.where is Where.ANSWERED_EARLY else set()
    labels: dict[str, str] = {}

    def label(router: str | None) -> str | None:
        if router is None or router in shown or router.startswith(OWN_NETWORK):
            return router
        return labels.setdefault(router, f"router-{len(labels) + 1}")

    return msgspec.structs.replace(
        observed,
        traces=tuple(
            msgspec.structs.replace(
                trace, hops=tuple(msgspec.structs.replace(hop, router=label(hop.router)) for hop in trace.hops)
            )
            for trace in observed.traces
        ),
    )


class _Reading:
    """One trace: the lowest hop that was answered, and how."""

    def __init__(self, trace: HopTrace) -> None:
        self.port = trace.port
        self._hops = sorted(trace.hops, key=lambda hop: hop.number)
        first = next((hop for hop in self._hops if hop.answer in FINAL), None)
        self.hop = None if first is None else first.number
        self.answer = None if first is None else first.answer
        self.routers: dict[int, set[str]] = {}
        """The routers that sent time-exceeded, by hop."""
        for hop in trace.hops:
            if hop.answer is HopAnswer.TIME_EXCEEDED and hop.router is not None:
                self.routers.setdefault(hop.number, set()).add(hop.router)

    @property
    def steady(self) -> bool:
        """Whether no packet expired that was allowed as many hops as one that was answered."""
        return self.hop is None or self.passed is None or self.passed < self.hop

    @property
    def passed(self) -> int | None:
        """The farthest hop that sent time-exceeded: the path continues there."""
        return max((hop.number for hop in self._hops if hop.answer is HopAnswer.TIME_EXCEEDED), default=None)

    def count(self, number: int, answers: Iterable[HopAnswer]) -> int:
        """Packets allowed this many hops that got one of these answers."""
        return sum(hop.number == number and hop.answer in answers for hop in self._hops)


def _compare(found: Location, asked: _Reading, ending: _Reading, control: _Reading) -> Location:
    """The location by one control port; the third and later rows of the table above."""
    hop = ending.hop or 0
    routers = control.routers.get(hop, set())
    located = msgspec.structs.replace(
        found,
        control_port=control.port,
        router=next(iter(routers)) if len(routers) == 1 else None,
        host_hop=control.hop if control.answer is HopAnswer.CONNECTED and (control.hop or 0) > hop else None,
        host_beyond=max(control.passed or 0, (control.hop or 1) - 1) or None,
    )
    doubt = _doubt(hop, asked, ending, control)
    if doubt is not None:
        return _concluded(located, doubt)
    if control.hop == hop:
        return _concluded(located, Where.SAME_HOP)
    host = control.hop or (control.passed or hop) + 1
    is_near = host - hop <= BESIDE_HOPS and 2 * hop > host
    return _concluded(located, Where.BESIDE_THE_HOST if is_near else Where.ANSWERED_EARLY)


def _doubt(hop: int, asked: _Reading, ending: _Reading, control: _Reading) -> Doubt | None:  # noqa: PLR0911 - one per row
    if not control.steady:
        return Doubt.UNSTEADY
    if control.hop is not None and control.hop < hop:
        return Doubt.CONTROL_EARLIER
    if control.hop == hop:
        return None
    if control.hop is None and (control.passed is None or control.passed < hop):
        return Doubt.CONTROL_SILENT
    if ending.count(hop, FINAL) < FLOWS_LEAST or control.count(hop, PASSING) < FLOWS_LEAST:
        return Doubt.UNCONFIRMED
    before = [number for number in asked.routers if number < hop and number in control.routers]
    compared = [bool(asked.routers[number] & control.routers[number]) for number in before]
    if not all(compared):
        return Doubt.ROUTES_DIFFER
    return Doubt.ROUTES_UNTOLD if 2 * len(compared) < hop - 1 else None


def _concluded(located: Location, result: Where | Doubt) -> Location:
    """The location with its conclusion and its sentence."""
    where, doubt = (Where.UNKNOWN, result) if isinstance(result, Doubt) else (result, None)
    located = msgspec.structs.replace(located, where=where, doubt=doubt)
    return msgspec.structs.replace(located, summary=_sentence(located, result))


def _sentence(at: Location, result: Where | Doubt) -> str:
    who = f" ({at.router})" if at.router else ""
    hop = f"Port {at.port} is answered at hop {at.hop}"
    control = f"port {at.control_port} of the same address"
    host = f"at hop {at.host_hop}" if at.host_hop else f"beyond hop {at.host_beyond or at.hop}"
    if result is Where.ANSWERED_EARLY and at.hop == 1:
        return f"{hop}{who}, by this device or the first router; the host itself is {host}."
    sentences: dict[Where | Doubt, str] = {
        Where.ANSWERED_EARLY: f"{hop}{who}, the host itself is {host}.",
        Where.BESIDE_THE_HOST: f"{hop}{who}, {control} {host}: services often have such a front of their own.",
        Where.SAME_HOP: f"{hop}, and so is {control}: the host is there, or something answers for both.",
        Doubt.NOT_ANSWERED: f"No connection to port {at.port} was made, so it is not known where it would be answered.",
        Doubt.UNSTEADY: f"{hop} or further on, as the path changes from packet to packet: its hops prove nothing.",
        Doubt.CONTROL_EARLIER: f"{hop}; {control} is answered even earlier, so the host's position is not known.",
        Doubt.CONTROL_SILENT: f"{hop}; no other port shows where the host itself is.",
        Doubt.UNCONFIRMED: f"{hop}, {control} {host}, but too few packets agree to conclude anything.",
        Doubt.ROUTES_UNTOLD: f"{hop}, {control} {host}; whether by the same path is not known.",
        Doubt.ROUTES_DIFFER: f"{hop}, {control} {host}, but by another path, so the numbers cannot be compared.",
    }
    return sentences[result]
