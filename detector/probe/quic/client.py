"""One QUIC connection to one endpoint, up to the finished handshake, as an `Observation`.

Room: probe. Opens one UDP socket and closes it; judges nothing. Needs the extra `quic` (aioquic, see
docs/adr/0005-quic-library.md), which conducts the protocol; what the server presented and signed is read from the
datagrams by `quic_wire`, and the key's proof is our own.

    observation = await probe_quic(endpoint, address=("192.0.2.7", 443))

What came of it is named in the same vocabulary as over TCP. An endpoint that does not answer is `connect-timeout`, one
whose port is closed `connect-refused` (an ICMP message says so, RFC 1122 section 4.1.3.3), one that answers with
something else `not-tls`. None of that says anything about TCP: most hosts have no QUIC, and many networks block it.
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

from detector.model import Endpoint, HandshakeSignature, Observation, Outcome, Route
from detector.probe import outcomes
from detector.probe.routes import Journal, Resolver, RouteError, Timeouts
from detector.probe.tls.codepoints import CIPHER_SUITES, GROUPS, VERSIONS
from detector.probe.tls.hello import asks_for_timestamps, ja3_of
from detector.probe.tls.keyproof import KeyProof, check_certificate_verify, signed_content
from detector.probe.tls.openssl import server_name
from detector.probe.tls.wire import WireErrorKind
from detector.trust.certificate import Certificate
from detector.trust.signature import REFUSALS

from .wire import VERSION_1, QuicWire

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.probe.routes import Address

ALPN_PROTOCOLS: Final = ["h3"]
"""HTTP/3 (RFC 9114 section 3.1): what browsers ask for over QUIC, and a server that has none must say so."""

ANSWER_SECONDS: Final = 3.0
"""Seconds in which the first packet must come: room for four retransmissions of ours, a fraction of what the usual
timeout would make everybody wait for who has no QUIC."""

ADDRESSES_MAX: Final = 2
"""Addresses tried when none is given: one of each family, as a machine may lack one of them."""

DATAGRAM_OCTETS_MAX: Final = 65527
"""Octets of a UDP payload (RFC 768)."""

LIBRARY_REFUSALS: Final = (*REFUSALS, InvalidVersion, LookupError, AssertionError)
"""How aioquic, and `cryptography` inside it, give up on what breaks their assumptions, besides closing the connection.
Nothing was learned by it; what the datagrams say is read apart from it."""

_THEIRS: Final = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
_OURS: Final = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
"""Labels of the secrets in the SSLKEYLOGFILE format (RFC 9850 section 2)."""

_KEYLOG_FIELDS: Final = 3
"""Label, client random, secret."""

logging.getLogger("quic").addHandler(logging.NullHandler())  # what a peer breaks is an outcome, not a line on stderr


async def probe_quic(  # noqa: PLR0913 - keyword-only; as `probe`, and where to go
    endpoint: Endpoint,
    *,
    address: Address | None = None,
    timeouts: Timeouts | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    resolver: Resolver | None = None,
) -> Observation:
    """Connect to `endpoint` over QUIC, finish the handshake, and report what the wire showed.

    `address` is where to go, name or literal; without it the endpoint's own address or host is taken. Always direct:
    no proxy carries it. Other arguments are those of `probe`; raises nothing for reasons of network or peer.
    """
    journal = Journal(timeouts=timeouts, deadline=deadline, clock=clock)
    host, port = address or endpoint.address or (endpoint.host, endpoint.port)
    try:
        async with journal.phase("resolve", journal.timeouts.resolve, Outcome.DNS_FAILURE):
            found = await (resolver or Resolver()).resolve(host, port)
    except RouteError as error:
        return _nothing(journal, error.outcome)
    except OSError as error:
        return _nothing(journal, outcomes.of_os_error(error))
    by_family = {info[0]: info[4] for info in reversed(found)}
    places = list(dict.fromkeys(by_family[info[0]] for info in found))[:ADDRESSES_MAX]
    observation = _nothing(journal, Outcome.DNS_FAILURE)
    for place in places:
        observation = await _talk(endpoint, (str(place[0]), int(place[1])), journal)
        if observation.outcome is not Outcome.UNREACHABLE:
            break
    return observation


def _nothing(journal: Journal, outcome: Outcome) -> Observation:
    return Observation(outcome=outcome, route=Route.QUIC, address=journal.address, timings_ms=dict(journal.timings_ms))


async def _talk(endpoint: Endpoint, place: Address, journal: Journal) -> Observation:
    """One handshake with one address."""
    loop = asyncio.get_running_loop()
    host, port = place
    journal.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    talk = _Talk(endpoint, place, journal)
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: talk, remote_addr=place)
    except OSError as error:
        return _nothing(journal, outcomes.of_os_error(error))
    late: Outcome | None = None
    try:
        async with journal.phase("handshake", journal.timeouts.handshake, Outcome.HANDSHAKE_TIMEOUT):
            await talk.settled.wait()
    except RouteError as error:
        late = error.outcome
    finally:
        talk.end()
        transport.close()  # what was written has left: UDP does not wait
        await talk.closed.wait()
    return talk.observation(late)


class _Secrets(io.StringIO):
    """The key log aioquic writes to: keeps the two handshake secrets, in memory, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, bytes] = {}

    def write(self, line: str) -> int:
        """Take one line (RFC 9850 section 2)."""
        fields = line.split()
        if len(fields) == _KEYLOG_FIELDS and fields[0] in {_THEIRS, _OURS}:
            self.known[fields[0]] = bytes.fromhex(fields[2])
        return len(line)


class _Talk(asyncio.DatagramProtocol):
    """aioquic's connection on a socket, and `QuicWire` beside it.

    `settled` is set when there is an outcome, `closed` when the socket is gone.
    """

    def __init__(self, endpoint: Endpoint, place: Address, journal: Journal) -> None:
        name = server_name(endpoint.host)
        self._wire = QuicWire()
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
        self._journal = journal
        self._begun = 0.0
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._outcome: Outcome | None = None
        self._completed = False
        self._datagrams = 0
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()

    # asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first flight."""
        loop = asyncio.get_running_loop()
        self._begun = self._journal.clock()
        # Not every event loop's datagram transport derives from asyncio's class.
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._answer_timer = loop.call_later(ANSWER_SECONDS, self._no_answer)
        self._connection.connect(self._place, now=loop.time())
        self._send()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - the socket is connected
        """Let the library and the reader have a datagram."""
        if self.settled.is_set():
            return
        self._datagrams += 1
        seen_before = self._wire.wire.certificates_seen
        refused = False
        self._wire.server(data)
        try:
            self._connection.receive_datagram(data, self._place, now=asyncio.get_running_loop().time())
        except LIBRARY_REFUSALS:
            refused = True
        if (secret := self._secrets.known.get(_OURS)) is not None:
            self._wire.our_secret(secret)
        if (secret := self._secrets.known.get(_THEIRS)) is not None:
            self._wire.secret(secret)
        if self._wire.wire.certificates_seen and not seen_before:
            self._note("certificate")
        self._go_on()
        if refused:
            self._settle(self._refusal())

    def error_received(self, exc: Exception) -> None:
        """Take note of an ICMP message: nobody listens, or the way there is closed."""
        if isinstance(exc, OSError):
            self._settle(outcomes.of_os_error(exc))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Take note that the socket is gone."""
        self._settle(Outcome.CLOSED)
        self.closed.set()

    # Inside

    def _note(self, phase: str) -> None:
        self._journal.timings_ms[phase] = round((self._journal.clock() - self._begun) * 1000, 3)

    def _no_answer(self) -> None:
        if not self._wire.opened:
            self._settle(self._silence())

    def _silence(self) -> Outcome:
        """What it is called when no packet of a QUIC server came: nothing at all, or something else."""
        return Outcome.NOT_TLS if self._datagrams else Outcome.CONNECT_TIMEOUT

    def _on_timer(self) -> None:
        self._timer = None
        self._connection.handle_timer(now=asyncio.get_running_loop().time())
        self._go_on()

    def _go_on(self) -> None:
        """Send what is to be sent, look what happened, and set the timer."""
        if self.settled.is_set():
            return
        if self._wire.error is not None and self._wire.error.kind is WireErrorKind.TOO_LARGE:
            self._settle(Outcome.TOO_LARGE)
            return
        while (event := self._connection.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self._completed = True
                self._send()  # our Finished
                self._settle(self._completion())
                return
            if isinstance(event, ConnectionTerminated):
                self._settle(self._refusal())
                return
        self._send()
        # The library tells of an ending only when it has waited for stragglers; the packets tell at once.
        if self._wire.close_code is not None or self._wire.our_close_code is not None:
            self._settle(self._refusal())

    def _completion(self) -> Outcome:
        if self._proof() is KeyProof.INVALID:
            return Outcome.SIGNATURE_WRONG
        return Outcome.COMPLETE if self._key_proved() else Outcome.TLS_FAILURE

    def _refusal(self) -> Outcome:
        if self._proof() is KeyProof.INVALID:
            return Outcome.SIGNATURE_WRONG
        if self._wire.our_close_code is not None or not self._wire.opened:
            return Outcome.TLS_FAILURE if self._wire.opened else self._silence()
        if self._wire.close_code is not None:
            return Outcome.CLOSED if self._wire.alert is None else Outcome.TLS_ALERT
        return Outcome.TLS_FAILURE

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
            self._outcome = outcome
            self.settled.set()

    def end(self) -> None:
        """Say goodbye and stop every timer; the socket may be closed then."""
        self.settled.set()
        self._note("handshake")
        with contextlib.suppress(*LIBRARY_REFUSALS):
            self._connection.close()
            self._send()
        for timer in (self._timer, self._answer_timer):
            if timer is not None:
                timer.cancel()

    # What was seen

    def _proof(self) -> KeyProof:
        wire = self._wire.wire
        if wire.certificate_verify is None or not wire.certificates:
            return KeyProof.NOT_SEEN
        return check_certificate_verify(Certificate.read(wire.certificates[0]).spki, wire.certificate_verify)

    def _key_proved(self) -> bool:
        """Whether the server holds the key of certificate 0: by our own check of what it signed, and its Finished."""
        return self._wire.wire.finished_valid is True and self._proof() is KeyProof.VALID

    def observation(self, late: Outcome | None) -> Observation:
        """What was seen; `late` is the outcome where time was up first."""
        outcome = self._outcome
        if outcome is None:
            outcome = late or Outcome.DEADLINE
            if outcome is Outcome.HANDSHAKE_TIMEOUT and not self._wire.opened:
                outcome = self._silence()
        wire = self._wire.wire
        verify = wire.certificate_verify
        signature = None
        if verify is not None:
            signature = HandshakeSignature(
                scheme=verify.scheme, signed=signed_content(verify.transcript_hash), signature=verify.signature
            )
        return Observation(
            outcome=outcome,
            key_proved=self._key_proved(),
            route=Route.QUIC,
            ja3=ja3_of(wire.client_hellos[0] if wire.client_hellos else None),
            address=self._journal.address,
            tls_version=None if wire.version is None else VERSIONS.get(wire.version),
            cipher=None if wire.suite is None else CIPHER_SUITES.get(wire.suite),
            group=None if wire.group is None else GROUPS.get(wire.group, f"0x{wire.group:04x}"),
            alpn=wire.alpn,
            alert=self._wire.alert,
            server_hello=wire.server_hello,
            chain=tuple(Certificate.read(der).presented() for der in wire.certificates),
            handshake_signature=signature,
            sct_list=wire.sct_list,
            ocsp_response=wire.ocsp_response,
            scts_carried=wire.past_timestamps and all(map(asks_for_timestamps, wire.client_hellos)),
            timings_ms=dict(self._journal.timings_ms),
        )
