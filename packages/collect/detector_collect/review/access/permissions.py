"""What each role permits, and when a grant counts.

Room: detector_collect.review.access. Pure: grants, people and time are arguments.

Whatever is not in `ROLES` is refused. A grant counts once somebody else than its requester and its holder approved it,
and until it expires or is revoked. Auditors see who read what, never what they read; administrators decide who gets in,
and read nothing themselves. Programs never get more than the person who answers for them, and an institution's own
staff, who come from its learning platform, see that institution's summary alone.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Permission(enum.StrEnum):
    """What a route needs. Each route names one as `opt={"permission": …}`; without one it is refused to everybody."""

    PUBLIC = "public"
    """Nothing about anybody: liveness, style sheets."""
    SUBMIT = "submit"
    """Sending evidence. The submission's own signature authenticates it."""
    OPERATE = "operate"
    """Metrics of the service, for a program with a token of this scope."""
    SIGN_IN = "sign-in"
    """The steps of signing in."""
    SIGNED_IN = "signed-in"
    """What anybody who is signed in may do: signing out."""
    VIEW = "view"
    """Conclusions about an institution, its cases and how they were reached, without raw evidence."""
    EVIDENCE = "evidence"
    """Raw evidence, for a named case and purpose."""
    REVIEW = "review"
    """Writing to a case, requesting and approving exports."""
    ADMINISTER = "administer"
    """Requesting, approving and revoking grants."""
    AUDIT = "audit"
    """Reading access records."""
    OWN_INSTITUTION = "own-institution"
    """The summary that an institution's own staff see."""


class Role(enum.StrEnum):
    """What a person is granted, at one institution or at all."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"


ROLES: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({Permission.VIEW}),
    Role.REVIEWER: frozenset({Permission.VIEW, Permission.EVIDENCE, Permission.REVIEW}),
    Role.ADMINISTRATOR: frozenset({Permission.ADMINISTER}),
    Role.AUDITOR: frozenset({Permission.AUDIT}),
}

SCOPES: Final = frozenset({Permission.VIEW, Permission.EVIDENCE, Permission.AUDIT, Permission.OPERATE})
"""What a token may be made for. Decisions, grants and approvals are a person's."""

OF_AN_INSTITUTION: Final = frozenset({Permission.EVIDENCE, Permission.REVIEW})
"""Permissions whose routes name their institution in the path."""

UNRECORDED: Final = frozenset({Permission.PUBLIC, Permission.SUBMIT, Permission.OPERATE, Permission.SIGN_IN})
"""Permissions whose use leaves no access record: they open nothing about an institution or a person. Each sign-in that
succeeds or fails is recorded by the route itself."""

REQUEST_LIFE: Final = dt.timedelta(days=7)
"""How long a request for a grant waits for its approval: long enough for an absence, short enough to be remembered."""

GRANT_LIFE_MAX: Final = dt.timedelta(days=366)
"""The longest grant: rights are reviewed once a year at least (ISO/IEC 27002:2022, control 5.18)."""


class Kind(enum.StrEnum):
    """How a person came in."""

    OIDC = "oidc"
    LTI = "lti"
    DEMO = "demo"
    TOKEN = "token"  # noqa: S105 - a kind, no secret
    COMMAND = "command"


class Grant(NamedTuple):
    """A role of a person; `institution` None means all."""

    id: int
    person: int
    role: Role
    institution: str | None
    requested_by: int
    requested: dt.datetime
    approved_by: int | None
    approved: dt.datetime | None
    expires: dt.datetime
    revoked: dt.datetime | None


class Person(NamedTuple):
    """Who asks: a member of staff in a session, or a program with a token of one.

    `institution` limits what comes from a learning platform or with a token, `scopes` what a token is for. `csrf` goes
    into each form of a session.
    """

    id: int | None
    name: str
    kind: Kind
    grants: tuple[Grant, ...] = ()
    institution: str | None = None
    scopes: frozenset[Permission] = frozenset()
    csrf: str = ""

    def may(self, permission: Permission, institution: str | None, *, now: dt.datetime) -> bool:
        """Whether this person has `permission` at `institution`, or, where it is None, anywhere."""
        allowed = self.institutions(permission, now=now)
        if allowed is None:
            return True
        return bool(allowed) if institution is None else institution in allowed

    def institutions(self, permission: Permission, *, now: dt.datetime) -> frozenset[str] | None:
        """Where this person has `permission`; None means everywhere."""
        match self.kind:
            case Kind.LTI:
                own = permission in {Permission.OWN_INSTITUTION, Permission.SIGNED_IN}
                return frozenset({self.institution}) if own and self.institution else frozenset()
            case Kind.TOKEN if permission not in self.scopes:
                return frozenset()
            case Kind.TOKEN if permission is Permission.OPERATE:
                return None
            case Kind.COMMAND:
                return frozenset()
            case _ if permission is Permission.SIGNED_IN:
                return None
            case _:
                return _limit(_granted(self.grants, permission, now=now), self.institution)


COMMAND: Final = Person(id=None, name="command on the server", kind=Kind.COMMAND)
"""Who acts from the server's command line: an operator with the database's password, whom no grant can limit."""


def in_force(grant: Grant, *, now: dt.datetime) -> bool:
    """Whether a grant counts at `now`: approved by a third person, not expired, not revoked."""
    return (
        grant.approved is not None
        and grant.approved <= now < grant.expires
        and grant.approved_by not in {None, grant.person, grant.requested_by}
        and grant.revoked is None
    )


def _granted(grants: Iterable[Grant], permission: Permission, *, now: dt.datetime) -> frozenset[str] | None:
    places = {one.institution for one in grants if permission in ROLES[one.role] and in_force(one, now=now)}
    return None if None in places else frozenset(place for place in places if place is not None)


def _limit(allowed: frozenset[str] | None, institution: str | None) -> frozenset[str] | None:
    if institution is None:
        return allowed
    return frozenset({institution}) if allowed is None or institution in allowed else frozenset()


class RuleError(InputError):
    """What somebody asked for breaks a rule of grants; the message says which, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, advice="")


def check_request(by: Person, *, institution: str | None, expires: dt.datetime, now: dt.datetime) -> None:
    """Check that `by` may request a grant. Raises `RuleError`."""
    _check_administers(by, institution, now=now)
    if not now < expires <= now + GRANT_LIFE_MAX:
        raise RuleError(f"A grant ends in the future, and after {GRANT_LIFE_MAX.days} days at the latest.")


def check_approval(by: Person, grant: Grant, *, requester: Person, now: dt.datetime) -> None:
    """Check that `by` may approve `grant`, which `requester` asked for. Raises `RuleError`."""
    _check_administers(by, grant.institution, now=now)
    if by.id in {None, grant.requested_by, grant.person}:
        raise RuleError("Somebody else approves a grant than those who requested it and who get it.")
    if grant.approved is not None or grant.revoked is not None:
        raise RuleError("This request is decided already.")
    if not grant.requested <= now < min(grant.expires, grant.requested + REQUEST_LIFE):
        raise RuleError("This request has expired. Request the grant again.")
    if not _administers(requester, grant.institution, now=now):
        raise RuleError("Who requested this is no administrator there any more. Request the grant again.")


def check_revocation(by: Person, grant: Grant, *, now: dt.datetime) -> None:
    """Check that `by` may revoke `grant`, or decline its request: one administrator is enough. Raises `RuleError`."""
    _check_administers(by, grant.institution, now=now)
    if grant.revoked is not None:
        raise RuleError("This grant is revoked already.")


def _administers(person: Person, institution: str | None, *, now: dt.datetime) -> bool:
    """Whether `person` is administrator there; for a grant at all institutions, at all of them."""
    allowed = person.institutions(Permission.ADMINISTER, now=now)
    return allowed is None or (institution is not None and institution in allowed)


def _check_administers(by: Person, institution: str | None, *, now: dt.datetime) -> None:
    if not _administers(by, institution, now=now):
        raise RuleError("Only an administrator of that institution decides about its grants.")
