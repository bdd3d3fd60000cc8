"""The wire parser: genuine handshakes, hostile bytes, in any chunking.

Room: tests of probe. In memory.
"""

from __future__ import annotations

import contextlib
import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.conversations import recording
from support.profiles import examples

from detector.model import Outcome
from detector.probe.tls.codepoints import HELLO_RETRY_REQUEST_RANDOM, TLS_1_2, TLS_1_3
from detector.probe.tls.framing import MESSAGE_BYTES_MAX
from detector.probe.tls.keys import expand_label
from detector.probe.tls.reader import WireError
from detector.probe.tls.wire import (
    CERTIFICATE_BYTES_MAX,
    CERTIFICATES_MAX,
    EMPTY_RECORDS_MAX,
    FLIGHT_BYTES_MAX,
    PIECES_MAX,
    Wire,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

relaxed = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])


def record(content_type: int, body: bytes) -> bytes:
    return bytes([content_type, 3, 3]) + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def server_hello(
    *, version: int = TLS_1_2, suite: int = 0xC02F, random: bytes = bytes(32), extensions: bytes = b""
) -> bytes:
    body = min(version, TLS_1_2).to_bytes(2, "big") + random + b"\x00" + suite.to_bytes(2, "big") + b"\x00"
    if version == TLS_1_3:
        extensions += b"\x00\x2b\x00\x02\x03\x04"
    return message(2, body + (len(extensions).to_bytes(2, "big") + extensions if extensions else b""))


def certificate_12(*certificates: bytes) -> bytes:
    entries = b"".join(len(c).to_bytes(3, "big") + c for c in certificates)
    return message(11, len(entries).to_bytes(3, "big") + entries)


def in_records(*messages: bytes) -> bytes:
    raw = b"".join(messages)
    return b"".join(record(22, raw[at : at + 16384]) for at in range(0, len(raw), 16384))


def facts(wire: Wire) -> dict[str, Any]:
    """Everything public that a wire holds, in comparable form."""
    held = {name: value for name, value in vars(wire).items() if not name.startswith("_") and name != "error"}
    held["error"] = None if wire.error is None else (wire.error.outcome, str(wire.error))
    return held


def feed(wire: Wire, chunks: Sequence[bytes], secret: bytes | None = None) -> dict[str, Any]:
    """Read chunks to the first error; only WireError may escape."""
    with contextlib.suppress(WireError):
        if secret is not None:
            wire.secret(secret)
        for chunk in chunks:
            wire.server(chunk)
    return facts(wire)


def feed_all(wire: Wire, chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        wire.server(chunk)


def cut(raw: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("name", ["1.3", "1.2", "1.0", "dhe", "static-rsa"])
def test_reads_the_chain_as_presented(name: str) -> None:
    """The certificates read from a recorded handshake are the server's, byte for byte."""
    wire = recording(name).play()
    assert tuple(wire.certificates) == recording(name).chain
    assert wire.certificates_seen
    assert wire.flight_over
    assert wire.error is None
    assert wire.alpn == "http/1.1"


def test_reads_what_was_negotiated() -> None:
    """Version, suite and group are the code points on the wire."""
    modern, old = recording("1.3").play(), recording("dhe").play()
    assert modern.version == TLS_1_3
    assert modern.group is not None
    assert modern.finished_valid is True
    assert modern.server_hello is not None
    assert modern.server_hello[0] == 2
    assert (old.version, old.suite, old.group) == (TLS_1_2, 0x0033, None)
    assert old.dh_bits is not None
    assert old.dh_bits >= 1024
    assert recording("static-rsa").play().signature is None


def test_a_wrong_secret_opens_nothing() -> None:
    """Records protected by another key are malformed, not read."""
    recorded = recording("1.3")._replace(secret=bytes(32))
    with pytest.raises(WireError) as caught:
        recorded.play()
    assert caught.value.outcome is Outcome.TLS_FAILURE


def test_without_the_secret_the_flight_waits() -> None:
    """Protected records are kept until the secret comes, and read then."""
    recorded = recording("1.3")
    wire = Wire()
    wire.client(recorded.client)
    wire.server(recorded.server)
    assert not wire.certificates_seen
    assert recorded.secret is not None
    wire.secret(recorded.secret)
    assert tuple(wire.certificates) == recorded.chain


@pytest.mark.parametrize("name", ["1.3", "1.2", "1.0"])
@relaxed
@given(places=st.lists(st.integers(0, 10_000), max_size=12))
def test_any_chunking_reads_the_same(name: str, places: list[int]) -> None:
    """How the bytes arrive changes nothing."""
    recorded = recording(name)
    assert facts(recorded.play(*cut(recorded.server, places))) == facts(recorded.play())


def test_byte_by_byte_reads_the_same() -> None:
    """The finest chunking of all reads the same."""
    recorded = recording("1.3")
    assert facts(recorded.play(*cut(recorded.server, range(len(recorded.server))))) == facts(recorded.play())


@pytest.mark.parametrize("name", ["1.3", "1.2", "1.0"])
@relaxed
@given(
    at=st.integers(0, 10_000), replacement=st.binary(max_size=8), places=st.lists(st.integers(0, 10_000), max_size=4)
)
def test_damaged_handshakes_raise_only_wire_errors(name: str, at: int, replacement: bytes, places: list[int]) -> None:
    """Damage anywhere gives a WireError or facts, and the same ones in any chunking."""
    recorded = recording(name)
    at %= len(recorded.server)
    damaged = recorded.server[:at] + replacement + recorded.server[at + len(replacement) :]
    results = []
    for chunks in ([damaged], cut(damaged, places)):
        wire = Wire()
        wire.client(recorded.client)
        results.append(feed(wire, chunks, recorded.secret))
    assert results[0] == results[1]


@relaxed
@given(raw=st.binary(max_size=400), places=st.lists(st.integers(0, 400), max_size=4), secret=st.booleans())
def test_arbitrary_bytes_raise_only_wire_errors(raw: bytes, places: list[int], secret: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
    """Nothing a server can send makes anything but a WireError escape."""
    key = bytes(32) if secret else None
    assert feed(Wire(), [raw], key) == feed(Wire(), cut(raw, places), key)


@relaxed
@given(
    kinds=st.lists(
        st.tuples(st.sampled_from([0, 2, 4, 8, 11, 12, 13, 14, 15, 20, 22, 99]), st.binary(max_size=60)), max_size=5
    ),
    suite=st.sampled_from([0xC02F, 0x0033, 0x002F, 0x1301, 0xFFFF]),
)
def test_arbitrary_messages_raise_only_wire_errors(kinds: list[tuple[int, bytes]], suite: int) -> None:
    """Well-framed nonsense behind a ServerHello is read or refused, never stumbled over."""
    raw = in_records(server_hello(suite=suite), *(message(kind, body) for kind, body in kinds))
    assert feed(Wire(), [raw]) == feed(Wire(), cut(raw, range(0, len(raw), 7)))


@relaxed
@given(raw=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=4))
def test_the_client_side_raises_only_wire_errors(raw: bytes, places: list[int]) -> None:
    """The client's stream is held to the same promises."""
    seen = []
    for chunks in ([raw], cut(raw, places)):
        wire = Wire()
        with contextlib.suppress(WireError):
            for chunk in chunks:
                wire.client(chunk)
        seen.append(facts(wire))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"H", b"\x16\x02", b"\x16\x03\x01\xff\xff", b"\x00"],
)
def test_what_is_not_tls_is_recognized_at_once(raw: bytes) -> None:
    """The first bytes that cannot begin a TLS record are enough."""
    with pytest.raises(WireError) as caught:
        Wire().server(raw)
    assert caught.value.outcome is Outcome.NOT_TLS


def test_a_declared_size_is_refused_at_its_header() -> None:
    """A message that declares too much is refused before any of it arrives."""
    wire = Wire()
    wire.server(in_records(server_hello()))
    with pytest.raises(WireError) as caught:
        wire.server(record(22, b"\x0b" + (MESSAGE_BYTES_MAX + 1).to_bytes(3, "big")))
    assert caught.value.outcome is Outcome.TOO_LARGE
    with pytest.raises(WireError):
        wire.server(b"more")


def test_a_flight_without_end_is_refused_and_not_kept() -> None:
    """Records without an end are read up to the limit of a flight, in bounded memory."""
    wire = Wire()
    wire.server(in_records(server_hello(version=TLS_1_3, suite=0x1301)))
    chunk = record(23, bytes(16384))
    tracemalloc.start()
    with pytest.raises(WireError) as caught:
        feed_all(wire, [chunk] * (2 * FLIGHT_BYTES_MAX // len(chunk)))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.outcome is Outcome.TOO_LARGE
    assert peak < 3 * FLIGHT_BYTES_MAX
    assert kept < FLIGHT_BYTES_MAX


@pytest.mark.parametrize("piece", [record(21, b"\x01\x5a"), record(22, message(0, b""))], ids=["alerts", "messages"])
def test_pieces_are_bounded(piece: bytes) -> None:
    """Records and messages that mean nothing are read up to a number: each costs processor time."""
    wire = Wire()
    wire.server(in_records(server_hello()))
    with pytest.raises(WireError) as caught:
        wire.server(piece * PIECES_MAX)
    assert caught.value.outcome is Outcome.TOO_LARGE


def test_too_many_certificates_keep_the_first_ones() -> None:
    """A chain beyond the limit is refused, and what was within it stays readable."""
    wire = Wire()
    with pytest.raises(WireError) as caught:
        wire.server(in_records(server_hello(), certificate_12(*[b"x"] * (CERTIFICATES_MAX + 1))))
    assert caught.value.outcome is Outcome.TOO_LARGE
    assert len(wire.certificates) == CERTIFICATES_MAX


def test_a_giant_certificate_is_refused() -> None:
    """One certificate beyond the limit is refused, the ones before it are kept."""
    wire = Wire()
    with pytest.raises(WireError) as caught:
        wire.server(in_records(server_hello(), certificate_12(b"leaf", bytes(CERTIFICATE_BYTES_MAX + 1))))
    assert caught.value.outcome is Outcome.TOO_LARGE
    assert wire.certificates == [b"leaf"]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (in_records(server_hello(), server_hello()), "a second ServerHello"),
        (in_records(server_hello(), certificate_12(b"a"), certificate_12(b"b")), "message 11 after message 11"),
        (in_records(certificate_12(b"a")), "before ServerHello"),
        (in_records(server_hello(), message(14, b"")), "message 14 after message 2"),
        (in_records(server_hello(version=TLS_1_3, suite=0x1301), certificate_12(b"a")), "more handshake data"),
        (
            in_records(server_hello(version=TLS_1_3, suite=0x1301)) + in_records(certificate_12(b"a")),
            "in the clear after",
        ),
        (in_records(server_hello(version=TLS_1_3, suite=0xC02F)), "cipher suite 0xc02f in TLS 1.3"),
        (record(22, b"") * (EMPTY_RECORDS_MAX + 1), "too many records without content"),
        (record(21, b"\x02"), "not two bytes"),
        (record(20, b"\x01"), "ChangeCipherSpec before"),
        (in_records(server_hello()) + record(23, b"x"), "application data"),
        (in_records(message(2, server_hello()[4:] + b"\x00")), "ServerHello ends before"),
        (in_records(server_hello(), certificate_12(b"a") + b"", message(14, b"x")), "bytes too many"),
    ],
)
def test_messages_out_of_order_are_refused(raw: bytes, why: str) -> None:
    """A message where the protocol has no place for it ends the reading, so that no second chain can be shown."""
    with pytest.raises(WireError, match=why) as caught:
        Wire().server(raw)
    assert caught.value.outcome is Outcome.TLS_FAILURE


def test_hello_request_is_ignored_before_tls_1_3() -> None:
    """RFC 5246 section 7.4.1.1 lets a server interject it during the handshake."""
    wire = Wire()
    wire.server(in_records(server_hello(), message(0, b""), certificate_12(b"leaf"), message(14, b"")))
    assert wire.certificates == [b"leaf"]
    assert wire.flight_over


def test_change_cipher_spec_ends_an_old_flight() -> None:
    """Behind ChangeCipherSpec everything is protected in TLS 1.2, so nothing more is read."""
    wire = Wire()
    wire.server(in_records(server_hello(), certificate_12(b"leaf")) + record(20, b"\x01") + b"anything at all")
    assert wire.flight_over
    wire.server(b"more of it")
    assert wire.certificates == [b"leaf"]


@pytest.mark.parametrize(("level", "number", "kept"), [(2, 40, 40), (1, 112, None), (1, 0, 0)])
def test_only_alerts_that_end_the_handshake_count(level: int, number: int, kept: int | None) -> None:
    """A warning does not end a handshake before TLS 1.3, close_notify does."""
    wire = Wire()
    wire.server(record(21, bytes([level, number])))
    assert wire.alert == kept


def test_unsigned_key_exchanges_are_left_unread() -> None:
    """An explicit curve or an unknown suite carries no signature this room could check."""
    for suite in (0xC02F, 0xFFFF):
        wire = Wire()
        wire.server(in_records(server_hello(suite=suite), certificate_12(b"leaf"), message(12, b"\x01rest")))
        assert wire.signature is None
        assert wire.error is None


def test_expand_label_matches_the_published_trace() -> None:
    """RFC 8448 section 3: key and IV of the server's handshake records in the simple 1-RTT handshake."""
    secret = bytes.fromhex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38")
    assert expand_label("sha256", secret, "key", 16).hex() == "3fce516009c21727d0f2e4e86ee403bc"
    assert expand_label("sha256", secret, "iv", 12).hex() == "5d313eb2671276ee13000b30"


def test_hello_retry_request_is_distinguished_from_server_hello() -> None:
    """A HelloRetryRequest is remembered apart, may come once, and must fit what follows."""
    retry = server_hello(version=TLS_1_3, suite=0x1301, random=HELLO_RETRY_REQUEST_RANDOM)
    wire = Wire()
    wire.server(in_records(retry) + record(20, b"\x01"))
    assert wire.hello_retry_request == retry
    assert wire.server_hello is None
    with pytest.raises(WireError, match="does not fit"):
        wire.server(in_records(retry))
