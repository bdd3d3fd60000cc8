"""Tests of the knowledge's identity and age. Room: knowledge; pure."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec
import pytest

from detector.knowledge import catalogue, ct_logs
from detector.knowledge.age import HORIZONS, describe, of_roots, used, warning
from detector.knowledge.roots import public_roots
from detector.model import KnowledgeKind
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from conftest import World

    from detector.model import Knowledge

DAY = dt.date(2026, 11, 30)


def at(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(12), dt.UTC)


@pytest.fixture
def shipped() -> tuple[Knowledge, ...]:
    return used(public_roots(), ct_logs.shipped())


def test_what_is_shipped_has_a_date_and_a_horizon(shipped: tuple[Knowledge, ...]) -> None:
    """Every part says of when it is and until when it counts as current, by the days documented for its kind."""
    assert [part.kind for part in shipped] == list(KnowledgeKind)
    assert [(part.horizon or dt.date.min) - (part.date or dt.date.min) for part in shipped] == [
        dt.timedelta(days=180),
        dt.timedelta(days=70),
        dt.timedelta(days=365),
    ]
    assert shipped[1].horizon == ct_logs.shipped().horizon
    assert shipped[2].date == catalogue.edition().date


@pytest.mark.parametrize("kind", KnowledgeKind)
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
    listed = msgspec.structs.replace(ct_logs.shipped(), date=dt.date.max)
    assert used(public_roots(), listed)[1].horizon == dt.date.max


def test_parts_are_named_for_people(shipped: tuple[Knowledge, ...], world: World) -> None:
    """Kind, name, version and date, as far as there are any."""
    roots, _, catalogued = map(describe, ([part] for part in shipped))
    assert roots == f"public roots certifi {public_roots().version} of {public_roots().date}"
    assert catalogued == f"catalogue shipped of {catalogue.edition().date}"
    assert describe([of_roots(world.roots)]) == "public roots test roots"


def test_the_hash_names_what_is_held(world: World) -> None:
    """Logs that count and logs that do not are another list, though the same logs are in it."""
    one, *more = world.logs.logs
    moved = msgspec.structs.replace(
        world.logs, logs={key: world.logs.logs[key] for key in more}, untrusted={one: world.logs.logs[one]}
    )
    assert used(world.roots, moved)[1].sha256 != used(world.roots, world.logs)[1].sha256
    assert used(world.roots, moved)[0] == used(world.roots, world.logs)[0]
    assert len({part.sha256 for part in used(world.roots, world.logs)}) == 3
