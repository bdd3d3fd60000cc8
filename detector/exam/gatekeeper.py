"""The gate: one probe of the network at exam start, and what to do about it.

Room: exam. Runs `Detector` under the policy's deadline and hands its report to `decision`, which decides.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from detector.aio.tasks import off_loop
from detector.errors import BundleError, PolicyError, RequestError
from detector.session.seams import utc_now
from detector.session.session import Detector

from .decision import Decision, decide
from .policy import ENDPOINTS_MAX, Policy, check_deadline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Unpack

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Report
    from detector.session.session import Target
    from detector.session.settings import DetectorOptions

    from .exchange import Request

    PolicySource = Policy | str | Path | None


class Plan(NamedTuple):
    """What one gate probes. `named` and `pinned` are endpoints (`host:port`) that must be confirmed each for itself."""

    endpoints: tuple[Endpoint, ...]
    named: frozenset[str]

    @property
    def pinned(self) -> frozenset[str]:
        """The endpoints of whose genuine server the pin files hold a key, a certificate or a root of its own."""
        return frozenset(
            e.name for e in self.endpoints if e.pins or e.backup_pins or e.certificates or e.private_roots or e.witness
        )


async def gate(
    targets: Iterable[Target] | None = None,
    *,
    policy: PolicySource = None,
    detector: Detector | None = None,
    keys: Sequence[Ed25519PrivateKey] = (),
    deadline: float | None = None,
    **options: Unpack[DetectorOptions],
) -> Decision:
    """Probe this network once and say whether the exam may start: `allow`, `warn` or `block`.

    `targets` (`HOST[:PORT]` or `Endpoint`) are named besides the policy's endpoints, which are the least that is
    probed; without either, everything in the pin files is. `policy` is a `Policy`, the path of a policy file, or None
    for the default one. `keys` sign the evidence. `deadline` (seconds, counted from this call) takes precedence over
    the policy's. How to probe is said by the arguments of `Detector`, or by a `detector` that is ready; one detector
    may serve any number of gates.

    Never raises for network reasons and never outlives its deadline: what could not be finished is not confirmed, and
    the policy says what that means. Safe to cancel: nothing is left behind. Raises `InputError` at once, before
    anything is sent, for a policy, pins, roots, keys or targets that cannot be used.
    """
    begin = asyncio.get_running_loop().time()
    chosen = await off_loop(lambda: Policy.resolve(policy))
    until = begin + (chosen.deadline if deadline is None else check_deadline(deadline))
    if detector is None:
        detector = await off_loop(lambda: make_detector(chosen, **options))
    elif options:
        raise TypeError(f"give a detector or {', '.join(sorted(options))}, not both")
    return await _decide(detector, chosen, plan(detector, chosen, targets), keys=keys, until=until)


async def _decide(
    detector: Detector, policy: Policy, planned: Plan, *, keys: Sequence[Ed25519PrivateKey], until: float
) -> Decision:
    """Probe what was planned before loop time `until`, and decide."""
    started = utc_now()
    remaining = until - asyncio.get_running_loop().time()
    cases = await detector.observe(planned.endpoints, deadline=max(remaining, 0.0))
    report = await detector.judged(cases, started=started, named=planned.named)
    action, reasons, message = decide(policy, report, named=planned.named, pinned=planned.pinned)
    evidence = await off_loop(lambda: _evidence(report, cases, keys))
    return Decision(
        action=action, reasons=reasons, message=message, policy=policy.name, report=report, evidence=evidence
    )


def make_detector(policy: Policy, **options: Unpack[DetectorOptions]) -> Detector:
    """A detector that probes as the options say, with the policy's pins where the options name none.

    Raises `InputError`, as `Detector` does.
    """
    if options.get("pins") is None and policy.pins:
        options["pins"] = policy.pins
    return Detector(**options)


def plan(
    detector: Detector,
    policy: Policy,
    targets: Iterable[Target] | None = None,
    *,
    also: Iterable[Endpoint] = (),
) -> Plan:
    """The endpoints that a gate probes: the policy's, the `targets`, and those that the policy wants witnessed.

    Everything in the pin files, where there are neither endpoints in the policy nor `targets`. `also` are named too,
    and keep nothing else from being probed. Raises `TargetError`; `PolicyError` where the policy requires what no pin
    file makes possible.
    """
    asked = detector.endpoints(() if targets is None else targets)
    named = {e.name: e for e in (*detector.endpoints(policy.endpoints), *asked, *also)}
    everything = targets is None and not policy.endpoints
    chosen = {**{e.name: e for e in (detector.pins.endpoints if everything else ())}, **named}
    hosts = () if isinstance(policy.require_witness, str) else policy.require_witness
    endpoints = (*chosen.values(), *detector.endpoints([host for host in hosts if host not in chosen]))
    if len(endpoints) > ENDPOINTS_MAX:
        raise PolicyError(
            f"endpoints: {len(endpoints)} would be probed; at most {ENDPOINTS_MAX} fit an exam start.",
            advice="Name those that the exam depends on under endpoints in the policy.",
        )
    _refuse_impossible_witness(policy, endpoints)
    return Plan(endpoints, frozenset(named))


async def serve_request(
    request: Request, *, policy: Policy, detector: Detector, keys: Sequence[Ed25519PrivateKey] = ()
) -> Decision:
    """The gate for a client that is not written in Python. A request adds to what the policy probes, and omits nothing.

    Raises `InputError`, as `gate`.
    """
    until = asyncio.get_running_loop().time() + (request.deadline or policy.deadline)
    planned = plan(detector, policy, also=_chosen(request.endpoints, policy, detector))
    return await _decide(detector, policy, planned, keys=keys, until=until)


def _chosen(wanted: Sequence[str], policy: Policy, detector: Detector) -> list[Endpoint]:
    """The endpoints a client asks for, all of which the institution's files must know.

    Anybody who can talk to the gate would otherwise have a scanner of the student's network.
    """
    known = {e.name: e for e in (*detector.pins.endpoints, *detector.endpoints(policy.endpoints))}
    asked = detector.endpoints(wanted)
    for endpoint in asked:
        if endpoint.name not in known:
            raise RequestError(
                f"endpoints: {endpoint.name} is neither in the policy nor in its pin files.",
                advice="Ask for endpoints that the institution listed, or for none.",
            )
    return [known[endpoint.name] for endpoint in asked]


def _refuse_impossible_witness(policy: Policy, endpoints: Sequence[Endpoint]) -> None:
    """Without a pinned key nobody can confirm anything: that is a mistake in the files, not in the network."""
    required = [endpoint for endpoint in endpoints if policy.requires_witness(endpoint.name, endpoint.category)]
    if policy.require_witness and not required:
        raise PolicyError(
            f"require_witness: no endpoint of category {policy.require_witness} is probed.",
            advice="Give one in the pin file, or leave require_witness out.",
        )
    for endpoint in required:
        if not endpoint.witness:
            raise PolicyError(
                f"require_witness: no witness key is pinned for {endpoint.name}.",
                advice=f"Give it in the pin file{f' {endpoint.source}' if endpoint.source else ''}: "
                'witness = "ed25519/<base64>".',
            )


def _evidence(report: Report, cases: Sequence[EndpointEvidence], keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """The bundle; empty when nothing was probed, or more was presented than a bundle holds."""
    from detector.bundle import pack  # noqa: PLC0415 - loaded when there is something to pack

    try:
        return pack(report, cases, keys=keys)
    except BundleError:  # no reason to leave the student without an answer
        return b""
