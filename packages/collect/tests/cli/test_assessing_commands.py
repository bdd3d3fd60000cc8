"""The commands that assess, on SQLite: what was received becomes findings and statements. Room: tests."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from detector_collect.store.database import Store
from support.collect_evidence import SEARCH, recorder
from support.collect_worker import open_institutions, receive
from support.command import run

if TYPE_CHECKING:
    from pathlib import Path

STUDENTS = 6


def test_received_assessed_and_stated(tmp_path: Path) -> None:
    """Work until nothing waits, again with other knowledge, and state what the institution's students met."""
    client, url = recorder(), f"sqlite:///{tmp_path}/collect.sqlite"

    async def fill() -> None:
        async with await Store.open(url, migrate=True) as store:
            await open_institutions(store, "college")
            for number in range(STUDENTS):
                submission = client.submission(client.bundle(client.case(SEARCH)), student=f"{number:064x}")
                await receive(store, submission, received=client.now)

    def command(*words: str) -> str:
        done = run("collect", *words, env={"DETECTOR_COLLECT_DATABASE": url})
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    asyncio.run(fill())
    assert command("work", "--once", "--data", "shipped") == f"Assessed: {STUDENTS}.\n"
    assert command("work", "--once", "--data", "shipped") == "Assessed: 0.\n"
    pins = tmp_path / "pins.toml"
    pins.write_text(f'schema = 1\n[[endpoint]]\nhost = "{SEARCH}"\ncategory = "search"\n')
    command("reverify", "--data", "shipped", "--pins", str(pins))
    assert command("work", "--once", "--data", "shipped", "--pins", str(pins)) == f"Assessed: {STUDENTS}.\n"
    [row] = [json.loads(line) for line in command("assess", "--data", "shipped", "--json").splitlines()]
    assert row == {"institution": "college", "conclusion": "single-devices", "students": STUDENTS}
