"""The guard of the application: every route goes through it, and what it does not allow is refused.

Room: detector_collect.review.access. Reads the request and the database; writes access records before handlers run.

1. A route names its permission (`opt={"permission": …}`). With one that does not, the application does not start.
2. Somebody is signed in, by a cookie or a token; otherwise 401, or the page to sign in.
3. A form is from a page of that session (`csrf`, `Origin`, `Sec-Fetch-Site`); no link elsewhere opens evidence.
4. A grant that counts now gives the permission at the institution in the path.
5. The case and the evidence that are named belong to that institution. What is elsewhere is refused like what is not.
6. Reading evidence names its case and purpose.
7. The access record is committed. Only then does the handler run.

Each refusal is 403 and recorded; what exceeds a rate is 429, and recorded once.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn
from urllib.parse import urlsplit

import aiohttp
import sqlalchemy as sa
from litestar import Request
from litestar.exceptions import (
    ClientException,
    ImproperlyConfiguredException,
    NotAuthorizedException,
    PermissionDeniedException,
    TooManyRequestsException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.exceptions.responses import create_exception_response
from litestar.plugins import InitPlugin
from litestar.response import Redirect

from detector.errors import InputError
from detector_collect.store.evidence import mark
from detector_collect.store.schema import cases, evidence, institutions

from .chain import Outcome
from .headers import SecurityHeaders
from .lti import KeySources
from .people import person_with_token
from .permissions import OF_AN_INSTITUTION, UNRECORDED, Kind, Permission, Person
from .rates import Answer, Limiter
from .records import record
from .sessions import find_session, touch_session

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Sequence

    from litestar import Litestar, Response
    from litestar.config.app import AppConfig
    from litestar.connection import ASGIConnection
    from litestar.datastructures import FormMultiDict
    from litestar.handlers import BaseRouteHandler

    from detector_collect.store.database import Store

    from .oidc import IdentityProvider

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

__all__ = [
    "Access",
    "AccessPlugin",
    "Permission",
    "Person",
    "access_of",
    "authorize",
    "check_routes",
    "record_refusal",
    "refuse",
]

SIGN_IN_PATH: Final = "/sign-in"

PURPOSE_MAX: Final = 300
"""Characters of a purpose: two or three sentences."""
PURPOSE_MIN: Final = 3
"""Characters of a purpose: one word says more than nothing."""

PERSON_PER_MINUTE: Final = 240
"""Requests of one person or token: four a second is more than anybody reads."""
STRANGER_PER_MINUTE: Final = 60
"""Requests of one address that is signing in or not signed in: a campus behind one address signs in some a minute."""
STRANGERS_PER_MINUTE: Final = 600
"""Requests of all such addresses that are recorded: nobody fills the database with refusals of strangers."""

CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "X-CSRF-Token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing (RFC 9110 section 9.2.1), and are routed here."""

_PARTS: Final = ("verdict", "limit", "before", "after")
"""Parameters that choose a part of a list: the record says which part was read. Handlers read the first or the last."""
_PART_MAX: Final = 32
"""Characters of one that a record keeps: a number of a row has at most 19."""

_ROW_MAX: Final = 2**63 - 1
"""The largest number of a row."""
_SUBSCRIBER: Final = 64
"""Bits of an IPv6 address that are one subscriber's (RFC 6177): the rest is theirs to change."""
_IPV6: Final = 6
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""How a number, a digest and an institution are written (`detector.outbox.submission`), in one form each, so that the
guard checks what the handler reads."""

_REFUSED: Final = "You have no access to this, or it does not exist. An administrator requests access for you."
_ADVICE: Final = {
    Outcome.CROSS_SITE: "The request does not come from a page of your session. Open the page again and repeat it.",
    Outcome.NO_PURPOSE: "Name the case and, in a few words, the purpose: reading evidence is recorded with both.",
    Outcome.WRONG_HOST: "This site has another name. Open it by the address that you were given.",
}
"""What a refusal says. Those that are not here say the same, so that nobody finds out what exists."""


class Access:
    """What the guard and the sign-in routes need: `origin` is the site's address as browsers see it (`https://host`).

    `proxies` are peers whose `X-Forwarded-For` says who asks, for limiting rates. `demo_people` may be signed in as by
    anybody: on this machine alone. Raises `InputError` for an origin that is not HTTPS, unless it is this machine's.
    """

    def __init__(  # noqa: PLR0913 - the settings of a site
        self,
        store: Store,
        *,
        origin: str,
        clock: Callable[[], dt.datetime],
        identity: IdentityProvider | None = None,
        demo_people: Sequence[int] = (),
        proxies: Sequence[Network] = (),
    ) -> None:
        parts = urlsplit(origin)
        self.store: Final = store
        self.clock: Final = clock
        self.origin: Final = origin
        self.host: Final = parts.netloc
        self.https: Final = parts.scheme == "https"
        self.is_loopback: Final = parts.hostname in {"127.0.0.1", "::1", "localhost"}
        if not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}" or "@" in origin:
            raise InputError(f"{origin!r} is not an origin.", advice="Write it as https://review.example.")
        if not self.https and not (self.is_loopback and parts.scheme == "http"):
            raise InputError(f"{origin} is not HTTPS.", advice="Cookies need HTTPS, but for http://127.0.0.1.")
        if demo_people and (self.https or identity is not None):
            raise InputError("The demonstration signs anybody in.", advice="Run it on this machine alone.")
        self.identity: Final = identity
        self.platform_keys: Final = KeySources()
        self.demo_people: Final = tuple(demo_people)
        self.proxies: Final = tuple(proxies)
        self.session_cookie: Final = cookie_name("session", https=self.https)
        self._http: aiohttp.ClientSession | None = None
        self.people: Final = Limiter(per_minute=PERSON_PER_MINUTE, burst=PERSON_PER_MINUTE)
        self.strangers: Final = Limiter(per_minute=STRANGER_PER_MINUTE, burst=STRANGER_PER_MINUTE)
        self.all_strangers: Final = Limiter(per_minute=STRANGERS_PER_MINUTE, burst=STRANGERS_PER_MINUTE)

    @property
    def http(self) -> aiohttp.ClientSession:
        """The client that fetches from identity providers and platforms, while the application runs."""
        if self._http is None:
            raise RuntimeError("The application does not run.")
        return self._http

    @contextlib.asynccontextmanager
    async def running(self, _: Litestar) -> AsyncIterator[None]:
        """What the application needs while it runs."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as self._http:
            yield
        self._http = None


def cookie_name(name: str, *, https: bool) -> str:
    """The name of a cookie: with the prefix that no other host or plain HTTP can set (RFC 6265bis section 4.1.3.2)."""
    return f"__Host-{name}" if https else name


def access_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Access:
    """The access configuration of the application."""
    access = connection.app.state.access
    if not isinstance(access, Access):
        raise TypeError("The application was made without AccessPlugin.")
    return access


class AccessPlugin(InitPlugin):
    """Installs the guard, the security headers and the check of all routes in an application."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add everything to the configuration of the application."""
        app_config.state.access = self._access
        app_config.guards.insert(0, authorize)
        app_config.before_send.append(SecurityHeaders(https=self._access.https))
        app_config.on_startup.insert(0, check_routes)
        app_config.lifespan = [*app_config.lifespan, self._access.running]
        app_config.exception_handlers = {NotAuthorizedException: _sign_in_first, **app_config.exception_handlers}
        return app_config


def check_routes(app: Litestar) -> None:
    """Check that every route has a permission and goes through the guard. Raises ImproperlyConfiguredException."""
    if "permission" in app.opt:
        raise ImproperlyConfiguredException("The application gives every route a permission: each names its own.")
    for route in app.routes:
        handlers = route.route_handlers if hasattr(route, "route_handlers") else [route.route_handler]
        for handler in handlers:
            if getattr(handler, "http_methods", None) == {"OPTIONS"}:
                continue  # made by Litestar for each path, without a permission: always refused
            problem = _problem(handler, set(route.path_parameters))
            if problem is not None:
                raise ImproperlyConfiguredException(f"Route {route.path} ({handler}) {problem}.")


def _problem(handler: BaseRouteHandler, parameters: set[str]) -> str | None:
    permission = handler.opt.get("permission")
    if not isinstance(permission, Permission):
        return 'has no permission: give it opt={"permission": Permission.…}'
    if authorize not in [getattr(guard, "func", guard) for guard in handler.resolve_guards()]:
        return "does not go through the guard: make the application with AccessPlugin"
    if permission in OF_AN_INSTITUTION and "institution" not in parameters:
        return f"needs {{institution:str}} in its path for {permission}"
    if permission is not Permission.PUBLIC and getattr(handler, "cache", False):
        return "is cached: an answer for one person would go to another"
    return None


class _Request(NamedTuple):
    """What a request asks for, as the guard reads it. Nothing of it is trusted."""

    request: Request[Any, Any, Any]
    access: Access
    now: dt.datetime
    permission: Permission | None
    institution: str | None
    case: str | None
    purpose: str | None
    digest: object


async def authorize(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let the request through, or refuse it. The guard of the application; see the module for the rules.

    Raises:
        PermissionDeniedException: refused, and recorded
        NotAuthorizedException: nobody is signed in; recorded
        TooManyRequestsException: too many requests
        StoreError: the database does not take the record, so that there is no answer
    """
    if not isinstance(connection, Request):
        raise PermissionDeniedException(_REFUSED)
    permission = handler.opt.get("permission")
    if permission in {Permission.PUBLIC, Permission.SUBMIT}:
        return
    asked = _read(connection, permission if isinstance(permission, Permission) else None)
    person = await _authenticate(asked)
    if person is None:
        return
    connection.scope["user"] = person
    case = await _check(asked, person)
    if permission not in UNRECORDED:
        connection.state.case = case
        connection.state.access_record = await _record(asked, person, case, Outcome.ALLOWED)


async def refuse(
    request: Request[Any, Any, Any], outcome: Outcome = Outcome.NO_SUCH_OBJECT, *, subject: str | None = None
) -> NoReturn:
    """Refuse what a handler finds it must not do, with a record. Raises PermissionDeniedException."""
    await record_refusal(request, outcome, subject=subject)
    raise PermissionDeniedException(_ADVICE.get(outcome, _REFUSED))


async def record_refusal(request: Request[Any, Any, Any], outcome: Outcome, *, subject: str | None = None) -> None:
    """Record what a handler refuses with a page of its own, whose status is 403 (`subject`: why)."""
    asked = _read(request, request.route_handler.opt.get("permission"))
    await _record(asked, request.scope.get("user"), _number(asked.case), outcome, subject=subject)


def _read(request: Request[Any, Any, Any], permission: Permission | None) -> _Request:
    access = access_of(request)
    path = request.path_params
    named = [*(str(path[name]) for name in ("case",) if name in path), *request.query_params.getall("case", [])]
    purposes = request.query_params.getall("purpose", [])
    institution = path.get("institution")
    return _Request(
        request=request,
        access=access,
        now=access.clock(),
        permission=permission,
        institution=None if institution is None else str(institution),
        case=None if not named else "ambiguous" if len(named) > 1 else named[0],
        purpose=purposes[0] if len(purposes) == 1 else None,
        digest=path.get("digest"),
    )


async def _authenticate(asked: _Request) -> Person | None:
    """Who asks; None for a stranger who is signing in. Refuses other strangers."""
    request, access = asked.request, asked.access
    stranger = _peer(asked)
    if asked.permission is Permission.SIGN_IN:
        await _limit(asked, access.strangers, stranger, None)
        if not _is_host(asked):
            await _refuse(asked, None, Outcome.WRONG_HOST)
        return None
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme:
        async with access.store.connect() as connection:
            person = await person_with_token(connection, credentials.strip(), now=asked.now)
        return person if person is not None and scheme.lower() == "bearer" else await _refuse_stranger(asked, stranger)
    secret = request.cookies.get(access.session_cookie)
    if secret is None:
        return await _refuse_stranger(asked, stranger)
    async with access.store.connect() as connection:
        session = await find_session(connection, secret, now=asked.now)
    if session is None or (session.person.kind is Kind.DEMO and session.person.id not in access.demo_people):
        return await _refuse_stranger(asked, stranger)
    if session.stale:
        async with access.store.begin() as connection:
            await touch_session(connection, secret, now=asked.now)
    if not _is_host(asked):
        await _refuse(asked, session.person, Outcome.WRONG_HOST)
    return session.person


async def _check(asked: _Request, person: Person) -> int | None:
    """Refuse what `person` may not do. Returns the number of the case that is named."""
    await _limit(asked, asked.access.people, person.id, person)
    if person.csrf and not await _is_from_own_page(asked, person):
        await _refuse(asked, person, Outcome.CROSS_SITE)
    if asked.permission is None:
        await _refuse(asked, person, Outcome.NO_PERMISSION)
    if not person.may(asked.permission, asked.institution, now=asked.now):
        await _refuse(asked, person, Outcome.NO_GRANT)
    case = None
    if asked.institution is not None:
        case = _number(asked.case)
        if not await _exists(asked, asked.institution, case):
            await _refuse(asked, person, Outcome.NO_SUCH_OBJECT)
    if asked.permission is Permission.EVIDENCE and (case is None or not is_purpose(asked.purpose)):
        await _refuse(asked, person, Outcome.NO_PURPOSE)
    return case


async def _exists(asked: _Request, at: str, case: int | None) -> bool:
    """Whether the institution exists, and the case and the evidence that are named belong to it."""
    if not _NAME.fullmatch(at):
        return False
    wanted = [sa.exists().where(institutions.c.id == at)]
    if asked.case is not None:
        wanted.append(sa.exists().where(cases.c.id == (case or 0), cases.c.institution == at))
    if asked.digest is not None:
        wanted.append(sa.exists().where(evidence.c.digest == _digest(asked.digest), evidence.c.institution == at))
    async with asked.access.store.connect() as connection:
        return all((await connection.execute(sa.select(*wanted))).one())


async def _is_from_own_page(asked: _Request, person: Person) -> bool:
    """Whether a request with a cookie comes from a page of that session."""
    headers = asked.request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if asked.request.method in SAFE_METHODS:
        # A link elsewhere must not make somebody read evidence for a purpose that the link's author chose.
        return asked.permission is not Permission.EVIDENCE or site in {None, "same-origin"}
    if (
        (site is None and origin is None)
        or site not in {None, "same-origin"}
        or origin not in {None, asked.access.origin}
    ):
        return False
    try:
        form = await form_of(asked.request)
    except ValueError:
        return False
    given = headers.get(CSRF_HEADER, form.get(CSRF_FIELD))
    return isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), person.csrf.encode("ascii"))


async def form_of(request: Request[Any, Any, Any]) -> FormMultiDict:
    """The form of a request. Raises `ValueError` for one that cannot be read, whatever Litestar raises for it."""
    try:
        return await request.form()
    except RequestEntityTooLarge:
        raise
    except (ClientException, LookupError) as error:  # the latter: an unknown character set
        raise ValueError("the form cannot be read") from error


def _peer(asked: _Request) -> str | None:
    """The address that asks, which is forgotten again: behind a known proxy, the last one that the proxy saw."""
    client = asked.request.client
    if client is None:
        return None
    forwarded = asked.request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    try:
        peer = ipaddress.ip_address(client.host)
        if forwarded and any(peer in network for network in asked.access.proxies):
            peer = ipaddress.ip_address(forwarded)
    except ValueError:
        return client.host
    return str(ipaddress.ip_network((peer, _SUBSCRIBER), strict=False) if peer.version == _IPV6 else peer)


def _is_host(asked: _Request) -> bool:
    """Whether the request names this site: a name that somebody points at this machine would share its cookies."""
    return asked.request.headers.get("host", "").lower() == asked.access.host.lower()


def is_purpose(text: str | None) -> bool:
    """Whether `text` says for what evidence is read: some visible characters on one line."""
    if text is None or not PURPOSE_MIN <= len(text.strip()) <= len(text) <= PURPOSE_MAX:
        return False
    return not any(unicodedata.category(character).startswith("C") for character in text) and any(
        map(str.isalnum, text)
    )


async def _limit(asked: _Request, limiter: Limiter, key: object, person: Person | None) -> None:
    match limiter.take(key, now=asked.now):
        case Answer.ALLOWED:
            return
        case Answer.FIRST_REFUSED:
            await _record(asked, person, None, Outcome.TOO_MANY)
        case Answer.REFUSED:
            pass
    raise TooManyRequestsException("Too many requests. Wait a minute.", headers={"Retry-After": "60"})


async def _refuse_stranger(asked: _Request, stranger: str | None) -> NoReturn:
    """Refuse a request of which nobody knows whose it is, with a record that holds nothing of it but the route."""
    await _limit(asked, asked.access.strangers, stranger, None)
    await _limit(asked, asked.access.all_strangers, None, None)
    await _record(asked, None, None, Outcome.NOT_SIGNED_IN)
    raise NotAuthorizedException("Sign in first.", headers={"WWW-Authenticate": "Bearer"})


async def _refuse(asked: _Request, person: Person | None, outcome: Outcome, *, subject: str | None = None) -> NoReturn:
    await _record(asked, person, _number(asked.case), outcome, subject=subject)
    raise PermissionDeniedException(_ADVICE.get(outcome, _REFUSED))


async def _record(
    asked: _Request, person: Person | None, case: int | None, outcome: Outcome, *, subject: str | None = None
) -> int:
    """Commit the record of this request. Of strangers it holds the route alone, whatever they sent."""
    known = person is not None
    numbered = await record(
        asked.access.store,
        now=asked.now,
        person=person,
        action="none" if asked.permission is None else asked.permission.value,
        institution=asked.institution if known else None,
        case=case if known else None,
        purpose=asked.purpose if known else None,
        subject=subject or f"{asked.request.method} {await _path(asked) + _part(asked) if known else _route(asked)}",
        outcome=outcome,
    )
    return numbered.number


def _route(asked: _Request) -> str:
    """The route of a request, with names in the place of what was asked for."""
    return str(asked.request.scope.get("path_template", ""))


async def _path(asked: _Request) -> str:
    """The path of a request; evidence is named by its mark, since access records outlast what is erased."""
    path, digest = _route(asked), _digest(asked.digest)
    named = dict(asked.request.path_params)
    if digest:
        async with asked.access.store.connect() as connection:
            named["digest"] = mark(connection, digest).hex()
    for name, value in named.items():
        path = path.replace("{" + name + "}", str(value))
    return path


def _part(asked: _Request) -> str:
    """Which part of a list a request asks for, as a query."""
    query = asked.request.query_params
    sent = {name: query.getall(name, []) for name in _PARTS}
    parts = [
        f"{name}={value[:_PART_MAX]}"
        for name, values in sent.items()
        for value in dict.fromkeys([*values[:1], *values[-1:]])
    ]
    return f"{'?' if parts else ''}{'&'.join(parts)}"


def _number(text: object) -> int | None:
    """The number of a row that a request names; None where that is not one."""
    digits = str(text)
    return int(digits) if _NUMBER.fullmatch(digits) and int(digits) <= _ROW_MAX else None


def _digest(text: object) -> bytes:
    """The digest that a request names; empty, as no evidence has it, where that is not one."""
    return bytes.fromhex(str(text)) if _DIGEST.fullmatch(str(text)) else b""


def _sign_in_first(request: Request[Any, Any, Any], error: NotAuthorizedException) -> Response[Any]:
    """Send a browser that opens a page to the sign-in; answer programs with 401."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return Redirect(SIGN_IN_PATH, status_code=303)
    return create_exception_response(request, error)
