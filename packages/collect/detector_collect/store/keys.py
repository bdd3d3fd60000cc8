"""Institutions and the keys that they send with.

Room: detector_collect.store. SQL on the caller's connection; assesses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from .database import insert
from .errors import StoreError
from .schema import institutions, keys

if TYPE_CHECKING:
    import datetime as dt

    from sqlalchemy.ext.asyncio import AsyncConnection


class Institution(NamedTuple):
    """Who sends."""

    id: str
    title: str
    created: dt.datetime


class Key(NamedTuple):
    """What an institution sends with; see `schema.keys`."""

    id: str
    institution: str
    kind: str
    created: dt.datetime
    expires: dt.datetime | None
    revoked: dt.datetime | None
    rate: int
    bytes_max: int

    def is_valid(self, at: dt.datetime) -> bool:
        """Whether it counts at that time: not yet expired, not revoked."""
        return not any(end is not None and end <= at for end in (self.expires, self.revoked))


async def add_institution(connection: AsyncConnection, new: Institution) -> None:
    """Add an institution. Raises `StoreError` where there is one of that name."""
    adding = insert(connection, institutions).values(new._asdict()).on_conflict_do_nothing()
    if (await connection.execute(adding)).rowcount == 0:
        raise StoreError(f"There is an institution {new.id} already.", advice="Choose another name.")


async def list_institutions(connection: AsyncConnection) -> list[Institution]:
    """All of them, by name."""
    return [Institution(*row) for row in await connection.execute(sa.select(institutions).order_by(institutions.c.id))]


async def add_key(connection: AsyncConnection, new: Key) -> None:
    """Add a key. Raises `StoreError` for an unknown institution, or where the key is there already."""
    await require_institution(connection, new.institution)
    if (
        await connection.execute(insert(connection, keys).values(new._asdict()).on_conflict_do_nothing())
    ).rowcount == 0:
        raise StoreError(f"The key {new.id} is there already.", advice="`detector-collect key list` shows whose it is.")


async def require_institution(connection: AsyncConnection, name: str) -> None:
    """Raise `StoreError` where there is no such institution."""
    if await connection.scalar(sa.select(institutions.c.id).where(institutions.c.id == name)) is None:
        raise StoreError(f"There is no institution {name}.", advice="`detector-collect institution list` shows them.")


async def find_key(connection: AsyncConnection, name: str) -> Key | None:
    """The key of that `id`, valid or not."""
    found = (await connection.execute(sa.select(keys).where(keys.c.id == name))).one_or_none()
    return None if found is None else Key(*found)


async def list_keys(connection: AsyncConnection, institution: str | None = None) -> list[Key]:
    """All keys, or those of one institution, by institution and age."""
    wanted = sa.select(keys).order_by(keys.c.institution, keys.c.created, keys.c.id)
    if institution is not None:
        wanted = wanted.where(keys.c.institution == institution)
    return [Key(*row) for row in await connection.execute(wanted)]


async def end_key(
    connection: AsyncConnection, name: str, *, expires: dt.datetime | None = None, revoked: dt.datetime | None = None
) -> None:
    """Let a key expire or revoke it. An earlier end stays. Raises `StoreError` for an unknown key."""
    key = await find_key(connection, name)
    if key is None:
        raise StoreError(f"There is no key {name}.", advice="`detector-collect key list` shows them.")
    ends = {"expires": _earlier(key.expires, expires), "revoked": _earlier(key.revoked, revoked)}
    await connection.execute(sa.update(keys).where(keys.c.id == name).values(**ends))


def _earlier(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return min((end for end in (one, other) if end is not None), default=None)
