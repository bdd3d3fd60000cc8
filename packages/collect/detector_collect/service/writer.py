"""Stores submissions that arrive at the same time in one transaction.

Room: detector_collect.service. Writes to the store.

What a transaction costs does not depend on how much it adds: beginning, committing, and waiting for the disk. While one
is under way, what arrives is collected for the next, so that a busy service commits once for many, and an idle one does
not wait. Nobody is answered before the transaction that holds the submission is durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from detector_collect.store import evidence
from detector_collect.store.errors import ErasedError, StoreError, StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from detector_collect.store.evidence import Added, NewEvidence

TOGETHER: Final = 64
"""Submissions of one transaction: by then its own cost is small beside theirs."""
BYTES: Final = 8 * 1024 * 1024
"""Bytes of one transaction: two of the largest submissions, or hundreds of ordinary ones."""
TRANSACTIONS: Final = 2
"""Transactions at once: one waits for the disk while the next is filled. SQLite lets one write at a time."""


class _Waiting(NamedTuple):
    new: NewEvidence
    added: asyncio.Future[Added]


class Writer:
    """Adds evidence to a store. For one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._writing: set[asyncio.Task[None]] = set()

    async def add(self, new: NewEvidence) -> Added:
        """Add a submission, or find it. Once this returns it is durable. Raises `ErasedError`, `StoreError`."""
        added: asyncio.Future[Added] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(new, added))
        if len(self._writing) < (TRANSACTIONS if self._store.is_postgres else 1):
            task = asyncio.create_task(self._write())
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        return await added

    async def _write(self) -> None:
        while batch := self._next():
            await self._store_together(batch)

    def _next(self) -> list[_Waiting]:
        """The next to be stored together, the oldest first."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < TOGETHER and (not batch or size + len(self._waiting[0].new.body) <= BYTES):
            batch.append(self._waiting.popleft())
            size += len(batch[-1].new.body)
        return batch

    async def _store_together(self, batch: list[_Waiting]) -> None:
        try:
            async with self._store.begin() as connection:
                found = await evidence.add_all(connection, [one.new for one in batch])
        except (StoreUnavailableError, StoreFullError) as error:
            _fail(batch, error)
        except StoreError as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:  # one of them is the reason, and the others are not refused for it
                for one in batch:
                    await self._store_together([one])
        except BaseException:  # nobody may wait for ever
            for one in batch:
                one.added.cancel()
            raise
        else:
            for one, added in zip(batch, found, strict=True):
                _answer(one.added, added)


def _answer(waiting: asyncio.Future[Added], added: Added | None) -> None:
    """Answer who waits, unless its client went away."""
    if waiting.done():
        return
    if added is None:
        waiting.set_exception(ErasedError("This submission was erased.", advice="Do not send it again."))
    else:
        waiting.set_result(added)


def _fail(batch: list[_Waiting], error: StoreError) -> None:
    for one in batch:
        if not one.added.done():
            one.added.set_exception(error)
