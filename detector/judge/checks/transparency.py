"""Check `transparency`: was the leaf publicly logged? (RFC 6962)

Room: checks. Pure. Feeds rows 9 to 19 of the decision table. Signatures count, presence does not: timestamps can be
minted and copied, but not signed by a log. An unknown log is evidence of nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says
from detector.trust.transparency import Logging, SCTStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "transparency"

_SUMMARY: Final[dict[Logging, str]] = {
    Logging.LOGGED: "Publicly logged, {valid} valid timestamps.",
    Logging.UNLOGGED: "Not publicly logged, although public certificates of its age are.",
    Logging.UNKNOWABLE: "Whether it was publicly logged cannot be told.",
}
_SAYS: Final[dict[Logging, Says]] = {
    Logging.LOGGED: Says.GENUINE,
    Logging.UNLOGGED: Says.INTERCEPTED,
    Logging.UNKNOWABLE: Says.NEUTRAL,
}


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`logged`, `unlogged` or `unknowable`."""
    if case.leaf is None:
        return
    valid = len({s.log_id for s in case.scts if s.status is SCTStatus.VALID})
    yield Finding(
        check=ID,
        outcome=case.logging,
        says=_SAYS[case.logging],
        summary=_SUMMARY[case.logging].format(valid=valid),
        data={
            "scts": [
                {
                    "status": s.status,
                    "source": s.source,
                    "log_id": s.log_id.hex(),
                    "log": s.log,
                    "operator": s.operator,
                    "timestamp": s.timestamp.isoformat() if s.timestamp else None,
                }
                for s in case.scts
            ],
            "logs": case.context.logs.name,
        },
    )
