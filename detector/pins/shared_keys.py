"""Keys that endpoints of several operators have in common: such a key says nothing about any one of them.

Room: pins. Pure.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Final

from detector.knowledge.operators import operator_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.model import Endpoint


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
