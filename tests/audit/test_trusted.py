"""Which origin a root has when several stores hold it, and which roots are left out. Pure."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

import pytest

from detector.audit import InstalledRoot, Scanned
from detector.audit.machine import STRONGEST_FIRST, merge
from detector.knowledge import data_set
from detector.model import RootOrigin
from detector.trust.roots import NO_ROOTS, from_der

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector_testing import PrivatePKI

KNOWN = data_set.shipped().known_roots.keys

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def held(der: bytes, *origins: RootOrigin) -> Scanned:
    return Scanned(roots=tuple(InstalledRoot(der=der, store=str(n), origin=o) for n, o in enumerate(origins)))


@pytest.mark.parametrize("origins", list(itertools.permutations(RootOrigin, 2)), ids=str)
def test_the_strongest_origin_counts(origins: Sequence[RootOrigin], pki: PrivatePKI) -> None:
    """A copy in a store of shipped roots does not make what somebody added milder, in whatever order they are read."""
    (root,) = merge(NO_ROOTS, held(pki.root_a.certificate, *origins), KNOWN).roots.roots
    assert root.origin is min(origins, key=STRONGEST_FIRST.index)


def test_what_only_the_system_lists_is_unknown(pki: PrivatePKI) -> None:
    """A root that no store explains is kept, so that a chain to it is unfamiliar and not private."""
    listed = from_der([pki.root_a.certificate, pki.root_b.certificate], name="operating system")
    merged = merge(listed, held(pki.root_b.certificate, RootOrigin.POLICY), KNOWN)
    assert [root.origin for root in merged.roots.roots] == [RootOrigin.UNKNOWN, RootOrigin.POLICY]


def test_what_is_known_of_a_listed_root_stays(pki: PrivatePKI) -> None:
    """That a root was added to certifi's file is not forgotten because a merged bundle has it too."""
    listed = from_der([pki.root_a.certificate], name="certifi", origin=RootOrigin.ADDED)
    (root,) = merge(listed, held(pki.root_a.certificate, RootOrigin.UNKNOWN), KNOWN).roots.roots
    assert root.origin is RootOrigin.ADDED


def test_refused_and_once_public_roots_are_left_out(pki: PrivatePKI) -> None:
    """What a store refuses is not trusted, and a root that was ever public is public or retired wherever it is held."""
    ca = pki.private_ca("Filter CA").certificate
    retired = data_set.shipped().public_roots().retired.roots[0].certificate.der
    scanned = Scanned(
        roots=(
            InstalledRoot(der=ca, store="blocklist", origin=RootOrigin.ADDED, distrusted=True),
            InstalledRoot(der=retired, store="policy", origin=RootOrigin.POLICY),
            InstalledRoot(
                der=data_set.shipped().public_roots().roots[0].certificate.der, store="local", origin=RootOrigin.ADDED
            ),
        )
    )
    assert len(merge(NO_ROOTS, scanned, KNOWN).roots) == 0


def test_the_earliest_time_counts(pki: PrivatePKI) -> None:
    """A root came to the machine when the first store got it."""
    ca = pki.root_a
    times = (AT, None, AT - dt.timedelta(days=9))
    scanned = Scanned(
        roots=tuple(InstalledRoot(der=ca.certificate, store=str(n), installed_at=at) for n, at in enumerate(times))
    )
    merged = merge(NO_ROOTS, scanned, KNOWN)
    (root,) = merged.roots.roots
    assert merged.installed_at == {root.certificate.sha256: AT - dt.timedelta(days=9)}
