"""People, their grants, and tokens of programs, in the database; each change with its access record.

Room: detector_collect.review.access. Reads and writes through connections of the store; the rules are in `permissions`.
A change and its record are one transaction.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from detector_collect.store.database import storable
from detector_collect.store.deliveries import Event, announce
from detector_collect.store.schema import grants, institutions, people, sessions, tokens

from .permissions import (
    COMMAND,
    GRANT_LIFE_MAX,
    SCOPES,
    Grant,
    Kind,
    Permission,
    Person,
    Role,
    RuleError,
    check_approval,
    check_request,
    check_revocation,
    in_force,
)
from .records import append, entry_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

SECRET_BYTES: Final = 32
"""Random bytes of a cookie, a token or a state: 256 bits cannot be guessed (ASVS 5.0, 7.2.3 asks for 128)."""

TOKEN_PREFIX: Final = "tic_"  # noqa: S105 - a prefix, no secret
"""Prefix of tokens, by which scanners of published code find one that leaked."""

NAME_MAX: Final = 200
"""Characters of a name that an identity provider may give a person."""


def new_secret() -> str:
    """A secret for a cookie, a token or a state, in the URL-safe alphabet."""
    return base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii").rstrip("=")


def digest_of(secret: str) -> bytes:
    """What the database keeps of a secret. It needs no salt: the secret is random."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Account(NamedTuple):
    """A person in the list of people."""

    id: int
    issuer: str
    subject: str
    name: str
    created: dt.datetime


async def add_person(connection: AsyncConnection, *, issuer: str, subject: str, name: str, now: dt.datetime) -> int:
    """The number of the person whom `issuer` calls `subject`; added where it is new, renamed where the name is.

    Without a name, as learning platforms give none, the known one stays.
    """
    same = (people.c.issuer == issuer) & (people.c.subject == subject)
    name = (storable(name) or "")[:NAME_MAX]
    number: int | None = await connection.scalar(sa.select(people.c.id).where(same))
    if number is None:
        values = {"issuer": issuer, "subject": subject, "name": name, "created": now}
        added = await connection.execute(sa.insert(people).values(values).returning(people.c.id))
        return int(added.scalar_one())
    if name:
        renamed = sa.update(people).where(people.c.id == number, people.c.name != name)
        await connection.execute(renamed.values(name=name))
    return number


async def accounts(connection: AsyncConnection) -> list[Account]:
    """Everybody, in the order of their numbers."""
    wanted = sa.select(people.c.id, people.c.issuer, people.c.subject, people.c.name, people.c.created)
    return [Account(*row) for row in (await connection.execute(wanted.order_by(people.c.id))).all()]


async def grants_of(connection: AsyncConnection, person: int | None = None) -> tuple[Grant, ...]:
    """The grants of a person, or of everybody, with those that ended or wait for approval."""
    wanted = sa.select(grants).order_by(grants.c.id)
    if person is not None:
        wanted = wanted.where(grants.c.person == person)
    return tuple(_grant(row) for row in (await connection.execute(wanted)).all())


async def load_person(connection: AsyncConnection, number: int) -> Person:
    """A person with all grants, as outside any session. Raises `RuleError` if there is none with that number."""
    name: str | None = await connection.scalar(sa.select(people.c.name).where(people.c.id == number))
    if name is None:
        raise RuleError(f"There is no person {number}. List them with `detector-collect person list`.")
    return Person(id=number, name=name, kind=Kind.OIDC, grants=await grants_of(connection, number))


async def request_grant(  # noqa: PLR0913 - what a grant consists of
    connection: AsyncConnection,
    *,
    by: Person,
    person: int,
    role: Role,
    institution: str | None,
    expires: dt.datetime,
    now: dt.datetime,
) -> int:
    """Request a role for somebody. Returns the grant's number. Raises `RuleError`."""
    check_request(by, institution=institution, expires=expires, now=now)
    await load_person(connection, person)
    if institution is not None and not await has_institution(connection, institution):
        raise RuleError("There is no such institution.")
    if by.id is None:
        raise RuleError("A person requests a grant.")
    values = {
        "person": person,
        "role": role.value,
        "institution": institution,
        "requested_by": by.id,
        "requested": now,
        "expires": expires,
    }
    number = int((await connection.execute(sa.insert(grants).values(values).returning(grants.c.id))).scalar_one())
    await _record_grant(connection, by, "grant-request", values, number, now=now)
    facts = {"grant": number, "role": role.value}
    await announce(connection, Event.GRANT_REQUESTED, at=now, institution=institution, path="/grants", facts=facts)
    return number


async def approve_grant(connection: AsyncConnection, *, by: Person, grant: int, now: dt.datetime) -> None:
    """Approve a requested grant. Raises `RuleError`."""
    wanted = await _find(connection, grant)
    requester = await load_person(connection, wanted.requested_by)
    check_approval(by, wanted, requester=requester, now=now)
    change = sa.update(grants).where(grants.c.id == grant, grants.c.approved.is_(None), grants.c.revoked.is_(None))
    if (await connection.execute(change.values(approved_by=by.id, approved=now))).rowcount != 1:
        raise RuleError("This request is decided already.")
    await _record_grant(connection, by, "grant-approval", wanted._asdict(), grant, now=now)


async def revoke_grant(connection: AsyncConnection, *, by: Person, grant: int, now: dt.datetime) -> None:
    """Revoke a grant, or decline its request. Raises `RuleError`."""
    wanted = await _find(connection, grant)
    if by.kind is not Kind.COMMAND:
        check_revocation(by, wanted, now=now)
    await connection.execute(sa.update(grants).where(grants.c.id == grant).values(revoked=now))
    await _record_grant(connection, by, "grant-revocation", wanted._asdict(), grant, now=now)


async def bootstrap(
    connection: AsyncConnection, *, first: int, second: int, expires: dt.datetime, now: dt.datetime
) -> None:
    """Make the first two administrators, who are then recorded as having agreed to each other.

    Only while nobody is administrator of all institutions. Raises `RuleError`.
    """
    existing = [
        one
        for one in await grants_of(connection)
        if one.role is Role.ADMINISTRATOR and one.institution is None and in_force(one, now=now)
    ]
    if existing:
        raise RuleError("There are administrators already. They grant further roles, two of them for each.")
    if first == second:
        raise RuleError("Name two different people.")
    if not now < expires <= now + GRANT_LIFE_MAX:
        raise RuleError(f"A grant ends in the future, and after {GRANT_LIFE_MAX.days} days at the latest.")
    for person in (first, second):
        await load_person(connection, person)
    for person, other in ((first, second), (second, first)):
        values = {
            "person": person,
            "role": Role.ADMINISTRATOR.value,
            "institution": None,
            "requested_by": person,
            "requested": now,
            "approved_by": other,
            "approved": now,
            "expires": expires,
        }
        number = (await connection.execute(sa.insert(grants).values(values).returning(grants.c.id))).scalar_one()
        await _record_grant(connection, COMMAND, "bootstrap", values, int(number), now=now)


async def sign_out_everywhere(connection: AsyncConnection, *, by: Person, person: int, now: dt.datetime) -> None:
    """End every session and token of a person, and revoke every grant. Raises `RuleError`."""
    found = await load_person(connection, person)
    for grant in found.grants:
        if grant.revoked is None:
            await revoke_grant(connection, by=by, grant=grant.id, now=now)
    await connection.execute(sa.delete(sessions).where(sessions.c.person == person))
    ended = sa.update(tokens).where(tokens.c.person == person, tokens.c.revoked.is_(None))
    await connection.execute(ended.values(revoked=now))
    await append(connection, entry_of(now=now, person=by, action="person-revocation", subject=f"person {person}"))


async def has_institution(connection: AsyncConnection, institution: str) -> bool:
    """Whether there is such an institution."""
    known = sa.select(institutions.c.id).where(institutions.c.id == storable(institution))
    return await connection.scalar(known) is not None


# Tokens


class Token(NamedTuple):
    """A token in the list of tokens, without its secret."""

    name: str
    person: int
    scopes: frozenset[Permission]
    institution: str | None
    created: dt.datetime
    expires: dt.datetime
    revoked: dt.datetime | None


async def issue_token(  # noqa: PLR0913 - what a token consists of
    connection: AsyncConnection,
    *,
    person: int,
    name: str,
    scopes: Collection[Permission],
    institution: str | None,
    expires: dt.datetime,
    now: dt.datetime,
) -> str:
    """Make a token for a program for which `person` answers. Returns its secret, once. Raises `RuleError`."""
    await load_person(connection, person)
    if not scopes or not SCOPES.issuperset(scopes):
        raise RuleError(f"A token has some of the scopes {', '.join(sorted(SCOPES))}.")
    if not now < expires <= now + GRANT_LIFE_MAX:
        raise RuleError(f"A token ends in the future, and after {GRANT_LIFE_MAX.days} days at the latest.")
    if institution is not None and not await has_institution(connection, institution):
        raise RuleError(f"There is no institution {institution}.")
    names = sa.select(tokens.c.id).where(tokens.c.name == name, tokens.c.revoked.is_(None))
    if await connection.scalar(names) is not None:
        raise RuleError(f"There is a token called {name}. Revoke it first, or choose another name.")
    secret = TOKEN_PREFIX + new_secret()
    await connection.execute(
        sa.insert(tokens).values(
            id=digest_of(secret),
            person=person,
            name=name,
            scopes=" ".join(sorted(scopes)),
            institution=institution,
            created=now,
            expires=expires,
        )
    )
    subject = f"token {name} of person {person}: {' '.join(sorted(scopes))}"
    await append(
        connection,
        entry_of(now=now, person=COMMAND, action="token-issue", institution=institution, subject=subject),
    )
    return secret


async def revoke_token(connection: AsyncConnection, *, name: str, now: dt.datetime) -> None:
    """Revoke a token. Raises `RuleError`."""
    change = sa.update(tokens).where(tokens.c.name == name, tokens.c.revoked.is_(None)).values(revoked=now)
    if (await connection.execute(change)).rowcount == 0:
        raise RuleError(f"There is no token called {name}. List them with `detector-collect token list`.")
    await append(connection, entry_of(now=now, person=COMMAND, action="token-revocation", subject=f"token {name}"))


async def list_tokens(connection: AsyncConnection) -> list[Token]:
    """Every token, revoked and expired ones too."""
    rows = (await connection.execute(sa.select(tokens).order_by(tokens.c.created))).all()
    return [
        Token(
            row.name,
            row.person,
            _scopes(row.scopes),
            row.institution,
            row.created,
            row.expires,
            row.revoked,
        )
        for row in rows
    ]


async def person_with_token(connection: AsyncConnection, secret: str, *, now: dt.datetime) -> Person | None:
    """The program that shows `secret`: no more than the person who answers for it may see, and only its scopes."""
    found = (await connection.execute(sa.select(tokens).where(tokens.c.id == digest_of(secret)))).first()
    if found is None or found.revoked is not None or not found.created <= now < found.expires:
        return None
    return Person(
        id=found.person,
        name=found.name,
        kind=Kind.TOKEN,
        grants=await grants_of(connection, found.person),
        institution=found.institution,
        scopes=_scopes(found.scopes),
    )


def _scopes(text: str) -> frozenset[Permission]:
    return frozenset(one for one in SCOPES if one in text.split())


def _grant(row: sa.Row[tuple[object, ...]]) -> Grant:
    return Grant(
        row.id,
        row.person,
        Role(row.role),
        row.institution,
        row.requested_by,
        row.requested,
        row.approved_by,
        row.approved,
        row.expires,
        row.revoked,
    )


async def _find(connection: AsyncConnection, number: int) -> Grant:
    found = (await connection.execute(sa.select(grants).where(grants.c.id == number))).first()
    if found is None:
        raise RuleError(f"There is no grant {number}.")
    return _grant(found)


async def _record_grant(  # noqa: PLR0913 - what a record says of a grant
    connection: AsyncConnection,
    by: Person,
    action: str,
    grant: Mapping[str, object],
    number: int,
    *,
    now: dt.datetime,
) -> None:
    institution = grant["institution"]
    subject = f"grant {number}: {grant['role']} for person {grant['person']} until {grant['expires']}"
    entry = entry_of(
        now=now,
        person=by,
        action=action,
        institution=institution if isinstance(institution, str) else None,
        subject=subject,
    )
    await append(connection, entry)
