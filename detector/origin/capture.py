"""Keeps the ClientHello of each TLS connection that Python's `ssl` accepts.

Room: origin. Touches `ssl` contexts it is given; opens no socket, reads no clock.

    capture = HelloCapture()
    if (problem := capture.install(context)) is None: ...      # before the first connection
    capture.hello_of(transport)                                 # the handshake message, or None

CPython's `SSLContext` has a message callback, which is not documented and may be missing elsewhere. Therefore
`unavailable` performs half a handshake in memory before anything relies on it, and where that fails the capture is off
and says so. Nothing of a connection depends on it: without a hello there is nothing to assess.

What is kept: the first ClientHello of a connection (RFC 8446 section 4.1.2), which is the one that its client chose
freely; the second one after a HelloRetryRequest, and those of a renegotiation, are not. A resumed session has a
ClientHello like any other. It is kept as long as the connection's `ssl` object exists, and never longer.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import ssl
import weakref
from typing import TYPE_CHECKING, Any, Final

from detector.origin.offer import HELLO_BYTES_MAX
from detector.origin.requests import UNIX_SOCKET
from detector.probe.tls.framing import RECORD_HEADER_BYTES
from detector.probe.tls.hello import MESSAGE_HEADER_BYTES

if TYPE_CHECKING:
    from asyncio import BaseTransport
    from collections.abc import Callable

    Callback = Callable[[Any, str, int, int, int, bytes], object]

CONNECTIONS_MAX: Final = 20_000
"""Connections whose hello is kept at once; above that the oldest is forgotten. With 2 KiB each that is 40 MiB."""

LOG: Final = logging.getLogger("detector.origin")
"""What is switched off, and why. Nothing about individual clients."""

_HANDSHAKE: Final = 22
"""ContentType handshake (RFC 8446 section 5.1)."""

_CLIENT_HELLO: Final = 1
"""HandshakeType client_hello (RFC 8446 section 4)."""

_CONNECTIONS: Final = (ssl.SSLObject, ssl.SSLSocket)


class HelloCapture:
    """The ClientHellos of the connections of one or more server contexts.

    Memory is bounded by `CONNECTIONS_MAX` and `HELLO_BYTES_MAX`. Threads may share it, as they may share a context.
    """

    def __init__(self, *, connections: int = CONNECTIONS_MAX) -> None:
        self._connections = connections
        self._hellos: weakref.WeakKeyDictionary[object, bytes] = weakref.WeakKeyDictionary()

    def install(self, context: ssl.SSLContext) -> str | None:
        """Capture the hellos of the connections that `context` accepts from now on; return why that is impossible.

        A message callback that is already installed is still called. The reason is logged as a warning, too.
        """
        if (problem := unavailable()) is None:
            _set_callback(context, self._seen, _descriptor().__get__(context))
        else:
            LOG.warning("%s", problem)
        return problem

    def hello(self, connection: object) -> bytes | None:
        """Return the first ClientHello of a connection: the handshake message with its header, or None.

        `connection` is an `ssl.SSLObject` or an `ssl.SSLSocket`.
        """
        return self._hellos.get(connection) if isinstance(connection, _CONNECTIONS) else None

    def hello_of(self, transport: BaseTransport) -> bytes | None:
        """Return the first ClientHello of the connection of a transport of asyncio."""
        return self.hello(transport.get_extra_info("ssl_object"))

    def __len__(self) -> int:
        return len(self._hellos)

    def _seen(self, connection: object, message: bytes) -> None:
        """Keep a ClientHello, of one that is too long the beginning. Raises nothing: that would end the handshake."""
        if not isinstance(connection, _CONNECTIONS):
            return
        if len(message) > HELLO_BYTES_MAX:  # no browser's, as its header says
            message = message[:MESSAGE_HEADER_BYTES]
        self._hellos.setdefault(connection, message)  # the first one counts
        if len(self._hellos) > self._connections:
            for oldest in self._hellos:
                del self._hellos[oldest]
                break


@functools.cache
def unavailable() -> str | None:
    """Return why this Python cannot capture a ClientHello, as a sentence; None where it can.

    A client and a server context exchange one flight in memory, without a certificate: the server rejects the hello,
    and must have reported it before. It takes two milliseconds, once a process.
    """
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    captured: dict[int, bytes] = {}
    try:
        _set_callback(server, lambda connection, message: captured.setdefault(id(connection), message), None)
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        connecting = client.wrap_bio(to_client, to_server)
        with contextlib.suppress(ssl.SSLWantReadError):
            connecting.do_handshake()
        sent = to_server.read()
        arriving = ssl.MemoryBIO()
        arriving.write(sent)
        accepting = server.wrap_bio(arriving, to_client, server_side=True)
        with contextlib.suppress(ssl.SSLError):  # no certificate
            accepting.do_handshake()
    except (AttributeError, TypeError, NotImplementedError) as error:
        return f"ClientHellos are not captured: the ssl module of this Python has no message callback ({error})."
    if captured.get(id(accepting)) != sent[RECORD_HEADER_BYTES:]:
        return "ClientHellos are not captured: the ssl module of this Python does not report them to its callback."
    return None


def _descriptor() -> Any:  # noqa: ANN401 - a descriptor of an extension type, which no stub describes
    """The message callback of the extension type below `SSLContext`, which `SSLContext._msg_callback` sets as well.

    It passes numbers. The property of `SSLContext` makes enumerations of them for each record of each connection: 2.9
    microseconds a record instead of 0.4 (measured on CPython 3.11).
    """
    return super(ssl.SSLContext, ssl.SSLContext)._msg_callback  # type: ignore[misc] # not in the stubs; `unavailable` checks that it is there


def _set_callback(context: ssl.SSLContext, seen: Callable[[object, bytes], object], before: Callback | None) -> None:
    """Install a callback that passes on ClientHellos that arrive, after calling the one that was there `before`."""

    def callback(connection: object, direction: str, version: int, content: int, kind: int, data: bytes) -> None:  # noqa: PLR0913, PLR0917 - the signature that `ssl` calls
        if before is not None:
            before(connection, direction, version, content, kind, data)
        if kind == _CLIENT_HELLO and content == _HANDSHAKE and direction == "read":
            seen(connection, data)

    callback.user_function = getattr(before, "user_function", None)  # type: ignore[attr-defined] # what `SSLContext._msg_callback` returns
    _descriptor().__set__(context, callback)


def peer_of(transport: BaseTransport) -> str | None:
    """Return the `peer` of a connection that asyncio serves."""
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        return str(name[0])
    return UNIX_SOCKET if isinstance(name, str | bytes) else None  # the name of the peer's socket, mostly empty
