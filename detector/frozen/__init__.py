"""Frozen applications: how this package starts programs of its own, and what a freezer must collect.

Room: frozen (below all rooms that start programs). Reads how this process was started; starts nothing itself.

In a frozen application `sys.executable` is the application, so starting it with a Python file starts the application
again. `child_command` and `detector_command` therefore answer only where it is known what will run: a Python
interpreter, or an application frozen by PyInstaller that called `run_child_program` in this process, as the
stand-alone `detector` does (`standalone`). Everywhere else they return None, and the caller does without a process or
says that it cannot. Nothing here depends on the environment, which does not belong to the application: what may be
started is a literal list, requested by an argument.
"""

from __future__ import annotations

from .programs import Host, child_command, detector_command, host, run_child_program, system_environment

__all__ = ["Host", "child_command", "detector_command", "host", "run_child_program", "system_environment"]
