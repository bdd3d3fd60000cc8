"""What this process runs in, and the command that starts a program of this package there.

Room: frozen. Reads `sys`, arguments and environment; `run_child_program` runs a child program in this process.
"""

from __future__ import annotations

import enum
import importlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CHILD_ARGUMENT: Final = "--detector-child-program"
"""The first argument of an application that is started to run a child program; the module is the second and last."""

CHILD_PROGRAMS: Final = frozenset({"detector.probe.routes.pac_worker", "detector.scan.worker"})
"""Modules with a `main` that may be run so. Both read requests from standard input until that ends, and open no file
that a request names."""

_BAD_USAGE: Final = 2
"""Exit code for any other module: the application must not start instead."""

_INTERPRETER: Final = re.compile(r"(?:python|pypy|graalpy)w?[0-9.]*t?(?:-intel64|-dbg|_d)?(?:\.exe)?", re.IGNORECASE)
"""Names of Python interpreters on Linux, macOS and Windows, free-threaded and debug builds among them."""


class Host(enum.StrEnum):
    """What `sys.executable` is; the value completes "this is …"."""

    INTERPRETER = "a Python interpreter"
    PYINSTALLER = "an application frozen with PyInstaller"
    NUITKA = "an application compiled with Nuitka"
    PY2APP = "an application frozen with py2app"
    FROZEN = "a frozen application"  # cx_Freeze, py2exe
    EMBEDDING = "an application that embeds Python"


class _Process:
    """What is known of this process only because its main program called for it."""

    runs_child_programs = False
    is_detector = False


def host() -> Host:
    """Return what `sys.executable` is, by the marks that freezers document.

    Marks come before the name of the executable: Nuitka names a `python` next to the program that does not exist, and
    py2app one that lacks the application's modules.
    """
    frozen = getattr(sys, "frozen", False)
    if "__compiled__" in globals() or hasattr(sys.modules.get("__main__"), "__compiled__"):
        return Host.NUITKA
    if frozen == "macosx_app":
        return Host.PY2APP
    if frozen:
        return Host.PYINSTALLER if hasattr(sys, "_MEIPASS") else Host.FROZEN
    is_interpreter = _INTERPRETER.fullmatch(Path(sys.executable or "").name) is not None
    return Host.INTERPRETER if is_interpreter else Host.EMBEDDING


def run_child_program() -> None:
    """Run the child program that this process was started for and exit, else return at once.

    An application frozen with PyInstaller may call this first of all, before it reads arguments or opens a window, as
    with `multiprocessing.freeze_support`. From then on child programs are the application started again with
    `CHILD_ARGUMENT`; without this call there are none. In any other kind of process this does nothing. Raises
    `SystemExit` after a child program has ended, and for one that is not known.
    """
    if host() is not Host.PYINSTALLER:
        return
    _Process.runs_child_programs = True
    if sys.argv[1:2] != [CHILD_ARGUMENT]:
        return
    module = sys.argv[2] if len(sys.argv) == 3 else ""  # noqa: PLR2004 - the program, the argument, the module
    if module not in CHILD_PROGRAMS:
        raise SystemExit(_BAD_USAGE)
    importlib.import_module(module).main()
    raise SystemExit(0)


def run_detector() -> None:
    """Run the command `detector` as the main program of a frozen application, which is then nothing else, and exit."""
    _Process.is_detector = True
    run_child_program()
    importlib.import_module("detector.__main__").main()


def child_command(module: str, *, file: Path | None = None) -> list[str] | None:
    """Return the command that runs a module of `CHILD_PROGRAMS`; None where no process may be started for it.

    With `file`, the module's own, an interpreter runs that without importing the package. Nothing is imported from the
    working directory.
    """
    match host():
        case Host.INTERPRETER:
            return [sys.executable, "-P", *(("-m", module) if file is None else (str(file),))]
        case Host.PYINSTALLER if _Process.runs_child_programs:
            return [sys.executable, CHILD_ARGUMENT, module]
        case _:
            return None


def detector_command() -> list[str] | None:
    """Return the command that runs `detector`; None in an application that is something else."""
    match host():
        case Host.INTERPRETER:
            return [sys.executable, "-P", "-m", "detector"]
        case Host.PYINSTALLER if _Process.is_detector:
            return [sys.executable]
        case _:
            return None


def system_environment() -> Mapping[str, str]:
    """Return the environment for programs of the operating system.

    PyInstaller's start code puts the application's libraries first in the dynamic linker's path and keeps the former
    value next to it (its manual, "Launching external programs from the frozen application"). The system's programs
    would load those libraries, too.
    """
    environment = dict(os.environ)
    if host() is Host.PYINSTALLER:
        for name in ("LD_LIBRARY_PATH", "LIBPATH"):
            before = environment.pop(f"{name}_ORIG", None)
            environment.pop(name, None)
            if before:
                environment[name] = before
    return environment
