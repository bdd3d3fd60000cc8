"""Room: tests of detector_collect.review.access.signing_in: a provider, learning platforms, and the demonstration."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import sqlalchemy as sa
from detector_collect.review.access import signing_in
from detector_collect.review.access.authorize import Access
from detector_collect.review.access.chain import Outcome
from detector_collect.review.access.oidc import Configuration, IdentityProvider
from detector_collect.review.access.permissions import Kind, Role
from detector_collect.review.access.records import listed
from detector_collect.review.access.sessions import csrf_of
from detector_collect.store.schema import people, platforms, sessions, sign_ins
from support.collect_access import HANDLERS, Room
from support.collect_identity import CLAIM, CLIENT, DEPLOYMENT, ROLES, SECRET, Identity, running_identity

from detector.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

VOCABULARY = "http://purl.imsglobal.org/vocab/lis/v2/"


class Site:
    """A started review room, a browser, and the provider that it trusts."""

    def __init__(self, room: Room, identity: Identity, browser: httpx.AsyncClient) -> None:
        self.room, self.identity, self.browser = room, identity, browser

    async def begin(self) -> str:
        """Begin to sign in. Returns the address at the provider."""
        answer = await self.browser.get("/sign-in/start")
        assert answer.status_code == 303
        return answer.headers["location"]

    async def sign_in(self, **query: str) -> httpx.Response:
        """Sign in at the provider and come back."""
        back = {**self.identity.authorize(await self.begin()), **query}
        return await self.browser.get(f"/sign-in/callback?{urlencode({k: v for k, v in back.items() if v})}")

    async def begin_launch(self, **fields: str) -> str:
        """Begin a launch. Returns the address at the platform."""
        answer = await self.browser.get(f"/lti/login?{self.identity.login(**fields)}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def launch(self, **claims: Any) -> httpx.Response:  # noqa: ANN401 - any claim
        """Launch from the platform."""
        return await self.post(self.identity.launch(await self.begin_launch(), **claims))

    async def post(self, form: dict[str, str]) -> httpx.Response:
        """Post a platform's form, from its site."""
        return await self.browser.post("/lti/launch", data=form, headers={"origin": self.identity.url})

    async def failure(self) -> str:
        """Why the last sign-in failed, from its record."""
        last = (await listed(self.room.store, limit=1))[0].record
        assert (last.action, last.outcome) == ("sign-in", Outcome.FAILED)
        return str(last.subject)

    async def count(self, table: sa.Table) -> int:
        async with self.room.store.connect() as connection:
            return int(await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


@contextlib.asynccontextmanager
async def _site(room: Room) -> AsyncIterator[Site]:
    async with running_identity(room.clock) as identity:
        provider = IdentityProvider(Configuration(identity.url, CLIENT, SECRET))
        room.access = Access(room.store, origin=room.access.origin, clock=room.clock, identity=provider)
        async with room.store.begin() as connection:
            for deployment, institution in ((DEPLOYMENT, "north"), ("deployment-2", "south")):
                await connection.execute(
                    sa.insert(platforms).values(
                        issuer=identity.url,
                        client=CLIENT,
                        deployment=deployment,
                        institution=institution,
                        authorization_url=f"{identity.url}/lti/authorize",
                        keys_url=f"{identity.url}/keys",
                    )
                )
        async with room.client(room.app([*HANDLERS, signing_in.router()])) as browser:
            yield Site(room, identity, browser)


@pytest.fixture
async def site(room: Room) -> AsyncIterator[Site]:
    """A site with a provider and two deployments of a platform."""
    async with _site(room) as made:
        yield made


async def test_somebody_signs_in_and_out(site: Site) -> None:
    """Who signs in at the provider gets a session with a fresh cookie, and none after signing out."""
    arrived = await site.sign_in()
    assert (arrived.status_code, arrived.headers["location"]) == (303, "/")
    cookie = next(one for one in arrived.headers.get_list("set-cookie") if one.startswith("__Host-session="))
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "path=/", "samesite=lax", "secure"}
    async with site.room.store.connect() as connection:
        (number, name) = (await connection.execute(sa.select(people.c.id, people.c.name))).one()
    assert name == "Ada Staff"
    assert (await site.browser.get("/")).status_code == 403
    await site.room.person("ada", Role.VIEWER)
    last = (await listed(site.room.store, limit=2))[1].record
    assert (last.action, last.person, last.kind, last.outcome) == ("sign-in", number, "oidc", Outcome.ALLOWED)
    secret = site.browser.cookies["__Host-session"]
    signed_out = await site.browser.post("/sign-out", **site.room.form(secret))
    assert (signed_out.status_code, signed_out.headers["location"]) == (303, "/sign-in")
    site.browser.cookies.clear()
    assert (await site.browser.get("/", headers=site.room.cookies(secret))).status_code == 401


async def test_a_name_that_no_database_has_is_changed(site: Site) -> None:
    """PostgreSQL stores no NUL; a name with one is changed, and its person signed in."""
    site.identity.claims.update(name="Ada\0Staff")
    assert (await site.sign_in()).status_code == 303
    async with site.room.store.connect() as connection:
        assert await connection.scalar(sa.select(people.c.name)) == "Ada\N{REPLACEMENT CHARACTER}Staff"


async def test_a_planted_session_does_not_survive_the_sign_in(site: Site) -> None:
    """A session whose cookie somebody planted before ends with the sign-in, which gets another secret."""
    planted = await site.room.session(await site.room.person("mallory", Role.VIEWER))
    site.browser.cookies.set("__Host-session", planted, domain="review.example")
    arrived = await site.sign_in()
    assert f"__Host-session={planted}" not in str(arrived.headers)
    site.browser.cookies.clear()
    assert (await site.browser.get("/", headers=site.room.cookies(planted))).status_code == 401


def _without(name: str) -> Callable[[Identity], None]:
    return lambda identity: identity.claims.update({name: None})


def _claim(**claims: Any) -> Callable[[Identity], None]:  # noqa: ANN401 - any claim
    return lambda identity: identity.claims.update(claims)


def _signed(algorithm: str, **header: Any) -> Callable[[Identity], None]:  # noqa: ANN401 - any header parameter
    def change(identity: Identity) -> None:
        identity.signing = algorithm
        identity.header.update(header)

    return change


def _metadata(**fields: Any) -> Callable[[Identity], None]:  # noqa: ANN401 - any field
    return lambda identity: identity.metadata.update(fields)


def _keys(body: bytes) -> Callable[[Identity], None]:
    def change(identity: Identity) -> None:
        identity.keys_body = body

    return change


def _at(**by: float) -> float:
    return (dt.datetime(2026, 11, 30, 9, tzinfo=dt.UTC) + dt.timedelta(**by)).timestamp()


MISBEHAVIOR: dict[str, tuple[Callable[[Identity], None], str]] = {
    "unsigned": (_signed("none"), "algorithm"),
    "unsigned, another case": (_signed("none", alg="None"), "algorithm"),
    "signed with the public key as a secret": (_signed("HS256"), "algorithm"),
    "an algorithm of the list, with another key type": (_signed("RS256", alg="ES256"), "no key"),
    "signed by another key": (Identity.forge, "no key"),
    "a key that nobody publishes": (_signed("RS256", kid="third"), "no key"),
    "a critical extension": (_signed("RS256", crit=["exp"]), "critical"),
    "another issuer": (_claim(iss="https://evil.example"), "another issuer"),
    "another client": (_claim(aud="somebody-else"), "another client"),
    "many clients without a party": (_claim(aud=[CLIENT, "somebody-else"]), "issued to another"),
    "issued to another client": (_claim(aud=[CLIENT, "somebody-else"], azp="somebody-else"), "issued to another"),
    "expired": (_claim(exp=_at(seconds=-61)), "expired"),
    "old": (_claim(iat=_at(minutes=-12)), "too old"),
    "of the future": (_claim(iat=_at(minutes=2)), "future"),
    "not yet": (_claim(nbf=_at(minutes=2)), "future"),
    "an impossible time": (_claim(exp=1e300), "impossible"),
    "the last second there is": (_claim(exp=253402300799, iat=_at(minutes=-12)), "too old"),
    "another nonce": (_claim(nonce="another"), "another sign-in"),
    **{f"no {name}": (_without(name), "claims") for name in ("iss", "sub", "aud", "exp", "iat", "nonce")},
    "a subject that is a number": (_claim(sub=7), "claims"),
    "an empty subject": (_claim(sub=""), "claims"),
    "a subject that no database has": (_claim(sub="ada\0"), "claims"),
    "metadata of another issuer": (_metadata(issuer="https://evil.example"), "metadata is of another"),
    "a token endpoint without HTTPS": (_metadata(token_endpoint="http://evil.example"), "not HTTPS"),  # noqa: S106 - an address
    "keys behind HTTP elsewhere": (_metadata(jwks_uri="http://evil.example/keys"), "not HTTPS"),
    "no keys": (_keys(b"{}"), "key set"),
    "things that are not keys": (
        _keys(b'{"keys": [7, {"kty": "oct", "kid": "first", "k": "AAAA"}, {"kty": "RSA"}]}'),
        "no key",
    ),
    "a small key": (_keys(b'{"keys": [{"kty": "RSA", "kid": "first", "n": "AQAB", "e": "AQAB"}]}'), "no key"),
    "too many bytes": (_keys(b" " * 300_000), "too large"),
}


@pytest.mark.parametrize("name", MISBEHAVIOR)
async def test_what_a_provider_may_not_send_signs_nobody_in(site: Site, name: str) -> None:
    """A token, key set or metadata that is wrong in one thing is refused, recorded, and opens no session."""
    change, reason = MISBEHAVIOR[name]
    change(site.identity)
    answer = await site.browser.get("/sign-in/start")
    if answer.status_code == 303:
        back = urlencode(site.identity.authorize(answer.headers["location"]))
        answer = await site.browser.get(f"/sign-in/callback?{back}")
    assert answer.status_code == 403
    assert reason in await site.failure()
    assert await site.count(sessions) == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "another"}, "not begun here"),
        ({"state": ""}, "field is missing"),
        ({"code": ""}, "field is missing"),
        ({"code": "stolen"}, "status 400"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": ""}, "does not name its issuer"),
        ({"error": "access_denied"}, "access_denied"),
        ({"error": "<script>"}, "another error"),
    ],
)
async def test_answers_that_do_not_fit_sign_nobody_in(site: Site, changes: dict[str, str], reason: str) -> None:
    """An answer with another state, code or issuer is refused."""
    answer = await site.sign_in(**changes)
    assert answer.status_code == 403
    assert reason in await site.failure()
    assert await site.count(sessions) == 0


async def test_an_answer_counts_once_and_in_its_own_browser(site: Site) -> None:
    """An answer is refused when it is sent again, when it is late, and in a browser that did not begin."""
    back = urlencode(site.identity.authorize(await site.begin()))
    cookies = dict(site.browser.cookies)
    assert (await site.browser.get(f"/sign-in/callback?{back}")).status_code == 303
    site.browser.cookies = cookies
    assert (await site.browser.get(f"/sign-in/callback?{back}")).status_code == 403
    assert "answered already" in await site.failure()
    back = urlencode(site.identity.authorize(await site.begin()))
    site.browser.cookies.clear()
    assert (await site.browser.get(f"/sign-in/callback?{back}")).status_code == 403
    assert "another browser" in await site.failure()
    back = urlencode(site.identity.authorize(await site.begin()))
    site.room.clock.turn(minutes=10)
    assert (await site.browser.get(f"/sign-in/callback?{back}")).status_code == 403
    assert "expired" in await site.failure()
    assert await site.count(sign_ins) == 0


async def test_nothing_in_a_request_is_redirected_to(site: Site) -> None:
    """Whatever a request names as its target, a sign-in leads to the fixed page, and an answer back to this site."""
    elsewhere = "https://evil.example/"
    start = await site.browser.get("/sign-in/start", params={"next": elsewhere, "redirect_uri": elsewhere})
    address = start.headers["location"]
    assert parse_qs(urlsplit(address).query)["redirect_uri"] == ["https://review.example/sign-in/callback"]
    back = {**site.identity.authorize(address), "next": elsewhere, "redirect_uri": elsewhere, "return": elsewhere}
    arrived = await site.browser.get("/sign-in/callback", params=back)
    assert arrived.headers["location"] == "/"
    launch = await site.begin_launch(target_link_uri=elsewhere)
    assert elsewhere not in launch
    form = site.identity.launch(launch, **{f"{CLAIM}target_link_uri": elsewhere})
    assert (await site.post({**form, "target_link_uri": elsewhere})).headers["location"] == "/own"


async def test_keys_are_fetched_again_when_the_provider_rotates_them(site: Site) -> None:
    """A token of a new key signs in at once; invented key names do not make us ask more than once a minute."""
    assert (await site.sign_in()).status_code == 303
    site.room.clock.turn(minutes=2)
    site.identity.rotate()
    assert (await site.sign_in()).status_code == 303
    assert site.identity.key_requests == 2
    for number in range(5):
        site.identity.header["kid"] = f"invented-{number}"
        assert (await site.sign_in()).status_code == 403
    assert site.identity.key_requests == 2


async def test_a_redirect_of_the_key_set_is_not_followed(site: Site) -> None:
    """Keys come from the address that the provider names, not from where that sends us."""
    site.identity.metadata["jwks_uri"] = f"{site.identity.url}/redirected-keys"
    assert (await site.sign_in()).status_code == 403
    assert "status 302" in await site.failure()


async def test_staff_come_in_from_their_platform(site: Site) -> None:
    """A launch of staff opens the summary of that deployment's institution, and keeps no name."""
    arrived = await site.launch()
    assert (arrived.status_code, arrived.headers["location"]) == (303, "/own")
    assert (await site.browser.get("/own")).text == "own north"
    assert (await site.browser.get("/")).status_code == 403
    async with site.room.store.connect() as connection:
        row = (await connection.execute(sa.select(people.c.issuer, people.c.subject, people.c.name))).one()
    assert tuple(row) == (site.identity.url, "ada", "")
    other = await site.launch(**{f"{CLAIM}deployment_id": "deployment-2"})
    assert other.status_code == 303
    assert (await site.browser.get("/own")).text == "own south"
    site.room.clock.turn(minutes=61)
    assert (await site.browser.get("/own")).status_code == 401


@pytest.mark.parametrize(
    ("roles", "comes_in"),
    [
        ([ROLES], True),
        ([f"{VOCABULARY}institution/person#Administrator"], True),
        ([f"{VOCABULARY}institution/person#Staff", f"{VOCABULARY}system/person#User"], True),
        ([f"{VOCABULARY}membership#Learner"], False),
        ([f"{VOCABULARY}membership#Learner", ROLES], False),
        ([ROLES, f"{VOCABULARY}institution/person#Student"], False),
        ([ROLES, f"{VOCABULARY}membership/Instructor#TeachingAssistant"], False),
        ([ROLES, f"{VOCABULARY}membership/Learner#GuestLearner"], False),
        ([ROLES, "Learner"], False),
        (["Instructor"], False),
        ([f"{VOCABULARY}system/person#Administrator"], False),
        ([f"{VOCABULARY}membership#Observer"], False),
        ([ROLES.replace("http://purl", "http://evil")], False),
        ([], False),
    ],
)
async def test_staff_alone_come_in_from_a_platform(site: Site, roles: list[str], *, comes_in: bool) -> None:
    """Roles of staff come in; learners, assistants and everybody else do not, whatever else they are."""
    answer = await site.launch(**{f"{CLAIM}roles": roles})
    assert answer.status_code == (303 if comes_in else 403)
    assert await site.count(sessions) == int(comes_in)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({f"{CLAIM}deployment_id": "another"}, "another deployment"),
        ({f"{CLAIM}deployment_id": None}, "claims"),
        ({f"{CLAIM}message_type": "LtiDeepLinkingRequest"}, "claims"),
        ({f"{CLAIM}version": "1.1"}, "claims"),
        ({f"{CLAIM}roles": None}, "claims"),
        ({"aud": "another"}, "another client"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"nonce": "another"}, "another sign-in"),
        ({"exp": _at(minutes=-5)}, "expired"),
        ({"sub": None}, "claims"),
    ],
)
async def test_launches_that_do_not_fit_are_refused(site: Site, claims: dict[str, Any], reason: str) -> None:
    """A launch with another deployment, message, audience or nonce is refused and recorded."""
    answer = await site.launch(**claims)
    assert answer.status_code == 403
    assert reason in await site.failure()
    assert await site.count(sessions) == 0


async def test_a_launch_counts_once_and_in_its_own_browser(site: Site) -> None:
    """A form that is posted again, with the token of another launch, or from another browser, is refused."""
    first = site.identity.launch(await site.begin_launch())
    assert (await site.post(first)).status_code == 303
    assert (await site.post(first)).status_code == 403
    assert "answered already" in await site.failure()
    second = site.identity.launch(await site.begin_launch())
    assert (await site.post({**second, "id_token": first["id_token"]})).status_code == 403
    assert "another sign-in" in await site.failure()
    third = site.identity.launch(await site.begin_launch())
    site.browser.cookies.clear()
    assert (await site.post(third)).status_code == 403
    assert "another browser" in await site.failure()


async def test_a_state_of_one_kind_is_not_taken_for_another(site: Site) -> None:
    """A platform's launch does not answer a sign-in at the provider, nor the other direction."""
    state = site.identity.authorize(await site.begin())["state"]
    form = site.identity.launch(await site.begin_launch())
    assert (await site.post({**form, "state": state})).status_code == 403
    back = site.identity.authorize(await site.begin())
    state = site.identity.launch(await site.begin_launch())["state"]
    assert (await site.browser.get("/sign-in/callback", params={**back, "state": state})).status_code == 403


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"iss": "https://unknown.example"}, "not known"),
        ({"client_id": "another"}, "not known"),
        ({"login_hint": ""}, "missing"),
        ({"login_hint": "x" * 5000}, "too long"),
        ({"iss": "' OR 1=1 --"}, "not known"),
        ({"iss": "a\0"}, "NUL"),
        ({"client_id": "\0"}, "NUL"),
    ],
)
async def test_launches_of_unknown_platforms_do_not_begin(site: Site, fields: dict[str, str], reason: str) -> None:
    """A platform that is not configured, or leaves out its hint, is not sent anywhere."""
    answer = await site.browser.get(f"/lti/login?{site.identity.login(**fields)}")
    assert answer.status_code == 403
    assert "location" not in answer.headers
    assert reason in await site.failure()


async def test_the_cookie_of_a_launch_comes_from_another_site_and_no_other_does(site: Site) -> None:
    """The state of a launch alone is in a cookie with SameSite=None; a session never is."""
    login = await site.browser.post("/lti/login", data=parse_qs(site.identity.login()))
    begun = login.headers.get_list("set-cookie")
    assert [("SameSite=none" in one, "Secure" in one, one.partition("=")[0]) for one in begun] == [
        (True, True, "__Host-sign-in-lti")
    ]
    arrived = await site.post(site.identity.launch(login.headers["location"]))
    assert not [one for one in arrived.headers.get_list("set-cookie") if "SameSite=none" in one]


async def test_a_demonstration_signs_in_on_this_machine_alone(room: Room) -> None:
    """Its people may be signed in as from its own page: not other people, nor from other sites or through a proxy."""
    chosen = await room.person("Demo reviewer", Role.VIEWER)
    other = await room.person("rita", Role.VIEWER)
    origin = "http://127.0.0.1:8080"
    demo = Access(room.store, origin=origin, clock=room.clock, demo_people=[chosen])
    plain = Access(room.store, origin=origin, clock=room.clock)
    room.access = demo
    async with room.client(room.app([*HANDLERS, signing_in.router()])) as browser:
        page = await browser.get("/sign-in")
        arrived = await browser.post("/sign-in/demo", data={"person": chosen}, headers={"origin": origin})
        overview = await browser.get("/")
        secret = browser.cookies["session"]
        refused = [
            await browser.post("/sign-in/demo", data={"person": other}, headers={"origin": origin}),
            await browser.post("/sign-in/demo", data={"person": chosen}, headers={"origin": "http://evil.example"}),
            await browser.post("/sign-in/demo", data={"person": chosen}),
            await browser.post(
                "/sign-in/demo", data={"person": chosen}, headers={"origin": origin, "X-Forwarded-For": "192.0.2.7"}
            ),
        ]
    assert "Demo reviewer" in page.text
    assert (arrived.status_code, overview.status_code) == (303, 200)
    assert [one.status_code for one in refused] == [403] * 4
    room.access = plain
    async with room.client(room.app([*HANDLERS, signing_in.router()])) as browser:
        page = await browser.get("/sign-in")
        answer = await browser.post("/sign-in/demo", data={"person": chosen}, headers={"origin": origin})
        kept = await browser.get("/", headers={"cookie": f"session={secret}"})
    assert "Demo reviewer" not in page.text
    assert (answer.status_code, kept.status_code) == (403, 401)


UNREADABLE = [
    b"--a\r\n",
    b'--a\r\nContent-Disposition: form-data; name="state"\r\n\r\n\xff\r\n--a--\r\n',
    b'--a\r\nContent-Disposition: form-data; name="x"\r\nContent-Type: a/b; charset=no\r\n\r\nx\r\n--a--\r\n',
]


@pytest.mark.parametrize("body", UNREADABLE)
@pytest.mark.parametrize("path", ["/lti/login", "/lti/launch", "/sign-in/demo", "/sign-out"])
async def test_forms_that_cannot_be_read_are_refused_and_recorded(site: Site, path: str, body: bytes) -> None:
    """What is no form gets 403 with a record, of a stranger as of somebody who is signed in."""
    secret = await site.room.session(await site.room.person("rita"))
    headers = {**site.room.cookies(secret), "content-type": "multipart/form-data; boundary=a"}
    headers |= {"origin": site.room.access.origin, "x-csrf-token": csrf_of(secret)}
    answer = await site.browser.post(path, content=body, headers=headers)
    assert answer.status_code == 403
    last = (await listed(site.room.store, limit=1))[0].record
    assert last.outcome is (Outcome.CROSS_SITE if path == "/sign-out" else Outcome.FAILED)


@pytest.mark.parametrize(
    ("origin", "people_of_demo"),
    [
        ("https://review.example", [1]),
        ("http://review.example", []),
        ("http://review.example", [1]),
        ("https://review.example/", []),
        ("https://user@review.example", []),
        ("review.example", []),
    ],
)
async def test_sites_that_could_be_reached_have_neither_demonstration_nor_plain_http(
    room: Room, origin: str, people_of_demo: list[int]
) -> None:
    """A demonstration or plain HTTP elsewhere than on this machine is refused when it is configured."""
    with pytest.raises(InputError):
        Access(room.store, origin=origin, clock=room.clock, demo_people=people_of_demo)


async def test_a_session_of_a_platform_has_no_grants(site: Site) -> None:
    """Somebody whom a platform calls by the name of a reviewer of ours gets the summary alone."""
    site.identity.subject = "rita"
    async with site.room.store.begin() as connection:
        await connection.execute(
            sa.insert(people).values(issuer=site.identity.url, subject="rita", name="Rita", created=site.room.clock.now)
        )
    await site.room.person("rita", Role.REVIEWER)
    assert (await site.launch()).status_code == 303
    assert (await site.browser.get("/")).status_code == 403
    assert [Kind(one.record.kind or "") for one in await listed(site.room.store, limit=1)] == [Kind.LTI]
    assert json.dumps(sorted(dict(site.browser.cookies))) == '["__Host-session"]'
