"""When evidence may be exported.

Room: detector_collect.review.exports. Pure: people with their grants, the export and the time are arguments.

1. A person who may read the evidence of an institution requests an export of one case, with a purpose.
2. Two others approve it, each able to approve at that institution. Who requested it approves nothing of it.
3. Who requested it uses it, once, before it expires. All three must still have their grants then: what was revoked
   since counts no more.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from detector_collect.review.access.permissions import Permission, RuleError

if TYPE_CHECKING:
    from detector_collect.review.access.permissions import Person

EXPORT_LIFE: Final = dt.timedelta(days=7)
"""How long after its request an export may be used: two approvals within a working week."""


class What(enum.StrEnum):
    """What is exported of a case."""

    ARCHIVE = "archive"
    """The submissions that its entries refer to as they were signed, their assessments, the case and its records."""
    DOSSIER = "dossier"
    """The dossier of the institution as PDF."""


class State(enum.StrEnum):
    """Where an export is."""

    REQUESTED = "requested"
    APPROVED_ONCE = "approved-once"
    APPROVED = "approved"
    USED = "used"
    EXPIRED = "expired"


class Export(NamedTuple):
    """A requested export. `submissions` are those that it covers, by row, fixed when it was requested."""

    id: int
    institution: str
    case: int
    what: What
    submissions: tuple[int, ...]
    purpose: str
    requested_by: int
    requested: dt.datetime
    first_by: int | None
    second_by: int | None
    used: dt.datetime | None
    expires: dt.datetime

    def state(self, now: dt.datetime) -> State:
        """Where it is at `now`."""
        if self.used is not None:
            return State.USED
        if not self.requested <= now < self.expires:
            return State.EXPIRED
        if self.second_by is not None:
            return State.APPROVED
        return State.REQUESTED if self.first_by is None else State.APPROVED_ONCE


def check_request(by: Person, institution: str, *, now: dt.datetime) -> None:
    """Check that `by` may request an export. Raises `RuleError`."""
    if by.id is None or not by.may(Permission.EVIDENCE, institution, now=now):
        raise RuleError("Only who may read the evidence of this institution requests an export.")


def check_approval(by: Person, export: Export, *, now: dt.datetime) -> None:
    """Check that `by` may approve, or decline, an export. Raises `RuleError`."""
    _check_waits(export, now, allowed=(State.REQUESTED, State.APPROVED_ONCE))
    if by.id is None or by.id == export.requested_by:
        raise RuleError("Somebody else approves an export than who requested it.")
    if by.id == export.first_by:
        raise RuleError("You approved this export already. Another person approves it, too.")
    if not by.may(Permission.REVIEW, export.institution, now=now):
        raise RuleError("Only a reviewer of this institution approves an export.")


def check_use(  # noqa: PLR0913 - keyword-only past the export; three people, a purpose and the time
    by: Person, export: Export, *, first: Person, second: Person, purpose: str, now: dt.datetime
) -> None:
    """Check that `by` may use an export that `first` and `second` approved. Raises `RuleError`."""
    _check_waits(export, now, allowed=(State.APPROVED,))
    if by.id is None or by.id != export.requested_by:
        raise RuleError("Only who requested an export uses it.")
    if purpose != export.purpose:
        raise RuleError("An export is used for the purpose that it was approved for.")
    people = (export.requested_by, export.first_by, export.second_by)
    if len({*people}) != len(people) or (first.id, second.id) != people[1:]:
        raise RuleError("An export needs the approval of two other people.")
    if not by.may(Permission.EVIDENCE, export.institution, now=now):
        raise RuleError("Your grant at this institution has ended.")
    for approver in (first, second):
        if not approver.may(Permission.REVIEW, export.institution, now=now):
            raise RuleError("An approval counts no more: the grant of who gave it has ended. Request the export again.")


_REASONS: Final = {
    State.REQUESTED: "This export waits for two approvals.",
    State.APPROVED_ONCE: "This export waits for its second approval.",
    State.APPROVED: "This export is approved already.",
    State.USED: "This export was used already, and each counts once. Request another one.",
    State.EXPIRED: "This export has expired or was declined. Request another one.",
}


def _check_waits(export: Export, now: dt.datetime, *, allowed: tuple[State, ...]) -> None:
    if (state := export.state(now)) not in allowed:
        raise RuleError(_REASONS[state])
