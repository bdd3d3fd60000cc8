"""Room: tests of detector_collect.review.access.permissions and people: who may decide about grants."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from detector_collect.review.access import people
from detector_collect.review.access.permissions import (
    COMMAND,
    GRANT_LIFE_MAX,
    REQUEST_LIFE,
    ROLES,
    SCOPES,
    Grant,
    Kind,
    Permission,
    Person,
    Role,
    RuleError,
    in_force,
)
from detector_collect.review.access.records import listed, verify
from hypothesis import given
from hypothesis import strategies as st
from support.collect_access import ISSUER, START

if TYPE_CHECKING:
    from support.collect_access import Room

DAY = dt.timedelta(days=1)


def test_the_table_of_roles() -> None:
    """What each role permits, literally; no role has what belongs to nobody's role."""
    assert {role.value: sorted(ROLES[role]) for role in Role} == {
        "viewer": ["view"],
        "reviewer": ["evidence", "review", "view"],
        "administrator": ["administer"],
        "auditor": ["audit"],
    }
    assert sorted(SCOPES) == ["audit", "evidence", "operate", "view"]


def test_the_page_shows_the_table() -> None:
    """The page for operators says of each role what the table says, and of each scope that it is one."""
    page = (Path(__file__).parents[5] / "docs" / "review-access.md").read_text("utf-8")
    said = dict(re.findall(r"^\| `(\w+)` \| ((?:`[a-z-]+`(?:, )?)+):", page, re.MULTILINE))
    assert {role: set(re.findall(r"[a-z-]+", given)) for role, given in said.items()} == {
        role.value: set(ROLES[role]) for role in Role
    }
    scopes = re.search(r"the token's scopes \(([^)]+)\)", page)
    assert scopes is not None
    assert set(re.findall(r"[a-z-]+", scopes[1])) == set(SCOPES)


_MOMENTS = st.integers(-3, 3).map(lambda days: START + days * DAY)
_GRANTS = st.builds(
    Grant,
    id=st.just(1),
    person=st.integers(1, 3),
    role=st.sampled_from(Role),
    institution=st.sampled_from([None, "north", "south"]),
    requested_by=st.integers(1, 3),
    requested=_MOMENTS,
    approved_by=st.one_of(st.none(), st.integers(1, 3)),
    approved=st.one_of(st.none(), _MOMENTS),
    expires=_MOMENTS,
    revoked=st.one_of(st.none(), _MOMENTS),
)


@given(
    st.lists(_GRANTS, max_size=3).map(tuple),
    st.sampled_from(Kind),
    st.sampled_from([None, "north"]),
    st.frozensets(st.sampled_from(sorted(SCOPES))),
    st.sampled_from(Permission),
    st.sampled_from([None, "north", "south"]),
)
def test_nothing_is_permitted_without_a_grant_that_counts(  # noqa: PLR0913, PLR0917 - what a decision depends on
    grants: tuple[Grant, ...],
    kind: Kind,
    limit: str | None,
    scopes: frozenset[Permission],
    permission: Permission,
    institution: str | None,
) -> None:
    """What may be done follows from the table, the people, the times, the scopes and the limit, and nothing else."""
    person = Person(id=1, name="", kind=kind, grants=grants, institution=limit, scopes=scopes)
    counting = [
        one
        for one in grants
        if one.approved_by is not None
        and one.approved_by not in {one.person, one.requested_by}
        and one.approved is not None
        and one.approved <= START < one.expires
        and one.revoked is None
        and permission in ROLES[one.role]
        and (institution is None or one.institution in {None, institution})
        and (limit is None or one.institution in {None, limit})
    ]
    granted = bool(counting) and (limit is None or institution in {None, limit})
    match kind:
        case Kind.LTI:
            own = permission in {Permission.OWN_INSTITUTION, Permission.SIGNED_IN}
            expected = own and limit is not None and institution in {None, limit}
        case Kind.COMMAND:
            expected = False
        case Kind.TOKEN:
            expected = permission in scopes and (granted or permission is Permission.OPERATE)
        case _:
            expected = granted or permission is Permission.SIGNED_IN
    assert person.may(permission, institution, now=START) is expected


async def _administrators(room: Room) -> tuple[Person, Person]:
    """The first two administrators."""
    numbers = [await room.person(name) for name in ("ann", "bob")]
    async with room.store.begin() as connection:
        await people.bootstrap(connection, first=numbers[0], second=numbers[1], expires=START + 90 * DAY, now=START)
    return (await _load(room, numbers[0]), await _load(room, numbers[1]))


async def _load(room: Room, number: int) -> Person:
    async with room.store.connect() as connection:
        return await people.load_person(connection, number)


async def _request(room: Room, by: Person, person: int, **changes: object) -> int:
    asked = {"role": Role.REVIEWER, "institution": "north", "expires": room.clock.now + 30 * DAY} | changes
    async with room.store.begin() as connection:
        return await people.request_grant(connection, by=by, person=person, now=room.clock.now, **asked)  # type: ignore[arg-type] # any of its arguments


async def _approve(room: Room, by: Person, grant: int) -> None:
    async with room.store.begin() as connection:
        await people.approve_grant(connection, by=by, grant=grant, now=room.clock.now)


async def test_who_comes_without_a_name_keeps_the_known_one(room: Room) -> None:
    """A learning platform gives no names, and takes nobody's."""
    number = await room.person("ada")
    async with room.store.begin() as connection:
        for name, expected in (("", "ada"), ("Ada", "Ada"), ("", "Ada")):
            same = await people.add_person(connection, issuer=ISSUER, subject="ada", name=name, now=START)
            assert same == number
            assert (await people.load_person(connection, number)).name == expected


async def test_an_institution_that_no_database_has_is_none(room: Room) -> None:
    """PostgreSQL stores no NUL: a name with one is refused like any other that does not exist."""
    async with room.store.connect() as connection:
        assert not await people.has_institution(connection, "nor\0th")


async def test_the_first_administrators_are_named_once(room: Room) -> None:
    """Two people become administrators by a command on the server, once, and the chain says so."""
    ann, bob = await _administrators(room)
    for one in (ann, bob):
        assert one.may(Permission.ADMINISTER, "north", now=START)
        assert not one.may(Permission.EVIDENCE, "north", now=START)
    actions = [one.record.action for one in await listed(room.store, limit=2)]
    assert actions == ["bootstrap", "bootstrap"]
    assert (await verify(room.store)).broken is None
    for first, second in ((ann.id, bob.id), (ann.id, ann.id)):
        with pytest.raises(RuleError):
            async with room.store.begin() as connection:
                await people.bootstrap(connection, first=first or 0, second=second or 0, expires=START + DAY, now=START)


async def test_a_grant_needs_two_administrators_and_its_holder_is_not_the_second(room: Room) -> None:
    """One requests and another approves; neither the requester nor the holder approves, and each step is recorded."""
    ann, bob = await _administrators(room)
    rita = await room.person("rita")
    grant = await _request(room, ann, rita)
    assert not (await _load(room, rita)).may(Permission.EVIDENCE, "north", now=START)
    with pytest.raises(RuleError, match="Somebody else"):
        await _approve(room, ann, grant)
    await _approve(room, bob, grant)
    assert (await _load(room, rita)).may(Permission.EVIDENCE, "north", now=START)
    assert not (await _load(room, rita)).may(Permission.EVIDENCE, "south", now=START)
    with pytest.raises(RuleError, match="decided already"):
        await _approve(room, bob, grant)
    own = await _request(room, ann, ann.id or 0)
    other = await _request(room, bob, ann.id or 0)
    for request in (own, other):
        with pytest.raises(RuleError, match="Somebody else"):
            await _approve(room, ann, request)
    await _approve(room, bob, own)
    assert [one.record.action for one in await listed(room.store, limit=3)] == [
        "grant-approval",
        "grant-request",
        "grant-request",
    ]


async def test_requests_and_grants_end(room: Room) -> None:
    """A request lapses after a week, a grant ends on its day or when it is revoked, and none lasts over a year."""
    ann, bob = await _administrators(room)
    rita = await room.person("rita")
    grant = await _request(room, ann, rita)
    room.clock.turn(days=REQUEST_LIFE.days)
    with pytest.raises(RuleError, match="expired"):
        await _approve(room, bob, grant)
    grant = await _request(room, ann, rita)
    await _approve(room, bob, grant)
    loaded = await _load(room, rita)
    assert loaded.may(Permission.VIEW, "north", now=room.clock.now)
    assert not loaded.may(Permission.VIEW, "north", now=room.clock.now + 30 * DAY)
    async with room.store.begin() as connection:
        await people.revoke_grant(connection, by=bob, grant=grant, now=room.clock.now)
    assert not (await _load(room, rita)).may(Permission.VIEW, "north", now=room.clock.now)
    for expires in (room.clock.now, room.clock.now + GRANT_LIFE_MAX + DAY):
        with pytest.raises(RuleError, match="ends in the future"):
            await _request(room, ann, rita, expires=expires)


async def test_administrators_decide_where_they_are_administrators(room: Room) -> None:
    """An administrator of one institution grants nothing at another, nor at all of them; a reviewer nothing at all."""
    ann, bob = await _administrators(room)
    carl = await room.person("carl")
    await _approve(room, bob, await _request(room, ann, carl, role=Role.ADMINISTRATOR))
    local = await _load(room, carl)
    rita = await room.person("rita", Role.REVIEWER)
    await _request(room, local, rita)
    for institution in ("south", None):
        with pytest.raises(RuleError, match="Only an administrator"):
            await _request(room, local, rita, institution=institution)
        with pytest.raises(RuleError, match="Only an administrator"):
            await _approve(room, local, await _request(room, ann, rita, institution=institution))
    for by in (await _load(room, rita), COMMAND):
        with pytest.raises(RuleError, match="Only an administrator"):
            await _request(room, by, rita)


async def test_a_request_of_somebody_who_is_no_administrator_any_more_is_not_approved(room: Room) -> None:
    """What a dismissed administrator had requested cannot be approved."""
    ann, bob = await _administrators(room)
    rita = await room.person("rita")
    grant = await _request(room, ann, rita)
    async with room.store.begin() as connection:
        await people.sign_out_everywhere(connection, by=COMMAND, person=ann.id or 0, now=START)
    with pytest.raises(RuleError, match="no administrator"):
        await _approve(room, bob, grant)


async def test_who_leaves_loses_sessions_tokens_and_grants(room: Room) -> None:
    """Revoking a person ends everything that they could come in with."""
    rita = await room.person("rita", Role.REVIEWER)
    await room.session(rita)
    async with room.store.begin() as connection:
        secret = await people.issue_token(
            connection,
            person=rita,
            name="program",
            scopes={Permission.VIEW},
            institution=None,
            expires=START + DAY,
            now=START,
        )
    async with room.store.connect() as connection:
        assert await people.person_with_token(connection, secret, now=START) is not None
    async with room.store.begin() as connection:
        await people.sign_out_everywhere(connection, by=COMMAND, person=rita, now=START)
    async with room.store.connect() as connection:
        assert await people.person_with_token(connection, secret, now=START) is None
        assert not [one for one in await people.grants_of(connection, rita) if in_force(one, now=START)]


@pytest.mark.parametrize("scopes", [set(), {Permission.ADMINISTER}, {Permission.VIEW, Permission.REVIEW}])
async def test_tokens_neither_decide_nor_grant(room: Room, scopes: set[Permission]) -> None:
    """No token is made for decisions, for grants, or for nothing."""
    rita = await room.person("rita", Role.REVIEWER, Role.ADMINISTRATOR)
    with pytest.raises(RuleError, match="some of the scopes"):
        async with room.store.begin() as connection:
            await people.issue_token(
                connection, person=rita, name="x", scopes=scopes, institution=None, expires=START + DAY, now=START
            )
