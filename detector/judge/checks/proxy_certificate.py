"""Check `proxy-certificate`: whether a proxy that is reached over TLS proves to be the one its URL names.

Room: judge. Pure. Feeds no rule: whatever the proxy is, TLS to the endpoint goes through it and is assessed by itself.
It is reported because what is sent to the proxy, a password for one, is read by the server that answers as the proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence

ID: Final = "proxy-certificate"
QUESTION: Final = "Does the proxy show that it is the one that was named?"


class Outcome(CheckOutcome, check=ID):
    """What the proxy showed."""

    PUBLIC = "public", "The proxy proved the name in its URL with a publicly trusted certificate."
    TRUSTED_HERE = (
        "trusted-here",
        (
            "The proxy proved the name in its URL with a certificate under a root of this machine that is not public, "
            "as institutions' proxies do."
        ),
    )
    NOT_TRUSTED = (
        "not-trusted",
        (
            "No client on this machine would accept the proxy's certificate now. What is sent to it, a password for "
            "one, may be read by something else."
        ),
    )
    WRONG_NAME = (
        "wrong-name",
        "The proxy's certificate is for another name than its URL. What is sent to it may be read by something else.",
    )
    NOT_PROVED = "not-proved", "The proxy did not prove that it holds the key of its certificate."


_TEXT: Final[dict[Outcome, str]] = {
    Outcome.PUBLIC: "presents a certificate that a careful client accepts, under a public root",
    Outcome.TRUSTED_HERE: "presents a certificate under a root of this machine that is not public",
    Outcome.NOT_TRUSTED: "presents a certificate that no client on this machine takes at this time",
    Outcome.WRONG_NAME: "presents a certificate for another name",
    Outcome.NOT_PROVED: "did not prove that it has the key of a certificate",
}


def check(evidence: EndpointEvidence) -> Findings:
    """One finding where the proxy was reached over TLS."""
    proxy, seen = evidence.proxy, evidence.observation.proxy
    if proxy is None or seen is None:
        return
    outcome, leaf = _outcome(proxy), proxy.leaf
    yield outcome.found(
        f"The proxy {seen.url} {_TEXT[outcome]}.",
        proxy=seen.url,
        issuer=leaf.issuer.text if leaf is not None and leaf.issuer is not None else None,
        spki_sha256=leaf.spki_sha256.hex() if leaf is not None and leaf.spki_sha256 is not None else None,
        outcome=proxy.observation.outcome,
    )


def _outcome(proxy: EndpointEvidence) -> Outcome:
    if proxy.leaf is None or not proxy.observation.key_proved:
        return Outcome.NOT_PROVED
    if proxy.name_match is not NameMatch.MATCH:
        return Outcome.WRONG_NAME
    if not proxy.trusted_here:
        return Outcome.NOT_TRUSTED
    return Outcome.PUBLIC if proxy.is_a(ChainClass.ACCEPTED) else Outcome.TRUSTED_HERE
