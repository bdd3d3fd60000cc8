"""What texts may say of a result: words follow confidence.

Room: judge. Pure: results and findings in, words out. Every text that people read asks here, so that one rule holds in
all of them: below `probable` nothing is said to be intercepted and no party is named, because something innocent fits
as well. What a certificate says of itself stays in the evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.model import Reason, Verdict

from .assess import names_a_party
from .checks import captive_portal, chain, forged_issuer, known_interceptor, machine_root
from .facts import Facts
from .table import RULE_OF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.model import Confidence, Finding, Result

_STALE_PINS: Final = (
    "The pins are probably stale: a careful client takes this certificate, and it is not one of those that are pinned."
)
_UNNAMED: Final[Mapping[tuple[str, str], str]] = {
    (known_interceptor.ID, known_interceptor.Outcome.KEY): "A key or certificate on the path is in the catalogue.",
    (known_interceptor.ID, known_interceptor.Outcome.PRODUCT): "A name in the chain is in the catalogue.",
    (
        known_interceptor.ID,
        known_interceptor.Outcome.WEAK,
    ): "A weak mark in the chain is in the catalogue.",
    (machine_root.ID, machine_root.Outcome.ADDED): "The root was put on this machine by a person, program or policy.",
    (machine_root.ID, machine_root.Outcome.UNFAMILIAR): "Who put the root on this machine is not known.",
    (machine_root.ID, machine_root.Outcome.MADE_HERE): "The root was made when it came to this machine.",
    (chain.ID, chain.Outcome.ADDED): "The chain leads to a root that was added to this machine.",
    (chain.ID, chain.Outcome.UNFAMILIAR): "The chain leads to a root that is trusted here and not known as public.",
    (chain.ID, chain.Outcome.DECLARED): "The chain leads to a private root that is declared for this endpoint.",
    (captive_portal.ID, captive_portal.Outcome.KNOWN_KEY): "The certificate's key is that of a known sign-in page.",
    **{
        (forged_issuer.ID, outcome): "A certificate of the chain claims a public CA that did not sign it, or is not it."
        for outcome in forged_issuer.Outcome
    },
}
"""What is said below `probable` instead of a summary that names a product, a vendor or a private CA."""
_REFUSED: Final = frozenset({(chain.ID, chain.Outcome.NOT_TAKEN), (chain.ID, chain.Outcome.DATES_FORBID)})
"""Findings whose summaries call certificates of the path by their names."""
_NAMING_DATA: Final = frozenset(
    {
        *("id", "product", "vendor", "category", "managed_by", "fact", "remediation"),
        *("root", "roots", "ca", "issuer", "subject", "names", "common_name", "certificates"),
    }
)
"""Keys of a finding's data under which parties, or what certificates say of themselves, are named."""


def tone(verdict: Verdict, confidence: Confidence | None) -> str:
    """In which of three colours a verdict is shown: `clean`, `intercepted`, or `uncertain` (amber)."""
    if verdict is Verdict.MIDDLEWARE and names_a_party(confidence):
        return "intercepted"
    return "clean" if verdict is Verdict.CLEAN else "uncertain"


def is_uncertain(result: Result) -> bool:
    """Whether a result is `middleware`, and an innocent explanation fits as well."""
    return result.verdict is Verdict.MIDDLEWARE and not names_a_party(result.confidence)


def has_stale_pins(result: Result) -> bool:
    """Whether a result is that of an accepted chain that only its pins do not fit."""
    return (
        result.reason is Reason.PIN_MISMATCH
        and not names_a_party(result.confidence)
        and Facts(result.findings).has(chain.Outcome.ACCEPTED)
    )


def is_behind_a_portal(result: Result) -> bool:
    """Whether a sign-in page answered in this endpoint's place."""
    return Facts(result.findings).portal


def why(result: Result) -> str:
    """The sentence of the rule that decided: why a result is what it is."""
    return _STALE_PINS if has_stale_pins(result) else RULE_OF[result.reason].why


def summary(finding: Finding, result: Result) -> str:
    """What one finding of a result says. Products are named from `probable` on, private CAs also where all is clean."""
    known, kind = (finding.check, finding.outcome), result.verdict
    if names_a_party(result.confidence) or (kind is Verdict.CLEAN and finding.check != known_interceptor.ID):
        return finding.summary
    if kind is Verdict.MIDDLEWARE and known in _REFUSED:
        refusals = (f"{one['reason']} (certificate {one['depth']})" for one in finding.data["refusals"])
        return f"No client takes the path: {', '.join(refusals)}."
    return _UNNAMED.get(known, finding.summary)


def data(finding: Finding, result: Result) -> dict[str, Any]:
    """What one finding of a result rests on, without names where the result is uncertain."""
    if not is_uncertain(result):
        return finding.data
    return {key: value for key, value in finding.data.items() if key not in _NAMING_DATA}
