"""What the reader of a result can do about it: one or two sentences by decision, never blaming the student.

Room: verdict. Pure: words only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .model import Confidence, ManagedBy, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .model import Attribution, Endpoint, Observation
    from .verdict import Decision

_BY_REASON: Final[dict[str, str]] = {
    "key-not-proved": "Check again; if it stays so, use another network for the exam and report this one.",
    "clock-skew": "Set this machine's date and time (automatic time is best) and check again.",
    "replayed-chain": "Do not send exam data here: the server shown is not the one answering. Use another network.",
    "wrong-name": "If this network has a sign-in page, open a browser, sign in, and check again.",
    "logged-pin-mismatch": "The pins are probably out of date: update the pin file, then check again.",
    "publicly-trusted-pin-mismatch": "The pins are probably out of date: update the pin file, then check again.",
    "issuer-missing": "The server probably forgot an intermediate certificate: its operator can add it.",
    "private-chain": (
        "If this server belongs to a private PKI, declare its root in the pin file (private_roots); otherwise treat "
        "the network as decrypting."
    ),
}
_BY_MANAGER: Final[dict[ManagedBy, str]] = {
    ManagedBy.INSTITUTION: "Only whoever runs the network can change this: ask its IT to exempt {host}.",
    ManagedBy.ENDPOINT_OWNER: "Software on this device decrypts traffic: turn off its HTTPS scanning for {host}.",
    ManagedBy.DEVELOPER: "A debugging proxy is in the way: stop it or take it out of the proxy settings.",
    ManagedBy.ATTACKER: "The root of this CA is known to be abused: have it removed from the device before any exam.",
    ManagedBy.STATE: "Traffic is decrypted outside the institution: use another network for the exam.",
}
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
    "resources": "This machine ran out of sockets or files: check fewer endpoints at once.",
}


def exempt(manager: ManagedBy, hosts: Sequence[str]) -> str:
    """Who can stop the decryption of these hosts, and how."""
    return _BY_MANAGER[manager].format(host=", ".join(hosts))


def advise(decision: Decision, endpoint: Endpoint, observation: Observation, attribution: Attribution | None) -> str:
    """Advice on one endpoint; empty when there is nothing to do."""
    if decision.verdict is Verdict.CLEAN:
        return ""
    if decision.reason == "no-certificate":
        return _BY_OUTCOME.get(observation.outcome, "The connection failed before anything could be seen: try again.")
    if (said := _BY_REASON.get(decision.reason)) is not None:
        return said
    if attribution is not None and decision.confidence is not Confidence.POSSIBLE:
        return exempt(attribution.managed_by, [endpoint.host])
    return "Check again from another network; if only this one differs, report it to the institution that runs it."
