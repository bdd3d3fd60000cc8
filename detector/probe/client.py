"""One connection to one endpoint, from name to finished handshake, as an `Observation`.

Room: probe. Conducts `routes` (bytes) and `handshake` (TLS) under one deadline; judges nothing.

`probe` does not raise for anything a network, a proxy or a peer does. Whatever stopped it, the observation holds what
was seen until then: a certificate that arrived a moment before the deadline is in it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec

from detector.model import Endpoint, Observation, Outcome
from detector.trust.certificate import Certificate

from . import outcomes
from .handshake import Handshake
from .routes import Dialer, Journal, RouteError, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

ATTEMPTS_MAX: Final = 2
"""Connections for one observation: some interceptors drop the first connection to every name while they fetch its
certificate, so one that ends before any certificate is tried once more."""

RETRIED: Final = frozenset({Outcome.RESET, Outcome.CLOSED})
"""Endings that look like that. A refusal, an alert or silence is an answer and is not asked for again."""

FAREWELL_SECONDS: Final = 0.2
"""Time for the last bytes to leave once the outcome is settled. They fit any socket buffer; this only bounds a peer
that stopped reading."""


async def probe(
    endpoint: Endpoint,
    *,
    dialer: Dialer,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Observation:
    """Connect to `endpoint` through `dialer`, finish the TLS handshake, and report what the wire showed.

    `deadline` is a time of the running event loop (`loop.time()`); when it passes, what was seen so far is returned
    with the outcome `deadline`. `clock` gives the seconds that `timings_ms` is made of. Cancelling closes the
    connection at once. Raises nothing for reasons of network, proxy or peer.
    """
    loop = asyncio.get_running_loop()
    attempt = 0
    while True:
        attempt += 1
        journal = Journal(timeouts=timeouts, deadline=deadline, clock=clock)
        observation = await _attempt(endpoint, dialer, journal)
        again = observation.outcome in RETRIED and not observation.chain and attempt < ATTEMPTS_MAX
        if not again or (deadline is not None and loop.time() >= deadline):
            return msgspec.structs.replace(observation, attempts=attempt)


async def _attempt(endpoint: Endpoint, dialer: Dialer, journal: Journal) -> Observation:
    """Make one connection."""
    handshake = Handshake(endpoint.host)
    session = _Session(handshake, journal)
    try:
        transport = await dialer.dial(endpoint, lambda: session, journal)
    except RouteError as error:
        handshake.ended(error.outcome)
        return _observe(handshake, dialer, journal, error.outcome)
    outcome = Outcome.HANDSHAKE_TIMEOUT
    try:
        async with journal.phase("handshake", journal.timeouts.handshake, Outcome.HANDSHAKE_TIMEOUT):
            await session.settled.wait()
    except RouteError as error:
        outcome = error.outcome
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        transport.abort()
        raise
    session.note("handshake")
    observation = _observe(handshake, dialer, journal, outcome)
    await _hang_up(transport, session, journal)
    return observation


async def _hang_up(transport: asyncio.Transport, session: _Session, journal: Journal) -> None:
    """Close the connection; on return nothing of it is left."""
    loop = asyncio.get_running_loop()
    transport.close()
    until = loop.time() + FAREWELL_SECONDS
    if journal.deadline is not None:
        until = min(until, max(journal.deadline, loop.time()))
    try:
        async with asyncio.timeout_at(until):
            await session.closed.wait()
    except TimeoutError:
        transport.abort()
        await session.closed.wait()
    except BaseException:  # as above
        transport.abort()
        raise


def _observe(handshake: Handshake, dialer: Dialer, journal: Journal, outcome: Outcome) -> Observation:
    """Put what is known now into an observation; `outcome` counts where the handshake has none of its own."""
    facts = handshake.facts(outcome)
    return Observation(
        outcome=facts.outcome,
        key_proved=facts.key_proved,
        route=dialer.route,
        address=journal.address,
        tls_version=facts.tls_version,
        cipher=facts.cipher,
        group=facts.group,
        alpn=facts.alpn,
        alert=facts.alert,
        server_hello=facts.server_hello,
        chain=tuple(Certificate.read(der).presented() for der in facts.chain),
        timings_ms=dict(journal.timings_ms),
    )


class _Session(asyncio.Protocol):
    """Carries a `Handshake` over a transport. `settled` is set when there is an outcome, `closed` when it is gone."""

    def __init__(self, handshake: Handshake, journal: Journal) -> None:
        self._handshake = handshake
        self._journal = journal
        self._begun = 0.0
        self._transport: asyncio.Transport | None = None
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the ClientHello."""
        self._begun = self._journal.clock()
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._send(self._handshake.start())

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the handshake and its answer to the peer."""
        seen_before = self._handshake.certificates_seen
        self._send(self._handshake.receive(data))
        if self._handshake.certificates_seen and not seen_before:
            self.note("certificate")
        self._check()

    def note(self, phase: str) -> None:
        """Record the time from the first flight until now."""
        self._journal.timings_ms[phase] = round((self._journal.clock() - self._begun) * 1000, 3)

    def eof_received(self) -> None:
        """Take note that the peer sends no more; returning None closes the transport."""
        self._handshake.ended(Outcome.CLOSED)
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self._handshake.ended(outcomes.of_lost_connection(exc if isinstance(exc, OSError) else None))
        self.closed.set()
        self._check()

    def _send(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _check(self) -> None:
        if self._handshake.finished:
            self.settled.set()
