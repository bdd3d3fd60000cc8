"""ASGI: what a server's hook puts into the scope, and the middleware that assesses each request.

Room: origin. Opens nothing; imports no server and no framework. `uvicorn` and `hypercorn` are the hooks.

    app = OriginMiddleware(app, on_assessment=record)

A hook adds `CONNECTION` to `scope["extensions"]` (ASGI 3, "Extensions"), of HTTP and WebSocket alike:

    "detector.connection": {"client_hello": bytes | None, "peer": str | None}

`client_hello` is the connection's first ClientHello, the handshake message with its header; None without TLS, or where
this Python cannot capture it. `peer` is the address of the other end of the TCP connection, whatever headers say, or
"unix". The "tls" extension of ASGI has other fields and stays the server's.

The middleware adds `ASSESSMENT` to the scope: an `Assessment`, or None where there is nothing to assess. It refuses no
request and waits for nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from detector.origin.requests import Requests

if TYPE_CHECKING:
    from detector.origin.requests import Assessment

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CONNECTION: Final = "detector.connection"
"""The key of the hook's entry in `scope["extensions"]`."""

ASSESSMENT: Final = "detector.assessment"
"""The key of the assessment in the scope."""

NO_HOOK: Final = (
    "Nothing is assessed: the server does not pass its connections to the application. Run it with "
    "detector.origin.uvicorn or detector.origin.hypercorn."
)
"""What is logged once where the scope has no `CONNECTION`."""

LOG: Final = logging.getLogger("detector.origin")

_WITH_REQUESTS: Final = frozenset({"http", "websocket"})
"""Types of scopes that have headers."""


def with_connection(application: Application, *, hello: bytes | None, peer: str | None) -> Application:
    """Return the application of one connection: `CONNECTION` is in the scope of each of its requests."""
    entry = {"client_hello": hello, "peer": peer}

    async def of_connection(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in _WITH_REQUESTS:
            scope["extensions"] = {**(scope.get("extensions") or {}), CONNECTION: entry}
        await application(scope, receive, send)

    return of_connection


class OriginMiddleware:
    """Assesses each request of an ASGI application.

    Args:
        app: the application, of any framework.
        on_assessment: is called with the scope and what was found, after the request was passed on to the application.
            What it raises goes to the event loop's exception handler, and no request waits for it.
        requests: how requests are assessed; directly, without proxies, unless given.
    """

    def __init__(
        self,
        app: Application,
        *,
        on_assessment: Callable[[Scope, Assessment], object] | None = None,
        requests: Requests | None = None,
    ) -> None:
        self._app = app
        self._on_assessment = on_assessment
        self._requests = requests or Requests()
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] in _WITH_REQUESTS:
            connection = (scope.get("extensions") or {}).get(CONNECTION)
            assessment = None
            if connection is not None:
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
                assessment = self._requests.assess(connection["client_hello"], connection["peer"], headers)
            elif not self._warned:
                self._warned = True
                LOG.warning(NO_HOOK)
            scope[ASSESSMENT] = assessment
            if assessment is not None and self._on_assessment is not None:
                asyncio.get_running_loop().call_soon(self._on_assessment, scope, assessment)
        await self._app(scope, receive, send)
