"""What a watch reports: a state machine from successive probes of the same endpoints to typed events, only on change.

Room: watch. Pure: evidence and times come in; events come out.

Theory of operation
===================
Every endpoint has its latest evidence. Whenever some were probed again, the latest evidence of all is assessed
together, exactly as `check` would assess it, and the results are compared with what was reported before. The network's
evidence is collected again each time, so what is remembered grows with the endpoints, never with time.

What is reported, and how soon, is not symmetrical, because the two mistakes are not:

* Middleware is reported at first sight (`appeared`), and when another interceptor answers (`changed-interceptor`). As
  long as the same one answers, confidence is only reported upwards (`strengthened`): what was proven stays proven.
* That it is gone (`vanished`) is reported after `VANISHED_AFTER` clean probes in a row, and after twice as many each
  time it came back: an interceptor that intercepts every k-th connection must not resemble a network that recovers.
  Until then the endpoint counts as middleware.
* An inconclusive probe is repeated soon (`Watch.doubtful`), and only the second in a row is reported (`inconclusive`):
  one lost packet is no news. So an outage shorter than the time between two probes is never reported.
* Where nothing answers anywhere, that is one event (`network-lost`, later `network-back`) and not one per endpoint.
* A clean endpoint with weaker assurance than before is reported (`weakened`), stronger assurance is not.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.judge import assess
from detector.judge.network import decide_network
from detector.model import Assurance, Confidence, Endpoint, EndpointName, Outcome, Result, Verdict

from .events import NetworkStanding, Standing, WatchEvent, WatchKind, describe

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Sequence

    from detector.judge.evidence import EndpointEvidence

INCONCLUSIVE_AFTER: Final = 2
"""Inconclusive probes in a row before that is reported: the first one and its repetition."""
VANISHED_AFTER: Final = 3
"""Clean probes in a row after which an interceptor is reported as gone, the first time."""
VANISHED_AFTER_MOST: Final = 48
"""The most that may grow to for an interceptor that keeps coming back: most of an hour at one probe a minute."""
INTERCEPTORS_MAX: Final = 8
"""Interceptors remembered per endpoint, so that each member of a cluster that takes turns is reported once."""
_VARYING: Final = re.compile(r"\b[0-9a-f]{8,}\b|\d+")
"""Serial numbers, dates and hashes inside an issuer's name."""
ANSWERS: Final = frozenset(
    {Outcome.NOT_TLS, Outcome.TLS_ALERT, Outcome.TLS_FAILURE, Outcome.SIGNATURE_WRONG, Outcome.TOO_LARGE}
)
"""Outcomes without a certificate in which a peer did answer, so that the network is not lost."""


class Moment(NamedTuple):
    """The time in UTC, and the seconds since the watch began."""

    at: dt.datetime
    elapsed: float


class _Interceptor(NamedTuple):
    """What an interceptor is recognised by on the same endpoint."""

    keys: frozenset[bytes]
    name: str | None

    @classmethod
    def of(cls, evidence: EndpointEvidence) -> _Interceptor:
        leaf = evidence.leaf
        identifier = None if leaf is None else leaf.authority_key_identifier
        return cls(evidence.issuing_keys | ({identifier} if identifier else frozenset()), _issuer_name(evidence))

    def is_same(self, other: _Interceptor) -> bool:
        """Compare the issuer's keys or key identifiers where both have some; else the issuer's own name."""
        if self.keys and other.keys:
            return bool(self.keys & other.keys)
        return self.name == other.name


def _issuer_name(evidence: EndpointEvidence) -> str | None:
    """The issuer's name without what differs from certificate to certificate: numbers and the host."""
    if evidence.leaf is None or evidence.leaf.issuer is None:
        return None
    host = evidence.endpoint.host.lower()
    pairs = evidence.leaf.issuer.canonical
    return ",".join(f"{kind}={_VARYING.sub('#', value.replace(host, '{host}'))}" for kind, value in pairs) or None


@dataclass(eq=False)
class _State:
    """One endpoint: its latest evidence and what was reported of it.

    `reported` is the result behind the current report, `accused` the one behind the interceptor that has not vanished.
    `clean` and `lost` count the latest probes in a row. `silent` says that `reported` is lost with the whole network,
    which was not reported of this endpoint: what the reader knows is still `_held`.
    """

    endpoint: Endpoint
    evidence: EndpointEvidence | None = None
    was_genuine: bool = False
    latest: Result | None = None
    latest_probe: dt.datetime | None = None
    previous_probe: dt.datetime | None = None
    reported: Result | None = None
    accused: Result | None = None
    silent: bool = False
    clean: int = 0
    lost: int = 0
    _held: Result | None = None
    _returns: int = 0
    _met: deque[_Interceptor] = field(default_factory=lambda: deque(maxlen=INTERCEPTORS_MAX))

    @property
    def known(self) -> Result | None:
        """The result behind what the reader knows of this endpoint."""
        return self._held if self.silent else self.reported

    @property
    def is_reported_lost(self) -> bool:
        """Whether the reader knows that this endpoint is inconclusive."""
        return self.reported is not None and self.reported.verdict is Verdict.INCONCLUSIVE

    @property
    def is_doubtful(self) -> bool:
        """Whether the latest probe was inconclusive and that is not reported yet."""
        return 0 < self.lost < INCONCLUSIVE_AFTER and (self.silent or not self.is_reported_lost)

    @property
    def answers(self) -> bool:
        """Whether a peer answered the latest probe."""
        seen = self.evidence
        return seen is not None and (seen.leaf is not None or seen.observation.outcome in ANSWERS)

    def accuse(self, result: Result, evidence: EndpointEvidence) -> WatchKind | None:
        """Note that middleware was seen."""
        self._end_silence()
        self.clean = self.lost = 0
        interceptor, before = _Interceptor.of(evidence), self.reported
        is_new = not any(interceptor.is_same(other) for other in self._met)
        if is_new:
            self._met.append(interceptor)
        accused = self.accused
        if accused is None or is_new or _surer(result, accused):
            self.accused = result
        self.reported = self.accused
        if accused is None:
            return WatchKind.APPEARED
        if is_new:
            return WatchKind.CHANGED_INTERCEPTOR
        if before is not None and before.verdict is Verdict.INCONCLUSIVE:
            return WatchKind.RECOVERED
        return WatchKind.STRENGTHENED if self.accused is result else None

    def clear(self, result: Result) -> WatchKind | None:
        """Note a clean probe."""
        self._end_silence()
        self.lost = 0
        self.clean += 1
        before = self.reported
        if self.accused is not None:
            if self.clean < min(VANISHED_AFTER << self._returns, VANISHED_AFTER_MOST):
                return None
            self._returns += 1
            self._met.clear()
            self.accused, self.reported = None, result
            return WatchKind.VANISHED
        if before is None or before.verdict is Verdict.INCONCLUSIVE:
            self.reported = result
            return None if before is None else WatchKind.RECOVERED
        if _weaker(result, before):
            self.reported = result
            return WatchKind.WEAKENED
        return None

    def lose(self, result: Result, previous: Result | None, *, is_known: bool) -> WatchKind | None:
        """Note an inconclusive probe; `previous` is the result of the one before.

        `is_known` says that the reader knows it of the whole network.
        """
        self.clean = 0
        self.lost += 1
        if is_known:
            return None
        if self.lost < INCONCLUSIVE_AFTER and (self.silent or not self.is_reported_lost):
            return None
        self._end_silence()
        if self.reported is not None and self.is_reported_lost:
            repeated = previous is not None and previous.reason == result.reason
            if not repeated or self.reported.reason == result.reason:
                return None
        self.reported = result
        return WatchKind.INCONCLUSIVE

    def go_silent(self, change: _Change | None) -> None:
        """The whole network is lost, and that is reported instead of `change`, which this probe would have reported.

        Of an endpoint that was reported as lost before, nothing needs to be held back.
        """
        if change is not None or not self.is_reported_lost:
            self._held = self.reported if change is None else change.before
            self.reported, self.silent = self.latest, True

    def _end_silence(self) -> None:
        if self.silent:
            self.reported, self.silent, self._held = self._held, False, None


def _surer(result: Result, than: Result) -> bool:
    return (
        result.confidence is not None
        and than.confidence is not None
        and result.confidence is not than.confidence
        and result.confidence.reaches(than.confidence)
    )


def _weaker(result: Result, than: Result) -> bool:
    if result.assurance is None or than.assurance is None:
        return False
    order = list(Assurance)
    return order.index(result.assurance) < order.index(than.assurance)


class Watch:
    """The state of one watch over `endpoints`.

    `named` are those the caller asked for, as in `decide_network`, `vantage` is the caller's name for the place.
    """

    def __init__(self, endpoints: Sequence[Endpoint], *, named: Collection[str] = (), vantage: str = "") -> None:
        self._states: Final = {endpoint.name: _State(endpoint) for endpoint in endpoints}
        self._named: Final = frozenset(named)
        self._vantage: Final = vantage
        self._sequence = 0
        self._based = False
        self._lost = False
        self._canaries: dict[str, EndpointEvidence] = {}
        self._accused_canaries: tuple[Result, ...] = ()

    @property
    def doubtful(self) -> tuple[Endpoint, ...]:
        """The endpoints to probe again soon, before what the last probe showed is reported."""
        if self._lost:
            return ()
        return tuple(state.endpoint for state in self._states.values() if state.is_doubtful)

    def latest(self, endpoint: Endpoint) -> Result | None:
        """The result of the latest probe of an endpoint."""
        return self._states[endpoint.name].latest

    def add(
        self, evidence: Iterable[EndpointEvidence], moment: Moment, canaries: Iterable[EndpointEvidence] = ()
    ) -> list[WatchEvent]:
        """Add new evidence of some endpoints; returns what changed by it, in order.

        `canaries` are those that a follow-up probed because of them: they have no events, but count for the verdicts of
        the network and of the endpoints, as long as any of these is not cleared.

        Raises KeyError for an endpoint that is not watched.
        """
        self._canaries.update((each.endpoint.name, each) for each in canaries)
        probed = [self._add(each, moment) for each in evidence]
        events = []
        if self._lost and any(state.answers for state in probed):
            self._lost = False
            for state in self._states.values():
                state.lost = 0
            events.append(self._event(WatchKind.NETWORK_BACK, moment))
        changes = self._assess({state.endpoint.name for state in probed})
        if self._is_outage(changes):
            self._lost = True
            for state in self._states.values():
                state.go_silent(next((change for change in changes if change.state is state), None))
            changes = [change for change in changes if change.kind is not WatchKind.INCONCLUSIVE]
            changes.append(_Change(WatchKind.NETWORK_LOST))
        events += [self._event(change.kind, moment, change) for change in changes]
        if not self._based and all(state.reported is not None for state in self._states.values()):
            self._based = True
            events.append(self._event(WatchKind.BASELINE, moment))
        return events

    def passed(self, kind: WatchKind, moment: Moment, seconds: float | None = None) -> WatchEvent:
        """Report what happened to time or to the network: `gap`, `clock-step` (with `seconds`), `network-change`."""
        self._forget_canaries()
        return self._event(kind, moment, seconds=seconds)

    def end(self, moment: Moment) -> WatchEvent:
        """Report that the watch is over."""
        return self._event(WatchKind.ENDED, moment)

    def _add(self, evidence: EndpointEvidence, moment: Moment) -> _State:
        state = self._states[evidence.endpoint.name]
        state.was_genuine = state.was_genuine or (state.evidence is not None and state.evidence.is_genuine)
        if state.was_genuine:
            context = evidence.context._replace(seen_before=(evidence.endpoint.name,))
            evidence = evidence.with_more(context, evidence.fetched)
        state.evidence = evidence
        state.previous_probe, state.latest_probe = state.latest_probe, moment.at
        return state

    def _assess(self, probed: Collection[str]) -> list[_Change]:
        """Assess the latest evidence of all. An endpoint not probed again can only be accused by what others show."""
        seen = [(state, state.evidence) for state in self._states.values() if state.evidence is not None]
        every = assess.assess_all([*(evidence for _, evidence in seen), *self._canaries.values()], named=self._named)
        results, canaries = every[: len(seen)], every[len(seen) :]
        self._accused_canaries = tuple(result for result in canaries if result.verdict is Verdict.MIDDLEWARE)
        if all(
            evidence.leaf is None or result.verdict is Verdict.CLEAN
            for (_, evidence), result in zip(seen, results, strict=True)
        ):
            self._forget_canaries()
        changes = []
        for (state, evidence), result in zip(seen, results, strict=True):
            known, accused, previous = state.known, state.accused, state.latest
            state.latest = result
            kind = None
            if result.verdict is Verdict.MIDDLEWARE:
                kind = state.accuse(result, evidence)
            elif state.endpoint.name not in probed:
                continue
            elif result.verdict is Verdict.CLEAN:
                kind = state.clear(result)
            else:
                kind = state.lose(result, previous, is_known=self._lost)
            if kind is not None:
                before = accused if kind is WatchKind.VANISHED else known
                changes.append(_Change(kind, state, before, result))
        return changes

    def _forget_canaries(self) -> None:
        self._canaries.clear()
        self._accused_canaries = ()

    def _is_outage(self, changes: Iterable[_Change]) -> bool:
        """Whether what is inconclusive is the whole network and not some endpoints of it."""
        states = self._states.values()
        return (
            len(states) > 1
            and any(change.kind is WatchKind.INCONCLUSIVE for change in changes)
            and all(state.evidence is not None and not state.answers for state in states)
        )

    def _network(self) -> NetworkStanding:
        reported = [state.reported for state in self._states.values() if state.reported is not None]
        decision = decide_network([*reported, *self._accused_canaries], named=self._named)
        counted = Counter(result.verdict for result in reported)
        unjudged = len(self._states) - len(reported)
        is_open = decision.verdict is Verdict.CLEAN and unjudged
        return NetworkStanding(
            verdict=Verdict.INCONCLUSIVE if is_open else decision.verdict,
            confidence=decision.confidence,
            scope=decision.scope,
            clean=counted[Verdict.CLEAN],
            middleware=counted[Verdict.MIDDLEWARE],
            inconclusive=counted[Verdict.INCONCLUSIVE],
            unjudged=unjudged,
        )

    def _event(
        self, kind: WatchKind, moment: Moment, change: _Change | None = None, seconds: float | None = None
    ) -> WatchEvent:
        self._sequence += 1
        event = WatchEvent(
            sequence=self._sequence,
            kind=kind,
            at=moment.at,
            elapsed=round(moment.elapsed, 3),
            vantage=self._vantage,
            summary="",
            seconds=None if seconds is None else round(seconds, 3),
            network=self._network(),
        )
        state = None if change is None else change.state
        if change is not None and state is not None and state.reported is not None:
            endpoint = state.endpoint
            event = msgspec.structs.replace(
                event,
                endpoint=EndpointName(host=endpoint.host, port=endpoint.port, category=endpoint.category),
                before=None if change.before is None else Standing.of(change.before),
                after=Standing.of(state.reported),
                last_look=state.previous_probe,
                result=change.result,
            )
        return msgspec.structs.replace(event, summary=describe(event))


class _Change(NamedTuple):
    """What to report of an endpoint: what was reported before, and the result that shows it."""

    kind: WatchKind
    state: _State | None = None
    before: Result | None = None
    result: Result | None = None


class WatchSummary:
    """What a watch reported in all."""

    def __init__(self) -> None:
        self.confidence: Confidence | None = None
        """The highest confidence of middleware reported of the network at any time."""
        self._based = False
        self._always_clean = True

    def note(self, event: WatchEvent) -> None:
        """Count an event."""
        confidence = event.network.confidence
        if confidence is not None and (self.confidence is None or confidence.reaches(self.confidence)):
            self.confidence = confidence
        self._based = self._based or event.kind is WatchKind.BASELINE
        if self._based and (event.network.verdict is not Verdict.CLEAN or event.kind is WatchKind.GAP):
            self._always_clean = False

    @property
    def verdict(self) -> Verdict:
        """`clean` only if the network was clean from the first assessment on, without a gap in the probing."""
        if self.confidence is not None:
            return Verdict.MIDDLEWARE
        return Verdict.CLEAN if self._based and self._always_clean else Verdict.INCONCLUSIVE
