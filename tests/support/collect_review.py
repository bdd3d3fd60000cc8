"""A small review room for tests: institutions with results, an assessment, staff with grants, and one case.

Room: tests of the collector. SQLite in a temporary folder; requests go through the whole application in memory, or
over loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import sqlalchemy as sa
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_collect import responsibility, review
from detector_collect.assessment import assess_submission
from detector_collect.responsibility import DeviceResult, Interception
from detector_collect.review import case_log, queries
from detector_collect.review.access import people, sessions
from detector_collect.review.access.authorize import Access, AccessPlugin, check_routes
from detector_collect.review.access.permissions import Kind, Role
from detector_collect.service.settings import ServiceSettings
from detector_collect.store import evidence, findings, keys, schema
from detector_collect.store.database import Store
from httpx import ASGITransport, AsyncClient
from litestar import Litestar
from litestar.datastructures import State
from support.bundle_recordings import KEY, PUBLIC
from support.collect_evidence import EXAM, SEARCH, recorder

from detector.model import ManagedBy, encode
from detector.outbox.submission import PAYLOAD_TYPE, digest
from detector.outbox.submission import Kind as SubmissionKind
from detector.trust.envelope import seal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from httpx import Response

NOW: Final = dt.datetime(2026, 11, 30, 9, 30, 15, tzinfo=dt.UTC)
ORIGIN: Final = "http://127.0.0.1:8000"
PRODUCT: Final = "campus-filter"
EXAM_HOST: Final = "exam.example.edu"
STUDENTS: Final = 30
SIGNING_KEY: Final = Ed25519PrivateKey.generate()
"""The key of this collector."""


HOSTILE: Final = "<script>alert(1)</script>\u202egnp.txe\u200b PC of Erika"
"""The name of the CA in the room's real submission: markup, reversed and invisible text, and the name of a person."""


class Room(NamedTuple):
    """The application, its database, the cookies of its people by name, its case, and real evidence.

    `digest` is that of its submission, `mark` its name in access records.
    """

    app: Litestar
    store: Store
    cookies: dict[str, str]
    case: int
    digest: str
    mark: str

    @contextlib.asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[Visitor]:
        """A browser in which this person is signed in."""
        secret = self.cookies[name]
        transport = ASGITransport(self.app, raise_app_exceptions=False)  # type: ignore[arg-type] # scopes as TypedDicts
        async with AsyncClient(transport=transport, base_url=ORIGIN, cookies={"session": secret}) as client:
            yield Visitor(client, sessions.csrf_of(secret))


class Visitor(NamedTuple):
    """A signed-in browser: it says where requests come from, and fills in forms with the token of its session."""

    client: AsyncClient
    csrf: str

    async def get(self, path: str) -> Response:
        """Open a page from another one of the room."""
        headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
        return await self.client.get(path, headers=headers, follow_redirects=False)

    async def post(self, path: str, **fields: object) -> Response:
        """Send a form."""
        headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        data = {"csrf": self.csrf, **{name: str(value) for name, value in fields.items()}}
        return await self.client.post(path, headers=headers, data=data, follow_redirects=False)


GRANTS: Final = {
    "Vera Viewer": Role.VIEWER,
    "Rita Reviewer": Role.REVIEWER,
    "Rolf Reviewer": Role.REVIEWER,
    "Ruth Reviewer": Role.REVIEWER,
    "Anna Auditor": Role.AUDITOR,
}
"""People of this room besides two administrators, each with one role at all institutions."""


@contextlib.asynccontextmanager
async def served_room(folder: Path) -> AsyncIterator[tuple[Room, str]]:
    """A room that is served on this machine, and its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with review_room(folder, origin=origin) as room:
            server = uvicorn.Server(uvicorn.Config(room.app, log_config=None, lifespan="off"))
            task = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                yield room, origin
            finally:
                server.should_exit = True
                await task


@contextlib.asynccontextmanager
async def review_room(folder: Path, *, origin: str = ORIGIN, **titles: str) -> AsyncIterator[Room]:
    """A room with the institutions `north`, where a filter decrypts, and `south`, and any more that are given."""
    institutions = {"north": "North University", "south": "South College", **titles}
    async with await Store.open(f"sqlite:///{folder}/review.sqlite", migrate=True) as store:
        async with store.begin() as connection:
            for name, title in institutions.items():
                await keys.add_institution(connection, keys.Institution(name, title, NOW))
                await keys.add_key(
                    connection, keys.Key(f"ed25519/{name}", name, "signing", NOW, None, None, 60, 4 << 20)
                )
            await _results(connection, "north", intercepted=26)
            await _results(connection, "south", intercepted=0)
            await _assess(connection)
            shown = await _real(connection)
            cookies, numbers = await _people(connection)
            case = await case_log.open_case(
                connection,
                "north",
                person=numbers["Rita Reviewer"],
                title="Filter on the campus network",
                text="Most students of algebra met one key.",
                now=NOW,
            )
        await queries.summarize_due(store, now=NOW)
        access = Access(store, origin=origin, clock=lambda: NOW, demo_people=tuple(numbers.values()))
        app = Litestar(
            [review.routes()],
            plugins=[AccessPlugin(access)],
            state=State({"store": store, "clock": lambda: NOW, "settings": ServiceSettings(SIGNING_KEY, origin)}),
            openapi_config=None,
            logging_config=None,
        )
        check_routes(app)
        async with store.connect() as connection:
            mark = evidence.mark(connection, bytes.fromhex(shown)).hex()
        yield Room(app, store, cookies, case, shown, mark)


async def _results(connection: Any, institution: str, *, intercepted: int) -> None:  # noqa: ANN401 - a connection of the store
    network = hashlib.sha256(institution.encode()).digest()
    for number in range(STUDENTS):
        body = f"{institution} {number}".encode()
        added = await evidence.add(
            connection,
            evidence.NewEvidence(
                digest=hashlib.sha256(body).digest(),
                institution=institution,
                key=f"ed25519/{institution}",
                kind=SubmissionKind.BUNDLE,
                exam="algebra",
                student=hashlib.sha256(b"student" + body).digest(),
                network=network,
                made=NOW - dt.timedelta(days=number),
                received=NOW,
                body=body,
            ),
        )
        is_hit = number < intercepted
        new = [
            findings.NewFinding(
                at=NOW - dt.timedelta(days=number % 21),
                host=host,
                port=443,
                category=category,
                verdict="middleware" if is_hit else "clean",
                confidence="proven" if is_hit else None,
                reason="identity-substituted" if is_hit else "logged",
                product=PRODUCT if is_hit else None,
                ca_key=hashlib.sha256(b"key").digest() if is_hit else None,
            )
            for host, category in ((EXAM_HOST, "exam"), ("search.example.com", "search"))
        ]
        verification = findings.NewVerification(NOW, "0.1.0", bytes(32), b"{}")
        await findings.replace(connection, added.id, verification, new, "verified")


async def _real(connection: Any) -> str:  # noqa: ANN401 - a connection of the store
    """Add a bundle with real certificates of an interceptor; return the submission's digest."""
    client = recorder()
    ca = client.pki.private_ca(HOSTILE)
    bundle = client.bundle(*client.intercepted(ca, SEARCH, EXAM))
    submission = client.submission(bundle, institution="north", exam="algebra")
    payload = encode(submission)
    assessed = assess_submission(submission, keys=[PUBLIC], material=client.material)
    added = await evidence.add(
        connection,
        evidence.NewEvidence(
            digest=hashlib.sha256(payload).digest(),
            institution="north",
            key="ed25519/north",
            kind=SubmissionKind.BUNDLE,
            exam="algebra",
            student=bytes.fromhex(str(submission.student)),
            network=bytes.fromhex(str(submission.network)),
            made=submission.made,
            received=NOW,
            body=seal(payload, payload_type=PAYLOAD_TYPE, keys=[KEY]),
        ),
    )
    verification = findings.NewVerification(NOW, "0.1.0", bytes(32), encode(assessed.detail))
    new = [
        findings.NewFinding(**{field: getattr(one, field) for field in findings.NewFinding._fields})
        for one in assessed.findings
    ]
    await findings.replace(connection, added.id, verification, new, assessed.state.value)
    return digest(payload)


async def _assess(connection: Any) -> None:  # noqa: ANN401 - a connection of the store
    hit = Interception(product=PRODUCT, key="a" * 64)
    results = [
        DeviceResult(
            institution=institution,
            exam="algebra",
            student=f"{institution} {number}",
            network=institution,
            interception=hit if institution == "north" and number < 26 else None,
        )
        for institution in ("north", "south")
        for number in range(STUDENTS)
    ]
    found = responsibility.assess(results, number=1, products={PRODUCT: ManagedBy.INSTITUTION})
    await connection.execute(
        sa.insert(schema.assessments).values(number=1, at=NOW, since=NOW - dt.timedelta(days=30), until=NOW)
    )
    for one in found:
        values = {"institution": one.institution, "conclusion": one.conclusion.value, "detail": encode(one)}
        await connection.execute(sa.insert(schema.conclusions).values(number=1, **values))


async def _people(connection: Any) -> tuple[dict[str, str], dict[str, int]]:  # noqa: ANN401 - a connection of the store
    names = ["Adam Admin", "Ada Admin", *GRANTS, "Lena Learning"]
    numbers = {
        name: await people.add_person(connection, issuer="https://id.example", subject=name, name=name, now=NOW)
        for name in names
    }
    first, second, expires = numbers["Adam Admin"], numbers["Ada Admin"], NOW + dt.timedelta(days=90)
    await people.bootstrap(connection, first=first, second=second, expires=expires, now=NOW)
    for name, role in GRANTS.items():
        by = await people.load_person(connection, first)
        number = await people.request_grant(
            connection, by=by, person=numbers[name], role=role, institution=None, expires=expires, now=NOW
        )
        await people.approve_grant(connection, by=await people.load_person(connection, second), grant=number, now=NOW)
    cookies = {}
    for name in names:
        is_lti = name == "Lena Learning"
        cookies[name] = await sessions.begin_session(
            connection,
            person=numbers[name],
            kind=Kind.LTI if is_lti else Kind.OIDC,
            institution="north" if is_lti else None,
            replaces=None,
            now=NOW,
        )
    return cookies, numbers
