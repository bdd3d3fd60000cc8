"""The time of other servers, from Date headers over plain HTTP, for comparison with this machine's clock.

Room: probe. Opens connections through `Dialer`s. The clock is an argument and read once per answer.

Unauthenticated by nature: anybody on the path can write a Date, and a portal that answers for every host gives every
host its own clock. Several servers that agree mean that the clock is off *or* that one party answers for them all. A
forged Date can at most make a verdict that rests on dates inconclusive.

`said` is the Date header, advanced by the Age header of a cache that answered in the server's place (RFC 9111 section
4.2.3); `ours` is our clock halfway through the exchange. If nobody lied, the true offset is within `uncertainty_ms` of
`said - ours`: half the exchange, and the whole seconds that these headers count in.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Final

from detector.model import Endpoint, ServerDate
from detector.probe.routes import HTTP_PORT

from .client import Limits, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.probe.routes import Dialer

ENDPOINTS_MAX: Final = 8  # servers asked: two that agree are needed, and of any eight some answer on port 80

DATE_LIMITS: Final = Limits(seconds=2.0, head_bytes=16 * 1024, body_bytes=4 * 1024)
"""Limits of one request. Only the head matters; the answer to HEAD has no body."""

GRANULARITY_MS: Final = 1000.0
"""Milliseconds a Date is behind at most when it is generated: it counts whole seconds (RFC 9110 section 5.6.7). An Age
counts whole seconds as well and adds as much."""


async def ask_dates(
    endpoints: Sequence[Endpoint],
    *,
    dialer_for: Callable[[Endpoint], Dialer],
    clock: Callable[[], dt.datetime],
    deadline: float | None = None,
) -> tuple[ServerDate, ...]:
    """Ask the hosts of `endpoints` for the time with a HEAD request to port 80; return the answers in order.

    At most `ENDPOINTS_MAX` hosts, each once. An endpoint with an `address` of its own is left out: the place of its
    port 80 is not known. `dialer_for` chooses the route to (host, 80), `clock` gives our time in UTC, `deadline` is a
    time of the running event loop. Raises nothing for reasons of network or content.
    """
    hosts = list(dict.fromkeys(e.host for e in endpoints if e.address is None))[:ENDPOINTS_MAX]
    routes = [(host, dialer_for(Endpoint(host=host, port=HTTP_PORT))) for host in hosts]
    answers = await asyncio.gather(*(_ask(host, dialer, clock, deadline) for host, dialer in routes))
    return tuple(answer for answer in answers if answer is not None)


async def _ask(
    host: str, dialer: Dialer, clock: Callable[[], dt.datetime], deadline: float | None
) -> ServerDate | None:
    authority = f"[{host}]" if ":" in host else host
    answer = await fetch(f"http://{authority}/", dialer=dialer, limits=DATE_LIMITS, deadline=deadline, method="HEAD")
    now = clock()
    if answer.date is None or answer.exchange_ms is None:
        return None
    # HEAD ends with the head: the Date was generated within the exchange, which ended just now.
    half_ms = answer.exchange_ms / 2
    try:
        said = answer.date + dt.timedelta(seconds=answer.age_seconds or 0)
    except OverflowError:
        return None  # a Date near the year 9999 with an Age of decades
    granularity_ms = GRANULARITY_MS if answer.age_seconds is None else 2 * GRANULARITY_MS
    return ServerDate(
        host=host,
        said=said,
        ours=now - dt.timedelta(milliseconds=half_ms),
        uncertainty_ms=round(half_ms + granularity_ms, 3),
    )
