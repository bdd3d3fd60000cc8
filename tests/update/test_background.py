"""Updates in the background of a watch: they come spread out, change what it assesses with, and never stop it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_origin

from detector.errors import NoRoomError, UpdateError
from detector.session.session import Detector
from detector.trust.ct_logs import LogList
from detector.update import Update
from detector.update.background import FIRST_SHARE, JITTER, keep_updated

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"
DONE = Update(installed=True, set="2-00000000", version=2, left_out={})
SAME = Update(installed=False, set="2-00000000", version=2, left_out={})


async def background(results: list[Update | Exception], *, interval: float = 100.0) -> tuple[list[Any], list[float]]:
    """Run the updates that end so, one after the other; what was reported, and the seconds waited before each."""
    reported: list[Any] = []
    waited: list[float] = []
    coming = iter(results)

    def update() -> Update:
        result = next(coming)
        if isinstance(result, Exception):
            raise result
        return result

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) > len(results):
            raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        chance = random.Random(7)  # noqa: S311 - the same waits in each run
        await keep_updated(
            update, renewed=reported.append, say=reported.append, interval=interval, chance=chance, sleep=sleep
        )
    return reported, waited


async def test_only_new_sets_are_reported() -> None:
    """What reads the sets is called after an update that installed one, and not after others."""
    reported, _ = await background([SAME, DONE, SAME])
    assert reported == [DONE]


@pytest.mark.parametrize(
    "error", [UpdateError("The host is away.", advice="Wait."), NoRoomError("Full.", advice="Make room.")]
)
async def test_a_failure_is_a_sentence(error: Exception) -> None:
    """An update that fails, for whichever documented reason, is said, and the next one comes."""
    reported, waited = await background([error, DONE])
    assert reported == [f"The update of what is known failed: {error}", DONE]
    assert len(waited) == 3


async def test_updates_are_spread() -> None:
    """The first comes within a tenth of the interval, the others about an interval apart; no two waits are alike."""
    _, (first, *others) = await background([SAME] * 50)
    assert 0 <= first <= 100 * FIRST_SHARE
    assert all(100 * (1 - JITTER) <= wait <= 100 * (1 + JITTER) for wait in others)
    assert len(set(others)) == len(others)


async def test_a_watch_uses_what_was_installed(
    world: World, pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]
) -> None:
    """A watch that began with an old list of logs probes on with the new one, and reports the difference."""
    old = LogList(name="old", date=world.logs.date, logs={}, untrusted={})
    async with serve_origin(pki.issue([EXAM])) as origin:
        where = {(EXAM, 443): origin.address}
        detectors = [Detector(**settings_of(resolve=where, logs=logs)) for logs in (old, world.logs)]
        current = detectors[0]
        events = detectors[0].watch([EXAM], interval=1, renewed=lambda: current)
        verdicts = []
        async with asyncio.timeout(60), contextlib.aclosing(events):
            async for event in events:
                if event.after is not None:
                    verdicts.append((event.after.verdict, event.after.assurance))
                if event.kind == "baseline":
                    current = detectors[1]
                if verdicts and verdicts[-1] == ("clean", "logged"):
                    break
    assert verdicts[-1] == ("clean", "logged")
