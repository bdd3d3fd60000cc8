"""The decision table: from the findings on one observation to a verdict, as data.

Room: judge. Pure: findings in, a decision out. Reads no certificate, socket or clock. docs/decisions.md is generated
from this file. Whatever affects a verdict is here, and a row holds everything about its rule: other rooms read the
row and never name a rule.

Theory of operation
===================
1. What settles an observation, whatever else was found: a witness, or the leaf's own pinned key.
2. All rules that accuse are read, and the most severe of those that fit decides; of equals, the first.
3. What clears, where nothing accuses: only what a careful client would accept, and only with the key proved. Nothing
   clears that answers another hello in place of the one that was asked for; that holds for what settles, too.
4. Otherwise the observation is inconclusive, with the first reason that fits.

Accusing comes before clearing on purpose: nothing that an accused chain carries can make its verdict milder.

A rule that accuses has grades, read from the top: the first whose condition holds gives the confidence. `BY_COMPANY`
stands for `probable` where a canary of the same route came out as middleware and this endpoint's name and address are
public, and for `possible` otherwise. Three things cap a grade at `probable`: a key that was not proved (a browser's
word proves none), a chain that exceeded what is read, and a stale list of roots.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Final, NamedTuple

from detector.language import N_, Text
from detector.model import Alternative, Assurance, Audience, Confidence, Reason, Verdict

from .checks import (
    clock,
    forged_issuer,
    key_possession,
    known_interceptor,
    private_origin,
    route_difference,
    shared_signer,
    witness,
)
from .facts import C, Facts, I, N, P, T, W

K = known_interceptor.Outcome
R = route_difference.Outcome
S = shared_signer.Outcome

Advice = Mapping[Audience, str]
"""What each audience can do, in whole sentences; `{hosts}` stands for the endpoints, `{file}` for their pin file. Those
to the student are translated."""


class Stage(enum.Enum):
    """When a rule is read."""

    SETTLES = "settles"
    ACCUSES = "accuses"
    CLEARS = "clears"
    ELSE = "else"
    SERVER = "server"


class ByCompany(enum.Enum):
    """`probable` with company, `possible` alone."""

    BY_COMPANY = "by company"


BY_COMPANY: Final = ByCompany.BY_COMPANY


class Grade(NamedTuple):
    """The confidence of a rule under a condition; `when` is the condition in words, empty where there is none."""

    confidence: Confidence | ByCompany
    when: str = ""
    holds: Callable[[Facts], bool] = lambda _: True


class Rule(NamedTuple):
    """One rule, named by its reason.

    How it is read: `needs` is `holds` in words. An accusing rule needs a right name unless `any_name`; `capped`: what
    was not proved caps its grade; `rests_on_roots`: a stale list of roots does. `alternatives` are the innocent or
    different explanations that fit.

    What it means for other endpoints: `substitutes`: a proven one shows whose keys take the place of genuine ones;
    `is_company`: a canary it accuses is company for others; `is_final`: once proven, no other endpoint changes it.

    What it means for readers: `why` is one sentence, `why_stale_pins` the one where the chain is accepted all the same
    and only the pins do not match, with `advice_stale_pins`. `advice` says what to do; from `probable` on, the manager
    of a known product is addressed instead, and where `asks_party` the manager of any interceptor. `attack` takes
    precedence over both from `probable` on: no marks of a product make an attack an institution's business.
    `says_nothing`: the observation counts neither for its endpoint nor against it, where there is another.
    `is_outcome`: how the connection ended is the actual reason; `may_be_portal`: a sign-in page may have answered;
    `is_repeatable`: the same evidence gives it on any machine.
    """

    stage: Stage
    reason: Reason
    needs: str
    holds: Callable[[Facts], bool]
    why: Text
    grades: tuple[Grade, ...] = ()
    assurance: Assurance | None = None
    alternatives: Callable[[Facts], tuple[Alternative, ...]] = lambda _: ()
    any_name: bool = False
    capped: bool = True
    rests_on_roots: bool = False
    substitutes: bool = False
    is_company: bool = True
    is_final: bool = False
    says_nothing: bool = False
    why_stale_pins: Text = Text("")
    advice: Advice = {}  # noqa: RUF012 - a NamedTuple, whose default is never written to
    advice_stale_pins: Advice = {}  # noqa: RUF012 - a NamedTuple, whose default is never written to
    asks_party: bool = False
    attack: Advice = {}  # noqa: RUF012 - a NamedTuple, whose default is never written to
    is_outcome: bool = False
    may_be_portal: bool = False
    is_repeatable: bool = True


class Decision(NamedTuple):
    """A verdict and the rule that gave it. `fired` are all accusing rules that fit, with their confidence."""

    reason: Reason
    verdict: Verdict
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    alternatives: tuple[Alternative, ...] = ()
    fired: tuple[tuple[Reason, Confidence], ...] = ()

    @property
    def rule(self) -> Rule:
        """The row of the table."""
        return RULE_OF[self.reason]

    @property
    def proves_substitution(self) -> bool:
        """Whether a rule that fits proves that genuine keys were replaced."""
        return any(RULE_OF[reason].substitutes and grade is _PROVEN for reason, grade in self.fired)


_settles = partial(Rule, Stage.SETTLES)
_accuses = partial(Rule, Stage.ACCUSES)
_clears = partial(Rule, Stage.CLEARS)
_else = partial(Rule, Stage.ELSE)
_server = partial(Rule, Stage.SERVER, holds=lambda _: False)

_POSSIBLE, _PROBABLE, _PROVEN = Confidence.POSSIBLE, Confidence.PROBABLE, Confidence.PROVEN
_A = Alternative
_STUDENT, _IT, _DEVELOPER = Audience.STUDENT, Audience.IT, Audience.DEVELOPER

ELSEWHERE: Final = N_("Try again from another network. If only this network has the problem, tell its IT.")
NOT_THIS_NETWORK: Final = N_("Do not use this network for the exam: something on it signs in the name of a public CA.")
NOT_THE_SERVER: Final = N_(
    "Do not use this network for the exam: what answers on it is not the server. Use another one."
)
NOT_TAKEN: Final = N_(
    "Do not use this network for the exam: it shows certificates that no browser accepts. If another network shows "
    "them too, tell the exam office."
)
NOT_LOGGED: Final = N_(
    "Do not use this network for the exam: it shows certificates that are in no public log. If another network shows "
    "them too, tell the exam office."
)
ANOTHER_SESSION: Final = N_(
    "Do not use this network for the exam: something between this device and the server ends the encryption. If "
    "another network does so too, tell the exam office."
)
OPEN_AGAIN: Final = N_("Open the page of the exam again, or use Firefox, which reports the whole chain.")
AGAIN: Final = N_("Try again. If it keeps happening, use another network and tell the exam office.")
_UPDATE: Final = N_("Update the detector and try again: its lists of roots and logs are older than this certificate.")
_UNVERIFIABLE: Final = "The certificate of {hosts} is signed in a way that this version cannot verify."
_FIND_DEVICE: Final = (
    "A CA below a public root signed for {hosts} in a way no client accepts: find the device that holds its key."
)
_ADD_INTERMEDIATE: Final = "The server of {hosts} probably lacks an intermediate certificate: add it to its chain."
_DECLARE_ROOT: Final = "If a private PKI signs for {hosts}, declare its root in the pin file (private_roots)."


def _always(*alternatives: Alternative) -> Callable[[Facts], tuple[Alternative, ...]]:
    return lambda _: alternatives


def _private_alternatives(facts: Facts) -> tuple[Alternative, ...]:
    """The innocent kinds of server that present a private chain."""
    self_signed = facts.has(private_origin.Outcome.SELF_SIGNED)
    # Another route leads to another server of this name.
    elsewhere = (_A.SPLIT_HORIZON, _A.WRONG_SERVER) if facts.has(R.GENUINE_ELSEWHERE, R.PRIVATE_HERE) else ()
    return (_A.SELF_SIGNED_ORIGIN if self_signed else _A.PRIVATE_PKI, *elsewhere)


def _chain_alternatives(facts: Facts) -> tuple[Alternative, ...]:
    origins = _private_alternatives(facts)
    return origins if _A.SELF_SIGNED_ORIGIN in origins else (*origins, _A.STALE_ROOTS, _A.INCOMPLETE_CHAIN)


def _pin_alternatives(facts: Facts) -> tuple[Alternative, ...]:
    if facts.has(C.ACCEPTED):
        return (_A.PIN_ROTATION, _A.PUBLIC_CA_MISISSUANCE)
    return (_A.PIN_ROTATION, *(_private_alternatives(facts) if facts.private_or_added else ()))


def _company_grade(facts: Facts) -> Confidence:
    return _PROBABLE if facts.company else _POSSIBLE


SETTLING: Final = (
    _settles(
        Reason.WITNESSED,
        "the witness signed our exporter, here or in another session that proved the same leaf key as this one",
        lambda f: (f.has(W.EQUAL) or (f.key_proved and f.has(W.SAME_KEY))) and not f.has(W.DIFFERS),
        N_(
            "A witness at the endpoint is the other end of this TLS session, or holds the key that this session proved."
        ),
        assurance=Assurance.WITNESSED,
    ),
    _settles(
        Reason.PINNED,
        "the key is proved; the leaf's own key is pinned for this endpoint alone or for one operator, and is no key of "
        "the catalogue; no witness signed another exporter",
        lambda f: f.key_proved and f.has(P.LEAF) and not f.has(W.DIFFERS),
        N_("The server proved that it holds the key pinned for this endpoint."),
        assurance=Assurance.PINNED,
    ),
)

ACCUSING: Final = (
    _accuses(
        Reason.WITNESS_DIFFERS,
        "the witness signed another exporter than ours",
        lambda f: f.has(W.DIFFERS),
        N_("The witness and this machine are in different TLS sessions: something in between terminates both."),
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
        is_final=True,
        attack={
            _STUDENT: ANOTHER_SESSION,
            _DEVELOPER: "If your own CDN or load balancer ends TLS in front of the witness, pin no witness there.",
        },
    ),
    _accuses(
        Reason.IDENTITY_SUBSTITUTED,
        "the chain is private or added, and the endpoint's identity is public; silent for a private chain that a stale "
        "list of roots may not know",
        lambda f: f.private_or_added and f.public_identity and not f.stale,
        N_(
            "This endpoint's genuine certificate leads to a public root, but a different certificate was presented for "
            "its name."
        ),
        grades=(
            Grade(_PROVEN, "the identity is stated", lambda f: f.has(I.STATED)),
            Grade(
                _PROVEN,
                "the identity is pinned-public, or seen in this run, and the address is public, the caller's own, or "
                "the same that was seen, or a canary is substituted too",
                lambda f: f.seen_or_pinned_for_certain,
            ),
            Grade(_PROBABLE, "the identity is pinned-public", lambda f: f.has(I.PINNED_PUBLIC)),
            Grade(BY_COMPANY, "the identity was seen otherwise: at a private address, or in a history alone"),
        ),
        alternatives=lambda f: (
            () if f.has(I.STATED) or f.seen_or_pinned_for_certain else (_A.SPLIT_HORIZON, _A.PRIVATE_PKI)
        ),
        rests_on_roots=True,
        substitutes=True,
        is_final=True,
    ),
    _accuses(
        Reason.RIVALS_SHARE_A_SIGNER,
        "one issuing key that is no public CA's, or one leaf key, serves two canaries whose operators run CAs of "
        "their own",
        lambda f: f.has(S.RIVALS),
        N_(
            "One key is used for operators that each run their own public CA; their genuine servers would not share "
            "one."
        ),
        grades=(Grade(_PROVEN),),
    ),
    _accuses(
        Reason.SIGNER_SUBSTITUTES_ELSEWHERE,
        "another endpoint of this route is substituted beyond doubt, by the same issuing or leaf key or below the same "
        "added root; never said of a chain that is accepted, declared, retired or unreadable",
        lambda f: (
            f.has(N.SIGNER_SUBSTITUTES, N.ROOT_SUBSTITUTES)
            and f.has(C.PRIVATE, C.ADDED, C.DEFECTIVE, C.UNFAMILIAR, C.INCOMPLETE)
            and not f.stale
        ),
        N_("The signer here replaces genuine certificates on another endpoint of this network."),
        grades=(
            Grade(_PROVEN, "the same issuing or leaf key", lambda f: f.has(N.SIGNER_SUBSTITUTES)),
            Grade(_PROBABLE, "the same added root, through another issuing key", lambda f: f.public_place),
            Grade(_POSSIBLE, "the same, for a private name or address"),
        ),
        alternatives=lambda f: () if f.has(N.SIGNER_SUBSTITUTES) else (_A.PRIVATE_PKI,),
        rests_on_roots=True,
    ),
    _accuses(
        Reason.INTERCEPTION_KEY,
        "a key or certificate of the catalogue is on the path, below a public root too; not of portals, block pages, "
        "or one machine's development CA",
        lambda f: f.has(K.KEY),
        N_("A key or certificate on the path is known to belong to an interception product."),
        grades=(Grade(_PROVEN),),
    ),
    _accuses(
        Reason.REPLAYED_CHAIN,
        "the handshake signature is not the presented key's",
        lambda f: f.has(key_possession.Outcome.WRONG),
        N_("The server showed a certificate whose key it does not have."),
        grades=(Grade(_PROBABLE),),
        attack={
            _STUDENT: NOT_THE_SERVER,
            _IT: "Something answers for {hosts} with a certificate whose key it does not have: find out what it is.",
        },
    ),
    _accuses(
        Reason.PRODUCT_MARK,
        "a strong mark of a product, issued by something else for this name; the chain is not accepted",
        lambda f: f.has(K.PRODUCT) and not f.has(C.ACCEPTED),
        N_("The chain carries the name that an interception product writes into the certificates it makes."),
        grades=(Grade(_PROBABLE),),
        alternatives=_always(_A.PRIVATE_PKI),
    ),
    _accuses(
        Reason.FORGED_ISSUER,
        "subject and key identifier of a public CA whose key is known, signed or borne by another key",
        lambda f: f.has(*forged_issuer.Outcome),
        N_(
            "A certificate on the path claims to be, or to be signed by, a public CA, but that CA's key does not match."
        ),
        grades=(Grade(_PROBABLE),),
        alternatives=lambda f: (_A.DEFECTIVE_SERVER,) if f.has(forged_issuer.Outcome.NOT_SIGNED_BY) else (),
        attack={
            _STUDENT: NOT_THIS_NETWORK,
            _IT: "Something on this network signs for {hosts} in the name of a public CA: find it and stop it.",
        },
    ),
    _accuses(
        Reason.DEFECTIVE_CHAIN,
        "the chain is defective",
        lambda f: f.has(C.DEFECTIVE),
        N_("The chain leads to a public root through signatures that no client accepts."),
        grades=(
            Grade(_PROBABLE, "the identity is stated or pinned-public", lambda f: f.stated_or_pinned),
            Grade(_POSSIBLE),
        ),
        alternatives=_always(_A.DEFECTIVE_SERVER),
        advice={
            _STUDENT: ELSEWHERE,
            _IT: _FIND_DEVICE,
            _DEVELOPER: "No client accepts the chain of {hosts}: correct it.",
        },
        attack={_STUDENT: NOT_TAKEN, _IT: _FIND_DEVICE},
    ),
    _accuses(
        Reason.PUBLIC_UNLOGGED,
        "the chain is accepted and unlogged",
        lambda f: f.accepted_unlogged,
        N_("The certificate leads to a public root, but is in no public log; genuine ones are logged."),
        grades=(
            Grade(
                _PROBABLE,
                "with a pin mismatch, or where the same issuer signs such certificates for unrelated operators",
                lambda f: f.has(P.MISMATCH) or f.has(S.UNLOGGED_SIGNER),
            ),
            Grade(_POSSIBLE),
        ),
        alternatives=_always(_A.SCTS_OUTSIDE_CERTIFICATE),
        advice={
            _STUDENT: ELSEWHERE,
            _DEVELOPER: "The certificate of {hosts} is in no public log: ask its CA for CT timestamps.",
        },
        attack={
            _STUDENT: NOT_LOGGED,
            _IT: "A public CA signed for {hosts} without a public log: find the device on this network that shows it.",
        },
    ),
    _accuses(
        Reason.ADDED_ROOT,
        "the chain is added, the identity is not public, and this is not a root declared for the endpoint",
        lambda f: f.has(C.ADDED) and not f.public_identity,
        N_("The chain leads to a root that was added to this machine."),
        grades=(Grade(BY_COMPANY),),
        alternatives=lambda f: (*_private_alternatives(f), _A.DEVELOPMENT_CA),
        advice={_STUDENT: ELSEWHERE, _DEVELOPER: _DECLARE_ROOT},
        asks_party=True,
    ),
    _accuses(
        Reason.ONE_PRIVATE_SIGNER,
        "one private signer or leaf key serves unrelated operators",
        lambda f: f.private_or_added and f.has(S.PRIVATE_SIGNER, S.LEAF_KEY) and not f.stale,
        N_("Unrelated operators share a private signer or key."),
        grades=(Grade(BY_COMPANY),),
        alternatives=_private_alternatives,
        advice={
            _STUDENT: ELSEWHERE,
            _DEVELOPER: _DECLARE_ROOT,
        },
        asks_party=True,
    ),
    _accuses(
        Reason.FORGOTTEN_BY_EVERYBODY,
        "unrelated operators lack the same intermediate, which the knowledge neither has nor names; a name excuses no "
        "endpoint whose identity is stated",
        lambda f: f.has(C.INCOMPLETE) and f.has(S.MISSING_ISSUER) and not f.stale,
        N_("Unrelated operators all lack the same unknown intermediate."),
        grades=(Grade(BY_COMPANY),),
        alternatives=_always(_A.INCOMPLETE_CHAIN, _A.STALE_ROOTS),
        advice={_STUDENT: ELSEWHERE, _DEVELOPER: _ADD_INTERMEDIATE},
    ),
    _accuses(
        Reason.PIN_MISMATCH,
        "no pin matches, and no other probe of this run excuses it; silent for an unreadable chain that a readable one "
        "replaced, and for a browser's report that cannot be verified",
        lambda f: f.has(P.MISMATCH) and not f.accepted_unlogged and not f.is_replaced and not f.report_unverifiable,
        N_("The certificate is not the one that is pinned."),
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
            Grade(BY_COMPANY, "any other chain"),
        ),
        alternatives=_pin_alternatives,
        why_stale_pins=N_(
            "The pins are probably stale: a careful client accepts this certificate, but it is not a pinned one."
        ),
        advice={
            _STUDENT: ELSEWHERE,
            _DEVELOPER: "If there is a new key at {hosts}, or a private PKI signs for it, correct the pin file.",
        },
        advice_stale_pins={
            _STUDENT: N_(
                "Tell the people who made {file} that it is probably out of date; the network's IT cannot change that."
            ),
            _DEVELOPER: "The pins of {hosts} in {file} are probably out of date: ask the operator of the server for "
            "the new ones, then update the file.",
        },
        asks_party=True,
    ),
    _accuses(
        Reason.UNFAMILIAR_ROOT,
        "the chain is unfamiliar; silent where a stale list of roots may not know it",
        lambda f: f.has(C.UNFAMILIAR) and not f.stale,
        N_("The chain leads to a root that is not known to be public and whose origin is unknown."),
        grades=(
            Grade(_PROBABLE, "the identity is stated or pinned-public", lambda f: f.stated_or_pinned),
            Grade(_POSSIBLE),
        ),
        alternatives=_always(_A.STALE_ROOTS, _A.PRIVATE_PKI),
        advice={
            _STUDENT: ELSEWHERE,
            _IT: "The root above {hosts} is trusted here but not publicly known: find out where it comes from.",
        },
    ),
    _accuses(
        Reason.UNREADABLE_PERSISTS,
        "the chain is unreadable, even for a ClientHello that offers only what can be verified; and the identity is "
        "public or something is pinned, or an endpoint of this route is substituted, or a canary of it came out as "
        "middleware; silent for a browser's report",
        lambda f: (
            f.has(C.UNREADABLE)
            and not f.is_replaced
            and not f.reported
            and (f.public_identity or f.pinned or f.has(N.ENDPOINT_SUBSTITUTED, N.COMPANY))
        ),
        N_("The chain is signed in a way that cannot be verified here, whichever algorithms are offered."),
        grades=(Grade(_POSSIBLE),),
        alternatives=_always(_A.UNREADABLE_ALGORITHM),
        is_company=False,
        advice={
            _STUDENT: N_("Update the detector and try again; if nothing changes, try from another network."),
            _DEVELOPER: _UNVERIFIABLE,
        },
    ),
    _accuses(
        Reason.WRONG_NAME,
        "the certificate is for another name, whatever else is true of it",
        lambda f: f.certificate_seen and not f.name_right,
        N_(
            "The certificate is for another name: portals, block pages and appliances answer like this, and any client "
            "that checks names stops."
        ),
        grades=(Grade(_POSSIBLE),),
        alternatives=_always(_A.CAPTIVE_PORTAL, _A.BLOCK_PAGE, _A.WRONG_SERVER),
        any_name=True,
        may_be_portal=True,
        advice={
            _STUDENT: N_("If this network has a sign-in page, open a browser and sign in, then try again."),
            _IT: "Clients get a certificate for another name instead of {hosts}: a portal, a block page or wrong DNS.",
        },
    ),
    _accuses(
        Reason.INCOMPLETE_CHAIN,
        "the chain is incomplete",
        lambda f: f.has(C.INCOMPLETE),
        N_("The issuer's certificate is missing; the leaf claims that it was publicly logged."),
        grades=(Grade(_POSSIBLE),),
        alternatives=_always(_A.INCOMPLETE_CHAIN),
        advice={_STUDENT: ELSEWHERE, _DEVELOPER: _ADD_INTERMEDIATE},
    ),
    _accuses(
        Reason.PRIVATE_CHAIN,
        "the chain is private; silent where a stale list of roots may not know it",
        lambda f: f.has(C.PRIVATE) and not f.stale,
        N_("The chain does not lead to a known root."),
        grades=(Grade(_POSSIBLE),),
        alternatives=_chain_alternatives,
        advice={_STUDENT: ELSEWHERE, _DEVELOPER: _DECLARE_ROOT},
        asks_party=True,
    ),
)

CLEARING: Final = (
    _clears(
        Reason.PINNED_CA,
        "accepted, right name, a CA of the path is pinned (never a public root's key), logged or unknowable",
        lambda f: (
            f.has(C.ACCEPTED) and f.name_confirmed and f.has(P.CA) and f.has(T.LOGGED, T.UNKNOWABLE, T.NOT_CARRIED)
        ),
        N_("A careful client accepts the chain, and it was issued by the CA that is pinned for this endpoint."),
        assurance=Assurance.PINNED,
    ),
    _clears(
        Reason.LOGGED,
        "accepted, right name, logged",
        lambda f: f.accepted_logged and f.name_confirmed,
        N_("A careful client accepts the chain, and the certificate was publicly logged."),
        assurance=Assurance.LOGGED,
    ),
    _clears(
        Reason.DECLARED,
        "declared, right name, a path that a client accepts apart from the lifetime limits of public roots; the "
        "declared root substitutes nothing on this route",
        lambda f: (
            f.has(C.DECLARED)
            and f.name_confirmed
            and not f.has(C.NOT_TAKEN, C.DATES_FORBID, N.SIGNER_SUBSTITUTES, N.ROOT_SUBSTITUTES)
        ),
        N_("The chain leads to the private root that the pin file declares for this endpoint."),
        assurance=Assurance.DECLARED,
    ),
)

NOTHING_SEEN: Final = _else(
    Reason.NO_CERTIFICATE,
    "no certificate was seen",
    lambda f: not f.certificate_seen and not f.other_hello,
    N_("No certificate was seen; an outage is not evidence of interception."),
    is_outcome=True,
)
BUDGET_SPENT: Final = _else(
    Reason.BUDGET_SPENT,
    "other chains used up the run's CPU time before this one was verified",
    lambda f: f.has(C.POSTPONED),
    N_("There was no CPU time left to verify this chain."),
    is_repeatable=False,
    advice={
        _STUDENT: AGAIN,
        _IT: "Certificates on this network take far more work to verify than genuine ones.",
    },
)
OTHER_HELLO: Final = _else(
    Reason.OTHER_HELLO,
    "the hello that was asked for first got no certificate; another hello, or QUIC, got one, which accuses nobody: "
    "nothing clears in its place, not even a witness or the leaf's own pin",
    lambda f: f.other_hello,
    N_("The hello that was asked for first got no certificate; that another one got a genuine one says nothing of it."),
    advice={
        _STUDENT: ELSEWHERE,
        _IT: "Something answers some programs and not others when they connect to {hosts}: check for a filter that "
        "resets or drops the ClientHello of browsers.",
        _DEVELOPER: "If {hosts} answers no browser on any network, it lacks what browsers require: TLS 1.2 with ECDHE, "
        "or TLS 1.3.",
    },
)
REPORTED: Final = _else(
    Reason.BROWSER_REPORTED,
    "the user's own browser reported it, and with the key proved it would be clean",
    lambda f: (
        f.reported and ((f.has(P.LEAF, W.SAME_KEY) and not f.has(W.DIFFERS)) or any(rule.holds(f) for rule in CLEARING))
    ),
    N_("The browser reports the genuine certificate, but only its word says that the server held the key."),
    says_nothing=True,
    advice={_STUDENT: AGAIN},
)
FALLBACK: Final = _else(
    Reason.STALE_KNOWLEDGE,
    "accepted and unknowable; or a chain that a stale list of roots may not know",
    lambda _: True,
    N_("The lists of roots and logs are too old to assess this certificate."),
    advice={
        _STUDENT: _UPDATE,
        _IT: "Update the detector's lists of roots and logs.",
        _DEVELOPER: _UPDATE,
    },
)

ELSE: Final = (
    NOTHING_SEEN,
    BUDGET_SPENT,
    OTHER_HELLO,
    _else(
        Reason.CLOCK_WRONG,
        "only dates forbid the path, and this machine's clock is wrong",
        lambda f: f.has(clock.Outcome.WRONG) and f.has(C.DATES_FORBID),
        N_("This machine's clock is wrong, so certificate dates prove nothing."),
        advice={_STUDENT: N_("Set this device's date and time (automatic time is best) and try again.")},
    ),
    _else(
        Reason.DECLARED_ROOT_INTERCEPTS,
        "declared, and the declared root or the issuing key substitutes another endpoint of this route",
        lambda f: f.has(C.DECLARED) and f.has(N.SIGNER_SUBSTITUTES, N.ROOT_SUBSTITUTES),
        N_("The root that is declared for this endpoint also signs in place of genuine CAs on this network."),
        advice={
            _STUDENT: ELSEWHERE,
            _IT: "The private root that is declared for {hosts} also signs for other sites on this network.",
            _DEVELOPER: "Pin the key of {hosts}: its declared root signs for other sites too, and cannot confirm it.",
        },
    ),
    _else(
        Reason.DECLARED_NOT_ACCEPTED,
        "declared, and no client would accept the path",
        lambda f: f.has(C.DECLARED) and f.has(C.NOT_TAKEN, C.DATES_FORBID),
        N_("The chain leads to the declared root, but no client would accept it."),
        advice={
            _STUDENT: ELSEWHERE,
            _IT: "The certificate of {hosts} leads to the declared root, but no client would accept it: correct its "
            "chain.",
        },
    ),
    _else(
        Reason.EXPIRED,
        "retired: a date of the chain forbids it",
        lambda f: f.has(C.RETIRED) and f.has(C.DATES_FORBID),
        N_("A certificate of the chain has expired or is not valid yet."),
        advice={
            _STUDENT: ELSEWHERE,
            _DEVELOPER: "A certificate of {hosts} has expired or is not valid yet: renew it.",
        },
    ),
    _else(
        Reason.RETIRED,
        "retired: the root was removed from the public lists",
        lambda f: f.has(C.RETIRED),
        N_("The chain leads to a root that is no longer trusted."),
        advice={
            _STUDENT: ELSEWHERE,
            _DEVELOPER: "The root above {hosts} is no longer trusted: get a certificate that leads to a current one.",
        },
    ),
    _else(
        Reason.UNREADABLE,
        "the chain is unreadable",
        lambda f: f.has(C.UNREADABLE),
        N_("The chain is signed in a way that cannot be verified here."),
        advice={
            _STUDENT: N_("Update the detector and try again: it cannot verify this kind of signature."),
            _DEVELOPER: _UNVERIFIABLE,
        },
    ),
    REPORTED,
    _else(
        Reason.ISSUER_NOT_REPORTED,
        "the user's own browser reported the leaf alone, its issuer is not known here, and it claims to be logged",
        lambda f: f.has(C.ISSUER_NOT_REPORTED),
        N_("The browser reported a certificate whose issuer is not known here."),
        advice={
            _STUDENT: OPEN_AGAIN,
            _DEVELOPER: "The browser shows another certificate of {hosts} than the detector: check it in the browser.",
        },
    ),
    _else(
        Reason.KEY_NOT_PROVED,
        "the key was not proved, and the chain would have cleared the endpoint, or nearly",
        lambda f: not f.key_proved and not f.reported and f.has(C.ACCEPTED, C.DECLARED),
        N_("The handshake ended before the server proved that it holds the certificate's key."),
        advice={
            _STUDENT: AGAIN,
            _IT: "Something cuts TLS handshakes to {hosts} short: check for a filter that resets connections.",
        },
    ),
    _else(
        Reason.NAME_NOT_CONFIRMED,
        "the name is only in the common name, or the list of names was too long to be read in full",
        lambda f: f.has(C.ACCEPTED, C.DECLARED) and not f.name_confirmed,
        N_("Today's clients could not confirm that the certificate is for this host."),
        advice={
            _STUDENT: ELSEWHERE,
            _DEVELOPER: "The certificate of {hosts} must list the host among its subject alternative names.",
        },
    ),
    _else(
        Reason.WITNESS_SILENT,
        "nothing else clears, and the witness gave no usable answer",
        lambda f: f.has(*witness.SILENT),
        N_("The witness of this endpoint gave no usable answer."),
        advice={
            _STUDENT: AGAIN,
            _IT: "Let requests to /.well-known/tls-witness on {hosts} pass unchanged.",
            _DEVELOPER: "Check that the witness of {hosts} is running and that the pin file has the key it signs with.",
        },
    ),
    _else(
        Reason.SCTS_NOT_CARRIED,
        "accepted; the leaf embeds no timestamps, and the observation could not carry those outside it",
        lambda f: f.has(C.ACCEPTED) and f.has(T.NOT_CARRIED),
        N_("Whether the certificate was publicly logged cannot be determined from what was captured."),
        advice={
            _STUDENT: AGAIN,
            _DEVELOPER: "A pasted chain lacks timestamps from outside the certificate: check {hosts} over the network.",
        },
    ),
    FALLBACK,
)
"""The reasons where nothing accuses and nothing clears; the last one always fits."""

TABLE: Final = (*SETTLING, *ACCUSING, *CLEARING, *ELSE)
"""Every rule, in the order in which they are read."""

_AT_THE_SERVER: Final = {
    _STUDENT: N_("Run `detector check` on a device in this network: it shows who signs the certificates there."),
    _IT: "If a gateway in this network decrypts TLS to {hosts}, exempt it.",
    _DEVELOPER: "If a front of your own ends TLS before the server that logs for {hosts}, log at that front.",
}

SERVER: Final = (
    _server(
        Reason.ONE_OFFER_SEVERAL_BROWSERS,
        "sessions that different people signed in to, in one network, have one offer under two browser families",
        why=N_("Browsers of different families reached the server with one and the same ClientHello."),
        advice=_AT_THE_SERVER,
    ),
    _server(
        Reason.IMPOSSIBLE_OFFER,
        "the ClientHello is one that the browser of the User-Agent cannot send",
        why=N_("The server received a ClientHello that the browser of the request cannot send."),
        advice=_AT_THE_SERVER,
    ),
    _server(
        Reason.INTERCEPTOR_HEADER,
        "a request header that only interceptors add",
        why=N_("The server received a header that browsers do not send and that a product adds to what it decrypts."),
        advice=_AT_THE_SERVER,
    ),
    _server(
        Reason.NOTHING_SEEN,
        "no rule of the server's side fits",
        why=N_("The server received nothing that the browsers of the requests cannot send; this clears nobody."),
        advice={_STUDENT: _AT_THE_SERVER[_STUDENT]},
    ),
)
"""What a server concludes from its own side. `detector.origin.table` decides; here is what it means for readers."""

RULE_OF: Final = {rule.reason: rule for rule in (*TABLE, *SERVER)}
"""The rule of each reason: there is exactly one."""


def attack(facts: Facts) -> Advice:
    """Return the advice on an attack: that of the first rule that fits as one from `probable` on, else nothing."""
    fits = (rule for rule in ACCUSING if rule.attack and _fits(rule, facts))
    return next((rule.attack for rule in fits if _graded(rule, facts).reaches(_PROBABLE)), {})


DECISIONS_REMEMBERED_MAX: Final = 1024
"""Combinations of facts whose decision is remembered: a network shows a few dozen. A key is about 20 short strings."""


@lru_cache(maxsize=DECISIONS_REMEMBERED_MAX)
def read(facts: Facts) -> Decision:
    """Read the decision table. Equal facts give equal decisions, and most endpoints show the same few."""
    if not facts.certificate_seen:
        return Decision((OTHER_HELLO if facts.other_hello else NOTHING_SEEN).reason, Verdict.INCONCLUSIVE)
    for rule in SETTLING:
        if rule.holds(facts):
            return _cleared(rule, facts)
    # A browser's report that would settle with the key proved is not accused without.
    for rule, is_first in ((REPORTED, facts.has(P.LEAF, W.SAME_KEY)), (BUDGET_SPENT, not facts.has(W.DIFFERS))):
        if is_first and rule.holds(facts):
            return Decision(rule.reason, Verdict.INCONCLUSIVE)
    fired = [(rule, _graded(rule, facts)) for rule in ACCUSING if _fits(rule, facts)]
    if fired:
        order = list(Confidence)
        most_severe, confidence = max(fired, key=lambda one: order.index(one[1]))
        return Decision(
            most_severe.reason,
            Verdict.MIDDLEWARE,
            confidence=confidence,
            alternatives=_alternatives(most_severe, confidence, facts),
            fired=tuple((rule.reason, grade) for rule, grade in fired),
        )
    if facts.key_proved:
        for rule in CLEARING:
            if rule.holds(facts):
                return _cleared(rule, facts)
    return Decision(next(rule.reason for rule in ELSE if rule.holds(facts)), Verdict.INCONCLUSIVE)


def _cleared(rule: Rule, facts: Facts) -> Decision:
    """Return what a rule that clears or settles gives: nothing clears in place of the hello that was asked for."""
    if facts.other_hello:
        return Decision(OTHER_HELLO.reason, Verdict.INCONCLUSIVE)
    return Decision(rule.reason, Verdict.CLEAN, assurance=rule.assurance)


def _fits(rule: Rule, facts: Facts) -> bool:
    return (rule.any_name or facts.name_right) and rule.holds(facts)


def _graded(rule: Rule, facts: Facts) -> Confidence:
    """Return the confidence of a rule that fits: its first grade that holds, capped by what was not proved."""
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
    """Return what else could explain it, a portal first; nothing innocent explains what is proven."""
    if confidence is _PROVEN:
        return ()
    found = rule.alternatives(facts)
    if facts.portal:
        found = (_A.CAPTIVE_PORTAL, *found)
    if not facts.key_proved and not found:
        found = (_A.WRONG_SERVER,)
    return tuple(dict.fromkeys(found))
