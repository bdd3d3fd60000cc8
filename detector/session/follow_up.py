"""Follow-up probes: the few further requests that are made when something was not cleared.

Room: session. Starts tasks and ends every one of them. Nothing is assessed here: what comes back goes into the evidence
and its context, and is assessed like everything else. A network where all is well is asked nothing.

A follow-up takes, within the deadline of what it follows:

* issuers, from where a leaf says that its own can be fetched;
* the control request for captive portals, where a portal could explain what was seen;
* HTTP dates, where a leaf is out of its validity;
* canaries of operators that run CAs of their own, where something with a right name was not cleared and fewer than
  `CANARIES_LEAST` of different operators were seen on that route: whether well-known servers are intercepted as well
  decides how much an unknown chain says (docs/decisions.md, "by company").
"""

from __future__ import annotations

import asyncio
import functools
import math
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.tasks import Group, off_loop
from detector.model import Category, Endpoint, Outcome

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from detector.judge.evidence import Context, EndpointEvidence
    from detector.model import Observation, PortalObservation, ServerDate
    from detector.probe import Dialer
    from detector.trust.certificate import Certificate

WORTHWHILE: Final = 0.1
"""Seconds that must be left for a follow-up to be begun: less than one round trip to another continent."""

CANARIES_LEAST: Final = 2
"""Canaries of different operators that must be seen on a route: what two operators that each run a CA of their own have
in common is nobody's server."""

_PREFERRED: Final = (Category.SEARCH, Category.SOCIAL, Category.OTHER, Category.MAIL, Category.LMS, Category.CANARY)
"""Which of an operator's canaries is probed. Interceptors leave updates and CAs' own sites alone more often than they
do search, and some decrypt only search and social networks."""


class Control(NamedTuple):
    """The control request for captive portals: a URL whose answer is known, and optionally an RFC 8908 API."""

    url: str
    status: int = 204
    body: bytes | None = None
    api_url: str | None = None


DEFAULT_CONTROL: Final = Control("http://connectivitycheck.gstatic.com/generate_204")
"""What Android devices ask on every network: the least conspicuous question there is."""


@functools.cache
def known_canaries() -> tuple[Endpoint, ...]:
    """The canaries that come with the package, as `one_per_operator` gives them. Reads its pin files."""
    from detector import pins  # noqa: PLC0415 - only where a follow-up needs them
    from detector.trust.known_roots import known_labels  # noqa: PLC0415 - as above

    return one_per_operator(pins.shipped(root_labels=known_labels()).endpoints)


def one_per_operator(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Of each operator that runs a CA of its own one canary, as an endpoint of category `canary`."""
    rank = {category: number for number, category in enumerate(_PREFERRED)}
    suitable = [endpoint for endpoint in endpoints if endpoint.canary and endpoint.runs_ca and endpoint.operator]
    found: dict[str | None, Endpoint] = {}
    for endpoint in sorted(suitable, key=lambda endpoint: rank.get(endpoint.category, len(rank))):
        found.setdefault(endpoint.operator, msgspec.structs.replace(endpoint, category=Category.CANARY))
    return tuple(found.values())


class Canaries:
    """Which canaries a run has seen, and which of them it still needs.

    `known` gives the canaries to choose from; it is called when the first is needed. Those that `wanted` gave count as
    seen until `note` says what they showed. What was seen or asked for longer than `again_after` ago (seconds, as all
    times here, of any one clock) counts no more. Several threads may ask.
    """

    def __init__(self, known: Callable[[], Sequence[Endpoint]], *, again_after: float = math.inf) -> None:
        self._known: Final = functools.cache(known)
        self._is_known = False
        self._again_after: Final = again_after
        self._seen: Final[dict[tuple[str, str], float]] = {}
        self._asked: Final[dict[str, float]] = {}
        self._pending: Final[dict[str, str]] = {}
        self._lock: Final = threading.Lock()

    def note(self, evidence: Iterable[EndpointEvidence], now: float) -> None:
        """Take note of the canaries among what was seen."""
        for one in evidence:
            endpoint = one.endpoint
            if endpoint.canary and endpoint.runs_ca and endpoint.operator is not None:
                routes = {each.route for each in (one, *one.siblings) if each.leaf is not None}
                with self._lock:
                    self._pending.pop(endpoint.name, None)
                    self._asked[endpoint.name] = now
                    self._seen.update(((route, endpoint.operator), now) for route in routes)

    def may_want(self, evidence: Iterable[EndpointEvidence], now: float) -> bool:
        """Whether `wanted` may give any: quickly answered, and without reading what is known."""
        return bool(self._lacking(evidence, now)) and not (self._is_known and self._left(now) == ())

    def wanted(self, evidence: Iterable[EndpointEvidence], now: float) -> tuple[Endpoint, ...]:
        """The canaries to probe because of this; none where all is cleared. They count as asked for from now on."""
        evidence = tuple(evidence)
        lacking = self._lacking(evidence, now)
        if not lacking:
            return ()
        self._known()
        self._is_known = True
        names, enough = {one.endpoint.name for one in evidence}, frozenset.intersection(*lacking)
        with self._lock:
            chosen = [e for e in self._left(now) if e.name not in names and e.operator not in enough]
            chosen = chosen[: CANARIES_LEAST - min(map(len, lacking))]
            self._asked.update((endpoint.name, now) for endpoint in chosen)
            self._pending.update((endpoint.name, endpoint.operator or "") for endpoint in chosen)
        return tuple(chosen)

    def _lacking(self, evidence: Iterable[EndpointEvidence], now: float) -> list[frozenset[str]]:
        """The operators seen on each route where something is not cleared and too few of them were seen."""
        routes = {each.route for one in evidence for each in _counting(one) if _is_open(each)}
        if not routes:
            return []
        with self._lock:
            operators = [self._operators_on(route, now) for route in routes]
        return [seen for seen in operators if len(seen) < CANARIES_LEAST]

    def _left(self, now: float) -> tuple[Endpoint, ...]:
        """The canaries that were not asked for."""
        return tuple(e for e in self._known() if not self._is_fresh(self._asked.get(e.name, -math.inf), now))

    def _operators_on(self, route: str, now: float) -> frozenset[str]:
        seen = (who for (where, who), at in self._seen.items() if where == route and self._is_fresh(at, now))
        asked = (who for name, who in self._pending.items() if self._is_fresh(self._asked[name], now))
        return frozenset((*seen, *asked))

    def _is_fresh(self, at: float, now: float) -> bool:
        return now - at < self._again_after


def _counting(evidence: EndpointEvidence) -> tuple[EndpointEvidence, ...]:
    from detector.judge.assess import observations_that_count  # noqa: PLC0415 - judging is loaded while connections are made

    return observations_that_count(evidence)


def _is_open(one: EndpointEvidence) -> bool:
    """Whether an observation has a right name and is not cleared."""
    from detector.judge.evidence import PinMatch  # noqa: PLC0415 - as above
    from detector.trust.classes import ChainClass  # noqa: PLC0415 - as above

    if one.leaf is None or not one.name_right:
        return False
    if one.is_a(ChainClass.DECLARED):
        return not one.observation.key_proved or bool(one.chain is not None and one.chain.refused)
    return not one.is_genuine or one.pin_match is PinMatch.MISMATCH


class _Needs(NamedTuple):
    """What a follow-up is for."""

    incomplete: list[EndpointEvidence]
    portal: bool
    dates: bool
    canaries: tuple[Endpoint, ...]


class FollowUp(NamedTuple):
    """How follow-up probes are made.

    `dialer_for` gives the route to an endpoint, `issuer_dialer_for` the route to an address that a certificate names:
    one that leads to public addresses only, but for those (host, port) that the caller `mapped` somewhere. `probe`
    makes the observations of an endpoint until a time of the loop, `canaries` gives the canaries to choose from.
    `clock` gives the time.
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
        cases: Sequence[EndpointEvidence],
        until: float,
        *,
        alongside: Sequence[Endpoint] = (),
        canaries: Canaries | None = None,
    ) -> tuple[EndpointEvidence, ...]:
        """The same evidence with what the follow-up brought, and behind it that of canaries which were probed.

        Unchanged when there is no need or no time (loop time). `alongside` are endpoints of the same network that can
        be asked for the time as well as those of `cases`; `canaries` says which were seen before.
        """
        loop = asyncio.get_running_loop()
        if until - loop.time() < WORTHWHILE:
            return tuple(cases)
        seen = canaries or Canaries(self.canaries)
        needs = await off_loop(lambda: _needs(cases, seen, loop.time()))
        if not any(needs):
            return tuple(cases)
        async with Group() as group:
            completing = group.create_task(self._complete(needs.incomplete, until))
            portal = group.create_task(self._portal(until)) if needs.portal else None
            dates = group.create_task(self._dates(cases, alongside, until)) if needs.dates else None
            probing = group.create_task(self._probe(needs.canaries, until))
        context = cases[0].context._replace(
            portal=portal.result() if portal else None, dates=dates.result() if dates else ()
        )
        found = tuple(case.with_more(context, completing.result().get(case.endpoint.name, ())) for case in cases)
        found += self._noted(probing.result(), context, seen)
        if not (needs.incomplete or needs.canaries) or until - loop.time() < WORTHWHILE:
            return found
        # What its issuer has not cleared needs canaries, and others do where one did not answer.
        more = await off_loop(lambda: seen.wanted(found, loop.time()))
        return found + self._noted(await self._probe(more, until), context, seen)

    async def _complete(self, incomplete: Sequence[EndpointEvidence], until: float) -> dict[str, tuple[bytes, ...]]:
        """The issuers that were fetched, by the endpoint's name."""
        if not incomplete:
            return {}
        from detector.probe.http.issuers import IssuerFetcher  # noqa: PLC0415 - loaded when first needed

        fetcher = IssuerFetcher(self.issuer_dialer_for, exempt=self.mapped)
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

    @staticmethod
    def _noted(
        probed: Iterable[tuple[Endpoint, Sequence[Observation]]], context: Context, canaries: Canaries
    ) -> tuple[EndpointEvidence, ...]:
        """The evidence on canaries that were probed; `canaries` knows of it from now on."""
        from detector.judge.evidence import EndpointEvidence  # noqa: PLC0415 - as above

        found = tuple(EndpointEvidence(endpoint, seen[0], context, others=seen[1:]) for endpoint, seen in probed)
        canaries.note(found, asyncio.get_running_loop().time())
        return found

    async def _portal(self, until: float) -> PortalObservation | None:
        from detector.probe.http.client import parse_url  # noqa: PLC0415 - as above
        from detector.probe.http.portal import probe_portal  # noqa: PLC0415 - as above

        control = self.control
        target = parse_url(control.url) if control is not None else None
        if control is None or target is None:
            return None
        return await probe_portal(
            dialer=self.dialer_for(Endpoint(host=target.host, port=target.port)),
            probe_url=control.url,
            expect_status=control.status,
            expect_body=control.body,
            api_url=control.api_url,
            deadline=until,
        )

    async def _dates(
        self, cases: Sequence[EndpointEvidence], alongside: Sequence[Endpoint], until: float
    ) -> tuple[ServerDate, ...]:
        from detector.probe.http.dates import ask_dates  # noqa: PLC0415 - as above

        endpoints = [*(case.endpoint for case in cases), *alongside]
        return await ask_dates(endpoints, dialer_for=self.dialer_for, clock=self.clock, deadline=until)


def _needs(cases: Sequence[EndpointEvidence], canaries: Canaries, now: float) -> _Needs:
    """What to make a follow-up for. Paths and timestamps are verified for it, milliseconds for each chain.

    Where an issuer is missing, that is fetched first.
    """
    every = [one for case in cases for one in (case, *case.siblings)]
    canaries.note(cases, now)
    return _Needs(
        incomplete=[one for one in every if one.issuer_missing],
        portal=any(map(_is_odd, every)),
        dates=any(one.leaf is not None and not _in_date(one.leaf, one) for one in every),
        canaries=canaries.wanted((case for case in cases if not _lacks_issuer(case)), now),
    )


def _lacks_issuer(case: EndpointEvidence) -> bool:
    return any(one.issuer_missing for one in (case, *case.siblings))


def _is_odd(evidence: EndpointEvidence) -> bool:
    """Whether a portal could explain what was seen."""
    from detector.trust.classes import ChainClass  # noqa: PLC0415 - as above

    if evidence.observation.outcome is Outcome.NOT_TLS:
        return True
    return evidence.leaf is not None and not evidence.is_a(ChainClass.ACCEPTED, ChainClass.DECLARED)


def _in_date(leaf: Certificate, case: EndpointEvidence) -> bool:
    return leaf.validity is not None and leaf.validity[0] <= case.context.at <= leaf.validity[1]
