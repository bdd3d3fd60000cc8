"""The decision on one connection of a guarded client, in view of the connections assessed before it.

Room: guard. Opens nothing; clock and trust stores come from `session.seams`. A connection passes where the gate would
let an exam start: both use `exam.admission` with the same policy. Every host that a client connects to counts as named,
so each connection must be confirmed. Otherwise it is refused, in this order:

===========================================================================  ============
observation                                                                  refused as
===========================================================================  ============
interception, `probable` or `proven`                                         middleware
a certificate that no careful client on this device would accept             certificate
anything else, and no certificate at all                                     unconfirmed
===========================================================================  ============

A guarded client is never weaker than an ordinary one, whatever the policy: with `on_unconfirmed = "warn"`, an
unconfirmed connection passes only where a careful client on this device would accept the certificate.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import InputError
from detector.exam import student
from detector.exam.admission import admit, confirmed_as, is_intercepted, why
from detector.exam.policy import Action, Policy
from detector.judge import assess, network
from detector.judge.checks import host_name, witness
from detector.judge.evidence import Context, EndpointEvidence
from detector.judge.network_evidence import NetworkEvidence
from detector.judge.wording import Confirmation, other_route, set_route
from detector.language import Messages
from detector.model import Audience, Category, Confidence, Endpoint, Outcome, Verdict
from detector.model.validate import HTTPS_PORT
from detector.pins import parse_host
from detector.session.seams import THIS_MACHINE, Seams, this_machine
from detector.session.settings import Expectations
from detector.trust.acceptance import DATE_REFUSALS, explain
from detector.trust.budget import Budget
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch
from detector.version import VERSION

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import Unpack

    from detector.language import Sentence
    from detector.model import Observation, Report, Result
    from detector.session.settings import TrustOptions

LOG: Final = logging.getLogger("detector.guard")

REMEMBERED_MAX: Final = 64
"""Endpoints whose last evidence is kept, the least recent is dropped. Two of unrelated operators reveal an interceptor.
A chain has a few KiB, at most what `probe.tls.wire` accepts."""


class Refused(enum.StrEnum):
    """Why a connection may not carry a request."""

    MIDDLEWARE = "middleware"
    CERTIFICATE = "certificate"
    UNCONFIRMED = "unconfirmed"


class Assessment(NamedTuple):
    """The assessment of one connection. `refused` is None where it may carry requests; `report` holds only `result`.

    `action` is `warn` where it may, but was not fully confirmed. `message` describes the finding, `advice` the remedy;
    both are empty where the connection is confirmed. `for_student` is what a client shows of a refused connection, in
    the policy's language.
    """

    result: Result
    report: Report
    action: Action = Action.ALLOW
    refused: Refused | None = None
    message: str = ""
    advice: str = ""
    for_student: str = ""


class Guard:
    """Decides whether a connection may carry a request, for any number of clients, and remembers what they showed.

    Reading the files takes a few tenths of a second: make one guard and share it. It may be used from several threads
    and event loops.

    Args:
        policy: what passes (docs/exam-gate.md): a `Policy`, the path of a policy file, or None for the default, which
            lets nothing pass that is not confirmed, but outdated pins with a warning. What the gate lets an exam begin
            with, this guard lets pass. Its endpoints and its deadline concern the gate only.
        on_warning: called, in the thread that assesses, for each connection that passes with a warning.
        options: what chains are assessed against, as in `detector.Detector`; `pins` take precedence over the policy's.

    Raises:
        PolicyError, PinFileError, RootsError, LogListError: for what cannot be used.
    """

    def __init__(
        self,
        policy: Policy | str | Path | None = None,
        *,
        on_warning: Callable[[Assessment], None] | None = None,
        seams: Seams = THIS_MACHINE,
        **options: Unpack[TrustOptions],
    ) -> None:
        self.policy: Final = Policy.resolve(policy)
        if options.get("pins") is None and self.policy.pins:
            options["pins"] = self.policy.pins
        expectations = Expectations(**options)
        self.data: Final = expectations.data_set
        self.roots: Final = expectations.public_roots
        self.pins: Final = expectations.pin_set
        self.logs: Final = expectations.log_list
        self._on_warning: Final = on_warning
        self._seams: Final = seams
        self._memory: Final = _Memory()

    def endpoint(self, host: str, port: int | None = None) -> Endpoint:
        """Return the endpoint to assess, with its pins. `host` is a name or an address literal, without brackets.

        An unknown port (None) is that of the host's only pinned endpoint, or 443. Raises `TargetError`, and
        `InputError` when the host is pinned at several ports.
        """
        host = parse_host(host)
        pinned = [e for e in self.pins.endpoints if e.host == host and port in {None, e.port}]
        if len(pinned) > 1:
            raise InputError(
                f"{host} is pinned at several ports, and this client does not say which one it uses.",
                advice="Name it: guarded_context(guard, port=443).",
            )
        return pinned[0] if pinned else Endpoint(host=host, port=port or HTTPS_PORT)

    def assess(self, endpoint: Endpoint, observation: Observation) -> Assessment:
        """Assess one connection, and decide whether it may carry a request.

        Takes a few milliseconds; the first time up to a second, when machine roots or the suffix list have to be read
        (docs/guard.md). Blocks: in an event loop, call it in a thread. Raises nothing.
        """
        context = self._context()
        evidence = EndpointEvidence(endpoint, observation, context)
        result = self._memory.assess(evidence)
        report = network.report([result], context, started=context.at, finished=self.now(), vantage="", version=VERSION)
        assessment = self._admit(Assessment(result, report), evidence)
        LOG.info("%s: %s (%s)", endpoint.name, assessment.refused or assessment.action, result.reason)
        if assessment.action is Action.WARN and self._on_warning is not None:
            self._on_warning(assessment)
        return assessment

    def now(self) -> dt.datetime:
        """Return the time in UTC by which connections are assessed."""
        return self._seams.clock()

    def trusts(self, host: str, port: int, observation: Observation) -> bool:
        """Return whether an ordinary client on this machine would accept this as `host`."""
        return EndpointEvidence(Endpoint(host=host, port=port), observation, self._context()).trusted_here

    def _context(self) -> Context:
        machine = this_machine(self.data)
        return Context(
            at=self.now(),
            data=self.data,
            roots=self.roots,
            logs=self.logs,
            machine_roots=self._seams.machine_roots or machine.roots,
            installed_at=self._seams.installed_at or machine.installed_at,
            vendor_pins=self.pins.knowledge,
            budget=Budget(time.thread_time),
        )

    def _admit(self, assessment: Assessment, evidence: EndpointEvidence) -> Assessment:
        """Complete the assessment with the action, the kind of refusal and the message."""
        result, established = assessment.result, _is_established(evidence.observation)
        action = admit(self.policy, result)
        accepted = established and _is_accepted(evidence)
        unconfirmed = confirmed_as(self.policy, result) is Confirmation.UNCONFIRMED
        if not established or (unconfirmed and not accepted):
            action = Action.BLOCK
        if action is Action.ALLOW and result.observation.unfollowed_proxy is not None:
            action = Action.WARN
        if action is Action.ALLOW:
            return assessment
        refused = None
        if action is Action.BLOCK and is_intercepted(result):
            refused = Refused.MIDDLEWARE
        elif action is Action.BLOCK:
            refused = Refused.CERTIFICATE if established and not accepted else Refused.UNCONFIRMED
        ending = "The connection is used all the same." if refused is None else "Nothing of the request was sent."
        return assessment._replace(
            action=action,
            refused=refused,
            message=f"{result.endpoint.name}: {_finding(self.policy, result, evidence)} {ending}",
            advice=_advice(result),
            for_student="" if refused is None else self._for_student(result, is_established=established),
        )

    def _for_student(self, result: Result, *, is_established: bool) -> str:
        """Return the message to the student on a connection that is refused."""
        because = why(self.policy, result) if is_established else student.NO_ANSWER
        sentences = student.refusal(result, None if is_intercepted(result) else because)
        return self.say(sentences, category=result.endpoint.category)

    def say(self, sentences: Iterable[Sentence], *, category: Category) -> str:
        """Return what these sentences say to the student, in the policy's language, on an endpoint of this category."""
        is_exam = category is Category.EXAM
        return Messages.of(self.policy.language).say_all(
            one if is_exam else student.without_exam(one) for one in sentences
        )


def _advice(result: Result) -> str:
    """Return what the user and the developer of the client can do."""
    texts = [result.advice_for.get(audience, "") for audience in (Audience.STUDENT, Audience.DEVELOPER)]
    unfollowed = result.observation.unfollowed_proxy
    texts.append("" if unfollowed is None else set_route(unfollowed))
    return " ".join(dict.fromkeys(filter(None, texts))) or "Try again; if it stays so, check with: detector check"


def _is_established(observation: Observation) -> bool:
    return observation.outcome is Outcome.COMPLETE and observation.key_proved


def _is_accepted(evidence: EndpointEvidence) -> bool:
    """Return whether a careful TLS client on this device would accept the certificate for this endpoint.

    It trusts the public roots, those added to the device, and those declared for the endpoint; names match by RFC 9525.
    """
    if evidence.trusted_here:
        return True
    chain, named = evidence.chain, evidence.name_match is NameMatch.MATCH
    return named and chain is not None and chain.is_a(ChainClass.DECLARED) and not chain.refused


def _finding(policy: Policy, result: Result, evidence: EndpointEvidence) -> str:
    """Return the finding in a few sentences. Below `probable` it names nobody and calls nothing decrypted."""
    if is_intercepted(result):
        return _interception(result)
    if confirmed_as(policy, result) is Confirmation.CONFIRMED and result.observation.unfollowed_proxy is not None:
        return other_route(result.observation.unfollowed_proxy)
    if confirmed_as(policy, result) is Confirmation.STALE_PIN:
        return "The certificate is publicly trusted and logged; only the pins do not fit, and are probably out of date."
    observation = result.observation
    reasons: list[str] = [why(policy, result)]
    if _is_established(observation):
        reasons += _refusals(result, evidence)
        quoted = {witness.ID} if evidence.name_match is NameMatch.MATCH else {witness.ID, host_name.ID}
        reasons += [finding.summary for finding in result.findings if finding.check in quoted]
    else:
        reasons = [] if result.verdict is Verdict.CLEAN else reasons
        reasons.append(f"The handshake ended as {observation.outcome}.")
    return f"The server could not be confirmed ({result.reason}). {' '.join(dict.fromkeys(reasons))}"


def _refusals(result: Result, evidence: EndpointEvidence) -> Iterator[str]:
    """Yield why clients reject the intended path, and the device's time where dates are the reason."""
    chain = evidence.chain
    if chain is None or chain.refused_path is None:
        return
    for refused in chain.refused[:_REASONS_MAX]:
        if refused.depth == 0 or result.verdict is not Verdict.MIDDLEWARE:
            yield explain(refused, chain.refused_path)
        else:
            yield f"No client accepts a certificate above it ({refused.refusal})."
    if any(refused.refusal in DATE_REFUSALS for refused in chain.refused):
        yield f"This device's clock says {evidence.context.at:%Y-%m-%d %H:%M} UTC."


_REASONS_MAX: Final = 3
"""Reasons in a message: an expired leaf below an expired CA has two."""


def _interception(result: Result) -> str:
    sureness = "is" if result.confidence is Confidence.PROVEN else "is very probably"
    attribution = result.attribution
    who = "an unknown party"
    if attribution is not None and attribution.product is not None:
        vendor = "" if attribution.vendor in {None, attribution.product} else f" ({attribution.vendor})"
        who = attribution.product + vendor
    elif attribution is not None and attribution.issuer is not None:
        who = f"an unknown party (issuer: {attribution.issuer})"
    others = f"; it could also be: {', '.join(result.alternatives)}" if result.alternatives else ""
    return f"TLS {sureness} intercepted by {who} (middleware, {result.confidence}: {result.reason}{others})."


class _Memory:
    """The last evidence on each of a bounded number of endpoints."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._seen: Final[OrderedDict[str, tuple[EndpointEvidence, Result]]] = OrderedDict()

    def assess(self, evidence: EndpointEvidence) -> Result:
        """Return the result of this endpoint in view of the others, and remember it instead of its last one."""
        name = evidence.endpoint.name
        with self._lock:
            others = [kept for known, kept in self._seen.items() if known != name]
        known = NetworkEvidence.of([*(other for other, _ in others), evidence])
        for other, result in others:
            if result.verdict is Verdict.MIDDLEWARE:
                assess.assess_endpoint(other, known)  # adds the conclusions that the others are compared with
        result = assess.assess_endpoint(evidence, known, named=True)
        if evidence.leaf is not None:
            with self._lock:
                self._seen[name] = evidence, result
                self._seen.move_to_end(name)
                while len(self._seen) > REMEMBERED_MAX:
                    self._seen.popitem(last=False)
        return result
