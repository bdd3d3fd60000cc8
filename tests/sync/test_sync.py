"""The synchronous functions: the same results as the asynchronous ones, and a clear error where a loop is running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_origin

import detector
from detector.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"


async def test_check_and_gate(pki: PrivatePKI, settings_of: Callable[..., dict[str, Any]]) -> None:
    """A thread without a loop gets a report and a decision."""
    async with serve_origin(issued := pki.issue([EXAM])) as origin:
        pinned = detector.Endpoint(host=EXAM, pins=(issued.spki_sha256,))
        options = settings_of(pinned, resolve={(EXAM, 443): origin.address})
        report = await asyncio.to_thread(lambda: detector.sync.check([EXAM], **options))
        decision = await asyncio.to_thread(lambda: detector.sync.gate([EXAM], **options))
    assert report.verdict is detector.Verdict.CLEAN
    assert decision.action is detector.exam.Action.ALLOW


async def test_inside_a_running_loop() -> None:
    """The error names what to call there, and nothing is begun."""
    with pytest.raises(RuntimeError, match=r"await detector\.check\("):
        detector.sync.check([EXAM])
    with pytest.raises(RuntimeError, match=r"await detector\.exam\.gate\("):
        detector.sync.gate([EXAM])


def test_what_needs_no_loop() -> None:
    """`examine` and `Guard` are the ones of the package."""
    assert detector.sync.examine is detector.examine
    assert detector.sync.Guard is Guard
    with pytest.raises(AttributeError, match="watch"):
        detector.sync.watch  # noqa: B018 - as a caller would misspell it
