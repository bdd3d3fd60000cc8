"""From a report to what the exam client should do. Everything that weighs a report against a policy is here.

Room: exam. Pure: a policy and a report in, an action, reasons and a message out. No socket, file or clock.

Theory of operation
===================
Each endpoint may ask for an action, and the most severe one asked for is the decision.

* An endpoint of category `exam`, a pinned one, one that was named and one that must be witnessed has to be confirmed.
  `admission` says what is done with it.
* Any other endpoint decides nothing, but interception of it at `probable` or above warns, or blocks with
  `scope = "network"`. IT may have exempted the exam, as our own advice says.
* Where there is no endpoint that has to be confirmed, the network as a whole must be clean; else nothing is confirmed.

So `allow` and `warn` are given only where every endpoint that has to be confirmed was admitted.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector import model  # noqa: TC001 - msgspec reads the annotations at run time
from detector.aio.lazy import LazyModule
from detector.model import Audience, Category, Confidence, Outcome, Record, Report, Result, Verdict

from .admission import admit, admit_other, is_intercepted, why, worth
from .policy import Action, OnUnconfirmed, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from detector.judge import table, wording
    from detector.judge.checks import captive_portal
else:  # judging is imported while the network is waited for
    table = LazyModule("detector.judge.table")
    wording = LazyModule("detector.judge.wording")
    captive_portal = LazyModule("detector.judge.checks.captive_portal")

NAMED_MOST: Final = 3
"""Hosts named in a message to a student; the reasons have them all."""


class ReasonCode(enum.StrEnum):
    """Why a decision is what it is, what a student hears of first coming first. `docs/exam-gate.md` explains each."""

    UNCONFIRMED = "unconfirmed"
    WITNESS_MISSING = "witness-missing"
    NOTHING_CONFIRMED = "nothing-confirmed"
    STALE_PIN = "stale-pin"
    UNKNOWABLE = "unknowable"
    INTERCEPTED = "intercepted"
    DISREGARDED = "disregarded"
    CONFIRMED = "confirmed"


class Reason(Record, frozen=True, kw_only=True):
    """One reason: what it is, the action it asks for, the endpoints (`host:port`) it is about, and a sentence.

    The sentence is for the reviewer of the decision, `advice` says by audience what can be done. `rule` is the rule of
    the decision table that the results of these endpoints rest on, where it is one. `confidence` is given for
    `intercepted` only: that an endpoint is not confirmed accuses nobody.
    """

    code: ReasonCode
    action: Action
    endpoints: tuple[str, ...] = ()
    rule: model.Reason | None = None
    confidence: Confidence | None = None
    sentence: str
    advice: dict[Audience, str] = msgspec.field(default_factory=dict)


class Decided(NamedTuple):
    """What to do, why, and what to tell the student."""

    action: Action
    reasons: tuple[Reason, ...]
    message: str


class Decision(Record, frozen=True, kw_only=True):
    """What the gate answers.

    `message` is for the student: one short paragraph that accuses nobody. `evidence` is the bundle for the
    institution's review (see `detector.bundle`), signed with the keys that were given; it is empty when nothing was
    probed, or more was presented than a bundle holds. `policy` is the policy's name.
    """

    action: Action
    reasons: tuple[Reason, ...]
    message: str
    policy: str
    report: Report
    evidence: bytes = b""


class _Group(NamedTuple):
    """A reason, and the results it is about. `sign_in` says that signing in to the network comes before all else."""

    reason: Reason
    results: tuple[Result, ...] = ()
    sign_in: bool = False

    @property
    def order(self) -> tuple[int, int, bool]:
        """The most severe first; of these, what a student should hear of."""
        return -self.reason.action.rank, list(ReasonCode).index(self.reason.code), not self.sign_in


def decide(policy: Policy, report: Report, *, named: Collection[str] = (), pinned: Collection[str] = ()) -> Decided:
    """What `policy` says about `report`.

    `named` are the endpoints (`host:port`) that the caller or the policy named, `pinned` those with pins: like those of
    category `exam`, each must be confirmed. One of them that is not in the report is not confirmed. The reasons come
    most severe first. Raises nothing.
    """
    required = frozenset((*named, *pinned))
    groups = sorted(_Weighed(policy, report, required).groups(), key=lambda group: group.order)
    action = groups[0].reason.action  # there is always one: what is confirmed, or that nothing is
    return Decided(action, tuple(group.reason for group in groups), _message(groups[0]))


class _Weighed:
    """The results of one report under one policy."""

    def __init__(self, policy: Policy, report: Report, required: frozenset[str]) -> None:
        self._policy: Final = policy
        self._report: Final = report
        self._required: Final = required

    def groups(self) -> Iterator[_Group]:
        """Every reason that asks for something or that a reviewer should know."""
        grouped: dict[tuple[object, ...], list[Result]] = {}
        for result in self._report.results:
            grouped.setdefault(self._kind(result), []).append(result)
        for results in grouped.values():
            yield self._of(results)
        yield from self._not_probed()
        if not any(map(self._must_be_confirmed, self._report.results)) and self._report.verdict is not Verdict.CLEAN:
            yield self._without_results(ReasonCode.NOTHING_CONFIRMED, _NOTHING_CONFIRMED)

    def _must_be_confirmed(self, result: Result) -> bool:
        endpoint = result.endpoint
        return (
            endpoint.category is Category.EXAM
            or endpoint.name in self._required
            or self._policy.requires_witness(endpoint.name, endpoint.category)
        )

    def _code(self, result: Result) -> ReasonCode:
        if result.verdict is not Verdict.CLEAN and not self._must_be_confirmed(result):
            return ReasonCode.INTERCEPTED if is_intercepted(result) else ReasonCode.DISREGARDED
        found = ReasonCode(worth(self._policy, result).value)
        if found is ReasonCode.UNCONFIRMED and result.verdict is Verdict.CLEAN:
            return ReasonCode.WITNESS_MISSING
        return found

    def _kind(self, result: Result) -> tuple[object, ...]:
        """What results have in common that share a reason."""
        code = self._code(result)
        if code in {ReasonCode.CONFIRMED, ReasonCode.DISREGARDED}:
            return (code,)
        return code, result.reason, result.confidence, _product(result), _sign_in_first(result, self._report)

    def _of(self, results: Sequence[Result]) -> _Group:
        """The reason that these results, all of one kind, are."""
        first, code = results[0], self._code(results[0])
        alike = code in {ReasonCode.CONFIRMED, ReasonCode.DISREGARDED}
        asked = admit if self._must_be_confirmed(first) else admit_other
        action = Action.ALLOW if alike else asked(self._policy, first)
        reason = Reason(
            code=code,
            action=action,
            endpoints=_names(results),
            rule=None if alike else first.reason,
            confidence=first.confidence if code is ReasonCode.INTERCEPTED else None,
            sentence=_SENTENCES[code].format(why=why(self._policy, first)),
            advice={} if alike else {**self._advice(results), **_INSTEAD.get((code, action), {})},
        )
        return _Group(reason, tuple(results), _sign_in_first(first, self._report))

    def _advice(self, results: Sequence[Result]) -> dict[Audience, str]:
        """What each audience can do about results that share a reason."""
        by_audience: dict[Audience, list[tuple[str, str]]] = {}
        for result in results:
            said = {Audience.STUDENT: _AGAIN, **result.advice_for}
            if _sign_in_first(result, self._report) and not table.RULE_OF[result.reason].may_be_portal:
                said[Audience.STUDENT] = _SIGN_IN
            elif result.observation.outcome in _QUOTING_THE_NETWORK:
                said[Audience.STUDENT] = _AGAIN
            for audience, advice in said.items():
                by_audience.setdefault(audience, []).append((advice, result.endpoint.host))
        return {audience: _shared(advised) for audience, advised in by_audience.items()}

    def _not_probed(self) -> Iterator[_Group]:
        """Endpoints that must be confirmed and are not in the report."""
        required, seen = self._policy.require_witness, {result.endpoint.name for result in self._report.results}
        hosts = self._required if isinstance(required, str) else {*self._required, *required}
        missing = tuple(sorted(hosts - seen))
        absent = isinstance(required, Category) and all(
            r.endpoint.category is not required for r in self._report.results
        )
        if missing or absent:
            yield self._without_results(ReasonCode.UNCONFIRMED, _NOT_PROBED, missing)

    def _without_results(self, code: ReasonCode, sentence: str, endpoints: tuple[str, ...] = ()) -> _Group:
        action = Action.BLOCK if self._policy.on_unconfirmed is OnUnconfirmed.BLOCK else Action.WARN
        advice = {Audience.STUDENT: _AGAIN}
        return _Group(Reason(code=code, action=action, endpoints=endpoints, sentence=sentence, advice=advice))


_SENTENCES: Final[dict[ReasonCode, str]] = {
    ReasonCode.UNCONFIRMED: "{why}",
    ReasonCode.WITNESS_MISSING: "{why}",
    ReasonCode.STALE_PIN: "Clients accept the certificate, and it is publicly logged; only the pins do not fit. "
    "They are probably out of date.",
    ReasonCode.UNKNOWABLE: "{why} Clients accept it.",
    ReasonCode.INTERCEPTED: "{why} The exam does not depend on these endpoints.",
    ReasonCode.DISREGARDED: "These endpoints are not clean, and nothing depends on them.",
    ReasonCode.CONFIRMED: "These endpoints are clean: as witnessed, pinned, logged or declared.",
}
_NOTHING_CONFIRMED: Final = (
    "Nothing that was probed is of category exam, pinned or named, and the network as a whole is not clean."
)
_NOT_PROBED: Final = "These endpoints must be confirmed and were not probed."

_QUOTING_THE_NETWORK: Final = frozenset({Outcome.PROXY_AUTH_UNSUPPORTED, Outcome.PROXY_UNKNOWN})
"""Outcomes whose advice repeats what a proxy or the network's configuration said."""


def _sign_in_first(result: Result, report: Report) -> bool:
    """Whether a portal answers in the endpoint's place, or may: then signing in comes before everything else."""
    if result.verdict is Verdict.CLEAN:
        return False
    rule = table.RULE_OF[result.reason]
    if rule.is_outcome:
        return report.portal is not None and report.portal.outcome in captive_portal.ANSWERED_BY_ANOTHER
    return rule.may_be_portal or wording.is_behind_a_portal(result)


def _product(result: Result) -> str | None:
    return None if result.attribution is None else result.attribution.product


def _names(results: Iterable[Result]) -> tuple[str, ...]:
    return tuple(result.endpoint.name for result in results)


def _shared(advised: Sequence[tuple[str, str]]) -> str:
    """Advice that comes with a host: that of the first one, for all hosts that it fits as well."""
    general = [(advice.replace(host, _HOST), host) for advice, host in advised]
    first = general[0][0]
    return first.replace(_HOST, _hosts(host for advice, host in general if advice == first))


_HOST: Final = "\0"
"""Stands for the hosts in advice while it is compared; no host name and no advice contains it."""


# What the student reads. Nothing that came over the network stands in it: hosts are those that the institution or the
# client named, products are those of the catalogue, everything else is ours.

_CONFIRMED: Final = "The exam server was confirmed."
_GO_AHEAD: Final = "You can go ahead with the exam."
_GO_AHEAD_ALL_THE_SAME: Final = "You can go ahead with the exam, but it is better to solve this first."
_PLEASE_WAIT: Final = "Please do not start the exam on this connection yet."
_STILL: Final = "If that does not help, tell the exam office what you see here."
_NOT_YOU: Final = "This is a matter of how the connection is set up; it is not held against you."
_AGAIN: Final = "Check that you are online and try again, or use another network."
_SIGN_IN: Final = "Open a browser and sign in to this network, then try again."
_NO_ANSWER: Final = "There was no answer that shows which server it is."
_STALE_PIN: Final = (
    "The certificate of {hosts} is valid and publicly known; it is only not the one on the exam office's list, "
    "probably because it was renewed."
)
_TELL_THE_OFFICE: Final = "Tell the exam office: only it can bring its list up to date."
_UNKNOWABLE: Final = "The certificate of {hosts} is valid; only one of the further checks could not be completed."
_UPDATE: Final = "Please update this program before the next exam."
_OPENED: Final[dict[Confidence | None, str]] = {
    Confidence.PROVEN: "Something on the way opens encrypted connections to {hosts}{who}.",
    Confidence.PROBABLE: "Something on the way very probably opens encrypted connections to {hosts}{who}.",
}
_INSTEAD: Final[dict[tuple[ReasonCode, Action], dict[Audience, str]]] = {
    (ReasonCode.STALE_PIN, Action.WARN): {Audience.STUDENT: _GO_AHEAD},
    (ReasonCode.STALE_PIN, Action.BLOCK): {Audience.STUDENT: _TELL_THE_OFFICE},
    (ReasonCode.UNKNOWABLE, Action.WARN): {Audience.STUDENT: _UPDATE},
}
"""What a student can do about a server that a careful client takes; the result's own advice is for a doubtful one."""
_NOT_THE_EXAMS: Final = "The exam does not depend on these connections."
_NO_SUCH_NETWORK: Final = "The exam office does not let an exam begin on such a network."


def _message(group: _Group) -> str:
    """One short paragraph: what is the matter, what to do, and that nobody is suspected."""
    reason = group.reason
    if reason.action is Action.ALLOW:
        said: tuple[str, ...] = (_CONFIRMED, _GO_AHEAD)
    else:
        said = _SAID.get(reason.code, _of_unconfirmed)(group, _hosts(reason.endpoints))
    return " ".join(filter(None, said))


def _of_unconfirmed(group: _Group, hosts: str) -> tuple[str, ...]:
    reason = group.reason
    nothing_seen = reason.rule is not None and table.RULE_OF[reason.rule].is_outcome
    because = _NO_ANSWER if nothing_seen else reason.sentence
    product = _product(group.results[0]) if group.results else None
    finding = (
        f"The exam server could not be confirmed{f': {hosts}' if hosts else ''}.",
        because,
        f"It looks like {product}." if product else "",
    )
    cure = reason.advice[Audience.STUDENT]
    ending = (_PLEASE_WAIT, _STILL) if reason.action is Action.BLOCK else ("", _GO_AHEAD_ALL_THE_SAME)
    first, then = ((cure,), ()) if group.sign_in else ((), (cure,))
    return (*first, *finding, ending[0], *then, ending[1], _NOT_YOU)


def _of_stale_pin(group: _Group, hosts: str) -> tuple[str, ...]:
    stale = _STALE_PIN.format(hosts=hosts)
    if group.reason.action is Action.WARN:
        return _GO_AHEAD, stale
    return f"The exam server could not be confirmed: {hosts}.", stale, _PLEASE_WAIT, _TELL_THE_OFFICE, _NOT_YOU


def _of_unknowable(_: _Group, hosts: str) -> tuple[str, ...]:
    return _GO_AHEAD, _UNKNOWABLE.format(hosts=hosts), _UPDATE


def _of_interception(group: _Group, hosts: str) -> tuple[str, ...]:
    product = _product(group.results[0])
    opened = _OPENED[group.reason.confidence].format(hosts=hosts, who=f" (it looks like {product})" if product else "")
    if group.reason.action is Action.WARN:
        return _GO_AHEAD, _CONFIRMED, opened, _NOT_THE_EXAMS
    cure = group.reason.advice[Audience.STUDENT]
    return _CONFIRMED, opened, _NO_SUCH_NETWORK, _PLEASE_WAIT, cure, _STILL, _NOT_YOU


_SAID: Final[dict[ReasonCode, Callable[[_Group, str], tuple[str, ...]]]] = {
    ReasonCode.STALE_PIN: _of_stale_pin,
    ReasonCode.UNKNOWABLE: _of_unknowable,
    ReasonCode.INTERCEPTED: _of_interception,
}
"""What is said of reasons other than that a server was not confirmed."""


def _hosts(names: Iterable[str]) -> str:
    """A few hosts, and how many more; of an endpoint on the usual port only the host."""
    hosts = list(dict.fromkeys(name.removesuffix(":443") for name in names))
    more = len(hosts) - NAMED_MOST
    return ", ".join(hosts[:NAMED_MOST]) + (f" and {more} more" if more > 0 else "")
