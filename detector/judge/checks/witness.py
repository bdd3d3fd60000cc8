"""Check `witness`: whether a cooperating endpoint saw the same TLS session as we did (docs/witness.md, RFC 9266).

Room: judge. Pure. Feeds `witnessed`, `witness-differs` and `witness-silent`. `witness_answer` decides what an answer is
worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.witness_answer import CHECK_ID, WitnessResult
from detector.model import Meaning

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.judge.outcome import Findings

ID: Final = CHECK_ID
QUESTION: Final = "Did a cooperating server see the same TLS session?"

Outcome = WitnessResult
SILENT: Final = frozenset(Outcome) - {Outcome.EQUAL, Outcome.DIFFERS, Outcome.SAME_KEY, Outcome.ENDS_TLS_ITSELF}
"""Outcomes in which a witness is pinned and nothing says which session it saw."""
_NO_ANSWERS: Final = SILENT - {Outcome.NOT_ASKED}
"""Those of a session in which the witness was asked."""


def check(evidence: EndpointEvidence) -> Findings:
    """The result, where a witness is pinned and could be asked."""
    if evidence.is_of_witnessed_key:
        yield Outcome.SAME_KEY.found(
            "The key is that of another session with this endpoint, whose other end its witness is.", Meaning.GENUINE
        )
    answer = evidence.witness_answer
    if answer is None:
        return
    if evidence.witness_result is Outcome.NOT_ASKED:  # it is asked on a connection of its own: say what came of that
        asked = (s for s in evidence.siblings if s.route == evidence.route)
        answer = next((s.witness_answer for s in asked if s.witness_result in _NO_ANSWERS), None) or answer
    yield answer
    if evidence.endpoint.witness_is_end:
        yield Outcome.ENDS_TLS_ITSELF.found(
            "The pin file records that nothing of the operator's own stands in front of the witness."
        )
