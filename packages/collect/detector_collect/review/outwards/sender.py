"""Sends what the outbox holds: webhooks over HTTPS, digests by mail. Each at least once.

Room: detector_collect.review.outwards. Connects to configured receivers and the mail server alone; reads and writes the
outbox.

* A webhook goes to the https URL that was registered: no redirect is followed, no proxy of the environment is used, and
  its host must have a public address unless it was registered as private. The address that was checked is the one that
  is connected to, so that a name that changes its address in between gains nothing.
* Of an answer only the status is read; each attempt has `SEND_SECONDS`.
* A notice is marked as delivered after its receiver accepted it. A crash in between sends it again with the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import ipaddress
import logging
import smtplib
import socket
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from detector.aio.tasks import run_in_thread
from detector.errors import InputError
from detector.probe.http.issuers import is_public_address
from detector_collect.store import deliveries

from . import digests, webhooks

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from detector_collect.store.database import Store
    from detector_collect.store.deliveries import Claimed, Delivery

SEND_SECONDS: Final = 15.0
"""One attempt: connecting, sending under 16 KiB and reading a status. The specification advises 15 to 30 seconds."""
LEASE: Final = dt.timedelta(seconds=120)
"""After which another sender repeats an attempt whose end nobody noted: longer than any attempt lasts."""
RECEIVERS_AT_ONCE: Final = 16
"""Receivers that are sent to concurrently."""
URL_CHARACTERS_MAX: Final = 512
"""Characters of a webhook's URL."""

LOG: Final = logging.getLogger("detector_collect.outwards")


class MailServer(NamedTuple):
    """Where mail is handed in. TLS is required unless the host is this machine; `implicit` is TLS from the start."""

    host: str
    port: int
    sender: str
    implicit: bool = False
    user: str | None = None
    password: str | None = None


class Outwards(NamedTuple):
    """How to send. `base_url` is where the review room is; `secrets` reads those of each receiver."""

    base_url: str
    secrets: Callable[[], Mapping[int, Sequence[bytes]]]
    mail: MailServer | None
    context: ssl.SSLContext


class RefusedAddressError(OSError):
    """A receiver's host has an address that it may not have."""


def webhook_url(text: str) -> str:
    """Check the URL of a webhook. Raises `InputError`."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InputError("The webhook's URL is invalid.", advice=_URL_ADVICE) from None
    if (
        parts.scheme != "https"
        or not parts.hostname
        or port == 0
        or parts.username is not None
        or parts.fragment
        or len(text) > URL_CHARACTERS_MAX
        or not text.isascii()
        or not text.isprintable()
        or any(character in text for character in " \\")
    ):
        raise InputError("The webhook's URL cannot be used.", advice=_URL_ADVICE)
    return text


_URL_ADVICE: Final = (
    f"Write https://host/path, without credentials or fragment, in at most {URL_CHARACTERS_MAX} ASCII characters."
)


async def deliver_due(store: Store, *, now: dt.datetime, outwards: Outwards) -> int:
    """Send one round of what is due; returns how many receivers had something. Raises `StoreError`."""
    async with store.begin() as connection:
        claimed = await deliveries.claim(connection, now=now, lease=LEASE, limit=RECEIVERS_AT_ONCE)
        await deliveries.forget(connection, now=now)
    await asyncio.gather(*(_deliver(store, one, now, outwards) for one in claimed))
    return len(claimed)


async def _deliver(store: Store, claimed: Claimed, now: dt.datetime, outwards: Outwards) -> None:
    receiver = claimed.receiver
    try:
        async with asyncio.timeout(SEND_SECONDS):
            if receiver.kind is deliveries.ReceiverKind.MAIL:
                await _send_mail(claimed, outwards)
            else:
                await _send_webhook(claimed, now, outwards)
    except (aiohttp.ClientError, TimeoutError, OSError, smtplib.SMTPException, InputError) as error:
        LOG.warning("not delivered", extra={"fields": {"receiver": receiver.id, "reason": type(error).__name__}})
        async with store.begin() as connection:
            await deliveries.postpone(connection, claimed, now=now)
    else:
        async with store.begin() as connection:
            await deliveries.finish(connection, claimed, now=now)


# Webhooks


def webhook_of(delivery: Delivery, base_url: str) -> tuple[str, bytes]:
    """The identifier and body of a message: the same at each attempt, another for any other notice."""
    notice = delivery.notice
    body = msgspec.json.encode(
        {
            "type": notice.event,
            "timestamp": notice.at,
            "data": {
                "number": delivery.id,
                "institution": notice.institution,
                "link": base_url + notice.path,
                **notice.facts,
            },
        }
    )
    return f"msg_{hashlib.sha256(body).hexdigest()[:32]}", body


async def _send_webhook(claimed: Claimed, now: dt.datetime, outwards: Outwards) -> None:
    receiver, (delivery,) = claimed.receiver, claimed.deliveries
    secrets = outwards.secrets().get(receiver.id)
    if not secrets:
        raise InputError(f"There is no secret of receiver {receiver.id}.", advice="Add it to the file of secrets.")
    url = webhook_url(receiver.target)
    identifier, body = webhook_of(delivery, outwards.base_url)
    headers = webhooks.sign(identifier, body, secrets=secrets, now=now.timestamp())
    await post(url, body, headers, is_private=receiver.is_private, context=outwards.context)


async def post(url: str, body: bytes, headers: Mapping[str, str], *, is_private: bool, context: ssl.SSLContext) -> None:
    """Post to a receiver. Raises `OSError` and `aiohttp.ClientError`, also where it does not accept."""
    _check_literal(url, is_private=is_private)
    connector = aiohttp.TCPConnector(resolver=_Resolver(is_private=is_private), ssl=context, force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(
            url, data=body, headers={**headers, "Content-Type": "application/json"}, allow_redirects=False
        ) as response,
    ):
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise aiohttp.ClientResponseError(response.request_info, (), status=response.status)


def _check_literal(url: str, *, is_private: bool) -> None:
    """Check a host that is an address: it is not resolved. Raises `RefusedAddressError`."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.partition("%")[0])
        _check(host, is_private=is_private)


def _check(address: str, *, is_private: bool) -> None:
    if not is_private and not is_public_address(address):
        raise RefusedAddressError("the receiver's address is not public")


class _Resolver(AbstractResolver):
    """Resolves as the system does; a host with any address that may not be connected to has none."""

    def __init__(self, *, is_private: bool) -> None:
        self._system = ThreadedResolver()
        self._is_private = is_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises `RefusedAddressError`."""
        found = await self._system.resolve(host, port, family)
        for one in found:
            _check(one["host"], is_private=self._is_private)
        return found

    async def close(self) -> None:
        """Nothing is kept open."""


# Mail


async def _send_mail(claimed: Claimed, outwards: Outwards) -> None:
    server = outwards.mail
    if server is None:
        raise InputError("No mail server is configured.", advice="Name one: --smtp.")
    message = digests.write(
        claimed.deliveries, sender=server.sender, recipient=claimed.receiver.target, base_url=outwards.base_url
    )

    def send() -> None:
        connect = partial(smtplib.SMTP_SSL, context=outwards.context) if server.implicit else smtplib.SMTP
        with connect(server.host, server.port, timeout=SEND_SECONDS) as connection:
            if not server.implicit and not _is_loopback(server.host):
                connection.starttls(context=outwards.context)
            if server.user is not None:
                connection.login(server.user, server.password or "")
            connection.send_message(message, from_addr=server.sender, to_addrs=[claimed.receiver.target])

    await run_in_thread(send)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
