"""The whole decision table, cell by cell: class x identity x pins x logging x key proved, against a literal page.

`whole_table.txt` holds what each cell must be, written from docs/decisions.md. What the table answers for every
combination of facts, possible or not, is held to the properties that the design rests on.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from detector.judge import table
from detector.judge.checks import (
    chain,
    forged_issuer,
    host_name,
    identity,
    key_possession,
    known_interceptor,
    neighbours,
    pin,
    place,
    presented,
    second_try,
    shared_signer,
    transparency,
    witness,
)
from detector.judge.facts import Facts
from detector.model import Confidence, Finding, Meaning, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.outcome import CheckOutcome
    from detector.judge.table import Decision

C, I, N, P = chain.Outcome, identity.Outcome, neighbours.Outcome, pin.Outcome  # noqa: E741 - as the table calls them
T, W, K, S = transparency.Outcome, witness.Outcome, known_interceptor.Outcome, shared_signer.Outcome
X = second_try.Outcome
KEY, NAME, PLACE = key_possession.Outcome, host_name.Outcome, place.Outcome

CHAINS: Final[dict[str, tuple[CheckOutcome, ...]]] = {
    "accepted, logged": (C.ACCEPTED, T.LOGGED),
    "accepted, unknowable": (C.ACCEPTED, T.UNKNOWABLE),
    "accepted, not carried": (C.ACCEPTED, T.NOT_CARRIED),
    "accepted, unlogged": (C.ACCEPTED, T.UNLOGGED),
    "declared": (C.DECLARED,),
    "declared, not taken": (C.DECLARED, C.NOT_TAKEN),
    "retired root": (C.RETIRED,),
    "retired by a date": (C.RETIRED, C.DATES_FORBID),
    "defective": (C.DEFECTIVE, C.NOT_TAKEN),
    "added": (C.ADDED,),
    "added and defective": (C.ADDED, C.DEFECTIVE, C.NOT_TAKEN),
    "unfamiliar": (C.UNFAMILIAR,),
    "unreadable": (C.UNREADABLE,),
    "incomplete": (C.INCOMPLETE,),
    "private": (C.PRIVATE,),
}
IDENTITIES: Final[dict[str, tuple[CheckOutcome, ...]]] = {
    "unknown": (I.UNKNOWN, PLACE.PUBLIC),
    "declared": (I.DECLARED, PLACE.PUBLIC),
    "stated": (I.STATED, PLACE.PUBLIC),
    "pinned-public": (I.PINNED_PUBLIC, PLACE.PUBLIC),
    "pinned-public, private address": (I.PINNED_PUBLIC, PLACE.PRIVATE_ADDRESS),
    "seen": (I.SEEN_IN_RUN, PLACE.PUBLIC),
    "seen, private address": (I.SEEN_IN_RUN, PLACE.PRIVATE_ADDRESS),
    "seen before": (I.SEEN_BEFORE, PLACE.PUBLIC),
}
PINS: Final[dict[str, tuple[CheckOutcome, ...]]] = {
    "none": (P.NONE,),
    "expired": (P.EXPIRED,),
    "leaf": (P.LEAF,),
    "leaf not its own": (P.LEAF_NOT_ITS_OWN,),
    "CA": (P.CA,),
    "path": (P.PATH,),
    "mismatch": (P.MISMATCH,),
    "excused": (P.EXCUSED,),
}
KEYS: Final = {"proved": KEY.PROVED, "not proved": KEY.NOT_PROVED, "reported": KEY.REPORTED}

PAGE: Final = Path(__file__).with_name("whole_table.txt")


def found(*outcomes: CheckOutcome) -> list[Finding]:
    """Findings with these outcomes, on a certificate that was seen."""
    every = (presented.Outcome.SEEN, *outcomes)
    return [Finding(check=o.check, outcome=o, says=Meaning.NEUTRAL, summary="") for o in every]


def decide(*outcomes: CheckOutcome) -> Decision:
    return table.read(Facts(found(*outcomes)))


def answer(decision: Decision) -> str:
    """A decision as the page writes it: how sure or on what it rests, and the rule."""
    rests = decision.confidence or decision.assurance or "inconclusive"
    return f"{rests} {decision.reason}"


class Cell(NamedTuple):
    """One cell of the page."""

    pins: str
    key: str
    chain: str
    identity: str
    expected: str


def cells() -> Iterator[Cell]:
    """Every cell of the page. One answer in a line is that of all identities."""
    pins = key = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if head := re.fullmatch(r"pins (.+); key (.+)", line):
            pins, key = head.groups()
        elif line and not line.startswith("#"):
            kind, _, answers = line.partition(":")
            expected = [one.strip() for one in answers.split("|")]
            if len(expected) == 1:
                expected *= len(IDENTITIES)
            for name, one in zip(IDENTITIES, expected, strict=True):
                yield Cell(pins, key, kind.strip(), name, one)


def test_every_cell_is_as_written() -> None:
    """Each cell of the page comes out of the table."""
    wrong = []
    for cell in cells():
        outcomes = (*PINS[cell.pins], KEYS[cell.key], *CHAINS[cell.chain], *IDENTITIES[cell.identity], NAME.MATCH)
        said = answer(decide(*outcomes))
        if said != cell.expected:
            wrong.append((cell, said))
    assert not wrong


def test_the_page_has_every_cell_once() -> None:
    """The page leaves out no combination and says none twice."""
    listed = [(cell.pins, cell.key, cell.chain, cell.identity) for cell in cells()]
    assert sorted(listed) == sorted(itertools.product(PINS, KEYS, CHAINS, IDENTITIES))


NAMES: Final = tuple(NAME)
WITNESSES: Final = ((), (W.EQUAL,), (W.DIFFERS,), (W.NO_ANSWER,), (W.NOT_ASKED, W.SAME_KEY))
COMPANY: Final[tuple[tuple[CheckOutcome, ...], ...]] = (
    (),
    (N.COMPANY,),
    (N.SIGNER_SUBSTITUTES,),
    (N.ROOT_SUBSTITUTES,),
    (N.CANARY_SUBSTITUTED, N.ENDPOINT_SUBSTITUTED, N.COMPANY),
)
MARKS: Final[tuple[tuple[CheckOutcome, ...], ...]] = (
    (),
    (K.KEY,),
    (K.PRODUCT,),
    (forged_issuer.Outcome.OTHER_KEY,),
    (S.RIVALS,),
    (S.PRIVATE_SIGNER,),
    (C.STALE_ROOTS,),
    (C.EXCEEDED,),
)
ORDER: Final = list(Confidence)


def gravity(decision: Decision) -> int:
    if decision.confidence is not None:
        return 2 + ORDER.index(decision.confidence)
    return int(decision.verdict is Verdict.INCONCLUSIVE)


class Combination(NamedTuple):
    """Facts, possible together or not."""

    chain: str
    identity: str
    pins: str
    key: key_possession.Outcome
    name: host_name.Outcome
    witness: tuple[CheckOutcome, ...]
    company: tuple[CheckOutcome, ...]
    marks: tuple[CheckOutcome, ...]

    def decide(self, *more: CheckOutcome) -> Decision:
        return decide(
            *CHAINS[self.chain],
            *IDENTITIES[self.identity],
            *PINS[self.pins],
            self.key,
            self.name,
            *self.witness,
            *self.company,
            *self.marks,
            *more,
        )


def combinations(**fixed: object) -> Iterator[Combination]:
    """Every combination, or those with some facts fixed to a few values."""
    axes: dict[str, object] = {
        "chain": CHAINS,
        "identity": ("unknown", "stated", "pinned-public, private address", "seen"),
        "pins": ("none", "leaf", "CA", "mismatch"),
        "key": tuple(KEYS.values()),
        "name": (NAME.MATCH, NAME.MISMATCH),
        "witness": ((),),
        "company": ((),),
        "marks": ((),),
        **fixed,
    }
    for values in itertools.product(*axes.values()):  # type: ignore[call-overload] # each is a collection of its kind
        yield Combination(*values)


def test_nothing_is_left_open() -> None:
    """Every combination of facts has an answer, and every rule of the table is some combination's reason."""
    reasons = {
        one.decide().reason
        for every in (
            combinations(pins=PINS, name=NAMES, identity=IDENTITIES),
            combinations(witness=WITNESSES, company=COMPANY),
            combinations(marks=MARKS),
        )
        for one in every
    }
    reasons |= {
        decide(C.UNREADABLE, I.UNKNOWN, KEY.PROVED, NAME.MATCH).reason,
        decide(C.PRIVATE, C.POSTPONED, I.UNKNOWN, KEY.PROVED, NAME.MATCH).reason,
        decide(C.PRIVATE, I.STATED, KEY.WRONG, NAME.MATCH, C.RETIRED).reason,
        decide(C.RETIRED, C.DATES_FORBID, I.UNKNOWN, KEY.WRONG, NAME.MATCH).reason,
        decide(C.INCOMPLETE, S.MISSING_ISSUER, I.UNKNOWN, KEY.PROVED, NAME.MATCH).reason,
        decide(C.ACCEPTED, T.LOGGED, KEY.PROVED, NAME.MATCH, X.OTHER_HELLO).reason,
        decide(C.ISSUER_NOT_REPORTED, P.MISMATCH, I.STATED, KEY.REPORTED, NAME.MATCH).reason,
        table.read(Facts([])).reason,
        table.read(Facts(found(C.RETIRED, C.DATES_FORBID, NAME.MATCH, KEY.PROVED) + clock_wrong())).reason,
    }
    assert reasons == {rule.reason for rule in table.TABLE}


def clock_wrong() -> list[Finding]:
    return [Finding(check="clock", outcome="wrong", says=Meaning.EXPLAINS, summary="")]


def test_clean_rests_on_one_of_four_things() -> None:
    """Whatever else is added, clean needs the witness, the leaf's own pin, an accepted path or a declared one."""
    for one in (*combinations(witness=WITNESSES, company=COMPANY), *combinations(marks=MARKS)):
        if one.decide().verdict is Verdict.CLEAN:
            assert (
                {*one.witness} & {W.EQUAL, W.SAME_KEY}
                or one.pins == "leaf"
                or one.chain.startswith(("accepted", "declared"))
            ), one


@pytest.mark.parametrize("stands_in", [X.OTHER_HELLO, X.UNANSWERED])
def test_another_hello_accuses_as_before_and_clears_nothing(stands_in: CheckOutcome) -> None:
    """What came in place of the hello asked for is as grave as it would be otherwise, and never clean."""
    for one in (*combinations(witness=WITNESSES), *combinations(company=COMPANY[:3], pins=("none",))):
        plain, decision = one.decide(), one.decide(stands_in)
        if plain.verdict is Verdict.CLEAN:
            assert (decision.verdict, decision.reason) == (Verdict.INCONCLUSIVE, Reason.OTHER_HELLO), one
        else:
            assert (decision.verdict, decision.confidence) == (plain.verdict, plain.confidence), one


def test_size_and_address_change_no_decision() -> None:
    """A smaller hello and another address are the same question to the same server: neutral."""
    for one in combinations(witness=WITNESSES[:2], key=(KEY.PROVED,)):
        assert one.decide(X.SIZE, X.ADDRESS, X.SIZE_OR_ADDRESS) == one.decide(), one


def test_without_the_keys_proof_only_a_witness_clears() -> None:
    """A chain that anybody can replay clears nothing."""
    for one in combinations(witness=WITNESSES, company=COMPANY, key=(KEY.NOT_PROVED, KEY.WRONG, KEY.REPORTED)):
        decision = one.decide()
        assert decision.verdict is not Verdict.CLEAN or one.witness == (W.EQUAL,), one


def test_without_the_keys_proof_nothing_is_proven_but_by_a_witness() -> None:
    """What is not proved caps every accusation but the witness's."""
    unproved = (KEY.NOT_PROVED, KEY.WRONG, KEY.REPORTED)
    for one in (
        *combinations(company=COMPANY, key=unproved),
        *combinations(witness=WITNESSES, marks=MARKS, key=unproved),
    ):
        decision = one.decide()
        assert decision.confidence is not Confidence.PROVEN or decision.reason is Reason.WITNESS_DIFFERS, one


def test_a_wrong_name_is_at_most_possible() -> None:
    """Portals, block pages and appliances answer with other names; only a witness says more."""
    for one in combinations(witness=WITNESSES, company=COMPANY[:3], marks=MARKS, name=(NAME.MISMATCH,)):
        decision = one.decide()
        if decision.reason is not Reason.WITNESS_DIFFERS:
            assert decision.confidence in {None, Confidence.POSSIBLE}, one


def test_company_moves_between_possible_and_probable_only() -> None:
    """A canary that came out as middleware never clears, never proves, and never accuses what was not accused."""
    for one in (*combinations(witness=WITNESSES), *combinations(marks=MARKS)):
        alone, accompanied = one.decide(), one.decide(N.COMPANY)
        if alone.reason is Reason.UNREADABLE and accompanied.reason is Reason.UNREADABLE_PERSISTS:
            continue
        same = (alone.verdict, alone.confidence) == (accompanied.verdict, accompanied.confidence)
        raised = (alone.confidence, accompanied.confidence) == (Confidence.POSSIBLE, Confidence.PROBABLE)
        assert same or raised, one


def test_a_private_address_only_lowers_to_probable_or_possible() -> None:
    """An address that is another machine everywhere takes proof away, and clears nothing."""
    for kind, key, name in itertools.product(CHAINS, KEYS.values(), NAMES):
        for known in (I.PINNED_PUBLIC, I.SEEN_IN_RUN, I.STATED, I.UNKNOWN):
            public = decide(*CHAINS[kind], known, PLACE.PUBLIC, key, name)
            private = decide(*CHAINS[kind], known, PLACE.PRIVATE_ADDRESS, key, name)
            assert public.verdict is private.verdict
            assert gravity(private) <= gravity(public)


@pytest.mark.parametrize("more", [K.KEY, K.PRODUCT, S.RIVALS, S.PRIVATE_SIGNER, N.SIGNER_SUBSTITUTES, W.DIFFERS])
def test_more_that_accuses_is_never_milder(more: CheckOutcome) -> None:
    """Whatever is found against an observation besides, the answer is as grave as before or graver."""
    for one in (*combinations(company=COMPANY), *combinations(marks=MARKS)):
        assert gravity(one.decide(more)) >= gravity(one.decide()), (one, more)


def test_limits_and_stale_roots_clear_nothing() -> None:
    """What exceeds our limits is never proven by the chain alone; what stale roots silence is never clean."""
    for one in combinations(company=COMPANY):
        exceeded, stale = one.decide(C.EXCEEDED), one.decide(C.STALE_ROOTS)
        plain = one.decide()
        assert exceeded.confidence is not Confidence.PROVEN
        assert exceeded.verdict is plain.verdict
        assert (stale.verdict is Verdict.CLEAN) == (plain.verdict is Verdict.CLEAN)


def test_every_accusation_that_is_not_proven_names_another_explanation() -> None:
    """A possible or probable result names what else could explain it."""
    every = [one.decide() for one in combinations(company=COMPANY, marks=MARKS, key=(KEY.PROVED,))]
    unsure = (one for one in every if one.confidence in {Confidence.POSSIBLE, Confidence.PROBABLE})
    silent = {one.reason for one in unsure if not one.alternatives}
    assert silent <= {Reason.FORGED_ISSUER, Reason.IDENTITY_SUBSTITUTED, Reason.SIGNER_SUBSTITUTES_ELSEWHERE}
