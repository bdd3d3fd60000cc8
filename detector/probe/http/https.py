"""Requests over TLS that was captured: the caller assesses the observation before anything is asked.

Room: probe. Opens connections through a `Dialer`. For resolvers (DNS over HTTPS) and proxy files.

    async with connect(url, dialer=dialer, deadline=until) as server:
        if server is not None and trusted(server.endpoint, server.observation):
            (body,) = await server.get(limits=limits)
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from detector.model import Endpoint
from detector.probe.client import close, open_tls
from detector.probe.tls.openssl import strict_context

from .client import OK, FetchOutcome, ask_over, parse_url, request_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from detector.model import Observation
    from detector.probe.routes import Dialer
    from detector.probe.tls.transport import TLSTransport

    from .client import Answer, Content, Limits, Target


class HTTPSServer:
    """The server of an https URL, as far as it was reached: what the handshake showed, and requests to it.

    `path` is that of the URL. Nothing has been sent when it comes: whether it may be asked is for the caller to decide.
    """

    def __init__(
        self, target: Target, observation: Observation, connection: TLSTransport | None, deadline: float
    ) -> None:
        self.endpoint = Endpoint(host=target.host, port=target.port)
        self.path = target.path
        self.observation = observation
        self._authority = target.authority
        self._connection = connection
        self._deadline = deadline

    async def get(
        self,
        paths: Sequence[str] | None = None,
        *,
        limits: Limits,
        accept: str = "*/*",
        encoding: str = "identity",
    ) -> tuple[bytes | None, ...]:
        """Request each of `paths` (default: that of the URL); return the bodies of the answers with status 200.

        They are as sent: with another `encoding` than `identity` they may be compressed. None stands for a request
        without such an answer. Raises nothing for reasons of network or peer.
        """
        wanted = (self.path,) if paths is None else tuple(paths)
        bodies: list[bytes | None] = []
        if (connection := self._connection) is None:
            return (None,) * len(wanted)
        for path in wanted:
            request = request_for(self._authority, path, ("Accept", accept), encoding=encoding)
            answer = await ask_over(connection, request, limits=limits, until=self._deadline)
            bodies.append(_ok(answer))
            if not answer.leaves_reusable or connection.is_closing():
                break
        return (*bodies, *(None,) * (len(wanted) - len(bodies)))

    async def post(self, content: Content, *, limits: Limits) -> bytes | None:
        """Send content to the path of the URL; return the body of an answer with status 200.

        Raises nothing for reasons of network or peer.
        """
        if self._connection is None:
            return None
        headers = (("Accept", "*/*"), *content.headers)
        request = request_for(self._authority, self.path, *headers, method="POST")
        asked = ask_over(self._connection, request, limits=limits, until=self._deadline, content=content.data)
        return _ok(await asked)


def _ok(answer: Answer) -> bytes | None:
    """The body of a complete answer with status 200."""
    status = answer.head.status_code if answer.head and answer.outcome is FetchOutcome.ANSWERED else None
    return answer.body if status == OK else None


@contextlib.asynccontextmanager
async def connect(url: str, *, dialer: Dialer, deadline: float) -> AsyncIterator[HTTPSServer | None]:
    """Connect to the host of an https URL; None when `url` is not one that can be requested.

    `deadline` is a time of the running event loop, also for the requests. Raises nothing for reasons of network, proxy
    or peer.
    """
    target = parse_url(url, "https")
    if target is None:
        yield None
        return
    endpoint = Endpoint(host=target.host, port=target.port)
    opened = await open_tls(endpoint, dialer=dialer, deadline=deadline, context=strict_context())
    server = HTTPSServer(target, opened.observation, opened.connection, deadline)
    if opened.connection is None:
        yield server
        return
    try:
        yield server
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        opened.connection.abort()
        raise
    await close(opened.connection, deadline=max(deadline, asyncio.get_running_loop().time()))
