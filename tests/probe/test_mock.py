"""The network without sockets that others test with.

Room: tests of probe. In memory.
"""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from support.conversations import HOST, ders, exam

from detector.model import Endpoint, Outcome, Route
from detector.probe import probe
from detector.probe.mock import ADDRESS, AwaitClient, Close, Fails, MockNetwork, Reset, Script, Send, TLSServer

ENDPOINT = Endpoint(host=HOST)
KEY = (HOST, 443)


def server(**options: tuple[int, int]) -> TLSServer:
    return TLSServer(chain=exam().chain, key=exam().key, **options)  # type: ignore[arg-type] # only `versions` is given


@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION, SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
async def test_a_server_in_memory_completes(version: int) -> None:
    """Every protocol version works without a socket."""
    network = MockNetwork({KEY: server(versions=(version, version))})
    observation = (await probe(ENDPOINT, dialer=network)).single
    assert (observation.outcome, observation.key_proved) == (Outcome.COMPLETE, True)
    assert ders(observation) == exam().chain
    assert (observation.route, observation.address, observation.alpn) == (Route.DIRECT, ADDRESS, "h2")
    assert network.open == 0


@pytest.mark.parametrize(
    ("script", "outcome", "attempts"),
    [
        (Script(AwaitClient(), Reset()), Outcome.RESET, 2),
        (Script(AwaitClient(), Close()), Outcome.CLOSED, 2),
        (Script(AwaitClient(), Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()), Outcome.NOT_TLS, 1),
        (Script(Send(b"\x15\x03\x03\x00\x02\x02\x28"), Close()), Outcome.TLS_ALERT, 4),  # and the widest hello
    ],
)
async def test_scripted_peers(script: Script, outcome: Outcome, attempts: int) -> None:
    """Only a connection that ended without an answer is tried again."""
    network = MockNetwork({KEY: script})
    observation = (await probe(ENDPOINT, dialer=network)).single
    assert (observation.outcome, observation.attempts) == (outcome, attempts)
    assert len(network.dialled) == attempts
    assert network.open == 0


async def test_the_second_attempt_counts() -> None:
    """A peer that drops the first connection to a name is seen all the same."""
    network = MockNetwork({KEY: [Script(AwaitClient(), Reset()), server()]})
    observation = (await probe(ENDPOINT, dialer=network)).single
    assert (observation.outcome, observation.attempts, observation.small_hello) == (Outcome.COMPLETE, 3, False)


async def test_endpoints_that_fail() -> None:
    """Failures are outcomes; a name nobody listed does not resolve."""
    refusing = MockNetwork({KEY: Fails(Outcome.CONNECT_REFUSED)})
    assert (await probe(ENDPOINT, dialer=refusing)).single.outcome is Outcome.CONNECT_REFUSED
    assert (await probe(ENDPOINT, dialer=MockNetwork({}))).single.outcome is Outcome.DNS_FAILURE
