"""Room: tests of detector_collect.review.api, through the whole application, on both databases."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from detector_collect.review import api
from detector_collect.review.access import people, records
from detector_collect.review.access.permissions import Permission, Role
from detector_collect.review.api.routes import description
from detector_collect.store.schema import case_entries
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no annotations
from litestar.datastructures import State
from support.collect_access import PURPOSE, START, Room
from support.collect_findings import Found, digest_of, fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from detector_collect.store.database import Store

MINE, OTHER = (digest_of(f"submission {number}").hex() for number in (1, 2))


class _World:
    """A room with the institutions `north` and `south`, a case and a submission of each, and a program with a token."""

    def __init__(self, store: Store) -> None:
        self.room = Room(store)
        self.tokens = itertools.count()

    async def fill(self) -> None:
        """Fill it."""
        await self.room.institution("south")
        self.north, self.south = await self.room.case("north"), await self.room.case("south")
        async with self.room.store.begin() as connection:
            await fill(connection, [Found(), Found(institution="south")])

    async def token(
        self, person: int, *scopes: Permission, institution: str | None = None, days: float = 1
    ) -> dict[str, str]:
        """Issue a token; the header that shows it."""
        now = self.room.clock.now
        async with self.room.store.begin() as connection:
            secret = await people.issue_token(
                connection,
                person=person,
                name=f"program {next(self.tokens)}",
                scopes=scopes,
                institution=institution,
                expires=now + dt.timedelta(days=days),
                now=now,
            )
        return {"authorization": f"Bearer {secret}"}

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """A program that calls the API."""
        state = State({"store": self.room.store, "clock": self.room.clock})
        async with self.room.client(self.room.app([api.router()], state=state)) as client:
            yield client


@pytest.fixture
async def world(store: Store) -> _World:
    """A filled world."""
    made = _World(store)
    await made.fill()
    return made


def _evidence(institution: str, digest: str, **query: object) -> str:
    return f"/api/v1/institutions/{institution}/evidence/{digest}?{urlencode(query)}"


async def test_a_program_reads_what_its_person_may_read(world: _World) -> None:
    """Institutions, one of them, cases, entries and a submission; reading evidence leaves its record before."""
    ann = await world.room.person("ann", Role.REVIEWER)
    headers = await world.token(ann, Permission.VIEW, Permission.EVIDENCE)
    async with world.client() as client:
        listed = (await client.get("/api/v1/institutions", headers=headers)).json()
        assert [one["id"] for one in listed["items"]] == ["north", "south"]
        one = (await client.get("/api/v1/institutions/north", headers=headers)).json()
        assert (one["id"], one["latest"], one["numbers"]["students"]) == ("north", None, 0)
        cases = (await client.get("/api/v1/institutions/north/cases", headers=headers)).json()
        assert [one["id"] for one in cases["items"]] == [world.north]
        path = _evidence("north", MINE, case=world.north, purpose=PURPOSE)
        shown = (await client.get(path, headers=headers)).json()
        assert shown["submission"]["digest"] == MINE
        latest = (await records.listed(world.room.store, limit=1))[0].record
        assert (latest.action, latest.kind, latest.case, latest.purpose) == ("evidence", "token", world.north, PURPOSE)


async def test_no_answer_has_raw_evidence_or_what_stands_for_a_student(world: _World) -> None:
    """No route gives the bytes of a submission, or the hash of its student or network."""
    ann = await world.room.person("ann", Role.REVIEWER, Role.AUDITOR)
    headers = await world.token(ann, Permission.VIEW, Permission.EVIDENCE, Permission.AUDIT)
    query = urlencode({"case": world.north, "purpose": PURPOSE})
    async with world.client() as client:
        answers = [
            (await client.get(path, headers=headers)).text
            for path in (
                "/api/v1/institutions",
                "/api/v1/institutions/north",
                f"/api/v1/institutions/north/evidence?{query}",
                _evidence("north", MINE, case=world.north, purpose=PURPOSE),
                "/api/v1/access-records",
            )
        ]
    hidden = ("envelope 1", digest_of("s").hex(), digest_of("home").hex())
    assert not [text for text in answers for one in hidden if one in text]


async def test_scopes_grants_and_institutions_limit_a_token(world: _World) -> None:
    """A token never reads more than its scopes, its institution, and the grants of its person."""
    everywhere = await world.room.person("ann", Role.REVIEWER)
    at_south = await world.room.person("bob", Role.REVIEWER, institution="south")
    auditor = await world.room.person("eve", Role.AUDITOR)
    evidence = _evidence("north", MINE, case=world.north, purpose=PURPOSE)
    view = "/api/v1/institutions/north"
    tries: tuple[tuple[dict[str, str], str, int], ...] = (
        (await world.token(everywhere, Permission.VIEW), view, 200),
        (await world.token(everywhere, Permission.VIEW), evidence, 403),
        (await world.token(everywhere, Permission.EVIDENCE), view, 403),
        (await world.token(everywhere, Permission.VIEW, institution="south"), view, 403),
        (await world.token(at_south, Permission.VIEW, Permission.EVIDENCE), view, 403),
        (await world.token(at_south, Permission.VIEW, Permission.EVIDENCE), evidence, 403),
        (await world.token(auditor, Permission.VIEW, Permission.EVIDENCE, Permission.AUDIT), view, 403),
        (await world.token(auditor, Permission.AUDIT), "/api/v1/access-records", 200),
        (await world.token(everywhere, Permission.AUDIT), "/api/v1/access-records", 403),
        ({"authorization": "Bearer tic_guessed"}, view, 401),
        ({"authorization": "Basic YTpi"}, view, 401),
        ({}, view, 401),
    )
    async with world.client() as client:
        for headers, path, status in tries:
            answer = await client.get(path, headers=headers)
            assert answer.status_code == status, path
            if status != 200:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["status"] == status


async def test_objects_of_another_institution_do_not_exist(world: _World) -> None:
    """Numbers and digests of one institution under the path of another, and invented ones, are refused alike."""
    ann = await world.room.person("ann", Role.REVIEWER)
    headers = await world.token(ann, Permission.VIEW, Permission.EVIDENCE)
    base = "/api/v1/institutions"
    async with world.client() as client:
        answers = [
            await client.get(path, headers=headers)
            for path in (
                _evidence("north", OTHER, case=world.north, purpose=PURPOSE),
                _evidence("north", MINE, case=world.south, purpose=PURPOSE),
                _evidence("north", "00" * 32, case=world.north, purpose=PURPOSE),
                _evidence("north", "x", case=world.north, purpose=PURPOSE),
                f"{base}/north/cases/{world.south}",
                f"{base}/north/cases/{world.south}/entries",
                f"{base}/missing",
                f"{base}/north%2f..%2fsouth",
            )
        ]
    assert {answer.status_code for answer in answers} <= {403, 404}
    assert [answer.status_code for answer in answers[:3]] == [403] * 3
    bodies = {json.dumps(answer.json()) for answer in answers[:3]}
    assert len(bodies) == 1


@pytest.mark.parametrize("query", [{}, {"case": 1}, {"purpose": "why"}, {"case": 1, "purpose": ""}, {"case": "x"}])
async def test_evidence_needs_a_case_and_a_purpose(world: _World, query: dict[str, Any]) -> None:
    """Without both there is no answer."""
    ann = await world.room.person("ann", Role.REVIEWER)
    headers = await world.token(ann, Permission.EVIDENCE)
    async with world.client() as client:
        answer = await client.get(_evidence("north", MINE, **query), headers=headers)
    assert answer.status_code == 403


async def test_a_token_ends(world: _World) -> None:
    """An expired and a revoked token, and one whose person has lost the grant, read nothing."""
    ann = await world.room.person("ann", Role.VIEWER)
    headers = await world.token(ann, Permission.VIEW, days=1)
    async with world.client() as client:
        assert (await client.get("/api/v1/institutions", headers=headers)).status_code == 200
        world.room.clock.turn(days=2)
        assert (await client.get("/api/v1/institutions", headers=headers)).status_code == 401
        later = await world.token(ann, Permission.VIEW, days=90)
        assert (await client.get("/api/v1/institutions", headers=later)).status_code == 200
        world.room.clock.turn(days=40)
        assert (await client.get("/api/v1/institutions", headers=later)).status_code == 403


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_lists_are_read_page_by_page_while_they_grow(world: _World, limit: int) -> None:
    """Following `next` gives each entry once and in order, those that are added meanwhile too."""
    ann = await world.room.person("ann", Role.VIEWER)
    headers = await world.token(ann, Permission.VIEW)

    async def add(count: int) -> None:
        async with world.room.store.begin() as connection:
            values = {"case": world.north, "at": START, "person": ann, "entry": "note", "text": "x"}
            await connection.execute(sa.insert(case_entries), [values] * count)

    await add(7)
    seen: list[int] = []
    path: str | None = f"/api/v1/institutions/north/cases/{world.north}/entries?limit={limit}"
    async with world.client() as client:
        while path is not None and len(seen) < 40:
            page = (await client.get(path, headers=headers)).json()
            assert len(page["items"]) <= limit
            seen += [one["id"] for one in page["items"]]
            path = page["next"]
            if len(seen) < 20:
                await add(1)
    assert seen == sorted(set(seen))
    assert len(seen) >= 7


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "after=0", "after=-1", "after=99999999999999999999"]
)
async def test_bad_parameters_are_problems(world: _World, query: str) -> None:
    """Numbers outside their bounds are 400 as problem details that repeat nothing."""
    ann = await world.room.person("ann", Role.VIEWER)
    headers = await world.token(ann, Permission.VIEW)
    path = f"/api/v1/institutions/north/cases/{world.north}/entries?{query}"
    async with world.client() as client:
        answer = await client.get(path, headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"title": "Bad Request", "status": 400})


async def test_answers_are_what_the_description_says(world: _World) -> None:
    """Every answer fits its schema in the OpenAPI description, which has every route but itself."""
    ann = await world.room.person("ann", Role.REVIEWER, Role.AUDITOR)
    headers = await world.token(ann, Permission.VIEW, Permission.EVIDENCE, Permission.AUDIT)
    query = urlencode({"case": world.north, "purpose": PURPOSE})
    base = "/api/v1/institutions"
    one, case = "/api/v1/institutions/{institution}", "/api/v1/institutions/{institution}/cases/{case}"
    async with world.room.store.begin() as connection:
        values = {"case": world.north, "at": START, "person": ann, "entry": "note", "text": "x", "evidence": 1}
        await connection.execute(sa.insert(case_entries).values(values))
    paths = {
        base: base,
        one: f"{base}/north",
        f"{one}/cases": f"{base}/north/cases",
        case: f"{base}/north/cases/{world.north}",
        f"{case}/entries": f"{base}/north/cases/{world.north}/entries",
        f"{one}/evidence": f"{base}/north/evidence?{query}",
        f"{one}/evidence/{{digest}}": f"{base}/north/evidence/{MINE}?{query}",
        "/api/v1/access-records": "/api/v1/access-records",
    }
    async with world.client() as client:
        described = (await client.get("/api/v1/openapi.json")).json()
        assert described == json.loads(description())
        assert set(described["paths"]) == set(paths)
        for template, path in paths.items():
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 200, path
            schema = described["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            Draft202012Validator({**schema, "components": described["components"]}).validate(answer.json())
