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
from detector.model import (
    PROXIED,
    Audience,
    Category,
    Confidence,
    Observation,
    Outcome,
    Record,
    Report,
    Result,
    UnfollowedProxy,
    Verdict,
)

from .admission import admit, admit_other, admit_unconfirmed, confirmed_as, is_intercepted, must_be_confirmed, why
from .policy import Action, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from detector.judge import advice, table, wording
    from detector.judge.checks import captive_portal
else:  # imported while waiting for the network
    advice = LazyModule("detector.judge.advice")
    table = LazyModule("detector.judge.table")
    wording = LazyModule("detector.judge.wording")
    captive_portal = LazyModule("detector.judge.checks.captive_portal")

LOG: Final = logging.getLogger("detector.exam")

NAMED_MOST: Final = 3
"""Maximum number of hosts named in a message to a student; the reasons name all."""


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

    The sentence is for the reviewer of the decision; `advice` gives the remedy by audience. `rule` is the rule of the
    decision table that applied to these endpoints, if the same rule did. `confidence` is set for `intercepted` only: an
    unconfirmed endpoint accuses nobody.
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

    `message` is for the student: one short paragraph that accuses nobody. `evidence` is the bundle for the
    institution's review (see `detector.bundle`), signed with the given keys; it is empty when nothing was probed, or
    when more was presented than a bundle holds. `policy` is the policy's name.
    """

    action: Action
    reasons: tuple[Reason, ...]
    message: str
    policy: str
    report: Report
    evidence: bytes = b""


class _Group(NamedTuple):
    """A reason and its results. `sign_in` is set where signing in to the network takes precedence over other advice."""

    reason: Reason
    results: tuple[Result, ...] = ()
    sign_in: bool = False

    @property
    def order(self) -> tuple[int, int, bool, int, bool]:
        """The sort key: the most severe, then what a student should know first, then what is surest, then exams."""
        reason, confidence = self.reason, self.results[0].confidence if self.results else None
        sure = 0 if confidence is None else 1 + list(Confidence).index(confidence)
        code = list(ReasonCode).index(reason.code)
        return -reason.action.rank, code, not self.sign_in, -sure, _server(self) != _EXAM_SERVER


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
    about the first. Raises nothing.
    """
    grouping = _Grouping(policy, report, frozenset((*named, *pinned)), frozenset(unrepeated))
    groups = sorted(grouping.groups(), key=lambda group: group.order)
    first = groups[0].reason  # there is always one: endpoints are confirmed, or nothing is
    LOG.info(
        "policy %s: %s (%s, rule %s, %d endpoints)",
        policy.name, first.action, first.code, first.rule or "none", len(first.endpoints),
    )  # fmt: skip
    reasons, message = tuple(group.reason for group in groups), _message(groups)
    if not any(result.endpoint.category is Category.EXAM for result in report.results):
        reasons, message = tuple(map(_reason_without_exam, reasons)), _without_exam(message)
    return Decided(first.action, reasons, message)


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
            yield self._without_results(ReasonCode.NOTHING_CONFIRMED, _NOTHING_CONFIRMED)

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
        action = self._action(code, first)
        sentence, advice = _SENTENCES.get(code, "").format(why=why(self._policy, first)), self._advice(results)
        if code is ReasonCode.PROXY_NOT_FOLLOWED and (seen := _unfollowed(first)) and seen.unfollowed_proxy:
            sentence, advice = _of_unfollowed(seen, seen.unfollowed_proxy)
        elif code is ReasonCode.UNREPEATED:
            advice = _UNREPEATED_ADVICE
        by_rule = code not in {*_NEEDS_NOTHING, ReasonCode.UNREPEATED, ReasonCode.PROXY_NOT_FOLLOWED}
        reason = Reason(
            code=code,
            action=action,
            endpoints=tuple(result.endpoint.name for result in results),
            rule=first.reason if by_rule else None,
            confidence=first.confidence if code is ReasonCode.INTERCEPTED else None,
            sentence=sentence,
            advice={} if code in _NEEDS_NOTHING else {**advice, **_INSTEAD.get((code, action), {})},
        )
        return _Group(reason, tuple(results), by_rule and _sign_in_first(first, self._report))

    def _advice(self, results: Sequence[Result]) -> dict[Audience, str]:
        """Return the advice for each audience on results that share a reason."""
        required = [msgspec.structs.replace(one, named=self._must_be_confirmed(one)) for one in results]
        found = {Audience.STUDENT: [_AGAIN], **advice.advise(required, listed=_hosts)}
        first = results[0]
        if _sign_in_first(first, self._report) and not table.RULE_OF[first.reason].may_be_portal:
            found[Audience.STUDENT] = [_SIGN_IN]
        elif first.observation.outcome in _QUOTING_THE_NETWORK:
            found[Audience.STUDENT] = [_AGAIN]
        elif found[Audience.STUDENT][0] == advice.CHECK_BY_NAME:
            found[Audience.STUDENT] = [_ANOTHER_NETWORK]
        return {audience: texts[0] for audience, texts in found.items()}

    def _not_probed(self) -> Iterator[_Group]:
        """Yield the reason for endpoints that must be confirmed and are not in the report, if there are any."""
        required, seen = self._policy.require_witness, {result.endpoint.name for result in self._report.results}
        hosts = self._required if isinstance(required, str) else {*self._required, *required}
        missing = tuple(sorted(hosts - seen))
        absent = isinstance(required, Category) and all(
            r.endpoint.category is not required for r in self._report.results
        )
        if missing or absent:
            yield self._without_results(ReasonCode.UNCONFIRMED, _NOT_PROBED, missing)

    def _without_results(self, code: ReasonCode, sentence: str, endpoints: tuple[str, ...] = ()) -> _Group:
        action = admit_unconfirmed(self._policy)
        advice = {Audience.STUDENT: _AGAIN}
        return _Group(Reason(code=code, action=action, endpoints=endpoints, sentence=sentence, advice=advice))


_NEEDS_NOTHING: Final = frozenset({ReasonCode.CONFIRMED, ReasonCode.DISREGARDED})
_SENTENCES: Final[dict[ReasonCode, str]] = {
    ReasonCode.UNCONFIRMED: "{why}",
    ReasonCode.WITNESS_MISSING: "{why}",
    ReasonCode.UNREPEATED: "Not every probe that the policy asks for was answered, or confirmed by a required witness.",
    ReasonCode.STALE_PIN: "Clients accept the certificate, and it is publicly logged; only the pins do not match. "
    "They are probably out of date.",
    ReasonCode.UNKNOWABLE: "{why} Clients accept it.",
    ReasonCode.INTERCEPTED: "{why} The exam does not depend on these endpoints.",
    ReasonCode.DISREGARDED: "These endpoints are not clean, and nothing depends on them.",
    ReasonCode.CONFIRMED: "These endpoints are clean (witnessed, pinned, logged or declared).",
}
_NOTHING_CONFIRMED: Final = (
    "No probed endpoint is of category exam, pinned or named, and the network as a whole is not clean."
)
_NOT_PROBED: Final = "These endpoints must be confirmed and were not probed."


def _unfollowed(result: Result) -> Observation | None:
    """Return the first observation of an endpoint that did not take the route of the machine's proxy setting."""
    seen = (result.observation, *result.other_observations)
    return next((one for one in seen if one.unfollowed_proxy is not None), None)


def _of_unfollowed(seen: Observation, reason: UnfollowedProxy) -> tuple[str, dict[Audience, str]]:
    """Return the sentence on a proxy setting that was not followed, with the route taken, and the advice."""
    route = "through another proxy" if seen.route in PROXIED else "directly"
    sentence = f"{wording.other_route(reason)} This was probed {route}."
    return sentence, {Audience.STUDENT: _TELL_WHAT_YOU_SEE, Audience.IT: wording.set_route(reason)}


_QUOTING_THE_NETWORK: Final = frozenset({Outcome.PROXY_AUTH_UNSUPPORTED, Outcome.PROXY_UNKNOWN})
"""Outcomes whose advice quotes a proxy or the network's configuration."""


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


# Messages to the student. They contain nothing that came over the network: hosts are named by the institution or the
# client, products by the catalogue.

_EXAM_SERVER: Final = "The exam server"
_CONFIRMED: Final = "The exam server was confirmed."
_GO_AHEAD: Final = "You can go ahead with the exam."
_GO_AHEAD_ANYWAY: Final = "You can go ahead with the exam, but it is better to resolve this first."
_PLEASE_WAIT: Final = "Please do not start the exam on this connection yet."
_STILL: Final = "If that does not help, tell the exam office what you see here."
_NOT_YOU: Final = "This is about how the connection is set up; it is not held against you."
_AGAIN: Final = "Check that you are online and try again, or use another network."
_ANOTHER_NETWORK: Final = "Use another network for the exam."
_UNREPEATED_ADVICE: Final = {
    Audience.STUDENT: _AGAIN,
    Audience.IT: "Something drops some of the connections to these servers. If the network is only slow, a longer "
    "deadline in the exam policy helps.",
}
_SIGN_IN: Final = "Open a browser and sign in to this network, then try again."
_NO_ANSWER: Final = "No answer identified the server."
_STALE_PIN: Final = (
    "The certificate of {hosts} is valid and publicly logged, but it is not the one on the exam office's list, "
    "probably because it was renewed."
)
_TELL_WHAT_YOU_SEE: Final = "Tell the exam office what you see here."
_ANOTHER_ROUTE: Final = (
    "The connection to {hosts} was confirmed, but a browser on this computer may take another route: the proxy setting "
    "of the computer could not be followed."
)
_TELL_THE_OFFICE: Final = "Tell the exam office: only they can update their list."
_UNKNOWABLE: Final = "The certificate of {hosts} is valid, but one of the additional checks could not be completed."
_UPDATE: Final = "Please update this program before the next exam."
_DECRYPTED: Final[dict[Confidence | None, str]] = {
    Confidence.PROVEN: "Something in between decrypts connections to {hosts}{who}.",
    Confidence.PROBABLE: "Something in between very probably decrypts connections to {hosts}{who}.",
}
_INSTEAD: Final[dict[tuple[ReasonCode, Action], dict[Audience, str]]] = {
    (ReasonCode.STALE_PIN, Action.WARN): {Audience.STUDENT: _GO_AHEAD},
    (ReasonCode.STALE_PIN, Action.BLOCK): {Audience.STUDENT: _TELL_THE_OFFICE},
    (ReasonCode.UNKNOWABLE, Action.WARN): {Audience.STUDENT: _UPDATE},
}
"""Advice on a server that a careful client accepts; the result's own advice is for a doubtful one."""
_NOT_THE_EXAMS: Final = "The exam does not depend on these connections."
_NOT_ALLOWED_HERE: Final = "The exam office does not allow an exam to start on such a network."


def _message(groups: Sequence[_Group]) -> str:
    """Return one short paragraph: what is wrong, what to do, and that the student is not suspected."""
    group = groups[0]
    reason = group.reason
    if reason.action is Action.ALLOW:
        sentences: tuple[str, ...] = (_CONFIRMED, _GO_AHEAD)
    elif reason.code is ReasonCode.INTERCEPTED:
        sentences = _of_interception(group, _hosts(reason.endpoints), confirmed=_all_confirmed(groups))
    else:
        sentences = _SENTENCES_OF.get(reason.code, _of_unconfirmed)(group, _hosts(reason.endpoints))
    return " ".join(filter(None, sentences))


def _all_confirmed(groups: Sequence[_Group]) -> bool:
    """Return whether something was confirmed, and nothing that had to be was not."""
    codes = {group.reason.code for group in groups}
    return ReasonCode.CONFIRMED in codes and codes <= {*_NEEDS_NOTHING, ReasonCode.INTERCEPTED}


def _server(group: _Group) -> str:
    """Return what to call the endpoints of a group."""
    return _EXAM_SERVER if {r.endpoint.category for r in group.results} == {Category.EXAM} else "The server"


def _of_unconfirmed(group: _Group, hosts: str) -> tuple[str, ...]:
    reason = group.reason
    nothing_seen = reason.rule is not None and table.RULE_OF[reason.rule].is_outcome
    because = _NO_ANSWER if nothing_seen else reason.sentence
    product = _product(group.results[0]) if reason.rule is not None else None
    finding = (
        f"{_server(group)} could not be confirmed{f': {hosts}' if hosts else ''}.",
        because,
        f"It looks like {product}." if product else "",
    )
    cure = reason.advice[Audience.STUDENT]
    ending = (_PLEASE_WAIT, _STILL) if reason.action is Action.BLOCK else ("", _GO_AHEAD_ANYWAY)
    first, then = ((cure,), ()) if group.sign_in else ((), (cure,))
    return (*first, *finding, ending[0], *then, ending[1], _NOT_YOU)


def _of_another_route(_: _Group, hosts: str) -> tuple[str, ...]:
    return _GO_AHEAD, _ANOTHER_ROUTE.format(hosts=hosts), _TELL_WHAT_YOU_SEE


def _of_stale_pin(group: _Group, hosts: str) -> tuple[str, ...]:
    stale = _STALE_PIN.format(hosts=hosts)
    if group.reason.action is Action.WARN:
        return _GO_AHEAD, stale
    return f"{_server(group)} could not be confirmed: {hosts}.", stale, _PLEASE_WAIT, _TELL_THE_OFFICE, _NOT_YOU


def _of_unknowable(_: _Group, hosts: str) -> tuple[str, ...]:
    return _GO_AHEAD, _UNKNOWABLE.format(hosts=hosts), _UPDATE


def _of_interception(group: _Group, hosts: str, *, confirmed: bool) -> tuple[str, ...]:
    product = _product(group.results[0])
    decrypted = _DECRYPTED[group.reason.confidence].format(
        hosts=hosts, who=f" (it looks like {product})" if product else ""
    )
    known = _CONFIRMED if confirmed else ""
    if group.reason.action is Action.WARN:
        return _GO_AHEAD, known, decrypted, _NOT_THE_EXAMS
    cure = group.reason.advice[Audience.STUDENT]
    return known, decrypted, _NOT_ALLOWED_HERE, _PLEASE_WAIT, cure, _STILL, _NOT_YOU


_SENTENCES_OF: Final[dict[ReasonCode, Callable[[_Group, str], tuple[str, ...]]]] = {
    ReasonCode.STALE_PIN: _of_stale_pin,
    ReasonCode.UNKNOWABLE: _of_unknowable,
    ReasonCode.PROXY_NOT_FOLLOWED: _of_another_route,
}
"""The messages for reasons other than an unconfirmed server and interception of another one."""

_WITHOUT_EXAM: Final = {
    " with the exam": "",
    "start the exam on": "start on",
    "an exam to start": "a start",
    "The exam office": "Your institution",
    "the exam office's": "your institution's",
    "the exam office": "your institution",
    "The exam server": "The server",
    " before the next exam": "",
    " before any exam": "",
    " for the exam": "",
    "The exam does": "What you start here does",
    "exam data": "your data",
    "of category exam, pinned": "pinned",
    "the exam policy": "the policy",
}
"""What our sentences say where no exam endpoint was probed."""


def _without_exam(text: str) -> str:
    for words, instead in _WITHOUT_EXAM.items():
        text = text.replace(words, instead)
    return text


def _reason_without_exam(reason: Reason) -> Reason:
    advice = {audience: _without_exam(text) for audience, text in reason.advice.items()}
    return msgspec.structs.replace(reason, sentence=_without_exam(reason.sentence), advice=advice)


def _hosts(names: Iterable[str]) -> str:
    """Return a few hosts and the number of further ones; without the port where it is 443."""
    hosts = list(dict.fromkeys(name.removesuffix(":443") for name in names))
    more = len(hosts) - NAMED_MOST
    return ", ".join(hosts[:NAMED_MOST]) + (f" and {more} more" if more > 0 else "")
