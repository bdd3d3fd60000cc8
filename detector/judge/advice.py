"""What the reader of a result can do about it, by audience: student, IT, developer of the client or server.

Room: judge. Pure: words only. The student is never accused and never asked to weaken anything; what only an
administrator can change is told to the administrator, in the product's own words where they are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Audience, ManagedBy, Outcome, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import Attribution, Observation

    from .decision import Decision
    from .facts import Facts

_STUDENT, _IT, _DEVELOPER = Audience.STUDENT, Audience.IT, Audience.DEVELOPER

_ELSEWHERE: Final = "Try again from another network. If only this one differs, tell the network's IT."
_AGAIN: Final = "Try again. If it keeps happening, use another network and tell the exam office."
_UPDATE_PINS: Final = "The pins are probably out of date: update the pin file, then check again."
_UPDATE: Final = "Update the detector and try again: its lists of roots and logs are older than this certificate."
_SIGN_IN: Final = "If this network has a sign-in page, open a browser and sign in, then try again."
SIGN_IN_FIRST: Final = "Open a browser and sign in to this network, then try again."
"""What comes before all other advice where a sign-in page answers."""
_NOT_THE_SERVER: Final = "Do not send exam data here: the server shown is not the one answering. Use another network."
_NOT_THIS_NETWORK: Final = "Do not use this network for the exam: something on it signs in the name of a public CA."

_BY_REASON: Final[dict[Reason, dict[Audience, str]]] = {
    Reason.KEY_NOT_PROVED: {
        _STUDENT: _AGAIN,
        _IT: "Something cuts TLS handshakes to {hosts} short: look for a filter that resets connections.",
    },
    Reason.BUDGET_SPENT: {
        _STUDENT: _AGAIN,
        _IT: "Certificates on this network take far more work to verify than genuine ones.",
    },
    Reason.WITNESS_SILENT: {
        _STUDENT: _AGAIN,
        _IT: "Let requests to /.well-known/tls-witness on {hosts} pass unchanged.",
        _DEVELOPER: "Is the witness of {hosts} running, and does the pin file hold the key it signs with?",
    },
    Reason.CLOCK_WRONG: {_STUDENT: "Set this device's date and time (automatic time is best) and try again."},
    Reason.EXPIRED: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "A certificate of {hosts} has expired or is not valid yet: renew it.",
    },
    Reason.RETIRED: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "The root above {hosts} is no longer trusted: have a certificate issued below a current one.",
    },
    Reason.UNREADABLE: {
        _STUDENT: "Update the detector and try again: it cannot verify this kind of signature.",
        _DEVELOPER: "The certificate of {hosts} is signed in a way that this version cannot verify.",
    },
    Reason.UNREADABLE_PERSISTS: {
        _STUDENT: "Update the detector and try again; if it stays so, try from another network.",
        _DEVELOPER: "The certificate of {hosts} is signed in a way that this version cannot verify.",
    },
    Reason.DECLARED_ROOT_INTERCEPTS: {
        _STUDENT: _ELSEWHERE,
        _IT: "The private root that is declared for {hosts} also signs for other sites on this network.",
        _DEVELOPER: "Pin the key of {hosts}: its declared root signs for other sites too, and cannot confirm it.",
    },
    Reason.DECLARED_NOT_ACCEPTED: {
        _STUDENT: _ELSEWHERE,
        _IT: "The certificate of {hosts} leads to the declared root, but no client would take it: correct its chain.",
    },
    Reason.NAME_NOT_CONFIRMED: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "The certificate of {hosts} must name the host among its alternative names.",
    },
    Reason.SCTS_NOT_CARRIED: {
        _STUDENT: _AGAIN,
        _DEVELOPER: "A pasted chain lacks timestamps from outside the certificate: check {hosts} over the network.",
    },
    Reason.STALE_KNOWLEDGE: {
        _STUDENT: _UPDATE,
        _IT: "Update the detector's lists of roots and logs.",
        _DEVELOPER: _UPDATE,
    },
    Reason.REPLAYED_CHAIN: {
        _STUDENT: _NOT_THE_SERVER,
        _IT: "Something answers for {hosts} with a certificate whose key it does not have: find out what.",
    },
    Reason.WRONG_NAME: {
        _STUDENT: _SIGN_IN,
        _IT: "Clients get a certificate for another name instead of {hosts}: a portal, a block page or wrong DNS.",
    },
    Reason.DEFECTIVE_CHAIN: {
        _STUDENT: _ELSEWHERE,
        _IT: "A CA below a public root signed for {hosts} as no client accepts it: find out which device has it.",
        _DEVELOPER: "No client accepts the chain of {hosts}: correct it.",
    },
    Reason.PUBLIC_UNLOGGED: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "The certificate of {hosts} is in no public log: ask its CA for CT timestamps.",
    },
    Reason.UNFAMILIAR_ROOT: {
        _STUDENT: _ELSEWHERE,
        _IT: "The root above {hosts} is trusted here and not publicly known: find out where it comes from.",
    },
    Reason.FORGED_ISSUER: {
        _STUDENT: _NOT_THIS_NETWORK,
        _IT: "Something on this network signs for {hosts} in the name of a public CA: find it and stop it.",
    },
    Reason.INCOMPLETE_CHAIN: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "The server of {hosts} probably lacks an intermediate certificate: add it to its chain.",
    },
    Reason.FORGOTTEN_BY_EVERYBODY: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "The server of {hosts} probably lacks an intermediate certificate: add it to its chain.",
    },
}
"""What a reason asks for at any confidence."""

_WHILE_POSSIBLE: Final[dict[Reason, dict[Audience, str]]] = {
    Reason.PIN_MISMATCH: {_STUDENT: _ELSEWHERE, _DEVELOPER: _UPDATE_PINS},
    Reason.ADDED_ROOT: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "If {hosts} belongs to a private PKI, declare its root in the pin file (private_roots).",
    },
    Reason.ONE_PRIVATE_SIGNER: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "If {hosts} belong to one private PKI, declare its root in the pin file (private_roots).",
    },
    Reason.PRIVATE_CHAIN: {
        _STUDENT: _ELSEWHERE,
        _DEVELOPER: "If {hosts} belongs to a private PKI, declare its root in the pin file (private_roots).",
    },
}
"""What a reason asks for below `probable`; from there on, the manager of the interceptor is addressed."""

_BY_MANAGER: Final[dict[ManagedBy, dict[Audience, str]]] = {
    ManagedBy.INSTITUTION: {
        _STUDENT: "Only the network's operator can change this: ask its IT to exempt {hosts}.",
        _IT: "Exempt from TLS decryption: {hosts}",
    },
    ManagedBy.ENDPOINT_OWNER: {
        _STUDENT: "Software on this device decrypts traffic: turn off its HTTPS scanning for {hosts}.",
        _IT: "Exempt from HTTPS scanning: {hosts}",
    },
    ManagedBy.DEVELOPER: {
        _STUDENT: "A debugging proxy is in the way: stop it or take it out of the proxy settings.",
        _IT: "A debugging proxy decrypts {hosts}: find where it runs and stop it.",
        _DEVELOPER: "Stop the debugging proxy, or let it pass {hosts} through undecrypted.",
    },
    ManagedBy.ATTACKER: {
        _STUDENT: "The root of this CA is known to be abused: have it removed from the device before any exam.",
        _IT: "Remove the CA from the device's trusted roots and look for the software that installed it.",
    },
    ManagedBy.STATE: {
        _STUDENT: "Traffic is decrypted outside the institution: use another network for the exam.",
        _IT: "Decryption of {hosts} happens outside this network; a tunnel the state does not decrypt would avoid it.",
    },
    ManagedBy.UNKNOWN: {
        _STUDENT: _NOT_THIS_NETWORK,
        _IT: "Something on this network decrypts {hosts} in the name of a public CA: find it and stop it.",
    },
}
_ALSO_BY_REASON: Final[dict[Reason, dict[Audience, str]]] = {
    Reason.WITNESS_DIFFERS: {
        _DEVELOPER: "If a CDN or load balancer of your own ends TLS in front of the witness, pin no witness there."
    },
}
"""Said in addition to what the manager of an interceptor can do."""
_BY_OUTCOME: Final[dict[str, str]] = {
    "dns-failure": "The name could not be resolved: check the spelling and the network connection.",
    "connect-refused": "Nothing answered on that port: check host and port, or whether the service is up.",
    "connect-timeout": "Nothing answered: a firewall may drop this traffic; ask the network's IT to allow it.",
    "unreachable": "The network has no way there: check the connection.",
    "no-address": "The host has no address on this way (IPv4 or IPv6); the other one may have.",
    "proxy-unreachable": "The proxy did not answer: check its address, whether it runs, and of which kind it is.",
    "proxy-auth-required": "The proxy wants a user name and password: give them in the proxy URL.",
    "proxy-auth-rejected": "The proxy did not accept the user name and password: correct them in the proxy URL.",
    "proxy-auth-unsupported": "The proxy wants a kind of sign-in that is not supported here ({schemes}): ask its "
    "administrator to allow Basic, or to let this host pass without sign-in.",
    "proxy-refused": "The proxy refused to connect there: ask its administrator to allow this host.",
    "proxy-protocol": "What the proxy answered makes no sense in its protocol: check that the proxy URL names a proxy.",
    "proxy-other-kind": "The proxy speaks another protocol than its URL says: is it http, https or socks5?",
    "proxy-closed": "The proxy closed the connection before it answered: check that it is of the kind the URL says and "
    "lets this device use it.",
    "proxy-tls": "No TLS connection to the proxy could be made: check whether its URL should begin with http instead.",
    "proxy-untrusted": "The proxy could not prove who it is, so the user name and password were not sent to it: ask "
    "its administrator which certificate it should have.",
    "proxy-unknown": "Which proxy to take could not be made out from {file}: name the proxy yourself "
    "(--proxy), or install the extra 'pac' where a file says it.",
    "no-route": "Only the way through a proxy was asked for, and no proxy is set for this host: name one.",
    "not-tls": "What answered does not speak TLS: check the port, or sign in to the network in a browser first.",
    "resources": "This device ran out of sockets or files: check fewer endpoints at once.",
}
_NOT_TLS_BEHIND_PROXY: Final = (
    "The proxy granted the tunnel and then sent something that is not TLS, perhaps a page of its own: open a browser, "
    "sign in if it asks, and check again."
)


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

    `remediation` is the product's own way to exempt a host, where the catalogue knows it. Where a portal answers, to
    sign in comes before all other advice.
    """
    if decision.verdict is Verdict.CLEAN:
        return {}
    if decision.reason is Reason.NO_CERTIFICATE:
        return {_STUDENT: _of_outcome(observation)}
    advice = _fill(_by_reason(decision, attribution, remediation), hosts)
    if facts.portal:
        advice[_STUDENT] = SIGN_IN_FIRST
    return advice


def advice_of(reason: Reason) -> dict[Audience, str]:
    """The advice on a reason by itself, `{hosts}` standing for the endpoints; empty where it depends on the party."""
    return _BY_REASON.get(reason) or _WHILE_POSSIBLE.get(reason) or {}


def _by_reason(decision: Decision, attribution: Attribution | None, remediation: str | None) -> dict[Audience, str]:
    if attribution is None:
        by_reason = _WHILE_POSSIBLE.get(decision.reason) or _BY_REASON.get(decision.reason)
        return by_reason or {_STUDENT: _ELSEWHERE}
    if (by_reason := _BY_REASON.get(decision.reason)) is not None and attribution.product is None:
        return by_reason
    advice = {**_BY_MANAGER[attribution.managed_by], **_ALSO_BY_REASON.get(decision.reason, {})}
    if remediation is not None:
        advice[_IT] = f"{remediation} Hosts: {{hosts}}"
    return advice


def _of_outcome(observation: Observation) -> str:
    """What to do where nothing was seen."""
    if observation.outcome is Outcome.NOT_TLS and observation.proxy is not None:
        return _NOT_TLS_BEHIND_PROXY
    said = _BY_OUTCOME.get(observation.outcome, "The connection failed before anything could be seen: try again.")
    schemes = ", ".join(observation.proxy.auth_schemes) if observation.proxy is not None else ""
    file = "the settings of this machine" if observation.proxy_file is None else f"the file {observation.proxy_file}"
    return said.replace("{schemes}", schemes or "GSSAPI").replace("{file}", file)


def _fill(advice: dict[Audience, str], hosts: Sequence[str]) -> dict[Audience, str]:
    listed = ", ".join(hosts)
    return {audience: words.replace("{hosts}", listed) for audience, words in advice.items()}
