"""Room: tests of detector_collect.review.queries, on both databases."""

from __future__ import annotations

import datetime as dt
import gzip
import random
import re
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from detector_collect.responsibility import Assessment, Conclusion
from detector_collect.review import queries
from detector_collect.store import keys
from detector_collect.store.schema import assessments, case_entries, cases, conclusions, contents, evidence, people
from support.collect_findings import Found, digest_of, fill
from support.collect_stores import NOW

from detector.model import Verdict, encode

if TYPE_CHECKING:
    from detector_collect.store.database import Store


def _results(rng: random.Random, students: int) -> list[Found]:
    return [
        Found(
            student=rng.choice((f"s{number}", f"s{number}", None)),
            exam=rng.choice(("algebra", "biology", "chemistry")),
            network=rng.choice(("campus", "home-1", "home-2")),
            intercepted=rng.random() < 0.4,
            host=rng.choice(("exam.example.org", "search.example.com")),
            days_ago=rng.randrange(20),
        )
        for number in range(students)
        for _ in range(rng.randrange(1, 4))
    ]


@pytest.mark.parametrize("seed", range(6))
async def test_numbers_are_those_of_students_rounded_down_to_five(store: Store, seed: int) -> None:
    """Random worlds: every number of a summary is the exact number of students, rounded down to a multiple of five."""
    rng = random.Random(seed)  # noqa: S311 - a world is repeated, not kept secret
    results = _results(rng, rng.randrange(1, 30))
    async with store.begin() as connection:
        await fill(connection, results)
    summary = await queries.summarize(store, "north", now=NOW)

    def students(*, intercepted: bool = False, **of: str) -> int:
        exact = {
            one.student
            for one in results
            if (one.intercepted or not intercepted) and all(getattr(one, name) == value for name, value in of.items())
        }
        return len(exact) // 5 * 5

    assert (summary.students, summary.intercepted) == (students(), students(intercepted=True))
    assert {one.name: (one.students, one.intercepted) for one in summary.exams} == {
        exam: (students(exam=exam), students(exam=exam, intercepted=True))
        for exam in ("algebra", "biology", "chemistry")
        if students(exam=exam)
    }
    assert {one.name: one.students for one in summary.networks} == {
        digest_of(network).hex(): students(network=network)
        for network in ("campus", "home-1", "home-2")
        if students(network=network)
    }
    weeks = {(one.week, one.verdict): one.students for one in summary.weeks}
    for (week, verdict), number in weeks.items():
        exact = {
            one.student
            for one in results
            if (at := (NOW - dt.timedelta(days=one.days_ago)).date()) - dt.timedelta(days=at.weekday()) == week
            and one.intercepted == (verdict is Verdict.MIDDLEWARE)
        }
        assert number == len(exact) // 5 * 5
    shown = [one.students for group in (summary.weeks, summary.endpoints) for one in group]
    assert 0 not in shown


async def test_no_number_of_persons_between_one_and_four_leaves(store: Store) -> None:
    """In the JSON of a summary no number other than of a port, a year, a month or a day is no multiple of five."""
    rng = random.Random(7)  # noqa: S311 - as above
    async with store.begin() as connection:
        await fill(connection, _results(rng, 33))
    text = encode(await queries.summarize(store, "north", now=NOW)).decode()
    numbers = [int(number) for number in re.findall(r":(\d+)[,}]", text)]
    assert len(numbers) > 10
    assert [number for number in numbers if number % 5 and number != 443] == []


async def test_one_more_student_changes_numbers_by_nothing_or_five(store: Store) -> None:
    """Who compares the summaries before and after one submission sees no number change by one."""
    async with store.begin() as connection:
        await fill(connection, [Found(student=f"s{number}") for number in range(12)])
    before = await queries.summarize(store, "north", now=NOW)
    async with store.begin() as connection:
        await fill(connection, [Found(student="one more", intercepted=True)], first=100)
    assert await queries.summarize(store, "north", now=NOW) == before


async def test_the_order_of_endpoints_does_not_say_which_exact_number_is_greater(store: Store) -> None:
    """Endpoints whose rounded numbers are equal are in the order of their names, whichever has one student more."""
    results = [
        Found(student=f"s{number}", host=host, intercepted=True)
        for host, students in (("a.example", 6), ("b.example", 8), ("c.example", 10))
        for number in range(students)
    ]
    async with store.begin() as connection:
        await fill(connection, results)
    summary = await queries.summarize(store, "north", now=NOW)
    shown = [cell.host for cell in summary.cells if cell.network is None]
    assert shown == ["c.example", "a.example", "b.example"]


async def test_a_summary_is_stored_and_read_again(store: Store) -> None:
    """What was summarized is what is read, until it is made again; without one the numbers are counted now."""
    later = NOW + queries.SUMMARY_LIFE * 2

    async def students() -> int:
        async with store.connect() as connection:
            return (await queries.summary(connection, "north", now=NOW)).students

    async with store.begin() as connection:
        await fill(connection, [Found(student=f"s{number}") for number in range(5)])
    assert await students() == 5
    assert [await queries.summarize_due(store, now=NOW) for _ in range(2)] == [1, 0]
    async with store.begin() as connection:
        await fill(connection, [Found(student=f"t{number}") for number in range(5)], first=100)
    assert await students() == 5
    assert [await queries.summarize_due(store, now=later) for _ in range(2)] == [1, 0]
    assert await students() == 10


async def _case(store: Store, *, case: int = 1, institution: str = "north") -> None:
    async with store.begin() as connection:
        if await connection.scalar(sa.select(people.c.id)) is None:
            await connection.execute(sa.insert(people).values(id=1, issuer="i", subject="s", name="Ann", created=NOW))
        await connection.execute(sa.insert(cases).values(id=case, institution=institution, title="T", opened=NOW))


async def _entry(store: Store, *, case: int = 1, entry: str = "note", at: dt.datetime = NOW, **more: object) -> None:
    values = {"case": case, "at": at, "person": 1, "entry": entry, "text": "because", **more}
    async with store.begin() as connection:
        await connection.execute(sa.insert(case_entries).values(values))


async def test_the_state_of_a_case_is_its_last_one(store: Store) -> None:
    """Notes and answers after it change no state; a case of another institution is not found."""
    async with store.begin() as connection:
        await fill(connection, [Found()])
    await _case(store)
    for state in ("open", "asked"):
        await _entry(store, entry="state", state=state)
    await _entry(store, entry="answer", at=NOW + dt.timedelta(hours=1), evidence=1)
    async with store.connect() as connection:
        case = await queries.case_of(connection, "north", 1)
        assert case is not None
        assert (case.state, case.changed) == ("asked", NOW + dt.timedelta(hours=1))
        assert await queries.case_list(connection, "north") == (case,)
        listed = await queries.entries(connection, "north", 1)
        assert [(one.entry, one.person) for one in listed] == [("state", "Ann"), ("state", "Ann"), ("answer", "Ann")]
        assert listed[-1].evidence == digest_of("submission 1").hex()
        assert await queries.case_of(connection, "south", 1) is None
        assert await queries.entries(connection, "south", 1) == ()


async def test_evidence_of_another_institution_is_not_found(store: Store) -> None:
    """A digest, a list and an assessment are found under their own institution alone."""
    async with store.begin() as connection:
        await keys.add_institution(connection, keys.Institution("south", "South College", NOW))
        await fill(connection, [Found(), Found(institution="south")])
    mine, other = (digest_of(f"submission {number}").hex() for number in (1, 2))
    async with store.connect() as connection:
        assert await queries.content(connection, "north", mine) == b"envelope 1"
        found = await queries.evidence(connection, "north", mine)
        assert found is not None
        assert found.digest == mine
        for read in (queries.content, queries.evidence):
            assert await read(connection, "north", other) is None
        assert await queries.verification_list(connection, "north", other) == ()
        assert [one.digest for one in await queries.evidence_page(connection, "north")] == [mine]


async def test_compressed_content_is_given_as_it_was_signed(store: Store) -> None:
    """A body stored as gzip is given decompressed."""
    async with store.begin() as connection:
        await fill(connection, [Found()])
        packed = gzip.compress(b"envelope 1")
        await connection.execute(sa.update(contents).values(encoding="gzip", body=packed))
    async with store.connect() as connection:
        assert await queries.content(connection, "north", digest_of("submission 1").hex()) == b"envelope 1"


async def test_filters_find_what_rests_on_one_key(store: Store) -> None:
    """Evidence is filtered by its findings' verdict and key, by exam, and by what a case refers to."""
    async with store.begin() as connection:
        await fill(connection, [Found(), Found(intercepted=True), Found(intercepted=True, exam="biology")])
    await _case(store)
    await _entry(store, evidence=3)
    async with store.connect() as connection:
        key = digest_of("ca").hex()
        for filters, expected in (
            ({"ca_key": key}, [3, 2]),
            ({"verdict": Verdict.CLEAN}, [1]),
            ({"ca_key": key, "exam": "algebra"}, [2]),
            ({"product": "none"}, []),
            ({"of_case": 1}, [3]),
        ):
            found = await queries.evidence_page(connection, "north", **filters)
            assert [one.id for one in found] == expected


async def test_pages_after_a_key_repeat_and_skip_nothing(store: Store) -> None:
    """While submissions arrive between any two pages, each that was there at the start is listed exactly once."""
    rng = random.Random(3)  # noqa: S311 - a world is repeated, not kept secret
    async with store.begin() as connection:
        await fill(connection, [Found(student=f"s{number}") for number in range(23)])
    seen: list[int] = []
    before, number = None, 24
    while True:
        async with store.connect() as connection:
            page = await queries.evidence_page(connection, "north", before=before, limit=rng.randrange(1, 6))
        if not page:
            break
        seen += [one.id for one in page]
        before = page[-1].id
        async with store.begin() as connection:
            await fill(connection, [Found()], first=number)
            await connection.execute(sa.delete(evidence).where(evidence.c.id == seen[0]))
        number += 1
    assert seen == list(range(23, 0, -1))


async def test_the_overview_shows_what_changed_since_the_last_visit(store: Store) -> None:
    """A new conclusion, an entry of a case and an answer are changes; before a first visit and after one, none is."""
    for number, conclusion in enumerate((Conclusion.SINGLE_DEVICES, Conclusion.INSTITUTION), start=1):
        at = NOW + dt.timedelta(days=number)
        made = Assessment(institution="north", conclusion=conclusion, students=60, error=0.001)
        async with store.begin() as connection:
            await connection.execute(sa.insert(assessments).values(number=number, at=at, since=NOW, until=at))
            await connection.execute(
                sa.insert(conclusions).values(
                    number=number, institution="north", conclusion=conclusion.value, detail=encode(made)
                )
            )
    await _case(store)
    await _entry(store, entry="state", state="open", at=NOW + dt.timedelta(days=2))
    await _entry(store, entry="answer", at=NOW + dt.timedelta(days=3))

    async def changes(visited: dt.timedelta | None) -> tuple[object, ...]:
        async with store.begin() as connection:
            if visited is not None:
                await queries.visit(connection, person=1, institution="north", now=NOW + visited)
            (row,) = await queries.overview(connection, person=1)
            assert (row.conclusion, row.open_cases) == (Conclusion.INSTITUTION, 1)
            return row.changes

    change = queries.Change
    assert await changes(None) == ()
    assert await changes(dt.timedelta(days=1.5)) == (change.CONCLUSION, change.CASE, change.ANSWER)
    assert await changes(dt.timedelta(days=2.5)) == (change.CASE, change.ANSWER)
    assert await changes(dt.timedelta(days=4)) == ()


async def test_assessments_show_rounded_numbers(store: Store) -> None:
    """A stored assessment of 58 students is shown as of 55."""
    made = Assessment(institution="north", conclusion=Conclusion.SINGLE_DEVICES, students=58, error=0.001)
    async with store.begin() as connection:
        await connection.execute(sa.insert(assessments).values(number=1, at=NOW, since=NOW, until=NOW))
        await connection.execute(
            sa.insert(conclusions).values(
                number=1, institution="north", conclusion=made.conclusion.value, detail=encode(made)
            )
        )
        (shown,) = await queries.assessed(connection, "north")
    assert (shown.number, shown.at, shown.assessment.students) == (1, NOW, 55)
