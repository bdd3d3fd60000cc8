"""A host with several addresses in memory, each behind a server or a box with a fault of its own.

Room: tests. Opens no sockets.
"""

from __future__ import annotations

import enum
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from support.conversations import HOST, exam

from detector.model import Outcome, Route
from detector.probe.mock import Close, MockNetwork, Reset, Send, Step, TLSServer, Wait

if TYPE_CHECKING:
    import asyncio

    from detector_testing import Issued

    from detector.model import Endpoint
    from detector.probe.mock import Peer
    from detector.probe.routes import ConnectionRecord, ProtocolFactory

SEGMENT: Final = 1400
"""Bytes of a ClientHello that reach a box in one TCP segment."""

PLACES: Final = ("192.0.2.1:443", "[2001:db8::1]:443", "192.0.2.2:443")


class Fault(enum.Enum):
    """What becomes of a connection that is not answered."""

    RESET = Outcome.RESET
    CLOSE = Outcome.CLOSED
    ALERT = Outcome.TLS_ALERT
    SILENCE = Outcome.HANDSHAKE_TIMEOUT

    @property
    def steps(self) -> list[Step]:
        """What the server does."""
        steps: dict[Fault, list[Step]] = {
            Fault.RESET: [Reset()],
            Fault.CLOSE: [Close()],
            Fault.ALERT: [Send(bytes.fromhex("15030300020232")), Close()],  # decode_error
            Fault.SILENCE: [],
        }
        return steps[self]


class Behaviour(NamedTuple):
    """What a server, or whatever stands before it, does with connections: None answers genuinely.

    `first` is for the first connection, `large` and `small` for hellos of more than a segment and of one. `waits` and
    `small_waits` are the seconds before these are answered with a certificate.
    """

    large: Fault | Issued | None = None
    small: Fault | Issued | None = None
    first: Fault | Issued | None = None
    waits: float = 0.0
    small_waits: float = 0.0


class Connection(NamedTuple):
    """One connection: where, whether its hello was a small one, and what answered it."""

    address: str
    is_small: bool
    answer: Fault | Issued


class Addressed:
    """A `Dialer` to a host with an address for each behaviour. `connections` are those that sent a whole hello."""

    def __init__(self, *behaviours: Behaviour, genuine: Issued | None = None) -> None:
        self.route: Final = Route.DIRECT
        self.connections: list[Connection] = []
        self._networks: Final = {
            address: MockNetwork({(HOST, 443): _Server(behaviour, genuine or exam(), address, self.connections)})
            for address, behaviour in zip(PLACES, behaviours, strict=False)
        }

    @property
    def open(self) -> int:
        """Connections that are not closed."""
        return sum(network.open for network in self._networks.values())

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect to the first address in the order that is wanted."""
        address = min(self._networks, key=record.order) if record.order else next(iter(self._networks))
        transport = await self._networks[address].dial(endpoint, factory, record)
        record.address = address
        return transport

    def answers(self) -> set[bytes]:
        """The leaves that were sent."""
        return {seen.answer.leaf for seen in self.connections if not isinstance(seen.answer, Fault)}

    def faults(self) -> list[tuple[Outcome, bool, str]]:
        """Outcome, size of the hello, and address of each connection that got no certificate."""
        return [
            (seen.answer.value, seen.is_small, seen.address)
            for seen in self.connections
            if isinstance(seen.answer, Fault)
        ]


class _Server(TLSServer):
    def __init__(self, behaviour: Behaviour, genuine: Issued, address: str, seen: list[Connection]) -> None:
        super().__init__(chain=genuine.chain, key=genuine.key)
        self._behaviour = behaviour
        self._genuine = genuine
        self._address = address
        self._seen = seen
        self._numbers = itertools.count()

    def begin(self) -> Peer:
        """Serve one connection."""
        number, received = next(self._numbers), b""
        peers: list[Peer] = []

        def receive(data: bytes) -> list[Step]:
            nonlocal received
            if peers:
                return peers[0](data)
            received += data
            if len(received) < 5 or len(received) < 5 + int.from_bytes(received[3:5], "big"):
                return []
            is_small = len(received) <= SEGMENT
            behaviour = self._behaviour
            answer = (behaviour.small if is_small else behaviour.large) or self._genuine
            if number == 0 and behaviour.first is not None:
                answer = behaviour.first
            self._seen.append(Connection(self._address, is_small, answer))
            if isinstance(answer, Fault):
                peers.append(lambda _: [])
                return answer.steps
            peers.append(TLSServer(chain=answer.chain, key=answer.key).begin())
            return [Wait(behaviour.small_waits if is_small else behaviour.waits), *peers[0](received)]

        return receive
