"""From a report to what the exam client should do. Everything that weighs a report against a policy is in this file.

Room: exam. Pure: a policy and a report in, an action, reasons and a message out. No socket, file or clock.

Theory of operation
===================
Every endpoint is looked at by itself, and each may ask for an action; the most severe one asked for is the decision.

* In scope (its category counts, or a witness is required of it) and middleware: `block_at` and `warn_at` say what.
* Not clean and not that: it was not cleared. That matters where the endpoint is of category `exam`, was named by
  the caller or must be witnessed, in scope or not; and everywhere when nothing in scope came out clean. Then
  `on_inconclusive` says what. Middleware below `warn_at` or out of scope is at least as bad as no answer, so it
  counts here: seeing more of an interceptor never makes the answer milder.
* Clean, but a required witness did not confirm it: as not cleared, and never milder than a warning.

So an `allow` is given only where something in scope is clean and nothing that matters is anything else.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import Assurance, Category, Confidence, Record, Report, Result, Verdict

from .policy import Action, Policy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

NAMED_MOST: Final = 3
"""Hosts named in a message to a student; the reasons have them all."""


class ReasonCode(enum.StrEnum):
    """Why a decision is what it is. `docs/exam-gate.md` explains each."""

    CLEAN = "clean"
    INTERCEPTED = "intercepted"
    INTERCEPTED_BELOW_THRESHOLD = "intercepted-below-threshold"
    INTERCEPTED_OUT_OF_SCOPE = "intercepted-out-of-scope"
    INCONCLUSIVE = "inconclusive"
    NOTHING_CLEAN = "nothing-clean"
    WITNESS_MISSING = "witness-missing"


class Reason(Record, frozen=True, kw_only=True):
    """One reason: what it is, the action it asks for, the endpoints (`host:port`) it is about, and a sentence.

    The sentence is for whoever reviews the decision. `confidence` is given where middleware is the reason.
    """

    code: ReasonCode
    action: Action
    endpoints: tuple[str, ...] = ()
    confidence: Confidence | None = None
    sentence: str


class Decided(NamedTuple):
    """What to do, why, and what to tell the student."""

    action: Action
    reasons: tuple[Reason, ...]
    message: str


class Decision(Record, frozen=True, kw_only=True):
    """What the gate answers.

    `message` is for the student: one short paragraph that accuses nobody. `evidence` is the bundle for the
    institution's review (see `detector.bundle`), signed with the keys that were given; it is empty when nothing was
    looked at, or more was presented than a bundle holds. `policy` is the policy's name.
    """

    action: Action
    reasons: tuple[Reason, ...]
    message: str
    policy: str
    report: Report
    evidence: bytes = b""


def decide(policy: Policy, report: Report, *, named: Collection[str] = ()) -> Decided:
    """What `policy` says about `report`.

    `named` are the endpoints (`host:port`) that the caller asked for by name: like those of category `exam`, they
    must be cleared each for itself. The reasons come most severe first. Raises nothing.
    """
    reasons = tuple(sorted(_Weighed(policy, report, frozenset(named)).reasons(), key=lambda r: -r.action.rank))
    action = reasons[0].action  # there is always one: what is clean, or that nothing is
    return Decided(action, reasons, _message(action, reasons, report))


class _Weighed:
    """The results of one report, sorted by what they mean under one policy."""

    def __init__(self, policy: Policy, report: Report, named: frozenset[str]) -> None:
        self._policy: Final = policy
        self._report: Final = report
        self._named: Final = named
        in_scope = [r for r in report.results if self._in_scope(r)]
        self.clean: Final = [r for r in in_scope if r.verdict is Verdict.CLEAN]

    def reasons(self) -> Iterator[Reason]:
        """Every reason that asks for something or that a reviewer should know."""
        if self.clean:
            yield Reason(
                code=ReasonCode.CLEAN,
                action=Action.ALLOW,
                endpoints=_names(self.clean),
                sentence="There is no sign of decryption on these endpoints.",
            )
        yield from self._interception()
        yield from self._not_cleared()
        yield from self._witness()
        if not self.clean:
            yield Reason(
                code=ReasonCode.NOTHING_CLEAN,
                action=self._policy.on_inconclusive,
                sentence="No endpoint of the categories that count came out clean.",
            )
        elif self._report.verdict is Verdict.INCONCLUSIVE and not any(map(self._is_open, self._report.results)):
            # The report knows of something that this policy does not look at; a filter clears nothing.
            yield Reason(
                code=ReasonCode.INCONCLUSIVE,
                action=self._policy.on_inconclusive,
                sentence="The network as a whole could not be judged.",
            )

    def _in_scope(self, result: Result) -> bool:
        return result.endpoint.category in self._policy.categories or self._must_be_witnessed(result)

    def _must_be_witnessed(self, result: Result) -> bool:
        return self._policy.requires_witness(result.endpoint.name, result.endpoint.category)

    def _matters(self, result: Result) -> bool:
        """Whether this endpoint must be cleared for itself, whatever the others say."""
        endpoint = result.endpoint
        return endpoint.category is Category.EXAM or endpoint.name in self._named or self._must_be_witnessed(result)

    def _asked_by_thresholds(self, result: Result) -> Action:
        """What the thresholds say of middleware; `allow` where they say nothing."""
        if result.verdict is not Verdict.MIDDLEWARE or not self._in_scope(result):
            return Action.ALLOW
        confidence = _confidence(result)
        if self._policy.block_at.is_met_by(confidence):
            return Action.BLOCK
        return Action.WARN if self._policy.warn_at.is_met_by(confidence) else Action.ALLOW

    def _is_open(self, result: Result) -> bool:
        """Whether this endpoint must be cleared and is not. What interception asks for comes on top of that."""
        return result.verdict is not Verdict.CLEAN and (self._matters(result) or not self.clean)

    def _asked(self, result: Result) -> Action:
        """What one endpoint that is not clean asks for."""
        unjudged = self._policy.on_inconclusive if self._is_open(result) else Action.ALLOW
        if self._must_be_witnessed(result):
            unjudged = max(unjudged, Action.WARN, key=lambda action: action.rank)
        return max(unjudged, self._asked_by_thresholds(result), key=lambda action: action.rank)

    def _interception(self) -> Iterator[Reason]:
        grouped: dict[tuple[ReasonCode, Confidence, Action], list[Result]] = {}
        for result in self._report.results:
            if result.verdict is Verdict.MIDDLEWARE:
                if not self._in_scope(result):
                    code = ReasonCode.INTERCEPTED_OUT_OF_SCOPE
                elif self._asked_by_thresholds(result) is Action.ALLOW:
                    code = ReasonCode.INTERCEPTED_BELOW_THRESHOLD
                else:
                    code = ReasonCode.INTERCEPTED
                grouped.setdefault((code, _confidence(result), self._asked(result)), []).append(result)
        for (code, confidence, action), results in grouped.items():
            yield Reason(
                code=code,
                action=action,
                endpoints=_names(results),
                confidence=confidence,
                sentence=_INTERCEPTION[code].format(_SURENESS[confidence]),
            )

    def _not_cleared(self) -> Iterator[Reason]:
        """Endpoints without an answer, those that must have one apart from those that need not."""
        grouped: dict[Action, list[Result]] = {}
        for result in self._report.results:
            if result.verdict is Verdict.INCONCLUSIVE:
                grouped.setdefault(self._asked(result), []).append(result)
        for action, results in grouped.items():
            said = "could not be judged, and must be" if any(map(self._is_open, results)) else "could not be judged"
            told = sorted({_why(result) for result in results})
            yield Reason(
                code=ReasonCode.INCONCLUSIVE,
                action=action,
                endpoints=_names(results),
                sentence=f"These endpoints {said}: {', '.join(told)}.",
            )

    def _witness(self) -> Iterator[Reason]:
        """Clean endpoints that a required witness did not confirm, and required ones nobody looked at."""
        action = max(self._policy.on_inconclusive, Action.WARN, key=lambda action: action.rank)
        unconfirmed = [r for r in self.clean if self._must_be_witnessed(r) and r.assurance is not Assurance.WITNESSED]
        if unconfirmed:
            yield Reason(
                code=ReasonCode.WITNESS_MISSING,
                action=action,
                endpoints=_names(unconfirmed),
                sentence="The policy requires a witness here, and none confirmed the connection.",
            )
        required = self._policy.require_witness
        if isinstance(required, Category):
            missing: tuple[str, ...] = ()
            absent = all(r.endpoint.category is not required for r in self._report.results)
        else:
            seen = {r.endpoint.name for r in self._report.results}
            missing = tuple(name for name in required if name not in seen)
            absent = bool(missing)
        if absent:
            yield Reason(
                code=ReasonCode.WITNESS_MISSING,
                action=action,
                endpoints=missing,
                sentence="The policy requires a witness for endpoints that were not looked at.",
            )


_SURENESS: Final[dict[Confidence, str]] = {
    Confidence.PROVEN: "is decrypted on the way",
    Confidence.PROBABLE: "is very probably decrypted on the way",
    Confidence.POSSIBLE: "may be decrypted on the way, or there is an innocent reason",
}
_INTERCEPTION: Final[dict[ReasonCode, str]] = {
    ReasonCode.INTERCEPTED: "Traffic to these endpoints {}.",
    ReasonCode.INTERCEPTED_BELOW_THRESHOLD: "Traffic to these endpoints {}; that is below what the policy acts on.",
    ReasonCode.INTERCEPTED_OUT_OF_SCOPE: "Traffic to these endpoints {}; the policy does not act on their category.",
}


def _confidence(result: Result) -> Confidence:
    """How sure; a middleware verdict always says."""
    return result.confidence or Confidence.POSSIBLE


def _why(result: Result) -> str:
    return str(result.observation.outcome) if result.reason == "no-certificate" else result.reason


def _names(results: Iterable[Result]) -> tuple[str, ...]:
    return tuple(result.endpoint.name for result in results)


# What the student reads. Nothing that came over the network stands in it: hosts are those that the institution or the
# client named, products are those of the catalogue, advice is ours.

_NOT_YOU: Final = "This is a matter of how the connection is set up; it is not held against you."
_ALL_CLEAN: Final = "No sign was found that anything opens encrypted connections to the exam. You can go ahead."
_GO_AHEAD: Final = "You can go ahead with the exam."
_UNSURE: Final = "The connection to {hosts} could not be checked completely."
_DECRYPTED: Final[dict[Confidence, str]] = {
    Confidence.PROVEN: "Something on the way opens encrypted connections to {hosts}{who}.",
    Confidence.PROBABLE: "Something on the way very probably opens encrypted connections to {hosts}{who}.",
    Confidence.POSSIBLE: "Something on the way may open encrypted connections to {hosts}; it can also be harmless.",
}
_PLEASE_WAIT: Final = "Please do not start the exam on this connection yet."
_STILL: Final = "If that does not help, tell the exam office what you see here."
_AGAIN: Final = "Check that you are online and try again, or use another network."
_EXAM_SERVERS: Final = "the exam servers"


def _message(action: Action, reasons: Sequence[Reason], report: Report) -> str:
    """One short paragraph: what is the matter, what to do, and that nobody is suspected."""
    if action is Action.ALLOW:
        return _ALL_CLEAN if all(reason.code is ReasonCode.CLEAN for reason in reasons) else _GO_AHEAD
    asking = [reason for reason in reasons if reason.action is action]
    first = min(asking, key=lambda reason: reason.code not in _ABOUT_INTERCEPTION)
    if first.code not in _ABOUT_INTERCEPTION or first.confidence is None:
        said = _UNSURE.format(hosts=_hosts(name for reason in asking for name in reason.endpoints))
        advice = _AGAIN
    else:
        results = [r for r in report.results if r.endpoint.name in first.endpoints]
        said = _DECRYPTED[first.confidence].format(hosts=_hosts(first.endpoints), who=_who(results))
        advice = _advice(results) or _AGAIN
    first_of_all = _PLEASE_WAIT if action is Action.BLOCK else ""
    return " ".join(filter(None, (said, first_of_all, advice, _STILL, _NOT_YOU)))


_ABOUT_INTERCEPTION: Final = frozenset(_INTERCEPTION)


def _who(results: Iterable[Result]) -> str:
    """The product that appears to do it, where all signs name one."""
    products = {result.attribution.product if result.attribution else None for result in results}
    product = products.pop() if len(products) == 1 else None
    return f" (it looks like {product})" if product else ""


def _advice(results: Sequence[Result]) -> str:
    """The student's advice of the first endpoint, for all endpoints that share it."""
    advised = [(r.advice.replace(r.endpoint.host, _HOST), r.endpoint.host) for r in results]
    advice = advised[0][0] if advised else ""
    return advice.replace(_HOST, _hosts(host for shared, host in advised if shared == advice))


_HOST: Final = "\0"
"""Stands for the hosts in advice while it is compared; no host name and no advice contains it."""


def _hosts(names: Iterable[str]) -> str:
    """A few hosts, and how many more; of an endpoint on the usual port only the host."""
    hosts = list(dict.fromkeys(name.removesuffix(":443") for name in names))
    if not hosts:
        return _EXAM_SERVERS
    more = len(hosts) - NAMED_MOST
    return ", ".join(hosts[:NAMED_MOST]) + (f" and {more} more" if more > 0 else "")
