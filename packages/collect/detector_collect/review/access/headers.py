"""Security headers on every answer, errors included.

Room: detector_collect.review.access. Changes headers of answers, reads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from litestar.types import Message, Scope

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": (
        "accelerometer=(), camera=(), clipboard-read=(), display-capture=(), geolocation=(), gyroscope=(),"
        " microphone=(), midi=(), payment=(), usb=()"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Set whatever a handler sets (OWASP Secure Headers Project). No script and no inline style runs, nothing comes from or
goes to another host, nobody frames a page. With `no-referrer` browsers send `Origin: null` with our own forms (Fetch
standard, section 3.2); `same-origin` gives other hosts as little."""

NO_STORE: Final = b"no-store"
"""Caching, unless the handler of a public file says otherwise."""

HSTS: Final = "max-age=63072000; includeSubDomains"
"""Two years of HTTPS only (RFC 6797 section 6.1; the minimum of browsers' preload lists is one)."""


class SecurityHeaders:
    """Adds the headers to every answer before it is sent; HSTS where the site is reached by HTTPS (`https`)."""

    def __init__(self, *, https: bool) -> None:
        fixed = HEADERS | ({"strict-transport-security": HSTS} if https else {})
        self._fixed: Final = [(name.encode("ascii"), value.encode("ascii")) for name, value in fixed.items()]
        self._names: Final = frozenset(name for name, _ in self._fixed)

    async def __call__(self, message: Message, scope: Scope) -> None:  # noqa: ARG002 - Litestar's signature
        """Add headers to the message that begins an answer."""
        if message["type"] == "http.response.start":
            kept = [pair for pair in message["headers"] if pair[0].lower() not in self._names]
            if not any(name.lower() == b"cache-control" for name, _ in kept):
                kept.append((b"cache-control", NO_STORE))
            message["headers"] = [*kept, *self._fixed]
