"""Parts of a collector are killed at random moments, again and again: nothing is lost, and nothing is there twice.

Room: tests of the collector. Starts services, workers, clients and PostgreSQL. `python -m benchmark.collect`
does the same with 10,000 submissions and thirty kills of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from support.collect_kills import Victim, check_assessments, check_receipts, submit_and_kill
from support.collect_processes import running_collector
from support.collect_world import CollectWorld
from support.postgres import running_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab

KILLS: Final = {Victim.SERVICE: 5, Victim.CLIENT: 8, Victim.POSTGRES: 12}
KILLS_ON_SQLITE: Final = {Victim.SERVICE: 3, Victim.CLIENT: 4}


@pytest.mark.parametrize("seed", [20])
async def test_parts_are_killed_on_postgresql(seed: int, tmp_path: Path) -> None:
    """Two services, a worker and 64 clients, of which services, clients and PostgreSQL are killed in turn."""
    world = CollectWorld(seed)
    reports = list(world.reports(500))
    with running_server(()) as server:
        async with running_collector(server.url, tmp_path, world) as collector:
            collector.serve("--no-worker")
            collector.serve("--no-worker")
            async with collector.working():
                survived = await submit_and_kill(collector, server, reports, seed=seed, kills=KILLS)
            assert survived.kills == KILLS
            await check_receipts(collector, reports, survived.answers)
            await check_assessments(collector, world, reports)


@pytest.mark.parametrize("seed", [21])
async def test_parts_are_killed_on_sqlite(seed: int, tmp_path: Path) -> None:
    """A service that assesses by itself, and 64 clients, of which both are killed."""
    world = CollectWorld(seed)
    reports = list(world.reports(200))
    async with running_collector(f"sqlite:///{tmp_path}/collect.sqlite", tmp_path, world) as collector:
        collector.serve()
        survived = await submit_and_kill(collector, None, reports, seed=seed, kills=KILLS_ON_SQLITE)
        assert survived.kills == KILLS_ON_SQLITE
        await check_receipts(collector, reports, survived.answers)
        await check_assessments(collector, world, reports)
