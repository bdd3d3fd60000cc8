"""`probe` against real servers on loopback: every kind of end, the deadline, and nothing left open.

Room: tests of probe. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
from typing import TYPE_CHECKING

import pytest
from detector_testing import serve_origin
from detector_testing.streams import Listener, listen
from detector_testing.tls_server import Ending, Script, Step, serve_script
from support.conversations import HOST, at, ders, exam

from detector.model import Endpoint, Outcome, Route
from detector.probe import DirectDialer, Timeouts, mock, probe
from detector.probe.mock import MockNetwork

if TYPE_CHECKING:
    from detector_testing.pki import KeyKind
    from detector_testing.streams import PlainStream

pytestmark = pytest.mark.usefixtures("either_cryptography")
V = ssl.TLSVersion
BRIEF = Timeouts(handshake=0.3)


@pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_1, V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("key", ["rsa1024", "rsa", "ec", "ec384"])
async def test_old_and_new_servers_complete(version: ssl.TLSVersion, key: KeyKind) -> None:
    """From TLS 1.0 with RSA-1024 up, the handshake is finished and the chain is the server's."""
    async with serve_origin(exam(key), min_version=version, max_version=version, ciphers="ALL") as origin:
        observation = (await probe(at(origin.address), dialer=DirectDialer())).single
    assert (observation.outcome, observation.key_proved) == (Outcome.COMPLETE, True)
    assert ders(observation) == exam(key).chain
    assert observation.tls_version == version.name.replace("_", ".")
    assert observation.address == f"127.0.0.1:{origin.port}"
    assert observation.route is Route.DIRECT
    assert set(observation.timings_ms) == {"resolve", "connect", "certificate", "handshake"}
    assert observation.timings_ms["certificate"] <= observation.timings_ms["handshake"]


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
async def test_ed25519_completes(version: ssl.TLSVersion) -> None:
    """Ed25519 exists from TLS 1.2 on."""
    async with serve_origin(exam("ed25519"), min_version=version, max_version=version) as origin:
        assert (await probe(at(origin.address), dialer=DirectDialer())).single.key_proved


@pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_2])
async def test_with_plain_rsa_finished_is_the_proof(version: ssl.TLSVersion) -> None:
    """Plain RSA key exchange signs nothing; only the key's holder can finish it."""
    async with serve_origin(exam("rsa"), min_version=version, max_version=version, ciphers="AES128-SHA") as origin:
        observation = (await probe(at(origin.address), dialer=DirectDialer())).single
    assert (observation.key_proved, observation.cipher) == (True, "TLS_RSA_WITH_AES_128_CBC_SHA")


async def test_ipv6_loopback() -> None:
    """IPv6 is a route like any other; its address is written in brackets."""
    async with serve_origin(exam(), host="::1") as origin:
        observation = (await probe(at(("::1", origin.port)), dialer=DirectDialer())).single
    assert (observation.outcome, observation.address) == (Outcome.COMPLETE, f"[::1]:{origin.port}")


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.parametrize("step", [Step.HELLO, Step.SERVER_HELLO, Step.CERTIFICATE])
async def test_a_server_that_stops(
    version: ssl.TLSVersion, ending: Ending, step: Step, *, either_cryptography: bool
) -> None:
    """Where a server stops is where the facts stop; a certificate seen is reported, its key is not proved."""
    script = dataclasses.replace(Script.genuine(exam(), version=version), stop=step, ending=ending)
    timeouts = BRIEF if ending is Ending.SILENCE else None
    async with serve_script(script) as server:
        observation = (await probe(at(server.address), dialer=DirectDialer(), timeouts=timeouts)).single
    ends = {
        Ending.SILENCE: Outcome.HANDSHAKE_TIMEOUT,
        Ending.CLOSE: Outcome.CLOSED,
        Ending.RESET: Outcome.RESET,
    }
    assert observation.outcome is ends[ending]
    assert not observation.key_proved
    assert ders(observation) == (exam().chain if step is Step.CERTIFICATE else ())
    retried = step is not Step.CERTIFICATE
    assert observation.attempts == 1 + retried
    small = not either_cryptography
    assert [(each.outcome, each.small_hello) for each in observation.earlier] == [(ends[ending], small)] * retried


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
async def test_a_reset_after_any_number_of_bytes(version: ssl.TLSVersion) -> None:
    """A reset anywhere is an outcome, with a whole chain or none."""
    genuine = Script.genuine(exam(), version=version)
    for raw in range(0, 2000, 40):
        async with serve_script(dataclasses.replace(genuine, reset_after=raw)) as server:
            observation = (await probe(at(server.address), dialer=DirectDialer())).single
        assert observation.outcome in {Outcome.RESET, Outcome.COMPLETE}
        assert ders(observation) in {(), exam().chain}
        assert observation.key_proved is (observation.outcome is Outcome.COMPLETE)


async def test_a_dripping_server_gains_nothing() -> None:
    """The handshake's time is not renewed by each byte."""
    loop = asyncio.get_running_loop()
    async with serve_script(dataclasses.replace(Script.genuine(exam()), drip=0.01)) as server:
        begun = loop.time()
        observation = (await probe(at(server.address), dialer=DirectDialer(), timeouts=BRIEF)).single
        assert loop.time() - begun < 5  # all of its bytes take longer
    assert observation.outcome is Outcome.HANDSHAKE_TIMEOUT


async def test_a_giant_message_costs_nothing() -> None:
    """A server that floods 16 MiB is left at the header that announces them."""
    async with serve_script(Script.giant()) as server:
        observation = (await probe(at(server.address), dialer=DirectDialer())).single
    assert observation.outcome is Outcome.TOO_LARGE


async def test_the_deadline_returns_what_was_seen() -> None:
    """At the deadline the observation comes by itself, with the certificate that had arrived."""
    loop = asyncio.get_running_loop()
    script = dataclasses.replace(Script.genuine(exam()), stop=Step.CERTIFICATE, ending=Ending.SILENCE)
    async with serve_script(script) as server:
        deadline = loop.time() + 0.2
        observation = (await probe(at(server.address), dialer=DirectDialer(), deadline=deadline)).single
        assert loop.time() - deadline < 0.2
    assert (observation.outcome, observation.key_proved) == (Outcome.DEADLINE, False)
    assert ders(observation) == exam().chain


async def test_a_deadline_in_the_past_is_a_deadline() -> None:
    """Even then there is an observation, not an exception."""
    past = asyncio.get_running_loop().time() - 1
    network = MockNetwork({(HOST, 443): mock.Script()})
    observation = (await probe(Endpoint(host=HOST), dialer=network, deadline=past)).single
    assert observation.outcome is Outcome.DEADLINE
    assert network.open == 0


@pytest.mark.parametrize("after", [b"", b"\x16\x03\x03"])
async def test_cancelling_closes_the_connection(after: bytes) -> None:
    """A cancelled probe hangs up: the server sees the end, and no transport is left to warn about."""
    greeted, hung_up = asyncio.Event(), asyncio.Event()

    async def serve(stream: PlainStream) -> None:
        await stream.read()
        await stream.write(after)
        greeted.set()
        with contextlib.suppress(ConnectionResetError):
            while await stream.read():
                pass
        hung_up.set()

    server = Listener()
    async with listen(serve, server):
        task = asyncio.create_task(probe(at(server.address), dialer=DirectDialer()))
        await greeted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await hung_up.wait()


async def test_a_refused_connection() -> None:
    """A port where nobody listens is refused, once."""
    async with serve_origin(exam()) as origin:
        address = origin.address
    observation = (await probe(at(address), dialer=DirectDialer())).single
    assert (observation.outcome, observation.attempts) == (Outcome.CONNECT_REFUSED, 1)


async def test_no_name_indication_for_a_literal() -> None:
    """An IP literal is never sent as SNI."""
    async with serve_script(Script.genuine(exam())) as server:
        await probe(Endpoint(host="127.0.0.1", port=server.port), dialer=DirectDialer())
        await probe(at(server.address), dialer=DirectDialer())
    assert [hello.server_name for hello in server.hellos] == [None, HOST]


async def test_a_hundred_at_once() -> None:
    """Concurrent probes share one context and do not mix up their secrets."""
    async with serve_origin(exam()) as origin:
        dialer = DirectDialer()
        outcomes = await asyncio.gather(*(probe(at(origin.address), dialer=dialer) for _ in range(100)))
    assert {outcome.observation.outcome for outcome in outcomes} == {Outcome.COMPLETE}
