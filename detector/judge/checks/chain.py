"""Check `chain`: the class of the presented chain, and why its path is not accepted.

Room: judge. Pure. The nine classes are `detector.trust.classes`'s. Feeds most rules of the decision table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.judge.outcome import CheckOutcome, Findings
from detector.model import Meaning
from detector.trust.acceptance import DATE_REFUSALS, explain
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Finding
    from detector.trust.classes import Classified
    from detector.trust.paths import Path

ID: Final = "chain"
QUESTION: Final = "Would a careful client accept the chain, and if not, where does it lead?"


class Outcome(CheckOutcome, check=ID):
    """The class, and what keeps the deciding path from being accepted."""

    ACCEPTED = (
        ChainClass.ACCEPTED.value,
        (
            "A TLS client that follows today's rules would accept the path to a public root. An interceptor cannot "
            "get there without the help, or the failure, of a public CA."
        ),
    )
    DECLARED = (
        ChainClass.DECLARED.value,
        (
            "The chain leads to a private root that the pin file declares for this endpoint. That is what is expected "
            "of it."
        ),
    )
    RETIRED = (
        ChainClass.RETIRED.value,
        (
            "The chain leads to a root that is or was public, and only a date forbids it: the root left the public "
            "lists, or a certificate has expired. Operators forget to renew."
        ),
    )
    DEFECTIVE = (
        ChainClass.DEFECTIVE.value,
        (
            "Signatures lead to a public root, but no client would accept the path for another reason than dates, for "
            "example because a certificate on it may not issue others. A misconfigured server shows this; so does "
            "the abuse of a certificate that was never meant to sign."
        ),
    )
    ADDED = (
        ChainClass.ADDED.value,
        (
            "The chain leads to a root that a person, a program or a policy put on this machine. Interception "
            "products work that way. So do private servers of an institution and development certificates."
        ),
    )
    UNFAMILIAR = (
        ChainClass.UNFAMILIAR.value,
        (
            "The chain leads to a root that this machine trusts, and that is not known here as public. It may be a "
            "young public root, or one that was added unseen."
        ),
    )
    UNREADABLE = (
        ChainClass.UNREADABLE.value,
        (
            "The chain is signed with an algorithm or parameters that cannot be verified here. It may be genuine and "
            "newer than this version."
        ),
    )
    INCOMPLETE = (
        ChainClass.INCOMPLETE.value,
        (
            "The certificate of the issuer is missing, and the server's own carries timestamps of known logs. Many "
            "genuine servers forget to send an intermediate certificate; interceptors leave out timestamps."
        ),
    )
    PRIVATE = (
        ChainClass.PRIVATE.value,
        (
            "No signature leads from the server's certificate to a known root. An interceptor without a root on this "
            "machine shows this, and so does a server with a private CA or a self-signed certificate."
        ),
    )
    DATES_FORBID = (
        "dates-forbid",
        (
            "Only a date keeps a client from accepting the path: a certificate has expired or is not valid yet, or "
            "this machine's clock is wrong."
        ),
    )
    NOT_TAKEN = (
        "not-taken",
        "The path breaks a rule that clients enforce; the finding names the rule and the certificate.",
    )
    EXCEEDED = (
        "exceeded",
        (
            "The chain asks for more work than any genuine one, and the search for its signers was cut short. It "
            "cannot clear, and accuses at most as probable."
        ),
    )
    POSTPONED = (
        "postponed",
        (
            "Other chains used up the processor time of this run before this one could be verified. It says nothing "
            "of this endpoint."
        ),
    )
    STALE_ROOTS = (
        "stale-roots",
        (
            "The list of public roots is much older than this certificate, which is publicly logged. Its root may be "
            "a public one that the list cannot know: update the detector."
        ),
    )
    ISSUER_NOT_REPORTED = (
        "issuer-not-reported",
        (
            "The browser reported the server's certificate without its issuer, which is not known here. Whether it "
            "leads to a public root is not known."
        ),
    )


UNNAMED: Final[Mapping[CheckOutcome, str]] = {
    Outcome.ADDED: "The chain leads to a root that was added to this machine.",
    Outcome.UNFAMILIAR: "The chain leads to a root that is trusted here and not known as public.",
    Outcome.DECLARED: "The chain leads to a private root that is declared for this endpoint.",
}
_SUMMARY: Final[dict[ChainClass, tuple[Meaning, str]]] = {
    ChainClass.ACCEPTED: (Meaning.GENUINE, "A careful TLS client accepts the path to the public root {roots}."),
    ChainClass.DECLARED: (Meaning.NEUTRAL, "The chain leads to a private root declared for this endpoint: {roots}."),
    ChainClass.RETIRED: (Meaning.EXPLAINS, "The chain leads to {roots}, which only a date keeps from being taken."),
    ChainClass.DEFECTIVE: (
        Meaning.INTERCEPTED,
        "The chain leads to the public root {roots}, but no client accepts it.",
    ),
    ChainClass.ADDED: (Meaning.INTERCEPTED, "The chain leads to {roots}, a root that was added to this machine."),
    ChainClass.UNFAMILIAR: (
        Meaning.NEUTRAL,
        "The chain leads to {roots}, which this machine trusts and which is not known here as a public root.",
    ),
    ChainClass.UNREADABLE: (Meaning.NEUTRAL, "The chain is signed in a way that cannot be verified here."),
    ChainClass.INCOMPLETE: (
        Meaning.EXPLAINS,
        "The issuer's certificate was not presented, and the leaf carries timestamps of known logs.",
    ),
    ChainClass.PRIVATE: (Meaning.INTERCEPTED, "The chain does not lead to a known root."),
}
_ISSUER_NOT_REPORTED: Final = (
    "The browser reported the leaf alone; its issuer is not known here, and it carries timestamps of known logs."
)
_REFUSALS_SHOWN: Final = 4
"""Refusals listed in the sentence; the data has them all."""


def check(evidence: EndpointEvidence) -> Findings:
    """One finding for each class; then what forbids the path, and what was not finished."""
    chain = evidence.chain
    if chain is None:
        return
    for kind in ChainClass:
        if kind in chain.classes:
            yield _of_class(kind, chain, evidence)
    if chain.refused and chain.refused_path is not None:
        dates = all(refused.refusal in DATE_REFUSALS for refused in chain.refused)
        outcome = Outcome.DATES_FORBID if dates else Outcome.NOT_TAKEN
        yield outcome.found(
            " ".join(explain(refused, chain.refused_path) for refused in chain.refused[:_REFUSALS_SHOWN]),
            refusals=[{"reason": r.refusal, "depth": r.depth} for r in chain.refused],
        )
    if chain.paths.exceeded:
        yield Outcome.EXCEEDED.found(
            "The chain asks for more work than any genuine one; the search for its signers was cut short."
        )
    if chain.paths.postponed:
        yield Outcome.POSTPONED.found("The processor time of this run was spent before the chain could be verified.")
    if evidence.stale_roots:
        summary = (
            f"The list of roots is of {evidence.context.roots.date}, the certificate much younger and publicly logged: "
            "its root may be one that the list cannot know yet."
        )
        yield Outcome.STALE_ROOTS.found(summary, Meaning.EXPLAINS)


def _of_class(kind: ChainClass, chain: Classified, evidence: EndpointEvidence) -> Finding:
    says, summary = _SUMMARY[kind]
    paths, leaf = _paths(kind, chain), evidence.leaf
    labels = sorted({path.anchor.label for path in paths if path.anchor is not None})
    data: dict[str, Any] = {"roots": labels, "paths": [[c.sha256.hex() for c in p.certificates] for p in paths]}
    if kind is not ChainClass.ACCEPTED and leaf is not None:
        data["issuer"] = leaf.issuer.text if leaf.issuer else None
        data["issuing_keys"] = sorted(key.hex() for key in evidence.issuing_keys)
    if evidence.issuer_not_reported:
        return Outcome.ISSUER_NOT_REPORTED.found(_ISSUER_NOT_REPORTED, **data)
    return Outcome(kind.value).found(summary.format(roots=", ".join(labels)), says, **data)


def _paths(kind: ChainClass, chain: Classified) -> Sequence[Path]:
    """The paths that a class rests on."""
    match kind:
        case ChainClass.ACCEPTED:
            return chain.accepted
        case ChainClass.DECLARED:
            return chain.declared
        case ChainClass.RETIRED:
            return chain.retired or chain.public
        case ChainClass.DEFECTIVE:
            return chain.public
        case ChainClass.ADDED | ChainClass.UNFAMILIAR:
            return chain.machine
    return ()
