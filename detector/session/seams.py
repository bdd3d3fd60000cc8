"""What a detector takes from the machine it runs on: the time, the network, and the trust stores.

Room: session. The only module that reads the wall clock for the others. `Seams` names all of it, so that a test, or a
command with a resolver of its own, can replace a part.
"""

from __future__ import annotations

import datetime as dt
import functools
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.aio.lazy import LazyModule
from detector.knowledge import roots as trusted
from detector.model import RootOrigin
from detector.trust.roots import NO_ROOTS, TrustedRoots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from detector.audit import machine
    from detector.knowledge.data_set import DataSet
    from detector.probe import Dialer
    from detector.probe.routes import Resolver
    from detector.trust.roots import Roots
else:  # needed only behind a machine root
    machine = LazyModule("detector.audit.machine")

MACHINE_WAIT: Final = 0.2
"""Seconds that assessment waits, once, for the trust stores of this machine. On Linux the files among them are read in
0.05, with imports in 0.15; a program that has to be asked takes as long again. With the 0.3 that assessment takes where
a private CA appears, it is what `session.ASSESSMENT_RESERVE` keeps back."""


def utc_now() -> dt.datetime:
    """Return the time, in UTC."""
    return dt.datetime.now(dt.UTC)


def _read_machine_trust(data: DataSet) -> Iterator[TrustedRoots]:
    """Yield the roots this machine trusts: first only which they are, then with what its stores say about each."""
    listed, public = trusted.machine_roots(), data.known_roots.keys
    yield TrustedRoots(listed.without(public), {})
    listed = listed.with_added(data.certifi.added)
    for scanned in machine.read_stores(public):
        known = machine.merge(listed, scanned, public)
        yield known
        if all(root.origin is not RootOrigin.UNKNOWN for root in known.roots.roots):
            return  # so no program of the system has to be asked


class MachineTrust:
    """The roots that this machine trusts and that were never public: how each was added, and when.

    The stores are read once, in a thread that starts when they are first needed: programs of the operating system can
    take seconds. No verdict waits for it longer than `wait` seconds in all. A root whose origin was not read by then
    has an unknown one, which is weak evidence; what is read later counts from then on.

    `read` runs in that thread and yields what is known, each time more.
    """

    def __init__(self, read: Callable[[], Iterator[TrustedRoots]], *, wait: float = MACHINE_WAIT) -> None:
        self._read = read
        self._wait = wait
        self._known = TrustedRoots(NO_ROOTS, {})
        self._reader: threading.Thread | None = None
        self._until = 0.0
        self._starting = threading.Lock()

    def roots(self) -> Roots:
        """Return the roots, each with its origin."""
        return self._now().roots

    def installed_at(self, sha256: bytes) -> dt.datetime | None:
        """Return when the root with this hash was added to this machine, or None."""
        return self._now().installed_at.get(sha256)

    def _now(self) -> TrustedRoots:
        with self._starting:
            if self._reader is None:
                self._until = time.monotonic() + self._wait
                self._reader = threading.Thread(target=self._keep, name="trust stores", daemon=True)
                self._reader.start()
        self._reader.join(max(self._until - time.monotonic(), 0.0))
        return self._known

    def _keep(self) -> None:
        for known in self._read():
            self._known = known


@functools.lru_cache(maxsize=4)
def this_machine(data: DataSet, *, wait: float = MACHINE_WAIT) -> MachineTrust:
    """Return what this machine trusts beyond the roots that `data` knows; read once."""
    return MachineTrust(functools.partial(_read_machine_trust, data), wait=wait)


class Seams(NamedTuple):
    """Where a detector meets its surroundings.

    `clock` gives the time in UTC. `dialer` replaces the network (`detector.probe.MockNetwork`), `resolver` name
    resolution (`detector.probe.routes.resolving`); addresses that a `dialer` connects to count as given by the caller.
    `machine_roots` gives roots that were never public, with their origins, and is called only when a chain has no
    accepted path; `installed_at` says when one of them was added. None stands for `this_machine`.
    """

    clock: Callable[[], dt.datetime] = utc_now
    dialer: Dialer | None = None
    resolver: Resolver | None = None
    machine_roots: Callable[[], Roots] | None = None
    installed_at: Callable[[bytes], dt.datetime | None] | None = None


THIS_MACHINE: Final = Seams()
