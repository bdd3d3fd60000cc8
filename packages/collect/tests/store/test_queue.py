"""Each piece of evidence is assessed by one worker at a time, and by another one when that died. Room: tests."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from detector_collect.store import counters, evidence, findings, keys, queue, retention, schema
from detector_collect.store.errors import LeaseLostError, StoreError
from detector_collect.store.findings import NewFinding, NewVerification
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.collect_stores import KEY, NOW, new_evidence

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from detector_collect.store.queue import Claimed

LEASE = dt.timedelta(minutes=5)
VERIFICATION = NewVerification(NOW, "0.1.0", bytes(32), b"{}")
FINDING = NewFinding(
    NOW, "exam.example.edu", 443, "exam", "middleware", "proven", "identity-substituted", "A\0B", bytes(32)
)


async def fill(store: Store, count: int) -> None:
    async with store.begin() as connection:
        for number in range(count):
            await evidence.add(connection, new_evidence(number))


async def claim(store: Store, limit: int = 3, *, now: dt.datetime = NOW) -> list[Claimed]:
    async with store.begin() as connection:
        return await queue.claim(connection, now=now, lease=LEASE, limit=limit)


async def finish(store: Store, claimed: Claimed) -> None:
    async with store.begin() as connection:
        await findings.replace(connection, claimed.evidence, VERIFICATION, [FINDING, FINDING], "verified")
        await queue.finish(connection, claimed)


async def fail(store: Store, claimed: Claimed, *, now: dt.datetime = NOW) -> bool:
    async with store.begin() as connection:
        return await queue.fail(connection, claimed, now=now, reason="no result")


async def due(store: Store) -> dt.datetime:
    async with store.connect() as connection:
        moment: dt.datetime = (await connection.scalars(sa.select(schema.work.c.due))).one()
        return moment


async def states(store: Store) -> list[tuple[str, str | None]]:
    async with store.connect() as connection:
        rows = await connection.execute(sa.select(schema.evidence.c.state, schema.evidence.c.reason))
        return [(row.state, row.reason) for row in rows]


async def test_workers_at_once_claim_each_row_once(store: Store) -> None:
    """Eight workers claim until nothing is left: every row once."""
    await fill(store, 40)

    async def work() -> list[int]:
        mine: list[int] = []
        while batch := await claim(store):
            mine += [one.evidence for one in batch]
        return mine

    claimed = [number for mine in await asyncio.gather(*(work() for _ in range(8))) for number in mine]
    assert len(claimed) == len(set(claimed)) == 40


async def test_a_flood_of_one_institution_delays_no_other(store: Store) -> None:
    """Each claim has work of both that wait, however much longer the flood has been due."""
    async with store.begin() as connection:
        await keys.add_institution(connection, keys.Institution("south", "South University", NOW))
        late = NOW + dt.timedelta(seconds=1)
        flood = [new_evidence(number) for number in range(200)]
        others = [new_evidence(200 + number, institution="south", received=late) for number in range(4)]
        added = await evidence.add_all(connection, [*flood, *others])
    of_south = {one.id for one in added[200:] if one is not None}
    claims = [{one.evidence for one in await claim(store, 4, now=late)} for _ in range(3)]
    assert [len(one & of_south) for one in claims] == [2, 2, 0]
    assert [len(one) for one in claims] == [4, 4, 4]


async def test_what_a_stolen_key_sent_is_disregarded(store: Store) -> None:
    """Findings and work of the period go, for good and once; what was there before and after it stays."""
    hour = dt.timedelta(hours=1)
    async with store.begin() as connection:
        sent = [new_evidence(number, received=NOW + number * hour) for number in range(4)]
        added = [one.id for one in await evidence.add_all(connection, sent) if one is not None]
    for claimed in await claim(store, 2, now=NOW + hour):
        await finish(store, claimed)
    period = {"since": NOW + hour, "until": NOW + 3 * hour, "now": NOW + 4 * hour}
    async with store.begin() as connection:
        assert await queue.disregard(connection, KEY, **period) == 2
        assert await queue.disregard(connection, KEY, **period) == 0
        with pytest.raises(StoreError, match="no key"):
            await queue.disregard(connection, "ed25519/none", **period)
        await queue.requeue(connection, knowledge=bytes(range(32)), now=NOW, after=0, limit=9)
        shown = set(await connection.scalars(sa.select(schema.findings.c.evidence)))
        queued = set(await connection.scalars(sa.select(schema.work.c.evidence)))
    assert (shown, queued) == ({added[0]}, {added[0], added[3]})
    assert sorted(await states(store), key=str) == sorted(
        [("verified", None), *[("quarantined", "key-disregarded")] * 2, ("waiting", None)], key=str
    )


async def test_what_is_disregarded_while_it_is_assessed_stays_so(store: Store) -> None:
    """The worker that has it loses its lease, and stores nothing."""
    await fill(store, 1)
    (claimed,) = await claim(store)
    async with store.begin() as connection:
        until = NOW + dt.timedelta(hours=1)
        assert await queue.disregard(connection, KEY, since=NOW, until=until, now=until) == 1
    with pytest.raises(LeaseLostError):
        await finish(store, claimed)
    assert await states(store) == [("quarantined", "key-disregarded")]


async def test_the_rows_of_a_dead_worker_return(store: Store) -> None:
    """Claimed and not finished: not before the lease ends, and then with a new one that the first cannot use."""
    await fill(store, 1)
    (first,) = await claim(store)
    assert await claim(store, now=NOW + LEASE - dt.timedelta(seconds=1)) == []
    (second,) = await claim(store, now=NOW + LEASE)
    assert (second.work, second.attempt) == (first.work, 2)
    with pytest.raises(LeaseLostError):
        await finish(store, first)
    await finish(store, second)
    assert await claim(store, now=NOW + 9 * LEASE) == []


async def test_what_fails_again_and_again_is_quarantined(store: Store) -> None:
    """Each failure waits longer; after the last attempt the evidence is quarantined, with the last reason."""
    await fill(store, 1)
    now, waits = NOW, []
    for attempt in range(1, queue.ATTEMPTS + 1):
        (claimed,) = await claim(store, now=now)
        async with store.begin() as connection:
            last = await queue.fail(connection, claimed, now=now, reason=f"attempt {attempt}\0")
        assert last == (attempt == queue.ATTEMPTS)
        if not last:
            before, now = now, await due(store)
            waits.append(now - before)
            assert await claim(store, now=now - dt.timedelta(seconds=1)) == []
    assert waits == [queue.RETRY * 2**attempt for attempt in range(queue.ATTEMPTS - 1)]
    assert await states(store) == [("quarantined", "attempt 5\N{REPLACEMENT CHARACTER}")]
    with pytest.raises(LeaseLostError):
        await fail(store, claimed)
    assert await claim(store, now=NOW + dt.timedelta(days=1)) == []


async def test_what_ends_its_workers_is_quarantined(store: Store) -> None:
    """A piece that kills every worker is given up after as many leases, and its former findings go."""
    await fill(store, 1)
    (first,) = await claim(store)
    await finish(store, first)
    async with store.begin() as connection:
        assert await queue.requeue(connection, knowledge=bytes(range(32)), now=NOW, after=0, limit=9) == first.evidence
    for attempt in range(queue.ATTEMPTS):
        assert len(await claim(store, now=NOW + attempt * LEASE)) == 1
    assert await claim(store, now=NOW + queue.ATTEMPTS * LEASE) == []
    assert await states(store) == [("quarantined", "5 workers ended while they assessed it")]
    async with store.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(schema.findings)) == 0
        assert (await counters.queue(connection)).depth == 0


async def test_new_knowledge_puts_what_was_assessed_with_other_back(store: Store) -> None:
    """In parts; what was assessed with this knowledge, or never, or is in the queue already, is not added."""
    await fill(store, 6)
    for claimed in await claim(store, limit=4):
        new = VERIFICATION._replace(knowledge=bytes(32) if claimed.evidence % 2 else bytes(range(32)))
        async with store.begin() as connection:
            await findings.replace(connection, claimed.evidence, new, [], "verified")
            await queue.finish(connection, claimed)
    after: int | None = 0
    steps = 0
    while after is not None:
        async with store.begin() as connection:
            after = await queue.requeue(connection, knowledge=bytes(range(32)), now=NOW, after=after, limit=2)
        steps += 1
    assert steps == 4
    async with store.connect() as connection:
        queued = set(await connection.scalars(sa.select(schema.work.c.evidence)))
        numbers = list(await connection.scalars(sa.select(schema.evidence.c.id).order_by(schema.evidence.c.id)))
    assert queued == {number for number in numbers[:4] if number % 2} | set(numbers[4:])


async def test_what_is_erased_while_it_is_assessed_leaves_nothing(store: Store) -> None:
    """The worker's result is refused: the evidence is gone."""
    await fill(store, 1)
    (claimed,) = await claim(store)
    student = new_evidence().student
    assert student is not None
    async with store.begin() as connection:
        await retention.erase(connection, student)
    with pytest.raises(LeaseLostError):
        await finish(store, claimed)
    with pytest.raises(LeaseLostError):
        await fail(store, claimed)
    async with store.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(schema.verifications)) == 0


async def test_findings_are_replaced(store: Store) -> None:
    """The latest assessment's endpoints, with whose they are; every assessment stays on record."""
    await fill(store, 1)
    (claimed,) = await claim(store)
    for hosts in (["a.example", "b.example", "c.example"], ["d.example"]):
        async with store.begin() as connection:
            new = [FINDING._replace(host=host) for host in hosts]
            await findings.replace(connection, claimed.evidence, VERIFICATION, new, "verified")
    async with store.connect() as connection:
        (row,) = await connection.execute(sa.select(schema.findings))
        assert (row.number, row.host, row.institution, row.exam, row.student, row.product) == (
            *(0, "d.example", "north", "algebra"),
            *(new_evidence().student, "A\N{REPLACEMENT CHARACTER}B"),
        )
        assert await connection.scalar(sa.select(sa.func.count()).select_from(schema.verifications)) == 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(1, 3)),
        st.tuples(st.just("finish"), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(1, 200)),
    ),
    max_size=30,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 5), STEPS)
async def test_the_queue_does_what_a_model_says(store: Store, count: int, steps: list[tuple[str, int]]) -> None:
    """Any order of claims, results, failures and waits, with leases that end and workers that come too late.

    A row has one holder at a time; who lost it can do nothing; every row ends finished, quarantined, or due again.
    """
    async with store.begin() as connection:
        await connection.execute(sa.delete(schema.evidence))
    await fill(store, count)
    async with store.connect() as connection:
        numbers = list(await connection.scalars(sa.select(schema.evidence.c.id)))
    now = NOW
    due_at = dict.fromkeys(numbers, NOW)
    attempts = dict.fromkeys(numbers, 0)
    ended: dict[int, str] = {}
    leases: list[Claimed] = []
    for step, number in steps:
        if step == "wait":
            now += dt.timedelta(seconds=number)
        elif step == "claim":
            ready = [one for one in numbers if one not in ended and due_at[one] <= now]
            spent = [one for one in ready if attempts[one] == queue.ATTEMPTS]
            ended |= dict.fromkeys(spent, "quarantined")
            claimed = await claim(store, number, now=now)
            assert len(claimed) == min(number, len(ready) - len(spent))
            assert {one.evidence for one in claimed} <= set(ready) - set(spent)
            for one in claimed:
                attempts[one.evidence] += 1
                due_at[one.evidence] = now + LEASE
                assert (one.attempt, one.until) == (attempts[one.evidence], now + LEASE)
            leases += claimed
        elif leases:
            one = leases.pop(number % len(leases))
            is_held = one.evidence not in ended and attempts[one.evidence] == one.attempt
            try:
                last = False
                if step == "fail":
                    last = await fail(store, one, now=now)
                else:
                    await finish(store, one)
            except LeaseLostError:
                assert not is_held
                continue
            assert is_held
            if step == "finish":
                ended[one.evidence] = "verified"
            elif last:
                ended[one.evidence] = "quarantined"
            else:
                due_at[one.evidence] = now + queue.RETRY * 2 ** (one.attempt - 1)
                leases = [other for other in leases if other.evidence != one.evidence]
    async with store.connect() as connection:
        found = await connection.execute(sa.select(schema.evidence.c.id, schema.evidence.c.state))
        assert {row.id: row.state for row in found} == {one: ended.get(one, "waiting") for one in numbers}
        left = await connection.execute(sa.select(schema.work.c.evidence, schema.work.c.due))
        assert {row.evidence: row.due for row in left} == {one: due_at[one] for one in numbers if one not in ended}
