"""What is known of pinned keys without any chain: which are public roots', which several operators have.

Room: pins. Pure.

A public root's key clears nothing, because everybody can have a certificate below it (docs/adr/0003). It still says
something: an operator that pins it expects a public certificate there.
"""

from __future__ import annotations

import functools
from collections.abc import Container
from typing import TYPE_CHECKING, Final

from detector.model import RecordedIdentity
from detector.trust.hostname import operator_of
from detector.trust.known_roots import known_roots

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from detector.model import Endpoint


def identity(endpoint: Endpoint, *, public_keys: Collection[bytes] = frozenset()) -> RecordedIdentity:
    """What the pin file says of where the endpoint's pins come from, also after they have expired.

    `PUBLIC` where it is recorded, or where a pin is the key or the hash of a root that is or was public, or one of
    `public_keys` (of further public CAs).
    """
    pinned = (*endpoint.pins, *endpoint.backup_pins, *endpoint.certificates)
    if any(root_of(digest) is not None or digest in public_keys for digest in pinned):
        return RecordedIdentity.PUBLIC
    return endpoint.identity


def root_of(digest: bytes) -> str | None:
    """The label of the root, public now or once, whose key or certificate has this SHA-256; None for anything else."""
    return _roots().get(digest)


@functools.cache
def _roots() -> dict[bytes, str]:
    hashes = ((root.label, text) for root in known_roots() for text in (root.sha256, root.spki_sha256))
    return {bytes.fromhex(text): label for label, text in hashes}


class SharedKeys(Container[bytes]):
    """The keys (SHA-256 of the SubjectPublicKeyInfo) that endpoints of different operators have in common.

    `met` says which keys were met, or are pinned, where. The operator is the declared one, else the registrable domain;
    everything in private networks is one. Whether a key is shared is found out when it is asked for: registrable
    domains take the suffix list, which a key that is met once needs nothing of.
    """

    def __init__(self, met: Iterable[tuple[Endpoint, Iterable[bytes]]]) -> None:
        self._where: Final[dict[bytes, list[Endpoint]]] = {}
        for endpoint, keys in met:
            for key in frozenset(keys):
                self._where.setdefault(key, []).append(endpoint)

    def __contains__(self, key: object) -> bool:
        endpoints = self._where.get(key, []) if isinstance(key, bytes) else []
        if len(endpoints) <= 1:
            return False
        return len({endpoint.operator or operator_of(endpoint.host) for endpoint in endpoints}) > 1

    def all(self) -> frozenset[bytes]:
        """Every one of them."""
        return frozenset(key for key in self._where if key in self)


def shared_pins(endpoints: Iterable[Endpoint]) -> SharedKeys:
    """The keys that are pinned for endpoints of different operators."""
    return SharedKeys((endpoint, (*endpoint.pins, *endpoint.backup_pins)) for endpoint in endpoints)
