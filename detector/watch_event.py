"""What a watch tells: the events, and each in one sentence.

Room: watching, below session. Pure. Like a report, an event has no place for a user name, a machine name or an address
of the machine the watch runs on.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations at run time
import enum
from typing import Any, Final

from .model import (
    SCHEMA_VERSION,
    Assurance,
    Confidence,
    EndpointName,
    Record,
    Result,
    Scope,
    Verdict,
    encode,
    schema,
)


class WatchKind(enum.StrEnum):
    """What an event tells. docs/watch.md says of each when it is told."""

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
    """What is held of one endpoint. `issuer` is the leaf's, as presented; `product` is told of middleware only."""

    verdict: Verdict
    reason: str
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    issuer: str | None = None
    product: str | None = None

    @classmethod
    def of(cls, result: Result) -> Standing:
        """What a result says, in short."""
        chain = result.observation.chain
        return cls(
            verdict=result.verdict,
            reason=result.reason,
            confidence=result.confidence,
            assurance=result.assurance,
            issuer=chain[0].issuer if chain else None,
            product=result.attribution.product if result.attribution is not None else None,
        )


class NetworkStanding(Record, frozen=True, kw_only=True):
    """What is held of the network, and of how many endpoints what. While some are `unjudged` it is never clean."""

    verdict: Verdict
    confidence: Confidence | None
    scope: Scope
    clean: int
    middleware: int
    inconclusive: int
    unjudged: int


class WatchEvent(Record, frozen=True, kw_only=True):
    """Something changed.

    `at` is the time in UTC, `elapsed` the seconds since the watch began by a clock that nobody sets and that goes on
    during sleep; `vantage` is the caller's name for the place. `endpoint`, `before`, `after`, `last_look` (when it was
    looked at before: the change lies between) and `result` (the evidence) are of events about one endpoint. `seconds`
    is the length of a `gap`, or how far the clock was set (`clock-step`). `network` is what is held of the network from
    now on.
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
    WatchKind.NETWORK_CHANGE: "This machine is on another network; everything is looked at again.",
    WatchKind.GAP: "Nothing was looked at for {seconds:.0f} seconds; everything is looked at again.",
    WatchKind.CLOCK_STEP: "The clock was set {direction} by {seconds:.0f} seconds; everything is looked at again.",
}
"""What is told of the network as a whole."""


def describe(event: WatchEvent) -> str:
    """What happened, in one sentence."""
    if event.endpoint is not None and event.after is not None:
        return f"{event.endpoint.name}: {_of_endpoint(event, event.before, event.after)}."
    if event.kind in {WatchKind.BASELINE, WatchKind.ENDED}:
        what = "Every endpoint has been looked at" if event.kind is WatchKind.BASELINE else "The watch is over"
        return f"{what}: {_counts(event.network)}."
    seconds = event.seconds or 0.0
    direction = "forward" if seconds > 0 else "back"
    return _OF_ALL[event.kind].format(direction=direction, seconds=abs(seconds))


def _of_endpoint(event: WatchEvent, before: Standing | None, after: Standing) -> str:
    perhaps = "perhaps decrypted" if after.confidence is Confidence.POSSIBLE else "decrypted"
    accusation = f"{perhaps} on the way ({after.confidence}) by {_who(after)}"
    clean = f"clean ({after.assurance})"
    outcome = f", {event.result.observation.outcome}" if event.result is not None else ""
    return {
        WatchKind.APPEARED: accusation,
        WatchKind.CHANGED_INTERCEPTOR: f"{accusation}; before by {_who(before)}",
        WatchKind.STRENGTHENED: f"{accusation}; that is surer than before",
        WatchKind.VANISHED: f"no longer decrypted; {clean}",
        WatchKind.WEAKENED: f"still {clean}, which was {before.assurance if before else None} before",
        WatchKind.RECOVERED: f"can be judged again: {clean if after.verdict is Verdict.CLEAN else accusation}",
        WatchKind.INCONCLUSIVE: f"cannot be judged ({after.reason}{outcome})",
    }[event.kind]


def _who(standing: Standing | None) -> str:
    if standing is None or (standing.product is None and standing.issuer is None):
        return "somebody who cannot be named"
    issuer = f"issuer {standing.issuer}"
    return issuer if standing.product is None else f"{standing.product} ({issuer})"


def _counts(network: NetworkStanding) -> str:
    sure = f" ({network.confidence})" if network.confidence is not None else ""
    unjudged = f", {network.unjudged} not looked at" if network.unjudged else ""
    return (
        f"network {network.verdict}{sure}; {network.clean} clean, {network.middleware} decrypted, "
        f"{network.inconclusive} not judged{unjudged}"
    )
