r"""A network without sockets: in-memory TLS servers and scripted peers behind the `Dialer` interface.

Room: probe. No sockets and no clock; deterministic. For tests of what uses `probe`, here and elsewhere.

Example::

    network = MockNetwork({
        ("exam.example.edu", 443): TLSServer(chain=(leaf_der, intermediate_der), key=leaf_key),
        ("mail.example.org", 443): Script(Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()),
        ("bank.example.com", 443): Fails(Outcome.CONNECT_REFUSED),
    })
    outcome = await probe(endpoint, dialer=network)

A name that is not listed does not resolve.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from OpenSSL import SSL

from detector.model import Endpoint, Outcome, Route

from .routes import RouteError
from .tls.openssl import CIPHERS
from .tls.transport import OUTPUT_BYTES, pending_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

    from .routes import ConnectionRecord, ProtocolFactory

    ServerKey = (
        rsa.RSAPrivateKey
        | ec.EllipticCurvePrivateKey
        | ed25519.Ed25519PrivateKey
        | ed448.Ed448PrivateKey
        | dsa.DSAPrivateKey
    )

ADDRESS: Final = "192.0.2.1:443"  # the address of every mock peer: a documentation address (RFC 5737 section 3)


class Send(NamedTuple):
    """The peer sends this data."""

    data: bytes


class Close:
    """The peer closes the connection."""


class Reset:
    """The peer resets the connection."""


class AwaitClient:
    """The peer waits for data of the client, unless some has already arrived."""


class Wait(NamedTuple):
    """The peer takes its time before its next steps."""

    seconds: float


Step = Send | Close | Reset | AwaitClient | Wait
Peer = Callable[[bytes], list[Step]]
"""The server's side of one connection: takes data of the client (none when it opens), returns what the server does."""


class Script:
    """A peer that takes `steps` and then stays silent."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)

    def begin(self) -> Peer:
        """Serve one connection."""
        steps, unread = list(self._steps), 0

        def receive(data: bytes) -> list[Step]:
            nonlocal unread
            unread += len(data)
            due: list[Step] = []
            while steps and (unread or not isinstance(steps[0], AwaitClient)):
                step = steps.pop(0)
                if isinstance(step, AwaitClient):
                    unread = 0
                else:
                    due.append(step)
            return due

        return receive


class TLSServer:
    """A TLS server: `chain` in DER, leaf first, and the private key of the leaf.

    `versions` are the lowest and highest protocol version as OpenSSL numbers them (`SSL.TLS1_2_VERSION`), `alpn` the
    protocols it supports in its order of preference, `ciphers` an OpenSSL cipher list for TLS 1.2 and older.
    """

    def __init__(
        self,
        *,
        chain: Sequence[bytes],
        key: ServerKey,
        versions: tuple[int, int] = (0, 0),
        alpn: Sequence[bytes] = (b"h2", b"http/1.1"),
        ciphers: bytes = CIPHERS,
    ) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(versions[0])
        context.set_max_proto_version(versions[1])
        context.set_cipher_list(ciphers)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        context.use_certificate(certificates[0])
        for certificate in certificates[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)

        context.set_alpn_select_callback(functools.partial(_select_protocol, tuple(alpn)))
        self._context = context

    def begin(self) -> Peer:
        """Serve one connection."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return functools.partial(_serve, connection)


def _serve(connection: SSL.Connection, data: bytes) -> list[Step]:
    """Take data of the client; return what the server does."""
    steps: list[Step] = []
    if data:
        connection.bio_write(data)
    try:
        connection.do_handshake()
        connection.recv(OUTPUT_BYTES)
    except SSL.WantReadError:
        pass
    except SSL.Error:
        steps.append(Close())
    if output := pending_output(connection):
        steps.insert(0, Send(output))
    return steps


def _select_protocol(supported: tuple[bytes, ...], _connection: SSL.Connection, offered: list[bytes]) -> Any:  # noqa: ANN401 - pyOpenSSL's marker for "none" has a private type
    """Choose the first supported protocol that is offered (RFC 7301 section 3.2)."""
    return next((name for name in supported if name in offered), SSL.NO_OVERLAPPING_PROTOCOLS)


class Fails(NamedTuple):
    """An endpoint that cannot be reached."""

    outcome: Outcome


class MockNetwork:
    """A `Dialer` to peers in memory, by (host, port).

    `dialled` lists every endpoint name in order; `open` counts the connections not yet closed. Each peer of a sequence
    serves one connection, the last of them all further ones.
    """

    def __init__(
        self, peers: Mapping[tuple[str, int], Server | Sequence[Server]], *, route: Route = Route.DIRECT
    ) -> None:
        self._peers = {where: [peer] if isinstance(peer, _SERVERS) else list(peer) for where, peer in peers.items()}
        self.route: Final = route
        self.dialled: list[str] = []
        self.open = 0

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as `Dialer.dial` says."""
        self.dialled.append(endpoint.name)
        queue = self._peers.get((endpoint.host, endpoint.port))
        if not queue:
            raise RouteError(Outcome.DNS_FAILURE)
        server = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(server, Fails):
            raise RouteError(server.outcome)
        record.address = ADDRESS
        begun = record.clock()
        transport = _MockTransport(self, factory(), server.begin())
        record.note("connect", begun)
        self.open += 1
        transport.begin()
        return transport


Server = Script | TLSServer | Fails
_SERVERS: Final = (Script, TLSServer, Fails)


class _MockTransport(asyncio.Transport):
    """Runs a peer on the event loop: each step is delivered in a callback of its own."""

    def __init__(self, network: MockNetwork, protocol: asyncio.BaseProtocol, peer: Peer) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._protocol = protocol
        self._peer = peer
        self._closing = False
        self._paused = False
        self._waiting: list[Step] = []

    def begin(self) -> None:
        """Open the connection."""
        self._protocol.connection_made(self)
        self._run(self._peer(b""))

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send to the peer."""
        if not self._closing:
            self._run(self._peer(bytes(data)))

    def get_write_buffer_size(self) -> int:
        """Return 0: the peer has what was written."""
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change who receives the peer's data."""
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Whether the connection is over or about to be."""
        return self._closing

    def pause_reading(self) -> None:
        """Queue the peer's steps until `resume_reading`."""
        self._paused = True

    def resume_reading(self) -> None:
        """Deliver the queued steps and further ones."""
        self._paused = False
        waiting, self._waiting = self._waiting, []
        self._run(waiting)

    def close(self) -> None:
        """End the connection."""
        self._end(None)

    abort = close

    def _run(self, steps: Sequence[Step]) -> None:
        delay = 0.0
        for step in steps:
            if isinstance(step, Wait):
                delay += step.seconds
            elif delay:
                self._loop.call_later(delay, self._deliver, step)
            else:
                self._loop.call_soon(self._deliver, step)

    def _deliver(self, step: Step) -> None:
        if self._closing or not isinstance(self._protocol, asyncio.Protocol):
            return
        if self._paused:
            self._waiting.append(step)
            return
        match step:
            case Send():
                self._protocol.data_received(step.data)
            case Close():
                self._protocol.eof_received()
                self._end(None)
            case Reset():
                self._end(ConnectionResetError())
            case _:
                pass

    def _end(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._network.open -= 1
            self._loop.call_soon(self._protocol.connection_lost, error)
