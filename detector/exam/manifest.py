"""The files that let a browser start the native messaging host: its manifest and a launcher, and their locations.

Room: exam. Pure except for `install`, which writes the two files. The system, the home directory and the environment
are arguments.

A manifest names a program but not its arguments, so it points to a small launcher: a shell script, on Windows a batch
file. Chrome, Chromium and Edge: developer.chrome.com/docs/extensions/develop/concepts/native-messaging;
Firefox: MDN, "Native manifests".
"""

from __future__ import annotations

import enum
import re
import shlex
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.errors import InputError
from detector.model.files import unwritable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST_NAME: Final = "tls_middleware_detector.exam"
"""The name an extension connects to: lower-case letters, digits, underscores and dots."""

DESCRIPTION: Final = "Checks for TLS interception before an exam starts"

_OWNER_RUNS: Final = 0o700
"""Permissions of the launcher: a proxy URL in it may hold a password. Its folder on Windows is the user's own."""

_CHROME_ID: Final = re.compile(r"[a-p]{32}\Z")
"""The first 128 bits of a SHA-256 in hexadecimal, written with the digits a to p."""

_FIREFOX_ID: Final = re.compile(
    r"(?:\{[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}|[A-Za-z0-9._-]*@[A-Za-z0-9._-]+)\Z"
)
"""A UUID in braces, or a text that looks like a mail address (MDN, browser_specific_settings)."""

_FIREFOX_ID_LONGEST: Final = 80
"""Maximum length of an id in Firefox."""


class Browser(enum.StrEnum):
    """Browsers whose manifest locations are known."""

    CHROME = "chrome"
    CHROMIUM = "chromium"
    EDGE = "edge"
    FIREFOX = "firefox"


class System(enum.StrEnum):
    """Operating systems, by `sys.platform`."""

    LINUX = "linux"
    MACOS = "darwin"
    WINDOWS = "win32"


_FOLDERS: Final[dict[System, dict[Browser, str]]] = {
    System.LINUX: {
        Browser.CHROME: ".config/google-chrome/NativeMessagingHosts",
        Browser.CHROMIUM: ".config/chromium/NativeMessagingHosts",
        Browser.EDGE: ".config/microsoft-edge/NativeMessagingHosts",
        Browser.FIREFOX: ".mozilla/native-messaging-hosts",
    },
    System.MACOS: {
        Browser.CHROME: "Library/Application Support/Google/Chrome/NativeMessagingHosts",
        Browser.CHROMIUM: "Library/Application Support/Chromium/NativeMessagingHosts",
        Browser.EDGE: "Library/Application Support/Microsoft Edge/NativeMessagingHosts",
        Browser.FIREFOX: "Library/Application Support/Mozilla/NativeMessagingHosts",
    },
}
_VENDORS: Final = {
    Browser.CHROME: r"Google\Chrome",
    Browser.CHROMIUM: "Chromium",
    Browser.EDGE: r"Microsoft\Edge",
    Browser.FIREFOX: "Mozilla",
}
"""Where a browser's manifests are: below the home directory, and in the registry."""


class Place(NamedTuple):
    """The browser, the system, and the user's home directory and environment."""

    browser: Browser
    system: System
    home: str
    environment: Mapping[str, str]
    user_data: str | None = None


class Files(NamedTuple):
    """The two files and their paths. `registry` is the command that registers them on Windows, None elsewhere."""

    manifest_path: PurePath
    manifest: str
    launcher_path: PurePath
    launcher: str
    registry: str | None


def files(place: Place, *, extension_id: str, command: Sequence[str]) -> Files:
    """Return the manifest and the launcher for one extension.

    `command` is the program with its arguments, with absolute paths: the working directory is the browser's choice.
    Raises `InputError` for an id that is not valid in that browser, and for arguments that a launcher cannot contain.
    """
    _check_id(place.browser, extension_id)
    windows = place.system is System.WINDOWS
    folder = _folder(place)
    stem = f"{HOST_NAME}.{place.browser}" if windows else HOST_NAME  # on Windows all browsers share a folder
    manifest_path = folder / f"{stem}.json"
    launcher_path = folder / f"{stem}{'.bat' if windows else '.sh'}"
    manifest: dict[str, object] = {
        "name": HOST_NAME,
        "description": DESCRIPTION,
        "path": str(launcher_path),
        "type": "stdio",
    }
    if place.browser is Browser.FIREFOX:
        manifest["allowed_extensions"] = [extension_id]
    else:
        manifest["allowed_origins"] = [f"chrome-extension://{extension_id}/"]
    return Files(
        manifest_path,
        msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode("utf-8") + "\n",
        launcher_path,
        _batch(command) if windows else _script(command),
        _registration(place.browser, manifest_path) if windows else None,
    )


def install(made: Files) -> None:
    """Write both files, the launcher executable. Raises `OutputError`."""
    path = Path(made.launcher_path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(_OWNER_RUNS)
        path.chmod(_OWNER_RUNS)  # of one that was there already, before anything is written to it
        path.write_bytes(made.launcher.encode("utf-8"))
        path = Path(made.manifest_path)
        path.write_bytes(made.manifest.encode("utf-8"))
    except (OSError, ValueError) as error:
        raise unwritable(f"--install {path}", error, "Install it as the user who runs the browser.") from error


def _check_id(browser: Browser, extension_id: str) -> None:
    if browser is Browser.FIREFOX:
        fits = bool(_FIREFOX_ID.match(extension_id)) and len(extension_id) <= _FIREFOX_ID_LONGEST
        advice = 'Give the id of its manifest (browser_specific_settings.gecko.id), such as "gate@exams.example".'
    else:
        fits = bool(_CHROME_ID.match(extension_id))
        advice = f"Give the 32 letters from a to p that {browser}://extensions shows."
    if not fits:
        raise InputError(f"--extension-id: this is not the id of an extension of {browser}.", advice=advice)


def _folder(place: Place) -> PurePath:
    """Return the folder of this user's manifests; on Windows any folder will do, since the registry names it."""
    if place.system is System.WINDOWS:
        local = place.environment.get("LOCALAPPDATA") or str(PureWindowsPath(place.home) / "AppData" / "Local")
        return PureWindowsPath(local) / "tls-middleware-detector"
    if place.user_data is not None and place.browser is not Browser.FIREFOX:
        return PurePosixPath(place.user_data) / "NativeMessagingHosts"
    folder = PurePosixPath(_FOLDERS[place.system][place.browser])
    configured = place.environment.get("XDG_CONFIG_HOME")
    if configured and folder.parts[0] == ".config":
        return PurePosixPath(configured) / folder.relative_to(".config")
    return PurePosixPath(place.home) / folder


def _script(command: Sequence[str]) -> str:
    return f"#!/bin/sh\n# Made by `detector exam manifest`; the browser starts it.\nexec {shlex.join(command)}\n"


def _batch(command: Sequence[str]) -> str:
    """Return a batch file in UTF-8 that prints nothing itself: its output goes to the browser."""
    for word in command:
        if '"' in word or not word.isprintable():
            raise InputError(f"{word!r}: a batch file cannot carry this.", advice="Use paths without quotes.")
    # A percent sign is doubled inside a batch file; everything else is literal between quotes.
    words = " ".join('"{}"'.format(word.replace("%", "%%")) for word in command)
    return f"@echo off\r\nchcp 65001 >nul\r\n{words}\r\n"


def _registration(browser: Browser, manifest_path: PurePath) -> str:
    key = rf"HKCU\Software\{_VENDORS[browser]}\NativeMessagingHosts\{HOST_NAME}"
    return f'reg add "{key}" /ve /t REG_SZ /d "{manifest_path}" /f'
