"""Collects the dossier of an institution from its latest verified submissions.

Room: detector_collect.review. `sources` reads the database; `gather` is pure. The dossier itself is
`detector.history.dossier`'s. Names in certificates are withheld (`withholding`): a dossier is about an institution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from detector.history.dossier import Gathering, Item
from detector.model import Verdict

from . import queries
from .presented import detail_of, present
from .withholding import withhold

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector.history.dossier import Dossier
    from detector_collect.assessment import Detail

SOURCES_MOST: Final = 20
"""Submissions of one dossier, those with interception first: reading the chains of one takes a tenth of a second."""
DEVICES: Final = "devices of students"
"""The place of a dossier: never the institution, since an interceptor on a device is not its."""


class Source(NamedTuple):
    """One submission: its row, its envelope, and its latest assessment."""

    row: queries.Evidence
    body: bytes
    detail: Detail | None


async def sources(connection: AsyncConnection, institution: str) -> tuple[Source, ...]:
    """The latest verified submissions of an institution: up to half of them with interception, then any others."""
    accused = await queries.evidence_page(connection, institution, limit=SOURCES_MOST // 2, verdict=Verdict.MIDDLEWARE)
    latest = await queries.evidence_page(connection, institution, limit=SOURCES_MOST)
    rows = {row.id: row for row in (*accused, *latest) if row.state == "verified"}
    found = []
    for row in list(rows.values())[:SOURCES_MOST]:
        body = await queries.content(connection, institution, row.digest)
        verified = await queries.verification_list(connection, institution, row.digest)
        if body is not None:
            found.append(Source(row, body, detail_of(verified)))
    return tuple(found)


def gather(found: Sequence[Source], *, made: dt.datetime) -> Dossier:
    """The dossier of these submissions."""
    gathering = Gathering(DEVICES)
    for source in found:
        name = f"submission {source.row.digest[:16]}…"
        presented = present(source.body, digest_hex=source.row.digest, detail=source.detail)
        if presented.report is None or presented.problem:
            gathering.leave_out(name, presented.problem)
            continue
        for result in withhold(presented.report).results:
            gathering.add(Item(source.row.made, DEVICES, result, name, "assessed again from its bytes", trusted=True))
    return gathering.dossier(made=made)
