"""Copies of this package that were not updated for 6, 12 and 24 months, on machines with new and with old stores.

Pure apart from randomness. In these worlds root B of the test PKI, or every CT log, is newer than the copy. A new
operating system has the new root: as shipped, or of unknown origin where the store does not record additions. Both
truths occur: genuine servers, and interceptors that exploit what an old copy cannot know. Each world is met twice, by
the copy without an update and by the same copy with that of today, on the same machine.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector.model import RootOrigin
from detector.trust.roots import NO_ROOTS

from .lab import ALONE, DAY, EXAM, HOSTS, NETWORK, PINNED, ROOT_B, STATED, below, installed, signed, with_root
from .material import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from detector_testing import Issued

    from detector.knowledge.data_set import DataSet
    from detector.trust.roots import Roots

    from .lab import Lab
    from .material import Scene

OLD_GENUINE: Final = "genuine, seen by a copy that is out of date"
OLD_FORGED: Final = "forged, seen by a copy that is out of date"

WITH_UPDATE: Final = "{}, after an update"
"""The groups of the copies that took it."""

AGES: Final = {6: 183, 12: 365, 24: 730}
"""Months and days since the copy was made."""
ISSUED: Final = DAY
"""The age of the certificates in these worlds. Answers of a six-month-old copy about certificates from before its 180th
day are among the residuals (`limits`)."""


class Copy(NamedTuple):
    """The knowledge of a copy of the package and of its machine."""

    name: str
    data: DataSet
    stores: dict[str, Roots]


def scenes(lab: Lab) -> Iterator[Scene]:
    """Yield every age, with both truths."""
    for months, days in AGES.items():
        yield from _genuine(lab, months, days)
        yield from _forged(lab, months, days)


def copies(lab: Lab, months: int, days: int) -> Iterator[Copy]:
    """Yield copies by what is newer than they are."""
    pki, new_logs = lab.pki, lab.aged_logs(days, known=False)
    stores = {
        "old OS store": NO_ROOTS,
        "fresh OS store": installed(lab.pki.root_b, origin=RootOrigin.SHIPPED),
        "fresh OS store of unknown origins": installed(lab.pki.root_b, origin=RootOrigin.UNKNOWN),
    }
    any_store = {"any OS store": NO_ROOTS}  # it is not read when the chain is accepted
    for news, data, machines in (
        ("logs", lab.data_set(pki.root_a, pki.root_b, logs=new_logs, days=days), any_store),
        ("root", lab.data_set(pki.root_a, days=days), stores),
        ("root and logs", lab.data_set(pki.root_a, logs=new_logs, days=days), stores),
    ):
        yield Copy(f"{months} months old, new {news}", data, machines)


def _genuine(lab: Lab, months: int, days: int) -> Iterator[Scene]:
    pki = lab.pki
    issue = functools.cache(lambda host: pki.issue([host], not_before=lab.now - ISSUED))
    former = pki.issue([EXAM], key="rsa")  # below root A, which every copy knows
    item = lab.items(Truth.GENUINE)
    for copy in copies(lab, months, days):
        for shape, show in _SHAPES.items():
            canaries = lab.canaries(Truth.GENUINE, lambda _, issued, show=show: show(issued), lab.now - ISSUED)  # type: ignore[misc] # bound now
            for store, machine in copy.stores.items():
                for setting, items in {
                    ALONE: (item(EXAM, show(issue(EXAM))),),
                    STATED: (item(EXAM, show(issue(EXAM)), roots=(ROOT_B,)),),
                    f"{PINNED} of another CA": (item(EXAM, show(issue(EXAM)), pinned=[former]),),
                    NETWORK: tuple(item(host, show(issue(host))) for host in HOSTS),
                    "two canaries": canaries,
                }.items():
                    for group, data in _with_and_without(OLD_GENUINE, copy.data, lab):
                        yield lab.scene(
                            group, f"{copy.name}{shape}", f"{setting}; {store}", *items, data=data, installed=machine
                        )


def _with_and_without(group: str, old: DataSet, lab: Lab) -> tuple[tuple[str, DataSet], ...]:
    """Return a copy's data set with the group of its worlds, and today's with the group of those after an update."""
    return (group, old), (WITH_UPDATE.format(group), lab.current)


_SHAPES: Final[dict[str, Callable[[Issued], Issued]]] = {
    "": lambda issued: issued,
    ", issuer forgotten": lambda issued: issued.with_chain(issued.leaf),
}
"""Chains that a server sends."""


def _forged(lab: Lab, months: int, days: int) -> Iterator[Scene]:
    """Yield interceptors whose dates and minted timestamps target old copies."""
    pki, now = lab.pki, lab.now
    box, sub = pki.private_ca("Example Gateway"), below(pki.root_b, "Other Customer Sub CA", lab)
    minted = signed(pki.unknown_logs[:2], now - ISSUED / 2)
    young: dict[str, Any] = {"not_before": now - ISSUED}
    engines: dict[str, Callable[[str], Issued]] = {
        "private CA": lambda host: with_root(box.issue([host], **young), box),
        "private CA, minted SCTs": lambda host: with_root(box.issue([host], sct_list=minted, **young), box),
        "sub-CA below a public root, no SCT": lambda host: sub.issue([host], **young),
        "sub-CA below a public root, minted SCTs": lambda host: sub.issue([host], sct_list=minted, **young),
    }
    old = lab.data_set(pki.root_a, pki.root_b, days=days)
    item = lab.items(Truth.INTERCEPTED)
    for name, forge in engines.items():
        shown = {host: forge(host) for host in HOSTS}
        canaries = lab.canaries(Truth.INTERCEPTED, lambda host, _, forge=forge: forge(host))  # type: ignore[misc] # bound now
        stores = {"": NO_ROOTS}
        if "private" in name:
            stores["; CA installed by policy"] = installed(box, origin=RootOrigin.POLICY)
        for store, machine in stores.items():
            for setting, items in {
                **{setting: (item(EXAM, shown[EXAM], **known),) for setting, known in lab.knowledge().items()},
                NETWORK: tuple(item(host, shown[host]) for host in HOSTS),
                "two canaries": canaries,
            }.items():
                for group, data in _with_and_without(OLD_FORGED, old, lab):
                    yield lab.scene(
                        group, f"{months} months old, {name}", f"{setting}{store}", *items, data=data, installed=machine
                    )
