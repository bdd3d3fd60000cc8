"""A review room with people in it: grants by the rules, sessions, and the clock that tests turn.

Room: tests. Reads and writes the store that is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import httpx
import sqlalchemy as sa
from detector_collect.review.access import people, sessions
from detector_collect.review.access.authorize import Access, AccessPlugin, Permission, refuse
from detector_collect.review.access.chain import Outcome
from detector_collect.review.access.permissions import Kind, Role
from detector_collect.review.access.records import listed
from detector_collect.store.schema import cases, grants, institutions
from litestar import Litestar, Request, get, post
from litestar.params import FromPath  # noqa: TC002 - Litestar reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from detector_collect.store.database import Store
    from litestar.types import ControllerRouterHandler

START: Final = dt.datetime(2026, 11, 30, 9, 0, tzinfo=dt.UTC)
ORIGIN: Final = "https://review.example"
ISSUER: Final = "https://identity.example"
PURPOSE: Final = "Answer of the institution to case 1"


EVIDENCE_TEXT = "the evidence itself"


@get("/", opt={"permission": Permission.VIEW})
async def overview(request: Request[Any, Any, Any]) -> list[str]:
    return sorted(request.user.institutions(Permission.VIEW, now=request.app.state.access.clock()) or [])


@get("/institutions/{institution:str}/cases/{case:int}", opt={"permission": Permission.VIEW})
async def case_page(institution: FromPath[str], case: FromPath[int]) -> str:
    return f"{institution} {case}"


@get("/institutions/{institution:str}/evidence/{digest:str}", opt={"permission": Permission.EVIDENCE})
async def evidence_page(institution: FromPath[str], digest: FromPath[str]) -> str:
    return f"{EVIDENCE_TEXT} {institution} {digest}"


@get("/institutions/{institution:str}/evidence", opt={"permission": Permission.EVIDENCE})
async def evidence_list(request: Request[Any, Any, Any], institution: FromPath[str]) -> str:
    seen = await listed(request.app.state.access.store, limit=1)
    return f"{EVIDENCE_TEXT} {institution} {seen[0].record.purpose} {request.state.access_record}"


@post("/institutions/{institution:str}/cases/{case:int}", opt={"permission": Permission.REVIEW}, status_code=200)
async def decide(institution: FromPath[str], case: FromPath[int]) -> str:
    return f"decided {institution} {case}"


@get("/audit", opt={"permission": Permission.AUDIT})
async def audit_page() -> str:
    return "records"


@get("/grants", opt={"permission": Permission.ADMINISTER})
async def grants_page() -> str:
    return "grants"


@get("/own", opt={"permission": Permission.OWN_INSTITUTION})
async def own_page(request: Request[Any, Any, Any]) -> str:
    return f"own {request.user.institution}"


@get("/healthz", opt={"permission": Permission.PUBLIC})
async def health() -> str:
    return "ok"


@get("/missing/{institution:str}", opt={"permission": Permission.VIEW})
async def missing(request: Request[Any, Any, Any]) -> str:
    return await refuse(request, Outcome.RULE, subject="a rule")


HANDLERS = [
    overview, case_page, evidence_page, evidence_list, decide, audit_page, grants_page, own_page, health, missing,
]  # fmt: skip


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
    """A store, its access configuration, and methods to fill and enter it."""

    def __init__(self, store: Store, *, origin: str = ORIGIN) -> None:
        self.store: Final = store
        self.clock: Final = Clock()
        self.access = Access(store, origin=origin, clock=self.clock)

    def app(self, handlers: Sequence[ControllerRouterHandler], **more: Any) -> Litestar:  # noqa: ANN401 - Litestar's
        """An application of these routes behind the guard."""
        return Litestar(handlers, plugins=[AccessPlugin(self.access)], openapi_config=None, **more)

    @contextlib.asynccontextmanager
    async def client(self, app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
        """The started application, and a browser without cookies: in this event loop, as the store is."""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type] # untyped messages
        async with _started(app), httpx.AsyncClient(transport=transport, base_url=self.access.origin) as client:
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


@contextlib.asynccontextmanager
async def _started(app: Litestar) -> AsyncIterator[None]:
    """The application while it runs, in a task of its own: a fixture may end in another one than it began in."""
    has_started, may_end = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        try:
            async with app.lifespan():
                has_started.set()
                await may_end.wait()
        finally:
            has_started.set()

    running = asyncio.create_task(run())
    await has_started.wait()
    if running.done():
        await running
    try:
        yield
    finally:
        may_end.set()
        await running
