"""The control request for captive portals and block pages: a known plain-HTTP page and the portal API.

Room: probe. Opens connections through a `Dialer`. The outcomes say what happened, not what it means: `open` answered
exactly as expected, or the API says not captive · `captive` the API says captive · `redirected` with a Location ·
`content-mismatch` another status or content, including 511 (Network Authentication Required, RFC 6585 section 6) ·
`unreachable` no connection, or it closed early · `failed` no answer to compare for any other reason: out of time, not
HTTP, a URL that is not requested.

Two sources are asked at the same time. The control URL has a known answer (an empty 204, a fixed word); a network that
answers in its place shows itself. The captive portal API (RFC 8908), whose address a network announces by DHCP or
router advertisement (RFC 8910), says in JSON whether this client is captive.

No control URL is requested unless the caller names it. Portals often put the client's hardware and network address into
the query of their URL: queries and fragments are therefore never kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from detector.model import PortalObservation, PortalOutcome, json_text

from .client import OK, FetchOutcome, Limits, fetch, printable

if TYPE_CHECKING:
    from detector.probe.routes import Dialer

    from .client import Fetched

CONTROL_LIMITS: Final = Limits(seconds=3.0, head_bytes=16 * 1024, body_bytes=64 * 1024)
"""Limits of one control or API request. Portals answer from the same building; their pages are hashed up to 64 KiB."""

PORTAL_URL_CHARACTERS_MAX: Final = 512  # of a portal's URL without its query: enough to recognize or open it

_REDIRECTION: Final = range(300, 400)
_NO_CONTENT: Final = 204


class _ApiAnswer(msgspec.Struct, frozen=True):
    """The keys of RFC 8908 section 5 that matter here; others are ignored, as the RFC requires."""

    captive: bool
    user_portal_url: str | None = msgspec.field(default=None, name="user-portal-url")


async def probe_portal(  # noqa: PLR0913 - keyword-only; a control request is made of these
    *,
    dialer: Dialer,
    probe_url: str,
    expect_status: int = _NO_CONTENT,
    expect_body: bytes | None = None,
    api_url: str | None = None,
    limits: Limits = CONTROL_LIMITS,
    deadline: float | None = None,
) -> PortalObservation:
    """Request `probe_url`, and the portal API at `api_url` where given, and report the answers.

    The genuine answer to `probe_url` has `expect_status` and, unless it is None, exactly `expect_body`. `deadline` is
    a time of the running event loop. RFC 8908 section 4.1 requires HTTPS for the API, which is not supported here: an
    https URL gives `api` the outcome `failed`, as does a control URL that is not http for `outcome`. Redirects are not
    followed. Raises nothing for reasons of network or content.
    """
    if expect_body is not None:
        limits = msgspec.structs.replace(limits, body_bytes=max(limits.body_bytes, len(expect_body)))
    control, api = await asyncio.gather(
        fetch(probe_url, dialer=dialer, limits=limits, deadline=deadline), _ask_api(api_url, dialer, limits, deadline)
    )
    api_outcome, sign_in_url = api
    captive = api_outcome is PortalOutcome.CAPTIVE
    whole = control.outcome is FetchOutcome.ANSWERED
    return PortalObservation(
        outcome=PortalOutcome.CAPTIVE if captive else _of_control(control, expect_status, expect_body),
        url=control.url,
        status=control.status,
        location=None if control.location is None else _stripped(control.location),
        body_sha256=hashlib.sha256(control.body).hexdigest() if whole else None,
        api=api_outcome,
        sign_in_url=sign_in_url,
    )


def _of_control(answer: Fetched, expect_status: int, expect_body: bytes | None) -> PortalOutcome:
    """Compare an answer with the genuine one. What the head decides needs no complete body."""
    if answer.status is None:
        return _without_answer(answer)
    if answer.status != expect_status:
        redirected = answer.status in _REDIRECTION and answer.location is not None
        return PortalOutcome.REDIRECTED if redirected else PortalOutcome.CONTENT_MISMATCH
    whole = answer.outcome is FetchOutcome.ANSWERED
    if expect_body is None:
        # Any content will do, of any size.
        return PortalOutcome.OPEN if whole or answer.outcome is FetchOutcome.TOO_LARGE else _without_answer(answer)
    if whole and answer.body == expect_body:
        return PortalOutcome.OPEN
    if whole or answer.outcome is FetchOutcome.TOO_LARGE or not expect_body.startswith(answer.body):
        return PortalOutcome.CONTENT_MISMATCH
    return _without_answer(answer)


def _without_answer(answer: Fetched) -> PortalOutcome:
    """Return the outcome of an answer that cannot be compared."""
    return PortalOutcome.UNREACHABLE if answer.outcome is FetchOutcome.UNREACHABLE else PortalOutcome.FAILED


async def _ask_api(
    url: str | None, dialer: Dialer, limits: Limits, deadline: float | None
) -> tuple[PortalOutcome | None, str | None]:
    """Ask the captive portal API (RFC 8908); return its outcome and its user-portal-url, None without a URL."""
    if url is None:
        return None, None
    answer = await fetch(url, dialer=dialer, limits=limits, deadline=deadline)
    if answer.outcome is not FetchOutcome.ANSWERED or answer.status != OK:
        return _without_answer(answer), None
    return read_api(answer.body)


def read_api(body: bytes) -> tuple[PortalOutcome, str | None]:
    """Parse the API's JSON (RFC 8908 section 5): `captive` or `open`, and the user-portal-url; else `failed`."""
    try:
        said = json_text.decode(body, _ApiAnswer)
    except json_text.MalformedError:
        return PortalOutcome.FAILED, None
    portal = None if said.user_portal_url is None else _stripped(said.user_portal_url)
    return PortalOutcome.CAPTIVE if said.captive else PortalOutcome.OPEN, portal


def _stripped(url: str) -> str | None:
    """Strip a portal's URL for a report. A relative one stays relative.

    None for one that cannot be parsed, so that nothing could be stripped, and for schemes that a browser would execute.
    """
    try:
        parts = urlsplit(printable(url))
    except ValueError:
        return None
    if parts.scheme not in {"", "http", "https"}:
        return None
    kept = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return kept.geturl()[:PORTAL_URL_CHARACTERS_MAX] or None
