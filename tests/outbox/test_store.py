"""The outbox on disk: complete or not at all, bounded, and nothing dropped without being counted.

Room: tests of outbox.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support.collect_receiver import INSTITUTION_KEY, NOW, URL

from detector.errors import NoRoomError, OutputError
from detector.model import encode
from detector.outbox import store
from detector.outbox.store import Outbox
from detector.outbox.submission import PAYLOAD_TYPE, Kind, Submission
from detector.trust import envelope

ROOT = Path(__file__).resolve().parent.parent.parent


def sealed(number: int = 0, *, made: dt.datetime = NOW, size: int = 10) -> bytes:
    """A signed submission; each number is another one."""
    submission = Submission(
        institution="example-university",
        made=made,
        kind=Kind.SCAN_RESULT,
        content=msgspec.Raw(msgspec.json.encode([number, "x" * size])),
    )
    return envelope.seal(encode(submission), payload_type=PAYLOAD_TYPE, keys=[INSTITUTION_KEY])


def opened(folder: Path, **more: object) -> Outbox:
    """An outbox at the time of these tests."""
    return Outbox(folder, clock=lambda: NOW, **more)  # type: ignore[arg-type] # arguments of Outbox


def test_what_was_put_in_is_there(tmp_path: Path) -> None:
    """Another process reads the same envelope for the same collector, the oldest first, until it is removed."""
    first, second = sealed(1), sealed(2, made=NOW - dt.timedelta(hours=1))
    for one in (first, second):
        opened(tmp_path).put(one, to=URL)
    again = opened(tmp_path)
    entries = again.entries()
    read = [again.read(entry) for entry in entries]
    assert [(one.to, bytes(one.envelope)) for one in read if one] == [(URL, second), (URL, first)]
    again.remove(entries[0])
    assert again.entries() == entries[1:]


def test_the_same_twice_is_one(tmp_path: Path) -> None:
    """A submission is known by its digest."""
    assert opened(tmp_path).put(sealed(), to=URL) == opened(tmp_path).put(sealed(), to=URL)
    assert len(opened(tmp_path).entries()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_nobody_else_reads_it(tmp_path: Path) -> None:
    """Files and folders are their owner's alone."""
    outbox = opened(tmp_path / "outbox")
    outbox.put(sealed(), to=URL)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "outbox", *(tmp_path / "outbox").rglob("*"))}
    assert modes == {0}


@pytest.mark.parametrize("data", [b"", b"{}", sealed()[:-9], envelope.seal(b"{}", payload_type=PAYLOAD_TYPE, keys=[])])
def test_only_signed_submissions_are_kept(data: bytes, tmp_path: Path) -> None:
    """What is no signed submission is refused before it is written."""
    outbox = opened(tmp_path)
    with pytest.raises(ValueError, match="not a signed submission"):
        outbox.put(data, to=URL)
    assert outbox.status().waiting == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-20],
        lambda data: data.replace(b'"sig":"A', b'"sig":"B').swapcase(),
        bytes.upper,
    ],
)
def test_a_damaged_file_is_set_aside(damage: object, tmp_path: Path) -> None:
    """A file that no longer holds what was signed is kept apart and counted, and does not stop the others."""
    outbox = opened(tmp_path)
    outbox.put(sealed(1), to=URL)
    outbox.put(sealed(2), to=URL)
    path = outbox.entries()[0].path
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator] # one of the functions above
    assert [outbox.read(entry) is None for entry in outbox.entries()] == [True, False]
    status = outbox.status()
    assert (status.waiting, status.damaged) == (1, 1)


def test_a_file_under_another_name_is_damaged(tmp_path: Path) -> None:
    """The name says which submission it is."""
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)
    path = outbox.entries()[0].path
    path.rename(path.with_name(f"{path.name.partition('-')[0]}-{'0' * 64}.json"))
    assert outbox.read(outbox.entries()[0]) is None


def test_the_oldest_are_dropped_and_counted(tmp_path: Path) -> None:
    """Within the space the newest stay; how many were dropped for it is known afterwards."""
    outbox = opened(tmp_path, space=20_000)
    for number in range(30):
        outbox.put(sealed(number, made=NOW + dt.timedelta(seconds=number), size=1000), to=URL)
    status = outbox.status()
    assert status.bytes <= 20_000
    assert status.waiting + status.dropped["space"] == 30
    assert outbox.entries()[-1].made == NOW + dt.timedelta(seconds=29)
    assert outbox.entries()[0].made == NOW + dt.timedelta(seconds=status.dropped["space"])


def test_what_is_too_old_is_dropped_and_counted(tmp_path: Path) -> None:
    """After thirty days a submission is dropped, the next time that something is put in."""
    outbox = opened(tmp_path)
    outbox.put(sealed(1, made=NOW - dt.timedelta(days=31)), to=URL)
    outbox.put(sealed(2, made=NOW - dt.timedelta(days=29)), to=URL)
    opened(tmp_path).put(sealed(3), to=URL)
    assert (opened(tmp_path).status().waiting, opened(tmp_path).status().dropped) == (2, {"age": 1})


def test_what_was_refused_goes_first(tmp_path: Path) -> None:
    """Where there is no space, what the collector refused is dropped before what still waits."""
    outbox = opened(tmp_path, space=8000)
    outbox.put(sealed(1, size=2500), to=URL)
    outbox.put(sealed(2, made=NOW + dt.timedelta(seconds=1), size=2500), to=URL)
    newer = outbox.entries()[1]
    waiting = outbox.read(newer)
    assert waiting is not None
    outbox.set_aside(newer, waiting, reason="unknown-key")
    opened(tmp_path, space=8000).put(sealed(3, size=2500), to=URL)
    status = outbox.status()
    assert (status.waiting, status.refused, status.dropped) == (2, (), {"space": 1})


def test_refused_ones_are_counted_by_reason_and_put_back(tmp_path: Path) -> None:
    """What was set aside is shown with its reason, and waits again on request."""
    outbox = opened(tmp_path)
    outbox.put(sealed(), to=URL)
    entry = outbox.entries()[0]
    waiting = outbox.read(entry)
    assert waiting is not None
    outbox.set_aside(entry, waiting, reason="unknown-key")
    assert [(one.reason, one.count) for one in outbox.status().refused] == [("unknown-key", 1)]
    assert outbox.entries() == []
    assert outbox.put_back() == 1
    assert outbox.read(outbox.entries()[0]) == waiting
    assert outbox.status().refused == ()


def test_dropping_on_request_is_counted(tmp_path: Path) -> None:
    """One submission, or all of a kind, is dropped; the count stays."""
    outbox = opened(tmp_path)
    digests = [outbox.put(sealed(number), to=URL) for number in range(3)]
    assert outbox.drop("", digests[1]) == 1
    assert outbox.drop("") == 2
    assert (outbox.status().waiting, outbox.status().dropped) == (0, {"asked": 3})


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room is reported as such, leaves nothing behind, and what waited still waits."""
    outbox = opened(tmp_path)
    outbox.put(sealed(1), to=URL)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoomError, match="No space left"):
        outbox.put(sealed(2), to=URL)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".new-")] == []
    assert len(outbox.entries()) == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the place of the folder is named in the error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        opened(tmp_path / "file" / "outbox")


def test_one_process_sends(tmp_path: Path) -> None:
    """While one sends, another does not; afterwards it does."""
    one, other = opened(tmp_path), opened(tmp_path)
    with one.sending() as first, other.sending() as second:
        assert (first, second) == (True, False)
    with other.sending() as again:
        assert again


def test_unfinished_files_are_removed_when_they_are_old(tmp_path: Path) -> None:
    """What a process that was killed left is removed after an hour; another process may be writing what is newer."""
    opened(tmp_path)
    old, new = tmp_path / ".new-0000000000000000", tmp_path / ".new-0000000000000001"
    for path, age in ((old, 7200), (new, 60)):
        path.write_bytes(b"")
        os.utime(path, (NOW.timestamp() - age,) * 2)
    opened(tmp_path).put(sealed(), to=URL)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_changed_list_of_dropped_files_removes_nothing_else(tmp_path: Path) -> None:
    """Files whose names are not those of an outbox are not removed."""
    outbox = opened(tmp_path / "outbox")
    (tmp_path / "mine").write_text("")
    (tmp_path / "outbox" / "dropped.json").write_bytes(msgspec.json.encode({"names": ["../mine", "lock"]}))
    outbox.put(sealed(), to=URL)
    assert (tmp_path / "mine").exists()


KILLED = """
import os, random, signal, sys
from pathlib import Path
sys.path[:0] = ["tests", "packages/testing/tests"]
from outbox.test_store import NOW, URL, opened, sealed
import datetime as dt

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
chosen = random.Random(seed)

class Limited:
    left = 0
    def __call__(self, event, arguments):
        if event in {"open", "os.rename", "os.remove", "os.scandir", "os.mkdir"}:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)

def tell(pipe, word):
    os.write(pipe, word.encode() + b"\\n")

put, gone, kills, number = set(), set(), 0, 0
while kills < 60:
    reading, writing = os.pipe()
    number += 10
    limit = chosen.randrange(1, 120)
    if (child := os.fork()) == 0:
        limited = Limited()
        limited.left = limit
        sys.addaudithook(limited)
        outbox = opened(folder, space=12_000)
        for one in range(number, number + 10):
            tell(writing, "put " + outbox.put(sealed(one, made=NOW + dt.timedelta(seconds=one), size=800), to=URL))
            if one % 3 == 0:
                entry = outbox.entries()[0]
                waiting = outbox.read(entry)
                tell(writing, "gone " + entry.digest)
                if one % 2:
                    outbox.remove(entry)
                else:
                    outbox.set_aside(entry, waiting, reason="unknown-key")
                    tell(writing, "back " + entry.digest)
        os._exit(0)
    os.close(writing)
    with open(reading) as said:
        for line in said:
            word, digest = line.split()
            {"put": put.add, "gone": gone.add, "back": gone.discard}[word](digest)
    _, status = os.waitpid(child, 0)
    kills += os.WIFSIGNALED(status)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    outbox = opened(folder, space=12_000)
    there = {entry.digest for part in ("", "refused") for entry in outbox.entries(part)}
    assert outbox.entries("damaged") == []
    assert all(outbox.read(entry) is not None for entry in outbox.entries())
outbox.put(sealed(10**6, made=NOW + dt.timedelta(days=1)), to=URL)
there = {entry.digest for part in ("", "refused") for entry in outbox.entries(part)}
dropped = outbox.status().dropped["space"]
lost = len(put - there - gone)
print(kills, len(put), lost, dropped)
assert lost <= dropped <= lost + kills + len(gone)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_kill_at_any_access_loses_nothing_uncounted(tmp_path: Path) -> None:
    """Killed again and again between any two accesses to files: what was kept is whole, or is counted as dropped."""
    done = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", KILLED, str(tmp_path / "outbox"), "20"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    print(f"kills, put, dropped, counted: {done.stdout}")  # noqa: T201 - for -rP
    assert store.RELIST > 1
