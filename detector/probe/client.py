"""One connection to one endpoint, from name to finished handshake, as an `Observation`.

Room: probe. Runs a dialer of `routes` and a handshake of `tls` under one deadline.

Nothing here raises for anything a network, a proxy or a peer does. Whatever stopped it, the observation holds what was
seen until then, including a certificate that arrived a moment before the deadline.

    outcome = await probe(endpoint, dialer=dialer)         # connect, observe, close
    opened = await open_tls(endpoint, dialer=dialer)       # connect, observe, keep the connection
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.lazy import LazyModule
from detector.model import Endpoint, Engine, Hello, Outcome

from .routes import ConnectionRecord, Dialer, RouteError, Timeouts
from .routes.dialing import LOG
from .tls.engine import HTTP_1_1, ClientHandshake
from .tls.fallback import EngineFallback, Opened, ProbeOutcome
from .tls.protocol import HandshakeProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from OpenSSL import SSL

    from detector.model import KeyKind, Observation

    from .http import witness  # loads an HTTP parser
    from .tls.transport import TLSTransport
else:
    witness = LazyModule(f"{__package__}.http.witness")

ATTEMPTS_MAX: Final = 2
"""Connections for one observation: some interceptors drop the first connection to every name while they fetch its
certificate, so one that ends before any certificate is tried once more."""

RETRIED: Final = frozenset({Outcome.RESET, Outcome.CLOSED})
"""Outcomes of such a drop. A refusal, an alert or silence is an answer and is not retried."""

CLOSING_SECONDS: Final = 0.2
"""Time to send the closing bytes once the outcome is settled. They fit any socket buffer; this only bounds a peer that
stopped reading."""


async def probe(  # noqa: PLR0913 - keyword-only; each bounds or shapes the one connection
    endpoint: Endpoint,
    *,
    dialer: Dialer,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    hello: Hello = Hello.WIDEST,
    key_kind: KeyKind | None = None,
    engine: Engine = Engine.AUTO,
) -> ProbeOutcome:
    """Connect to `endpoint` through `dialer`, finish the TLS handshake, and report what the wire showed.

    Where the endpoint has a witness, it is asked on the same connection, unless that was opened with a browser's hello.
    Cancelling closes the connection at once. Raises nothing for reasons of network, proxy or peer.

    Args:
        endpoint: Where to connect, and whether there is a witness.
        dialer: The route.
        timeouts: Limits of each phase.
        deadline: A time of the running event loop (`loop.time()`). When it passes, what was seen so far is returned
            with the outcome `deadline`.
        clock: Gives the seconds of `timings_ms`.
        hello: The profile of the hello; `browser` needs the extra `browser`. With `readable` the server is offered only
            signatures that can be verified here.
        key_kind: The only kind of key the server may prove itself with, None for any; a browser's hello takes every
            kind.
        engine: What makes the handshake where no connection is kept (`tls.fallback`).
    """
    connector = _Connector(endpoint, dialer, timeouts or Timeouts(), deadline, clock)
    engines = EngineFallback(host=endpoint.host, hello=hello, key_kind=key_kind, engine=engine)
    if not endpoint.witness:
        return await engines.probe(connector.connect)
    engines = msgspec.structs.replace(engines, alpn=HTTP_1_1)
    opened = await connector.connect(engines.keepable_handshake, keep=True)
    connection = opened.connection
    if connection is None:
        return ProbeOutcome(opened.observation)
    try:
        opened = await witness.with_witness(opened, endpoint, timeouts=timeouts, deadline=deadline, clock=clock)
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connection.abort()
        raise
    await close(connection, deadline=deadline)
    return ProbeOutcome(opened.observation)


async def open_tls(
    endpoint: Endpoint,
    *,
    dialer: Dialer,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    context: SSL.Context | None = None,
) -> Opened:
    """Connect and finish the TLS handshake as `probe` does, offering HTTP/1.1, and keep the connection.

    Nothing was verified and no application data was sent: assess the observation before sending any. `context` is the
    TLS settings (default: `openssl.shared_context`). Raises nothing for reasons of network, proxy or peer.
    """
    connector = _Connector(endpoint, dialer, timeouts or Timeouts(), deadline, time.perf_counter)
    engines = EngineFallback(host=endpoint.host, hello=Hello.WIDEST, alpn=HTTP_1_1, context=context)
    return await connector.connect(engines.keepable_handshake, keep=True)


async def close(connection: TLSTransport, *, deadline: float | None = None) -> None:
    """Close a connection within bounds; on return nothing of it is left. `deadline` is loop time."""
    connection.close()
    await _closed(connection, connection.closed, deadline)


class _Connector(NamedTuple):
    """Makes the connections of one observation: one, or a second where the first was dropped."""

    endpoint: Endpoint
    dialer: Dialer
    timeouts: Timeouts
    deadline: float | None
    clock: Callable[[], float]

    async def connect(self, make: Callable[[], ClientHandshake], *, keep: bool = False) -> Opened:
        """Connect with a handshake of `make`, and again where it was dropped; `keep` the connection if that can be."""
        attempt = 0
        while True:
            attempt += 1
            handshake = make()
            opened = await self._attempt(handshake, keep=keep)
            seen = opened.observation
            LOG.debug("%s: handshake (%s): %s", self.endpoint.name, seen.engine or seen.hello, seen.outcome)
            if attempt == ATTEMPTS_MAX or handshake.fallback_reason is not None or not self._was_dropped(seen):
                break
        if attempt == 1:
            return opened
        return opened._replace(observation=msgspec.structs.replace(seen, attempts=attempt))

    def _was_dropped(self, seen: Observation) -> bool:
        """Whether the connection ended so early, and in such a way, that it is retried."""
        if seen.outcome not in RETRIED or seen.chain:
            return False
        return self.deadline is None or asyncio.get_running_loop().time() < self.deadline

    async def _attempt(self, handshake: ClientHandshake, *, keep: bool) -> Opened:
        record = ConnectionRecord(timeouts=self.timeouts, deadline=self.deadline, clock=self.clock)
        protocol = HandshakeProtocol(handshake, record)
        route = self.dialer.route
        LOG.debug("%s: dialing (%s)", self.endpoint.name, route)
        try:
            transport = await self.dialer.dial(self.endpoint, lambda: protocol, record)
        except RouteError as error:
            handshake.connection_closed(error.outcome)
            return Opened(record.complete(handshake.observation(error.outcome), route), None, handshake)
        outcome = Outcome.HANDSHAKE_TIMEOUT
        try:
            async with record.phase("handshake", self.timeouts.handshake, Outcome.HANDSHAKE_TIMEOUT):
                await protocol.settled.wait()
        except RouteError as error:
            outcome = error.outcome
        except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
            transport.abort()
            raise
        protocol.note("handshake")
        observation = record.complete(handshake.observation(outcome), route)
        if protocol.closed.is_set():  # asyncio's transports may be written to and asked afterwards, not every loop's
            return Opened(observation, None, handshake)
        if keep and observation.outcome is Outcome.COMPLETE and observation.key_proved:
            connection = handshake.transport_over(transport)
            if connection is not None:
                return Opened(observation, connection, handshake)
        if closing := handshake.closing_bytes():
            transport.write(closing)
        transport.close()
        if transport.get_write_buffer_size() == 0:
            await protocol.closed.wait()  # in the next iteration of the loop: nothing waits for the peer any more
        else:
            await _closed(transport, protocol.closed, self.deadline)
        return Opened(observation, None, handshake)


async def _closed(transport: asyncio.Transport, closed: asyncio.Event, deadline: float | None) -> None:
    """Wait until a closing transport has closed, but no longer than its last bytes may take."""
    loop = asyncio.get_running_loop()
    until = loop.time() + CLOSING_SECONDS
    if deadline is not None:
        until = min(until, max(deadline, loop.time()))
    try:
        async with asyncio.timeout_at(until):
            await closed.wait()
    except TimeoutError:
        transport.abort()
        await closed.wait()
    except BaseException:  # as above
        transport.abort()
        raise
