"""A collector's service on loopback, and what clients send to it.

Room: tests. Listens and connects on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import io
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_collect.service.app import create_app
from detector_collect.service.serving import listening, serving
from detector_collect.service.settings import DEFAULT_LIMITS, ServiceSettings
from detector_collect.store import keys
from support.collect_stores import NOW

from detector.model import Category, EndpointName, Scope, Verdict, encode
from detector.outbox.contents import NetworkContent, WatchContent
from detector.outbox.submission import PAYLOAD_TYPE, Kind, Submission
from detector.trust.envelope import key_identifier, public_key_of, seal
from detector.watch.events import WatchKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector_collect.store.database import Store

DSSE: Final = "application/vnd.dsse.envelope.v1+json"
SERVICE_KEY: Final = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
NORTH: Final = Ed25519PrivateKey.from_private_bytes(b"n" * 32)
SOUTH: Final = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
STRANGER: Final = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
SUBMISSION: Final = Submission(
    institution="north",
    exam="algebra",
    student="ab" * 32,
    network="cd" * 32,
    made=NOW,
    kind=Kind.WATCH_EVENT,
    content=msgspec.Raw(
        encode(
            WatchContent(
                sequence=1,
                kind=WatchKind.BASELINE,
                at=NOW,
                elapsed=1.0,
                network=NetworkContent(
                    verdict=Verdict.CLEAN, confidence=None, scope=Scope.NONE, clean=1, middleware=0, inconclusive=0,
                    unjudged=0,
                ),
            )
        )
    ),
)  # fmt: skip


def identifier(key: Ed25519PrivateKey) -> str:
    """How a key is registered."""
    return key_identifier(public_key_of(key))


KEY: Final = keys.Key(identifier(NORTH), "north", "signing", NOW, None, None, 6000, 1 << 20)
"""The key of the institution, registered."""


def sealed(submission: Submission = SUBMISSION, key: Ed25519PrivateKey = NORTH, **changes: Any) -> bytes:  # noqa: ANN401 - any field
    """The envelope of a submission with changes."""
    payload = encode(msgspec.structs.replace(submission, **changes))
    return seal(payload, payload_type=PAYLOAD_TYPE, keys=[key])


async def register(store: Store, key: Ed25519PrivateKey, institution: str, **changes: Any) -> None:  # noqa: ANN401 - any field
    """Register an institution, if it is new, and its key."""
    async with store.begin() as connection:
        if institution not in {one.id for one in await keys.list_institutions(connection)}:
            await keys.add_institution(connection, keys.Institution(institution, institution.title(), NOW))
        new = KEY._replace(id=identifier(key), institution=institution, bytes_max=4 << 20)
        await keys.add_key(connection, new._replace(**changes))


async def counted(store: Store) -> dict[str, int]:
    """The number of rows of each table, but of the counters."""
    async with store.connect() as connection:
        names = await connection.run_sync(lambda open_one: sa.inspect(open_one).get_table_names())
        return {
            name: await connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) or 0
            for name in names
            if name != "counters"
        }


class Answered(NamedTuple):
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """Its problem details."""
        assert self.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status
        return found

    @property
    def refusal(self) -> str:
        """Which refusal it is."""
        kind: str = self.problem["type"]
        return kind.removeprefix("urn:tls-interception:refusal:")


class Running(NamedTuple):
    """A service that listens on `port` of loopback."""

    port: int
    store: Store

    async def post(self, body: bytes, headers: dict[str, str] | None = None, path: str = "/v1/evidence") -> Answered:
        """Send a body."""
        return await self.ask("POST", path, body, {"Content-Type": DSSE, **(headers or {})})

    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answered:
        """Send a request."""
        data = body and io.BytesIO(body)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers) as answer,
        ):
            return Answered(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.read())

    async def talk(self, *sent: bytes, ends: bool = False) -> bytes:
        """Send bytes on one connection, and return what comes until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            with contextlib.suppress(ConnectionError):
                for part in sent:
                    writer.write(part)
                    await writer.drain()
                if ends:
                    writer.write_eof()
            return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def running_service(
    store: Store,
    *,
    registers: bool = True,
    **changes: Any,  # noqa: ANN401 - any setting
) -> AsyncIterator[Running]:
    """A service with the keys of two institutions; changes are of its settings, or of its limits."""
    limits = DEFAULT_LIMITS._replace(
        **{name: changes.pop(name) for name in list(changes) if name in DEFAULT_LIMITS._fields}
    )
    settings = ServiceSettings(SERVICE_KEY, limits=limits, clock=lambda: NOW)._replace(**changes)
    if registers:
        await register(store, NORTH, "north")
        await register(store, SOUTH, "south")
    async with serving(create_app(store, settings), await listening(), limits=limits) as port:
        yield Running(port, store)


def endpoint(host: str = "exam.example.org") -> EndpointName:
    """An endpoint."""
    return EndpointName(host=host, port=443, category=Category.EXAM)


MINUTE: Final = dt.timedelta(minutes=1)
