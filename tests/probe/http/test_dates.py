"""Server dates against an injected clock, on a network without sockets.

Room: tests of probe. In memory.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest

from detector.model import Endpoint, Outcome, ServerDate
from detector.probe.http.dates import ENDPOINTS_MAX, GRANULARITY_MS, ask_dates
from detector.probe.mock import AwaitClient, Close, Fails, MockNetwork, Script, Send

if TYPE_CHECKING:
    from detector.probe import Dialer

NOW = dt.datetime(2026, 10, 1, 12, 0, 0, tzinfo=dt.UTC)
SAID = b"Date: Thu, 01 Oct 2026 15:00:00 GMT\r\n"
THREE_HOURS = dt.timedelta(hours=3)


def server(headers: bytes = SAID, status: bytes = b"200 OK") -> Script:
    return Script(AwaitClient(), Send(b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n"), Close())


async def ask(network: Dialer, *hosts: str, deadline: float | None = None) -> tuple[ServerDate, ...]:
    endpoints = [Endpoint(host=host) for host in hosts]
    return await ask_dates(endpoints, dialer_for=lambda _: network, clock=lambda: NOW, deadline=deadline)


async def test_dates_are_compared_with_our_clock() -> None:
    """Each host that says the time gives its time, ours, and how far both may be off; refusals have a Date as well."""
    network = MockNetwork({("a.example", 80): server(), ("b.example", 80): server(status=b"403 Forbidden")})
    a, b = await ask(network, "a.example", "b.example")
    assert (a.host, b.host) == ("a.example", "b.example")
    for date in (a, b):
        assert abs(date.said - date.ours - THREE_HOURS) < dt.timedelta(milliseconds=date.uncertainty_ms)
        assert date.ours <= NOW
        assert GRANULARITY_MS <= date.uncertainty_ms < GRANULARITY_MS + 500
    assert network.dialled == ["a.example:80", "b.example:80"]
    assert network.open == 0


async def test_a_cache_is_allowed_for() -> None:
    """An answer that lay in a cache for an hour says a time one hour later than its Date, and less exactly."""
    (date,) = await ask(MockNetwork({("a.example", 80): server(SAID + b"Age: 3600\r\n")}), "a.example")
    assert date.said == NOW + THREE_HOURS + dt.timedelta(hours=1)
    assert date.uncertainty_ms >= 2 * GRANULARITY_MS


@pytest.mark.parametrize(
    "headers",
    [b"", b"Date: yesterday\r\n", b"Date: Fri, 31 Dec 9999 23:59:59 GMT\r\nAge: 2147483648\r\n", SAID + SAID],
)
async def test_a_host_that_says_no_time_is_left_out(headers: bytes) -> None:
    """No Date, an unreadable one, an impossible one or two of them are no time."""
    network = MockNetwork({("a.example", 80): server(headers), ("b.example", 80): server()})
    assert [date.host for date in await ask(network, "a.example", "b.example")] == ["b.example"]


async def test_silence_and_refusals_cost_only_themselves() -> None:
    """Hosts that cannot be reached or say nothing are left out within the deadline."""
    network = MockNetwork(
        {
            ("a.example", 80): Fails(Outcome.CONNECT_REFUSED),
            ("b.example", 80): Script(),
            ("c.example", 80): server(),
        }
    )
    deadline = asyncio.get_running_loop().time() + 0.1
    dates = await ask(network, "a.example", "b.example", "c.example", deadline=deadline)
    assert [date.host for date in dates] == ["c.example"]
    assert network.open == 0


async def test_few_are_asked_and_none_twice() -> None:
    """A host with two endpoints is asked once, an endpoint with an address of its own never, and hosts are bounded."""
    hosts = [f"h{number}.example" for number in range(20)]
    network = MockNetwork({(host, 80): server() for host in hosts})
    endpoints = [Endpoint(host="lab.example", address=("127.0.0.1", 8443))]
    endpoints += [Endpoint(host=host, port=port) for host in hosts for port in (443, 8443)]
    dates = await ask_dates(endpoints, dialer_for=lambda _: network, clock=lambda: NOW)
    assert [date.host for date in dates] == hosts[:ENDPOINTS_MAX]
    assert len(network.dialled) == ENDPOINTS_MAX


async def test_the_route_is_chosen_for_port_80() -> None:
    """Proxy rules see the host and port that are really asked; an IPv6 literal works like a name."""
    seen: list[Endpoint] = []
    network = MockNetwork({("2001:db8::1", 80): server()})

    def dialer_for(endpoint: Endpoint) -> Dialer:
        seen.append(endpoint)
        return network

    dates = await ask_dates([Endpoint(host="2001:db8::1")], dialer_for=dialer_for, clock=lambda: NOW)
    assert [date.host for date in dates] == ["2001:db8::1"]
    assert seen == [Endpoint(host="2001:db8::1", port=80)]
