"""A review room with people in it: grants by the rules, sessions, and the clock that tests turn.

Room: tests. Reads and writes the store that is given.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import httpx
import sqlalchemy as sa
from detector_collect.review.access import people, sessions
from detector_collect.review.access.authorize import Access, AccessPlugin
from detector_collect.review.access.permissions import Kind, Role
from detector_collect.store.schema import cases, grants, institutions
from litestar import Litestar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from detector_collect.store.database import Store
    from litestar.types import ControllerRouterHandler

START: Final = dt.datetime(2026, 11, 30, 9, 0, tzinfo=dt.UTC)
ORIGIN: Final = "https://review.example"
ISSUER: Final = "https://identity.example"
PURPOSE: Final = "Answer of the institution to case 1"


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        return self.now

    def turn(self, **by: float) -> None:
        """Turn it on, by the arguments of `timedelta`."""
        self.now += dt.timedelta(**by)


class Room:
    """A store, its access configuration, and ways to fill and enter it."""

    def __init__(self, store: Store, *, origin: str = ORIGIN) -> None:
        self.store: Final = store
        self.clock: Final = Clock()
        self.access: Final = Access(store, origin=origin, clock=self.clock)

    def app(self, handlers: Sequence[ControllerRouterHandler], **more: Any) -> Litestar:  # noqa: ANN401 - Litestar's
        """An application of these routes behind the guard."""
        return Litestar(handlers, plugins=[AccessPlugin(self.access)], openapi_config=None, **more)

    @contextlib.asynccontextmanager
    async def client(self, app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
        """The started application, and a browser without cookies: in this event loop, as the store is."""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]  # httpx has untyped messages
        async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url=self.access.origin) as client:
            yield client

    async def institution(self, name: str) -> str:
        """Add an institution."""
        async with self.store.begin() as connection:
            await connection.execute(sa.insert(institutions).values(id=name, title=name.title(), created=START))
        return name

    async def case(self, institution: str) -> int:
        """Open a case about an institution."""
        values = {"institution": institution, "title": "Case", "opened": START}
        async with self.store.begin() as connection:
            added = await connection.execute(sa.insert(cases).values(values).returning(cases.c.id))
            return int(added.scalar_one())

    async def person(self, name: str, *roles: Role, institution: str | None = None) -> int:
        """Add a person who has these roles at an institution, or at all."""
        async with self.store.begin() as connection:
            asking, approving, number = [
                await people.add_person(connection, issuer=ISSUER, subject=one, name=one, now=self.clock.now)
                for one in ("requester", "approver", name)
            ]
            for role in roles:
                await connection.execute(
                    sa.insert(grants).values(
                        person=number,
                        role=role.value,
                        institution=institution,
                        requested_by=asking,
                        requested=self.clock.now,
                        approved_by=approving,
                        approved=self.clock.now,
                        expires=self.clock.now + dt.timedelta(days=30),
                    )
                )
        return number

    async def session(self, person: int, *, kind: Kind = Kind.OIDC, institution: str | None = None) -> str:
        """Sign a person in. Returns the secret of the cookie."""
        async with self.store.begin() as connection:
            return await sessions.begin_session(
                connection, person=person, kind=kind, institution=institution, replaces=None, now=self.clock.now
            )

    def cookies(self, secret: str) -> dict[str, str]:
        """The header of a browser with that session."""
        return {"cookie": f"{self.access.session_cookie}={secret}"}

    def form(self, secret: str, **fields: str) -> dict[str, Any]:
        """Arguments of a request that posts a form from a page of that session."""
        headers = {**self.cookies(secret), "origin": self.access.origin, "sec-fetch-site": "same-origin"}
        return {"headers": headers, "data": {"csrf": sessions.csrf_of(secret), **fields}}
