"""Room: evidence. What lists of hops mean, and above all when they mean nothing."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.judge.hops import OWN_NETWORK, Doubt, Where, for_report, locate, unresolved
from detector.model import Hop, HopAnswer, HopsObservation, HopTrace, ProbeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWERS = {
    "C": HopAnswer.CONNECTED,
    "A": HopAnswer.ANSWERED,
    "R": HopAnswer.REFUSED,
    "X": HopAnswer.CLOSED,
    "U": HopAnswer.UNREACHABLE,
    "-": HopAnswer.SILENCE,
}


def trace(picture: str, *more: tuple[int, str], port: int = 443, asked: ProbeKind = ProbeKind.CONNECT) -> HopTrace:
    """A trace drawn: a letter for each hop, lower case for the router that named itself, `?` for one that did not.

    `more` are further packets as (hop, letter).
    """
    drawn = [*enumerate(picture, start=1), *more]
    hops = [
        Hop(number=n, answer=ANSWERS.get(c, HopAnswer.TIME_EXCEEDED), router=c if c in string.ascii_lowercase else None)
        for n, c in drawn
    ]
    return HopTrace(port=port, asked=asked, hops=tuple(hops))


def twice(hop: int, letter: str) -> tuple[tuple[int, str], ...]:
    """Two more packets at a hop, as the tracer sends them."""
    return ((hop, letter), (hop, letter))


def seen(
    connects: HopTrace, *controls: HopTrace, hello: HopTrace | None = None, times: Sequence[float | None] = (None, None)
) -> HopsObservation:
    traces = (connects, *controls) if hello is None else (connects, *controls, hello)
    return HopsObservation(port=443, traces=traces, names_routers=True, connect_ms=times[0], answer_ms=times[1])


EARLY = seen(trace("aC", *twice(2, "C")), trace("abcC", *twice(2, "b"), port=80))


def test_answered_early() -> None:
    """443 is answered where port 80 passes: hop, router and the host's own hop are reported."""
    located = locate(EARLY)
    assert (located.where, located.doubt) == (Where.ANSWERED_EARLY, None)
    assert (located.hop, located.router, located.host_hop, located.control_port) == (2, "b", 4, 80)
    assert located.summary == "Port 443 is answered at hop 2 (b), the host itself is at hop 4."


def test_a_long_way() -> None:
    """The sentence of the usual case: nine hops, and an answer at the second."""
    located = locate(seen(trace("aC", *twice(2, "C")), trace("abcdefghC", *twice(2, "b"), port=80)))
    assert located.summary == "Port 443 is answered at hop 2 (b), the host itself is at hop 9."


def test_the_control_port_need_not_be_open() -> None:
    """Refused, it may be by a firewall in front of the host; silent, the last router that spoke is passed."""
    refused = locate(seen(trace("aC", *twice(2, "C")), trace("abcdR", *twice(2, "b"), port=80)))
    assert (refused.where, refused.host_hop, refused.host_beyond) == (Where.ANSWERED_EARLY, None, 4)
    silent = locate(seen(trace("aC", *twice(2, "C")), trace("abcd----", *twice(2, "b"), port=80)))
    assert (silent.where, silent.host_hop, silent.host_beyond) == (Where.ANSWERED_EARLY, None, 4)
    assert silent.summary.endswith("the host itself is beyond hop 4.")


def test_hop_one_is_this_device_or_the_first_router() -> None:
    """What may pass one hop is answered by software on this device, too: both are named."""
    located = locate(seen(trace("C", *twice(1, "C")), trace("abcC", *twice(1, "a"), port=80)))
    assert located.where is Where.ANSWERED_EARLY
    assert "by this device or the first router" in located.summary


def test_the_same_hop() -> None:
    """Where both ports are answered alike nothing is concluded about who answers."""
    located = locate(seen(trace("abC", *twice(3, "C")), trace("abC", *twice(3, "C"), port=80)))
    assert (located.where, located.hop) == (Where.SAME_HOP, 3)
    assert "or something answers for both" in located.summary


@pytest.mark.parametrize(("hop", "host"), [(2, 3), (3, 4), (3, 5), (8, 9), (7, 9)])
def test_a_front_of_the_host_is_no_interceptor(hop: int, host: int) -> None:
    """One or two hops before the host, past the middle of the way, is where services put their load balancers."""
    way = string.ascii_lowercase[: host - 1]
    observed = seen(trace(way[: hop - 1] + "C", *twice(hop, "C")), trace(way + "C", *twice(hop, way[hop - 1]), port=80))
    located = locate(observed)
    assert located.where is Where.BESIDE_THE_HOST
    assert "such a front" in located.summary


@pytest.mark.parametrize(
    ("observed", "doubt"),
    [
        (seen(trace("ab---"), trace("abcC", port=80)), Doubt.NOT_ANSWERED),
        (seen(trace("abR"), trace("abcC", port=80)), Doubt.NOT_ANSWERED),
        (seen(trace("aU"), trace("abcC", port=80)), Doubt.NOT_ANSWERED),
        (seen(trace("abcC", port=80)), Doubt.NOT_ANSWERED),
        (seen(trace("aC", (2, "C"), (2, "b")), trace("abcC", *twice(2, "b"), port=80)), Doubt.UNSTEADY),
        (seen(trace("aCCd", *twice(2, "C")), trace("abcC", *twice(2, "b"), port=80)), Doubt.UNSTEADY),
        (seen(trace("aC", *twice(2, "C")), trace("abcC", (2, "C"), (2, "b"), port=80)), Doubt.UNSTEADY),
        (seen(trace("abcC", *twice(4, "C")), trace("aC", *twice(4, "C"), port=80)), Doubt.CONTROL_EARLIER),
        (seen(trace("abcC", *twice(4, "C")), trace("aR", port=80)), Doubt.CONTROL_EARLIER),
        (seen(trace("aC", *twice(2, "C"))), Doubt.CONTROL_SILENT),
        (seen(trace("aC", *twice(2, "C")), trace("a------", *twice(2, "-"), port=80)), Doubt.CONTROL_SILENT),
        (seen(trace("aC", *twice(2, "C")), trace("aU", port=80)), Doubt.CONTROL_SILENT),
        (seen(trace("aC"), trace("abcC", *twice(2, "b"), port=80)), Doubt.UNCONFIRMED),
        (seen(trace("aC", *twice(2, "C")), trace("abcC", port=80)), Doubt.UNCONFIRMED),
        (seen(trace("-C", *twice(2, "C")), trace("---C", *twice(2, "-"), port=80)), Doubt.ROUTES_UNTOLD),
        (seen(trace("?C", *twice(2, "C")), trace("???C", *twice(2, "?"), port=80)), Doubt.ROUTES_UNTOLD),
        (
            seen(trace("a---C", *twice(5, "C")), trace("a" + "-" * 9 + "C", *twice(5, "-"), port=80)),
            Doubt.ROUTES_UNTOLD,
        ),
        (seen(trace("aC", *twice(2, "C")), trace("xbcC", *twice(2, "b"), port=80)), Doubt.ROUTES_DIFFER),
        (seen(trace("abC", *twice(3, "C")), trace("axcdeC", *twice(3, "c"), port=80)), Doubt.ROUTES_DIFFER),
    ],
)
def test_what_means_nothing(observed: HopsObservation, doubt: Doubt) -> None:
    """Whatever has another explanation stays unknown, with its reason and a sentence that accuses nobody."""
    located = locate(observed)
    assert (located.where, located.doubt) == (Where.UNKNOWN, doubt)
    assert not re.search("host itself is (at|beyond)", located.summary)


def test_flows_that_take_several_routes_agree_where_they_meet() -> None:
    """Under equal-cost routes a hop has several names; one in common is enough, none is another way."""
    asked = trace("aC", (1, "x"), *twice(2, "C"))
    assert locate(seen(asked, trace("xbcC", *twice(2, "b"), port=80))).where is Where.ANSWERED_EARLY
    assert locate(seen(asked, trace("ybcC", *twice(2, "b"), port=80))).doubt is Doubt.ROUTES_DIFFER
    two_names = locate(seen(asked, trace("abcC", (2, "b"), (2, "z"), port=80)))
    assert (two_names.where, two_names.router) == (Where.ANSWERED_EARLY, None)


def test_the_best_control_port_decides() -> None:
    """Where an interceptor takes port 80 too, another port of the same address still distinguishes it."""
    both = trace("aC", *twice(2, "C"), port=80)
    other = trace("abcdC", *twice(2, "b"), port=22)
    located = locate(seen(trace("aC", *twice(2, "C")), both, other))
    assert (located.where, located.control_port, located.host_hop) == (Where.ANSWERED_EARLY, 22, 5)
    assert locate(seen(trace("aC", *twice(2, "C")), both)).where is Where.SAME_HOP


def test_who_answers_tls_counts_not_who_accepts_connections() -> None:
    """A guard against floods makes connections for a host; the ClientHello says that TLS is answered further on."""
    asked = trace("aC", *twice(2, "C"), (4, "C"))
    control = trace("abcC", *twice(2, "b"), *twice(4, "C"), port=80)
    guarded = trace("???A", *twice(4, "A"), asked=ProbeKind.CLIENT_HELLO)
    located = locate(seen(asked, control, hello=guarded))
    assert (located.where, located.hop) == (Where.SAME_HOP, 4)
    caught = trace("?A", *twice(2, "A"), asked=ProbeKind.CLIENT_HELLO)
    assert locate(seen(asked, control, hello=caught)).where is Where.ANSWERED_EARLY
    unsteady = trace("aCCd", *twice(2, "C"))
    assert locate(seen(unsteady, control, hello=caught)).doubt is Doubt.UNSTEADY
    assert locate(seen(asked, control, hello=trace("?A?", *twice(2, "A"), asked=ProbeKind.CLIENT_HELLO))).hop == 2
    unanswered = trace("?---", asked=ProbeKind.CLIENT_HELLO)
    assert locate(seen(asked, control, hello=unanswered)).where is Where.ANSWERED_EARLY


@pytest.mark.parametrize(
    ("times", "slow"), [((5.0, 80.0), True), ((5.0, 40.0), False), ((60.0, 150.0), False), ((5.0, None), False)]
)
def test_a_slow_answer_is_a_hint_and_nothing_else(times: tuple[float, float | None], slow: bool) -> None:  # noqa: FBT001 - the parameter
    """Much longer than a connection takes, by factor and by milliseconds; where TLS is answered stays what it is."""
    located = locate(msgspec.structs.replace(EARLY, connect_ms=times[0], answer_ms=times[1]))
    assert located.slow_answer is slow
    assert located.where is Where.ANSWERED_EARLY


def test_a_report_keeps_the_hop_that_answers_and_no_other() -> None:
    """Routers become labels that are still equal where they were; what is concluded stays the same."""
    own = msgspec.structs.replace(EARLY.traces[0].hops[0], router=f"{OWN_NETWORK}1")
    kept = for_report(EARLY)
    routers = {hop.router for part in kept.traces for hop in part.hops} - {None}
    assert routers == {"router-1", "b", "router-2"}
    assert locate(kept) == locate(EARLY)
    assert for_report(kept) == kept
    labelled = msgspec.structs.replace(EARLY, traces=(msgspec.structs.replace(EARLY.traces[0], hops=(own,)),))
    assert for_report(labelled) == labelled


def test_nobody_is_named_where_nothing_answers_early() -> None:
    """A clean way, and a front of the host, are in a report by their shape alone."""
    clean = seen(trace("abC", *twice(3, "C")), trace("abC", *twice(3, "C"), port=80))
    alongside = seen(trace("abC", *twice(3, "C")), trace("abcC", *twice(3, "c"), port=80))
    assert locate(alongside).router == "c"
    for observed in (clean, alongside):
        routers = {hop.router for part in for_report(observed).traces for hop in part.hops} - {None}
        assert all(router.startswith("router-") for router in routers if router)


def test_a_name_without_an_address() -> None:
    """That, too, is a location: unknown."""
    assert (unresolved(443).where, unresolved(443).doubt) == (Where.UNKNOWN, Doubt.NOT_RESOLVED)


HOPS = st.builds(
    Hop,
    number=st.integers(-1, 40),
    answer=st.sampled_from(HopAnswer),
    router=st.none() | st.sampled_from([*"abcde", f"{OWN_NETWORK}1", "router-1"]),
    round_trip_ms=st.none() | st.floats(),
)
TRACES = st.builds(
    HopTrace,
    port=st.sampled_from([443, 80, 22]),
    asked=st.sampled_from(ProbeKind),
    hops=st.lists(HOPS, max_size=30).map(tuple),
)
OBSERVATIONS = st.builds(
    HopsObservation,
    port=st.just(443),
    traces=st.lists(TRACES, max_size=4).map(tuple),
    names_routers=st.booleans(),
    connect_ms=st.none() | st.floats(),
    answer_ms=st.none() | st.floats(),
)


@given(OBSERVATIONS)
def test_anything_is_located_and_labelled_alike(observed: HopsObservation) -> None:
    """No list of hops makes it fail; whatever is concluded is one sentence; labels change no conclusion."""
    located = locate(observed)
    assert located.summary.endswith(".")
    assert (located.doubt is None) == (located.where is not Where.UNKNOWN)
    again = locate(for_report(observed))
    assert (again.where, again.doubt, again.hop, again.host_hop) == (
        located.where,
        located.doubt,
        located.hop,
        located.host_hop,
    )


def test_a_hostile_report_costs_no_time() -> None:
    """Hop numbers come from the report's author: the largest are read like the smallest."""
    far = 1 << 60
    packets = tuple(Hop(number=far, answer=HopAnswer.CONNECTED) for _ in range(3))
    dying = tuple(Hop(number=far, answer=HopAnswer.TIME_EXCEEDED, router=f"r{n}") for n in range(2000))
    observed = seen(
        HopTrace(port=443, asked=ProbeKind.CONNECT, hops=packets),
        HopTrace(port=80, asked=ProbeKind.CONNECT, hops=dying),
    )
    assert locate(observed).doubt is Doubt.ROUTES_UNTOLD


@given(OBSERVATIONS)
def test_early_always_has_a_further_packet_to_show(observed: HopsObservation) -> None:
    """Whenever something is said to answer early, packets to another port died at that hop, or came further."""
    located = locate(observed)
    if located.where is not Where.ANSWERED_EARLY:
        return
    assert located.hop is not None
    control = [h for t in observed.traces if t.port == located.control_port for h in t.hops]
    assert sum(h.number == located.hop for h in control) >= 2
    assert any(h.number >= located.hop and h.answer is HopAnswer.TIME_EXCEEDED for h in control) or any(
        h.number > located.hop for h in control
    )
