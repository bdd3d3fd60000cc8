"""One connection to one endpoint, from name to finished handshake, as an `Observation`.

Room: probe. Conducts `routes` (bytes), `handshake` (TLS) and `witness` (the one question asked over TLS) under one
deadline; judges nothing.

Nothing here raises for anything a network, a proxy or a peer does. Whatever stopped it, the observation holds what
was seen until then: a certificate that arrived a moment before the deadline is in it.

    observation = await probe(endpoint, dialer=dialer)            # connect, look, close
    opened = await open_tls(endpoint, dialer=dialer)       # connect, look, and keep it: for who goes on using it
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.model import Endpoint, Engine, Hello, Observation, Outcome, WitnessObservation, WitnessOutcome
from detector.trust.witness_statement import NONCE_BYTES

from .routes import Dialer, Journal, RouteError, Timeouts
from .tls import native
from .tls.carrier import HTTP_1_1, Carrier, observe
from .tls.openssl import ALPN_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from OpenSSL import SSL

    from detector.model import KeyKind

    from .tls.handshake import Handshake
    from .tls.openssl import Handshaking
    from .tls.transport import TLSTransport

ATTEMPTS_MAX: Final = 2
"""Connections for one observation: some interceptors drop the first connection to every name while they fetch its
certificate, so one that ends before any certificate is tried once more."""

RETRIED: Final = frozenset({Outcome.RESET, Outcome.CLOSED})
"""Endings that look like that. A refusal, an alert or silence is an answer and is not asked for again."""

FAREWELL_SECONDS: Final = 0.2
"""Time for the last bytes to leave once the outcome is settled. They fit any socket buffer; this only bounds a peer
that stopped reading."""


class Opened(NamedTuple):
    """What was observed, and the connection; None unless the handshake is complete and its key proved.

    Whoever gets a connection closes it: `close` does so within bounds.
    """

    observation: Observation
    connection: TLSTransport | None = None
    handshake: Handshake | None = None


async def probe(  # noqa: PLR0913 - keyword-only; each bounds or shapes the one connection
    endpoint: Endpoint,
    *,
    dialer: Dialer,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    hello: Hello = Hello.DEFAULT,
    key_kind: KeyKind | None = None,
    engine: Engine = Engine.AUTO,
) -> Observation:
    """Connect to `endpoint` through `dialer`, finish the TLS handshake, and report what the wire showed.

    Where the endpoint has a witness, it is asked on the same connection, unless that was opened with a browser's
    `hello` (which needs the extra `browser`). With `Hello.READABLE` the server is offered only signatures that can be
    verified here. `deadline` is a time of the running event loop (`loop.time()`); when it
    passes, what was seen so far is returned with the outcome `deadline`. `clock` gives the seconds that `timings_ms` is
    made of. `key_kind` is the only kind of key the server may prove itself with, None for any; a browser's hello takes
    every kind. `engine` says what makes the handshake where a plain look is enough: `auto` is the native engine, and
    OpenSSL on a second connection for a server that wants what the native one does not speak (ADR 7). Cancelling closes
    the connection at once. Raises nothing for reasons of network, proxy or peer.
    """
    looks = await probe_each(
        endpoint,
        dialer=dialer,
        timeouts=timeouts,
        deadline=deadline,
        clock=clock,
        hello=hello,
        key_kind=key_kind,
        engine=engine,
    )
    # Of two leaves behind equal hellos only one can be told here. Its key counts as not proved, whatever it signed:
    # otherwise a genuine chain in one of the looks would clear a network that forged the other.
    told = looks[-1]
    return told if len(looks) == 1 else msgspec.structs.replace(told, key_proved=False)


async def probe_each(  # noqa: PLR0913 - as `probe`
    endpoint: Endpoint,
    *,
    dialer: Dialer,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    hello: Hello = Hello.DEFAULT,
    key_kind: KeyKind | None = None,
    engine: Engine = Engine.AUTO,
) -> tuple[Observation, ...]:
    """As `probe`, and with every leaf that was seen: whoever judges takes each as a look of its own.

    It is one observation but where the native engine handed over and OpenSSL was then shown another leaf: then the
    second connection comes first, and what the first one saw behind it. Arguments and the rest are those of `probe`.
    """
    seen: Observation | None = None
    plain = not endpoint.witness and hello is not Hello.BROWSER and key_kind is None
    if plain and engine is not Engine.OPENSSL and native.is_usable():
        seen, hands_over = await _look_natively(endpoint, dialer, timeouts, deadline, clock, hello)
        if not hands_over or engine is Engine.NATIVE:
            return (seen,)
    alpn = HTTP_1_1 if endpoint.witness else ALPN_PROTOCOLS
    opened = await open_tls(
        endpoint,
        dialer=dialer,
        timeouts=timeouts,
        deadline=deadline,
        clock=clock,
        alpn=alpn,
        hello=hello,
        context=None if key_kind is None else _context_for(key_kind),
    )
    if key_kind is not None:
        opened = opened._replace(observation=msgspec.structs.replace(opened.observation, key_kind=key_kind))
    connection = opened.connection
    if connection is None:
        return _of_both(seen, opened.observation)
    try:
        if endpoint.witness:
            opened = await with_witness(opened, endpoint, timeouts=timeouts, deadline=deadline, clock=clock)
    except BaseException:  # cancellation too: the socket must not outlive this call; nothing is swallowed
        connection.abort()
        raise
    await close(connection, deadline=deadline)
    return _of_both(seen, opened.observation)


async def open_tls(  # noqa: PLR0913 - keyword-only; as `probe`, the protocols and settings
    endpoint: Endpoint,
    *,
    dialer: Dialer,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    alpn: Sequence[bytes] = HTTP_1_1,
    hello: Hello = Hello.DEFAULT,
    context: SSL.Context | None = None,
) -> Opened:
    """Connect and finish the TLS handshake as `probe` does, and keep the connection for what comes next.

    Nothing was verified and no application data was sent: judge the observation before anything is. `alpn` are the
    protocols offered, `context` the TLS settings (`handshake.shared_context` unless given). A browser's `hello` has its
    own protocols and settings, and its connection is for looking only and not kept. Arguments are otherwise those of
    `probe`; raises nothing for reasons of network, proxy or peer.
    """
    attempt = 0
    while True:
        attempt += 1
        journal = Journal(timeouts=timeouts, deadline=deadline, clock=clock)
        handshake = _begin(endpoint, alpn, hello, context)
        opened = await _attempt(dialer, endpoint, journal, handshake)
        if not _is_worth_another(opened.observation, attempt, deadline):
            return opened._replace(observation=_after(attempt, opened.observation))


async def _look_natively(  # noqa: PLR0913, PLR0917 - as `probe`
    endpoint: Endpoint,
    dialer: Dialer,
    timeouts: Timeouts | None,
    deadline: float | None,
    clock: Callable[[], float],
    hello: Hello,
) -> tuple[Observation, bool]:
    """Look with the native engine; the second value says that it hands over. Arguments as `probe`."""
    attempt = 0
    while True:
        attempt += 1
        journal = Journal(timeouts=timeouts, deadline=deadline, clock=clock)
        handshake = native.NativeHandshake(endpoint.host, hello=hello)
        observation = (await _attempt(dialer, endpoint, journal, handshake)).observation
        if handshake.hands_over or not _is_worth_another(observation, attempt, deadline):
            return _after(attempt, observation), handshake.hands_over


def _after(attempts: int, observation: Observation) -> Observation:
    """Say that it took so many connections."""
    return observation if attempts == 1 else msgspec.structs.replace(observation, attempts=attempts)


def _is_worth_another(observation: Observation, attempt: int, deadline: float | None) -> bool:
    """Whether a connection ended so early, and in such a way, that another one is made."""
    if observation.outcome not in RETRIED or observation.chain or attempt >= ATTEMPTS_MAX:
        return False
    return deadline is None or asyncio.get_running_loop().time() < deadline


def _of_both(seen: Observation | None, by_reference: Observation) -> tuple[Observation, ...]:
    """What two connections tell, the first of which was handed over: the second, and the first where it saw more."""
    if seen is None:
        return (by_reference,)
    attempts = seen.attempts + by_reference.attempts
    if not is_lost(seen.chain, by_reference.chain):
        return (msgspec.structs.replace(by_reference, attempts=attempts),)
    if not by_reference.chain:
        return (msgspec.structs.replace(seen, attempts=attempts),)
    return (by_reference, msgspec.structs.replace(seen, attempts=attempts))


def is_lost(first: Sequence[object], second: Sequence[object]) -> bool:
    """Whether a chain that one look saw is gone in the next: another leaf behind an equal hello, or none any more."""
    return bool(first) and first[:1] != second[:1]


async def with_witness(
    opened: Opened,
    endpoint: Endpoint,
    *,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Opened:
    """Ask the witness of `endpoint` over an opened connection, and add what came back to the observation.

    Arguments as `probe`. The connection stays open where it can carry another request.
    """
    if opened.connection is None or opened.handshake is None:
        return opened
    nonce, exporter = secrets.token_bytes(NONCE_BYTES), opened.handshake.channel_binding()
    hello = opened.handshake.client_hello
    begun = clock()
    if exporter is None:
        seen = WitnessObservation(outcome=WitnessOutcome.NO_BINDING, nonce=nonce)
    else:
        from .http.witness import ask_witness  # noqa: PLC0415 - HTTP is loaded where a witness is asked

        until = asyncio.get_running_loop().time() + (timeouts or Timeouts()).witness
        until = until if deadline is None else min(until, deadline)
        seen = await ask_witness(opened.connection, endpoint, nonce=nonce, until=until)
    seen = msgspec.structs.replace(
        seen, exporter=exporter, client_hello_sha256=None if hello is None else hashlib.sha256(hello).hexdigest()
    )
    timings = {**opened.observation.timings_ms, "witness": round((clock() - begun) * 1000, 3)}
    return opened._replace(observation=msgspec.structs.replace(opened.observation, witness=seen, timings_ms=timings))


async def close(connection: TLSTransport, *, deadline: float | None = None) -> None:
    """Close a connection within bounds; on return nothing of it is left. `deadline` is loop time."""
    connection.close()
    await _gone(connection, connection.closed, deadline)


def _context_for(key_kind: KeyKind) -> SSL.Context:
    from .tls.handshake import context_for  # noqa: PLC0415 - OpenSSL is loaded where the native engine does not do

    return context_for(key_kind)


def _begin(endpoint: Endpoint, alpn: Sequence[bytes], hello: Hello, context: SSL.Context | None) -> Handshaking:
    """Make the handshake that sends a hello of this profile."""
    if hello is not Hello.BROWSER:
        from .tls.handshake import Handshake  # noqa: PLC0415 - as above

        return Handshake(endpoint.host, context=context, alpn=alpn, wanted=hello)
    from .tls.browser import BrowserHandshake  # noqa: PLC0415 - an extra, loaded when it is asked for

    return BrowserHandshake(endpoint.host)


async def _attempt(dialer: Dialer, endpoint: Endpoint, journal: Journal, handshake: Handshaking) -> Opened:
    """Make one connection. It is kept where the reference engine completed it."""
    session = Carrier(handshake, journal)
    try:
        transport = await dialer.dial(endpoint, lambda: session, journal)
    except RouteError as error:
        handshake.ended(error.outcome)
        return Opened(observe(handshake, dialer.route, journal, error.outcome))
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
    observation = observe(handshake, dialer.route, journal, outcome)
    proved = observation.outcome is Outcome.COMPLETE and observation.key_proved
    if proved and not session.closed.is_set() and (kept := _kept(handshake, transport, observation)):
        return kept
    if session.closed.is_set():  # asyncio's transports bear being written to and asked afterwards, not every loop's do
        return Opened(observation)
    if goodbye := handshake.farewell():
        transport.write(goodbye)
    transport.close()
    if transport.get_write_buffer_size() == 0:
        await session.closed.wait()  # in the next turn of the loop: nothing waits for the peer any more
    else:
        await _gone(transport, session.closed, journal.deadline)
    return Opened(observation)


def _kept(handshake: Handshaking, transport: asyncio.Transport, observation: Observation) -> Opened | None:
    """The connection for who goes on using it, or None from an engine that only looks."""
    if isinstance(handshake, native.NativeHandshake):
        return None
    from .tls.handshake import Handshake  # noqa: PLC0415 - as above: it is loaded already when there is one
    from .tls.transport import TLSTransport  # noqa: PLC0415 - as above

    if not isinstance(handshake, Handshake):
        return None
    return Opened(observation, TLSTransport(handshake.connection, transport), handshake)


async def _gone(transport: asyncio.Transport, closed: asyncio.Event, deadline: float | None) -> None:
    """Wait until a transport that is closing has closed, and no longer than its last bytes may take."""
    loop = asyncio.get_running_loop()
    until = loop.time() + FAREWELL_SECONDS
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
