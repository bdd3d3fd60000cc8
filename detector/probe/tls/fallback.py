"""The fall-back between TLS engines: which one probes, and what its observation and OpenSSL's mean together.

Room: probe. Opens nothing: `connect` is the caller's function that makes one connection with a given handshake.

Where probing is all that is wanted, the native engine goes first. For a server that needs what it does not speak, or
that deviates from the standard, OpenSSL probes on a second connection and decides (docs/adr/0007-fast-engine.md).
Only OpenSSL makes connections that are kept or restrict the server's key; a browser's hello is BoringSSL's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from detector.aio.lazy import LazyModule
from detector.model import Engine, Hello, KeyKind, Observation
from detector.probe.routes.dialing import LOG

from . import native
from .engine import ALPN_PROTOCOLS, ClientHandshake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from OpenSSL import SSL

    # pyOpenSSL takes longer to import than a probe takes, and utls is an extra.
    from . import browser, openssl
    from .transport import TLSTransport
else:
    browser, openssl = LazyModule(f"{__package__}.browser"), LazyModule(f"{__package__}.openssl")


class Opened(NamedTuple):
    """An observation, and its connection: None unless the handshake is complete, its key proved, and it was kept.

    The caller that gets a connection closes it; `client.close` does so within bounds. `handshake` is what made it.
    """

    observation: Observation
    connection: TLSTransport | None
    handshake: ClientHandshake


class ProbeOutcome(NamedTuple):
    """The result of one probe: the observation that counts, and those that showed another leaf.

    `superseded` is one that it replaced: the native engine fell back, and OpenSSL was then shown another leaf behind an
    equal hello. `others` are second tries at other addresses or with a small hello. Each is to be assessed on its own.
    """

    observation: Observation
    superseded: Observation | None = None
    others: tuple[Observation, ...] = ()

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All of them, the one that counts first."""
        seen = (self.observation,) if self.superseded is None else (self.observation, self.superseded)
        return (*seen, *self.others)

    @property
    def single(self) -> Observation:
        """The one observation to report where there is room for one.

        Of several leaves it is the second one, and its key counts as not proved, whatever it signed: otherwise a
        genuine chain in one observation would clear a network that forged the other.
        """
        if len(self.observations) == 1:
            return self.observation
        return msgspec.structs.replace(self.observations[1], key_proved=False)


class MakeHandshake(Protocol):
    """Makes the handshake of one connection."""

    def __call__(self, *, small: bool = False) -> ClientHandshake:
        """Return a handshake; its hello has no ML-KEM key share if `small` and the engine can leave it out."""


Connect = Callable[[MakeHandshake], Awaitable[Opened]]
"""Makes a connection with handshakes of this factory, more than one where the first gets no certificate."""


class EngineFallback(msgspec.Struct, frozen=True, kw_only=True):
    """The engines for one endpoint. Arguments are those of `client.probe` and `client.open_tls`."""

    host: str
    hello: Hello = Hello.WIDEST
    key_kind: KeyKind | None = None
    engine: Engine = Engine.AUTO
    alpn: Sequence[bytes] = ALPN_PROTOCOLS
    context: SSL.Context | None = None

    async def probe(self, connect: Connect) -> ProbeOutcome:
        """Probe with the native engine where it can, and with another where it cannot or needs the fall-back."""
        plain = self.hello is not Hello.BROWSER and self.key_kind is None
        if not plain or self.engine is Engine.OPENSSL or not native.is_usable():
            return ProbeOutcome((await connect(self.keepable_handshake)).observation)
        first = await connect(self._native_handshake)
        reason = first.handshake.fallback_reason
        if reason is None or self.engine is Engine.NATIVE:
            return ProbeOutcome(first.observation)
        LOG.debug("%s: falling back from the native engine to OpenSSL: %s", self.host, reason)
        return combine(first.observation, (await connect(self.keepable_handshake)).observation)

    def _native_handshake(self, *, small: bool = False) -> ClientHandshake:
        return self.keepable_handshake(small=small) if small else native.NativeHandshake(self.host, hello=self.hello)

    def keepable_handshake(self, *, small: bool = False) -> ClientHandshake:
        """Return a handshake whose connection can be kept, if not for a browser's hello."""
        if self.hello is Hello.BROWSER:
            return browser.BrowserHandshake(self.host)
        return openssl.OpenSSLHandshake(
            self.host, context=self.context, alpn=self.alpn, hello=self.hello, key_kind=self.key_kind, small=small
        )


def combine(native_seen: Observation, openssl_seen: Observation) -> ProbeOutcome:
    """Combine two connections, the first of which needed the fall-back: the second counts unless the first saw more."""
    attempts = native_seen.attempts + openssl_seen.attempts
    first, second = (msgspec.structs.replace(seen, attempts=attempts) for seen in (native_seen, openssl_seen))
    if not first.chain or first.chain[:1] == second.chain[:1]:
        return ProbeOutcome(second)
    return ProbeOutcome(second, first) if second.chain else ProbeOutcome(first)
