"""What macOS trusts, from the output of `security`: keychains and trust settings.

Room: audit. Calls the two functions that it is given to run programs.

Apple's own roots are trusted by being in their keychain. Any other certificate in a keychain is trusted only if the
trust settings of the machine (admin) or the user say so (SecTrustSettingsCopyTrustSettings): `trust-settings-export`
writes them as a property list by SHA-1, with their time.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import plistlib
import xml.parsers.expat
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import RootOrigin

from . import files
from .entries import UnreadableStore
from .programs import ProgramError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .entries import Found
    from .programs import Run

SECURITY: Final = "/usr/bin/security"
APPLE_ROOTS: Final = "/System/Library/Keychains/SystemRootCertificates.keychain"
SYSTEM: Final = "/Library/Keychains/System.keychain"
LOGIN: Final = "Library/Keychains/login.keychain-db"
"""Below the home directory."""

_NO_SETTINGS: Final = "No Trust Settings were found"
"""Output of `security`, with status 1, for a domain without settings: not a failure."""
_SSL: Final = "sslServer"
_SSL_POLICY: Final = (bytes.fromhex("2a864886f763640103"), "1.2.840.113635.100.1.3")
"""The SSL policy (Apple, SecPolicy.h) in the two encodings of property lists."""
_DENY: Final = 3
"""kSecTrustSettingsResultDeny (Apple, SecTrustSettings.h). 1 and 2 trust; 4 is unspecified."""
_TRUST: Final = (1, 2)
_DAMAGED: Final = (
    *(ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, MemoryError),
    xml.parsers.expat.ExpatError,
)
"""Exceptions of plistlib on damaged lists, binary ones included; none of them is documented."""


class Decision(enum.Enum):
    """The trust setting for TLS servers."""

    TRUST = enum.auto()
    DENY = enum.auto()


class Setting(NamedTuple):
    """One certificate's entry, and its time."""

    decision: Decision
    modified: dt.datetime | None


def macos_roots(home: Path, run: Run, export: Run) -> Iterator[Found]:
    """The roots macOS trusts for TLS servers.

    `run` returns the output of a program, `export` what a program writes to a file whose name is appended to the
    command (`programs.run_into_file`). Both raise `StoreError`.
    """
    decided: dict[str, Setting] = {}
    for flag, store in (("-d", "macos:admin-trust-settings"), ("", "macos:user-trust-settings")):
        try:
            # The user's settings take precedence over the machine's (SecTrustSettingsCopyTrustSettings).
            decided |= settings(export([SECURITY, "trust-settings-export", *filter(None, [flag])]))
        except files.StoreError as error:
            if not (isinstance(error, ProgramError) and _NO_SETTINGS in error.said):
                yield UnreadableStore(store=store, reason=str(error))
    yield from _keychain(APPLE_ROOTS, "macos:Apple roots", RootOrigin.SHIPPED, decided, run)
    yield from _keychain(SYSTEM, "macos:System keychain", RootOrigin.ADDED, decided, run)
    if (home / LOGIN).exists():
        yield from _keychain(str(home / LOGIN), "macos:login keychain", RootOrigin.ADDED, decided, run)


def _keychain(path: str, store: str, origin: RootOrigin, decided: dict[str, Setting], run: Run) -> Iterator[Found]:
    def trusted() -> files.Blocks:
        blocks = files.pem(run([SECURITY, "find-certificate", "-a", "-p", path]))
        found = []
        for der, *_ in blocks.certificates:
            setting = decided.get(hashlib.sha1(der, usedforsecurity=False).hexdigest())
            if setting is not None:
                found.append(files.Block(der, setting.decision is Decision.DENY, changed=setting.modified))
            elif origin is RootOrigin.SHIPPED:  # nothing trusts what else is in a keychain
                found.append(files.Block(der))
        return files.Blocks(tuple(found), blocks.damaged)

    return files.roots_of(store, trusted, origin)


def settings(exported: bytes) -> dict[str, Setting]:
    """Trust settings by SHA-1 (lower-case hexadecimal), without entries that do not concern TLS servers.

    Raises `StoreError` if it is not a property list of trust settings.
    """
    try:
        read = plistlib.loads(exported)
    except _DAMAGED as error:
        raise files.StoreError("is not a property list") from error
    listed = read.get("trustList") if isinstance(read, dict) else None
    if not isinstance(listed, dict):
        raise files.StoreError("is not a list of trust settings")
    found = {}
    for fingerprint, entry in listed.items():
        decision = _decision(entry)
        if isinstance(fingerprint, str) and decision is not None:
            found[fingerprint.lower()] = Setting(decision, _time(entry.get("modDate")))
    return found


def _decision(entry: object) -> Decision | None:
    """The setting of an entry for TLS servers. No constraints at all: trusted for everything (SecTrustSettings.h)."""
    if not isinstance(entry, dict):
        return None
    constraints = entry.get("trustSettings")
    if not constraints:
        return Decision.TRUST
    if not isinstance(constraints, list):
        return None
    results = {c.get("kSecTrustSettingsResult", 1) for c in constraints if isinstance(c, dict) and _is_about_tls(c)}
    if _DENY in results:
        return Decision.DENY
    return Decision.TRUST if results.intersection(_TRUST) else None


def _is_about_tls(constraint: dict[object, object]) -> bool:
    """Whether a constraint is for TLS servers, or for every policy. Host names and programs are ignored."""
    name = constraint.get("kSecTrustSettingsPolicyName")
    policy = constraint.get("kSecTrustSettingsPolicy")
    result = constraint.get("kSecTrustSettingsResult", 1)
    return isinstance(result, int) and (name == _SSL or policy in _SSL_POLICY or (name is None and policy is None))


def _time(value: object) -> dt.datetime | None:
    """A property list's date, which is in UTC without an offset."""
    return value.replace(tzinfo=dt.UTC, microsecond=0) if isinstance(value, dt.datetime) else None
