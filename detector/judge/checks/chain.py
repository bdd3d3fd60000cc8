"""Check `chain`: which of the nine classes is the presented chain, and why is its path not taken?

Room: judge. Pure. The classes are `detector.trust.classes`'s. Feeds most rules of the decision table.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from detector.model import Finding, Meaning
from detector.trust.acceptance import DATE_REFUSALS, explain
from detector.trust.classes import ChainClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence
    from detector.trust.classes import Classified
    from detector.trust.paths import Path

ID: Final = "chain"


class Outcome(enum.StrEnum):
    """The class, and what keeps the path that decides from being taken."""

    ACCEPTED = ChainClass.ACCEPTED.value
    DECLARED = ChainClass.DECLARED.value
    RETIRED = ChainClass.RETIRED.value
    DEFECTIVE = ChainClass.DEFECTIVE.value
    ADDED = ChainClass.ADDED.value
    UNFAMILIAR = ChainClass.UNFAMILIAR.value
    UNREADABLE = ChainClass.UNREADABLE.value
    INCOMPLETE = ChainClass.INCOMPLETE.value
    PRIVATE = ChainClass.PRIVATE.value
    DATES_FORBID = "dates-forbid"
    NOT_TAKEN = "not-taken"
    EXCEEDED = "exceeded"
    POSTPONED = "postponed"
    STALE_ROOTS = "stale-roots"


_SUMMARY: Final[dict[ChainClass, tuple[Meaning, str]]] = {
    ChainClass.ACCEPTED: (Meaning.GENUINE, "A careful TLS client takes the path to the public root {roots}."),
    ChainClass.DECLARED: (Meaning.NEUTRAL, "The chain leads to a private root declared for this endpoint: {roots}."),
    ChainClass.RETIRED: (Meaning.EXPLAINS, "The chain leads to {roots}, which only a date keeps from being taken."),
    ChainClass.DEFECTIVE: (Meaning.INTERCEPTED, "The chain leads to the public root {roots}, but no client takes it."),
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
    ChainClass.PRIVATE: (Meaning.INTERCEPTED, "The chain leads to no root that is known here."),
}


def check(evidence: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """One finding for each class; then what forbids the path, and what was not finished."""
    chain = evidence.chain
    if chain is None:
        return
    for kind in ChainClass:
        if kind in chain.classes:
            yield _of_class(kind, chain, evidence)
    if chain.refused and chain.refused_path is not None:
        dates = all(refused.refusal in DATE_REFUSALS for refused in chain.refused)
        yield Finding(
            check=ID,
            outcome=Outcome.DATES_FORBID if dates else Outcome.NOT_TAKEN,
            says=Meaning.NEUTRAL,
            summary=" ".join(explain(refused, chain.refused_path) for refused in chain.refused[:_REASONS_SHOWN]),
            data={"refusals": [{"reason": r.refusal, "depth": r.depth} for r in chain.refused]},
        )
    if chain.paths.exceeded:
        summary = "The chain asks for more work than any genuine one; the search for its signers was cut short."
        yield Finding(check=ID, outcome=Outcome.EXCEEDED, says=Meaning.NEUTRAL, summary=summary)
    if chain.paths.postponed:
        summary = "The processor time of this run was spent before the chain could be verified."
        yield Finding(check=ID, outcome=Outcome.POSTPONED, says=Meaning.NEUTRAL, summary=summary)
    if evidence.stale_roots:
        summary = (
            f"The list of roots is of {evidence.context.roots.date}, the certificate much younger and publicly logged: "
            "its root may be one that the list cannot know yet."
        )
        yield Finding(check=ID, outcome=Outcome.STALE_ROOTS, says=Meaning.EXPLAINS, summary=summary)


_REASONS_SHOWN: Final = 4
"""Refusals told in the sentence; the data has them all."""


def _of_class(kind: ChainClass, chain: Classified, evidence: EndpointEvidence) -> Finding:
    says, summary = _SUMMARY[kind]
    paths = _paths(kind, chain)
    labels = sorted({path.anchor.label for path in paths if path.anchor is not None})
    data: dict[str, Any] = {"roots": labels, "paths": [[c.sha256.hex() for c in p.certificates] for p in paths]}
    leaf = evidence.leaf
    if kind is not ChainClass.ACCEPTED and leaf is not None:
        data["issuer"] = leaf.issuer.text if leaf.issuer else None
        data["issuing_keys"] = sorted(key.hex() for key in evidence.issuing_keys)
    return Finding(
        check=ID, outcome=Outcome(kind.value), says=says, summary=summary.format(roots=", ".join(labels)), data=data
    )


def _paths(kind: ChainClass, chain: Classified) -> Sequence[Path]:
    """The paths that a class rests on."""
    retired = chain.retired or chain.public
    return {
        ChainClass.ACCEPTED: chain.accepted,
        ChainClass.DECLARED: chain.declared,
        ChainClass.RETIRED: retired,
        ChainClass.DEFECTIVE: chain.public,
        ChainClass.ADDED: chain.machine,
        ChainClass.UNFAMILIAR: chain.machine,
    }.get(kind, ())
