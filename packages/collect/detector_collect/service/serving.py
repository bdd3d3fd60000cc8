"""Serves the application with uvicorn, so that every wait for a client ends.

Room: detector_collect.service. Opens listening sockets where its caller says.

    async with serving(app, await listening("127.0.0.1", 8080)) as port: ...

What uvicorn leaves open is closed here: the time that a client may take for the head of a request, and to read an
answer; the number of connections; a request whose length is given twice, by Content-Length and Transfer-Encoding, which
a proxy in front may read in another way (RFC 9112 section 6.1). Headers of proxies change nothing that the application
sees, and there is no access log, which would hold addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from detector.aio.accepting import BACKLOG, listen
from detector.errors import ServingError

from . import problems
from .settings import DEFAULT_LIMITS

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
    from pathlib import Path

    from .settings import Limits

    Scope = MutableMapping[str, Any]
    Application = Callable[[Any, Any, Any], Awaitable[None]]

HEAD_BYTES_MAX: Final = 32 * 1024
"""Bytes of the head of a request: 2 KiB, and a client certificate of up to 12 KiB that a proxy passes."""

WAIT_SECONDS: Final = 0.02
"""How often a starting server is asked whether it listens."""


class TLS(NamedTuple):
    """PEM files: the certificate chain, leaf first, and its private key."""

    certificate: Path
    key: Path


class _Config(uvicorn.Config):
    limits = DEFAULT_LIMITS


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield


class Protocol(H11Protocol):
    """HTTP/1.1 of uvicorn with limits on every wait."""

    config: _Config

    def __init__(self, config: _Config, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(config, *arguments, **more)
        self.app = _framed_once(self.app)
        self._limits = config.limits
        self._waiting: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.waits_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for the first request; above the limit, end the connection that has waited longest."""
        super().connection_made(transport)
        self._wait(self._limits.head_seconds)
        if len(self.connections) > self._limits.connections:
            waiting = [one for one in self.connections if isinstance(one, Protocol) and one.is_waiting]
            min(waiting, key=lambda one: one.waits_since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._end_wait()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived. The wait ends when it completes the head of a request."""
        super().data_received(data)
        if self._is_answering():
            self._end_wait()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there already."""
        super().on_response_complete()
        if self._is_answering():
            self._end_wait()
        elif not self.transport.is_closing():
            self._wait(self._limits.idle_seconds)

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written: give it some time."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read what was written."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, in the form of every other error; a response that has begun is cut off."""
        _ = msg
        head = h11.Response(status_code=HTTPStatus.BAD_REQUEST, headers=_BAD_HEAD)
        try:
            for event in (head, h11.Data(data=_BAD_REQUEST), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def is_waiting(self) -> bool:
        """Whether the next step is the client's: to send a request."""
        return self._waiting is not None

    def _is_answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        self._end_wait()
        self.waits_since = self.loop.time()
        self._waiting = self.loop.call_later(seconds, self.transport.close)

    def _end_wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _framed_once(application: Application) -> Application:
    """The application without requests whose length is given twice."""

    async def checked(scope: Scope, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        if scope["type"] == "http" and len(_LENGTHS & {name for name, _ in scope["headers"]}) > 1:
            await send({"type": "http.response.start", "status": 400, "headers": _BAD_HEAD})
            await send({"type": "http.response.body", "body": _BAD_REQUEST})
            return
        await application(scope, receive, send)

    return checked


_LENGTHS: Final = frozenset({b"content-length", b"transfer-encoding"})
_BAD_REQUEST: Final = problems.encoded(HTTPStatus.BAD_REQUEST)
_BAD_HEAD: Final = [
    (b"content-type", problems.MEDIA_TYPE.encode()),
    (b"content-length", b"%d" % len(_BAD_REQUEST)),
    (b"connection", b"close"),
]


async def listening(host: str = "127.0.0.1", port: int = 0) -> list[socket.socket]:
    """Return listening sockets, for `port` 0 with a free one. Raises `ServingError` for what cannot be used."""
    try:
        return await listen(host, port)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ServingError(
            f"{host}:{port}: cannot be listened on ({getattr(error, 'strerror', None) or 'no such address'}).",
            advice="Give an address of this machine and a free port.",
        ) from None


@contextlib.asynccontextmanager
async def serving(
    application: Application,
    sockets: list[socket.socket],
    *,
    limits: Limits = DEFAULT_LIMITS,
    tls: TLS | None = None,
) -> AsyncIterator[int]:
    """Serve an application until the block ends, and then until the requests in progress are answered.

    Gives the port. Closes the sockets. Raises `ServingError` for files that cannot be used.
    """
    config = _Config(
        application,
        http=Protocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        timeout_keep_alive=round(limits.idle_seconds) + 1,  # the limits end a wait earlier
        timeout_graceful_shutdown=limits.shutdown_seconds,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )
    config.limits = limits
    try:
        config.load()
    except (OSError, ssl.SSLError, ValueError):
        raise ServingError(
            f"{tls and tls.certificate}: TLS cannot be served with it.",
            advice="Give PEM files: the certificate's chain, leaf first, and its private key, not encrypted.",
        ) from None
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets))
    try:
        while not server.started:
            if running.done():
                running.result()
                raise ServingError("The service could not be started.", advice="See the log.")
            await asyncio.sleep(WAIT_SECONDS)
        yield sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running
