"""What changed between two reports: intercepted now, no longer, by another party, uncertain, stale pins.

Room: history. Pure: two reports in, a list of changes out; nothing is assessed again. The wording follows confidence
(`detector.judge.wording`): what is only `possible` is uncertain, and names nobody.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from detector.judge.wording import cause, has_stale_pins, is_uncertain, wire_outcome
from detector.knowledge.age import describe
from detector.model import Confidence, Record, Report, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator


class ChangeKind(enum.StrEnum):
    """What happened to one endpoint between two runs."""

    INTERCEPTED = "intercepted"
    NO_LONGER_INTERCEPTED = "no-longer-intercepted"
    OTHER_INTERCEPTOR = "other-interceptor"
    SURER = "surer"
    UNCERTAIN = "uncertain"
    LESS_SURE = "less-sure"
    NO_LONGER_UNCERTAIN = "no-longer-uncertain"
    PINS_STALE = "pins-stale"
    NOT_ASSESSED = "not-assessed"
    ASSESSED_AGAIN = "assessed-again"
    OTHER_ASSURANCE = "other-assurance"
    ADDED = "added"
    REMOVED = "removed"


class Change(Record, frozen=True, kw_only=True):
    """One change: the endpoint (`host:port`), its state before and after, and one sentence."""

    kind: ChangeKind
    endpoint: str
    before: str | None
    after: str | None
    summary: str


class Difference(Record, frozen=True, kw_only=True):
    """What changed from `before` to `after` (the names of the runs), most important first.

    `notes` say what else differed and could explain a change: other roots, other logs, another vantage.
    """

    before: str
    after: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def compare(before: Report, after: Report, *, names: tuple[str, str] = ("before", "after")) -> Difference:
    """What changed from one report to the other."""
    old = {result.endpoint.name: result for result in before.results}
    new = {result.endpoint.name: result for result in after.results}
    changes = [
        Change(
            kind=found[0],
            endpoint=name,
            before=_state(old.get(name)),
            after=_state(new.get(name)),
            summary=f"{name}: {found[1]}",
        )
        for name in old | new
        if (found := _kind(old.get(name), new.get(name))) is not None
    ]
    order = list(ChangeKind)
    changes.sort(key=lambda change: order.index(change.kind))
    return Difference(before=names[0], after=names[1], changes=tuple(changes), notes=tuple(_notes(before, after)))


def _kind(old: Result | None, new: Result | None) -> tuple[ChangeKind, str] | None:  # noqa: PLR0911 - one return a kind
    if old is None or new is None:
        return (ChangeKind.ADDED, "not checked before.") if old is None else (ChangeKind.REMOVED, "not checked.")
    if has_stale_pins(new):
        stale = "careful clients accept its certificate, which is not pinned: the pins are probably stale."
        return None if has_stale_pins(old) else (ChangeKind.PINS_STALE, stale)
    was, is_ = old.verdict, new.verdict
    if is_ is Verdict.MIDDLEWARE:
        return _accused(old, new)
    if was is Verdict.MIDDLEWARE and is_ is Verdict.CLEAN:
        if is_uncertain(old):
            return ChangeKind.NO_LONGER_UNCERTAIN, f"no longer uncertain; clean ({new.assurance})."
        return ChangeKind.NO_LONGER_INTERCEPTED, f"no longer intercepted; clean ({new.assurance})."
    if is_ is Verdict.INCONCLUSIVE:
        return None if was is is_ else (ChangeKind.NOT_ASSESSED, f"could not be assessed. {cause(new)}")
    if was is Verdict.INCONCLUSIVE:
        return ChangeKind.ASSESSED_AGAIN, f"could be assessed again; clean ({new.assurance})."
    if old.assurance is not new.assurance:
        return ChangeKind.OTHER_ASSURANCE, f"clean, {new.assurance} instead of {old.assurance}."
    return None


def _accused(old: Result, new: Result) -> tuple[ChangeKind, str] | None:  # noqa: PLR0911 - one return a kind
    """What changed for an endpoint that is accused now."""
    before = old if old.verdict is Verdict.MIDDLEWARE and not has_stale_pins(old) else None
    if is_uncertain(new):
        if before is None:
            return ChangeKind.UNCERTAIN, "uncertain now (possible); an innocent explanation fits as well."
        if is_uncertain(before):
            return None
        return ChangeKind.LESS_SURE, f"only possible instead of {before.confidence}; an innocent explanation fits."
    if before is None:
        return ChangeKind.INTERCEPTED, f"intercepted now ({new.confidence}), by {_party(new)}."
    if is_uncertain(before):
        return ChangeKind.SURER, f"{new.confidence} instead of possible; intercepted by {_party(new)}."
    if _party(before) != _party(new):
        return ChangeKind.OTHER_INTERCEPTOR, f"intercepted by {_party(new)} instead of {_party(before)}."
    if before.confidence is new.confidence:
        return None
    kind = ChangeKind.SURER if new.confidence is Confidence.PROVEN else ChangeKind.LESS_SURE
    return kind, f"{new.confidence} instead of {before.confidence}."


def _party(result: Result) -> str:
    who = result.attribution
    return "an unknown party" if who is None else who.product or who.issuer or "an unknown party"


def _state(result: Result | None) -> str | None:
    if result is None:
        return None
    rests_on = result.confidence or result.assurance or wire_outcome(result) or result.reason
    return f"{result.verdict} {rests_on}"


def _notes(before: Report, after: Report) -> Iterator[str]:
    if before.vantage != after.vantage:
        yield f"The runs are from different places: {before.vantage or 'unnamed'} and {after.vantage or 'unnamed'}."
    if before.knowledge != after.knowledge:
        was = [part for part in before.knowledge if part not in after.knowledge]
        now = [part for part in after.knowledge if part not in before.knowledge]
        yield f"Assessed with other knowledge: {describe(was) or 'no other'}, then {describe(now) or 'no other'}."
    if before.detector_version != after.detector_version:
        yield f"Versions differ: {before.detector_version} and {after.detector_version}."
