"""What a recorded handshake proves: one rule for every recorder, for clearing and for accusing alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from detector_testing import generate_key
from support.worlds import EXAM, edited, said, with_extension

from detector.judge.recorded import KeyEvidence, believed, key_evidence
from detector.model import HandshakeSignature, Hello, Observation, Outcome
from detector.trust.certificate import OID_DELEGATION_USAGE
from detector.trust.handshake_signature import signed_content

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import Issued, PrivateKey

ECDSA_SHA256: Final = 0x0403
"""ecdsa_secp256r1_sha256 (RFC 8446 section 4.2.3)."""
RANDOM: Final = bytes(range(32))
SERVER_HELLO: Final = b"\x02\0\0\x46\x03\x03" + RANDOM
V13: Final[dict[str, Any]] = {"tls_version": "TLSv1.3"}
V12: Final[dict[str, Any]] = {"tls_version": "TLSv1.2", "server_hello": SERVER_HELLO}


def signed_by(key: PrivateKey, signed: bytes) -> HandshakeSignature:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return HandshakeSignature(scheme=ECDSA_SHA256, signed=signed, signature=signature)


@pytest.fixture(scope="module")
def issued(world: World) -> Issued:
    return world.pki.issue([EXAM])


@pytest.fixture(scope="module")
def signatures(issued: Issued) -> dict[str, HandshakeSignature | None]:
    """What may be recorded of a handshake's signature."""
    transcript, older = signed_content(bytes(32)), bytes(32) + RANDOM + b"parameters"
    stranger = generate_key("ec")
    return {
        "of the key": signed_by(issued.key, transcript),
        "of the key, of old": signed_by(issued.key, older),
        "of the key, in another protocol": signed_by(issued.key, b"something else"),
        "of another key": signed_by(stranger, transcript),
        "of another key, of old": signed_by(stranger, older),
        "of an unknown scheme": HandshakeSignature(scheme=0xFFFF, signed=transcript, signature=b"\1"),
        "none": None,
    }


TABLE: Final[list[tuple[str, dict[str, Any], str, str]]] = [
    ("of the key", V13, "verified", "contradicted"),
    ("of the key, of old", V12, "verified", "contradicted"),
    ("of the key, of old", {**V12, "server_hello": None}, "contradicted", "verified"),
    ("of the key, of old", V13, "contradicted", "verified"),
    ("of the key", V12, "contradicted", "verified"),
    ("of the key, in another protocol", V13, "contradicted", "verified"),
    ("of another key", V13, "contradicted", "verified"),
    ("of another key, of old", V12, "contradicted", "verified"),
    ("of an unknown scheme", V13, "word", "word"),
    ("none", V13, "unsigned", "unsigned"),
    ("none", {}, "unsigned", "unsigned"),
    ("none", V12, "word", "word"),
]
"""The recorded signature, the rest of the record, and what it says of a key called proved, and of one called wrong."""


def record(issued: Issued, world: World, signature: HandshakeSignature | None, **facts: Any) -> Observation:  # noqa: ANN401 - fields
    return world.observed(issued, handshake_signature=signature, **facts)


@pytest.mark.parametrize(("signature", "facts", "proved", "wrong"), TABLE)
def test_what_a_record_says(  # noqa: PLR0913, PLR0917 - a row and three fixtures
    signature: str,
    facts: dict[str, Any],
    proved: str,
    wrong: str,
    issued: Issued,
    world: World,
    signatures: dict[str, HandshakeSignature | None],
) -> None:
    """The signature is checked again, against what was claimed of the key."""
    claimed = record(issued, world, signatures[signature], **facts)
    called_wrong = msgspec.structs.replace(claimed, key_proved=False, outcome=Outcome.SIGNATURE_WRONG)
    assert (key_evidence(claimed), key_evidence(called_wrong)) == (KeyEvidence(proved), KeyEvidence(wrong))


def test_every_answer_occurs() -> None:
    """The table has every kind of evidence but the one for records that claim nothing."""
    assert {kind for _, _, *kinds in TABLE for kind in kinds} == {*map(str, KeyEvidence)} - {"not-claimed"}


def test_what_claims_nothing_needs_nothing(issued: Issued, world: World, signatures: dict[str, Any]) -> None:
    """A handshake that ended early, and one without a certificate, are left unchanged."""
    cut = record(issued, world, signatures["of another key"], **V13, key_proved=False, outcome=Outcome.RESET)
    nothing = world.observed([], key_proved=True)
    for observation in (cut, nothing):
        assert key_evidence(observation) is KeyEvidence.NOT_CLAIMED
        assert believed(observation) == observation


@pytest.mark.parametrize(
    ("signature", "outcome", "expected"),
    [
        ("of the key", Outcome.COMPLETE, ("logged", "logged")),
        ("of another key", Outcome.COMPLETE, ("inconclusive", "key-not-proved")),
        ("none", Outcome.COMPLETE, ("inconclusive", "key-not-proved")),
        ("of another key", Outcome.SIGNATURE_WRONG, ("probable", "replayed-chain")),
        ("of the key", Outcome.SIGNATURE_WRONG, ("inconclusive", "key-not-proved")),
        ("none", Outcome.SIGNATURE_WRONG, ("inconclusive", "key-not-proved")),
    ],
)
def test_what_is_contradicted_clears_nobody_and_accuses_nobody(  # noqa: PLR0913, PLR0917 - a row and three fixtures
    signature: str,
    outcome: Outcome,
    expected: tuple[str, str],
    issued: Issued,
    world: World,
    signatures: dict[str, HandshakeSignature | None],
) -> None:
    """A record without its signature proves nothing in either direction; one that verifies does."""
    claimed = record(
        issued, world, signatures[signature], **V13, outcome=outcome, key_proved=outcome is Outcome.COMPLETE
    )
    case = world.case(EXAM, []).with_observation(believed(claimed))
    assert said(world.judge(case)[0]) == expected


def test_a_replayed_chain_never_has_a_proved_key(issued: Issued, world: World, signatures: dict[str, Any]) -> None:
    """A record that calls the key wrong and proved at once is believed on neither."""
    for signature in signatures.values():
        both = record(issued, world, signature, **V13, outcome=Outcome.SIGNATURE_WRONG)
        assert not believed(both).key_proved


def test_a_word_is_believed_where_nothing_is_signed(issued: Issued, world: World) -> None:
    """Where RSA exchanged the keys, the recorder's claim is all there is (RFC 5246 section 7.4.9)."""
    claimed = record(issued, world, None, **V12)
    assert believed(claimed) == claimed


@pytest.mark.parametrize(
    ("hello", "dotted", "outcome", "expected"),
    [
        (Hello.FIREFOX, OID_DELEGATION_USAGE, Outcome.COMPLETE, "word"),
        (Hello.BROWSER, OID_DELEGATION_USAGE, Outcome.COMPLETE, "unsigned"),
        (Hello.FIREFOX, "1.2.3", Outcome.COMPLETE, "unsigned"),
        (Hello.FIREFOX, OID_DELEGATION_USAGE, Outcome.SIGNATURE_WRONG, "unsigned"),
    ],
)
def test_a_leaf_that_delegates_signs_nothing_itself(
    hello: Hello, dotted: str, outcome: Outcome, expected: str, world: World
) -> None:
    """A session with a delegated credential is no contradiction: only Firefox's hello and such a leaf can have one."""
    ca = world.pki.intermediate_ec
    leaf = edited(ca, ca.issue([EXAM]).leaf, with_extension(dotted, b"\x05\0"))
    claimed = world.observed([leaf, ca.certificate], hello=hello, outcome=outcome, **V13)
    assert key_evidence(claimed) == expected
