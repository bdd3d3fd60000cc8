"""Check `name`: is the presented certificate for this host? (RFC 9525, name constraints of RFC 5280 section 4.2.1.10)

Room: checks. Pure. Feeds rows 6, 7 and 9 of the decision table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "name"
_NAMES_SHOWN: Final = 10
"""Alternative names listed in a finding; a CDN certificate can carry hundreds."""


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`match`, `common-name-only` (counts as right) or `mismatch`."""
    leaf = case.leaf
    if leaf is None:
        return
    names = [*leaf.dns_names, *leaf.ip_addresses]
    matched = case.name_match
    yield Finding(
        check=ID,
        outcome=matched,
        says=Says.INTERCEPTED if matched is NameMatch.MISMATCH else Says.NEUTRAL,
        summary=(
            f"The certificate is not for {case.endpoint.host}."
            if matched is NameMatch.MISMATCH
            else f"The certificate is for {case.endpoint.host}."
        ),
        data={
            "names": names[:_NAMES_SHOWN],
            "names_in_all": len(names),
            "common_name": leaf.subject.get("CN") if leaf.subject else None,
        },
    )
