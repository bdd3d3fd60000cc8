"""Receivers on loopback: an HTTPS server for webhooks with a CA of its own, and a mail server.

Room: tests of the collector. Listens on loopback until the block ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web
from aiosmtpd.smtp import SMTP
from detector_testing import PrivatePKI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiosmtpd.smtp import Envelope, Session


class Received(NamedTuple):
    """One request: its headers and body."""

    headers: dict[str, str]
    body: bytes


class WebhookReceiver:
    """What arrived, and how to answer: a status for each request, the last of which repeats."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.url: Final = url
        self.context: Final = context
        self.received: Final[list[Received]] = []
        self.statuses: list[int] = [204]
        self.location: str | None = None

    async def answer(self, request: web.Request) -> web.Response:
        """Record a request and answer it."""
        self.received.append(Received(dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers={"Location": self.location} if self.location else {})


@contextlib.asynccontextmanager
async def webhook_receiver(host: str = "localhost") -> AsyncIterator[WebhookReceiver]:
    """An HTTPS server at `https://localhost:port/hook`, and the context with which a client trusts it."""
    pki = PrivatePKI.create()
    ca = pki.private_ca("Receiver CA")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue([host]).configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    app = web.Application()
    runner = web.AppRunner(app)
    receivers: list[WebhookReceiver] = []

    async def answer(request: web.Request) -> web.Response:
        return await receivers[0].answer(request)

    app.router.add_post("/hook", answer)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server)
        await site.start()
        port = runner.addresses[0][1]
        receivers.append(WebhookReceiver(f"https://{host}:{port}/hook", client))
        yield receivers[0]
    finally:
        await runner.cleanup()


class Mailbox:
    """What a mail server accepted at `port`, and whether each mail came over TLS."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: Final[list[Envelope]] = []
        self.encrypted: Final[list[bool]] = []

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Accept a mail."""
        self.mails.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"


@contextlib.asynccontextmanager
async def mail_server(context: ssl.SSLContext | None = None) -> AsyncIterator[Mailbox]:
    """A mail server on loopback: with a context it requires STARTTLS, without one it has no TLS."""
    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, tls_context=context, require_starttls=context is not None), "127.0.0.1", 0
    )
    async with server:
        box.port = server.sockets[0].getsockname()[1]
        yield box
