"""Check `proxy-certificate`: does a proxy that is spoken to over TLS show that it is the one its URL names?

Room: checks. Pure. Feeds no row of the decision table: whoever is the proxy, TLS to the endpoint goes through it and is
judged by itself. It is told because what is sent to the proxy, a password for one, is read by whoever answers for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "proxy-certificate"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`public`, `trusted-here`, `not-trusted`, `wrong-name`, `not-valid-now`, `not-proved`; silent without such TLS."""
    proxy, seen = case.proxy, case.observation.proxy
    if proxy is None or seen is None:
        return
    outcome, said = _outcome(proxy)
    leaf = proxy.leaf
    yield Finding(
        check=ID,
        outcome=outcome,
        says=Says.NEUTRAL,
        summary=f"The proxy {seen.url} {said}.",
        data={
            "proxy": seen.url,
            "issuer": leaf.issuer.text if leaf is not None and leaf.issuer is not None else None,
            "spki_sha256": leaf.spki_sha256.hex() if leaf is not None and leaf.spki_sha256 is not None else None,
            "outcome": seen.tls.outcome if seen.tls is not None else None,
        },
    )


def _outcome(proxy: EndpointEvidence) -> tuple[str, str]:
    if proxy.leaf is None or not proxy.observation.key_proved:
        return "not-proved", "did not prove that it has the key of a certificate"
    if proxy.name_match is NameMatch.MISMATCH:
        return "wrong-name", "presents a certificate for another name"
    if not (proxy.public_paths or proxy.machine_paths):
        return "not-trusted", "presents a certificate that leads to no root this machine trusts"
    if not proxy.trusted_here:
        return "not-valid-now", "presents a certificate that is not valid at this time"
    if proxy.public_paths:
        return "public", "presents a certificate that leads to a public root"
    return "trusted-here", "presents a certificate that leads to a root added to this machine, as an institution's may"
