"""Checks: one file each, each a pure function from an endpoint's evidence, or a network's, to findings.

Room: judge. Pure: no sockets, no clock, no files. A check imports no other check and weighs nothing; the decision table
alone says what findings mean together. A check file has an `ID`, a `QUESTION` that its findings answer, an `Outcome`
for each answer, and `check`. To register one, add its name to the import below (`python scripts/new_check.py` does).
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

# In the order in which a report shows findings.
# isort: off
from . import (  # noqa: F401 - listed once; `MODULES` collects them
    presented,
    key_possession,
    witness,
    chain,
    host_name,
    transparency,
    identity,
    pin,
    place,
    dates,
    clock,
    expected_root,
    machine_root,
    forged_issuer,
    known_interceptor,
    shared_signer,
    neighbours,
    captive_portal,
    private_origin,
    several_certificates,
    route_difference,
    second_try,
    hello_difference,
    browser_view,
    quic,
    proxy_certificate,
    resolution,
    tls_location,
)

# isort: on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence
    from detector.judge.outcome import CheckOutcome, Findings
    from detector.model import Finding


@runtime_checkable
class Check(Protocol):
    """What a check file has.

    `check` takes the evidence on an endpoint and, with `USES_NETWORK = True`, that on its network. Otherwise its
    findings are made once for an observation. `UNNAMED` may hold summaries that name no party, for results below
    `probable`.
    """

    ID: str
    QUESTION: str
    Outcome: type[CheckOutcome]
    check: Callable[..., Findings]


MODULES: Final = tuple(
    module for module in tuple(globals().values()) if isinstance(module, ModuleType) and isinstance(module, Check)
)
CHECKS: Final[Mapping[str, Callable[..., Findings]]] = {module.ID: module.check for module in MODULES}
"""Every check by its id."""


_USE_NETWORK: Final = frozenset(module.ID for module in MODULES if getattr(module, "USES_NETWORK", False))


def run(evidence: EndpointEvidence, network: NetworkEvidence) -> tuple[Finding, ...]:
    """All findings on one observation, in order."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        if name in _USE_NETWORK:
            found += check(evidence, network)
            continue
        own = evidence.findings.get(name)
        if own is None:
            own = evidence.findings[name] = tuple(check(evidence))
        found += own
    return tuple(found)
