"""One browser's session with the native messaging host: its reports, and the gates that take them into account.

Room: exam. Runs `gatekeeper` and holds the session's `BrowserView`; opens nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.aio.tasks import run_in_thread
from detector.model import Category
from detector.session.seams import utc_now
from detector.session.session import context_of
from detector.version import VERSION

from . import gatekeeper
from .browser_view import BrowserResult, BrowserView
from .protocol import Observed, Response, Task, response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.judge import assess, evidence
    from detector.model import Endpoint
    from detector.session.session import Detector

    from .decision import Decision
    from .policy import Policy
    from .protocol import Request
else:
    assess = LazyModule("detector.judge.assess")
    evidence = LazyModule("detector.judge.evidence")


def _listed(policy: Policy, detector: Detector) -> tuple[Endpoint, ...]:
    """Return the endpoints whose connections are kept: those that a gate probes because the exam depends on them."""
    planned = gatekeeper.plan(detector, policy)
    return tuple(
        endpoint
        for endpoint in planned.endpoints
        if endpoint.category is Category.EXAM
        or endpoint.name in planned.named
        or policy.requires_witness(endpoint.name, endpoint.category)
    )


class BrowserSession:
    """Answers the requests of one browser, as long as its port is open.

    `on_decision` is called with each decision before it is answered, and must not take time.
    """

    def __init__(
        self,
        policy: Policy,
        detector: Detector,
        *,
        keys: Sequence[Ed25519PrivateKey] = (),
        on_decision: Callable[[Decision], object] | None = None,
    ) -> None:
        self._policy: Final = policy
        self._detector: Final = detector
        self._keys: Final = keys
        self._on_decision: Final = on_decision
        self._view: Final = BrowserView(_listed(policy, detector))

    async def answer(self, request: Request) -> Response | Observed:
        """Answer a request to observe, or one for the gate. Raises `InputError` for a request that cannot be served."""
        self._view.forget(utc_now())
        if request.task is Task.OBSERVE:
            return await self._observe(request)
        decision = await gatekeeper.serve_request(
            request, policy=self._policy, detector=self._detector, keys=self._keys, view=self._view
        )
        if self._on_decision is not None:
            self._on_decision(decision)
        return response(decision, request, self._view.viewed())

    async def _observe(self, request: Request) -> Observed:
        """Keep what the browser reports, and assess it by itself."""
        endpoints, refused = self._view.add(request.connections, browser=request.browser, now=utc_now())
        names = {endpoint.name for endpoint in endpoints}
        return Observed(
            id=request.id,
            detector_version=VERSION,
            browser=tuple(viewed for viewed in self._view.viewed() if viewed.endpoint in names),
            results=await run_in_thread(lambda: self._results(endpoints)),
            refused=refused,
        )

    def _results(self, endpoints: Sequence[Endpoint]) -> tuple[BrowserResult, ...]:
        context = context_of(self._detector, endpoints)
        reported = ((endpoint, self._view.of(endpoint.name)) for endpoint in endpoints)
        every = [
            evidence.EndpointEvidence(endpoint, first, context, others=others)
            for endpoint, (first, *others) in ((endpoint, seen) for endpoint, seen in reported if seen)
        ]
        return tuple(map(BrowserResult.of, assess.assess_all(every)))
