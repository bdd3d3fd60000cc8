"""Hypercorn passes the ClientHello of each connection to its application, with HTTP/1.1 and HTTP/2.

Room: origin. Uses the server's `ssl` context; needs hypercorn.

    config = Config.from_mapping(certfile="chain.pem", keyfile="key.pem")
    await hypercorn.asyncio.serve(with_hello(app), config)

Hypercorn has no place where an application could find its connection. What it does, in the task in which it serves a
connection, is ask that connection for the protocol that was negotiated (ALPN): the class that Python makes connections
of is an attribute of the context, and ours notes in a context variable whose task it is. The tasks that
serve the connection's requests inherit the variable, and no others do.
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import hypercorn.config

from detector.origin.asgi import with_connection
from detector.origin.capture import HelloCapture
from detector.origin.requests import UNIX_SOCKET

if TYPE_CHECKING:
    from detector.origin.asgi import Application, Receive, Scope, Send

_CAPTURE: Final = HelloCapture()
_CONNECTION: Final[ContextVar[ssl.SSLObject]] = ContextVar("detector_origin_connection")


class _Connection(ssl.SSLObject):
    """A connection that the task which serves it can be asked for."""

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol, to the task that serves this connection."""
        _CONNECTION.set(self)
        return super().selected_alpn_protocol()


class Config(hypercorn.config.Config):
    """Hypercorn's configuration; its connections' ClientHellos are captured."""

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS settings, as hypercorn makes them, with the capture installed where that is possible."""
        context = super().create_ssl_context()
        if context is not None and _CAPTURE.install(context) is None:
            context.sslobject_class = _Connection
        return context


def with_hello(application: Application) -> Application:
    """Return the application with `detector.origin.asgi.CONNECTION` in its scope; make it the outermost one."""

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        hello = _CAPTURE.hello(_CONNECTION.get(None))
        inner = with_connection(application, hello=hello, peer=UNIX_SOCKET if client is None else client[0])
        await inner(scope, receive, send)

    return outermost
