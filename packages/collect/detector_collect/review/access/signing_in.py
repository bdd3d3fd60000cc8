"""The routes of signing in and out: identity provider, learning platforms, and the demonstration.

Room: detector_collect.review.access. Every answer that signs somebody in goes to a fixed page of this site; no address
that a request names is ever redirected to. Each attempt, good or bad, leaves a record.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa
from litestar import Request, Response, Router, get, post
from litestar.datastructures import Cookie
from litestar.exceptions import PermissionDeniedException
from litestar.response import Redirect

from detector_collect.review.pages.rendering import Page, respond
from detector_collect.store.schema import people

from . import lti, pending
from .authorize import SIGN_IN_PATH, Access, access_of, cookie_name, form_of
from .chain import Outcome
from .id_tokens import TokenError
from .people import NAME_MAX, add_person, new_secret
from .permissions import Kind, Permission, Person
from .records import append, entry_of, record
from .sessions import begin_session, end_session

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator

    from litestar.datastructures.multi_dicts import FormMultiDict, MultiMixin

    from .oidc import IdentityProvider

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

_FAILED: Final = (
    "You could not be signed in. Begin again; if it fails again, ask the operator of this site to read why."
)
_SIGN_IN: Final = {"permission": Permission.SIGN_IN}
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
_FORWARDED: Final = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
"""Headers that a proxy adds: somebody elsewhere asks, though the proxy is on this machine (RFC 7239, RFC 9110)."""
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
    access, now, browser = access_of(request), _now(request), new_secret()
    async with _attempt(request, Kind.OIDC):
        provider = _provider(access)
        async with access.store.begin() as connection:
            state, begun = await pending.begin(
                connection, kind=Kind.OIDC, browser=browser, issuer=provider.issuer, client=provider.client, now=now
            )
        address = await provider.address(
            access.http, redirect=access.origin + CALLBACK, state=state, pending=begun, now=now
        )
    return Redirect(address, status_code=303, cookies=[_cookie(access, Kind.OIDC, browser)])


@get(CALLBACK, opt=_SIGN_IN)
async def callback(request: AnyRequest) -> Redirect:
    """Sign in who comes back from the identity provider."""
    access, now, query = access_of(request), _now(request), request.query_params
    async with _attempt(request, Kind.OIDC):
        begun = await _take(request, Kind.OIDC, _one(query.getall("state", [])))
        for error in query.getall("error", [])[:1]:
            raise TokenError(f"the provider refused: {error if _ERROR.fullmatch(error) else 'another error'}")
        claims = await _provider(access).identify(
            access.http,
            code=_one(query.getall("code", [])),
            issuer=_one(query.getall("iss", [])) if "iss" in query else None,
            redirect=access.origin + CALLBACK,
            pending=begun,
            now=now,
        )
    name = (claims.name or claims.sub)[:NAME_MAX]
    secret = await _enter(request, Kind.OIDC, issuer=claims.iss, subject=claims.sub, name=name, now=now)
    return _arrive(access, HOME, Kind.OIDC, secret)


@get("/lti/login", opt=_SIGN_IN)
async def login(request: AnyRequest) -> Redirect:
    """Begin a launch: send the browser back to its learning platform, with a state and a nonce."""
    return await _login(request, request.query_params)


@post("/lti/login", opt=_SIGN_IN, request_max_body_size=BODY_MAX)
async def login_form(request: AnyRequest) -> Redirect:
    """Begin a launch, for platforms that send a form."""
    return await _login(request, await _form(request, Kind.LTI))


async def _login(request: AnyRequest, fields: MultiMixin[Any]) -> Redirect:
    access, now, browser = access_of(request), _now(request), new_secret()
    async with _attempt(request, Kind.LTI):
        issuer = _one(fields.getall("iss", []))
        client = _one(fields.getall("client_id", [])) if "client_id" in fields else None
        async with access.store.connect() as connection:
            platform = lti.only_client(await lti.find_platforms(connection, issuer, client))
        async with access.store.begin() as connection:
            state, begun = await pending.begin(
                connection, kind=Kind.LTI, browser=browser, issuer=issuer, client=platform.client, now=now
            )
        address = lti.address(
            platform,
            redirect=access.origin + LAUNCH,
            state=state,
            pending=begun,
            hint=_one(fields.getall("login_hint", [])),
            message_hint=_one(fields.getall("lti_message_hint", [])) if "lti_message_hint" in fields else "",
        )
    return Redirect(address, status_code=303, cookies=[_cookie(access, Kind.LTI, browser)])


@post(LAUNCH, opt=_SIGN_IN, request_max_body_size=BODY_MAX)
async def launch(request: AnyRequest) -> Redirect:
    """Sign in who comes from a learning platform."""
    access, now, form = access_of(request), _now(request), await _form(request, Kind.LTI)
    async with _attempt(request, Kind.LTI):
        begun = await _take(request, Kind.LTI, _one(form.getall("state", [])))
        token = _one(form.getall("id_token", []))
        async with access.store.connect() as connection:
            known = await lti.find_platforms(connection, begun.issuer, begun.client)
        platform, claims = await lti.identify(
            access.http, access.platform_keys, known, token=token, pending=begun, now=now
        )
    at = platform.institution
    secret = await _enter(request, Kind.LTI, issuer=claims.iss, subject=claims.sub, name="", institution=at, now=now)
    return _arrive(access, OWN, Kind.LTI, secret)


@post(f"{SIGN_IN_PATH}/demo", opt=_SIGN_IN, request_max_body_size=BODY_MAX)
async def demo(request: AnyRequest) -> Redirect:
    """Sign in as somebody of the demonstration; refused where there is none."""
    access, now, form = access_of(request), _now(request), await _form(request, Kind.DEMO)
    async with _attempt(request, Kind.DEMO):
        chosen = next((number for number in access.demo_people if str(number) == form.get("person")), None)
        is_own_page = request.headers.get("origin") == access.origin
        is_forwarded = not _FORWARDED.isdisjoint(request.headers)
        is_here = request.client is not None and request.client.host in _LOOPBACK and not is_forwarded
        if chosen is None or not is_own_page or not is_here:
            raise TokenError("there is no demonstration, or this is not its page")
    person = Person(id=chosen, name="", kind=Kind.DEMO)
    async with access.store.begin() as connection:
        secret = await begin_session(
            connection, person=chosen, kind=Kind.DEMO, institution=None, replaces=_session(request), now=now
        )
        await append(connection, entry_of(now=now, person=person, action=Permission.SIGN_IN))
    return _arrive(access, HOME, Kind.DEMO, secret)


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


@contextlib.asynccontextmanager
async def _attempt(request: AnyRequest, kind: Kind) -> AsyncIterator[None]:
    """An attempt to sign in: a `TokenError` in the block is recorded, and refused without saying why."""
    try:
        yield
    except TokenError as error:
        await record(
            access_of(request).store,
            now=_now(request),
            person=Person(id=None, name="", kind=kind),
            action=Permission.SIGN_IN,
            subject=str(error),
            outcome=Outcome.FAILED,
        )
        raise PermissionDeniedException(_FAILED) from None


async def _form(request: AnyRequest, kind: Kind) -> FormMultiDict:
    """The form of an attempt; one that cannot be read is refused, with a record."""
    async with _attempt(request, kind):
        try:
            form = await form_of(request)
        except ValueError:
            raise TokenError("the form cannot be read") from None
    return form


def _now(request: AnyRequest) -> dt.datetime:
    return access_of(request).clock()


def _provider(access: Access) -> IdentityProvider:
    """The identity provider. Raises `TokenError` where none is configured."""
    if access.identity is None:
        raise TokenError("no identity provider is configured")
    return access.identity


def _session(request: AnyRequest) -> str | None:
    return request.cookies.get(access_of(request).session_cookie)


def _one(values: list[Any]) -> str:
    """The value of a field that is sent once. Raises `TokenError`."""
    if len(values) != 1 or not isinstance(values[0], str) or not 0 < len(values[0]) <= FIELD_MAX:
        raise TokenError("a field is missing, sent twice, or too long")
    if "\0" in values[0]:
        raise TokenError("a field has a NUL character")  # which PostgreSQL does not take
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
    session = Cookie(access.session_cookie, value=secret, path="/", secure=access.https, httponly=True, samesite="lax")
    used = Cookie(_cookie_name(access, kind), value="", path="/", secure=access.https, httponly=True, max_age=0)
    return Redirect(page, status_code=303, cookies=[session, used])
