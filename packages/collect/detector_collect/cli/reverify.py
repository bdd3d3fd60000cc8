"""`detector-collect reverify`: have evidence assessed again, with the knowledge of today.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detector.cli import common, options
from detector.cli.streams import put
from detector.session.seams import utc_now
from detector_collect.worker import requeue

from .common import database, material, with_store

if TYPE_CHECKING:
    from detector_collect.store.database import Store


@options.command("detector-collect reverify --data /var/lib/detector/data")
def reverify(
    *,
    settings: dict[str, Any] = options.settings(only={"data", "pins"}),
    database: str | None = database,
) -> int:
    """Queue what was assessed with other knowledge.

    Other pins and another version count, too. Workers do the same by themselves, a little at a time, whenever nothing
    else waits. Earlier assessments stay.
    """
    digest = material(settings).read().digest

    async def run(store: Store) -> None:
        await requeue(store, digest, now=utc_now())

    with_store(database, run)
    put("What was assessed otherwise is queued.")
    return common.CLEAN
