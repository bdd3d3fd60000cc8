"""What a witness's answer is worth: whether a cooperating endpoint saw the same TLS session as we did (RFC 9266).

Room: judge. Pure. `detector.trust.witness_statement` defines questions and statements (docs/witness.md).

It is the only question that an interceptor with a publicly trusted certificate, or with the origin's own key, cannot
answer in its favor. Everything but a signed answer to this very question is reported as what it is.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from detector.model import Meaning, Outcome, WitnessOutcome
from detector.trust import witness_statement
from detector.trust.envelope import Problem

from .outcome import CheckOutcome

if TYPE_CHECKING:
    from detector.model import Endpoint, Finding, Observation, WitnessObservation

CHECK_ID: Final = "witness"
"""The check that reports these results."""

_HTTP_OK: Final = 200
"""RFC 9110 section 15.3.1."""


class WitnessResult(CheckOutcome, check=CHECK_ID):
    """What the witness's answer shows, or why nothing is known; the last two in addition.

    `same-key`: another session, whose end the witness is, ended at the holder of this leaf's key. `ends-tls-itself`: by
    the pin file.
    """

    EQUAL = (
        "equal",
        (
            "The cooperating server signed the same value that this end computed for the TLS session. Both are ends "
            "of one session, so nothing in between can read it."
        ),
    )
    DIFFERS = (
        "differs",
        (
            "The cooperating server signed another value: it and this machine are in different TLS sessions, and "
            "something in between terminates both. The operator's own CDN or load balancer would look the same, "
            "unless the pin file rules it out."
        ),
    )
    NOT_ASKED = (
        "not-asked",
        "The handshake was finished, but the request to the cooperating server was not made. It says nothing.",
    )
    NO_BINDING = (
        "no-binding",
        (
            "The TLS version that was negotiated has no value that both ends could compare safely (RFC 5705, RFC "
            "7627). Old servers and some interceptors negotiate it."
        ),
    )
    NO_ANSWER = (
        "no-answer",
        (
            "The connection ended before the cooperating server's answer was complete. Its outage or a filter "
            "explains that as well."
        ),
    )
    REFUSED = "refused", "The answer was an HTTP error: no witness runs there, or something blocked the request."
    UNREADABLE = "unreadable", "What came back is not a statement of a witness, for example a web page."
    OTHER_TYPE = "other-type", "What came back is signed, but for another purpose; it is not a statement of a witness."
    UNSIGNED = "unsigned", "The statement has no signature, so anybody can have made it."
    UNKNOWN_KEY = (
        "unknown-key",
        (
            "The statement is signed by a key that the pin file does not name: the witness has a new key, or "
            "something else answers."
        ),
    )
    BAD_SIGNATURE = (
        "bad-signature",
        "The statement names the witness's key and its signature is wrong: it was changed after it was signed.",
    )
    REPLAYED = (
        "replayed",
        "The statement is genuine and answers another request than this one: something sent an old answer.",
    )
    SAME_KEY = (
        "same-key",
        (
            "Another session with this endpoint ended at its witness and proved the same key as this one, so the "
            "holder of the genuine key is at this end, too."
        ),
    )
    ENDS_TLS_ITSELF = (
        "ends-tls-itself",
        (
            "The pin file records that nothing of the operator's own stands in front of the witness, so a front of "
            "the operator explains no difference."
        ),
    )


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


def read_answer(endpoint: Endpoint, observation: Observation) -> Finding | None:
    """Return what the witness of `endpoint` saw of the session in `observation`; its outcome is a `WitnessResult`.

    None where no witness is pinned, and where the chain did not come from a finished handshake of this detector.
    """
    if not endpoint.witness:
        return None
    observed = observation.witness
    if observed is not None:
        return _assess(observed, endpoint.witness)
    if observation.outcome is not Outcome.COMPLETE:
        return None
    return WitnessResult.NOT_ASKED.found("The handshake was finished, but the witness was not asked.")


def _assess(observed: WitnessObservation, keys: tuple[bytes, ...]) -> Finding:
    if observed.outcome is WitnessOutcome.NO_BINDING or observed.exporter is None:
        return WitnessResult.NO_BINDING.found(
            "TLS this old, or without extended master secret, has nothing that both ends could compare."
        )
    if observed.outcome is not WitnessOutcome.ANSWERED:
        summary = f"The witness gave no complete answer ({observed.outcome})."
        return WitnessResult.NO_ANSWER.found(summary, wire_outcome=observed.outcome)
    if observed.status != _HTTP_OK:
        summary = (
            f"The witness's path answers with HTTP status {observed.status}: no witness, or the request was blocked."
        )
        return WitnessResult.REFUSED.found(summary, status=observed.status)
    answer = witness_statement.read(observed.body, keys=keys)
    if answer.statement is None:
        result, says, summary = _UNSIGNED[answer.problem or Problem.UNREADABLE]
        return result.found(summary, says)
    return _compare(answer.statement, observed, observed.exporter)


def _compare(statement: witness_statement.Statement, observed: WitnessObservation, exporter: bytes) -> Finding:
    if statement.nonce != witness_statement.encode_nonce(observed.nonce):
        summary = "The answer is signed, but it answers another question: it was replayed."
        return WitnessResult.REPLAYED.found(summary, Meaning.INTERCEPTED)
    result, says = WitnessResult.EQUAL, Meaning.GENUINE
    summary = "The witness and this machine are the two ends of one TLS session."
    if not hmac.compare_digest(statement.exporter, exporter):
        result, says = WitnessResult.DIFFERS, Meaning.INTERCEPTED
        summary = "The witness and this machine are in different TLS sessions: something in between terminates both."
    return result.found(
        summary,
        says,
        client_hello_sha256=statement.client_hello.sha256,
        client_hello_unchanged=statement.client_hello.sha256 == observed.client_hello_sha256,
        ja4=statement.client_hello.ja4,
        tls_version=statement.tls.version,
        cipher=statement.tls.cipher,
        browser=None if (claim := statement.browser) is None else claim.family,
        contradictions=[] if claim is None else list(claim.contradictions),
        proxy_headers=[list(header) for header in statement.proxy_headers],
        time=statement.time.isoformat(),
    )
