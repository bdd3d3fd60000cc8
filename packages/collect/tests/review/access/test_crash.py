"""Room: tests of detector_collect.review.access: a service that dies between the record and the answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detector_collect.review.access.chain import Outcome
from detector_collect.review.access.permissions import Role
from detector_collect.review.access.records import listed, verify
from support.collect_access import PURPOSE

if TYPE_CHECKING:
    from support.collect_access import Room

DYING = """
import asyncio, os, signal, sys
from detector_collect.review.access.authorize import Permission
from detector_collect.store.database import Store
from litestar import get
from litestar.params import FromPath
from support.collect_access import Room

@get("/institutions/{institution:str}/evidence", opt={"permission": Permission.EVIDENCE})
async def dying(institution: FromPath[str]) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return institution

async def main(url, secret, path):
    async with await Store.open(url) as store:
        room = Room(store)
        async with room.client(room.app([dying])) as client:
            await client.get(path, headers=room.cookies(secret))
            print("answered")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_record_stands_when_the_service_dies_before_it_answers(room: Room, database: str) -> None:
    """A process that is killed in the handler has committed the record of what it was about to answer."""
    case = await room.case("north")
    secret = await room.session(await room.person("rita", Role.REVIEWER, institution="north"))
    path = f"/institutions/north/evidence?case={case}&purpose={PURPOSE}"
    support = str(Path(__file__).parents[5] / "tests")
    died = subprocess.run(  # noqa: S603, ASYNC221 - this interpreter; nothing else runs meanwhile
        [sys.executable, "-c", DYING, database, secret, path],
        env={**os.environ, "PYTHONPATH": support},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, ""), died.stderr
    (last,) = await listed(room.store, limit=1)
    assert (last.record.institution, last.record.case, last.record.purpose) == ("north", case, PURPOSE)
    assert last.record.outcome is Outcome.ALLOWED
    assert (await verify(room.store)).broken is None
