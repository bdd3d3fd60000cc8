"""Room: tests of detector_collect.review.access.authorize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from detector_collect.review.access import people
from detector_collect.review.access.authorize import Permission
from detector_collect.review.access.chain import Outcome
from detector_collect.review.access.permissions import Kind, Role
from detector_collect.review.access.records import listed, verify
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException
from support.collect_access import EVIDENCE_TEXT, HANDLERS, PURPOSE, Room, overview

if TYPE_CHECKING:
    from detector_collect.review.access.records import Numbered


async def _last(room: Room) -> Numbered:
    return (await listed(room.store, limit=1))[0]


async def test_evidence_is_answered_after_its_record(room: Room) -> None:
    """The handler that reads evidence finds its own access record committed, with case and purpose."""
    case = await room.case("north")
    secret = await room.session(await room.person("rita", Role.REVIEWER, institution="north"))
    async with room.client(room.app(HANDLERS)) as client:
        answer = await client.get(
            "/institutions/north/evidence", params={"case": case, "purpose": PURPOSE}, headers=room.cookies(secret)
        )
    assert answer.status_code == 200
    last = await _last(room)
    assert answer.text == f"{EVIDENCE_TEXT} north {PURPOSE} {last.number}"
    assert (last.record.institution, last.record.case, last.record.outcome) == ("north", case, Outcome.ALLOWED)
    assert (await verify(room.store)).broken is None


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/institutions/south/evidence?case={case}&purpose=why+not", Outcome.NO_GRANT),
        ("/institutions/missing/evidence?case={case}&purpose=why+not", Outcome.NO_GRANT),
        ("/institutions/north/evidence?case={other}&purpose=why+not", Outcome.NO_SUCH_OBJECT),
        ("/institutions/north/evidence?case=999&purpose=why+not", Outcome.NO_SUCH_OBJECT),
        ("/institutions/north/evidence?case={case}&case={other}&purpose=why+not", Outcome.NO_SUCH_OBJECT),
        ("/institutions/north/evidence?case=0{case}&purpose=why+not", Outcome.NO_SUCH_OBJECT),
        ("/institutions/north/evidence?case=1%20or%201=1&purpose=why+not", Outcome.NO_SUCH_OBJECT),
        ("/institutions/north/evidence?purpose=why+not", Outcome.NO_PURPOSE),
        ("/institutions/north/evidence?case={case}", Outcome.NO_PURPOSE),
        ("/institutions/north/evidence?case={case}&purpose=+++", Outcome.NO_PURPOSE),
        ("/institutions/north/evidence?case={case}&purpose=a%0d%0ab", Outcome.NO_PURPOSE),
        ("/institutions/north/evidence?case={case}&purpose=one&purpose=two", Outcome.NO_PURPOSE),
        ("/institutions/north/evidence/{digest}?case={case}&purpose=why+not", Outcome.NO_SUCH_OBJECT),
        ("/institutions/north/evidence/x?case={case}&purpose=why+not", Outcome.NO_SUCH_OBJECT),
        ("/institutions/north/cases/{other}", Outcome.NO_SUCH_OBJECT),
        ("/institutions/north/cases/999", Outcome.NO_SUCH_OBJECT),
        ("/institutions/n%00rth/cases/999", Outcome.NO_GRANT),
        ("/institutions/'%20or%20'1'='1/cases/999", Outcome.NO_GRANT),
        ("/missing/north", Outcome.RULE),
        ("/audit", Outcome.NO_GRANT),
        ("/grants", Outcome.NO_GRANT),
        ("/own", Outcome.NO_GRANT),
    ],
)
async def test_refusals_are_403_and_recorded(room: Room, path: str, outcome: Outcome) -> None:
    """What a reviewer of one institution must not see is refused with 403 and a record."""
    case, other = await room.case("north"), await room.case("south")
    secret = await room.session(await room.person("rita", Role.REVIEWER, institution="north"))
    async with room.client(room.app(HANDLERS)) as client:
        filled = path.format(case=case, other=other, digest="ab" * 32)
        answer = await client.get(filled, headers=room.cookies(secret))
    assert answer.status_code == 403
    assert EVIDENCE_TEXT not in answer.text
    assert (await _last(room)).record.outcome is outcome


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("", ""),
        ("&before=40", "?before=40"),
        ("&verdict=middleware&x=1&before=40", "?verdict=middleware&before=40"),
        ("&before=40&before=1&before=80", "?before=40&before=80"),
        (f"&before={'0' * 600}7&after=3", f"?before={'0' * 32}&after=3"),
    ],
)
async def test_the_record_says_which_part_of_a_list_was_read(room: Room, query: str, part: str) -> None:
    """Filters and pages of a list are in its record, however much else a request says."""
    case = await room.case("north")
    secret = await room.session(await room.person("rita", Role.REVIEWER, institution="north"))
    path = "/institutions/north/evidence"
    async with room.client(room.app(HANDLERS)) as client:
        answer = await client.get(f"{path}?case={case}&purpose=a+reason{query}", headers=room.cookies(secret))
    assert answer.status_code == 200
    assert (await _last(room)).record.subject == f"GET {path}{part}"


async def test_objects_elsewhere_are_refused_like_those_that_do_not_exist(room: Room) -> None:
    """The answer about an object of another institution differs in nothing from that about one that does not exist."""
    await room.case("north")
    other = await room.case("south")
    secret = await room.session(await room.person("rita", Role.REVIEWER, institution="north"))
    paths = [
        f"/institutions/north/cases/{other}",
        "/institutions/north/cases/98765",
        f"/institutions/south/cases/{other}",
        "/institutions/missing/cases/1",
        f"/institutions/north/evidence/{'ab' * 32}?case={other}&purpose=why+not",
    ]
    async with room.client(room.app(HANDLERS)) as client:
        answers = [await client.get(path, headers=room.cookies(secret)) for path in paths]
    assert {(answer.status_code, answer.content, tuple(answer.headers.items())) for answer in answers} == {
        (403, answers[0].content, tuple(answers[0].headers.items()))
    }


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.VIEWER, {"/", "/institutions/north/cases/{case}"}),
        (
            Role.REVIEWER,
            {"/", "/institutions/north/cases/{case}", "/institutions/north/evidence?case={case}&purpose=abc"},
        ),
        (Role.ADMINISTRATOR, {"/grants"}),
        (Role.AUDITOR, {"/audit"}),
    ],
)
async def test_each_role_opens_its_routes_alone(room: Room, role: Role, allowed: set[str]) -> None:
    """A role opens what the table gives it, and nothing else."""
    case = await room.case("north")
    secret = await room.session(await room.person("pat", role, institution="north"))
    paths = [
        "/", "/institutions/north/cases/{case}", "/institutions/north/evidence?case={case}&purpose=abc", "/audit",
        "/grants", "/own",
    ]  # fmt: skip
    async with room.client(room.app(HANDLERS)) as client:
        answers = {
            path: (await client.get(path.format(case=case), headers=room.cookies(secret))).status_code for path in paths
        }
    assert answers == {path: 200 if path in allowed else 403 for path in paths}


async def test_strangers_are_sent_to_the_sign_in(room: Room) -> None:
    """A browser without a session goes to the sign-in, a program gets 401; the record names the route alone."""
    async with room.client(room.app(HANDLERS)) as client:
        page = await client.get("/institutions/secret/cases/1", headers={"accept": "text/html"}, follow_redirects=False)
        program = await client.get("/institutions/secret/cases/1", headers={"authorization": "Bearer tic_no"})
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in")
    assert (program.status_code, program.headers["www-authenticate"]) == (401, "Bearer")
    for one in await listed(room.store, limit=2):
        assert (one.record.outcome, one.record.institution, one.record.person) == (Outcome.NOT_SIGNED_IN, None, None)
        assert "secret" not in str(one.record.subject)


async def test_sessions_end(room: Room) -> None:
    """A session counts neither after half an hour unused nor after ten hours, and a grant not after its end."""
    case = await room.case("north")
    person = await room.person("rita", Role.REVIEWER, institution="north")
    idle, busy = await room.session(person), await room.session(person)
    path = f"/institutions/north/cases/{case}"
    async with room.client(room.app(HANDLERS)) as client:
        for _ in range(20):
            room.clock.turn(minutes=29)
            assert (await client.get(path, headers=room.cookies(busy))).status_code == 200
        assert (await client.get(path, headers=room.cookies(idle))).status_code == 401
        room.clock.turn(minutes=20)
        assert (await client.get(path, headers=room.cookies(busy))).status_code == 401
        room.clock.turn(days=29)
        secret = await room.session(person)
        assert (await client.get(path, headers=room.cookies(secret))).status_code == 200
        room.clock.turn(minutes=25)
        assert (await client.get(path, headers=room.cookies(secret))).status_code == 200
        room.clock.turn(hours=14)
        secret = await room.session(person)
        assert (await client.get(path, headers=room.cookies(secret))).status_code == 403


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {}},
        {"data": {"csrf": "x"}},
        {"headers": {"origin": "https://evil.example"}},
        {"headers": {"origin": "null"}},
        {"headers": {"sec-fetch-site": "cross-site"}},
        {"headers": {"sec-fetch-site": "same-site"}},
        {"headers": {"origin": "", "sec-fetch-site": ""}},
    ],
)
async def test_forms_from_elsewhere_are_refused(room: Room, changes: dict[str, dict[str, str]]) -> None:
    """A form without the session's token, or from a page of another site, is refused, and a genuine one is not."""
    case = await room.case("north")
    secret = await room.session(await room.person("rita", Role.REVIEWER, institution="north"))
    genuine = room.form(secret)
    forged = {
        "headers": {k: v for k, v in {**genuine["headers"], **changes.get("headers", {})}.items() if v},
        "data": changes.get("data", genuine["data"]),
    }
    async with room.client(room.app(HANDLERS)) as client:
        refused = await client.post(f"/institutions/north/cases/{case}", **forged)
        assert (await _last(room)).record.outcome is Outcome.CROSS_SITE
        allowed = await client.post(f"/institutions/north/cases/{case}", **genuine)
    assert (refused.status_code, allowed.status_code) == (403, 200)


async def test_staff_of_an_institution_see_their_summary_alone(room: Room) -> None:
    """A session from a learning platform opens the summary, whatever grants that person has."""
    person = await room.person("rita", Role.REVIEWER)
    case = await room.case("north")
    secret = await room.session(person, kind=Kind.LTI, institution="north")
    async with room.client(room.app(HANDLERS)) as client:
        own = await client.get("/own", headers=room.cookies(secret))
        others = [
            (await client.get(path, headers=room.cookies(secret))).status_code
            for path in ("/", f"/institutions/north/cases/{case}", "/audit", "/grants")
        ]
    assert own.text == "own north"
    assert set(others) == {403}


async def test_tokens_give_their_scopes_alone(room: Room) -> None:
    """A token gives its scopes at its institution, as far as the grants of its person go, until it ends."""
    north, south = await room.case("north"), await room.case("south")
    person = await room.person("rita", Role.REVIEWER)
    async with room.store.begin() as connection:
        secret = await people.issue_token(
            connection,
            person=person,
            name="exporter",
            scopes={Permission.VIEW},
            institution="north",
            expires=room.clock.now.replace(day=30, hour=23),
            now=room.clock.now,
        )
    headers = {"authorization": f"Bearer {secret}"}
    async with room.client(room.app(HANDLERS)) as client:
        answers = [
            (await client.get(path, headers=headers)).status_code
            for path in (
                f"/institutions/north/cases/{north}",
                f"/institutions/south/cases/{south}",
                f"/institutions/north/evidence?case={north}&purpose=abc",
                "/audit",
            )
        ]
        posted = await client.post(f"/institutions/north/cases/{north}", headers=headers)
        basic = await client.get(f"/institutions/north/cases/{north}", headers={"authorization": f"Basic {secret}"})
        room.clock.turn(hours=15)
        late = await client.get(f"/institutions/north/cases/{north}", headers=headers)
    assert answers == [200, 403, 403, 403]
    assert (posted.status_code, basic.status_code, late.status_code) == (403, 401, 401)


async def test_links_elsewhere_open_no_evidence(room: Room) -> None:
    """A link on another site does not make a reviewer read evidence for a purpose of its author."""
    case = await room.case("north")
    secret = await room.session(await room.person("rita", Role.REVIEWER, institution="north"))
    path = f"/institutions/north/evidence?case={case}&purpose=framed"
    async with room.client(room.app(HANDLERS)) as client:
        answer = await client.get(path, headers={**room.cookies(secret), "sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert (await _last(room)).record.outcome is Outcome.CROSS_SITE


async def test_other_names_of_this_site_are_refused(room: Room) -> None:
    """A request that names another host than ours is refused although its session is good."""
    secret = await room.session(await room.person("rita", Role.VIEWER))
    async with room.client(room.app(HANDLERS)) as client:
        answer = await client.get("/", headers={**room.cookies(secret), "host": "rebound.example"})
    assert answer.status_code == 403
    assert (await _last(room)).record.outcome is Outcome.WRONG_HOST


async def test_too_many_requests_are_recorded_once(room: Room) -> None:
    """Requests past a person's rate are 429, with one record of it."""
    secret = await room.session(await room.person("rita", Role.VIEWER))
    async with room.client(room.app(HANDLERS)) as client:
        codes = [(await client.get("/own", headers=room.cookies(secret))).status_code for _ in range(245)]
    assert codes == [403] * 240 + [429] * 5
    assert [one.record.outcome for one in await listed(room.store, limit=2)] == [Outcome.TOO_MANY, Outcome.NO_GRANT]


async def test_every_answer_has_security_headers(room: Room) -> None:
    """Pages, refusals and pages that do not exist carry the same headers."""
    async with room.client(room.app(HANDLERS)) as client:
        answers = [await client.get(path) for path in ("/healthz", "/audit", "/no-such-page")]
    for answer in answers:
        assert "default-src 'none'; style-src" in answer.headers["content-security-policy"]
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["strict-transport-security"].startswith("max-age=63072000")


@get("/planted")
async def planted() -> str:
    return EVIDENCE_TEXT


@get("/planted", opt={"permission": Permission.EVIDENCE})
async def everywhere() -> str:
    return EVIDENCE_TEXT


@get("/planted", opt={"permission": Permission.VIEW}, cache=True)
async def cached() -> str:
    return EVIDENCE_TEXT


@pytest.mark.parametrize("handler", [planted, everywhere, cached])
async def test_an_unguarded_route_stops_the_start(room: Room, handler: Any) -> None:  # noqa: ANN401 - a handler
    """An application does not start with a route without permission, with evidence of no institution, or cached."""
    with pytest.raises(ExceptionGroup) as caught:
        async with room.client(room.app([*HANDLERS, handler])):
            pass
    assert caught.group_contains(ImproperlyConfiguredException, match="/planted")


async def test_a_permission_for_all_routes_stops_the_start(room: Room) -> None:
    """An application that gives every route a permission at once does not start."""
    with pytest.raises(ExceptionGroup) as caught:
        async with room.client(room.app([planted], opt={"permission": Permission.PUBLIC})):
            pass
    assert caught.group_contains(ImproperlyConfiguredException, match="each names its own")


async def test_routes_of_an_application_without_the_guard_stop_its_start(room: Room) -> None:
    """A route that has a permission and no guard is found out at the start."""
    app = room.app([overview])
    bare = Litestar([overview], openapi_config=None, on_startup=app.on_startup)
    with pytest.raises(ExceptionGroup) as caught:
        async with room.client(bare):
            pass
    assert caught.group_contains(ImproperlyConfiguredException, match="guard")


async def test_an_unguarded_route_is_refused_even_if_the_application_started(room: Room) -> None:
    """A route that came in after the start has no permission, and is refused."""
    secret = await room.session(await room.person("rita", Role.REVIEWER))
    app = room.app(HANDLERS)
    async with room.client(app) as client:
        app.register(planted)
        answer = await client.get("/planted", headers=room.cookies(secret))
        options = await client.options("/audit", headers=room.cookies(secret))
    assert (answer.status_code, options.status_code) == (403, 403)
    assert EVIDENCE_TEXT not in answer.text
