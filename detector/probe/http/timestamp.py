"""Asks a time-stamping authority over HTTP (RFC 3161 section 3.4).

Room: probe. Opens connections through a `Dialer`. The answer is signed: nobody on the path can forge one, only keep it
back, so that it makes no difference whether the authority's URL is http or https. What is sent is a hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Endpoint

from . import https
from .client import OK, Content, FetchOutcome, Limits, fetch, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.probe.routes import Dialer


MEDIA_TYPE: Final = "application/timestamp-query"
"""Of a request (RFC 3161 section 3.4)."""

LIMITS: Final = Limits(seconds=30.0, body_bytes=64 * 1024)
"""Authorities that sign with a hardware module answer within a few seconds, with their chain in 2 to 7 KiB."""


async def ask(
    url: str, query: bytes, *, dialer_for: Callable[[Endpoint], Dialer], limits: Limits = LIMITS, deadline: float
) -> bytes:
    """Send a request to the authority at `url`, http or https, and return its answer, which is not checked.

    `deadline` is a time of the running event loop. Raises ValueError, whose text is one clause, for a URL that cannot
    be requested and for an authority that does not answer with status 200.
    """
    plain = parse_url(url)
    target = plain or parse_url(url, "https")
    if target is None:
        raise ValueError("not an http or https URL without a password")
    dialer = dialer_for(Endpoint(host=target.host, port=target.port))
    if plain is None:
        async with https.connect(url, dialer=dialer, deadline=deadline) as server:
            body = None if server is None else await server.post(Content(MEDIA_TYPE, query), limits=limits)
    else:
        content = Content(MEDIA_TYPE, query)
        answer = await fetch(url, dialer=dialer, limits=limits, deadline=deadline, method="POST", content=content)
        body = answer.body if answer.outcome is FetchOutcome.ANSWERED and answer.status == OK else None
    if body is None:
        raise ValueError("it did not answer as a time-stamping authority does")
    return body
