"""Manifests and launchers: where they go on each system, what is in them, and that a launcher really launches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from detector.errors import InputError, OutputError
from detector.exam.manifest import HOST_NAME, Browser, Files, Place, System, files, install

CHROME_ID = "oeojffjfhmphjhhfhbhcgjaomplidhie"
FIREFOX_ID = "gate@exams.example"
COMMAND = ["/opt/py thon/bin/python", "-m", "detector", "exam", "native-host", "--policy", "/etc/it's 100%.toml"]


def made(browser: Browser, system: System, home: str = "/home/sam", **environment: str) -> Files:
    """The files for a browser of a user called sam."""
    place = Place(browser, system, home, environment)
    return files(place, extension_id=FIREFOX_ID if browser is Browser.FIREFOX else CHROME_ID, command=COMMAND)


@pytest.mark.parametrize(
    ("browser", "system", "path"),
    [
        (Browser.CHROME, System.LINUX, "/home/sam/.config/google-chrome/NativeMessagingHosts"),
        (Browser.CHROMIUM, System.LINUX, "/home/sam/.config/chromium/NativeMessagingHosts"),
        (Browser.EDGE, System.LINUX, "/home/sam/.config/microsoft-edge/NativeMessagingHosts"),
        (Browser.FIREFOX, System.LINUX, "/home/sam/.mozilla/native-messaging-hosts"),
        (Browser.CHROME, System.MACOS, "/home/sam/Library/Application Support/Google/Chrome/NativeMessagingHosts"),
        (Browser.CHROMIUM, System.MACOS, "/home/sam/Library/Application Support/Chromium/NativeMessagingHosts"),
        (Browser.EDGE, System.MACOS, "/home/sam/Library/Application Support/Microsoft Edge/NativeMessagingHosts"),
        (Browser.FIREFOX, System.MACOS, "/home/sam/Library/Application Support/Mozilla/NativeMessagingHosts"),
    ],
)
def test_where_each_browser_searches(browser: Browser, system: System, path: str) -> None:
    """The manifest goes where the browser's documentation says, the launcher next to it, and names fit."""
    found = made(browser, system)
    assert str(found.manifest_path) == f"{path}/{HOST_NAME}.json"
    manifest = json.loads(found.manifest)
    assert manifest["name"] == HOST_NAME
    assert manifest["type"] == "stdio"
    assert manifest["path"] == str(found.launcher_path) == f"{path}/{HOST_NAME}.sh"
    assert found.registry is None


def test_only_the_one_extension_may_talk() -> None:
    """Chromium's browsers name it by origin, Firefox by id."""
    assert json.loads(made(Browser.EDGE, System.LINUX).manifest)["allowed_origins"] == [
        f"chrome-extension://{CHROME_ID}/"
    ]
    firefox = json.loads(made(Browser.FIREFOX, System.LINUX).manifest)
    assert firefox["allowed_extensions"] == [FIREFOX_ID]
    assert "allowed_origins" not in firefox


@pytest.mark.parametrize(
    ("browser", "key"),
    [
        (Browser.CHROME, r"HKCU\Software\Google\Chrome"),
        (Browser.CHROMIUM, r"HKCU\Software\Chromium"),
        (Browser.EDGE, r"HKCU\Software\Microsoft\Edge"),
        (Browser.FIREFOX, r"HKCU\Software\Mozilla"),
    ],
)
def test_windows_has_a_registry_entry_and_a_batch_file(browser: Browser, key: str) -> None:
    """On Windows the registry says where the manifest is; the launcher says nothing on standard output itself."""
    found = made(browser, System.WINDOWS, r"C:\Users\sam", LOCALAPPDATA=r"D:\Local")
    assert found.registry == (
        f'reg add "{key}\\NativeMessagingHosts\\{HOST_NAME}" /ve /t REG_SZ '
        rf'/d "D:\Local\tls-middleware-detector\{HOST_NAME}.{browser}.json" /f'
    )
    lines = found.launcher.split("\r\n")
    assert lines[:2] == ["@echo off", "chcp 65001 >nul"]
    assert lines[2].endswith('"native-host" "--policy" "/etc/it\'s 100%%.toml"')
    without = made(browser, System.WINDOWS, r"C:\Users\sam")
    assert str(without.manifest_path).startswith(r"C:\Users\sam\AppData\Local" + "\\")


def test_configured_places() -> None:
    """XDG_CONFIG_HOME and a browser's own data directory are respected."""
    moved = made(Browser.CHROMIUM, System.LINUX, XDG_CONFIG_HOME="/cfg").manifest_path
    assert str(moved) == f"/cfg/chromium/NativeMessagingHosts/{HOST_NAME}.json"
    place = Place(Browser.CHROME, System.LINUX, "/home/sam", {}, user_data="/data")
    own = files(place, extension_id=CHROME_ID, command=COMMAND).manifest_path
    assert str(own) == f"/data/NativeMessagingHosts/{HOST_NAME}.json"


@pytest.mark.parametrize("extension_id", ["", "abc", CHROME_ID.upper(), CHROME_ID + "\n", "q" * 32, FIREFOX_ID])
def test_chrome_refuses_other_ids(extension_id: str) -> None:
    """An id that no extension of Chrome can have is a mistake, reported before anything is written."""
    with pytest.raises(InputError, match="extension-id"):
        files(Place(Browser.CHROME, System.LINUX, "/h", {}), extension_id=extension_id, command=COMMAND)


@pytest.mark.parametrize("extension_id", ["", "gate", CHROME_ID, 'a"@b', "a@b\n", "x" * 80 + "@b"])
def test_firefox_refuses_other_ids(extension_id: str) -> None:
    """Firefox has ids of another form."""
    with pytest.raises(InputError, match="extension-id"):
        files(Place(Browser.FIREFOX, System.LINUX, "/h", {}), extension_id=extension_id, command=COMMAND)


def test_firefox_takes_a_uuid() -> None:
    """The older form of an id is still in use."""
    place = Place(Browser.FIREFOX, System.LINUX, "/h", {})
    assert files(place, extension_id="{daf44bf7-a45e-4450-979c-91cf07434c3d}", command=COMMAND)


@pytest.mark.parametrize("word", ['a"b', "a\nb", "a\x00b"])
def test_batch_file_refuses_what_it_cannot_carry(word: str) -> None:
    """A quote or a line break would be read as something else."""
    with pytest.raises(InputError, match="batch"):
        files(Place(Browser.EDGE, System.WINDOWS, "C:\\", {}), extension_id=CHROME_ID, command=[word])


def test_installed_launcher_passes_every_argument_unchanged(tmp_path: Path) -> None:
    """Spaces, quotes, dollars and percent signs reach the program unchanged."""
    odd = ["it's", "100%", "$HOME", 'a "b"', "`id`", "ä ö", "*"]
    place = Place(Browser.CHROMIUM, System.LINUX, str(tmp_path), {}, user_data=str(tmp_path / "a b"))
    found = files(
        place, extension_id=CHROME_ID, command=[sys.executable, "-c", "import sys; print(sys.argv[1:])", *odd]
    )
    install(found)
    assert Path(found.manifest_path).read_text("utf-8") == found.manifest
    assert Path(found.launcher_path).stat().st_mode & 0o777 == 0o700
    done = subprocess.run([str(found.launcher_path)], capture_output=True, text=True, check=True)  # noqa: S603 - no shell, and the program is a test server of this repository
    assert done.stdout.strip() == str(odd)


def test_unwritable_place_is_reported(tmp_path: Path) -> None:
    """A folder that cannot be made is reported with its path and a remedy."""
    (tmp_path / "file").write_text("")
    place = Place(Browser.CHROMIUM, System.LINUX, "/h", {}, user_data=str(tmp_path / "file"))
    with pytest.raises(OutputError, match="file"):
        install(files(place, extension_id=CHROME_ID, command=COMMAND))
