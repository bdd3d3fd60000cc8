"""What the tests of the witness share: a running one, the endpoint that pins it, and clients by hand.

Room: tests of witness. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import h11
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import Response
from detector_testing.streams import NO_EXTENDED_MASTER_SECRET, PlainStream, TLSStream, connect
from OpenSSL import SSL

from detector.model import Endpoint
from detector.trust import witness_statement
from detector.trust.envelope import public_key_of
from detector.witness.server import DEFAULT_LIMITS, Limits, Witness, WitnessServer, serve, tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web
    from detector_testing import Issued, Request

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"
PATIENT: Limits = Limits(handshake=60, head=60, idle=120, stall=60)
"""Limits for tests about something else: a busy machine is no hostile client."""


@functools.cache
def signing_key() -> Ed25519PrivateKey:
    """The key that the tests' witnesses sign with."""
    return Ed25519PrivateKey.generate()


def context_of(issued: Issued) -> SSL.Context:
    """A witness's TLS settings, through files as an operator has them."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        certificate.write_bytes(issued.chain_pem)
        key.write_bytes(issued.key_pem)
        return tls_context(certificate, key)


def endpoint(address: tuple[str, int] | None = None, *keys: Ed25519PrivateKey, **more: Any) -> Endpoint:  # noqa: ANN401 - fields of Endpoint
    """The exam endpoint with its witness pinned, which ends TLS itself; by the tests' key unless others are given."""
    pinned = tuple(public_key_of(key) for key in keys or (signing_key(),))
    return Endpoint(host=EXAM, address=address, witness=pinned, **{"witness_is_end": True} | more)


def answering(key: Ed25519PrivateKey) -> Callable[[Request], Response]:
    """The handler of a witness that signs, with this key, what it sees of the connection that a request came on."""

    def witness(request: Request) -> Response:
        assert request.export_keying_material is not None
        statement = witness_statement.Statement(
            nonce=parse_qs(urlsplit(request.target).query)["nonce"][0],
            exporter=request.export_keying_material(
                witness_statement.EXPORTER_LABEL,
                witness_statement.EXPORTER_BYTES,
                witness_statement.EXPORTER_CONTEXT,
            ),
            client_hello=witness_statement.HelloSeen(sha256="0" * 64),
            time=dt.datetime.now(dt.UTC),
        )
        return Response(body=witness_statement.sign(statement, [key]))

    return witness


@contextlib.asynccontextmanager
async def witness_of(
    issued: Issued,
    *,
    limits: Limits = PATIENT,
    application: web.Application | None = None,
    max_version: ssl.TLSVersion | None = None,
    keys: tuple[Ed25519PrivateKey, ...] = (),
    **more: Any,  # noqa: ANN401 - arguments of Witness
) -> AsyncIterator[WitnessServer]:
    """Run a witness on loopback that presents `issued`."""
    context = context_of(issued)
    if max_version is not None:
        context.set_max_proto_version(int(max_version))
    witness = Witness(keys or (signing_key(),), **more)
    async with serve(witness, tls=context, limits=limits, application=application) as server:
        yield server


class Answered(NamedTuple):
    """One HTTP answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A client by hand, which does what it is asked to: stock OpenSSL and h11."""

    def __init__(self, stream: TLSStream) -> None:
        self.stream = stream
        self.connection = stream.connection
        self._http = h11.Connection(h11.CLIENT)

    async def get(self, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes = b"") -> Answered:
        """Make a request on this connection and read the answer."""
        length = [("Content-Length", str(len(body)))] if body else []
        request = h11.Request(method=method, target=target, headers=[("Host", EXAM), *length, *headers])
        await self.stream.write(
            (self._http.send(request) or b"")
            + (self._http.send(h11.Data(data=body)) or b"")
            + (self._http.send(h11.EndOfMessage()) or b"")
        )
        head: h11.Response | None = None
        received = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self.stream.read())
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                received += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                break
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        names = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        return Answered(head.status_code, names, received)


@contextlib.asynccontextmanager
async def client_of(
    server: WitnessServer,
    *,
    version: ssl.TLSVersion | None = None,
    extended_master_secret: bool = True,
    alpn: tuple[bytes, ...] = (b"http/1.1",),
    over: PlainStream | None = None,
) -> AsyncIterator[Client]:
    """A client by hand that has shaken hands, on a new connection or `over` one; raises what the handshake raises."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    if version is not None:
        context.set_min_proto_version(int(version))
        context.set_max_proto_version(int(version))
    if not extended_master_secret:
        context.set_options(NO_EXTENDED_MASTER_SECRET)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    connection.set_tlsext_host_name(EXAM.encode())
    if alpn:
        connection.set_alpn_protos(list(alpn))
    stream = TLSStream(connection, over or await connect(server.address))
    try:
        await stream.handshake()
        yield Client(stream)
    finally:
        stream.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def holding(server: WitnessServer, data: bytes = b"") -> AsyncIterator[PlainStream]:
    """A bare TCP connection that has sent `data` and says nothing more."""
    stream = await connect(server.address)
    try:
        if data:
            await stream.write(data)
        yield stream
    finally:
        stream.abort()
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something has happened; what never happens fails the test."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - counts are polled, nobody signals
            await asyncio.sleep(0.01)


__all__ = ["DEFAULT_LIMITS", "EXAM", "Client", "client_of", "endpoint", "holding", "signing_key", "until", "witness_of"]
