"""Which engine probes with which hello, and when a wider hello comes second.

Room: probe. Opens nothing: `connect` is the caller's function that makes one connection with a given handshake.

The engine follows from the hello: browsers' are the native engine's, the others OpenSSL's, which also makes every
connection that is kept or restricts the server's key (docs/adr/0007-fast-engine.md). Where a browser's hello gets no
certificate, in a way that more to choose from could cure, the widest hello is sent on a second connection. What that
shows never stands for what the browser would have been shown: `Observation.earlier` says what came first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from detector.aio.lazy import LazyModule
from detector.model import Hello, KeyKind, Observation
from detector.probe.routes.dialing import LOG

from . import native

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Sequence

    from OpenSSL import SSL

    from detector.knowledge.client_hellos import HelloProfiles

    # pyOpenSSL takes longer to import than a probe takes.
    from . import openssl
    from .engine import ClientHandshake
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


class ProbeOutcome(NamedTuple):
    """The result of one probe: the observation that counts, and what else there is to assess on its own.

    `witnessed` is that of the connection on which a witness was asked, where the endpoint has one. `others` are second
    tries at other addresses or with a small hello that showed another leaf than the observation that counts, or signed
    with another key than the leaf's.
    """

    observation: Observation
    witnessed: Observation | None = None
    others: tuple[Observation, ...] = ()

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All of them, the one that counts first."""
        seen = (self.observation,) if self.witnessed is None else (self.observation, self.witnessed)
        return (*seen, *self.others)

    @property
    def single(self) -> Observation:
        """The one observation to report where there is room for one.

        Of several it is the second one, and its key counts as not proved, whatever it signed: otherwise a
        genuine chain in one observation would clear a network that forged the other.
        """
        return msgspec.structs.replace(self.others[0], key_proved=False) if self.others else self.observation


class MakeHandshake(Protocol):
    """Makes the handshake of one connection."""

    def __call__(self, *, small: bool = False) -> ClientHandshake:
        """Return a handshake; its hello has no ML-KEM key share if `small` and the engine can leave it out."""


if TYPE_CHECKING:
    Connect = Callable[[MakeHandshake], Awaitable[Opened]]
    """Makes a connection with handshakes of this factory, more than one where the first gets no certificate. What
    failed in earlier calls is among `Observation.earlier`, too."""


class EngineFallback(msgspec.Struct, frozen=True, kw_only=True):
    """The engines for one endpoint.

    Arguments are those of `client.probe` and `client.open_tls`. `alpn` replaces the protocols of the hello; `now` is
    the time, for keys that are only valid for days (RFC 9345).
    """

    host: str
    hello: Hello = Hello.BROWSER
    key_kind: KeyKind | None = None
    alpn: Sequence[bytes] | None = None
    context: SSL.Context | None = None
    now: dt.datetime | None = None
    profiles: HelloProfiles | None = None

    async def probe(self, connect: Connect) -> Observation:
        """Probe with the hello's engine, and once more with the widest hello where that can help."""
        if self.hello not in NATIVE_HELLOS or self.key_kind is not None:
            return (await connect(self.openssl_handshake)).observation
        first = await connect(self.native_handshake)
        if self.hello not in _BROWSERS or not first.handshake.needs_wider_hello:
            return first.observation
        LOG.debug("%s: no certificate (%s), sending the widest hello", self.host, first.observation.outcome)
        widest = msgspec.structs.replace(self, hello=Hello.WIDEST)
        second = (await connect(widest.openssl_handshake)).observation
        counts = second if second.chain else first.observation
        return msgspec.structs.replace(counts, attempts=first.observation.attempts + second.attempts)

    def native_handshake(self, *, small: bool = False) -> ClientHandshake:
        """Return a handshake with a browser's hello."""
        return native.NativeHandshake(
            self.host, hello=self.hello, small=small, alpn=self.alpn, now=self.now, profiles=self.profiles
        )

    def openssl_handshake(self, *, small: bool = False) -> ClientHandshake:
        """Return a handshake by OpenSSL, whose connection can be kept."""
        hello = Hello.WIDEST if self.hello in NATIVE_HELLOS else self.hello
        return openssl.OpenSSLHandshake(
            self.host, context=self.context, alpn=self.alpn, hello=hello, key_kind=self.key_kind, small=small
        )
