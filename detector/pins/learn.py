"""Learns pins from what an endpoint presents: the leaf's key and the keys of the CAs above it.

Room: pins. Pure: an observation that was already made comes in.

Pins learned from an interceptor would bless it for good. So a chain is learned from only when its key was proved, it
is for the host, it is in date and a public root stands above it, unless the caller says that this endpoint has a
private PKI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.errors import LearnError
from detector.model import Endpoint
from detector.trust.hostname import NameMatch

if TYPE_CHECKING:
    from detector.judge.evidence import EndpointEvidence


def learn(case: EndpointEvidence, *, allow_private: bool = False) -> Endpoint:
    """The endpoint with pins learned from what it presented.

    `pins` are the keys of the leaf and of the CAs between, `backup_pins` those of the roots: a new leaf under the same
    CA stays clean. With `allow_private` a chain without public root is learned too: leaf and verified CAs.

    Raises `LearnError`, which says why this must not be pinned.
    """
    endpoint, leaf = case.endpoint, case.leaf
    if leaf is None or leaf.spki_sha256 is None or case.paths is None:
        raise LearnError(
            f"{endpoint.name}: no pins learned, because no readable certificate was seen ({case.observation.outcome}).",
            advice="Check host, port and connection, then try again.",
        )
    if not case.observation.key_proved:
        raise LearnError(
            f"{endpoint.name}: no pins learned, because the peer did not prove that it holds the certificate's key "
            f"({case.observation.outcome}).",
            advice="Try again from a network you trust.",
        )
    if case.name_match is NameMatch.MISMATCH:
        raise LearnError(
            f"{endpoint.name}: no pins learned, because the certificate is for another host.",
            advice="Check the host name, or try again from a network you trust.",
        )
    if leaf.validity is None or not leaf.validity[0] <= case.context.at <= leaf.validity[1]:
        raise LearnError(
            f"{endpoint.name}: no pins learned, because the certificate is not valid at this time.",
            advice="Check this machine's clock, or have the server's certificate renewed.",
        )
    if not case.public_paths and not allow_private:
        raise LearnError(
            f"{endpoint.name}: no pins learned, because no public root stands above this chain "
            f"(issuer: {leaf.issuer.text if leaf.issuer else 'unreadable'}).",
            advice=(
                "If a middlebox could be in the way, learn from another network. If this server has a private PKI and "
                "you are sure of this network, say --allow-private."
            ),
        )
    keys: dict[bytes, None] = {leaf.spki_sha256: None}
    roots: dict[bytes, None] = {}
    for path in case.public_paths or case.paths.paths:
        for certificate in path.certificates[1:]:
            if certificate.spki_sha256 is not None:
                is_root = path.anchor is not None and certificate.sha256 == path.anchor.certificate.sha256
                (roots if is_root else keys)[certificate.spki_sha256] = None
    return Endpoint(
        host=endpoint.host,
        port=endpoint.port,
        category=endpoint.category,
        operator=endpoint.operator,
        address=endpoint.address,
        pins=tuple(keys),
        backup_pins=tuple(key for key in roots if key not in keys),
    )
