"""What a recorded handshake proves: one rule for bundles and for observations of other processes and machines.

Room: judge. Pure.

An observation that was made elsewhere claims that the peer held the presented key, or that another key signed. The
recorded handshake signature is verified again: a claim that it contradicts proves nothing in either direction, so it
clears nobody and accuses nobody. TLS 1.3 always signs (RFC 8446 section 4.4.3), so a record without a signature proves
nothing either. Where older versions exchanged keys by RSA (RFC 5246 section 7.4.9) nothing is signed, and where a leaf
delegated to another key (RFC 9345, offered by Firefox's hello) its own signed nothing of the handshake: the recorder's
claim is all there is. So it is where a browser reported a connection, which no rule takes for a proof.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import msgspec

from detector.model import Engine, Hello, Outcome
from detector.trust.certificate import OID_DELEGATION_USAGE, Certificate
from detector.trust.handshake_signature import KeyProof, check_recorded

if TYPE_CHECKING:
    from detector.model import Observation

_ALWAYS_SIGNED: Final = frozenset({"TLSv1.3", None})
"""TLS versions in which the server always signs; None: the version is not known."""


class KeyEvidence(enum.StrEnum):
    """What the record of a handshake proves of the presented key.

    `verified`: the recorded signature is that key's (or, for a chain called replayed, is not). `contradicted`: the
    opposite. `unsigned`: there is no signature where there must be one. `word`: no signature could be checked, so the
    claim cannot be verified. `not-claimed`: nothing was claimed that would need one.
    """

    VERIFIED = "verified"
    CONTRADICTED = "contradicted"
    UNSIGNED = "unsigned"
    WORD = "word"
    NOT_CLAIMED = "not-claimed"


_PROVES_NOTHING: Final = frozenset({KeyEvidence.CONTRADICTED, KeyEvidence.UNSIGNED})


def key_evidence(observation: Observation) -> KeyEvidence:
    """Compare what was recorded of the presented key with the recorded handshake signature."""
    called_wrong = observation.outcome is Outcome.SIGNATURE_WRONG
    if not observation.chain or not (called_wrong or observation.key_proved):
        return KeyEvidence.NOT_CLAIMED
    if observation.engine is Engine.BROWSER:
        return KeyEvidence.WORD
    leaf = Certificate.read(observation.chain[0].der)
    proof = check_recorded(
        leaf.spki,
        observation.handshake_signature,
        tls_version=observation.tls_version,
        server_hello=observation.server_hello,
    )
    if proof is KeyProof.NOT_SEEN and observation.tls_version in _ALWAYS_SIGNED:
        may_delegate = observation.hello is Hello.FIREFOX and OID_DELEGATION_USAGE in leaf.extensions
        return KeyEvidence.WORD if may_delegate and not called_wrong else KeyEvidence.UNSIGNED
    if proof not in {KeyProof.VALID, KeyProof.INVALID}:
        return KeyEvidence.WORD
    expected = KeyProof.INVALID if called_wrong else KeyProof.VALID
    return KeyEvidence.VERIFIED if proof is expected else KeyEvidence.CONTRADICTED


def believed(observation: Observation) -> Observation:
    """Return the observation without claims that its own record does not prove."""
    evidence = key_evidence(observation)
    called_wrong = observation.outcome is Outcome.SIGNATURE_WRONG
    if called_wrong and evidence in _PROVES_NOTHING:
        return msgspec.structs.replace(observation, key_proved=False, outcome=Outcome.TLS_FAILURE)
    if called_wrong or evidence in _PROVES_NOTHING:
        return msgspec.structs.replace(observation, key_proved=False)
    return observation


def proved(observation: Observation) -> Observation:
    """Return the observation with only those claims that its own record proves.

    For readers who cannot rely on the recorder. Anyone can write down a signature that does not verify, so that a
    handshake is called wrong proves nothing; anyone can leave out timestamps that a handshake carried, and write down
    another channel binding than the one that a witness signed.
    """
    alone = msgspec.structs.replace(observation, scts_carried=False, witness=None)
    if observation.outcome is Outcome.SIGNATURE_WRONG:
        return msgspec.structs.replace(alone, key_proved=False, outcome=Outcome.TLS_FAILURE)
    if key_evidence(observation) is KeyEvidence.VERIFIED:
        return alone
    return msgspec.structs.replace(alone, key_proved=False)
