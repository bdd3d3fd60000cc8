"""Lets an institution's own staff in from its learning platform (LTI 1.3 core).

Room: detector_collect.review.access. Fetches key sets of configured platforms, through `fetching`.

The platform asks us to begin (third-party-initiated login), we send the browser to it with a state and a nonce, and it
posts an ID token. Platforms are configured with issuer, client, deployment and the one institution whose staff they
have; whatever a launch says about its institution, course or target changes nothing. Only roles in `STAFF` come in, and
nobody who is a learner too. Of the person nothing is kept but the platform's identifier: records must say who read, and
the institution alone needs to know their name.

The platform's form comes from another site, so that the browser sends no cookie with SameSite=Lax. The state is kept
here (`pending`), and the cookie that binds it to the browser is the only one with SameSite=None: it is worth nothing
without the state, lives as long as the state, and opens nothing. The session that follows is Lax again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from detector_collect.store.schema import platforms, sessions

from .fetching import KeySource, check_url
from .id_tokens import Claims, Text, TokenError, key_named, read_token
from .oidc import with_query
from .people import has_institution
from .permissions import COMMAND, Kind, RuleError
from .records import append, entry_of

if TYPE_CHECKING:
    import datetime as dt

    import aiohttp
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .chain import AccessRecord
    from .pending import Pending

_CLAIM: Final = "https://purl.imsglobal.org/spec/lti/claim/"
_VOCABULARY: Final = "http://purl.imsglobal.org/vocab/lis/v2/"

STAFF: Final = frozenset(
    _VOCABULARY + role
    for role in (
        "membership#Administrator",
        "membership#Instructor",
        "institution/person#Administrator",
        "institution/person#Faculty",
        "institution/person#Instructor",
        "institution/person#Staff",
    )
)
"""Roles that come in (LTI 1.3 core, appendix A.2). Roles of the platform's own operators say nothing about the
institution; assistants are students often."""

LEARNERS: Final = ("Learner", "Student", "TeachingAssistant", "TestUser")
"""Parts of roles that keep somebody out whatever other roles they have, in full or short names."""

HINT_MAX: Final = 4096
"""Characters of a hint of the platform that is passed back to it: it is the platform's own, and some are tokens."""


class Platform(NamedTuple):
    """A deployment of ours in a learning platform."""

    issuer: str
    client: str
    deployment: str
    institution: str
    authorization_url: str
    keys_url: str


class Launch(Claims, frozen=True, kw_only=True):
    """The claims of a launch that are used (LTI 1.3 core, section 5.3)."""

    message_type: Literal["LtiResourceLinkRequest"] = msgspec.field(name=f"{_CLAIM}message_type")
    version: Literal["1.3.0"] = msgspec.field(name=f"{_CLAIM}version")
    deployment_id: Text = msgspec.field(name=f"{_CLAIM}deployment_id")
    roles: list[str] = msgspec.field(name=f"{_CLAIM}roles")


class KeySources:
    """The key sets of platforms, by URL. Only configured platforms have one, so their number is bounded."""

    def __init__(self) -> None:
        self._sources: dict[str, KeySource] = {}

    def of(self, url: str) -> KeySource:
        """The keys at a URL of a configured platform."""
        return self._sources.setdefault(url, KeySource(url))


async def find_platforms(
    connection: AsyncConnection, issuer: str | None = None, client: str | None = None
) -> list[Platform]:
    """The deployments, only of this issuer and this client of it where they are named."""
    wanted = sa.select(*[platforms.c[name] for name in Platform._fields])
    if issuer is not None:
        wanted = wanted.where(platforms.c.issuer == issuer)
    if client is not None:
        wanted = wanted.where(platforms.c.client == client)
    return [
        Platform(*row)
        for row in (
            await connection.execute(wanted.order_by(platforms.c.issuer, platforms.c.client, platforms.c.deployment))
        ).all()
    ]


async def add_platform(connection: AsyncConnection, platform: Platform, *, now: dt.datetime) -> None:
    """Let staff of an institution in from a deployment. Raises `InputError` and `RuleError`."""
    for field, url in (("authorization URL", platform.authorization_url), ("keys URL", platform.keys_url)):
        check_url(url, field=field)
    if not await has_institution(connection, platform.institution):
        raise RuleError(f"There is no institution {platform.institution}. Add it first.")
    for other in await find_platforms(connection, platform.issuer, platform.client):
        if other.deployment == platform.deployment:
            raise RuleError("There is this deployment already. Remove it first.")
        if (other.authorization_url, other.keys_url) != (platform.authorization_url, platform.keys_url):
            raise RuleError("Another deployment of this client has other URLs: a client has one key set.")
    await connection.execute(sa.insert(platforms).values(platform._asdict()))
    await append(connection, _entry("platform-added", platform, now=now))


async def remove_platform(connection: AsyncConnection, platform: Platform, *, now: dt.datetime) -> None:
    """Let nobody in from a deployment any more, and end the sessions of its institution's staff."""
    columns = platforms.c
    this = (
        columns.issuer == platform.issuer,
        columns.client == platform.client,
        columns.deployment == platform.deployment,
    )
    await connection.execute(sa.delete(platforms).where(*this))
    from_platforms = (sessions.c.kind == Kind.LTI.value, sessions.c.institution == platform.institution)
    await connection.execute(sa.delete(sessions).where(*from_platforms))
    await append(connection, _entry("platform-removed", platform, now=now))


def _entry(action: str, platform: Platform, *, now: dt.datetime) -> AccessRecord:
    subject = f"deployment {platform.deployment} of {platform.client} at {platform.issuer}"
    return entry_of(now=now, person=COMMAND, action=action, institution=platform.institution, subject=subject)


def only_client(known: list[Platform]) -> Platform:
    """A deployment of the one client that is meant. Raises `TokenError`."""
    if len({one.client for one in known}) != 1:
        raise TokenError("the platform is not known, or does not say which client it means")
    return known[0]


def address(  # noqa: PLR0913 - what the request consists of
    platform: Platform, *, redirect: str, state: str, pending: Pending, hint: str, message_hint: str
) -> str:
    """Where the browser gets its token (1EdTech Security Framework, section 5.1.1.2). Raises `TokenError`."""
    if not 0 < len(hint) <= HINT_MAX or len(message_hint) > HINT_MAX:
        raise TokenError("the platform's hint is missing or too long")
    fields = {
        "response_type": "id_token",
        "response_mode": "form_post",
        "scope": "openid",
        "prompt": "none",
        "client_id": platform.client,
        "redirect_uri": redirect,
        "login_hint": hint,
        "state": state,
        "nonce": pending.nonce,
    }
    return with_query(platform.authorization_url, fields | ({"lti_message_hint": message_hint} if message_hint else {}))


async def identify(  # noqa: PLR0913 - what the launch consists of
    http: aiohttp.ClientSession,
    sources: KeySources,
    known: list[Platform],
    *,
    token: str,
    pending: Pending,
    now: dt.datetime,
) -> tuple[Platform, Launch]:
    """Who came from which deployment. `known` are those of the issuer and client that began. Raises `TokenError`."""
    if not known:
        raise TokenError("the platform is not known any more")
    keys = await sources.of(known[0].keys_url).keys(http, named=key_named(token), now=now)
    launch = read_token(token, keys, Launch, issuer=pending.issuer, client=pending.client, nonce=pending.nonce, now=now)
    deployments = [one for one in known if one.deployment == launch.deployment_id]
    if not deployments:
        raise TokenError("the launch is of another deployment")
    if not is_staff(launch.roles):
        raise TokenError("the launch is not of a member of staff")
    return deployments[0], launch


def is_staff(roles: list[str]) -> bool:
    """Whether somebody with these roles is staff, and nothing else."""
    return not STAFF.isdisjoint(roles) and not any(part in role for role in roles for part in LEARNERS)
