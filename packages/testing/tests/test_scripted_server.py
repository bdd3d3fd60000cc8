"""Room: testing. The scripted server against stock OpenSSL, and every misbehavior as seen on the wire."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from typing import TYPE_CHECKING

import pytest
from detector_testing import Ending, PrivatePKI, Script, Step, serve_script
from detector_testing import tls_wire as wire
from detector_testing.streams import connect
from detector_testing.tls_server import LARGEST_MESSAGE, Group, Scheme
from loopback_client import EXAM, client_hello, read_all, visit

if TYPE_CHECKING:
    from detector_testing.pki import KeyKind

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13])


async def first_flight(address: tuple[str, int], version: ssl.TLSVersion = TLS13) -> tuple[bytes, str]:
    """Everything a server sends to a client that says hello and then only listens, and how it ended."""
    stream = await connect(address)
    await stream.write(client_hello(version=version))
    return await read_all(stream)


def record_types(data: bytes) -> list[int]:
    """Content types of the whole records in `data`."""
    return [kind for kind, _, _ in wire.RecordBuffer().receive(data)]


def handshake_messages(data: bytes) -> list[bytes]:
    """The unencrypted handshake messages in `data`."""
    buffer = wire.MessageBuffer()
    return [
        whole
        for kind, _, fragment in wire.RecordBuffer().receive(data)
        if kind == wire.ContentType.HANDSHAKE
        for whole in buffer.receive(fragment)
    ]


@both_versions
@pytest.mark.parametrize("key", ["ec", "ec384", "rsa", "rsa1024", "ed25519"])
async def test_it_completes_with_its_own_key(tls_pki: PrivatePKI, key: KeyKind, version: ssl.TLSVersion) -> None:
    """Stock OpenSSL finishes the handshake, negotiates ALPN and gets a page: the implementation is right."""
    issued = tls_pki.issue([EXAM], key=key)
    async with serve_script(Script.genuine(issued, version=version)) as server:
        seen = await visit(server.address)
        await server.settled()
    assert (seen.error, seen.chain, seen.alpn) == ("", issued.chain, b"http/1.1")
    assert EXAM.encode() in seen.body
    assert (server.connections, server.handshakes, server.hellos[0].server_name) == (1, 1, EXAM)
    assert [request.host for request in server.requests] == [EXAM]


@both_versions
async def test_it_staples_for_who_asks(tls_pki: PrivatePKI, version: ssl.TLSVersion) -> None:
    """OpenSSL takes the response for a good one. SCTs it does not ask for, and gets none."""
    issued = tls_pki.issue([EXAM])
    response = tls_pki.intermediate_ec.ocsp_response(issued.leaf)
    script = Script.genuine(issued, version=version, sct_list=b"\x00\x03\x00\x01\x00", ocsp_response=response)
    async with serve_script(script) as server:
        asking, other = await visit(server.address, asks=True), await visit(server.address)
    assert (asking.stapled, other.stapled) == (response, b"")
    assert asking.error == other.error == ""


@both_versions
async def test_it_completes_over_p256(tls_pki: PrivatePKI, version: ssl.TLSVersion) -> None:
    """The other key exchange group works; in TLS 1.3 the server requests its share, which OpenSSL sends only then."""
    script = dataclasses.replace(Script.genuine(tls_pki.issue([EXAM]), version=version), group=Group.SECP256R1)
    async with serve_script(script) as server:
        seen = await visit(server.address)
    assert seen.error == ""


@pytest.mark.parametrize("scheme", [Scheme.RSA_PKCS1_SHA256, Scheme.RSA_PSS_RSAE_SHA256, Scheme.RSA_PKCS1_SHA1])
async def test_tls12_signs_with_the_scheme_asked_for(tls_pki: PrivatePKI, scheme: Scheme) -> None:
    """RSA keys sign ServerKeyExchange with the older schemes too."""
    issued = tls_pki.issue([EXAM], key="rsa")
    async with serve_script(dataclasses.replace(Script.genuine(issued, version=TLS12), scheme=scheme)) as server:
        assert (await visit(server.address)).error == ""


@both_versions
@pytest.mark.parametrize("key", ["ec", "ec384", "rsa", "rsa1024", "rsa3072", "ed25519"])
async def test_a_replayed_chain_is_shown_and_not_proved(
    tls_pki: PrivatePKI, key: KeyKind, version: ssl.TLSVersion
) -> None:
    """The genuine chain arrives, the signature under it is somebody else's, and OpenSSL says so."""
    genuine = tls_pki.issue([EXAM], key=key)
    async with serve_script(Script.replay(genuine.chain, version=version)) as server:
        seen = await visit(server.address)
        await server.settled()
    assert (seen.error, seen.chain) == ("bad signature", genuine.chain)
    assert server.handshakes == 0
    assert server.alerts == [wire.Alert.DECRYPT_ERROR]


@both_versions
async def test_a_corrupt_signature_is_refused(tls_pki: PrivatePKI, version: ssl.TLSVersion) -> None:
    """The right key over the wrong content is a bad signature as well."""
    script = dataclasses.replace(Script.genuine(tls_pki.issue([EXAM]), version=version), corrupt_signature=True)
    async with serve_script(script) as server:
        assert (await visit(server.address)).error == "bad signature"


@both_versions
async def test_a_corrupt_finished_is_refused(tls_pki: PrivatePKI, version: ssl.TLSVersion) -> None:
    """The handshake fails in its very last server message, after the key was proved."""
    script = dataclasses.replace(Script.genuine(tls_pki.issue([EXAM]), version=version), corrupt_finished=True)
    async with serve_script(script) as server:
        assert (await visit(server.address)).error == "digest check failed"


@both_versions
@pytest.mark.parametrize("damage", ["garbage", "truncated", "trailing", "empty"])
async def test_malformed_certificates_are_presented_as_they_are(
    tls_pki: PrivatePKI, damage: str, version: ssl.TLSVersion
) -> None:
    """Bytes that are not a certificate are sent unchanged, and OpenSSL refuses to read them."""
    issued = tls_pki.issue([EXAM])
    leaf = {
        "garbage": b"not a certificate",
        "truncated": issued.leaf[:-10],
        "trailing": issued.leaf + b"\x00",
        "empty": b"",
    }[damage]
    script = Script.malformed(leaf, *issued.chain[1:], key=issued.key, version=version)
    async with serve_script(script) as server:
        seen = await visit(server.address)
    assert seen.error
    assert seen.body == b""
    if version is TLS12:  # where certificates travel in the clear
        async with serve_script(dataclasses.replace(script, stop=Step.CERTIFICATE)) as server:
            flight, _ = await first_flight(server.address, version)
        certificate = handshake_messages(flight)[1]
        assert certificate[7:10] + certificate[10 : 10 + len(leaf)] == wire.vector(leaf, 3)


async def test_a_chain_of_two_hundred_is_sent_whole(tls_pki: PrivatePKI) -> None:
    """All of them are in the Certificate message, over several records."""
    ca = tls_pki.private_ca()
    many = [ca.issue([f"{number}.example"], key=ca.key).leaf for number in range(200)]
    script = Script(certificates=tuple(many), key=ca.key, version=TLS12, stop=Step.CERTIFICATE)
    async with serve_script(script) as server:
        flight, _ = await first_flight(server.address, TLS12)
    body = wire.Cursor(handshake_messages(flight)[1][wire.MESSAGE_HEADER :]).vector(3)
    sent = []
    while body:
        sent.append(body.vector(3).rest())
    assert sent == many


@both_versions
async def test_a_giant_message_keeps_coming(version: ssl.TLSVersion) -> None:
    """A Certificate message of 16 MiB is declared and sent, and nothing in it ever makes sense."""
    async with serve_script(Script.giant(version=version)) as server:
        stream = await connect(server.address)
        await stream.write(client_hello(version=version))
        received, declared = 0, b""
        while received < LARGEST_MESSAGE:
            chunk = await stream.read()
            declared += chunk if received < 1024 else b""  # ServerHello and what follows it
            received += len(chunk)
        await stream.close()
    if version is TLS12:
        assert bytes((wire.HandshakeType.CERTIFICATE,)) + b"\xff\xff\xff" in declared


@pytest.mark.parametrize("number", [0, 40, 70, 80, 112, 255])
async def test_any_alert_can_be_the_answer(number: int) -> None:
    """The alert record comes instead of a ServerHello, then the end."""
    async with serve_script(Script.alert(number)) as server:
        assert await first_flight(server.address) == (bytes((21, 3, 3, 0, 2, 2, number)), "")


async def test_plain_http_is_no_tls() -> None:
    """A page in the clear comes instead of a ServerHello; a custom one as it was given."""
    async with serve_script(Script.plain_http()) as server:
        assert (await first_flight(server.address))[0].startswith(b"HTTP/1.1 200 OK\r\n")
    async with serve_script(Script.plain_http(b"HTTP/1.1 302 Found\r\n\r\n")) as server:
        assert (await first_flight(server.address))[0] == b"HTTP/1.1 302 Found\r\n\r\n"


async def test_garbage_has_the_length_asked_for() -> None:
    """Random bytes come instead of a ServerHello."""
    async with serve_script(Script.garbage(777)) as server:
        assert len((await first_flight(server.address))[0]) == 777


async def test_silence_is_silent() -> None:
    """The hello is accepted, nothing comes back, and the connection stays open until the client leaves."""
    async with serve_script(Script.silence()) as server:
        stream = await connect(server.address)
        await stream.write(client_hello())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.read(), 0.05)
        await stream.close()
        await asyncio.wait_for(server.settled(), 5)
    assert server.connections == 1


@both_versions
@pytest.mark.parametrize("ending", Ending)
@pytest.mark.parametrize("step", [Step.HELLO, Step.SERVER_HELLO, Step.CERTIFICATE, Step.FLIGHT])
async def test_it_stops_at_the_step_asked_for(
    tls_pki: PrivatePKI, step: Step, ending: Ending, version: ssl.TLSVersion
) -> None:
    """The messages up to a step are sent and no more; then silence, FIN or RST."""
    genuine = Script.genuine(tls_pki.issue([EXAM]), version=version)
    # TLS 1.2: one record a message. TLS 1.3: ServerHello, change_cipher_spec, then one encrypted record a message.
    expected = {
        (TLS12, Step.SERVER_HELLO): [22],
        (TLS12, Step.CERTIFICATE): [22, 22],
        (TLS12, Step.FLIGHT): [22, 22, 22, 22],
        (TLS13, Step.SERVER_HELLO): [22, 20],
        (TLS13, Step.CERTIFICATE): [22, 20, 23, 23],
        (TLS13, Step.FLIGHT): [22, 20, 23, 23, 23, 23],
    }.get((version, step), [])
    async with serve_script(dataclasses.replace(genuine, stop=step, ending=ending)) as server:
        stream = await connect(server.address)
        await stream.write(client_hello(version=version))
        if ending is Ending.SILENCE:
            flight = b""
            while len(record_types(flight)) < len(expected):
                flight += await stream.read()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.read(), 0.05)
            await stream.close()
        else:
            flight, error = await read_all(stream)
            assert error == ("ConnectionResetError" if ending is Ending.RESET else "")
    assert record_types(flight) == expected


@both_versions
async def test_it_can_close_right_after_the_handshake(tls_pki: PrivatePKI, version: ssl.TLSVersion) -> None:
    """The handshake completes on both sides, and no page ever comes."""
    script = dataclasses.replace(Script.genuine(tls_pki.issue([EXAM]), version=version), stop=Step.HANDSHAKE)
    async with serve_script(script) as server:
        seen = await visit(server.address)
        await server.settled()
    assert seen.exporter
    assert seen.body == b""
    assert server.handshakes == 1


async def test_dripping_changes_nothing_but_the_pace(tls_pki: PrivatePKI) -> None:
    """Byte by byte, the handshake still completes."""
    script = dataclasses.replace(Script.genuine(tls_pki.issue([EXAM], scts=0)), drip=0.0)
    async with serve_script(script) as server:
        assert b"200" in (await visit(server.address)).body


async def test_first_connections_are_dropped(tls_pki: PrivatePKI) -> None:
    """As many as asked for are reset before a word, the next one is served."""
    script = dataclasses.replace(Script.genuine(tls_pki.issue([EXAM])), drop_first=2)
    async with serve_script(script) as server:
        outcomes = [(await visit(server.address)).error for _ in range(3)]
    assert outcomes[2] == ""
    assert all(outcomes[:2])


@both_versions
@pytest.mark.parametrize("count", [0, 1, 5, 6, 100, 300])
async def test_a_reset_comes_after_exactly_so_many_bytes(
    tls_pki: PrivatePKI, count: int, version: ssl.TLSVersion
) -> None:
    """The client gets that many bytes of a good handshake and then RST."""
    script = dataclasses.replace(Script.genuine(tls_pki.issue([EXAM]), version=version), reset_after=count)
    async with serve_script(script) as server:
        stream = await connect(server.address)
        if count:
            await stream.write(client_hello(version=version))
        received, error = await read_all(stream)
    assert (len(received), error) == (count, "ConnectionResetError")


@both_versions
async def test_a_reset_can_come_at_any_byte(tls_pki: PrivatePKI, version: ssl.TLSVersion) -> None:
    """Wherever in the whole conversation the reset is set, a stock client sees an error; past its end, none."""
    script = Script.genuine(tls_pki.issue([EXAM], scts=0), version=version)
    for count in (*range(1, 1500, 83), 1 << 20):  # the conversation has about 1650
        async with serve_script(dataclasses.replace(script, reset_after=count)) as server:
            seen = await visit(server.address)
        assert (seen.error == "") is (count == 1 << 20), count


async def test_a_server_can_change_its_mind(tls_pki: PrivatePKI) -> None:
    """Scripts are for one connection each, the last for the rest."""
    issued = tls_pki.issue([EXAM])
    async with serve_script([Script.genuine(issued), Script.replay(issued.chain)]) as server:
        assert [(await visit(server.address)).error for _ in range(3)] == ["", "bad signature", "bad signature"]


async def test_a_server_needs_a_script() -> None:
    """An empty list of scripts is refused at once."""
    with pytest.raises(ValueError, match="at least one script"):
        async with serve_script([]):
            pass


@both_versions
async def test_what_a_client_cannot_do_ends_in_an_alert(tls_pki: PrivatePKI, version: ssl.TLSVersion) -> None:
    """A client without the script's TLS version gets an alert, as from a real server."""
    other = TLS13 if version is TLS12 else TLS12
    async with serve_script(Script.genuine(tls_pki.issue([EXAM]), version=version)) as server:
        seen = await visit(server.address, version=other)
    assert "alert" in seen.error


async def test_a_client_that_is_no_tls_client_gets_an_alert(tls_pki: PrivatePKI) -> None:
    """HTTP on the TLS port is answered with unexpected_message."""
    async with serve_script(Script.genuine(tls_pki.issue([EXAM]))) as server:
        stream = await connect(server.address)
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await stream.read())[-1] == wire.Alert.UNEXPECTED_MESSAGE
        await stream.close()
