"""The gate: one check of the network at exam start, and the decision on it.

Room: exam. Runs `Detector` under the policy's deadline and passes its report to `decision`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from detector.aio.lazy import LazyModule
from detector.aio.tasks import run_in_thread
from detector.errors import BundleError, PolicyError, RequestError
from detector.session.seams import utc_now
from detector.session.session import Detector

from .decision import Decision, decide
from .policy import ENDPOINTS_MAX, Policy, check_deadline
from .turns import turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Unpack

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector import bundle
    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Report
    from detector.session.session import Target
    from detector.session.settings import DetectorOptions

    from .protocol import Request

    PolicySource = Policy | str | Path | None
else:
    bundle = LazyModule("detector.bundle")


class Plan(NamedTuple):
    """The endpoints of one gate. Those `named` and `pinned` (`host:port`) must each be confirmed."""

    endpoints: tuple[Endpoint, ...]
    named: frozenset[str]

    @property
    def pinned(self) -> frozenset[str]:
        """The endpoints for which a pin file has a key, a certificate or a private root."""
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
    """Check this network once and decide whether the exam may start: `allow`, `warn` or `block`.

    Never raises for network reasons and never outlives its deadline: what could not be finished is not confirmed, and
    the policy decides what that means. Safe to cancel: nothing is left behind. Many gates of one process take turns.

    Args:
        targets: endpoints (`HOST[:PORT]` or `Endpoint`) in addition to the policy's, which are always probed; without
            either, everything in the pin files is.
        policy: a `Policy`, the path of a policy file, or None for the default one.
        detector: a detector to use instead of `options`; one may serve any number of gates.
        keys: keys that sign the evidence.
        deadline: seconds, counted from this call; takes precedence over the policy's.
        options: those of `Detector`; `pins` take precedence over the policy's.

    Raises:
        InputError: before anything is sent, for a policy, pins, roots, keys or targets that cannot be used.
        BusyError: before anything is sent, where so many gates run in this process that this one cannot be in time.
    """
    begin = asyncio.get_running_loop().time()
    chosen = await run_in_thread(lambda: Policy.resolve(policy))
    until = begin + (chosen.deadline if deadline is None else check_deadline(deadline))
    if detector is not None and options:
        raise TypeError(f"give a detector or {', '.join(sorted(options))}, not both")
    async with turns().take(until):
        if detector is None:
            detector = await run_in_thread(lambda: make_detector(chosen, **options))
        return await _decide(detector, chosen, plan(detector, chosen, targets), keys=keys, until=until)


async def _decide(
    detector: Detector, policy: Policy, planned: Plan, *, keys: Sequence[Ed25519PrivateKey], until: float
) -> Decision:
    """Probe the planned endpoints before loop time `until`, and decide."""
    started = utc_now()
    remaining = until - asyncio.get_running_loop().time()
    observed = await detector.observe(planned.endpoints, deadline=max(remaining, 0.0))
    report = await detector.assess(observed, started=started, named=planned.named)
    action, reasons, message = decide(policy, report, named=planned.named, pinned=planned.pinned)
    evidence = await run_in_thread(lambda: _evidence(report, observed, keys))
    return Decision(
        action=action, reasons=reasons, message=message, policy=policy.name, report=report, evidence=evidence
    )


def make_detector(policy: Policy, **options: Unpack[DetectorOptions]) -> Detector:
    """Return a detector with these options, and with the policy's pins where the options have none."""
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
    """Return the endpoints that a gate probes: the policy's, the `targets`, and those that the policy wants witnessed.

    Without endpoints in the policy and `targets`: everything in the pin files. `also` are named too, but do not exclude
    anything. Raises `TargetError`, and `PolicyError` where the policy requires what no pin file makes possible.
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
    """Serve a request: it can add to what the policy probes, and exclude nothing. Raises `InputError`, as `gate`."""
    until = asyncio.get_running_loop().time() + (request.deadline or policy.deadline)
    planned = plan(detector, policy, also=_known(request.endpoints, policy, detector))
    return await _decide(detector, policy, planned, keys=keys, until=until)


def _known(wanted: Sequence[str], policy: Policy, detector: Detector) -> list[Endpoint]:
    """Return the endpoints that a client requests, all of which must be in the institution's files.

    Otherwise any client of the gate could scan the student's network.
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
    """Raise `PolicyError` where a witness is required and no key is pinned: a mistake in the files, not the network."""
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


def _evidence(report: Report, observed: Sequence[EndpointEvidence], keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """Return the bundle; empty when nothing was probed, or more was presented than a bundle holds."""
    try:
        return bundle.pack(report, observed, keys=keys)
    except BundleError:  # the student needs a decision all the same
        return b""
