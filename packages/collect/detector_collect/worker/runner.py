"""The loop of a worker: claims evidence, has it assessed, and stores what that said in one transaction.

Room: detector_collect.worker. Uses the store; the clock is an argument.

A worker that is killed loses nothing: what it had claimed is due again when the lease ends, and what it had stored is
finished in the same transaction. Any number of workers may serve one PostgreSQL. Every `REFRESH` seconds a worker reads
its knowledge again; where that has changed, evidence that was assessed with other knowledge is queued once more, a
little each time that nothing else waits.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Self

import msgspec

from detector.aio.tasks import Group, run_in_thread
from detector.errors import KnowledgeError, PinFileError
from detector.model import encode
from detector.session.seams import utc_now
from detector_collect.assessment import Assessed, State, Why
from detector_collect.store import counters, evidence, findings, keys, queue, retention
from detector_collect.store.errors import LeaseLostError, StoreUnavailableError

from .process import LostError, Processes
from .work import MaterialConfig, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_collect.store.database import Store
    from detector_collect.store.queue import Claimed

LOG: Final = logging.getLogger("detector_collect.worker")

REFRESH: Final = 3600.0
"""Seconds between checks for other knowledge, and for evidence to expire."""
REQUEUED_AT_ONCE: Final = 500
"""Rows of evidence that are checked together for other knowledge: what is received meanwhile waits for them, some
ten seconds."""
UNAVAILABLE_SECONDS: Final = 2.0
"""Wait for a database that is away: a restart takes a few seconds."""


class WorkerSettings(NamedTuple):
    """How a worker works.

    `processes` assess at once; each submission has `seconds` before its process is killed. `claimed` submissions are
    claimed together, for a `lease` in which all of them can take that long. `poll` is the wait in seconds while there
    is nothing to do.
    """

    processes: int = 1
    seconds: float = 60.0
    claimed: int = 4
    lease: dt.timedelta = dt.timedelta(minutes=5)
    poll: float = 1.0
    clock: Callable[[], dt.datetime] = utc_now


class Worker:
    """Works on the queue of a store from entering the context until leaving it."""

    def __init__(self, store: Store, config: MaterialConfig, settings: WorkerSettings = WorkerSettings()) -> None:  # noqa: B008 - a tuple
        self._store = store
        self._config = config
        self._settings = settings
        self._digest = b""
        self._requeued: int | None = None
        self._processes = Processes(settings.processes, config, seconds=settings.seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._processes.end()

    async def run(self) -> NoReturn:
        """Work until cancelled. A database that is away is waited for."""
        if not self._store.is_postgres:  # which is for one process: the leases are of those that were killed
            async with self._store.begin() as connection:
                await queue.release(connection, now=self._settings.clock())
        refreshed = -REFRESH
        while True:
            try:
                if time.monotonic() - refreshed >= REFRESH:
                    await self.refresh()
                    refreshed = time.monotonic()
                if not await self.work_once() and not await self._requeue_some():
                    await asyncio.sleep(self._settings.poll)
            except StoreUnavailableError as error:
                LOG.warning("waiting", extra={"fields": {"reason": str(error)}})
                await asyncio.sleep(UNAVAILABLE_SECONDS)

    async def refresh(self) -> None:
        """Read the knowledge again, queue what was assessed with other knowledge, and delete what has expired.

        Knowledge that cannot be read leaves the last that could; that is logged and counted. Raises `KnowledgeError`
        and `PinFileError` the first time only.
        """
        try:
            material = await run_in_thread(self._config.read)
        except (KnowledgeError, PinFileError) as error:
            if not self._digest:
                raise
            LOG.error("knowledge not refreshed", extra={"fields": {"reason": str(error)}})  # noqa: TRY400 - the file is at fault: no traceback
            async with self._store.begin() as connection:
                await counters.increase(connection, {("", counters.REFRESH_FAILED): 1})
        else:
            if material.digest != self._digest:
                # With the pins that were read, not the names of their files: one that breaks later ends no worker.
                await self._processes.restart(MaterialConfig(data=self._config.data, endpoints=material.endpoints))
                self._digest, self._requeued = material.digest, 0
        if await expire(self._store, now=self._settings.clock()):
            await self._store.clean()

    async def work_once(self) -> int:
        """Claim some evidence and work on it. Returns how much that was."""
        async with self._store.begin() as connection:
            claimed = await queue.claim(
                connection, now=self._settings.clock(), lease=self._settings.lease, limit=self._settings.claimed
            )
        async with Group() as group:
            for one in claimed:
                group.create_task(self._handle(one))
        return len(claimed)

    async def _requeue_some(self) -> bool:
        """Queue the next of what was assessed with other knowledge. Returns whether there may be more."""
        if self._requeued is not None:
            self._requeued = await _requeue_after(
                self._store, self._digest, now=self._settings.clock(), after=self._requeued
            )
        return self._requeued is not None

    async def drain(self) -> int:
        """Work until nothing is due, and nothing was assessed with other knowledge. Returns how much that was."""
        await self.refresh()
        done = 0
        while (number := await self.work_once()) or await self._requeue_some():
            done += number
        return done

    async def _handle(self, claimed: Claimed) -> None:
        """Work on one until its lease ends, so that a database that restarts costs no lease."""
        while True:
            try:
                return await self._try(claimed)
            except StoreUnavailableError as error:
                if self._settings.clock() >= claimed.until:
                    raise
                LOG.warning("waiting", extra={"fields": {"reason": str(error)}})
                await asyncio.sleep(UNAVAILABLE_SECONDS)

    async def _try(self, claimed: Claimed) -> None:
        try:
            try:
                await self._assess(claimed)
            except LostError as error:
                LOG.warning("lost", extra={"fields": {"evidence": claimed.evidence, "reason": str(error)}})
                async with self._store.begin() as connection:
                    reason = f"{Why.TOO_COSTLY}: {error}"
                    await queue.fail(connection, claimed, now=self._settings.clock(), reason=reason)
        except LeaseLostError:
            LOG.info("lease lost", extra={"fields": {"evidence": claimed.evidence}})

    async def _assess(self, claimed: Claimed) -> None:
        async with self._store.connect() as connection:
            content = await evidence.content(connection, claimed.evidence)
            listed = [] if content is None else await keys.list_keys(connection, content.institution)
        if content is None:
            return  # erased meanwhile, and its work with it
        names = tuple(key.id for key in listed)
        request = Request(body=content.body, encoding=content.encoding, digest=content.digest, keys=names)
        assessed = await self._processes.assess(request)
        await self._store_assessment(claimed, assessed)

    async def _store_assessment(self, claimed: Claimed, assessed: Assessed) -> None:
        async with self._store.begin() as connection:
            if not await findings.own_handshakes(connection, claimed.evidence, assessed.handshakes):
                assessed = Assessed(state=State.QUARANTINED, why=Why.REPEATED_EVIDENCE, detail=assessed.detail)
            detail = assessed.detail
            verification = findings.NewVerification(
                self._settings.clock(), detail.detector_version, detail.digest, encode(detail)
            )
            new = [findings.NewFinding(**msgspec.structs.asdict(one)) for one in assessed.findings]
            await findings.replace(connection, claimed.evidence, verification, new, assessed.state, assessed.why)
            await queue.finish(connection, claimed)


async def requeue(store: Store, digest: bytes, *, now: dt.datetime) -> None:
    """Queue all evidence whose last assessment depended on something else than `digest` says."""
    after: int | None = 0
    while after is not None:
        after = await _requeue_after(store, digest, now=now, after=after)


async def _requeue_after(store: Store, digest: bytes, *, now: dt.datetime, after: int) -> int | None:
    async with store.begin() as connection:
        return await queue.requeue(connection, knowledge=digest, now=now, after=after, limit=REQUEUED_AT_ONCE)


async def expire(store: Store, *, now: dt.datetime) -> int:
    """Delete all evidence that is kept no longer. Returns how much that was."""
    gone = 0
    while True:
        async with store.begin() as connection:
            number = await retention.expire(connection, now=now)
        gone += number
        if number < retention.BATCH:
            return gone
