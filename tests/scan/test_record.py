"""The journal: whatever moment a scan is killed at, no result is lost and none is there twice."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import InputError, OutputError
from detector.scan import ScanRecord
from detector.scan.record import CHECKPOINT_LINES, Done

NOW = dt.datetime(2026, 11, 25, 9, 30, 15, tzinfo=dt.UTC)


def line(number: int, **more: object) -> bytes:
    return json.dumps({"number": number, **more}).encode() + b"\n"


def numbers(output: Path) -> list[int]:
    return [json.loads(text)["number"] for text in output.read_text().splitlines()]


@given(st.permutations(range(30)))
def test_done_is_a_set_of_numbers(order: list[int]) -> None:
    """Numbers are done in any order, and what is kept shrinks to one number when none is missing."""
    done = Done()
    for at, number in enumerate(order):
        assert number not in done
        done.add(number)
        assert all(n in done for n in order[: at + 1])
        assert done.count == at + 1
    assert (done.below, done.beyond) == (30, ())


@given(st.permutations(range(12)), st.integers(0, 400), st.booleans())
def test_killed_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    cut: int,
    late: bool,  # noqa: FBT001 - an example
) -> None:
    """However much of the output reached the disk, going on gives every target exactly one line."""
    folder = tmp_path_factory.mktemp("journal")
    state, output = folder / "state", folder / "out"
    journal = ScanRecord(state, output, scan="s", now=NOW)
    for number in order[:8]:
        journal.write(line(number), number)
    if late:
        journal._checkpoint()
    kept = state.read_bytes()
    written = output.read_bytes()
    journal._output.close()  # killed: no further checkpoint
    state.write_bytes(kept)
    raw = len(written) if late else min(cut, len(written))
    output.write_bytes(written[:raw])
    again = ScanRecord(state, output, scan="s", now=NOW)
    assert again.resumed
    for number in order:
        if number not in again.done:
            again.write(line(number), number)
    again.close()
    assert sorted(numbers(output)) == list(range(12))


def test_amendments_complete_nothing(tmp_path: Path) -> None:
    """A second assessment of a target does not stand for the first."""
    state, output = tmp_path / "state", tmp_path / "out"
    journal = ScanRecord(state, output, scan="s", now=NOW)
    journal.write(line(5, amends=True), None)
    journal._output.close()
    again = ScanRecord(state, output, scan="s", now=NOW)
    assert 5 not in again.done
    again.close()


def test_checkpoints_come_by_themselves(tmp_path: Path) -> None:
    """After so many results the state says how far the output is whole."""
    state, output = tmp_path / "state", tmp_path / "out"
    journal = ScanRecord(state, output, scan="s", now=NOW)
    for number in range(CHECKPOINT_LINES):
        journal.write(line(number), number)
    assert json.loads(state.read_bytes())["done_below"] == CHECKPOINT_LINES
    journal.close()


def test_another_scan_is_refused(tmp_path: Path) -> None:
    """A state of other targets, no state at all, an output cut short or unknown: refused by name."""
    state, output = tmp_path / "state", tmp_path / "out"
    journal = ScanRecord(state, output, scan="s", now=NOW)
    journal.write(line(0), 0)
    journal.close()
    with pytest.raises(InputError, match="another scan"):
        ScanRecord(state, output, scan="other", now=NOW)
    whole = output.read_bytes()
    output.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="shorter"):
        ScanRecord(state, output, scan="s", now=NOW)
    output.write_bytes(whole)
    with pytest.raises(InputError, match="has results already"):
        ScanRecord(tmp_path / "new", output, scan="s", now=NOW)
    state.write_bytes(b"{}")
    with pytest.raises(InputError, match="not the state of a scan"):
        ScanRecord(state, output, scan="s", now=NOW)
    with pytest.raises(OutputError, match="directory you may write to"):
        ScanRecord(tmp_path / "no" / "state", tmp_path / "no" / "out", scan="s", now=NOW)


def test_what_cannot_be_gone_on_from_is_refused(tmp_path: Path) -> None:
    """One file for both would lose the output, and from a device nothing can be read back."""
    state, output, device = tmp_path / "state", tmp_path / "out", Path(os.devnull)
    with pytest.raises(InputError, match="is the output as well"):
        ScanRecord(output, output, scan="s", now=NOW)
    with pytest.raises(InputError, match=r"--output .* is not a file"):
        ScanRecord(state, device, scan="s", now=NOW)
    with pytest.raises(InputError, match=r"--resume .* is not a file"):
        ScanRecord(device, output, scan="s", now=NOW)
    assert list(tmp_path.iterdir()) == []
