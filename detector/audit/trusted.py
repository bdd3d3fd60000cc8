"""What a machine trusts beyond the public roots, as input for assessments: each root with its origin and time.

Room: audit. Pure: the output of the readers is an argument.
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
"""Which origin counts if stores differ. Vendors ship no interceptor's root, so a root that was also added counts as
added: an administrator can copy it to a store of shipped roots, which must not weaken the finding."""


def merge(listed: Roots, scanned: Scanned) -> TrustedRoots:
    """Add the roots in the stores of a machine to those that are `listed` as trusted there.

    Distrusted roots are left out, and so is every root that was public at some time, in whatever store it is.
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
