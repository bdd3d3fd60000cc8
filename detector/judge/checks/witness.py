"""Check `witness`: did a cooperating endpoint see the same TLS session as we did? (docs/witness.md, RFC 9266)

Room: judge. Pure. Feeds `witnessed`, `witness-differs` and `witness-silent`. What an answer is worth is decided in
`witness_answer`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judge.witness_answer import WitnessResult
from detector.model import Finding, Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "witness"


class Outcome(enum.StrEnum):
    """The witness's result, and whether the pin file records that the witness ends TLS itself."""

    EQUAL = WitnessResult.EQUAL.value
    DIFFERS = WitnessResult.DIFFERS.value
    NOT_ASKED = WitnessResult.NOT_ASKED.value
    NO_BINDING = WitnessResult.NO_BINDING.value
    NO_ANSWER = WitnessResult.NO_ANSWER.value
    REFUSED = WitnessResult.REFUSED.value
    UNREADABLE = WitnessResult.UNREADABLE.value
    OTHER_TYPE = WitnessResult.OTHER_TYPE.value
    UNSIGNED = WitnessResult.UNSIGNED.value
    UNKNOWN_KEY = WitnessResult.UNKNOWN_KEY.value
    BAD_SIGNATURE = WitnessResult.BAD_SIGNATURE.value
    REPLAYED = WitnessResult.REPLAYED.value
    ENDS_TLS_ITSELF = "ends-tls-itself"


SILENT: Final = frozenset(Outcome) - {Outcome.EQUAL, Outcome.DIFFERS, Outcome.ENDS_TLS_ITSELF}
"""Outcomes in which a witness is pinned and nothing says which session it saw."""


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """The result, where a witness is pinned and could be asked."""
    answer = evidence.witness_answer
    if answer is None:
        return
    yield Finding(
        check=ID, outcome=Outcome(answer.result.value), says=answer.says, summary=answer.summary, data=answer.data
    )
    if evidence.endpoint.witness_is_end:
        yield Finding(
            check=ID,
            outcome=Outcome.ENDS_TLS_ITSELF,
            says=Meaning.NEUTRAL,
            summary="The pin file records that nothing of the operator's own stands in front of the witness.",
        )
