"""Sessions of people who signed in: the cookie's secret, how long it counts, and the token in its forms.

Room: detector_collect.review.access. Reads and writes through connections of the store.

A session begins at a sign-in with a new secret and ends with that cookie's old one, so that a secret that somebody
planted in a browser before is worth nothing. The database has only its hash. Forms carry a MAC under the secret: it is
known to pages of that session alone, and reveals nothing about the secret.
"""

from __future__ import annotations

import base64
import datetime as dt
import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from detector_collect.store.schema import people, sessions

from .people import digest_of, grants_of, new_secret
from .permissions import Kind, Person

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

LIFE: Final = dt.timedelta(hours=10)
"""The longest session: a working day (NIST SP 800-63B-4 section 2.2.3 allows 24 hours)."""

LTI_LIFE: Final = dt.timedelta(hours=1)
"""The longest session of an institution's staff: a new launch is one click."""

IDLE: Final = dt.timedelta(minutes=30)
"""A session ends unused after this (NIST SP 800-63B-4 section 2.2.3 allows an hour)."""

TOUCH: Final = dt.timedelta(minutes=1)
"""How exact the time of last use is: it is written at most this often."""


class Session(NamedTuple):
    """A session that counts, and whether its time of last use should be written."""

    person: Person
    stale: bool


def csrf_of(secret: str) -> str:
    """The token in the forms of a session."""
    mac = hmac.digest(secret.encode("utf-8", "surrogatepass"), b"tls-interception form token v1", "sha256")
    return base64.urlsafe_b64encode(mac).decode("ascii").rstrip("=")


async def begin_session(  # noqa: PLR0913 - what a session consists of
    connection: AsyncConnection,
    *,
    person: int,
    kind: Kind,
    institution: str | None,
    replaces: str | None,
    now: dt.datetime,
) -> str:
    """Begin a session, end the one whose secret is `replaces`, and forget expired ones. Returns the new secret."""
    ended = sessions.c.expires <= now
    if replaces is not None:
        ended |= sessions.c.id == digest_of(replaces)
    await connection.execute(sa.delete(sessions).where(ended))
    secret = new_secret()
    await connection.execute(
        sa.insert(sessions).values(
            id=digest_of(secret),
            person=person,
            kind=kind.value,
            institution=institution,
            created=now,
            seen=now,
            expires=now + (LTI_LIFE if kind is Kind.LTI else LIFE),
        )
    )
    return secret


async def find_session(connection: AsyncConnection, secret: str, *, now: dt.datetime) -> Session | None:
    """The session with this secret, unless it has ended."""
    wanted = (sa.select(sessions, people.c.name).join(people, people.c.id == sessions.c.person)).where(
        sessions.c.id == digest_of(secret)
    )
    found = (await connection.execute(wanted)).first()
    if found is None or not found.created <= now < found.expires or now - found.seen >= IDLE:
        return None
    kind = Kind(found.kind)
    person = Person(
        id=found.person,
        name=found.name,
        kind=kind,
        grants=() if kind is Kind.LTI else await grants_of(connection, found.person),
        institution=found.institution,
        csrf=csrf_of(secret),
    )
    return Session(person, now - found.seen >= TOUCH)


async def touch_session(connection: AsyncConnection, secret: str, *, now: dt.datetime) -> None:
    """Write that a session was used."""
    await connection.execute(sa.update(sessions).where(sessions.c.id == digest_of(secret)).values(seen=now))


async def end_session(connection: AsyncConnection, secret: str) -> None:
    """End a session."""
    await connection.execute(sa.delete(sessions).where(sessions.c.id == digest_of(secret)))
