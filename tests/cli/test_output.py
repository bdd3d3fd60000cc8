"""Where results go: files that appear whole, and what is no file of its own and must stay what it is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from detector.cli.common import result_stream
from detector.errors import OutputError


def write(place: Path, text: str = "result\n") -> None:
    with result_stream(str(place)) as stream:
        stream.write(text)


def test_a_link_stays_and_what_it_points_to_is_replaced_whole(tmp_path: Path) -> None:
    """Until the result is complete the old one is there, next to the file that is linked to, not to the link."""
    (tmp_path / "results").mkdir()
    real, link = tmp_path / "results" / "today.json", tmp_path / "latest.json"
    real.write_text("old")
    link.symlink_to(real)
    with result_stream(str(link)) as stream:
        stream.write("new")
        stream.flush()
        assert real.read_text() == "old"
        assert sorted(tmp_path.iterdir()) == [link, real.parent]
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert list(real.parent.iterdir()) == [real]


def test_a_link_to_nothing_yet_makes_the_file(tmp_path: Path) -> None:
    """As a shell would."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "result\n"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    """A sentence, naming the place."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match="loop: cannot be written"):
        write(tmp_path / "loop")
    assert list(tmp_path.iterdir()) == [tmp_path / "loop"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has pipes with names")
def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """`--output >(program)` and named pipes: the reader gets the result, and the pipe is still one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reading = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reading.start()
    write(pipe)
    reading.join(20)
    assert got == ["result\n"]
    assert pipe.is_fifo()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has terminals as files")
def test_a_device_stays_one() -> None:
    """Root, who may, must not replace /dev/null by a file; here it is a terminal."""
    master, slave = os.openpty()
    try:
        place = Path(os.ttyname(slave))
        write(place)
        assert os.read(master, 100).split() == [b"result"]
        assert place.is_char_device()
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_full_device_is_reported() -> None:
    """What could not be written is no result."""
    with pytest.raises(OutputError, match="/dev/full: cannot be written"):
        write(Path("/dev/full"))


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="POSIX systems name standard output")
def test_standard_output_by_its_name_is_not_replaced(tmp_path: Path) -> None:
    """`--output /dev/stdout >> log` adds to the log."""
    log = tmp_path / "log"
    log.write_text("before\n")
    code = "from detector.cli.common import result_stream\nwith result_stream('/dev/stdout') as s: s.write('result\\n')"
    with log.open("a") as stream:
        subprocess.run([sys.executable, "-c", code], stdout=stream, timeout=60, check=True)  # noqa: S603 - our own code
    assert log.read_text() == "before\nresult\n"
    assert list(tmp_path.iterdir()) == [log]
