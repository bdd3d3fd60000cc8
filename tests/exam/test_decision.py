"""The decision: pure, so that its promises are tested as properties over every kind of report and policy."""

from __future__ import annotations

import datetime as dt
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.exam import Action, Policy, ReasonCode, Threshold, decide
from detector.judge import table
from detector.model import (
    Assurance,
    Attribution,
    Category,
    Confidence,
    EndpointName,
    ManagedBy,
    Observation,
    Outcome,
    Report,
    Result,
    Verdict,
)

NOW = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)
EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
HOSTILE = "CN=<script>alert(1)</script>"

LADDER: tuple[tuple[Verdict, Assurance | None, Confidence | None], ...] = (
    (Verdict.CLEAN, Assurance.WITNESSED, None),
    (Verdict.CLEAN, Assurance.PINNED, None),
    (Verdict.INCONCLUSIVE, None, None),
    (Verdict.MIDDLEWARE, None, Confidence.POSSIBLE),
    (Verdict.MIDDLEWARE, None, Confidence.PROBABLE),
    (Verdict.MIDDLEWARE, None, Confidence.PROVEN),
)
"""What can come out for one endpoint, from the best to the worst."""


def result(host: str, category: Category, step: int) -> Result:
    """The result of one endpoint, that far up the ladder."""
    what, assurance, confidence = LADDER[step]
    accused = what is Verdict.MIDDLEWARE
    return Result(
        endpoint=EndpointName(host=host, port=443, category=category),
        verdict=what,
        row=17 if accused else 1 if what is Verdict.INCONCLUSIVE else 6,
        reason="private-chain-pin-mismatch" if accused else "no-certificate" if assurance is None else "pinned",
        confidence=confidence,
        assurance=assurance,
        attribution=Attribution(product="Filter 3000", managed_by=ManagedBy.INSTITUTION, issuer=HOSTILE)
        if accused
        else None,
        advice=f"Ask its IT to exempt {host}." if accused else "",
        observation=Observation(outcome=Outcome.RESET if what is Verdict.INCONCLUSIVE else Outcome.COMPLETE),
    )


def report(results: list[Result], named: frozenset[str] = frozenset()) -> Report:
    """The report on these results, judged as a network by the real table."""
    network = table.decide_network(results, named=named)
    return Report(
        detector_version="0",
        started=NOW,
        finished=NOW,
        vantage="",
        verdict=network.verdict,
        confidence=network.confidence,
        scope=network.scope,
        coverage=network.coverage,
        results=tuple(results),
        knowledge=(),
    )


def made(*endpoints: tuple[str, Category, int]) -> Report:
    """A report on endpoints given as (host, category, step of the ladder)."""
    return report([result(*endpoint) for endpoint in endpoints])


_STEPS = st.integers(0, len(LADDER) - 1)
_CATEGORIES = st.sampled_from([Category.EXAM, Category.LMS, Category.SEARCH])
_HOSTS = ["a.example", "b.example", "c.example", "d.example"]
_NAMES = st.sampled_from([f"{host}:443" for host in _HOSTS])
_NETWORKS = st.lists(st.tuples(_CATEGORIES, _STEPS), max_size=len(_HOSTS)).map(
    lambda drawn: [result(host, *endpoint) for host, endpoint in zip(_HOSTS, drawn, strict=False)]
)
_NAMED = st.frozensets(_NAMES, max_size=2)
_THRESHOLDS = st.tuples(st.sampled_from(Threshold), st.sampled_from(Threshold)).filter(
    lambda two: two[1] is Threshold.NEVER or list(Threshold).index(two[1]) <= list(Threshold).index(two[0])
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any policy that can be written."""
    block_at, warn_at = draw(_THRESHOLDS)
    return Policy(
        block_at=block_at,
        warn_at=warn_at,
        on_inconclusive=draw(st.sampled_from(Action)),
        categories=draw(st.frozensets(_CATEGORIES, min_size=1)),
        require_witness=draw(st.just(()) | st.just(()) | _CATEGORIES | st.lists(_NAMES, max_size=2).map(tuple)),
    )


class TestPromises:
    @given(policies(), _NETWORKS, _NAMED, st.data())
    def test_worse_never_relaxes(
        self, policy: Policy, network: list[Result], named: frozenset[str], data: st.DataObject
    ) -> None:
        """One endpoint that comes out worse never makes the decision milder, whatever else was seen."""
        if not network:
            return
        at = data.draw(st.integers(0, len(network) - 1))
        before = network[at]
        step = LADDER.index((before.verdict, before.assurance, before.confidence))
        worse = result(before.endpoint.host, before.endpoint.category, data.draw(st.integers(step, len(LADDER) - 1)))
        after = [*network[:at], worse, *network[at + 1 :]]
        milder = decide(policy, report(network, named), named=named).action
        assert decide(policy, report(after, named), named=named).action.rank >= milder.rank

    @given(policies(), _NETWORKS, _NAMED, _CATEGORIES, st.integers(2, len(LADDER) - 1))
    def test_one_more_that_is_not_clean_never_relaxes(
        self, policy: Policy, network: list[Result], named: frozenset[str], category: Category, step: int
    ) -> None:
        """Looking at one more endpoint and not finding it clean never makes the decision milder."""
        more = [*network, result("z.example", category, step)]
        milder = decide(policy, report(network, named), named=named).action
        assert decide(policy, report(more, named), named=named).action.rank >= milder.rank

    @given(policies(), _NETWORKS, _NAMED)
    def test_interception_in_scope_is_never_allowed(
        self, policy: Policy, network: list[Result], named: frozenset[str]
    ) -> None:
        """At warn_at it warns at least, at block_at it blocks."""
        action = decide(policy, report(network, named), named=named).action
        for one in network:
            if one.confidence is not None and one.endpoint.category in policy.categories:
                if policy.warn_at.is_met_by(one.confidence):
                    assert action is not Action.ALLOW
                if policy.block_at.is_met_by(one.confidence):
                    assert action is Action.BLOCK

    @settings(max_examples=600)  # few networks are inconclusive by a name alone
    @given(policies(), _NETWORKS, _NAMED, st.sampled_from(["all", "none"]))
    def test_no_filter_clears_an_inconclusive_network(
        self, policy: Policy, network: list[Result], named: frozenset[str], told: str
    ) -> None:
        """Whatever categories count, a network that could not be judged gets what the policy says for that.

        Also when the names that made it inconclusive are not passed on.
        """
        seen = report(network, named)
        action = decide(policy, seen, named=named if told == "all" else ()).action
        if seen.verdict is Verdict.INCONCLUSIVE:
            assert action.rank >= policy.on_inconclusive.rank

    @given(policies(), _NETWORKS, _NAMED)
    def test_allowed_means_cleared(self, policy: Policy, network: list[Result], named: frozenset[str]) -> None:
        """Unless the policy waives it: something in scope is clean, and so is every endpoint that matters."""
        action = decide(policy, report(network, named), named=named).action
        if action is not Action.ALLOW or policy.on_inconclusive is Action.ALLOW:
            return
        assert any(r.verdict is Verdict.CLEAN for r in network)
        for one in network:
            if one.endpoint.category is Category.EXAM or one.endpoint.name in named:
                assert one.verdict is Verdict.CLEAN

    @given(policies(), _NETWORKS, _NAMED)
    def test_a_missing_witness_is_never_allowed(
        self, policy: Policy, network: list[Result], named: frozenset[str]
    ) -> None:
        """Where a witness is required, nothing but its word lets the exam start."""
        required = [r for r in network if policy.requires_witness(r.endpoint.name, r.endpoint.category)]
        if any(r.assurance is not Assurance.WITNESSED for r in required) or (policy.require_witness and not required):
            assert decide(policy, report(network, named), named=named).action is not Action.ALLOW

    @given(policies(), _NETWORKS, _NAMED)
    def test_stricter_policies_are_stricter(self, policy: Policy, network: list[Result], named: frozenset[str]) -> None:
        """A policy that blocks from `possible` on and whenever it is unsure is never milder than another."""
        strictest = msgspec.structs.replace(
            policy, block_at=Threshold.POSSIBLE, warn_at=Threshold.POSSIBLE, on_inconclusive=Action.BLOCK
        )
        seen = report(network, named)
        milder = decide(policy, seen, named=named).action
        assert decide(strictest, seen, named=named).action.rank >= milder.rank

    @given(policies(), _NETWORKS, _NAMED)
    def test_reasons_and_message_fit_the_action(
        self, policy: Policy, network: list[Result], named: frozenset[str]
    ) -> None:
        """The first reason carries the action; every endpoint is in a reason; the message is one short paragraph."""
        action, reasons, message = decide(policy, report(network, named), named=named)
        assert reasons[0].action is action
        assert all(reason.action.rank <= action.rank and reason.sentence for reason in reasons)
        assert {r.endpoint.name for r in network if r.endpoint.category in policy.categories} <= {
            name for reason in reasons for name in reason.endpoints
        }
        assert 0 < len(message) < 600
        assert message.isprintable()
        assert message.endswith(".")

    @given(policies(), _NETWORKS, _NAMED)
    def test_nobody_is_accused_and_nothing_hostile_is_repeated(
        self, policy: Policy, network: list[Result], named: frozenset[str]
    ) -> None:
        """No message blames its reader, and no text that came over the network stands in it."""
        action, _, message = decide(policy, report(network, named), named=named)
        assert not re.search(r"cheat|fraud|violat|suspicious|suspect|illegal|attack|your fault", message, re.IGNORECASE)
        assert HOSTILE not in message
        assert (action is Action.ALLOW) == ("go ahead" in message)


class TestTable:
    """The decisions table of docs/exam-gate.md, one case a row."""

    @pytest.mark.parametrize(
        ("step", "action", "code"),
        [
            (0, Action.ALLOW, ReasonCode.CLEAN),
            (1, Action.ALLOW, ReasonCode.CLEAN),
            (2, Action.WARN, ReasonCode.INCONCLUSIVE),
            (3, Action.WARN, ReasonCode.INTERCEPTED),
            (4, Action.WARN, ReasonCode.INTERCEPTED),
            (5, Action.BLOCK, ReasonCode.INTERCEPTED),
        ],
    )
    def test_default_policy_on_the_exam_host(self, step: int, action: Action, code: ReasonCode) -> None:
        """Clean is allowed, proven is blocked, everything in between warns."""
        decided = decide(Policy(), made((EXAM, Category.EXAM, step), (LMS, Category.LMS, 1)))
        assert (decided.action, decided.reasons[0].code) == (action, code)

    def test_unjudged_bystander_does_not_matter(self) -> None:
        """An endpoint that is neither an exam's nor named may fail while others are clean."""
        seen = made((EXAM, Category.EXAM, 1), (SEARCH, Category.SEARCH, 2))
        assert decide(Policy(), seen).action is Action.ALLOW
        assert decide(Policy(), seen, named={f"{SEARCH}:443"}).action is Action.WARN

    def test_nothing_looked_at_is_inconclusive(self) -> None:
        """An empty report clears nothing."""
        decided = decide(Policy(on_inconclusive=Action.BLOCK), made())
        assert (decided.action, decided.reasons[0].code) == (Action.BLOCK, ReasonCode.NOTHING_CLEAN)
        assert "the exam servers" in decided.message

    def test_network_that_could_not_be_judged_counts_without_its_names(self) -> None:
        """Somebody who does not pass on which endpoint was named gets the network's verdict all the same."""
        seen = report([result(EXAM, Category.EXAM, 1), result(LMS, Category.LMS, 2)], named=frozenset({f"{LMS}:443"}))
        assert decide(Policy(), seen).action is Action.WARN

    def test_endpoint_without_an_answer_is_named(self) -> None:
        """Alone, any endpoint matters: the reason asks for the action itself, and the message says which it was."""
        decided = decide(Policy(), made((LMS, Category.LMS, 2)))
        assert (decided.reasons[0].code, decided.reasons[0].endpoints) == (ReasonCode.INCONCLUSIVE, (f"{LMS}:443",))
        assert LMS in decided.message

    def test_interception_out_of_scope_is_told_and_not_acted_on(self) -> None:
        """A filter that decrypts search alone does not stop an exam whose policy looks at exams."""
        seen = made((EXAM, Category.EXAM, 1), (SEARCH, Category.SEARCH, 5))
        decided = decide(Policy(categories=frozenset({Category.EXAM})), seen)
        assert decided.action is Action.ALLOW
        assert ReasonCode.INTERCEPTED_OUT_OF_SCOPE in {reason.code for reason in decided.reasons}
        assert decided.message == "You can go ahead with the exam."

    def test_exam_host_matters_out_of_scope_too(self) -> None:
        """Leaving exams out of the categories does not let a decrypted exam host pass."""
        seen = made((EXAM, Category.EXAM, 5), (LMS, Category.LMS, 1))
        assert decide(Policy(categories=frozenset({Category.LMS})), seen).action is Action.WARN

    def test_below_warn_at_counts_as_unjudged(self) -> None:
        """A mismatch below the threshold is no clean bill for the exam host, but none for a bystander is needed."""
        policy = Policy(warn_at=Threshold.PROBABLE)
        on_exam = decide(policy, made((EXAM, Category.EXAM, 3), (LMS, Category.LMS, 1)))
        assert (on_exam.action, on_exam.reasons[0].code) == (Action.WARN, ReasonCode.INTERCEPTED_BELOW_THRESHOLD)
        assert decide(policy, made((EXAM, Category.EXAM, 1), (LMS, Category.LMS, 3))).action is Action.ALLOW

    def test_required_witness(self) -> None:
        """Pinned is not enough where a witness is required; witnessed is."""
        policy = Policy(require_witness=Category.EXAM, on_inconclusive=Action.ALLOW)
        pinned = decide(policy, made((EXAM, Category.EXAM, 1)))
        assert (pinned.action, pinned.reasons[0].code) == (Action.WARN, ReasonCode.WITNESS_MISSING)
        assert decide(policy, made((EXAM, Category.EXAM, 0))).action is Action.ALLOW
        assert decide(policy, made((LMS, Category.LMS, 0))).reasons[0].code is ReasonCode.WITNESS_MISSING
        listed = Policy(require_witness=(EXAM,), on_inconclusive=Action.BLOCK)
        assert decide(listed, made((LMS, Category.LMS, 0))).action is Action.BLOCK

    def test_message_names_hosts_product_and_advice_once(self) -> None:
        """Hosts that share a remedy share its sentence; of many hosts a few are named."""
        several = [(f"h{n}.example", Category.EXAM, 5) for n in range(5)]
        message = decide(Policy(), made(*several)).message
        assert "Filter 3000" in message
        assert "Ask its IT to exempt h0.example, h1.example, h2.example and 2 more." in message
        assert "Please do not start the exam on this connection yet." in message
