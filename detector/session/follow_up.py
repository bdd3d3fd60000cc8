"""Follow-up probes: the few further requests that are made when something was not cleared.

Room: session. Starts tasks and ends every one of them. Assesses nothing: what comes back joins the evidence and its
context, and is assessed with the rest. On a network where all is well nothing is requested.

A follow-up makes, within the deadline of what it follows:

* requests for issuers, at the AIA URLs of leaves whose issuer is missing;
* the control request for captive portals, where a portal could explain what was seen;
* requests for HTTP dates, where a leaf is out of its validity;
* probes of canaries of operators that run CAs of their own, where something with a right name was not cleared and fewer
  than `CANARIES_LEAST` of different operators were seen on that route: whether well-known servers are intercepted as
  well decides how much an unknown chain says (docs/decisions.md, "by company").
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector import pins
from detector.aio.lazy import LazyModule
from detector.aio.tasks import Group, run_in_thread
from detector.model import Category, Endpoint, Outcome

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from detector.judge import assess, evidence
    from detector.judge.evidence import Context, EndpointEvidence
    from detector.knowledge.data_set import DataSet
    from detector.model import Observation, PortalObservation, ServerDate
    from detector.probe import Dialer
    from detector.probe.http import client, dates, issuers, portal
    from detector.trust import classes
else:
    assess = LazyModule("detector.judge.assess")
    classes = LazyModule("detector.trust.classes")
    client = LazyModule("detector.probe.http.client")
    dates = LazyModule("detector.probe.http.dates")
    evidence = LazyModule("detector.judge.evidence")
    issuers = LazyModule("detector.probe.http.issuers")
    portal = LazyModule("detector.probe.http.portal")

LOG: Final = logging.getLogger("detector.session")

WORTHWHILE: Final = 0.1
"""Seconds that must be left for a follow-up to start: less than one round trip to another continent."""

CANARIES_LEAST: Final = 2
"""Canaries of different operators that must be seen on a route: two operators that run CAs of their own share no
server."""

_PREFERRED: Final = (Category.SEARCH, Category.SOCIAL, Category.OTHER, Category.MAIL, Category.LMS, Category.CANARY)
"""Which of an operator's canaries is probed. Interceptors exempt updates and CAs' own sites more often than search, and
some decrypt only search and social networks."""


class Control(NamedTuple):
    """The control request for captive portals: a URL whose answer is known, and optionally an RFC 8908 API."""

    url: str
    status: int = 204
    body: bytes | None = None
    api_url: str | None = None


DEFAULT_CONTROL: Final = Control("http://connectivitycheck.gstatic.com/generate_204")
"""What Android devices request on every network: the least conspicuous request there is."""


@functools.lru_cache(maxsize=4)
def known_canaries(data: DataSet) -> tuple[Endpoint, ...]:
    """The canaries of a data set, as `one_per_operator` gives them. Reads the file."""
    return one_per_operator(pins.shipped(data, root_labels=data.known_roots.labels).endpoints)


def one_per_operator(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """One canary of each operator that runs a CA of its own, as an endpoint of category `canary`."""
    rank = {category: number for number, category in enumerate(_PREFERRED)}
    suitable = [endpoint for endpoint in endpoints if endpoint.canary and endpoint.runs_ca and endpoint.operator]
    found: dict[str | None, Endpoint] = {}
    for endpoint in sorted(suitable, key=lambda endpoint: rank.get(endpoint.category, len(rank))):
        found.setdefault(endpoint.operator, msgspec.structs.replace(endpoint, category=Category.CANARY))
    return tuple(found.values())


class Canaries:
    """Which canaries a run has seen, and which of them it still needs.

    `known` returns the canaries to choose from; it is called when the first is needed. Those that `wanted` returned
    count as seen until `note` says what they showed. What was seen or requested longer than `again_after` ago (seconds,
    as all times here, of any one clock) no longer counts. Thread-safe.
    """

    def __init__(self, known: Callable[[], Sequence[Endpoint]], *, again_after: float = math.inf) -> None:
        self._known: Final = functools.cache(known)
        self._again_after: Final = again_after
        self._seen: Final[dict[tuple[str, str], float]] = {}
        self._requested: Final[dict[str, float]] = {}
        self._pending: Final[dict[str, str]] = {}
        self._lock: Final = threading.Lock()

    def note(self, evidence: Iterable[EndpointEvidence], now: float) -> None:
        """Note the canaries in this evidence."""
        for one in evidence:
            endpoint = one.endpoint
            if endpoint.canary and endpoint.runs_ca and endpoint.operator is not None:
                routes = {each.route for each in (one, *one.siblings) if each.leaf is not None}
                with self._lock:
                    self._pending.pop(endpoint.name, None)
                    self._requested[endpoint.name] = now
                    self._seen.update(((route, endpoint.operator), now) for route in routes)

    def wanted(self, evidence: Sequence[EndpointEvidence], now: float) -> tuple[Endpoint, ...]:
        """The canaries to probe because of this evidence, which count as requested from now on.

        Empty where all is cleared, or enough operators were seen.
        """
        routes = {each.route for one in evidence for each in assess.observations_that_count(one) if _is_open(each)}
        if not routes:
            return ()
        with self._lock:
            lacking = [seen for route in routes if len(seen := self._operators_on(route, now)) < CANARIES_LEAST]
        if not lacking:
            return ()
        names, enough, known = {one.endpoint.name for one in evidence}, frozenset.intersection(*lacking), self._known()
        with self._lock:
            left = (e for e in known if not self._is_fresh(self._requested.get(e.name, -math.inf), now))
            chosen = [e for e in left if e.name not in names and e.operator not in enough]
            chosen = chosen[: CANARIES_LEAST - min(map(len, lacking))]
            self._requested.update((endpoint.name, now) for endpoint in chosen)
            self._pending.update((endpoint.name, endpoint.operator or "") for endpoint in chosen)
        return tuple(chosen)

    def _operators_on(self, route: str, now: float) -> frozenset[str]:
        seen = (who for (where, who), at in self._seen.items() if where == route and self._is_fresh(at, now))
        pending = (who for name, who in self._pending.items() if self._is_fresh(self._requested[name], now))
        return frozenset((*seen, *pending))

    def _is_fresh(self, at: float, now: float) -> bool:
        return now - at < self._again_after


def _is_open(one: EndpointEvidence) -> bool:
    """Whether an observation has a right name and is not cleared."""
    if one.leaf is None or not one.name_right or one.is_superseded:
        return False
    if one.is_a(classes.ChainClass.DECLARED):
        return not one.observation.key_proved or bool(one.chain is not None and one.chain.refused)
    return not one.is_genuine or one.pin_match is evidence.PinMatch.MISMATCH


class _Needs(NamedTuple):
    """What a follow-up is for."""

    incomplete: list[EndpointEvidence]
    portal: bool
    dates: bool
    canaries: tuple[Endpoint, ...]


class FollowUp(NamedTuple):
    """How follow-up requests are made.

    `dialer_for` returns the route to an endpoint, `issuer_dialer_for` the route to an address that a certificate names:
    one that leads to public addresses only, except for those (host, port) that the caller `mapped` somewhere. `probe`
    makes the observations of an endpoint until a time of the loop, `canaries` returns the canaries to choose from.
    `clock` returns the time.
    """

    dialer_for: Callable[[Endpoint], Dialer]
    issuer_dialer_for: Callable[[Endpoint], Dialer]
    mapped: Mapping[tuple[str, int], tuple[str, int]]
    control: Control | None
    clock: Callable[[], dt.datetime]
    probe: Callable[[Endpoint, float], Coroutine[None, None, Sequence[Observation]]]
    canaries: Callable[[], Sequence[Endpoint]]

    async def __call__(
        self,
        found: Sequence[EndpointEvidence],
        until: float,
        *,
        alongside: Sequence[Endpoint] = (),
        canaries: Canaries | None = None,
    ) -> tuple[EndpointEvidence, ...]:
        """The same evidence with what the follow-up brought, followed by that of canaries which were probed.

        Unchanged when there is no need or no time (loop time). `alongside` are endpoints of the same network whose HTTP
        date can be requested as well; `canaries` says which were seen before.
        """
        found, loop = tuple(found), asyncio.get_running_loop()
        if until - loop.time() < WORTHWHILE:
            LOG.debug("follow-up skipped: no time is left")
            return found
        seen = canaries or Canaries(self.canaries)
        needs = await run_in_thread(lambda: _needs(found, seen, loop.time()))
        if not any(needs):
            LOG.debug("follow-up skipped: nothing needs one")
            return found
        LOG.debug(
            "follow-up: %d issuers, portal %s, dates %s, canaries %s",
            *(len(needs.incomplete), needs.portal, needs.dates, [each.name for each in needs.canaries]),
        )
        async with Group() as group:
            completing = group.create_task(self._complete(needs.incomplete, until))
            portal = group.create_task(self._portal(until)) if needs.portal else None
            endpoints = [*(one.endpoint for one in found), *alongside]
            dated = group.create_task(self._dates(endpoints, until)) if needs.dates else None
            probing = group.create_task(self._probe(needs.canaries, until))
        context = found[0].context
        context = context._replace(
            portal=portal.result() if portal else context.portal, dates=dated.result() if dated else context.dates
        )
        fetched = completing.result()
        found = tuple(one.with_more(context, fetched.get(one.endpoint.name, one.fetched)) for one in found)
        found += _evidence(probing.result(), context, seen)
        if not (needs.incomplete or needs.canaries) or until - loop.time() < WORTHWHILE:
            return found
        # An endpoint that its issuer has not cleared needs canaries, and others do where one did not answer.
        more = await run_in_thread(lambda: seen.wanted(found, loop.time()))
        return found + _evidence(await self._probe(more, until), context, seen)

    async def _complete(self, incomplete: Sequence[EndpointEvidence], until: float) -> dict[str, tuple[bytes, ...]]:
        """The issuers that were fetched, by the endpoint's name."""
        if not incomplete:
            return {}
        fetcher = issuers.IssuerFetcher(self.issuer_dialer_for, exempt=self.mapped)
        async with Group() as group:
            fetching = [
                (one.endpoint.name, group.create_task(fetcher.complete(one.leaf.issuer_urls, deadline=until)))
                for one in incomplete
                if one.leaf is not None
            ]
        fetched: dict[str, tuple[bytes, ...]] = {}
        for name, task in fetching:
            fetched[name] = tuple(dict.fromkeys((*fetched.get(name, ()), *task.result())))
        return fetched

    async def _probe(self, endpoints: Sequence[Endpoint], until: float) -> list[tuple[Endpoint, Sequence[Observation]]]:
        async with Group() as group:
            tasks = [(endpoint, group.create_task(self.probe(endpoint, until))) for endpoint in endpoints]
        return [(endpoint, task.result()) for endpoint, task in tasks]

    async def _portal(self, until: float) -> PortalObservation | None:
        control = self.control
        target = client.parse_url(control.url) if control is not None else None
        if control is None or target is None:
            return None
        return await portal.probe_portal(
            dialer=self.dialer_for(Endpoint(host=target.host, port=target.port)),
            probe_url=control.url,
            expect_status=control.status,
            expect_body=control.body,
            api_url=control.api_url,
            deadline=until,
        )

    async def _dates(self, endpoints: Sequence[Endpoint], until: float) -> tuple[ServerDate, ...]:
        return await dates.ask_dates(endpoints, dialer_for=self.dialer_for, clock=self.clock, deadline=until)


def _evidence(
    probed: Iterable[tuple[Endpoint, Sequence[Observation]]], context: Context, canaries: Canaries
) -> tuple[EndpointEvidence, ...]:
    """The evidence on canaries that were probed, noted in `canaries`."""
    found = tuple(evidence.EndpointEvidence(endpoint, seen[0], context, others=seen[1:]) for endpoint, seen in probed)
    canaries.note(found, asyncio.get_running_loop().time())
    return found


def _needs(found: Sequence[EndpointEvidence], canaries: Canaries, now: float) -> _Needs:
    """What to make a follow-up for. Paths and timestamps are verified for it, milliseconds for each chain.

    A missing issuer is fetched before canaries are probed because of its leaf.
    """
    every = [one for each in found for one in (each, *each.siblings)]
    complete = [each for each in found if not any(one.issuer_missing for one in (each, *each.siblings))]
    canaries.note(found, now)
    return _Needs(
        incomplete=[one for one in every if one.issuer_missing],
        portal=any(map(_may_be_portal, every)),
        dates=any(one.leaf is not None and not _is_in_date(one.leaf.validity, one.context.at) for one in every),
        canaries=canaries.wanted(complete, now),
    )


def _may_be_portal(one: EndpointEvidence) -> bool:
    """Whether a captive portal could explain what was seen: many have a public certificate, for another name."""
    if one.observation.outcome is Outcome.NOT_TLS:
        return True
    known = one.is_a(classes.ChainClass.ACCEPTED, classes.ChainClass.DECLARED) and one.name_right
    return one.leaf is not None and not known


def _is_in_date(validity: tuple[dt.datetime, dt.datetime] | None, at: dt.datetime) -> bool:
    return validity is not None and validity[0] <= at <= validity[1]
