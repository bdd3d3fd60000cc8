"""Checks: one file each, each a pure function from one endpoint's evidence (and its network) to findings.

Room: checks. Pure: no sockets, no clock, no files. A check never imports another check and weighs nothing; what the
findings mean together is decided in `detector.judge.table` alone. `CHECKS` lists them in the order a report shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import (
    ca_key_reuse,
    captive_portal,
    clock,
    dates,
    declared_root,
    expected_root,
    hello_difference,
    host_name,
    issuer_impersonation,
    issuer_shape,
    key_possession,
    known_interceptor,
    machine_root,
    missing_issuer,
    pin,
    presented,
    private_origin,
    proxy_certificate,
    public_path,
    quic,
    resolution,
    route_difference,
    several_certificates,
    shared_issuer,
    shared_leaf_key,
    tls_location,
    transparency,
    witness,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence
    from detector.model import Finding

CHECKS: Final[Mapping[str, Callable[[EndpointEvidence, NetworkEvidence], Iterator[Finding]]]] = {
    module.ID: module.check
    for module in (
        presented,
        key_possession,
        witness,
        pin,
        declared_root,
        public_path,
        expected_root,
        transparency,
        host_name,
        dates,
        clock,
        captive_portal,
        machine_root,
        ca_key_reuse,
        issuer_impersonation,
        shared_issuer,
        shared_leaf_key,
        quic,
        hello_difference,
        known_interceptor,
        missing_issuer,
        issuer_shape,
        private_origin,
        route_difference,
        several_certificates,
        proxy_certificate,
        resolution,
        tls_location,
    )
}
"""Every check by its id."""


def run(case: EndpointEvidence, network: NetworkEvidence) -> tuple[Finding, ...]:
    """All findings on one endpoint, in order."""
    return tuple(finding for check in CHECKS.values() for finding in check(case, network))
