"""ASGI: what a server's hook puts into the scope, and the middleware that assesses each request.

Room: origin. Opens nothing; imports no server and no framework. `uvicorn` and `hypercorn` are the hooks.

    app = OriginMiddleware(app, on_judgment=record)

A hook adds `CONNECTION` to `scope["extensions"]` (ASGI 3, "Extensions"), of HTTP and WebSocket alike:

    "detector.connection": {"client_hello": bytes | None, "peer": str | None}

`client_hello` is the connection's first ClientHello, the handshake message with its header; None without TLS, or where
this Python cannot capture it. `peer` is the address of the other end of the TCP connection, whatever headers say; None
for a Unix socket. The "tls" extension of ASGI has other fields and stays the server's.

The middleware adds `JUDGMENT` to the scope: a `Judgment`, or None where there is nothing to assess. It refuses no
request and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CONNECTION: Final = "detector.connection"
"""The key of the hook's entry in `scope["extensions"]`."""

JUDGMENT: Final = "detector.judgment"
"""The key of the assessment in the scope."""

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
