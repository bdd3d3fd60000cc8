"""Work given to other processes: what comes back is believed where it can be checked, and read whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import pytest_asyncio
from detector_testing import serve_middlebox, serve_origin
from hypothesis import given
from hypothesis import strategies as st

from detector import Detector
from detector.judge.evidence import Place
from detector.judge.recorded import believed
from detector.model import (
    Confidence,
    Endpoint,
    HandshakeSignature,
    MachineRoot,
    Observation,
    Outcome,
    Reason,
    RootOrigin,
    Verdict,
)
from detector.probe.mock import MockNetwork
from detector.scan import Target, work
from detector.scan.judging import Judging

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
        case = await Detector(**settings_of(resolve={(EXAM, 443): origin.address})).look(Endpoint(host=EXAM))
    return case.observation


def verdict(settings: dict[str, Any], observation: Observation) -> Verdict:
    case = work.case_of(Detector(**settings), Endpoint(host=EXAM), work.Seen(observation=observation), where="there")
    (found,) = Judging(tuple).judge(0, Target(Endpoint(host=EXAM), "list:1"), case)
    return found.verdict


def forged(observation: Observation, **changes: Any) -> Observation:  # noqa: ANN401 - fields
    made = observation.handshake_signature
    assert made is not None
    return msgspec.structs.replace(observation, handshake_signature=msgspec.structs.replace(made, **changes))


async def test_genuine_is_believed(genuine: Observation, settings_of: Settings) -> None:
    """What the handshake signature bears out stays as it was told, and is judged as if it had been seen here."""
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
    """RSA key exchange signs nothing: key and Finished proved it to whoever looked, and that is all there is."""
    case = world.case(EXAM, world.pki.issue([EXAM]))
    old = msgspec.structs.replace(case.observation, tls_version="TLSv1.2", handshake_signature=None, key_proved=True)
    assert believed(old).key_proved


def test_without_certificate_nothing_to_check() -> None:
    """An outcome without chain is told as it is."""
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
        case = await Detector(**settings_of(route=f"http://127.0.0.1:{box.port}")).look(Endpoint(host=EXAM))
    added = MachineRoot(der=ca.certificate, origin=RootOrigin.ADDED)
    for roots, reason in (((), Reason.PRIVATE_CHAIN), ((added,), Reason.ADDED_ROOT)):
        seen = work.Seen(observation=case.observation, machine_roots=roots)
        there = work.case_of(Detector(**settings_of()), Endpoint(host=EXAM), seen, where="the library")
        (found,) = Judging(tuple).judge(0, Target(Endpoint(host=EXAM), "list:1"), there)
        assert (found.reason, found.confidence) == (reason, Confidence.POSSIBLE)
        assert work.seen_in(there) == seen


async def test_an_address_that_a_target_names_was_given(settings_of: Settings, world: World) -> None:
    """Where the caller says where to connect, that is known where the target is assessed, whoever probed it."""
    observation = world.case(EXAM, world.pki.issue([EXAM])).observation
    seen = work.Seen(observation=msgspec.structs.replace(observation, address="10.0.0.7:443"))
    rules = {(EXAM, 443): ("10.0.0.7", 443)}
    for settings, address, place in (
        ({}, None, Place.PRIVATE),
        ({}, ("10.0.0.7", 443), Place.GIVEN),
        ({"resolve": rules}, None, Place.GIVEN),
        ({"dialer": MockNetwork({})}, None, Place.GIVEN),
    ):
        target = Endpoint(host=EXAM, address=address)
        assert work.bare(target).address == address
        assert work.case_of(Detector(**settings_of(**settings)), target, seen, where="there").place is place


async def test_a_job() -> None:
    """A job gives what was seen of each endpoint, in order."""
    job = work.Job(
        endpoints=(Endpoint(host="127.0.0.1", port=1), Endpoint(host="no-such-host.invalid")),
        timeout=5.0,
        concurrency=2,
        route="none",
    )
    seen = work.read_seen(await work.look(msgspec.json.encode(job)), expected=2)
    assert seen is not None
    assert seen[0].observation.outcome is Outcome.CONNECT_REFUSED
    assert seen[1].observation.outcome in {Outcome.DNS_FAILURE, Outcome.UNREACHABLE, Outcome.NO_ADDRESS}


@pytest.mark.parametrize("answer", [b"", b"[]", b"[1]", b"null", b'[{"observation":{"outcome":"x"}}]', b'["\xff"]'])
def test_nonsense_is_none(answer: bytes) -> None:
    """What is no answer to one endpoint is none."""
    assert work.read_seen(answer, expected=1) is None


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda t: f'[{{"observation": {t}}}]'.encode()))
def test_any_octets(answer: bytes) -> None:
    """Whatever comes, nothing is raised."""
    seen = work.read_seen(answer, expected=1)
    assert seen is None or len(seen) == 1


ENCODED = msgspec.json.encode([work.Seen(observation=Observation(outcome=Outcome.COMPLETE, key_proved=True))])


@given(st.integers(0, len(ENCODED) - 1), st.integers(0, 255))
def test_any_octet_of_an_answer(at: int, octet: int) -> None:
    """An answer with any octet changed is read or is none, and judging what was read raises nothing."""
    for seen in work.read_seen(ENCODED[:at] + bytes([octet]) + ENCODED[at + 1 :], expected=1) or ():
        assert isinstance(believed(seen.observation), Observation)


def test_bare_endpoint_says_nothing_more() -> None:
    """Whoever looks is not told what is expected to be seen."""
    pinned = Endpoint(host=EXAM, pins=(bytes(32),), operator="Example", address=("127.0.0.1", 8443))
    assert work.bare(pinned) == Endpoint(host=EXAM, address=("127.0.0.1", 8443))
