"""Which engine probes with which hello, and when a wider hello comes second.

Room: probe. Opens nothing: `connect` is the caller's function that makes one connection with a given handshake.

The engine follows from the hello: browsers' are the native engine's, the others OpenSSL's, which also makes every
connection that is kept or restricts the server's key (docs/adr/0007-fast-engine.md). Where a browser's hello gets no
certificate, in a way that more to choose from could cure, the widest hello is sent on a second connection. What that
shows never stands for what the browser would have been shown: `Observation.earlier` says what came first.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from detector.aio.lazy import LazyModule
from detector.model import FailedAttempt, Hello, KeyKind, Observation
from detector.probe.routes.dialing import LOG

from . import native
from .engine import ClientHandshake

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from OpenSSL import SSL

    # pyOpenSSL takes longer to import than a probe takes.
    from . import openssl
    from .transport import TLSTransport
else:
    openssl = LazyModule(f"{__package__}.openssl")

NATIVE_HELLOS: Final = frozenset({Hello.BROWSER, Hello.FIREFOX, Hello.READABLE})
"""The hellos that the native engine sends."""
_BROWSERS: Final = frozenset({Hello.BROWSER, Hello.FIREFOX})
"""The hellos that a wider one may follow; one that was restricted on purpose is not among them."""


class Opened(NamedTuple):
    """An observation, and its connection: None unless the handshake is complete, its key proved, and it was kept.

    The caller that gets a connection closes it; `client.close` does so within bounds. `handshake` is what made it.
    """

    observation: Observation
    connection: TLSTransport | None
    handshake: ClientHandshake


class MakeHandshake(Protocol):
    """Makes the handshake of one connection; `small` leaves ML-KEM out of its hello."""

    def __call__(self, *, small: bool = False) -> ClientHandshake:
        """Return a new handshake."""


class Connect(Protocol):
    """Makes a connection with handshakes of this factory, more than one where connections are dropped."""

    def __call__(self, make: MakeHandshake, /) -> Awaitable[Opened]:
        """Return what the last of them showed."""


class EngineFallback(msgspec.Struct, frozen=True, kw_only=True):
    """The engines for one endpoint.

    Arguments are those of `client.probe` and `client.open_tls`. `alpn` replaces the protocols of the hello; `now` is the
    time, for keys that are only valid for days (RFC 9345).
    """

    host: str
    hello: Hello = Hello.BROWSER
    key_kind: KeyKind | None = None
    alpn: Sequence[bytes] | None = None
    context: SSL.Context | None = None
    now: dt.datetime | None = None

    async def probe(self, connect: Connect) -> Observation:
        """Probe with the hello's engine, and once more with the widest hello where that can help."""
        if self.hello not in NATIVE_HELLOS or self.key_kind is not None:
            return (await connect(self.openssl_handshake)).observation
        first = await connect(self.native_handshake)
        if self.hello not in _BROWSERS or not first.handshake.needs_wider_hello:
            return first.observation
        LOG.debug("%s: no certificate (%s), sending the widest hello", self.host, first.observation.outcome)
        widest = msgspec.structs.replace(self, hello=Hello.WIDEST)
        return _after(first.observation, (await connect(widest.openssl_handshake)).observation)

    def native_handshake(self, *, small: bool = False) -> ClientHandshake:
        """Return a handshake with a browser's hello."""
        return native.NativeHandshake(self.host, hello=self.hello, small=small, alpn=self.alpn, now=self.now)

    def openssl_handshake(self, *, small: bool = False) -> ClientHandshake:
        """Return a handshake by OpenSSL, whose connection can be kept."""
        hello = Hello.WIDEST if self.hello in NATIVE_HELLOS else self.hello
        return openssl.OpenSSLHandshake(
            self.host, context=self.context, alpn=self.alpn, hello=hello, key_kind=self.key_kind, small=small
        )


def _after(first: Observation, second: Observation) -> Observation:
    """Return what counts of two connections: the second where it got a certificate, and what failed before it."""
    attempts = first.attempts + second.attempts
    if not second.chain:
        return msgspec.structs.replace(first, attempts=attempts)
    failed = FailedAttempt(
        outcome=first.outcome, hello=first.hello, small_hello=first.small_hello, address=first.address
    )
    earlier = (*first.earlier, failed, *second.earlier)
    return msgspec.structs.replace(second, attempts=attempts, earlier=earlier)
