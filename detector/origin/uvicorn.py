"""Uvicorn passes the ClientHello of each connection to its application.

Room: origin. Uses the server's `ssl` context; needs uvicorn, which imports it.

    uvicorn application:app --http detector.origin.uvicorn:Protocol --ssl-certfile chain.pem --ssl-keyfile key.pem
    uvicorn.run(app, http=Protocol, ssl_certfile=…, ssl_keyfile=…)

`Protocol` is uvicorn's own protocol for HTTP/1.1, whose application finds `detector.origin.asgi.CONNECTION` among the
extensions of its scope, for HTTP and for WebSocket. The peer in it is that of the transport: uvicorn itself may replace
`scope["client"]` by what a header says.
"""

from __future__ import annotations

import copy
import weakref
from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from detector.origin.asgi import with_connection
from detector.origin.capture import HelloCapture, peer_of

if TYPE_CHECKING:
    import asyncio
    import ssl

    from uvicorn.config import Config

_CAPTURE: Final = HelloCapture()
_CAPTURED: Final[weakref.WeakSet[ssl.SSLContext]] = weakref.WeakSet()
"""The contexts of this process: uvicorn has one, before its first connection."""


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type] # uvicorn chooses the class when it is imported
    """HTTP/1.1 of uvicorn with `detector.origin.asgi.CONNECTION` in the scope; the argument `http` of uvicorn."""

    config: Config

    def __init__(self, config: Config, *arguments: object, **more: object) -> None:
        super().__init__(config, *arguments, **more)
        if config.ssl is not None and config.ssl not in _CAPTURED:
            _CAPTURED.add(config.ssl)
            _CAPTURE.install(config.ssl)

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Give this connection's application its ClientHello, also where it becomes a WebSocket."""
        super().connection_made(transport)
        hello = _CAPTURE.hello_of(transport)
        self.config = copy.copy(self.config)  # a WebSocket takes the application from there
        self.app = self.config.loaded_app = with_connection(
            self.config.loaded_app, hello=hello, peer=peer_of(transport)
        )
