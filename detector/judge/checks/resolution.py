"""Check `resolution`: whether a second resolver, asked over HTTPS, gives other addresses than the system's.

Room: judge. Pure. Feeds no rule: CDNs give each client other addresses, and institutions have addresses of their own
for their own names. It shows where else to probe.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import ResolutionOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.judge.evidence import EndpointEvidence
    from detector.model import ResolutionObservation

ID: Final = "resolution"
QUESTION: Final = "Does another resolver give other addresses?"


class Outcome(CheckOutcome, check=ID):
    """How the answers compare; `private-here`: only private addresses here, public ones there."""

    SAME = "same", "The resolver of this system and a second one give the same addresses."
    DIFFERS = "differs", "The two resolvers give different addresses, which is usual for hosts of CDNs."
    PRIVATE_HERE = (
        "private-here",
        (
            "The resolver of this system gives private addresses and a second one public ones: the institution has a "
            "server of its own for this name, or redirects it."
        ),
    )
    UNKNOWN_HERE = "unknown-here", "Only the second resolver knows the name: this network may block it."
    UNKNOWN_THERE = "unknown-there", "Only the resolver of this system knows the name: it may be this network's own."
    UNKNOWN = "unknown", "Neither resolver knows the name. Check how it is written."
    NO_ANSWER = "no-answer", "The second resolver gave no complete answer, so there is nothing to compare."
    NOT_VOUCHED = "not-vouched", "The second resolver could not prove who it is and was not asked."


_TEXT: Final[dict[Outcome, str]] = {
    Outcome.SAME: "The system's resolver and {resolver} agree.",
    Outcome.DIFFERS: "The system's resolver and {resolver} give different addresses, as for hosts of CDNs.",
    Outcome.PRIVATE_HERE: "The system's resolver gives private addresses, {resolver} public ones.",
    Outcome.UNKNOWN_HERE: "The system's resolver does not know this name, {resolver} does.",
    Outcome.UNKNOWN_THERE: "Only the system's resolver knows this name: it may be this network's own.",
    Outcome.UNKNOWN: "Neither the system's resolver nor {resolver} knows this name.",
    Outcome.NO_ANSWER: "{resolver} gave no complete answer.",
    Outcome.NOT_VOUCHED: "{resolver} could not prove who it is, and was not asked.",
}

_UNANSWERED: Final = {
    ResolutionOutcome.NOT_VOUCHED: Outcome.NOT_VOUCHED,
    ResolutionOutcome.NO_ANSWER: Outcome.NO_ANSWER,
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding where a second resolver was asked."""
    seen = evidence.observation.resolution
    if seen is None:
        return
    outcome, resolver = _outcome(seen), seen.resolver
    summary = _TEXT[outcome].format(resolver=resolver)
    yield outcome.found(summary, resolver=resolver, system=list(seen.system), other=list(seen.other))


def _outcome(seen: ResolutionObservation) -> Outcome:
    here, there = seen.system, seen.other
    if seen.outcome in _UNANSWERED:
        return _UNANSWERED[seen.outcome]
    if not here or not there:
        return Outcome.UNKNOWN_HERE if there else Outcome.UNKNOWN_THERE if here else Outcome.UNKNOWN
    if not set(here).isdisjoint(there):
        return Outcome.SAME
    return Outcome.PRIVATE_HERE if _any_public(there) and not _any_public(here) else Outcome.DIFFERS


def _any_public(addresses: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address.partition("%")[0]).is_global for address in addresses)
