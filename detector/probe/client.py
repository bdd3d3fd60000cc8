"""One connection to one endpoint, from name to finished handshake, as an `Observation`.

Room: probe. Runs a dialer of `routes` and a handshake of `tls` under one deadline.

Nothing here raises for anything a network, a proxy or a peer does. Whatever stopped it, the observation holds what was
seen until then, including a certificate that arrived a moment before the deadline.

    outcome = await probe(endpoint, dialer=dialer)         # connect, observe, close
    opened = await open_tls(endpoint, dialer=dialer)       # connect, observe, keep the connection
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import TYPE_CHECKING, Final

import msgspec

from detector.aio.lazy import LazyModule
from detector.aio.tasks import Group, cancel_and_wait
from detector.model import Endpoint, FailedAttempt, Hello, Outcome

from .routes import ConnectionRecord, Dialer, RouteError, Timeouts
from .routes.dialing import LOG, patience
from .tls.engine import HTTP_1_1, ClientHandshake
from .tls.fallback import EngineFallback, Opened, ProbeOutcome
from .tls.protocol import HandshakeProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from OpenSSL import SSL

    from detector.knowledge.client_hellos import HelloProfiles
    from detector.model import KeyKind, Observation

    from .http import witness  # loads an HTTP parser
    from .tls.fallback import MakeHandshake
    from .tls.transport import TLSTransport
else:
    witness = LazyModule(f"{__package__}.http.witness")

ATTEMPTS_MAX: Final = 3
"""Connections in search of a certificate. The first sends the usual hello, the further ones a small one to the next
address, of the other family where there is one. So the second gets through where the first address is dead, where a box
cannot take a hello of two segments, and where an interceptor drops the first connection to every name while it fetches
its certificate. The third is made only where the second went to another address, which may be dead itself."""

RETRIED: Final = frozenset({Outcome.RESET, Outcome.CLOSED, Outcome.TLS_ALERT, Outcome.HANDSHAKE_TIMEOUT})
"""Outcomes without a certificate after which the next connection is made. Silence does not end the first one: the
second is made alongside, after `routes.patience`. A refusal is an answer and is not retried."""

_TIMED_OUT: Final = Outcome.HANDSHAKE_TIMEOUT

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
    hello: Hello = Hello.BROWSER,
    key_kind: KeyKind | None = None,
    profiles: HelloProfiles | None = None,
) -> ProbeOutcome:
    """Connect to `endpoint` through `dialer`, finish the TLS handshake, and report what the wire showed.

    Where the endpoint has a witness, it is asked on a connection of its own, which OpenSSL makes alongside: what sits
    in the middle could decrypt the one hello and pass on the other, so both are observations of the endpoint.
    Cancelling closes the connection at once. Raises nothing for reasons of network, proxy or peer.

    Args:
        endpoint: Where to connect, and whether there is a witness.
        dialer: The route.
        timeouts: Limits of each phase.
        deadline: A time of the running event loop (`loop.time()`). When it passes, what was seen so far is returned
            with the outcome `deadline`.
        clock: Gives the seconds of `timings_ms`.
        hello: The profile of the hello. With `readable` the server is offered only signatures that can be verified
            here.
        key_kind: The only kind of key the server may prove itself with, None for any; only OpenSSL's widest hello can
            be restricted to one.
        profiles: What browsers send; by default what the package ships.
    """
    connector = _Observer(endpoint, dialer, timeouts, deadline, clock)
    now = dt.datetime.now(dt.UTC)
    engines = EngineFallback(host=endpoint.host, hello=hello, key_kind=key_kind, now=now, profiles=profiles)
    if not endpoint.witness:
        observation = await engines.probe(connector.connect)
        return ProbeOutcome(observation, others=_that_differ(observation, connector.others))
    asking = _Observer(endpoint, dialer, timeouts, deadline, clock)
    async with Group() as group:
        usual = group.create_task(engines.probe(connector.connect))
        asked = group.create_task(_ask_witness(asking))
    observation, witnessed = usual.result(), asked.result()
    others = (*_that_differ(observation, connector.others), *_that_differ(witnessed, asking.others))
    return ProbeOutcome(observation, witnessed, others)


async def _ask_witness(connector: _Connector) -> Observation:
    """Connect as programs do that go on to send requests, and ask the endpoint's witness on that connection."""
    endpoint, deadline = connector.endpoint, connector.deadline
    engines = EngineFallback(host=endpoint.host, hello=Hello.OPENSSL, alpn=HTTP_1_1)
    opened = await connector.connect(engines.openssl_handshake, keep=True)
    connection = opened.connection
    if connection is None:
        return opened.observation
    try:
        opened = await witness.with_witness(
            opened, endpoint, timeouts=connector.timeouts, deadline=deadline, clock=connector.clock
        )
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connection.abort()
        raise
    await close(connection, deadline=deadline)
    return opened.observation


def _that_differ(counted: Observation, others: Sequence[Observation]) -> tuple[Observation, ...]:
    """Return the observations that showed another leaf than the one that counts, or without its key."""
    return tuple(o for o in others if o.chain[:1] != counted.chain[:1] or o.outcome is Outcome.SIGNATURE_WRONG)


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
    connector = _Connector(endpoint, dialer, timeouts, deadline, time.perf_counter)
    engines = EngineFallback(host=endpoint.host, hello=Hello.OPENSSL, alpn=HTTP_1_1, context=context)
    return await connector.connect(engines.openssl_handshake, keep=True)


async def close(connection: TLSTransport, *, deadline: float | None = None) -> None:
    """Close a connection within bounds; on return nothing of it is left. `deadline` is loop time."""
    connection.close()
    await _closed(connection, connection.closed, deadline)


class _Connector(msgspec.Struct, eq=False):
    """Makes the connections of one observation: one, and further ones where that gets no certificate.

    The first answer counts, and ends the others. A connector that connects again (with another engine, or another
    hello) begins where it got an answer. `others` are observations that showed another leaf than the one returned.
    """

    endpoint: Endpoint
    dialer: Dialer
    timeouts: Timeouts | None
    deadline: float | None
    clock: Callable[[], float]
    others: list[Observation] = []
    _failed: list[Opened] = []
    _answers: list[Opened] = []
    _dialled: list[str] = []
    _waiting: dict[ClientHandshake, asyncio.Transport] = {}
    _keep: bool = False
    _small: bool = False
    _address: str | None = None

    async def connect(self, make: MakeHandshake, *, keep: bool = False) -> Opened:
        """Connect with handshakes of `make` until there is a certificate; `keep` the connection if that can be."""
        failed_before = len(self._failed)
        self._keep, self._answers, self._dialled = keep, [], []
        try:
            await self._try(make, 0)
        except BaseException:  # cancellation too: no socket must outlive this call; nothing is swallowed
            for answer in self._answers:
                _abort(answer)
            raise
        attempts = len(self._answers) + len(self._failed) - failed_before
        best, *others = sorted(self._answers, key=lambda each: each.observation.small_hello) or (self._failed.pop(),)
        for other in others:
            _abort(other)
            if other.observation.chain:
                self.others.append(other.observation)
        seen = best.observation
        if self._answers:
            self._small, self._address = seen.small_hello, seen.address
        earlier = tuple(
            FailedAttempt(outcome=o.outcome, hello=o.hello, small_hello=o.small_hello, address=o.address)
            for o, *_ in self._failed
        )
        if not self._answers:
            self._failed.append(best)
        if attempts == 1 and not earlier:
            return best
        return best._replace(observation=msgspec.structs.replace(seen, attempts=attempts, earlier=earlier))

    async def _try(self, make: MakeHandshake, number: int) -> None:
        """Make attempt `number`, and the next one where it fails, or alongside while it is silent."""
        following: asyncio.Task[None] | None = None

        def go_on() -> None:
            nonlocal following
            if self._may_go_on(number):
                following = asyncio.get_running_loop().create_task(self._try(make, number + 1))

        order = self._next_address if self._dialled else self._at(self._address)
        try:
            opened = await self._attempt(make, small=self._small or number > 0, order=order, silent=go_on)
            if self._is_answer(opened, number):
                if following is not None:
                    await cancel_and_wait((following,))
                (self._answers if opened.observation.chain else self._failed).append(opened)
                await self._answered(make, opened, number)
                return
            self._failed.append(opened)
            if following is not None:
                await following
            elif self._may_go_on(number):
                await self._try(make, number + 1)
        finally:
            if following is not None:
                await cancel_and_wait((following,))

    def _is_answer(self, opened: Opened, number: int) -> bool:
        """Whether this attempt ends the search: there is a certificate, or no other attempt would show one."""
        seen = opened.observation
        if seen.chain:
            return True
        return number == 0 and seen.outcome not in RETRIED and seen.outcome is not Outcome.DEADLINE

    def _may_go_on(self, number: int) -> bool:
        """Whether there is time for another attempt, and something about it would be new."""
        if not self._has_time():
            return False
        return number == 0 or (number + 1 < ATTEMPTS_MAX and self._dialled[-1] != self._dialled[0])

    def _has_time(self) -> bool:
        return self.deadline is None or asyncio.get_running_loop().time() < self.deadline

    def _next_address(self, address: str) -> int:
        """Sort addresses: those that were not connected to come first, then the one that was the longest ago."""
        return max((number for number, each in enumerate(self._dialled) if each == address), default=-1)

    def _at(self, address: str | None) -> Callable[[str], int] | None:
        """Sort an address before all others."""
        return None if address is None else lambda each: int(each != address)

    async def _answered(self, make: MakeHandshake, answer: Opened, number: int) -> None:  # noqa: ARG002 - for `_Observer`
        """End the attempts that are still silent: their peers have their certificate from another address, or none."""
        for handshake, transport in tuple(self._waiting.items()):
            handshake.connection_closed(_TIMED_OUT)
            transport.abort()

    async def _attempt(
        self,
        make: MakeHandshake,
        *,
        small: bool,
        order: Callable[[str], int] | None,
        silent: Callable[[], None] | None = None,
    ) -> Opened:
        """Make one connection. `silent` is called where no certificate came in `routes.patience`; None ends it then."""
        handshake = make(small=small)
        left = None if self.deadline is None else self.deadline - asyncio.get_running_loop().time()
        timeouts = self.timeouts or Timeouts.within(left)
        record = ConnectionRecord(timeouts=timeouts, deadline=self.deadline, clock=self.clock, order=order)
        protocol = HandshakeProtocol(handshake, record)
        route = self.dialer.route
        LOG.debug("%s: dialing (%s)", self.endpoint.name, route)
        try:
            transport = await self.dialer.dial(self.endpoint, lambda: protocol, record)
        except RouteError as error:
            handshake.connection_closed(error.outcome)
            return Opened(record.complete(handshake.observation(error.outcome), route), None, handshake)
        self._dialled.append(record.address or "")
        outcome = await self._handshake(handshake, protocol, transport, record, silent)
        protocol.note("handshake")
        seen = record.complete(handshake.observation(outcome), route)
        LOG.debug("%s: handshake (%s): %s", self.endpoint.name, seen.engine or seen.hello, seen.outcome)
        if protocol.closed.is_set():  # asyncio's transports may be written to and asked afterwards, not every loop's
            return Opened(seen, None, handshake)
        if self._keep and seen.outcome is Outcome.COMPLETE and seen.key_proved:
            connection = handshake.transport_over(transport)
            if connection is not None:
                return Opened(seen, connection, handshake)
        if closing := handshake.closing_bytes():
            transport.write(closing)
        transport.close()
        if transport.get_write_buffer_size() == 0:
            await protocol.closed.wait()  # in the next iteration of the loop: nothing waits for the peer any more
        else:
            await _closed(transport, protocol.closed, self.deadline)
        return Opened(seen, None, handshake)

    async def _handshake(
        self,
        handshake: ClientHandshake,
        protocol: HandshakeProtocol,
        transport: asyncio.Transport,
        record: ConnectionRecord,
        silent: Callable[[], None] | None,
    ) -> Outcome:
        """Wait until a handshake is settled or its time is over; return the outcome for where it has none."""
        loop, limit = asyncio.get_running_loop(), record.timeouts.handshake
        waits = patience(limit if self.deadline is None else min(limit, self.deadline - loop.time()))
        timer = None if silent is None else loop.call_later(waits, _unless_answered, handshake, silent)
        self._waiting[handshake] = transport
        try:
            async with record.phase("handshake", min(limit, waits) if silent is None else limit, _TIMED_OUT):
                await protocol.settled.wait()
        except RouteError as error:
            return error.outcome
        except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
            transport.abort()
            raise
        finally:
            del self._waiting[handshake]
            if timer is not None:
                timer.cancel()
        return _TIMED_OUT


class _Observer(_Connector):
    """Makes the connections of one observation, and takes every answer.

    A small hello clears nothing in place of the usual one that easily: once it got a certificate, the usual hello is
    sent to the same address once more. That distinguishes a fault of size from one of address and from a dropped first
    connection, and finds an interceptor that drops the first connection and lets small hellos pass. Connections that
    are silent may go on to their limit: what answers late at one address is not dropped because another was faster.
    Where a connection is kept, they end earlier.
    """

    async def _answered(self, make: MakeHandshake, answer: Opened, number: int) -> None:
        seen = answer.observation
        if number > 0 and seen.small_hello and self._has_time():
            opened = await self._attempt(make, small=False, order=self._at(seen.address))
            (self._answers if opened.observation.chain else self._failed).append(opened)
        if self._keep:  # what is asked on the connection needs time, too
            await super()._answered(make, answer, number)


def _abort(opened: Opened) -> None:
    if opened.connection is not None:
        opened.connection.abort()


def _unless_answered(handshake: ClientHandshake, silent: Callable[[], None]) -> None:
    if not handshake.certificates_seen and not handshake.finished:
        silent()


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
