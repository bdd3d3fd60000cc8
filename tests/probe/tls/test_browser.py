"""A browser's ClientHello against real servers: what it says, what it captures, and what proves the key.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from detector_testing import serve_origin
from detector_testing.middlebox import GREASE, looks_like_browser
from detector_testing.tls_server import Script, serve_script
from detector_testing.tls_wire import parse_client_hello as parse_for_middlebox
from hypothesis import given
from hypothesis import strategies as st
from support.conversations import HOST, at, ders, exam

from detector.model import Endpoint, Hello, Outcome
from detector.probe import DirectDialer, probe
from detector.probe.tls.browser import BrowserHandshake
from detector.probe.tls.hello import parse_client_hello
from detector.probe.tls.openssl import OpenSSLHandshake

if TYPE_CHECKING:
    from detector_testing.pki import KeyKind

    from detector.model import Observation

V = ssl.TLSVersion


async def probe_as_browser(address: tuple[str, int]) -> Observation:
    """Probe a server on loopback with a browser's hello."""
    return (await probe(at(address), dialer=DirectDialer(), hello=Hello.BROWSER)).single


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("key", ["ec", "ec384", "rsa"])
async def test_the_chain_is_captured_and_its_key_proved(key: KeyKind, version: ssl.TLSVersion) -> None:
    """What modern servers present is kept byte for byte, and nothing of it is verified."""
    async with serve_origin(exam(key), min_version=version, max_version=version) as origin:
        seen = await probe_as_browser(origin.address)
    assert (seen.outcome, seen.key_proved, seen.hello) == (Outcome.COMPLETE, True, Hello.BROWSER)
    assert ders(seen) == exam(key).chain
    assert seen.tls_version == version.name.replace("_", ".")
    assert seen.cipher is not None
    assert seen.ja3 is not None


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
async def test_timestamps_are_read_where_they_are_in_clear(version: ssl.TLSVersion) -> None:
    """Chrome asks for both; behind the encryption of TLS 1.3 BoringSSL keeps them to itself."""
    stapled = bytes.fromhex("30030a0106")
    script = Script.genuine(exam("ec"), version=version, sct_list=b"\x00\x03\x00\x01\x00", ocsp_response=stapled)
    async with serve_script(script) as server:
        seen = await probe_as_browser(server.address)
    assert (seen.outcome, seen.key_proved) == (Outcome.COMPLETE, True)
    carried = (script.sct_list, stapled, True) if version is V.TLSv1_2 else (None, None, False)
    assert (seen.sct_list, seen.ocsp_response, seen.scts_carried) == carried


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
async def test_a_replayed_chain_does_not_prove_its_key(version: ssl.TLSVersion) -> None:
    """BoringSSL completes no handshake that another key signed: the chain is shown, and clears nothing."""
    async with serve_script(Script.replay(exam("ec").chain, version=version)) as server:
        seen = await probe_as_browser(server.address)
    assert seen.key_proved is False
    assert seen.outcome is (Outcome.SIGNATURE_WRONG if version is V.TLSv1_2 else Outcome.TLS_FAILURE)
    assert ders(seen) == exam("ec").chain


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (Script.alert(40), Outcome.TLS_ALERT),
        (Script.plain_http(), Outcome.NOT_TLS),
        (Script.garbage(), Outcome.NOT_TLS),
        (Script.giant(), Outcome.TLS_FAILURE),
    ],
    ids=["alert", "http", "garbage", "giant"],
)
async def test_what_is_no_server(script: Script, outcome: Outcome) -> None:
    """Every kind of non-answer has the same outcome as for the default hello, or ends as a failure."""
    async with serve_script(script) as server:
        seen = await probe_as_browser(server.address)
    assert (seen.outcome, seen.key_proved, seen.chain) == (outcome, False, ())


async def test_an_old_server_is_refused_as_browsers_do() -> None:
    """TLS 1.1 is beyond a browser; the default hello is for that."""
    async with serve_origin(exam("ec"), max_version=V.TLSv1_1, ciphers="ALL") as origin:
        seen = await probe_as_browser(origin.address)
    assert (seen.outcome, seen.chain) == (Outcome.TLS_ALERT, ())


def test_it_looks_like_a_browser_and_the_default_does_not() -> None:
    """GREASE, h2 and Chrome's length on one side; on the other what any program with OpenSSL says."""
    browser, default = BrowserHandshake(HOST), OpenSSLHandshake(HOST)
    browser.start()
    default.start()
    assert browser.client_hello is not None
    assert default.client_hello is not None
    assert looks_like_browser(parse_for_middlebox(browser.client_hello))
    assert not looks_like_browser(parse_for_middlebox(default.client_hello))
    said = parse_client_hello(browser.client_hello)
    assert (said.server_name, said.alpn) == (HOST, ("h2", "http/1.1"))
    assert GREASE & set(said.groups)


def test_an_address_is_no_server_name() -> None:
    """RFC 6066 section 3: an IP literal is not sent as SNI."""
    handshake = BrowserHandshake("192.0.2.1")
    handshake.start()
    assert handshake.client_hello is not None
    assert parse_client_hello(handshake.client_hello).server_name is None


@given(st.lists(st.binary(max_size=400), max_size=6))
def test_nothing_a_peer_sends_raises(answers: list[bytes]) -> None:
    """Whatever comes, the handshake ends in an outcome or waits for more."""
    handshake = BrowserHandshake(HOST)
    handshake.start()
    for answer in answers:
        handshake.receive(answer)
    seen = handshake.observation(Outcome.DEADLINE)
    assert not seen.key_proved
    assert seen.chain == ()
    assert handshake.closing_bytes() == b""


async def test_a_witness_is_not_asked() -> None:
    """The browser's connection is for probing only."""
    async with serve_origin(exam("ec")) as origin:
        endpoint = Endpoint(host=HOST, address=origin.address, witness=(bytes(32),))
        seen = (await probe(endpoint, dialer=DirectDialer(), hello=Hello.BROWSER)).single
    assert (seen.outcome, seen.witness) == (Outcome.COMPLETE, None)
