"""The gate: one probe of the network at exam start, and what to do about it.

Room: exam. Runs `Detector` under the policy's deadline and hands its report to `decision`, which decides.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from detector.aio.tasks import run_in_thread
from detector.errors import BundleError, PolicyError, RequestError
from detector.session.session import Detector, utc_now

from .decision import Decision, decide
from .policy import ENDPOINTS_MAX, Policy, check_deadline

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import Unpack

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Report
    from detector.probe import Dialer
    from detector.session.follow_up import Control
    from detector.session.session import LogSource, PinSource, ResolveRules, RootSource, SeenBefore, Target
    from detector.trust.roots import Roots

    from .exchange import Request

    PolicySource = Policy | str | Path | None


class Settings(TypedDict, total=False):
    """How to probe: the arguments of `Detector`. `pins` take precedence over the policy's own."""

    pins: PinSource | None
    roots: RootSource | None
    add_roots: RootSource | None
    logs: LogSource | None
    route: str
    resolve: ResolveRules | None
    vantage: str
    concurrency: int
    machine_roots: Callable[[], Roots]
    installed_at: Callable[[bytes], dt.datetime | None]
    dialer: Dialer | None
    offline: bool
    control: Control | None
    canaries: Sequence[Endpoint] | None
    seen_before: SeenBefore
    clock: Callable[[], dt.datetime]


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
    **settings: Unpack[Settings],
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
    chosen = await run_in_thread(lambda: Policy.resolve(policy))
    until = begin + (chosen.deadline if deadline is None else check_deadline(deadline))
    if detector is None:
        detector = await run_in_thread(lambda: make_detector(chosen, **settings))
    elif settings:
        raise TypeError(f"give a detector or {', '.join(sorted(settings))}, not both")
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
    evidence = await run_in_thread(lambda: _evidence(report, cases, keys))
    return Decision(
        action=action, reasons=reasons, message=message, policy=policy.name, report=report, evidence=evidence
    )


def make_detector(policy: Policy, **settings: Unpack[Settings]) -> Detector:
    """A detector that probes as the settings say, with the policy's pins where the settings name none.

    Raises `InputError`, as `Detector` does.
    """
    if settings.get("pins") is None and policy.pins:
        settings["pins"] = policy.pins
    return Detector(**settings)


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
