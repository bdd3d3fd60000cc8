"""aiohttp: a middleware that assesses each request of a server.

Room: origin. Reads the connection of a request; opens nothing.

    capture = HelloCapture()
    capture.install(context)
    app = web.Application(middlewares=[middleware(capture, on_judgment=record)])
    web.run_app(app, ssl_context=context)

A handler finds the assessment as `request.get(JUDGMENT)`, which is None where there is nothing to assess. The
middleware refuses no request and waits for nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from detector.origin.assess import Judgment
from detector.origin.requests import Requests, peer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

    from detector.origin.capture import HelloCapture

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JUDGMENT: Final = web.RequestKey("detector_judgment", Judgment)
"""Where a request has its assessment."""


def middleware(
    capture: HelloCapture,
    *,
    on_judgment: Callable[[web.Request, Judgment], object] | None = None,
    requests: Requests | None = None,
) -> Middleware:
    """Return a middleware that assesses each request.

    Args:
        capture: what keeps the ClientHellos of the server's connections.
        on_judgment: is called with the request and what was found, once the handler has the request. What it raises
            goes to the event loop's exception handler, and no request waits for it.
        requests: how requests are assessed; directly, without proxies, unless given.
    """
    assessing = requests or Requests()

    @web.middleware
    async def origin(request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if transport is not None:
            hello = capture.hello(transport.get_extra_info("ssl_object"))
            headers = [(name.lower(), value) for name, value in request.headers.items()]
            judgment = assessing.assess(hello, peer_of(transport), headers)
            if judgment is not None:
                request[JUDGMENT] = judgment
                if on_judgment is not None:
                    asyncio.get_running_loop().call_soon(on_judgment, request, judgment)
        return await handler(request)

    return origin
