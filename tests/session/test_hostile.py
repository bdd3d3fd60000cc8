"""Hostile peers against the whole pipeline: a typed outcome, never clean, never more than its share of the time."""

from __future__ import annotations

import dataclasses
import ssl
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Ending, Script, Step, generate_key, serve_origin, serve_script

from detector import Detector, Outcome, Result
from detector.probe.tls.wire import CERTIFICATES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"
pytestmark = pytest.mark.usefixtures("either_cryptography")
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])


async def assessed(script: Script, settings: dict[str, Any], deadline: float = 3.0) -> Result:
    """What the detector says of a server that follows this script."""
    async with serve_script(script) as server:
        subject = Detector(**settings, resolve={(EXAM, 443): server.address})
        return (await subject.check([EXAM], deadline=deadline)).results[0]


@VERSIONS
async def test_replayed_genuine_chain(version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings) -> None:
    """The genuine chain without its key is a replayed chain, in TLS 1.2 and 1.3, for RSA and ECDSA leaves."""
    for key in ("ec", "rsa"):
        issued = pki.issue([EXAM], key=key)
        result = await assessed(Script.replay(issued.chain, version=version), settings_of())
        assert (result.reason, result.verdict, result.confidence) == ("replayed-chain", "middleware", "probable")
        assert result.observation.outcome is Outcome.SIGNATURE_WRONG


@VERSIONS
async def test_replayed_chain_signed_with_another_kind_of_key(
    version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings
) -> None:
    """A signature of a kind the presented key cannot make is as wrong as a bad one."""
    issued = pki.issue([EXAM], key="rsa")
    script = Script(certificates=issued.chain, key=generate_key("ec"), version=version)
    result = await assessed(script, settings_of())
    assert result.reason in {"replayed-chain", "key-not-proved"}
    assert result.verdict != "clean"


@VERSIONS
async def test_genuine_chain_and_nothing_more(version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings) -> None:
    """A chain alone clears nothing, whether the peer falls silent, closes or resets."""
    for ending in Ending:
        script = dataclasses.replace(
            Script.genuine(pki.issue([EXAM]), version=version), stop=Step.CERTIFICATE, ending=ending
        )
        result = await assessed(script, settings_of(), deadline=1.0)
        assert result.reason == "key-not-proved"
        assert result.observation.chain


@VERSIONS
async def test_malformed_leaf_is_seen_and_flagged(
    version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings
) -> None:
    """A leaf that OpenSSL refuses was still presented: hashed, kept, assessed."""
    genuine = pki.issue([EXAM]).leaf
    for garbage in (b"garbage", genuine[:-40], b"\x30\x00", genuine + b"trailing"):
        result = await assessed(Script.malformed(garbage, version=version), settings_of())
        assert result.observation.chain[0].der == garbage
        assert result.verdict != "clean"


@VERSIONS
async def test_two_hundred_certificates(version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings) -> None:
    """A chain of two hundred is bounded, and ends typed."""
    issued = pki.issue([EXAM])
    script = dataclasses.replace(
        Script.genuine(issued, version=version), certificates=(issued.leaf, *[issued.chain[1]] * 199)
    )
    result = await assessed(script, settings_of())
    assert result.observation.outcome in {Outcome.TOO_LARGE, Outcome.TLS_FAILURE}
    assert 1 <= len(result.observation.chain) <= CERTIFICATES_MAX


@VERSIONS
async def test_sixteen_mebibyte_message(version: ssl.TLSVersion, settings_of: Settings) -> None:
    """A message that declares 16 MiB is refused at its header, in little memory."""
    tracemalloc.start()
    try:
        result = await assessed(Script.giant(version=version, size=4 << 20), settings_of())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.observation.outcome is Outcome.TOO_LARGE
    assert peak < 32 << 20  # the server in this process included


@pytest.mark.parametrize(
    ("script", "outcomes"),
    [
        (Script.silence(), {Outcome.DEADLINE, Outcome.HANDSHAKE_TIMEOUT}),
        (Script.garbage(), {Outcome.NOT_TLS, Outcome.TLS_FAILURE, Outcome.TOO_LARGE}),
        (Script.plain_http(), {Outcome.NOT_TLS}),
        (Script.alert(40), {Outcome.TLS_ALERT}),
        (Script.alert(112), {Outcome.TLS_ALERT}),
    ],
    ids=["silence", "garbage", "http", "handshake-failure", "unrecognized-name"],
)
async def test_no_certificate_is_never_middleware(
    script: Script, outcomes: set[Outcome], settings_of: Settings
) -> None:
    """Servers that show no certificate end inconclusive with a typed outcome."""
    result = await assessed(script, settings_of(), deadline=1.0)
    assert (result.reason, result.verdict) == ("no-certificate", "inconclusive")
    assert result.observation.outcome in outcomes


async def test_dripping_server_costs_its_deadline(pki: PrivatePKI, settings_of: Settings) -> None:
    """One byte at a time is bounded by the deadline, not by the server's patience."""
    script = dataclasses.replace(Script.genuine(pki.issue([EXAM])), drip=0.05)
    result = await assessed(script, settings_of(), deadline=1.0)
    assert result.observation.outcome is Outcome.DEADLINE


async def test_first_connection_dropped(pki: PrivatePKI, settings_of: Settings) -> None:
    """An interceptor that drops the first connection to every name is met on the second."""
    ca = pki.private_ca("Filter CA")
    script = dataclasses.replace(Script.genuine(ca.issue([EXAM])), drop_first=1)
    result = await assessed(script, settings_of())
    assert (result.verdict, result.observation.attempts) == ("middleware", 3)


@VERSIONS
async def test_reset_at_every_offset(version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings) -> None:
    """A connection reset after any number of bytes is typed, and clean only once the key was proved."""
    script = Script.genuine(pki.issue([EXAM]), version=version)
    for offset in range(0, 2600, 61):
        result = await assessed(dataclasses.replace(script, reset_after=offset), settings_of())
        proved = result.observation.key_proved
        assert result.verdict == ("clean" if proved else "inconclusive"), offset
        assert proved == (result.observation.outcome is Outcome.COMPLETE), offset


async def test_bad_finished_proves_nothing(pki: PrivatePKI, settings_of: Settings) -> None:
    """A handshake whose Finished is wrong was tampered with."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        script = dataclasses.replace(Script.genuine(pki.issue([EXAM]), version=version), corrupt_finished=True)
        result = await assessed(script, settings_of())
        assert result.verdict != "clean"


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2], ids=["1.0", "1.1", "1.2"]
)
async def test_old_middlebox_with_a_weak_key(version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings) -> None:
    """TLS 1.0 to 1.2 with RSA-1024 is seen and recorded, not refused."""
    ca = pki.private_ca("Old Filter CA", key="rsa1024", signature_hash="sha1")
    async with serve_origin(ca.issue([EXAM], key="rsa1024"), min_version=version, max_version=version) as origin:
        subject = Detector(**settings_of(resolve={(EXAM, 443): origin.address}))
        result = (await subject.check([EXAM])).results[0]
    assert result.verdict == "middleware"
    assert result.observation.key_proved
    assert result.observation.tls_version == version.name.replace("_", ".")
