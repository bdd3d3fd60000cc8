"""The simulated term, through the whole collector: who stands out, who does not, and what colluders can do.

Room: tests.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
import sqlalchemy as sa
from detector_collect import demo, simulation
from detector_collect.demo import term as terms
from detector_collect.responsibility import Conclusion, DeviceResult, Interception
from detector_collect.store import retention
from detector_collect.store.database import Store
from detector_collect.store.schema import evidence, findings, handshakes, institutions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from detector_collect.responsibility import Assessment

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


class Filled(NamedTuple):
    """A database file with the term in it, and what is known of it."""

    file: Path
    term: demo.Term


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """The term, filled in once; the time that took is printed."""
    file = tmp_path_factory.mktemp("term") / "collect.sqlite"

    async def fill() -> demo.Term:
        async with await Store.open(f"sqlite:///{file}", migrate=True) as store:
            return await demo.fill(store, now=NOW)

    begun, processor = time.monotonic(), time.process_time()
    term = asyncio.run(fill())
    took = time.monotonic() - begun, time.process_time() - processor
    print(f"{term.submissions} submissions in {took[0]:.0f} s, {took[1]:.0f} s of this process's CPU")  # noqa: T201 - measured
    return Filled(file, term)


@pytest.fixture
async def store(filled: Filled, tmp_path: Path) -> AsyncIterator[Store]:
    """A copy of the filled database."""
    copy = tmp_path / "collect.sqlite"
    shutil.copy(filled.file, copy)
    async with await Store.open(f"sqlite:///{copy}") as opened:
        yield opened


async def assessed(store: Store, term: demo.Term) -> dict[str, Assessment]:
    """The institutions, assessed again."""
    return by_name(await demo.assess_again(store, term.config, since=term.since, until=term.until))


def by_name(assessments: Iterable[Assessment]) -> dict[str, Assessment]:
    """Assessments by institution."""
    return {one.institution: one for one in assessments}


def numbers(assessment: Assessment) -> Any:  # noqa: ANN401 - any JSON value
    """What an assessment counts, without what depends on how many assessments were made."""
    bases = [(b.conclusion, b.product, b.key, b.here[:2], b.networks) for b in assessment.bases]
    return assessment.conclusion, assessment.students, bases


async def test_the_right_institutions_stand_out(filled: Filled, store: Store) -> None:
    """Those that decrypt are named, and nobody else; every submission was verified."""
    found = by_name(filled.term.assessments)
    assert {name for name, one in found.items() if one.conclusion is Conclusion.INSTITUTION} == set(filled.term.guilty)
    assert len(found) == terms.INSTITUTIONS
    async with store.connect() as connection:
        states = (await connection.execute(sa.select(evidence.c.state, sa.func.count()).group_by("state"))).all()
        titles = list(await connection.scalars(sa.select(institutions.c.title)))
    assert [tuple(row) for row in states] == [("verified", filled.term.submissions)]
    assert all(title.endswith("(simulated)") for title in titles)


async def test_the_antivirus_campus_does_not_stand_out(filled: Filled, store: Store) -> None:
    """There most students met the same product, each with a key of its own: single devices."""
    product = "Avast Antivirus Web/Mail Shield"
    students = sa.func.count(findings.c.student.distinct()).label("students")
    asked = sa.select(findings.c.institution, students).where(findings.c.product == product)
    async with store.connect() as connection:
        rows = await connection.execute(asked.group_by(findings.c.institution))
        met = Counter({row.institution: row.students for row in rows})
    [(campus, most), *_] = met.most_common()
    assessment = by_name(filled.term.assessments)[campus]
    assert most > assessment.students / 2
    assert all(basis.product != product for basis in assessment.bases)
    assert assessment.conclusion is not Conclusion.INSTITUTION


async def test_findings_are_what_the_devices_met(store: Store) -> None:
    """Through certificates, bundles and assessments: the same counts as the simulation made."""
    world = simulation.make(terms.SEED, institutions=terms.INSTITUTIONS, students=terms.STUDENTS, guilty=terms.GUILTY)
    met = Counter(result.institution for result in world.results if result.interception is not None)
    accused = sa.select(findings.c.institution, sa.func.count().label("accused")).where(
        findings.c.confidence == "proven"
    )
    async with store.connect() as connection:
        rows = await connection.execute(accused.group_by(findings.c.institution))
        counted = {row.institution: row.accused for row in rows}
    assert counted == {name: 2 * number for name, number in met.items()}  # two endpoints each


async def test_colluders_move_nothing_beyond_their_number(filled: Filled, store: Store) -> None:
    """Three senders at an innocent institution, with a hundred submissions; one handshake under forty names."""
    term = filled.term
    before = await assessed(store, term)
    calm = next(name for name, one in before.items() if one.conclusion is Conclusion.SINGLE_DEVICES)
    exam = next(iter(await exams(store, calm)))
    invented = Interception(product="firewall", key="invented")
    late = term.until - dt.timedelta(hours=1)

    def colluder(student: str, network: int) -> DeviceResult:
        return DeviceResult(
            institution=calm, exam=exam, student=student, network=f"network-{network}", interception=invented
        )

    for number in range(30):
        await term.clients.send(store, colluder(f"colluder-{number % 3}", number), late)
    copied = term.clients.content(colluder("colluder-0", 0), late)
    for number in range(40):
        await term.clients.send(store, colluder(f"copy-{number}", number), late, copied)
    after = await assessed(store, term)
    assert after[calm].students == before[calm].students + 3 + 1
    assert after[calm].conclusion is Conclusion.SINGLE_DEVICES
    assert {name: numbers(one) for name, one in after.items() if name != calm} == {
        name: numbers(one) for name, one in before.items() if name != calm
    }
    async with store.connect() as connection:
        repeated = sa.select(sa.func.count()).where(evidence.c.reason == "repeated-evidence")
        assert await connection.scalar(repeated) == 39


async def test_erasing_a_student_changes_only_that(filled: Filled, store: Store) -> None:
    """One student less at one institution; nothing of its evidence is left."""
    term = filled.term
    before = await assessed(store, term)
    guilty = min(term.guilty)
    async with store.begin() as connection:
        asked = sa.select(findings.c.student, findings.c.evidence).where(findings.c.institution == guilty).limit(1)
        student, number = (await connection.execute(asked)).one()
        erased = await retention.erase(connection, student)
    after = await assessed(store, term)
    assert erased.erased >= 1
    assert after[guilty].students == before[guilty].students - 1
    assert after[guilty].conclusion is before[guilty].conclusion
    del before[guilty], after[guilty]
    assert {name: numbers(one) for name, one in after.items()} == {name: numbers(one) for name, one in before.items()}
    async with store.connect() as connection:
        for table in (findings, evidence):
            left = sa.select(sa.func.count()).where(table.c.student == student)
            assert await connection.scalar(left) == 0
        assert await connection.scalar(sa.select(sa.func.count()).where(handshakes.c.evidence == number)) == 0


async def exams(store: Store, institution: str) -> set[str]:
    """The exams of an institution."""
    async with store.connect() as connection:
        asked = sa.select(evidence.c.exam).where(evidence.c.institution == institution).distinct()
        return set(await connection.scalars(asked))


def test_an_assessment_can_be_stored_and_read_again(filled: Filled) -> None:
    """What `conclusions` keeps is the whole assessment."""
    for one in filled.term.assessments:
        assert msgspec.json.decode(msgspec.json.encode(one), type=type(one)) == one
