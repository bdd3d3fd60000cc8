"""The decision table: from the findings on one observation to a verdict, as data. Everything that weighs is here.

Room: judge. Pure: findings in, a decision out. No certificate, socket or clock is looked at. docs/decisions.md is
generated from this file.

Theory of operation
===================
1. What settles an observation, whatever else was found: a witness, or the leaf's own pinned key.
2. All rules that accuse are read, and the gravest of those that fit decides; between equals, the first.
3. What clears, where nothing accuses: only what a careful client would accept, and only with the key proved.
4. Else the observation is inconclusive, with the first reason that fits.

Accusing before clearing is the point: nothing that an accused chain carries can buy it a milder reading.

A rule that accuses has grades, read from the top: the first whose condition holds says how sure it is. `BY_COMPANY`
stands for `probable` where a canary of the same route came out as middleware and this endpoint's name and address are
public, and for `possible` otherwise. Three things cap a grade at `probable`: a key that was not proved, a chain that
exceeded what is read, and a stale list of roots.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import Alternative, Assurance, Confidence, Reason, Verdict

from .checks import chain, forged_issuer, identity, known_interceptor, neighbours, pin, shared_signer, transparency
from .decision import Decision
from .facts import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from detector.model import Finding

C = chain.Outcome
I = identity.Outcome  # noqa: E741 - short names keep a table readable
N = neighbours.Outcome
P = pin.Outcome
S = shared_signer.Outcome
T = transparency.Outcome
K = known_interceptor.Outcome


class Stage(enum.Enum):
    """When a rule is read."""

    SETTLES = "settles"
    ACCUSES = "accuses"
    CLEARS = "clears"
    ELSE = "else"


class ByCompany(enum.Enum):
    """`probable` with company, `possible` alone."""

    BY_COMPANY = "by company"


BY_COMPANY: Final = ByCompany.BY_COMPANY


class Grade(NamedTuple):
    """How sure a rule is, under which condition; `when` says it in words, and is empty where there is no condition."""

    confidence: Confidence | ByCompany
    when: str = ""
    holds: Callable[[Facts], bool] = lambda _: True


class Rule(NamedTuple):
    """One rule, named by its reason.

    `needs` says in words what `holds` asks. `why` is one sentence for the reader of a result. An accusing rule needs a
    right name unless `any_name`; `capped` says that what was not proved caps its grade, `rests_on_roots` that a stale
    list of roots does. `alternatives` are the innocent or different explanations that fit.
    """

    reason: Reason
    stage: Stage
    needs: str
    holds: Callable[[Facts], bool]
    why: str
    grades: tuple[Grade, ...] = ()
    assurance: Assurance | None = None
    alternatives: Callable[[Facts], tuple[Alternative, ...]] = lambda _: ()
    any_name: bool = False
    capped: bool = True
    rests_on_roots: bool = False


_POSSIBLE, _PROBABLE, _PROVEN = Confidence.POSSIBLE, Confidence.PROBABLE, Confidence.PROVEN
_A = Alternative


def _always(*alternatives: Alternative) -> Callable[[Facts], tuple[Alternative, ...]]:
    return lambda _: alternatives


def _private_alternatives(facts: Facts) -> tuple[Alternative, ...]:
    """The innocent kinds of server that present a private chain."""
    origins: list[Alternative] = []
    if facts.self_signed:
        origins.append(_A.SELF_SIGNED_ORIGIN)
    if not facts.self_signed or not origins:
        origins.append(_A.PRIVATE_PKI)
    if facts.split_horizon:
        origins += [_A.SPLIT_HORIZON, _A.WRONG_SERVER]
    return tuple(origins)


def _chain_alternatives(facts: Facts) -> tuple[Alternative, ...]:
    origins = _private_alternatives(facts)
    return (*origins, _A.STALE_ROOTS, _A.INCOMPLETE_CHAIN) if not facts.self_signed else origins


def _pin_alternatives(facts: Facts) -> tuple[Alternative, ...]:
    if facts.has(C.ACCEPTED):
        return (_A.PIN_ROTATION, _A.PUBLIC_CA_MISISSUANCE)
    return (_A.PIN_ROTATION, *(_private_alternatives(facts) if facts.private_or_added else ()))


def _company_grade(facts: Facts) -> Confidence:
    return _PROBABLE if facts.company else _POSSIBLE


SETTLING: Final = (
    Rule(
        Reason.WITNESSED,
        Stage.SETTLES,
        "the witness signed our exporter",
        lambda f: f.witness_equal,
        "A witness at the endpoint is the other end of this very TLS session.",
        assurance=Assurance.WITNESSED,
    ),
    Rule(
        Reason.PINNED,
        Stage.SETTLES,
        "the key is proved; the leaf's own key is pinned for this endpoint alone or for one operator, and is no key of "
        "the catalogue; no witness signed another exporter",
        lambda f: f.key_proved and f.has(P.LEAF) and not f.witness_differs,
        "The server proved that it has the key that is pinned for this endpoint.",
        assurance=Assurance.PINNED,
    ),
)

ACCUSING: Final = (
    Rule(
        Reason.WITNESS_DIFFERS,
        Stage.ACCUSES,
        "the witness signed another exporter than ours",
        lambda f: f.witness_differs,
        "The witness is at the end of another TLS session than this machine: something in between has both.",
        grades=(
            Grade(
                _PROBABLE,
                "the chain is accepted and logged or the leaf's key is pinned, unless the pin file records that the "
                "witness ends TLS itself",
                lambda f: f.front_of_the_operator,
            ),
            Grade(_PROVEN),
        ),
        alternatives=lambda f: (_A.FRONT_OF_THE_OPERATOR,) if f.front_of_the_operator else (),
        any_name=True,
        capped=False,
    ),
    Rule(
        Reason.IDENTITY_SUBSTITUTED,
        Stage.ACCUSES,
        "the chain is private or added, and the endpoint's identity is public; silent for a private chain that a stale "
        "list of roots may not know",
        lambda f: f.private_or_added and f.public_identity and not f.stale,
        "This endpoint's genuine certificate leads to a public root, and another one was presented for its name.",
        grades=(
            Grade(_PROVEN, "the identity is stated", lambda f: f.stated),
            Grade(
                _PROVEN,
                "the identity is pinned-public, or seen in this run, and the address is public, the caller's own, or "
                "the same that was seen, or a canary is substituted too",
                lambda f: f.seen_or_pinned_for_certain,
            ),
            Grade(_PROBABLE, "the identity is pinned-public", lambda f: f.has(I.PINNED_PUBLIC)),
            Grade(BY_COMPANY, "the identity was seen otherwise: at a private address, or in a history alone"),
        ),
        alternatives=lambda f: () if f.stated or f.seen_or_pinned_for_certain else (_A.SPLIT_HORIZON, _A.PRIVATE_PKI),
        rests_on_roots=True,
    ),
    Rule(
        Reason.RIVALS_SHARE_A_SIGNER,
        Stage.ACCUSES,
        "one issuing key that is no public CA's, or one leaf key, serves two canaries whose operators run CAs of "
        "their own",
        lambda f: f.has(S.RIVALS),
        "One key serves operators that each run a public CA of their own; no server of theirs would.",
        grades=(Grade(_PROVEN),),
    ),
    Rule(
        Reason.SIGNER_SUBSTITUTES_ELSEWHERE,
        Stage.ACCUSES,
        "another endpoint of this route is substituted beyond doubt, by the same issuing or leaf key or below the same "
        "added root; never said of a chain that is accepted, declared, retired or unreadable",
        lambda f: (
            f.has(N.SIGNER_SUBSTITUTES, N.ROOT_SUBSTITUTES)
            and f.has(C.PRIVATE, C.ADDED, C.DEFECTIVE, C.UNFAMILIAR, C.INCOMPLETE)
            and not f.stale
        ),
        "What signed here takes the place of genuine certificates on another endpoint of this network.",
        grades=(
            Grade(_PROVEN, "the same issuing or leaf key", lambda f: f.has(N.SIGNER_SUBSTITUTES)),
            Grade(_PROBABLE, "the same added root, through another issuing key", lambda f: f.public_place),
            Grade(_POSSIBLE, "the same, for a private name or address"),
        ),
        alternatives=lambda f: () if f.has(N.SIGNER_SUBSTITUTES) else (_A.PRIVATE_PKI,),
        rests_on_roots=True,
    ),
    Rule(
        Reason.INTERCEPTION_KEY,
        Stage.ACCUSES,
        "a key or certificate of the catalogue stands on the path, a public one too; not of portals, block pages, or "
        "one machine's development CA",
        lambda f: f.has(K.KEY),
        "A key or certificate on the path is known to belong to an interception product.",
        grades=(Grade(_PROVEN),),
    ),
    Rule(
        Reason.REPLAYED_CHAIN,
        Stage.ACCUSES,
        "the handshake signature is not the presented key's",
        lambda f: f.replayed,
        "The server showed a certificate whose key it does not have.",
        grades=(Grade(_PROBABLE),),
    ),
    Rule(
        Reason.PRODUCT_MARK,
        Stage.ACCUSES,
        "a strong mark of a product, issued by something else for this name; the chain is not accepted",
        lambda f: f.product_marked and not f.has(C.ACCEPTED),
        "The chain carries the name that an interception product writes into the certificates it makes.",
        grades=(Grade(_PROBABLE),),
        alternatives=_always(_A.PRIVATE_PKI),
    ),
    Rule(
        Reason.FORGED_ISSUER,
        Stage.ACCUSES,
        "subject and key identifier of a public CA whose key is known, signed or borne by another key",
        lambda f: f.impersonates_public_ca,
        "A certificate on the path claims to be, or to be signed by, a public CA whose key says otherwise.",
        grades=(Grade(_PROBABLE),),
        alternatives=lambda f: (_A.DEFECTIVE_SERVER,) if f.has(forged_issuer.Outcome.NOT_SIGNED_BY) else (),
    ),
    Rule(
        Reason.DEFECTIVE_CHAIN,
        Stage.ACCUSES,
        "the chain is defective",
        lambda f: f.has(C.DEFECTIVE),
        "The chain leads to a public root by signatures that no client takes.",
        grades=(
            Grade(_PROBABLE, "the identity is stated or pinned-public", lambda f: f.stated_or_pinned),
            Grade(_POSSIBLE),
        ),
        alternatives=_always(_A.DEFECTIVE_SERVER),
    ),
    Rule(
        Reason.PUBLIC_UNLOGGED,
        Stage.ACCUSES,
        "the chain is accepted and unlogged",
        lambda f: f.accepted_unlogged,
        "The certificate leads to a public root and is in no public log, as genuine ones are.",
        grades=(
            Grade(
                _PROBABLE,
                "with a pin mismatch, or where the same such issuer signs unrelated operators",
                lambda f: f.pin_mismatch or f.has(S.UNLOGGED_SIGNER),
            ),
            Grade(_POSSIBLE),
        ),
        alternatives=_always(_A.SCTS_OUTSIDE_CERTIFICATE),
    ),
    Rule(
        Reason.ADDED_ROOT,
        Stage.ACCUSES,
        "the chain is added, the identity is not public, and this is not a root declared for the endpoint",
        lambda f: f.has(C.ADDED) and not f.public_identity,
        "The chain leads to a root that was added to this machine.",
        grades=(Grade(BY_COMPANY),),
        alternatives=lambda f: (*_private_alternatives(f), _A.DEVELOPMENT_CA),
    ),
    Rule(
        Reason.ONE_PRIVATE_SIGNER,
        Stage.ACCUSES,
        "one private signer or leaf key serves unrelated operators",
        lambda f: f.private_or_added and f.has(S.PRIVATE_SIGNER, S.LEAF_KEY) and not f.stale,
        "Operators that have nothing to do with each other share a private signer or key.",
        grades=(Grade(BY_COMPANY),),
        alternatives=_private_alternatives,
    ),
    Rule(
        Reason.FORGOTTEN_BY_EVERYBODY,
        Stage.ACCUSES,
        "unrelated operators lack one intermediate that no knowledge has",
        lambda f: f.has(C.INCOMPLETE) and f.has(S.MISSING_ISSUER) and not f.stale,
        "Operators that have nothing to do with each other all lack the same unknown intermediate.",
        grades=(Grade(BY_COMPANY),),
        alternatives=_always(_A.INCOMPLETE_CHAIN, _A.STALE_ROOTS),
    ),
    Rule(
        Reason.PIN_MISMATCH,
        Stage.ACCUSES,
        "no pin fits, and it is not excused by another probe of this run",
        lambda f: f.pin_mismatch and not f.accepted_unlogged,
        "The certificate is not the one that is pinned.",
        grades=(
            Grade(
                _POSSIBLE,
                "the chain is declared, unfamiliar, incomplete, unreadable, retired, or accepted; or private while the "
                "list of roots may be too old to know it",
                lambda f: not f.has(C.PRIVATE, C.ADDED, C.DEFECTIVE) or f.stale,
            ),
            Grade(
                _PROBABLE,
                "the chain is private, added or defective, and the identity public",
                lambda f: f.public_identity,
            ),
            Grade(BY_COMPANY, "the chain is one of the others"),
        ),
        alternatives=_pin_alternatives,
    ),
    Rule(
        Reason.UNFAMILIAR_ROOT,
        Stage.ACCUSES,
        "the chain is unfamiliar; silent where a stale list of roots may not know it",
        lambda f: f.has(C.UNFAMILIAR) and not f.stale,
        "The chain leads to a root that is not known here as public, and of which nobody knows who put it there.",
        grades=(
            Grade(_PROBABLE, "the identity is stated or pinned-public", lambda f: f.stated_or_pinned),
            Grade(_POSSIBLE),
        ),
        alternatives=_always(_A.STALE_ROOTS, _A.PRIVATE_PKI),
    ),
    Rule(
        Reason.UNREADABLE_PERSISTS,
        Stage.ACCUSES,
        "the chain is unreadable, also for a hello that offers only what can be verified; and the identity is public "
        "or something is pinned, or an endpoint of this route is substituted, or a canary of it came out as middleware",
        lambda f: f.has(C.UNREADABLE) and (f.public_identity or f.pinned or f.has(N.ENDPOINT_SUBSTITUTED, N.COMPANY)),
        "The chain is signed in a way that cannot be verified here, whatever is offered.",
        grades=(Grade(_POSSIBLE),),
        alternatives=_always(_A.UNREADABLE_ALGORITHM),
    ),
    Rule(
        Reason.WRONG_NAME,
        Stage.ACCUSES,
        "the certificate is for another name, whatever else is true of it",
        lambda f: f.certificate_seen and not f.name_right,
        "The certificate is for another name: portals, block pages and appliances answer like that, and no client that "
        "checks names goes on.",
        grades=(Grade(_POSSIBLE),),
        alternatives=_always(_A.CAPTIVE_PORTAL, _A.BLOCK_PAGE, _A.WRONG_SERVER),
        any_name=True,
    ),
    Rule(
        Reason.INCOMPLETE_CHAIN,
        Stage.ACCUSES,
        "the chain is incomplete",
        lambda f: f.has(C.INCOMPLETE),
        "The issuer's certificate is missing; the leaf says that it was publicly logged.",
        grades=(Grade(_POSSIBLE),),
        alternatives=_always(_A.INCOMPLETE_CHAIN),
    ),
    Rule(
        Reason.PRIVATE_CHAIN,
        Stage.ACCUSES,
        "the chain is private; silent where a stale list of roots may not know it",
        lambda f: f.has(C.PRIVATE) and not f.stale,
        "The chain leads to no root that is known here.",
        grades=(Grade(_POSSIBLE),),
        alternatives=_chain_alternatives,
    ),
)

CLEARING: Final = (
    Rule(
        Reason.PINNED_CA,
        Stage.CLEARS,
        "accepted, right name, a CA of the path is pinned (never a public root's key), logged or unknowable",
        lambda f: (
            f.has(C.ACCEPTED) and f.name_confirmed and f.has(P.CA) and f.has(T.LOGGED, T.UNKNOWABLE, T.NOT_CARRIED)
        ),
        "A careful client takes the chain, and it was issued by the CA that is pinned for this endpoint.",
        assurance=Assurance.PINNED,
    ),
    Rule(
        Reason.LOGGED,
        Stage.CLEARS,
        "accepted, right name, logged",
        lambda f: f.accepted_logged and f.name_confirmed,
        "A careful client takes the chain, and the certificate was issued in public.",
        assurance=Assurance.LOGGED,
    ),
    Rule(
        Reason.DECLARED,
        Stage.CLEARS,
        "declared, right name, a path that a client takes but for the lifetime limits of public roots; the declared "
        "root substitutes nothing on this route",
        lambda f: (
            f.has(C.DECLARED)
            and f.name_confirmed
            and not f.has(C.NOT_TAKEN, C.DATES_FORBID, N.SIGNER_SUBSTITUTES, N.ROOT_SUBSTITUTES)
        ),
        "The chain leads to the private root that the pin file declares for this endpoint.",
        assurance=Assurance.DECLARED,
    ),
)

NOTHING_SEEN: Final = Rule(
    Reason.NO_CERTIFICATE,
    Stage.ELSE,
    "no certificate was seen",
    lambda f: not f.certificate_seen,
    "No certificate was seen; an outage is never middleware.",
)
BUDGET_SPENT: Final = Rule(
    Reason.BUDGET_SPENT,
    Stage.ELSE,
    "other chains had spent the run's processor time before this one was verified",
    lambda f: f.has(C.POSTPONED),
    "There was no processor time left to verify this chain.",
)
FALLBACK: Final = Rule(
    Reason.STALE_KNOWLEDGE,
    Stage.ELSE,
    "accepted and unknowable; or a chain that a stale list of roots may not know",
    lambda _: True,
    "The lists of roots and logs are too old to assess this certificate.",
)

ELSE: Final = (
    NOTHING_SEEN,
    BUDGET_SPENT,
    Rule(
        Reason.CLOCK_WRONG,
        Stage.ELSE,
        "only dates forbid the path, and this machine's clock is wrong",
        lambda f: f.clock_wrong and f.has(C.DATES_FORBID),
        "This machine's clock is wrong, so that dates say nothing.",
    ),
    Rule(
        Reason.DECLARED_ROOT_INTERCEPTS,
        Stage.ELSE,
        "declared, and the declared root or the issuing key substitutes another endpoint of this route",
        lambda f: f.has(C.DECLARED) and f.has(N.SIGNER_SUBSTITUTES, N.ROOT_SUBSTITUTES),
        "The root that is declared for this endpoint also signs in the place of genuine CAs on this network.",
    ),
    Rule(
        Reason.DECLARED_NOT_ACCEPTED,
        Stage.ELSE,
        "declared, and no client would take the path",
        lambda f: f.has(C.DECLARED) and f.has(C.NOT_TAKEN, C.DATES_FORBID),
        "The chain leads to the declared root, but no client would take it.",
    ),
    Rule(
        Reason.EXPIRED,
        Stage.ELSE,
        "retired: a date of the chain forbids it",
        lambda f: f.has(C.RETIRED) and f.has(C.DATES_FORBID),
        "A certificate of the chain has expired or is not valid yet.",
    ),
    Rule(
        Reason.RETIRED,
        Stage.ELSE,
        "retired: the root was removed from the public lists",
        lambda f: f.has(C.RETIRED),
        "The chain leads to a root that is no longer trusted.",
    ),
    Rule(
        Reason.UNREADABLE,
        Stage.ELSE,
        "the chain is unreadable",
        lambda f: f.has(C.UNREADABLE),
        "The chain is signed in a way that cannot be verified here.",
    ),
    Rule(
        Reason.KEY_NOT_PROVED,
        Stage.ELSE,
        "the key was not proved, and the chain would have cleared the endpoint, or nearly",
        lambda f: not f.key_proved and f.has(C.ACCEPTED, C.DECLARED),
        "The handshake ended before the server proved that it has the certificate's key.",
    ),
    Rule(
        Reason.NAME_NOT_CONFIRMED,
        Stage.ELSE,
        "the name is only the common name's, or the list of names was longer than what is read",
        lambda f: f.has(C.ACCEPTED, C.DECLARED) and not f.name_confirmed,
        "That the certificate is for this host could not be confirmed as clients of today do it.",
    ),
    Rule(
        Reason.WITNESS_SILENT,
        Stage.ELSE,
        "nothing else clears, and the witness gave no answer that counts",
        lambda f: f.witness_silent,
        "The witness of this endpoint gave no answer that counts.",
    ),
    Rule(
        Reason.SCTS_NOT_CARRIED,
        Stage.ELSE,
        "accepted; the leaf embeds no timestamps, and the observation could not carry those outside it",
        lambda f: f.has(C.ACCEPTED) and f.has(T.NOT_CARRIED),
        "Whether the certificate was publicly logged cannot be seen from what was captured.",
    ),
    FALLBACK,
)
"""What an observation is that nothing accuses and nothing clears; the last one always fits."""

TABLE: Final = (*SETTLING, *ACCUSING, *CLEARING, *ELSE)
"""Every rule, in the order in which they are read."""

RULE_OF: Final = {rule.reason: rule for rule in TABLE}
"""The rule of each reason: there is exactly one."""


DECISIONS_REMEMBERED_MAX: Final = 1024
"""Combinations of facts whose decision is remembered: a network shows a few dozen. A key is some twenty short texts."""


def decide(findings: Iterable[Finding]) -> Decision:
    """Read the decision table for one observation."""
    return read(Facts(findings))


@lru_cache(maxsize=DECISIONS_REMEMBERED_MAX)
def read(facts: Facts) -> Decision:
    """Read the decision table. Equal facts give equal decisions, and most endpoints show the same few."""
    if not facts.certificate_seen:
        return Decision(NOTHING_SEEN.reason, Verdict.INCONCLUSIVE)
    for rule in SETTLING:
        if rule.holds(facts):
            return Decision(rule.reason, Verdict.CLEAN, assurance=rule.assurance)
    if BUDGET_SPENT.holds(facts) and not facts.witness_differs:
        return Decision(BUDGET_SPENT.reason, Verdict.INCONCLUSIVE)
    fired = [(rule, _graded(rule, facts)) for rule in ACCUSING if _fits(rule, facts)]
    if fired:
        order = list(Confidence)
        gravest, confidence = max(fired, key=lambda one: order.index(one[1]))
        return Decision(
            gravest.reason,
            Verdict.MIDDLEWARE,
            confidence=confidence,
            alternatives=_alternatives(gravest, confidence, facts),
            fired=tuple((rule.reason, grade) for rule, grade in fired),
        )
    if facts.key_proved:
        for rule in CLEARING:
            if rule.holds(facts):
                return Decision(rule.reason, Verdict.CLEAN, assurance=rule.assurance)
    return Decision(next(rule.reason for rule in ELSE if rule.holds(facts)), Verdict.INCONCLUSIVE)


def _fits(rule: Rule, facts: Facts) -> bool:
    return (rule.any_name or facts.name_right) and rule.holds(facts)


def _graded(rule: Rule, facts: Facts) -> Confidence:
    """How sure a rule is that fits: its first grade that holds, capped by what was not proved."""
    grade = next(grade.confidence for grade in rule.grades if grade.holds(facts))
    confidence = _company_grade(facts) if isinstance(grade, ByCompany) else grade
    if confidence is _PROVEN and _is_capped(rule, facts):
        return _PROBABLE
    return confidence


def _is_capped(rule: Rule, facts: Facts) -> bool:
    if rule.capped and (not facts.key_proved or facts.limits_exceeded):
        return True
    return rule.rests_on_roots and facts.has(C.STALE_ROOTS)


def _alternatives(rule: Rule, confidence: Confidence, facts: Facts) -> tuple[Alternative, ...]:
    """What else could explain it, a portal first. Nothing innocent explains what is proven."""
    if confidence is _PROVEN:
        return ()
    found = rule.alternatives(facts)
    if facts.portal:
        found = (_A.CAPTIVE_PORTAL, *found)
    if not facts.key_proved and not found:
        found = (_A.WRONG_SERVER,)
    return tuple(dict.fromkeys(found))
