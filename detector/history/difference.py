"""What changed between two reports: decrypted now, no longer, by somebody else, pins gone stale.

Room: history. Pure: two reports in, a list of changes out. Nothing is judged again here.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.knowledge import describe
from detector.model import Confidence, Record, Report, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

STALE_PINS_REASONS: Final = frozenset({"logged-pin-mismatch", "publicly-trusted-pin-mismatch"})
"""Reasons of decisions (detector.judge.table) for which old pins are the likelier explanation."""


class ChangeKind(enum.StrEnum):
    """What happened to one endpoint between two runs."""

    DECRYPTED = "decrypted"
    NO_LONGER_DECRYPTED = "no-longer-decrypted"
    OTHER_INTERCEPTOR = "other-interceptor"
    SURER = "surer"
    LESS_SURE = "less-sure"
    PINS_STALE = "pins-stale"
    NOT_JUDGED = "not-judged"
    JUDGED_AGAIN = "judged-again"
    OTHER_ASSURANCE = "other-assurance"
    ADDED = "added"
    REMOVED = "removed"


class Change(Record, frozen=True, kw_only=True):
    """One change: the endpoint (`host:port`), what it was and is in one word each, and one sentence."""

    kind: ChangeKind
    endpoint: str
    before: str | None
    after: str | None
    summary: str


class Difference(Record, frozen=True, kw_only=True):
    """What changed from `before` to `after` (the runs' own words for themselves), most important first.

    `notes` tell what else differed and could explain a change: other roots, other logs, another vantage.
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
        change for name in dict.fromkeys((*old, *new)) for change in _changes(name, old.get(name), new.get(name))
    ]
    order = list(ChangeKind)
    changes.sort(key=lambda change: order.index(change.kind))
    return Difference(before=names[0], after=names[1], changes=tuple(changes), notes=tuple(_notes(before, after)))


def _changes(name: str, old: Result | None, new: Result | None) -> Iterator[Change]:
    found = _kind(old, new)
    if found is None:
        return
    kind, summary = found
    yield Change(
        kind=kind,
        endpoint=name,
        before=None if old is None else _state(old),
        after=None if new is None else _state(new),
        summary=f"{name} {summary}",
    )


def _kind(old: Result | None, new: Result | None) -> tuple[ChangeKind, str] | None:  # noqa: PLR0911 - one return a kind
    if old is None or new is None:
        return (
            (ChangeKind.ADDED, "was not checked before.") if old is None else (ChangeKind.REMOVED, "was not checked.")
        )
    if new.reason in STALE_PINS_REASONS and old.reason != new.reason:
        return ChangeKind.PINS_STALE, "shows a public certificate that is not pinned: most likely the pins are stale."
    was, is_ = old.verdict, new.verdict
    if is_ is Verdict.MIDDLEWARE and was is not Verdict.MIDDLEWARE:
        return ChangeKind.DECRYPTED, f"is decrypted now ({new.confidence}), by {_who(new)}."
    if was is Verdict.MIDDLEWARE and is_ is Verdict.CLEAN:
        return ChangeKind.NO_LONGER_DECRYPTED, f"is no longer decrypted ({new.assurance})."
    if was is is_ is Verdict.MIDDLEWARE:
        return _of_decrypted(old, new)
    if is_ is Verdict.INCONCLUSIVE:
        return None if was is is_ else (ChangeKind.NOT_JUDGED, f"could not be judged ({_why(new)}).")
    if was is Verdict.INCONCLUSIVE:
        return ChangeKind.JUDGED_AGAIN, f"could be judged again: clean ({new.assurance})."
    if old.assurance is not new.assurance:
        return ChangeKind.OTHER_ASSURANCE, f"is clean by {new.assurance} instead of {old.assurance}."
    return None


def _of_decrypted(old: Result, new: Result) -> tuple[ChangeKind, str] | None:
    if _who(old) != _who(new):
        return ChangeKind.OTHER_INTERCEPTOR, f"is decrypted by {_who(new)} instead of {_who(old)}."
    if old.confidence is new.confidence or old.confidence is None or new.confidence is None:
        return None
    order = list(Confidence)
    surer = order.index(new.confidence) > order.index(old.confidence)
    kind = ChangeKind.SURER if surer else ChangeKind.LESS_SURE
    return kind, f"is {new.confidence} instead of {old.confidence}."


def _who(result: Result) -> str:
    who = result.attribution
    return "an unknown party" if who is None else who.product or who.issuer or "an unknown party"


def _why(result: Result) -> str:
    return str(result.observation.outcome) if result.reason == "no-certificate" else result.reason


def _state(result: Result) -> str:
    return " ".join(filter(None, (result.verdict, result.confidence or result.assurance or _why(result))))


def _notes(before: Report, after: Report) -> Iterator[str]:
    if before.vantage != after.vantage:
        yield f"The runs are from different places: {before.vantage or 'unnamed'} and {after.vantage or 'unnamed'}."
    if before.knowledge != after.knowledge:
        was = [part for part in before.knowledge if part not in after.knowledge]
        now = [part for part in after.knowledge if part not in before.knowledge]
        yield f"Judged with other knowledge: before with {describe(was) or 'no other'}, then {describe(now) or 'none'}."
    if before.detector_version != after.detector_version:
        yield f"Another version judged: {before.detector_version} and {after.detector_version}."
