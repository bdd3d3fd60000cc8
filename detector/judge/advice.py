"""What the reader of a result can do about it, by audience: student, IT, developer of the client or server.

Room: judge. Pure: text only. Advice on a rule is part of its row in the table; this module has the advice that depends
on how a connection ended and on who manages the interceptor. The student is never accused and never asked to weaken
anything; what only an administrator can change is addressed to the administrator, in the product's terms where known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.language import ENGLISH, N_, Messages, Plural, Sentence, Text
from detector.model import Audience, ManagedBy, Outcome, Verdict

from .checks import second_try
from .facts import Facts
from .table import AGAIN, ELSEWHERE, NOT_THIS_NETWORK, OPEN_AGAIN, REPLAYED, RULE_OF

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.model import Attribution, Observation, Result

    from .table import Advice, Decision, Rule

_STUDENT, _IT, _DEVELOPER = Audience.STUDENT, Audience.IT, Audience.DEVELOPER

SIGN_IN_FIRST: Final = N_("Open a browser and sign in to this network, then try again.")
"""Precedes all other advice where a sign-in page answers."""

_ABUSED: Final = N_("The root of this CA is known to be abused: have it removed from the device before any exam.")
_OUTSIDE: Final = N_("Traffic is decrypted outside the institution: use another network for the exam.")

WITHOUT_EXAM: Final[Mapping[Text | Plural, Text]] = {
    AGAIN: N_("Try again. If it keeps happening, use another network and tell your institution."),
    NOT_THIS_NETWORK: N_("Do not use this network: something on it signs in the name of a public CA."),
    REPLAYED: N_("Do not send data here: the server shown is not the one answering. Use another network."),
    OPEN_AGAIN: N_("Open the page again, or use Firefox, which reports the whole chain."),
    _ABUSED: N_("The root of this CA is known to be abused: have it removed from the device."),
    _OUTSIDE: N_("Traffic is decrypted outside the institution: use another network."),
}
"""What advice to the student says where nothing is known of an exam."""

_BY_MANAGER: Final[dict[ManagedBy, Advice]] = {
    ManagedBy.INSTITUTION: {
        _STUDENT: N_("Only the network's operator can change this: ask its IT to exempt {hosts}."),
        _IT: "Exempt from TLS decryption: {hosts}",
    },
    ManagedBy.ENDPOINT_OWNER: {
        _STUDENT: N_("Software on this device decrypts traffic: turn off its HTTPS scanning for {hosts}."),
        _IT: "Exempt from HTTPS scanning: {hosts}",
    },
    ManagedBy.DEVELOPER: {
        _STUDENT: N_("A debugging proxy decrypts traffic: stop it or remove it from the proxy settings."),
        _IT: "A debugging proxy decrypts {hosts}: find where it runs and stop it.",
        _DEVELOPER: "Stop the debugging proxy, or exempt from decryption: {hosts}",
    },
    ManagedBy.ATTACKER: {
        _STUDENT: _ABUSED,
        _IT: "Remove the CA from the device's trusted roots and find the software that installed it.",
    },
    ManagedBy.STATE: {
        _STUDENT: _OUTSIDE,
        _IT: "Decryption of {hosts} happens outside this network; a tunnel the state does not decrypt would avoid it.",
    },
    ManagedBy.UNKNOWN: {
        _STUDENT: NOT_THIS_NETWORK,
        _IT: "Something on this network decrypts {hosts} in the name of a public CA: find it and stop it.",
    },
}
_BY_OUTCOME: Final[dict[str, Text]] = {
    "dns-failure": N_("The name could not be resolved: check the host name and the network connection."),
    "connect-refused": N_("The host refused the connection: check the host and port, and whether the service is up."),
    "connect-timeout": N_("Nothing answered: a firewall may drop this traffic; ask the network's IT to allow it."),
    "unreachable": N_("The network has no route to the host: check the connection."),
    "no-address": N_("The host has no address of this family (IPv4 or IPv6); it may have one of the other family."),
    "proxy-unreachable": N_(
        "The proxy did not answer: check its address, its type (http, https or socks5) and whether it is running."
    ),
    "proxy-auth-required": N_("The proxy requires a user name and password: add them to the proxy URL."),
    "proxy-auth-rejected": N_("The proxy did not accept the user name and password: correct them in the proxy URL."),
    "proxy-auth-unsupported": N_(
        "The proxy requires an authentication scheme that is not supported here ({schemes}): ask "
        "its administrator to allow Basic, or to exempt this host from authentication; for NTLM and Negotiate, run "
        "px-proxy or cntlm on this device, which sign in, and set it as the proxy."
    ),
    "proxy-refused": N_("The proxy refused to connect there: ask its administrator to allow this host."),
    "proxy-redirected": N_(
        "The proxy answered with a page of its own instead of a connection: open a browser, sign in if "
        "asked, and check again; if it is a block page, ask the proxy's administrator to allow this host."
    ),
    "proxy-gateway": N_(
        "The proxy could not reach the host: try again; if it keeps failing, ask its administrator "
        "whether it can resolve and reach this host."
    ),
    "proxy-protocol": N_("The proxy's answer violates its protocol: check that the proxy URL names a proxy."),
    "proxy-other-kind": N_(
        "The proxy speaks a different protocol from the one in its URL: check whether it is http, https or socks5."
    ),
    "proxy-closed": N_(
        "The proxy closed the connection before it answered: check that its type matches its URL and that "
        "it allows this device."
    ),
    "proxy-tls": N_("No TLS connection to the proxy was possible: check whether its URL should begin with http://."),
    "proxy-untrusted": N_(
        "The proxy could not prove its identity, so the user name and password were not sent to it: ask "
        "its administrator which certificate it should have."
    ),
    "proxy-unknown": N_(
        "Which proxy to use could not be determined from the settings of this machine: set the proxy "
        "yourself (--proxy), or install the extra 'pac' to run a PAC file."
    ),
    "no-route": N_("Only the route through a proxy was requested, and no proxy is set for this host: set one."),
    "not-tls": N_("The server that answered does not speak TLS: check the port, or sign in to the network first."),
    "resources": N_("This device ran out of sockets or file descriptors: check fewer endpoints at once."),
}
_NOT_TLS_BEHIND_PROXY: Final = N_(
    "The proxy opened the tunnel and then sent something other than TLS, perhaps a page of its own: open a browser, "
    "sign in if asked, and check again."
)
_PROXY_FILE_UNKNOWN: Final = N_(
    "Which proxy to use could not be determined from the file {file}: set the proxy yourself (--proxy), or install the "
    "extra 'pac' to run a PAC file."
)
_FAILED: Final = N_("The connection failed before anything could be seen: try again.")
_ENGLISH: Final = Messages.of(ENGLISH)

_FAULTS: Final = {
    second_try.Outcome.SIZE: "Something in front of {hosts} cannot take a ClientHello of two TCP segments, which "
    "browsers send (ML-KEM): update it or take it out of the path.",
    second_try.Outcome.SIZE_OR_ADDRESS: "{address} did not answer for {hosts}, and a smaller ClientHello at another "
    "address got through: check that address, and for a device that cannot take a ClientHello of two TCP segments.",
    second_try.Outcome.ADDRESS: "{address} did not answer for {hosts}, another address did: repair the connection to "
    "it.",
}
"""What IT can repair where a second connection got what the first did not, whatever the verdict."""


def advise(  # noqa: PLR0913 - what advice depends on
    decision: Decision,
    facts: Facts,
    hosts: Sequence[str],
    *,
    observation: Observation,
    attribution: Attribution | None,
    remediation: str | None = None,
) -> dict[Audience, str]:
    """Advice by audience on endpoints that share one decision; empty when there is nothing to do.

    Where all is clean, it is for IT alone: a fault that a second connection got around. `remediation` is the product's
    own way to exempt a host, where the catalogue knows it. Where a portal answers, signing in takes precedence over all
    other advice.
    """
    advice: dict[Audience, str] = {}
    named = ", ".join(hosts)
    if decision.verdict is not Verdict.CLEAN and not decision.rule.is_outcome:
        advice = {**_by_rule(decision.rule, attribution, remediation)}
    if (student := _for_student(decision.rule, decision.verdict, facts, observation, attribution)) is not None:
        advice[_STUDENT] = _ENGLISH.say(student.with_fields(hosts=named))
    faults = [_FAULTS[outcome] for outcome in _FAULTS if facts.has(outcome)]
    if faults:
        advice[_IT] = " ".join((*filter(None, [advice.get(_IT)]), *faults))
    others = (one.address for one in observation.earlier if one.address not in {None, observation.address})
    given = {"{hosts}": named, "{address}": next(others, None) or "An address"}
    for placeholder, value in given.items():
        advice = {audience: words.replace(placeholder, value) for audience, words in advice.items()}
    return advice


def for_student(result: Result) -> Sentence | None:
    """Return the advice to the student on a result, whose field `hosts` is open; None where there is nothing to do."""
    rule, facts = RULE_OF[result.reason], Facts(result.findings)
    return _for_student(rule, result.verdict, facts, result.observation, result.attribution)


def _for_student(
    rule: Rule, verdict: Verdict, facts: Facts, observation: Observation, attribution: Attribution | None
) -> Sentence | None:
    if rule.is_outcome:
        return _of_outcome(observation)
    if verdict is Verdict.CLEAN:
        return None
    return Sentence(SIGN_IN_FIRST if facts.portal else Text(_by_rule(rule, attribution, None)[_STUDENT]))


def _by_rule(rule: Rule, attribution: Attribution | None, remediation: str | None) -> Advice:
    if attribution is None:
        return rule.advice or {_STUDENT: ELSEWHERE}
    if rule.advice and not rule.asks_party and attribution.product is None:
        return rule.advice
    advice = {**_BY_MANAGER[attribution.managed_by], **rule.more_advice}
    if remediation is not None and attribution.product is not None:
        advice[_IT] = f"{remediation} Hosts: {{hosts}}"
    return advice


def _of_outcome(observation: Observation) -> Sentence:
    """What to do where no certificate was seen."""
    if observation.outcome is Outcome.NOT_TLS and observation.proxy is not None:
        return Sentence(_NOT_TLS_BEHIND_PROXY)
    if observation.outcome is Outcome.PROXY_UNKNOWN and observation.proxy_file is not None:
        return Sentence(_PROXY_FILE_UNKNOWN, {"file": observation.proxy_file})
    schemes = ", ".join(observation.proxy.auth_schemes) if observation.proxy is not None else ""
    return Sentence(_BY_OUTCOME.get(observation.outcome, _FAILED), {"schemes": schemes or "GSSAPI"})
