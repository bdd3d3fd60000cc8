"""macOS from fixtures in the form of what `security` prints and exports."""

from __future__ import annotations

import datetime as dt
import plistlib
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing.pki import to_pem
from hypothesis import given
from hypothesis import strategies as st
from support.store_makers import trust_settings

from detector.audit import InstalledRoot, UnreadableStore, macos
from detector.audit.files import StoreError
from detector.audit.programs import ProgramError
from detector.model import RootOrigin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector_testing import PrivatePKI

WHEN = dt.datetime(2025, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
SSL = {"kSecTrustSettingsPolicy": bytes.fromhex("2a864886f763640103"), "kSecTrustSettingsPolicyName": "sslServer"}
BASIC = {"kSecTrustSettingsPolicy": bytes.fromhex("2a864886f763640102"), "kSecTrustSettingsPolicyName": "basicX509"}
NONE = ProgramError("security trust-settings-export", 1, "SecTrustSettings...: No Trust Settings were found.\n")


class Modelled:
    """A Mac: certificates by keychain, exported settings by domain flag."""

    def __init__(self, keychains: dict[str, list[bytes]], exported: dict[str, bytes | StoreError]) -> None:
        self.keychains = keychains
        self.exported = exported

    def run(self, command: Sequence[str]) -> bytes:
        assert list(command[:4]) == ["/usr/bin/security", "find-certificate", "-a", "-p"]
        return b"".join(map(to_pem, self.keychains[command[4]]))

    def export(self, command: Sequence[str]) -> bytes:
        assert list(command[:2]) == ["/usr/bin/security", "trust-settings-export"]
        found = self.exported["".join(command[2:])]
        if isinstance(found, StoreError):
            raise found
        return found


def test_trust_settings_decide(pki: PrivatePKI, tmp_path: Path) -> None:
    """Apple's roots are trusted unless denied; others only where the machine's or the user's settings say so."""
    apple, denied, admin, user, idle = (pki.private_ca(name).certificate for name in ("A", "D", "M", "U", "I"))
    login = tmp_path / "Library/Keychains/login.keychain-db"
    login.parent.mkdir(parents=True)
    login.touch()
    modified = {"modDate": WHEN.replace(tzinfo=None)}
    modelled = Modelled(
        {macos.APPLE_ROOTS: [apple, denied], macos.SYSTEM: [admin, idle], str(login): [user, idle]},
        {
            "-d": trust_settings(
                (admin, {**modified, "trustSettings": [{**SSL, "kSecTrustSettingsResult": 1}, BASIC]}),
                (denied, {**modified, "trustSettings": [{"kSecTrustSettingsResult": 3}]}),
            ),
            "": trust_settings((user, {**modified, "trustSettings": []})),
        },
    )
    assert list(macos.macos_roots(tmp_path, modelled.run, modelled.export)) == [
        InstalledRoot(der=apple, store="macos:Apple roots", origin=RootOrigin.SHIPPED),
        InstalledRoot(
            der=denied, store="macos:Apple roots", origin=RootOrigin.SHIPPED, installed_at=WHEN, distrusted=True
        ),
        InstalledRoot(der=admin, store="macos:System keychain", origin=RootOrigin.ADDED, installed_at=WHEN),
        InstalledRoot(der=user, store="macos:login keychain", origin=RootOrigin.ADDED, installed_at=WHEN),
    ]


@pytest.mark.parametrize(
    ("entry", "decision"),
    [
        ({}, macos.Decision.TRUST),
        ({"trustSettings": [SSL]}, macos.Decision.TRUST),
        ({"trustSettings": [{"kSecTrustSettingsPolicy": "1.2.840.113635.100.1.3"}]}, macos.Decision.TRUST),
        ({"trustSettings": [{**SSL, "kSecTrustSettingsResult": 2}]}, macos.Decision.TRUST),
        ({"trustSettings": [{**SSL, "kSecTrustSettingsResult": 3}]}, macos.Decision.DENY),
        ({"trustSettings": [{**SSL, "kSecTrustSettingsResult": 4}]}, None),
        ({"trustSettings": [BASIC]}, None),
        ({"trustSettings": "everything"}, None),
    ],
)
def test_decisions(entry: dict[str, Any], decision: macos.Decision | None, pki: PrivatePKI) -> None:
    """Each way trust settings are written means what SecTrustSettings.h says."""
    found = macos.settings(trust_settings((pki.root_a.certificate, entry)))
    assert [setting.decision for setting in found.values()] == ([decision] if decision else [])


def test_trouble(pki: PrivatePKI, tmp_path: Path) -> None:
    """Having no settings is no trouble; settings or keychains that cannot be read are."""
    modelled = Modelled(
        {macos.APPLE_ROOTS: [pki.root_a.certificate], macos.SYSTEM: [b"\x04\x00"]}, {"-d": NONE, "": NONE}
    )
    assert list(macos.macos_roots(tmp_path, modelled.run, modelled.export)) == [
        InstalledRoot(der=pki.root_a.certificate, store="macos:Apple roots", origin=RootOrigin.SHIPPED),
        UnreadableStore(store="macos:System keychain", reason="holds a damaged certificate"),
    ]

    def fails(_: Sequence[str]) -> bytes:
        raise StoreError("security took longer than 20 seconds")

    found = list(macos.macos_roots(tmp_path, fails, fails))
    assert [f.store for f in found if isinstance(f, UnreadableStore)] == [
        "macos:admin-trust-settings",
        "macos:user-trust-settings",
        "macos:Apple roots",
        "macos:System keychain",
    ]


@pytest.mark.parametrize(
    "exported",
    [
        b"",
        b"<plist><dict><key>trustList</key>",
        plistlib.dumps([]),
        plistlib.dumps({"trustList": []}),
        b"bplist00\xd1\x01\x02\xff",
        b'<!DOCTYPE x [<!ENTITY a "b">]><plist><dict><key>&a;</key></dict></plist>',
    ],
)
def test_malformed_settings(exported: bytes) -> None:
    """What is no property list of trust settings is refused with the one documented exception."""
    with pytest.raises(StoreError):
        macos.settings(exported)


JSON = st.recursive(
    st.one_of(st.integers(0, 5), st.text("ab", max_size=3), st.booleans(), st.binary(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["trustSettings", "modDate", "kSecTrustSettingsResult", "kSecTrustSettingsPolicyName"]),
            inner,
        ),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("0aF", max_size=4), JSON, max_size=3), st.binary(max_size=60), st.booleans())
def test_any_settings_are_read(entries: dict[str, Any], noise: bytes, binary: bool) -> None:  # noqa: FBT001 - Hypothesis gives it
    """Entries of any shape give settings; any other bytes `StoreError`."""
    form = plistlib.FMT_BINARY if binary else plistlib.FMT_XML
    exported = plistlib.dumps({"trustList": entries}, fmt=form)
    assert all(isinstance(setting, macos.Setting) for setting in macos.settings(exported).values())
    for damaged in (noise, b"bplist00" + noise, exported[: len(noise) * 3] + noise):
        try:
            macos.settings(damaged)
        except StoreError:
            continue
