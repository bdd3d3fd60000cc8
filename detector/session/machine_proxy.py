"""Reads the proxy settings of this machine: the only code that depends on the platform for them.

Room: session. Reads the registry, or starts `scutil` or `gsettings`: bounded, without a shell. Never raises: what
cannot be read is not set.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.probe.routes import system

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector import frozen
else:
    frozen = LazyModule("detector.frozen")  # where a program is started

SECONDS_MAX: Final = 3.0
"""Seconds for one program; both answer in a few hundredths."""

_INTERNET_SETTINGS: Final = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings"
_WINDOWS_VALUES: Final = {
    _INTERNET_SETTINGS: ("ProxyEnable", "ProxyServer", "ProxyOverride", "AutoConfigURL"),
    rf"{_INTERNET_SETTINGS}\Connections": ("DefaultConnectionSettings",),
}
_POLICY: Final = r"Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings"
_PER_USER: Final = "ProxySettingsPerUser"
"""The policy "Make proxy settings per-machine (rather than per-user)" is this value, set to 0."""


def read_system_proxies() -> system.SystemProxies:
    """The settings of this machine for the current user."""
    if sys.platform == "win32":  # pragma: no cover - tested through `from_windows`, with fixtures
        return system.from_windows(_registry())
    if sys.platform == "darwin":  # pragma: no cover - tested through `from_macos`, with fixtures
        return system.from_macos(output_of(["/usr/sbin/scutil", "--proxy"]))
    candidates = (Path(folder, "gsettings") for folder in os.get_exec_path())
    gsettings = next((program for program in candidates if os.access(program, os.X_OK)), None)
    if gsettings is None:
        return system.SystemProxies()
    return system.from_gnome(output_of([str(gsettings), "list-recursively", "org.gnome.system.proxy"]))


def output_of(command: Sequence[str]) -> str:
    """The output of a program; empty when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs with fixed arguments
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS_MAX,
            check=True,
            env=frozen.system_environment(),
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[: system.TEXT_CHARACTERS_MAX].decode("utf-8", "replace")


def _registry() -> dict[str, object]:  # pragma: no cover - Windows only
    """Read the user's settings, or the machine's where a policy says that users have none of their own."""
    values: dict[str, object] = {}
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 - there is no such module elsewhere

        def read(hive: int, path: str, names: Sequence[str]) -> dict[str, object]:
            found: dict[str, object] = {}
            with contextlib.suppress(OSError), winreg.OpenKey(hive, path) as key:
                for name in names:
                    with contextlib.suppress(OSError):
                        found[name] = winreg.QueryValueEx(key, name)[0]
            return found

        policy = read(winreg.HKEY_LOCAL_MACHINE, _POLICY, [_PER_USER])
        hive = winreg.HKEY_LOCAL_MACHINE if policy.get(_PER_USER) == 0 else winreg.HKEY_CURRENT_USER
        for path, names in _WINDOWS_VALUES.items():
            values |= read(hive, path, names)
    return values
