"""What the reader of a result can do about it, by audience: student, IT, developer of the client or server.

Room: verdict. Pure: words only. The student is never accused and never asked to weaken anything; what only an
administrator can change is told to the administrator, in the product's own words where they are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .model import Audience, Confidence, ManagedBy, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .model import Attribution, Observation
    from .verdict import Decision

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
    "proxy-unreachable": "The proxy did not answer: check its address and whether it is running.",
    "proxy-auth-required": "The proxy wants a user name and password: give them in the proxy URL.",
    "proxy-refused": "The proxy refused to connect there: ask whoever runs it to allow this host.",
    "proxy-protocol": "The proxy did not answer as an HTTP proxy does: check that the proxy URL names one.",
    "not-tls": "What answered does not speak TLS: check the port, or sign in to the network in a browser first.",
    "resources": "This device ran out of sockets or files: check fewer endpoints at once.",
}


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
        said = _BY_OUTCOME.get(observation.outcome, "The connection failed before anything could be seen: try again.")
        return {_STUDENT: said}
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


def _fill(advice: dict[Audience, str], hosts: Sequence[str]) -> dict[Audience, str]:
    listed = ", ".join(hosts)
    return {audience: words.replace("{hosts}", listed) for audience, words in advice.items()}
