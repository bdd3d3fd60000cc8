"""The decision of the gate: what the exam client should do, given a policy and a report.

Room: exam. Pure: no socket, file or clock.

Theory of operation
===================
Each endpoint may require an action, and the most severe one is the decision.

* Endpoints of category `exam`, pinned, named and witnessed ones must be confirmed; `admission` is the rule for them.
* Any other endpoint requires nothing, except that its interception at `probable` or above warns, or blocks with
  `scope = "network"`. IT may have exempted the exam, as our own advice says.
* If no endpoint must be confirmed, the network as a whole must be clean; otherwise nothing is confirmed.

An endpoint whose later probes did not all get an answer as the first one did is not confirmed either, and where the
proxy setting of the machine could not be followed, the best decision is `warn`: the exam may take another route.

So the decision is `allow` or `warn` only where every endpoint that must be confirmed was admitted.
"""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector import model  # noqa: TC001 - msgspec reads the annotations at run time
from detector.aio.lazy import LazyModule
from detector.language import ENGLISH, Messages, Sentence, Text
from detector.model import (
    PROXIED,
    Audience,
    Category,
    Confidence,
    Observation,
    Record,
    Report,
    Result,
    UnfollowedProxy,
    Verdict,
)

from . import student
from .admission import admit, admit_other, admit_unconfirmed, confirmed_as, is_intercepted, must_be_confirmed, why
from .policy import Action, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from detector.judge import advice, table, wording
    from detector.judge.checks import captive_portal
else:  # imported while waiting for the network
    advice = LazyModule("detector.judge.advice")
    table = LazyModule("detector.judge.table")
    wording = LazyModule("detector.judge.wording")
    captive_portal = LazyModule("detector.judge.checks.captive_portal")

LOG: Final = logging.getLogger("detector.exam")


class ReasonCode(enum.StrEnum):
    """Why a decision was made, in the order of relevance to the student. `docs/exam-gate.md` explains each."""

    UNCONFIRMED = "unconfirmed"
    WITNESS_MISSING = "witness-missing"
    UNREPEATED = "unrepeated"
    NOTHING_CONFIRMED = "nothing-confirmed"
    PROXY_NOT_FOLLOWED = "proxy-not-followed"
    STALE_PIN = "stale-pin"
    UNKNOWABLE = "unknowable"
    INTERCEPTED = "intercepted"
    DISREGARDED = "disregarded"
    CONFIRMED = "confirmed"


class Reason(Record, frozen=True, kw_only=True):
    """One reason: its code, the action it requires, the endpoints (`host:port`) it concerns, and a sentence.

    The sentence is for the reviewer of the decision, in English; `advice` gives the remedy by audience, to the student
    in the language of the decision. `rule` is the rule of the decision table that applied to these endpoints, if the
    same rule did. `confidence` is set for `intercepted` only: an unconfirmed endpoint accuses nobody.
    """

    code: ReasonCode
    action: Action
    endpoints: tuple[str, ...] = ()
    rule: model.Reason | None = None
    confidence: Confidence | None = None
    sentence: str
    advice: dict[Audience, str] = msgspec.field(default_factory=dict)


class Decided(NamedTuple):
    """The action, its reasons, and the message to the student."""

    action: Action
    reasons: tuple[Reason, ...]
    message: str


class Decision(Record, frozen=True, kw_only=True):
    """The result of the gate.

    `message` is for the student, in `language`: one short paragraph that accuses nobody. `evidence` is the bundle for
    the institution's review (see `detector.bundle`), signed with the given keys; it is empty when nothing was probed,
    or when more was presented than a bundle holds. `policy` is the policy's name.
    """

    action: Action
    reasons: tuple[Reason, ...]
    message: str
    language: str
    policy: str
    report: Report
    evidence: bytes = b""


class _Group(NamedTuple):
    """A reason and its results. `because` and `cure` are what it says to the student.

    `sign_in` is set where signing in to the network takes precedence over other advice.
    """

    reason: Reason
    because: Sentence
    cure: Sentence
    results: tuple[Result, ...] = ()
    sign_in: bool = False

    @property
    def is_exam(self) -> bool:
        """Whether all endpoints are exam servers."""
        return {result.endpoint.category for result in self.results} == {Category.EXAM}

    @property
    def naming(self) -> dict[str, str | int | Sentence]:
        """The fields of sentences that name the endpoints."""
        return student.naming(self.reason.endpoints)

    @property
    def order(self) -> tuple[int, int, bool, int, bool]:
        """The sort key: the most severe, then what a student should know first, then what is surest, then exams."""
        reason, confidence = self.reason, self.results[0].confidence if self.results else None
        sure = 0 if confidence is None else 1 + list(Confidence).index(confidence)
        code = list(ReasonCode).index(reason.code)
        return -reason.action.rank, code, not self.sign_in, -sure, not self.is_exam


def decide(
    policy: Policy,
    report: Report,
    *,
    named: Collection[str] = (),
    pinned: Collection[str] = (),
    unrepeated: Collection[str] = (),
) -> Decided:
    """Apply `policy` to `report`.

    `named` are the endpoints (`host:port`) that the caller or the policy named, `pinned` those with pins: like those of
    category `exam`, each must be confirmed, and is not when it is missing from the report. `unrepeated` are those that
    did not answer every probe that the policy asks for. The reasons are sorted, the most severe first; the message is
    about the first, in the policy's language. Raises nothing.
    """
    messages = Messages.of(policy.language)
    grouping = _Grouping(policy, report, frozenset((*named, *pinned)), frozenset(unrepeated))
    groups = sorted(grouping.groups(), key=lambda group: group.order)
    first = groups[0].reason  # there is always one: endpoints are confirmed, or nothing is
    LOG.info(
        "policy %s: %s (%s, rule %s, %d endpoints)",
        policy.name, first.action, first.code, first.rule or "none", len(first.endpoints),
    )  # fmt: skip
    sentences, is_exam = _message(groups), any(one.endpoint.category is Category.EXAM for one in report.results)

    def say(sentence: Sentence) -> str:
        return messages.say(sentence if is_exam else student.without_exam(sentence))

    reasons = tuple(_with_cure(group, say) for group in groups)
    return Decided(first.action, reasons, " ".join(map(say, sentences)))


def _with_cure(group: _Group, say: Callable[[Sentence], str]) -> Reason:
    """Return the reason of a group with the advice to the student."""
    if group.reason.code in _NEEDS_NOTHING:
        return group.reason
    return msgspec.structs.replace(group.reason, advice={Audience.STUDENT: say(group.cure), **group.reason.advice})


class _Grouping:
    """Groups the results of one report by reason, under one policy."""

    def __init__(self, policy: Policy, report: Report, required: frozenset[str], unrepeated: frozenset[str]) -> None:
        self._policy: Final = policy
        self._report: Final = report
        self._required: Final = required
        self._unrepeated: Final = unrepeated
        self._nothing_required: Final = not any(map(self._must_be_confirmed, report.results))

    def groups(self) -> Iterator[_Group]:
        """Yield every reason that requires an action or that a reviewer should know."""
        grouped: dict[tuple[object, ...], list[Result]] = {}
        for result in self._report.results:
            grouped.setdefault(self._kind(result), []).append(result)
        for results in grouped.values():
            yield self._group(results)
        yield from self._not_probed()
        if self._nothing_required and not self._is_network_clean():
            yield self._without_results(ReasonCode.NOTHING_CONFIRMED, student.NOTHING_CONFIRMED)

    def _is_network_clean(self) -> bool:
        """Return whether the network is clean, on the route taken: which one that is has a reason of its own."""
        results = self._report.results
        if self._report.verdict is not Verdict.INCONCLUSIVE or all(one.unfollowed_proxy is None for one in results):
            return self._report.verdict is Verdict.CLEAN
        counting = [one for one in results if one.endpoint.category is not Category.CANARY] or results
        return any(one.verdict is Verdict.CLEAN for one in counting)

    def _must_be_confirmed(self, result: Result) -> bool:
        endpoint = result.endpoint
        return endpoint.name in self._required or must_be_confirmed(self._policy, endpoint.name, endpoint.category)

    def _code(self, result: Result) -> ReasonCode:
        if result.verdict is not Verdict.CLEAN and not self._must_be_confirmed(result):
            return ReasonCode.INTERCEPTED if is_intercepted(result) else ReasonCode.DISREGARDED
        found = ReasonCode(confirmed_as(self._policy, result).value)
        if found is ReasonCode.UNCONFIRMED:
            return ReasonCode.WITNESS_MISSING if result.verdict is Verdict.CLEAN else found
        codes = [found]
        if self._nothing_required or self._must_be_confirmed(result):
            codes += [ReasonCode.UNREPEATED] * (result.endpoint.name in self._unrepeated)
            codes += [ReasonCode.PROXY_NOT_FOLLOWED] * (result.unfollowed_proxy is not None)
        return min(codes, key=lambda code: (-self._action(code, result).rank, list(ReasonCode).index(code)))

    def _action(self, code: ReasonCode, result: Result) -> Action:
        """Return the action that a result requires for this reason."""
        if code in _NEEDS_NOTHING:
            return Action.ALLOW
        if code is ReasonCode.UNREPEATED:
            return admit_unconfirmed(self._policy)
        if code is ReasonCode.PROXY_NOT_FOLLOWED:
            return Action.WARN
        rule = admit if self._must_be_confirmed(result) else admit_other
        return rule(self._policy, result)

    def _kind(self, result: Result) -> tuple[object, ...]:
        """Return the key that results with the same reason have in common."""
        code = self._code(result)
        if code in _NEEDS_NOTHING or code is ReasonCode.UNREPEATED:
            return (code,)
        if code is ReasonCode.PROXY_NOT_FOLLOWED and (seen := _unfollowed(result)) is not None:
            return code, seen.unfollowed_proxy, seen.route in PROXIED
        return code, result.reason, result.confidence, _product(result), _sign_in_first(result, self._report)

    def _group(self, results: Sequence[Result]) -> _Group:
        """Return the reason for results of one kind."""
        first, code = results[0], self._code(results[0])
        action, because = self._action(code, first), why(self._policy, first)
        by_rule = code not in {*_NEEDS_NOTHING, ReasonCode.UNREPEATED, ReasonCode.PROXY_NOT_FOLLOWED}
        sentence, others = _SENTENCES[code].format(why=because), self._for_others(results) if by_rule else {}
        if code is ReasonCode.PROXY_NOT_FOLLOWED and (seen := _unfollowed(first)) and seen.unfollowed_proxy:
            sentence, others = _of_unfollowed(seen, seen.unfollowed_proxy)
        elif code is ReasonCode.UNREPEATED:
            because, others = student.UNREPEATED, _UNREPEATED_ADVICE
        elif table.RULE_OF[first.reason].is_outcome:
            because = student.NO_ANSWER
        reason = Reason(
            code=code,
            action=action,
            endpoints=tuple(result.endpoint.name for result in results),
            rule=first.reason if by_rule else None,
            confidence=first.confidence if code is ReasonCode.INTERCEPTED else None,
            sentence=sentence,
            advice=others,
        )
        instead = _INSTEAD.get((code, action))
        cure = self._cure(results) if instead is None else Sentence(instead)
        sign_in = by_rule and _sign_in_first(first, self._report)
        return _Group(reason, Sentence(because), cure, tuple(results), sign_in)

    def _as_named(self, results: Sequence[Result]) -> list[Result]:
        """Return results that share a reason; those that must be confirmed count as named."""
        return [msgspec.structs.replace(one, named=self._must_be_confirmed(one)) for one in results]

    def _cure(self, results: Sequence[Result]) -> Sentence:
        """Return the advice to the student on results that share a reason: the first, with all hosts that it is for."""
        first = results[0]
        if _sign_in_first(first, self._report) and not table.RULE_OF[first.reason].may_be_portal:
            return Sentence(advice.SIGN_IN_FIRST)
        return student.cure(self._as_named(results))

    def _for_others(self, results: Sequence[Result]) -> dict[Audience, str]:
        """Return the advice to others than the student on results that share a reason."""
        return {
            audience: Messages.of(ENGLISH).say(found[0].sentence.with_fields(**student.naming(found[0].hosts)))
            for audience, found in advice.remedies(self._as_named(results)).items()
            if audience is not Audience.STUDENT
        }

    def _not_probed(self) -> Iterator[_Group]:
        """Yield the reason for endpoints that must be confirmed and are not in the report, if there are any."""
        required, seen = self._policy.require_witness, {result.endpoint.name for result in self._report.results}
        hosts = self._required if isinstance(required, str) else {*self._required, *required}
        missing = tuple(sorted(hosts - seen))
        absent = isinstance(required, Category) and all(
            r.endpoint.category is not required for r in self._report.results
        )
        if missing or absent:
            yield self._without_results(ReasonCode.UNCONFIRMED, student.NOT_PROBED, missing)

    def _without_results(self, code: ReasonCode, because: Text, endpoints: tuple[str, ...] = ()) -> _Group:
        action = admit_unconfirmed(self._policy)
        reason = Reason(code=code, action=action, endpoints=endpoints, sentence=because)
        return _Group(reason, Sentence(because), Sentence(student.TRY_AGAIN))


_NEEDS_NOTHING: Final = frozenset({ReasonCode.CONFIRMED, ReasonCode.DISREGARDED})
_SENTENCES: Final[dict[ReasonCode, str]] = {
    ReasonCode.UNCONFIRMED: "{why}",
    ReasonCode.WITNESS_MISSING: "{why}",
    ReasonCode.UNREPEATED: student.UNREPEATED,
    ReasonCode.PROXY_NOT_FOLLOWED: "",  # that of the observation
    ReasonCode.STALE_PIN: "Clients accept the certificate, and it is publicly logged; only the pins do not match. "
    "They are probably out of date.",
    ReasonCode.UNKNOWABLE: "{why} Clients accept it.",
    ReasonCode.INTERCEPTED: "{why} Nothing that must be confirmed depends on these endpoints.",
    ReasonCode.DISREGARDED: "These endpoints are not clean, and nothing depends on them.",
    ReasonCode.CONFIRMED: "These endpoints are clean (witnessed, pinned, logged or declared).",
}
"""For the reviewer."""
_UNREPEATED_ADVICE: Final = {
    Audience.IT: "Something drops some of the connections to these servers. If the network is only slow, a longer "
    "deadline in the policy helps.",
}


def _unfollowed(result: Result) -> Observation | None:
    """Return the first observation of an endpoint that did not take the route of the machine's proxy setting."""
    seen = (result.observation, *result.other_observations)
    return next((one for one in seen if one.unfollowed_proxy is not None), None)


def _of_unfollowed(seen: Observation, reason: UnfollowedProxy) -> tuple[str, dict[Audience, str]]:
    """Return the sentence on a proxy setting that was not followed, with the route taken, and the advice."""
    route = "through another proxy" if seen.route in PROXIED else "directly"
    sentence = f"{wording.other_route(reason)} This was probed {route}."
    return sentence, {Audience.IT: wording.set_route(reason)}


def _sign_in_first(result: Result, report: Report) -> bool:
    """Return whether a captive portal answers, or may answer, in the endpoint's place."""
    if result.verdict is Verdict.CLEAN:
        return False
    rule = table.RULE_OF[result.reason]
    if rule.is_outcome:
        return report.portal is not None and report.portal.outcome in captive_portal.ANSWERED_BY_ANOTHER
    return (rule.may_be_portal or wording.is_behind_a_portal(result)) and not advice.is_attack(result)


def _product(result: Result) -> str | None:
    return None if result.attribution is None else result.attribution.product


_INSTEAD: Final[dict[tuple[ReasonCode, Action], Text]] = {
    (ReasonCode.STALE_PIN, Action.WARN): student.GO_AHEAD,
    (ReasonCode.STALE_PIN, Action.BLOCK): student.TELL_THE_OFFICE,
    (ReasonCode.UNKNOWABLE, Action.WARN): student.UPDATE,
    (ReasonCode.UNREPEATED, Action.WARN): student.TRY_AGAIN,
    (ReasonCode.UNREPEATED, Action.BLOCK): student.TRY_AGAIN,
    (ReasonCode.PROXY_NOT_FOLLOWED, Action.WARN): student.SAY_WHAT_YOU_SEE,
}
"""Advice that does not depend on the result, because a careful client accepts the server."""


def _message(groups: Sequence[_Group]) -> Sequence[Sentence]:
    """Return one short paragraph: what is wrong, what to do, and that the student is not suspected."""
    group = groups[0]
    reason = group.reason
    if reason.action is Action.ALLOW:
        return _each(student.CONFIRMED, student.GO_AHEAD)
    if reason.code is ReasonCode.INTERCEPTED:
        return _of_interception(group, confirmed=_all_confirmed(groups))
    return _SENTENCES_OF.get(reason.code, _of_unconfirmed)(group)


def _each(*texts: Text) -> list[Sentence]:
    return list(map(Sentence, texts))


def _all_confirmed(groups: Sequence[_Group]) -> bool:
    """Return whether something was confirmed, and nothing that had to be was not."""
    codes = {group.reason.code for group in groups}
    return ReasonCode.CONFIRMED in codes and codes <= {*_NEEDS_NOTHING, ReasonCode.INTERCEPTED}


def _not_confirmed(group: _Group) -> Sentence:
    """Return that the servers of a group could not be confirmed."""
    if not group.reason.endpoints:
        return Sentence(student.UNCONFIRMED)
    return Sentence(student.UNCONFIRMED_EXAM if group.is_exam else student.UNCONFIRMED_HOSTS, group.naming)


def _of_unconfirmed(group: _Group) -> Sequence[Sentence]:
    product = _product(group.results[0]) if group.reason.rule is not None else None
    looks_like = [] if product is None else [Sentence(student.PRODUCT, {"product": product})]
    finding = [_not_confirmed(group), group.because, *looks_like]
    before, after = ([group.cure], []) if group.sign_in else ([], [group.cure])
    if group.reason.action is Action.BLOCK:
        wait, ending = _each(student.PLEASE_WAIT), _each(student.IF_NOT, student.NOT_YOU)
    else:
        wait, ending = [], _each(student.GO_AHEAD_ANYWAY, student.NOT_YOU)
    return [*before, *finding, *wait, *after, *ending]


def _of_other_route(group: _Group) -> Sequence[Sentence]:
    return [Sentence(student.GO_AHEAD), Sentence(student.OTHER_ROUTE, group.naming), group.cure]


def _of_stale_pin(group: _Group) -> Sequence[Sentence]:
    stale = Sentence(student.STALE_PIN, group.naming)
    if group.reason.action is Action.WARN:
        return [Sentence(student.GO_AHEAD), stale]
    return [_not_confirmed(group), stale, Sentence(student.PLEASE_WAIT), group.cure, Sentence(student.NOT_YOU)]


def _of_unknowable(group: _Group) -> Sequence[Sentence]:
    return [Sentence(student.GO_AHEAD), Sentence(student.UNKNOWABLE, group.naming), group.cure]


def _of_interception(group: _Group, *, confirmed: bool) -> Sequence[Sentence]:
    decrypted = student.decrypted(group.results[0], group.reason.endpoints)
    known = _each(student.CONFIRMED) if confirmed else []
    if group.reason.action is Action.WARN:
        return [Sentence(student.GO_AHEAD), *known, decrypted, Sentence(student.NOT_THE_EXAMS)]
    wait = _each(student.NOT_ALLOWED_HERE, student.PLEASE_WAIT)
    return [*known, decrypted, *wait, group.cure, *_each(student.IF_NOT, student.NOT_YOU)]


_SENTENCES_OF: Final[dict[ReasonCode, Callable[[_Group], Sequence[Sentence]]]] = {
    ReasonCode.STALE_PIN: _of_stale_pin,
    ReasonCode.UNKNOWABLE: _of_unknowable,
    ReasonCode.PROXY_NOT_FOLLOWED: _of_other_route,
}
"""The messages for reasons other than an unconfirmed server and interception of another one."""
