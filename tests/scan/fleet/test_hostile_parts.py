"""Hostile parts of a fleet: what a worker, or anyone with a worker's key, can do to scheduler, client and others."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleet_parts import Fleet, lines

from detector.errors import InputError
from detector.judge.evidence import OTHERS_MAX
from detector.model import Observation, Outcome
from detector.model.endpoint import encode_pin
from detector.scan import work
from detector.scan.fleet import certificates, connection, coordinator, messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import PrivatePKI

NOBODY = "127.0.0.1:1"
BRIEF = ("--timeout", "1", "--retries", "0", "--lost-after", "1")


def registration(**changes: object) -> str:
    """A worker's first message, with some fields changed."""
    honest = messages.Registration(vantage="library", identity=messages.own_identity(), threads=2)
    return msgspec.json.encode({**msgspec.to_builtins(honest), **changes}).decode()


def settings(fleet: Fleet, part: str) -> Any:  # noqa: ANN401 - an SSL context
    """The TLS settings of a part of this fleet."""
    return certificates.context(fleet.folder, part, now=dt.datetime.now(dt.UTC))


class _Sabotage:
    """Runs code where it is unpickled: makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return Path.touch, (Path(self._path),)  # type: ignore[return-value] # any callable will do


@contextlib.asynccontextmanager
async def hostile_worker(fleet: Fleet, answer: Callable[[bytes], bytes | None]) -> AsyncIterator[None]:
    """A registered worker that answers each request with `answer` of it; None closes the connection."""
    async with connection.connected(fleet.address, certificates.WORKER, settings(fleet, "worker")) as socket:
        await socket.send_str(registration())

        async def work_on() -> None:
            async for message in socket:
                parcel = messages.Parcel.decode(message.data)
                assert parcel is not None
                reply = answer(parcel.content)
                if reply is None:
                    await socket.close()
                    return
                await socket.send_bytes(messages.Parcel(parcel.job, 0, reply).encode())

        working = asyncio.create_task(work_on())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.wait([working])


def observed(**facts: object) -> bytes:
    """A response on one endpoint, with these facts in its observation."""
    observation = msgspec.to_builtins(Observation(outcome=Outcome.COMPLETE)) | facts
    return msgspec.json.encode({"type": "response", "probed": [{"observation": observation}]})


NESTED = b'{"type":"response","probed":[{"observation":' + b'{"outcome":"complete","proxy":{"tls":' * 3000
ILL_TYPED = {
    "nothing": b"",
    "not JSON": b"\xff\x00",
    "another type": b"[1]",
    "nested": NESTED,
    "no endpoint": b'{"type":"response","probed":[]}',
    "too many endpoints": msgspec.json.encode(work.Response(probed=(work.NOT_PROBED,) * 2)),
    "wrong types": observed(outcome=7),
    "an unknown outcome": observed(outcome="splendid"),
    "an impossible proxy": observed(proxy={"scheme": "http", "host": "", "port": 1}),
    "too many observations": msgspec.json.encode(
        {
            "type": "response",
            "probed": [{"observation": {"outcome": "closed"}, "others": [{"outcome": "closed"}] * (OTHERS_MAX + 1)}],
        }
    ),
}


@pytest.mark.parametrize("reply", ILL_TYPED.values(), ids=ILL_TYPED.keys())
async def test_answers_that_are_none(fleet: Fleet, fleet_trust: tuple[str, ...], reply: bytes) -> None:
    """A worker that sends something else than an answer gets no more work; its targets are reported, inconclusive."""
    async with hostile_worker(fleet, lambda _: reply):
        done = await fleet.scan(NOBODY, *fleet_trust, *BRIEF)
    assert done.returncode == 3, done.stderr
    assert [line["result"]["observation"]["outcome"] for line in lines(done)] == ["resources"]
    assert "Traceback" not in done.stderr


async def test_another_worker_does_the_work(fleet: Fleet, fleet_trust: tuple[str, ...]) -> None:
    """What a hostile worker spoils is probed by an honest one of the same vantage."""
    async with hostile_worker(fleet, lambda _: b"spoiled"):
        await fleet.worker("library")
        done = await fleet.scan(*[NOBODY] * 200, *fleet_trust, *BRIEF)
    assert [line["result"]["observation"]["outcome"] for line in lines(done)] == ["connect-refused"] * 200
    assert "it sent something else than an answer" in done.stderr


async def test_workers_that_leave(fleet: Fleet, fleet_trust: tuple[str, ...]) -> None:
    """A worker that takes a job and leaves, the only one of its vantage, leaves its targets reported."""
    async with hostile_worker(fleet, lambda _: None):
        done = await fleet.scan(*[NOBODY] * 40, *fleet_trust, *BRIEF)
    assert (done.returncode, len(lines(done))) == (3, 40)


async def test_pickles_are_data(fleet: Fleet, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """A pickle that would run code where it is read is refused as what it is by scheduler and client."""
    mark = tmp_path / "sabotaged"
    sabotage = pickle.dumps(_Sabotage(mark))
    pickle.loads(sabotage)  # noqa: S301 - shows that it works
    assert mark.exists()
    mark.unlink()
    async with hostile_worker(fleet, lambda _: sabotage):
        done = await fleet.scan(NOBODY, *fleet_trust, *BRIEF)
    assert done.returncode == 3
    for first in (sabotage, b"\x00" * 16 + sabotage):
        async with connection.connected(fleet.address, "worker", settings(fleet, "worker")) as socket:
            await socket.send_bytes(first)
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert not mark.exists()


@pytest.mark.parametrize(("part", "path"), [("worker", "client"), ("client", "worker")])
async def test_a_key_is_for_one_role(fleet: Fleet, part: str, path: str) -> None:
    """A worker's certificate does not pass for a client's, nor a client's for a worker's."""
    with pytest.raises(InputError, match="HTTP status 403"):
        async with connection.connected(fleet.address, path, settings(fleet, part)):
            pass


@pytest.mark.parametrize("part", ["worker", "client"])
async def test_no_part_passes_for_the_scheduler(fleet: Fleet, part: str) -> None:
    """Workers and clients refuse a server that shows the certificate of a worker or a client."""
    context = settings(fleet, "scheduler")
    context.load_cert_chain(fleet.folder / f"{part}.pem", fleet.folder / f"{part}.key")
    accepted = []
    server = await asyncio.start_server(lambda *streams: accepted.append(streams), "127.0.0.1", 0, ssl=context)
    async with server:
        address = f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(InputError, match="do not accept each other's certificates"):
            async with connection.connected(address, "client", settings(fleet, "client")):
                pass
    assert not accepted


@pytest.mark.parametrize(
    "first",
    [
        "",
        "{}",
        "[" * 3000,
        registration(threads=0),
        registration(threads=10**6),
        registration(vantage=""),
        registration(vantage="\x1b[2J"),
        registration(vantage="x" * 5000),
        registration(identity={"source_sha256": 7}),
    ],
)
async def test_registrations_that_are_none(fleet: Fleet, first: str) -> None:
    """A worker that does not register properly is disconnected, and no client hears of it."""
    async with connection.connected(fleet.address, "worker", settings(fleet, "worker")) as socket:
        await socket.send_str(first)
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        async with coordinator.connect(fleet.address, settings(fleet, "client")) as client:
            assert not client.workers


@pytest.mark.parametrize("size", [messages.MESSAGE_BYTES_MAX + 1, 0, 15])
async def test_messages_of_another_size(fleet: Fleet, fleet_trust: tuple[str, ...], size: int) -> None:
    """A worker that sends more than a message may have, or less than a header, is disconnected; the fleet goes on."""
    async with connection.connected(fleet.address, "worker", settings(fleet, "worker")) as socket:
        await socket.send_str(registration())
        with contextlib.suppress(ConnectionError):  # the scheduler may close while we send
            await socket.send_bytes(bytes(size))
        while (await socket.receive()).type not in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
            pass
    await fleet.worker("library")
    done = await fleet.scan(NOBODY, *fleet_trust, *BRIEF)
    assert [line["result"]["observation"]["outcome"] for line in lines(done)] == ["connect-refused"]


async def test_answers_to_jobs_of_others(fleet: Fleet) -> None:
    """A worker that answers a job it was not given is disconnected: it cannot answer in place of another."""
    async with (
        connection.connected(fleet.address, "worker", settings(fleet, "worker")) as honest,
        connection.connected(fleet.address, "worker", settings(fleet, "worker")) as hostile,
        coordinator.connect(fleet.address, settings(fleet, "client")) as client,
    ):
        await honest.send_str(registration())
        await hostile.send_str(registration())
        while len(client.workers) < 2:
            await client.change(10)
        first = min(client.workers)
        submitted = asyncio.create_task(client.submit(first, b"request", 30))
        given_to = await honest.receive()
        parcel = messages.Parcel.decode(given_to.data)
        assert parcel is not None
        await hostile.send_bytes(messages.Parcel(parcel.job, 0, b"forged").encode())
        assert (await hostile.receive()).type is aiohttp.WSMsgType.CLOSE
        await honest.send_bytes(messages.Parcel(parcel.job, 0, b"true").encode())
        assert await submitted == b"true"


async def test_certificates_are_what_their_bytes_say(
    fleet: Fleet,
    fleet_trust: tuple[str, ...],
    pki: PrivatePKI,
    tmp_path: Path,
) -> None:
    """A worker that reports a chain with other hashes and names than its certificates have gains nothing by it."""
    issued = pki.issue(["exam.example.edu"])
    forged = pki.private_ca("Filter CA").issue(["exam.example.edu"])
    claimed = [
        {"sha256": true.hex(), "der": msgspec.to_builtins(der), "subject": "CN=genuine", "spki_sha256": "00" * 32}
        for true, der in zip((b"\x11" * 32,) * 2, forged.chain, strict=False)
    ]
    pins = tmp_path / "pins.toml"
    pin = encode_pin(issued.spki_sha256)
    pins.write_text(f'schema = 1\nname = "t"\n[[endpoint]]\nhost = "exam.example.edu"\npins = ["{pin}"]\n', "utf-8")
    async with hostile_worker(fleet, lambda _: observed(chain=claimed, key_proved=True)):
        done = await fleet.scan(*fleet_trust, "--pins", str(pins), *BRIEF)
    (line,) = lines(done)
    assert line["result"]["verdict"] != "clean"
    shown = line["result"]["observation"]["chain"][0]
    assert (shown["sha256"], shown["subject"]) != ("11" * 32, "CN=genuine")


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No message of a peer raises anything: it is read, or refused as unreadable."""
    parcel = messages.Parcel.decode(data)
    assert parcel is None or parcel.encode() == data
    assert messages.decode_registration(data.decode("utf-8", "replace")) is None
    assert work.decode_response(data, expected=1) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["type", "probed", "observation", "number"]), inner)
        ),
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    """JSON of any shape is a response or none; nothing else is raised."""
    data = msgspec.json.encode(value)
    found = work.decode_response(data, expected=1)
    assert found is None or isinstance(found, work.Response | work.ErrorResponse)
