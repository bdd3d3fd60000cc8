"""Room: tests of detector_collect.review.exports.requests, on both databases."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest
import sqlalchemy as sa
from detector_collect.review.access import people, records
from detector_collect.review.access.permissions import Role, RuleError
from detector_collect.review.exports import requests
from detector_collect.review.exports.rules import EXPORT_LIFE, State, What
from detector_collect.store.schema import case_entries, cases, grants
from support.collect_access import START, Room
from support.collect_findings import Found, digest_of, fill

if TYPE_CHECKING:
    import datetime as dt

    from detector_collect.review.access.permissions import Person
    from detector_collect.store.database import Store

PURPOSE = "Answer to the institution"


class _World(NamedTuple):
    """A room with one case that refers to two submissions, another case, and five reviewers."""

    room: Room
    case: int
    other: int
    people: tuple[int, ...]

    async def person(self, number: int) -> Person:
        """A person with the present grants."""
        async with self.room.store.connect() as connection:
            return await people.load_person(connection, number)

    async def request(self, by: int, *, what: What = What.ARCHIVE) -> int:
        """Request an export."""
        person, now = await self.person(by), self.room.clock.now
        async with self.room.store.begin() as connection:
            return await requests.request_export(
                connection, by=person, institution="north", case=self.case, what=what, purpose=PURPOSE, now=now
            )

    async def approve(self, export: int, by: int, *, decline: bool = False) -> None:
        """Approve or decline an export."""
        person, now = await self.person(by), self.room.clock.now
        decide = requests.decline if decline else requests.approve
        async with self.room.store.begin() as connection:
            await decide(connection, await requests.find(connection, "north", self.case, export), by=person, now=now)

    async def use(self, export: int, by: int, *, purpose: str = PURPOSE) -> None:
        """Use an export."""
        person, now = await self.person(by), self.room.clock.now
        async with self.room.store.begin() as connection:
            found = await requests.find(connection, "north", self.case, export)
            await requests.check(connection, found, by=person, purpose=purpose, now=now)
            await requests.use(connection, found, by=person, sha256="ab" * 32, size=10, now=now)

    async def revoke(self, person: int) -> None:
        """Revoke every grant of a person."""
        async with self.room.store.begin() as connection:
            await connection.execute(
                sa.update(grants).where(grants.c.person == person).values(revoked=self.room.clock.now)
            )


async def _world(store: Store) -> _World:
    room = Room(store)
    reviewers = [await room.person(f"reviewer {number}", Role.REVIEWER) for number in range(5)]
    case, other = await room.case("north"), await room.case("north")
    async with store.begin() as connection:
        await fill(connection, [Found(), Found(), Found()])
        for number in (1, 2):
            await connection.execute(
                sa.insert(case_entries).values(
                    case=case, at=START, person=reviewers[0], entry="note", text="x", evidence=number
                )
            )
    return _World(room, case, other, tuple(reviewers))


async def _is_refused(step: object) -> bool:
    try:
        await step  # type: ignore[misc]  # a coroutine
    except RuleError:
        return True
    return False


async def test_an_export_of_three_people_is_used_once(store: Store) -> None:
    """Requested by one, approved by two others, used; a second use is refused. Each step has its record."""
    world = await _world(store)
    first, second, third, *_ = world.people
    export = await world.request(first)
    await world.approve(export, second)
    await world.approve(export, third)
    await world.use(export, first)
    assert await _is_refused(world.use(export, first))
    listed = await records.listed(store)
    assert [one.record.action for one in reversed(listed)] == [
        "export-request",
        "export-approval",
        "export-approval",
        "export",
    ]
    assert {one.record.case for one in listed} == {world.case}
    assert "ab" * 32 in (listed[0].record.subject or "")
    assert (await records.verify(store)).broken is None


async def test_an_export_has_what_the_case_refers_to(store: Store) -> None:
    """The submissions are fixed by the request: those of the case's entries, and no others."""
    world = await _world(store)
    export = await world.request(world.people[0])
    async with store.begin() as connection:
        await connection.execute(
            sa.insert(case_entries).values(
                case=world.case, at=START, person=world.people[0], entry="note", text="x", evidence=3
            )
        )
        found = await requests.find(connection, "north", world.case, export)
        digests = await requests.digests(connection, found)
    assert digests == tuple(digest_of(f"submission {number}").hex() for number in (1, 2))


async def test_an_export_counts_for_its_case_alone(store: Store) -> None:
    """Under another case, or another institution, there is no export of that number."""
    world = await _world(store)
    export = await world.request(world.people[0])
    async with store.begin() as connection:
        await connection.execute(sa.update(cases).where(cases.c.id == world.other).values(title="Other"))
        for institution, case in (("north", world.other), ("south", world.case)):
            with pytest.raises(RuleError):
                await requests.find(connection, institution, case, export)


async def test_a_case_without_submissions_has_nothing_to_export(store: Store) -> None:
    """An archive needs entries that refer to evidence."""
    world = await _world(store)
    empty = world._replace(case=world.other)
    with pytest.raises(RuleError, match="nothing to export"):
        await empty.request(world.people[0])
    assert await empty.request(world.people[0], what=What.DOSSIER)


async def test_two_uses_at_once_give_one_file(store: Store) -> None:
    """Concurrent uses: one succeeds, however many try."""
    world = await _world(store)
    first, second, third, *_ = world.people
    export = await world.request(first)
    await world.approve(export, second)
    await world.approve(export, third)
    refused = await asyncio.gather(*(_is_refused(world.use(export, first)) for _ in range(5)))
    assert refused.count(False) == 1


async def test_two_approvals_at_once_by_one_person_are_one(store: Store) -> None:
    """Somebody who sends the form twice at the same time has approved once."""
    world = await _world(store)
    first, second, *_ = world.people
    export = await world.request(first)
    refused = await asyncio.gather(*(_is_refused(world.approve(export, second)) for _ in range(4)))
    assert refused.count(False) == 1
    async with store.connect() as connection:
        found = await requests.find(connection, "north", world.case, export)
    assert found.state(START) is State.APPROVED_ONCE


class _Expected:
    """What the rules in words say of each export, next to what the program does."""

    def __init__(self, world: _World) -> None:
        self.world = world
        self.requested: dict[int, tuple[int, dt.datetime]] = {}
        self.approvers: dict[int, list[int]] = {}
        self.revoked: set[int] = set()
        self.gone: set[int] = set()
        self.used = 0

    def _is_alive(self, export: int) -> bool:
        return export not in self.gone and self.world.room.clock.now < self.requested[export][1] + EXPORT_LIFE

    async def request(self, by: int) -> None:
        """Request an export, which counts unless the grants of `by` are revoked."""
        if by in self.revoked:
            assert await _is_refused(self.world.request(by))
            return
        number = await self.world.request(by)
        self.requested[number], self.approvers[number] = (by, self.world.room.clock.now), []

    async def decide(self, export: int, by: int, *, decline: bool) -> None:
        """Approve or decline an export."""
        given = self.approvers[export]
        is_other = by not in {self.requested[export][0], *given, *self.revoked}
        allowed = self._is_alive(export) and len(given) < 2 and is_other
        assert await _is_refused(self.world.approve(export, by, decline=decline)) is not allowed
        if allowed and decline:
            self.gone.add(export)
        elif allowed:
            given.append(by)

    async def use(self, export: int, by: int) -> None:
        """Use an export."""
        given = self.approvers[export]
        have_grants = self.revoked.isdisjoint({by, *given})
        allowed = self._is_alive(export) and len(given) == 2 and by == self.requested[export][0] and have_grants
        assert await _is_refused(self.world.use(export, by)) is not allowed
        if allowed:
            self.gone.add(export)
            self.used += 1


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_people_do_no_export_breaks_a_rule(store: Store, seed: int) -> None:
    """Random requests, approvals, revocations, pauses and uses: each use has its two other approvers with grants."""
    world = await _world(store)
    expected = _Expected(world)
    rng = random.Random(seed)  # noqa: S311 - a test repeats itself
    for _ in range(60):
        by, step = rng.choice(world.people), rng.choice(("request", "approve", "approve", "use", "use", "decline", ""))
        if step == "request" or not expected.requested:
            await expected.request(by)
        elif step == "":
            world.room.clock.turn(hours=rng.randrange(1, 40))
            if rng.random() < 0.3 and len(expected.revoked) < 2:
                await world.revoke(by)
                expected.revoked.add(by)
        elif step == "use":
            export = rng.choice([*expected.requested])
            await expected.use(export, rng.choice((by, expected.requested[export][0])))
        else:
            await expected.decide(rng.choice([*expected.requested]), by, decline=step == "decline")
    listed = await records.listed(store, limit=1000)
    assert sum(one.record.action == "export" for one in listed) == expected.used
