"""Second looks: the few plain-HTTP requests that can explain what did not look genuine at first.

Room: session. Starts tasks and ends every one of them. Nothing is judged here: what comes back goes into the cases and
their context, and is judged like everything else. A network where all is well is never asked anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from .model import Endpoint, Outcome
from .tasks import Group, off_loop
from .trust.classes import ChainClass

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from .judge.evidence import EndpointEvidence
    from .model import PortalObservation, ServerDate
    from .probe import Dialer
    from .trust.certificate import Certificate

WORTHWHILE: Final = 0.1
"""Seconds that must be left for a second look to be begun: less than one round trip to another continent."""


class Control(NamedTuple):
    """The control request for captive portals: a URL whose answer is known, and optionally an RFC 8908 API."""

    url: str
    status: int = 204
    body: bytes | None = None
    api_url: str | None = None


DEFAULT_CONTROL: Final = Control("http://connectivitycheck.gstatic.com/generate_204")
"""What Android devices ask on every network: the least conspicuous question there is."""


class SecondLook(NamedTuple):
    """How second looks are made.

    `dialer_for` gives the way to an endpoint, `issuer_dialer_for` the way to an address that a certificate names:
    one that leads to public addresses only, but for those (host, port) that the caller `mapped` somewhere. `clock`
    gives the time.
    """

    dialer_for: Callable[[Endpoint], Dialer]
    issuer_dialer_for: Callable[[Endpoint], Dialer]
    mapped: Mapping[tuple[str, int], tuple[str, int]]
    control: Control | None
    clock: Callable[[], dt.datetime]

    async def __call__(
        self, cases: Sequence[EndpointEvidence], until: float, *, beside: Sequence[Endpoint] = ()
    ) -> tuple[EndpointEvidence, ...]:
        """The same cases, with what second looks brought; unchanged when there is no need or no time (loop time).

        `beside` are endpoints of the same network that can be asked for the time as well as those of `cases`.
        """
        if until - asyncio.get_running_loop().time() < WORTHWHILE:
            return tuple(cases)
        incomplete, odd, misdated = await off_loop(lambda: _what_is_missing(cases))
        if not (incomplete or odd or misdated):
            return tuple(cases)
        from .probe.issuers import IssuerFetcher  # noqa: PLC0415 - loaded when first needed

        fetcher = IssuerFetcher(self.issuer_dialer_for, exempt=self.mapped)
        async with Group() as group:
            fetching = [
                (look.endpoint.name, group.create_task(fetcher.complete(look.leaf.issuer_urls, deadline=until)))
                for look in incomplete
                if look.leaf is not None
            ]
            portal = group.create_task(self._portal(until)) if odd else None
            dates = group.create_task(self._dates(cases, beside, until)) if misdated else None
        fetched: dict[str, tuple[bytes, ...]] = {}
        for name, task in fetching:
            fetched[name] = tuple(dict.fromkeys((*fetched.get(name, ()), *task.result())))
        context = cases[0].context._replace(
            portal=portal.result() if portal else None, dates=dates.result() if dates else ()
        )
        return tuple(case.with_more(context, fetched.get(case.endpoint.name, ())) for case in cases)

    async def _portal(self, until: float) -> PortalObservation | None:
        from .probe.http import parse_url  # noqa: PLC0415 - as above
        from .probe.portal import look_for_portal  # noqa: PLC0415 - as above

        control = self.control
        target = parse_url(control.url) if control is not None else None
        if control is None or target is None:
            return None
        return await look_for_portal(
            dialer=self.dialer_for(Endpoint(host=target.host, port=target.port)),
            probe_url=control.url,
            expect_status=control.status,
            expect_body=control.body,
            api_url=control.api_url,
            deadline=until,
        )

    async def _dates(
        self, cases: Sequence[EndpointEvidence], beside: Sequence[Endpoint], until: float
    ) -> tuple[ServerDate, ...]:
        from .probe.dates import ask_dates  # noqa: PLC0415 - as above

        endpoints = [*(case.endpoint for case in cases), *beside]
        return await ask_dates(endpoints, dialer_for=self.dialer_for, clock=self.clock, deadline=until)


def _what_is_missing(cases: Sequence[EndpointEvidence]) -> tuple[list[EndpointEvidence], bool, bool]:
    """Looks whose issuer is missing, whether a portal could explain any, and whether any leaf is out of its dates.

    Paths and timestamps are verified for it, milliseconds for each chain.
    """
    looks = [look for case in cases for look in (case, *case.siblings)]
    incomplete = [look for look in looks if look.issuer_missing]
    misdated = any(look.leaf is not None and not _in_date(look.leaf, look) for look in looks)
    return incomplete, any(map(_is_odd, looks)), misdated


def _is_odd(evidence: EndpointEvidence) -> bool:
    """Whether a portal could explain what was seen."""
    if evidence.observation.outcome is Outcome.NOT_TLS:
        return True
    return evidence.leaf is not None and not evidence.is_a(ChainClass.ACCEPTED, ChainClass.DECLARED)


def _in_date(leaf: Certificate, case: EndpointEvidence) -> bool:
    return leaf.validity is not None and leaf.validity[0] <= case.context.at <= leaf.validity[1]
