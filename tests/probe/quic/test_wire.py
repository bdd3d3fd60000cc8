"""The reader of QUIC datagrams: every order and chunking, hostile bytes, and nothing that escapes.

Room: tests of probe. No sockets: aioquic's two ends talk in memory.
"""

from __future__ import annotations

import functools
import io
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.tls import CipherSuite
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from support.conversations import HOST, exam

from detector.model import Outcome
from detector.probe.quic.wire import FRAGMENTS_MAX, FRAMES_MAX, PACKETS_MAX, PENDING_MAX, QuicWire, _Stream
from detector.probe.tls.engine import proof_of
from detector.probe.tls.reader import WireError
from detector.probe.tls.wire import FLIGHT_BYTES_MAX
from detector.trust.handshake_signature import KeyProof

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

CLIENT, SERVER = ("192.0.2.1", 50000), ("192.0.2.2", 443)
ALGORITHMS: Final = [
    CipherSuite.AES_128_GCM_SHA256,
    CipherSuite.AES_256_GCM_SHA384,
    CipherSuite.CHACHA20_POLY1305_SHA256,
]


class Talk(NamedTuple):
    """A whole handshake: the datagrams of both sides, in order, and the secret the server's flight is under."""

    datagrams: list[tuple[str, bytes]]
    server_secret: bytes


@functools.cache
def talk(suite: CipherSuite = ALGORITHMS[0]) -> Talk:
    """Record what aioquic's client and server say to each other."""
    log = io.StringIO()
    client = QuicConnection(
        configuration=QuicConfiguration(
            alpn_protocols=["h3"],
            server_name=HOST,
            verify_mode=ssl.CERT_NONE,
            cipher_suites=[suite],
            secrets_log_file=log,
            supported_versions=[1],
        )
    )
    certificates = [x509.load_der_x509_certificate(der) for der in exam("ec").chain]
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    configuration.certificate, configuration.certificate_chain = certificates[0], certificates[1:]
    configuration.private_key = exam("ec").key
    server: QuicConnection | None = None
    datagrams: list[tuple[str, bytes]] = []
    client.connect(SERVER, now=0.0)
    now = 0.0
    for _ in range(6):
        now += 0.01
        for data, _ in client.datagrams_to_send(now=now):
            datagrams.append(("client", data))
            if server is None:
                length = data[5]
                server = QuicConnection(
                    configuration=configuration, original_destination_connection_id=data[6 : 6 + length]
                )
            server.receive_datagram(data, CLIENT, now=now)
        for data, _ in server.datagrams_to_send(now=now) if server is not None else ():
            datagrams.append(("server", data))
            client.receive_datagram(data, SERVER, now=now)
    secrets = {fields[0]: bytes.fromhex(fields[2]) for line in log.getvalue().splitlines() if (fields := line.split())}
    return Talk(datagrams, secrets["SERVER_HANDSHAKE_TRAFFIC_SECRET"])


def read(datagrams: Sequence[tuple[str, bytes]], secret: bytes, *, early: bool = False) -> QuicWire:
    """Let a reader have datagrams, and the secret: as soon as it may, or behind everything."""
    wire = QuicWire()
    for side, data in datagrams:
        if side == "client":
            wire.client(data)
        else:
            wire.server(data)
            if early:
                wire.secret(secret)
    wire.secret(secret)
    return wire


def proof(wire: QuicWire) -> KeyProof:
    return proof_of(wire.wire.signature, wire.wire.certificates)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("suite", ALGORITHMS)
def test_a_flight_is_read_exactly(suite: CipherSuite, early: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """With every cipher the chain is the server's, byte for byte, and its signature and Finished verify."""
    recorded = talk(suite)
    wire = read(recorded.datagrams, recorded.server_secret, early=early)
    assert tuple(wire.wire.certificates) == exam("ec").chain
    assert proof(wire) is KeyProof.VALID
    assert wire.wire.finished_valid is True
    assert (wire.wire.alpn, wire.wire.suite, wire.error) == ("h3", int(suite), None)
    assert len(wire.wire.client_hellos) == 1


@given(st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(order: random.Random) -> None:
    """Datagrams of the server may come in any order, and twice."""
    recorded = talk()
    ours = [(side, data) for side, data in recorded.datagrams if side == "client"]
    theirs = [(side, data) for side, data in recorded.datagrams if side == "server"] * 2
    order.shuffle(theirs)
    wire = read(ours + theirs, recorded.server_secret)
    assert tuple(wire.wire.certificates) == exam("ec").chain
    assert proof(wire) is KeyProof.VALID


@given(st.data())
def test_a_changed_byte_never_makes_another_chain(data: st.DataObject) -> None:
    """Whatever is flipped in transit, the parser shows the server's certificates or none: packets are authenticated."""
    recorded = talk()
    changed = []
    for side, datagram in recorded.datagrams:
        raw = bytearray(datagram)
        if side == "server" and data.draw(st.booleans()):
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        changed.append((side, bytes(raw)))
    wire = read(changed, recorded.server_secret, early=True)
    assert all(certificate in exam("ec").chain for certificate in wire.wire.certificates)
    assert proof(wire) in {KeyProof.VALID, KeyProof.NOT_SEEN}


@given(st.lists(st.binary(max_size=1500), max_size=8), st.binary(max_size=48))
def test_garbage_raises_nothing_and_shows_nothing(datagrams: list[bytes], secret: bytes) -> None:
    """Bytes that are no QUIC are dropped on either side."""
    wire = QuicWire()
    for datagram in datagrams:
        wire.client(datagram)
        wire.server(datagram)
        wire.secret(secret)
        wire.our_secret(secret)
    assert (wire.wire.certificates, wire.opened, wire.close_code) == ([], 0, None)


@given(st.binary(max_size=300))
def test_garbage_behind_genuine_keys_raises_nothing(frames: bytes) -> None:
    """Frames that anybody with the Initial keys may send do not change what was parsed before."""
    recorded = talk()
    wire = QuicWire()
    wire.client(recorded.datagrams[0][1])
    keys = next(iter(wire._initial.values()))
    wire._take(0, frames)
    wire._frames_of_client(frames, keys)
    assert wire.wire.certificates == []


def test_handshake_packets_without_a_secret_are_bounded() -> None:
    """Packets that cannot be opened yet are kept up to a number, however many come."""
    recorded = talk()
    wire = QuicWire()
    wire.client(recorded.datagrams[0][1])
    for _ in range(4 * PENDING_MAX):
        for side, data in recorded.datagrams:
            if side == "server":
                wire.server(data)
    assert len(wire._pending) == PENDING_MAX


def test_fragments_are_bounded() -> None:
    """Fragments that connect to nothing are kept up to a number, and none may lie behind the longest flight."""
    stream = _Stream()
    for number in range(FRAGMENTS_MAX):
        assert stream.take(10 * number + 5, b"x") == b""
    for offset in (1, FLIGHT_BYTES_MAX):
        with pytest.raises(WireError) as caught:
            stream.take(offset, b"x")
        assert caught.value.outcome is Outcome.TOO_LARGE


def _kind_after(wire: QuicWire, frames: bytes) -> Outcome | None:
    """Why the flight is read no further after these frames."""
    wire._take(0, frames)
    return None if wire.error is None else wire.error.outcome


@pytest.mark.parametrize(
    "frame", [b"\x01", b"\x06\x00\x01\x02", b"\x02\x00\x00\x00\x00"], ids=["ping", "crypto", "ack"]
)
def test_frames_are_bounded(frame: bytes) -> None:
    """A server that sends more frames than a flight can need has sent too much, whatever they are; padding is free."""
    wire = QuicWire()
    wire._take(0, bytes(100_000))
    assert _kind_after(wire, frame * FRAMES_MAX) is None
    assert _kind_after(wire, frame) is Outcome.TOO_LARGE


def test_packets_are_bounded() -> None:
    """So has one that sends more packets: a QUIC library compares the numbers of all of them."""
    wire = QuicWire()
    wire.opened = PACKETS_MAX
    assert _kind_after(wire, b"\x01") is None
    wire.opened += 1
    assert _kind_after(wire, b"\x00") is Outcome.TOO_LARGE


@given(st.binary(min_size=1, max_size=200), st.randoms(use_true_random=False))
def test_a_stream_is_put_in_order(content: bytes, order: random.Random) -> None:
    """Overlapping fragments in any order make the stream once."""
    pieces = []
    for start in range(0, len(content), 7):
        pieces.append((start, content[start : start + 7 + order.randrange(9)]))
        pieces.append((max(start - 3, 0), content[max(start - 3, 0) : start + 4]))
    order.shuffle(pieces)
    stream = _Stream()
    assert b"".join(stream.take(offset, data) for offset, data in pieces) == content


def test_which_side_closed_is_known() -> None:
    """A CONNECTION_CLOSE under Initial keys is read, with the TLS alert in it (RFC 9001 section 4.8)."""
    server = QuicConnection(
        configuration=_server_without("h3"), original_destination_connection_id=_destination(talk().datagrams[0][1])
    )
    first = talk().datagrams[0][1]
    wire = QuicWire()
    wire.client(first)
    server.receive_datagram(first, CLIENT, now=1.0)
    for data, _ in server.datagrams_to_send(now=1.0):
        wire.server(data)
    assert wire.our_close_code is None
    assert wire.close_code in {0x100 + 120, 0x100 + 40}  # no_application_protocol; older servers: handshake_failure
    assert wire.alert == (wire.close_code or 0) - 0x100


def _destination(datagram: bytes) -> bytes:
    return datagram[6 : 6 + datagram[5]]


def _server_without(protocol: str) -> QuicConfiguration:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=[f"not-{protocol}"])
    certificates = [x509.load_der_x509_certificate(der) for der in exam("ec").chain]
    configuration.certificate = certificates[0]
    configuration.private_key = exam("ec").key
    return configuration
