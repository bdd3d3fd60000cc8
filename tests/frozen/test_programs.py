"""Where child programs may be started, and as what: by the marks of every freezer, without building anything."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

from detector.frozen import Host, child_command, detector_command, host, programs, run_child_program, system_environment

if TYPE_CHECKING:
    from pathlib import Path

WORKER: Final = "detector.scan.worker"
MARKS: Final[dict[str, tuple[dict[str, Any], Host]]] = {
    "PyInstaller, one file": ({"frozen": True, "_MEIPASS": "/opt/_MEIx", "executable": "/opt/exam"}, Host.PYINSTALLER),
    "PyInstaller, named python": (
        {"frozen": True, "_MEIPASS": "/opt/e", "executable": "/opt/python3"},
        Host.PYINSTALLER,
    ),
    "cx_Freeze": ({"frozen": True, "executable": "C:/Exam/exam.exe"}, Host.FROZEN),
    "py2exe": ({"frozen": "windows_exe", "executable": "C:/Exam/exam.exe"}, Host.FROZEN),
    "py2app": ({"frozen": "macosx_app", "executable": "/Applications/Exam.app/Contents/MacOS/python"}, Host.PY2APP),
    "embedding": ({"executable": "/opt/Exam.app/exam"}, Host.EMBEDDING),
    "embedding, similar name": ({"executable": "C:/Exam/python-exam.exe"}, Host.EMBEDDING),
    "embedding, no name": ({"executable": ""}, Host.EMBEDDING),
    "embedding, nothing": ({"executable": None}, Host.EMBEDDING),
    "Linux": ({"executable": "/usr/bin/python3.11"}, Host.INTERPRETER),
    "Debian, debug build": ({"executable": "/usr/bin/python3.13-dbg"}, Host.INTERPRETER),
    "free-threaded": ({"executable": "/usr/bin/python3.14t"}, Host.INTERPRETER),
    "macOS, Intel": ({"executable": "/usr/local/bin/python3-intel64"}, Host.INTERPRETER),
    "Windows, without a console": ({"executable": "/Python/pythonw.exe"}, Host.INTERPRETER),
    "Windows, debug build": ({"executable": "/Python/python_d.exe"}, Host.INTERPRETER),
    "PyPy": ({"executable": "/usr/bin/pypy3"}, Host.INTERPRETER),
}
"""What each freezer sets in `sys` (PyInstaller: Run-time Information; cx_Freeze, py2exe, py2app: their manuals)."""


def pretend(monkeypatch: pytest.MonkeyPatch, **marks: object) -> None:
    """Let this process look like another."""
    for name, value in marks.items():
        monkeypatch.setattr(sys, name, value, raising=False)


@pytest.fixture(autouse=True)
def _undeclared(monkeypatch: pytest.MonkeyPatch) -> None:
    """No main program has said anything, and each test leaves it so."""
    monkeypatch.setattr(programs._Process, "runs_child_programs", False)
    monkeypatch.setattr(programs._Process, "is_detector", False)


@pytest.mark.parametrize("kind", MARKS)
def test_what_a_process_runs_in(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only interpreters count as such, and nothing but those gets a command by itself."""
    marks, expected = MARKS[kind]
    pretend(monkeypatch, **marks)
    assert host() is expected
    is_interpreter = expected is Host.INTERPRETER
    assert (child_command(WORKER) is not None, detector_command() is not None) == (is_interpreter, is_interpreter)


@pytest.mark.parametrize("place", ["the package", "the main program"])
def test_nuitka_is_no_interpreter_although_it_names_one(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sys.executable` is a `python` that does not exist; the mark is in each module that was compiled."""
    pretend(monkeypatch, executable="/opt/onefile_1/python3")
    assert host() is Host.INTERPRETER
    compiled: ModuleType = programs if place == "the package" else ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", compiled)
    monkeypatch.setattr(compiled, "__compiled__", object(), raising=False)
    assert (host(), child_command(WORKER), detector_command()) == (Host.NUITKA, None, None)
    run_child_program()
    assert child_command(WORKER) is None


def test_interpreters_import_nothing_from_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A scan in a folder with a package of this name runs the installed one."""
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert child_command(WORKER) == ["/usr/bin/python3", "-P", "-m", WORKER]
    assert child_command(WORKER, file=tmp_path / "worker.py") == ["/usr/bin/python3", "-P", str(tmp_path / "worker.py")]
    assert detector_command() == ["/usr/bin/python3", "-P", "-m", "detector"]


@pytest.mark.parametrize("kind", ["cx_Freeze", "py2exe", "py2app", "embedding", "Linux"])
def test_only_applications_of_pyinstaller_can_run_child_programs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere the call changes nothing, whatever the arguments are."""
    pretend(monkeypatch, **MARKS[kind][0], argv=["exam", programs.CHILD_ARGUMENT, WORKER])
    before = child_command(WORKER)
    run_child_program()
    assert child_command(WORKER) == before


def test_an_application_that_runs_child_programs_is_started_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the call, and in this process alone; it does not become the command `detector`."""
    pretend(monkeypatch, **MARKS["PyInstaller, one file"][0], argv=["exam", "--window"])
    run_child_program()
    assert child_command(WORKER) == ["/opt/exam", programs.CHILD_ARGUMENT, WORKER]
    assert detector_command() is None


@pytest.mark.parametrize("module", sorted(programs.CHILD_PROGRAMS))
def test_a_child_program_runs_and_ends(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application never gets to its own work."""
    runs: list[str] = []
    fake = ModuleType(module)
    monkeypatch.setattr(fake, "main", lambda: runs.append(module), raising=False)
    monkeypatch.setitem(sys.modules, module, fake)
    pretend(monkeypatch, **MARKS["PyInstaller, one file"][0], argv=["exam", programs.CHILD_ARGUMENT, module])
    with pytest.raises(SystemExit) as ended:
        run_child_program()
    assert (ended.value.code, runs) == (0, [module])


@pytest.mark.parametrize("rest", [[], ["os"], ["detector.cli"], [WORKER, "more"], [""], ["detector.scan.worker "]])
def test_no_other_module_can_be_requested(rest: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with bad usage; falling through would start the application again."""
    pretend(monkeypatch, **MARKS["PyInstaller, one file"][0], argv=["exam", programs.CHILD_ARGUMENT, *rest])
    with pytest.raises(SystemExit) as ended:
        run_child_program()
    assert ended.value.code == 2


def test_the_stand_alone_program_is_its_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """`exam manifest` may name it, and it runs child programs."""
    pretend(monkeypatch, **MARKS["PyInstaller, one file"][0], argv=["detector", "--version"])
    with pytest.raises(SystemExit) as ended:
        programs.run_detector()
    assert ended.value.code == 0
    assert detector_command() == ["/opt/exam"]
    assert child_command(WORKER) == ["/opt/exam", programs.CHILD_ARGUMENT, WORKER]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"LD_LIBRARY_PATH": "/opt/_MEIx"}, {}),
        ({"LD_LIBRARY_PATH": "/opt/_MEIx", "LD_LIBRARY_PATH_ORIG": "/opt/lib"}, {"LD_LIBRARY_PATH": "/opt/lib"}),
        ({"LIBPATH": "/opt/_MEIx", "LIBPATH_ORIG": ""}, {}),
    ],
)
def test_programs_of_the_system_get_their_own_libraries(
    given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those that the application brought; an interpreter's environment stays unchanged."""
    monkeypatch.setattr(os, "environ", {"HOME": "/home/student", **given})
    assert system_environment() == {"HOME": "/home/student", **given}
    pretend(monkeypatch, **MARKS["PyInstaller, one file"][0])
    assert system_environment() == {"HOME": "/home/student", **expected}
