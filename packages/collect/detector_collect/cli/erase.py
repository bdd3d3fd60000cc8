"""`detector-collect erase`: erase what is there of one student.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from detector.cli import common, options
from detector.cli.streams import put
from detector_collect.store import retention

from .common import database, with_store

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from detector_collect.store.retention import Erased

HASH_DIGITS: Final = 64


class _Hash(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """A student's hash, in hexadecimal."""

    name = "hash"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return its 32 bytes; fails as options do."""
        if len(value) == HASH_DIGITS:
            try:
                return bytes.fromhex(value)
            except ValueError:
                pass
        return self.fail(f"{value[:80]!r} is no hash: 64 hexadecimal digits.", param, ctx)


@options.command("detector-collect erase 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
def erase(*, student: bytes = options.argument(type=_Hash(), metavar="HASH"), database: str | None = database) -> int:
    """Erase all evidence of a student.

    HASH is the `student` of submissions. A student has another one in each exam; only the institution can say which.
    What is under a hold stays, and is counted. Backups are not changed: docs/collect-operate.md says how long to keep
    them.
    """

    async def work(store: Store) -> Erased:
        erased = 0
        while True:
            async with store.begin() as connection:
                batch = await retention.erase(connection, student)
            erased += batch.erased
            if batch.erased < retention.BATCH:
                break
        await store.clean()
        return batch._replace(erased=erased)

    done = with_store(database, work)
    put(f"Erased: {done.erased}. Kept under a hold: {done.held}.")
    return common.CLEAN
