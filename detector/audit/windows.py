"""The Windows root store, through Python's standard API, with the origin and time of each root from the registry.

Room: audit. `windows_roots` is pure apart from the two functions it is given; `registry_time` reads the registry.

`ssl.enum_certificates("ROOT")` returns the logical store: the roots of the machine, the user, group policy and the
enterprise (CertOpenSystemStore). Each physical store is a registry key with a subkey for each certificate, named by its
SHA-1; the subkey was written when the certificate was installed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import sys
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.model import RootOrigin

from .entries import Found, InstalledRoot, UnreadableStore
from .files import SERVER_AUTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Enumerate = Callable[[str], Iterable[tuple[bytes, str, bool | Iterable[str]]]]
    Written = Callable[[str, str], dt.datetime | None]

_CERTIFICATE_ENCODING: Final = "x509_asn"
"""Encoding of certificates in `ssl.enum_certificates`; `pkcs_7_asn` is not one."""
_EPOCH: Final = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
"""Epoch of FILETIME, in units of 100 ns (MS-DTYP section 2.3.3)."""
_FILETIME_PER_SECOND: Final = 10_000_000
_FILETIME_MAX: Final = 2**61
"""About the year 8900; greater times are invalid."""


class Physical(NamedTuple):
    """One physical store: its registry key with the hive in front, its name, and the origin of its roots."""

    key: str
    store: str
    origin: RootOrigin


PHYSICAL: Final = (
    Physical(r"HKLM\SOFTWARE\Microsoft\SystemCertificates\ROOT\Certificates", "windows:machine", RootOrigin.ADDED),
    Physical(r"HKCU\SOFTWARE\Microsoft\SystemCertificates\Root\Certificates", "windows:user", RootOrigin.ADDED),
    Physical(
        r"HKLM\SOFTWARE\Policies\Microsoft\SystemCertificates\Root\Certificates",
        "windows:group-policy",
        RootOrigin.POLICY,
    ),
    Physical(
        r"HKCU\SOFTWARE\Policies\Microsoft\SystemCertificates\Root\Certificates",
        "windows:user-group-policy",
        RootOrigin.POLICY,
    ),
    Physical(
        r"HKLM\SOFTWARE\Microsoft\EnterpriseCertificates\Root\Certificates", "windows:enterprise", RootOrigin.POLICY
    ),
    Physical(
        r"HKLM\SOFTWARE\Microsoft\SystemCertificates\AuthRoot\Certificates", "windows:AuthRoot", RootOrigin.SHIPPED
    ),
)
"""The physical stores behind ROOT (System Store Locations in Microsoft's CryptoAPI reference). AuthRoot is the cache of
Microsoft's root program."""


class _Shipped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    source: str
    roots: dict[str, str]


@functools.cache
def shipped_with_windows() -> frozenset[str]:
    """SHA-1 (upper-case hexadecimal) of Microsoft's own roots in the machine's ROOT store."""
    data = resources.files("detector.audit").joinpath("data/windows_roots.json").read_bytes()
    return frozenset(msgspec.json.decode(data, type=_Shipped).roots)


def windows_roots(enumerate_store: Enumerate, written: Written) -> Iterator[Found]:
    """The roots Windows trusts for TLS servers.

    `enumerate_store` is `ssl.enum_certificates` or a recording of it; `written` returns the time of a registry key's
    subkey, None if there is none. Either may raise OSError.
    """
    try:
        refused = {der for der, encoding, _ in enumerate_store("Disallowed") if encoding == _CERTIFICATE_ENCODING}
    except OSError as error:
        refused = set()
        yield UnreadableStore(store="windows:Disallowed", reason=_failed(error))
    try:
        listed = {
            der: None
            for der, encoding, usages in enumerate_store("ROOT")
            if encoding == _CERTIFICATE_ENCODING and _for_servers(usages)
        }
    except OSError as error:
        yield UnreadableStore(store="windows:ROOT", reason=_failed(error))
        return
    for der in listed:
        yield from _placed(der, written, distrusted=der in refused)


def _for_servers(usages: bool | Iterable[str]) -> bool:  # noqa: FBT001 - as `ssl.enum_certificates` gives it
    """Whether the enhanced key usage property allows TLS servers; True stands for every usage."""
    return usages if isinstance(usages, bool) else SERVER_AUTH in usages


def _placed(der: bytes, written: Written, *, distrusted: bool) -> Iterator[InstalledRoot]:
    """The root in each physical store that has it; in the logical store if none can be read."""
    thumbprint = hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
    own = thumbprint in shipped_with_windows()
    found: list[tuple[Physical, dt.datetime | None]] = []
    for place in PHYSICAL:
        with contextlib.suppress(OSError):  # an unreadable key
            if (at := written(place.key, thumbprint)) is not None:
                found.append((place, at))
    for place, at in found or [(Physical("", "windows:ROOT", RootOrigin.UNKNOWN), None)]:
        shipped = own and place.origin is not RootOrigin.POLICY
        yield InstalledRoot(
            der=der,
            store=place.store,
            origin=RootOrigin.SHIPPED if shipped else place.origin,
            installed_at=at,
            distrusted=distrusted,
        )


def _failed(error: OSError) -> str:
    return f"cannot be read ({error.strerror or type(error).__name__})"


def filetime(ticks: int) -> dt.datetime:
    """A FILETIME as a UTC time in whole seconds, clamped to its range."""
    return _EPOCH + dt.timedelta(seconds=min(max(ticks, 0), _FILETIME_MAX) // _FILETIME_PER_SECOND)


def registry_time(key: str, thumbprint: str) -> dt.datetime | None:
    """When the subkey of a certificate was written; None if there is none. Raises OSError."""
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 - exists on Windows only

        hive = {"HKLM": winreg.HKEY_LOCAL_MACHINE, "HKCU": winreg.HKEY_CURRENT_USER}[key[:4]]
        with contextlib.suppress(FileNotFoundError), winreg.OpenKey(hive, rf"{key[5:]}\{thumbprint}") as opened:
            return filetime(winreg.QueryInfoKey(opened)[2])
    return None
