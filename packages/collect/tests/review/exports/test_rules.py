"""Room: tests of detector_collect.review.exports.rules."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from detector_collect.review.access.permissions import Grant, Kind, Person, Role, RuleError
from detector_collect.review.exports.rules import (
    EXPORT_LIFE,
    Export,
    State,
    What,
    check_approval,
    check_request,
    check_use,
)
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = dt.datetime(2026, 11, 30, 9, 30, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
PURPOSE = "Answer to the institution"


def _person(number: int | None, role: Role = Role.REVIEWER, *, at: str | None = None, revoked: bool = False) -> Person:
    grant = Grant(
        id=number or 0,
        person=number or 0,
        role=role,
        institution=at,
        requested_by=91,
        requested=NOW - 9 * DAY,
        approved_by=92,
        approved=NOW - 9 * DAY,
        expires=NOW + 90 * DAY,
        revoked=NOW - DAY if revoked else None,
    )
    return Person(id=number, name=f"P{number}", kind=Kind.OIDC, grants=(grant,))


def _export(**changes: object) -> Export:
    made = Export(
        id=1,
        institution="north",
        case=1,
        what=What.ARCHIVE,
        submissions=(1,),
        purpose=PURPOSE,
        requested_by=1,
        requested=NOW - DAY,
        first_by=2,
        second_by=3,
        used=None,
        expires=NOW - DAY + EXPORT_LIFE,
    )
    return made._replace(**changes)  # type: ignore[arg-type]  # any field


def _refused(check: Callable[[], None]) -> bool:
    try:
        check()
    except RuleError:
        return True
    return False


people = st.builds(
    _person,
    st.integers(1, 4),
    st.sampled_from(Role),
    at=st.sampled_from((None, "north", "south")),
    revoked=st.booleans(),
)
exports = st.builds(
    _export,
    requested_by=st.integers(1, 4),
    first_by=st.one_of(st.none(), st.integers(1, 4)),
    second_by=st.one_of(st.none(), st.integers(1, 4)),
    used=st.sampled_from((None, NOW - dt.timedelta(hours=1))),
    expires=st.sampled_from((NOW - dt.timedelta(seconds=1), NOW, NOW + dt.timedelta(seconds=1))),
)


def _reviews(person: Person) -> bool:
    (grant,) = person.grants
    return grant.role is Role.REVIEWER and grant.institution in {None, "north"} and grant.revoked is None


@given(people, exports)
def test_an_approval_needs_another_reviewer_and_a_waiting_export(by: Person, export: Export) -> None:
    """Whatever the export and the person are: allowed exactly where the rules in words say so."""
    allowed = (
        export.used is None
        and export.expires > NOW
        and export.second_by is None
        and by.id not in {export.requested_by, export.first_by}
        and _reviews(by)
    )
    assert _refused(lambda: check_approval(by, export, now=NOW)) is not allowed


@given(people, people, people, exports, st.sampled_from((PURPOSE, "Another purpose")))
def test_a_use_needs_three_people_who_all_still_have_their_grants(
    by: Person, first: Person, second: Person, export: Export, purpose: str
) -> None:
    """Whatever the export, its approvers and the person are: allowed exactly where the rules in words say so."""
    allowed = (
        export.used is None
        and export.expires > NOW
        and export.first_by is not None
        and export.second_by is not None
        and len({export.requested_by, export.first_by, export.second_by}) == 3
        and (by.id, first.id, second.id) == (export.requested_by, export.first_by, export.second_by)
        and purpose == export.purpose
        and all(map(_reviews, (by, first, second)))
    )
    refused = _refused(lambda: check_use(by, export, first=first, second=second, purpose=purpose, now=NOW))
    assert refused is not allowed


def test_three_reviewers_can_export() -> None:
    """The good case of the rule above."""
    check_use(_person(1), _export(), first=_person(2), second=_person(3), purpose=PURPOSE, now=NOW)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ADMINISTRATOR, Role.AUDITOR])
def test_only_who_reads_evidence_requests(role: Role) -> None:
    """A role without the permission for evidence requests nothing, nor does a program without a person."""
    with pytest.raises(RuleError):
        check_request(_person(1, role), "north", now=NOW)
    with pytest.raises(RuleError):
        check_request(_person(1, at="south"), "north", now=NOW)
    with pytest.raises(RuleError):
        check_request(_person(None), "north", now=NOW)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"first_by": None, "second_by": None}, State.REQUESTED),
        ({"second_by": None}, State.APPROVED_ONCE),
        ({}, State.APPROVED),
        ({"used": NOW}, State.USED),
        ({"expires": NOW}, State.EXPIRED),
        ({"requested": NOW + DAY}, State.EXPIRED),
        ({"used": NOW, "expires": NOW}, State.USED),
    ],
)
def test_states(changes: dict[str, object], state: State) -> None:
    """The state of an export by what happened to it."""
    assert _export(**changes).state(NOW) is state
