"""The decision table as data: what each rule carries, how it is read, and what holds whatever the findings are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.results import found

from detector.judge import table
from detector.judge.checks import (
    MODULES,
    chain,
    host_name,
    identity,
    key_possession,
    neighbours,
    pin,
    place,
    presented,
)
from detector.judge.checks import transparency as logging
from detector.judge.facts import Facts
from detector.judge.table import BY_COMPANY, RULE_OF, TABLE, Rule, Stage, read
from detector.model import Alternative, Confidence, Finding, Reason, Verdict

if TYPE_CHECKING:
    from detector.judge.outcome import CheckOutcome

OUTCOMES: Final[tuple[CheckOutcome, ...]] = tuple(outcome for module in MODULES for outcome in module.Outcome)
"""Everything that any check can find."""

findings = st.lists(st.sampled_from(OUTCOMES).map(found), max_size=12)


def test_each_reason_has_one_rule() -> None:
    """Every reason of the model is a rule, once, and the rule that catches all comes last."""
    assert sorted(rule.reason for rule in (*TABLE, *table.SERVER)) == sorted(Reason)
    assert TABLE[-1] is table.FALLBACK
    assert all(RULE_OF[rule.reason] is rule for rule in (*TABLE, *table.SERVER))


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: str(rule.reason))
def test_what_a_rule_carries(rule: Rule) -> None:
    """What accuses has grades, the last unconditional; what clears has an assurance; each says why in a sentence."""
    assert bool(rule.grades) is (rule.stage is Stage.ACCUSES)
    assert (rule.assurance is not None) is (rule.stage in {Stage.SETTLES, Stage.CLEARS})
    assert rule.needs
    assert not rule.needs.endswith(".")
    assert rule.why.endswith(".")
    if rule.grades:
        assert all(grade.when for grade in rule.grades[:-1])
        assert rule.grades[-1].holds(Facts(()))
        order = [list(Confidence).index(g.confidence) for g in rule.grades if g.confidence is not BY_COMPANY]
        assert order == sorted(order, reverse=True) or rule.reason in {Reason.WITNESS_DIFFERS, Reason.PIN_MISMATCH}


@pytest.mark.parametrize("rule", [r for r in TABLE if r.stage is Stage.ACCUSES], ids=lambda rule: str(rule.reason))
def test_below_probable_no_sentence_says_that_anything_decrypts(rule: Rule) -> None:
    """A rule that may be only possible says what was seen, not what it means."""
    if any(grade.confidence in {Confidence.POSSIBLE, BY_COMPANY} for grade in rule.grades):
        assert "decrypt" not in rule.why


SEEN: Final = (presented.Outcome.SEEN, key_possession.Outcome.PROVED, host_name.Outcome.MATCH)


class TestReading:
    """How rules are combined."""

    def test_the_gravest_rule_decides_and_all_that_fit_are_kept(self) -> None:
        """Accusing comes before clearing, and a decision knows every rule that fits."""
        decision = read(Facts(map(found, (*SEEN, chain.Outcome.PRIVATE, chain.Outcome.EXCEEDED, pin.Outcome.MISMATCH))))
        assert decision.fired == (
            (Reason.PIN_MISMATCH, Confidence.POSSIBLE),
            (Reason.PRIVATE_CHAIN, Confidence.POSSIBLE),
        )
        assert decision.reason is Reason.PIN_MISMATCH
        assert not decision.proves_substitution

    def test_company_needs_a_public_place(self) -> None:
        """Private names and addresses are alone in any company."""
        for where, confidence in (
            ((place.Outcome.PUBLIC,), Confidence.PROBABLE),
            ((place.Outcome.UNKNOWN,), Confidence.PROBABLE),
            ((place.Outcome.PRIVATE_ADDRESS,), Confidence.POSSIBLE),
            ((place.Outcome.PUBLIC, place.Outcome.PRIVATE_NAME), Confidence.POSSIBLE),
        ):
            outcomes = (*SEEN, chain.Outcome.ADDED, neighbours.Outcome.COMPANY, *where)
            assert read(Facts(map(found, outcomes))).confidence is confidence

    def test_what_is_capped(self) -> None:
        """An unfinished name and an exceeded limit take proof away, and leave the rest."""
        for cap in (host_name.Outcome.UNFINISHED, chain.Outcome.EXCEEDED):
            substituted = (presented.Outcome.SEEN, key_possession.Outcome.PROVED, chain.Outcome.PRIVATE)
            stated = found(identity.Outcome.STATED)
            plain = read(Facts([*map(found, (*substituted, host_name.Outcome.MATCH)), stated]))
            capped = read(Facts([*map(found, (*substituted, cap)), stated]))
            assert (plain.confidence, capped.confidence) == (Confidence.PROVEN, Confidence.PROBABLE)
            assert plain.reason is capped.reason is Reason.IDENTITY_SUBSTITUTED

    def test_accepted_and_stale_pins_name_both_explanations(self) -> None:
        """Pins that are old, and a CA that should not have issued."""
        decision = read(
            Facts(map(found, (*SEEN, chain.Outcome.ACCEPTED, logging.Outcome.LOGGED, pin.Outcome.MISMATCH)))
        )
        assert decision.alternatives == (Alternative.PIN_ROTATION, Alternative.PUBLIC_CA_MISISSUANCE)


@given(findings)
def test_every_heap_of_findings_has_an_answer(heap: list[Finding]) -> None:
    """However contradictory, a decision with what belongs to its verdict, and never raised."""
    decision = read(Facts(heap))
    assert (decision.confidence is not None) == (decision.verdict is Verdict.MIDDLEWARE)
    assert (decision.assurance is not None) == (decision.verdict is Verdict.CLEAN)
    assert (RULE_OF[decision.reason].stage is Stage.ACCUSES) == (decision.verdict is Verdict.MIDDLEWARE)
    assert decision.confidence is not Confidence.PROVEN or not decision.alternatives


@given(findings, st.randoms(use_true_random=False))
def test_order_and_repetition_of_findings_do_not_matter(heap: list[Finding], random: object) -> None:
    """Findings are a set."""
    shuffled = [*heap, *heap[:3]]
    random.shuffle(shuffled)  # type: ignore[attr-defined] # Hypothesis gives a random.Random
    assert read(Facts(heap)) == read(Facts(shuffled))


@given(findings)
def test_without_a_certificate_nothing_is_accused(heap: list[Finding]) -> None:
    """An outage is never middleware, whatever else is found; whether another hello was answered is the reason."""
    rest = [finding for finding in heap if finding.check != presented.ID]
    other = Facts(rest).other_hello
    assert read(Facts(rest)).reason is (Reason.OTHER_HELLO if other else Reason.NO_CERTIFICATE)
