"""The reader of this machine's proxy settings on Windows and macOS, from what those systems write themselves.

Exports of the registry have the format of `reg export`, settings of macOS that of `scutil --proxy`. Only the systems'
interfaces are replaced: the module `winreg`, and the program that is run.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import pytest
from support.windows_registry import HEADER, Registry

from detector.probe.routes.system import SystemProxies
from detector.session import machine_proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTINGS: Final = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings"
POLICY: Final = r"Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings"

BY_HAND: Final = rf"""
[HKEY_CURRENT_USER\{SETTINGS}]
"EnableNegotiate"=dword:00000001
"MigrateProxy"=dword:00000001
"ProxyEnable"=dword:00000001
"ProxyServer"="proxy.example.edu:8080"
"ProxyOverride"="*.example.edu;10.*;<local>"
"User Agent"="Mozilla/4.0 (compatible; MSIE 8.0; Win32)"

[HKEY_CURRENT_USER\{SETTINGS}\Connections]
"DefaultConnectionSettings"=hex:46,00,00,00,04,00,00,00,03,00,00,00,16,00,00,00,\
  70,72,6f,78,79,2e,65,78,61,6d,70,6c,65,2e,65,64,75,3a,38,30,38,30,1b,00,00,00,\
  2a,2e,65,78,61,6d,70,6c,65,2e,65,64,75,3b,31,30,2e,2a,3b,3c,6c,6f,63,61,6c,3e,\
  00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00
"""
"""A server typed into the settings: what `ProxyEnable` says is repeated in the flags (2: a proxy, 1: or directly)."""

DETECTING: Final = rf"""
[HKEY_CURRENT_USER\{SETTINGS}]
"ProxyEnable"=dword:00000000

[HKEY_CURRENT_USER\{SETTINGS}\Connections]
"DefaultConnectionSettings"=hex:46,00,00,00,02,00,00,00,09,00,00,00,00,00,00,00,\
  00,00,00,00,00,00,00,00,01,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00
"SavedLegacySettings"=hex:46,00,00,00,09,00,00,00,01,00,00,00,00,00,00,00
"""
"""Only "automatically detect settings" is on (flag 8)."""

FILE: Final = rf"""
[HKEY_CURRENT_USER\{SETTINGS}]
"AutoConfigURL"="http://config.example.edu/proxy.pac?a=\"b\"\\c"
"ProxyEnable"=dword:00000000
"ProxyServer"="old.example.edu:3128"
"""
"""A PAC file; the export escapes quotes and backslashes. A server that was used before stays written, switched off."""

FOR_ALL_USERS: Final = rf"""
[HKEY_LOCAL_MACHINE\{POLICY}]
"ProxySettingsPerUser"=dword:00000000

[HKEY_LOCAL_MACHINE\{SETTINGS}]
"ProxyEnable"=dword:00000001
"ProxyServer"="http=plain.example.edu:80;https=filter.example.edu:8443"

[HKEY_CURRENT_USER\{SETTINGS}]
"ProxyEnable"=dword:00000001
"ProxyServer"="own.example.net:3128"
"""
"""A policy makes the proxy the machine's: what the user wrote does not count."""


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        ("", SystemProxies()),
        (
            BY_HAND,
            SystemProxies(proxy="proxy.example.edu:8080", bypass=("*.example.edu", "10.*"), bypass_plain=True),
        ),
        (DETECTING, SystemProxies(detect=True)),
        (FILE, SystemProxies(file='http://config.example.edu/proxy.pac?a="b"\\c')),
        (FOR_ALL_USERS, SystemProxies(proxy="filter.example.edu:8443")),
        (FOR_ALL_USERS.replace("dword:00000000", "dword:00000001", 1), SystemProxies(proxy="own.example.net:3128")),
    ],
)
def test_windows(export: str, expected: SystemProxies, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each export of the registry the settings that hold for this user."""
    registry = Registry(f"{HEADER}\n{export}".replace("\n", "\r\n").encode("utf-16"))
    monkeypatch.setitem(sys.modules, "winreg", registry)
    monkeypatch.setattr(machine_proxy, "sys", SimpleNamespace(platform="win32"))
    assert machine_proxy.read_system_proxies() == expected


MANAGED: Final = """\
<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
  }
  FTPPassive : 1
  HTTPEnable : 1
  HTTPPort : 8080
  HTTPProxy : filter.example.edu
  HTTPSEnable : 1
  HTTPSPort : 8080
  HTTPSProxy : filter.example.edu
  HTTPSUser : hunter
  __SCOPED__ : <dictionary> {
    en0 : <dictionary> {
      HTTPSEnable : 0
    }
  }
}
"""


def test_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one program is asked, by its path; where it prints nothing, nothing is set."""
    printed = [MANAGED, "", "No such key\n"]
    asked: list[Sequence[str]] = []

    def output_of(command: Sequence[str]) -> str:
        asked.append(command)
        return printed.pop(0)

    monkeypatch.setattr(machine_proxy, "output_of", output_of)
    monkeypatch.setattr(machine_proxy, "sys", SimpleNamespace(platform="darwin"))
    found = [machine_proxy.read_system_proxies() for _ in range(3)]
    assert found == [
        SystemProxies(proxy="filter.example.edu:8080", bypass=("*.local", "169.254.0.0/16")),
        SystemProxies(),
        SystemProxies(),
    ]
    assert asked == [["/usr/sbin/scutil", "--proxy"]] * 3
