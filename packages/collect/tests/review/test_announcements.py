"""Room: tests of what is announced to receivers, and by which change, on both databases."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_collect.responsibility import Assessment, Conclusion
from detector_collect.review import case_log, queries
from detector_collect.review.access import people, records
from detector_collect.review.access.permissions import Role
from detector_collect.review.cases import Step
from detector_collect.store import assessments, deliveries
from detector_collect.store.assessments import NewConclusion
from detector_collect.store.deliveries import Event, Notice, ReceiverKind
from detector_collect.store.schema import case_entries, evidence
from detector_collect.store.schema import deliveries as deliveries_table
from support.collect_access import Room
from support.collect_findings import Found, fill
from support.collect_stores import NOW

from detector.model import encode

if TYPE_CHECKING:
    from detector_collect.store.database import Store


async def _listen(store: Store) -> None:
    async with store.begin() as connection:
        await deliveries.add_receiver(
            connection,
            kind=ReceiverKind.WEBHOOK,
            target="https://hooks.example/",
            events=tuple(Event),
            institution=None,
            is_private=False,
            now=NOW,
        )


async def _notices(store: Store) -> list[Notice]:
    async with store.connect() as connection:
        rows = await connection.scalars(sa.select(deliveries_table.c.body).order_by(deliveries_table.c.id))
        return [msgspec.json.decode(row, type=Notice) for row in rows]


async def test_each_conclusion_that_changed_is_announced(store: Store) -> None:
    """The first conclusion and each other one, not the same one again."""
    await _listen(store)
    chosen = (Conclusion.SINGLE_DEVICES, Conclusion.SINGLE_DEVICES, Conclusion.INSTITUTION)
    for number, conclusion in enumerate(chosen, start=1):
        made = Assessment(institution="north", conclusion=conclusion, students=60, error=0.001)
        new = [NewConclusion("north", conclusion.value, encode(made))]
        async with store.begin() as connection:
            await assessments.add(connection, number, at=NOW, since=NOW, until=NOW, new=new)
    assert [(one.path, one.facts) for one in await _notices(store)] == [
        ("/institutions/north", {"conclusion": "single-devices", "previous": "none", "assessment": 1}),
        ("/institutions/north", {"conclusion": "institution", "previous": "single-devices", "assessment": 3}),
    ]


async def test_cases_and_answers_are_announced_without_their_texts(store: Store) -> None:
    """Opening a case, a new state and an answer; nothing that anybody wrote is in a notice."""
    await _listen(store)
    person = await Room(store).person("ann", Role.REVIEWER)
    async with store.begin() as connection:
        case = await case_log.open_case(connection, "north", person=person, title="TITLE", text="REASON", now=NOW)
    for step in (Step.ASK, Step.ANSWER):
        async with store.begin() as connection:
            read = await connection.scalar(sa.select(sa.func.max(case_entries.c.id)))
            await case_log.take_step(connection, "north", case, step, read=read, person=person, text="WORDS", now=NOW)
    found = await _notices(store)
    assert found[0].event is Event.CASE_OPENED
    assert {one.event for one in found} == {Event.CASE_OPENED, Event.CASE_CHANGED, Event.ANSWER_ARRIVED}
    assert {one.path for one in found} == {f"/institutions/north/cases/{case}"}
    assert not [one for one in found if any(word in encode(one).decode() for word in ("TITLE", "REASON", "WORDS"))]


async def test_grants_and_heads_are_announced(store: Store) -> None:
    """A requested grant, and a signed head of the access records with its hash, so that it is kept elsewhere."""
    await _listen(store)
    room = Room(store)
    administrator, other = await room.person("ann", Role.ADMINISTRATOR), await room.person("bob")
    async with store.begin() as connection:
        await people.request_grant(
            connection,
            by=await people.load_person(connection, administrator),
            person=other,
            role=Role.VIEWER,
            institution="north",
            expires=room.clock.now + dt.timedelta(days=9),
            now=room.clock.now,
        )
    await records.sign_head(store, Ed25519PrivateKey.generate(), now=room.clock.now)
    requested, head = await _notices(store)
    assert (requested.event, requested.institution) == (Event.GRANT_REQUESTED, "north")
    assert (head.event, head.institution) == (Event.HEAD_MADE, None)
    assert head.facts["hash"] == (await records.listed(store))[0].hash.hex()


async def test_rising_quarantine_is_announced_in_steps_of_five_students(store: Store) -> None:
    """Fewer than five students are no news, five are, and the same five again are not."""
    await _listen(store)
    for first, count in ((1, 4), (10, 1), (20, 3)):
        async with store.begin() as connection:
            await fill(connection, [Found(student=f"{first}-{one}") for one in range(count)], first=first)
            await connection.execute(sa.update(evidence).values(state="quarantined"))
        await queries.summarize(store, "north", now=NOW)
    (notice,) = await _notices(store)
    assert (notice.event, notice.facts) == (Event.QUARANTINE_RISING, {"students": 5})
