"""Room: probe. Tracing hops: reading what the kernel reports; real sockets on loopback; other systems by seams.

A real way with real routers is in tests/lab/test_locate.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import socket
from typing import TYPE_CHECKING

import pytest
from detector_testing import Ending, PrivatePKI, Script, Step, serve_files, serve_origin, serve_script
from hypothesis import given
from hypothesis import strategies as st

from detector.locate import tracing
from detector.locate.tracing import (
    HOPS_MAX,
    PARALLEL,
    NoErrorQueue,
    RouterReport,
    is_own_network,
    read_extended_error,
    trace_hops,
)
from detector.model import Hop, HopAnswer, HopsObservation, ProbeKind

if TYPE_CHECKING:
    from collections.abc import Callable

EXAM = "exam.example.edu"

# Recorded on Linux 6.18 from a SYN that ran out of hops: level, type and data of the ancillary message, of which the
# first is ICMP time-exceeded from 10.91.1.1 and the second ICMPv6 time-exceeded from fd91:1::2.
RECORDED_IPV4 = 0, 11, bytes.fromhex("71000000020b00000000000000000000020000000a5b01010000000000000000")
RECORDED_IPV6 = (
    41,
    25,
    bytes.fromhex("710000000303000000000000000000000a00000000000000fd91000100000000000000000000000200000000"),
)


def altered(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value,)) + data[at + 1 :]


class TestExtendedErrors:
    def test_recorded(self) -> None:
        """What Linux said of two packets is read: what happened, and which router said so."""
        assert read_extended_error(*RECORDED_IPV4) == RouterReport(HopAnswer.TIME_EXCEEDED, "10.91.1.1")
        assert read_extended_error(*RECORDED_IPV6) == RouterReport(HopAnswer.TIME_EXCEEDED, "fd91:1::2")

    def test_unreachable(self) -> None:
        """A router that blocks the path is distinguished from one where packets run out."""
        level, kind, data = RECORDED_IPV4
        assert read_extended_error(level, kind, altered(data, 5, 3)) == RouterReport(HopAnswer.UNREACHABLE, "10.91.1.1")
        level, kind, data = RECORDED_IPV6
        assert read_extended_error(level, kind, altered(data, 5, 1)) == RouterReport(HopAnswer.UNREACHABLE, "fd91:1::2")

    @pytest.mark.parametrize(
        ("level", "kind", "data"),
        [
            (socket.SOL_SOCKET, RECORDED_IPV4[1], RECORDED_IPV4[2]),
            (RECORDED_IPV4[0], 12, RECORDED_IPV4[2]),
            (*RECORDED_IPV4[:2], altered(RECORDED_IPV4[2], 4, 1)),  # this machine's own word (SO_EE_ORIGIN_LOCAL)
            (*RECORDED_IPV4[:2], altered(RECORDED_IPV4[2], 5, 5)),  # another ICMP type
            (*RECORDED_IPV4[:2], altered(RECORDED_IPV4[2], 16, 0)),  # nobody named (AF_UNSPEC)
            (*RECORDED_IPV4[:2], RECORDED_IPV4[2][:17]),
            (*RECORDED_IPV6[:2], RECORDED_IPV6[2][:39]),
            (*RECORDED_IPV4[:2], b""),
        ],
    )
    def test_everything_else_is_nothing(self, level: int, kind: int, data: bytes) -> None:
        """Other messages, other origins, cut ones."""
        assert read_extended_error(level, kind, data) is None

    @given(st.sampled_from([(0, 11), (41, 25), (1, 1)]), st.binary(max_size=64))
    def test_never_raises(self, kind: tuple[int, int], data: bytes) -> None:
        """Whatever the message holds."""
        heard = read_extended_error(*kind, data)
        assert heard is None or heard.router


class TestPrivacy:
    @pytest.mark.parametrize(
        ("router", "own", "hidden"),
        [
            ("192.168.1.1", "192.168.1.20", False),  # the same in a million households
            ("10.91.1.2", "10.91.1.1", False),
            ("10.91.1.1", "10.91.1.1", True),
            ("8.8.8.1", "8.8.8.8", True),
            ("8.8.4.4", "8.8.8.8", False),
            ("2a00:1:2:ff::1", "2a00:1:2:3::4", True),
            ("2a00:1:3::1", "2a00:1:2:3::4", False),
            ("fe80::1", "2a00:1:2:3::4", True),
            ("fd91:1::2", "fd91:1::1", False),
            ("8.8.8.1", "2a00:1:2:3::4", False),
            ("8.8.8.1", None, False),
        ],
    )
    def test_own_network(self, router: str, own: str | None, hidden: bool) -> None:  # noqa: FBT001 - the parameter
        """Addresses that would tell this machine's own, or its household's network, are hidden; others are not."""
        assert is_own_network(router, own) is hidden

    def test_labels_are_equal_where_addresses_are(self) -> None:
        """A hidden router is still the same router."""
        tracer = tracing._Tracer(EXAM, ("127.0.0.1", 443), 0.0, NoErrorQueue(), lambda: 0.0)
        tracer._own = "8.8.8.8"
        labels = [tracer._label(router) for router in ("8.8.8.1", "8.8.8.2", "8.8.8.1", "9.9.9.9")]
        assert labels == ["own-network-1", "own-network-2", "own-network-1", "9.9.9.9"]


@pytest.mark.parametrize(
    ("number", "asked", "names_routers", "answer"),
    [
        (errno.ECONNREFUSED, HopAnswer.CONNECTED, True, HopAnswer.REFUSED),
        (errno.ECONNRESET, HopAnswer.ANSWERED, True, HopAnswer.CLOSED),
        (errno.EPIPE, HopAnswer.ANSWERED, True, HopAnswer.CLOSED),
        (errno.EHOSTUNREACH, HopAnswer.ANSWERED, True, HopAnswer.TIME_EXCEEDED),
        (errno.EHOSTUNREACH, HopAnswer.CONNECTED, True, HopAnswer.UNREACHABLE),
        (errno.EHOSTUNREACH, HopAnswer.CONNECTED, False, HopAnswer.SILENCE),  # macOS: ran out, or no way there
        (errno.ENETUNREACH, HopAnswer.CONNECTED, True, HopAnswer.UNREACHABLE),
        (errno.EMFILE, HopAnswer.CONNECTED, True, HopAnswer.SILENCE),
    ],
)
def test_errors_without_a_router(number: int, asked: HopAnswer, names_routers: bool, answer: HopAnswer) -> None:  # noqa: FBT001 - the parameter
    """What a bare error means depends on what was asked, and on what this system would have reported."""
    assert tracing._of_error(OSError(number, ""), asked, names_routers) is answer


async def trace(address: tuple[str, int], *, control: int, hops_max: int = HOPS_MAX) -> HopsObservation:
    until = asyncio.get_running_loop().time() + 10
    return await trace_hops(EXAM, address, until=until, control_ports=(control,), hops_max=hops_max)


def answers(observed: HopsObservation, port: int, asked: ProbeKind = ProbeKind.CONNECT) -> list[tuple[int, str]]:
    (found,) = [t for t in observed.traces if (t.port, t.asked) == (port, asked)]
    return [(hop.number, hop.answer) for hop in found.hops]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_loopback_answers_at_hop_one(tls_pki: PrivatePKI, host: str) -> None:
    """Real sockets, both IP versions: every packet is answered, the ClientHello too, and both times are measured."""
    async with serve_origin(tls_pki.issue([EXAM]), host=host) as origin, serve_files({}, host=host) as web:
        observed = await trace(origin.address, control=web.port, hops_max=2)
    first = [(1, "connected"), (2, "connected"), (1, "connected"), (1, "connected")]
    assert answers(observed, origin.port) == answers(observed, web.port) == first
    assert (1, "answered") in answers(observed, origin.port, ProbeKind.CLIENT_HELLO)
    assert observed.connect_ms is not None
    assert observed.answer_ms is not None
    assert all(hop.router is None for part in observed.traces for hop in part.hops)


async def test_nobody_there() -> None:
    """A closed port is refused, the trace ends at once, and there is no ClientHello to send."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        observed = await trace(("127.0.0.1", free.getsockname()[1]), control=free.getsockname()[1], hops_max=1)
    assert [(hop.number, hop.answer) for part in observed.traces for hop in part.hops] == [(1, "refused")]
    assert (observed.connect_ms, observed.answer_ms) == (None, None)


async def test_a_server_that_hangs_up_on_tls(tls_pki: PrivatePKI) -> None:
    """A connection that ends instead of answering is distinguished from an answer."""
    rude = dataclasses.replace(Script.genuine(tls_pki.issue([EXAM])), stop=Step.HELLO, ending=Ending.RESET)
    async with serve_script(rude) as server:
        observed = await trace(server.address, control=server.port, hops_max=1)
    assert {answer for _, answer in answers(observed, server.port, ProbeKind.CLIENT_HELLO)} == {"closed"}
    assert observed.answer_ms is None


async def test_it_ends_in_time_with_what_it_has(tls_pki: PrivatePKI) -> None:
    """A server that accepts and says nothing holds it up to the deadline; the connections are reported."""
    mute = Script.genuine(tls_pki.issue([EXAM]))
    async with serve_script(dataclasses.replace(mute, stop=Step.ACCEPT, ending=Ending.SILENCE)) as server:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.5
        observed = await trace_hops(EXAM, server.address, until=until, control_ports=(), hops_max=2)
        assert loop.time() >= until
        late = await trace_hops(EXAM, server.address, until=loop.time(), control_ports=(), hops_max=2)
    assert (1, "connected") in answers(observed, server.port)
    assert {answer for _, answer in answers(observed, server.port, ProbeKind.CLIENT_HELLO)} == {"silence"}
    assert observed.answer_ms is None
    assert all(part.hops == () for part in late.traces)


def asking(way: str, running: list[int], most: list[int]) -> Callable[[int], object]:
    """A fake way: what each number of hops gets. `h` hangs until cancelled."""

    async def ask(number: int) -> Hop | None:
        running.append(number)
        most.append(len(running))
        try:
            await asyncio.sleep(0)
            letter = way[number - 1] if number <= len(way) else "-"
            if letter == "h":
                await asyncio.Event().wait()
            if letter == "0":
                return None
            kinds = {
                "t": HopAnswer.TIME_EXCEEDED,
                "C": HopAnswer.CONNECTED,
                "-": HopAnswer.SILENCE,
                "U": HopAnswer.UNREACHABLE,
            }
            router = "10.0.0.1" if letter in "tU" else None
            return Hop(number=number, answer=kinds[letter], router=router)
        finally:
            running.remove(number)

    return ask


@pytest.mark.parametrize(
    ("way", "most_asked", "last"),
    [
        ("tttC", 4 + PARALLEL, 4),
        ("tttChhhhhh", 4 + PARALLEL, 4),  # what is past the answer is given up, however long it would take
        ("ttU", 3 + PARALLEL, 3),
        ("-" * 40, 20, 20),
        ("0000", 20, 20),
    ],
)
async def test_a_walk_is_bounded(way: str, most_asked: int, last: int) -> None:
    """At most so many at once, none past the answer but those under way, none past the limit, and none left running."""
    running: list[int] = []
    most: list[int] = []
    found = await tracing._walk(asking(way, running, most), 20, lambda: True)  # type: ignore[arg-type] # a fake of Ask
    assert running == []
    assert max(most) <= PARALLEL
    assert len(most) <= most_asked
    assert [hop.number for hop in found if hop.number <= last] == [
        n for n in range(1, last + 1) if way[n - 1 : n] != "0"
    ]


async def test_a_walk_that_is_cancelled_leaves_nothing_running() -> None:
    """Cancelling ends every packet that is waited for."""
    running: list[int] = []
    walking = asyncio.ensure_future(tracing._walk(asking("hhhh", running, []), 4, lambda: True))  # type: ignore[arg-type] # a fake of Ask
    for _ in range(10):
        await asyncio.sleep(0)
    assert running == [1, 2, 3, 4]
    walking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walking
    assert running == []
