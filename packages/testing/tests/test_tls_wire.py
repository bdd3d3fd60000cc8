"""Room: testing. Reading TLS from a client, hostile ones included."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from detector_testing import Script, generate_key
from detector_testing import tls_wire as wire
from detector_testing.tls_server import ScriptedHandshake
from detector_testing.tls_wire import TLSWireError
from hypothesis import given
from hypothesis import strategies as st
from loopback_client import EXAM, client_hello

HELLO = client_hello()
SCRIPTS = [Script(key=generate_key(), version=version) for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2)]


def test_a_real_hello_is_read() -> None:
    """The fields of a stock client's hello are the ones it was configured to send."""
    hello = wire.find_client_hello(HELLO)
    assert hello is not None
    assert hello.server_name == EXAM
    assert hello.alpn == (b"http/1.1",)
    assert ssl.TLSVersion.TLSv1_3 in hello.versions
    assert 0x001D in hello.key_shares
    assert 0x0403 in hello.signature_schemes
    assert wire.record(wire.ContentType.HANDSHAKE, hello.message, HELLO[1:3]) == HELLO


@given(st.integers(min_value=0, max_value=len(HELLO) - 1))
def test_a_hello_is_waited_for(length: int) -> None:
    """Every proper beginning of a hello asks for more."""
    assert wire.find_client_hello(HELLO[:length]) is None


def test_a_hello_may_come_in_several_records() -> None:
    """Fragments of one message in records of their own are put together."""
    message = HELLO[wire.RECORD_HEADER :]
    pieces = [message[at : at + 100] for at in range(0, len(message), 100)]
    hello = wire.find_client_hello(b"".join(wire.record(wire.ContentType.HANDSHAKE, piece) for piece in pieces))
    assert hello is not None
    assert hello.message == message


@given(st.binary(max_size=200))
def test_arbitrary_bytes_only_raise_what_is_documented(data: bytes) -> None:
    """Whatever arrives first is a hello, the beginning of one, or a TLSWireError."""
    for candidate in (data, wire.record(wire.ContentType.HANDSHAKE, data)):
        with contextlib.suppress(TLSWireError):
            assert wire.find_client_hello(candidate) is None


@given(
    st.integers(min_value=0, max_value=len(HELLO) - 1),
    st.integers(min_value=0, max_value=255),
    st.sampled_from(SCRIPTS),
)
def test_a_damaged_hello_only_raises_what_is_documented(at: int, byte: int, script: Script) -> None:
    """One wrong byte anywhere leads to a flight, to waiting, or to a TLSWireError."""
    handshake = ScriptedHandshake(script)
    try:
        sent = b"".join(handshake.receive(HELLO[:at] + bytes((byte,)) + HELLO[at + 1 :]))
    except TLSWireError:
        return
    assert bool(sent) is (handshake.hello is not None)


@given(st.binary(max_size=100), st.sampled_from(list(wire.ContentType)), st.sampled_from(SCRIPTS))
def test_damaged_second_flights_only_raise_what_is_documented(
    data: bytes, content_type: wire.ContentType, script: Script
) -> None:
    """After a good hello, any record leads to nothing or to a TLSWireError, and never to a complete handshake."""
    handshake = ScriptedHandshake(script)
    try:
        list(handshake.receive(client_hello(version=script.version)))
        list(handshake.receive(wire.record(content_type, data)))
    except TLSWireError:
        pass
    assert not handshake.complete


def test_records_and_messages_are_bounded() -> None:
    """Lengths beyond what TLS allows, or this server keeps, are refused from the header alone."""
    with pytest.raises(TLSWireError, match="record of 65535"):
        list(wire.RecordBuffer().receive(b"\x16\x03\x03\xff\xff"))
    with pytest.raises(TLSWireError, match="too long"):
        list(wire.MessageBuffer().receive(b"\x01\xff\xff\xff"))


@given(st.binary(min_size=1, max_size=40_000))
def test_protected_records_open_again(content: bytes) -> None:
    """What one side seals, in as many records as it takes, the other opens, in TLS 1.3 and 1.2."""
    secret, key, salt = bytes(range(32)), bytes(range(16)), b"salt"
    for sealing, opening in (
        (wire.Protection13(secret), wire.Protection13(secret)),
        (wire.Protection12(key, salt), wire.Protection12(key, salt)),
    ):
        records = wire.RecordBuffer().receive(sealing.seal(wire.ContentType.APPLICATION_DATA, content))
        opened = [opening.open(header, fragment) for _, header, fragment in records]
        assert b"".join(piece for _, piece in opened) == content
        assert {kind for kind, _ in opened} == {wire.ContentType.APPLICATION_DATA}
