"""The rules of the review room hold for any people, grants, times and requests. Room: tests.

The expectation is computed from what was granted, by another way than the guard: a list of facts and one sentence for
each rule.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import sqlite3
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import sqlalchemy as sa
from detector_collect.review.access import people, sessions
from detector_collect.review.access.chain import AccessRecord, Outcome, decode
from detector_collect.review.access.permissions import Kind, Permission, Role
from detector_collect.review.access.records import listed, verify
from detector_collect.store import keys
from detector_collect.store.database import Store
from detector_collect.store.evidence import add
from detector_collect.store.schema import grants
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.collect_access import EVIDENCE_TEXT, HANDLERS, START, Room
from support.collect_stores import KEY, new_evidence

PLACES: Final = ("north", "south", "east")
PEOPLE: Final = 4
HOUR: Final = dt.timedelta(hours=1)
GIVES: Final = {  # written once more: the table under test must not be its own expectation
    "view": {"viewer", "reviewer"},
    "evidence": {"reviewer"},
    "review": {"reviewer"},
    "audit": {"auditor"},
    "administer": {"administrator"},
}


class Given(NamedTuple):
    """A grant: `ends` and `revoked` are hours from the start."""

    person: int
    role: str
    place: str | None
    requested_by: int
    approved_by: int | None
    begins: int
    ends: int
    revoked: int | None


class Asked(NamedTuple):
    """A request at an hour: by a session (`kind`), a token, or nobody."""

    at: int
    person: int | None
    kind: str
    limit: str
    scopes: frozenset[str]
    place: str
    case: int
    digest: int | None
    purpose: str | None
    route: str


_PEOPLE = st.integers(0, PEOPLE - 1)
_GIVEN = st.builds(
    Given,
    person=_PEOPLE,
    role=st.sampled_from([role.value for role in Role]),
    place=st.sampled_from([None, *PLACES]),
    requested_by=_PEOPLE,
    approved_by=st.one_of(st.none(), _PEOPLE),
    begins=st.integers(0, 4),
    ends=st.integers(1, 9),
    revoked=st.one_of(st.none(), st.integers(0, 8)),
)
_ASKED = st.builds(
    Asked,
    at=st.integers(0, 9),
    person=st.one_of(st.none(), _PEOPLE),
    kind=st.sampled_from(["oidc", "oidc", "oidc", "lti", "token"]),
    limit=st.sampled_from(PLACES),
    scopes=st.frozensets(st.sampled_from(["view", "evidence", "audit"]), min_size=1),
    place=st.sampled_from([*PLACES, "missing", "north%20", "' or 1=1"]),
    case=st.integers(0, 3),
    digest=st.one_of(st.none(), st.integers(0, 3)),
    purpose=st.sampled_from(["a purpose", "a purpose", "", " ", "x\ny", None]),
    route=st.sampled_from(["evidence", "evidence", "evidence", "case", "decide", "overview", "audit", "grants", "own"]),
)


class World:
    """A database with three institutions, a case and a piece of evidence of each, and the people."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.people: list[int] = []
        self.cases: dict[int, str] = {}
        self.digests: dict[int, tuple[str, str]] = {}

    async def fill(self, given_grants: list[Given]) -> None:
        """Write everything as the rules would have it written; grants also as they would not."""
        for number, place in enumerate(PLACES):
            async with self.room.store.begin() as connection:
                await keys.add_institution(connection, keys.Institution(place, place, START))
                key = keys.Key(f"{KEY}{number}", place, "signing", START, None, None, 600, 4 << 20)
                await keys.add_key(connection, key)
                await add(connection, new_evidence(number, institution=place, key=key.id))
            self.cases[await self.room.case(place)] = place
            self.digests[number] = (place, hashlib.sha256(f"envelope {number}".encode()).hexdigest())
        self.people = [await self.room.person(f"person {number}") for number in range(PEOPLE)]
        async with self.room.store.begin() as connection:
            for one in given_grants:
                await connection.execute(
                    sa.insert(grants).values(
                        person=self.people[one.person],
                        role=one.role,
                        institution=one.place,
                        requested_by=self.people[one.requested_by],
                        requested=START,
                        approved_by=None if one.approved_by is None else self.people[one.approved_by],
                        approved=None if one.approved_by is None else START + one.begins * HOUR,
                        expires=START + one.ends * HOUR,
                        revoked=None if one.revoked is None else START + one.revoked * HOUR,
                    )
                )

    async def headers(self, asked: Asked) -> dict[str, str]:
        """Come in as the request says."""
        if asked.person is None:
            return {}
        person, now = self.people[asked.person], self.room.clock.now
        async with self.room.store.begin() as connection:
            if asked.kind == "token":
                secret = await people.issue_token(
                    connection,
                    person=person,
                    name=f"token-{now:%H}-{id(asked)}",
                    scopes={Permission(one) for one in asked.scopes},
                    institution=asked.limit,
                    expires=now + HOUR,
                    now=now,
                )
                return {"authorization": f"Bearer {secret}"}
            secret = await sessions.begin_session(
                connection,
                person=person,
                kind=Kind(asked.kind),
                institution=asked.limit if asked.kind == "lti" else None,
                replaces=None,
                now=now,
            )
        csrf = {"x-csrf-token": sessions.csrf_of(secret), "sec-fetch-site": "same-origin"}
        return {**self.room.cookies(secret), **csrf}

    def path(self, asked: Asked) -> str:
        """The address that is asked for."""
        case = ([*self.cases, 999])[asked.case]
        match asked.route:
            case "evidence":
                digest = "" if asked.digest is None else f"/{self._digest(asked.digest)}"
                purpose = "" if asked.purpose is None else f"&purpose={asked.purpose.replace(chr(10), '%0a')}"
                return f"/institutions/{asked.place}/evidence{digest}?case={case}{purpose}"
            case "case" | "decide":
                return f"/institutions/{asked.place}/cases/{case}"
            case "overview":
                return "/"
            case other:
                return f"/{other}"

    def _digest(self, number: int) -> str:
        return self.digests[number][1] if number in self.digests else "ab" * 32

    def allows(self, given_grants: list[Given], asked: Asked) -> bool:
        """Whether the rules allow it."""
        if asked.route == "own":
            return asked.kind == "lti"
        if asked.kind == "lti" or (asked.kind == "token" and asked.route == "decide"):
            return False
        permission = {"case": "view", "overview": "view", "decide": "review", "grants": "administer"}.get(
            asked.route, asked.route
        )
        if asked.kind == "token" and permission not in asked.scopes:
            return False
        is_placed = asked.route in {"evidence", "case", "decide"}
        counting = [
            one
            for one in given_grants
            if one.person == asked.person
            and one.role in GIVES[permission]
            and one.approved_by is not None
            and one.approved_by not in {one.person, one.requested_by}
            and one.begins <= asked.at < one.ends
            and one.revoked is None
            and (asked.kind != "token" or one.place in {None, asked.limit})
            and (not is_placed or one.place in {None, asked.place})
        ]
        elsewhere = is_placed and asked.kind == "token" and asked.place != asked.limit
        return bool(counting) and not elsewhere and (not is_placed or self._fits(asked))

    def _fits(self, asked: Asked) -> bool:
        """Whether what is named is of that institution, and evidence is asked for with a purpose."""
        if asked.case >= len(PLACES) or list(self.cases.values())[asked.case] != asked.place:
            return False
        of_place = asked.digest is None or self.digests.get(asked.digest, ("",))[0] == asked.place
        return asked.route != "evidence" or (of_place and asked.purpose == "a purpose")


def _on_disk(file: Path) -> list[AccessRecord]:
    """The records as another process finds them in the file."""
    with sqlite3.connect(file) as connection:
        return [decode(row[0]) for row in connection.execute("SELECT record FROM access_records ORDER BY number")]


_READS = Asked(3, 0, "oidc", "north", frozenset({"view"}), "north", 0, 0, "a purpose", "evidence")
_GRANT = Given(0, "reviewer", "north", 1, 2, begins=1, ends=5, revoked=None)


@settings(max_examples=25, deadline=None)
@example([_GRANT], [_READS, _READS._replace(at=5), _READS._replace(place="south"), _READS._replace(digest=1)])
@example([_GRANT._replace(place=None, approved_by=1), _GRANT._replace(revoked=2)], [_READS])
@given(st.lists(_GIVEN, max_size=8), st.lists(_ASKED, min_size=1, max_size=12))
def test_no_answer_without_right_and_record(given_grants: list[Given], requests: list[Asked]) -> None:
    """Evidence is answered to those alone who may read it there and then, after its record; all else gets 403.

    Strangers get 401. Every refusal is recorded, as who asked, where that is known.
    """

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "review.sqlite"
            async with await Store.open(f"sqlite:///{file}", migrate=True) as store:
                world = World(Room(store))
                await world.fill(given_grants)
                async with world.room.client(world.room.app(HANDLERS)) as client:
                    for asked in sorted(requests, key=lambda one: one.at):
                        world.room.clock.now = START + asked.at * HOUR
                        headers = await world.headers(asked)
                        before = len(_on_disk(file))
                        method = "POST" if asked.route == "decide" else "GET"
                        answer = await client.request(method, world.path(asked), headers=headers)
                        written = _on_disk(file)[before:]
                        assert len(written) == 1
                        (record,) = written
                        if asked.person is None:
                            expected = 401
                            assert (record.outcome, record.institution) == (Outcome.NOT_SIGNED_IN, None)
                        else:
                            expected = 200 if world.allows(given_grants, asked) else 403
                            assert record.person == world.people[asked.person]
                            assert (record.outcome is Outcome.ALLOWED) is (expected == 200)
                        assert answer.status_code == expected
                        assert (EVIDENCE_TEXT in answer.text) is (expected == 200 and asked.route == "evidence")
                        if EVIDENCE_TEXT in answer.text:
                            assert (record.institution, record.purpose) == (asked.place, "a purpose")
                            assert world.cases[record.case or 0] == asked.place
                found = await verify(store)
                assert found.broken is None
                assert found.number == (await listed(store, limit=1))[0].number

    asyncio.run(run())
