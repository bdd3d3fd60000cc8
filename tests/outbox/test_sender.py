"""What is sent, what a receipt is, and what an answer cannot do.

Room: tests of outbox. The collector is a real HTTPS server on loopback.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Response, run_mitmproxy, serve_middlebox, serve_origin
from outbox.test_store import opened, sealed
from support.bundle_recordings import STRANGER
from support.collect_receiver import HOST, NOW, RECEIPT_KEY, URL, Receiver, connectors_to, receipt_of, refusal
from support.guarding import read_head, serve_raw

from detector.model import RootOrigin
from detector.outbox import sender as sending
from detector.outbox.sender import Sender
from detector.outbox.settings import ThroughInterceptor
from detector.outbox.store import Attempt
from detector.outbox.submission import PAYLOAD_TYPE, digest
from detector.trust import envelope
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World
    from detector_testing import PrivatePKI
    from detector_testing.streams import PlainStream, TLSStream

    from detector.outbox.sender import Connectors, Sending
    from detector.outbox.store import Outbox

PUBLIC = envelope.public_key_of(RECEIPT_KEY)


def sender_of(outbox: Outbox, connectors: Connectors, **more: Any) -> Sender:  # noqa: ANN401 - arguments of Sender
    """A sender at the time of these tests, whose waits are the longest possible."""
    known: dict[str, Any] = {"to": URL, "receipt_keys": [PUBLIC], "clock": lambda: NOW, "jitter": lambda: 1.0}
    return Sender(outbox, connectors=connectors, **(known | more))


async def send(outbox: Outbox, connectors: Connectors, **more: Any) -> Sending:  # noqa: ANN401 - arguments of Sender
    """Send what waits, once."""
    async with sender_of(outbox, connectors, **more) as sender:
        return await sender.send()


async def answered(
    answer: Callable[..., Response], world: World, pki: PrivatePKI, folder: Path, waiting: int = 1
) -> tuple[Outbox, Sending]:
    """An outbox with some submissions, after a collector gave this answer to each."""
    outbox = opened(folder)
    for number in range(waiting):
        outbox.put(sealed(number), to=URL)
    receiver = Receiver(answer=answer)
    async with serve_origin(pki.issue([HOST]), handler=receiver) as origin:
        done = await send(outbox, connectors_to(world, origin.address))
    return outbox, done


async def test_what_has_a_receipt_is_removed(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """Every submission arrives as it was signed, once, and leaves the outbox."""
    outbox = opened(tmp_path)
    kept = {outbox.put(sealed(number), to=URL) for number in range(3)}
    receiver = Receiver(answer=lambda request: receipt_of(digest_of(request.body)))
    async with serve_origin(pki.issue([HOST]), handler=receiver) as origin:
        done = await send(outbox, connectors_to(world, origin.address))
        again = await send(outbox, connectors_to(world, origin.address))
    assert (done.received, done.problem, again.received) == (3, "", 0)
    assert sorted(map(digest_of, receiver.bodies)) == sorted(kept)
    assert outbox.status().waiting == 0
    names = {name for request in origin.requests for name, _ in request.headers}
    assert names <= {"host", "accept", "accept-encoding", "user-agent", "content-type", "content-length"}
    assert {dict(request.headers)["user-agent"].partition("/")[0] for request in origin.requests} == {
        "tls-middleware-detector"
    }


def digest_of(body: bytes) -> str:
    """The digest of the submission in a request."""
    return digest(envelope.unseal(body, payload_type=PAYLOAD_TYPE).payload)


NO_RECEIPTS: dict[str, Callable[..., Response]] = {
    "a page": lambda _: Response(body=b"<html>OK"),
    "nothing": lambda _: Response(status=201),
    "another's receipt": lambda request: receipt_of(digest_of(request.body), key=STRANGER),
    "another submission's": lambda _: receipt_of("0" * 64),
    "another institution's": lambda request: receipt_of(digest_of(request.body), "other"),
    "the submission itself": lambda request: Response(body=request.body),
    "a receipt without a status": lambda request: Response(status=202, body=receipt_of(digest_of(request.body)).body),
    "a redirect": lambda _: Response(status=307, headers=(("Location", f"{URL}/v1/evidence"),)),
    "a fault": lambda _: Response(status=500),
    "an unknown refusal": lambda _: refusal("because"),
    "one that may change": lambda _: refusal("future-dated"),
    "two refusals": lambda _: Response(status=400, body=b'{"type": ["urn:tls-interception:refusal:unsigned"]}'),
}


@pytest.mark.parametrize("answer", NO_RECEIPTS.values(), ids=NO_RECEIPTS)
async def test_nothing_else_removes_anything(
    answer: Callable[..., Response], world: World, pki: PrivatePKI, tmp_path: Path
) -> None:
    """Without a receipt by the collector's key over this submission it stays, and later ones are still tried."""
    outbox, done = await answered(answer, world, pki, tmp_path, waiting=2)
    assert (done.received, done.refused, outbox.status().waiting) == (0, 0, 2)
    assert done.problem


async def test_one_that_fails_does_not_stop_the_others(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """Where the collector fails on one submission, those behind it are sent."""
    first: list[str] = []

    def answer(request: Any) -> Response:  # noqa: ANN401 - a request
        first.append(digest_of(request.body))
        return Response(status=500) if len(first) == 1 else receipt_of(first[-1])

    outbox, done = await answered(answer, world, pki, tmp_path, waiting=3)
    assert (done.received, [entry.digest for entry in outbox.entries()]) == (2, first[:1])


async def test_after_three_failures_the_collector_is_left_alone(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """A collector that fails on everything is not tried with everything."""
    outbox, _ = await answered(lambda _: Response(status=500), world, pki, tmp_path, waiting=9)
    attempt = outbox.attempt(URL)
    assert attempt is not None
    assert attempt.not_before == NOW + sending.FIRST_WAIT


async def test_what_is_never_taken_does_not_block_the_rest(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """The oldest are answered by something in front of the collector: the next attempts begin behind them."""
    outbox = opened(tmp_path)
    blocked = {
        outbox.put(sealed(number, made=NOW - dt.timedelta(hours=1)), to=URL) for number in range(sending.FAILURES_MAX)
    }
    outbox.put(sealed(9), to=URL)

    def answer(request: Any) -> Response:  # noqa: ANN401 - a request
        found = digest_of(request.body)
        return Response(status=403) if found in blocked else receipt_of(found)

    async with (
        serve_origin(pki.issue([HOST]), handler=Receiver(answer=answer)) as origin,
        sender_of(outbox, connectors_to(world, origin.address)) as sender,
    ):
        received = [(await sender.send(at_once=True)).received for _ in range(2)]
    assert received == [0, 1]
    assert {entry.digest for entry in outbox.entries()} == blocked


@pytest.mark.parametrize("reason", sorted(sending.PERMANENT))
async def test_a_refusal_that_stays_is_set_aside(reason: str, world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """It is not sent again and again, and not lost: its reason is shown."""
    outbox, done = await answered(lambda _: refusal(reason), world, pki, tmp_path)
    assert (done.refused, outbox.status().waiting) == (1, 0)
    assert [(one.reason, one.count) for one in outbox.status().refused] == [(reason, 1)]


YEAR = 365 * 24 * 3600


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, sending.FIRST_WAIT),
        ("120", dt.timedelta(seconds=120)),
        ("0", sending.FIRST_WAIT),
        (str(YEAR), sending.LONGEST_WAIT),
        ("9" * 5000, sending.LONGEST_WAIT),
        (email.utils.format_datetime(NOW + dt.timedelta(minutes=10), usegmt=True), dt.timedelta(minutes=10)),
        (email.utils.format_datetime(NOW + dt.timedelta(days=365), usegmt=True), sending.LONGEST_WAIT),
        (email.utils.format_datetime(NOW - dt.timedelta(days=1), usegmt=True), sending.FIRST_WAIT),
        ("tomorrow", sending.FIRST_WAIT),
        (f"Mon, 1 Jan {'9' * 20} 00:00:00 GMT", sending.FIRST_WAIT),
        (f"Mon, 1 Jan 2026 00:00:00 +{'9' * 20}", sending.FIRST_WAIT),
        ("-1", sending.FIRST_WAIT),
    ],
)
async def test_retry_after(
    value: str | None, wait: dt.timedelta, world: World, pki: PrivatePKI, tmp_path: Path
) -> None:
    """A collector says when to come again, at most an hour later, and other processes heed it."""
    headers = () if value is None else (("Retry-After", value),)
    outbox, _ = await answered(lambda _: Response(status=503, headers=headers), world, pki, tmp_path)
    attempt = opened(tmp_path).attempt(URL)
    assert attempt is not None
    assert attempt.not_before == NOW + wait
    done = await send(opened(tmp_path), connectors_to(world, ("127.0.0.1", 9)))
    assert done.problem == "the collector is tried later"
    assert outbox.status().tried_again == NOW + wait


async def test_waits_grow_and_end(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """Each failure doubles the wait up to an hour, jitter halves it at most, and a receipt ends it."""
    outbox, now = opened(tmp_path), [NOW]
    outbox.put(sealed(), to=URL)
    receiver = Receiver(answer=lambda _: Response(status=503))
    waits = []
    async with serve_origin(pki.issue([HOST]), handler=receiver) as origin:
        clock = {"clock": lambda: now[0], "jitter": lambda: 0.0}
        async with sender_of(outbox, connectors_to(world, origin.address), **clock) as sender:
            for _ in range(9):
                await sender.send()
                waits.append(sender.wait())
                now[0] += dt.timedelta(seconds=sender.wait())
            assert waits == [15, 30, 60, 120, 240, 480, 960, 1800, 1800]
            receiver.answer = lambda request: receipt_of(digest_of(request.body))
            assert (await sender.send()).received == 1
    assert outbox.attempt(URL) is None


async def test_a_clock_that_was_set_back_delays_nothing(world: World, tmp_path: Path) -> None:
    """A wait of more than an hour is no wait: it comes from another clock."""
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)
    connectors = connectors_to(world, ("127.0.0.1", 9))
    outbox.try_later(URL, Attempt(not_before=NOW + dt.timedelta(days=400), failures=1))
    assert sender_of(outbox, connectors).wait() == 0


async def test_offline_for_days(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """What was not reached costs the next process no wait, and everything arrives once there is a network."""
    outbox = opened(tmp_path)
    for day in range(10):
        outbox.put(sealed(day, made=NOW - dt.timedelta(days=10 - day)), to=URL)
        done = await send(outbox, connectors_to(world, ("127.0.0.1", 9)))
        assert done.problem == sending.NOT_REACHED
    receiver = Receiver(answer=lambda request: receipt_of(digest_of(request.body)))
    async with serve_origin(pki.issue([HOST]), handler=receiver) as origin:
        done = await send(outbox, connectors_to(world, origin.address))
    assert (done.received, outbox.status().waiting) == (10, 0)


async def test_another_collectors_are_not_sent(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """Evidence goes to the collector that it was put in for, and to no other."""
    outbox = opened(tmp_path)
    outbox.put(sealed(), to="https://other.example.org")
    receiver = Receiver()
    async with serve_origin(pki.issue([HOST]), handler=receiver) as origin:
        done = await send(outbox, connectors_to(world, origin.address))
    assert (done.received, receiver.bodies, outbox.status().waiting) == (0, [], 1)


async def test_only_one_sends(world: World, tmp_path: Path) -> None:
    """While another process sends, this one leaves it to that."""
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)
    with outbox.sending():
        assert (await send(opened(tmp_path), connectors_to(world, ("127.0.0.1", 9)))).busy


@pytest.mark.parametrize("head", [b"HTTP/1.1 201 Created\r\n\r\n", b"HTTP/1.1 503 Busy\r\nX: "])
async def test_an_endless_answer(
    head: bytes, world: World, pki: PrivatePKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer without an end costs 64 KiB and the time of one request."""
    monkeypatch.setattr(sending, "REQUEST_SECONDS", 3.0)
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)

    async def talk(stream: TLSStream, _: PlainStream, __: int) -> None:
        await read_head(stream)
        with contextlib.suppress(Exception):  # the client leaves when it has read enough
            await stream.write(head)
            while True:
                await stream.write(b"x" * 16384)

    async with serve_raw(pki.issue([HOST]), talk) as server:
        done = await send(outbox, connectors_to(world, server.address))
    assert (done.received, outbox.status().waiting) == (0, 1)


async def test_an_interceptor_is_sent_nothing(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """An interceptor whose root this machine trusts gets no byte of the evidence, and can remove none of it."""
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)
    ca = pki.private_ca("Campus Filter CA")
    installed = from_der([ca.certificate], name="machine", origin=RootOrigin.ADDED)
    receiver = Receiver(answer=lambda request: receipt_of(digest_of(request.body)))
    async with (
        serve_origin(pki.issue([HOST]), handler=receiver) as origin,
        serve_middlebox(ca, upstream={(HOST, 443): origin.address}) as box,
    ):
        connectors = connectors_to(world, origin.address, proxy=box.url, machine_roots=lambda: installed)
        done = await send(outbox, connectors)
        assert (done.received, receiver.bodies, outbox.status().waiting) == (0, [], 1)
        assert done.problem == sending.UNCONFIRMED
        allowed = await send(outbox, connectors, through_interceptor=ThroughInterceptor.IF_NOTHING_ELSE)
        assert (allowed.received, outbox.status().waiting) == (1, 0)


async def test_an_interceptor_refuses_nothing(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """Where the policy lets evidence through an interceptor, its "refused" and its "received" are nobody's."""
    ca = pki.private_ca("Campus Filter CA")
    installed = from_der([ca.certificate], name="machine", origin=RootOrigin.ADDED)
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)
    for answer in (lambda _: refusal("unknown-key"), lambda _: Response(body=b"OK")):
        async with serve_origin(ca.issue([HOST]), handler=Receiver(answer=answer)) as box:
            connectors = connectors_to(world, box.address, machine_roots=lambda: installed)
            through = ThroughInterceptor.IF_NOTHING_ELSE
            done = await send(outbox, connectors, through_interceptor=through)
            assert len(box.requests) == 1
        assert (done.received, done.refused, outbox.status().waiting) == (0, 0, 1)


async def test_a_stranger_without_a_root_gets_nothing(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """Even where the policy allows it, nothing goes to a peer whose certificate this machine does not accept."""
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)
    async with serve_origin(pki.private_ca("Nobody").issue([HOST]), handler=Receiver()) as box:
        through = ThroughInterceptor.IF_NOTHING_ELSE
        done = await send(outbox, connectors_to(world, box.address), through_interceptor=through)
        assert (done.received, box.requests) == (0, [])


@pytest.mark.lab
async def test_mitmproxy(world: World, pki: PrivatePKI, tmp_path: Path) -> None:
    """The real mitmproxy, whose root is installed, sees nothing by default, and forges nothing where it is allowed."""
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)
    receiver = Receiver(answer=lambda request: receipt_of(digest_of(request.body)))
    async with (
        serve_origin(pki.issue([HOST]), handler=receiver) as origin,
        run_mitmproxy(upstream_hosts={(HOST, 443): origin.address}) as mitm,
    ):
        installed = from_der([mitm.ca_certificate], name="machine", origin=RootOrigin.ADDED)
        connectors = connectors_to(world, origin.address, proxy=mitm.url, machine_roots=lambda: installed)
        assert (await send(outbox, connectors)).received == 0
        assert (mitm.overheard, receiver.bodies, outbox.status().waiting) == (b"", [], 1)
        through = ThroughInterceptor.IF_NOTHING_ELSE
        assert (await send(outbox, connectors, through_interceptor=through)).received == 1
    assert outbox.status().waiting == 0
