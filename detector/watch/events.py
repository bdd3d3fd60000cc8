"""The events of a watch, and each in one sentence.

Room: watch. Pure. Like a report, an event has no field for a user name, a machine name or an address of the machine the
watch runs on. Wording follows confidence (`detector.judge.wording`): below `probable` nothing is called intercepted,
and no party is named.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
from typing import TYPE_CHECKING, Any, Final

from detector.aio.lazy import LazyModule
from detector.model import (
    SCHEMA_VERSION,
    Assurance,
    Confidence,
    EndpointName,
    Reason,
    Record,
    Result,
    Scope,
    Verdict,
    encode,
    schema,
)

if TYPE_CHECKING:
    from detector.judge import assess, table, wording
else:
    assess = LazyModule("detector.judge.assess")
    table = LazyModule("detector.judge.table")
    wording = LazyModule("detector.judge.wording")


class WatchKind(enum.StrEnum):
    """What an event reports. docs/watch.md says of each when it comes."""

    BASELINE = "baseline"
    APPEARED = "appeared"
    VANISHED = "vanished"
    CHANGED_INTERCEPTOR = "changed-interceptor"
    STRENGTHENED = "strengthened"
    WEAKENED = "weakened"
    INCONCLUSIVE = "inconclusive"
    RECOVERED = "recovered"
    NETWORK_LOST = "network-lost"
    NETWORK_BACK = "network-back"
    NETWORK_CHANGE = "network-change"
    GAP = "gap"
    CLOCK_STEP = "clock-step"
    ENDED = "ended"


class Standing(Record, frozen=True, kw_only=True):
    """What is reported of one endpoint.

    `issuer` is the leaf's, as presented; an uncertain result (`possible`) names neither issuer nor product.
    """

    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    issuer: str | None = None
    product: str | None = None

    @classmethod
    def of(cls, result: Result) -> Standing:
        """The standing that a result gives."""
        chain = result.observation.chain
        return cls(
            verdict=result.verdict,
            reason=result.reason,
            confidence=result.confidence,
            assurance=result.assurance,
            issuer=chain[0].issuer if chain and not wording.is_uncertain(result) else None,
            product=result.attribution.product if result.attribution is not None else None,
        )


class NetworkStanding(Record, frozen=True, kw_only=True):
    """The verdict of the network, and how many endpoints have which. While some are `unjudged` it is never clean."""

    verdict: Verdict
    confidence: Confidence | None
    scope: Scope
    clean: int
    middleware: int
    inconclusive: int
    unjudged: int


class WatchEvent(Record, frozen=True, kw_only=True):
    """Something changed.

    `at` is the time in UTC, `elapsed` the seconds since the watch began by a clock that cannot be set and that
    continues during sleep; `vantage` is the caller's name for the place. `endpoint`, `before`, `after`, `last_look`
    (when it was probed before: the change lies between) and `result` (the evidence) are of events about one endpoint.
    `seconds` is the length of a `gap`, or how far the clock was set (`clock-step`). `network` is the network's verdict
    from now on.
    """

    schema_version: int = SCHEMA_VERSION
    sequence: int
    kind: WatchKind
    at: dt.datetime
    elapsed: float
    vantage: str = ""
    summary: str
    endpoint: EndpointName | None = None
    before: Standing | None = None
    after: Standing | None = None
    last_look: dt.datetime | None = None
    seconds: float | None = None
    network: NetworkStanding
    result: Result | None = None

    def to_json(self) -> bytes:
        """This event as UTF-8 JSON on one line."""
        return encode(self)


def watch_event_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `WatchEvent`."""
    return schema(WatchEvent, title="detector watch event")


_OF_ALL: Final[dict[WatchKind, str]] = {
    WatchKind.NETWORK_LOST: "Nothing answers any more, on no endpoint.",
    WatchKind.NETWORK_BACK: "The network answers again.",
    WatchKind.NETWORK_CHANGE: "This machine is on another network; everything is probed again.",
    WatchKind.GAP: "Nothing was probed for {seconds:.0f} seconds; everything is probed again.",
    WatchKind.CLOCK_STEP: "The clock was set {direction} by {seconds:.0f} seconds; everything is probed again.",
}
"""Sentences about the network as a whole."""


def describe(event: WatchEvent) -> str:
    """What happened, in one sentence."""
    if event.endpoint is not None and event.after is not None:
        return f"{event.endpoint.name}: {_of_endpoint(event, event.before, event.after)}."
    if event.kind in {WatchKind.BASELINE, WatchKind.ENDED}:
        what = "Every endpoint has been probed" if event.kind is WatchKind.BASELINE else "The watch is over"
        return f"{what}: {_counts(event.network)}."
    seconds = event.seconds or 0.0
    direction = "forward" if seconds > 0 else "back"
    return _OF_ALL[event.kind].format(direction=direction, seconds=abs(seconds))


def _of_endpoint(event: WatchEvent, before: Standing | None, after: Standing) -> str:
    accusation = _accusation(event, after)
    clean = f"clean ({after.assurance})"
    doubt = "intercepted" if before is not None and assess.names_a_party(before.confidence) else "uncertain"
    return {
        WatchKind.APPEARED: accusation,
        WatchKind.CHANGED_INTERCEPTOR: f"{accusation}; {_before(before)}",
        WatchKind.STRENGTHENED: f"{accusation}; that is surer than before",
        WatchKind.VANISHED: f"no longer {doubt}; {clean}",
        WatchKind.WEAKENED: f"still {clean}, which was {before.assurance if before else None} before",
        WatchKind.RECOVERED: f"can be assessed again: {clean if after.verdict is Verdict.CLEAN else accusation}",
        WatchKind.INCONCLUSIVE: f"cannot be assessed: {_cause(event, after)}",
    }[event.kind]


def _accusation(event: WatchEvent, after: Standing) -> str:
    """What to say of middleware; where it is only possible, the reason, and no party."""
    if assess.names_a_party(after.confidence):
        return f"intercepted ({after.confidence}) by {_party(after)}"
    return f"uncertain ({after.confidence}): {_cause(event, after)}"


def _cause(event: WatchEvent, standing: Standing) -> str:
    """Why an endpoint stands as it does, without the full stop; the result may be of a later probe, or not be there."""
    result = event.result
    known = result is not None and result.reason is standing.reason
    words = wording.cause(result) if known and result is not None else table.RULE_OF[standing.reason].why
    return words.removesuffix(".")


def _before(standing: Standing | None) -> str:
    if standing is None or not assess.names_a_party(standing.confidence):
        return "the issuer is another than before"
    return f"before by {_party(standing)}"


def _party(standing: Standing) -> str:
    if standing.product is None and standing.issuer is None:
        return "an unknown party"
    issuer = f"issuer {standing.issuer}"
    return issuer if standing.product is None else f"{standing.product} ({issuer})"


def _counts(network: NetworkStanding) -> str:
    sure = f" ({network.confidence})" if network.confidence is not None else ""
    unprobed = f", {network.unjudged} not probed" if network.unjudged else ""
    return (
        f"the network is {wording.state(network.verdict, network.confidence)}{sure}; {network.clean} clean, "
        f"{network.middleware} intercepted or uncertain, {network.inconclusive} not assessed{unprobed}"
    )
