"""Sign-ins that have begun elsewhere: each counts once, for some minutes, and in the browser that began it.

Room: detector_collect.review.access. Reads and writes through the store.

What comes back names a `state`; only its hash is stored, with what the answer is held against. The browser has a second
secret in a cookie, so that an answer which somebody else obtained signs nobody in (RFC 9700 section 4.7). Taking a
sign-in out deletes it, whatever comes of it: neither a state nor the nonce next to it counts again.
"""

from __future__ import annotations

import datetime as dt
import hmac
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from detector.model import Record, encode
from detector_collect.store.schema import sign_ins

from .id_tokens import TokenError
from .people import digest_of, new_secret

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector_collect.store.database import Store

    from .permissions import Kind

LIFE: Final = dt.timedelta(minutes=10)
"""How long somebody may take to sign in at the provider, with a second factor."""

PENDING_MAX: Final = 50_000
"""Sign-ins that may have begun at once: strangers begin them, and must not fill the database."""


class Pending(Record, frozen=True, kw_only=True):
    """What the answer is held against: `browser` is the hash of the cookie, `verifier` that of PKCE (RFC 7636)."""

    browser: bytes
    nonce: str
    verifier: str = ""
    issuer: str
    client: str


async def begin(  # noqa: PLR0913 - what the sign-in consists of
    connection: AsyncConnection, *, kind: Kind, browser: str, issuer: str, client: str, now: dt.datetime
) -> tuple[str, Pending]:
    """Begin a sign-in in the browser that gets the cookie `browser`. Returns its state. Raises `TokenError`."""
    await connection.execute(sa.delete(sign_ins).where(sign_ins.c.expires <= now))
    if (await connection.scalar(sa.select(sa.func.count()).select_from(sign_ins)) or 0) >= PENDING_MAX:
        raise TokenError("too many sign-ins have begun")
    state = new_secret()
    pending = Pending(
        browser=digest_of(browser), nonce=new_secret(), verifier=new_secret(), issuer=issuer, client=client
    )
    values = {"state": digest_of(state), "kind": kind.value, "detail": encode(pending), "expires": now + LIFE}
    await connection.execute(sa.insert(sign_ins).values(values))
    return state, pending


async def take(store: Store, *, kind: Kind, state: str, browser: str, now: dt.datetime) -> Pending:
    """Take out the sign-in that began with `state` in the browser with the cookie `browser`. Raises `TokenError`."""
    async with store.begin() as connection:
        taken = sa.delete(sign_ins).where(sign_ins.c.state == digest_of(state)).returning(sign_ins)
        found = (await connection.execute(taken)).first()
    if found is None or found.kind != kind.value or found.expires <= now:
        raise TokenError("the sign-in has not begun here, has expired, or was answered already")
    pending = msgspec.json.decode(found.detail, type=Pending)
    if not hmac.compare_digest(pending.browser, digest_of(browser)):
        raise TokenError("the sign-in began in another browser")
    return pending
