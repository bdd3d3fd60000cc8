"""Work given to other processes: what comes back is believed where it can be verified, and validated in any case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import pytest_asyncio
from detector_testing import serve_middlebox, serve_origin
from hypothesis import given
from hypothesis import strategies as st

from detector import Detector
from detector.judge.evidence import EndpointEvidence, Place
from detector.judge.recorded import believed
from detector.model import (
    Confidence,
    Endpoint,
    HandshakeSignature,
    MachineRoot,
    Observation,
    Outcome,
    Reason,
    Result,
    RootOrigin,
    Verdict,
)
from detector.probe.mock import MockNetwork
from detector.scan import work
from detector.session.settings import NetworkSettings
from detector.session.stream import Probed, StreamAssessor, StreamSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"


@pytest_asyncio.fixture
async def genuine(pki: PrivatePKI, settings_of: Settings) -> Observation:
    """What an honest origin showed."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        detector = Detector(**settings_of(resolve={(EXAM, 443): origin.address}))
        return (await detector.probe(Endpoint(host=EXAM)))[0]


def verdict(settings: dict[str, Any], observation: Observation) -> Verdict:
    probed = work.ProbedEndpoint(observation=observation)
    case = work.evidence_of(Detector(**settings), Endpoint(host=EXAM), probed, place="there")
    return assess(settings, case).verdict


def assess(settings: dict[str, Any], case: EndpointEvidence) -> Result:
    ((found,), _) = StreamAssessor[int](Detector(**settings)).assess([Probed(0, case)])
    return found.result


def forged(observation: Observation, **changes: Any) -> Observation:  # noqa: ANN401 - fields
    made = observation.handshake_signature
    assert made is not None
    return msgspec.structs.replace(observation, handshake_signature=msgspec.structs.replace(made, **changes))


async def test_genuine_is_believed(genuine: Observation, settings_of: Settings) -> None:
    """What the handshake signature proves stays as reported, and is assessed as if it had been seen here."""
    assert believed(genuine) == genuine
    assert verdict(settings_of(), genuine) is Verdict.CLEAN


async def test_contradicted_clears_nobody(genuine: Observation, settings_of: Settings) -> None:
    """A signature that is another's, over something else, or not there: no all-clear, and no accusation either."""
    made = genuine.handshake_signature
    assert made is not None
    assert genuine.tls_version == "TLSv1.3"
    other = bytes([made.signature[0], made.signature[1], *made.signature[2:-1], made.signature[-1] ^ 1])
    lies = (
        forged(genuine, signature=other),
        forged(genuine, signed=made.signed[:-1] + bytes([made.signed[-1] ^ 1])),
        forged(genuine, signed=b"something else that this key has signed"),
        msgspec.structs.replace(genuine, handshake_signature=None),
        msgspec.structs.replace(genuine, handshake_signature=None, tls_version=None),
        msgspec.structs.replace(genuine, outcome=Outcome.SIGNATURE_WRONG, key_proved=True),
        msgspec.structs.replace(genuine, outcome=Outcome.SIGNATURE_WRONG, key_proved=False),
    )
    for lie in lies:
        assert not believed(lie).key_proved
        assert verdict(settings_of(), lie) is Verdict.INCONCLUSIVE, lie


async def test_wrong_signature_stays_wrong(genuine: Observation, settings_of: Settings) -> None:
    """A replayed chain seen elsewhere is a replayed chain here: the signature is wrong here, too."""
    replayed = msgspec.structs.replace(
        forged(genuine, signature=b"\x30\x06\x02\x01\x01\x02\x01\x01"),
        outcome=Outcome.SIGNATURE_WRONG,
        key_proved=False,
    )
    assert believed(replayed) == replayed
    assert verdict(settings_of(), replayed) is Verdict.MIDDLEWARE


def test_what_nothing_signs_is_taken_at_its_word(world: World) -> None:
    """RSA key exchange signs nothing: key and Finished proved it to the prober alone."""
    case = world.case(EXAM, world.pki.issue([EXAM]))
    old = msgspec.structs.replace(case.observation, tls_version="TLSv1.2", handshake_signature=None, key_proved=True)
    assert believed(old).key_proved


def test_without_certificate_nothing_to_check() -> None:
    """An outcome without chain is reported unchanged."""
    refused = Observation(outcome=Outcome.CONNECT_REFUSED)
    assert believed(refused) == refused
    made = HandshakeSignature(scheme=0x0403, signature=b"", signed=b"")
    odd = Observation(outcome=Outcome.COMPLETE, key_proved=True, handshake_signature=made)
    assert believed(odd) == odd


async def test_roots_of_the_other_machine(pki: PrivatePKI, settings_of: Settings) -> None:
    """A chain to a root that is installed where the probe ran is assessed by that machine's roots."""
    ca = pki.private_ca("Campus CA")
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_middlebox(ca, upstream={(EXAM, 443): origin.address}) as box,
    ):
        detector = Detector(**settings_of(proxy=f"http://127.0.0.1:{box.port}"))
        observation, *_ = await detector.probe(Endpoint(host=EXAM))
    added = MachineRoot(der=ca.certificate, origin=RootOrigin.ADDED)
    for roots, reason in (((), Reason.PRIVATE_CHAIN), ((added,), Reason.ADDED_ROOT)):
        seen = work.ProbedEndpoint(observation=observation, machine_roots=roots)
        there = work.evidence_of(Detector(**settings_of()), Endpoint(host=EXAM), seen, place="the library")
        found = assess(settings_of(), there)
        assert (found.reason, found.confidence) == (reason, Confidence.POSSIBLE)
        assert work.machine_roots(there) == roots


async def test_an_address_that_a_target_names_was_given(settings_of: Settings, world: World) -> None:
    """Where the caller says where to connect, that is known where the target is assessed, no matter who probed it."""
    observation = world.case(EXAM, world.pki.issue([EXAM])).observation
    seen = work.ProbedEndpoint(observation=msgspec.structs.replace(observation, address="10.0.0.7:443"))
    rules = {(EXAM, 443): ("10.0.0.7", 443)}
    for settings, address, place in (
        ({}, None, Place.PRIVATE),
        ({}, ("10.0.0.7", 443), Place.GIVEN),
        ({"resolve": rules}, None, Place.GIVEN),
        ({"dialer": MockNetwork({})}, None, Place.GIVEN),
    ):
        target = Endpoint(host=EXAM, address=address)
        assert sent(target).address == address
        assert work.evidence_of(Detector(**settings_of(**settings)), target, seen, place="there").place is place


def request(*endpoints: Endpoint, **more: Any) -> work.Request:  # noqa: ANN401 - fields
    settings = StreamSettings(timeout=5.0, concurrency=2, retries=0)
    return work.Request(
        endpoints=endpoints,
        config=work.WorkerConfig(network=NetworkSettings(proxy="none", offline=True)),
        settings=settings,
        **more,
    )


def sent(endpoint: Endpoint) -> Endpoint:
    """An endpoint as a worker gets it."""
    return msgspec.json.decode(work.encode_request(request(endpoint)), type=work.Request).endpoints[0]


async def test_a_job() -> None:
    """A response has what was seen of each endpoint of its request, in order."""
    job = request(Endpoint(host="127.0.0.1", port=1), Endpoint(host="no-such-host.invalid"), number=7)
    response = work.decode_response(await work.run(work.encode_request(job)), expected=2)
    assert isinstance(response, work.Response)
    assert response.number == 7
    first, second = (probed.observation.outcome for probed in response.probed)
    assert first is Outcome.CONNECT_REFUSED
    assert second in {Outcome.DNS_FAILURE, Outcome.UNREACHABLE, Outcome.NO_ADDRESS}


async def test_a_configuration_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker says why it cannot probe, and how to change that."""
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://[proxy")
    monkeypatch.setenv("NO_PROXY", "")
    job = msgspec.structs.replace(request(Endpoint(host=EXAM)), config=work.WorkerConfig())
    response = work.decode_response(await work.run(work.encode_request(job)), expected=1)
    assert isinstance(response, work.ErrorResponse)
    assert response.message
    assert response.advice


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"[]", b"{}", b"null", b'{"type":"response"}', b'{"type":"error"}', b'{"type":"\xff"}'),
        *(
            b'{"type":"response","probed":[{"observation":{"outcome":"complete","proxy":'
            b'{"scheme":"https","host":"' + host + b'","port":' + port + b"}}}]}"
            for host, port in ((b"", b"443"), (b"proxy.example", b"0"), (b"proxy.example", b"65536"))
        ),
        *(b'{"type":"response","probed":[]}', b'{"type":"response","probed":[{"observation":{"outcome":"x"}}]}'),
    ],
)
def test_what_is_no_response(answer: bytes) -> None:
    """What is no response to a request of one endpoint is refused."""
    assert work.decode_response(answer, expected=1) is None


@given(
    st.binary(max_size=200)
    | st.text(max_size=100).map(lambda t: f'{{"type":"response","probed":[{{"observation":{t}}}]}}'.encode())
)
def test_any_bytes(answer: bytes) -> None:
    """Whatever comes, nothing is raised."""
    response = work.decode_response(answer, expected=1)
    assert not isinstance(response, work.Response) or len(response.probed) == 1


ENCODED = msgspec.json.encode(
    work.Response(probed=(work.ProbedEndpoint(observation=Observation(outcome=Outcome.COMPLETE, key_proved=True)),))
)


@given(st.integers(0, len(ENCODED) - 1), st.integers(0, 255))
def test_any_byte_of_a_response(at: int, byte: int) -> None:
    """A response with any byte changed is decoded or refused, and assessing what was decoded raises nothing."""
    response = work.decode_response(ENCODED[:at] + bytes([byte]) + ENCODED[at + 1 :], expected=1)
    for seen in response.probed if isinstance(response, work.Response) else ():
        assert isinstance(believed(seen.observation), Observation)


def test_a_worker_gets_no_more_than_it_needs() -> None:
    """A request does not say what is expected of an endpoint."""
    pinned = Endpoint(host=EXAM, pins=(bytes(32),), operator="Example", address=("127.0.0.1", 8443))
    assert sent(pinned) == Endpoint(host=EXAM, address=("127.0.0.1", 8443))
