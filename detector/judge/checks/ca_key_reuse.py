"""Check `ca-key-reuse`: is the leaf's key the very key that signed it, under another name?

Room: checks. Pure. Feeds row 15 of the decision table. No CA hands its own key to a web server; several interception
engines forge every leaf with one key, their CA's. A self-signed certificate (one name, one key) is not meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import Finding, Says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judge.evidence import EndpointEvidence, NetworkEvidence

ID: Final = "ca-key-reuse"


def check(case: EndpointEvidence, network: NetworkEvidence) -> Iterator[Finding]:
    """`reused`; silent otherwise."""
    leaf = case.leaf
    if leaf is None or case.declared_paths or leaf.is_self_issued or leaf.subject is None or leaf.issuer is None:
        return
    if case.signed_by_own_key:
        yield Finding(
            check=ID,
            outcome="reused",
            says=Says.INTERCEPTED,
            summary="The server's key is also the key of the CA that signed its certificate.",
            data={"issuer": leaf.issuer.text, "spki_sha256": leaf.spki_sha256.hex() if leaf.spki_sha256 else None},
        )
