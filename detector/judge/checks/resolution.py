"""Check `resolution`: does a second resolver, asked over HTTPS, give other addresses than the system's?

Room: checks. Pure. Feeds no row of the decision table: CDNs give every asker other addresses, and institutions have
addresses of their own for their own names. It tells where else to look.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from detector.model import Finding, ResolutionOutcome, Says

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "resolution"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """How the answers compare; silent where no second resolver was asked.

    `same` (an address in common), `differs`, `private-here` (only addresses of private networks here, public ones
    there), `unknown-here`, `unknown-there`, `unknown`, `no-answer`, `not-vouched`.
    """
    seen = case.observation.resolution
    if seen is None:
        return
    outcome, summary = _compare(seen.outcome, frozenset(seen.system), frozenset(seen.other))
    yield Finding(
        check=ID,
        outcome=outcome,
        says=Says.NEUTRAL,
        summary=summary.format(resolver=seen.resolver),
        data={"resolver": seen.resolver, "system": list(seen.system), "other": list(seen.other)},
    )


def _compare(outcome: ResolutionOutcome, here: frozenset[str], there: frozenset[str]) -> tuple[str, str]:  # noqa: PLR0911 - one return per outcome
    if outcome is ResolutionOutcome.NOT_VOUCHED:
        return "not-vouched", "{resolver} could not prove who it is, and was not asked."
    if outcome is ResolutionOutcome.NO_ANSWER:
        return "no-answer", "{resolver} gave no whole answer."
    if not here and not there:
        return "unknown", "Neither the system's resolver nor {resolver} knows this name."
    if not there:
        return "unknown-there", "Only the system's resolver knows this name: it may be this network's own."
    if not here:
        return "unknown-here", "The system's resolver does not know this name, {resolver} does."
    if here & there:
        return "same", "The system's resolver and {resolver} agree."
    if not _any_public(here) and _any_public(there):
        return "private-here", "The system's resolver gives an address of a private network, {resolver} public ones."
    return "differs", "The system's resolver and {resolver} give different addresses, as they do for hosts of CDNs."


def _any_public(addresses: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address.partition("%")[0]).is_global for address in addresses)
