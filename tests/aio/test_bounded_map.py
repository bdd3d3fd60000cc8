"""Room: aio. A bounded concurrent map: every item once, never more than the limit, no task left however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from detector.aio.bounded_map import BoundedMap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Bench:
    """Work that counts how much of it runs at once, and ends when released."""

    def __init__(self, *, held: bool = False) -> None:
        self.begun: list[int] = []
        self.at_once = self.most_at_once = 0
        self.release = asyncio.Event()
        if not held:
            self.release.set()

    async def work(self, thing: int) -> int:
        self.begun.append(thing)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            await self.release.wait()
        finally:
            self.at_once -= 1
        return thing * 10


async def things(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 3, 40])
async def test_everything_is_done_once(most: int, count: int) -> None:
    """In lists that are never empty, with no more at once than may be, and no task left."""
    before, bench = asyncio.all_tasks(), Bench()
    given = [done async for done in BoundedMap(things(count), bench.work, limit=most).batches()]
    assert all(given)
    assert sorted(chain.from_iterable(given)) == [number * 10 for number in range(count)]
    assert bench.most_at_once <= most
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(("most", "at_once"), [(1, 1), (3, 3), (100, 7)])
async def test_as_much_at_once_as_may_be(most: int, at_once: int) -> None:
    """As soon as there are things enough."""
    bench = Bench(held=True)
    async with contextlib.aclosing(BoundedMap(things(7), bench.work, limit=most).batches()) as given:
        reading = asyncio.ensure_future(anext(given))
        await settle()
        assert bench.at_once == at_once
        bench.release.set()
        await reading


async def test_a_slow_reader_holds_up_the_work() -> None:
    """What waits to be read is among what may be at once; who did what was read has gone on."""
    bench = Bench()
    async with contextlib.aclosing(BoundedMap(things(100), bench.work, limit=4).batches()) as given:
        first = await anext(given)
        await settle()
        assert len(bench.begun) == len(first) + 4
        rest = [done async for done in given]
    assert len(first) + len(list(chain.from_iterable(rest))) == 100


async def test_what_ends_while_the_reader_is_busy_comes_together() -> None:
    """One list has all of it."""

    async def work(thing: int) -> int:
        if thing:
            await release.wait()
        return thing

    release = asyncio.Event()
    async with contextlib.aclosing(BoundedMap(things(5), work, limit=5).batches()) as given:
        first = await anext(given)
        release.set()
        await settle()
        rest = [sorted(done) async for done in given]
    assert (first, rest) == ([0], [[1, 2, 3, 4]])


async def test_a_slow_source_holds_up_no_result() -> None:
    """What is done is given while the next thing is still waited for."""

    async def slowly() -> AsyncIterator[int]:
        yield 1
        await more.wait()
        yield 2

    more, bench = asyncio.Event(), Bench()
    async with contextlib.aclosing(BoundedMap(slowly(), bench.work, limit=4).batches()) as given:
        assert await anext(given) == [10]
        more.set()
        assert [done async for done in given] == [[20]]


@pytest.mark.parametrize("read", [0, 1])
async def test_closing_ends_all_work(read: int) -> None:
    """What is under way is cancelled, and nothing more is begun."""
    before, bench = asyncio.all_tasks(), Bench()
    async with contextlib.aclosing(BoundedMap(things(100), bench.work, limit=4).batches()) as given:
        for _ in range(read):
            await anext(given)
        bench.release.clear()
    begun = len(bench.begun)
    await settle()
    assert (bench.at_once, len(bench.begun), asyncio.all_tasks()) == (0, begun, before)


async def test_cancelling_the_reader_ends_all_work() -> None:
    """It was waiting for what never comes."""
    before, bench = asyncio.all_tasks(), Bench(held=True)

    async def read() -> None:
        async with contextlib.aclosing(BoundedMap(things(9), bench.work, limit=4).batches()) as given:
            await anext(given)

    reading = asyncio.create_task(read())
    await settle()
    assert bench.at_once == 4
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (bench.at_once, asyncio.all_tasks()) == (0, before)


async def fail_at_three(thing: int) -> int:
    if thing == 3:
        raise ZeroDivisionError
    await asyncio.sleep(0)
    return thing


@pytest.mark.parametrize("most", [1, 2, 9])
@pytest.mark.parametrize("busy", [False, True])
async def test_a_failure_of_the_work_is_raised(most: int, busy: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    """Also while the reader is busy and nobody else is at work any more."""
    before, given = asyncio.all_tasks(), list[int]()

    async def read() -> None:
        async for done in BoundedMap(things(4), fail_at_three, limit=most).batches():
            given.extend(done)
            if busy:
                await settle()

    with pytest.raises(ZeroDivisionError):
        await read()
    assert set(given) <= {0, 1, 2}
    assert asyncio.all_tasks() == before


async def test_failures_at_the_same_moment_are_not_reported_by_asyncio() -> None:
    """One is raised; of the others nothing is left that asyncio would log when it is collected."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))

    async def fail(thing: int) -> int:
        await asyncio.sleep(0)
        raise ValueError(thing)

    async with contextlib.aclosing(BoundedMap(things(4), fail, limit=4).batches()) as batches:
        with pytest.raises(ValueError, match=r"\d"):
            await anext(batches)
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_a_failure_of_the_source_is_raised() -> None:
    """What was under way is ended."""

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError

    before, bench = asyncio.all_tasks(), Bench(held=True)
    with pytest.raises(ZeroDivisionError):
        await anext(BoundedMap(broken(), bench.work, limit=4).batches())
    assert (bench.begun, bench.at_once, asyncio.all_tasks()) == ([1], 0, before)


async def test_a_failure_of_the_source_is_raised_to_a_reader_that_was_busy() -> None:
    """The source fails in the very turn of the loop in which the reader goes on, and nothing else is running."""
    failing = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 1
        await failing.wait()
        raise OSError("the targets cannot be read")

    async def work(item: int) -> int:
        return item

    batches = []

    async def read() -> None:
        async for batch in BoundedMap(source(), work, limit=4).batches():
            batches.append(batch)
            asyncio.get_running_loop().call_later(0.01, failing.set)
            await failing.wait()

    with pytest.raises(OSError, match="cannot be read"):
        await read()
    assert batches == [[1]]


async def test_work_that_is_cancelled_is_not_lost() -> None:
    """Nobody may take what was given up for done."""

    async def give_up(thing: int) -> int:
        raise asyncio.CancelledError(thing)

    with pytest.raises(asyncio.CancelledError):
        await anext(BoundedMap(things(2), give_up, limit=2).batches())


async def test_added_items_take_precedence() -> None:
    """What the reader adds starts before further items of the source, also while the source blocks or has ended."""

    async def blocking() -> AsyncIterator[int]:
        yield 1
        await more.wait()
        yield 2

    more, bench = asyncio.Event(), Bench()
    bounded = BoundedMap(blocking(), bench.work, limit=1)
    given: list[int] = []
    async with contextlib.aclosing(bounded.batches()) as batches:
        async for batch in batches:
            given += batch
            if batch == [10]:
                bounded.add([7, 8])
            elif batch == [80]:
                more.set()
            elif batch == [20]:
                bounded.add([9])
    assert given == [10, 70, 80, 20, 90]
    assert bench.most_at_once == 1


async def test_results_before_a_failure_are_yielded() -> None:
    """A failing source loses no result that was complete."""

    async def failing() -> AsyncIterator[int]:
        yield 1
        await settle()
        raise ZeroDivisionError

    given: list[int] = []

    async def read() -> None:
        async for batch in BoundedMap(failing(), Bench().work, limit=4).batches():
            given.extend(batch)

    with pytest.raises(ZeroDivisionError):
        await read()
    assert given == [10]


async def test_a_limit_may_change() -> None:
    """A function as limit is asked whenever there may be room."""
    bench, limits = Bench(), iter([1, 1, *[3] * 100])
    bounded = BoundedMap(things(7), bench.work, limit=lambda: next(limits))
    assert len(list(chain.from_iterable([batch async for batch in bounded.batches()]))) == 7
    assert 1 < bench.most_at_once <= 3
