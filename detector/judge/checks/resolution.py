"""Check `resolution`: does a second resolver, asked over HTTPS, give other addresses than the system's?

Room: judge. Pure. Feeds no rule: CDNs give every asker other addresses, and institutions have
addresses of their own for their own names. It says where else to probe.
"""

from __future__ import annotations

import enum
import ipaddress
from typing import TYPE_CHECKING, Final

from detector.model import Finding, Meaning, ResolutionOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence

ID: Final = "resolution"


class Outcome(enum.StrEnum):
    """How the answers compare; `private-here`: only private addresses here, public ones there."""

    SAME = "same"
    DIFFERS = "differs"
    PRIVATE_HERE = "private-here"
    UNKNOWN_HERE = "unknown-here"
    UNKNOWN_THERE = "unknown-there"
    UNKNOWN = "unknown"
    NO_ANSWER = "no-answer"
    NOT_VOUCHED = "not-vouched"


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding where a second resolver was asked."""
    seen = evidence.observation.resolution
    if seen is None:
        return
    outcome, summary = _compare(seen.outcome, frozenset(seen.system), frozenset(seen.other))
    yield Finding(
        check=ID,
        outcome=outcome,
        says=Meaning.NEUTRAL,
        summary=summary.format(resolver=seen.resolver),
        data={"resolver": seen.resolver, "system": list(seen.system), "other": list(seen.other)},
    )


def _compare(outcome: ResolutionOutcome, here: frozenset[str], there: frozenset[str]) -> tuple[Outcome, str]:  # noqa: PLR0911 - one return per outcome
    if outcome is ResolutionOutcome.NOT_VOUCHED:
        return Outcome.NOT_VOUCHED, "{resolver} could not prove who it is, and was not asked."
    if outcome is ResolutionOutcome.NO_ANSWER:
        return Outcome.NO_ANSWER, "{resolver} gave no complete answer."
    if not here and not there:
        return Outcome.UNKNOWN, "Neither the system's resolver nor {resolver} knows this name."
    if not there:
        return Outcome.UNKNOWN_THERE, "Only the system's resolver knows this name: it may be this network's own."
    if not here:
        return Outcome.UNKNOWN_HERE, "The system's resolver does not know this name, {resolver} does."
    if here & there:
        return Outcome.SAME, "The system's resolver and {resolver} agree."
    if not _any_public(here) and _any_public(there):
        return (
            Outcome.PRIVATE_HERE,
            "The system's resolver gives private addresses, {resolver} public ones.",
        )
    return (
        Outcome.DIFFERS,
        "The system's resolver and {resolver} give different addresses, as for hosts of CDNs.",
    )


def _any_public(addresses: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address.partition("%")[0]).is_global for address in addresses)
