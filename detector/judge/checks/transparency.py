"""Check `transparency`: whether the leaf was publicly logged as browsers require it (RFC 6962).

Room: judge. Pure. Feeds `logged`, `pinned-ca`, `public-unlogged` and the reasons for not clearing. Only for accepted
paths: a log takes what leads to some root, so without an accepted path a timestamp is worth nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.trust.transparency import Logging, SCTStatus

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "transparency"
QUESTION: Final = "Was the certificate publicly logged?"


class Outcome(CheckOutcome, check=ID):
    """Whether the leaf was logged; `not-carried` where timestamps outside the certificate could not be seen."""

    LOGGED = (
        Logging.LOGGED.value,
        (
            "Public logs signed that they have the certificate, in the number that browsers require. A certificate "
            "that was made in secret does not have that."
        ),
    )
    UNKNOWABLE = (
        Logging.UNKNOWABLE.value,
        "The timestamps are of logs that are younger than the list of logs here. Update the detector to tell.",
    )
    UNLOGGED = (
        Logging.UNLOGGED.value,
        (
            "A public CA's certificate without the log timestamps that browsers require. Genuine ones have them, "
            "except where a server sends them in a way that was not seen."
        ),
    )
    NOT_CARRIED = (
        "not-carried",
        (
            "The certificate has no timestamps inside, and this way of capturing it cannot see those that a server "
            "sends next to it."
        ),
    )


_TEXT: Final[dict[Outcome, tuple[Meaning, str]]] = {
    Outcome.LOGGED: (Meaning.GENUINE, "Publicly logged, {valid} valid timestamps."),
    Outcome.UNKNOWABLE: (Meaning.NEUTRAL, "The timestamps are of logs that the list of {date} cannot know yet."),
    Outcome.UNLOGGED: (Meaning.INTERCEPTED, "Not publicly logged, although clients ask for it."),
    Outcome.NOT_CARRIED: (
        Meaning.NEUTRAL,
        "The certificate embeds no timestamps, and those outside it could not be seen here.",
    ),
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding where the path is accepted."""
    found, logs = evidence.transparency, evidence.context.logs
    if found is None:
        return
    outcome = Outcome.NOT_CARRIED if found.not_carried else Outcome(found.logging.value)
    says, summary = _TEXT[outcome]
    valid = len({s.log_id for s in found.scts if s.status is SCTStatus.VALID})
    scts = [
        {
            "status": s.status,
            "source": s.source,
            "log_id": s.log_id.hex(),
            "log": s.log,
            "operator": s.operator,
            "timestamp": s.timestamp.isoformat() if s.timestamp else None,
        }
        for s in found.scts
    ]
    yield outcome.found(summary.format(valid=valid, date=logs.date), says, scts=scts, logs=logs.name)
