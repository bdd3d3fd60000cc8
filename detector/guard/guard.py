"""What a guarded client may talk to: one endpoint judged at a time, in the light of those judged before it.

Room: guard. Opens nothing; reads clock and settings through `session`. What passes is what the gate at exam start lets
an exam begin with: both ask `exam.admission`, under the same policy. Every host that a client connects to counts as
named, so each connection must be confirmed. A refused one is, in this order:

===========================================================================  ============
what was seen                                                                refused as
===========================================================================  ============
interception, `probable` or `proven`                                         middleware
a certificate that no careful client on this device would take               certificate
anything else, and no certificate at all                                     unconfirmed
===========================================================================  ============

A guarded client is never weaker than an ordinary one, whatever the policy: with `on_unconfirmed = "warn"`, what is not
confirmed passes only where a careful client on this device would take the certificate.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

from detector.errors import InputError
from detector.exam.admission import admit, is_intercepted, why, worth
from detector.exam.policy import Action, Policy
from detector.judge import assess, network
from detector.judge.checks import host_name, witness
from detector.judge.evidence import Context, EndpointEvidence
from detector.judge.network_evidence import NetworkEvidence
from detector.judge.wording import Confirmation
from detector.model import Audience, Confidence, Endpoint, Outcome, Verdict
from detector.pins import parse_host
from detector.session.session import resolve_logs, resolve_pins, resolve_roots, this_machine, utc_now
from detector.trust.acceptance import DATE_REFUSALS, explain
from detector.trust.budget import Budget
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch
from detector.version import VERSION

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self, Unpack

    from detector.model import Observation, Report, Result
    from detector.session.session import LogSource, PinSource, RootSource
    from detector.trust.roots import Roots

REMEMBERED_MAX: Final = 64
"""Endpoints whose last evidence is kept. Two of unrelated operators show an interceptor; a client with more hosts than
this forgets the one it has not met for longest. One chain has a few KiB, at most what `probe.wire` lets through."""

HTTPS_PORT: Final = 443
"""Default port of an https URL (RFC 9110 section 4.2.2)."""


class Refused(enum.StrEnum):
    """Why a connection carries no request."""

    MIDDLEWARE = "middleware"
    CERTIFICATE = "certificate"
    UNCONFIRMED = "unconfirmed"


class Judged(NamedTuple):
    """The judgement of one connection. `refused` is None where it may carry requests; `report` holds `result` alone.

    `action` is `warn` where it may, but was not confirmed entirely. `message` says what was found and `advice` what to
    do; both are empty where the connection is confirmed.
    """

    result: Result
    report: Report
    action: Action = Action.ALLOW
    refused: Refused | None = None
    message: str = ""
    advice: str = ""


class Settings(TypedDict, total=False):
    """How to judge: the arguments of `Guard`, but for the policy. `pins` take precedence over the policy's own."""

    pins: PinSource | None
    roots: RootSource | None
    add_roots: RootSource | None
    logs: LogSource | None
    on_warning: Callable[[Judged], None] | None
    machine_roots: Callable[[], Roots]
    installed_at: Callable[[bytes], dt.datetime | None]
    clock: Callable[[], dt.datetime]


class Guard:
    """Judges connections for any number of clients, and remembers what they showed.

    `policy` says what passes (docs/exam-gate.md); the default one lets nothing pass that is not confirmed, but stale
    pins with a warning. Its endpoints and its deadline are the gate's business. `on_warning` is called, in the thread
    that judges, for each connection that passes with a warning. `pins`, `roots`, `add_roots` and `logs` as in
    `detector.Detector`: None means the shipped ones. `machine_roots`, `installed_at` and `clock` as in `Detector`.
    Reading the files takes a few tenths of a second: make one guard and share it. It may be used from several threads
    and event loops.

    Raises `PinFileError`, `RootsError` or `LogListError`.
    """

    def __init__(  # noqa: PLR0913 - keyword-only; each is one choice a caller may make
        self,
        *,
        policy: Policy | None = None,
        pins: PinSource | None = None,
        roots: RootSource | None = None,
        add_roots: RootSource | None = None,
        logs: LogSource | None = None,
        on_warning: Callable[[Judged], None] | None = None,
        machine_roots: Callable[[], Roots] = this_machine.roots,
        installed_at: Callable[[bytes], dt.datetime | None] = this_machine.installed_at,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        self.policy: Final = Policy() if policy is None else policy
        self.roots: Final = resolve_roots(roots, add_roots)
        self.pins: Final = resolve_pins(pins, lambda: self.roots)
        self.logs: Final = resolve_logs(logs)
        self._on_warning: Final = on_warning
        self._machine_roots: Final = machine_roots
        self._installed_at: Final = installed_at
        self._clock: Final = clock
        self._memory: Final = _Memory()

    @classmethod
    def from_policy(cls, policy: Policy | str | Path, **settings: Unpack[Settings]) -> Self:
        """A guard that goes by the policy of the gate at exam start: a `Policy`, or the path of a policy file.

        What the gate lets an exam begin with, this guard lets pass. The policy's pins are used where `settings` name
        none. Raises `PolicyError`, and what `Guard` raises.
        """
        chosen = Policy.resolve(policy)
        if settings.get("pins") is None and chosen.pins:
            settings["pins"] = chosen.pins
        return cls(policy=chosen, **settings)

    def endpoint(self, host: str, port: int | None = None) -> Endpoint:
        """The endpoint to judge, with what is pinned for it. `host` is a name or an address literal, without brackets.

        Where the port is not known (None), a host that is pinned at one port only is meant. Raises `TargetError`, and
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

    def judge(self, endpoint: Endpoint, observation: Observation) -> Judged:
        """Judge one connection, and say whether it may carry a request.

        Takes a few milliseconds; the first of its kind up to a second, when machine roots or the suffix list have to be
        read (docs/guard.md). Blocks: in an event loop, call it in a thread. Raises nothing.
        """
        started = self._clock()
        context = Context(
            at=started,
            roots=self.roots,
            logs=self.logs,
            machine_roots=self._machine_roots,
            installed_at=self._installed_at,
            budget=Budget(time.thread_time),
        )
        evidence = EndpointEvidence(endpoint, observation, context)
        result = self._memory.assess(evidence)
        report = network.report([result], context, started=started, finished=self._clock(), vantage="", version=VERSION)
        judged = self._admit(Judged(result, report), evidence)
        if judged.action is Action.WARN and self._on_warning is not None:
            self._on_warning(judged)
        return judged

    def _admit(self, judged: Judged, evidence: EndpointEvidence) -> Judged:
        """The same judgement, with what becomes of the connection."""
        result, established = judged.result, _is_established(evidence.observation)
        found, action = worth(self.policy, result), admit(self.policy, result)
        taken = established and _is_taken(evidence)
        if not established or (found is Confirmation.UNCONFIRMED and not taken):
            action = Action.BLOCK
        if action is Action.ALLOW:
            return judged
        refused = None
        if action is Action.BLOCK:
            refused = _kind(result, unacceptable=established and not taken)
        ending = "The connection is used all the same." if refused is None else "Nothing of the request was sent."
        return judged._replace(
            action=action,
            refused=refused,
            message=f"{result.endpoint.name}: {_finding(self.policy, result, evidence)} {ending}",
            advice=_advice(result),
        )


def _advice(result: Result) -> str:
    """What the user and the developer of the client can do."""
    said = (result.advice_for.get(audience, "") for audience in (Audience.STUDENT, Audience.DEVELOPER))
    return " ".join(dict.fromkeys(filter(None, said))) or "Try again; if it stays so, check with: detector check"


def _is_established(observation: Observation) -> bool:
    return observation.outcome is Outcome.COMPLETE and observation.key_proved


def _is_taken(evidence: EndpointEvidence) -> bool:
    """Whether a careful TLS client on this device would take the certificate for this endpoint.

    It trusts the public roots, those that were added to the device, and those declared for the endpoint; names are
    matched by RFC 9525.
    """
    if evidence.trusted_here:
        return True
    chain, named = evidence.chain, evidence.name_match is NameMatch.MATCH
    return named and chain is not None and chain.is_a(ChainClass.DECLARED) and not chain.refused


def _kind(result: Result, *, unacceptable: bool) -> Refused:
    if is_intercepted(result):
        return Refused.MIDDLEWARE
    return Refused.CERTIFICATE if unacceptable else Refused.UNCONFIRMED


def _finding(policy: Policy, result: Result, evidence: EndpointEvidence) -> str:
    """What was found, in a few sentences. Below `probable` nobody is named and nothing is said to be decrypted."""
    if is_intercepted(result):
        return _interception(result)
    if worth(policy, result) is Confirmation.STALE_PIN:
        return "The certificate is publicly trusted and logged; only the pins do not fit, and are probably out of date."
    observation, reasons = result.observation, [why(policy, result)]
    if _is_established(observation):
        reasons += _refusals(result, evidence)
        told = {witness.ID} if evidence.name_match is NameMatch.MATCH else {witness.ID, host_name.ID}
        reasons += [finding.summary for finding in result.findings if finding.check in told]
    else:
        reasons = [] if result.verdict is Verdict.CLEAN else reasons
        reasons.append(f"The handshake ended as {observation.outcome}.")
    return f"The server could not be confirmed ({result.reason}). {' '.join(dict.fromkeys(reasons))}"


def _refusals(result: Result, evidence: EndpointEvidence) -> Iterator[str]:
    """Why no client takes the path to the root that was meant, and the device's time where dates are the reason."""
    chain = evidence.chain
    if chain is None or chain.refused_path is None:
        return
    for refused in chain.refused[:_REASONS_MAX]:
        if refused.depth == 0 or result.verdict is not Verdict.MIDDLEWARE:
            yield explain(refused, chain.refused_path)
        else:
            yield f"No client takes a certificate above it ({refused.refusal})."
    if any(refused.refusal in DATE_REFUSALS for refused in chain.refused):
        yield f"This device's clock says {evidence.context.at:%Y-%m-%d %H:%M} UTC."


_REASONS_MAX: Final = 3
"""Reasons in a message: an expired leaf below an expired CA has two, and nobody reads twenty."""


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
    return f"TLS {sureness} intercepted on the way by {who} (middleware, {result.confidence}: {result.reason}{others})."


class _Memory:
    """What was seen last on each of a bounded number of endpoints."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._seen: Final[OrderedDict[str, tuple[EndpointEvidence, Result]]] = OrderedDict()

    def assess(self, evidence: EndpointEvidence) -> Result:
        """The result of this endpoint among the others, remembered instead of its last one."""
        name = evidence.endpoint.name
        with self._lock:
            others = [kept for known, kept in self._seen.items() if known != name]
        known = NetworkEvidence.of([*(other for other, _ in others), evidence])
        for other, result in others:
            if result.verdict is Verdict.MIDDLEWARE:
                assess.assess_endpoint(other, known)  # concludes what the others can be held against
        result = assess.assess_endpoint(evidence, known)
        if evidence.leaf is not None:
            with self._lock:
                self._seen[name] = evidence, result
                self._seen.move_to_end(name)
                while len(self._seen) > REMEMBERED_MAX:
                    self._seen.popitem(last=False)
        return result
