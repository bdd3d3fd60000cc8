"""The one stream: networks are assessed apart, amendments carry what they replace, and seams are logged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from detector import Detector, Endpoint, Outcome
from detector.errors import InputError
from detector.model import Hello, KeyKind, Verdict
from detector.probe import DirectDialer, mock
from detector.probe.mock import MockNetwork
from detector.session import stream
from detector.session.plan import ProbeSettings, variants
from detector.session.stream import Probed, Prober, StreamAssessor, StreamSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from detector.model import Observation

    Settings = Callable[..., dict[str, Any]]

EXAM, LMS = "exam.example.edu", "lms.example.org"


def test_networks_are_assessed_apart(world: World, settings_of: Settings) -> None:
    """One signer of unrelated hosts accuses where both were seen, and says nothing about another network."""
    ca = world.pki.private_ca("Filter CA", one_leaf_key=True)
    seen = [world.case(host, ca.issue([host])) for host in (EXAM, LMS)]
    for networks, reasons in (
        (("a", "a"), ["private-chain", "one-private-signer", "one-private-signer"]),
        (("a", "b"), ["private-chain", "private-chain"]),
    ):
        assessor = StreamAssessor[str](Detector(**settings_of()))
        probed = [Probed(case.endpoint.host, case, network) for case, network in zip(seen, networks, strict=True)]
        results, canaries = assessor.assess(probed)
        assert [one.result.reason for one in results] == reasons
        assert [one.label for one in results] == [EXAM, LMS, EXAM][: len(results)]
        assert [one.previous is not None for one in results] == [False, False, True][: len(results)]
        assert set(canaries) == set(networks)


async def test_a_retry_is_logged(
    settings_of: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transient failure, its endpoint and the route that was taken are in the log."""
    monkeypatch.setattr(stream, "BACKOFF_SECONDS", 0.0)
    network = MockNetwork({(EXAM, 443): [mock.Fails(Outcome.UNREACHABLE), mock.Fails(Outcome.CONNECT_REFUSED)]})
    prober = Prober(Detector(**settings_of(dialer=network)).probe, StreamSettings(retries=1))
    with caplog.at_level(logging.DEBUG, "detector.session"):
        seen = await prober(Endpoint(host=EXAM))
    assert seen[0].outcome is Outcome.CONNECT_REFUSED
    assert f"{EXAM}:443: unreachable, retrying" in caplog.messages
    assert f"{EXAM}:443: routes direct" in caplog.messages


def test_variants_of_an_endpoint() -> None:
    """The first probe, then OpenSSL's hello and QUIC at the address that it finds, where they are asked for."""
    endpoint, dialer = Endpoint(host=EXAM), DirectDialer()
    assert [spec.same_address for spec in variants(endpoint, dialer, ProbeSettings())] == [False]
    settings = ProbeSettings(hello="both", quic=True)
    first, openssl, quic = variants(endpoint, dialer, settings, {(EXAM, 443): ("192.0.2.1", 443)})
    assert [spec.hello for spec in (first, openssl, quic)] == ["browser", "openssl", "browser"]
    assert [spec.same_address for spec in (first, openssl, quic)] == [False, True, True]
    assert (quic.quic, quic.mapped) == (True, ("192.0.2.1", 443))


async def test_a_plan_has_every_kind_of_key(settings_of: Settings) -> None:
    """With all addresses, each kind of server key is a probe of its own."""
    planner = Detector(**settings_of(all_addresses=True))._planner
    kinds = [spec.key_kind for spec in planner.plan(Endpoint(host=EXAM))]
    assert kinds == [None, *KeyKind]


@pytest.mark.parametrize("concurrency", [0, -1, 1 << 40])
def test_a_stream_has_room_for_a_job(concurrency: int) -> None:
    """Without room it would wait for ever, so the field is refused by name."""
    with pytest.raises(InputError, match="concurrency"):
        StreamSettings(concurrency=concurrency)


async def test_what_a_failed_probe_showed_to_another_hello_still_counts(
    world: World, settings_of: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box that resets the usual hello and decrypts another gains nothing by letting everything pass at the retry."""
    monkeypatch.setattr(stream, "BACKOFF_SECONDS", 0.0)
    genuine, forged = world.pki.issue([EXAM]), world.pki.private_ca("Filter CA").issue([EXAM])
    failed = world.case(EXAM, [], outcome=Outcome.RESET, key_proved=False).observation
    case = world.case(EXAM, genuine)
    probes = [(failed, world.observed(forged, hello=Hello.OPENSSL)), (case.observation,)]

    async def probe(endpoint: Endpoint, *, timeout: float) -> tuple[Observation, ...]:  # noqa: ARG001, ASYNC109 - as `Probe`
        return probes.pop(0)

    _, *others = await Prober(probe, StreamSettings(retries=1))(Endpoint(host=EXAM))
    evidence = case.with_further(others)
    (assessed,), _ = StreamAssessor[str](Detector(**settings_of())).assess([Probed(EXAM, evidence)])
    assert assessed.result.verdict is Verdict.MIDDLEWARE
