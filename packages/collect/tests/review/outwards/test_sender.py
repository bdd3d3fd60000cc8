"""Room: tests of detector_collect.review.outwards.sender and detector_collect.store.deliveries, on both databases."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import signal
import ssl
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest
import sqlalchemy as sa
from detector_collect.review.outwards import sender
from detector_collect.review.outwards.sender import MailServer, Outwards, deliver_due, webhook_url
from detector_collect.review.outwards.webhooks import Message, verify
from detector_collect.store import deliveries, keys
from detector_collect.store.deliveries import Event, ReceiverKind
from detector_collect.store.schema import deliveries as deliveries_table
from detector_testing import PrivatePKI
from support.collect_receivers import WebhookReceiver, mail_server, webhook_receiver
from support.collect_stores import NOW

from detector.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from detector_collect.store.database import Store

SECRET = b"s" * 32
PASSWORD = "p"  # noqa: S105 - of a server in this test
BASE = "https://review.example"


async def _add(  # noqa: PLR0913 - what a receiver consists of
    store: Store,
    target: str,
    *,
    kind: ReceiverKind = ReceiverKind.WEBHOOK,
    events: tuple[Event, ...] = tuple(Event),
    institution: str | None = None,
    is_private: bool = True,
) -> int:
    async with store.begin() as connection:
        return await deliveries.add_receiver(
            connection,
            kind=kind,
            target=target,
            events=events,
            institution=institution,
            is_private=is_private,
            now=NOW,
        )


async def _announce(store: Store, event: Event = Event.CASE_OPENED, *, institution: str | None = "north") -> None:
    async with store.begin() as connection:
        path = f"/institutions/{institution}/cases/1"
        await deliveries.announce(connection, event, at=NOW, institution=institution, path=path, facts={"case": 1})


def _outwards(context: ssl.SSLContext, *, mail: MailServer | None = None) -> Outwards:
    return Outwards(BASE, lambda: dict.fromkeys(range(1, 10), (SECRET,)), mail, context)


def _messages(receiver: WebhookReceiver, now: dt.datetime = NOW) -> list[Message]:
    return [verify(one.headers, one.body, secrets=[SECRET], now=now.timestamp()) for one in receiver.received]


async def test_a_notice_arrives_signed_and_once(store: Store) -> None:
    """The receiver verifies it with the secret; once it is accepted nothing more is due."""
    async with webhook_receiver() as receiver:
        await _add(store, receiver.url)
        await _announce(store)
        assert await deliver_due(store, now=NOW, outwards=_outwards(receiver.context)) == 1
        assert await deliver_due(store, now=NOW, outwards=_outwards(receiver.context)) == 0
        (message,) = _messages(receiver)
    assert message.body == {
        "type": "case-opened",
        "timestamp": "2026-11-30T09:30:15Z",
        "data": {"number": 1, "institution": "north", "link": f"{BASE}/institutions/north/cases/1", "case": 1},
    }


async def test_nobody_gets_what_they_did_not_subscribe_to(store: Store) -> None:
    """A receiver of one institution or of some events has no notice of others; what is of none goes to those of all."""
    async with store.begin() as connection:
        await keys.add_institution(connection, keys.Institution("south", "South College", NOW))
    everything = await _add(store, "https://a.example/")
    south = await _add(store, "https://b.example/", institution="south")
    heads = await _add(store, "https://c.example/", events=(Event.HEAD_MADE,))
    await _announce(store, institution="north")
    await _announce(store, institution="south")
    await _announce(store, Event.HEAD_MADE, institution=None)
    async with store.connect() as connection:
        waiting = {one.receiver.id: one.waiting for one in await deliveries.backlogs(connection)}
    assert waiting == {everything: 3, south: 1, heads: 1}


async def test_a_change_that_is_undone_is_not_announced(store: Store) -> None:
    """Notices are of the transaction of their change."""
    await _add(store, "https://a.example/")

    async def change() -> None:
        async with store.begin() as connection:
            await deliveries.announce(connection, Event.HEAD_MADE, at=NOW, institution=None, path="/audit")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change()
    async with store.connect() as connection:
        assert [one.waiting for one in await deliveries.backlogs(connection)] == [0]


async def test_failures_are_repeated_with_the_same_identifier_and_in_order(store: Store) -> None:
    """While the first notice fails the second waits; both arrive in order, the first each time with the same id."""
    async with webhook_receiver() as receiver:
        receiver.statuses = [500, 301, 204]
        receiver.location = receiver.url
        await _add(store, receiver.url)
        await _announce(store)
        await _announce(store, Event.CASE_CHANGED)
        now, sent = NOW, 0
        for _ in range(20):
            sent += await deliver_due(store, now=now, outwards=_outwards(receiver.context))
            now += dt.timedelta(minutes=2)
        messages = _messages(receiver, NOW) if sent < 2 else []
        first, second, third, fourth = (one.headers["webhook-id"] for one in receiver.received)
    assert messages == []
    assert first == second == third != fourth
    assert sent == 4  # two failures, of which the redirect is one, and two successes


async def test_a_notice_is_given_up_after_the_last_attempt(store: Store) -> None:
    """A receiver that never accepts is tried ten times over three days, then gets the next notice."""
    async with webhook_receiver() as receiver:
        receiver.statuses = [503]
        await _add(store, receiver.url)
        await _announce(store)
        await _announce(store)
        now = NOW
        for _ in range(200):
            await deliver_due(store, now=now, outwards=_outwards(receiver.context))
            now += dt.timedelta(hours=1)
        async with store.connect() as connection:
            (backlog,) = await deliveries.backlogs(connection)
        identifiers = [one.headers["webhook-id"] for one in receiver.received]
    assert (backlog.waiting, backlog.given_up) == (0, 2)
    assert [identifiers.count(one) for one in dict.fromkeys(identifiers)] == [deliveries.ATTEMPTS_MAX] * 2


async def test_what_was_delivered_is_forgotten_after_a_month(store: Store) -> None:
    """Rows of the outbox do not stay, and numbers are never used again."""
    async with webhook_receiver() as receiver:
        await _add(store, receiver.url)
        await _announce(store)
        outwards = _outwards(receiver.context)
        await deliver_due(store, now=NOW, outwards=outwards)
        await deliver_due(store, now=NOW + deliveries.KEPT + dt.timedelta(days=1), outwards=outwards)
        async with store.connect() as connection:
            assert await connection.scalar(sa.select(sa.func.count()).select_from(deliveries_table)) == 0
        await _announce(store)
        await deliver_due(store, now=NOW, outwards=outwards)
        assert [one.number for one in _messages(receiver)] == [1, 2]


async def test_many_senders_send_each_notice_once(store: Store) -> None:
    """Senders at the same time share the work: no notice is claimed twice, and each receiver has them in order."""
    async with webhook_receiver() as receiver:
        for _ in range(3):
            await _add(store, receiver.url)
        for _ in range(4):
            await _announce(store)
        outwards = _outwards(receiver.context)
        for _ in range(6):
            await asyncio.gather(*(deliver_due(store, now=NOW, outwards=outwards) for _ in range(4)))
        identifiers = [one.headers["webhook-id"] for one in receiver.received]
    assert len(identifiers) == len(set(identifiers)) == 12


async def test_announcements_are_numbered_as_they_become_visible(store: Store) -> None:
    """Concurrent transactions never show a number after a greater one: receivers would refuse it as reordered."""
    await _add(store, "https://a.example/")
    rng = random.Random(5)  # noqa: S311 - a test repeats itself
    seen: list[int] = []

    async def announce() -> None:
        async with store.begin() as connection:
            await deliveries.announce(connection, Event.HEAD_MADE, at=NOW, institution=None, path="/audit")
            await asyncio.sleep(rng.random() / 50)

    async def read(until: asyncio.Future[list[None]]) -> None:
        while not until.done():
            async with store.connect() as connection:
                numbers = set(await connection.scalars(sa.select(deliveries_table.c.id)))
            seen.extend(sorted(numbers - set(seen)))
            await asyncio.sleep(0)

    work = asyncio.gather(*(announce() for _ in range(12)))
    await asyncio.gather(work, read(work))
    assert seen == sorted(seen)


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "https://",
        "https://user:secret@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example:0/",
        "https://hooks.example:99999/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nHost: other",
        "https://hooks.example\\@127.0.0.1/",
        "https://[::1/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "https://hooks.exämple/",
        "https://hooks.example/" + "x" * 600,
    ],
)
def test_urls_that_no_receiver_has_are_refused(url: str) -> None:
    """Anything but https with a host and a path."""
    with pytest.raises(InputError):
        webhook_url(url)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25lo]",
        "[fd00::1]",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
async def test_no_connection_to_a_private_address(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However an address of this machine or of a private network is written, nothing is connected to."""
    async with webhook_receiver() as receiver:
        port = receiver.url.rpartition(":")[2].partition("/")[0]
        attempts: list[object] = []
        original = asyncio.BaseEventLoop.sock_connect

        async def connect(loop: asyncio.BaseEventLoop, sock: object, address: object) -> None:
            attempts.append(address)
            await original(loop, sock, address)  # type: ignore[arg-type]  # as the loop calls it

        monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connect, raising=False)
        with pytest.raises((OSError, InputError, aiohttp.ClientError)):
            await sender.post(f"https://{host}:{port}/hook", b"{}", {}, is_private=False, context=receiver.context)
        assert attempts == []
        assert receiver.received == []


async def test_a_private_receiver_is_reached_when_it_was_registered_as_one(store: Store) -> None:
    """The same receiver on loopback gets its notice if an administrator allowed that, and else nothing."""
    async with webhook_receiver() as receiver:
        await _add(store, receiver.url, is_private=False)
        await _announce(store)
        await deliver_due(store, now=NOW, outwards=_outwards(receiver.context))
        assert receiver.received == []
        await _add(store, receiver.url, is_private=True)
        await _announce(store)
        await deliver_due(store, now=NOW, outwards=_outwards(receiver.context))
        assert len(receiver.received) == 1


async def test_a_name_that_changes_its_address_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with one public and one private address has none: the addresses checked are those connected to."""
    answers = [{"host": one, "hostname": "h", "port": 443, "family": 2, "proto": 6, "flags": 0} for one in _MIXED]

    async def resolve(*_: object) -> list[dict[str, object]]:
        return answers

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    with pytest.raises((OSError, aiohttp.ClientError)):
        await sender.post("https://h.example/", b"", {}, is_private=False, context=ssl.create_default_context())


_MIXED = ("203.0.113.9", "127.0.0.1")


async def test_a_receiver_that_another_server_answers_for_gets_nothing(store: Store) -> None:
    """A server whose certificate is by another CA is sent no notice."""
    async with webhook_receiver() as receiver:
        await _add(store, receiver.url)
        await _announce(store)
        await deliver_due(store, now=NOW, outwards=_outwards(ssl.create_default_context()))
        assert receiver.received == []


# Crashes

_SENDER = """
import asyncio, datetime as dt, os, signal, ssl, sys
from detector_collect.review.outwards import sender
from detector_collect.store import deliveries
from detector_collect.store.database import Store
from detector_collect.store.deliveries import Event

NOW = dt.datetime.fromisoformat(sys.argv[3])
die_at = sys.argv[4]

async def main():
    async with await Store.open(sys.argv[1]) as store:
        async with store.begin() as connection:
            await deliveries.announce(connection, Event.HEAD_MADE, at=NOW, institution=None, path="/audit")
        if die_at == "after-change":
            os.kill(os.getpid(), signal.SIGKILL)
        context = ssl.create_default_context(cafile=sys.argv[2])
        outwards = sender.Outwards("https://review.example", lambda: {1: (b"s" * 32,)}, None, context)
        async def dies(*_, **__):
            os.kill(os.getpid(), signal.SIGKILL)
        if die_at == "after-claim":
            sender.post = dies
        else:
            deliveries.finish = dies
        await sender.deliver_due(store, now=NOW, outwards=outwards)

asyncio.run(main())
"""


@pytest.mark.parametrize(("die_at", "times"), [("after-change", 1), ("after-claim", 1), ("after-sending", 2)])
async def test_kill_between_change_and_delivery(
    store: Store, database: str, tmp_path: Path, die_at: str, times: int
) -> None:
    """A sender killed at any point delivers at least once in the end, each time with the same id and body."""
    async with webhook_receiver() as receiver:
        await _add(store, receiver.url)
        roots = tmp_path / "roots.pem"
        roots.write_text("\n".join(map(ssl.DER_cert_to_PEM_cert, receiver.context.get_ca_certs(binary_form=True))))
        arguments = [sys.executable, "-c", _SENDER, database, str(roots), NOW.isoformat(), die_at]
        process = await asyncio.create_subprocess_exec(*arguments)
        assert await process.wait() == -signal.SIGKILL
        outwards = _outwards(receiver.context)
        await deliver_due(store, now=NOW + sender.LEASE + dt.timedelta(seconds=1), outwards=outwards)
        assert await deliver_due(store, now=NOW + dt.timedelta(days=1), outwards=outwards) == 0
        assert len(receiver.received) == times
        assert len({(one.headers["webhook-id"], one.body) for one in receiver.received}) == 1


# Mail


async def test_notices_are_collected_in_one_mail(store: Store) -> None:
    """Notices of a quarter of an hour come in one mail of plain text, with links and counts alone."""
    await _add(store, "ann@vendor.example", kind=ReceiverKind.MAIL)
    for _ in range(3):
        await _announce(store)
    async with mail_server() as box:
        server = MailServer("127.0.0.1", box.port, "review@vendor.example")
        outwards = _outwards(ssl.create_default_context(), mail=server)
        assert await deliver_due(store, now=NOW, outwards=outwards) == 0
        assert await deliver_due(store, now=NOW + deliveries.DIGEST_DELAY, outwards=outwards) == 1
        assert await deliver_due(store, now=NOW + dt.timedelta(days=1), outwards=outwards) == 0
    (mail,) = box.mails
    assert mail.rcpt_tos == ["ann@vendor.example"]
    assert isinstance(mail.content, bytes)
    assert mail.content.count(b"https://review.example/institutions/north/cases/1") == 3
    assert b"Subject: TLS interception review: 3 notices" in mail.content


async def test_a_mail_server_elsewhere_must_offer_tls(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not this machine gets no mail and no password without TLS; what failed is tried again."""
    monkeypatch.setattr(sender, "_is_loopback", lambda _: False)
    await _add(store, "ann@vendor.example", kind=ReceiverKind.MAIL)
    await _announce(store)
    async with mail_server() as box:
        server = MailServer("127.0.0.1", box.port, "review@vendor.example", user="ann", password=PASSWORD)
        outwards = _outwards(ssl.create_default_context(), mail=server)
        assert await deliver_due(store, now=NOW + deliveries.DIGEST_DELAY, outwards=outwards) == 1
    assert box.mails == []
    async with store.connect() as connection:
        assert [one.waiting for one in await deliveries.backlogs(connection)] == [1]


async def test_mail_goes_over_tls(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a server that offers STARTTLS under a trusted name the mail is encrypted."""
    monkeypatch.setattr(sender, "_is_loopback", lambda _: False)
    ca = PrivatePKI.create().private_ca("Mail CA")
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue(["localhost"]).configure_cert(context)
    ca.configure_trust(trusting)
    await _add(store, "ann@vendor.example", kind=ReceiverKind.MAIL)
    await _announce(store)
    async with mail_server(context) as box:
        server = MailServer("localhost", box.port, "review@vendor.example")
        await deliver_due(store, now=NOW + deliveries.DIGEST_DELAY, outwards=_outwards(trusting, mail=server))
    assert box.encrypted == [True]
