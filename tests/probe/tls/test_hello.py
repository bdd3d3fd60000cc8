"""ClientHello and ServerHello as records; JA4 against a published answer and real clients.

Room: tests of probe. Pure but for OpenSSL on memory buffers.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from detector_testing.streams import server_context
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from support.conversations import exam, output_of, recording
from support.hellos import RANDOM, client_hello, extension, u16, vector

from detector.probe.tls.codepoints import HELLO_RETRY_REQUEST_RANDOM, TLS_1_2, TLS_1_3
from detector.probe.tls.hello import ClientHello, parse_client_hello, parse_server_hello
from detector.probe.tls.openssl import OpenSSLHandshake
from detector.probe.tls.reader import WireError
from detector.probe.tls.wire import Wire


def server_hello(version: int, suite: int, *extensions: bytes, random: bytes = RANDOM) -> bytes:
    """A ServerHello by hand."""
    body = u16(version) + random + vector(b"", 1) + u16(suite) + b"\x00"
    if extensions:
        body += vector(b"".join(extensions), 2)
    return b"\x02" + vector(body, 3)


NAME = extension(0, vector(b"\x00" + vector(b"exam.example.edu", 2), 2))
GROUPS = extension(10, vector(u16(23, 24, 25), 2))
POINT_FORMATS = extension(11, vector(b"\x00", 1))
SUITES = (47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4)


class TestJA4:
    """The fingerprint by its description: https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md."""

    def test_a_published_example(self) -> None:
        """The example of the description: Chrome's suites, extensions and schemes give the fingerprint it has there."""
        suites = "1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035"
        kinds = "001b 0000 0033 0010 4469 0017 002d 000d 0005 0023 0012 002b ff01 000b 000a 0015"
        schemes = "0403 0804 0401 0503 0805 0501 0806 0601"
        bodies = {
            0: NAME[4:],
            10: GROUPS[4:],
            11: POINT_FORMATS[4:],
            13: vector(u16(*numbers(schemes)), 2),
            16: vector(vector(b"h2", 1) + vector(b"http/1.1", 1), 2),
            27: vector(u16(2), 1),
            43: vector(u16(0x2A2A, 0x0304, 0x0303), 1),
        }
        parts = [extension(kind, bodies.get(kind, b"")) for kind in numbers(kinds)]
        hello = parse_client_hello(client_hello(TLS_1_2, (0x1A1A, *numbers(suites)), extension(0x3A3A), *parts))
        assert hello.ja4 == "t13d1516h2_8daaf6152771_e5627efa2ab1"

    def test_nothing_but_a_cipher_suite(self) -> None:
        """What is not there has zeros; the name is missing, and so is the protocol."""
        assert parse_client_hello(client_hello(769, (4,))).ja4 == f"t10i010000_{sha256('0004')}_000000000000"
        assert parse_client_hello(client_hello(0x0300, ())).ja4 == "ts3i000000_000000000000_000000000000"
        assert parse_client_hello(client_hello(0x7F12, ())).ja4.startswith("t00i")

    def test_quic(self) -> None:
        """The hello of QUIC has the extension that no other may have (RFC 9001 section 8.2)."""
        assert parse_client_hello(client_hello(TLS_1_2, (4,), extension(57))).ja4.startswith("q12i0101")

    @pytest.mark.parametrize(
        ("protocol", "ends"),
        [(b"h2", "h2"), (b"http/1.1", "h1"), (b"h", "hh"), (b"\xab\xcd", "ad"), (b"h\xcd", "6d"), (b"-x", "28")],
    )
    def test_ends_of_the_first_protocol(self, protocol: bytes, ends: str) -> None:
        """Two letters or digits; where one is neither, digits of the bytes in hexadecimal."""
        alpn = extension(16, vector(vector(protocol, 1) + vector(b"zz", 1), 2))
        assert parse_client_hello(client_hello(TLS_1_2, (4,), alpn)).ja4[8:10] == ends

    def test_counts_have_two_digits(self) -> None:
        """A hundred suites are counted as 99."""
        assert parse_client_hello(client_hello(TLS_1_2, tuple(range(100)))).ja4.startswith("t12i9900")


def numbers(text: str) -> tuple[int, ...]:
    """Code points in hexadecimal."""
    return tuple(int(number, 16) for number in text.split())


def sha256(text: str) -> str:
    """The digits that a fingerprint has of a hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_grease_is_left_out_of_fingerprints_only() -> None:
    """All sixteen reserved values vanish from JA4, wherever they are, and stay in the record; similar values count."""
    grease = tuple(0x0A0A + 0x1010 * step for step in range(16))
    plain = client_hello(769, SUITES, NAME, GROUPS, POINT_FORMATS)
    greased = client_hello(
        769,
        (*grease, *SUITES),
        *map(extension, grease),
        NAME,
        extension(10, vector(u16(*grease, 23, 24, 25), 2)),
        POINT_FORMATS,
    )
    hello = parse_client_hello(greased)
    assert hello.ja4 == parse_client_hello(plain).ja4
    assert hello.cipher_suites[:16] == hello.groups[:16] == grease
    assert parse_client_hello(client_hello(769, (0x0A1A, *SUITES))).ja4.startswith(f"t10i{len(SUITES) + 1}")


def test_everything_that_is_read() -> None:
    """Names, protocols, versions and extended master secret come from the first extension of their type."""
    hello = parse_client_hello(
        client_hello(
            TLS_1_2,
            SUITES,
            NAME,
            extension(16, vector(vector(b"h2", 1) + vector(b"http/1.1", 1), 2)),
            extension(43, vector(u16(TLS_1_3, TLS_1_2), 1)),
            extension(23),
            extension(0, vector(b"\x00" + vector(b"other.example.edu", 2), 2)),
            compression=b"\x01\x00",
        )
    )
    assert (hello.legacy_version, hello.random, hello.session_id) == (TLS_1_2, RANDOM, b"")
    assert (hello.server_name, hello.alpn) == ("exam.example.edu", ("h2", "http/1.1"))
    assert (hello.versions, hello.compression_methods) == ((TLS_1_3, TLS_1_2), (1, 0))
    assert [kind for kind, _ in hello.extensions] == [0, 16, 43, 23, 0]
    assert not hello.requests_scts


@pytest.mark.parametrize(
    ("kinds", "asks"), [((), False), ((5,), False), ((18,), False), ((18, 5), True), ((0, 5, 43, 18), True)]
)
def test_who_asks_for_timestamps(kinds: tuple[int, ...], asks: bool) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """Only a hello with both requests counts."""
    bodies = {0: NAME, 43: extension(43, vector(u16(TLS_1_3), 1))}
    hello = client_hello(TLS_1_2, SUITES, *(bodies.get(kind, extension(kind)) for kind in kinds))
    assert parse_client_hello(hello).requests_scts is asks


def test_what_the_server_chose() -> None:
    """TLS 1.3 says its version in an extension, and a HelloRetryRequest is recognized by its random."""
    old = parse_server_hello(server_hello(TLS_1_2, 0xC02F, extension(23)))
    assert (old.version, old.is_retry) == (TLS_1_2, False)
    new = server_hello(TLS_1_2, 0x1301, extension(43, u16(TLS_1_3)), random=HELLO_RETRY_REQUEST_RANDOM)
    read = parse_server_hello(new)
    assert (read.version, read.cipher_suite, read.is_retry) == (TLS_1_3, 0x1301, True)


def test_openssl_client() -> None:
    """Our own probe's hello is read as OpenSSL wrote it, and again to the same fingerprint for every host name."""

    def sent(host: str) -> ClientHello:
        handshake = OpenSSLHandshake(host)
        handshake.start()
        assert handshake.client_hello is not None
        return parse_client_hello(handshake.client_hello)

    hello, other = sent("exam.example.edu"), sent("lms.example.org")
    assert (hello.server_name, hello.alpn) == ("exam.example.edu", ("h2", "http/1.1"))
    assert (hello.legacy_version, hello.versions[0]) == (TLS_1_2, TLS_1_3)
    assert hello.requests_scts
    assert hello.random != other.random
    assert hello.ja4 == other.ja4


def test_standard_library_client() -> None:
    """The standard library's hello on memory buffers: what its context was set to is what is parsed."""
    context = ssl.create_default_context()
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    context.set_alpn_protocols(["http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname="exam.example.edu")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    wire = Wire()
    wire.client(outgoing.read())
    hello = parse_client_hello(wire.client_hellos[0])
    assert (hello.server_name, hello.alpn) == ("exam.example.edu", ("http/1.1",))
    offered = {suite["id"] & 0xFFFF for suite in context.get_ciphers()}
    assert offered <= set(hello.cipher_suites) <= offered | {0x00FF}  # and the marker of RFC 5746


@pytest.mark.parametrize("name", ["1.3", "1.2", "1.0"])
def test_openssl_server(name: str) -> None:
    """The answers of a real server are read to what `wire` reads of the same conversation."""
    wire = recording(name).play()
    assert wire.server_hello is not None
    hello = parse_server_hello(wire.server_hello)
    assert (hello.version, hello.cipher_suite, hello.random) == (wire.version, wire.suite, wire.server_random)


def test_a_retried_hello() -> None:
    """A server that wants another group gets a second ClientHello; both and the request in between are read."""
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_connect_state()
    accepting = server_context(exam(), min_version=ssl.TLSVersion.TLSv1_3)
    accepting.set_tmp_ecdh(ec.SECP384R1())
    server = SSL.Connection(accepting, None)
    server.set_accept_state()
    wire = Wire()
    for speaker, listener, read in ((client, server, wire.client), (server, client, wire.server)) * 2:
        with contextlib.suppress(SSL.WantReadError):
            speaker.do_handshake()
        raw = output_of(speaker)
        read(raw)
        listener.bio_write(raw)
    first, second = map(parse_client_hello, wire.client_hellos)
    assert (first.random, first.cipher_suites) == (second.random, second.cipher_suites)
    assert first.extensions != second.extensions
    assert wire.hello_retry_request is not None
    assert parse_server_hello(wire.hello_retry_request).is_retry


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x01",
        b"\x01\x00\x00\x00",
        client_hello(769, SUITES)[:-1],
        client_hello(769, SUITES) + b"\x00",
        server_hello(769, 47),
        client_hello(769, SUITES, extension(0, b"\x00")),
        client_hello(769, SUITES, extension(0, vector(b"", 2) + b"\x00")),
        client_hello(769, SUITES, extension(10, vector(b"\x00", 2))),
        client_hello(769, SUITES, extension(16, vector(b"\x05h2", 2))),
        b"\x01" + vector(u16(769) + RANDOM + vector(bytes(33), 1) + vector(u16(47), 2) + vector(b"\x00", 1), 3),
    ],
)
def test_damage_is_reported(damage: bytes) -> None:
    """What is no ClientHello raises the documented exception."""
    with pytest.raises(WireError):
        parse_client_hello(damage)


def test_damaged_answers_are_reported() -> None:
    """What is no ServerHello raises the documented exception."""
    for damage in (b"", client_hello(769, SUITES), server_hello(769, 47)[:-1], server_hello(769, 47, extension(43))):
        with pytest.raises(WireError):
            parse_server_hello(damage)


@given(st.binary(max_size=300))
def test_only_the_documented_exception_escapes(raw: bytes) -> None:
    """Any bytes, bare or in a right header, are read or refused, and nothing else."""
    for message in (raw, b"\x01" + vector(raw, 3), b"\x02" + vector(raw, 3)):
        for parse in (parse_client_hello, parse_server_hello):
            with contextlib.suppress(WireError):
                parse(message)


@given(st.data())
def test_a_flipped_byte_is_read_or_refused(data: st.DataObject) -> None:
    """A genuine hello with one byte changed, whose fields nearly fit, is read or refused, and has a fingerprint."""
    genuine = client_hello(TLS_1_2, SUITES, NAME, GROUPS, POINT_FORMATS, extension(43, vector(u16(TLS_1_3), 1)))
    at = data.draw(st.integers(0, len(genuine) - 1))
    changed = genuine[:at] + bytes([genuine[at] ^ data.draw(st.integers(1, 255))]) + genuine[at + 1 :]
    with contextlib.suppress(WireError):
        assert len(parse_client_hello(changed).ja4) == 36
