"""The Windows store from fixtures in the form of what `ssl.enum_certificates` and the registry give."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from detector.audit import InstalledRoot, UnreadableStore, windows
from detector.model import RootOrigin

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest
    from detector_testing import PrivatePKI

SERVERS = frozenset({"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"})
CODE = frozenset({"1.3.6.1.5.5.7.3.3"})
WHEN = dt.datetime(2024, 9, 1, 8, 30, tzinfo=dt.UTC)
MACHINE, USER, POLICY, _, ENTERPRISE, AUTH = (place.key for place in windows.PHYSICAL)


def thumbprint(der: bytes) -> str:
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


class Modelled:
    """A machine's stores: (DER, encoding, usages) by store name, and times by (key, thumbprint)."""

    def __init__(
        self,
        stores: dict[str, list[tuple[bytes, str, bool | frozenset[str]]]],
        keys: dict[tuple[str, str], dt.datetime],
    ) -> None:
        self.stores = stores
        self.keys = keys

    def enumerate(self, store: str) -> Iterable[tuple[bytes, str, bool | frozenset[str]]]:
        return self.stores.get(store, [])

    def written(self, key: str, name: str) -> dt.datetime | None:
        return self.keys.get((key, name))


def test_store_says_who_and_when(pki: PrivatePKI) -> None:
    """Each root is placed in the physical stores that hold it, with the time its registry key was written."""
    policy, user, program, both = (pki.private_ca(name).certificate for name in ("P", "U", "M", "B"))
    modelled = Modelled(
        {"ROOT": [(der, "x509_asn", True) for der in (policy, user, program, both)]},
        {
            (POLICY, thumbprint(policy)): WHEN,
            (USER, thumbprint(user)): WHEN,
            (AUTH, thumbprint(program)): WHEN,
            (MACHINE, thumbprint(both)): WHEN,
            (ENTERPRISE, thumbprint(both)): WHEN,
        },
    )
    found = [r for r in windows.windows_roots(modelled.enumerate, modelled.written) if isinstance(r, InstalledRoot)]
    assert [(r.der, r.store, r.origin) for r in found] == [
        (policy, "windows:group-policy", RootOrigin.POLICY),
        (user, "windows:user", RootOrigin.ADDED),
        (program, "windows:AuthRoot", RootOrigin.SHIPPED),
        (both, "windows:machine", RootOrigin.ADDED),
        (both, "windows:enterprise", RootOrigin.POLICY),
    ]
    assert {r.installed_at for r in found} == {WHEN}


def test_usages_encodings_and_disallowed(pki: PrivatePKI) -> None:
    """Only certificates for TLS servers count, by any of their copies; the Disallowed store refuses what it holds."""
    servers, code, refused = (pki.private_ca(name).certificate for name in ("S", "C", "R"))
    modelled = Modelled(
        {
            "ROOT": [
                (servers, "x509_asn", SERVERS),
                (servers, "x509_asn", CODE),
                (code, "x509_asn", CODE),
                (b"message", "pkcs_7_asn", True),
                (refused, "x509_asn", True),
            ],
            "Disallowed": [(refused, "x509_asn", True)],
        },
        {},
    )
    assert list(windows.windows_roots(modelled.enumerate, modelled.written)) == [
        InstalledRoot(der=servers, store="windows:ROOT"),
        InstalledRoot(der=refused, store="windows:ROOT", distrusted=True),
    ]


def test_windows_own_roots_are_shipped(pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root that Windows Setup puts into the machine's store is not taken for one that somebody added."""
    own = pki.private_ca("Own").certificate
    monkeypatch.setattr(windows, "shipped_with_windows", lambda: frozenset({thumbprint(own)}))
    stores: dict[str, list[tuple[bytes, str, bool | frozenset[str]]]] = {"ROOT": [(own, "x509_asn", True)]}
    for keys in ({(MACHINE, thumbprint(own)): WHEN}, {}):
        modelled = Modelled(stores, keys)
        (found,) = windows.windows_roots(modelled.enumerate, modelled.written)
        assert isinstance(found, InstalledRoot)
        assert found.origin is RootOrigin.SHIPPED


def test_windows_list_is_sound() -> None:
    """The shipped list has SHA-1 hashes as Windows writes them, and names."""
    data = json.loads(resources.files("detector.audit").joinpath("data/windows_roots.json").read_text("utf-8"))
    assert windows.shipped_with_windows() == set(data["roots"])
    assert all(len(bytes.fromhex(name)) == 20 and name.isupper() for name in data["roots"])


def test_failing_stores_are_unreadable(pki: PrivatePKI) -> None:
    """A store or registry key that may not be read is said so, or the root is listed without a place."""

    def forbidden(*_: str) -> None:
        raise PermissionError(13, "Permission denied")

    assert list(windows.windows_roots(forbidden, forbidden)) == [  # type: ignore[arg-type] # it gives nothing at all
        UnreadableStore(store="windows:Disallowed", reason="cannot be read (Permission denied)"),
        UnreadableStore(store="windows:ROOT", reason="cannot be read (Permission denied)"),
    ]
    modelled = Modelled({"ROOT": [(pki.root_a.certificate, "x509_asn", True)]}, {})
    assert list(windows.windows_roots(modelled.enumerate, forbidden)) == [
        InstalledRoot(der=pki.root_a.certificate, store="windows:ROOT")
    ]


def test_filetime() -> None:
    """The epoch of Unix as a FILETIME."""
    assert windows.filetime(116_444_736_000_000_000) == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@given(st.integers())
def test_any_filetime_is_a_time(ticks: int) -> None:
    """Registries hold any number."""
    assert windows.filetime(ticks).year >= 1601
