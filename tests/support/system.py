"""Programs that come from the system's packages, which `pip` and `uv` cannot install.

Room: tests. `program` is the one way to need one. Outside CI a machine without it skips the test and names the package;
in CI, where `.ci/run` installs all of them, a missing one fails.

Programs are found in the directories of PATH and in what belongs to each: `sbin` next to `bin`, and Debian's
`lib/postgresql/*/bin`. So a PATH that names none of the system's directories hides all of them, which is how `.ci/run`
tries a machine with nothing but Python.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

PACKAGES: Final = {
    "certutil": "libnss3-tools",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "danted": "dante-server",
    "dconf": "dconf-cli",
    "firefox-esr": "firefox-esr",
    "fish": "fish",
    "gnutls-serv": "gnutls-bin",
    "go": "golang-go",
    "gsettings": "libglib2.0-bin gsettings-desktop-schemas dconf-gsettings-backend",
    "haproxy": "haproxy",
    "initdb": "postgresql",
    "mandoc": "mandoc",
    "microsocks": "microsocks",
    "mkdir": "coreutils",
    "mount": "mount",
    "nginx": "nginx-light",
    "node": "nodejs",
    "npm": "npm",
    "pdfinfo": "poppler-utils",
    "openssl": "openssl",
    "pdftotext": "poppler-utils",
    "pg_isready": "postgresql",
    "postgres": "postgresql",
    "rsyslogd": "rsyslog",
    "selfserv": "libnss3-tools",
    "squid": "squid-openssl",
    "setpriv": "util-linux",
    "sslsplit": "sslsplit",
    "systemd-analyze": "systemd",
    "trust": "p11-kit p11-kit-modules",
    "umount": "mount",
    "zsh": "zsh",
}
"""The Debian package of each program that tests run."""


def search_path() -> str:
    """PATH with the directories that belong to it."""
    named = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    sbin = [folder.with_name("sbin") for folder in named if folder.name == "bin"]
    postgres = [found for folder in named for found in sorted(folder.parent.glob("lib/postgresql/*/bin"), reverse=True)]
    return os.pathsep.join(map(str, [*named, *sbin, *postgres]))


def program(name: str) -> str:
    """The path of a program of `PACKAGES`; without it the test is skipped, in CI it fails."""
    found = shutil.which(name, path=search_path())
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is missing: .ci/run must install {PACKAGES[name]}")
    pytest.skip(f"needs {name}: install {PACKAGES[name]}")  # never in CI: see the top of this file
