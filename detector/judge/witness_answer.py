"""What a witness's answer is worth: did a cooperating endpoint see the same TLS session as we did? (RFC 9266)

Room: judge. Pure. The form of questions and statements is `detector.trust.witness_statement`'s (docs/witness.md).

It is the only question that an interceptor with a publicly trusted certificate, or with the origin's own key, cannot
answer in its favour. Whatever keeps the answer from being a signed one to this very question is reported as such.
"""

from __future__ import annotations

import enum
import hmac
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector.model import Meaning, Outcome, WitnessOutcome
from detector.trust import witness_statement
from detector.trust.envelope import Problem

if TYPE_CHECKING:
    from detector.model import Endpoint, Observation, WitnessObservation

_HTTP_OK: Final = 200
"""RFC 9110 section 15.3.1."""


class WitnessResult(enum.StrEnum):
    """What the witness's answer shows, or why neither is known."""

    EQUAL = "equal"
    DIFFERS = "differs"
    NOT_ASKED = "not-asked"
    NO_BINDING = "no-binding"
    NO_ANSWER = "no-answer"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    OTHER_TYPE = "other-type"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    REPLAYED = "replayed"


class WitnessAnswer(NamedTuple):
    """The result, what it speaks for, one sentence, and what the statement says."""

    result: WitnessResult
    says: Meaning
    summary: str
    data: dict[str, Any]


_UNSIGNED: Final[dict[Problem, tuple[WitnessResult, Meaning, str]]] = {
    Problem.UNREADABLE: (WitnessResult.UNREADABLE, Meaning.NEUTRAL, "What came back is not a witness's statement."),
    Problem.OTHER_TYPE: (WitnessResult.OTHER_TYPE, Meaning.NEUTRAL, "What came back is signed for another purpose."),
    Problem.UNSIGNED: (WitnessResult.UNSIGNED, Meaning.NEUTRAL, "The witness's answer carries no signature."),
    Problem.UNKNOWN_KEY: (
        WitnessResult.UNKNOWN_KEY,
        Meaning.NEUTRAL,
        "The answer is not signed by a pinned key: the witness has a new one, or another server answers.",
    ),
    Problem.BAD_SIGNATURE: (
        WitnessResult.BAD_SIGNATURE,
        Meaning.INTERCEPTED,
        "The answer names the witness's key, but its signature is wrong: it was changed after it was signed.",
    ),
}


def read_answer(endpoint: Endpoint, observation: Observation) -> WitnessAnswer | None:
    """What the witness of `endpoint` said of the session in `observation`.

    None where no witness is pinned, and where the chain did not come from a finished handshake of ours.
    """
    if not endpoint.witness:
        return None
    observed = observation.witness
    if observed is None:
        if observation.outcome is not Outcome.COMPLETE:
            return None
        return _answer(
            WitnessResult.NOT_ASKED, Meaning.NEUTRAL, "The handshake was finished, but the witness was not asked."
        )
    return _assess(observed, endpoint.witness)


def _assess(observed: WitnessObservation, keys: tuple[bytes, ...]) -> WitnessAnswer:
    if observed.outcome is WitnessOutcome.NO_BINDING or observed.exporter is None:
        return _answer(
            WitnessResult.NO_BINDING,
            Meaning.NEUTRAL,
            "TLS this old, or without extended master secret, has nothing that both ends could compare.",
        )
    if observed.outcome is not WitnessOutcome.ANSWERED:
        return _answer(
            WitnessResult.NO_ANSWER,
            Meaning.NEUTRAL,
            f"The witness gave no complete answer ({observed.outcome}).",
            wire_outcome=observed.outcome,
        )
    if observed.status != _HTTP_OK:
        return _answer(
            WitnessResult.REFUSED,
            Meaning.NEUTRAL,
            f"The witness's path answers with HTTP status {observed.status}: no witness, or the request was blocked.",
            status=observed.status,
        )
    answer = witness_statement.read(observed.body, keys=keys)
    if answer.statement is None:
        return _answer(*_UNSIGNED[answer.problem or Problem.UNREADABLE])
    return _compare(answer.statement, observed, observed.exporter)


def _compare(statement: witness_statement.Statement, observed: WitnessObservation, exporter: bytes) -> WitnessAnswer:
    if statement.nonce != witness_statement.encode_nonce(observed.nonce):
        return _answer(
            WitnessResult.REPLAYED,
            Meaning.INTERCEPTED,
            "The answer is signed, but it answers another question: it was replayed.",
        )
    seen = {
        "client_hello_sha256": statement.client_hello.sha256,
        "client_hello_unchanged": statement.client_hello.sha256 == observed.client_hello_sha256,
        "ja3": statement.client_hello.ja3,
        "tls_version": statement.tls.version,
        "cipher": statement.tls.cipher,
        "proxy_headers": [list(header) for header in statement.proxy_headers],
        "time": statement.time.isoformat(),
    }
    if hmac.compare_digest(statement.exporter, exporter):
        return _answer(
            WitnessResult.EQUAL,
            Meaning.GENUINE,
            "The witness and this machine are the two ends of one TLS session.",
            **seen,
        )
    return _answer(
        WitnessResult.DIFFERS,
        Meaning.INTERCEPTED,
        "The witness is at the end of another TLS session than this machine: something in between has both.",
        **seen,
    )


def _answer(result: WitnessResult, says: Meaning, summary: str, **data: object) -> WitnessAnswer:
    return WitnessAnswer(result, says, summary, data)
