"""The gate: one check of the network at exam start, and the decision on it.

Room: exam. Runs `Detector` under the policy's deadline and passes its report to `decision`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector import language as languages
from detector.aio.lazy import LazyModule
from detector.aio.tasks import run_in_thread
from detector.errors import BundleError, PolicyError, RequestError
from detector.model import Category, Engine, Route
from detector.session import run
from detector.session.seams import utc_now
from detector.session.session import Detector, observe, report_of

from .admission import must_be_confirmed
from .decision import Decided, Decision, decide
from .policy import ENDPOINTS_MAX, Policy, check_deadline
from .turns import turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Unpack

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector import bundle
    from detector.judge import witness_answer
    from detector.judge.evidence import EndpointEvidence
    from detector.locate import locate
    from detector.locate.locate import Locating
    from detector.model import Endpoint, Report
    from detector.session.session import Target
    from detector.session.settings import DetectorOptions

    from .browser_view import BrowserView
    from .protocol import Request

    PolicySource = Policy | str | Path | None
else:
    bundle = LazyModule("detector.bundle")
    locate = LazyModule("detector.locate.locate")
    witness_answer = LazyModule("detector.judge.witness_answer")

_OF_THE_RUN: Final = frozenset({"probes", "spread"})
"""Fields of `NetworkSettings` that the gate takes from its policy where the detector leaves them open."""


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

    def required(self, policy: Policy) -> frozenset[str]:
        """Return the endpoints that must be confirmed; all of them where nothing must be but the network as a whole."""
        exam = {e.name for e in self.endpoints if must_be_confirmed(policy, e.name, e.category)}
        return self.named | self.pinned | exam or frozenset(e.name for e in self.endpoints)


async def gate(  # noqa: PLR0913 - what a caller may choose
    targets: Iterable[Target] | None = None,
    *,
    policy: PolicySource = None,
    detector: Detector | None = None,
    keys: Sequence[Ed25519PrivateKey] = (),
    deadline: float | None = None,
    language: str | None = None,
    **options: Unpack[DetectorOptions],
) -> Decision:
    """Check this network and decide whether the exam may start: `allow`, `warn` or `block`.

    Never raises for network reasons and never outlives its deadline: what could not be finished is not confirmed, and
    the policy decides what that means. Safe to cancel: nothing is left behind. Many gates of one process take turns.

    Args:
        targets: endpoints (`HOST[:PORT]` or `Endpoint`) in addition to the policy's and those of category `exam` in the
            pin files (see `plan`), which are always probed.
        policy: a `Policy`, the path of a policy file, or None for the default one.
        detector: a detector to use instead of `options`; one may serve any number of gates. Make it with
            `make_detector` where the policy says how to probe.
        keys: keys that sign the evidence.
        deadline: seconds, counted from this call; takes precedence over the policy's.
        language: what the student reads is in this language (`de`, `de-CH`); takes precedence over the policy's.
        options: those of `Detector`; they take precedence over the policy's.

    Raises:
        InputError: before anything is sent, for a policy, pins, roots, keys, targets or a language that cannot be used,
            and for a `detector` that does not probe as the policy says.
        BusyError: before anything is sent, where so many gates run in this process that this one cannot be in time.
    """
    begin = asyncio.get_running_loop().time()
    chosen = await run_in_thread(lambda: Policy.resolve(policy))
    if language is not None:
        chosen = msgspec.structs.replace(chosen, language=languages.check(language))
    until = begin + (chosen.deadline if deadline is None else check_deadline(deadline))
    if detector is not None and options:
        raise TypeError(f"give a detector or {', '.join(sorted(options))}, not both")
    if detector is not None:
        _refuse_other_detector(chosen, detector)
    async with turns().take(until):
        if detector is None:
            detector = await run_in_thread(lambda: make_detector(chosen, **options))
        return await _decide(detector, chosen, plan(detector, chosen, targets), keys=keys, until=until)


async def _decide(  # noqa: PLR0913 - everything that a decision rests on
    detector: Detector,
    policy: Policy,
    planned: Plan,
    *,
    keys: Sequence[Ed25519PrivateKey],
    until: float,
    view: BrowserView | None = None,
) -> Decision:
    """Probe the planned endpoints before loop time `until`, and decide. `view` is what the browser reported of them."""
    started = utc_now()
    network = detector.network
    repeats = run.Repeats(network.probes or policy.probes, network.spread or policy.spread, planned.required(policy))
    remaining = until - asyncio.get_running_loop().time()
    observed = await observe(detector, planned.endpoints, deadline=max(remaining, 0.0), repeats=repeats)
    if view is not None:
        observed = view.join(observed)
    report = await report_of(detector, observed, started=started, named=planned.named)
    decided, evidence = await run_in_thread(
        lambda: (_decided(policy, planned, report, observed, repeats), _evidence(report, observed, keys))
    )
    return Decision(
        **decided._asdict(),
        language=policy.language,
        policy=policy.name,
        report=report,
        evidence=evidence,
    )


def _decided(
    policy: Policy, planned: Plan, report: Report, observed: Sequence[EndpointEvidence], repeats: run.Repeats
) -> Decided:
    required = planned.required(policy)
    unrepeated = frozenset(
        one.endpoint.name
        for one in observed
        if one.endpoint.name in required and _rounds_confirmed(policy, one) < repeats.probes
    )
    return decide(policy, report, named=planned.named, pinned=planned.pinned, unrepeated=unrepeated)


def _rounds_confirmed(policy: Policy, evidence: EndpointEvidence) -> int:
    """Return how many of its probes the endpoint answered, on the first route, and confirmed by a required witness.

    An answer proves its key: anyone can replay a chain. What the answers are worth is decided by the gravest of them.
    Another hello, or QUIC, is no answer in place of the first one's.
    """
    every, usual = (evidence, *evidence.siblings), evidence.observation
    answered = {
        one.observation.repeat
        for one in every
        if one.leaf is not None
        and one.observation.key_proved
        and one.route == evidence.route
        and (one.observation.route is Route.QUIC, one.observation.hello) == (False, usual.hello)
        and one.observation.engine is not Engine.BROWSER
    }
    if policy.requires_witness(evidence.endpoint.name, evidence.endpoint.category):
        equal = witness_answer.WitnessResult.EQUAL
        answered &= {one.observation.repeat for one in every if one.witness_result is equal}
    return len(answered)


def make_detector(policy: Policy, *, locating: Locating | None = None, **options: Unpack[DetectorOptions]) -> Detector:
    """Return a detector with these options, and with the policy's where they have none. Raises `InputError`."""
    if options.get("pins") is None and policy.pins:
        options["pins"] = policy.pins
    if locating is None and policy.locate:
        locating = locate.Locating()
    return Detector(locating=locating, **{**policy.network, **options})


def plan(
    detector: Detector,
    policy: Policy,
    targets: Iterable[Target] | None = None,
    *,
    also: Iterable[Endpoint] = (),
) -> Plan:
    """Return the endpoints that a gate probes: a floor, then the `targets` and `also`, which are named, too.

    The floor is what `targets` add to, and never take from: the policy's endpoints, those that it wants witnessed, and
    those of category `exam` in the pin files that were given. Nobody chose those of the shipped pin files: they are
    probed where neither the policy nor `targets` name an endpoint, together with everything else in the pin files.

    Raises `TargetError`, and `PolicyError` where the policy requires what no pin file makes possible.
    """
    own = detector.endpoints(policy.endpoints)
    asked = (*detector.endpoints(() if targets is None else targets), *also)
    hosts = () if isinstance(policy.require_witness, str) else policy.require_witness
    if not own and targets is None:
        pinned = detector.pins.endpoints
    elif detector.expectations.pins is None:
        pinned = ()
    else:
        pinned = tuple(endpoint for endpoint in detector.pins.endpoints if endpoint.category is Category.EXAM)
    # An endpoint of a name that is there already, but with other pins or at another address, is one more.
    endpoints = tuple(dict.fromkeys((*own, *pinned, *detector.endpoints(hosts), *asked)))
    if len(endpoints) > ENDPOINTS_MAX:
        raise PolicyError(
            f"endpoints: {len(endpoints)} would be probed; at most {ENDPOINTS_MAX} fit an exam start.",
            advice="Name those that the exam depends on under endpoints in the policy.",
        )
    _refuse_impossible_witness(policy, endpoints)
    return Plan(endpoints, frozenset(endpoint.name for endpoint in (*own, *asked)))


async def serve_request(
    request: Request,
    *,
    policy: Policy,
    detector: Detector,
    keys: Sequence[Ed25519PrivateKey] = (),
    view: BrowserView | None = None,
) -> Decision:
    """Serve a request: it can add to what the policy probes, and exclude nothing. Raises `InputError`, as `gate`.

    What the browser connected to, by its `view`, is probed too. The message is in the first known language of the
    request, or else in the policy's.
    """
    policy = msgspec.structs.replace(policy, language=languages.preferred(request.languages, policy.language))
    until = asyncio.get_running_loop().time() + (request.deadline or policy.deadline)
    also = (*_known(request.endpoints, policy, detector), *(() if view is None else view.endpoints))
    return await _decide(detector, policy, plan(detector, policy, also=also), keys=keys, until=until, view=view)


_MAKE_IT: Final = "Make the detector with detector.exam.make_detector(policy), or give its options instead."


def _refuse_other_detector(policy: Policy, detector: Detector) -> None:
    """Raise `PolicyError` where a detector probes in another way than the policy says."""
    for name, value in policy.network.items():
        if name not in _OF_THE_RUN and getattr(detector.network, name) != value:
            raise PolicyError(
                f"{name}: the policy says {value}, the detector {getattr(detector.network, name)}.", advice=_MAKE_IT
            )
    if policy.locate and detector.locating is None:
        raise PolicyError("locate: the policy says true, and the detector does not trace hops.", advice=_MAKE_IT)


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
