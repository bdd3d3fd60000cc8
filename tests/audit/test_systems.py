"""The whole reader on Windows and macOS, from stores in those systems' own formats: no part of it is replaced but the
system's interface.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ssl
import sys
import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from detector_testing.pki import to_pem
from support.windows_registry import HEADER, Registry, blob, exported

from detector.audit import InstalledRoot, machine, programs, windows
from detector.audit.files import StoreError
from detector.knowledge import data_set
from detector.model import RootOrigin
from detector.trust.roots import Roots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector_testing import PrivatePKI

KNOWN = data_set.shipped().known_roots.keys

WHEN = dt.datetime(2024, 9, 1, 8, 30, tzinfo=dt.UTC)
TICKS = 133_696_530_000_000_000
"""The same as FILETIME."""
MACHINE = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\SystemCertificates"
USER = r"HKEY_CURRENT_USER\SOFTWARE\Microsoft\SystemCertificates"
POLICY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\SystemCertificates"
MAC = """\
    <?xml version="1.0" encoding="UTF-8"?>
    <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
    <plist version="1.0">
    <dict>
    \t<key>trustList</key>
    \t<dict>
    \t\t<key>{sha1}</key>
    \t\t<dict>
    \t\t\t<key>issuerName</key>
    \t\t\t<data>MA==</data>
    \t\t\t<key>modDate</key>
    \t\t\t<date>2024-09-01T08:30:00Z</date>
    \t\t\t<key>serialNumber</key>
    \t\t\t<data>AQ==</data>
    \t\t\t<key>trustSettings</key>
    \t\t\t<array>
    \t\t\t\t<dict>
    \t\t\t\t\t<key>kSecTrustSettingsPolicy</key>
    \t\t\t\t\t<data>KoZIhvdjZAED</data>
    \t\t\t\t\t<key>kSecTrustSettingsPolicyName</key>
    \t\t\t\t\t<string>sslServer</string>
    \t\t\t\t\t<key>kSecTrustSettingsResult</key>
    \t\t\t\t\t<integer>1</integer>
    \t\t\t\t</dict>
    \t\t\t</array>
    \t\t</dict>
    \t</dict>
    \t<key>trustVersion</key>
    \t<integer>1</integer>
    </dict>
    </plist>
    """
"""What `security trust-settings-export` writes after `security add-trusted-cert -p ssl`."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without browsers' profiles, and no bundle in the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_stores_of_windows(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an export of the registry: where each root is, since when, who put it there, and what Windows refuses."""
    policy, user, by_program, refused, code = (pki.private_ca(name).certificate for name in "PUMRC")
    signing = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]).public_bytes()
    servers = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]).public_bytes()
    export = "\n".join(
        [
            f"{HEADER}\n",
            exported(rf"{POLICY}\Root\Certificates", [blob(policy)]),
            exported(rf"{USER}\Root\Certificates", [blob(user, servers), blob(refused)]),
            exported(rf"{MACHINE}\AuthRoot\Certificates", [blob(by_program)]),
            exported(rf"{MACHINE}\ROOT\Certificates", [blob(code, signing)]),
            exported(rf"{MACHINE}\Disallowed\Certificates", [blob(refused)]),
        ]
    )
    registry = Registry(export.replace("\n", "\r\n").encode("utf-16"), written=TICKS)
    monkeypatch.setitem(sys.modules, "winreg", registry)
    monkeypatch.setattr(ssl, "enum_certificates", registry.enumerate, raising=False)
    for module in (machine, windows):
        monkeypatch.setattr(module, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(programs, "run", pytest.fail)  # a program called `trust` may be anybody's there
    found = machine.read_machine(KNOWN)
    assert found.unreadable == ()
    assert {(root.der, root.store, root.origin, root.distrusted, root.installed_at) for root in found.roots} == {
        (policy, "windows:group-policy", RootOrigin.POLICY, False, WHEN),
        (user, "windows:user", RootOrigin.ADDED, False, WHEN),
        (refused, "windows:user", RootOrigin.ADDED, True, WHEN),
        (by_program, "windows:AuthRoot", RootOrigin.SHIPPED, False, WHEN),
    }
    merged = machine.merge(Roots((), name="none", version=""), found, KNOWN)
    assert {root.certificate.der: root.origin for root in merged.roots.roots} == {
        policy: RootOrigin.POLICY,
        user: RootOrigin.ADDED,
        by_program: RootOrigin.SHIPPED,
    }


def test_stores_of_macos(pki: PrivatePKI, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the output of `security`: Apple's roots, one that an administrator added, and one that nothing trusts."""
    apple, added, idle = (pki.private_ca(name).certificate for name in "AMI")
    settings = textwrap.dedent(MAC).format(sha1=hashlib.sha1(added, usedforsecurity=False).hexdigest().upper())
    keychains = {
        "/System/Library/Keychains/SystemRootCertificates.keychain": [apple],
        "/Library/Keychains/System.keychain": [added, idle],
        str(home / "Library/Keychains/login.keychain-db"): [],
    }

    def run(command: Sequence[str]) -> bytes:
        assert list(command[:-1]) == ["/usr/bin/security", "find-certificate", "-a", "-p"]
        return b"".join(map(to_pem, keychains[command[-1]]))

    def export(command: Sequence[str]) -> bytes:
        assert list(command[:2]) == ["/usr/bin/security", "trust-settings-export"]
        if list(command[2:]) == ["-d"]:
            return settings.encode()
        raise programs.ProgramError(
            "security", 1, "SecTrustSettingsCreateExternalRepresentation: No Trust Settings were found."
        )

    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(programs, "run_into_file", export)
    monkeypatch.setattr(machine, "sys", SimpleNamespace(platform="darwin"))
    (home / "Library/Keychains").mkdir(parents=True)
    (home / "Library/Keychains/login.keychain-db").touch()
    found = machine.read_machine(KNOWN)
    assert found.unreadable == ()
    assert found.roots == (
        InstalledRoot(der=apple, store="macos:Apple roots", origin=RootOrigin.SHIPPED),
        InstalledRoot(der=added, store="macos:System keychain", origin=RootOrigin.ADDED, installed_at=WHEN),
    )


def test_a_system_that_refuses_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store of either system can be read: each is said so, and nothing is raised."""

    def refuse(*_: object) -> bytes:
        raise StoreError("security cannot be run (Operation not permitted)")

    def forbidden(*_: object) -> list[tuple[bytes, str, bool]]:
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(programs, "run", refuse)
    monkeypatch.setattr(programs, "run_into_file", refuse)
    monkeypatch.setattr(machine, "sys", SimpleNamespace(platform="darwin"))
    stores = {"macos:admin-trust-settings", "macos:user-trust-settings", "macos:Apple roots", "macos:System keychain"}
    assert {store.store for store in machine.read_machine(KNOWN).unreadable} == stores
    monkeypatch.setattr(ssl, "enum_certificates", forbidden, raising=False)
    for module in (machine, windows):
        monkeypatch.setattr(module, "sys", SimpleNamespace(platform="win32"))
    found = machine.read_machine(KNOWN)
    assert {store.store for store in found.unreadable} == {"windows:Disallowed", "windows:ROOT"}
    assert found.roots == ()
