"""Room: tests of ct."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from detector.ct import state
from detector.ct.findings import FindingKind
from detector.ct.state import FileOutput, Pending, Position, State
from detector.errors import InputError, OutputError

ROOT = Path(__file__).resolve().parent.parent.parent
POSITION = Position(size=5, root=bytes(32), note="a\n5\n\n", next=3)


def test_positions_and_reports_are_kept(tmp_path: Path) -> None:
    """What was saved is there again, and what was reported is known."""
    output = FileOutput(str(tmp_path / "out"))
    with State(tmp_path / "state", output) as first:
        first.positions["log"] = POSITION
        first.report("a line\n", ["one"])
    with State(tmp_path / "state", output) as second:
        assert second.positions == {"log": POSITION}
        assert second.was_reported("one")
        assert not second.was_reported("two")
    assert (tmp_path / "out").read_text() == "a line\n"
    output.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_the_state_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else reads which hosts are watched for."""
    output = FileOutput(str(tmp_path / "out"))
    with State(tmp_path / "state", output):
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600
    output.close()


def test_one_process_writes_a_state(tmp_path: Path) -> None:
    """A second one is refused as long as the first one has it, and a lock that was left behind locks nothing."""
    output = FileOutput(str(tmp_path / "out"))
    with State(tmp_path / "state", output), pytest.raises(InputError, match="another process"):
        State(tmp_path / "state", output)
    with State(tmp_path / "state", output):
        pass
    output.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"schema": 2}',
        b'{"unknown": 1}',
        b'{"logs": {"a": {"size": 1, "root": "", "note": "", "next": 2}}}',
        b'{"logs": {"a": {"size": -1, "root": "", "note": "", "next": 0}}}',
        b"[" * 100_000,
    ],
)
def test_another_file_is_no_state(content: bytes, tmp_path: Path) -> None:
    """A file that is no state is refused and left unchanged."""
    (tmp_path / "state").write_bytes(content)
    output = FileOutput(str(tmp_path / "out"))
    with pytest.raises(InputError, match="state"):
        State(tmp_path / "state", output)
    assert (tmp_path / "state").read_bytes() == content
    output.close()


def test_a_state_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A folder that is not there, and a NUL character in the name."""
    output = FileOutput(str(tmp_path / "out"))
    for name in (tmp_path / "no" / "state", Path(f"{tmp_path}/a\0b")):
        with pytest.raises((OutputError, InputError)):
            State(name, output)
    output.close()


def test_what_was_begun_to_be_reported_is_recovered(tmp_path: Path) -> None:
    """A program that is killed while it writes leaves its findings to the next one, once."""
    output = FileOutput(str(tmp_path / "out"))
    with State(tmp_path / "state", output) as killed:
        killed.save(Pending(text="a\n", file=str(tmp_path / "out"), offset=0, kinds=(FindingKind.CERTIFICATE,)))
    with State(tmp_path / "state", output) as following:
        assert following.recovered == (FindingKind.CERTIFICATE,)
    with State(tmp_path / "state", output) as last:
        assert last.recovered == ()
    assert (tmp_path / "out").read_text() == "a\n"
    output.close()


@pytest.mark.parametrize("there", [b"", b"new", b"new line\n"])
def test_a_line_that_was_cut_short_is_completed(there: bytes, tmp_path: Path) -> None:
    """However much of the pending text is in the file, it is there once afterwards."""
    (tmp_path / "out").write_bytes(b"old line\n" + there)
    output = FileOutput(str(tmp_path / "out"))
    output.complete(Pending(text="new line\n", file=str(tmp_path / "out"), offset=9))
    assert (tmp_path / "out").read_bytes() == b"old line\nnew line\n"
    output.close()


@pytest.mark.parametrize("pending", [Pending(text="new\n", file="/another", offset=0), Pending(text="new\n")])
def test_pending_text_of_another_output_is_written(pending: Pending, tmp_path: Path) -> None:
    """Where nobody can say whether it was written it is, and what others appended is kept."""
    (tmp_path / "out").write_bytes(b"of others\n")
    output = FileOutput(str(tmp_path / "out"))
    output.complete(pending)
    output.complete(Pending(text="more\n", file=str(tmp_path / "out"), offset=0))
    assert (tmp_path / "out").read_bytes() == b"of others\nnew\nmore\n"
    output.close()


def test_the_oldest_reports_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of what was reported does not grow without end."""
    monkeypatch.setattr(state, "REPORTED_MAX", 2)
    output = FileOutput(str(tmp_path / "out"))
    with State(tmp_path / "state", output) as kept:
        for name in ("one", "two", "three"):
            kept.report(f"{name}\n", [name])
        assert [kept.was_reported(name) for name in ("one", "two", "three")] == [False, True, True]
    output.close()


KILLED = """
import os, random, signal, sys
from pathlib import Path
from detector_testing import PrivatePKI, StaticLog
from support.ct_world import HOST, World
from detector.ct import monitor
from detector.ct.state import FileOutput

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
chosen = random.Random(seed)
monitor.SAVE_SECONDS = 0.0
pki, log = PrivatePKI.create(), StaticLog.create()
for number in range(8):
    log.fill(chosen.randrange(200), lambda index: b"%d" % index)
    for _ in range(chosen.randrange(1, 3)):
        log.issue(pki.intermediate_ec, [HOST])

def end():
    os.kill(os.getpid(), signal.SIGKILL)

class Limited:
    left = 0
    def __call__(self, event, arguments):
        if event in {"open", "os.rename", "os.remove"}:
            self.left -= 1
            if not self.left:
                end()

def torn(self, text):
    self._file.write(text.encode()[: chosen.randrange(len(text))])
    end()

kills = rounds = 0
while kills < 30:  # how many accesses there are, and so how many kills a round has, differs between systems
    rounds += 1
    if rounds > 40:
        raise SystemExit("hardly ever killed")
    world = World(folder / str(rounds), pki, log)
    world.folder.mkdir()
    world.publish()
    while True:
        how = chosen.randrange(4)
        limit = chosen.randrange(1, 80)
        if (child := os.fork()) == 0:
            limited = Limited()
            limited.left = limit
            if how:
                sys.addaudithook(limited)
            else:
                FileOutput.write = torn
            world.run(start=0)
            os._exit(0)
        chosen.random()
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert status == 0, status
            break
        kills += 1
        if kills > 400:
            raise SystemExit("never ends")
    expected = sum(1 for entry in log.entries if HOST.encode() in entry.timestamped)
    ids = [finding.id for finding in world.found]
    assert len(ids) == len(set(ids)) == expected, (len(ids), len(set(ids)), expected)
    assert {finding.kind for finding in world.found} == {"certificate"}
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_kill_at_any_moment_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed again and again between any two accesses to files, and within writes: each finding is there once."""
    done = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", KILLED, str(tmp_path), "7"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 30
