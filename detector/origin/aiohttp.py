"""aiohttp: a middleware that assesses each request of a server.

Room: origin. Reads the connection of a request; opens nothing.

    capture = HelloCapture()
    capture.install(context)
    app = web.Application(middlewares=[middleware(capture.hello_of, on_assessment=record)])
    web.run_app(app, ssl_context=context)

A handler finds the assessment as `request.get(ASSESSMENT)`, which is None where there is nothing to assess. The
middleware refuses no request and waits for nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from detector.origin.capture import peer_of
from detector.origin.requests import Assessment, Requests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ASSESSMENT: Final = web.RequestKey("detector_assessment", Assessment)
"""Where a request has its assessment."""


def middleware(
    hello_of: Callable[[asyncio.BaseTransport], bytes | None],
    *,
    on_assessment: Callable[[web.Request, Assessment], object] | None = None,
    requests: Requests | None = None,
) -> Middleware:
    """Return a middleware that assesses each request.

    Args:
        hello_of: returns the ClientHello of a connection: that of a `HelloCapture`, or in an application that a witness
            serves `detector.witness.server.hello_of`.
        on_assessment: is called with the request and what was found, once the handler has the request. What it raises
            goes to the event loop's exception handler, and no request waits for it.
        requests: how requests are assessed; directly, without proxies, unless given.
    """
    assessing = requests or Requests()

    @web.middleware
    async def origin(request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if transport is not None:
            headers = [(name.lower(), value) for name, value in request.headers.items()]
            assessment = assessing.assess(hello_of(transport), peer_of(transport), headers)
            if assessment is not None:
                request[ASSESSMENT] = assessment
                if on_assessment is not None:
                    asyncio.get_running_loop().call_soon(on_assessment, request, assessment)
        return await handler(request)

    return origin
