"""`probe_quic` against real servers on loopback, honest and not, and against UDP ports that answer with anything.

Room: tests of probe. Opens UDP sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest
from detector_testing.pki import generate_key
from detector_testing.quic import serve_datagrams, serve_quic, version_negotiation
from support.conversations import HOST, ders, exam, proof

from detector.model import Endpoint, Observation, Outcome, Route
from detector.probe import Timeouts
from detector.probe.quic import client
from detector.probe.quic.client import probe_quic
from detector.probe.tls.wire import CERTIFICATES_MAX
from detector.trust.handshake_signature import KeyProof

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from detector_testing.pki import KeyKind

EXAM = Endpoint(host=HOST)
BRIEF = Timeouts(handshake=0.2)


class _Relay(asyncio.DatagramProtocol):
    """Stands before a server and lets the first `count` of its datagrams through."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._client: tuple[str, int] | None = None
        self.front: asyncio.DatagramTransport | None = None
        self.back: asyncio.DatagramTransport | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._client = addr
        if self.back is not None:
            self.back.sendto(data)

    def answered(self, data: bytes) -> None:
        if self._left and self.front is not None:
            self._left -= 1
            self.front.sendto(data, self._client)


class _Back(asyncio.DatagramProtocol):
    def __init__(self, relay: _Relay) -> None:
        self._relay = relay

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002 - asyncio's interface
        self._relay.answered(data)


@contextlib.asynccontextmanager
async def cut_after(address: tuple[str, int], count: int) -> AsyncIterator[tuple[str, int]]:
    """A path to the server at `address` that goes dead after `count` of its datagrams."""
    loop = asyncio.get_running_loop()
    relay = _Relay(count)
    relay.back, _ = await loop.create_datagram_endpoint(lambda: _Back(relay), remote_addr=address)
    relay.front, _ = await loop.create_datagram_endpoint(lambda: relay, local_addr=("127.0.0.1", 0))
    try:
        yield relay.front.get_extra_info("sockname")
    finally:
        relay.front.close()
        relay.back.close()
        await asyncio.sleep(0)  # the sockets are closed in the loop's next turn


def closed_port() -> tuple[str, int]:
    """A UDP port on loopback where nobody listens."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return "127.0.0.1", port


@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize("key", ["ec", "rsa"])
async def test_the_chain_is_captured_and_its_key_proved(key: KeyKind, retry: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """An honest server, with and without address validation: the chain as presented, the facts of the handshake."""
    async with serve_quic(exam(key), retry=retry) as address:
        seen = await probe_quic(EXAM, address=address)
    assert (seen.outcome, seen.key_proved, seen.route) == (Outcome.COMPLETE, True, Route.QUIC)
    assert ders(seen) == exam(key).chain
    assert (seen.tls_version, seen.alpn) == ("TLSv1.3", "h3")
    assert seen.address == f"{address[0]}:{address[1]}"
    assert seen.ja4 is not None
    assert set(seen.timings_ms) == {"resolve", "certificate", "handshake"}


async def test_the_signature_can_be_verified_again() -> None:
    """What the observation keeps of the handshake signature verifies under the presented key."""
    async with serve_quic(exam("ec")) as address:
        seen = await probe_quic(EXAM, address=address)
    assert proof(seen) is KeyProof.VALID


async def test_ipv6() -> None:
    """IPv6 is an address like any other."""
    async with serve_quic(exam("ec"), host="::1") as address:
        seen = await probe_quic(EXAM, address=address)
    assert (seen.key_proved, seen.address) == (True, f"[::1]:{address[1]}")


async def test_a_replayed_chain_does_not_prove_its_key() -> None:
    """A sender that presents a chain without its key is recognized by the signature, at once."""
    async with serve_quic(exam("ec"), key=generate_key("ec")) as address:
        seen = await probe_quic(EXAM, address=address)
    assert (seen.outcome, seen.key_proved, seen.alert) == (Outcome.SIGNATURE_WRONG, False, 51)
    assert ders(seen) == exam("ec").chain


VERSION_8 = exam("ec").leaf.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)
"""A leaf whose version no library accepts; its key is the real one."""


@pytest.mark.parametrize(("leaf", "proved"), [(b"\x30\x03\x02\x01\x00", False), (VERSION_8, True)])
async def test_a_certificate_that_is_none_was_still_presented(leaf: bytes, proved: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """A leaf that no library loads ends the handshake; it is kept as presented, and our own check proves its key."""
    damaged = (leaf, *exam("ec").chain[1:])
    async with serve_quic(exam("ec"), chain=damaged) as address:
        seen = await probe_quic(EXAM, address=address)
    assert (seen.outcome, seen.key_proved) == (Outcome.TLS_FAILURE, proved)
    assert ders(seen) == damaged


async def test_a_server_without_http3() -> None:
    """A server that has none of the offered protocols says so, and is heard."""
    async with serve_quic(exam("ec"), alpn=["doq"]) as address:
        seen = await probe_quic(EXAM, address=address)
    assert (seen.outcome, seen.chain) == (Outcome.TLS_ALERT, ())
    assert seen.alert in {120, 40}  # no_application_protocol; older servers say handshake_failure


async def test_too_many_certificates_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain longer than any is cut, and called what it is."""
    monkeypatch.setattr("aioquic.quic.connection.CRYPTO_BUFFER_SIZE", 1 << 20)  # the server's: it sends no more itself
    async with serve_quic(exam("ec"), chain=[b"\x30\x00"] * (CERTIFICATES_MAX + 1)) as address:
        seen = await probe_quic(EXAM, address=address)
    assert (seen.outcome, len(seen.chain), seen.key_proved) == (Outcome.TOO_LARGE, CERTIFICATES_MAX, False)


async def test_a_long_chain_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of many datagrams is read to its end."""
    monkeypatch.setattr("aioquic.quic.connection.CRYPTO_BUFFER_SIZE", 1 << 20)
    chain = exam("ec").chain + exam("ec").chain[1:] * 60
    async with serve_quic(exam("ec"), chain=chain) as address:
        seen = await probe_quic(EXAM, address=address)
    assert (seen.outcome, ders(seen)) == (Outcome.COMPLETE, chain)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (lambda _: (), Outcome.CONNECT_TIMEOUT),
        (lambda _: (b"HTTP/1.1 400 Bad Request\r\n\r\n",), Outcome.NOT_TLS),
        (lambda datagram: (datagram,), Outcome.NOT_TLS),
        (lambda datagram: (datagram[:6] + os.urandom(1000),), Outcome.NOT_TLS),
        (lambda datagram: (version_negotiation(datagram, 1),), Outcome.NOT_TLS),
        (lambda datagram: (version_negotiation(datagram, 0x1A2A3A4A),), Outcome.NOT_TLS),
    ],
    ids=["silence", "http", "echo", "noise", "our-version-again", "other-version"],
)
async def test_what_is_no_quic_server(
    reply: Callable[[bytes], Iterable[bytes]], outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence, and answers that are no QUIC version 1, each have their outcome; none of them lasts."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)
    async with serve_datagrams(reply) as address:
        seen = await probe_quic(EXAM, address=address, deadline=asyncio.get_running_loop().time() + 7)
    assert (seen.outcome, seen.chain, seen.key_proved) == (outcome, (), False)


async def test_a_closed_port_is_refused() -> None:
    """The ICMP message of a port where nobody listens is taken for what it says."""
    seen = await probe_quic(EXAM, address=closed_port())
    assert seen.outcome is Outcome.CONNECT_REFUSED


async def test_a_name_nobody_has() -> None:
    """A name that does not resolve is an outcome, not an exception."""
    seen = await probe_quic(EXAM, address=("a" * 64 + ".example", 443))
    assert seen.outcome is Outcome.DNS_FAILURE


async def test_a_server_that_stops_in_the_middle() -> None:
    """A peer that answers once and falls silent costs the handshake's time and no more."""
    chain = exam("ec").chain * 4
    async with serve_quic(exam("ec"), chain=chain) as address, cut_after(address, 1) as cut:
        seen = await probe_quic(EXAM, address=cut, timeouts=BRIEF)
    assert seen.outcome is Outcome.HANDSHAKE_TIMEOUT


async def test_the_deadline_ends_it() -> None:
    """A deadline that has passed ends the probe with what was seen until then."""
    async with serve_datagrams(lambda _: ()) as address:
        seen = await probe_quic(EXAM, address=address, deadline=asyncio.get_running_loop().time() + 0.05)
    assert seen.outcome is Outcome.DEADLINE


async def test_cancelling_leaves_nothing() -> None:
    """Cancelled in the middle, no socket is left open: that would be a warning, and those are errors."""
    asked = asyncio.Event()

    def note(_: bytes) -> Iterable[bytes]:
        asked.set()
        return ()

    async with serve_datagrams(note) as address:
        task = asyncio.create_task(probe_quic(EXAM, address=address))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_many_at_once() -> None:
    """Probes do not share anything."""
    async with serve_quic(exam("ec")) as address:
        seen: list[Observation] = await asyncio.gather(*(probe_quic(EXAM, address=address) for _ in range(20)))
    assert {one.key_proved for one in seen} == {True}
