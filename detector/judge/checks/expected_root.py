"""Check `expected-root`: is the public root one that the endpoint's operator is known to use?

Room: checks. Pure. Feeds no row: operators change CAs, lists of them lag, and another public root is at most a reason
to look closer. It stands in the report for whoever looks closer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "expected-root"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`expected` or `other-public-root`; silent without expectations or without a public path."""
    expected = frozenset(case.endpoint.roots)
    if not expected or not case.public_paths:
        return
    labels = {path.anchor.label for path in case.public_paths if path.anchor}
    fits = sorted(labels & expected)
    yield Finding(
        check=ID,
        outcome="expected" if fits else "other-public-root",
        says=Says.GENUINE if fits else Says.NEUTRAL,
        summary=(
            f"The public root is one this operator uses: {', '.join(fits)}."
            if fits
            else f"The public root ({', '.join(sorted(labels))}) is not among those listed for this operator."
        ),
        data={"roots": sorted(labels), "expected": sorted(expected)},
    )
