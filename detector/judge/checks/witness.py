"""Check `witness`: did a cooperating endpoint see the same TLS session as we did? (docs/witness.md, RFC 9266)

Room: checks. Pure. Feeds rows 2 and 5 of the decision table.

The only question that an interceptor with a publicly trusted certificate, or with the origin's own key, cannot answer
in its favour. Whatever keeps the answer from being a signed one to this very question is told as it is, and keeps the
endpoint from being clean.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Outcome, Says, WitnessOutcome
from detector.trust.envelope import Problem
from detector.witness import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence
    from detector.model import WitnessObservation

ID: Final = "witness"

_HTTP_OK: Final = 200
"""RFC 9110 section 15.3.1."""

_UNSIGNED: Final[dict[Problem, tuple[Says, str]]] = {
    Problem.UNREADABLE: (Says.NEUTRAL, "What came back is not a witness's statement."),
    Problem.OTHER_TYPE: (Says.NEUTRAL, "What came back is signed for another purpose."),
    Problem.UNSIGNED: (Says.NEUTRAL, "The witness's answer carries no signature."),
    Problem.UNKNOWN_KEY: (
        Says.NEUTRAL,
        "The answer is not signed by a pinned key: the witness has a new one, or somebody else answers.",
    ),
    Problem.BAD_SIGNATURE: (
        Says.INTERCEPTED,
        "The answer names the witness's key, but its signature is wrong: it was changed after it was signed.",
    ),
}


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`equal`, `differs`, or why neither is known.

    `no-binding`, `no-answer`, `refused`, `unreadable`, `other-type`, `unsigned`, `unknown-key`, `bad-signature`,
    `replayed`; `not-asked` where the chain did not come from a finished handshake of ours.
    """
    if not case.endpoint.witness:
        return
    observed = case.observation.witness
    if observed is None:
        if case.observation.outcome is Outcome.COMPLETE:
            yield _finding("not-asked", Says.NEUTRAL, "The handshake was finished, but the witness was not asked.")
        return
    yield _judge(observed, case.endpoint.witness)


def _judge(observed: WitnessObservation, keys: tuple[bytes, ...]) -> Finding:
    if observed.outcome is WitnessOutcome.NO_BINDING or observed.exporter is None:
        return _finding(
            "no-binding",
            Says.NEUTRAL,
            "TLS this old, or without extended master secret, has nothing that both ends could compare.",
        )
    if observed.outcome is not WitnessOutcome.ANSWERED:
        return _finding(
            "no-answer",
            Says.NEUTRAL,
            f"The witness gave no whole answer ({observed.outcome}).",
            wire_outcome=observed.outcome,
        )
    if observed.status != _HTTP_OK:
        return _finding(
            "refused",
            Says.NEUTRAL,
            f"The witness's place answers with HTTP status {observed.status}: no witness, or a request kept from it.",
            status=observed.status,
        )
    answer = protocol.read(observed.body, keys=keys)
    if answer.statement is None:
        problem = answer.problem or Problem.UNREADABLE
        says, summary = _UNSIGNED[problem]
        return _finding(problem.value, says, summary)
    return _compare(answer.statement, observed, observed.exporter)


def _compare(statement: protocol.Statement, observed: WitnessObservation, exporter: bytes) -> Finding:
    if statement.nonce != protocol.spell_nonce(observed.nonce):
        return _finding(
            "replayed", Says.INTERCEPTED, "The answer is signed, but it answers another question: it was replayed."
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
        return _finding("equal", Says.GENUINE, "The witness and we are the two ends of one TLS session.", **seen)
    return _finding(
        "differs",
        Says.INTERCEPTED,
        "The witness is at the end of another TLS session than ours: somebody in between has both.",
        **seen,
    )


def _finding(outcome: str, says: Says, summary: str, **data: object) -> Finding:
    return Finding(check=ID, outcome=outcome, says=says, summary=summary, data=data)
