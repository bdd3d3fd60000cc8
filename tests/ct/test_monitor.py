"""Room: tests of ct."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector_testing import StaticLog
from support.ct_world import HOST

from detector.ct.findings import FindingKind, LogProblem
from detector.model import Endpoint

if TYPE_CHECKING:
    from support.ct_world import World


def test_what_was_there_before_is_not_read(world: World) -> None:
    """The first run begins at the present end, and says so."""
    world.log.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    summary = world.run()
    assert (summary.entries, world.found) == (0, [])
    assert any("from entry 301" in note for note in world.notes)


def test_an_unknown_certificate_is_found_once(world: World) -> None:
    """A certificate that comes later is reported, once, although it is there twice, as precertificate and itself."""
    world.run()
    issued = world.log.issue(world.pki.intermediate_ec, [HOST])
    world.log.add(issued.leaf, issued.chain[1:])
    world.publish()
    summary = world.run()
    (found,) = world.found
    assert (found.kind, found.hosts, found.index) == (FindingKind.CERTIFICATE, (HOST,), 300)
    assert summary.entries == 2
    assert world.run().entries == 0
    assert len(world.found) == 1


def test_a_pinned_key_is_known(world: World) -> None:
    """A certificate whose own key is pinned for the host is not reported."""
    issued = world.log.issue(world.pki.intermediate_ec, [HOST])
    world.endpoints = (Endpoint(host=HOST, pins=(issued.spki_sha256,)),)
    world.publish()
    assert world.run(start=0).entries == 301
    assert world.found == []


def test_a_split_view_is_reported_and_changes_nothing(world: World) -> None:
    """A tree that does not contain the one seen before is reported with both signed heads; the state stays."""
    world.run()
    state = (world.folder / "state.json").read_bytes()
    fork = world.log.fork(299)
    fork.fill(10, lambda index: b"other %d" % index)
    world.publish(fork)
    world.run()
    (found,) = world.found
    assert found.problem is LogProblem.SPLIT_VIEW
    assert found.checkpoint is not None
    assert found.earlier is not None
    assert found.checkpoint != found.earlier
    assert (world.folder / "state.json").read_bytes() == state


def test_other_logs_go_on(world: World) -> None:
    """While one log is unreachable, what is in another is found."""
    other = StaticLog.create("Fir")
    world.others.append(other)
    other.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    (world.mirror / "checkpoint").unlink()
    world.run(start=0)
    assert {one.kind for one in world.found} == {FindingKind.CERTIFICATE, FindingKind.LOG}
