"""The routes of signing in and out: identity provider, learning platforms, and the demonstration.

Room: detector_collect.review.access. Every answer that signs somebody in goes to a fixed page of this site; no address
that a request names is ever redirected to. Each attempt, good or bad, leaves a record.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import sqlalchemy as sa
from litestar import Request, Response, Router, get, post
from litestar.datastructures import Cookie
from litestar.exceptions import PermissionDeniedException
from litestar.response import Redirect

from detector_collect.review.pages.rendering import Page, respond
from detector_collect.store.schema import people

from . import lti, pending
from .authorize import SAFE_METHODS, SIGN_IN_PATH, Access, access_of, cookie_name
from .chain import Outcome
from .id_tokens import TokenError
from .people import NAME_MAX, add_person, new_secret
from .permissions import Kind, Permission, Person
from .records import append, entry_of, record
from .sessions import begin_session, end_session

if TYPE_CHECKING:
    import datetime as dt

AnyRequest = Request[Any, Any, Any]

CALLBACK: Final = f"{SIGN_IN_PATH}/callback"
LAUNCH: Final = "/lti/launch"
HOME: Final = "/"
OWN: Final = "/own"
"""Where people arrive."""

FIELD_MAX: Final = 64 * 1024
"""Characters of one field of an answer: a token is the largest."""
BODY_MAX: Final = 256 * 1024
"""Bytes of a form of a platform."""

_FAILED: Final = "You could not be signed in. Begin again; if it fails again, ask the operator of this site to read why."
_SIGN_IN: Final = {"permission": Permission.SIGN_IN}
_ERROR: Final = re.compile(r"[a-z_]{1,64}")


@get(SIGN_IN_PATH, opt=_SIGN_IN)
async def show(request: AnyRequest) -> Response[str]:
    """The page to sign in."""
    access = access_of(request)
    async with access.store.connect() as connection:
        wanted = sa.select(people.c.id, people.c.name).where(people.c.id.in_(access.demo_people))
        demo = (await connection.execute(wanted.order_by(people.c.id))).all()
    return respond("sign-in", Page("Sign in"), has_provider=access.identity is not None, people=demo)


@get(f"{SIGN_IN_PATH}/start", opt=_SIGN_IN)
async def start(request: AnyRequest) -> Redirect:
    """Send the browser to the identity provider."""
    access = access_of(request)
    now = access.clock()
    browser = new_secret()
    if access.identity is None:
        await _fail(request, Kind.OIDC, "no identity provider is configured")
    provider = access.identity
    try:
        async with access.store.begin() as connection:
            state, begun = await pending.begin(
                connection, kind=Kind.OIDC, browser=browser, issuer=provider.issuer, client=provider.client, now=now
            )
        address = await provider.address(
            access.http, redirect=access.origin + CALLBACK, state=state, pending=begun, now=now
        )
    except TokenError as error:
        await _fail(request, Kind.OIDC, str(error))
    return Redirect(address, status_code=303, cookies=[_cookie(access, Kind.OIDC, browser)])


@get(CALLBACK, opt=_SIGN_IN)
async def callback(request: AnyRequest) -> Redirect:
    """Sign in who comes back from the identity provider."""
    access = access_of(request)
    now = access.clock()
    query = request.query_params
    try:
        begun = await _take(request, Kind.OIDC, _one(query.getall("state", [])))
        error = query.getall("error", [])
        if error:
            raise TokenError(f"the provider refused: {error[0] if _ERROR.fullmatch(error[0]) else 'another error'}")
        if access.identity is None:
            raise TokenError("no identity provider is configured")
        claims = await access.identity.identify(
            access.http,
            code=_one(query.getall("code", [])),
            issuer=_one(query.getall("iss", [])) if "iss" in query else None,
            redirect=access.origin + CALLBACK,
            pending=begun,
            now=now,
        )
    except TokenError as problem:
        await _fail(request, Kind.OIDC, str(problem))
    name = (claims.name or claims.sub)[:NAME_MAX]
    secret = await _enter(request, Kind.OIDC, issuer=claims.iss, subject=claims.sub, name=name, now=now)
    return _arrive(access, HOME, Kind.OIDC, secret)


@get("/lti/login", opt=_SIGN_IN)
async def login(request: AnyRequest) -> Redirect:
    """Begin a launch: send the browser back to its learning platform, with a state and a nonce."""
    return await _login(request, {name: request.query_params.getall(name, []) for name in _LOGIN_FIELDS})


@post("/lti/login", opt=_SIGN_IN, request_max_body_size=BODY_MAX)
async def login_form(request: AnyRequest) -> Redirect:
    """Begin a launch, for platforms that send a form."""
    form = await request.form()
    return await _login(request, {name: form.getall(name, []) for name in _LOGIN_FIELDS})


_LOGIN_FIELDS: Final = ("iss", "client_id", "login_hint", "lti_message_hint")


async def _login(request: AnyRequest, fields: dict[str, list[Any]]) -> Redirect:
    access = access_of(request)
    now = access.clock()
    browser = new_secret()
    try:
        issuer = _one(fields["iss"])
        client = _one(fields["client_id"]) if fields["client_id"] else None
        async with access.store.begin() as connection:
            known = await lti.find_platforms(connection, issuer, client)
            if len({one.client for one in known}) != 1:
                raise TokenError("the platform is not known, or does not say which client it means")
            state, begun = await pending.begin(
                connection, kind=Kind.LTI, browser=browser, issuer=issuer, client=known[0].client, now=now
            )
        address = lti.address(
            known[0],
            redirect=access.origin + LAUNCH,
            state=state,
            pending=begun,
            hint=_one(fields["login_hint"]),
            message_hint=_one(fields["lti_message_hint"]) if fields["lti_message_hint"] else "",
        )
    except TokenError as error:
        await _fail(request, Kind.LTI, str(error))
    return Redirect(address, status_code=303, cookies=[_cookie(access, Kind.LTI, browser)])


@post(LAUNCH, opt=_SIGN_IN, request_max_body_size=BODY_MAX)
async def launch(request: AnyRequest) -> Redirect:
    """Sign in who comes from a learning platform."""
    access = access_of(request)
    now = access.clock()
    form = await request.form()
    try:
        begun = await _take(request, Kind.LTI, _one(form.getall("state", [])))
        token = _one(form.getall("id_token", []))
        async with access.store.connect() as connection:
            known = await lti.find_platforms(connection, begun.issuer, begun.client)
        platform, claims = await lti.identify(
            access.http, access.platform_keys, known, token=token, pending=begun, now=now
        )
    except TokenError as error:
        await _fail(request, Kind.LTI, str(error))
    secret = await _enter(
        request,
        Kind.LTI,
        issuer=claims.iss,
        subject=claims.sub,
        name="",
        institution=platform.institution,
        now=now,
    )
    return _arrive(access, OWN, Kind.LTI, secret)


@post(f"{SIGN_IN_PATH}/demo", opt=_SIGN_IN, request_max_body_size=BODY_MAX)
async def demo(request: AnyRequest) -> Redirect:
    """Sign in as somebody of the demonstration; refused where there is none."""
    access = access_of(request)
    form = await request.form()
    chosen = next((number for number in access.demo_people if str(number) == form.get("person")), None)
    is_own_page = request.headers.get("origin") == access.origin
    if chosen is None or not is_own_page or request.client is None or request.client.host not in _LOOPBACK:
        await _fail(request, Kind.DEMO, "there is no demonstration, or this is not its page")
    now = access.clock()
    async with access.store.begin() as connection:
        secret = await begin_session(
            connection, person=chosen, kind=Kind.DEMO, institution=None, replaces=_session(request), now=now
        )
        person = Person(id=chosen, name="", kind=Kind.DEMO)
        await append(connection, entry_of(now=now, person=person, action=Permission.SIGN_IN))
    return _arrive(access, HOME, Kind.DEMO, secret)


_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})


@post("/sign-out", opt={"permission": Permission.SIGNED_IN}, request_max_body_size=BODY_MAX)
async def sign_out(request: AnyRequest) -> Redirect:
    """End the session, here and in the browser."""
    access = access_of(request)
    secret = _session(request)
    if secret is not None:
        async with access.store.begin() as connection:
            await end_session(connection, secret)
    ended = Cookie(access.session_cookie, value="", max_age=0, path="/", secure=access.https, httponly=True)
    return Redirect(SIGN_IN_PATH, status_code=303, cookies=[ended], headers={"Clear-Site-Data": '"cache", "storage"'})


def router() -> Router:
    """Every route of signing in and out."""
    return Router("/", route_handlers=[show, start, callback, login, login_form, launch, demo, sign_out])


async def _take(request: AnyRequest, kind: Kind, state: str) -> pending.Pending:
    """Take out what began with `state` in this browser. Raises `TokenError`."""
    access = access_of(request)
    browser = request.cookies.get(_cookie_name(access, kind), "")
    return await pending.take(access.store, kind=kind, state=state, browser=browser, now=access.clock())


async def _enter(  # noqa: PLR0913 - who comes in
    request: AnyRequest,
    kind: Kind,
    *,
    issuer: str,
    subject: str,
    name: str,
    now: dt.datetime,
    institution: str | None = None,
) -> str:
    """Begin the session of somebody who was identified, with its record. Returns the secret of its cookie."""
    async with access_of(request).store.begin() as connection:
        number = await add_person(connection, issuer=issuer, subject=subject, name=name, now=now)
        secret = await begin_session(
            connection, person=number, kind=kind, institution=institution, replaces=_session(request), now=now
        )
        person = Person(id=number, name=name, kind=kind)
        entry = entry_of(now=now, person=person, action=Permission.SIGN_IN, institution=institution)
        await append(connection, entry)
    return secret


async def _fail(request: AnyRequest, kind: Kind, reason: str) -> NoReturn:
    """Refuse to sign somebody in, with a record of why. Raises PermissionDeniedException."""
    access = access_of(request)
    nobody = Person(id=None, name="", kind=kind)
    await record(
        access.store,
        now=access.clock(),
        person=nobody,
        action=Permission.SIGN_IN,
        subject=reason,
        outcome=Outcome.FAILED,
    )
    raise PermissionDeniedException(_FAILED)


def _session(request: AnyRequest) -> str | None:
    return request.cookies.get(access_of(request).session_cookie)


def _one(values: list[Any]) -> str:
    """The value of a field that is sent once. Raises `TokenError`."""
    if len(values) != 1 or not isinstance(values[0], str) or not 0 < len(values[0]) <= FIELD_MAX:
        raise TokenError("a field is missing, sent twice, or too long")
    return values[0]


def _cookie_name(access: Access, kind: Kind) -> str:
    return cookie_name(f"sign-in-{kind.value}", https=access.https)


def _cookie(access: Access, kind: Kind, secret: str) -> Cookie:
    """The cookie that binds what began to this browser. Only a platform's form, from another site, needs `None`."""
    site: Literal["lax", "none"] = "none" if kind is Kind.LTI and access.https else "lax"
    return Cookie(
        _cookie_name(access, kind),
        value=secret,
        path="/",
        secure=access.https,
        httponly=True,
        samesite=site,
        max_age=int(pending.LIFE.total_seconds()),
    )


def _arrive(access: Access, page: str, kind: Kind, secret: str) -> Redirect:
    """Go to a page of this site with the new session."""
    session = Cookie(
        access.session_cookie, value=secret, path="/", secure=access.https, httponly=True, samesite="lax"
    )
    used = Cookie(_cookie_name(access, kind), value="", path="/", secure=access.https, httponly=True, max_age=0)
    return Redirect(page, status_code=303, cookies=[session, used])
