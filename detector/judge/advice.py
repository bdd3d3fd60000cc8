"""What the reader of a result can do about it, by audience: student, IT, developer of the client or server.

Room: verdict. Pure: words only. The student is never accused and never asked to weaken anything; what only an
administrator can change is told to the administrator, in the product's own words where they are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Audience, Confidence, ManagedBy, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import Attribution, Observation

    from .table import Decision

_STUDENT, _IT, _DEVELOPER = Audience.STUDENT, Audience.IT, Audience.DEVELOPER

_AGAIN_ELSEWHERE: Final = "Check again from another network; if only this one differs, tell whoever runs it."
_SIGN_IN: Final = "This network seems to have a sign-in page: open a browser, sign in, and check again."
_UPDATE_PINS: Final = "The pins are probably out of date: update the pin file, then check again."

_BY_REASON: Final[dict[str, dict[Audience, str]]] = {
    "key-not-proved": {
        _STUDENT: "Check again; if it stays so, use another network for the exam and tell the exam office.",
        _IT: "Something cuts TLS handshakes to {hosts} short: look for a filter that resets connections.",
    },
    "witness-failed": {
        _STUDENT: "Check again; if it stays so, use another network for the exam and tell the exam office.",
        _IT: "Let requests to /.well-known/tls-witness on {hosts} pass unchanged.",
        _DEVELOPER: "Is the witness of {hosts} running, and does the pin file hold the key it signs with?",
    },
    "clock-skew": {_STUDENT: "Set this device's date and time (automatic time is best) and check again."},
    "replayed-chain": {
        _STUDENT: "Do not send exam data here: the server shown is not the one answering. Use another network.",
        _IT: "Somebody answers for {hosts} with a certificate whose key they do not have: find out who.",
    },
    "wrong-name": {
        _STUDENT: "If this network has a sign-in page, open a browser, sign in, and check again.",
        _IT: "Clients get a certificate for another name instead of {hosts}: a portal, a block page or wrong DNS.",
    },
    "logged-pin-mismatch": {_STUDENT: _AGAIN_ELSEWHERE, _DEVELOPER: _UPDATE_PINS},
    "declared-private-root-pin-mismatch": {
        _STUDENT: _AGAIN_ELSEWHERE,
        _IT: "The institution's own CA signed for {hosts} with a key that is not pinned: find out which server has it.",
        _DEVELOPER: _UPDATE_PINS,
    },
    "publicly-trusted-pin-mismatch": {_STUDENT: _AGAIN_ELSEWHERE, _DEVELOPER: _UPDATE_PINS},
    "public-but-unlogged": {
        _STUDENT: _AGAIN_ELSEWHERE,
        _DEVELOPER: "The certificate carries no CT timestamps: ask its CA to embed them.",
    },
    "genuine-to-another-hello": {
        _STUDENT: "Do not send exam data here: what looks like a browser gets another server than other programs do.",
        _IT: "Connections to {hosts} are decrypted or not by how their ClientHello looks: exempt these hosts.",
        _DEVELOPER: "Does one of several servers of {hosts} still present a private certificate?",
    },
    "issuer-missing": {
        _STUDENT: _AGAIN_ELSEWHERE,
        _DEVELOPER: "The server of {hosts} probably forgot an intermediate certificate: add it to its chain.",
    },
    "private-chain": {
        _STUDENT: _AGAIN_ELSEWHERE,
        _DEVELOPER: "If {hosts} belongs to a private PKI, declare its root in the pin file (private_roots).",
    },
}
_BY_MANAGER: Final[dict[ManagedBy, dict[Audience, str]]] = {
    ManagedBy.INSTITUTION: {
        _STUDENT: "Only whoever runs the network can change this: ask its IT to exempt {hosts}.",
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
}
_ALSO_BY_REASON: Final[dict[str, dict[Audience, str]]] = {
    "witness-differs": {
        _DEVELOPER: "If a CDN or load balancer of your own ends TLS in front of the witness, pin no witness there."
    },
}
"""Said besides what the manager of an interceptor makes us say."""
_BY_OUTCOME: Final[dict[str, str]] = {
    "dns-failure": "The name could not be resolved: check the spelling and the network connection.",
    "connect-refused": "Nothing answered on that port: check host and port, or whether the service is up.",
    "connect-timeout": "Nothing answered: a firewall may drop this traffic; ask the network's IT to allow it.",
    "unreachable": "The network has no way there: check the connection.",
    "no-address": "The host has no address on this way (IPv4 or IPv6); the other one may have.",
    "proxy-unreachable": "The proxy did not answer: check its address, whether it runs, and of which kind it is.",
    "proxy-auth-required": "The proxy wants a user name and password: give them in the proxy URL.",
    "proxy-auth-rejected": "The proxy did not accept the user name and password: correct them in the proxy URL.",
    "proxy-auth-unsupported": "The proxy wants a kind of sign-in that is not supported here ({schemes}): ask whoever "
    "runs it to allow Basic, or to let this host pass without sign-in.",
    "proxy-refused": "The proxy refused to connect there: ask whoever runs it to allow this host.",
    "proxy-protocol": "What the proxy answered makes no sense in its protocol: check that the proxy URL names a proxy.",
    "proxy-other-kind": "The proxy speaks another protocol than its URL says: is it http, https or socks5?",
    "proxy-closed": "The proxy closed the connection before it answered: check that it is of the kind the URL says and "
    "lets this device use it.",
    "proxy-tls": "No TLS connection to the proxy could be made: check whether its URL should begin with http instead.",
    "proxy-untrusted": "The proxy could not prove who it is, so the user name and password were not sent to it: ask "
    "whoever runs it which certificate it should have.",
    "proxy-unknown": "Which proxy to take stands in the file {file}, which was not evaluated or did not say: name the "
    "proxy yourself, or install the extra 'pac'.",
    "no-route": "Only the way through a proxy was asked for, and no proxy is set for this host: name one.",
    "not-tls": "What answered does not speak TLS: check the port, or sign in to the network in a browser first.",
    "resources": "This device ran out of sockets or files: check fewer endpoints at once.",
}
_NOT_TLS_BEHIND_PROXY: Final = (
    "The proxy granted the tunnel and then sent something that is not TLS, perhaps a page of its own: open a browser, "
    "sign in if it asks, and check again."
)


def advise(
    decision: Decision,
    hosts: Sequence[str],
    observation: Observation,
    attribution: Attribution | None,
    remediation: str | None = None,
) -> dict[Audience, str]:
    """Advice by audience on endpoints that share one decision; empty when there is nothing to do.

    `remediation` is the product's own way to exempt a host, where the catalogue knows it.
    """
    if decision.verdict is Verdict.CLEAN:
        return {}
    if decision.reason == "no-certificate":
        return {_STUDENT: _of_outcome(observation)}
    if attribution is not None and attribution.category == "captive-portal":
        return _fill({_STUDENT: _SIGN_IN, _IT: "Let {hosts} pass before sign-in, or leave its TLS alone."}, hosts)
    if (by_reason := _BY_REASON.get(decision.reason)) is not None:
        return _fill(by_reason, hosts)
    if attribution is not None and decision.confidence is not Confidence.POSSIBLE:
        advice = {**_BY_MANAGER[attribution.managed_by], **_ALSO_BY_REASON.get(decision.reason, {})}
        if remediation is not None:
            advice[_IT] = f"{remediation} Hosts: {{hosts}}"
        return _fill(advice, hosts)
    return {_STUDENT: _AGAIN_ELSEWHERE}


def _of_outcome(observation: Observation) -> str:
    """What to do where nothing was seen."""
    if observation.outcome is Outcome.NOT_TLS and observation.proxy is not None:
        return _NOT_TLS_BEHIND_PROXY
    said = _BY_OUTCOME.get(observation.outcome, "The connection failed before anything could be seen: try again.")
    schemes = ", ".join(observation.proxy.auth_schemes) if observation.proxy is not None else ""
    return said.replace("{schemes}", schemes or "GSSAPI").replace("{file}", observation.proxy_file or "it names")


def _fill(advice: dict[Audience, str], hosts: Sequence[str]) -> dict[Audience, str]:
    listed = ", ".join(hosts)
    return {audience: words.replace("{hosts}", listed) for audience, words in advice.items()}
