"""The functions of this package that connect, for callers without a running event loop, under the same names.

Room: sync, above exam and guard.

    report = detector.sync.check(["exam.example.edu"], pins="pins/")
    decision = detector.sync.gate(policy="exam-policy.toml")

`examine` and `Guard` need no event loop; they are here so that one module has all. Guarded clients without a loop
(requests, urllib3, httpx) take `detector.guard.guarded_context`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from detector.aio.lazy import LazyModule
from detector.session import session
from detector.session.session import examine

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from typing import Unpack

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector import guard
    from detector.exam import gatekeeper
    from detector.exam.decision import Decision
    from detector.exam.gatekeeper import PolicySource
    from detector.guard import Guard as Guard
    from detector.model import Report
    from detector.session.session import Target
    from detector.session.settings import DetectorOptions
else:
    gatekeeper = LazyModule("detector.exam.gatekeeper")
    guard = LazyModule("detector.guard")

__all__ = ["Guard", "check", "examine", "gate"]

T = TypeVar("T")


def check(
    targets: Iterable[Target] | None = None,
    *,
    deadline: float = session.DEADLINE_DEFAULT,
    **options: Unpack[DetectorOptions],
) -> Report:
    """Check this network once, as `detector.check` does. Raises `RuntimeError` inside a running event loop."""
    return _run(lambda: session.check(targets, deadline=deadline, **options), "detector.check")


def gate(
    targets: Iterable[Target] | None = None,
    *,
    policy: PolicySource = None,
    keys: Sequence[Ed25519PrivateKey] = (),
    deadline: float | None = None,
    language: str | None = None,
    **options: Unpack[DetectorOptions],
) -> Decision:
    """Say whether the exam may start, as `detector.exam.gate` does. Raises `RuntimeError` as `check` does."""
    return _run(
        lambda: gatekeeper.gate(targets, policy=policy, keys=keys, deadline=deadline, language=language, **options),
        "detector.exam.gate",
    )


def _run(call: Callable[[], Coroutine[None, None, T]], name: str) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(call())
    raise RuntimeError(f"An event loop is running here, and a synchronous call would block it. Use: await {name}(...)")


def __getattr__(name: str) -> object:
    """Import the guard on first use (PEP 562): it loads all that assesses."""
    if name == "Guard":
        return guard.Guard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
