"""What may be said and done on the strength of a result: words follow confidence.

Room: judge. Pure: results and findings in, words out. Every text that people read asks here, so that one rule holds in
all of them: below `probable` nothing is said to be intercepted and no party is named, because something innocent fits
as well. What a certificate claims about itself stays in the evidence. The gate and the guard ask here what a result
confirms.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from detector.model import UnfollowedProxy, Verdict

from .assess import names_a_party
from .checks import MODULES, chain, known_interceptor, pin
from .facts import Facts
from .table import RULE_OF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.language import Text
    from detector.model import Confidence, Finding, Outcome, Result

_UNNAMED: Final[Mapping[tuple[str, str], str]] = {
    (module.ID, outcome): summary for module in MODULES for outcome, summary in getattr(module, "UNNAMED", {}).items()
}
"""Summaries below `probable`, in place of those that name a product, a vendor or a private CA."""
_REFUSED: Final = frozenset({(chain.ID, chain.Outcome.NOT_TAKEN), (chain.ID, chain.Outcome.DATES_FORBID)})
"""Findings whose summaries call certificates of the path by their names."""
_NAMING_DATA: Final = frozenset(
    {
        *("id", "product", "vendor", "category", "managed_by", "fact", "remediation"),
        *("root", "roots", "ca", "issuer", "subject", "names", "common_name", "certificates"),
    }
)
"""Keys of a finding's data that name parties, or hold what certificates claim about themselves."""


class Confirmation(enum.StrEnum):
    """Whether a result confirms that the exam server is at the other end. One that does not accuses nobody by that.

    `stale-pin`: accepted and logged, and only the pins do not match. `unknowable`: accepted, and only whether it is
    logged cannot be known here.
    """

    CONFIRMED = "confirmed"
    STALE_PIN = "stale-pin"
    UNKNOWABLE = "unknowable"
    UNCONFIRMED = "unconfirmed"


def confirmation(result: Result) -> Confirmation:
    """Return what this result confirms: clean ones do; of the rest, only what a careful client accepts comes near."""
    if result.verdict is Verdict.CLEAN:
        return Confirmation.CONFIRMED
    facts = Facts(result.findings)
    if not facts.key_proved or not facts.name_confirmed or facts.other_hello:
        return Confirmation.UNCONFIRMED
    if RULE_OF[result.reason].why_stale_pins and facts.accepted_logged:
        return Confirmation.STALE_PIN
    if result.verdict is Verdict.INCONCLUSIVE and facts.unknowable and not facts.has(pin.Outcome.MISMATCH):
        return Confirmation.UNKNOWABLE
    return Confirmation.UNCONFIRMED


def tone(verdict: Verdict, confidence: Confidence | None) -> str:
    """Return the color of a verdict: `clean`, `intercepted`, or `uncertain` (amber)."""
    if verdict is Verdict.MIDDLEWARE and names_a_party(confidence):
        return "intercepted"
    return "clean" if verdict is Verdict.CLEAN else "uncertain"


def is_uncertain(result: Result) -> bool:
    """Whether a result is `middleware`, and an innocent explanation fits as well."""
    return result.verdict is Verdict.MIDDLEWARE and not names_a_party(result.confidence)


def has_stale_pins(result: Result) -> bool:
    """Whether a result is that of an accepted chain that only its pins do not fit."""
    stale_pins = bool(RULE_OF[result.reason].why_stale_pins) and not names_a_party(result.confidence)
    return stale_pins and Facts(result.findings).has(chain.Outcome.ACCEPTED)


def is_behind_a_portal(result: Result) -> bool:
    """Whether a sign-in page answered in this endpoint's place."""
    return Facts(result.findings).portal


def why(result: Result) -> Text:
    """The sentence of the rule that decided: why a result is what it is."""
    rule = RULE_OF[result.reason]
    return rule.why_stale_pins if has_stale_pins(result) else rule.why


_UNFOLLOWED: Final[dict[UnfollowedProxy, tuple[str, str]]] = {
    UnfollowedProxy.EXTRA_MISSING: (
        "it is a proxy auto-configuration file, and the extra 'pac' is not installed",
        "Install the extra: pip install 'tls-middleware-detector[pac]'. Or name the proxy that browsers use (--proxy).",
    ),
    UnfollowedProxy.FILE_FAULTY: (
        "the proxy auto-configuration file could not be fetched or evaluated",
        "Name the proxy that browsers use on this device (--proxy), or have the network's IT correct the file.",
    ),
    UnfollowedProxy.KIND_UNKNOWN: (
        "it cannot be read, or names a kind of proxy that is not supported",
        "Name the proxy that browsers use on this device (--proxy), or set one that is http, https or socks5.",
    ),
}
"""Why the proxy setting of a machine was not followed, and what to do about it."""


def other_route(reason: UnfollowedProxy) -> str:
    """The sentence for results that do not hold for the route that the machine's proxy setting names."""
    why_not, _ = _UNFOLLOWED[reason]
    return (
        f"The proxy setting of this device was not followed: {why_not}. Endpoints were probed without it; browsers may "
        "take another route."
    )


def set_route(reason: UnfollowedProxy) -> str:
    """What to do so that the route of browsers is probed."""
    return _UNFOLLOWED[reason][1]


def wire_outcome(result: Result) -> Outcome | None:
    """How the connection ended, where that is the actual reason of a result: no certificate was seen."""
    return result.observation.outcome if RULE_OF[result.reason].is_outcome else None


def summary(finding: Finding, result: Result) -> str:
    """The sentence of one finding. Products are named from `probable` on, private CAs also where all is clean."""
    known, kind = (finding.check, finding.outcome), result.verdict
    if names_a_party(result.confidence) or (kind is Verdict.CLEAN and finding.check != known_interceptor.ID):
        return finding.summary
    if kind is Verdict.MIDDLEWARE and known in _REFUSED:
        refusals = (f"{one['reason']} (certificate {one['depth']})" for one in finding.data["refusals"])
        return f"No client accepts the path: {', '.join(refusals)}."
    return _UNNAMED.get(known, finding.summary)


def data(finding: Finding, result: Result) -> dict[str, Any]:
    """What one finding of a result rests on, without names where the result is uncertain."""
    if not is_uncertain(result):
        return finding.data
    return {key: value for key, value in finding.data.items() if key not in _NAMING_DATA}
