"""What a guarded client may talk to: one endpoint judged at a time, in the light of those judged before it.

Room: guard. Opens nothing; reads clock and settings through `session`. What is refused, first matching row:

===========================================================================  ============
what was seen                                                                refused as
===========================================================================  ============
`middleware`, at `refuse_at` or above                                        middleware
no finished handshake with a proved key                                      inconclusive
`clean`: a witness was at the other end, or the leaf's own key is pinned     not refused
ordinary verification of the certificate fails                               certificate
`inconclusive` for any other reason                                          inconclusive
everything else                                                              not refused
===========================================================================  ============

The row on ordinary verification keeps a guarded client from being weaker than an ordinary one: whatever is not known by
its own key must be what a careful client accepts (`trust.acceptance`).
"""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import InputError
from detector.judge import assess, network
from detector.judge.evidence import Context, EndpointEvidence
from detector.judge.network_evidence import NetworkEvidence
from detector.model import Assurance, Confidence, Endpoint, Outcome, Verdict
from detector.pins import parse_host
from detector.session import (
    resolve_logs,
    resolve_pins,
    resolve_roots,
    this_machine,
    utc_now,
)
from detector.trust.acceptance import DATE_REFUSALS, explain
from detector.trust.classes import ChainClass
from detector.trust.hostname import NameMatch, match
from detector.version import VERSION

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from detector.model import Observation, Report, Result
    from detector.session import LogSource, PinSource, RootSource
    from detector.trust.roots import Roots

REMEMBERED_MAX: Final = 64
"""Endpoints whose last evidence is kept. Two of unrelated operators show an interceptor; a client with more hosts than
this forgets the one it has not met for longest. One chain has a few KiB, at most what `probe.wire` lets through."""

HTTPS_PORT: Final = 443
"""Default port of an https URL (RFC 9110 section 4.2.2)."""


class Refused(enum.StrEnum):
    """Why a connection carries no request."""

    MIDDLEWARE = "middleware"
    INCONCLUSIVE = "inconclusive"
    CERTIFICATE = "certificate"


class Judged(NamedTuple):
    """The judgement of one connection. `refused` is None where it may carry requests; `report` holds `result` alone.

    `message` says what was found and `advice` what to do; both are empty where nothing is refused.
    """

    result: Result
    report: Report
    refused: Refused | None = None
    message: str = ""
    advice: str = ""


class Guard:
    """Judges connections for any number of clients, and remembers what they showed.

    `pins`, `roots`, `add_roots` and `logs` as in `detector.Detector`: None means the shipped ones. `refuse_at` is the
    least confidence at which a `middleware` verdict refuses a connection; below it, the certificate must still pass
    ordinary verification. `machine_roots`, `installed_at` and `clock` as in `Detector`. Reading the files takes a few
    tenths of a second: make one guard and share it. It may be used from several threads and event loops.

    Raises `PinFileError`, `RootsError` or `LogListError`.
    """

    def __init__(  # noqa: PLR0913 - keyword-only; each is one choice a caller may make
        self,
        *,
        pins: PinSource | None = None,
        roots: RootSource | None = None,
        add_roots: RootSource | None = None,
        logs: LogSource | None = None,
        refuse_at: Confidence = Confidence.POSSIBLE,
        machine_roots: Callable[[], Roots] = this_machine.roots,
        installed_at: Callable[[bytes], dt.datetime | None] = this_machine.installed_at,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        self.roots: Final = resolve_roots(roots, add_roots)
        self.pins: Final = resolve_pins(pins, lambda: self.roots)
        self.logs: Final = resolve_logs(logs)
        self.refuse_at: Final = refuse_at
        self._machine_roots: Final = machine_roots
        self._installed_at: Final = installed_at
        self._clock: Final = clock
        self._memory: Final = _Memory()

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
        )
        case = EndpointEvidence(endpoint, observation, context)
        result = assess.assess_endpoint(case, self._memory.network_with(case))
        self._memory.add(case)
        report = network.report([result], context, started=started, finished=self._clock(), vantage="", version=VERSION)
        judged = Judged(result, report)
        if result.verdict is Verdict.MIDDLEWARE and result.confidence and result.confidence.reaches(self.refuse_at):
            return _refuse(judged, Refused.MIDDLEWARE, _accusation(result), "")
        if not _is_established(observation):
            return _refuse(judged, Refused.INCONCLUSIVE, _what_is_missing(result), "")
        if result.verdict is Verdict.CLEAN and _is_known_by_key(result):
            return judged
        if (problem := certificate_problem(case)) is not None:
            return _refuse(judged, Refused.CERTIFICATE, problem, _OF_CERTIFICATES)
        if result.verdict is Verdict.INCONCLUSIVE:
            return _refuse(judged, Refused.INCONCLUSIVE, _what_is_missing(result), "")
        return judged


def certificate_problem(evidence: EndpointEvidence) -> str | None:
    """Why a careful TLS client would not accept the certificate for this endpoint at this moment; None when it would.

    The roots declared for the endpoint count as much as the public ones, and names are matched by RFC 9525: the common
    name does not count.
    """
    host, chain = evidence.endpoint.host, evidence.chain
    matched = NameMatch.MISMATCH if evidence.leaf is None else match(evidence.leaf, host)
    if matched is NameMatch.UNFINISHED:
        return f"The certificate has more names than are read, and {host} is not among those that were."
    if matched is not NameMatch.MATCH or chain is None:
        return f"The certificate is not for {host}."
    if chain.accepted or (chain.is_a(ChainClass.DECLARED) and not chain.refused):
        return None
    if chain.refused_path is None:
        return "No verified path leads from the certificate to a trusted root."
    reasons = [explain(one, chain.refused_path) for one in chain.refused[:_REASONS_MAX]]
    if any(one.refusal in DATE_REFUSALS for one in chain.refused):
        reasons.append(f"This device's clock says {evidence.context.at:%Y-%m-%d %H:%M} UTC.")
    return " ".join(reasons) or "The certificate leads to a root that is not trusted any more."


_REASONS_MAX: Final = 3
"""Reasons in a message: an expired leaf below an expired CA has two, and nobody reads twenty."""

_OF_CERTIFICATES: Final = (
    "Whoever runs the server must renew or correct its certificate. If it belongs to a private PKI, declare that PKI's "
    "root in the pin file (private_roots), or pin the server's own key."
)
_IF_NOTHING_ELSE: Final = "Try again; if it stays so, check with: detector check"


def _refuse(judged: Judged, refused: Refused, finding: str, advice: str) -> Judged:
    result = judged.result
    return judged._replace(
        refused=refused,
        message=f"{result.endpoint.name}: {finding} Nothing of the request was sent.",
        advice=advice or result.advice or _IF_NOTHING_ELSE,
    )


def _is_established(observation: Observation) -> bool:
    return observation.outcome is Outcome.COMPLETE and observation.key_proved


def _is_known_by_key(result: Result) -> bool:
    """Whether the other end was recognised by its own key: what a CA says or forgot to say adds nothing to that."""
    pinned = any((finding.check, finding.outcome) == ("pin", "leaf") for finding in result.findings)
    return pinned or result.assurance is Assurance.WITNESSED


def _accusation(result: Result) -> str:
    sureness = "may be decrypted" if result.confidence is Confidence.POSSIBLE else "is decrypted"
    attribution = result.attribution
    who = "an unknown party"
    if attribution is not None and attribution.product is not None:
        vendor = "" if attribution.vendor in {None, attribution.product} else f" ({attribution.vendor})"
        who = attribution.product + vendor
    elif attribution is not None and attribution.issuer is not None:
        who = f"an unknown party (issuer: {attribution.issuer})"
    others = f"; it could also be: {', '.join(result.alternatives)}" if result.alternatives else ""
    return f"TLS {sureness} on the way by {who} (middleware, {result.confidence}: {result.reason}{others})."


def _what_is_missing(result: Result) -> str:
    observation = result.observation
    if not _is_established(observation):
        return f"No TLS connection that could be judged came about ({observation.outcome}, {result.reason})."
    witness = [finding.summary for finding in result.findings if finding.check == "witness"]
    return " ".join((f"The connection could not be judged (inconclusive: {result.reason}).", *witness))


class _Memory:
    """What was seen last on each of a bounded number of endpoints."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._seen: Final[OrderedDict[str, EndpointEvidence]] = OrderedDict()

    def network_with(self, case: EndpointEvidence) -> NetworkEvidence:
        """This case among those of the other endpoints."""
        with self._lock:
            others = [kept for name, kept in self._seen.items() if name != case.endpoint.name]
        return NetworkEvidence.of([*others, case])

    def add(self, case: EndpointEvidence) -> None:
        """Remember a case instead of the endpoint's last one."""
        if case.leaf is None:
            return
        with self._lock:
            self._seen[case.endpoint.name] = case
            self._seen.move_to_end(case.endpoint.name)
            while len(self._seen) > REMEMBERED_MAX:
                self._seen.popitem(last=False)
