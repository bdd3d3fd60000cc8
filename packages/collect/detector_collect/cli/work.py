"""`detector-collect work`: assess what was received.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import click

from detector.aio.tasks import Group
from detector.cli import common, options
from detector.cli.streams import put
from detector_collect.review.upkeep import keep_summaries
from detector_collect.service import logs
from detector_collect.worker import Worker, WorkerSettings

from .common import database, material, with_store

if TYPE_CHECKING:
    from detector_collect.store.database import Store


@options.command("detector-collect work", "detector-collect work --pins vendor.toml --processes 4")
def work(
    *,
    processes: int = options.service(
        "--processes", "Processes that assess at once.", type=click.IntRange(1, 256), default=1, show_default=True
    ),
    once: bool = options.service("--once", "End when nothing waits any more.", is_flag=True),
    settings: dict[str, Any] = options.settings(only={"data", "pins"}),
    database: str | None = database,
) -> int:
    """Assess evidence that was received, until it is interrupted.

    Any number of workers may serve one PostgreSQL. A worker that is killed loses nothing: another one continues when
    its lease has ended. `detector-collect serve` has a worker of its own.
    """
    config = material(settings)
    logs.install()

    async def run(store: Store) -> int:
        async with Worker(store, config, WorkerSettings(processes=processes)) as worker:
            if once:
                return await worker.drain()
            return await run_worker(store, worker)

    put(f"Assessed: {with_store(database, run)}.")
    return common.CLEAN


async def run_worker(store: Store, worker: Worker) -> NoReturn:
    """Assess what is received, and keep the numbers that pages show, until cancelled."""
    async with Group() as group:
        group.create_task(keep_summaries(store))
        await worker.run()
