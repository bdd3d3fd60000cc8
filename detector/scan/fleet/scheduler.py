"""The scheduler of a fleet: relays jobs from clients to workers, and answers back.

Room: fleet. Listens on one port; starts tasks and ends every one of them before it returns.

It reads the numbers of jobs and workers and nothing else. What a part may do follows from the role in its certificate
(`certificates.role_of`): a worker cannot submit jobs or see those of others, a client cannot answer them. A worker that
breaks the protocol, or does not read what it is sent, is disconnected; its jobs are lost, and its client learns that
from the roster.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import WSMsgType, web

from .certificates import CLIENT, WORKER, role_of
from .messages import (
    CLIENTS_MAX,
    HEARTBEAT_SECONDS,
    MESSAGE_BYTES_MAX,
    REGISTRATION_BYTES_MAX,
    WORKERS_MAX,
    Listed,
    Parcel,
    Roster,
    decode_registration,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOG: Final = logging.getLogger("detector.scan")

REGISTER_SECONDS: Final = 10.0
"""Within which a worker must register; it does so in the first message."""
SEND_SECONDS: Final = 30.0
"""Within which a peer must read what it is sent: past that it is disconnected, so that it does not hold up others."""
JOBS_OF_ONE_WORKER_MAX: Final = 4096
"""Jobs of one worker at once, of all clients together; coordinators submit two for each of at most 64 threads."""

_REFUSED: Final = 4000  # WebSocket close codes from here on are an application's own (RFC 6455 section 7.4.2)


class _Peer:
    """A connected part. `jobs` of a worker maps the scheduler's number of a job to its client and the client's."""

    def __init__(self, socket: web.WebSocketResponse, listed: Listed | None = None) -> None:
        self.socket: Final = socket
        self.listed: Final = listed
        self.jobs: Final[dict[int, tuple[_Peer, int]]] = {}

    async def send(self, message: bytes | str) -> None:
        """Send a message; disconnect a peer that does not read it."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                if isinstance(message, str):
                    await self.socket.send_str(message)
                else:
                    await self.socket.send_bytes(message)
        except TimeoutError:
            LOG.info("a peer does not read: disconnecting it")
            await self.socket.close(code=_REFUSED)
        except ConnectionError:
            return  # the task that reads from it notices


class Scheduler:
    """The connections of one scheduler, and what it relays between them."""

    def __init__(self) -> None:
        self._workers: Final[dict[int, _Peer]] = {}
        self._clients: Final[set[_Peer]] = set()
        self._worker_numbers: Final = count(1)
        self._job_numbers: Final = count(1)

    def application(self) -> web.Application:
        """The web application: one path for each role."""
        application = web.Application()
        application.router.add_get(f"/{WORKER}", self._serve_worker)
        application.router.add_get(f"/{CLIENT}", self._serve_client)
        return application

    async def _serve_worker(self, request: web.Request) -> web.StreamResponse:
        socket = await _accept(request, WORKER, has_room=len(self._workers) < WORKERS_MAX)
        try:
            async with asyncio.timeout(REGISTER_SECONDS):
                first = await socket.receive()
        except TimeoutError:
            first = None
        text = first.data if first is not None and first.type is WSMsgType.TEXT else ""
        registration = decode_registration(text) if len(text) <= REGISTRATION_BYTES_MAX else None
        if registration is None:
            await socket.close(code=_REFUSED, message=b"not a registration")
            return socket
        number = next(self._worker_numbers)
        listed = Listed(number=number, address=request.remote or "", registration=registration)
        worker = self._workers[number] = _Peer(socket, listed)
        LOG.info("worker %d registered for %s", number, registration.vantage)
        try:
            await self._announce()
            await self._relay_answers(worker, number)
        finally:
            del self._workers[number]
            LOG.info("worker %d is gone, with %d jobs", number, len(worker.jobs))
            await self._announce()
        return socket

    async def _relay_answers(self, worker: _Peer, number: int) -> None:
        """Pass the answers of a worker on until it ends or sends anything that is no answer to a job of its own."""
        async for message in worker.socket:
            parcel = Parcel.decode(message.data) if message.type is WSMsgType.BINARY else None
            known = None if parcel is None else worker.jobs.pop(parcel.job, None)
            if parcel is None or known is None:
                await worker.socket.close(code=_REFUSED, message=b"not an answer")
                return
            client, job = known
            if client in self._clients:  # else it is gone, or cancelled the job
                await client.send(Parcel(job, number, parcel.content).encode())

    async def _serve_client(self, request: web.Request) -> web.StreamResponse:
        socket = await _accept(request, CLIENT, has_room=len(self._clients) < CLIENTS_MAX)
        client = _Peer(socket)
        self._clients.add(client)
        try:
            await client.send(self._roster())
            async for message in socket:
                parcel = Parcel.decode(message.data) if message.type is WSMsgType.BINARY else None
                if parcel is None:
                    await socket.close(code=_REFUSED, message=b"not a job")
                    break
                await self._relay_job(client, parcel)
        finally:
            self._clients.discard(client)
            for worker in list(self._workers.values()):
                await self._cancel_jobs(worker, client)
        return socket

    async def _relay_job(self, client: _Peer, parcel: Parcel) -> None:
        """Pass a job on; one for a worker that is gone is lost, as the roster says."""
        worker = self._workers.get(parcel.worker)
        if worker is None:
            return
        if not parcel.content:
            await self._cancel_jobs(worker, client, parcel.job)
        elif len(worker.jobs) >= JOBS_OF_ONE_WORKER_MAX:
            await client.send(Parcel(parcel.job, parcel.worker, b"").encode())
        else:
            job = next(self._job_numbers)
            worker.jobs[job] = client, parcel.job
            await worker.send(Parcel(job, 0, parcel.content).encode())

    async def _cancel_jobs(self, worker: _Peer, client: _Peer, only: int | None = None) -> None:
        """Have a worker cancel the jobs of a client, or one of them; it answers those as well."""
        for job, (submitter, number) in list(worker.jobs.items()):
            if submitter is client and only in {None, number}:
                await worker.send(Parcel(job, 0, b"").encode())

    def _roster(self) -> str:
        listed = (worker.listed for worker in self._workers.values())
        return msgspec.json.encode(Roster(workers=tuple(one for one in listed if one is not None))).decode()

    async def _announce(self) -> None:
        """Send the roster to every client."""
        for client in list(self._clients):
            await client.send(self._roster())


async def _accept(request: web.Request, role: str, *, has_room: bool) -> web.WebSocketResponse:
    """Accept a WebSocket from a part with this role in its certificate. Raises an HTTP error for any other."""
    connection = None if request.transport is None else request.transport.get_extra_info("ssl_object")
    if not isinstance(connection, ssl.SSLObject) or role_of(connection.getpeercert()) != role:
        raise web.HTTPForbidden(text=f"The certificate is not that of a {role}.")
    if not has_room:
        raise web.HTTPServiceUnavailable(text=f"There are too many {role}s.")
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX, compress=False)
    await socket.prepare(request)
    return socket


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext, host: str | None, port: int) -> AsyncIterator[tuple[str, int]]:
    """Run a scheduler; yields the address it listens on. Raises `OSError`."""
    runner = web.AppRunner(Scheduler().application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
        address = runner.addresses[0]
        yield str(address[0]), int(address[1])
    finally:
        await runner.cleanup()
