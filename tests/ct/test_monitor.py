"""Room: tests of ct."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest
from detector_testing import StaticLog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ct_world import HOST, World

from detector.ct import monitor
from detector.ct.findings import FindingKind, LogProblem
from detector.ct.source import Folder
from detector.model import Endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI


def problems(world: World) -> list[LogProblem | None]:
    """What was reported of logs."""
    return [one.problem for one in world.found if one.kind is FindingKind.LOG]


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
    assert found.certificate is not None
    assert found.certificate.issuer == "CN=Exemplar ECDSA Issuing CA E5,O=Exemplar Trust Services,C=US"
    assert f"a certificate for {HOST} that no pin or history knows; ask the host's operator" in found.summary.lower()
    assert summary.entries == 2
    assert world.run().entries == 0
    assert len(world.found) == 1


def test_a_certificate_in_several_logs_is_reported_once(world: World) -> None:
    """The same precertificate in two logs is one finding."""
    other = StaticLog.create("Fir")
    world.others.append(other)
    world.log.issue(world.pki.intermediate_ec, [HOST])
    other.entries.append(world.log.entries[-1])
    world.publish()
    world.run(start=0)
    assert [one.kind for one in world.found].count(FindingKind.CERTIFICATE) == 1


def test_a_pinned_key_is_known(world: World) -> None:
    """A certificate whose own key is pinned for the host is not reported."""
    issued = world.log.issue(world.pki.intermediate_ec, [HOST])
    world.endpoints = (Endpoint(host=HOST, pins=(issued.spki_sha256,)),)
    world.publish()
    assert world.run(start=0).entries == 301
    assert world.found == []


def test_issuers_are_read_for_a_pinned_ca(world: World) -> None:
    """A CA above the issuer is found through the log's issuers; where they are missing, the certificate is reported."""
    issued = world.log.issue(world.pki.intermediate_ec, [HOST])
    world.log.add(issued.leaf, (issued.chain[1], world.pki.root_b.certificate))
    world.endpoints = (Endpoint(host=HOST, pins=(world.pki.root_b.spki_sha256,)),)
    del world.log.entries[300]  # the certificate alone
    del world.log.entries[300]
    world.log.add(issued.leaf, (issued.chain[1], world.pki.root_b.certificate))
    world.publish()
    assert world.run(start=300).entries == 1
    assert world.found == []
    (world.folder / "state.json").unlink()
    for issuer in (world.mirror / "issuer").iterdir():
        issuer.write_bytes(world.pki.intermediate_rsa.certificate)
    world.run(start=300)
    assert [one.kind for one in world.found] == [FindingKind.CERTIFICATE]


def test_reading_can_begin_anywhere(world: World) -> None:
    """From an entry in the middle of a tile; past the end is the end."""
    world.log.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    assert world.run(start=299).entries == 2
    (world.folder / "state.json").unlink()
    assert world.run(start=5000).entries == 0


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    growth=st.lists(st.sampled_from((1, 2, 200, 255, 256, 257, 700)), min_size=1, max_size=4), compress=st.booleans()
)
def test_every_entry_is_read_once(
    growth: list[int],
    compress: bool,  # noqa: FBT001 - Hypothesis passes it by keyword
    pki: PrivatePKI,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """However a log grows between runs, each of its entries is read once, and each of ours is found."""
    world = World(tmp_path_factory.mktemp("world"), pki, StaticLog.create(compress=compress))
    world.publish()
    world.run()
    read = 0
    for number, count in enumerate(growth):
        world.log.fill(count - 1, lambda index: b"%d" % index)
        world.log.issue(pki.intermediate_ec, [f"*.{HOST.partition('.')[2]}", f"n{number}.example.org"])
        world.publish()
        read += world.run().entries
    assert read == world.log.size == sum(growth)
    assert [one.index for one in world.found] == [sum(growth[: n + 1]) - 1 for n in range(len(growth))]


def test_a_tree_of_many_levels_is_followed(world: World) -> None:
    """Growth across a boundary of 65,536 entries: three levels of tiles, and a root from far back."""
    world.run()
    world.log.fill(65_536 + 300 - world.log.size, lambda index: b"%d" % index)
    world.log.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    assert world.run().entries == world.log.size - 300
    assert [one.kind for one in world.found] == [FindingKind.CERTIFICATE]


def test_whole_tiles_serve_where_partial_ones_are_gone(world: World) -> None:
    """A log may drop partial tiles once the whole one is there, although a checkpoint needs the partial ones."""
    world.publish()
    checkpoint = (world.mirror / "checkpoint").read_bytes()
    world.log.fill(300, lambda index: b"later %d" % index)
    world.publish()
    (world.mirror / "checkpoint").write_bytes(checkpoint)
    for partial in ("tile/data/001.p/44", "tile/0/001.p/44"):
        (world.mirror / partial).unlink()
    assert world.run(start=0).entries == 300
    assert world.found == []


def test_a_split_view_is_reported_and_changes_nothing(world: World) -> None:
    """A tree that does not contain the one seen before is reported with both signed heads; the state stays."""
    world.run()
    state = (world.folder / "state.json").read_bytes()
    for size in (299, 300):
        fork = world.log.fork(size)
        fork.fill(10, lambda index: b"other %d" % index)
        if size == 300:
            fork.entries[299] = fork.entries[300]
        world.publish(fork)
        world.run()
    assert problems(world) == [LogProblem.SPLIT_VIEW] * 2
    for found in world.found:
        assert found.checkpoint is not None
        assert str(found.earlier).startswith(f"{world.log.origin}\n300\n")
        assert found.checkpoint != found.earlier
    assert (world.folder / "state.json").read_bytes() == state


def test_another_root_of_the_same_size_is_a_split_view(world: World) -> None:
    """Two signed heads of one size differ."""
    world.run()
    fork = world.log.fork(299)
    fork.add(b"other")
    world.publish(fork)
    world.run()
    assert problems(world) == [LogProblem.SPLIT_VIEW]


def test_a_tree_never_shrinks(world: World) -> None:
    """A smaller signed tree is reported, and the position stays."""
    world.run()
    world.publish(world.log.fork(299))
    assert world.run().problems
    assert problems(world) == [LogProblem.SHRUNK]
    world.publish()
    assert not world.run().problems


def test_a_wrong_signature_is_reported(world: World) -> None:
    """Nothing is read of a tree that the log did not sign."""
    world.log.issue(world.pki.intermediate_ec, [HOST])
    world.log.wrong_signature = True
    world.publish()
    assert world.run(start=0).entries == 0
    assert problems(world) == [LogProblem.FORGED]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("tile/0/000", LogProblem.WRONG_HASH),
        ("tile/0/001.p/45", LogProblem.WRONG_HASH),
        ("tile/1/000.p/1", LogProblem.WRONG_HASH),
        ("tile/data/000", LogProblem.WRONG_HASH),
        ("tile/data/001.p/45", None),
    ],
)
def test_tiles_that_do_not_hash_are_reported(path: str, problem: LogProblem | None, world: World) -> None:
    """One changed byte in any file is noticed before anything behind it counts; what no tree covers harms nothing."""
    world.log.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    place = world.mirror / path
    data = bytearray(place.read_bytes())
    data[-20] ^= 1
    place.write_bytes(data)
    world.run(start=0)
    assert problems(world) == ([] if problem is None else [problem])
    world.publish()
    world.run(start=0)
    assert [one.kind for one in world.found].count(FindingKind.CERTIFICATE) == 1
    assert world.run().entries == 0


@pytest.mark.parametrize("path", ["checkpoint", "tile/1/000.p/1", "tile/0/000", "tile/0/001.p/44", "tile/data/000"])
@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no tile at all", None])
def test_files_that_are_no_such_files_are_reported(path: str, content: bytes | None, world: World) -> None:
    """An empty, foreign or missing file ends this log's reading, and no other's."""
    place = world.mirror / path
    if content is None:
        place.unlink()
    else:
        place.write_bytes(content)
    other = StaticLog.create("Fir")
    other.issue(world.pki.intermediate_ec, [HOST])
    world.others.append(other)
    world.publish(other)
    world.run(start=0)
    (found,) = problems(world)
    assert found is (LogProblem.UNREACHABLE if content is None else LogProblem.MALFORMED)
    assert [one.kind for one in world.found].count(FindingKind.CERTIFICATE) == 1


def test_an_old_checkpoint_is_reported(world: World) -> None:
    """Somebody who keeps new checkpoints back shows an old one: what it has is read, and its age is reported."""
    world.log.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    world.now = world.log.now + dt.timedelta(hours=25)
    world.run(start=0)
    assert problems(world) == []
    world.now += dt.timedelta(seconds=1)
    world.run()
    assert problems(world) == [LogProblem.STALE]


def test_a_wrong_number_is_reported(world: World) -> None:
    """An entry whose timestamp names another index is reported, and reading goes on."""
    world.log.add(b"a certificate", numbered=7)
    world.log.fill(300, lambda index: b"%d" % index)
    world.publish()
    assert world.run(start=0).entries == 601
    assert problems(world) == [LogProblem.MISNUMBERED]


def test_an_unreadable_entry_is_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries with our name that are no certificates are reported, as many as the limit; the others are counted."""
    monkeypatch.setattr(monitor, "UNREADABLE_MAX", 2)
    for number in range(5):
        world.log.add(b"%d exam.example.edu" % number)
    world.log.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    summary = world.run(start=0)
    assert [one.kind for one in world.found] == [FindingKind.UNREADABLE] * 2 + [FindingKind.CERTIFICATE]
    assert summary.found[FindingKind.UNREADABLE] == 5


def test_names_of_others_are_harmless(world: World) -> None:
    """Control characters and endless names of a certificate come escaped and cut."""
    nasty = "\x1b[31m\u202e" + "A" * 50
    ca = world.pki.private_ca(nasty)
    world.log.issue(ca, [HOST])
    world.publish()
    world.run(start=0)
    (found,) = world.found
    assert found.summary.isprintable()
    assert found.certificate is not None
    assert "\\1B" in str(found.certificate.issuer)


def test_other_logs_go_on(world: World) -> None:
    """While one log is unreachable, what is in another is found."""
    other = StaticLog.create("Fir")
    world.others.append(other)
    other.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    (world.mirror / "checkpoint").unlink()
    world.run(start=0)
    assert {one.kind for one in world.found} == {FindingKind.CERTIFICATE, FindingKind.LOG}


@pytest.mark.parametrize("interval", [None, 0.0])
def test_a_log_without_end_keeps_no_other_waiting(
    interval: float | None, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log has more than is ever read, which costs it nothing; what comes to another log meanwhile is found."""
    monkeypatch.setattr(monitor, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(monitor, "LOGS_AT_ONCE", 1)
    other = StaticLog.create("Fir")
    world.others.append(other)
    world.log.fill(20_000, lambda index: b"%d" % index)
    if interval is None:
        other.issue(world.pki.intermediate_ec, [HOST])
    world.publish()
    stop, tiles = asyncio.Event(), 0
    read = Folder.read

    async def counted(self: Folder, path: str, most: int) -> bytes | None:
        nonlocal tiles
        if path.startswith("tile/data/") and self.name == str(world.mirror):
            tiles += 1
            if tiles == 10 and interval is not None:
                other.issue(world.pki.intermediate_ec, [HOST])
                world.publish(other)
            if tiles == 40:
                stop.set()
        return await read(self, path, most)

    monkeypatch.setattr(Folder, "read", counted)
    world.run(start=0, interval=interval, stop=stop)
    assert [one.kind for one in world.found] == [FindingKind.CERTIFICATE]


def test_a_stop_ends_reading_between_tiles(world: World) -> None:
    """What was read by then is saved, and the next run goes on there."""
    stop = asyncio.Event()
    stop.set()
    assert world.run(start=0, stop=stop).entries == 0
    assert world.run().entries == 300


def test_a_folder_can_be_one_of_many(tmp_path: Path, pki: PrivatePKI) -> None:
    """An empty log is followed, too: its root is the hash of nothing."""
    world = World(tmp_path, pki, StaticLog.create())
    world.publish()
    assert not world.run().problems
    world.log.issue(pki.intermediate_ec, [HOST])
    world.publish()
    assert world.run().entries == 1
    assert len(world.found) == 1


def test_a_problem_is_reported_once_as_long_as_it_lasts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that fails in several readings is one finding; that it can be followed again is said."""
    world.log.damaged.add("tile/0/001.p/44")
    world.publish()
    stop = asyncio.Event()
    readings = 0
    read = Folder.read

    async def counted(self: Folder, path: str, most: int) -> bytes | None:
        nonlocal readings
        readings += path == "checkpoint"
        if readings == 3:
            world.log.damaged.clear()
            world.publish()
        if readings == 5:
            stop.set()
        return await read(self, path, most)

    monkeypatch.setattr(Folder, "read", counted)
    summary = world.run(start=0, stop=stop, interval=0.001)
    assert problems(world) == [LogProblem.WRONG_HASH]
    assert world.notes[-1].endswith("can be followed again.")
    assert (summary.entries, summary.problems) == (300, {})
