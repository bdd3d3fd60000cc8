"""Appends to cases: opens them, and takes the steps that `cases` allows.

Room: detector_collect.review. Writes `cases` and `case_entries` on the caller's transaction; the rules are in `cases`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from detector_collect.store.deliveries import Event, announce
from detector_collect.store.schema import case_entries, cases, evidence

from .cases import EntryKind, NewEntry, State, StepError, opening, require_unchanged, take

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cases import Step


async def open_case(  # noqa: PLR0913 - keyword-only past the connection; what a case begins with
    connection: AsyncConnection, institution: str, *, person: int, title: str, text: str, now: dt.datetime
) -> int:
    """Open a case about an institution; return its number. Raises `StepError` without a title or a reason."""
    first = opening(title, text)
    values = {"institution": institution, "title": title.strip(), "opened": now}
    case = int((await connection.execute(sa.insert(cases).values(values).returning(cases.c.id))).scalar_one())
    await _append(connection, case, [first], person=person, now=now)
    await _announce(connection, Event.CASE_OPENED, institution, case, first.state, now=now)
    return case


async def take_step(  # noqa: PLR0913 - keyword-only past the case; what an entry says
    connection: AsyncConnection,
    institution: str,
    case: int,
    step: Step,
    *,
    read: int,
    person: int,
    text: str,
    digest: str = "",
    now: dt.datetime,
) -> None:
    """Take a step of a case whose author has read its entries up to number `read`.

    `digest` (hexadecimal) names a submission of the institution. Two people who write at once take turns.

    Raises:
        ChangedError: where somebody made an entry after `read`. Nothing was entered.
        StepError: for a step that is not possible now, without a text, or with a digest of no submission.
    """
    locked = sa.update(cases).where(cases.c.id == case, cases.c.institution == institution).values(title=cases.c.title)
    if (await connection.execute(locked)).rowcount != 1:  # the update changes nothing: it locks the row, on SQLite all
        raise StepError(
            "case: this institution has none of that number.", advice="Open it from the institution's page."
        )
    state, last = await _present(connection, case)
    require_unchanged(read, last)
    entries = take(step, state, text)
    refers_to = await _evidence(connection, institution, digest.strip()) if digest.strip() else None
    if refers_to is not None and entries[0].kind is not EntryKind.MEASUREMENT:
        raise StepError("evidence: only a measurement refers to a submission.", advice="Leave the digest out.")
    await _append(connection, case, entries, person=person, now=now, refers_to=refers_to)
    states = [entry.state for entry in entries if entry.state is not None]
    if states:
        await _announce(connection, Event.CASE_CHANGED, institution, case, states[-1], now=now)
    if any(entry.kind is EntryKind.ANSWER for entry in entries):
        await _announce(connection, Event.ANSWER_ARRIVED, institution, case, states[-1] if states else state, now=now)


async def _announce(  # noqa: PLR0913 - what a notice says
    connection: AsyncConnection,
    event: Event,
    institution: str,
    case: int,
    state: State | None,
    *,
    now: dt.datetime,
) -> None:
    path = f"/institutions/{institution}/cases/{case}"
    facts = {"case": case, "state": (state or State.OPEN).value}
    await announce(connection, event, at=now, institution=institution, path=path, facts=facts)


async def _present(connection: AsyncConnection, case: int) -> tuple[State, int]:
    """The state of a case and the number of its last entry."""
    of = case_entries.c.case == case
    states = sa.select(case_entries.c.state).where(of, case_entries.c.entry == EntryKind.STATE.value)
    state = await connection.scalar(states.order_by(case_entries.c.id.desc()).limit(1))
    last = await connection.scalar(sa.select(sa.func.max(case_entries.c.id)).where(of))
    return State(state or State.OPEN), last or 0


async def _evidence(connection: AsyncConnection, institution: str, digest: str) -> int:
    try:
        wanted = bytes.fromhex(digest)
    except ValueError:
        wanted = b""
    of = evidence.c.institution == institution, evidence.c.digest == wanted
    number: int | None = await connection.scalar(sa.select(evidence.c.id).where(*of))
    if number is None:
        raise StepError(
            "evidence: this institution sent no submission with that digest.",
            advice="Copy the digest from the receipt (64 hexadecimal digits), or leave it out.",
        )
    return number


async def _append(  # noqa: PLR0913 - what an entry says
    connection: AsyncConnection,
    case: int,
    entries: Iterable[NewEntry],
    *,
    person: int,
    now: dt.datetime,
    refers_to: int | None = None,
) -> None:
    for entry in entries:
        await connection.execute(
            sa.insert(case_entries).values(
                case=case,
                at=now,
                person=person,
                entry=entry.kind.value,
                state=None if entry.state is None else entry.state.value,
                text=entry.text,
                evidence=refers_to,
            )
        )
        refers_to = None  # of the first entry alone
