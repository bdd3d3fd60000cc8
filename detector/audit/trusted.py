"""What a machine trusts beyond the public roots, for judging: each root with how it came there, and when.

Room: audit. Pure: what the readers found is an argument.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from detector.knowledge.known_roots import known_root_keys
from detector.model import RootOrigin
from detector.trust.roots import Roots, TrustedRoots, from_der

if TYPE_CHECKING:
    import datetime as dt

    from .entries import Scanned

STRONGEST_FIRST: Final = (RootOrigin.POLICY, RootOrigin.ADDED, RootOrigin.SHIPPED, RootOrigin.UNKNOWN)
"""Which origin counts where stores differ. Vendors ship no interceptor's root, so one that was also added was added:
a copy of it in a store of shipped roots, which an administrator can write to, must not make it milder."""


def merge(listed: Roots, scanned: Scanned) -> TrustedRoots:
    """Add what the readers found in the stores of a machine to the roots that are `listed` as trusted there.

    What a store holds in order to refuse it is left out, and so is every root that was public at some time, whatever
    store holds it.
    """
    origins = {root.certificate.der: root.origin for root in listed.roots}
    times: dict[bytes, dt.datetime] = {}
    for found in scanned.roots:
        if not found.distrusted:
            so_far = origins.get(found.der, RootOrigin.UNKNOWN)
            origins[found.der] = min(so_far, found.origin, key=STRONGEST_FIRST.index)
            if found.installed_at is not None:
                sha256 = hashlib.sha256(found.der).digest()
                times[sha256] = min(times.get(sha256, found.installed_at), found.installed_at)
    read = from_der(tuple(origins), name="this machine")
    roots = (root._replace(origin=origins[root.certificate.der]) for root in read.roots)
    return TrustedRoots(Roots(roots, name=read.name, version=read.version).without(known_root_keys()), times)
