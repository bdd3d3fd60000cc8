"""Room: session. Which endpoints of a check are traced, and how a name becomes an address to trace."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from detector_testing import serve_files, serve_middlebox, serve_origin
from detector_testing.streams import Listener, listen

from detector import Detector
from detector.judge.hops import Doubt, Where
from detector.locate.locate import LOCATED_MOST, Locating, add_hops, locate
from detector.session.session import observe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import PrivatePKI
    from detector_testing.streams import PlainStream

    Settings = Callable[..., dict[str, Any]]

EXAM, LMS = "exam.example.edu", "lms.example.org"


def clock() -> dt.datetime:
    return dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)


@contextlib.asynccontextmanager
async def forged(pki: PrivatePKI, *hosts: str) -> AsyncIterator[dict[tuple[str, int], tuple[str, int]]]:
    """One forging middlebox for each host, reached directly: where they are."""
    async with contextlib.AsyncExitStack() as stack:
        where = {}
        for host in hosts:
            box = await stack.enter_async_context(serve_middlebox(pki.private_ca(), mode="reverse"))
            where[host, 443] = box.address
        yield where


async def test_only_what_is_not_genuine_is_traced(pki: PrivatePKI, settings_of: Settings) -> None:
    """The genuine endpoint is left alone; the forged one has its hops, and a finding that says where it is answered."""
    async with (
        serve_origin(pki.issue([LMS])) as origin,
        forged(pki, EXAM) as where,
        serve_files({}) as web,
        Detector(
            **settings_of(resolve=where | {(LMS, 443): origin.address}, locating=Locating((web.port,), 2))
        ) as subject,
    ):
        report = await subject.check([EXAM, LMS], deadline=10)
    exam, lms = report.results
    assert lms.verdict == "clean"
    assert lms.observation.hops is None
    assert exam.observation.hops is not None
    assert {trace.port for trace in exam.observation.hops.traces} == {where[EXAM, 443][1], web.port}
    (finding,) = [f for f in exam.findings if f.check == "location"]
    assert (finding.outcome, finding.says, finding.data["hop"]) == ("same-hop", "neutral", 1)


async def test_unasked_nothing_is_traced(pki: PrivatePKI, settings_of: Settings) -> None:
    """Without `locating` a check sends nothing but its probes, and has no finding of this kind."""
    async with forged(pki, EXAM) as where, Detector(**settings_of(resolve=where)) as subject:
        report = await subject.check([EXAM])
    assert report.results[0].observation.hops is None
    assert "location" not in {finding.check for finding in report.results[0].findings}


async def test_few_are_traced_and_only_in_time(pki: PrivatePKI, settings_of: Settings) -> None:
    """However many are forged, so many are traced; with no time left, none is."""
    hosts = [f"h{number}.example" for number in range(LOCATED_MOST + 2)]
    async with (
        forged(pki, *hosts) as where,
        Detector(**settings_of(resolve=where, locating=Locating((9,), 1))) as subject,
    ):
        report = await subject.check(hosts, deadline=10)
        cases = await observe(subject, hosts[:1])
        bare = tuple(case.with_observation(msgspec.structs.replace(case.observation, hops=None)) for case in cases)
        assert await add_hops(bare, Locating((9,), 1), asyncio.get_running_loop().time()) == bare
    assert sum(result.observation.hops is not None for result in report.results) == LOCATED_MOST
    assert {result.verdict for result in report.results} == {"middleware"}


async def test_through_a_proxy_nothing_is_traced(pki: PrivatePKI, settings_of: Settings) -> None:
    """The address in the observation is the proxy's: hops to it say nothing about the host."""
    async with serve_middlebox(pki.private_ca()) as box:
        route = f"http://127.0.0.1:{box.port}"
        async with Detector(**settings_of(proxy=route, locating=Locating((9,), 1))) as subject:
            report = await subject.check([EXAM])
    assert report.results[0].verdict == "middleware"
    assert report.results[0].observation.hops is None


async def test_a_name_is_resolved_and_traced() -> None:
    """The first address of the IP version asked for is traced, and is in the result with what it is called."""
    async with serve_files({}) as web:
        located = await locate(
            "localhost", web.port, clock=clock, version="1", deadline=5, ip_version=4, locating=Locating((web.port,), 1)
        )
    assert (located.address, located.endpoint.name) == ("127.0.0.1", f"localhost:{web.port}")
    assert located.location.hop == 1
    assert located.location.doubt is Doubt.CONTROL_SILENT  # the port cannot be compared with itself


async def test_a_pin_file_endpoint_goes_where_it_is_sent() -> None:
    """A rule replaces resolving, port and all; the name stays the endpoint's."""
    async with serve_files({}) as web:
        located = await locate(
            EXAM, 443, clock=clock, version="1", deadline=5, connect_to=web.address, locating=Locating((9,), 1)
        )
    assert (located.address, located.endpoint.name, located.location.port) == ("127.0.0.1", f"{EXAM}:443", web.port)


@pytest.mark.parametrize(("host", "ip_version"), [("127.0.0.1", 6), ("::1", 4)])
async def test_no_address_of_that_kind(host: str, ip_version: int) -> None:
    """An IP version that the name does not have is reported, not replaced."""
    located = await locate(host, 443, clock=clock, version="1", deadline=5, ip_version=ip_version)
    assert (located.location.where, located.location.doubt) == (Where.UNKNOWN, Doubt.NOT_RESOLVED)
    assert (located.address, located.hops) == (None, None)


async def test_a_name_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that fails is no exception, and one that hangs ends at the deadline."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    located = await locate("nobody.example", 443, clock=clock, version="1", deadline=5)
    assert located.location.doubt is Doubt.NOT_RESOLVED


async def test_cancelling_leaves_nothing_open() -> None:
    """A trace that is cancelled closes its connections: the server sees them all end."""
    reached = asyncio.Event()

    async def serve(stream: PlainStream) -> None:
        reached.set()
        while await stream.read():
            pass

    server = Listener()
    async with listen(serve, server):
        tracing = asyncio.ensure_future(
            locate(*server.address, clock=clock, version="1", deadline=30, locating=Locating((server.port,), 3))
        )
        await reached.wait()
        tracing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tracing
        async with asyncio.timeout(10):
            await server.settled()
