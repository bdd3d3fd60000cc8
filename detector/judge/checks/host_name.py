"""Check `name`: whether the presented certificate is for this host (RFC 9525).

Room: judge. Pure. Feeds `wrong-name`; every rule that clears needs it. What a CA may name (RFC 5280 section 4.2.1.10)
belongs to the path and is part of the check `chain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "name"
QUESTION: Final = "Is the certificate for the host that was asked for?"

_NAMES_SHOWN: Final = 10
"""Alternative names listed in a finding; a CDN certificate can carry hundreds."""


class Outcome(CheckOutcome, check=ID):
    """Whether the certificate is for the host; `unfinished` where it has more names than are read."""

    MATCH = (
        NameMatch.MATCH.value,
        "The certificate is for the host that was asked for, as clients of today match names.",
    )
    COMMON_NAME_ONLY = (
        NameMatch.COMMON_NAME_ONLY.value,
        (
            "The host is only in the certificate's common name, which clients of today ignore. Old servers "
            "have such certificates; it clears nothing."
        ),
    )
    MISMATCH = (
        NameMatch.MISMATCH.value,
        (
            "The certificate is for another name, and a client that checks names stops here. Sign-in pages, block "
            "pages and misrouted requests show this, so it is at most possible interception."
        ),
    )
    UNFINISHED = (
        NameMatch.UNFINISHED.value,
        (
            "The certificate has more names than are read, and the host is not among the first. It counts as right "
            "for accusing, at most as probable, and as wrong for clearing."
        ),
    )


_SUMMARY: Final[dict[Outcome, str]] = {
    Outcome.MATCH: "The certificate is for {host}.",
    Outcome.COMMON_NAME_ONLY: "Only the certificate's common name is {host}; clients of today do not accept that.",
    Outcome.MISMATCH: "The certificate is not for {host}.",
    Outcome.UNFINISHED: "The certificate has more names than are read, and {host} is not among those that were.",
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding where a certificate was seen."""
    leaf = evidence.leaf
    if leaf is None:
        return
    names = [*leaf.dns_names, *leaf.ip_addresses]
    outcome = Outcome(evidence.name_match.value)
    yield outcome.found(
        _SUMMARY[outcome].format(host=evidence.endpoint.host),
        Meaning.INTERCEPTED if outcome is Outcome.MISMATCH else Meaning.NEUTRAL,
        names=names[:_NAMES_SHOWN],
        names_in_all=len(names),
        common_name=leaf.subject.get("CN") if leaf.subject else None,
    )
