"""Check `private-origin`: which innocent kinds of server present such a chain.

Room: judge. Pure. Feeds the alternatives of `private-chain`: evidence for an innocent reading, stated as plainly as
evidence against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.trust import hostname
from detector.trust.classes import ChainClass, Stores, classify
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence
    from detector.knowledge.known_roots import KnownRoots
    from detector.trust.paths import Paths

ID: Final = "private-origin"
QUESTION: Final = "Could it be a server with a certificate of its own making?"

BEHIND_MAX: Final = 8
"""Presented certificates behind the leaf that are examined: a genuine chain has two to five."""


class Outcome(CheckOutcome, check=ID):
    """What kind of server this may be; `behind` where the host's genuine chain stands behind the private leaf."""

    TOWARDS_PUBLIC_ROOT = (
        "towards-public-root",
        (
            "The top of the chain names a public root as its issuer: an intermediate certificate may only be missing, "
            "or the root is newer than the list."
        ),
    )
    SELF_SIGNED = "self-signed", "The server signed its certificate itself, as small servers and appliances do."
    ISSUER_ABSENT = (
        "issuer-absent",
        (
            "The server sent its own certificate alone. Servers that forget the intermediate do that, and so do most "
            "interceptors."
        ),
    )
    PRIVATE_CA = (
        "private-ca",
        "A private CA signed the certificate. Some institutions run one for servers of their own.",
    )
    GENUINE_CHAIN_BEHIND = (
        "genuine-chain-behind",
        (
            "A publicly trusted certificate for this host was sent behind the private one that was used. The sender "
            "has the genuine one and used another, as some interceptors do."
        ),
    )


def check(evidence: EndpointEvidence) -> Findings:
    """One finding for a private chain, or one to an added root, and whether a genuine chain is sent behind it."""
    leaf, paths = evidence.leaf, evidence.paths
    if leaf is None or paths is None or not evidence.is_a(ChainClass.PRIVATE, ChainClass.ADDED):
        return
    if label := _named_root(paths, evidence.context.data.known_roots):
        outcome, summary = Outcome.TOWARDS_PUBLIC_ROOT, f"The chain names {label}, a public root, as its next issuer."
    elif leaf.is_self_issued:
        outcome, summary = Outcome.SELF_SIGNED, "The certificate is self-signed, as those of small servers are."
    elif not paths.issuer_known:
        outcome, summary = Outcome.ISSUER_ABSENT, "The issuer's certificate was not presented."
    else:
        outcome, summary = Outcome.PRIVATE_CA, "A private CA signed the certificate, as some institutions run."
    yield outcome.found(summary, Meaning.EXPLAINS)
    if _genuine_behind(evidence):
        summary = "A publicly trusted certificate for this host stands behind the private one that the peer used."
        yield Outcome.GENUINE_CHAIN_BEHIND.found(summary, Meaning.INTERCEPTED)


def _named_root(paths: Paths, known: KnownRoots) -> str | None:
    """The label of a root, public now or once, that the top of some verified path names as its issuer."""
    tops = [path.certificates[-1] for path in paths.paths if len(path.certificates) > 1]
    subjects = {root.subject: root.label for root in known.roots} if tops else {}
    return next((label for top in tops if top.issuer and (label := subjects.get(top.issuer.text))), None)


def _genuine_behind(evidence: EndpointEvidence) -> bool:
    """Whether a certificate for this host, behind certificate 0, would be accepted by itself."""
    presented, context = evidence.presented, evidence.context
    for place in range(1, min(len(presented), BEHIND_MAX)):
        behind = presented[place]
        if behind.is_ca is not True and hostname.match(behind, evidence.endpoint.host) is NameMatch.MATCH:
            found = classify(
                presented[place:],
                Stores(context.roots, revoked=context.data.revocations),
                context.at,
                budget=context.budget,
            )
            if found.is_a(ChainClass.ACCEPTED):
                return True
    return False
