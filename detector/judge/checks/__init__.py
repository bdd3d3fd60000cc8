"""Checks: one file each, each a pure function from one endpoint's evidence (and its network) to findings.

Room: judge. Pure: no sockets, no clock, no files. A check never imports another check and weighs nothing; what the
findings mean together is decided by the table alone. `CHECKS` lists them in the order a report shows them. What a check
may find is its `Outcome`, and rules name these members, so that a misspelt one fails in the type checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import (
    captive_portal,
    chain,
    clock,
    dates,
    expected_root,
    forged_issuer,
    hello_difference,
    host_name,
    identity,
    key_possession,
    known_interceptor,
    machine_root,
    neighbours,
    pin,
    place,
    presented,
    private_origin,
    proxy_certificate,
    quic,
    resolution,
    route_difference,
    several_certificates,
    shared_signer,
    tls_location,
    transparency,
    witness,
)

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable, Iterator, Mapping

    from detector.judge.evidence import EndpointEvidence
    from detector.judge.network_evidence import NetworkEvidence
    from detector.model import Finding

_MODULES: Final = (
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
    hello_difference,
    quic,
    proxy_certificate,
    resolution,
    tls_location,
)

CHECKS: Final[Mapping[str, Callable[[EndpointEvidence, NetworkEvidence], Iterator[Finding]]]] = {
    module.ID: module.check for module in _MODULES
}
"""Every check by its id."""

CHECK_OF: Final[Mapping[type[enum.StrEnum], str]] = {module.Outcome: module.ID for module in _MODULES}
"""The id of the check that each kind of outcome belongs to."""


def run(evidence: EndpointEvidence, network: NetworkEvidence) -> tuple[Finding, ...]:
    """All findings on one observation, in order."""
    return tuple(finding for check in CHECKS.values() for finding in check(evidence, network))
