"""The decision: pure, so that its promises are tested as properties over every kind of report and policy."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.admissions import (
    HOSTILE,
    LADDER,
    NO_ANSWER,
    PORTAL,
    POSSIBLE,
    PROBABLE,
    PRODUCT,
    PROVEN,
    STALE_PIN,
    UNCONFIRMED,
    UNKNOWABLE,
    Case,
    clean,
    made,
    report,
    result,
)

from detector.exam import Action, OnStalePin, OnUnconfirmed, Policy, PolicyScope, ReasonCode, decide
from detector.judge import table
from detector.judge.advice import advise
from detector.model import (
    Assurance,
    Audience,
    Category,
    Confidence,
    Observation,
    Outcome,
    PortalObservation,
    PortalOutcome,
    ProxyObservation,
    ProxyScheme,
    Reason,
    Result,
    Route,
    UnfollowedProxy,
    Verdict,
)

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
LOGGED: Final = clean(Assurance.LOGGED)
CONFIRMED: Final = (EXAM, Category.EXAM, LOGGED)
"""An exam endpoint that is confirmed."""

_CATEGORIES = st.sampled_from([Category.EXAM, Category.LMS, Category.SEARCH])
_HOSTS = ["a.example", "b.example", "c.example", "d.example"]
_NAMES = st.sampled_from([f"{host}:443" for host in _HOSTS])
_CASES = st.sampled_from([*LADDER, *UNCONFIRMED])
_NETWORKS = st.lists(st.tuples(_CATEGORIES, _CASES), max_size=len(_HOSTS)).map(
    lambda drawn: [result(host, *endpoint) for host, endpoint in zip(_HOSTS, drawn, strict=False)]
)
_NAMED = st.frozensets(_NAMES, max_size=2)
_POLICIES = st.builds(
    Policy,
    on_unconfirmed=st.sampled_from(OnUnconfirmed),
    on_stale_pin=st.sampled_from(OnStalePin),
    scope=st.sampled_from(PolicyScope),
    require_witness=st.just(()) | st.just(()) | _CATEGORIES | st.lists(_NAMES, max_size=2).map(tuple),
)
_CONSISTENT = _POLICIES.filter(
    lambda policy: policy.on_unconfirmed is OnUnconfirmed.BLOCK or policy.on_stale_pin is OnStalePin.WARN
)
"""Policies that do not refuse stale pins and let pass what is worse."""


def must_be_confirmed(one: Result, policy: Policy, named: frozenset[str]) -> bool:
    """Whether this endpoint must be confirmed, written down a second time."""
    name, category = one.endpoint.name, one.endpoint.category
    return category is Category.EXAM or name in named or policy.requires_witness(name, category)


class TestPromises:
    @given(_CONSISTENT, _NETWORKS, _NAMED, st.data())
    def test_worse_never_relaxes(
        self, policy: Policy, network: list[Result], named: frozenset[str], data: st.DataObject
    ) -> None:
        """One endpoint that comes out worse never makes the decision milder, whatever else was seen."""
        if not network:
            return
        at = data.draw(st.integers(0, len(network) - 1))
        step = data.draw(st.integers(0, len(LADDER) - 1))
        further = data.draw(st.integers(step, len(LADDER) - 1))
        actions = []
        for case in (LADDER[step], LADDER[further]):
            one = result(network[at].endpoint.host, network[at].endpoint.category, case)
            seen = report([*network[:at], one, *network[at + 1 :]], named)
            actions.append(decide(policy, seen, named=named).action.rank)
        assert actions == sorted(actions)

    @given(_POLICIES, _NETWORKS, _NAMED, st.sampled_from([case for case in UNCONFIRMED if case.confidence is None]))
    def test_one_more_that_is_not_confirmed_never_relaxes(
        self, policy: Policy, network: list[Result], named: frozenset[str], case: Case
    ) -> None:
        """Probing one more endpoint and not finding it clean never makes the decision milder."""
        milder = decide(policy, report(network, named), named=named).action
        for category in (Category.EXAM, Category.SEARCH):
            more = [*network, result("z.example", category, case)]
            if any(must_be_confirmed(one, policy, named) for one in network) or category is Category.SEARCH:
                assert decide(policy, report(more, named), named=named).action.rank >= milder.rank

    @given(_POLICIES, _NETWORKS, _NAMED, _NAMED)
    def test_nothing_unconfirmed_is_let_through(
        self, policy: Policy, network: list[Result], named: frozenset[str], pinned: frozenset[str]
    ) -> None:
        """By default every endpoint that must be confirmed is clean, or a careful client takes it with a warning."""
        decided = decide(policy, report(network, named), named=named, pinned=pinned)
        if decided.action is Action.BLOCK or policy.on_unconfirmed is OnUnconfirmed.WARN:
            return
        seen = {one.endpoint.name for one in network}
        assert named | pinned <= seen
        for one in network:
            if must_be_confirmed(one, policy, named | pinned):
                passes = one.verdict is Verdict.CLEAN or one.reason in {STALE_PIN.reason, UNKNOWABLE.reason}
                assert passes
                assert decided.action is Action.WARN or one.verdict is Verdict.CLEAN

    @given(_POLICIES, _NETWORKS, _NAMED)
    def test_what_need_not_be_confirmed_blocks_only_with_the_scope_of_the_network(
        self, policy: Policy, network: list[Result], named: frozenset[str]
    ) -> None:
        """Next to a confirmed exam endpoint the rest warns at most, and only what is probable or proven."""
        confirmed = result(EXAM, Category.EXAM, clean(Assurance.WITNESSED))
        others = [one for one in network if not must_be_confirmed(one, policy, named)]
        policy = msgspec.structs.replace(policy, require_witness=())
        action = decide(policy, report([confirmed, *others])).action
        sure = any(one.confidence in {Confidence.PROBABLE, Confidence.PROVEN} for one in others)
        if not sure:
            assert action is Action.ALLOW
        else:
            assert action is (Action.BLOCK if policy.scope is PolicyScope.NETWORK else Action.WARN)

    @given(_POLICIES, _NETWORKS, _NAMED)
    def test_a_missing_witness_is_never_allowed(
        self, policy: Policy, network: list[Result], named: frozenset[str]
    ) -> None:
        """Where a witness is required, nothing but its word confirms."""
        required = [r for r in network if policy.requires_witness(r.endpoint.name, r.endpoint.category)]
        if any(r.assurance is not Assurance.WITNESSED for r in required) or (policy.require_witness and not required):
            assert decide(policy, report(network, named), named=named).action is not Action.ALLOW

    @given(_POLICIES, _NETWORKS, _NAMED, _NAMED, st.data())
    def test_lost_probes_and_other_routes_never_relax(
        self,
        policy: Policy,
        network: list[Result],
        named: frozenset[str],
        unrepeated: frozenset[str],
        data: st.DataObject,
    ) -> None:
        """A probe that was not answered, or went another way than the proxy setting says, makes nothing milder.

        Where the decision rests on such an endpoint, it is not `allow`; nor is it milder than for what was not
        confirmed where a probe was lost.
        """
        lost = data.draw(_NAMED)
        reason = data.draw(st.sampled_from(UnfollowedProxy))
        elsewhere = [_unfollowed(one, reason) if one.endpoint.name in lost else one for one in network]
        plain = decide(policy, report(network, named), named=named)
        found = decide(policy, report(elsewhere, named), named=named, unrepeated=unrepeated)
        assert found.action.rank >= plain.action.rank
        required = [one for one in elsewhere if must_be_confirmed(one, policy, named)] or elsewhere
        if any(one.observation.unfollowed_proxy is not None for one in required):
            assert found.action is not Action.ALLOW
        if unrepeated & {one.endpoint.name for one in required}:
            assert found.action.rank >= Action(policy.on_unconfirmed.value).rank

    @given(_POLICIES, _NETWORKS, _NAMED, _NAMED, st.sampled_from([None, *UnfollowedProxy]))
    def test_message_speaks_of_the_exam_only_where_one_was_probed(
        self,
        policy: Policy,
        network: list[Result],
        named: frozenset[str],
        unrepeated: frozenset[str],
        unfollowed: UnfollowedProxy | None,
    ) -> None:
        """Without an endpoint of category exam neither message nor reasons do; none is called confirmed wrongly."""
        if unfollowed is not None:
            network = [_unfollowed(one, unfollowed) for one in network]
        decided = decide(policy, report(network, named), named=named, unrepeated=unrepeated)
        sentences = [text for reason in decided.reasons for text in (reason.sentence, *reason.advice.values())]
        if not _probes_exam(network):
            assert not [text for text in (decided.message, *sentences) if re.search(r"\bexam\b", text)]
        if "The exam server was confirmed" in decided.message:
            exams = [one for one in network if one.endpoint.category is Category.EXAM]
            assert all(one.verdict is Verdict.CLEAN for one in exams)
            assert not unrepeated & {one.endpoint.name for one in exams}
        if "The exam server could not be confirmed" in decided.message:
            servers = set(decided.reasons[0].endpoints)
            assert servers <= {one.endpoint.name for one in network if one.endpoint.category is Category.EXAM}

    @given(_POLICIES, _NETWORKS, _NAMED)
    def test_the_gravest_reason_comes_first(self, policy: Policy, network: list[Result], named: frozenset[str]) -> None:
        """Reasons are sorted by action, then by what they say; among equals a surer interception comes first."""
        reasons = decide(policy, report(network, named), named=named).reasons
        order = [(-reason.action.rank, list(ReasonCode).index(reason.code)) for reason in reasons]
        assert order == sorted(order)
        if reasons[0].code is ReasonCode.UNCONFIRMED and not any(r.reason is PORTAL.reason for r in network):
            by_name = {one.endpoint.name: one for one in network}
            sure = [
                max(_sure(by_name.get(name)) for name in (*reason.endpoints, ""))
                for reason in reasons
                if (reason.action, reason.code) == (reasons[0].action, reasons[0].code)
            ]
            assert sure == sorted(sure, reverse=True)

    @given(_POLICIES, _NETWORKS, _NAMED, st.data())
    def test_stricter_policies_are_stricter(
        self, policy: Policy, network: list[Result], named: frozenset[str], data: st.DataObject
    ) -> None:
        """Making any one key stricter never makes the decision milder."""
        stricter: dict[str, Any] = data.draw(
            st.sampled_from(
                [
                    {"on_unconfirmed": OnUnconfirmed.BLOCK},
                    {"on_stale_pin": OnStalePin.REFUSE},
                    {"scope": PolicyScope.NETWORK},
                    {"require_witness": Category.EXAM},
                ]
            )
        )
        seen = report(network, named)
        milder = decide(msgspec.structs.replace(policy, require_witness=()), seen, named=named).action
        strict = msgspec.structs.replace(policy, **{"require_witness": (), **stricter})
        assert decide(strict, seen, named=named).action.rank >= milder.rank

    @given(_POLICIES, _NETWORKS, _NAMED)
    def test_reasons_and_message_fit_the_action(
        self, policy: Policy, network: list[Result], named: frozenset[str]
    ) -> None:
        """The first reason carries the action; every endpoint is in one reason; the message is one short paragraph."""
        action, reasons, message = decide(policy, report(network, named), named=named)
        assert reasons[0].action is action
        assert all(reason.action.rank <= action.rank and reason.sentence for reason in reasons)
        reported = [name for reason in reasons for name in reason.endpoints]
        assert sorted(reported) == sorted({*(one.endpoint.name for one in network), *named, *_witnessed(policy)})
        assert 0 < len(message) < 800
        assert message.isprintable()
        assert message.endswith(".")
        assert "  " not in message
        assert (action is Action.BLOCK) == ("go ahead" not in message)
        start = "start the exam" if _probes_exam(network) else "start"
        assert (action is Action.BLOCK) == (f"Please do not {start} on this connection yet." in message)

    @given(_POLICIES, _NETWORKS, _NAMED)
    def test_nobody_is_accused_and_nothing_hostile_is_repeated(
        self, policy: Policy, network: list[Result], named: frozenset[str]
    ) -> None:
        """No message blames its reader, and no text that came over the network stands in it."""
        decided = decide(policy, report(network, named), named=named)
        blame = r"cheat|fraud|violat|suspicious|suspect|illegal|attack|your fault|middlebox|middleware"
        assert not re.search(blame, decided.message, re.IGNORECASE)
        assert HOSTILE not in decided.message
        assert all(HOSTILE not in reason.sentence for reason in decided.reasons)

    @given(_POLICIES, st.lists(st.tuples(_CATEGORIES, _CASES), max_size=len(_HOSTS)), _NAMED)
    def test_below_probable_nobody_is_named(
        self, policy: Policy, drawn: list[tuple[Category, Case]], named: frozenset[str]
    ) -> None:
        """Where nothing is surer than `possible`, no message says that connections are opened, or by whom."""
        mild = [
            result(host, category, case if case.confidence is None else case._replace(confidence=Confidence.POSSIBLE))
            for host, (category, case) in zip(_HOSTS, drawn, strict=False)
        ]
        decided = decide(policy, report(mild, named), named=named)
        assert not re.search(r"decrypt|looks like", decided.message)
        assert PRODUCT not in decided.message
        assert all(reason.confidence is None for reason in decided.reasons)


def _unfollowed(one: Result, reason: UnfollowedProxy) -> Result:
    """The same result of a probe that did not take the route of the machine's proxy setting."""
    seen = msgspec.structs.replace(one.observation, unfollowed_proxy=reason, route=Route.DIRECT)
    return msgspec.structs.replace(one, observation=seen)


def _sure(one: Result | None) -> int:
    """How sure it is that an endpoint is intercepted; 0 where nothing says so."""
    return 0 if one is None or one.confidence is None else 1 + list(Confidence).index(one.confidence)


def _probes_exam(network: list[Result]) -> bool:
    """Whether there is an exam endpoint among these."""
    return any(one.endpoint.category is Category.EXAM for one in network)


def _witnessed(policy: Policy) -> tuple[str, ...]:
    """The endpoints that a policy wants witnessed by name."""
    return () if isinstance(policy.require_witness, str) else policy.require_witness


POLICIES: Final = tuple(
    Policy(on_unconfirmed=unconfirmed, on_stale_pin=stale_pin, scope=scope)
    for unconfirmed in OnUnconfirmed
    for stale_pin in OnStalePin
    for scope in PolicyScope
)
"""block and warn of warn and refuse of endpoint and network: the columns of the table below, in this order."""

A, W, B = Action.ALLOW, Action.WARN, Action.BLOCK
WHOLE: Final[dict[str, tuple[Case, tuple[Action, ...], tuple[Action, ...]]]] = {
    # worth: the result, the actions where it must be confirmed, those next to a confirmed exam endpoint
    "witnessed": (clean(Assurance.WITNESSED), (A, A, A, A, A, A, A, A), (A, A, A, A, A, A, A, A)),
    "pinned": (clean(Assurance.PINNED), (A, A, A, A, A, A, A, A), (A, A, A, A, A, A, A, A)),
    "logged": (clean(Assurance.LOGGED), (A, A, A, A, A, A, A, A), (A, A, A, A, A, A, A, A)),
    "declared": (clean(Assurance.DECLARED), (A, A, A, A, A, A, A, A), (A, A, A, A, A, A, A, A)),
    "stale pin": (STALE_PIN, (W, W, B, B, W, W, B, B), (A, A, A, A, A, A, A, A)),
    "unknowable": (UNKNOWABLE, (W, W, W, W, W, W, W, W), (A, A, A, A, A, A, A, A)),
    "no answer": (NO_ANSWER, (B, B, B, B, W, W, W, W), (A, A, A, A, A, A, A, A)),
    "portal": (PORTAL, (B, B, B, B, W, W, W, W), (A, A, A, A, A, A, A, A)),
    "possible": (POSSIBLE, (B, B, B, B, W, W, W, W), (A, A, A, A, A, A, A, A)),
    "probable": (PROBABLE, (B, B, B, B, W, B, W, B), (W, B, W, B, W, B, W, B)),
    "proven": (PROVEN, (B, B, B, B, W, B, W, B), (W, B, W, B, W, B, W, B)),
}
"""The whole table: what comes out of one endpoint, and what becomes of the exam under each policy."""


class TestWholeTable:
    @pytest.mark.parametrize("row", WHOLE)
    @pytest.mark.parametrize("column", range(len(POLICIES)))
    @pytest.mark.parametrize("because", ["exam", "named", "pinned", "witness required", "neither"])
    def test_cell(self, row: str, column: int, because: str) -> None:
        """What comes out of one endpoint, why it must be confirmed or need not be, and the policy."""
        case, required, alongside = WHOLE[row]
        policy, name = POLICIES[column], f"{LMS}:443"
        if because == "exam":
            decided = decide(policy, made((EXAM, Category.EXAM, case)))
        elif because == "neither":
            decided = decide(policy, made(CONFIRMED, (LMS, Category.LMS, case)))
            assert decided.action is alongside[column]
            return
        elif because == "witness required":
            if case.assurance is not Assurance.WITNESSED:
                required = WHOLE[
                    "possible" if case.confidence not in {Confidence.PROBABLE, Confidence.PROVEN} else row
                ][1]
            policy = msgspec.structs.replace(policy, require_witness=(name,))
            decided = decide(policy, made(CONFIRMED, (LMS, Category.LMS, case)))
        else:
            names: dict[str, Any] = {because: [name]}
            decided = decide(policy, made(CONFIRMED, (LMS, Category.LMS, case)), **names)
        assert decided.action is required[column]

    def test_columns(self) -> None:
        """The default policy is the first column."""
        assert len(POLICIES) == 8
        assert POLICIES[0] == Policy()

    @pytest.mark.parametrize("case", UNCONFIRMED, ids=lambda case: f"{case.reason}-{case.confidence}")
    def test_every_reason_blocks_and_says_why(self, case: Case) -> None:
        """Whatever the rule and however sure: not let through, with the rule's sentence, a cure, and no confidence."""
        decided = decide(Policy(), made((EXAM, Category.EXAM, case)))
        first = decided.reasons[0]
        assert (decided.action, first.code, first.rule) == (Action.BLOCK, ReasonCode.UNCONFIRMED, case.reason)
        assert first.sentence == table.RULE_OF[case.reason].why
        assert first.advice[Audience.STUDENT]
        assert first.confidence is None
        assert f"The exam server could not be confirmed: {EXAM}." in decided.message
        assert case.reason is Reason.NO_CERTIFICATE or first.sentence in decided.message
        assert first.advice[Audience.STUDENT] in decided.message


class TestWhichMatter:
    def test_nothing_probed_is_not_confirmed(self) -> None:
        """An empty report confirms nothing."""
        decided = decide(Policy(), made())
        assert (decided.action, decided.reasons[0].code) == (Action.BLOCK, ReasonCode.NOTHING_CONFIRMED)
        assert decide(Policy(on_unconfirmed=OnUnconfirmed.WARN), made()).action is Action.WARN

    @pytest.mark.parametrize("key", ["named", "pinned"])
    def test_what_must_be_confirmed_and_was_not_probed(self, key: str) -> None:
        """Leaving an endpoint out of the report does not confirm it."""
        names: dict[str, Any] = {key: [f"{LMS}:443"]}
        decided = decide(Policy(), made(CONFIRMED), **names)
        assert (decided.action, decided.reasons[0].endpoints) == (Action.BLOCK, (f"{LMS}:443",))
        assert LMS in decided.message

    def test_without_an_exam_endpoint_the_network_must_be_clean(self) -> None:
        """Where nothing has to be confirmed for itself, one doubt is enough."""
        assert decide(Policy(), made((LMS, Category.LMS, LOGGED))).action is Action.ALLOW
        doubtful = made((LMS, Category.LMS, LOGGED), (SEARCH, Category.SEARCH, POSSIBLE))
        assert decide(Policy(), doubtful).reasons[0].code is ReasonCode.NOTHING_CONFIRMED
        assert decide(Policy(), made((LMS, Category.LMS, NO_ANSWER))).action is Action.BLOCK

    def test_what_decides_nothing_is_reported(self) -> None:
        """A reviewer finds every endpoint that is not clean among the reasons."""
        decided = decide(Policy(), made(CONFIRMED, (SEARCH, Category.SEARCH, POSSIBLE)))
        assert [(r.code, r.endpoints) for r in decided.reasons] == [
            (ReasonCode.DISREGARDED, (f"{SEARCH}:443",)),
            (ReasonCode.CONFIRMED, (f"{EXAM}:443",)),
        ]
        assert decided.message == "The exam server was confirmed. You can go ahead with the exam."

    def test_required_witness(self) -> None:
        """Pinned is not enough where a witness is required; witnessed is."""
        policy = Policy(require_witness=Category.EXAM)
        pinned = decide(policy, made((EXAM, Category.EXAM, clean(Assurance.PINNED))))
        assert (pinned.action, pinned.reasons[0].code) == (Action.BLOCK, ReasonCode.WITNESS_MISSING)
        assert decide(policy, made((EXAM, Category.EXAM, clean(Assurance.WITNESSED)))).action is Action.ALLOW
        elsewhere = decide(policy, made((LMS, Category.LMS, clean(Assurance.WITNESSED))))
        assert elsewhere.reasons[0].code is ReasonCode.UNCONFIRMED
        listed = Policy(require_witness=(EXAM,))
        assert decide(listed, made((LMS, Category.LMS, clean(Assurance.WITNESSED)))).action is Action.BLOCK


class TestOtherRoute:
    """The machine's proxy setting was found and could not be followed."""

    @pytest.mark.parametrize("reason", list(UnfollowedProxy))
    @pytest.mark.parametrize("route", [Route.DIRECT, Route.HTTP_CONNECT])
    def test_the_best_is_a_warning(self, reason: UnfollowedProxy, route: Route) -> None:
        """With a code of its own, the route that was taken, and what IT can do; the student may go ahead."""
        one = _unfollowed(result(EXAM, Category.EXAM, LOGGED), reason)
        one = msgspec.structs.replace(one, observation=msgspec.structs.replace(one.observation, route=route))
        decided = decide(Policy(), report([one]))
        first = decided.reasons[0]
        assert (decided.action, first.code, first.rule) == (Action.WARN, ReasonCode.PROXY_NOT_FOLLOWED, None)
        assert first.endpoints == (f"{EXAM}:443",)
        assert ("through another proxy" if route is Route.HTTP_CONNECT else "directly") in first.sentence
        assert ("[pac]" in first.advice[Audience.IT]) is (reason is UnfollowedProxy.EXTRA_MISSING)
        assert decided.message.startswith("You can go ahead with the exam.")
        assert "proxy setting" in decided.message

    def test_another_observation_of_the_endpoint_counts(self) -> None:
        """Whichever of an endpoint's probes went another way."""
        one = result(EXAM, Category.EXAM, LOGGED)
        seen = _unfollowed(one, UnfollowedProxy.FILE_FAULTY).observation
        decided = decide(Policy(), report([msgspec.structs.replace(one, other_observations=(seen,))]))
        assert decided.reasons[0].code is ReasonCode.PROXY_NOT_FOLLOWED

    def test_what_decides_nothing_warns_nobody(self) -> None:
        """An endpoint next to a confirmed exam on the right route does not count."""
        alongside = _unfollowed(result(LMS, Category.LMS, LOGGED), UnfollowedProxy.FILE_FAULTY)
        decided = decide(Policy(), report([result(EXAM, Category.EXAM, LOGGED), alongside]))
        assert decided.action is Action.ALLOW
        alone = decide(Policy(), report([alongside]))
        assert (alone.action, alone.reasons[0].code) == (Action.WARN, ReasonCode.PROXY_NOT_FOLLOWED)

    def test_a_refused_stale_pin_stays_refused(self) -> None:
        """What is graver keeps its own reason."""
        stale = _unfollowed(result(EXAM, Category.EXAM, STALE_PIN), UnfollowedProxy.FILE_FAULTY)
        decided = decide(Policy(on_stale_pin=OnStalePin.REFUSE), report([stale]))
        assert (decided.action, decided.reasons[0].code) == (Action.BLOCK, ReasonCode.STALE_PIN)


class TestMessages:
    def test_two_that_are_not_confirmed(self) -> None:
        """The message is about the surest interception, whatever the order of the endpoints."""
        for network in ((NO_ANSWER, PROVEN), (PROVEN, NO_ANSWER), (POSSIBLE, PROVEN), (PROVEN, POSSIBLE)):
            hosts = dict(zip((EXAM, LMS), network, strict=True))
            seen = made(*((host, Category.EXAM, case) for host, case in hosts.items()))
            worst = next(host for host, case in hosts.items() if case is PROVEN)
            assert f"could not be confirmed: {worst}." in decide(Policy(), seen).message

    def test_interception_next_to_what_was_not_confirmed(self) -> None:
        """Where the policy only warns of the exam itself, a block for the rest does not call the exam confirmed."""
        policy = Policy(on_unconfirmed=OnUnconfirmed.WARN, scope=PolicyScope.NETWORK)
        decided = decide(policy, made((EXAM, Category.EXAM, NO_ANSWER), (SEARCH, Category.SEARCH, PROVEN)))
        assert (decided.action, decided.reasons[0].code) == (Action.BLOCK, ReasonCode.INTERCEPTED)
        assert "confirmed" not in decided.message

    def test_a_stale_pin_next_to_what_was_not_confirmed(self) -> None:
        """The endpoint that was not confirmed decides."""
        seen = made((LMS, Category.EXAM, STALE_PIN), (EXAM, Category.EXAM, POSSIBLE))
        decided = decide(Policy(), seen)
        assert [reason.code for reason in decided.reasons] == [ReasonCode.UNCONFIRMED, ReasonCode.STALE_PIN]
        assert f"could not be confirmed: {EXAM}." in decided.message

    def test_without_an_exam_endpoint(self) -> None:
        """What was named and is no exam server is called a server, and the message does not mention an exam."""
        seen = made((LMS, Category.LMS, POSSIBLE))
        assert decide(Policy(), seen, named=[f"{LMS}:443"]).message.startswith(
            f"The server could not be confirmed: {LMS}. The chain does not lead to a known root. "
            "Please do not start on this connection yet."
        )
        clean_network = made((LMS, Category.LMS, LOGGED))
        assert decide(Policy(), clean_network).message == "The server was confirmed. You can go ahead."

    def test_unconfirmed(self) -> None:
        """That the exam server could not be confirmed, why, and what to do; in this order."""
        message = decide(Policy(), made((EXAM, Category.EXAM, POSSIBLE))).message
        assert message == (
            f"The exam server could not be confirmed: {EXAM}. The chain does not lead to a known root. "
            "Please do not start the exam on this connection yet. Try again from another network. If only this network "
            "has the problem, tell its IT. "
            "If that does not help, tell the exam office what you see here. "
            "This is about how the connection is set up; it is not held against you."
        )

    @pytest.mark.parametrize(
        "case",
        [
            PORTAL,
            PORTAL._replace(found=()),
            PORTAL._replace(reason=Reason.PRIVATE_CHAIN),
            PORTAL._replace(verdict=Verdict.INCONCLUSIVE, reason=Reason.UNREADABLE, confidence=None),
        ],
    )
    def test_behind_a_portal_signing_in_comes_first(self, case: Case) -> None:
        """Before anything else, and before what is said of other endpoints, the student is asked to sign in."""
        seen = made((LMS, Category.EXAM, PROVEN), (EXAM, Category.EXAM, case))
        decided = decide(Policy(), seen)
        advice = decided.reasons[0].advice[Audience.STUDENT]
        assert decided.reasons[0].endpoints == (f"{EXAM}:443",)
        assert decided.message.startswith(advice)
        assert case.reason is Reason.WRONG_NAME or advice.startswith("Open a browser and sign in")
        assert PRODUCT not in decided.message

    @pytest.mark.parametrize(
        "outcome", [PortalOutcome.CAPTIVE, PortalOutcome.REDIRECTED, PortalOutcome.CONTENT_MISMATCH, PortalOutcome.OPEN]
    )
    def test_portal_that_answers_no_tls(self, outcome: PortalOutcome) -> None:
        """Where nothing of TLS was seen, the control request alone says that somebody wants a sign-in."""
        portal = PortalObservation(outcome=outcome, url="http://control.example/")
        seen = report([result(EXAM, Category.EXAM, NO_ANSWER)], portal=portal)
        reported = decide(Policy(), seen).message.startswith(
            "Open a browser and sign in to this network, then try again."
        )
        assert reported is (outcome is not PortalOutcome.OPEN)

    def test_stale_pin(self) -> None:
        """The student may begin, and hears of nobody; where the policy refuses, the exam office is the one to ask."""
        seen = made((EXAM, Category.EXAM, STALE_PIN))
        assert decide(Policy(), seen).message == (
            f"You can go ahead with the exam. The certificate of {EXAM} is valid and publicly logged, but it is "
            "not the one on the exam office's list, probably because it was renewed."
        )
        assert "network" not in decide(Policy(), seen).reasons[0].advice[Audience.STUDENT]
        refused = decide(Policy(on_stale_pin=OnStalePin.REFUSE), seen)
        assert (refused.action, refused.reasons[0].code) == (Action.BLOCK, ReasonCode.STALE_PIN)
        assert "Tell the exam office: only they can update their list." in refused.message

    def test_stale_pins_of_several(self) -> None:
        """Certificates of several hosts have a plural."""
        seen = made((EXAM, Category.EXAM, STALE_PIN), (SEARCH, Category.EXAM, STALE_PIN))
        assert f"certificates of {EXAM}, {SEARCH} are valid" in decide(Policy(), seen).message
        german = decide(Policy(language="de"), seen).message
        assert f"Die Zertifikate von {EXAM}, {SEARCH} sind gültig" in german

    def test_unknowable(self) -> None:
        """The student may begin, and should update."""
        message = decide(Policy(), made((EXAM, Category.EXAM, UNKNOWABLE))).message
        assert message.startswith("You can go ahead with the exam.")
        assert message.endswith("Please update this program before the next exam.")

    def test_others_that_are_intercepted(self) -> None:
        """With a confirmed exam the student goes ahead; with the scope of the network, waits and hears what to do."""
        seen = made(CONFIRMED, (SEARCH, Category.CANARY, PROBABLE))
        warned, blocked = decide(Policy(), seen), decide(Policy(scope=PolicyScope.NETWORK), seen)
        assert warned.reasons[0].confidence is Confidence.PROBABLE
        assert f"very probably decrypts connections to {SEARCH} (it looks like {PRODUCT})" in warned.message
        assert "The exam does not depend on these connections." in warned.message
        assert "Use another network for the exam." in blocked.message
        assert f"exempt {SEARCH}" not in blocked.message
        assert "does not allow an exam to start on such a network" in blocked.message

    def test_hosts_product_and_advice_once(self) -> None:
        """Hosts that share a remedy share its sentence; of many hosts a few are named."""
        message = decide(Policy(), made(*((f"h{n}.example", Category.EXAM, PROVEN) for n in range(5)))).message
        assert message.count(PRODUCT) == 1
        assert "confirmed: h0.example, h1.example, h2.example and 2 more." in message
        assert "ask its IT to exempt h0.example, h1.example, h2.example and 2 more from TLS decryption." in message

    @pytest.mark.parametrize("outcome", list(Outcome))
    def test_what_the_network_said_is_not_repeated(self, outcome: Outcome) -> None:
        """Advice that quotes a proxy, or the configuration that a network hands out, stays out of the message."""
        seen = Observation(
            outcome=outcome,
            proxy=ProxyObservation(scheme=ProxyScheme.HTTP, host="p.example", port=1, auth_schemes=("evil",)),
            proxy_file="http://evil.example/proxy.pac",
        )
        one = msgspec.structs.replace(result(EXAM, Category.EXAM, NO_ANSWER), observation=seen)
        (advice,) = advise([one])[Audience.STUDENT]
        message = decide(Policy(), report([one])).message
        assert "evil" not in message
        assert advice in message or "evil" in advice
