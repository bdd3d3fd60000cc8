"""What may be said and done on the strength of a result: words follow confidence.

Room: judge. Pure: results and findings in, words out. Every text that people read asks here, so that one rule holds in
all of them: below `probable` nothing is said to be intercepted and no party is named, because something innocent fits
as well. What a certificate claims about itself stays in the evidence. The gate and the guard ask here what a result
confirms.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from detector.language import N_, Text
from detector.model import Alternative, Confidence, Outcome, UnfollowedProxy, Verdict

from .assess import names_a_party
from .checks import MODULES, chain, known_interceptor, pin
from .facts import Facts
from .table import RULE_OF, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.model import Finding, Result

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


def mark(verdict: Verdict, confidence: Confidence | None) -> str:
    """Return the symbol of a verdict, which does not depend on color."""
    return {"clean": "✓", "intercepted": "✗", "uncertain": "?"}[tone(verdict, confidence)]


def state(verdict: Verdict, confidence: Confidence | None) -> str:
    """Return a verdict in a word or two, for lists."""
    if verdict is Verdict.MIDDLEWARE:
        return _SURE[confidence or Confidence.POSSIBLE]
    return "clean" if verdict is Verdict.CLEAN else "not assessed"


_SURE: Final[dict[Confidence, str]] = {
    Confidence.PROVEN: "intercepted",
    Confidence.PROBABLE: "probably intercepted",
    Confidence.POSSIBLE: "uncertain",
}


def state_of(result: Result) -> str:
    """Return the state of one endpoint in a few words: what explains it has words of its own."""
    if has_stale_pins(result):
        return "pins out of date"
    if signs_in_only(result):
        return "sign-in page"
    return "no answer" if wire_outcome(result) else state(result.verdict, result.confidence)


def signs_in_only(result: Result) -> bool:
    """Whether no more is known of an endpoint than that a sign-in page answered in its place."""
    return is_uncertain(result) and is_behind_a_portal(result)


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


def why(result: Result) -> str:
    """The sentence of the rule that decided: why a result is what it is."""
    rule = RULE_OF[result.reason]
    return rule.why_stale_pins if has_stale_pins(result) else rule.why


_UNFOLLOWED: Final[dict[UnfollowedProxy, tuple[str, Text]]] = {
    UnfollowedProxy.EXTRA_MISSING: (
        "it is a proxy auto-configuration file, and the extra 'pac' is not installed",
        N_(
            "Install the extra 'pac' (repeat the installation with [pac] appended), or name the proxy that browsers "
            "use (--proxy)."
        ),
    ),
    UnfollowedProxy.FILE_FAULTY: (
        "the proxy auto-configuration file could not be fetched or evaluated",
        N_("Name the proxy that browsers use on this device (--proxy), or have the network's IT correct the file."),
    ),
    UnfollowedProxy.KIND_UNKNOWN: (
        "it cannot be read, or names a kind of proxy that is not supported",
        N_("Name the proxy that browsers use on this device (--proxy), or set one that is http, https or socks5."),
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


def set_route(reason: UnfollowedProxy) -> Text:
    """What to do so that the route of browsers is probed."""
    return _UNFOLLOWED[reason][1]


def is_seen_by_server(result: Result) -> bool:
    """Whether a result says what a server saw of its clients, and nothing of the server."""
    return RULE_OF[result.reason].stage is Stage.SERVER


def wire_outcome(result: Result) -> Outcome | None:
    """How the connection ended, where that is the actual reason of a result: no certificate was seen."""
    return result.observation.outcome if RULE_OF[result.reason].is_outcome else None


_ENDED: Final[dict[Outcome, Text]] = {
    Outcome.COMPLETE: N_("The connection was complete."),
    Outcome.EXAMINED: N_("The certificates were read from a file."),
    Outcome.DNS_FAILURE: N_("Names could not be resolved."),
    Outcome.NO_ADDRESS: N_("There was no address of this family (IPv4 or IPv6)."),
    Outcome.CONNECT_REFUSED: N_("Connections were refused."),
    Outcome.CONNECT_TIMEOUT: N_("Nothing answered."),
    Outcome.UNREACHABLE: N_("The network has no route there."),
    Outcome.PROXY_UNREACHABLE: N_("The proxy did not answer."),
    Outcome.PROXY_AUTH_REQUIRED: N_("The proxy requires a user name and password."),
    Outcome.PROXY_AUTH_REJECTED: N_("The proxy did not accept the user name and password."),
    Outcome.PROXY_AUTH_UNSUPPORTED: N_("The proxy requires an authentication scheme that is not supported."),
    Outcome.PROXY_REFUSED: N_("The proxy refused to connect there."),
    Outcome.PROXY_REDIRECTED: N_("The proxy answered with a page of its own."),
    Outcome.PROXY_GATEWAY: N_("The proxy could not connect there."),
    Outcome.PROXY_PROTOCOL: N_("What answered is not a proxy."),
    Outcome.PROXY_OTHER_KIND: N_("The proxy is of another kind than its address says."),
    Outcome.PROXY_CLOSED: N_("The proxy closed the connection."),
    Outcome.PROXY_TLS: N_("No TLS connection to the proxy was possible."),
    Outcome.PROXY_UNTRUSTED: N_("The proxy could not prove its identity."),
    Outcome.PROXY_UNKNOWN: N_("Which proxy to use could not be determined."),
    Outcome.NO_ROUTE: N_("No proxy is set, and only the route through one was requested."),
    Outcome.RESET: N_("Connections were cut off."),
    Outcome.CLOSED: N_("Connections were closed before a certificate came."),
    Outcome.NOT_TLS: N_("What answered does not speak TLS."),
    Outcome.TLS_ALERT: N_("What answered ended TLS with an alert."),
    Outcome.TLS_FAILURE: N_("What answered speaks TLS in a way that cannot be understood."),
    Outcome.SIGNATURE_WRONG: N_("What answered could not prove that it has the key of its certificate."),
    Outcome.TOO_LARGE: N_("What answered sent more than a server needs to."),
    Outcome.HANDSHAKE_TIMEOUT: N_("The connection was made, and then nothing answered."),
    Outcome.DEADLINE: N_("Time ran out."),
    Outcome.RESOURCES: N_("This device ran out of sockets or file descriptors."),
}
"""How connections ended, in sentences that hold for one host and for many."""
ALTERNATIVES: Final[dict[Alternative, str]] = {
    Alternative.CAPTIVE_PORTAL: "a sign-in page of this network",
    Alternative.BLOCK_PAGE: "a block page",
    Alternative.WRONG_SERVER: "another server than the one that was meant",
    Alternative.PIN_ROTATION: "a new key at the server that the pin file does not have yet",
    Alternative.PUBLIC_CA_MISISSUANCE: "a public CA that issued a certificate to somebody else",
    Alternative.SCTS_OUTSIDE_CERTIFICATE: "proof of logging that was sent apart from the certificate",
    Alternative.INCOMPLETE_CHAIN: "a server that does not send an intermediate certificate",
    Alternative.PRIVATE_PKI: "a private CA of the server's own operator",
    Alternative.SELF_SIGNED_ORIGIN: "a server that signs its certificate itself",
    Alternative.STALE_ROOTS: "a new public CA that is not known here yet",
    Alternative.SPLIT_HORIZON: "another server of the same name inside this network",
    Alternative.FRONT_OF_THE_OPERATOR: "a CDN or load balancer of the server's own operator",
    Alternative.DEFECTIVE_SERVER: "a server with a defective certificate",
    Alternative.UNREADABLE_ALGORITHM: "a signature algorithm that is not known here",
    Alternative.DEVELOPMENT_CA: "a developer's own CA on this device",
    Alternative.SPOOFED_USER_AGENT: "a browser that names another one: by a setting, an add-on, its developer tools",
    Alternative.AUTOMATION: "a program that names a browser",
    Alternative.SINGLE_DEVICES: "security software on single devices",
    Alternative.REMOTE_BROWSER: "a browser that runs on another machine and shows its pages here",
}
"""What else could explain a result, each as the end of a sentence that begins with "It could also be"."""


def ended(outcome: Outcome) -> Text:
    """Return how a connection ended, in one sentence."""
    return _ENDED[outcome]


def cause(result: Result) -> str:
    """Return why a result is what it is: how the connection ended where nothing was seen, else the rule's sentence."""
    outcome = wire_outcome(result)
    return why(result) if outcome is None else ended(outcome)


def alternatives(result: Result) -> tuple[str, ...]:
    """Return what else could explain a result, in words."""
    return tuple(ALTERNATIVES[alternative] for alternative in result.alternatives)


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
    """What one finding of a result rests on, without names where the result is uncertain, and no product below that."""
    is_named = names_a_party(result.confidence)
    if is_named or not (is_uncertain(result) or finding.check == known_interceptor.ID):
        return finding.data
    return {key: value for key, value in finding.data.items() if key not in _NAMING_DATA}
