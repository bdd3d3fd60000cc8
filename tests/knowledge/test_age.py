"""Tests of the knowledge's identity and age. Room: knowledge; pure."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec
import pytest

from detector.knowledge import data_set
from detector.knowledge.age import describe, of_roots, used, warning
from detector.knowledge.part import HORIZONS
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from conftest import World

    from detector.model import Knowledge, KnowledgeKind

DAY = dt.date(2026, 11, 30)


def at(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(12), dt.UTC)


@pytest.fixture
def shipped() -> tuple[Knowledge, ...]:
    return data_set.shipped().parts()


def test_what_is_shipped_has_a_date_and_a_horizon(shipped: tuple[Knowledge, ...]) -> None:
    """Every part says of when it is and until when it counts as current, by no more than the days for its kind."""
    assert [part.kind for part in shipped] == list(data_set.PARTS)
    for part in shipped:
        assert part.date is not None
        assert part.horizon is not None
        assert part.date < part.horizon <= part.date + HORIZONS[part.kind]
    assert shipped[1].horizon == data_set.shipped().logs.horizon


@pytest.mark.parametrize("kind", data_set.PARTS)
def test_the_day_of_the_horizon_is_the_last_one(kind: KnowledgeKind, shipped: tuple[Knowledge, ...]) -> None:
    """From the next day on the part is old, and the warning names it alone; without a date nothing is."""
    part = msgspec.structs.replace(
        next(part for part in shipped if part.kind is kind), date=DAY, horizon=DAY + HORIZONS[kind]
    )
    last = DAY + HORIZONS[kind]
    assert not part.is_past(at(last))
    assert part.is_past(at(last + dt.timedelta(days=1)))
    rest = tuple(msgspec.structs.replace(other, date=None, horizon=None) for other in shipped)
    assert warning((part, *rest), at(last)) is None
    sentence = warning((part, *rest), at(last + dt.timedelta(days=1)))
    assert sentence is not None
    assert describe([part]) in sentence
    assert f"of {DAY}" in sentence


def test_roots_without_a_date_are_never_old(world: World) -> None:
    """Who brings roots answers for their age."""
    part = of_roots(from_der([world.roots.roots[0].certificate.der], name="campus.pem"))
    assert (part.date, part.horizon, part.is_past(at(dt.date.max))) == (None, None, False)
    assert warning([part], at(dt.date.max)) is None


def test_a_date_at_the_end_of_the_calendar_has_a_horizon() -> None:
    """A list may claim any day; nothing overflows."""
    data = data_set.shipped()
    listed = msgspec.structs.replace(data.logs, date=dt.date.max, sha256="")
    assert used(data.public_roots(), listed, data)[1].horizon == dt.date.max


def test_parts_are_named_for_people(shipped: tuple[Knowledge, ...], world: World) -> None:
    """Kind, name, version and date, as far as there are any."""
    roots = shipped[0]
    assert describe([roots]) == f"public roots shipped {roots.version} of {roots.date}"
    assert describe([of_roots(world.roots)]) == "public roots test roots"


def test_the_hash_names_what_is_held(world: World) -> None:
    """Logs that count and logs that do not are another list, though the same logs are in it."""
    one, *more = world.logs.logs
    moved = msgspec.structs.replace(
        world.logs, logs={key: world.logs.logs[key] for key in more}, untrusted={one: world.logs.logs[one]}
    )
    data = data_set.shipped()
    assert used(world.roots, moved, data)[1].sha256 != used(world.roots, world.logs, data)[1].sha256
    assert used(world.roots, moved, data)[0] == used(world.roots, world.logs, data)[0]
    assert len({part.sha256 for part in used(world.roots, world.logs, data)}) == len(data_set.PARTS)
