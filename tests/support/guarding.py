"""What the tests of guarded clients share: a guard that knows the test PKI, a session that goes through it, servers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from detector_testing import Request, Response
from detector_testing.origin import greet
from detector_testing.streams import LOOPBACK, Listener, PlainStream, TLSStream, listen, server_context
from OpenSSL import SSL

from detector.guard import Guard, GuardedConnector
from detector.judge.evidence import no_machine_roots
from detector.pins import PinSet
from detector.session.seams import Seams
from detector.trust import witness_statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from conftest import World
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from detector_testing import Issued

    from detector.guard import Assessment
    from detector.model import Endpoint, Observation

EXAM, LMS = "exam.example.edu", "lms.example.org"
URL = f"https://{EXAM}/answers"
SECRET = "the-answer-is-42"  # noqa: S105 - what must not leave


class CountingGuard(Guard):
    """A guard that keeps what it assessed."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - arguments of Guard
        super().__init__(**settings)
        self.assessed: list[Assessment] = []

    def assess(self, endpoint: Endpoint, observation: Observation) -> Assessment:
        """Judge and keep."""
        assessed = super().assess(endpoint, observation)
        self.assessed.append(assessed)
        return assessed


def guard_of(world: World, *endpoints: Endpoint, **settings: Any) -> CountingGuard:  # noqa: ANN401 - arguments of Guard
    """Make a guard that trusts the test PKI and nothing of this machine; `endpoints` are the pinned ones."""
    known: dict[str, Any] = {
        "machine_roots": no_machine_roots,
        "installed_at": lambda _: None,
        "clock": lambda: world.pki.now,
    }
    known |= {name: settings.pop(name) for name in Seams._fields if name in settings}
    trusted = {"pins": PinSet(name="test", endpoints=endpoints), "roots": world.roots, "logs": world.logs}
    return CountingGuard(seams=Seams(**known), **{**trusted, **settings})


def client_tasks() -> set[asyncio.Task[Any]]:
    """Every running task but those of the servers, which run in the same loop."""
    servers = ("/detector_testing/", "aiohttp/web")

    def of_server(task: asyncio.Task[Any]) -> bool:
        coroutine = task.get_coro()
        code = getattr(coroutine, "cr_code", None)
        return code is not None and any(part in code.co_filename.replace("\\", "/") for part in servers)

    return {task for task in asyncio.all_tasks() if not task.done() and not of_server(task)}


@contextlib.asynccontextmanager
async def guarded(
    guard: Guard,
    *,
    session: dict[str, Any] | None = None,
    **connector: Any,  # noqa: ANN401 - arguments of GuardedConnector
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session over a guarded connector; that no task of it outlives it is asserted.

    This machine's proxy settings are left out unless a test names them.
    """
    before = client_tasks()
    guarding = GuardedConnector(guard, **{"proxy": "none", **connector})
    async with aiohttp.ClientSession(connector=guarding, **(session or {})) as client:
        yield client
    await asyncio.sleep(0)  # closed transports let go of their sockets in the next turn of the loop
    assert client_tasks() <= before


async def settled(server: Listener) -> None:
    """Wait until every connection to a server has ended: a client that leaves one open fails here."""
    async with asyncio.timeout(20):
        await server.settled()


class RawServer(Listener):
    """A TLS server that sends what a test specifies, and counts its connections."""


@contextlib.asynccontextmanager
async def serve_raw(
    issued: Issued, talk: Callable[[TLSStream, PlainStream, int], Awaitable[None]]
) -> AsyncIterator[RawServer]:
    """Serve TLS; `talk` gets each connection, the one below it, and its number (from 1)."""
    context, server = server_context(issued, alpn=("http/1.1",)), RawServer()

    async def serve(plain: PlainStream) -> None:
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        stream = TLSStream(connection, plain)
        number = server.connections
        await stream.handshake()
        await talk(stream, plain, number)

    async with listen(serve, server):
        yield server


async def read_head(stream: TLSStream) -> bytes:
    """Read one request's head; nothing when the client has closed."""
    head = b""
    while b"\r\n\r\n" not in head and (data := await stream.read()):
        head += data
    return head


@contextlib.asynccontextmanager
async def serve_app(issued: Issued, folder: Path, *routes: web.RouteDef) -> AsyncIterator[tuple[str, int]]:
    """Serve an aiohttp application over TLS and give its address."""
    (folder / "chain.pem").write_bytes(issued.chain_pem)
    (folder / "key.pem").write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    app = web.Application(client_max_size=1 << 30)
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0, ssl_context=context).start()
        yield runner.addresses[0][:2]
    finally:
        await runner.cleanup()


def witness_that(key: Ed25519PrivateKey, *, exporter: bytes | None = None) -> Callable[[Request], Response]:
    """Answer a witness's question as `key` would, and everything else with a page; `exporter` makes it another one."""

    def handle(request: Request) -> Response:
        if not request.target.startswith(witness_statement.PATH) or request.export_keying_material is None:
            return greet(request)
        own = request.export_keying_material(
            witness_statement.EXPORTER_LABEL, witness_statement.EXPORTER_BYTES, witness_statement.EXPORTER_CONTEXT
        )
        statement = witness_statement.Statement(
            nonce=request.target.partition("nonce=")[2],
            exporter=exporter or own,
            client_hello=witness_statement.HelloSeen(sha256="0" * 64),
            time=dt.datetime.now(dt.UTC),
        )
        return Response(body=witness_statement.sign(statement, [key]))

    return handle
