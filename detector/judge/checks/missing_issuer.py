"""Check `missing-issuer`: can this be a genuine chain whose server forgot the intermediate?

Room: checks. Pure. Feeds row 16 of the decision table. Without the issuer a timestamp cannot be verified, so
timestamps of known logs are only a reason not to conclude yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "missing-issuer"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`possible`: the issuer is nowhere to be had and the leaf carries timestamps of at least two known logs."""
    if case.leaf is None or not case.looks_incomplete:
        return
    yield Finding(
        check=ID,
        outcome="possible",
        says=Says.EXPLAINS,
        summary="The issuer's certificate was not presented and is not at hand; the server may have forgotten it.",
        data={"issuer": case.leaf.issuer.text if case.leaf.issuer else None, "fetch": list(case.leaf.issuer_urls)},
    )
