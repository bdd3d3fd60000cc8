"""The detector's outbox against the real service: what it keeps arrives once, and each side knows the other's words.

Room: tests of service.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from detector_collect.submissions import Refusal
from support.collect_service import SERVICE_KEY, STRANGER, counted, sealed
from support.collect_stores import NOW

from detector.outbox import Connectors, Outbox
from detector.outbox.sender import PERMANENT, TEMPORARY, Sender
from detector.trust.envelope import public_key_of

if TYPE_CHECKING:
    from pathlib import Path

    from support.collect_service import Running

PLAIN = Connectors((aiohttp.TCPConnector,), aiohttp.TCPConnector)
"""The service speaks HTTP behind a proxy that ends TLS."""


def outbox_of(folder: Path, service: Running) -> tuple[Outbox, Sender]:
    """An outbox, and a sender to the service, at the time of these tests."""
    outbox = Outbox(folder, clock=lambda: NOW)
    to = f"http://127.0.0.1:{service.port}"
    sender = Sender(outbox, to=to, receipt_keys=[public_key_of(SERVICE_KEY)], connectors=PLAIN, clock=lambda: NOW)
    return outbox, sender


async def test_what_waits_arrives_once(service: Running, tmp_path: Path) -> None:
    """Every submission has its receipt and leaves the outbox; one that is sent again is not stored again."""
    outbox, sender = outbox_of(tmp_path, service)
    async with sender:
        for _ in range(2):
            for number in range(5):
                outbox.put(sealed(student=f"{number:064x}"), to=f"http://127.0.0.1:{service.port}")
            assert await sender.send() == (5, 0, "", False)
    assert (outbox.status().waiting, (await counted(service.store))["evidence"]) == (0, 5)


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        (sealed(key=STRANGER), Refusal.UNKNOWN_KEY),
        (sealed(institution="south"), Refusal.OTHER_INSTITUTION),
        (sealed(made=NOW.replace(year=2020)), Refusal.TOO_OLD),
    ],
)
async def test_what_it_refuses_is_set_aside(envelope: bytes, reason: Refusal, service: Running, tmp_path: Path) -> None:
    """A refusal of the service is one that the outbox knows, and it is not sent again."""
    outbox, sender = outbox_of(tmp_path, service)
    await asyncio.to_thread(outbox.put, envelope, to=f"http://127.0.0.1:{service.port}")
    async with sender:
        assert (await sender.send()).refused == 1
        assert (await sender.send()).refused == 0
    assert [(one.reason, one.count) for one in outbox.status().refused] == [(reason, 1)]


def test_every_refusal_is_known() -> None:
    """The outbox knows each refusal as one that stays or one that passes."""
    assert {*Refusal} == PERMANENT | TEMPORARY
