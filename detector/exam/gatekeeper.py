"""The gate: one look at the network at exam start, and what to do about it.

Room: exam. Conducts `Detector` under the policy's deadline and hands its report to `decision`, which decides.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from detector.errors import BundleError, PolicyError, RequestError
from detector.session import Detector, utc_now
from detector.tasks import off_loop

from .decision import Decision, decide
from .policy import ENDPOINTS_MAX, Policy, check_deadline

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import Unpack

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.followup import Control
    from detector.judge.evidence import EndpointEvidence
    from detector.model import Endpoint, Report
    from detector.probe import Dialer
    from detector.session import LogSource, PinSource, ResolveRules, RootSource, SeenBefore, Target
    from detector.trust.roots import Roots

    from .exchange import Request

    PolicySource = Policy | str | Path | None


class Settings(TypedDict, total=False):
    """How to look: the arguments of `Detector`. `pins` go before the policy's own."""

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
    """What one gate looks at: the endpoints, and which of them (`host:port`) must be cleared each for itself."""

    endpoints: tuple[Endpoint, ...]
    named: frozenset[str]


async def gate(
    targets: Iterable[Target] | None = None,
    *,
    policy: PolicySource = None,
    detector: Detector | None = None,
    keys: Sequence[Ed25519PrivateKey] = (),
    deadline: float | None = None,
    **settings: Unpack[Settings],
) -> Decision:
    """Look at this network once and say whether the exam may start: `allow`, `warn` or `block`.

    `targets` (`HOST[:PORT]` or `Endpoint`) go before the policy's endpoints, and those before everything that is
    pinned. `policy` is a `Policy`, the path of a policy file, or None for the default one. `keys` sign the evidence.
    `deadline` (seconds, counted from this call) goes before the policy's. How to look is said by the arguments of
    `Detector`, or by a `detector` that is ready; one detector may serve any number of gates.

    Never raises for network reasons and never outlives its deadline: what could not be finished is inconclusive, and
    the policy says what that means. Safe to cancel: nothing is left behind. Raises `InputError` at once, before
    anything is sent, for a policy, pins, roots, keys or targets that cannot be used.
    """
    begin = asyncio.get_running_loop().time()
    chosen = await off_loop(lambda: resolve_policy(policy))
    until = begin + (chosen.deadline if deadline is None else check_deadline(deadline))
    if detector is None:
        detector = await off_loop(lambda: make_detector(chosen, **settings))
    elif settings:
        raise TypeError(f"give a detector or {', '.join(sorted(settings))}, not both")
    planned = plan(detector, chosen, targets)
    started = utc_now()
    remaining = until - asyncio.get_running_loop().time()
    cases = await detector.observe(planned.endpoints, deadline=max(remaining, 0.0))
    report = await detector.judged(cases, started=started, named=planned.named)
    action, reasons, message = decide(chosen, report, named=planned.named)
    evidence = await off_loop(lambda: _evidence(report, cases, keys))
    return Decision(
        action=action,
        reasons=reasons,
        message=message,
        policy=chosen.name,
        report=report,
        evidence=evidence,
    )


def resolve_policy(policy: PolicySource) -> Policy:
    """The policy to go by. Raises `PolicyError`."""
    if policy is None:
        return Policy()
    return policy if isinstance(policy, Policy) else Policy.load(policy)


def make_detector(policy: Policy, **settings: Unpack[Settings]) -> Detector:
    """A detector that looks as the settings say, with the policy's pins where the settings name none.

    Raises `InputError`, as `Detector` does.
    """
    if settings.get("pins") is None and policy.pins:
        settings["pins"] = policy.pins
    return Detector(**settings)


def plan(detector: Detector, policy: Policy, targets: Iterable[Target] | None = None) -> Plan:
    """The endpoints that a gate looks at: those asked for, and those that the policy requires a witness of.

    Raises `TargetError`; `PolicyError` where the policy requires what no pin file makes possible.
    """
    wanted = policy.endpoints or None if targets is None else targets
    endpoints = detector.endpoints(wanted)
    known = {endpoint.name for endpoint in endpoints}
    hosts = () if isinstance(policy.require_witness, str) else policy.require_witness
    required = detector.endpoints([host for host in hosts if host not in known])
    named = frozenset() if wanted is None else frozenset(known)
    endpoints = (*endpoints, *required)
    if len(endpoints) > ENDPOINTS_MAX:
        raise PolicyError(
            f"endpoints: {len(endpoints)} would be looked at; at most {ENDPOINTS_MAX} fit an exam start.",
            advice="Name those that the exam depends on under endpoints in the policy.",
        )
    _refuse_impossible_witness(policy, endpoints)
    return Plan(endpoints, named)


async def serve_request(
    request: Request, *, policy: Policy, detector: Detector, keys: Sequence[Ed25519PrivateKey] = ()
) -> Decision:
    """The gate for a client that is not written in Python. Raises `InputError`, as `gate`."""
    targets = _chosen(request.endpoints, policy, detector) if request.endpoints else None
    return await gate(targets, policy=policy, detector=detector, keys=keys, deadline=request.deadline)


def _chosen(wanted: Sequence[str], policy: Policy, detector: Detector) -> list[Endpoint]:
    """The endpoints a client asks for, all of which the institution's files must know.

    Whoever can talk to the gate would otherwise have a scanner of the student's network.
    """
    known = {e.name: e for e in (*detector.pins.endpoints, *detector.endpoints(policy.endpoints))}
    asked = detector.endpoints(wanted)
    for endpoint in asked:
        if endpoint.name not in known:
            raise RequestError(
                f"endpoints: {endpoint.name} is neither in the policy nor in its pin files.",
                advice="Ask for endpoints that the institution listed, or for none to have all of them looked at.",
            )
    return [known[endpoint.name] for endpoint in asked]


def _refuse_impossible_witness(policy: Policy, endpoints: Sequence[Endpoint]) -> None:
    """Without a pinned key nobody can confirm anything: that is a mistake in the files, not in the network."""
    required = [endpoint for endpoint in endpoints if policy.requires_witness(endpoint.name, endpoint.category)]
    if policy.require_witness and not required:
        raise PolicyError(
            f"require_witness: no endpoint of category {policy.require_witness} is looked at.",
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
    """The bundle; empty when nothing was looked at, or more was presented than a bundle holds."""
    from detector.bundle import pack  # noqa: PLC0415 - loaded when there is something to pack

    try:
        return pack(report, cases, keys=keys)
    except BundleError:  # no reason to leave the student without an answer
        return b""
