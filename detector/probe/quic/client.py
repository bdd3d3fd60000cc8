"""One QUIC connection to one endpoint, up to the finished handshake, as an `Observation`.

Room: probe. Opens one UDP socket and closes it. Needs the extra `quic` (aioquic, see docs/adr/0005-quic-library.md),
which runs the protocol; `wire` parses what the server presented and signed, and we check the signature ourselves.

    observation = await probe_quic(endpoint, address=("192.0.2.7", 443))

Outcomes are those of TCP. An endpoint that does not answer is `connect-timeout`, one whose port is closed
`connect-refused` (by ICMP, RFC 1122 section 4.1.3.3), one that answers with something else `not-tls`. None of that says
anything about TCP: most hosts have no QUIC, and many networks block it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import ssl
import time
from typing import TYPE_CHECKING, Final, cast

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted
from cryptography.x509 import InvalidVersion

from detector.model import Endpoint, Observation, Outcome, Route
from detector.probe import outcomes
from detector.probe.routes import ConnectionRecord, Resolver, RouteError, Timeouts, host_port
from detector.probe.tls.engine import Handshake, server_name
from detector.trust.signature import REFUSALS

from .wire import VERSION_1, QuicWire

if TYPE_CHECKING:
    from detector.probe.routes import Address

ALPN_PROTOCOLS: Final = ["h3"]  # HTTP/3 (RFC 9114 section 3.1): what browsers offer over QUIC

ANSWER_SECONDS: Final = 3.0
"""Seconds in which the first packet must come: room for four retransmissions of ours, a fraction of the usual timeout,
because most hosts have no QUIC."""

ADDRESSES_MAX: Final = 2  # addresses tried when none is given: one of each family, as a machine may lack one of them

DATAGRAM_BYTES_MAX: Final = 9000
"""Largest datagram that is read: what the largest Ethernet frames hold. Servers send up to 1500 bytes in a handshake
(RFC 9000 section 14)."""

LIBRARY_REFUSALS: Final = (*REFUSALS, InvalidVersion, LookupError, AssertionError)
"""How aioquic, and `cryptography` inside it, fail on what breaks their assumptions, besides closing the connection. The
datagrams are parsed separately."""

_THEIRS: Final = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
_OURS: Final = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
"""Labels of the secrets in the SSLKEYLOGFILE format (RFC 9850 section 2)."""

_KEYLOG_FIELDS: Final = 3  # label, client random, secret

logging.getLogger("quic").addHandler(logging.NullHandler())  # a peer's errors are outcomes, not lines on stderr


async def probe_quic(
    endpoint: Endpoint,
    *,
    address: Address | None = None,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
) -> Observation:
    """Connect to `endpoint` over QUIC, finish the handshake, and report what the wire showed.

    `address` is where to connect, name or literal (default: the endpoint's address or host). Always direct: no proxy
    carries it. Other arguments are those of `probe`; raises nothing for reasons of network or peer.
    """
    record = ConnectionRecord(timeouts=timeouts or Timeouts(), deadline=deadline, clock=time.perf_counter)
    host, port = address or endpoint.address or (endpoint.host, endpoint.port)
    try:
        async with record.phase("resolve", record.timeouts.resolve, Outcome.DNS_FAILURE):
            found = await Resolver().resolve(host, port)
    except RouteError as error:
        return _unreached(record, error.outcome)
    except OSError as error:
        return _unreached(record, outcomes.of_os_error(error))
    by_family = {info[0]: info[4] for info in reversed(found)}
    places = list(dict.fromkeys(by_family[info[0]] for info in found))[:ADDRESSES_MAX]
    observation = _unreached(record, Outcome.DNS_FAILURE)
    for place in places:
        observation = await _probe_address(endpoint, (str(place[0]), int(place[1])), record)
        if observation.outcome is not Outcome.UNREACHABLE:
            break
    return observation


def _unreached(record: ConnectionRecord, outcome: Outcome) -> Observation:
    return record.complete(Observation(outcome=outcome), Route.QUIC)


async def _probe_address(endpoint: Endpoint, place: Address, record: ConnectionRecord) -> Observation:
    """Run one handshake with one address."""
    loop = asyncio.get_running_loop()
    record.address = host_port(*place)
    protocol = _QuicProtocol(endpoint, place, record)
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: protocol, remote_addr=place)
    except OSError as error:
        return _unreached(record, outcomes.of_os_error(error))
    late: Outcome | None = None
    try:
        async with record.phase("handshake", record.timeouts.handshake, Outcome.HANDSHAKE_TIMEOUT):
            await protocol.settled.wait()
    except RouteError as error:
        late = error.outcome
    finally:
        protocol.close()
        transport.close()  # what was written has left: UDP does not wait
        await protocol.closed.wait()
    return protocol.observation(late)


class _Secrets(io.StringIO):
    """The key log of aioquic, which keeps the two handshake secrets in memory and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, bytes] = {}

    def write(self, line: str) -> int:
        """Take one line (RFC 9850 section 2)."""
        fields = line.split()
        if len(fields) == _KEYLOG_FIELDS and fields[0] in {_THEIRS, _OURS}:
            self.known[fields[0]] = bytes.fromhex(fields[2])
        return len(line)


class _QuicHandshake(Handshake):
    """What one handshake over QUIC showed, without who makes it."""

    def __init__(self, wire: QuicWire) -> None:
        super().__init__(wire.wire)
        self._quic: Final = wire

    def _alert(self) -> int | None:
        return self._quic.alert

    def completion(self) -> Outcome:
        """Return the outcome of a handshake that the library completed."""
        return self._wrong_or(Outcome.COMPLETE if self.key_proved else Outcome.TLS_FAILURE)

    def refusal(self, silence: Outcome) -> Outcome:
        """Return the outcome of a handshake that ended early; `silence` is that of a server that sent no packet."""
        if not self._quic.opened:
            return silence
        closed_by_server = self._quic.our_close_code is None and self._quic.close_code is not None
        if not closed_by_server:
            return self._wrong_or(Outcome.TLS_FAILURE)
        return self._wrong_or(Outcome.CLOSED if self._quic.alert is None else Outcome.TLS_ALERT)


class _QuicProtocol(asyncio.DatagramProtocol):
    """aioquic's connection on a socket, with `QuicWire` parsing the same datagrams.

    `settled` is set when there is an outcome, `closed` when the socket is gone.
    """

    def __init__(self, endpoint: Endpoint, place: Address, record: ConnectionRecord) -> None:
        name = server_name(endpoint.host)
        self._wire = QuicWire()
        self._handshake = _QuicHandshake(self._wire)
        self._secrets = _Secrets()
        self._connection = QuicConnection(
            configuration=QuicConfiguration(
                is_client=True,
                alpn_protocols=ALPN_PROTOCOLS,
                server_name=None if name is None else name.decode("ascii", "replace"),
                verify_mode=ssl.CERT_NONE,
                supported_versions=[VERSION_1],
                secrets_log_file=self._secrets,
            )
        )
        self._place = place
        self._record = record
        self._begun = 0.0
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._datagrams = 0
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()

    # asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first flight."""
        loop = asyncio.get_running_loop()
        self._begun = self._record.clock()
        # Not every event loop's datagram transport derives from asyncio's class.
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._answer_timer = loop.call_later(ANSWER_SECONDS, self._no_answer)
        self._connection.connect(self._place, now=loop.time())
        self._send()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - the socket is connected
        """Pass a datagram to the library and the parser."""
        if self.settled.is_set():
            return
        self._datagrams += 1
        if len(data) > DATAGRAM_BYTES_MAX:
            return
        seen_before = self._wire.wire.certificates_seen
        refused = False
        self._wire.server(data)
        if self._exceeds_limits():  # before the library spends time on it
            return
        try:
            self._connection.receive_datagram(data, self._place, now=asyncio.get_running_loop().time())
        except LIBRARY_REFUSALS:
            refused = True
        if (secret := self._secrets.known.get(_OURS)) is not None:
            self._wire.our_secret(secret)
        if (secret := self._secrets.known.get(_THEIRS)) is not None:
            self._wire.secret(secret)
        if self._wire.wire.certificates_seen and not seen_before:
            self._record.note("certificate", self._begun)
        self._advance()
        if refused:
            self._settle(self._handshake.refusal(self._silence()))

    def error_received(self, exc: Exception) -> None:
        """Settle on an ICMP message: the port is closed, or there is no route."""
        if isinstance(exc, OSError):
            self._settle(outcomes.of_os_error(exc))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Note that the socket is gone."""
        self._settle(Outcome.CLOSED)
        self.closed.set()

    # Inside

    def _no_answer(self) -> None:
        if not self._wire.opened:
            self._settle(self._silence())

    def _silence(self) -> Outcome:
        """Return the outcome where no packet of a QUIC server came: nothing at all, or something else."""
        return Outcome.NOT_TLS if self._datagrams else Outcome.CONNECT_TIMEOUT

    def _on_timer(self) -> None:
        self._timer = None
        self._connection.handle_timer(now=asyncio.get_running_loop().time())
        self._advance()

    def _advance(self) -> None:
        """Process the library's events, send what is due, and set the timer."""
        if self.settled.is_set() or self._exceeds_limits():
            return
        while (event := self._connection.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self._send()  # our Finished
                self._settle(self._handshake.completion())
                return
            if isinstance(event, ConnectionTerminated):
                self._settle(self._handshake.refusal(self._silence()))
                return
        self._send()
        # The library reports a close only after waiting for stragglers; the packets show it at once.
        if self._wire.close_code is not None or self._wire.our_close_code is not None:
            self._settle(self._handshake.refusal(self._silence()))

    def _exceeds_limits(self) -> bool:
        """Settle on a server that sends more than is read."""
        if self._wire.error is None or self._wire.error.outcome is not Outcome.TOO_LARGE:
            return False
        self._settle(Outcome.TOO_LARGE)
        return True

    def _send(self) -> None:
        loop = asyncio.get_running_loop()
        for datagram, _ in self._connection.datagrams_to_send(now=loop.time()):
            self._wire.client(datagram)
            if self._transport is not None and not self._transport.is_closing():
                self._transport.sendto(datagram)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._connection.get_timer()
        if at is not None and not self.settled.is_set():
            self._timer = loop.call_at(at, self._on_timer)

    def _settle(self, outcome: Outcome) -> None:
        if not self.settled.is_set():
            self._handshake.connection_closed(outcome)
            self.settled.set()

    def close(self) -> None:
        """Send the closing bytes and stop every timer; the socket may be closed then."""
        self.settled.set()
        self._record.note("handshake", self._begun)
        with contextlib.suppress(*LIBRARY_REFUSALS):
            self._connection.close()
            self._send()
        for timer in (self._timer, self._answer_timer):
            if timer is not None:
                timer.cancel()

    def observation(self, late: Outcome | None) -> Observation:
        """Return what was seen; `late` is the outcome where time ran out first."""
        silent = late is Outcome.HANDSHAKE_TIMEOUT and not self._wire.opened
        seen = self._handshake.observation(self._silence() if silent else late or Outcome.DEADLINE)
        return self._record.complete(seen, Route.QUIC)
